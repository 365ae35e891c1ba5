/* Softmax and its cross-entropy of at most 16 outputs, VL rows at a time: a vector
 * holds one output of VL rows, so no lane is padding and no sum or maximum goes across
 * a vector.  Every value is made by the operations of losses.inc.h in their order: the
 * same bits, in a quarter of the time for 3 outputs and half for 10. */

/* Fewer rows than this are faster one by one. */
enum { KERNEL(narrow_rows) = (VL + 3) / 4 };

/* columns[j * VL + i] := z[i][j] for i < count <= VL, 0 in other rows; whole vectors of
 * columns. */
FNN_INLINE void KERNEL(to_columns)(const real *z, ptrdiff_t z_row, size_t n,
                                   size_t count, real *columns) {
  FNN_ALIGNED real rest[REDUCTION * VL];
  if (count < VL) {
    memset(rest, 0, sizeof rest);
    for (size_t i = 0; i < count; i++, z += z_row)
      memcpy(rest + i * REDUCTION, z, n * sizeof(real));
    z = rest;
    z_row = REDUCTION;
  }
  size_t j = 0;
  do v_transpose(z + j, z_row, columns + j * VL, (ptrdiff_t)VL);
  while ((j += VL) < n); /* n > 0, which compilers cannot know */
}

/* And back: z[i][j] := columns[j * VL + i], 0 in the padding of its rows. */
FNN_INLINE void KERNEL(from_columns)(real *columns, real *z, ptrdiff_t z_row, size_t n,
                                     size_t count) {
  FNN_ALIGNED real rest[REDUCTION * VL];
  const size_t width = (n + VL - 1) / VL * VL;
  real *to = count < VL ? rest : z;
  const ptrdiff_t to_row = count < VL ? REDUCTION : z_row;
  for (size_t j = n; j < width; j++) v_store(columns + j * VL, v_zero());
  for (size_t j = 0; j < width; j += VL)
    v_transpose(columns + j * VL, (ptrdiff_t)VL, to + j, to_row);
  for (size_t i = 0; count < VL && i < count; i++, z += z_row)
    memcpy(z, rest + i * REDUCTION, width * sizeof(real));
}

/* fold() of rows of n <= 16 values, whose partial sums are the values. */
FNN_INLINE vec KERNEL(fold_columns)(real *columns, size_t n) {
  for (size_t half = REDUCTION / 2; half; half /= 2)
    for (size_t j = half; j < n && j < 2 * half; j++) {
      real *at = columns + (j - half) * VL;
      v_store(at, v_add(v_load(at), v_load(columns + j * VL)));
    }
  return v_load(columns);
}

FNN_INLINE vec KERNEL(column_max)(const real *columns, size_t n) {
  vec top = v_load(columns);
  for (size_t j = 1; j < n; j++) top = v_max(top, v_load(columns + j * VL));
  return top;
}

/* columns := exp(columns - top); returns their sums. */
FNN_INLINE vec KERNEL(column_exp)(real *columns, size_t n, vec top) {
  FNN_ALIGNED real partial[REDUCTION * VL];
  for (size_t j = 0; j < n; j++) {
    const vec e = KERNEL(exp)(v_sub(v_load(columns + j * VL), top));
    v_store(columns + j * VL, e);
    v_store(partial + j * VL, e);
  }
  return KERNEL(fold_columns)(partial, n);
}

static void KERNEL(narrow_softmax)(real *z, ptrdiff_t z_row, size_t n, size_t count) {
  FNN_ALIGNED real columns[REDUCTION * VL];
  KERNEL(to_columns)(z, z_row, n, count, columns);
  const vec sum = KERNEL(column_exp)(columns, n, KERNEL(column_max)(columns, n));
  for (size_t j = 0; j < n; j++)
    v_store(columns + j * VL, v_div(v_load(columns + j * VL), sum));
  KERNEL(from_columns)(columns, z, z_row, n, count);
}

/* Rows [first, first + count) of l, which has labels; returns lanes of the sum of |dz|.
 */
static vec KERNEL(narrow_cross_entropy)(const fnn_loss_rows *l, size_t first,
                                        size_t count) {
  const size_t n = l->n;
  const ptrdiff_t at = (ptrdiff_t)first * l->z_row;
  const real smoothing = (real)l->loss.parameter, share = smoothing / (real)n;
  const vec rest = v_set1((real)1 - smoothing), cold = v_set1(share);
  const vec hot = v_set1(share + ((real)1 - smoothing));
  const vec zero = v_zero(), one = v_set1((real)1), half = v_set1((real)0.5);
  FNN_ALIGNED real columns[REDUCTION * VL], labels[VL] = {0}, weights[VL] = {0};
  for (size_t i = 0; i < count; i++) {
    /* Checked long before: a thread of the caller may have written to it since. */
    const size_t label = (size_t)*(const volatile int64_t *)&l->labels[first + i];
    labels[i] = (real)(label < n ? (int)label : 0);
    weights[i] = l->weights ? ((const real *)l->weights)[first + i] : (real)1;
  }
  const vec label = v_load(labels), weight = v_load(weights);

  KERNEL(to_columns)((const real *)l->z + at, l->z_row, n, count, columns);
  const vec top = KERNEL(column_max)(columns, n);
  vec labelled = zero, best = zero; /* z of the label; the first that is the largest */
  for (size_t j = n; j-- > 0;) {
    const vec z = v_load(columns + j * VL), number = v_set1((real)(int)j);
    best = v_where_less(z, top, best, number);
    labelled = v_where_less(v_abs(v_sub(label, number)), half, z, labelled);
  }
  vec loss = v_mul(rest, v_sub(top, labelled));
  if (smoothing > (real)0) {
    FNN_ALIGNED real deficit[REDUCTION * VL];
    for (size_t j = 0; j < n; j++)
      v_store(deficit + j * VL, v_sub(top, v_load(columns + j * VL)));
    loss = v_add(loss, v_mul(cold, KERNEL(fold_columns)(deficit, n)));
  }
  const vec sum = KERNEL(column_exp)(columns, n, top);
  loss = v_mul(weight, v_add(KERNEL(log)(sum), loss));
  /* A row without weight counts 0, even where the product would be NaN. */
  const vec size = v_abs(weight);
  real losses[VL], correct[VL];
  v_store(losses, v_where_less(zero, size, loss, zero));
  v_store(correct, v_where_less(v_abs(v_sub(label, best)), half, one, zero));
  memcpy((real *)l->losses + first, losses, count * sizeof(real));
  memcpy((real *)l->correct + first, correct, count * sizeof(real));
  if (!l->dz) return zero;

  const vec factor = v_mul(weight, v_set1((real)l->scale)), inverse = v_div(one, sum);
  vec magnitude = zero;
  for (size_t j = 0; j < n; j++) {
    const vec number = v_set1((real)(int)j);
    const vec t = v_where_less(v_abs(v_sub(label, number)), half, hot, cold);
    vec d = v_mul(v_sub(v_mul(v_load(columns + j * VL), inverse), t), factor);
    d = v_where_less(zero, size, d, zero);
    v_store(columns + j * VL, d);
    magnitude = v_add(magnitude, v_abs(d));
  }
  KERNEL(from_columns)(columns, (real *)l->dz + at, l->z_row, n, count);
  return magnitude;
}
