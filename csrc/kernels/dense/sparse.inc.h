/* The products of a dense layer with sparse rows: the chains of dense rows without the
 * terms that are 0, which cannot change more than the sign of a 0. */

/* z := one row times nv vectors of the panels at w, `panel` values apart, plus b;
 * returns magnitude plus their sum before ReLU. */
FNN_INLINE vec KERNEL(sparse_chains)(const int nv, const real *x,
                                     const int32_t *columns, size_t count,
                                     const real *w, size_t panel, const real *b,
                                     int relu, real *z, vec magnitude) {
  vec acc[8];
#pragma GCC unroll 8
  for (int j = 0; j < nv; j++) acc[j] = v_zero();
  for (size_t s = 0; s < count; s++) {
    const vec value = v_set1(x[s]);
    const real *row = w + (size_t)columns[s] * NR;
#pragma GCC unroll 8
    for (int j = 0; j < nv; j++)
      acc[j] = v_fma(
          value, v_load(row + (size_t)(j / 2) * panel + (size_t)(j % 2) * VL), acc[j]);
  }
#pragma GCC unroll 8
  for (int j = 0; j < nv; j++) {
    const vec sum = v_add(acc[j], v_load(b + (size_t)j * VL));
    magnitude = v_add(magnitude, v_abs(sum));
    v_store(z + (size_t)j * VL, relu ? v_max(v_zero(), sum) : sum);
  }
  return magnitude;
}

static double KERNEL(sparse_forward)(const fnn_forward *f, const fnn_sparse *sparse,
                                     size_t row0, size_t row1, size_t panel0,
                                     size_t panel1) {
  const fnn_activation_kind kind = f->activation.kind;
  const int relu = kind == FNN_RELU;
  const int separate = !relu && kind != FNN_IDENTITY && kind != FNN_SOFTMAX;
  const size_t column = panel0 * NR, panel = f->k * NR;
  const size_t vectors = fnn_vectors(VL, column, f->n, 2 * (panel1 - panel0));
  const real *w = (const real *)f->w + panel0 * panel, *b = (const real *)f->b + column;
  vec magnitude = v_zero();
  for (size_t i = row0; i < row1; i++) {
    size_t count;
    const int32_t *columns;
    const real *x = fnn_sparse_row(sparse, i, sizeof(real), &columns, &count);
    real *y = (real *)f->y + (ptrdiff_t)i * f->y_row + column;
    real *z = separate && f->z ? (real *)f->z + (ptrdiff_t)i * f->y_row + column : y;
    for (size_t j = 0, nv; j < vectors; j += nv) {
      const size_t left = vectors - j;
      nv = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
#define CHAINS(count_)                                                              \
  if (nv == count_)                                                                 \
    magnitude = KERNEL(sparse_chains)(count_, x, columns, count, w + j / 2 * panel, \
                                      panel, b + j * VL, relu, z + j * VL, magnitude);
      CHAINS(8) CHAINS(4) CHAINS(2) CHAINS(1)
#undef CHAINS
    }
    if (separate) KERNEL(activation_forward)(f->activation, z, y, vectors * VL);
  }
  return KERNEL(sum_lanes)(magnitude);
}

static void KERNEL(sparse_backward_weights)(const fnn_backward_weights *g,
                                            const fnn_sparse *sparse, size_t panel0,
                                            size_t panel1, size_t k0, size_t k1) {
  assert(!g->update && k0 <= k1 && k1 <= g->k);
  const size_t panel = g->k * NR;
  const size_t vectors = fnn_vectors(VL, panel0 * NR, g->n, 2 * (panel1 - panel0));
  real *dw = (real *)g->dw + panel0 * panel;
  for (size_t p = 0; !g->add && p < panel1 - panel0; p++)
    memset(dw + p * panel + k0 * NR, 0, (k1 - k0) * NR * sizeof(real));
  for (size_t i = 0; i < g->m; i++) {
    size_t count;
    const int32_t *columns;
    const real *x = fnn_sparse_row(sparse, i, sizeof(real), &columns, &count);
    const real *dy = (const real *)g->dy + (ptrdiff_t)i * g->dy_row + panel0 * NR;
    for (size_t s = 0; s < count; s++) {
      const size_t k = (size_t)columns[s];
      if (k < k0 || k >= k1) continue;
      const vec value = v_set1(x[s]);
      for (size_t j = 0; j < vectors; j++) {
        real *at = dw + j / 2 * panel + k * NR + j % 2 * VL;
        v_store(at, v_fma(value, v_load(dy + j * VL), v_load(at)));
      }
    }
  }
}
