/* Time on t threads is work / (rate t) + what the barriers cost, and the count with the
 * least time is taken, so a second thread never makes a small network slower. */
#include "threads/cost.h"

/* Measured on two cores of a server with AVX-512: the engine's mean rate a core and
 * what a region or barrier costs when its threads are awake.  A core without AVX-512
 * works at a lower rate, which only makes threads pay sooner. */
static const double multiply_adds_a_second = 40e9;
static const double seconds_a_barrier = 1e-6;

int fnn_choose_threads(double multiply_adds, double cost, int barriers, int most) {
  const double alone = multiply_adds / multiply_adds_a_second * cost;
  int best = 1;
  double least = alone;
  for (int t = 2; t <= most; t++) {
    const double time = alone / t + barriers * seconds_a_barrier * (1 + t / 8);
    if (time < least) least = time, best = t;
  }
  return best;
}
