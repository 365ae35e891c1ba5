#include "run/blocks.h"

#include <math.h>

#include "threads/stop.h"

/* Blocks of a stage: each of some 10 ms a thread, but of 128 rows where those take
 * longer, which is what makes W^T worth packing. */
static size_t blocks_of(const fnn_network *network, const fnn_stage *stage, size_t rows,
                        int threads) {
  double work = 200.0 * (double)(stage->n + stage->columns * stage->terms);
  if (stage->kind == FNN_STAGE_DENSE) work += (double)stage->k * (double)stage->n;
  const double most = fmax(128.0, 5e8 / (work * network->cost));
  const double blocks = fnn_as_long((double)rows) / threads / most;
  return (size_t)fmin((double)rows, blocks) + 1;
}

double fnn_in_blocks(fnn_stage_function function, const fnn_network *network, size_t i,
                     const fnn_batch *batch, const fnn_worker *worker) {
  if (!worker->stop) return function(network, i, batch, worker);
  double magnitude = 0.0;
  fnn_worker own = *worker;
  own.blocks = blocks_of(network, &network->stages[i], batch->rows, own.threads);
  for (; own.block < own.blocks; own.block++) {
    if (fnn_stop_asked(own.stop, own.thread == 0)) break;
    magnitude += function(network, i, batch, &own);
  }
  return magnitude;
}

static double stored_parameters(const fnn_network *network, size_t i,
                                const fnn_batch *batch, const fnn_worker *worker) {
  network->stages[i].way.parameters(network, i, batch, NULL, worker);
  return 0.0;
}

void fnn_backward_parameters(const fnn_network *network, const fnn_batch *batch,
                             const fnn_update *update, const fnn_worker *worker) {
  for (size_t i = network->lowest; i < network->n_stages; i++)
    if (network->stages[i].trainable && !update)
      (void)fnn_in_blocks(stored_parameters, network, i, batch, worker);
    else if (network->stages[i].trainable)
      network->stages[i].way.parameters(network, i, batch, update, worker);
}
