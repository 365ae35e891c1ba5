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

/* The vectors, of `lanes` values, that columns [column, n) need, at most `most`. */
static inline size_t fnn_vectors(size_t lanes, size_t column, size_t n, size_t most) {
  const size_t vectors = (n - column + lanes - 1) / lanes;
  return vectors < most ? vectors : most;
}

/* The panels of two vectors, `left` of them with n columns, that a tile of forward spans
 * where rows are few: eight accumulators at least are needed to hide the latency of the
 * multiply-add.  With at most wide8 rows a tile takes eight vectors, with wide4 four. */
static inline size_t fnn_tile_panels(size_t rows, size_t wide8, size_t wide4,
                                     size_t lanes, size_t left, size_t n,
                                     size_t *vectors) {
  size_t panels = rows <= wide8 && left >= 4 ? 4 : rows <= wide4 && left >= 2 ? 2 : 1;
  *vectors = fnn_vectors(lanes, 0, n, 2 * panels);
  if (panels > 1 && *vectors < 2 * panels) { /* a narrow last panel stays out */
    panels = panels == 4 && *vectors >= 4 ? 2 : 1;
    if (*vectors > 2 * panels) *vectors = 2 * panels;
  }
  return panels;
}

/* Row stride for n columns: whole cache lines, an odd number of them, so that the
 * rows of a column do not fall into the same cache sets. */
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

/* Chains of forward and dX are cut into blocks of this many steps; dX with more rows
 * than these has W^T packed for this many panels at a time. All of these sizes, and
 * those of dW, are the best for a core whose caches a neighbour shares (hyper-threads,
 * other machines of the host), where large products are 1.1 to 1.5 times as quick as
 * with other sizes that a core of its own takes as well. */
enum { FNN_BLOCK_STEPS = 384, FNN_INPUT_ROWS = 192, FNN_INPUT_PANELS = 64 };

/* Values of scratch that dX (m, k) takes, of n outputs. */
static inline size_t fnn_input_scratch(const fnn_kernels *kernels, size_t m, size_t k,
                                       size_t n) {
  const size_t steps = n < FNN_BLOCK_STEPS ? n : FNN_BLOCK_STEPS;
  const size_t columns = fnn_panels(kernels, steps) * kernels->nr;
  const size_t panels = fnn_panels(kernels, k), most = FNN_INPUT_PANELS;
  return columns * kernels->nr *
         (m <= FNN_INPUT_ROWS ? 1
          : panels < most     ? panels
                              : most);
}

/* dW := X^T dY: a block of X, of this many rows and columns, is packed for the tiles of
 * all panels; with more rows of X the sums go on in memory, for this many panels at a
 * time. */
enum { FNN_GRADIENT_STEPS = 384, FNN_GRADIENT_ROWS = 256, FNN_GRADIENT_PANELS = 64 };

/* Whether X (m, k) is packed for this many columns of dW.  That pays where they use it
 * often (measured: AVX2, 512 KB of L2), sooner if X does not fit in L2, and always if it
 * comes from memory; not for a few rows, nor for what L1 and its TLB nearly hold. */
static inline int fnn_packs_inputs(size_t m, size_t k, size_t columns,
                                   size_t itemsize) {
  static const double least_uses[2][2] = {{131072, 65536}, {32768, 8192}};
  const double size = (double)m * (double)k * (double)itemsize;
  const double uses = (double)m * (double)columns;
  if (m < 96 || size <= 128 * 1024) return 0;
  return uses >= least_uses[itemsize == 8][size > 512 * 1024] || size > 4 * 1024 * 1024;
}

/* Values of scratch that dW (k, n) takes. */
static inline size_t fnn_weights_scratch(const fnn_kernels *kernels, size_t m, size_t k,
                                         size_t n) {
  const size_t panels = fnn_panels(kernels, n), most = FNN_GRADIENT_PANELS;
  if (!fnn_packs_inputs(m, k, panels * kernels->nr, kernels->itemsize)) return 0;
  const size_t steps = m < FNN_GRADIENT_STEPS ? m : FNN_GRADIENT_STEPS;
  const size_t packed = steps * (FNN_GRADIENT_ROWS + kernels->nr);
  if (m == steps) return packed;
  return packed + FNN_GRADIENT_ROWS * kernels->nr * (panels < most ? panels : most);
}

#endif
