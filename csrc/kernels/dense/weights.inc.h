/* Gradients of weights and biases: the ways in which dW := X^T dY is worked out, and
 * the choice among them. */

#ifndef FNN_WEIGHTS_WAY
#define FNN_WEIGHTS_WAY
typedef enum weights_way {
  TRANSPOSED,      /* few outputs: most of a tile of dW would be padding */
  STORED,          /* no update: the gradients are asked for */
  SGD_IN_TILE,     /* plain SGD takes one register, which the tile has left */
  ADAM_IN_NEXT,    /* plain Adam: its division and root hide behind the next tile */
  TILE_THEN_UPDATE /* the others need more registers than a tile leaves */
} weights_way;
#endif

/* The optimizer's step from gradients of `rows` rows, at place `at` of W. */
FNN_INLINE void KERNEL(update_at)(const fnn_backward_weights *g, size_t at,
                                  const real *gradient, size_t rows, size_t width) {
  real *w = (real *)g->w + at;
  KERNEL(update_rows)(g->update, w, gradient,
                      g->w_state[0] ? (real *)g->w_state[0] + at : w,
                      g->w_state[1] ? (real *)g->w_state[1] + at : w, rows, width);
}

#include "kernels/dense/narrow_weights.inc.h"
#include "kernels/dense/updating_tile.inc.h"

/* The way of `rows` rows of the panels of W. */
FNN_INLINE weights_way KERNEL(choose_weights_way)(const fnn_backward_weights *g,
                                                  size_t rows) {
  if (rows >= VL && KERNEL(is_narrow)(g)) return TRANSPOSED;
  if (!g->update) return STORED;
  if (g->update->plain && g->update->keep == 1.0 && g->update->kind == FNN_SGD)
    return SGD_IN_TILE;
  if (g->update->plain && g->update->kind == FNN_ADAM && HAS_UPDATING &&
      rows >= UPDATING_MR)
    return ADAM_IN_NEXT;
  return TILE_THEN_UPDATE;
}

/* A tile of gradients goes through a scratch that stays in L1. */
static void KERNEL(tile_then_update)(const fnn_backward_weights *g, size_t at,
                                     size_t rows, size_t nv, KERNEL(tile_args) * t) {
  FNN_ALIGNED real gradient[MR * NR];
  const real *a = t->a;
  const size_t blocks = KERNEL(blocks)(rows, MR);
  t->out = gradient;
  for (size_t block = 0, row = 0; block < blocks; block++) {
    const size_t mr = rows / blocks + (block < rows % blocks);
    KERNEL(go_to_rows)(t, a, row, mr);
    KERNEL(tile_store)(mr, nv, t);
    KERNEL(update_at)(g, at + row * NR, gradient, mr, nv * VL);
    row += mr;
  }
  t->a = a;
}

/* Rows [k0, k0 + rows) of a panel; t has the operands. */
static void KERNEL(panel_weights)(const fnn_backward_weights *g, weights_way way,
                                  size_t panel, size_t k0, size_t rows, size_t nv,
                                  KERNEL(tile_args) * t) {
  const size_t at = (panel * g->k + k0) * NR;
  switch (way) {
    case STORED:
      t->out = (real *)g->dw + at;
      KERNEL(row_blocks)(KERNEL(tile_store), rows, nv, t);
      break;
    case SGD_IN_TILE:
      t->out = (real *)g->w + at;
      t->rate = v_set1((real)g->update->rate);
      KERNEL(row_blocks)(KERNEL(tile_sgd), rows, nv, t);
      break;
    case ADAM_IN_NEXT: KERNEL(backward_weights_adam)(g, at, rows, nv, t); break;
    case TILE_THEN_UPDATE: KERNEL(tile_then_update)(g, at, rows, nv, t); break;
    case TRANSPOSED: break;
  }
}

#include "kernels/dense/packed_weights.inc.h"

static void KERNEL(dense_backward_weights)(const fnn_backward_weights *g, size_t panel0,
                                           size_t panel1, size_t k0, size_t k1) {
  assert(k0 <= k1 && k1 <= g->k && panel1 * NR < g->n + NR);
  if (panel0 == panel1) return;
  weights_way way = KERNEL(choose_weights_way)(g, k1 - k0);
  if (way == TRANSPOSED) { /* whole vectors of rows, and the rest in another way */
    k0 = KERNEL(narrow_backward_weights)(g, k0, k1);
    way = KERNEL(choose_weights_way)(g, k1 - k0);
  }
  if (k0 == k1) return;
  if (fnn_packs_inputs(g->m, g->k, (panel1 - panel0) * NR, sizeof(real))) {
    for (; panel0 < panel1; panel0 += FNN_GRADIENT_PANELS) {
      const size_t most = panel0 + FNN_GRADIENT_PANELS;
      KERNEL(packed_backward_weights)(g, way, panel0, most < panel1 ? most : panel1, k0,
                                      k1);
    }
    return;
  }
  KERNEL(tile_args)
  t = {.depth = g->m,
       .a = (const real *)g->x + k0,
       .a_row = 1,
       .a_step = g->x_row,
       .b_step = g->dy_row,
       .out_row = (ptrdiff_t)NR,
       .goes_on = !g->update && g->add,
       .magnitude = v_zero()};
  for (size_t panel = panel0; panel < panel1; panel++) {
    t.b = (const real *)g->dy + panel * NR;
    KERNEL(panel_weights)(g, way, panel, k0, k1 - k0,
                          fnn_vectors(VL, panel * NR, g->n, 2), &t);
  }
}

static void KERNEL(dense_backward_bias)(const fnn_backward_weights *g, size_t panel) {
  const size_t column = panel * NR, nv = fnn_vectors(VL, column, g->n, 2);
  const real *dy = (const real *)g->dy + column;
  vec sum[2] = {v_zero(), v_zero()};
  for (size_t j = 0; g->add && j < nv; j++)
    sum[j] = v_load((const real *)g->db + column + j * VL);
  for (size_t i = 0; i < g->m; i++, dy += g->dy_row)
    for (size_t j = 0; j < nv; j++) sum[j] = v_add(sum[j], v_load(dy + j * VL));
  real db[NR];
  v_store(db, sum[0]);
  v_store(db + VL, sum[1]);
  if (!g->update) {
    memcpy((real *)g->db + column, db, sizeof db);
    return;
  }
  real *b = (real *)g->b + column;
  KERNEL(update_rows)(g->b_update, b, db,
                      g->b_state[0] ? (real *)g->b_state[0] + column : b,
                      g->b_state[1] ? (real *)g->b_state[1] + column : b, 1, nv * VL);
}
