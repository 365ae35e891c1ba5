#include "base/values.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

int fnn_finite_values(fnn_dtype dtype, const void *values, size_t count) {
  int all = 1;
  if (dtype == FNN_F64)
    for (size_t i = 0; i < count; i++)
      all &= isfinite(((const double *)values)[i]) != 0;
  else
    for (size_t i = 0; i < count; i++) all &= isfinite(((const float *)values)[i]) != 0;
  return all;
}

void fnn_round_to_bfloat16(const float *x, float *y, size_t count) {
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
