/* The three products of a dense layer on bfloat16 pairs (bfloat16.h).  Included by
 * isa_avx512bf16.c. */
#include "kernels/dense/bfloat16_tile.inc.h"

PAIR_INLINE double BF16(sum_lanes)(vf32 v) {
  float lanes[VL];
  double sum = 0.0;
  vf32_store(lanes, v);
  for (size_t i = 0; i < VL; i++) sum += (double)lanes[i];
  return sum;
}

static double BF16(round_rows)(const float *x, ptrdiff_t x_row, size_t rows, size_t n,
                               uint32_t *to, ptrdiff_t to_row) {
  vf32 magnitude[2] = {vf32_zero(), vf32_zero()};
  for (size_t i = 0; i < rows; i++, x += x_row, to += to_row) {
    size_t j = 0;
    for (; j + NR <= n; j += NR) {
      const vf32 first = vf32_load(x + j), second = vf32_load(x + j + VL);
      pairs_store(to + j / 2, pairs_round_row(first, second));
      magnitude[0] = vf32_add(magnitude[0], vf32_abs(first));
      magnitude[1] = vf32_add(magnitude[1], vf32_abs(second));
    }
    if (j == n) continue;
    const size_t rest = n - j;
    const vf32 first = vf32_load_first(x + j, rest);
    const vf32 second =
        rest > VL ? vf32_load_first(x + j + VL, rest - VL) : vf32_zero();
    pairs_store(to + j / 2, pairs_round_row(first, second));
    magnitude[0] = vf32_add(magnitude[0], vf32_abs(first));
    magnitude[1] = vf32_add(magnitude[1], vf32_abs(second));
  }
  return BF16(sum_lanes)(vf32_add(magnitude[0], magnitude[1]));
}

static void BF16(round_panel)(const float *panel, size_t k, uint32_t *to) {
  for (size_t i = 0; i < k; i += 2)
    for (size_t j = 0; j < NR; j += VL) {
      const vf32 even = vf32_load(panel + i * NR + j);
      const vf32 odd = i + 1 < k ? vf32_load(panel + (i + 1) * NR + j) : vf32_zero();
      pairs_store(to + i / 2 * NR + j, pairs_round_column(even, odd));
    }
}

/* tile() on rows [0, rows) of A and out in nearly equal blocks of at most MR. */
PAIR_INLINE void BF16(row_blocks)(bf16_tile_function tile, size_t rows, size_t nv,
                                  bf16_tile_args *t) {
  const bf16_tile_args first = *t;
  const size_t blocks = (rows + MR - 1) / MR;
  for (size_t block = 0, row = 0; block < blocks; block++) {
    const size_t mr = rows / blocks + (block < rows % blocks);
    t->a = first.a + (ptrdiff_t)row * first.a_row;
    if (first.out) t->out = first.out + (ptrdiff_t)row * first.out_row;
    if (first.gate) t->gate = first.gate + (ptrdiff_t)row * first.gate_row;
    if (first.rounded) t->rounded = first.rounded + (ptrdiff_t)row * first.rounded_row;
    tile(mr, nv, t);
    row += mr;
  }
  const vf32 magnitude = t->magnitude;
  *t = first;
  t->magnitude = magnitude;
}

static double BF16(forward)(const fnn_bf16_forward *f, size_t row0, size_t row1,
                            size_t panel0, size_t panel1) {
  assert(row0 <= row1 && panel1 * NR < f->n + NR);
  const size_t rows = row1 - row0, depth = (f->k + 1) / 2;
  const fnn_activation_kind kind = f->activation.kind;
  const bf16_tile_function tile =
      kind == FNN_RELU ? BF16(tile_bias_relu) : BF16(tile_bias);
  const int separate = !fnn_is_fused(kind);
  assert(f->y || !separate);
  float *y = f->y ? f->y + (ptrdiff_t)row0 * f->y_row : NULL;
  float *z = separate && f->z ? f->z + (ptrdiff_t)row0 * f->y_row : y;
  uint32_t *rounded = f->rounded ? f->rounded + (ptrdiff_t)row0 * f->rounded_row : NULL;
  bf16_tile_args t = {.depth = depth,
                      .a = f->x + (ptrdiff_t)row0 * f->x_row,
                      .a_row = f->x_row,
                      .a_step = 1,
                      .b_panel = (ptrdiff_t)(depth * NR),
                      .out_row = f->y_row,
                      .rounded_row = f->rounded_row,
                      .magnitude = vf32_zero()};
  for (size_t panel = panel0, step; panel < panel1; panel += step) {
    const size_t column = panel * NR;
    size_t nv;
    step = fnn_tile_panels(rows, wide8_rows, wide4_rows, VL, panel1 - panel,
                           f->n - column, &nv);
    t.b = f->w + panel * depth * NR;
    t.bias = f->b + column;
    t.out = z ? z + column : NULL;
    t.rounded = rounded && !separate ? rounded + column / 2 : NULL;
    BF16(row_blocks)(tile, rows, nv, &t);
    for (size_t i = 0; separate && i < rows; i++) {
      const ptrdiff_t at = (ptrdiff_t)i * f->y_row + (ptrdiff_t)column;
      f->kernels->activation_forward(f->activation, z + at, y + at, nv * VL);
    }
    if (separate && rounded) {
      const size_t width = column + nv * VL < f->n ? nv * VL : f->n - column;
      BF16(round_rows)(y + column, f->y_row, rows, width, rounded + column / 2,
                       f->rounded_row);
    }
  }
  return BF16(sum_lanes)(t.magnitude);
}

/* Columns [k0, k0 + NR) of W^T in pairs of n: a block of 16 pairs of k by 16 columns is
 * transposed as it is, 32 bits a pair, and then two rows are taken across. */
static void BF16(pack_transposed)(const uint32_t *w, size_t k, size_t n, size_t k0,
                                  uint32_t *to) {
  const size_t depth = (k + 1) / 2, first = k0 / 2;
  const size_t rows = depth - first < VL ? depth - first : VL;
  _Alignas(64) uint32_t block[VL * VL] = {0}, turned[VL * VL];
  for (size_t column = 0; column < n; column += VL) {
    const uint32_t *src =
        w + (column / NR * depth + first) * NR + column % NR; /* rows NR apart */
    ptrdiff_t src_row = NR;
    /* The next panel's are far away, where the hardware does not look ahead. */
    for (size_t i = 0; i < rows; i++) __builtin_prefetch(src + depth * NR + i * NR);
    if (rows < VL) {
      for (size_t i = 0; i < rows; i++)
        pairs_store(block + i * VL, pairs_load(src + i * NR));
      src = block;
      src_row = VL;
    }
    vf32_transpose((const float *)src, src_row, (float *)turned, VL);
#pragma GCC unroll 8
    for (size_t j = 0; j < VL; j += 2, to += NR) {
      const pairs even = pairs_load(turned + j * VL);
      const pairs odd = pairs_load(turned + (j + 1) * VL);
      pairs_store(to, pairs_across(even, odd, 0));
      pairs_store(to + VL, pairs_across(even, odd, 1));
    }
  }
}

static double BF16(backward_input)(const fnn_bf16_backward_input *g, size_t row0,
                                   size_t row1, size_t panel0, size_t panel1) {
  assert(row0 <= row1 && panel1 * NR < g->k + NR);
  const size_t rows = row1 - row0;
  const int gated = g->activation.kind == FNN_RELU;
  const int separate = !gated && g->activation.kind != FNN_IDENTITY;
  bf16_tile_args t = {.depth = (g->n + 1) / 2,
                      .a = g->dy + (ptrdiff_t)row0 * g->dy_row,
                      .a_row = g->dy_row,
                      .a_step = 1,
                      .b = g->scratch,
                      .out_row = g->dx_row,
                      .gate_row = g->x_row,
                      .rounded_row = g->rounded_row,
                      .magnitude = vf32_zero()};
  uint32_t *rounded = g->rounded ? g->rounded + (ptrdiff_t)row0 * g->rounded_row : NULL;
  for (size_t panel = panel0; panel < panel1; panel++) {
    const size_t column = panel * NR, nv = fnn_vectors(VL, column, g->k, 2);
    const ptrdiff_t at = (ptrdiff_t)row0 * g->dx_row + (ptrdiff_t)column;
    BF16(pack_transposed)(g->w, g->k, g->n, column, g->scratch);
    t.out = g->dx + at;
    t.gate = gated ? g->x + (ptrdiff_t)row0 * g->x_row + column / 2 : NULL;
    t.rounded = rounded && !separate ? rounded + column / 2 : NULL;
    BF16(row_blocks)(gated ? BF16(tile_gated) : BF16(tile_store), rows, nv, &t);
    for (size_t i = 0; separate && i < rows; i++) {
      float *row = t.out + (ptrdiff_t)i * g->dx_row;
      const float *saved = g->saved + at + (ptrdiff_t)i * g->dx_row;
      g->kernels->activation_backward(g->activation, row, saved, row, nv * VL);
    }
    if (separate && rounded) {
      const size_t width = column + nv * VL < g->k ? nv * VL : g->k - column;
      BF16(round_rows)(t.out, g->dx_row, rows, width, rounded + column / 2,
                       g->rounded_row);
    }
  }
  return BF16(sum_lanes)(t.magnitude);
}

/* Pairs of rows of NR columns of dY. */
static void BF16(pack_columns)(const uint32_t *dy, ptrdiff_t row, size_t m,
                               uint32_t *to) {
  for (size_t i = 0; i < m; i += 2, dy += 2 * row, to += NR) {
    const pairs even = pairs_load(dy);
    const pairs odd = i + 1 < m ? pairs_load(dy + row) : pairs_zero();
    pairs_store(to, pairs_across(even, odd, 0));
    pairs_store(to + VL, pairs_across(even, odd, 1));
  }
}

/* Pairs of rows of the 2 * width columns from x on, width <= 7: 16 to a step. */
static void BF16(pack_block)(const uint32_t *x, ptrdiff_t row, size_t m, size_t width,
                             uint32_t *to) {
  for (size_t i = 0; i < m; i += 2, x += 2 * row, to += VL) {
    const pairs even = pairs_load_first(x, width);
    const pairs odd = i + 1 < m ? pairs_load_first(x + row, width) : pairs_zero();
    pairs_store(to, pairs_across(even, odd, 0));
  }
}

/* A tile of W's gradient, mr rows from row k0 on: stored, or consumed. */
static void BF16(finish_block)(const fnn_bf16_backward_weights *g, bf16_tile_args *t,
                               size_t panel, size_t k0, size_t mr, float *tile) {
  const size_t nv = fnn_vectors(VL, panel * NR, g->n, 2);
  const size_t at = (panel * g->k + k0) * NR;
  uint32_t *rounded = g->w_pairs + (panel * ((g->k + 1) / 2) + k0 / 2) * NR;
  if (!g->update) {
    t->out = g->dw + at;
    t->goes_on = g->add;
    BF16(tile_store)(mr, nv, t);
    return;
  }
  if (g->update->kind == FNN_SGD && g->update->plain && g->update->keep == 1.0) {
    t->out = g->w + at;
    t->rounded = rounded;
    BF16(tile_sgd)(mr, nv, t);
    return;
  }
  t->out = tile;
  if (nv == 1) memset(tile, 0, sizeof(float) * MR * NR);
  BF16(tile_store)(mr, nv, t);
  g->kernels->update(g->update, g->w + at, tile,
                     g->w_state[0] ? g->w_state[0] + at : NULL,
                     g->w_state[1] ? g->w_state[1] + at : NULL, mr * NR);
  BF16(round_panel)(g->w + at, mr, rounded);
}

static void BF16(backward_weights)(const fnn_bf16_backward_weights *g, size_t panel0,
                                   size_t panel1, size_t k0, size_t k1) {
  assert(k0 % 2 == 0 && (k1 % 2 == 0 || k1 == g->k) && k0 <= k1 && k1 <= g->k);
  const size_t depth = (g->m + 1) / 2, group = fnn_bf16_group(depth);
  const size_t width = (k1 - k0 + 1) / 2, blocks = (width + MR / 2 - 1) / (MR / 2);
  uint32_t *columns = g->scratch, *block = columns + group * depth * NR;
  float *tile = (float *)(block + depth * VL);
  bf16_tile_args t = {.depth = depth,
                      .a = block,
                      .a_row = 1,
                      .a_step = VL,
                      .out_row = NR,
                      .rate = vf32_set1(g->update ? (float)g->update->rate : 0.0f),
                      .magnitude = vf32_zero()};
  for (size_t first = panel0; first < panel1; first += group) {
    const size_t end = panel1 - first < group ? panel1 : first + group;
    for (size_t panel = first; panel < end; panel++)
      BF16(pack_columns)(g->dy + panel * (NR / 2), g->dy_row, g->m,
                         columns + (panel - first) * depth * NR);
    for (size_t i = 0, pair = k0 / 2; i < blocks; i++) {
      const size_t each = width / blocks + (i < width % blocks), k = 2 * pair;
      BF16(pack_block)(g->x + pair, g->x_row, g->m, each, block);
      for (size_t panel = first; panel < end; panel++) {
        t.b = columns + (panel - first) * depth * NR;
        BF16(finish_block)(g, &t, panel, k, k + 2 * each <= k1 ? 2 * each : k1 - k,
                           tile);
      }
      pair += each;
    }
  }
}
