/* Single values of an array whose dtype is known at run time only. */
#ifndef FNN_VALUES_H
#define FNN_VALUES_H

#include <stddef.h>

#include "fastnn.h"

static inline double fnn_real_at(fnn_dtype dtype, const void *values, size_t index) {
  return dtype == FNN_F64 ? ((const double *)values)[index]
                          : (double)((const float *)values)[index];
}

static inline void fnn_set_real(fnn_dtype dtype, void *values, size_t index,
                                double value) {
  if (dtype == FNN_F64) ((double *)values)[index] = value;
  else ((float *)values)[index] = (float)value;
}

/* 1 if none of the values is NaN or infinite. */
int fnn_finite_values(fnn_dtype dtype, const void *values, size_t count);

/* To the nearest value of bfloat16, ties to even; NaN stays NaN, subnormals become
 * zero.  The kernels of fnn_bf16_kernels do the same. */
void fnn_round_to_bfloat16(const float *x, float *y, size_t count);

#endif
