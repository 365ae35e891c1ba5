/* The proof that an update cannot overflow. */
#ifndef FNN_BOUNDS_H
#define FNN_BOUNDS_H

#include "fastnn.h"
#include "kernels/kernels.h"

/* State arrays of an optimizer, and those with the weights. */
enum { FNN_STATES = 2, FNN_PARTS = 1 + FNN_STATES };

/* Bounds that prove, before an update is applied, that it cannot overflow: the sums of
 * magnitudes that the kernels return bound every activation and output gradient, their
 * products bound every weight gradient, and those the step.  While all are below 2^60
 * (and 2^120 for squares) no check of single values is needed and the update may
 * overwrite the weights in place.  A step without that proof is taken with care
 * (careful.c): gradients stored, everything checked, the old weights kept. */
typedef struct fnn_bounds {
  double weight, state[FNN_STATES];
} fnn_bounds;

/* Whether all values of the mini-batch of these rows, whose magnitudes are in the
 * workspace, are proven tame; adds the bound of its parameter gradients. */
int fnn_bounds_of_batch(const fnn_network *network, size_t rows, int threads,
                        double *gradient);
/* Moves the bounds past one update with gradients of at most `gradient`, with the worst
 * factors of all arrays; 0 if that cannot be shown to stay tame. */
int fnn_bounds_advance(fnn_bounds *bounds, const fnn_update *update, double gradient);
/* Bounds of the weights and state as they are. */
fnn_bounds fnn_bounds_measure(const fnn_network *network);

#endif
