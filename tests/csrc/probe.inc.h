/* exp and log of math.inc.h as functions on arrays, for the ISA and dtype being
 * compiled: probe_exp_f32__avx2 and so on. count is a multiple of the lanes. */
#include "vocabulary.inc.h"
#include "math.inc.h"

#define PROBE(op) FNN_JOIN(FNN_JOIN(probe_##op, FNN_SUFFIX), FNN_ISA)

void PROBE(exp)(const void *x, void *y, size_t count);
void PROBE(log)(const void *x, void *y, size_t count);

void PROBE(exp)(const void *x, void *y, size_t count) {
  for (size_t i = 0; i < count; i += VL)
    v_store((real *)y + i, KERNEL(exp)(v_load((const real *)x + i)));
}

void PROBE(log)(const void *x, void *y, size_t count) {
  for (size_t i = 0; i < count; i += VL)
    v_store((real *)y + i, KERNEL(log)(v_load((const real *)x + i)));
}

#undef PROBE
