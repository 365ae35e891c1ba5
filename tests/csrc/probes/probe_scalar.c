/* The functions of probe.inc.h, compiled as csrc/simd/isa_scalar.c compiles its
 * kernels. */
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"

#include "simd/simd_scalar.h"
#define FNN_ISA scalar
#define FNN_DOUBLE 0
#include "probes/probe.inc.h"
#undef FNN_DOUBLE
#define FNN_DOUBLE 1
#include "probes/probe.inc.h"
