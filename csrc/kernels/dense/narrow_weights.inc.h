/* Weight gradients of a layer with few outputs, as their transpose: rows of dY^T by
 * vectors of X.  A tile of dW spends a whole vector on 3 outputs; a tile of dW^T has a
 * row for each and no padding.  Every element is the same chain of multiply-adds. */

/* Whether dW^T takes at most three quarters of the multiply-adds, in a single panel and
 * with a depth that pays for the transposition. */
FNN_INLINE int KERNEL(is_narrow)(const fnn_backward_weights *g) {
  const size_t width = (g->n + VL - 1) / VL * VL;
  return VL > 1 && width <= 16 && width <= NR && 4 * g->n <= 3 * width && g->m >= 16 &&
         !g->add;
}

/* VL rows of the panel at `to` from columns of dW^T, whose rows n to `width` are
 * zero. */
FNN_INLINE void KERNEL(narrow_rows_from)(const real *columns, ptrdiff_t row,
                                         size_t width, real *to) {
  for (size_t j = 0; j < width; j += VL)
    v_transpose(columns + (ptrdiff_t)j * row, row, to + j, (ptrdiff_t)NR);
}

/* Whole vectors of the rows [k0, k1) of the only panel; returns the first that is left:
 * beyond the last whole vector, X may end. */
static size_t KERNEL(narrow_backward_weights)(const fnn_backward_weights *g, size_t k0,
                                              size_t k1) {
  enum { WIDEST = 8 };
  FNN_ALIGNED real columns[16 * WIDEST * VL], gradient[VL * NR];
  const size_t width = (g->n + VL - 1) / VL * VL, most = g->n <= wide8_rows   ? 8
                                                         : g->n <= wide4_rows ? 4
                                                                              : 2;
  KERNEL(tile_args)
  t = {.depth = g->m,
       .a = g->dy,
       .a_row = 1,
       .a_step = g->dy_row,
       .b_step = g->x_row,
       .b_panel = (ptrdiff_t)(2 * VL),
       .out = columns,
       .magnitude = v_zero()};
  size_t k = k0;
  while (k1 - k >= VL) {
    size_t nv = most;
    while (nv * VL > k1 - k) nv /= 2;
    const size_t row = nv * VL;
    t.b = (const real *)g->x + k;
    t.out_row = (ptrdiff_t)row;
    KERNEL(row_blocks)(KERNEL(tile_store), g->n, nv, &t);
    memset(columns + g->n * row, 0, (width - g->n) * row * sizeof(real));
    for (size_t j = 0; j < row; j += VL, k += VL) {
      const size_t at = k * NR;
      if (!g->update) {
        KERNEL(narrow_rows_from)(columns + j, (ptrdiff_t)row, width,
                                 (real *)g->dw + at);
        continue;
      }
      KERNEL(narrow_rows_from)(columns + j, (ptrdiff_t)row, width, gradient);
      KERNEL(update_at)(g, at, gradient, VL, width);
    }
  }
  return k;
}
