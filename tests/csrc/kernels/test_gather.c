/* Gathering rows: every type, stride, byte order and alignment. The values are decoded
 * here byte by byte. */
#include <math.h>
#include <string.h>

#include "support/support.h"
#include "tests.h"

static const size_t sizes[] = {1, 1, 2, 2, 4, 4, 8, 8, 2, 4, 8};
enum { TYPES = sizeof sizes / sizeof *sizes };

static long double half_value(unsigned bits) {
  const int exponent = (int)(bits >> 10 & 31);
  const long double mantissa = bits & 1023;
  long double value = exponent == 0    ? ldexpl(mantissa, -24)
                      : exponent == 31 ? (mantissa != 0 ? NAN : INFINITY)
                                       : ldexpl(1024 + mantissa, exponent - 25);
  return bits >> 15 ? -value : value;
}

/* The number in the bits, rounded once to the network's dtype. */
static double decode(fnn_dtype dtype, fnn_type type, const unsigned char *bytes,
                     int swapped) {
  const size_t size = sizes[type];
  uint64_t bits = 0;
  int little = 1;
  little = *(char *)&little;
  for (size_t i = 0; i < size; i++) /* most significant byte first */
    bits = bits << 8 | bytes[(little != 0) != (swapped != 0) ? size - 1 - i : i];
  const uint64_t sign = (uint64_t)1 << (8 * size - 1);
  switch (type) {
    case FNN_U8:
    case FNN_U16:
    case FNN_U32:
    case FNN_U64: break;
    case FNN_I8:
    case FNN_I16:
    case FNN_I32:
    case FNN_I64:
      if (bits & sign) {
        bits = sign - (bits & (sign - 1));
        return dtype == FNN_F64 ? -(double)bits : (double)-(float)bits;
      }
      break;
    case FNN_FLOAT16: return (double)half_value((unsigned)bits);
    case FNN_FLOAT32: {
      const uint32_t word = (uint32_t)bits;
      float real;
      memcpy(&real, &word, sizeof real);
      return (double)real;
    }
    case FNN_FLOAT64: {
      double real;
      memcpy(&real, &bits, sizeof real);
      return dtype == FNN_F64 ? real : (double)(float)real;
    }
  }
  return dtype == FNN_F64 ? (double)bits : (double)(float)bits;
}

/* x * scale + shift, a rounding each. */
static double scaled(fnn_dtype dtype, double x, double scale, double shift) {
  if (dtype == FNN_F64) {
    const volatile double product = x * scale;
    return product + shift;
  }
  const volatile float product = (float)x * (float)scale;
  return (double)(product + (float)shift);
}

static int same_value(double a, double b) { return a == b || (isnan(a) && isnan(b)); }

typedef struct layout {
  size_t rows, cols, col_step, row_gap; /* steps in elements, gap in bytes */
  int reversed, transposed;
} layout;

static void gather_case(fnn_dtype dtype, fnn_type type, const layout *l, int swapped,
                        int ordered, int with_scale) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const size_t size = sizes[type];
  ptrdiff_t col_stride = (ptrdiff_t)(l->col_step * size);
  ptrdiff_t row_stride = (ptrdiff_t)(l->cols * l->col_step * size + l->row_gap);
  if (l->transposed) {
    row_stride = (ptrdiff_t)(size + l->row_gap);
    col_stride = (ptrdiff_t)l->rows * row_stride;
  }
  /* The array ends exactly where its last element does. */
  const size_t bytes =
      (l->rows - 1) * (size_t)row_stride + (l->cols - 1) * (size_t)col_stride + size;
  guarded memory = guard(bytes, 1, random_below(8)); /* any alignment */
  for (size_t i = 0; i < bytes; i++)
    ((unsigned char *)memory.data)[i] = (unsigned char)random_bits();
  const unsigned char *origin = memory.data;
  if (l->reversed) {
    origin += (l->rows - 1) * (size_t)row_stride + (l->cols - 1) * (size_t)col_stride;
    row_stride = -row_stride;
    col_stride = -col_stride;
  }
  const fnn_array x = {.data = origin,
                       .rows = l->rows,
                       .cols = l->cols,
                       .row_stride = row_stride,
                       .col_stride = col_stride,
                       .type = type,
                       .swapped = swapped};
  enum { COUNT = 9 };
  int64_t order[COUNT + 2];
  for (size_t i = 0; i < COUNT + 2; i++) order[i] = (int64_t)random_below(l->rows);
  const size_t first = ordered ? 2 : random_below(l->rows);
  const size_t count = ordered ? COUNT : l->rows - first;
  const size_t dst_row = l->cols + random_below(4);
  guarded dst = guard(count * dst_row, itemsize(dtype), random_below(3));
  guarded scale = guard_random(dtype, l->cols, 0),
          shift = guard_random(dtype, l->cols, 0);
  const double magnitude = kernels->gather(
      &x, ordered ? order : NULL, first, count, with_scale ? scale.data : NULL,
      with_scale ? shift.data : NULL, dst.data, (ptrdiff_t)dst_row);
  double sum = 0.0;
  for (size_t i = 0; i < count; i++) {
    const size_t row = ordered ? (size_t)order[first + i] : first + i;
    for (size_t j = 0; j < l->cols; j++) {
      const unsigned char *element =
          origin + (ptrdiff_t)row * row_stride + (ptrdiff_t)j * col_stride;
      double expected = decode(dtype, type, element, swapped);
      if (with_scale)
        expected = scaled(dtype, expected, real_at(dtype, scale.data, j),
                          real_at(dtype, shift.data, j));
      const double got = real_at(dtype, dst.data, i * dst_row + j);
      sum += fabs(got);
      CHECK(same_value(got, expected),
            "type %d%s, row %zu, column %zu: %.17g, not %.17g", (int)type,
            swapped ? " swapped" : "", row, j, got, expected);
    }
    for (size_t j = l->cols; j < dst_row; j++)
      CHECK(is_untouched(dst.data, itemsize(dtype), i * dst_row + j),
            "beyond the gathered row");
  }
  if (!isfinite(sum)) CHECK(!isfinite(magnitude), "magnitude %g of %g", magnitude, sum);
  else if (sum < 1e30)
    CHECK(fabs(magnitude - sum) <= 1e-4 * sum, "magnitude %g of %g", magnitude, sum);
  guard_release(&memory, "x");
  guard_release(&dst, "dst");
  guard_release(&scale, "scale");
  guard_release(&shift, "shift");
}

void test_gather_types(fnn_dtype dtype) {
  static const layout layouts[] = {
      {7, 19, 1, 0, 0, 0}, /* C order */
      {5, 33, 1, 3, 0, 0}, /* rows apart, by no multiple of the element */
      {4, 10, 3, 0, 0, 0}, /* every third column */
      {6, 17, 1, 0, 1, 0}, /* both axes reversed */
      {9, 8, 1, 0, 0, 1},  /* Fortran order */
      {3, 21, 1, 5, 1, 1}, /* all at once */
      {1, 1, 1, 0, 0, 0},
  };
  for (size_t l = 0; l < sizeof layouts / sizeof *layouts; l++)
    for (int type = 0; type < TYPES; type++)
      for (int swapped = 0; swapped < 2; swapped++)
        for (int variant = 0; variant < 4; variant++)
          gather_case(dtype, (fnn_type)type, &layouts[l], swapped, variant & 1,
                      variant >> 1);
}

/* All 65536 half-precision numbers, both byte orders, both ways through the loop. */
void test_gather_halves(fnn_dtype dtype) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  enum { ROWS = 256, COLS = 256 };
  static uint16_t halves[ROWS * COLS];
  guarded dst = guard(ROWS * COLS, itemsize(dtype), 0);
  for (int swapped = 0; swapped < 2; swapped++) {
    for (unsigned i = 0; i < ROWS * COLS; i++) {
      const uint16_t bits = (uint16_t)i;
      halves[i] = swapped ? (uint16_t)(bits << 8 | bits >> 8) : bits;
    }
    const fnn_array x = {.data = halves,
                         .rows = ROWS,
                         .cols = COLS,
                         .row_stride = COLS * 2,
                         .col_stride = 2,
                         .type = FNN_FLOAT16,
                         .swapped = swapped};
    kernels->gather(&x, NULL, 0, ROWS, NULL, NULL, dst.data, COLS);
    for (unsigned i = 0; i < ROWS * COLS; i++) {
      const double got = real_at(dtype, dst.data, i), exact = (double)half_value(i);
      CHECK(same_value(got, exact) && (isnan(got) || signbit(got) == signbit(exact)),
            "half %04x: %g, not %g", i, got, exact);
    }
  }
  guard_release(&dst, "dst");
}
