/* Stages in blocks, between which a step that takes long may be left. */
#ifndef FNN_BLOCKS_H
#define FNN_BLOCKS_H

#include "engine/stages.h"

typedef double (*fnn_stage_function)(const fnn_network *, size_t i, const fnn_batch *,
                                     const fnn_worker *);
/* One of stage i, in blocks if the worker has a stop: what is left when it is asked is
 * not done. */
double fnn_in_blocks(fnn_stage_function function, const fnn_network *network, size_t i,
                     const fnn_batch *batch, const fnn_worker *worker);
/* All parameter gradients, likewise; with an update, before which the worker's stop must
 * be gone, they are consumed where they arise. */
void fnn_backward_parameters(const fnn_network *network, const fnn_batch *batch,
                             const fnn_update *update, const fnn_worker *worker);

#endif
