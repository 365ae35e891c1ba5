#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#if defined(_WIN32)
#include <malloc.h>
#define aligned_alloc(alignment, bytes) _aligned_malloc(bytes, alignment)
#define aligned_free _aligned_free
#else
#define aligned_free free
#endif

#if defined(__SANITIZE_ADDRESS__)
#define WATCHED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WATCHED 1
#endif
#endif
#ifdef WATCHED
#include <sanitizer/asan_interface.h>
#define WATCH(p, bytes) ASAN_POISON_MEMORY_REGION(p, bytes)
#define UNWATCH(p, bytes) ASAN_UNPOISON_MEMORY_REGION(p, bytes)
#else
#define WATCH(p, bytes) ((void)(p), (void)(bytes))
#define UNWATCH(p, bytes) ((void)(p), (void)(bytes))
#endif

enum { BAND = 256, CANARY = 0xff };

static uint64_t state = 1;

void random_seed(uint64_t seed) { state = seed * 0x9e3779b97f4a7c15u + 1; }

uint64_t random_bits(void) { /* splitmix64 */
  uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

size_t random_below(size_t n) { return (size_t)(random_bits() % n); }

double random_uniform(double lo, double hi) {
  return lo + (hi - lo) * ((double)(random_bits() >> 11) * 0x1p-53);
}

static distribution values = WILD;

void random_distribution(distribution d) { values = d; }

double random_value(void) {
  if (values == UNIFORM) return random_uniform(-1.0, 1.0);
  if (values == POSITIVE) return random_uniform(0.0, 1.0);
  if (random_below(16) == 0) return 0.0;
  return ldexp(random_uniform(-1.0, 1.0), (int)random_below(12) - 6);
}

guarded guard(size_t count, size_t size, size_t offset) {
  guarded g = {.bytes = count * size, .begin = BAND + offset * size};
  g.block_size = (g.begin + g.bytes + BAND + 63) / 64 * 64;
  g.block = aligned_alloc(64, g.block_size);
  if (!g.block) abort();
  memset(g.block, CANARY, g.block_size);
  g.data = g.block + g.begin;
  WATCH(g.block, g.begin);
  WATCH(g.block + g.begin + g.bytes, g.block_size - g.begin - g.bytes);
  return g;
}

void guard_release(guarded *g, const char *what) {
  UNWATCH(g->block, g->block_size);
  size_t touched = 0, end = g->begin + g->bytes;
  for (size_t i = 0; i < g->block_size; i++)
    touched += (i < g->begin || i >= end) && g->block[i] != CANARY;
  CHECK(touched == 0, "%zu bytes around %s were overwritten", touched, what);
  aligned_free(g->block);
  *g = (guarded){0};
}

guarded guard_random(fnn_dtype dtype, size_t count, size_t offset) {
  guarded g = guard(count, itemsize(dtype), offset);
  for (size_t i = 0; i < count; i++) set_real(dtype, g.data, i, random_value());
  return g;
}

guarded guard_zeros(fnn_dtype dtype, size_t count) {
  guarded g = guard(count, itemsize(dtype), 0);
  memset(g.data, 0, g.bytes);
  return g;
}

guarded guard_copy(const guarded *g) {
  guarded copy = guard(g->bytes, 1, 0);
  memcpy(copy.data, g->data, g->bytes);
  return copy;
}

int is_untouched(const void *data, size_t size, size_t index) {
  const unsigned char *byte = (const unsigned char *)data + index * size;
  for (size_t i = 0; i < size; i++)
    if (byte[i] != CANARY) return 0;
  return 1;
}

void fill_rows(fnn_dtype dtype, void *data, size_t rows, size_t row, size_t n,
               size_t padded) {
  for (size_t i = 0; i < rows; i++) {
    for (size_t j = 0; j < n; j++) set_real(dtype, data, i * row + j, random_value());
    for (size_t j = n; j < padded; j++) set_real(dtype, data, i * row + j, 0.0);
  }
}

int same_bytes(const guarded *a, const guarded *b) {
  return a->bytes == b->bytes && memcmp(a->data, b->data, a->bytes) == 0;
}

int same_reals(fnn_dtype dtype, const guarded *a, const guarded *b) {
  if (!memcheck || a->bytes != b->bytes) return same_bytes(a, b);
  for (size_t i = 0; i < a->bytes / itemsize(dtype); i++)
    if (real_at(dtype, a->data, i) != real_at(dtype, b->data, i)) return 0;
  return 1;
}

dot exact_dot(fnn_dtype dtype, const void *a, ptrdiff_t a_step, const void *b,
              ptrdiff_t b_step, size_t n) {
  if (dtype == FNN_F32) {
    const float *x = a, *y = b;
    double sum = 0.0, gauge = 0.0;
    for (size_t i = 0; i < n; i++, x += a_step, y += b_step) {
      const double product = (double)*x * (double)*y;
      sum += product;
      gauge += fabs(product);
    }
    return (dot){(long double)sum, (long double)gauge};
  }
  const double *x = a, *y = b;
  dot d = {0.0L, 0.0L};
  for (size_t i = 0; i < n; i++, x += a_step, y += b_step) {
    const long double product = (long double)*x * (long double)*y;
    d.sum += product;
    d.gauge += fabsl(product);
  }
  return d;
}

double error_ratio(fnn_dtype dtype, double got, long double exact, long double gauge,
                   size_t k) {
  const long double unit = (long double)roundoff(dtype) * gauge +
                           (long double)k * (long double)smallest(dtype);
  return (double)(fabsl((long double)got - exact) / unit);
}

int next_shape(size_t i, shape *s) {
  static const size_t sizes[] = {1,  2,  3,  7,  8,  9,  13,  14,  15,
                                 16, 17, 31, 33, 63, 65, 127, 129, 133};
  static const shape fixed[] = {
      {1, 1, 1},
      {3, 4096, 17},
      {2, 31, 133},
      {5, 9, 129},
      {1, 65, 127},
      {4, 16, 65},
      /* MNIST: 784-50-10, 784-128-10, one row, a ragged batch */
      {32, 784, 50},
      {32, 50, 10},
      {64, 784, 128},
      {64, 128, 10},
      {1, 784, 128},
      {96, 784, 32},
      /* Several blocks of rows and of steps; all of them in the quick form too. */
      {17, 1537, 33},
      {17, 33, 1537},
      {97, 400, 70},
      {240, 4400, 17},
      {700, 520, 33},
      {900, 33, 520},
      {2100, 1000, 2},
      {1100, 960, 33},
      /* few outputs, whose products are taken transposed, in vectors and a rest */
      {150, 64, 3},
      {37, 32, 1},
      {85, 96, 5},
      {18, 33, 2},
      {40, 64, 2},
  };
  enum {
    CUT = 12,
    FIXED = sizeof fixed / sizeof *fixed,
    SIZES = sizeof sizes / sizeof *sizes
  };
  if (i < FIXED) {
    *s = fixed[i];
    if (quick && i < CUT && s->m * s->k * s->n > 1000000) s->m = 2;
    return 1;
  }
  *s = (shape){sizes[random_below(SIZES)], sizes[random_below(SIZES)],
               sizes[random_below(SIZES)]};
  return i < FIXED + samples(150, 15);
}
