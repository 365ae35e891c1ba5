/* The kernels for AArch64 NEON, part of that baseline. */
#if defined(__aarch64__)
#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/values.h"
#include "kernels/bfloat16.h"
#include "kernels/layout.h"
#include <arm_neon.h>

#include "simd/simd_neon.h"
#define FNN_ISA neon
#define FNN_DOUBLE 0
#include "kernels/kernels.inc.h"
#undef FNN_DOUBLE
#define FNN_DOUBLE 1
#include "kernels/kernels.inc.h"
#endif
