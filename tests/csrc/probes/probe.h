/* The functions of math.inc.h that probe.inc.h makes callable. */
#ifndef PROBE_H
#define PROBE_H

#include <stddef.h>

#define PROBED(DO, isa) \
  DO(exp, isa)          \
  DO(log, isa)          \
  DO(expm1, isa)        \
  DO(log1p, isa)        \
  DO(sigmoid, isa)      \
  DO(tanh, isa)         \
  DO(erf, isa)          \
  DO(sin, isa)          \
  DO(cos, isa)

#endif
