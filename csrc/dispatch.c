/* Chooses the kernel table.  Baseline code only: it must run on any CPU of the
 * architecture, and __builtin_cpu_supports also asks the operating system (XGETBV)
 * whether it saves the wide registers. */
#include <string.h>

#include "kernels.h"

#define TABLES(isa)                                \
  extern const fnn_kernels fnn_kernels_f32__##isa; \
  extern const fnn_kernels fnn_kernels_f64__##isa;
TABLES(scalar)
#if defined(__x86_64__)
TABLES(avx2)
TABLES(avx512)
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
#endif

typedef struct candidate {
  const char *name;
  int (*supported)(void);
  const fnn_kernels *tables[2]; /* by fnn_dtype */
} candidate;

/* Best first. */
static const candidate candidates[] = {
#if defined(__x86_64__)
    {"avx512", has_avx512, {&fnn_kernels_f32__avx512, &fnn_kernels_f64__avx512}},
    {"avx2", has_avx2, {&fnn_kernels_f32__avx2, &fnn_kernels_f64__avx2}},
#elif defined(__aarch64__)
    {"neon", always, {&fnn_kernels_f32__neon, &fnn_kernels_f64__neon}},
#endif
    {"scalar", always, {&fnn_kernels_f32__scalar, &fnn_kernels_f64__scalar}},
};
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

const fnn_kernels *fnn_kernels_for(fnn_dtype dtype) { return active->tables[dtype]; }

const char *fnn_compiler(void) {
#if defined(__clang__)
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return "gcc " __VERSION__;
#else
  return "unknown";
#endif
}
