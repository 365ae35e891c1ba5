/* Inside the engine: what a network is made of.  See fastnn.h for what it does. */
#ifndef FNN_NETWORK_H
#define FNN_NETWORK_H

#include <assert.h>

#include "base/memory.h"
#include "engine/bounds.h"
#include "fastnn.h"
#include "kernels/bfloat16.h"
#include "kernels/kernels.h"
#include "threads/pace.h"
#include "threads/threads.h"

typedef enum fnn_stage_kind {
  FNN_STAGE_DENSE,
  FNN_STAGE_DROPOUT,
  FNN_STAGE_BATCH_NORM,
  FNN_STAGE_LAYER_NORM,
  FNN_STAGE_SCALE,
  FNN_STAGE_PERIODIC,
  FNN_STAGE_PIECEWISE,
  FNN_STAGE_TABLE,
  FNN_STAGE_PARAMETRIC,
  FNN_STAGE_SOFTMAX /* the activation of the layer below, which has whole rows here */
} fnn_stage_kind;

/* Running statistics of a batch norm, (n) padded each. */
typedef struct fnn_statistics {
  void *mean, *variance;
} fnn_statistics;

/* bfloat16 mode, dense: what the products take, in words of one value or two (see
 * bfloat16.h). */
typedef struct fnn_rounded {
  uint32_t *x;  /* (batch_capacity, k / values) */
  uint32_t *dy; /* (batch_capacity, n / values) */
  uint32_t *w;  /* packed (k / values, n), always of the weights as they are */
  ptrdiff_t x_row, dy_row;
} fnn_rounded;

typedef struct fnn_batch fnn_batch; /* a mini-batch, see stages.h */

/* The functions of a stage, chosen when it is made.  Each does this thread's share. */
typedef struct fnn_stage_way {
  /* Z and Y of stage i; the stage below is complete in the rows or columns that it
   * takes (see fnn_forward_needs_barrier).  Returns the sum of |z|. */
  double (*forward)(const fnn_network *, size_t i, const fnn_batch *,
                    const fnn_worker *);
  /* dy of stage i - 1 from dy of stage i, and the parameter gradients of a batch norm;
   * returns the sum of |dx|. */
  double (*input_gradient)(const fnn_network *, size_t i, const fnn_batch *,
                           const fnn_worker *);
  /* Parameter gradients; with an update they are consumed where they arise.  NULL if
   * there are no parameters. */
  void (*parameters)(const fnn_network *, size_t i, const fnn_batch *,
                     const fnn_update *, const fnn_worker *);
  /* Y for prediction, by the threads of a team; room: fnn_rounding_room values a row.
   * NULL for dropout, which the caller leaves out. */
  double (*predict)(const fnn_network *, size_t i, const void *x, ptrdiff_t x_row,
                    size_t rows, void *y, void *room, const fnn_worker *);
} fnn_stage_way;

/* Y := act(Z), Z from X = Y of the stage below, and dY := the gradient wrt Z. */
typedef struct fnn_stage {
  fnn_stage_kind kind;
  fnn_stage_way way;
  size_t k, n;               /* inputs, outputs */
  fnn_activation activation; /* never softmax */
  int trainable;             /* has parameters that are not frozen */
  int use_bias;
  double rate, momentum, epsilon;
  uint64_t key;
  size_t layer; /* its number; not of a softmax */

  size_t columns, size, terms; /* embeddings, see fnn_layer */
  size_t *starts;              /* and fnn_embedding */
  void *edges;
  double steepest;         /* piecewise: no bin counts more than that times |x| + 1 */
  fnn_activation function; /* parametric; z keeps its values */

  /* Parameters are packed (w_rows, w_n) and (b_rows, w_n): W and b, or scale and shift of
   * norms, (1, n) each. */
  size_t w_n, w_rows, b_rows;
  size_t w_size, b_size;             /* values, padding included; else 0 */
  void *w[FNN_PARTS], *b[FNN_PARTS]; /* weights, then optimizer state */
  fnn_factors factors[2];            /* of w and b */
  void *dw, *db;                     /* stored gradients */

  ptrdiff_t row;           /* row stride of y, z and dy */
  int split_rows;          /* forward: threads take rows, not panels */
  int split_rows_backward; /* likewise for its input gradient */
  void *y, *dy;            /* (batch_capacity, n) */
  void *z;                 /* likewise, if fnn_saves_input */

  /* Norms: of the mini-batch, (n) padded for batch norm, (batch_capacity) for layer
   * norm. */
  void *mean, *inverse;
  fnn_statistics running;    /* batch norm */
  fnn_statistics pending;    /* what they become with the update being worked out */
  void *fixed_inverse;       /* 1 / sqrt(running variance + epsilon), (n) padded */
  void *folded_w, *folded_b; /* dense: with the batch norm above, for prediction */
  int is_folded;             /* batch norm: into the dense layer below */
  fnn_rounded rounded;
} fnn_stage;

/* Shared by the callers of prediction, any number of them at once. */
typedef struct fnn_callers {
  fnn_paces paces;
  fnn_spare spare;
} fnn_callers;

struct fnn_network {
  const fnn_kernels *kernels;
  const fnn_bf16_kernels *bf16; /* the products of bfloat16 mode, else NULL */
  size_t n_inputs, n_outputs, n_stages, n_layers;
  fnn_stage *stages; /* before the first there is one of the inputs: its dy alone */
  size_t *stage_of;  /* layer: its stage */
  size_t lowest;     /* trainable stage; n_stages if none is */
  int to_inputs;     /* a backward pass goes on to the inputs */
  fnn_loss loss;
  const double *levels; /* of the plan */
  fnn_optimizer optimizer;
  fnn_factors worst;     /* for the bounds, of all arrays that are trained */
  size_t states;         /* state arrays of the optimizer */
  uint64_t step;         /* updates done */
  double product;        /* NAdam: see fnn_momentum_product */
  int threads;           /* 0: the maximum */
  double cost;           /* of a multiply-add, in those of float32 */
  double rounded_growth; /* of a product whose operands are each at most 2^-8 larger */
  fnn_paces paces;       /* of training */
  fnn_callers *callers;
  void *scale, *shift; /* (n_inputs) reals, or NULL */
  fnn_bounds bounds;
  int is_measured; /* bounds are those of the weights and state as they are */
  int has_pending; /* the statistics of gradients that were not applied yet */

  /* Workspace for mini-batches of up to batch_capacity rows. */
  size_t batch_capacity, x_capacity;
  ptrdiff_t x_row;
  void *x;         /* (2, x_capacity, n_inputs), gathered for even and odd steps */
  int64_t *labels; /* (batch_capacity) */
  void *targets;   /* (batch_capacity, n_targets), row stride of logits */
  void *weights, *loss_rows, *correct_rows; /* (batch_capacity) */
  int scratch_threads;
  size_t scratch_size; /* values a thread */
  void *scratch;
  double *magnitudes; /* (scratch_threads, magnitude_row) */
  size_t magnitude_row;
  double *square_sums; /* of each column's gradients, for clip_norm; or NULL */
  uint32_t *pairs;     /* bfloat16: scratch of weight gradients, pairs_size a thread */
  size_t pairs_size;
  int pairs_threads;
};

static inline const fnn_stage *fnn_last(const fnn_network *network) {
  return &network->stages[network->n_stages - 1];
}

static inline fnn_stage *fnn_stage_of(const fnn_network *network, size_t layer) {
  assert(layer < network->n_layers);
  return &network->stages[network->stage_of[layer]];
}

/* Whether its products take rounded operands: dense, in bfloat16 mode. */
static inline int fnn_is_rounded(const fnn_stage *stage) {
  return stage->rounded.w != NULL;
}

static inline int fnn_is_norm(const fnn_stage *stage) {
  return stage->kind == FNN_STAGE_BATCH_NORM || stage->kind == FNN_STAGE_LAYER_NORM;
}

/* A batch norm with the statistics it was given; else those of the mini-batch. */
static inline int fnn_is_fixed(const fnn_stage *stage) {
  return stage->kind == FNN_STAGE_BATCH_NORM && !stage->trainable;
}

/* Columns of its parameters, those of the padding included; 0 if it has none. */
static inline size_t fnn_parameter_columns(const fnn_kernels *kernels,
                                           const fnn_stage *stage) {
  return (stage->w_n + kernels->nr - 1) / kernels->nr * kernels->nr;
}

/* Whether a backward pass goes on from stage i to the one before. */
static inline int fnn_goes_on_from(const fnn_network *network, size_t i) {
  return network->to_inputs || i > network->lowest;
}

/* The largest number of threads a call may use. */
static inline int fnn_most_threads(const fnn_network *network) {
  return network->threads > 0 ? network->threads : fnn_get_num_threads();
}

/* What depends on which arrays are trained, and how: `lowest` and `worst`. */
void fnn_network_look_again(fnn_network *network);
/* Whether a row of inputs is finite, and has codes that FNN_TABLE knows. */
int fnn_is_good_row(const fnn_network *network, const void *x);
/* The inverse deviation of the running variance, whatever the caller's floating-point
 * state. */
void fnn_fix_statistics(const fnn_network *network, fnn_stage *stage);
/* The running statistics of a step that counts become those of the network. */
void fnn_commit_statistics(fnn_network *network);
/* Whether the rows of x can be read where they lie by kernels of this dtype. */
int fnn_readable_in_place(const fnn_kernels *kernels, const fnn_array *x);
/* Whether the first stage does, which may be unable to or faster with a copy.
 * Sparse rows are never copied. */
int fnn_takes_in_place(const fnn_network *network, const fnn_array *x);
/* Multiply-adds that a row of x (NULL: dense) takes for each output of the first
 * stage. */
double fnn_row_width(const fnn_network *network, const fnn_array *x);

#endif
