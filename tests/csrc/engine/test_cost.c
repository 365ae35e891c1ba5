/* The number of threads a piece of work is given: the real cost model under another
 * name. */
#define fnn_choose_threads real_choice
#define fnn_begin_on_all_threads real_begin_on_all
#define fnn_barrier_seconds simulated_barrier
#define fnn_cpus simulated_cpus
double simulated_barrier(int threads);
int simulated_cpus(void);
#include "threads/cost.c"

#include <math.h>

#include "support/support.h"
#include "tests.h"

static double barrier = 1e-6; /* of two threads; twice that of eight */
static int cpus = 64, asked;

double simulated_barrier(int threads) {
  asked = threads > asked ? threads : asked;
  return barrier * (0.5 + 0.5 * log2(threads));
}

int simulated_cpus(void) { return cpus; }

static int modelled_threads(double multiply_adds, double cost, int barriers, int most) {
  return real_choice(multiply_adds, cost, barriers, &most);
}

void test_cost_model(void) {
  CHECK(modelled_threads(0.0, 1.0, 4, 8) == 1, "threads for no work");
  CHECK(modelled_threads(4096.0, 1.0, 4, 8) == 1, "threads for a tiny layer");
  CHECK(modelled_threads(1e12, 1.0, 4, 8) == 8, "not all threads for a large network");
  CHECK(modelled_threads(1e12, 1.0, 4, 3) == 3, "not the limit that was given");
  CHECK(modelled_threads(INFINITY, 1.0, 4, 8) >= 1, "no thread at all");
  CHECK(modelled_threads(1e12, 1.0, 4, 1) == 1, "more threads than the maximum");
  int last = 1;
  for (double work = 1.0; work < 1e13; work *= 1.5) {
    const int threads = modelled_threads(work, 1.0, 4, 8);
    CHECK(threads >= last, "%g multiply-adds: %d threads after %d", work, threads,
          last);
    CHECK(threads <= 8, "%d threads of 8", threads);
    CHECK(modelled_threads(work / 2.0, 2.0, 4, 8) == threads,
          "half the work at twice the cost: other threads");
    last = threads;
  }
  /* As many as pay with barriers that take longer. */
  barrier = 20e-6;
  CHECK(modelled_threads(10e6, 1.0, 4, 8) < 8, "barriers of 20 us for 250 us");
  barrier = 1e-6;
  CHECK(modelled_threads(10e6, 1.0, 4, 8) == 8, "not barriers of 1 us");
  /* Threads of one CPU do not run at once; who has fewer may yet try. */
  cpus = 2;
  int most = 8;
  CHECK(real_choice(1e12, 1.0, 4, &most) == 2 && most == 8, "no CPU for a thread");
  cpus = 64;
  /* No team is started to measure what cannot pay, and no larger one than may. */
  asked = 0;
  most = 64;
  CHECK(real_choice(20e3, 1.0, 4, &most) == 1 && most == 1 && asked == 0,
        "barriers of %d threads measured for nothing", asked);
  (void)real_choice(1e6, 1.0, 4, &most);
  CHECK(asked <= 16, "barriers of %d threads measured for 25 us of work", asked);
}
