/* Embeddings: each of the first (or, of categories, the last) `columns` inputs becomes
 * `size` values, by parameters of its own; the other inputs pass through.
 *
 * PERIODIC, parameters (terms, size, columns) and (terms + size - 1, columns):
 *
 *   y[j, o] = sum_f cos(2 pi w[f, j] x[j] + c[f, j]) W[f, o, j] + b[o, j],
 *   y[j, size - 1] = x[j]
 *
 * Vectors lie along j: every output is one chain of multiply-adds over f, every
 * parameter's gradient one over the rows. */
#ifndef FNN_TWO_PI
#define FNN_TWO_PI 6.28318530717958647693
#endif

/* Where the parameters of the columns from j on lie. */
typedef struct KERNEL(periodic_at) {
  size_t weights, biases; /* of row 0; a row takes NR values */
  size_t width;           /* of these columns, VL at most */
} KERNEL(periodic_at);

FNN_INLINE KERNEL(periodic_at)
    KERNEL(periodic_place)(const fnn_embedding *e, size_t j) {
  const size_t panel = j / NR * NR, left = e->columns - j;
  return (KERNEL(periodic_at)){.weights = panel * e->terms * e->size + j % NR,
                               .biases = panel * (e->terms + e->size - 1) + j % NR,
                               .width = left < VL ? left : VL};
}

/* VL inputs; those beyond the columns are 0. */
FNN_INLINE vec KERNEL(embedded)(const real *x, size_t width) {
  if (width == VL) return v_load(x);
  real values[VL] = {0};
  memcpy(values, x, width * sizeof(real));
  return v_load(values);
}

FNN_INLINE vec KERNEL(angle)(vec x, const real *w, const real *c) {
  return v_fma(v_mul(x, v_load(w)), v_set1((real)FNN_TWO_PI), v_load(c));
}

/* The inputs behind the embedded ones. */
FNN_INLINE vec KERNEL(pass_through)(const fnn_embedding *e, const real *x, real *y,
                                    vec magnitude) {
  const size_t count = e->k - e->columns;
  memcpy(y + e->columns * e->size, x + e->columns, count * sizeof(real));
  return KERNEL(add_magnitudes)(magnitude, x + e->columns, count);
}

static double KERNEL(periodic_forward)(const fnn_embedding *e, size_t row0,
                                       size_t row1) {
  const size_t size = e->size;
  vec magnitude = v_zero();
  for (size_t i = row0; i < row1; i++) {
    const real *x = (const real *)e->x + (ptrdiff_t)i * e->x_row;
    real *y = (real *)e->y + (ptrdiff_t)i * e->y_row;
    for (size_t j = 0; j < e->columns; j += VL) {
      const KERNEL(periodic_at) at = KERNEL(periodic_place)(e, j);
      const real *w = (const real *)e->w + at.weights;
      const real *c = (const real *)e->b + at.biases, *b = c + e->terms * NR;
      const vec value = KERNEL(embedded)(x + j, at.width);
      real waves[FNN_MOST_TERMS * VL], out[VL];
      for (size_t f = 0; f < e->terms; f++) {
        vec wave;
        KERNEL(sincos)(KERNEL(angle)(value, w + f * size * NR, c + f * NR), &wave);
        v_store(waves + f * VL, wave);
      }
      for (size_t o = 0; o + 1 < size; o++) {
        vec sum = v_load(b + o * NR);
        for (size_t f = 0; f < e->terms; f++)
          sum = v_fma(v_load(waves + f * VL), v_load(w + (f * size + 1 + o) * NR), sum);
        magnitude = v_add(magnitude, v_abs(v_keep(sum, at.width, v_zero())));
        v_store(out, sum);
        for (size_t l = 0; l < at.width; l++) y[(j + l) * size + o] = out[l];
      }
      magnitude = v_add(magnitude, v_abs(value));
      for (size_t l = 0; l < at.width; l++) y[(j + l) * size + size - 1] = x[j + l];
    }
    magnitude = KERNEL(pass_through)(e, x, y, magnitude);
  }
  return KERNEL(sum_lanes)(magnitude);
}

/* dy of the values of the columns from j on, a vector each. */
FNN_INLINE void KERNEL(gather_gradients)(const fnn_embedding *e, const real *dy,
                                         size_t j, size_t width, real *to) {
  for (size_t o = 0; o < e->size; o++)
    for (size_t l = 0; l < VL; l++)
      to[o * VL + l] = l < width ? dy[(j + l) * e->size + o] : (real)0;
}

/* dx of row i times act' of the layer below. */
FNN_INLINE vec KERNEL(through_below)(const fnn_embedding *e, size_t i, vec magnitude) {
  real *dx = (real *)e->dx + (ptrdiff_t)i * e->dx_row;
  const real *saved = (const real *)e->saved + (ptrdiff_t)i * e->dx_row;
  magnitude = KERNEL(add_magnitudes)(magnitude, dx, e->k);
  if (e->activation.kind != FNN_IDENTITY)
    KERNEL(activation_backward)(e->activation, dx, saved, dx, e->k);
  return magnitude;
}

/* Likewise, after that of the inputs behind the embedded ones. */
FNN_INLINE vec KERNEL(finish_backward)(const fnn_embedding *e, size_t i,
                                       vec magnitude) {
  const real *dy = (const real *)e->dy + (ptrdiff_t)i * e->y_row;
  real *dx = (real *)e->dx + (ptrdiff_t)i * e->dx_row;
  memcpy(dx + e->columns, dy + e->columns * e->size,
         (e->k - e->columns) * sizeof(real));
  return KERNEL(through_below)(e, i, magnitude);
}

static double KERNEL(periodic_backward)(const fnn_embedding *e, size_t row0,
                                        size_t row1) {
  const size_t size = e->size;
  vec magnitude = v_zero();
  for (size_t i = row0; i < row1; i++) {
    const real *x = (const real *)e->x + (ptrdiff_t)i * e->x_row;
    const real *dy = (const real *)e->dy + (ptrdiff_t)i * e->y_row;
    real *dx = (real *)e->dx + (ptrdiff_t)i * e->dx_row;
    for (size_t j = 0; j < e->columns; j += VL) {
      const KERNEL(periodic_at) at = KERNEL(periodic_place)(e, j);
      const real *w = (const real *)e->w + at.weights;
      const real *c = (const real *)e->b + at.biases;
      const vec value = KERNEL(embedded)(x + j, at.width);
      real dz[FNN_MOST_SIZE * VL], out[VL];
      KERNEL(gather_gradients)(e, dy, j, at.width, dz);
      vec sum = v_load(dz + (size - 1) * VL);
      for (size_t f = 0; f < e->terms; f++) {
        const real *row = w + f * size * NR;
        vec unused, slope = v_zero();
        const vec sine = KERNEL(sincos)(KERNEL(angle)(value, row, c + f * NR), &unused);
        for (size_t o = 0; o + 1 < size; o++)
          slope = v_fma(v_load(row + (1 + o) * NR), v_load(dz + o * VL), slope);
        const vec inner = v_mul(v_load(row), v_set1((real)FNN_TWO_PI));
        sum = v_fnma(v_mul(sine, slope), inner, sum);
      }
      v_store(out, sum);
      memcpy(dx + j, out, at.width * sizeof(real));
    }
    magnitude = KERNEL(finish_backward)(e, i, magnitude);
  }
  return KERNEL(sum_lanes)(magnitude);
}

static void KERNEL(periodic_backward_weights)(const fnn_embedding *e, size_t panel,
                                              size_t term0, size_t term1) {
  const size_t size = e->size;
  for (size_t j = panel * NR; j < (panel + 1) * NR && j < e->columns; j += VL) {
    const KERNEL(periodic_at) at = KERNEL(periodic_place)(e, j);
    const real *w = (const real *)e->w + at.weights;
    const real *c = (const real *)e->b + at.biases;
    real *dw = (real *)e->dw + at.weights, *dc = (real *)e->db + at.biases;
    real *db = dc + e->terms * NR;
    for (size_t f = term0; !e->add && f < term1; f++) {
      v_store(dc + f * NR, v_zero());
      for (size_t o = 0; o < size; o++) v_store(dw + (f * size + o) * NR, v_zero());
    }
    for (size_t o = 0; !e->add && term0 == 0 && o + 1 < size; o++)
      v_store(db + o * NR, v_zero());
    for (size_t i = 0; i < e->m; i++) {
      const real *x = (const real *)e->x + (ptrdiff_t)i * e->x_row;
      const real *dy = (const real *)e->dy + (ptrdiff_t)i * e->y_row;
      const vec value = KERNEL(embedded)(x + j, at.width);
      const vec turned = v_mul(value, v_set1((real)FNN_TWO_PI));
      real dz[FNN_MOST_SIZE * VL];
      KERNEL(gather_gradients)(e, dy, j, at.width, dz);
      for (size_t f = term0; f < term1; f++) {
        const real *row = w + f * size * NR;
        real *drow = dw + f * size * NR;
        vec wave, slope = v_zero();
        const vec sine = KERNEL(sincos)(KERNEL(angle)(value, row, c + f * NR), &wave);
        for (size_t o = 0; o + 1 < size; o++) {
          const vec d = v_load(dz + o * VL);
          real *to = drow + (1 + o) * NR;
          v_store(to, v_fma(wave, d, v_load(to)));
          slope = v_fma(v_load(row + (1 + o) * NR), d, slope);
        }
        const vec d = v_mul(sine, slope);
        v_store(dc + f * NR, v_sub(v_load(dc + f * NR), d));
        v_store(drow, v_fnma(d, turned, v_load(drow)));
      }
      for (size_t o = 0; term0 == 0 && o + 1 < size; o++)
        v_store(db + o * NR, v_add(v_load(db + o * NR), v_load(dz + o * VL)));
    }
  }
}

/* PIECEWISE, parameters (bins, size) and (columns, size): of column j, edges e and bins
 * t of its own,
 *
 *   y[j, o] = b[j, o] + sum_t clip((x[j] - e[t]) / (e[t + 1] - e[t]), 0, 1) W[t, o],
 *
 * where the first bin is open below and the last one above.  Vectors lie along o.  All
 * bins below that of x count in full and none above: `frac` is the share of its own. */
FNN_INLINE size_t KERNEL(bin_of)(const fnn_embedding *e, size_t j, real x, real *frac,
                                 real *width) {
  const real *edges = (const real *)e->edges + e->starts[j] + j;
  const size_t bins = e->starts[j + 1] - e->starts[j];
  size_t bin = 0;
  while (bin + 1 < bins && x >= edges[bin + 1]) bin++;
  *width = edges[bin + 1] - edges[bin];
  *frac = (x - edges[bin]) / *width;
  return bin;
}

/* The parameters of row `row` from value o on, of `rows` rows. */
#define ROW_AT(base, rows, row, o) \
  ((o) / NR * NR * (rows) + (row) * NR + (o) % NR + (base))

static double KERNEL(piecewise_forward)(const fnn_embedding *e, size_t row0,
                                        size_t row1) {
  const size_t bins = e->starts[e->columns], size = e->size;
  const real *w = e->w, *b = e->b;
  vec magnitude = v_zero();
  for (size_t i = row0; i < row1; i++) {
    const real *x = (const real *)e->x + (ptrdiff_t)i * e->x_row;
    real *y = (real *)e->y + (ptrdiff_t)i * e->y_row;
    for (size_t j = 0; j < e->columns; j++) {
      real frac, width, out[VL];
      const size_t bin = KERNEL(bin_of)(e, j, x[j], &frac, &width),
                   start = e->starts[j];
      for (size_t o = 0; o < size; o += VL) {
        const size_t count = size - o < VL ? size - o : VL;
        vec sum = v_load(ROW_AT(b, e->columns, j, o));
        for (size_t t = 0; t < bin; t++)
          sum = v_add(sum, v_load(ROW_AT(w, bins, start + t, o)));
        sum = v_fma(v_set1(frac), v_load(ROW_AT(w, bins, start + bin, o)), sum);
        magnitude = v_add(magnitude, v_abs(v_keep(sum, count, v_zero())));
        v_store(out, sum);
        memcpy(y + j * size + o, out, count * sizeof(real));
      }
    }
    magnitude = KERNEL(pass_through)(e, x, y, magnitude);
  }
  return KERNEL(sum_lanes)(magnitude);
}

static double KERNEL(piecewise_backward)(const fnn_embedding *e, size_t row0,
                                         size_t row1) {
  const size_t bins = e->starts[e->columns], size = e->size;
  vec magnitude = v_zero();
  for (size_t i = row0; i < row1; i++) {
    const real *x = (const real *)e->x + (ptrdiff_t)i * e->x_row;
    const real *dy = (const real *)e->dy + (ptrdiff_t)i * e->y_row;
    real *dx = (real *)e->dx + (ptrdiff_t)i * e->dx_row;
    for (size_t j = 0; j < e->columns; j++) {
      real frac, width, sum = 0;
      const size_t bin = KERNEL(bin_of)(e, j, x[j], &frac, &width);
      const real *w = e->w;
      for (size_t o = 0; o < size; o++)
        sum += dy[j * size + o] * *ROW_AT(w, bins, e->starts[j] + bin, o);
      dx[j] = sum / width;
    }
    magnitude = KERNEL(finish_backward)(e, i, magnitude);
  }
  return KERNEL(sum_lanes)(magnitude);
}

/* dw or db of a row += factor times dy. */
FNN_INLINE void KERNEL(add_row)(real *base, size_t rows, size_t row, const real *dy,
                                size_t size, real factor) {
  for (size_t o = 0; o < size; o += VL) {
    real *to = ROW_AT(base, rows, row, o);
    const vec d = KERNEL(embedded)(dy + o, size - o < VL ? size - o : VL);
    v_store(to, v_fma(v_set1(factor), d, v_load(to)));
  }
}

FNN_INLINE void KERNEL(clear_rows)(real *base, size_t rows, size_t row0, size_t row1,
                                   size_t size) {
  for (size_t o = 0; o < size; o += NR)
    memset(ROW_AT(base, rows, row0, o), 0, (row1 - row0) * NR * sizeof(real));
}

static void KERNEL(piecewise_backward_weights)(const fnn_embedding *e, size_t column0,
                                               size_t column1) {
  const size_t bins = e->starts[e->columns], size = e->size;
  real *dw = e->dw, *db = e->db;
  if (!e->add) {
    KERNEL(clear_rows)(dw, bins, e->starts[column0], e->starts[column1], size);
    KERNEL(clear_rows)(db, e->columns, column0, column1, size);
  }
  for (size_t i = 0; i < e->m; i++) {
    const real *x = (const real *)e->x + (ptrdiff_t)i * e->x_row;
    const real *dy = (const real *)e->dy + (ptrdiff_t)i * e->y_row;
    for (size_t j = column0; j < column1; j++) {
      real frac, width;
      const size_t bin = KERNEL(bin_of)(e, j, x[j], &frac, &width),
                   start = e->starts[j];
      for (size_t t = 0; t < bin; t++)
        KERNEL(add_row)(dw, bins, start + t, dy + j * size, size, (real)1);
      KERNEL(add_row)(dw, bins, start + bin, dy + j * size, size, frac);
      KERNEL(add_row)(db, e->columns, j, dy + j * size, size, (real)1);
    }
  }
}

/* TABLE, parameters (categories, size): the last `columns` inputs are codes 0, 1, ... of
 * categories, by which rows are chosen; -1 has zeros, and so have others, but they make
 * the magnitude infinite (or NaN).  The inputs in front of them pass through. */
FNN_INLINE int KERNEL(row_of)(const fnn_embedding *e, size_t j, real code,
                              size_t *row) {
  const size_t count = e->starts[j + 1] - e->starts[j];
  if (!(code >= 0 && code < (real)count)) return 0;
  *row = e->starts[j] + (size_t)code;
  return 1;
}

static double KERNEL(table_forward)(const fnn_embedding *e, size_t row0, size_t row1) {
  const size_t rows = e->starts[e->columns], size = e->size, front = e->k - e->columns;
  const real *w = e->w;
  vec magnitude = v_zero();
  double wrong = 0.0;
  for (size_t i = row0; i < row1; i++) {
    const real *x = (const real *)e->x + (ptrdiff_t)i * e->x_row;
    real *y = (real *)e->y + (ptrdiff_t)i * e->y_row;
    memcpy(y, x, front * sizeof(real));
    for (size_t j = 0; j < e->columns; j++) {
      const real code = x[front + j];
      real *to = y + front + j * size;
      size_t row;
      if (KERNEL(row_of)(e, j, code, &row) && (real)(row - e->starts[j]) == code) {
        for (size_t o = 0; o < size; o += NR)
          memcpy(to + o, ROW_AT(w, rows, row, o),
                 (size - o < NR ? size - o : NR) * sizeof(real));
        continue;
      }
      memset(to, 0, size * sizeof(real));
      if (code != (real)-1) wrong = INFINITY;
    }
    magnitude = KERNEL(add_magnitudes)(magnitude, y, front + e->columns * size);
  }
  return KERNEL(sum_lanes)(magnitude) + wrong;
}

static double KERNEL(table_backward)(const fnn_embedding *e, size_t row0, size_t row1) {
  const size_t front = e->k - e->columns;
  vec magnitude = v_zero();
  for (size_t i = row0; i < row1; i++) {
    const real *dy = (const real *)e->dy + (ptrdiff_t)i * e->y_row;
    real *dx = (real *)e->dx + (ptrdiff_t)i * e->dx_row;
    memcpy(dx, dy, front * sizeof(real));
    memset(dx + front, 0, e->columns * sizeof(real));
    magnitude = KERNEL(through_below)(e, i, magnitude);
  }
  return KERNEL(sum_lanes)(magnitude);
}

static void KERNEL(table_backward_weights)(const fnn_embedding *e, size_t column0,
                                           size_t column1) {
  const size_t rows = e->starts[e->columns], size = e->size, front = e->k - e->columns;
  real *dw = e->dw;
  if (!e->add)
    KERNEL(clear_rows)(dw, rows, e->starts[column0], e->starts[column1], size);
  for (size_t i = 0; i < e->m; i++) {
    const real *x = (const real *)e->x + (ptrdiff_t)i * e->x_row + front;
    const real *dy = (const real *)e->dy + (ptrdiff_t)i * e->y_row + front;
    for (size_t j = column0; j < column1; j++) {
      size_t row;
      if (KERNEL(row_of)(e, j, x[j], &row))
        KERNEL(add_row)(dw, rows, row, dy + j * size, size, (real)1);
    }
  }
}
#undef ROW_AT
