/* The running statistics of batch norms. */
#ifndef FNN_STATISTICS_H
#define FNN_STATISTICS_H

#include "engine/network.h"

/* A batch norm with the statistics it was given; else those of the mini-batch. */
static inline int fnn_is_fixed(const fnn_stage *stage) {
  return stage->kind == FNN_STAGE_BATCH_NORM && !stage->trainable;
}
/* The inverse deviation of the running variance, whatever the caller's floating-point
 * state. */
void fnn_fix_statistics(const fnn_network *network, fnn_stage *stage);
/* Those of a step that counts become the running ones. */
void fnn_commit_statistics(fnn_network *network);

#endif
