/* In place of csrc/cost.c (tested in test_cost.c): as many threads as are allowed, so
 * that small networks meet every way of splitting work. */
#include "engine.h"

int fnn_choose_threads(const fnn_network *network, double multiply_adds, int barriers) {
  (void)multiply_adds;
  (void)barriers;
  return network->threads > 0 ? network->threads : fnn_get_num_threads();
}
