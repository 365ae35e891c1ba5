/* Optimizer steps: their constants, and stored gradients applied. */
#ifndef FNN_UPDATE_H
#define FNN_UPDATE_H

#include "engine/network.h"

/* The constants of update number `step` = 1, 2, ...; product is that of the
 * step before. */
fnn_update fnn_update_begin(const fnn_optimizer *optimizer, double rate, uint64_t step,
                            double product);
/* Of a stage's arrays: with its factors; penalties are for weights of dense stages
 * alone, clipping is for everything. */
fnn_updates fnn_updates_of(const fnn_stage *stage, const fnn_update *update);
/* NAdam: mu_1 ... mu_step; other optimizers: 1. */
double fnn_momentum_product(const fnn_optimizer *optimizer, uint64_t step);
double fnn_momentum_product_next(const fnn_optimizer *optimizer, double product,
                                 uint64_t step);
/* Applies the stored gradients, with clip_norm, between a barrier and none; 0, for all
 * threads, if their norm overflows. */
int fnn_apply_stored(fnn_network *network, fnn_update *update,
                     const fnn_worker *worker);
/* max_norm, after a barrier. */
void fnn_apply_max_norm(const fnn_network *network, const fnn_worker *worker);

#endif
