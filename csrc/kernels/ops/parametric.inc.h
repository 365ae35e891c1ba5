/* A function with a parameter of each column, Y := X + A (f(X) - X); F keeps f(X). */
static double KERNEL(parametric_forward)(const fnn_parametric *p, size_t row0,
                                         size_t row1) {
  const real *a = p->a;
  vec magnitude = v_zero();
  for (size_t i = row0; i < row1; i++) {
    const real *x = (const real *)p->x + (ptrdiff_t)i * p->x_row;
    real *y = (real *)p->y + (ptrdiff_t)i * p->y_row;
    real *f = p->f ? (real *)p->f + (ptrdiff_t)i * p->y_row : y;
    KERNEL(activation_forward)(p->function, x, f, p->n);
    for (size_t j = 0; j < p->n; j += VL) {
      const vec from = v_load(x + j);
      const vec out = v_fma(v_load(a + j), v_sub(v_load(f + j), from), from);
      magnitude = v_add(magnitude, v_abs(v_keep(out, p->n - j, v_zero())));
      v_store(y + j, out);
    }
  }
  return KERNEL(sum_lanes)(magnitude);
}

/* dX := dY + A (dY f'(X) - dY), times act' of the layer below. */
static double KERNEL(parametric_backward)(const fnn_parametric *p, size_t row0,
                                          size_t row1) {
  const real *a = p->a;
  vec magnitude = v_zero();
  for (size_t i = row0; i < row1; i++) {
    const real *x = (const real *)p->x + (ptrdiff_t)i * p->x_row;
    const real *f = (const real *)p->f + (ptrdiff_t)i * p->y_row;
    const real *dy = (const real *)p->dy + (ptrdiff_t)i * p->y_row;
    real *dx = (real *)p->dx + (ptrdiff_t)i * p->dx_row;
    KERNEL(activation_backward)(p->function, dy,
                                fnn_saves_input(p->function.kind) ? x : f, dx, p->n);
    for (size_t j = 0; j < p->n; j += VL) {
      const vec d = v_load(dy + j);
      const vec out = v_fma(v_load(a + j), v_sub(v_load(dx + j), d), d);
      const vec kept = v_keep(out, p->n - j, v_zero());
      magnitude = v_add(magnitude, v_abs(kept));
      v_store(dx + j, kept);
    }
    if (p->activation.kind != FNN_IDENTITY)
      KERNEL(activation_backward)(p->activation, dx,
                                  (const real *)p->saved + (ptrdiff_t)i * p->dx_row, dx,
                                  p->n);
  }
  return KERNEL(sum_lanes)(magnitude);
}

/* da[j] := sum_i dy[i, j] (f[i, j] - x[i, j]) of one panel. */
static void KERNEL(parametric_backward_weights)(const fnn_parametric *p, size_t panel) {
  for (size_t j = panel * NR; j < (panel + 1) * NR && j < p->n; j += VL) {
    real *da = (real *)p->da + j;
    vec sum = p->add ? v_load(da) : v_zero();
    for (size_t i = 0; i < p->m; i++) {
      const vec x = v_load((const real *)p->x + (ptrdiff_t)i * p->x_row + j);
      const vec f = v_load((const real *)p->f + (ptrdiff_t)i * p->y_row + j);
      const vec dy = v_load((const real *)p->dy + (ptrdiff_t)i * p->y_row + j);
      sum = v_fma(dy, v_keep(v_sub(f, x), p->n - j, v_zero()), sum);
    }
    v_store(da, sum);
  }
}
