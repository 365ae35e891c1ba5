/* Small trainings: a network with data, and what it looks like afterwards. */
#ifndef NETWORK_H
#define NETWORK_H

#include "fastnn.h"

enum { MAX_LAYERS = 12 };

/* A network to train, and how. */
typedef struct spec {
  const char *name;
  fnn_dtype dtype;
  size_t sizes[MAX_LAYERS + 2]; /* inputs, ..., outputs, 0 */
  const fnn_layer *layers;      /* instead of dense ones with ReLU between them; */
  size_t n_layers;              /* sizes are then inputs and 0 */
  fnn_optimizer_kind kind;
  double learning_rate, weight_decay;
  const fnn_optimizer *optimizer; /* instead of the three */
  fnn_loss loss;
  fnn_type x_type; /* FNN_U8: with input scaling */
  size_t rows, batch, accumulate;
  int shuffled, weighted, soft;
  double smoothing;
} spec;

typedef struct problem {
  spec spec;
  size_t n_layers, n_inputs, n_outputs;
  fnn_layer layers[MAX_LAYERS];
  fnn_plan plan;
  fnn_optimizer optimizer;
  fnn_data data;
  double *x;             /* (rows, n_inputs), as the network sees them */
  void *x_memory;        /* the user's */
  double *scale, *shift; /* or NULL */
  double *targets;       /* soft ones, or NULL */
} problem;

problem problem_new(const spec *given);
void problem_free(problem *p);
/* With random weights, the same ones every time. */
fnn_network *network_new(const problem *p);
/* The shape of what fnn_network_get gives for a layer: rows of w (0: it has none), and
 * its outputs. */
size_t weight_rows(const problem *p, size_t layer);

/* The values of what it gives, in w and in b. */
typedef struct array_sizes {
  size_t w, b;
} array_sizes;
array_sizes sizes_of(const problem *p, size_t layer);

int has_bias(const fnn_layer *layer);

/* The rows of an update. */
size_t group_rows(const problem *p);
/* fnn_train with the problem's mini-batches. */
fnn_status train_rows(fnn_network *network, const problem *p, size_t *start,
                      double *totals, double max_seconds, int fused);

/* Weights, optimizer state, statistics, step and totals as bytes. */
typedef struct snapshot {
  unsigned char *bytes;
  size_t size;
} snapshot;
snapshot snapshot_of(const fnn_network *network, const problem *p,
                     const double *totals);
int same_snapshots(const snapshot *a, const snapshot *b);
void snapshot_free(snapshot *s);
/* 1 if no weight, state or statistic is NaN or infinite. */
int all_weights_finite(const fnn_network *network, const problem *p);

typedef struct run_options {
  int threads, fused, sliced; /* sliced: one step a call */
} run_options;
/* Two epochs. */
snapshot train(const problem *p, const run_options *options);

/* The trainings whose bits are compared. */
size_t trained_cases(void);
const spec *trained_spec(size_t i);

/* 1 if this build can fork and then start threads. */
int can_fork(void);
/* Runs body(argument) in a forked child; 1 if it returned 1 within some seconds. */
int in_child(int (*body)(void *argument), void *argument);

#endif
