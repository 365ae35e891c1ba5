/* The functions of probe.inc.h, compiled as csrc/simd/isa_neon.c compiles its
 * kernels. */
#if defined(__aarch64__)
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include <arm_neon.h>

#include "simd/simd_neon.h"
#define FNN_ISA neon
#define FNN_DOUBLE 0
#include "probes/probe.inc.h"
#undef FNN_DOUBLE
#define FNN_DOUBLE 1
#include "probes/probe.inc.h"
#endif
