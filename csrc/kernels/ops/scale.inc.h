/* A factor for each column, Y := X * scale. */

static double KERNEL(scale_forward)(const fnn_norm *f, size_t row0, size_t row1) {
  const real *scale = f->scale;
  vec magnitude = v_zero();
  for (size_t i = row0; i < row1; i++) {
    const real *x = (const real *)f->x + (ptrdiff_t)i * f->x_row;
    real *y = (real *)f->y + (ptrdiff_t)i * f->y_row;
    for (size_t j = 0; j < f->n; j += VL) {
      const vec out = v_mul(v_load(x + j), v_load(scale + j));
      magnitude = v_add(magnitude, v_abs(out));
      v_store(y + j, out);
    }
  }
  return KERNEL(sum_lanes)(magnitude);
}

/* dX := dY * scale, times act' of the layer below. */
static double KERNEL(scale_backward)(const fnn_norm_backward *g, size_t row0,
                                     size_t row1) {
  const real *scale = g->scale;
  vec magnitude = v_zero();
  for (size_t i = row0; i < row1; i++) {
    const real *dy = (const real *)g->dy + (ptrdiff_t)i * g->dy_row;
    real *dx = (real *)g->dx + (ptrdiff_t)i * g->dx_row;
    for (size_t j = 0; j < g->n; j += VL) {
      const vec out = v_mul(v_load(dy + j), v_load(scale + j));
      magnitude = v_add(magnitude, v_abs(out));
      v_store(dx + j, out);
    }
    KERNEL(through_activation)(g, i, 0, g->n);
  }
  return KERNEL(sum_lanes)(magnitude);
}

/* dscale[j] := sum_i dy[i, j] x[i, j] of one panel. */
static void KERNEL(scale_backward_weights)(const fnn_norm_backward *g, size_t panel) {
  const size_t column = panel * NR, width = fnn_vectors(VL, column, g->n, 2) * VL;
  for (size_t j = column; j < column + width; j += VL) {
    vec sum = g->add ? v_load((const real *)g->dscale + j) : v_zero();
    for (size_t i = 0; i < g->m; i++)
      sum = v_fma(v_load((const real *)g->dy + (ptrdiff_t)i * g->dy_row + j),
                  v_load((const real *)g->x + (ptrdiff_t)i * g->x_row + j), sum);
    v_store((real *)g->dscale + j, sum);
  }
}
