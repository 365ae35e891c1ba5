/* Losses on the outputs of the last layer: value, correctness and gradient in one pass
 * over a row.  One function per loss and a slot in kernels.h; its twin is in
 * fastnn/reference.py. */

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
  for (size_t i = 0; i < rows; i++, row += z_row) {
    const real sum = KERNEL(row_exp)(row, n, KERNEL(row_max)(row, n), row);
    const vec total = v_set1(sum);
    for (size_t j = 0; j < n; j += VL) v_store(row + j, v_div(v_load(row + j), total));
  }
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
 *   l = T ln sum_j exp(z_j - max) + sum_j t'_j (max - z_j),   dz = w (T p - t') scale. */
static void KERNEL(softmax_cross_entropy)(const fnn_softmax_loss *l, size_t row0,
                                          size_t row1) {
  enum { GROUP = 64 }; /* rows whose logarithms are taken together */
  const size_t n = l->n;
  const real smoothing = (real)l->smoothing, share = smoothing / (real)n;
  const real *weights = l->weights;
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
      ((real *)l->correct)[first + i] = correct ? weight : (real)0;

      real *dz = l->dz ? (real *)l->dz + at : NULL;
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
        v_store(dz + j, v_keep(d, n - j, v_zero()));
      }
      if (!target) dz[label] = labelled * factor;
    }
    for (size_t i = 0; i < GROUP; i += VL)
      v_store(sums + i, KERNEL(log)(v_load(sums + i)));
    for (size_t i = 0; i < rows; i++) {
      const real weight = weights ? weights[first + i] : (real)1;
      ((real *)l->loss)[first + i] = weight * (totals[i] * sums[i] + linear[i]);
    }
  }
}
