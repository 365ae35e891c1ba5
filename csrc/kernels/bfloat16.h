/* bfloat16 mode: the operands of a dense layer's three products are rounded to
 * bfloat16, sums are float32, and so is everything else: weights, state, activations,
 * losses.
 *
 * There are two forms.  On any CPU rounded values are float32 values, one a word, and the
 * products are those of float32 (dense/rounded.inc.h).  Where an instruction multiplies
 * pairs, and does so faster, they lie in pairs, 32 bits each, as it takes them: the value
 * of even index in the upper half, that of odd index in the lower.  VDPBF16PS adds the
 * product of the upper halves first and rounds after each, so every output element is
 * one chain of multiply-adds over ascending index, as in float32: its bits are those of
 * the float32 kernel on rounded operands, and depend on no thread, tile or batch.
 *
 *            A: pairs of a row, 4 bytes broadcast   B: pairs of a column, a vector
 *   forward  X rows (m, k / 2)                      W panel (k / 2, NR)
 *   dX       dY rows (m, n / 2)                     W^T panel (n / 2, NR), made of W's
 *   dW       X^T (k, m / 2), made of X's            dY panel (m / 2, NR), made of dY's
 *
 * Subnormals count as zero in rounding and in the products, whatever MXCSR says. */
#ifndef FNN_BFLOAT16_H
#define FNN_BFLOAT16_H

#include "kernels/kernels.h"

enum { FNN_PAIR_NR = 32, FNN_PAIR_MR = 14 };

/* Y := act(X W + b), see fnn_forward. */
typedef struct fnn_bf16_forward {
  const uint32_t *x; /* pairs (m, k / 2) */
  ptrdiff_t x_row;
  const uint32_t *w; /* pairs, packed (k / 2, n) */
  const float *b;    /* (n) padded */
  float *y;          /* (m, n); with pairs it may be NULL if fnn_is_fused(activation) */
  ptrdiff_t y_row;
  float *z;          /* as y, or NULL */
  uint32_t *rounded; /* y in pairs (m, n / 2), or NULL */
  ptrdiff_t rounded_row;
  size_t k, n;
  fnn_activation activation;
  const fnn_kernels *kernels; /* float32's, for what is not a product */
} fnn_bf16_forward;

/* dX := (dY W^T) * act', see fnn_backward_input. */
typedef struct fnn_bf16_backward_input {
  const uint32_t *dy; /* pairs (m, n / 2) */
  ptrdiff_t dy_row;
  const uint32_t *w;  /* pairs, packed (k / 2, n) */
  const float *saved; /* (m, k), row stride dx_row; with pairs not read for ReLU */
  const uint32_t *x;  /* this layer's input, pairs (m, k / 2); read for ReLU alone */
  ptrdiff_t x_row;
  float *dx; /* (m, k) */
  ptrdiff_t dx_row;
  uint32_t *rounded; /* dx in pairs (m, k / 2), or NULL */
  ptrdiff_t rounded_row;
  size_t k, n;
  fnn_activation activation; /* of the layer below */
  const fnn_kernels *kernels;
  uint32_t *scratch; /* (n rounded up to NR) / 2 * NR pairs, of this thread; with one
                        value a word fnn_input_scratch() */
} fnn_bf16_backward_input;

/* dW := X^T dY, see fnn_backward_weights; the new weights are rounded at once. */
typedef struct fnn_bf16_backward_weights {
  const uint32_t *x; /* pairs (m, k / 2) */
  ptrdiff_t x_row;
  const uint32_t *dy; /* pairs (m, n / 2) */
  ptrdiff_t dy_row;
  size_t m, k, n;
  const fnn_update *update; /* NULL: store the gradients in dw */
  int add;
  float *w, *w_state[2]; /* packed (k, n) */
  float *dw;             /* as w */
  uint32_t *w_pairs;     /* packed (k / 2, n) */
  const fnn_kernels *kernels;
  uint32_t *scratch; /* fnn_bf16_scratch(m) pairs, of this thread; with one value a
                        word fnn_weights_scratch() */
} fnn_bf16_backward_weights;

typedef struct fnn_bf16_kernels {
  size_t values; /* of a word: 1, or 2; below, (m, k / 2) is (m, k) with one */
  /* Rows of n values to pairs, zero beyond n up to whole panels; returns the sum of
   * their magnitudes. */
  double (*round_rows)(const float *x, ptrdiff_t x_row, size_t rows, size_t n,
                       uint32_t *pairs, ptrdiff_t pairs_row);
  /* (k, NR) values of a panel to (k / 2, NR) pairs. */
  void (*round_panel)(const float *panel, size_t k, uint32_t *pairs);
  /* Rows [row0, row1) of panels [panel0, panel1). */
  double (*forward)(const fnn_bf16_forward *, size_t row0, size_t row1, size_t panel0,
                    size_t panel1);
  double (*backward_input)(const fnn_bf16_backward_input *, size_t row0, size_t row1,
                           size_t panel0, size_t panel1);
  /* Rows [k0, k1) of panels [panel0, panel1) of W, k0 even and k1 even or k. */
  void (*backward_weights)(const fnn_bf16_backward_weights *, size_t panel0,
                           size_t panel1, size_t k0, size_t k1);
  /* Pairs only, for the roofline: so many steps of multiply-adds on registers. */
  double (*multiply_adds)(size_t steps);
  size_t step_values; /* multiply-adds of a step */
} fnn_bf16_kernels;

/* dispatch.c: of words of one value, or of pairs: NULL where the CPU, or the active
 * instruction set, has none. */
const fnn_bf16_kernels *fnn_bf16_kernels_of(size_t values);

/* Panels of dY, of this many pairs of rows, packed at a time: they stay in L2. */
enum { FNN_BF16_IN_L2 = 4096, FNN_BF16_MOST = 16 };
static inline size_t fnn_bf16_group(size_t pairs) {
  const size_t fitting = pairs ? FNN_BF16_IN_L2 / pairs : FNN_BF16_MOST;
  return fitting < 1 ? 1 : fitting > FNN_BF16_MOST ? FNN_BF16_MOST : fitting;
}

/* Those, a block of X^T and a tile of gradients, for m rows. */
static inline size_t fnn_bf16_scratch(size_t m) {
  const size_t pairs = (m + 1) / 2;
  return pairs * (fnn_bf16_group(pairs) * FNN_PAIR_NR + 16) + FNN_PAIR_MR * FNN_PAIR_NR;
}

#endif
