/* The micro-kernel and the three products of a dense layer.
 *
 * All three are one tile: mr rows of A broadcast against nv vectors of B, accumulators
 * in registers, the reduction strictly in order.
 *
 *            out                A                      B            reduction
 *   forward  Y (m, n)           X rows, in place       W panel      k
 *   dX       dX (m, k)          dY rows, in place      W^T panel    n
 *   dW       W panel (k, n)     X columns, in place    dY columns   m
 *
 * Rows are split into nearly equal blocks (32 = 11 + 11 + 10, not 14 + 14 + 4): every
 * block of six rows or more runs near the FMA peak, a block of four does not. */

/* The end of a tile, while it is still in registers. */
#ifndef FNN_EPILOGUES
#define FNN_EPILOGUES
typedef enum epilogue {
  AFFINE, /* out = max(least, acc + added) */
  GATED,  /* out = acc where gate > 0, else 0 */
  SGD     /* out -= rate * acc */
} epilogue;
#endif

typedef struct KERNEL(tile_args) {
  size_t depth;
  const real *a; /* element (row i, step s) at a[i * a_row + s * a_step] */
  ptrdiff_t a_row, a_step;
  int is_packed; /* A: block after block, see pack_columns() */
  const real *b; /* step s at b + s * b_step; every 2 vectors another b_panel */
  ptrdiff_t b_step, b_panel;
  real *out;
  ptrdiff_t out_row;
  int goes_on; /* the chain starts from what is in out, not from 0; not for SGD */
  epilogue ending;
  const real *bias;  /* tile_bias, tile_bias_relu */
  const real *added; /* AFFINE: the bias, or zeros */
  vec least;         /* AFFINE: 0, or minus infinity */
  const real *gate;  /* GATED: laid out as out */
  vec rate;          /* SGD */
  vec magnitude;     /* sum of |acc + bias| or |acc|; not for SGD */
} KERNEL(tile_args);

/* Every accumulator's next multiply-add. */
FNN_INLINE void KERNEL(step)(const int mr, const int nv, vec acc[16][8], const real *a,
                             ptrdiff_t a_row, const real *b, ptrdiff_t b_panel) {
  if (nv <= 2) { /* tall: panel vectors stay, broadcasts pass */
    vec vb[2];
#pragma GCC unroll 2
    for (int j = 0; j < nv; j++) vb[j] = v_load(b + (size_t)j * VL);
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++) {
      const vec va = v_set1(a[i * a_row]);
#pragma GCC unroll 2
      for (int j = 0; j < nv; j++) acc[i][j] = v_fma(va, vb[j], acc[i][j]);
    }
  } else { /* wide: broadcasts stay, panel vectors pass */
    vec va[16];
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++) va[i] = v_set1(a[i * a_row]);
#pragma GCC unroll 8
    for (int j = 0; j < nv; j++) {
      const vec vb = v_load(b + j / 2 * b_panel + (size_t)(j % 2) * VL);
#pragma GCC unroll 16
      for (int i = 0; i < mr; i++) acc[i][j] = v_fma(va[i], vb, acc[i][j]);
    }
  }
}

/* All steps.  A step of a tall tile of AVX2 is 20 instructions, and a core whose other
 * hyper-thread is busy issues little more than two in a cycle: there the three or four of
 * the loop cost a tenth, so that four steps share them. */
FNN_INLINE void KERNEL(steps)(const int mr, const int nv, vec acc[16][8],
                              const KERNEL(tile_args) * t) {
  const real *a = t->a, *b = t->b;
  const ptrdiff_t a_row = t->a_row, a_step = t->a_step;
  const ptrdiff_t b_step = t->b_step, b_panel = t->b_panel;
  const int unrolled = sizeof(vec) == 32 && nv == 2 && mr >= (int)MR - 1;
  size_t s = t->depth;
  if (unrolled && a_step == 1 && b_step == (ptrdiff_t)NR) { /* as forward and dX */
#pragma GCC unroll 4
    for (; s; s--, a++, b += NR) KERNEL(step)(mr, nv, acc, a, a_row, b, b_panel);
  } else if (unrolled) {
#pragma GCC unroll 4
    for (; s; s--, a += a_step, b += b_step)
      KERNEL(step)(mr, nv, acc, a, a_row, b, b_panel);
  } else {
    for (; s; s--, a += a_step, b += b_step)
      KERNEL(step)(mr, nv, acc, a, a_row, b, b_panel);
  }
}

/* What the end of the tile below will touch: its rows lie in pages of their own, and
 * come from L2 or further away (a tenth of forward and dX in large layers).  Fetching A's
 * rows or the next panel of B gained nothing. */
FNN_INLINE void KERNEL(prefetch_next)(const int mr, const KERNEL(tile_args) * t) {
  enum { LINE = FNN_ALIGNMENT / sizeof(real) };
#pragma GCC unroll 16
  for (int i = mr; i < 2 * mr; i++)
#pragma GCC unroll 2
    for (int j = 0; j < (int)NR; j += LINE)
      __builtin_prefetch(t->out + i * t->out_row + j);
  if (t->ending != GATED) return;
#pragma GCC unroll 16
  for (int i = mr; i < 2 * mr; i++)
#pragma GCC unroll 2
    for (int j = 0; j < (int)NR; j += LINE)
      __builtin_prefetch(t->gate + i * t->out_row + j);
}

/* All endings share the code of the steps, for the size of the binary. */
FNN_INLINE void KERNEL(tile)(const int mr, const int nv, KERNEL(tile_args) * t) {
  vec acc[16][8];
#pragma GCC unroll 16
  for (int i = 0; i < mr; i++)
#pragma GCC unroll 8
    for (int j = 0; j < nv; j++) acc[i][j] = v_zero();
  if (t->goes_on) {
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 8
      for (int j = 0; j < nv; j++)
        acc[i][j] = v_load(t->out + i * t->out_row + (size_t)j * VL);
  }

  if (nv == 2) KERNEL(prefetch_next)(mr, t);
  KERNEL(steps)(mr, nv, acc, t);

  const epilogue ending = nv <= 2 ? t->ending : AFFINE;
  real *out = t->out;
  const ptrdiff_t out_row = t->out_row;
  if (ending == SGD) {
    const vec rate = t->rate;
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++, out += out_row)
#pragma GCC unroll 8
      for (int j = 0; j < nv; j++) {
        real *at = out + (size_t)j * VL;
        v_store(at, v_fnma(rate, acc[i][j], v_load(at)));
      }
    return;
  }
  vec magnitude = t->magnitude;
  if (ending == GATED) {
    const real *gate = t->gate;
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++, out += out_row, gate += out_row)
#pragma GCC unroll 8
      for (int j = 0; j < nv; j++) {
        const size_t at = (size_t)j * VL;
        magnitude = v_add(magnitude, v_abs(acc[i][j]));
        v_store(out + at, v_gate(v_load(gate + at), acc[i][j]));
      }
  } else {
    const real *added = t->added;
    const vec least = t->least;
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++, out += out_row)
#pragma GCC unroll 8
      for (int j = 0; j < nv; j++) {
        const vec v = v_add(acc[i][j], v_load(added + (size_t)j * VL));
        magnitude = v_add(magnitude, v_abs(v));
        v_store(out + (size_t)j * VL, v_max(least, v));
      }
  }
  t->magnitude = magnitude;
}

/* Turns mr and nv into constants. */
static void KERNEL(any_tile)(size_t mr, size_t nv, KERNEL(tile_args) * t) {
  /* clang-format off */
#define CASE(rows, vectors)                         \
  case rows * 8 + vectors - 1:                      \
    if (rows <= MR) KERNEL(tile)(rows, vectors, t); \
    break;
#define CASES(rows) CASE(rows, 1) CASE(rows, 2)
#define WIDE(rows)                                    \
  case rows * 8 + 3:                                  \
    if (rows <= wide4_rows) KERNEL(tile)(rows, 4, t); \
    break;                                            \
  case rows * 8 + 7:                                  \
    if (rows <= wide8_rows) KERNEL(tile)(rows, 8, t); \
    break;
  switch (mr * 8 + nv - 1) {
    CASES(1) CASES(2) CASES(3) CASES(4) CASES(5) CASES(6) CASES(7)
    CASES(8) CASES(9) CASES(10) CASES(11) CASES(12) CASES(13) CASES(14)
    WIDE(1) WIDE(2) WIDE(3) WIDE(4) WIDE(5) /* forward, and what is narrow */
    default: break;
  }
#undef WIDE
#undef CASES
#undef CASE
  /* clang-format on */
}

static void KERNEL(tile_bias)(size_t mr, size_t nv, KERNEL(tile_args) * t) {
  t->ending = AFFINE;
  t->added = t->bias;
  t->least = v_set1(-(real)INFINITY);
  KERNEL(any_tile)(mr, nv, t);
}

static void KERNEL(tile_bias_relu)(size_t mr, size_t nv, KERNEL(tile_args) * t) {
  t->ending = AFFINE;
  t->added = t->bias;
  t->least = v_zero();
  KERNEL(any_tile)(mr, nv, t);
}

/* Minus zero, added, and a maximum with minus infinity leave every value, NaN and minus
 * zero included. */
static void KERNEL(tile_store)(size_t mr, size_t nv, KERNEL(tile_args) * t) {
  FNN_ALIGNED static const real minus_zeros[] = {[0 ... 8 * VL - 1] = -(real)0};
  t->ending = AFFINE;
  t->added = minus_zeros;
  t->least = v_set1(-(real)INFINITY);
  KERNEL(any_tile)(mr, nv, t);
}

static void KERNEL(tile_gated)(size_t mr, size_t nv, KERNEL(tile_args) * t) {
  t->ending = GATED;
  KERNEL(any_tile)(mr, nv, t);
}

static void KERNEL(tile_sgd)(size_t mr, size_t nv, KERNEL(tile_args) * t) {
  t->ending = SGD;
  KERNEL(any_tile)(mr, nv, t);
}

typedef void (*KERNEL(tile_function))(size_t mr, size_t nv, KERNEL(tile_args) *);

FNN_INLINE double KERNEL(sum_lanes)(vec v) {
  real lanes[VL];
  double sum = 0.0;
  v_store(lanes, v);
  for (size_t i = 0; i < VL; i++) sum += (double)lanes[i];
  return sum;
}

/* Block number i of nearly equal ones: where it begins, and its size. */
FNN_INLINE size_t KERNEL(blocks)(size_t count, size_t most) {
  return (count + most - 1) / most;
}

FNN_INLINE size_t KERNEL(block_begin)(size_t count, size_t blocks, size_t i) {
  return count / blocks * i + (i < count % blocks ? i : count % blocks);
}

/* Moves A on to a block of mr rows that begins at `row` of what `first` describes. */
FNN_INLINE void KERNEL(go_to_rows)(KERNEL(tile_args) * t, const real *first, size_t row,
                                   size_t mr) {
  if (t->is_packed) {
    t->a = first + row * t->depth;
    t->a_step = (ptrdiff_t)mr;
  } else {
    t->a = first + (ptrdiff_t)row * t->a_row;
  }
}

/* tile() on rows [0, rows) of A and out in nearly equal blocks of at most MR. */
FNN_INLINE void KERNEL(row_blocks)(KERNEL(tile_function) tile, size_t rows, size_t nv,
                                   KERNEL(tile_args) * t) {
  const KERNEL(tile_args) first = *t;
  const size_t blocks = (rows + MR - 1) / MR;
  for (size_t block = 0, row = 0; block < blocks; block++) {
    const size_t mr = rows / blocks + (block < rows % blocks);
    KERNEL(go_to_rows)(t, first.a, row, mr);
    t->out = first.out + (ptrdiff_t)row * first.out_row;
    if (first.gate) t->gate = first.gate + (ptrdiff_t)row * first.out_row;
    tile(mr, nv, t);
    row += mr;
  }
  const vec magnitude = t->magnitude;
  *t = first;
  t->magnitude = magnitude;
}

#include "kernels/dense/narrow_forward.inc.h"

/* Blocks of A, of rows x steps, that stay in L2 while all panels pass; with chains of
 * this length, and more rows at a time if they are shorter.  A chain goes on from one
 * block to the next through memory, which rounds nothing. */
#ifndef FNN_BLOCKS
#define FNN_BLOCKS
enum { BLOCK_BYTES = 384 * 1024 };
#endif

/* Z for some of the rows and steps; `tile` ends the chains or leaves them open. */
static void KERNEL(forward_block)(const fnn_forward *f, KERNEL(tile_function) tile,
                                  size_t rows, size_t panel0, size_t panel1,
                                  const real *w, real *z, KERNEL(tile_args) * t) {
  for (size_t panel = panel0, step; panel < panel1; panel += step) {
    const size_t column = panel * NR;
    size_t nv;
    step = fnn_tile_panels(rows, wide8_rows, wide4_rows, VL, panel1 - panel,
                           f->n - column, &nv);
    t->b = w + panel * f->k * NR;
    t->bias = (const real *)f->b + column;
    t->out = z + column;
    KERNEL(row_blocks)(tile, rows, nv, t);
  }
}

static double KERNEL(dense_forward)(const fnn_forward *f, size_t row0, size_t row1,
                                    size_t panel0, size_t panel1) {
  assert(row0 <= row1 && panel1 * NR < f->n + NR);
  const fnn_activation_kind kind = f->activation.kind;
  const KERNEL(tile_function) last =
      kind == FNN_RELU ? KERNEL(tile_bias_relu) : KERNEL(tile_bias);
  /* The others cost more than another pass over the rows. */
  const int separate = !fnn_is_fused(kind);
  const size_t column = panel0 * NR;
  const size_t width = fnn_vectors(VL, column, f->n, 2 * (panel1 - panel0)) * VL;
  const size_t few = row1 - row0 <= wide4_rows, k = f->k;
  const size_t k_blocks = few ? 1 : KERNEL(blocks)(k, FNN_BLOCK_STEPS);
  const size_t most_rows = BLOCK_BYTES / sizeof(real) / (k / k_blocks + 1) + MR;
  vec magnitude = v_zero();
  if (KERNEL(is_narrow_forward)(f) && panel0 < panel1)
    row0 = KERNEL(narrow_forward)(f, row0, row1, &magnitude);
  const size_t row_blocks = KERNEL(blocks)(row1 - row0, most_rows);
  for (size_t r = 0; r < row_blocks; r++) {
    const size_t first = row0 + KERNEL(block_begin)(row1 - row0, row_blocks, r);
    const size_t end = row0 + KERNEL(block_begin)(row1 - row0, row_blocks, r + 1);
    const size_t rows = end - first;
    real *y = (real *)f->y + (ptrdiff_t)first * f->y_row;
    real *z = separate && f->z ? (real *)f->z + (ptrdiff_t)first * f->y_row : y;
    KERNEL(tile_args)
    t = {.a = (const real *)f->x + (ptrdiff_t)first * f->x_row,
         .a_row = f->x_row,
         .a_step = 1,
         .b_step = (ptrdiff_t)NR,
         .b_panel = (ptrdiff_t)(k * NR),
         .out_row = f->y_row,
         .magnitude = v_zero()};
    for (size_t i = 0; i < k_blocks; i++) {
      const size_t k0 = KERNEL(block_begin)(k, k_blocks, i);
      t.depth = KERNEL(block_begin)(k, k_blocks, i + 1) - k0;
      t.goes_on = i > 0;
      t.magnitude = magnitude; /* of ended chains only */
      KERNEL(forward_block)(f, i + 1 < k_blocks ? KERNEL(tile_store) : last, rows,
                            panel0, panel1, (const real *)f->w + k0 * NR, z, &t);
      t.a += t.depth;
    }
    magnitude = t.magnitude;
    for (size_t i = 0; separate && i < rows; i++) {
      const ptrdiff_t at = (ptrdiff_t)i * f->y_row + (ptrdiff_t)column;
      KERNEL(activation_forward)(f->activation, z + at, y + at, width);
    }
  }
  return KERNEL(sum_lanes)(magnitude);
}

/* Columns [k0, k0 + NR) of rows [n0, n1) of W^T: dst[j - n0][i] = W[k0 + i][j]; rows
 * of W beyond k count as zero; n0 is a multiple of NR.  Prefetching the next panel's
 * pieces gained nothing. */
static void KERNEL(pack_transposed)(const real *w, size_t k, size_t k0, size_t n0,
                                    size_t n1, real *dst) {
  const size_t rows = k - k0 < NR ? k - k0 : NR;
  w += n0 * k;
  for (size_t column = n0; column < n1; column += NR, w += k * NR, dst += NR * NR) {
    const real *src = w + k0 * NR;
    const size_t width = fnn_vectors(VL, column, n1, 2) * VL;
    size_t i = 0;
    for (; i + VL <= rows; i += VL)
      for (size_t j = 0; j < width; j += VL)
        v_transpose(src + i * NR + j, (ptrdiff_t)NR, dst + j * NR + i, (ptrdiff_t)NR);
    for (; i < NR; i++)
      for (size_t j = 0; j < width; j++)
        dst[j * NR + i] = i < rows ? src[i * NR + j] : (real)0;
  }
}

static double KERNEL(dense_backward_input)(const fnn_backward_input *g, size_t row0,
                                           size_t row1, size_t panel0, size_t panel1) {
  assert(row0 <= row1 && panel1 * NR < g->k + NR);
  const size_t rows = row1 - row0;
  const int gated = g->activation.kind == FNN_RELU;
  const int separate = !gated && g->activation.kind != FNN_IDENTITY;
  const size_t blocks = KERNEL(blocks)(g->n, FNN_BLOCK_STEPS);
  const size_t steps = KERNEL(blocks)(KERNEL(blocks)(g->n, blocks), NR) * NR;
  /* Few rows meet each panel of W^T as soon as it is packed; blocks of more rows
   * stay in L2 while they meet several. */
  const size_t row_blocks = KERNEL(blocks)(rows, FNN_INPUT_ROWS);
  const size_t most = row_blocks > 1 ? FNN_INPUT_PANELS : 1;
  KERNEL(tile_args)
  t = {.a_row = g->dy_row, .a_step = 1, .b_step = (ptrdiff_t)NR, .out_row = g->dx_row};
  vec magnitude = v_zero();
  for (size_t n0 = 0; n0 < g->n; n0 += steps) {
    const int ends = n0 + steps >= g->n;
    const KERNEL(tile_function) tile =
        ends && gated ? KERNEL(tile_gated) : KERNEL(tile_store);
    t.depth = ends ? g->n - n0 : steps;
    t.goes_on = n0 > 0;
    t.magnitude = v_zero(); /* that of ended chains counts */
    for (size_t first = panel0, end; first < panel1; first = end) {
      end = first + most < panel1 ? first + most : panel1;
      for (size_t panel = first; panel < end; panel++)
        KERNEL(pack_transposed)(g->w, g->k, panel * NR, n0, n0 + t.depth,
                                (real *)g->scratch + (panel - first) * steps * NR);
      for (size_t block = 0; block < row_blocks; block++) {
        const size_t begin = KERNEL(block_begin)(rows, row_blocks, block);
        const size_t row = row0 + begin;
        t.a = (const real *)g->dy + (ptrdiff_t)row * g->dy_row + n0;
        for (size_t panel = first; panel < end; panel++) {
          const ptrdiff_t at = (ptrdiff_t)row * g->dx_row + (ptrdiff_t)(panel * NR);
          t.b = (const real *)g->scratch + (panel - first) * steps * NR;
          t.out = (real *)g->dx + at;
          t.gate = gated ? (const real *)g->saved + at : NULL;
          KERNEL(row_blocks)(tile,
                             KERNEL(block_begin)(rows, row_blocks, block + 1) - begin,
                             fnn_vectors(VL, panel * NR, g->k, 2), &t);
        }
      }
    }
    magnitude = t.magnitude;
  }
  const ptrdiff_t at = (ptrdiff_t)row0 * g->dx_row + (ptrdiff_t)(panel0 * NR);
  const size_t width = fnn_vectors(VL, panel0 * NR, g->k, 2 * (panel1 - panel0)) * VL;
  for (size_t i = 0; separate && i < rows; i++) {
    real *row = (real *)g->dx + at + (ptrdiff_t)i * g->dx_row;
    const real *saved = (const real *)g->saved + at + (ptrdiff_t)i * g->dx_row;
    KERNEL(activation_backward)(g->activation, row, saved, row, width);
  }
  return KERNEL(sum_lanes)(magnitude);
}
