/* The rows of an update, mini-batch by mini-batch. */
#ifndef FNN_GROUP_H
#define FNN_GROUP_H

#include "engine/network.h"
#include "engine/stages.h"
#include "threads/stop.h"
#include "threads/threads.h"

typedef enum fnn_region_end {
  FNN_RUNNING,
  FNN_FINISHED,
  FNN_LEFT, /* the group is as if it had not been begun */
  FNN_NEEDS_CARE
} fnn_region_end;
typedef enum fnn_purpose { FNN_FUSED, FNN_STORED, FNN_GRADIENTS_ONLY } fnn_purpose;

/* The rows of an update. */
typedef struct fnn_group {
  size_t first, rows; /* of the epoch */
  /* The sum of their weights, and the power of two that the weights are divided by so
   * that any that are finite in float64 fit into the dtype. */
  double weight_sum;
  int weight_exponent;
} fnn_group;

typedef struct fnn_training {
  fnn_network *network;
  const fnn_data *data;
  size_t batch_size, accumulate;
  /* Or NULL; from update first_step on, see fnn_steps. */
  const double *rates, *decays, *dropout_rates;
  uint64_t first_step;
  size_t start;
  double *totals;
  double deadline; /* of fnn_now() */
  double limit;    /* likewise: when an update is left */
  double pause;    /* likewise: when the number of threads is reconsidered */
  fnn_purpose purpose;
  fnn_stop *leave; /* asks to leave an update that takes long; else NULL */
  int in_place;    /* X is read where it lies, as sparse rows always are */
  int ahead;       /* the next rows are fetched while these are worked on */
  int given;       /* targets are the gradient wrt the outputs, in place of a loss's */
  int outputs;     /* no more than the forward pass */
  int stop;        /* thread 0 to the others, across a barrier, like the next group */
  fnn_group next;
  fnn_region_end outcome;
} fnn_training;

/* To be added to the totals, rows in order. */
typedef struct fnn_sums {
  double loss, correct;
} fnn_sums;

/* Slots of magnitudes: the input, then the outputs and their gradient of each stage,
 * then the losses, and the weights of periodic stages. */
static inline double *fnn_magnitudes_of(const fnn_network *network, int thread) {
  return network->magnitudes + (size_t)thread * network->magnitude_row;
}

/* The rows from `start` on that are the next update's. */
void fnn_next_group(fnn_training *t, size_t start);
/* The mini-batch from this row of the group on. */
fnn_batch fnn_batch_begin(const fnn_training *t, const fnn_group *g, size_t row,
                          uint64_t step);
/* What a thread knows of the group after the one that it works on. */
typedef struct fnn_ahead {
  fnn_group next;
  int stop;         /* there is none now */
  int fetched;      /* its rows are */
  double magnitude; /* of this thread's */
  unsigned arrival; /* at the end of this one */
} fnn_ahead;

/* A mini-batch forward and back, up to the parameter gradients; ends with a barrier.
 * `ahead`: NULL, or whether its own rows are fetched, then those of the next group. */
void fnn_group_gradients(const fnn_training *t, const fnn_group *g, const fnn_batch *b,
                         fnn_ahead *ahead, const fnn_worker *worker);
/* train.c: all rows from t->start on, on as many threads as pay. */
fnn_status fnn_train_rows(fnn_training *t);
/* Whether rows are read where they lie. */
static inline int fnn_is_in_place(const fnn_network *network, const fnn_data *data) {
  return data->x.starts || (!data->order && fnn_takes_in_place(network, &data->x));
}
/* Whether all leave the group, which the worker's stop asks for: all come to the same
 * conclusion, and if not, nobody has left anything undone. */
int fnn_all_leave(const fnn_worker *worker);
void fnn_add_rows(const fnn_training *t, const fnn_batch *b, fnn_sums *s);
void fnn_add_totals(const fnn_training *t, const fnn_group *g, const fnn_sums *s);
/* The optimizer of the update that follows `step` others, with its rate and decay. */
fnn_optimizer fnn_optimizer_at(const fnn_training *t, uint64_t step);

#endif
