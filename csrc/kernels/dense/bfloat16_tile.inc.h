/* The tile of bfloat16 pairs: that of gemm.inc.h with two multiply-adds to a step. */
#define BF16(op) fnn_##op##_bf16__avx512
#define PAIR_INLINE static inline __attribute__((always_inline))

enum { VL = vf32_lanes, NR = FNN_PAIR_NR, MR = FNN_PAIR_MR };

typedef enum bf16_ending {
  BF16_AFFINE, /* out = max(least, acc + added) */
  BF16_GATED,  /* out = acc where gate > 0, else 0 */
  BF16_SGD     /* out -= rate * acc, and rounded (k in pairs) */
} bf16_ending;

typedef struct bf16_tile_args {
  size_t depth;      /* pairs of the reduction */
  const uint32_t *a; /* element (row i, step s) at a[i * a_row + s * a_step] */
  ptrdiff_t a_row, a_step;
  const uint32_t *b; /* step s at b + s * NR; every 2 vectors another b_panel */
  ptrdiff_t b_panel;
  float *out; /* NULL: only rounded */
  ptrdiff_t out_row;
  int goes_on; /* the chain starts from what is in out; AFFINE only */
  bf16_ending ending;
  const float *bias;    /* tile_bias, tile_bias_relu */
  const float *added;   /* AFFINE: the bias, or zeros */
  vf32 least;           /* AFFINE: 0, or minus infinity */
  const uint32_t *gate; /* pairs of neighbours */
  ptrdiff_t gate_row;
  vf32 rate;
  /* Of out: pairs of neighbours, or NULL; SGD: pairs of two rows, NR apart. */
  uint32_t *rounded;
  ptrdiff_t rounded_row;
  vf32 magnitude; /* sum of |acc + bias| or |acc|; not for SGD */
} bf16_tile_args;

PAIR_INLINE void BF16(tile)(const int mr, const int nv, bf16_tile_args *t) {
  const bf16_ending ending = nv <= 2 ? t->ending : BF16_AFFINE;
  vf32 acc[MR][8];
#pragma GCC unroll 16
  for (int i = 0; i < mr; i++)
#pragma GCC unroll 8
    for (int j = 0; j < nv; j++) acc[i][j] = vf32_zero();
  if (t->goes_on) {
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 8
      for (int j = 0; j < nv; j++)
        acc[i][j] = vf32_load(t->out + i * t->out_row + j * VL);
  }

  if (ending == BF16_SGD) { /* from memory, in large networks */
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 2
      for (int j = 0; j < nv; j++)
        __builtin_prefetch(t->out + i * t->out_row + j * VL, 1);
#pragma GCC unroll 8
    for (int i = 0; i < mr; i += 2)
#pragma GCC unroll 2
      for (int j = 0; j < nv; j++)
        __builtin_prefetch(t->rounded + i / 2 * NR + j * VL, 1);
  }
  const uint32_t *a = t->a, *b = t->b;
  const ptrdiff_t a_row = t->a_row, a_step = t->a_step, b_panel = t->b_panel;
  for (size_t s = t->depth; s; s--, a += a_step, b += NR) {
    if (nv <= 2) { /* tall: panel vectors stay, broadcasts pass */
      pairs vb[2];
#pragma GCC unroll 2
      for (int j = 0; j < nv; j++) vb[j] = pairs_load(b + j * VL);
#pragma GCC unroll 16
      for (int i = 0; i < mr; i++) {
        const pairs va = pairs_set1(a + i * a_row);
#pragma GCC unroll 2
        for (int j = 0; j < nv; j++) acc[i][j] = pairs_fma(va, vb[j], acc[i][j]);
      }
    } else { /* wide: broadcasts stay, panel vectors pass */
      pairs va[MR];
#pragma GCC unroll 16
      for (int i = 0; i < mr; i++) va[i] = pairs_set1(a + i * a_row);
#pragma GCC unroll 8
      for (int j = 0; j < nv; j++) {
        const pairs vb = pairs_load(b + j / 2 * b_panel + j % 2 * VL);
#pragma GCC unroll 16
        for (int i = 0; i < mr; i++) acc[i][j] = pairs_fma(va[i], vb, acc[i][j]);
      }
    }
  }

  if (ending == BF16_SGD) {
    float *w = t->out;
#pragma GCC unroll 8
    for (int i = 0; i < mr; i += 2)
#pragma GCC unroll 2
      for (int j = 0; j < nv; j++) {
        float *at = w + i * t->out_row + j * VL;
        const vf32 even = vf32_fnma(t->rate, acc[i][j], vf32_load(at));
        vf32 odd = vf32_zero();
        vf32_store(at, even);
        if (i + 1 < mr) {
          odd = vf32_fnma(t->rate, acc[i + 1][j], vf32_load(at + t->out_row));
          vf32_store(at + t->out_row, odd);
        }
        pairs_store(t->rounded + i / 2 * NR + j * VL, pairs_round_column(even, odd));
      }
    return;
  }
  vf32 magnitude = t->magnitude;
  if (ending == BF16_GATED) {
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 2
      for (int j = 0; j < nv; j++) {
        magnitude = vf32_add(magnitude, vf32_abs(acc[i][j]));
        acc[i][j] = vf32_gate_pairs(t->gate + i * t->gate_row, j, acc[i][j]);
      }
  } else {
    const vf32 least = t->least;
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 8
      for (int j = 0; j < nv; j++) {
        const vf32 v = vf32_add(acc[i][j], vf32_load(t->added + j * VL));
        magnitude = vf32_add(magnitude, vf32_abs(v));
        acc[i][j] = vf32_max(least, v);
      }
  }
  t->magnitude = magnitude;
  if (t->out) {
    float *out = t->out;
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++, out += t->out_row)
#pragma GCC unroll 8
      for (int j = 0; j < nv; j++) vf32_store(out + j * VL, acc[i][j]);
  }
  if (t->rounded) {
    uint32_t *rounded = t->rounded;
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++, rounded += t->rounded_row)
#pragma GCC unroll 4
      for (int j = 0; j < nv; j += 2) {
        const vf32 second = j + 1 < nv ? acc[i][j + 1] : vf32_zero();
        pairs_store(rounded + j * VL / 2, pairs_round_row(acc[i][j], second));
      }
  }
}

/* Turns mr and nv into constants. */
static void BF16(any_tile)(size_t mr, size_t nv, bf16_tile_args *t) {
  /* clang-format off */
#define CASE(rows, vectors)       \
  case rows * 8 + vectors - 1:    \
    BF16(tile)(rows, vectors, t); \
    break;
#define CASES(rows) CASE(rows, 1) CASE(rows, 2)
  switch (mr * 8 + nv - 1) {
    CASES(1) CASES(2) CASES(3) CASES(4) CASES(5) CASES(6) CASES(7)
    CASES(8) CASES(9) CASES(10) CASES(11) CASES(12) CASES(13) CASES(14)
    CASE(1, 4) CASE(2, 4) CASE(3, 4) CASE(4, 4) CASE(5, 4) /* forward */
    CASE(1, 8) CASE(2, 8) CASE(3, 8)
    default: break;
  }
#undef CASES
#undef CASE
  /* clang-format on */
}

typedef void (*bf16_tile_function)(size_t mr, size_t nv, bf16_tile_args *);

/* As in gemm.inc.h. */
static void BF16(tile_bias)(size_t mr, size_t nv, bf16_tile_args *t) {
  t->ending = BF16_AFFINE;
  t->added = t->bias;
  t->least = vf32_set1(-INFINITY);
  BF16(any_tile)(mr, nv, t);
}

static void BF16(tile_bias_relu)(size_t mr, size_t nv, bf16_tile_args *t) {
  t->ending = BF16_AFFINE;
  t->added = t->bias;
  t->least = vf32_zero();
  BF16(any_tile)(mr, nv, t);
}

static void BF16(tile_store)(size_t mr, size_t nv, bf16_tile_args *t) {
  _Alignas(64) static const float minus_zeros[] = {[0 ... 2 * VL - 1] = -0.0f};
  t->ending = BF16_AFFINE;
  t->added = minus_zeros;
  t->least = vf32_set1(-INFINITY);
  BF16(any_tile)(mr, nv, t);
}

static void BF16(tile_gated)(size_t mr, size_t nv, bf16_tile_args *t) {
  t->ending = BF16_GATED;
  BF16(any_tile)(mr, nv, t);
}

static void BF16(tile_sgd)(size_t mr, size_t nv, bf16_tile_args *t) {
  t->ending = BF16_SGD;
  BF16(any_tile)(mr, nv, t);
}
