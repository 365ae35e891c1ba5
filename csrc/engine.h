/* Inside the engine: what a network is made of.  See fastnn.h for what it does. */
#ifndef FNN_ENGINE_H
#define FNN_ENGINE_H

#include "fastnn.h"
#include "kernels.h"
#include "memory.h"
#include "threads.h"

enum { FNN_STATES = 2, FNN_PARTS = 1 + FNN_STATES };

typedef struct fnn_dense {
  size_t k, n; /* inputs, outputs */
  fnn_activation activation;
  size_t w_size, b_size;             /* values, padding included */
  ptrdiff_t row;                     /* row stride of y and dy */
  int split_rows;                    /* forward: threads take rows, not panels */
  int split_rows_backward;           /* likewise for its input gradient */
  void *w[FNN_PARTS], *b[FNN_PARTS]; /* weights, then optimizer state */
  void *dw, *db;                     /* only for the stored-gradient mode */
  void *y, *dy;                      /* (batch_capacity, n) */
} fnn_dense;

/* Bounds that prove, before an update is applied, that it cannot overflow: the sums of
 * magnitudes that the kernels return bound every activation and output gradient, their
 * products bound every weight gradient, and those the step.  While all are below 2^60
 * (and 2^120 for the square in Adam) no check of single values is needed and the update
 * may overwrite the weights in place.  A step without that proof is taken with care
 * (fnn_careful_step): gradients stored, everything checked, the old weights kept. */
typedef struct fnn_bounds {
  double weight, state[FNN_STATES];
} fnn_bounds;

struct fnn_network {
  const fnn_kernels *kernels;
  size_t n_inputs, n_layers;
  fnn_dense *layers;
  fnn_loss_kind loss;
  double label_smoothing;
  fnn_optimizer optimizer;
  size_t states;       /* state arrays of the optimizer */
  uint64_t step;       /* updates done */
  int threads;         /* 0: the maximum */
  void *scale, *shift; /* (n_inputs) reals, or NULL */
  fnn_bounds bounds;

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
};

static inline char *fnn_at(const fnn_network *network, const void *base, size_t index) {
  return (char *)base + index * network->kernels->itemsize;
}

static inline const fnn_dense *fnn_last(const fnn_network *network) {
  return &network->layers[network->n_layers - 1];
}

/* Row stride for n columns: whole cache lines, an odd number of them, so that the rows
 * of a column do not fall into the same cache sets. */
ptrdiff_t fnn_row_stride(const fnn_kernels *kernels, size_t n);

fnn_status fnn_reserve(fnn_network *network, size_t batch_size, int threads);
/* Makes dw and db of every layer. */
fnn_status fnn_reserve_gradients(fnn_network *network);

/* Whether the rows of x can be read where they lie by kernels of this dtype. */
int fnn_readable_in_place(const fnn_kernels *kernels, const fnn_array *x);

/* update.c */
fnn_update fnn_update_begin(const fnn_optimizer *optimizer, uint64_t step);
/* The number of state arrays an optimizer has. */
size_t fnn_optimizer_states(fnn_optimizer_kind kind);
/* Moves the bounds past one update with gradients of at most `gradient`; 0 if that
 * cannot be shown to stay tame. */
int fnn_bounds_advance(fnn_bounds *bounds, const fnn_update *update, double gradient);
/* Bounds of the weights and state as they are. */
fnn_bounds fnn_bounds_measure(const fnn_network *network);
/* Applies stored gradients to the layer's share of this thread. */
void fnn_apply_gradients(fnn_network *network, const fnn_update *update,
                         const fnn_worker *worker);
/* The update of a step without proof: the activations and output gradients of the
 * mini-batch of `rows` rows at x are in the workspace.  Single-threaded and rare. */
fnn_status fnn_careful_step(fnn_network *network, const void *x, ptrdiff_t x_row,
                            size_t rows);

/* 1 if none of the values is NaN or infinite. */
int fnn_finite_values(fnn_dtype dtype, const void *values, size_t count);

/* cost.c: how many threads a piece of work of so many multiply-adds is worth. */
int fnn_choose_threads(const fnn_network *network, double multiply_adds, int regions);

#endif
