/* Chooses the kernel table.  Baseline code only: it must run on any CPU of the
 * architecture, and __builtin_cpu_supports also asks the operating system (XGETBV)
 * whether it saves the wide registers. */
#include <string.h>

#include "kernels/bfloat16.h"
#include "kernels/kernels.h"

#define TABLES(isa)                                \
  extern const fnn_kernels fnn_kernels_f32__##isa; \
  extern const fnn_kernels fnn_kernels_f64__##isa;
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
  int (*bf16_supported)(void);  /* NULL: has no products of bfloat16 */
  const fnn_bf16_kernels *bf16;
} candidate;

/* Best first. */
static const candidate candidates[] = {
#if defined(__x86_64__)
    {"avx512",
     has_avx512,
     {&fnn_kernels_f32__avx512, &fnn_kernels_f64__avx512},
     has_avx512bf16,
     &fnn_bf16_kernels__avx512},
    {"avx2", has_avx2, {&fnn_kernels_f32__avx2, &fnn_kernels_f64__avx2}, NULL, NULL},
#elif defined(__aarch64__)
    {"neon", always, {&fnn_kernels_f32__neon, &fnn_kernels_f64__neon}, NULL, NULL},
#endif
    {"scalar",
     always,
     {&fnn_kernels_f32__scalar, &fnn_kernels_f64__scalar},
     NULL,
     NULL},
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

const fnn_kernels *fnn_kernels_for(fnn_dtype dtype) {
  return active->tables[dtype == FNN_F64];
}

const fnn_bf16_kernels *fnn_bf16_kernels_active(void) {
  return active->bf16 && active->bf16_supported() ? active->bf16 : NULL;
}

int fnn_has_bf16(void) { return fnn_bf16_kernels_active() != NULL; }

const char *fnn_compiler(void) {
#if defined(__clang__)
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return "gcc " __VERSION__;
#else
  return "unknown";
#endif
}
