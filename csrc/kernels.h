/* The kernel table: one table per instruction set and dtype, filled in isa_<isa>.c from
 * kernels.inc.h and chosen in dispatch.c.  The comment of a slot is its contract.
 *
 * Sizes: m rows (samples), k inputs, n outputs.  `real` is float or double, by table.
 * Weights W (k, n) are packed: ceil(n / NR) column panels of k rows of NR values,
 * panel p at w + p * k * NR, the columns beyond n zero.  Biases and all optimizer state
 * have the same padding.  Activations are row-major with a row stride (in elements) of
 * at least n rounded up to `lanes`; columns beyond n stay zero in gradients.
 *
 * Every output element is one chain of multiply-adds over ascending k, whatever the
 * tile, panel or thread, which is why results do not depend on how work is split.
 * Kernels that return a double return a sum of magnitudes of what they computed: it is
 * at most 2^60 only if all values are finite and tame (see engine.h). */
#ifndef FNN_KERNELS_H
#define FNN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "fastnn.h"

/* Y := act(X W + b). */
typedef struct fnn_forward {
  const void *x;   /* (m, k) */
  ptrdiff_t x_row; /* elements from one row to the next */
  const void *w;   /* packed (k, n) */
  const void *b;   /* (n) padded */
  void *y;         /* (m, n) */
  ptrdiff_t y_row;
  size_t k, n;
  fnn_activation activation;
} fnn_forward;

/* dX := (dY W^T) * act'(X), where X are the outputs of the layer below. */
typedef struct fnn_backward_input {
  const void *dy; /* (m, n) */
  ptrdiff_t dy_row;
  const void *w; /* packed (k, n) */
  const void *x; /* (m, k), row stride dx_row; not read for the identity */
  void *dx;      /* (m, k) */
  ptrdiff_t dx_row;
  size_t k, n;
  fnn_activation activation; /* of the layer below */
  void *scratch;             /* (n rounded up to NR) * NR values, of this thread */
} fnn_backward_input;

/* One optimizer step, the constants of this step worked out (see optimizers.inc.h). */
typedef struct fnn_update {
  fnn_optimizer_kind kind;
  double rate;           /* SGD family: learning rate; Adam: lr / (1 - beta_1^t) */
  double momentum;       /* SGD family: mu */
  double beta_1, beta_2; /* Adam */
  double root_scale;     /* Adam: 1 / sqrt(1 - beta_2^t) */
  double epsilon;        /* Adam */
  double keep;           /* AdamW: 1 - lr * weight_decay, else 1 */
} fnn_update;

/* dW := X^T dY and db := column sums of dY, then either stored (update == NULL) or
 * consumed by the optimizer at once. */
typedef struct fnn_backward_weights {
  const void *x; /* (m, k) */
  ptrdiff_t x_row;
  const void *dy; /* (m, n) */
  ptrdiff_t dy_row;
  size_t m, k, n;
  const fnn_update *update; /* NULL: store the gradients in dw and db */
  void *w, *w_state[2];     /* packed (k, n) */
  void *b, *b_state[2];     /* (n) padded */
  void *dw, *db;            /* as w and b */
  void *scratch;            /* MR * NR values, of this thread */
} fnn_backward_weights;

/* Fused softmax and cross-entropy of logits z. */
typedef struct fnn_softmax_loss {
  const void *z; /* (m, n) */
  ptrdiff_t z_row;
  size_t n;
  const int64_t *labels; /* (m), in [0, n); or NULL and */
  const void *targets;   /* (m, n) soft targets, row stride z_row */
  const void *weights;   /* (m) sample weights, NULL for ones */
  double scale;          /* 1 / sum of the weights of the mini-batch */
  double smoothing;      /* label smoothing in [0, 1] */
  void *dz;              /* (m, n) scaled gradient, may be z itself; NULL: not wanted */
  void *loss;            /* (m) weight * loss */
  void *correct;         /* (m) weight if argmax z is the label, else 0 */
} fnn_softmax_loss;

typedef struct fnn_kernels {
  const char *isa;
  fnn_dtype dtype;
  size_t itemsize;
  size_t lanes; /* values in a vector */
  size_t nr;    /* NR, columns of a panel: 2 vectors */
  size_t mr;    /* MR, rows of the largest tile */

  /* Rows [row0, row1) of panels [panel0, panel1). */
  double (*dense_forward)(const fnn_forward *, size_t row0, size_t row1, size_t panel0,
                          size_t panel1);
  /* Rows [row0, row1) of the panels [panel0, panel1) of X's k columns. */
  double (*dense_backward_input)(const fnn_backward_input *, size_t row0, size_t row1,
                                 size_t panel0, size_t panel1);
  /* Rows [k0, k1) of one panel of W. */
  void (*dense_backward_weights)(const fnn_backward_weights *, size_t panel, size_t k0,
                                 size_t k1);
  /* One panel of b. */
  void (*dense_backward_bias)(const fnn_backward_weights *, size_t panel);

  /* y[i] := act(x[i]);  dx[i] := dy[i] * act'(y[i]).  In place is allowed. */
  void (*activation_forward)(fnn_activation, const void *x, void *y, size_t count);
  void (*activation_backward)(fnn_activation, const void *dy, const void *y, void *dx,
                              size_t count);

  /* z := softmax(z) on `rows` rows of n columns, in place. */
  void (*softmax)(void *z, ptrdiff_t z_row, size_t n, size_t rows);
  void (*softmax_cross_entropy)(const fnn_softmax_loss *, size_t row0, size_t row1);

  /* The optimizer on `count` contiguous values; state pointers may be NULL if unused. */
  void (*update)(const fnn_update *, void *w, const void *g, void *s0, void *s1,
                 size_t count);

  /* Rows order[first .. first + count) of x (rows first .. when order is NULL),
   * converted and then x * scale[j] + shift[j] (when scale is not NULL), to dst. */
  double (*gather)(const fnn_array *x, const int64_t *order, size_t first, size_t count,
                   const void *scale, const void *shift, void *dst, ptrdiff_t dst_row);
  /* Sum of |x| over `count` contiguous values. */
  double (*magnitude)(const void *x, size_t count);

  /* Row-major (k, n) with a row stride to packed panels, and back. */
  void (*pack)(const void *src, ptrdiff_t src_row, size_t k, size_t n, void *dst);
  void (*unpack)(const void *src, size_t k, size_t n, void *dst, ptrdiff_t dst_row);
} fnn_kernels;

/* The table of the active instruction set. */
const fnn_kernels *fnn_kernels_for(fnn_dtype dtype);

static inline size_t fnn_panels(const fnn_kernels *kernels, size_t n) {
  return (n + kernels->nr - 1) / kernels->nr;
}

#endif
