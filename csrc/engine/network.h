/* Inside the engine: what a network is made of.  See fastnn.h for what it does. */
#ifndef FNN_ENGINE_H
#define FNN_ENGINE_H

#include "kernels/bfloat16.h"
#include "fastnn.h"
#include "kernels/kernels.h"
#include "base/memory.h"
#include "threads/pace.h"
#include "threads/threads.h"

enum { FNN_STATES = 2, FNN_PARTS = 1 + FNN_STATES };

typedef enum fnn_stage_kind {
  FNN_STAGE_DENSE,
  FNN_STAGE_DROPOUT,
  FNN_STAGE_BATCH_NORM,
  FNN_STAGE_LAYER_NORM,
  FNN_STAGE_SOFTMAX /* the activation of the layer below, which has whole rows here */
} fnn_stage_kind;

/* Running statistics of a batch norm, (n) padded each. */
typedef struct fnn_statistics {
  void *mean, *variance;
} fnn_statistics;

/* bfloat16 mode, dense: what the products take, in pairs (see bfloat16.h). */
typedef struct fnn_rounded {
  uint32_t *x;  /* (batch_capacity, k / 2) */
  uint32_t *dy; /* (batch_capacity, n / 2) */
  uint32_t *w;  /* packed (k / 2, n), always of the weights as they are */
  ptrdiff_t x_row, dy_row;
} fnn_rounded;

/* Y := act(Z), Z from X = Y of the stage below, and dY := the gradient wrt Z. */
typedef struct fnn_stage {
  fnn_stage_kind kind;
  size_t k, n;               /* inputs, outputs; equal unless dense */
  fnn_activation activation; /* never softmax */
  int trainable;             /* has parameters that are not frozen */
  int use_bias;
  double rate, momentum, epsilon;
  uint64_t key;

  /* Parameters are packed (w_rows, n) and (n): W and b, or scale and shift of norms. */
  size_t w_rows, w_size, b_size;     /* values, padding included; else 0 */
  void *w[FNN_PARTS], *b[FNN_PARTS]; /* weights, then optimizer state */
  void *dw, *db;                     /* stored gradients */

  ptrdiff_t row;           /* row stride of y, z and dy */
  int split_rows;          /* forward: threads take rows, not panels */
  int split_rows_backward; /* likewise for its input gradient */
  void *y, *dy;            /* (batch_capacity, n) */
  void *z;                 /* likewise, if fnn_saves_input */

  /* Norms: of the mini-batch, (n) padded for batch norm, (batch_capacity) for layer
   * norm. */
  void *mean, *inverse;
  /* Batch norm: the running statistics, and what they become with the update that is
   * being worked out. */
  fnn_statistics running, pending;
  void *fixed_inverse;       /* 1 / sqrt(running variance + epsilon), (n) padded */
  void *folded_w, *folded_b; /* dense: with the batch norm above, for prediction */
  int is_folded;             /* batch norm: into the dense layer below */
  fnn_rounded rounded;
} fnn_stage;

/* Bounds that prove, before an update is applied, that it cannot overflow: the sums of
 * magnitudes that the kernels return bound every activation and output gradient, their
 * products bound every weight gradient, and those the step.  While all are below 2^60
 * (and 2^120 for squares) no check of single values is needed and the update may
 * overwrite the weights in place.  A step without that proof is taken with care
 * (careful.c): gradients stored, everything checked, the old weights kept. */
typedef struct fnn_bounds {
  double weight, state[FNN_STATES];
} fnn_bounds;

/* What the callers of prediction share, any number of them at once. */
typedef struct fnn_callers {
  fnn_paces paces;
  fnn_spare spare;
} fnn_callers;

struct fnn_network {
  const fnn_kernels *kernels;
  const fnn_bf16_kernels *bf16; /* the products of bfloat16 mode, else NULL */
  size_t n_inputs, n_outputs, n_stages, n_layers;
  fnn_stage *stages;
  size_t *stage_of; /* layer: its stage */
  size_t lowest;    /* trainable stage; n_stages if none is */
  fnn_loss loss;
  fnn_optimizer optimizer;
  size_t states;   /* state arrays of the optimizer */
  uint64_t step;   /* updates done */
  double product;  /* NAdam: see fnn_momentum_product */
  int threads;     /* 0: the maximum */
  fnn_paces paces; /* of training */
  fnn_callers *callers;
  void *scale, *shift; /* (n_inputs) reals, or NULL */
  fnn_bounds bounds;
  int is_measured; /* bounds are those of the weights and state as they are */

  /* Workspace for mini-batches of up to batch_capacity rows. */
  size_t batch_capacity;
  ptrdiff_t x_row;
  void *x;         /* (batch_capacity, n_inputs), gathered */
  int64_t *labels; /* (batch_capacity) */
  void *targets;   /* (batch_capacity, n_outputs), row stride of logits */
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

static inline char *fnn_at(const fnn_network *network, const void *base, size_t index) {
  return (char *)base + index * network->kernels->itemsize;
}

static inline double fnn_real_at(fnn_dtype dtype, const void *values, size_t index) {
  return dtype == FNN_F64 ? ((const double *)values)[index]
                          : (double)((const float *)values)[index];
}

static inline void fnn_set_real(fnn_dtype dtype, void *values, size_t index,
                                double value) {
  if (dtype == FNN_F64) ((double *)values)[index] = value;
  else ((float *)values)[index] = (float)value;
}

static inline const fnn_stage *fnn_last(const fnn_network *network) {
  return &network->stages[network->n_stages - 1];
}

/* engine.c: row stride for n columns: whole cache lines, an odd number of them, so that
 * the rows of a column do not fall into the same cache sets. */
ptrdiff_t fnn_row_stride(const fnn_kernels *kernels, size_t n);
/* Whether the rows of x can be read where they lie by kernels of this dtype. */
int fnn_readable_in_place(const fnn_kernels *kernels, const fnn_array *x);
/* Whether the first stage does, which may be unable to or faster with a copy. */
int fnn_takes_in_place(const fnn_network *network, const fnn_array *x);

/* workspace.c */
fnn_status fnn_reserve(fnn_network *network, size_t batch_size, int threads);
/* Makes dw and db of every stage. */
fnn_status fnn_reserve_gradients(fnn_network *network);
void fnn_workspace_free(fnn_network *network);

/* stages.c: one mini-batch, as every thread sees it. */
typedef struct fnn_batch {
  size_t first, rows; /* of the epoch */
  size_t group_row;   /* of the update's rows, the number of the first */
  const void *x;
  ptrdiff_t x_row;
  const int64_t *labels; /* or NULL: network->targets */
  int weighted;
  double scale;  /* of the loss: 1 / the sum of the update's weights */
  uint64_t step; /* updates done before this one */
} fnn_batch;

/* This thread's share of stage i; the stage below is complete in the rows or columns
 * that it takes (see fnn_needs_barrier).  Returns the sum of |z|. */
double fnn_stage_forward(const fnn_network *network, size_t i, const fnn_batch *batch,
                         const fnn_worker *worker);
/* dy of the last stage for this thread's rows; returns the sum of the gradient. */
double fnn_loss_backward(const fnn_network *network, const fnn_batch *batch,
                         const fnn_worker *worker);
/* dy of stage i - 1 from dy of stage i, and the parameter gradients of a batch norm;
 * returns the sum of |dx|. */
double fnn_stage_backward(const fnn_network *network, size_t i, const fnn_batch *batch,
                          const fnn_worker *worker);
/* All parameter gradients; with an update they are consumed where they arise. */
void fnn_backward_parameters(const fnn_network *network, const fnn_batch *batch,
                             const fnn_update *update, const fnn_worker *worker);
/* Whether stage i of the forward (backward) pass reads what other threads wrote. */
int fnn_forward_needs_barrier(const fnn_network *network, size_t i);
int fnn_backward_needs_barrier(const fnn_network *network, size_t i);
/* Whether the backward pass comes to stage i. */
int fnn_goes_back_to(const fnn_network *network, size_t i);
/* The running statistics of a step that counts. */
void fnn_commit_statistics(fnn_network *network);
/* The inverse deviation of the running variance, whatever the caller's floating-point
 * state. */
void fnn_fix_statistics(fnn_network *network, fnn_stage *stage);

/* Z of a stage other than dense for prediction: with running statistics, dropout and
 * folded batch norms left out by the caller. */
double fnn_stage_predict(const fnn_network *network, const fnn_stage *stage,
                         const void *x, ptrdiff_t x_row, size_t rows, void *y);

/* A thread's share of panels x rows: as many whole panels at once as there are, and what
 * its first and last panel have beside them.  The same panels belong to the same thread
 * in every step, and stay in its cache.
 *
 *   for (fnn_part p = fnn_parts(worker, panels, rows); fnn_next_part(&p);) ... */
typedef struct fnn_part {
  size_t panel0, panel1, row0, row1;
  size_t rows, next, end; /* of all; units of a row of a panel: to come */
} fnn_part;

static inline fnn_part fnn_parts(const fnn_worker *worker, size_t panels, size_t rows) {
  fnn_part p = {.rows = rows};
  fnn_share(worker, panels * rows, &p.next, &p.end);
  return p;
}

static inline int fnn_next_part(fnn_part *p) {
  const size_t left = p->end - p->next;
  if (!left) return 0;
  p->panel0 = p->next / p->rows;
  p->row0 = p->next % p->rows;
  p->panel1 = p->panel0 + 1;
  p->row1 = left < p->rows - p->row0 ? p->row0 + left : p->rows;
  if (p->row0 == 0 && left >= p->rows) p->panel1 = p->panel0 + left / p->rows;
  p->next += (p->panel1 - p->panel0) * (p->row1 - p->row0);
  return 1;
}

/* bounds.c: what is_tame has to know of an activation: |act(z)| <= c (|z| + 1) and
 * |act'| <= c. */
double fnn_activation_growth(fnn_activation activation);
/* Moves the bounds past one update with gradients of at most `gradient`; 0 if that
 * cannot be shown to stay tame. */
int fnn_bounds_advance(fnn_bounds *bounds, const fnn_update *update, double gradient);
/* Bounds of the weights and state as they are. */
fnn_bounds fnn_bounds_measure(const fnn_network *network);

/* update.c: the constants of update number `step` = 1, 2, ...; product is that of the
 * step before. */
fnn_update fnn_update_begin(const fnn_optimizer *optimizer, double rate, uint64_t step,
                            double product);
/* NAdam: mu_1 ... mu_step; other optimizers: 1. */
double fnn_momentum_product(const fnn_optimizer *optimizer, uint64_t step);
double fnn_momentum_product_next(const fnn_optimizer *optimizer, double product,
                                 uint64_t step);
/* The state arrays of an optimizer. */
typedef struct fnn_states {
  size_t count;
  int family;     /* optimizers of one family understand each other's state */
  size_t squares; /* the part (1, 2) that holds squares, 0 if none does */
} fnn_states;
fnn_states fnn_optimizer_states(fnn_optimizer_kind kind);
/* Applies the stored gradients, with clip_norm, between a barrier and none; 0, for all
 * threads, if their norm overflows. */
int fnn_apply_stored(fnn_network *network, fnn_update *update,
                     const fnn_worker *worker);
/* max_norm, after a barrier. */
void fnn_apply_max_norm(const fnn_network *network, const fnn_worker *worker);

/* 1 if none of the values is NaN or infinite. */
int fnn_finite_values(fnn_dtype dtype, const void *values, size_t count);

/* bfloat16.c, for networks with `bf16`: what the functions of their names without it do.
 * Outputs and gradients of dense layers are rounded where they arise. */
double fnn_bf16_dense_forward(const fnn_network *network, size_t i,
                              const fnn_batch *batch, const fnn_worker *worker);
double fnn_bf16_dense_backward(const fnn_network *network, size_t i,
                               const fnn_batch *batch, const void *saved,
                               const fnn_worker *worker);
void fnn_bf16_dense_weights(const fnn_network *network, size_t i,
                            const fnn_batch *batch, const fnn_update *update,
                            const fnn_worker *worker);
/* Rows of the mini-batch for the first stage, which is dense; the sum of |x|. */
double fnn_bf16_round_inputs(const fnn_network *network, const fnn_batch *batch,
                             size_t row0, size_t row1);
/* This thread's share of y of stage i, for a dense layer above; of dy of stage i, if it
 * is dense. */
void fnn_bf16_round_outputs(const fnn_network *network, size_t i,
                            const fnn_batch *batch, const fnn_worker *worker);
void fnn_bf16_round_gradient(const fnn_network *network, size_t i, int by_rows,
                             const fnn_batch *batch, const fnn_worker *worker);
/* This thread's share of the weights of a stage that were changed. */
void fnn_bf16_round_weights(const fnn_network *network, const fnn_stage *stage,
                            const fnn_worker *worker);
/* Likewise of all that are trained, after a barrier. */
void fnn_bf16_round_changed(const fnn_network *network, const fnn_worker *worker);
ptrdiff_t fnn_bf16_row(size_t n);
/* Z of a dense stage for prediction; room: fnn_bf16_widest values a row, which is 0 for
 * other modes. */
double fnn_bf16_predict(const fnn_network *network, const fnn_stage *stage,
                        const void *x, ptrdiff_t x_row, size_t rows, void *y,
                        void *room, const fnn_worker *worker);
size_t fnn_bf16_widest(const fnn_network *network);
/* Memory; 0 if there is none. */
int fnn_bf16_init_stage(fnn_stage *stage);
int fnn_bf16_reserve_stage(fnn_stage *stage, size_t rows);
fnn_status fnn_bf16_reserve_scratch(fnn_network *network, int threads);

/* cost.c: how many threads a piece of work of so many multiply-adds is worth. */
int fnn_choose_threads(const fnn_network *network, double multiply_adds, int regions);

#endif
