/* Every stage forward and back, each thread its share. */
#ifndef FNN_STAGES_H
#define FNN_STAGES_H

#include "engine/network.h"

/* One mini-batch, as every thread sees it. */
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

#endif
