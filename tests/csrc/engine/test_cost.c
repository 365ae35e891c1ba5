/* The number of threads a piece of work is given: the real cost model under another
 * name. */
#define fnn_choose_threads modelled_threads
#include "threads/cost.c"
#undef fnn_choose_threads

#include <math.h>

#include "support/support.h"
#include "tests.h"

void test_cost_model(void) {
  const int before = fnn_get_num_threads();
  fnn_network network = {.kernels = fnn_kernels_for(FNN_F32)};
  fnn_set_num_threads(8);
  CHECK(modelled_threads(&network, 0.0, 4) == 1, "threads for no work");
  CHECK(modelled_threads(&network, 4096.0, 4) == 1, "threads for a tiny layer");
  CHECK(modelled_threads(&network, 1e12, 4) == 8,
        "not all threads for a large network");
  CHECK(modelled_threads(&network, INFINITY, 4) >= 1, "no thread at all");
  int last = 1;
  for (double work = 1.0; work < 1e13; work *= 1.5) {
    const int threads = modelled_threads(&network, work, 4);
    CHECK(threads >= last, "%g multiply-adds: %d threads after %d", work, threads,
          last);
    CHECK(threads <= 8, "%d threads of 8", threads);
    last = threads;
  }
  network.threads = 3; /* the network's own limit */
  CHECK(modelled_threads(&network, 1e12, 4) == 3, "not the network's limit");
  fnn_set_num_threads(1);
  CHECK(modelled_threads(&network, 1e12, 4) == 3,
        "the network's limit is not the first");
  network.threads = 0;
  CHECK(modelled_threads(&network, 1e12, 4) == 1, "more threads than the maximum");
  fnn_set_num_threads(before);
}
