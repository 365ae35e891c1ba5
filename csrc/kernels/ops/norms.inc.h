/* Batch norm and layer norm.  Statistics of columns are sums over the rows in order, in
 * double; so are those of rows, folded as every reduction. */

#ifndef FNN_ROW_STATISTICS
#define FNN_ROW_STATISTICS
enum { DOUBLE_LANES = vf64_lanes, DOUBLE_VECTORS = REDUCTION / vf64_lanes };

FNN_INLINE double fold_doubles(const vf64 *partial) {
  double value[REDUCTION];
  for (size_t i = 0; i < DOUBLE_VECTORS; i++)
    vf64_store(value + i * DOUBLE_LANES, partial[i]);
  for (size_t half = REDUCTION / 2; half; half /= 2)
    for (size_t i = 0; i < half; i++) value[i] += value[i + half];
  return value[0];
}
#endif

/* Columns [column, column + width) of rows [row0, row1); width is whole vectors. */
FNN_INLINE double KERNEL(normalize)(const fnn_norm *f, size_t row0, size_t row1,
                                    size_t column, size_t width) {
  const real *mean = f->mean, *inverse = f->inverse;
  const real *scale = f->scale, *shift = f->shift;
  vec magnitude = v_zero();
  for (size_t i = row0; i < row1; i++) {
    const real *x = (const real *)f->x + (ptrdiff_t)i * f->x_row;
    real *y = (real *)f->y + (ptrdiff_t)i * f->y_row;
    real *z = f->z ? (real *)f->z + (ptrdiff_t)i * f->y_row : y;
    for (size_t j = column; j < column + width; j += VL) {
      const vec factor = v_mul(v_load(scale + j), v_load(inverse + j));
      const vec centred = v_sub(v_load(x + j), v_load(mean + j));
      const vec out = v_fma(centred, factor, v_load(shift + j));
      magnitude = v_add(magnitude, v_abs(out));
      v_store(z + j, out);
    }
    if (f->activation.kind != FNN_IDENTITY)
      KERNEL(activation_forward)(f->activation, z + column, y + column, width);
  }
  return KERNEL(sum_lanes)(magnitude);
}

FNN_INLINE void KERNEL(column_statistics)(const fnn_norm *f, size_t column,
                                          const size_t width, double *mean,
                                          double *variance) {
  const real *x = (const real *)f->x + column;
  const double m = (double)f->m;
  double near[NR] = {0.0}, off[NR] = {0.0}, square[NR] = {0.0};
  for (size_t i = 0; i < f->m; i++, x += f->x_row)
    for (size_t j = 0; j < width; j++) near[j] += (double)x[j];
  for (size_t j = 0; j < width; j++) near[j] /= m;
  /* The error of the first mean comes out of the deviations from it. */
  x = (const real *)f->x + column;
  for (size_t i = 0; i < f->m; i++, x += f->x_row)
    for (size_t j = 0; j < width; j++) {
      const double d = (double)x[j] - near[j];
      off[j] += d;
      square[j] += d * d;
    }
  for (size_t j = 0; j < width; j++) {
    const double left = (square[j] - off[j] * off[j] / m) / m;
    mean[j] = near[j] + off[j] / m;
    variance[j] = left < 0.0 ? 0.0 : left;
    if (square[j] < INFINITY) continue;
    mean[j] = near[j]; /* all normalised values become 0 */
    variance[j] = square[j];
  }
}

static double KERNEL(batch_norm_forward)(const fnn_norm *f, size_t panel0,
                                         size_t panel1) {
  double magnitude = 0.0;
  for (size_t panel = panel0; panel < panel1; panel++) {
    const size_t column = panel * NR;
    const size_t width = fnn_vectors(VL, column, f->n, 2) * VL;
    double mean[NR], variance[NR];
    if (width == NR) KERNEL(column_statistics)(f, column, NR, mean, variance);
    else KERNEL(column_statistics)(f, column, VL, mean, variance);
    const double unbiased = f->m > 1 ? (double)f->m / (double)(f->m - 1) : 1.0;
    for (size_t j = 0; j < width; j++) {
      const size_t at = column + j;
      ((real *)f->mean)[at] = (real)mean[j];
      ((real *)f->inverse)[at] = (real)(1.0 / sqrt(variance[j] + f->epsilon));
      if (!f->new_mean || at >= f->n) continue;
      const double rest = 1.0 - f->momentum;
      ((real *)f->new_mean)[at] =
          (real)(rest * (double)((const real *)f->old_mean)[at] +
                 f->momentum * mean[j]);
      ((real *)f->new_variance)[at] =
          (real)(rest * (double)((const real *)f->old_variance)[at] +
                 f->momentum * (variance[j] * unbiased));
    }
    magnitude += KERNEL(normalize)(f, 0, f->m, column, width);
  }
  return magnitude;
}

static double KERNEL(fixed_norm_forward)(const fnn_norm *f, size_t row0, size_t row1) {
  return KERNEL(normalize)(f, row0, row1, 0, fnn_vectors(VL, 0, f->n, f->n) * VL);
}

/* dx *= act' of the layer below, `count` columns of row i. */
FNN_INLINE void KERNEL(through_activation)(const fnn_norm_backward *g, size_t i,
                                           size_t column, size_t count) {
  if (g->activation.kind == FNN_IDENTITY) return;
  const ptrdiff_t at = (ptrdiff_t)i * g->dx_row + (ptrdiff_t)column;
  real *dx = (real *)g->dx + at;
  KERNEL(activation_backward)(g->activation, dx, (const real *)g->saved + at, dx,
                              count);
}

FNN_INLINE void KERNEL(column_sums)(const fnn_norm_backward *g, size_t column,
                                    const size_t width, double *sum, double *product) {
  const real *x = (const real *)g->x + column, *dy = (const real *)g->dy + column;
  const real *mean = (const real *)g->mean + column;
  const real *inverse = (const real *)g->inverse + column;
  for (size_t j = 0; j < width; j++) sum[j] = product[j] = 0.0;
  for (size_t i = 0; i < g->m; i++, x += g->x_row, dy += g->dy_row)
    for (size_t j = 0; j < width; j++) {
      const real normal = (x[j] - mean[j]) * inverse[j];
      sum[j] += (double)dy[j];
      product[j] += (double)dy[j] * (double)normal;
    }
}

/* With N the normalised X and means over the rows:
 *   dX = scale * inverse * (dY - mean(dY) - N mean(dY N)). */
static double KERNEL(batch_norm_backward)(const fnn_norm_backward *g, size_t panel0,
                                          size_t panel1) {
  const real *mean = g->mean, *inverse = g->inverse, *scale = g->scale;
  vec magnitude = v_zero();
  for (size_t panel = panel0; panel < panel1; panel++) {
    const size_t column = panel * NR;
    const size_t width = fnn_vectors(VL, column, g->n, 2) * VL;
    double sum[NR], product[NR];
    real first[NR], second[NR];
    if (width == NR) KERNEL(column_sums)(g, column, NR, sum, product);
    else KERNEL(column_sums)(g, column, VL, sum, product);
    for (size_t j = 0; j < width; j++) {
      real *dscale = (real *)g->dscale + column + j;
      real *dshift = (real *)g->dshift + column + j;
      *dscale = (g->add ? *dscale : (real)0) + (real)product[j];
      *dshift = (g->add ? *dshift : (real)0) + (real)sum[j];
      first[j] = (real)(sum[j] / (double)g->m);
      second[j] = (real)(product[j] / (double)g->m);
    }
    for (size_t i = 0; g->dx && i < g->m; i++) {
      const real *x = (const real *)g->x + (ptrdiff_t)i * g->x_row + column;
      const real *dy = (const real *)g->dy + (ptrdiff_t)i * g->dy_row + column;
      real *dx = (real *)g->dx + (ptrdiff_t)i * g->dx_row + column;
      for (size_t j = 0; j < width; j += VL) {
        const vec inverted = v_load(inverse + column + j);
        const vec centred = v_sub(v_load(x + j), v_load(mean + column + j));
        const vec rest = v_sub(v_load(dy + j), v_load(first + j));
        const vec d = v_fnma(v_mul(centred, inverted), v_load(second + j), rest);
        const vec out = v_mul(v_mul(v_load(scale + column + j), inverted), d);
        magnitude = v_add(magnitude, v_abs(out));
        v_store(dx + j, out);
      }
      KERNEL(through_activation)(g, i, column, width);
    }
  }
  return KERNEL(sum_lanes)(magnitude);
}

static double KERNEL(fixed_norm_backward)(const fnn_norm_backward *g, size_t row0,
                                          size_t row1) {
  const real *inverse = g->inverse, *scale = g->scale;
  vec magnitude = v_zero();
  for (size_t i = row0; i < row1; i++) {
    const real *dy = (const real *)g->dy + (ptrdiff_t)i * g->dy_row;
    real *dx = (real *)g->dx + (ptrdiff_t)i * g->dx_row;
    for (size_t j = 0; j < g->n; j += VL) {
      const vec factor = v_mul(v_load(scale + j), v_load(inverse + j));
      const vec out = v_mul(v_load(dy + j), factor);
      magnitude = v_add(magnitude, v_abs(out));
      v_store(dx + j, out);
    }
    KERNEL(through_activation)(g, i, 0, g->n);
  }
  return KERNEL(sum_lanes)(magnitude);
}

/* *sum = sum_j (x[j] - centre), *square = sum_j (x[j] - centre)^2 */
FNN_INLINE void KERNEL(row_deviations)(const real *x, size_t n, double centre,
                                       double *sum, double *square) {
  const vf64 middle = vf64_set1(centre);
  vf64 first[DOUBLE_VECTORS], second[DOUBLE_VECTORS];
  for (size_t i = 0; i < DOUBLE_VECTORS; i++) first[i] = second[i] = vf64_zero();
  for (size_t j = 0; j < n; j += REDUCTION) {
    double value[REDUCTION];
    if (n - j >= REDUCTION)
      for (size_t i = 0; i < REDUCTION; i++) value[i] = (double)x[j + i];
    else
      for (size_t i = 0; i < REDUCTION; i++)
        value[i] = i < n - j ? (double)x[j + i] : centre;
    for (size_t i = 0; i < DOUBLE_VECTORS; i++) {
      const vf64 d = vf64_sub(vf64_load(value + i * DOUBLE_LANES), middle);
      first[i] = vf64_add(first[i], d);
      second[i] = vf64_fma(d, d, second[i]);
    }
  }
  *sum = fold_doubles(first);
  *square = fold_doubles(second);
}

FNN_INLINE void KERNEL(row_statistics)(const real *x, size_t n, double *mean,
                                       double *variance) {
  const double count = (double)n;
  double sum, square;
  KERNEL(row_deviations)(x, n, 0.0, &sum, &square);
  double near = sum / count;
  if (!(fabs(sum) < INFINITY)) { /* the mean may be finite all the same */
    near = 0.0;
    for (size_t j = 0; j < n; j++) near += (double)x[j] / count;
  }
  KERNEL(row_deviations)(x, n, near, &sum, &square);
  const double off = sum / count, left = square / count - off * off;
  *mean = near + off;
  *variance = left < 0.0 ? 0.0 : left;
  if (square < INFINITY) return;
  *mean = near; /* all normalised values become 0 */
  *variance = square;
}

static double KERNEL(layer_norm_forward)(const fnn_norm *f, size_t row0, size_t row1) {
  const real *scale = f->scale, *shift = f->shift;
  vec magnitude = v_zero();
  for (size_t i = row0; i < row1; i++) {
    const real *x = (const real *)f->x + (ptrdiff_t)i * f->x_row;
    real *y = (real *)f->y + (ptrdiff_t)i * f->y_row;
    real *z = f->z ? (real *)f->z + (ptrdiff_t)i * f->y_row : y;
    double average, variance;
    KERNEL(row_statistics)(x, f->n, &average, &variance);
    const vec mean = v_set1((real)average);
    const vec inverse = v_set1((real)(1.0 / sqrt(variance + f->epsilon)));
    if (f->mean) { /* kept for the backward pass */
      ((real *)f->mean)[i] = (real)average;
      ((real *)f->inverse)[i] = (real)(1.0 / sqrt(variance + f->epsilon));
    }
    for (size_t j = 0; j < f->n; j += VL) {
      const vec normal = v_mul(v_sub(v_load(x + j), mean), inverse);
      const vec out = v_fma(normal, v_load(scale + j), v_load(shift + j));
      magnitude = v_add(magnitude, v_abs(out));
      v_store(z + j, out);
    }
    if (f->activation.kind != FNN_IDENTITY)
      KERNEL(activation_forward)(f->activation, z, y, f->n);
  }
  return KERNEL(sum_lanes)(magnitude);
}

/* *sum = sum_j dy[j] scale[j], *product = sum_j dy[j] scale[j] N[j] */
FNN_INLINE void KERNEL(row_products)(const real *dy, const real *scale, const real *x,
                                     size_t n, vec mean, vec inverse, real *sum,
                                     real *product) {
  vec first[REDUCTION_VECTORS], second[REDUCTION_VECTORS];
  for (size_t i = 0; i < REDUCTION_VECTORS; i++) first[i] = second[i] = v_zero();
  for (size_t j = 0; j < n; j += REDUCTION)
    for (size_t i = 0; i < REDUCTION_VECTORS; i++) {
      const size_t at = j + i * VL;
      if (at >= n) break;
      const vec normal = v_mul(v_sub(v_load(x + at), mean), inverse);
      const vec scaled = v_mul(v_load(dy + at), v_load(scale + at));
      first[i] = v_add(first[i], v_keep(scaled, n - at, v_zero()));
      second[i] = v_add(second[i], v_keep(v_mul(scaled, normal), n - at, v_zero()));
    }
  *sum = KERNEL(fold)(first);
  *product = KERNEL(fold)(second);
}

/* With means over the row, dN = dY scale:
 *   dX = inverse * (dN - mean(dN) - N mean(dN N)). */
static double KERNEL(layer_norm_backward)(const fnn_norm_backward *g, size_t row0,
                                          size_t row1) {
  const real *scale = g->scale;
  vec magnitude = v_zero();
  for (size_t i = row0; i < row1; i++) {
    const real *x = (const real *)g->x + (ptrdiff_t)i * g->x_row;
    const real *dy = (const real *)g->dy + (ptrdiff_t)i * g->dy_row;
    real *dx = (real *)g->dx + (ptrdiff_t)i * g->dx_row;
    const vec mean = v_set1(((const real *)g->mean)[i]);
    const vec inverse = v_set1(((const real *)g->inverse)[i]);
    real sum, product;
    KERNEL(row_products)(dy, scale, x, g->n, mean, inverse, &sum, &product);
    const vec first = v_set1(sum / (real)g->n), second = v_set1(product / (real)g->n);
    for (size_t j = 0; j < g->n; j += VL) {
      const vec normal = v_mul(v_sub(v_load(x + j), mean), inverse);
      const vec scaled = v_mul(v_load(dy + j), v_load(scale + j));
      const vec d = v_fnma(normal, second, v_sub(scaled, first));
      const vec out = v_keep(v_mul(inverse, d), g->n - j, v_zero());
      magnitude = v_add(magnitude, v_abs(out));
      v_store(dx + j, out);
    }
    KERNEL(through_activation)(g, i, 0, g->n);
  }
  return KERNEL(sum_lanes)(magnitude);
}

static void KERNEL(layer_norm_backward_weights)(const fnn_norm_backward *g,
                                                size_t panel) {
  const size_t column = panel * NR, width = fnn_vectors(VL, column, g->n, 2) * VL;
  for (size_t j = column; j < column + width; j += VL) {
    real *dscale = (real *)g->dscale + j, *dshift = (real *)g->dshift + j;
    vec sum = g->add ? v_load(dshift) : v_zero();
    vec product = g->add ? v_load(dscale) : v_zero();
    for (size_t i = 0; i < g->m; i++) {
      const vec x = v_load((const real *)g->x + (ptrdiff_t)i * g->x_row + j);
      const vec dy = v_load((const real *)g->dy + (ptrdiff_t)i * g->dy_row + j);
      const vec mean = v_set1(((const real *)g->mean)[i]);
      const vec inverse = v_set1(((const real *)g->inverse)[i]);
      sum = v_add(sum, dy);
      product = v_fma(dy, v_mul(v_sub(x, mean), inverse), product);
    }
    v_store(dshift, sum);
    v_store(dscale, product);
  }
}

/* A batch norm with fixed statistics taken into the dense layer below:
 *   W' := W * factor, b' := (b - mean) * factor + shift, factor = scale * inverse. */
static void KERNEL(fold_norm)(const fnn_norm *f, const void *w, const void *b, size_t k,
                              void *new_w, void *new_b) {
  const real *mean = f->mean, *inverse = f->inverse;
  const real *scale = f->scale, *shift = f->shift, *bias = b, *from = w;
  real *to = new_w, *to_bias = new_b;
  for (size_t column = 0; column < f->n; column += NR)
    for (size_t j = 0; j < NR; j += VL) {
      const size_t at = column + j;
      const vec factor = v_mul(v_load(scale + at), v_load(inverse + at));
      const vec centred = v_sub(v_load(bias + at), v_load(mean + at));
      v_store(to_bias + at, v_fma(centred, factor, v_load(shift + at)));
      for (size_t i = 0; i < k; i++) {
        const size_t value = column * k + i * NR + j;
        v_store(to + value, v_mul(v_load(from + value), factor));
      }
    }
}
