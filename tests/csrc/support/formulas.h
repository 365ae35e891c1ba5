/* Activations and losses as they are defined, in long double. */
#ifndef FORMULAS_H
#define FORMULAS_H

#include "fastnn.h"

/* Not of softmax. */
long double activation_formula(fnn_activation activation, long double x);
/* By a central difference of order 6, to about 1e-16 in long double; not near a
 * kink. */
long double activation_slope(fnn_activation activation, long double x);
/* Whether the slopes to both sides of x, at a distance of 0.01, are others. */
int activation_has_kink(fnn_activation activation, long double x);
/* Whether it is made of straight lines, at whose ends alone the slope changes: a gate,
 * which takes NaN for one of its sides. */
int activation_is_gate(fnn_activation activation);
/* The slope of the negative side, by seven points, to about 5e-15. */
long double activation_slope_below(fnn_activation activation, long double x);

/* The loss of a row of n outputs with targets t, and its gradient in dz. */
long double loss_formula(fnn_loss loss, const long double *z, const long double *t,
                         size_t n, long double *dz);

#endif
