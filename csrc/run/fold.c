/* Batch norms folded into the dense layers below them, for prediction. */
#include "engine/network.h"
#include "engine/statistics.h"

typedef struct folding {
  const fnn_network *network;
  const fnn_stage *norm;
  fnn_stage *below;
} folding;

static void fold_region(void *argument, const fnn_worker *worker) {
  const folding *f = argument;
  const fnn_stage *norm = f->norm;
  fnn_stage *below = f->below;
  const fnn_norm fixed = {.scale = norm->w[0],
                          .shift = norm->b[0],
                          .mean = norm->running.mean,
                          .inverse = norm->fixed_inverse,
                          .n = norm->n};
  (void)worker;
  f->network->kernels->fold_norm(&fixed, below->w[0], below->b[0], below->k,
                                 below->folded_w, below->folded_b);
}

fnn_status fnn_network_prepare(fnn_network *network) {
  const fnn_kernels *kernels = network->kernels;
  for (size_t i = 0; i < network->n_stages; i++) {
    fnn_stage *stage = &network->stages[i];
    if (stage->kind != FNN_STAGE_BATCH_NORM) continue;
    fnn_fix_statistics(network, stage);
    /* In bfloat16, rounding the products of scale and weights is not the same. */
    if (i == 0 || fnn_is_rounded(stage - 1)) continue;
    fnn_stage *below = stage - 1;
    if (below->kind != FNN_STAGE_DENSE || below->activation.kind != FNN_IDENTITY)
      continue;
    if (!below->folded_w) below->folded_w = fnn_alloc(below->w_size, kernels->itemsize);
    if (!below->folded_b) below->folded_b = fnn_alloc(below->b_size, kernels->itemsize);
    if (!below->folded_w || !below->folded_b) return FNN_NO_MEMORY;
    folding f = {network, stage, below};
    fnn_parallel(1, fold_region, &f);
    stage->is_folded = 1;
  }
  return FNN_OK;
}
