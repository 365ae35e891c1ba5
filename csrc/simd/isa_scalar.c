/* The kernels for the fall-back: plain C, baseline flags. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/values.h"
#include "kernels/bfloat16.h"
#include "kernels/layout.h"

/* The fall-back is kept small: half the code, wide networks as quick, 2-64-3 15 % slower. */
#if !defined(__clang__)
#pragma GCC optimize("Os")
#endif

#include "simd/simd_scalar.h"
#define FNN_ISA scalar
#define FNN_DOUBLE 0
#include "kernels/kernels.inc.h"
#undef FNN_DOUBLE
#define FNN_DOUBLE 1
#include "kernels/kernels.inc.h"
