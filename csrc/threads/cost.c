/* Time on t threads is work / (rate t) + what the barriers cost, which is measured in this
 * process: a power of two, or all, with the least time is taken. */
#include "threads/cost.h"

#include <stdatomic.h>

#include "fastnn.h"
#include "threads/threads.h"

static atomic_int on_all;
void fnn_begin_on_all_threads(int yes) { atomic_store(&on_all, yes); }

/* The engine's mean rate a core, measured on a server with AVX-512; on a core that is
 * slower, threads pay sooner. */
static const double multiply_adds_a_second = 40e9;
/* No barrier is quicker; where not even this pays, no team is started to measure it. */
static const double least_barrier = 0.3e-6;
/* A step up to a count that gains less is not taken: the pace will find out. */
static const double worth_doubling = 1.1;
/* Twice as many threads wait longer than this many times. */
static const double growth = 1.2;

static int cheapest(double alone, int barriers, int most) {
  int best = 1;
  double least = alone, barrier = least_barrier;
  for (int t = 2; t <= most && alone / t + barriers * barrier < least;) {
    barrier = fnn_barrier_seconds(t);
    const double time = alone / t + barriers * barrier;
    if (worth_doubling * time < least) least = time, best = t;
    barrier *= growth;
    t = t < most && 2 * t > most ? most : 2 * t;
  }
  return best;
}

int fnn_choose_threads(double multiply_adds, double cost, int barriers, int *most) {
  const double alone = multiply_adds / multiply_adds_a_second * cost;
  const int cpus = fnn_cpus(), many = *most < cpus ? *most : cpus;
  if (*most == 1 || atomic_load(&on_all)) return *most;
  const int likely = cheapest(alone, barriers, many);
  /* A core of half the rate is nothing unusual. */
  if (likely == 1 && cheapest(2.0 * alone, barriers, many) == 1) *most = 1;
  return likely;
}
