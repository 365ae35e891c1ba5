/* How arrays lie: panels of packed weights, rows of activations, scratch. */
#ifndef FNN_LAYOUT_H
#define FNN_LAYOUT_H

#include <string.h>

#include "base/memory.h"
#include "kernels/kernels.h"

static inline char *fnn_at(const fnn_kernels *kernels, const void *base, size_t index) {
  return (char *)base + index * kernels->itemsize;
}

static inline size_t fnn_panels(const fnn_kernels *kernels, size_t n) {
  return (n + kernels->nr - 1) / kernels->nr;
}

/* Row stride for n columns: whole cache lines, an odd number of them, so that the rows of
 * a column do not fall into the same cache sets. */
static inline ptrdiff_t fnn_row_stride(const fnn_kernels *kernels, size_t n) {
  const size_t line = FNN_ALIGNMENT / kernels->itemsize;
  const size_t lines = (n + line - 1) / line;
  return (ptrdiff_t)((lines | 1) * line);
}

/* Rows of n values, from_row apart, to rows to_row apart. */
static inline void fnn_copy_rows(const fnn_kernels *kernels, const void *from,
                                 size_t from_row, void *to, size_t to_row, size_t n,
                                 size_t rows) {
  for (size_t i = 0; i < rows; i++)
    memcpy(fnn_at(kernels, to, i * to_row), fnn_at(kernels, from, i * from_row),
           n * kernels->itemsize);
}

/* Whether the rows of X (m, k) in dW := X^T dY are many, and more than what a core has
 * of L3.  Their sums are then cut into blocks, for this much of dW at a time. */
enum { FNN_GRADIENT_ROWS = 128, FNN_GRADIENT_PANELS = 16 };
static inline int fnn_is_long(size_t m, size_t k, size_t itemsize) {
  return m > 1024 && (double)m * (double)k * (double)itemsize > 8e6;
}

/* Values of scratch that takes, for n outputs. */
static inline size_t fnn_weights_scratch(const fnn_kernels *kernels, size_t m, size_t k,
                                         size_t n) {
  const size_t panels = fnn_panels(kernels, n), most = FNN_GRADIENT_PANELS;
  if (!fnn_is_long(m, k, kernels->itemsize)) return kernels->mr * kernels->nr;
  return FNN_GRADIENT_ROWS * kernels->nr * (panels < most ? panels : most);
}

#endif
