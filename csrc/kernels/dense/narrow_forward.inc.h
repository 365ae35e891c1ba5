/* Y = X W + b of a layer with very few outputs, as its transpose: a tile of Y spends a
 * whole vector on 3 outputs, a tile of Y^T has rows of X in its lanes.  Transposing X
 * takes as long as multiplying it by a third of a vector of outputs, so it pays below
 * that.  Every element is the same chain of multiply-adds. */

FNN_INLINE int KERNEL(is_narrow_forward)(const fnn_forward *f) {
  return VL > 1 && 3 * f->n <= VL && f->k % VL == 0 && fnn_is_fused(f->activation.kind);
}

/* Whole vectors of the rows [row0, row1); returns the first row that is left. */
static size_t KERNEL(narrow_forward)(const fnn_forward *f, size_t row0, size_t row1,
                                     vec *magnitude) {
  enum { VECTORS = 4, STEPS = 32 }; /* what is transposed at once stays in L1 */
  FNN_ALIGNED real xt[STEPS * VECTORS * VL], yt[VL * VECTORS * VL];
  const int relu = f->activation.kind == FNN_RELU;
  const size_t n = f->n;
  while (row1 - row0 >= VL) {
    size_t nv = n <= wide4_rows ? VECTORS : 2;
    while (nv * VL > row1 - row0) nv /= 2;
    const size_t rows = nv * VL;
    KERNEL(tile_args)
    t = {.a_row = 1,
         .a_step = (ptrdiff_t)NR,
         .b = xt,
         .b_step = (ptrdiff_t)rows,
         .b_panel = (ptrdiff_t)(2 * VL),
         .out = yt,
         .out_row = (ptrdiff_t)rows,
         .magnitude = v_zero()};
    memset(yt + n * rows, 0, (VL - n) * rows * sizeof(real));
    for (size_t k = 0; k < f->k; k += t.depth) {
      t.goes_on = k > 0;
      t.depth = f->k - k < STEPS ? f->k - k : STEPS;
      t.a = (const real *)f->w + k * NR;
      for (size_t i = 0; i < rows; i += VL) {
        const real *x = (const real *)f->x + (ptrdiff_t)(row0 + i) * f->x_row;
        for (size_t s = 0; s < t.depth; s += VL)
          v_transpose(x + k + s, f->x_row, xt + s * rows + i, (ptrdiff_t)rows);
      }
      KERNEL(row_blocks)(KERNEL(tile_store), n, nv, &t);
    }
    for (size_t j = 0; j < n; j++)
      for (size_t i = 0; i < rows; i += VL) {
        real *at = yt + j * rows + i;
        const vec v = v_add(v_load(at), v_set1(((const real *)f->b)[j]));
        *magnitude = v_add(*magnitude, v_abs(v));
        v_store(at, relu ? v_max(v_zero(), v) : v);
      }
    for (size_t i = 0; i < rows; i += VL, row0 += VL)
      v_transpose(yt + i, (ptrdiff_t)rows, (real *)f->y + (ptrdiff_t)row0 * f->y_row,
                  f->y_row);
  }
  return row0;
}
