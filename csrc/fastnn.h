/* fastnn.h - the engine API: the only header the Cython modules see.
 *
 * A network is created from a plan, owns its weights (packed, see kernels.h), optimizer
 * state and workspace, and is trained, evaluated and asked for predictions by calls
 * that need no Python.  Nothing here prints, exits or raises: functions that can fail
 * return a status.  Arguments are validated by the caller; the engine asserts its
 * contracts.
 *
 * It is not thread-safe by itself: any number of threads may predict at once, but
 * training wants the network alone (fastnn/_core/native/access.pxi sees to it). */
#ifndef FASTNN_H
#define FASTNN_H

#include <stddef.h>
#include <stdint.h>

#include "kinds.h"

typedef enum fnn_status {
  FNN_OK,
  FNN_NO_MEMORY,   /* nothing was changed */
  FNN_BAD_INPUT,   /* X holds NaN or infinity; nothing was changed */
  FNN_INTERRUPTED, /* see fnn_set_check; nothing was changed but what *start counts */
  FNN_DIVERGED     /* a loss, gradient or new weight is not finite; the state is the one
                    before that step */
} fnn_status;

/* FNN_BF16: of a plan only.  Arrays are float32, the operands of products are rounded
 * (bfloat16.h). */
typedef enum fnn_dtype { FNN_F32, FNN_F64, FNN_BF16 } fnn_dtype;

/* The rows of kinds.h, in their order. */
#define ROW(KIND, ...) FNN_##KIND,
typedef enum fnn_activation_kind {
  FNN_ACTIVATIONS(ROW) FNN_SOFTMAX /* of whole rows */
} fnn_activation_kind;
typedef enum fnn_loss_kind {
  FNN_SOFTMAX_CROSS_ENTROPY, /* parameter: label smoothing */
  FNN_OUTPUT_LOSSES(ROW) FNN_ROW_LOSSES(ROW)
} fnn_loss_kind;
typedef enum fnn_optimizer_kind { FNN_OPTIMIZERS(ROW) } fnn_optimizer_kind;
#undef ROW

typedef struct fnn_activation {
  fnn_activation_kind kind;
  double parameter;
} fnn_activation;

typedef struct fnn_loss {
  fnn_loss_kind kind;
  double parameter;
} fnn_loss;

typedef enum fnn_layer_kind {
  FNN_DENSE,
  FNN_DROPOUT,
  FNN_BATCH_NORM,
  FNN_LAYER_NORM,
  FNN_SCALE,
  FNN_PERIODIC,
  FNN_PIECEWISE,
  FNN_TABLE,
  FNN_PARAMETRIC
} fnn_layer_kind;

/* The most cosines of a column of FNN_PERIODIC, and values of one of an embedding. */
enum { FNN_MOST_TERMS = 256, FNN_MOST_SIZE = 64 };

typedef enum fnn_type { /* element types of the user's arrays */
                        FNN_U8,
                        FNN_I8,
                        FNN_U16,
                        FNN_I16,
                        FNN_U32,
                        FNN_I32,
                        FNN_U64,
                        FNN_I64,
                        FNN_FLOAT16,
                        FNN_FLOAT32,
                        FNN_FLOAT64
} fnn_type;

/* A matrix as it lies in the user's memory: any strides (in bytes), alignment and
 * byte order.  Or compressed sparse rows, for a network whose first layer is dense
 * and takes its inputs as they are: row i has the values starts[i] .. starts[i + 1]
 * of data, of the network's dtype and finite, in these columns. */
typedef struct fnn_array {
  const void *data;
  size_t rows, cols;
  ptrdiff_t row_stride, col_stride;
  fnn_type type;
  int swapped;            /* the other byte order */
  const int64_t *starts;  /* (rows + 1); or NULL */
  const int32_t *columns; /* each < cols */
} fnn_array;

typedef struct fnn_layer {
  fnn_layer_kind kind;
  size_t units; /* outputs; of dropout and norms those of the layer below */
  fnn_activation activation; /* not of dropout; FNN_PARAMETRIC: its function */
  int use_bias;              /* dense; without, the bias stays 0, as a scale's does */
  int trainable;             /* 0: frozen, parameters (and statistics) stay */
  double rate;               /* dropout: share of values set to 0, in [0, 1) */
  double momentum;           /* batch norm: weight of the newest statistics */
  double epsilon;            /* norms: added to the variance */
  uint64_t key;              /* dropout: key of its masks */
  /* Embeddings: the first inputs (FNN_TABLE: the last), which become `size` values each;
   * FNN_PERIODIC: by a number of cosines; else by the bins, or categories, of each, at
   * least 1, and FNN_PIECEWISE: the edges of all bins, one more than bins a column. */
  size_t columns, size, terms;
  const size_t *counts; /* (columns) */
  const double *edges;
} fnn_layer;

typedef struct fnn_plan {
  fnn_dtype dtype;
  size_t n_inputs, n_layers;
  const fnn_layer *layers;
  fnn_loss loss;
  const double *levels; /* of FNN_QUANTILE, kept by the caller */
} fnn_plan;

/* Of the gradient of the data's loss, in this order: clip_value, clip_norm, then the
 * penalties l1 sign(w) + l2 w of weights (not biases), then the rule `kind`; decoupled
 * decay and, last, max_norm likewise of weights.  0 stands for "none". */
typedef struct fnn_optimizer {
  fnn_optimizer_kind kind;
  double learning_rate; /* where no rates are given */
  double momentum, beta_1, beta_2, epsilon, momentum_decay; /* beta_2: RMSprop's rho */
  int epsilon_hat;     /* of Adam: epsilon is that of the root before its correction */
  double weight_decay; /* decoupled */
  double l1, l2;       /* penalties */
  double clip_value, clip_norm; /* of each gradient; of all of them together */
  double max_norm;              /* of the incoming weights of a unit */
} fnn_optimizer;

/* What the update of an array multiplies the optimizer's rate, epsilon and decay with.
 * An array whose rate is 0 stays, while its state goes on. */
typedef struct fnn_factors {
  double rate, epsilon, decay;
} fnn_factors;

/* How to go through the data. */
typedef struct fnn_steps {
  size_t batch_size;
  size_t accumulate;    /* mini-batches to an update: their gradient is that of one
                          mini-batch of all their rows; the time is looked at after the
                          last of them only */
  const double *rates;  /* the learning rate of each update of this call; or NULL */
  const double *decays; /* likewise, instead of weight_decay */
  const double
      *dropout_rates; /* (updates, n_layers) likewise, instead of layers' own */
  double max_seconds;
  double limit; /* seconds, not less: an update that takes long is left then, with
                   nothing changed */
  int fused;    /* 0 stores the gradients first; same bits */
} fnn_steps;

/* Samples with their targets: labels or soft targets. */
typedef struct fnn_data {
  fnn_array x;
  const int64_t *labels; /* (x.rows), or NULL */
  fnn_array targets;     /* (x.rows, n_targets), where labels are NULL */
  const double *weights; /* (x.rows), NULL for ones */
  const int64_t *order;  /* (rows) row numbers, NULL for 0, 1, ... */
  size_t rows;
  /* For fnn_gradients of some of an update's rows: the number of the first among them
   * all, and the sum of all their weights; 0 and 0.0 if these are all. */
  size_t first_row;
  double weight_sum;
} fnn_data;

enum { FNN_LOSS_SUM, FNN_WEIGHT_SUM, FNN_CORRECT_SUM, FNN_TOTALS };

typedef enum fnn_output { FNN_LOGITS, FNN_VALUES, FNN_LABELS } fnn_output;

typedef struct fnn_network fnn_network;

/* facts.c: the names of the kinds 0, 1, ..., NULL after the last. */
const char *fnn_activation_name(size_t kind);
const char *fnn_loss_name(size_t kind);
const char *fnn_optimizer_name(size_t kind);

/* dispatch.c */
int fnn_select_isa(const char *name); /* NULL: the best; 0 if unknown or unsupported */
const char *fnn_active_isa(void);     /* NULL before fnn_select_isa succeeded */
const char *fnn_built_isa(size_t i);  /* best first, NULL after the last */
/* Multiply-adds a nanosecond of a core on registers, measured once: of float32, and of
 * pairs of bfloat16 values (2), 0 if the active instruction set has none. */
double fnn_multiply_add_rate(size_t values);
/* For tests: new networks of FNN_BF16 take words of so many values; 0: what pays. */
void fnn_force_bf16(size_t values);
const char *fnn_compiler(void);

/* threads.c: the largest number of threads a call may use, 1 at least. */
void fnn_set_num_threads(int threads);
int fnn_get_num_threads(void);
int fnn_threads_refused(void);     /* since start: the system would not start them */
void fnn_set_spin(double seconds); /* of a thread without work, before it sleeps */

/* stop.c: asked by the thread that called about every 30 ms of a call that takes longer:
 * whether to leave, as soon as that is possible with nothing changed.  It must keep the
 * reason for its caller.  NULL: never. */
void fnn_set_check(int (*function)(void));

/* For tests: the n-th allocation or thread start from now fails, and all after it if
 * `forever`; n = 0 clears. */
void fnn_fail_allocation(long n, int forever);
void fnn_refuse_thread(long n, int forever);
/* For tests: work begins on all threads that are allowed, whatever they are worth. */
void fnn_begin_on_all_threads(int yes);

/* build.c: NULL when out of memory.  Weights and state start at zero. */
fnn_network *fnn_network_new(const fnn_plan *plan);
void fnn_network_free(fnn_network *network);

/* network.c.  Keeps step and state if the new optimizer has the same kinds of state,
 * else zeroes them. */
fnn_status fnn_network_set_optimizer(fnn_network *network, const fnn_optimizer *);
/* network.c: of w and b of a layer with parameters; at first 1, but for the decay of
 * what are no weights of a dense layer: 0. */
void fnn_network_set_factors(fnn_network *network, size_t layer, const fnn_factors *w,
                             const fnn_factors *b);
/* network.c: freezes such a layer (0), or trains it; its state stays. */
void fnn_network_set_trainable(fnn_network *network, size_t layer, int trainable);
/* x := x * scale + shift; two arrays of n_inputs, or NULLs for none. */
fnn_status fnn_network_set_scaling(fnn_network *network, const double *scale,
                                   const double *shift);
void fnn_network_set_threads(fnn_network *network, int threads); /* 0: the maximum */
/* Bytes of the weights, as they lie. */
size_t fnn_network_bytes(const fnn_network *network);
uint64_t fnn_network_get_step(const fnn_network *network);
void fnn_network_set_step(fnn_network *network, uint64_t step);
/* network.c: running mean and variance (units) of a batch norm; what they become with
 * the gradients that fnn_gradients found last. */
void fnn_network_get_statistics(const fnn_network *network, size_t layer, void *mean,
                                void *variance);
void fnn_network_pending_statistics(const fnn_network *network, size_t layer,
                                    void *mean, void *variance);
void fnn_network_set_statistics(fnn_network *network, size_t layer, const void *mean,
                                const void *variance);
/* network.c: whether sparse rows may be its inputs (see fnn_array). */
int fnn_takes_sparse(const fnn_network *network);
/* network.c: the sum of the squares of all weights of dense layers, not of biases. */
double fnn_network_squares(const fnn_network *network);
/* network.c: part 0: weights; 1, 2: optimizer state.  Dense: w (k, n) and b (n),
 * row-major; norms and scales: w scale (n) and b shift (n); embeddings: see
 * kernels/ops/embeddings.inc.h; FNN_PARAMETRIC: w factors (n) and b zeros (n); not for dropout. */
void fnn_network_get(const fnn_network *network, size_t layer, int part, void *w,
                     void *b);
void fnn_network_set(fnn_network *network, size_t layer, int part, const void *w,
                     const void *b);

/* train.c: updates over data->rows rows from *start, until all are done or max_seconds
 * have passed; *start becomes the next row.  Adds to totals.  The time is looked at
 * between updates only: at least one is done, and the call takes as long as that does,
 * however many mini-batches it accumulates. */
fnn_status fnn_train(fnn_network *network, const fnn_data *data, const fnn_steps *steps,
                     size_t *start, double *totals);
/* gradients.c: loss and gradients of all rows as one mini-batch, with the dropout masks of the next
 * step; dropout_rates: (n_layers) or NULL, see fnn_steps; dw and db: an array a layer,
 * as fnn_network_get has them. */
fnn_status fnn_gradients(fnn_network *network, const fnn_data *data,
                         const double *dropout_rates, double *totals, void *const *dw,
                         void *const *db);
/* The gradients of the sum of outputs * targets, likewise, where targets are any finite
 * (x.rows, n_outputs); of the inputs, scaled as they are, in dx (x.rows, n_inputs). */
fnn_status fnn_backward(fnn_network *network, const fnn_data *data,
                        const double *dropout_rates, void *const *dw, void *const *db,
                        void *dx);
/* The raw outputs (x.rows, n_outputs) of the forward pass of both. */
fnn_status fnn_training_outputs(fnn_network *network, const fnn_data *data,
                                const double *dropout_rates, void *out);
/* careful.c: one update by these gradients, on arrays as above, with this rate and
 * decoupled decay.  The statistics of batch norms become those that the last
 * fnn_gradients found, unless they have since been set or trained. */
fnn_status fnn_apply_gradients(fnn_network *network, double rate, double decay,
                               const void *const *dw, const void *const *db);

/* fold.c: makes what prediction needs of new weights (it folds batch norms into the
 * layers below); to be called, alone, after training or setting and before
 * predicting. */
fnn_status fnn_network_prepare(fnn_network *network);
/* predict.c: rows [*start, rows), as fnn_train returns on a row boundary once
 * max_seconds have passed.  out: (rows, n_outputs) of the network's dtype, or int64
 * (rows) for FNN_LABELS. */
fnn_status fnn_predict(const fnn_network *network, const fnn_array *x, fnn_output kind,
                       void *out, size_t *start, double max_seconds);
fnn_status fnn_evaluate(const fnn_network *network, const fnn_data *data, size_t *start,
                        double *totals, double max_seconds);
/* One row of the network's dtype, contiguous; allocates only for very wide layers. */
fnn_status fnn_predict_one(const fnn_network *network, const void *x, void *out);
/* finite.c: *finite: whether all of x is finite in its dtype, after its scaling. */
fnn_status fnn_all_finite(const fnn_network *network, const fnn_array *x, int *finite);

/* stateless.c: the functions of fastnn.kernels, on row-major arrays x (m, k), w (k, n),
 * b (n); no activation is softmax.  Those that take `dy` or `dp` first go backward
 * where it is given, else forward.  A table, so that a second extension module can call
 * them without a second copy of the core. */
typedef struct fnn_stateless {
  fnn_status (*dense_forward)(fnn_dtype dtype, const void *x, const void *w,
                              const void *b, size_t m, size_t k, size_t n,
                              fnn_activation activation, void *y);
  /* y may be NULL for the identity. */
  fnn_status (*dense_backward)(fnn_dtype dtype, const void *dy, const void *x,
                               const void *w, const void *y, size_t m, size_t k,
                               size_t n, fnn_activation activation, void *dx, void *dw,
                               void *db);
  /* Backward x is what was saved, see fnn_saves_input in facts.h. */
  void (*activation)(fnn_dtype dtype, fnn_activation activation, const void *dy,
                     const void *x, void *out, size_t count);
  /* Backward x is p. */
  fnn_status (*softmax)(fnn_dtype dtype, const void *dp, const void *x, size_t m,
                        size_t n, void *out);
  /* labels or targets; weights may be NULL.  *mean is the weighted mean. */
  fnn_status (*loss)(fnn_dtype dtype, fnn_loss loss, const double *levels,
                     const void *z, const int64_t *labels, const void *targets,
                     const double *weights, size_t m, size_t n, double *mean, void *dz);
  void (*dropout)(fnn_dtype dtype, const void *x, double rate, uint64_t key,
                  uint64_t step, size_t m, size_t n, void *y);
  /* Of a batch or a layer norm, with the statistics of x.  out: y or dx; first and
   * second (n): dscale and dshift, or forward a batch norm's mean and variance, which
   * may be NULL.  Backward there is no shift. */
  fnn_status (*norm)(fnn_dtype dtype, fnn_layer_kind kind, const void *dy,
                     const void *x, const void *scale, const void *shift,
                     double epsilon, size_t m, size_t n, void *out, void *first,
                     void *second);
  /* The rule alone: no clipping, no max_norm.  Subnormals are not flushed here: the
   * caller's floating-point state holds. */
  void (*optimizer_update)(fnn_dtype dtype, const fnn_optimizer *optimizer,
                           uint64_t step, void *w, const void *g, void *s0, void *s1,
                           size_t count);
  /* To the nearest value of bfloat16, ties to even; NaN stays NaN, subnormals become
   * zero.  On every CPU. */
  void (*round_to_bfloat16)(const float *x, float *y, size_t count);
} fnn_stateless;
const fnn_stateless *fnn_stateless_functions(void);

/* roofline.c: does it `repeats` times on `threads` threads, or fewer (see
 * fnn_parallel), and returns the seconds between the moments when all have begun and
 * all are done.  *work: what was done, by all threads together, in flops (2 a
 * multiply-add) or bytes read and written.  memory: `bytes` of it, at least 2 kB a
 * thread; each thread has its share, of which a copy reads the first half and writes
 * the second.  It holds finite values of the dtype.  Not for multiply-adds, which go on
 * registers only. */
typedef enum fnn_roof { FNN_MULTIPLY_ADD, FNN_READ, FNN_COPY } fnn_roof;
double fnn_measure_roof(fnn_roof roof, fnn_dtype dtype, int threads, void *memory,
                        size_t bytes, size_t repeats, double *work);

#endif
