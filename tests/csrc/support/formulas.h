/* Activations and losses as they are defined, in long double. */
#ifndef FORMULAS_H
#define FORMULAS_H

#include "fastnn.h"

/* Not of softmax. */
long double activation_formula(fnn_activation activation, long double x);
/* By a central difference of order 6, to about 1e-16 in long double; not within 0.01 of
 * a kink. */
long double activation_slope(fnn_activation activation, long double x);
/* The same of the negative side, by seven points, to about 5e-15. */
long double activation_slope_below(fnn_activation activation, long double x);

/* The loss of a row of n outputs with targets t, and its gradient in dz. */
long double loss_formula(fnn_loss loss, const long double *z, const long double *t,
                         size_t n, long double *dz);

#endif
