/* The number of threads a piece of work is given: the real cost model under another
 * name. */
#define fnn_choose_threads modelled_threads
#include "threads/cost.c"
#undef fnn_choose_threads

#include <math.h>

#include "support/support.h"
#include "tests.h"

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
}
