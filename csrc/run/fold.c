/* Batch norms folded into the dense layers below them, for prediction. */
#include "base/fpstate.h"
#include "engine/network.h"

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
    const fnn_norm fixed = {.scale = stage->w[0],
                            .shift = stage->b[0],
                            .mean = stage->running.mean,
                            .inverse = stage->fixed_inverse,
                            .n = stage->n};
    const fnn_fpstate state = fnn_flush_subnormals();
    kernels->fold_norm(&fixed, below->w[0], below->b[0], below->k, below->folded_w,
                       below->folded_b);
    fnn_restore_fpstate(state);
    stage->is_folded = 1;
  }
  return FNN_OK;
}
