/* Chooses the kernel table.  Baseline code only: it must run on any CPU of the
 * architecture, and __builtin_cpu_supports also asks the operating system (XGETBV)
 * whether it saves the wide registers. */
#include <string.h>

#include "kernels/bfloat16.h"
#include "kernels/kernels.h"

#define TABLES(isa)                                \
  extern const fnn_kernels fnn_kernels_f32__##isa; \
  extern const fnn_kernels fnn_kernels_f64__##isa; \
  extern const fnn_bf16_kernels fnn_rounded_f32__##isa;
TABLES(scalar)
#if defined(__x86_64__)
TABLES(avx2)
TABLES(avx512)
extern const fnn_bf16_kernels fnn_bf16_kernels__avx512;
#elif defined(__aarch64__)
TABLES(neon)
#endif
#undef TABLES

static int always(void) { return 1; }
#if defined(__x86_64__)
static int has_avx2(void) {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
static int has_avx512(void) {
  return has_avx2() && __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512dq");
}
static int has_avx512bf16(void) {
  return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512bf16");
}
#endif

typedef struct candidate {
  const char *name;
  int (*supported)(void);
  const fnn_kernels *tables[2]; /* by fnn_dtype */
  const fnn_bf16_kernels *rounded;
  int (*has_pairs)(void); /* NULL: there are none */
  const fnn_bf16_kernels *pairs;
} candidate;

/* Best first. */
#define OWN(isa)                                                              \
  .name = #isa, .tables = {&fnn_kernels_f32__##isa, &fnn_kernels_f64__##isa}, \
  .rounded = &fnn_rounded_f32__##isa
static const candidate candidates[] = {
#if defined(__x86_64__)
    {OWN(avx512), .supported = has_avx512, .has_pairs = has_avx512bf16,
     .pairs = &fnn_bf16_kernels__avx512},
    {OWN(avx2), .supported = has_avx2},
#elif defined(__aarch64__)
    {OWN(neon), .supported = always},
#endif
    {OWN(scalar), .supported = always},
};
#undef OWN
enum { CANDIDATES = sizeof candidates / sizeof *candidates };

static const candidate *active;

int fnn_select_isa(const char *name) {
  for (size_t i = 0; i < CANDIDATES; i++) {
    const candidate *c = &candidates[i];
    if (name && strcmp(name, c->name) != 0) continue;
    if (!c->supported()) {
      if (name) return 0;
      continue;
    }
    active = c;
    return 1;
  }
  return 0;
}

const char *fnn_active_isa(void) { return active ? active->name : NULL; }

const char *fnn_built_isa(size_t i) {
  return i < CANDIDATES ? candidates[i].name : NULL;
}

const fnn_kernels *fnn_kernels_for(fnn_dtype dtype) {
  return active->tables[dtype == FNN_F64];
}

const fnn_bf16_kernels *fnn_bf16_kernels_of(size_t values) {
  if (values == 1) return active->rounded;
  return active->pairs && active->has_pairs() ? active->pairs : NULL;
}

const char *fnn_compiler(void) {
#if defined(__clang__)
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return "gcc " __VERSION__;
#else
  return "unknown";
#endif
}
