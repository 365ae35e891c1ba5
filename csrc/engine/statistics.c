#include "engine/statistics.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/values.h"

typedef struct fixing {
  const fnn_network *network;
  fnn_stage *stage;
} fixing;

static void fix_region(void *argument, const fnn_worker *worker) {
  const fixing *f = argument;
  const fnn_dtype dtype = f->network->kernels->dtype;
  fnn_stage *stage = f->stage;
  (void)worker;
  for (size_t j = 0; j < stage->n; j++)
    fnn_set_real(
        dtype, stage->fixed_inverse, j,
        1.0 / sqrt(fnn_real_at(dtype, stage->running.variance, j) + stage->epsilon));
}

void fnn_fix_statistics(const fnn_network *network, fnn_stage *stage) {
  fixing f = {network, stage};
  fnn_parallel(1, fix_region, &f);
}

void fnn_commit_statistics(fnn_network *network) {
  for (size_t i = 0; i < network->n_stages; i++) {
    fnn_stage *stage = &network->stages[i];
    if (stage->kind != FNN_STAGE_BATCH_NORM || fnn_is_fixed(stage)) continue;
    const fnn_statistics old = stage->running;
    stage->running = stage->pending;
    stage->pending = old;
  }
}

void fnn_network_get_statistics(const fnn_network *network, size_t layer, void *mean,
                                void *variance) {
  const fnn_stage *stage = fnn_stage_of(network, layer);
  assert(stage->kind == FNN_STAGE_BATCH_NORM);
  memcpy(mean, stage->running.mean, stage->n * network->kernels->itemsize);
  memcpy(variance, stage->running.variance, stage->n * network->kernels->itemsize);
}

void fnn_network_set_statistics(fnn_network *network, size_t layer, const void *mean,
                                const void *variance) {
  fnn_stage *stage = fnn_stage_of(network, layer);
  assert(stage->kind == FNN_STAGE_BATCH_NORM);
  memcpy(stage->running.mean, mean, stage->n * network->kernels->itemsize);
  memcpy(stage->running.variance, variance, stage->n * network->kernels->itemsize);
  fnn_fix_statistics(network, stage);
}
