/* A network's workspace: what a mini-batch passes through, grown when it must be. */
#ifndef FNN_WORKSPACE_H
#define FNN_WORKSPACE_H

#include "engine/network.h"

/* Room for mini-batches of this many rows, whose inputs are gathered or read in
 * place, and scratch for this many threads. */
fnn_status fnn_reserve(fnn_network *network, size_t batch_size, int in_place,
                       int threads);
/* Makes dw and db of every stage. */
fnn_status fnn_reserve_gradients(fnn_network *network);
void fnn_workspace_free(fnn_network *network);

#endif
