/* The engine's part of bfloat16 mode. */
#ifndef FNN_ROUNDING_H
#define FNN_ROUNDING_H

#include "engine/network.h"
#include "engine/stages.h"

/* bfloat16.c, for networks with `bf16`: what the functions of their names without it do.
 * Outputs and gradients of dense layers are rounded where they arise. */
double fnn_bf16_dense_forward(const fnn_network *network, size_t i,
                              const fnn_batch *batch, const fnn_worker *worker);
double fnn_bf16_dense_backward(const fnn_network *network, size_t i,
                               const fnn_batch *batch, const void *saved,
                               const fnn_worker *worker);
void fnn_bf16_dense_weights(const fnn_network *network, size_t i,
                            const fnn_batch *batch, const fnn_update *update,
                            const fnn_worker *worker);
/* Rows of the mini-batch for the first stage, which is dense; the sum of |x|. */
double fnn_bf16_round_inputs(const fnn_network *network, const fnn_batch *batch,
                             size_t row0, size_t row1);
/* This thread's share of y of stage i, for a dense layer above; of dy of stage i, if it
 * is dense. */
void fnn_bf16_round_outputs(const fnn_network *network, size_t i,
                            const fnn_batch *batch, const fnn_worker *worker);
void fnn_bf16_round_gradient(const fnn_network *network, size_t i, int by_rows,
                             const fnn_batch *batch, const fnn_worker *worker);
/* This thread's share of the weights of a stage that were changed. */
void fnn_bf16_round_weights(const fnn_network *network, const fnn_stage *stage,
                            const fnn_worker *worker);
/* Likewise of all that are trained, after a barrier. */
void fnn_bf16_round_changed(const fnn_network *network, const fnn_worker *worker);
ptrdiff_t fnn_bf16_row(size_t n);
/* Z of a dense stage for prediction; room: fnn_bf16_widest values a row, which is 0 for
 * other modes. */
double fnn_bf16_predict(const fnn_network *network, const fnn_stage *stage,
                        const void *x, ptrdiff_t x_row, size_t rows, void *y,
                        void *room, const fnn_worker *worker);
size_t fnn_bf16_widest(const fnn_network *network);
/* Memory; 0 if there is none. */
int fnn_bf16_init_stage(fnn_stage *stage);
int fnn_bf16_reserve_stage(fnn_stage *stage, size_t rows);
fnn_status fnn_bf16_reserve_scratch(fnn_network *network, int threads);

#endif
