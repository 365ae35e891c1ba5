/* Single values of an array whose dtype is known at run time only. */
#ifndef FNN_VALUES_H
#define FNN_VALUES_H

#include <stddef.h>
#include <string.h>

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
 * zero. */
static inline __attribute__((always_inline)) void fnn_round_to_bfloat16(const float *x,
                                                                        float *y,
                                                                        size_t count) {
  for (size_t i = 0; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, x + i, sizeof bits);
    const uint32_t magnitude = bits & 0x7fffffffu;
    /* Half of the last bit that stays; a tie goes up only from an odd one. */
    uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u;
    if (magnitude < 0x00800000u) rounded = bits & 0x80000000u;
    if (magnitude > 0x7f800000u) rounded = (bits | 0x00400000u) & 0xffff0000u;
    memcpy(y + i, &rounded, sizeof rounded);
  }
}

#endif
