/* Softmax and the losses of the outputs of the last layer: value, correctness and
 * gradient in one pass over a row.
 *
 * To add a loss that is a sum over outputs: a row in kinds.h, a case in KERNEL(point),
 * and one in KERNEL(predict_values) if its values are not the outputs.  Any other loss
 * that is not made of these: see kernels/row_losses.c. */

FNN_INLINE real KERNEL(row_max)(const real *z, size_t n) {
  const vec low = v_set1((real)-INFINITY);
  vec top = low;
  for (size_t j = 0; j < n; j += VL)
    top = v_max(top, v_keep(v_load(z + j), n - j, low));
  real lanes[VL];
  v_store(lanes, top);
  real best = lanes[0];
  for (size_t i = 1; i < VL; i++) best = lanes[i] > best ? lanes[i] : best;
  return best;
}

/* out[j] = exp(z[j] - shift), 0 beyond n (nothing is stored when out is NULL); returns
 * the sum, folded as every reduction. */
FNN_INLINE real KERNEL(row_exp)(const real *z, size_t n, real shift, real *out) {
  const vec top = v_set1(shift);
  vec partial[REDUCTION_VECTORS];
  for (size_t i = 0; i < REDUCTION_VECTORS; i++) partial[i] = v_zero();
  for (size_t j = 0; j < n; j += REDUCTION)
    for (size_t i = 0; i < REDUCTION_VECTORS; i++) {
      const size_t at = j + i * VL;
      if (at >= n) break;
      const vec e = v_keep(KERNEL(exp)(v_sub(v_load(z + at), top)), n - at, v_zero());
      if (out) v_store(out + at, e);
      partial[i] = v_add(partial[i], e);
    }
  return KERNEL(fold)(partial);
}

static void KERNEL(softmax)(void *z, ptrdiff_t z_row, size_t n, size_t rows) {
  real *row = z;
  size_t i = 0;
  while (n <= REDUCTION && rows - i >= KERNEL(narrow_rows)) {
    const size_t count = rows - i < VL ? rows - i : VL;
    KERNEL(narrow_softmax)(row, z_row, n, count);
    i += count;
    row += (ptrdiff_t)count * z_row;
  }
  for (; i < rows; i++, row += z_row) {
    const real sum = KERNEL(row_exp)(row, n, KERNEL(row_max)(row, n), row);
    const vec total = v_set1(sum);
    for (size_t j = 0; j < n; j += VL) v_store(row + j, v_div(v_load(row + j), total));
  }
}

static void KERNEL(softmax_backward)(void *dp, const void *p, ptrdiff_t row, size_t n,
                                     size_t rows) {
  real *gradient = dp;
  const real *output = p;
  for (size_t r = 0; r < rows; r++, gradient += row, output += row) {
    vec partial[REDUCTION_VECTORS];
    for (size_t i = 0; i < REDUCTION_VECTORS; i++) partial[i] = v_zero();
    for (size_t j = 0; j < n; j += REDUCTION)
      for (size_t i = 0; i < REDUCTION_VECTORS; i++) {
        const size_t at = j + i * VL;
        if (at >= n) break;
        const vec d = v_keep(v_load(gradient + at), n - at, v_zero());
        partial[i] =
            v_fma(d, v_keep(v_load(output + at), n - at, v_zero()), partial[i]);
      }
    const vec dot = v_set1(KERNEL(fold)(partial));
    for (size_t j = 0; j < n; j += VL) {
      const vec d = v_mul(v_load(output + j), v_sub(v_load(gradient + j), dot));
      v_store(gradient + j, v_keep(d, n - j, v_zero()));
    }
  }
}

/* Whether row i has the weight 0: its loss and gradient are 0, though the product with
 * an infinite loss would be NaN. */
FNN_INLINE int KERNEL(is_left_out)(const fnn_loss_rows *l, size_t i) {
  return l->weights && ((const real *)l->weights)[i] == (real)0;
}

FNN_INLINE void KERNEL(zero_row)(real *dz, size_t n) {
  for (size_t j = 0; dz && j < n; j += VL) v_store(dz + j, v_zero());
}

FNN_INLINE size_t KERNEL(argmax)(const real *z, size_t n) {
  size_t best = 0;
  for (size_t j = 1; j < n; j++)
    if (z[j] > z[best]) best = j;
  return best;
}

/* sum_j z[j] t[j] and sum_j t[j] in the fixed reduction order. */
FNN_INLINE void KERNEL(row_dot)(const real *z, const real *t, size_t n, real *dot,
                                real *total) {
  vec product[REDUCTION_VECTORS], sum[REDUCTION_VECTORS];
  for (size_t i = 0; i < REDUCTION_VECTORS; i++) product[i] = sum[i] = v_zero();
  for (size_t j = 0; j < n; j += REDUCTION)
    for (size_t i = 0; i < REDUCTION_VECTORS; i++) {
      const size_t at = j + i * VL;
      if (at >= n) break;
      const vec target = v_keep(v_load(t + at), n - at, v_zero());
      product[i] = v_fma(v_keep(v_load(z + at), n - at, v_zero()), target, product[i]);
      sum[i] = v_add(sum[i], target);
    }
  *dot = KERNEL(fold)(product);
  *total = KERNEL(fold)(sum);
}

/* sum_j (shift - z[j]) */
FNN_INLINE real KERNEL(row_deficit)(const real *z, size_t n, real shift) {
  const vec top = v_set1(shift);
  vec partial[REDUCTION_VECTORS];
  for (size_t i = 0; i < REDUCTION_VECTORS; i++) partial[i] = v_zero();
  for (size_t j = 0; j < n; j += REDUCTION)
    for (size_t i = 0; i < REDUCTION_VECTORS; i++) {
      const size_t at = j + i * VL;
      if (at >= n) break;
      partial[i] =
          v_add(partial[i], v_keep(v_sub(top, v_load(z + at)), n - at, v_zero()));
    }
  return KERNEL(fold)(partial);
}

/* With t' = (1 - s) t + s / n and T = sum t':
 *   l = T ln sum_j exp(z_j - max) + sum_j t'_j (max - z_j),   dz = w (T p - t')
 *   scale. */
static double KERNEL(softmax_cross_entropy)(const fnn_loss_rows *l, size_t row0,
                                            size_t row1) {
  enum { GROUP = 64 }; /* rows whose logarithms are taken together */
  const size_t n = l->n;
  const real smoothing = (real)l->loss.parameter, share = smoothing / (real)n;
  const real *weights = l->weights;
  double magnitude = 0.0;
  vec sizes = v_zero();
  while (l->labels && n <= REDUCTION && row1 - row0 >= KERNEL(narrow_rows)) {
    const size_t rows = row1 - row0 < VL ? row1 - row0 : VL;
    sizes = v_add(sizes, KERNEL(narrow_cross_entropy)(l, row0, rows));
    row0 += rows;
  }
  for (size_t first = row0; first < row1; first += GROUP) {
    const size_t rows = row1 - first < GROUP ? row1 - first : GROUP;
    real sums[GROUP], totals[GROUP], linear[GROUP];
    for (size_t i = 0; i < GROUP; i++) sums[i] = (real)1;
    for (size_t i = 0; i < rows; i++) {
      const ptrdiff_t at = (ptrdiff_t)(first + i) * l->z_row;
      const real *z = (const real *)l->z + at;
      const real *target = l->labels ? NULL : (const real *)l->targets + at;
      const real weight = weights ? weights[first + i] : (real)1;
      const real top = KERNEL(row_max)(z, n);
      size_t label;
      real total = (real)1;
      if (target) {
        real dot;
        label = KERNEL(argmax)(target, n);
        KERNEL(row_dot)(z, target, n, &dot, &total);
        linear[i] = ((real)1 - smoothing) * (total * top - dot);
        total = ((real)1 - smoothing) * total + smoothing;
      } else {
        /* Checked long before: a thread of the caller may have written to it since. */
        label = (size_t)*(const volatile int64_t *)&l->labels[first + i];
        if (label >= n) label = 0;
        linear[i] = ((real)1 - smoothing) * (top - z[label]);
      }
      if (smoothing > (real)0) linear[i] += share * KERNEL(row_deficit)(z, n, top);
      totals[i] = total;

      int correct = z[label] >= top;
      for (size_t j = 0; correct && j < label; j++) correct = z[j] < top;
      ((real *)l->correct)[first + i] = (real)correct;

      real *dz = l->dz ? (real *)l->dz + at : NULL;
      if (KERNEL(is_left_out)(l, first + i)) {
        KERNEL(zero_row)(dz, n);
        continue;
      }
      const real sum = KERNEL(row_exp)(z, n, top, dz);
      sums[i] = sum;
      if (!dz) continue;
      /* (p - t') before the scale: the difference loses nothing near p = t'. */
      const real factor = weight * (real)l->scale, inverse = total / sum;
      const vec vfactor = v_set1(factor), vinverse = v_set1(inverse);
      const vec vshare = v_set1(share), vrest = v_set1((real)1 - smoothing);
      const real labelled = dz[label] * inverse - (share + ((real)1 - smoothing));
      for (size_t j = 0; j < n; j += VL) {
        vec t = vshare;
        if (target) t = v_fma(vrest, v_load(target + j), vshare);
        const vec d = v_mul(v_sub(v_mul(v_load(dz + j), vinverse), t), vfactor);
        const vec kept = v_keep(d, n - j, v_zero());
        v_store(dz + j, kept);
        if (target) sizes = v_add(sizes, v_abs(kept));
      }
      if (target) continue;
      dz[label] = labelled * factor;
      /* At most p + t' of each: no work for the row, and NaN if the sum is. */
      magnitude += fabs((double)factor * ((double)inverse * (double)sum + 1.0));
    }
    for (size_t i = 0; i < GROUP; i += VL)
      v_store(sums + i, KERNEL(log)(v_load(sums + i)));
    for (size_t i = 0; i < rows; i++) {
      const real weight = weights ? weights[first + i] : (real)1;
      const real loss = weight * (totals[i] * sums[i] + linear[i]);
      ((real *)l->losses)[first + i] =
          KERNEL(is_left_out)(l, first + i) ? (real)0 : loss;
    }
  }
  return magnitude + KERNEL(sum_lanes)(sizes);
}

/* The loss of one output and its derivative. */
FNN_INLINE vec KERNEL(point)(const fnn_loss_kind kind, vec parameter, vec z, vec t,
                             vec *derivative) {
  const vec d = v_sub(z, t), zero = v_zero(), one = v_set1((real)1);
  const vec minus = v_sub(zero, parameter);
  switch (kind) {
    case FNN_BINARY_CROSS_ENTROPY: {
      const vec e = KERNEL(exp)(v_sub(zero, v_abs(z)));
      const vec p = v_div(v_where_less(z, zero, e, one), v_add(one, e));
      *derivative = v_sub(p, t);
      return v_add(v_fnma(t, z, v_max(zero, z)), KERNEL(log1p)(e));
    }
    case FNN_MSE: *derivative = v_add(d, d); return v_mul(d, d);
    case FNN_MAE: {
      const vec below = v_where_less(d, zero, v_set1((real)-1), d);
      *derivative = v_where_less(zero, d, one, below); /* 0 and NaN stay */
      return v_abs(d);
    }
    case FNN_HUBER: { /* c (d - c / 2), c = d cut to [-delta, delta] */
      vec c = v_where_less(parameter, d, parameter, d);
      c = v_where_less(c, minus, minus, c);
      *derivative = c;
      return v_mul(c, v_fnma(v_set1((real)0.5), c, d));
    }
    case FNN_POISSON: {
      const vec rate = KERNEL(exp)(z);
      *derivative = v_sub(rate, t);
      return v_fnma(t, z, rate);
    }
    default: break;
  }
  *derivative = zero;
  return zero;
}

/* l = sum_j point(z_j, t_j) / fnn_loss_divisor */
FNN_INLINE double KERNEL(pointwise)(const fnn_loss_kind kind, const fnn_loss_rows *l,
                                    size_t row0, size_t row1) {
  const int binary = kind == FNN_BINARY_CROSS_ENTROPY;
  const size_t n = l->n;
  const real *weights = l->weights;
  const real count = (real)fnn_loss_divisor(kind, n);
  const vec parameter = v_set1((real)l->loss.parameter);
  vec magnitude = v_zero();
  for (size_t row = row0; row < row1; row++) {
    const ptrdiff_t first = (ptrdiff_t)row * l->z_row;
    const real *z = (const real *)l->z + first;
    const real *target = l->labels ? NULL : (const real *)l->targets + first;
    real *dz = l->dz ? (real *)l->dz + first : NULL;
    const real weight = weights ? weights[row] : (real)1;
    const vec factor = v_set1(weight * (real)l->scale / count);
    vec sum[REDUCTION_VECTORS];
    for (size_t i = 0; i < REDUCTION_VECTORS; i++) sum[i] = v_zero();
    /* As in softmax_cross_entropy: whatever it has become, it is 0 or 1. */
    const int positive = !target && *(const volatile int64_t *)&l->labels[row] > 0;
    const vec label = positive ? v_set1((real)1) : v_zero();
    int correct = binary; /* read now: dz may be z */
    for (size_t j = 0; correct && j < n; j++)
      correct = (z[j] > 0) == (target ? target[j] > (real)0.5 : positive);
    ((real *)l->correct)[row] = (real)correct;
    if (KERNEL(is_left_out)(l, row)) {
      KERNEL(zero_row)(dz, n);
      ((real *)l->losses)[row] = (real)0;
      continue;
    }
    for (size_t j = 0; j < n; j += REDUCTION)
      for (size_t i = 0; i < REDUCTION_VECTORS; i++) {
        const size_t at = j + i * VL;
        if (at >= n) break;
        const vec zs = v_load(z + at), t = target ? v_load(target + at) : label;
        vec d;
        const vec value = KERNEL(point)(kind, parameter, zs, t, &d);
        sum[i] = v_add(sum[i], v_keep(value, n - at, v_zero()));
        if (!dz) continue;
        d = v_keep(v_mul(d, factor), n - at, v_zero());
        magnitude = v_add(magnitude, v_abs(d));
        v_store(dz + at, d);
      }
    ((real *)l->losses)[row] = weight * (KERNEL(fold)(sum) / count);
  }
  return KERNEL(sum_lanes)(magnitude);
}

static double KERNEL(loss)(const fnn_loss_rows *l, size_t row0, size_t row1);
extern const fnn_kernels KERNEL(kernels);

/* With c the cross-entropy of the row and p = exp(-c), the probability of its class:
 *   l = (1 - p)^g c,   dz = (1 - p)^(g - 1) (1 - p + g p c) times that of c. */
static double KERNEL(focal)(const fnn_loss_rows *l, size_t row0, size_t row1) {
  const vec one = v_set1((real)1), least = v_set1((real)0x1p-100);
  const vec gamma = v_set1((real)l->loss.parameter);
  fnn_loss_rows plain = *l;
  plain.loss.kind = l->n == 1 ? FNN_BINARY_CROSS_ENTROPY : FNN_SOFTMAX_CROSS_ENTROPY;
  plain.loss.parameter = 0.0;
  plain.weights = NULL;
  plain.scale = 1.0;
  KERNEL(loss)(&plain, row0, row1);
  vec magnitude = v_zero();
  for (size_t first = row0; first < row1; first += VL) {
    const size_t rows = row1 - first < VL ? row1 - first : VL;
    real factors[VL], values[VL] = {0};
    real *losses = (real *)l->losses + first;
    memcpy(values, losses, rows * sizeof(real));
    const vec c = v_load(values);
    const vec p = KERNEL(exp)(v_sub(v_zero(), c));
    const vec rest = v_max(least, v_sub(v_zero(), KERNEL(expm1)(v_sub(v_zero(), c))));
    const vec power = KERNEL(exp)(v_mul(v_sub(gamma, one), KERNEL(log)(rest)));
    v_store(values, v_mul(v_mul(power, rest), c));
    v_store(factors, v_mul(power, v_fma(v_mul(gamma, p), c, rest)));
    for (size_t i = 0; i < rows; i++) {
      const size_t row = first + i;
      const real weight = l->weights ? ((const real *)l->weights)[row] : (real)1;
      const int left_out = KERNEL(is_left_out)(l, row);
      losses[i] = left_out ? (real)0 : weight * values[i];
      if (!l->dz) continue;
      real *dz = (real *)l->dz + (ptrdiff_t)row * l->z_row;
      if (left_out) KERNEL(zero_row)(dz, l->n);
      const vec factor = v_set1(factors[i] * weight * (real)l->scale);
      for (size_t j = 0; !left_out && j < l->n; j += VL) {
        const vec d = v_mul(v_load(dz + j), factor);
        const vec kept = v_keep(d, l->n - j, v_zero());
        magnitude = v_add(magnitude, v_abs(kept));
        v_store(dz + j, kept);
      }
    }
  }
  return KERNEL(sum_lanes)(magnitude);
}

static double KERNEL(loss)(const fnn_loss_rows *l, size_t row0, size_t row1) {
  switch (l->loss.kind) {
    case FNN_SOFTMAX_CROSS_ENTROPY: return KERNEL(softmax_cross_entropy)(l, row0, row1);
#define ROW(KIND, ...) \
  case FNN_##KIND: return KERNEL(pointwise)(FNN_##KIND, l, row0, row1);
      FNN_OUTPUT_LOSSES(ROW)
#undef ROW
    case FNN_FOCAL: return KERNEL(focal)(l, row0, row1);
    default: return fnn_row_losses(&KERNEL(kernels), l, row0, row1);
  }
}

static void KERNEL(predict_values)(fnn_loss_kind kind, void *z, ptrdiff_t z_row,
                                   size_t n, size_t rows) {
  if (kind == FNN_FOCAL)
    kind = n == 1 ? FNN_BINARY_CROSS_ENTROPY : FNN_SOFTMAX_CROSS_ENTROPY;
  if (kind == FNN_SOFTMAX_CROSS_ENTROPY) KERNEL(softmax)(z, z_row, n, rows);
  if (kind != FNN_BINARY_CROSS_ENTROPY && kind != FNN_POISSON) return;
  real *row = z;
  for (size_t i = 0; i < rows; i++, row += z_row)
    for (size_t j = 0; j < n; j += VL) {
      const vec v = v_load(row + j);
      const vec value = kind == FNN_POISSON ? KERNEL(exp)(v) : KERNEL(sigmoid)(v, NULL);
      v_store(row + j, v_keep(value, n - j, v));
    }
}
