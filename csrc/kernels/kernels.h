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
 * at most 2^60 only if all values are finite and tame (see engine/bounds.h). */
#ifndef FNN_KERNELS_H
#define FNN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "base/facts.h"
#include "fastnn.h"

/* Y := act(X W + b); not softmax, which needs whole rows. */
typedef struct fnn_forward {
  const void *x;   /* (m, k) */
  ptrdiff_t x_row; /* elements from one row to the next */
  const void *w;   /* packed (k, n) */
  const void *b;   /* (n) padded */
  void *y;         /* (m, n) */
  ptrdiff_t y_row;
  void *z; /* (m, n) as y, keeps X W + b if fnn_saves_input; or NULL */
  size_t k, n;
  fnn_activation activation;
} fnn_forward;

/* Rows first, first + 1, ... of compressed sparse rows, or of what `order` says. */
typedef struct fnn_sparse {
  const fnn_array *x;
  const int64_t *order; /* or NULL */
  size_t first;
} fnn_sparse;

/* The `count` values of row i, and their columns. */
static inline const void *fnn_sparse_row(const fnn_sparse *sparse, size_t i,
                                         size_t itemsize, const int32_t **columns,
                                         size_t *count) {
  const fnn_array *x = sparse->x;
  i += sparse->first;
  const size_t row = sparse->order ? (size_t)sparse->order[i] : i;
  const size_t start = (size_t)x->starts[row];
  *columns = x->columns + start;
  *count = (size_t)x->starts[row + 1] - start;
  return (const char *)x->data + start * itemsize;
}

/* dX := (dY W^T) * act', of the activation of the layer below (not softmax). */
typedef struct fnn_backward_input {
  const void *dy; /* (m, n) */
  ptrdiff_t dy_row;
  const void *w;     /* packed (k, n) */
  const void *saved; /* (m, k), row stride dx_row: see fnn_saves_input; not read for the
                        identity */
  void *dx;          /* (m, k) */
  ptrdiff_t dx_row;
  size_t k, n;
  fnn_activation activation; /* of the layer below */
  void *scratch;             /* fnn_input_scratch() values, of this thread */
} fnn_backward_input;

/* One optimizer step, the constants of this step worked out (see optimizers.inc.h). */
typedef struct fnn_update {
  fnn_optimizer_kind kind;
  int plain;             /* the four of the last lines are at their neutral values */
  double rate;           /* learning rate; Adam: lr / (1 - beta_1^t); NAdam: of m */
  double gradient_rate;  /* NAdam: of g */
  double momentum;       /* SGD family: mu */
  double beta_1, beta_2; /* of the moments; beta_2 is also RMSprop's rho */
  double root_scale;     /* Adam, NAdam: 1 / sqrt(1 - beta_2^t) */
  double epsilon;
  double decay;  /* lr * weight_decay */
  double keep;   /* decoupled decay: 1 - decay, else 1 */
  double clip;   /* largest magnitude of a gradient, else infinity */
  double scale;  /* of the clipped gradient, else 1 */
  double l1, l2; /* penalties, else 0 */
} fnn_update;

/* That of an array with factors of its own. */
static inline fnn_update fnn_update_with(const fnn_update *u,
                                         const fnn_factors *factors) {
  fnn_update own = *u;
  own.rate *= factors->rate;
  own.gradient_rate *= factors->rate;
  own.epsilon *= factors->epsilon;
  own.keep = 1.0 - u->decay * factors->rate * factors->decay;
  return own;
}

/* Of the two arrays of a layer. */
typedef struct fnn_updates {
  fnn_update w, b;
} fnn_updates;

/* dW := X^T dY and db := column sums of dY, then either stored (update == NULL) or
 * consumed by the optimizer at once. */
typedef struct fnn_backward_weights {
  const void *x; /* (m, k) */
  ptrdiff_t x_row;
  const void *dy; /* (m, n) */
  ptrdiff_t dy_row;
  size_t m, k, n;
  const fnn_update *update; /* of w; NULL: store the gradients in dw and db */
  const fnn_update *b_update;
  int add;              /* stored: to what dw and db hold, the chain goes on */
  void *w, *w_state[2]; /* packed (k, n) */
  void *b, *b_state[2]; /* (n) padded */
  void *dw, *db;        /* as w and b */
  void *scratch;        /* fnn_weights_scratch() values, of this thread */
} fnn_backward_weights;

/* Y := X * mask / (1 - rate), the mask as dropout.inc.h has it. */
typedef struct fnn_dropout {
  const void *x; /* (m, n) */
  ptrdiff_t x_row;
  void *y; /* (m, n) */
  ptrdiff_t y_row;
  size_t n;
  size_t first; /* number of row 0 within the update's rows */
  double rate;
  uint64_t key, step;        /* updates done before this one */
  fnn_activation activation; /* backward: of the layer below, y *= act' */
  const void *saved;         /* backward: laid out as y, see fnn_saves_input */
} fnn_dropout;

/* Y := act(Z), Z = scale * (X - mean) * inverse + shift with the mean and the inverse
 * deviation 1 / sqrt(variance + epsilon) of each column (batch norm) or of each row
 * (layer norm). */
typedef struct fnn_norm {
  const void *x; /* (m, n) */
  ptrdiff_t x_row;
  const void *scale, *shift; /* (n) padded */
  void *mean, *inverse;      /* batch norm: (n) padded; layer norm: (m) */
  size_t m, n;
  double epsilon;
  void *y; /* (m, n) */
  ptrdiff_t y_row;
  void *z; /* as y, if fnn_saves_input, or NULL */
  fnn_activation activation;
  /* Batch norm: new := (1 - momentum) old + momentum * batch, the mean and the unbiased
   * variance (n); not done when new_mean is NULL. */
  double momentum;
  const void *old_mean, *old_variance;
  void *new_mean, *new_variance;
} fnn_norm;

/* From dY, the gradient wrt Z: dX, times act' of the layer below, and those of scale
 * and shift. */
typedef struct fnn_norm_backward {
  const void *dy; /* (m, n) */
  ptrdiff_t dy_row;
  const void *x; /* as in fnn_norm */
  ptrdiff_t x_row;
  const void *scale, *mean, *inverse;
  size_t m, n;
  void *dx; /* (m, n); NULL: not wanted */
  ptrdiff_t dx_row;
  const void *saved; /* of the layer below, as dx: see fnn_backward_input */
  fnn_activation activation;
  void *dscale, *dshift; /* (n) padded */
  int add;               /* to what they hold */
} fnn_norm_backward;

/* An embedding, see ops/embeddings.inc.h: Y from X, and the gradients from dY. */
typedef struct fnn_embedding {
  size_t k, columns, size;
  size_t terms;         /* periodic */
  const size_t *starts; /* others: (columns + 1), the rows of w of each column */
  const void *edges;    /* piecewise: those of its bins, one more than rows */
  const void *x;        /* (m, k) */
  ptrdiff_t x_row;
  const void *w, *b; /* packed, of the shapes there */
  void *y;           /* (m, n), n = k + columns (size - 1) */
  ptrdiff_t y_row;
  /* Backward. */
  const void *dy; /* as y */
  size_t m;
  void *dx; /* (m, k) */
  ptrdiff_t dx_row;
  const void *saved; /* of the layer below, as dx: see fnn_backward_input */
  fnn_activation activation;
  void *dw, *db; /* as w and b */
  int add;       /* to what they hold */
} fnn_embedding;

/* Y := X + A (f(X) - X). */
typedef struct fnn_parametric {
  fnn_activation function; /* f, not softmax */
  const void *x;           /* (m, n) */
  ptrdiff_t x_row;
  const void *a; /* (n) padded */
  void *y, *f;   /* (m, n); f: f(X), forward may be NULL */
  ptrdiff_t y_row;
  size_t m, n;
  /* Backward, as in fnn_embedding; the activation is that of the layer below. */
  const void *dy;
  void *dx;
  ptrdiff_t dx_row;
  const void *saved;
  fnn_activation activation;
  void *da;
  int add;
} fnn_parametric;

/* A loss of the raw outputs z: value, gradient and correctness of each row. */
typedef struct fnn_loss_rows {
  fnn_loss loss;
  const double *levels; /* of FNN_QUANTILE */
  const void *z;        /* (m, n) */
  ptrdiff_t z_row;
  size_t n;
  const int64_t *labels; /* (m): classes in [0, n), or 0 and 1 where they are yes or no
                            and n = 1; or NULL */
  const void *targets;   /* (m, n / fnn_loss_outputs), row stride z_row, where labels
                            are NULL */
  const void *weights;   /* (m) sample weights, NULL for ones */
  double scale;          /* 1 / sum of the weights of the mini-batch */
  void *dz;              /* (m, n) scaled gradient, may be z itself; NULL: not wanted;
                            columns beyond n become 0 */
  void *losses;          /* (m) weight * loss */
  void *correct;         /* (m) 1 if what is predicted is the label (all labels of a row
                            for binary cross-entropy), else 0; 0 for regression */
} fnn_loss_rows;

enum { FNN_BLOCK = 1024, FNN_STEPS = 1000 }; /* of roofline.c */

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
  /* Rows [k0, k1) of the panels [panel0, panel1) of W. */
  void (*dense_backward_weights)(const fnn_backward_weights *, size_t panel0,
                                 size_t panel1, size_t k0, size_t k1);
  /* The same from sparse rows, not from x of theirs; the gradients are stored. */
  double (*sparse_forward)(const fnn_forward *, const fnn_sparse *, size_t row0,
                           size_t row1, size_t panel0, size_t panel1);
  void (*sparse_backward_weights)(const fnn_backward_weights *, const fnn_sparse *,
                                  size_t panel0, size_t panel1, size_t k0, size_t k1);
  /* One panel of b. */
  void (*dense_backward_bias)(const fnn_backward_weights *, size_t panel);

  double (*dropout)(const fnn_dropout *, size_t row0, size_t row1);

  /* Panels [panel0, panel1) of NR columns: their statistics, then the outputs. */
  double (*batch_norm_forward)(const fnn_norm *, size_t panel0, size_t panel1);
  double (*batch_norm_backward)(const fnn_norm_backward *, size_t panel0,
                                size_t panel1);
  /* Rows [row0, row1), with the mean and inverse as they are; and its dX. */
  double (*fixed_norm_forward)(const fnn_norm *, size_t row0, size_t row1);
  double (*fixed_norm_backward)(const fnn_norm_backward *, size_t row0, size_t row1);
  double (*layer_norm_forward)(const fnn_norm *, size_t row0, size_t row1);
  double (*layer_norm_backward)(const fnn_norm_backward *, size_t row0, size_t row1);
  /* dscale and dshift of one panel. */
  void (*layer_norm_backward_weights)(const fnn_norm_backward *, size_t panel);
  /* Y := act(X * scale): as a layer norm, but with neither mean, inverse nor shift. */
  double (*scale_forward)(const fnn_norm *, size_t row0, size_t row1);
  double (*scale_backward)(const fnn_norm_backward *, size_t row0, size_t row1);
  void (*scale_backward_weights)(const fnn_norm_backward *, size_t panel);
  /* Rows [row0, row1). */
  double (*periodic_forward)(const fnn_embedding *, size_t row0, size_t row1);
  double (*periodic_backward)(const fnn_embedding *, size_t row0, size_t row1);
  /* dw and db of the terms [term0, term1) of a panel; term 0 stands for b as well. */
  void (*periodic_backward_weights)(const fnn_embedding *, size_t panel, size_t term0,
                                    size_t term1);
  double (*piecewise_forward)(const fnn_embedding *, size_t row0, size_t row1);
  double (*piecewise_backward)(const fnn_embedding *, size_t row0, size_t row1);
  /* dw and db of the columns [column0, column1). */
  void (*piecewise_backward_weights)(const fnn_embedding *, size_t column0,
                                     size_t column1);
  double (*table_forward)(const fnn_embedding *, size_t row0, size_t row1);
  double (*table_backward)(const fnn_embedding *, size_t row0, size_t row1);
  void (*table_backward_weights)(const fnn_embedding *, size_t column0, size_t column1);
  double (*parametric_forward)(const fnn_parametric *, size_t row0, size_t row1);
  double (*parametric_backward)(const fnn_parametric *, size_t row0, size_t row1);
  /* da of one panel. */
  void (*parametric_backward_weights)(const fnn_parametric *, size_t panel);
  /* A batch norm with fixed statistics folded into packed weights (k, n) and bias of
   * the layer below. */
  void (*fold_norm)(const fnn_norm *, const void *w, const void *b, size_t k,
                    void *new_w, void *new_b);

  /* y[i] := act(x[i]);  dx[i] := dy[i] * act', from what fnn_saves_input says.  In
   * place is allowed; not for softmax. */
  void (*activation_forward)(fnn_activation, const void *x, void *y, size_t count);
  void (*activation_backward)(fnn_activation, const void *dy, const void *saved,
                              void *dx, size_t count);

  /* z := softmax(z) on `rows` rows of n columns, in place. */
  void (*softmax)(void *z, ptrdiff_t z_row, size_t n, size_t rows);
  /* dp := p (dp - sum_j dp_j p_j) on `rows` rows, in place: the gradient wrt z. */
  void (*softmax_backward)(void *dp, const void *p, ptrdiff_t row, size_t n,
                           size_t rows);
  /* Returns the sum of |dz|, 0 if dz is not wanted. */
  double (*loss)(const fnn_loss_rows *, size_t row0, size_t row1);
  /* z := what the raw outputs predict, on `rows` rows in place: softmax, sigmoid, exp
   * (Poisson) or z itself. */
  void (*predict_values)(fnn_loss_kind, void *z, ptrdiff_t z_row, size_t n,
                         size_t rows);

  /* The optimizer on `count` contiguous values; unused state pointers may be NULL. */
  void (*update)(const fnn_update *, void *w, const void *g, void *s0, void *s1,
                 size_t count);

  /* sums[j] := sum over the k rows of a panel, in order, of the squares of its NR
   * values, each first clipped to [-clip, clip]. */
  void (*square_sums)(const void *panel, size_t k, double clip, double *sums);
  /* Scales the columns of a panel whose norm exceeds `most` to that norm. */
  void (*limit_columns)(void *panel, size_t k, double most);

  /* Rows order[first .. first + count) of x (rows first .. when order is NULL),
   * converted and then x * scale[j] + shift[j] (when scale is not NULL), to dst. */
  double (*gather)(const fnn_array *x, const int64_t *order, size_t first, size_t count,
                   const void *scale, const void *shift, void *dst, ptrdiff_t dst_row);
  /* Sum of |x| over `count` contiguous values. */
  double (*magnitude)(const void *x, size_t count);

  /* Row-major (k, n) with a row stride to packed panels, and back. */
  void (*pack)(const void *src, ptrdiff_t src_row, size_t k, size_t n, void *dst);
  void (*unpack)(const void *src, size_t k, size_t n, void *dst, ptrdiff_t dst_row);

  /* For roofline.c: `steps` times multiply-adds on registers only, step_values of them
   * a step; and blocks of FNN_BLOCK bytes, read, or multiplied by `scale` on their way
   * to other ones.  The sums that are returned are what must not be optimised away. */
  size_t step_values;
  double (*multiply_adds)(size_t steps);
  double (*read)(const void *from, size_t blocks);
  void (*copy)(const void *from, void *to, size_t blocks, double scale);
} fnn_kernels;

/* The table of the active instruction set. */
const fnn_kernels *fnn_kernels_for(fnn_dtype dtype);

/* row_losses.c: losses without vector code, as .loss of the kernels. */
double fnn_row_losses(const fnn_kernels *kernels, const fnn_loss_rows *l, size_t row0,
                      size_t row1);

#endif
