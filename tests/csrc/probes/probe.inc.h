/* The functions of math.inc.h as functions on arrays, for the ISA and dtype being
 * compiled: probe_exp_f32__avx2 and so on. count is a multiple of the lanes. */
#include "kernels/vocabulary.inc.h"
#include "kernels/math.inc.h"
#include "probes/probe.h"

FNN_INLINE vec KERNEL(probed_sin)(vec x) {
  vec unused;
  return KERNEL(sincos)(x, &unused);
}
FNN_INLINE vec KERNEL(probed_cos)(vec x) {
  vec y;
  KERNEL(sincos)(x, &y);
  return y;
}

#define PROBE(op) FNN_JOIN(FNN_JOIN(probe_##op, FNN_SUFFIX), FNN_ISA)
#define DEFINE(op, call)                                 \
  void PROBE(op)(const void *x, void *y, size_t count);  \
  void PROBE(op)(const void *x, void *y, size_t count) { \
    for (size_t i = 0; i < count; i += VL) {             \
      const vec v = v_load((const real *)x + i);         \
      v_store((real *)y + i, call);                      \
    }                                                    \
  }
DEFINE(exp, KERNEL(exp)(v))
DEFINE(log, KERNEL(log)(v))
DEFINE(expm1, KERNEL(expm1)(v))
DEFINE(log1p, KERNEL(log1p)(v))
DEFINE(sigmoid, KERNEL(sigmoid)(v, NULL))
DEFINE(tanh, KERNEL(tanh)(v))
DEFINE(erf, KERNEL(erf)(v))
DEFINE(sin, KERNEL(probed_sin)(v))
DEFINE(cos, KERNEL(probed_cos)(v))
#undef DEFINE
#undef PROBE
