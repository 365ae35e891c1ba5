/* The engine's part of bfloat16 mode: the ways of its stages, and the rounded copies
 * that they take.  Functions that are called in every mode do nothing where nothing is
 * rounded. */
#ifndef FNN_ROUNDING_H
#define FNN_ROUNDING_H

#include "engine/network.h"
#include "engine/stages.h"

/* The products of a new network: of pairs where the CPU has them, multiplies them faster
 * and the layers are large enough to pay for making pairs. */
const fnn_bf16_kernels *fnn_choose_bf16(const fnn_plan *plan);
/* The way of a stage in this mode, and room for its rounded weights; 0 if there is no
 * memory. */
int fnn_rounding_init(const fnn_network *network, fnn_stage *stage);
/* Room for mini-batches of this many rows; 0 if there is none. */
int fnn_rounding_reserve(fnn_stage *stage, size_t rows);
fnn_status fnn_rounding_reserve_scratch(fnn_network *network, int threads);
/* Values a row that prediction takes for rounded inputs. */
size_t fnn_rounding_room(const fnn_network *network);

/* Rows of the mini-batch for the first stage, which is rounded; the sum of |x|. */
double fnn_round_inputs(const fnn_network *network, const fnn_batch *batch, size_t row0,
                        size_t row1);
/* This thread's rows of the gradient of the loss. */
void fnn_round_loss_gradient(const fnn_network *network, const fnn_batch *batch,
                             const fnn_worker *worker);
/* The weights of a stage that were changed; of all that are trained, by all threads
 * after a barrier. */
void fnn_round_weights(const fnn_network *network, const fnn_stage *stage);
void fnn_round_trained_weights(const fnn_network *network, const fnn_worker *worker);

#endif
