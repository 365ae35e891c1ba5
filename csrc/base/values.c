#include "base/values.h"

#include <math.h>

int fnn_finite_values(fnn_dtype dtype, const void *values, size_t count) {
  int all = 1;
  if (dtype == FNN_F64)
    for (size_t i = 0; i < count; i++)
      all &= isfinite(((const double *)values)[i]) != 0;
  else
    for (size_t i = 0; i < count; i++) all &= isfinite(((const float *)values)[i]) != 0;
  return all;
}
