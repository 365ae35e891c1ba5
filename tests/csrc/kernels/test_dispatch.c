/* The kernels under test are those that were asked for. */
#include <string.h>

#include "kernels/bfloat16.h"
#include "support/network.h"
#include "support/support.h"
#include "tests.h"

void test_active_isa(void) {
  for (int i = 0; i < 2; i++) {
    const fnn_dtype dtype = i ? FNN_F64 : FNN_F32;
    const fnn_kernels *kernels = fnn_kernels_for(dtype);
    CHECK(strcmp(kernels->isa, fnn_active_isa()) == 0, "%s runs instead of %s",
          kernels->isa, fnn_active_isa());
    CHECK(kernels->dtype == dtype, "a table of the other dtype");
    CHECK(kernels->itemsize == itemsize(dtype), "itemsize %zu", kernels->itemsize);
    CHECK(kernels->nr == 2 * kernels->lanes, "NR %zu", kernels->nr);
    CHECK(kernels->lanes <= 16 && 16 % kernels->lanes == 0, "%zu lanes",
          kernels->lanes);
    static const struct {
      const char *isa;
      size_t bytes;
    } vectors[] = {{"avx512", 64}, {"avx2", 32}, {"neon", 16}};
    size_t bytes = itemsize(dtype); /* scalar */
    for (size_t v = 0; v < sizeof vectors / sizeof *vectors; v++)
      if (!strcmp(kernels->isa, vectors[v].isa)) bytes = vectors[v].bytes;
    CHECK(kernels->lanes * itemsize(dtype) == bytes, "vectors of %zu bytes",
          kernels->lanes * itemsize(dtype));
  }
}

void test_bfloat16_where_it_is(void) {
  int has_pairs = 0;
#if defined(__x86_64__)
  has_pairs =
      __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw");
#endif
  const int expected = has_pairs && !strcmp(fnn_active_isa(), "avx512");
  CHECK((fnn_bf16_kernels_of(2) != NULL) == expected, "pairs are %sexpected with %s",
        expected ? "" : "not ", fnn_active_isa());
  CHECK(fnn_bf16_kernels_of(1)->values == 1, "no rounded values with %s",
        fnn_active_isa());
  /* Each is measured once in a process, by the kernels of then. */
  const double one = fnn_multiply_add_rate(1), two = fnn_multiply_add_rate(2);
  CHECK(one > 0.1 && (two > 0.0 ? has_pairs : !expected), "rates %g and %g", one, two);
  CHECK(fnn_multiply_add_rate(1) == one && fnn_multiply_add_rate(2) == two,
        "rates %g and %g, then others", one, two);
}

void test_isa_names(void) {
  const char *before = fnn_active_isa();
  const char *wrong[] = {"", "AVX2", "avx", "sse2", "avx512 ", "scalarx"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
    CHECK(!fnn_select_isa(wrong[i]), "\"%s\" was accepted", wrong[i]);
  CHECK(fnn_active_isa() == before, "a refused name changed the choice to %s",
        fnn_active_isa());
  size_t built = 0;
  while (fnn_built_isa(built)) built++;
  CHECK(built >= 1 && strcmp(fnn_built_isa(built - 1), "scalar") == 0,
        "the fall-back is not the last of %zu", built);
  CHECK(fnn_built_isa(built + 5) == NULL, "a name beyond the end");
  CHECK(strlen(fnn_compiler()) > 4, "\"%s\"", fnn_compiler());
  /* The best one is the first that can be chosen by name. */
  size_t first = 0;
  while (!fnn_select_isa(fnn_built_isa(first))) first++;
  CHECK(fnn_select_isa(NULL) && !strcmp(fnn_active_isa(), fnn_built_isa(first)),
        "%s is chosen, %s is better", fnn_active_isa(), fnn_built_isa(first));
  fnn_select_isa(before);
}

static int has_fma(const char *isa) { return strcmp(isa, "scalar") != 0; }

/* All FMA instruction sets train to the same bits, lane for lane. */
void test_fma_isas_give_the_same_bits(void) {
  const char *before = fnn_active_isa(), *first = NULL;
  for (size_t c = 0; c < trained_cases(); c++) {
    if (trained_spec(c)->dtype == FNN_BF16) continue; /* only one of them has it */
    problem p = problem_new(trained_spec(c));
    snapshot expected = {0};
    for (size_t i = 0; fnn_built_isa(i); i++) {
      if (!has_fma(fnn_built_isa(i)) || !fnn_select_isa(fnn_built_isa(i))) continue;
      snapshot now = train(&p, &(run_options){.threads = 1, .fused = 1});
      if (!expected.bytes) {
        first = fnn_built_isa(i);
        expected = now;
        continue;
      }
      CHECK(same_snapshots(&now, &expected), "%s and %s differ: %s", first,
            fnn_built_isa(i), p.spec.name);
      snapshot_free(&now);
    }
    snapshot_free(&expected);
    problem_free(&p);
  }
  fnn_select_isa(before);
}
