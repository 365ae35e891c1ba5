/* Dropout: the mask is a hash of layer, update, row and column, so it depends on
 * nothing else, and the backward pass makes it again instead of reading it. */
#ifndef FNN_MASK
#define FNN_MASK
/* Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014). */
static inline uint64_t splitmix64(uint64_t x) {
  x ^= x >> 30;
  x *= UINT64_C(0xbf58476d1ce4e5b9);
  x ^= x >> 27;
  x *= UINT64_C(0x94d049bb133111eb);
  return x ^ x >> 31;
}

/* A permutation of 32 bits with little bias (Wellons, "hash prospector"). */
FNN_INLINE uint32_t triple32(uint32_t x) {
  x ^= x >> 17;
  x *= UINT32_C(0xed5ad4bb);
  x ^= x >> 11;
  x *= UINT32_C(0xac4c1b51);
  x ^= x >> 15;
  x *= UINT32_C(0x31848bab);
  return x ^ x >> 14;
}
#endif

/* A value is kept if the hash of its number in the update's rows, r n + c modulo 2^32,
 * is at least rate 2^32. */
static double KERNEL(dropout)(const fnn_dropout *d, size_t row0, size_t row1) {
  enum { BLOCK = 64 };
  const uint64_t base =
      splitmix64(d->key + UINT64_C(0x9e3779b97f4a7c15) * (d->step + 1));
  const uint32_t low = (uint32_t)base, high = (uint32_t)(base >> 32);
  const uint32_t threshold = (uint32_t)(d->rate * 4294967296.0);
  const real scale = (real)(1.0 / (1.0 - d->rate));
  vec magnitude = v_zero();
  for (size_t i = row0; i < row1; i++) {
    const real *x = (const real *)d->x + (ptrdiff_t)i * d->x_row;
    real *y = (real *)d->y + (ptrdiff_t)i * d->y_row;
    for (size_t j = 0; j < d->n; j += BLOCK) {
      const size_t width = d->n - j < BLOCK ? d->n - j : BLOCK;
      const uint32_t first = (uint32_t)((d->first + i) * d->n + j);
      real factor[BLOCK];
      for (uint32_t c = 0; c < BLOCK; c++)
        factor[c] =
            triple32(triple32((first + c) ^ low) ^ high) >= threshold ? scale : (real)0;
      for (size_t c = 0; c < width; c++) y[j + c] = x[j + c] * factor[c];
    }
    magnitude = KERNEL(add_magnitudes)(magnitude, y, d->n);
    if (d->activation.kind != FNN_IDENTITY)
      KERNEL(activation_backward)(
          d->activation, y, (const real *)d->saved + (ptrdiff_t)i * d->y_row, y, d->n);
  }
  return KERNEL(sum_lanes)(magnitude);
}
