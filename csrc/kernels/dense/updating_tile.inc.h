/* Weight gradients whose Adam step rides in the FMA loop of the next tile.
 *
 * A division and a square root of a vector take as long as 16 multiply-adds (6 and
 * 10 cycles on Zen 4), but in a unit of their own: between the steps of a tile they
 * cost next to nothing.  A gradient tile goes to one of two scratch tiles, and while
 * the next is summed up, its rows are updated one by one, and what the next update
 * will read is fetched.  What Adam adds to a step fell from 27 to 18 % (784-50-10,
 * batch 32), 16 to 10 (784-128-10, batch 64) and 9 to 5 (784-512-512-10, batch 128);
 * the rest is its other seven operations, which want the units of the multiply-adds.
 *
 * Of no help: updating single vectors instead of rows, tiles of 13 or 14 rows,
 * fetching earlier.  With the 16 registers of AVX2 it is slower (5 rows of
 * accumulators do not hide the latency): there gradients are updated tile by tile. */

/* Of the accumulators' registers, two rows go to the update. */
#undef UPDATING_MR
#undef HAS_UPDATING
#define UPDATING_MR (MR - 2)
#define HAS_UPDATING (MR >= 12)

/* A finished gradient tile and where its step goes: rows of NR values. */
typedef struct KERNEL(pending) {
  size_t rows;
  int decays;
  const real *g;
  real *w, *s0, *s1;
} KERNEL(pending);

FNN_INLINE void KERNEL(adam_row)(const int nv, const KERNEL(constants) * c,
                                 const KERNEL(pending) * p, size_t row) {
#pragma GCC unroll 2
  for (int j = 0; j < nv; j++) {
    const size_t at = row * NR + (size_t)j * VL;
    const vec g = v_load(p->g + at);
    vec w = v_load(p->w + at);
    if (p->decays) w = v_mul(c->keep, w);
    v_store(p->w + at, KERNEL(rule)(FNN_ADAM, c, w, g, p->s0 + at, p->s1 + at));
  }
}

FNN_INLINE void KERNEL(tile_updating)(const int mr, const int nv,
                                      const KERNEL(tile_args) * t,
                                      const KERNEL(constants) * c,
                                      const KERNEL(pending) * before,
                                      const KERNEL(pending) * after) {
  vec acc[16][2];
#pragma GCC unroll 16
  for (int i = 0; i < mr; i++)
#pragma GCC unroll 2
    for (int j = 0; j < nv; j++) acc[i][j] = v_zero();

  const real *a = t->a, *b = t->b;
  const ptrdiff_t a_step = t->a_step, b_step = t->b_step;
  const size_t share = t->depth / (before->rows + 1);
  for (size_t row = 0; row <= before->rows; row++) {
    const size_t steps = row < before->rows ? share : t->depth - row * share;
    for (size_t s = steps; s; s--, a += a_step, b += b_step) {
      vec vb[2];
#pragma GCC unroll 2
      for (int j = 0; j < nv; j++) vb[j] = v_load(b + (size_t)j * VL);
#pragma GCC unroll 16
      for (int i = 0; i < mr; i++) {
        const vec va = v_set1(a[i]);
#pragma GCC unroll 2
        for (int j = 0; j < nv; j++) acc[i][j] = v_fma(va, vb[j], acc[i][j]);
      }
    }
    if (row == before->rows) break;
    KERNEL(adam_row)(nv, c, before, row);
#pragma GCC unroll 2
    for (int j = 0; j < nv; j++) {
      const size_t at = row * NR + (size_t)j * VL;
      __builtin_prefetch(after->w + at, 1);
      __builtin_prefetch(after->s0 + at, 1);
      __builtin_prefetch(after->s1 + at, 1);
    }
  }

  real *out = t->out;
#pragma GCC unroll 16
  for (int i = 0; i < mr; i++, out += NR)
#pragma GCC unroll 2
    for (int j = 0; j < nv; j++) v_store(out + (size_t)j * VL, acc[i][j]);
}

/* Not inlined: the compiler would keep the constants in registers and the accumulators
 * on the stack. */
static __attribute__((noinline)) void KERNEL(updating_tile)(
    size_t mr, size_t nv, const KERNEL(tile_args) * t, const KERNEL(constants) * c,
    const KERNEL(pending) * before, const KERNEL(pending) * after) {
  /* clang-format off */
#define CASE(rows, vectors)                                               \
  case rows * 2 + vectors - 1:                                            \
    if (rows <= UPDATING_MR)                                              \
      KERNEL(tile_updating)(rows, vectors, t, c, before, after);          \
    break;
#define CASES(rows) CASE(rows, 1) CASE(rows, 2)
  switch (mr * 2 + nv - 1) {
    CASES(5) CASES(6) CASES(7)
    CASES(8) CASES(9) CASES(10) CASES(11) CASES(12)
    default: break;
  }
#undef CASES
#undef CASE
  /* clang-format on */
}

/* Rows [k0, k1) of a panel; t as in panel_weights. */
static void KERNEL(backward_weights_adam)(const fnn_backward_weights *g, size_t at,
                                          size_t rows, size_t nv,
                                          KERNEL(tile_args) * t) {
  const KERNEL(constants) c = KERNEL(splat)(g->update);
  FNN_ALIGNED real scratch[2][UPDATING_MR * NR];
  const real *a = t->a;
  const size_t blocks = KERNEL(blocks)(rows, UPDATING_MR);
  KERNEL(pending)
  before = {.rows = 0}, after = {.decays = g->update->keep != 1.0,
                                 .w = (real *)g->w + at,
                                 .s0 = (real *)g->w_state[0] + at,
                                 .s1 = (real *)g->w_state[1] + at};
  for (size_t block = 0, row = 0; block < blocks; block++, row += after.rows) {
    after.rows = rows / blocks + (block < rows % blocks);
    after.g = t->out = scratch[block % 2];
    KERNEL(go_to_rows)(t, a, row, after.rows);
    KERNEL(updating_tile)(after.rows, nv, t, &c, &before, &after);
    before = after;
    after.w += after.rows * NR;
    after.s0 += after.rows * NR;
    after.s1 += after.rows * NR;
  }
  t->a = a;
  KERNEL(update_rows)(g->update, before.w, before.g, before.s0, before.s1, before.rows,
                      nv * VL);
}
