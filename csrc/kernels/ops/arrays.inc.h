/* Moving data between the user's arrays, plain rows and packed panels. */

/* A half-precision number by its bits (IEEE 754 binary16). */
#ifndef FNN_HALF
#define FNN_HALF
static inline float half_to_float(uint16_t half) {
  const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
  const uint32_t rest = half & 0x7fffu;
  uint32_t bits;
  float value;
  if (rest >= 0x7c00u) { /* infinity, NaN */
    bits = sign | 0x7f800000u | (rest & 0x03ffu) << 13;
  } else if (rest >= 0x0400u) {
    bits = sign | ((rest << 13) + (112u << 23));
  } else { /* subnormal: exact product with 2^-24, and flush-to-zero cannot reach it */
    value = (float)rest * 5.9604644775390625e-8f;
    return sign ? -value : value;
  }
  memcpy(&value, &bits, sizeof value);
  return value;
}
#endif

/* sum + |x|, lane by lane. */
FNN_INLINE vec KERNEL(add_magnitudes)(vec sum, const real *x, size_t count) {
  vec other = v_zero();
  size_t j = 0;
  for (; j + NR <= count; j += NR) {
    sum = v_add(sum, v_abs(v_load(x + j)));
    other = v_add(other, v_abs(v_load(x + j + VL)));
  }
  sum = v_add(sum, other);
  if (j + VL <= count) sum = v_add(sum, v_abs(v_load(x + j))), j += VL;
  if (j == count) return sum;
  real rest[VL] = {0};
  memcpy(rest, x + j, (count - j) * sizeof(real));
  return v_add(sum, v_abs(v_load(rest)));
}

static double KERNEL(magnitude)(const void *x, size_t count) {
  return KERNEL(sum_lanes)(KERNEL(add_magnitudes)(v_zero(), x, count));
}

/* dst[j] = src[j], unaligned, strided and byte-swapped sources included. */
static void KERNEL(convert_row)(const fnn_array *x, const char *src, real *dst) {
  const size_t n = x->cols;
  const ptrdiff_t stride = x->col_stride;
#define PLAIN(type)                                         \
  if (!x->swapped && stride == (ptrdiff_t)sizeof(type)) {   \
    for (size_t j = 0; j < n; j++) {                        \
      type value;                                           \
      memcpy(&value, src + j * sizeof(type), sizeof value); \
      dst[j] = (real)value;                                 \
    }                                                       \
    return;                                                 \
  }
#define STRIDED(type, bits, swap, convert)        \
  for (size_t j = 0; j < n; j++, src += stride) { \
    bits raw;                                     \
    type value;                                   \
    memcpy(&raw, src, sizeof raw);                \
    if (x->swapped) raw = swap(raw);              \
    memcpy(&value, &raw, sizeof value);           \
    dst[j] = (real)convert(value);                \
  }                                               \
  return;
#define CONVERT(type, bits, swap) \
  {                               \
    PLAIN(type)                   \
    STRIDED(type, bits, swap, )   \
  }
#define SAME(v) (v)
  switch (x->type) {
    case FNN_U8: CONVERT(uint8_t, uint8_t, SAME)
    case FNN_I8: CONVERT(int8_t, uint8_t, SAME)
    case FNN_U16: CONVERT(uint16_t, uint16_t, __builtin_bswap16)
    case FNN_I16: CONVERT(int16_t, uint16_t, __builtin_bswap16)
    case FNN_U32: CONVERT(uint32_t, uint32_t, __builtin_bswap32)
    case FNN_I32: CONVERT(int32_t, uint32_t, __builtin_bswap32)
    case FNN_U64: CONVERT(uint64_t, uint64_t, __builtin_bswap64)
    case FNN_I64: CONVERT(int64_t, uint64_t, __builtin_bswap64)
    case FNN_FLOAT16: STRIDED(uint16_t, uint16_t, __builtin_bswap16, half_to_float)
    case FNN_FLOAT32: CONVERT(float, uint32_t, __builtin_bswap32)
    case FNN_FLOAT64: CONVERT(double, uint64_t, __builtin_bswap64)
  }
#undef SAME
#undef CONVERT
#undef STRIDED
#undef PLAIN
}

/* Asks for the start of a row, of which the hardware cannot know that it is next; it
 * finds the rest of a long one by itself. */
FNN_INLINE void KERNEL(fetch_row)(const fnn_array *x, int64_t row) {
  const char *at = (const char *)x->data + (ptrdiff_t)row * x->row_stride;
  const size_t size = x->cols * (size_t)x->col_stride;
  for (size_t i = 0; i < size && i < 4096; i += 64) __builtin_prefetch(at + i);
}

static double KERNEL(gather)(const fnn_array *x, const int64_t *order, size_t first,
                             size_t count, const void *scale, const void *shift,
                             void *dst, ptrdiff_t dst_row) {
  const real *factor = scale, *offset = shift;
  real *to = dst;
  vec magnitude = v_zero();
  /* In shuffled order, rows are prefetched a few ahead, which halves the time; more
   * ahead gain nothing. */
  enum { AHEAD = 4 };
  const size_t ahead = order && x->col_stride > 0 && x->col_stride <= 8 ? AHEAD : 0;
  for (size_t i = 0; i < ahead && i < count; i++)
    KERNEL(fetch_row)(x, order[first + i]);
  for (size_t i = 0; i < count; i++, to += dst_row) {
    const size_t row = order ? (size_t)order[first + i] : first + i;
    if (ahead && ahead < count - i) KERNEL(fetch_row)(x, order[first + i + ahead]);
    assert(row < x->rows);
    KERNEL(convert_row)(x, (const char *)x->data + (ptrdiff_t)row * x->row_stride, to);
    if (factor)
      for (size_t j = 0; j < x->cols; j++) to[j] = to[j] * factor[j] + offset[j];
    magnitude = KERNEL(add_magnitudes)(magnitude, to, x->cols);
  }
  return KERNEL(sum_lanes)(magnitude);
}

static void KERNEL(pack)(const void *src, ptrdiff_t src_row, size_t k, size_t n,
                         void *dst) {
  const real *from = src;
  real *to = dst;
  for (size_t column = 0; column < n; column += NR) {
    const size_t width = n - column < NR ? n - column : NR;
    for (size_t i = 0; i < k; i++, to += NR) {
      memcpy(to, from + (ptrdiff_t)i * src_row + (ptrdiff_t)column,
             width * sizeof(real));
      memset(to + width, 0, (NR - width) * sizeof(real));
    }
  }
}

static void KERNEL(unpack)(const void *src, size_t k, size_t n, void *dst,
                           ptrdiff_t dst_row) {
  const real *from = src;
  real *to = dst;
  for (size_t column = 0; column < n; column += NR) {
    const size_t width = n - column < NR ? n - column : NR;
    for (size_t i = 0; i < k; i++, from += NR)
      memcpy(to + (ptrdiff_t)i * dst_row + (ptrdiff_t)column, from,
             width * sizeof(real));
  }
}
