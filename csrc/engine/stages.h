/* Every stage forward and back, each thread its share. */
#ifndef FNN_STAGES_H
#define FNN_STAGES_H

#include "engine/network.h"
#include "kernels/layout.h"

/* One mini-batch, as every thread sees it. */
struct fnn_batch {
  size_t first, rows; /* of the epoch */
  size_t group_row;   /* of the call's rows of the update, the number of the first */
  size_t mask_row;    /* of all its rows */
  const void *x;
  ptrdiff_t x_row;
  fnn_sparse sparse;     /* or these rows, if its x is not NULL */
  const int64_t *labels; /* or NULL: network->targets */
  int weighted;
  double scale;                /* of the loss: 1 / the sum of the update's weights */
  uint64_t step;               /* updates done before this one */
  int given;                   /* targets are the gradient wrt the outputs */
  const double *dropout_rates; /* (n_layers), or NULL: the layers' own */
};

/* The functions of a stage whose products take the values as they are. */
const fnn_stage_way *fnn_stage_way_of(const fnn_stage *stage);
/* dy of the last stage for this thread's rows; returns the sum of the gradient. */
double fnn_loss_backward(const fnn_network *network, const fnn_batch *batch,
                         const fnn_worker *worker);
/* Whether stage i of the forward (backward) pass reads what other threads wrote. */
int fnn_forward_needs_barrier(const fnn_network *network, size_t i);
int fnn_backward_needs_barrier(const fnn_network *network, size_t i);
/* Whether the backward pass comes to stage i. */
int fnn_goes_back_to(const fnn_network *network, size_t i);
/* The input of stage i and its row stride; the values that the derivative of its
 * activation is computed from; scratch of this thread. */
static inline const void *fnn_input_of(const fnn_network *network, size_t i,
                                       const fnn_batch *batch) {
  return i ? network->stages[i - 1].y : batch->x;
}

static inline ptrdiff_t fnn_input_row(const fnn_network *network, size_t i,
                                      const fnn_batch *batch) {
  return i ? network->stages[i - 1].row : batch->x_row;
}

/* The rows, if they are sparse, else NULL. */
static inline const fnn_sparse *fnn_sparse_input(size_t i, const fnn_batch *batch) {
  return i == 0 && batch->sparse.x ? &batch->sparse : NULL;
}

static inline const void *fnn_saved_of(const fnn_stage *stage) {
  return stage->z ? stage->z : stage->y;
}

static inline void *fnn_scratch_of(const fnn_network *network,
                                   const fnn_worker *worker) {
  return fnn_at(network->kernels, network->scratch,
                (size_t)worker->thread * network->scratch_size);
}

/* The gradients of dense stage i; also what its bias needs in bfloat16 mode. */
fnn_backward_weights fnn_weights_of(const fnn_network *network, size_t i,
                                    const fnn_batch *batch, const fnn_updates *updates,
                                    const fnn_worker *worker);

/* A thread's share of panels x rows: by rows, some rows of all panels; else as many
 * whole panels at once as there are, and what its first and last panel have besides.
 * The same panels belong to the same thread in every step, and stay in its cache.
 *
 *   for (fnn_part p = fnn_parts(worker, by_rows, panels, rows); fnn_next_part(&p);) */
typedef struct fnn_part {
  size_t panel0, panel1, row0, row1;
  int by_rows;
  size_t panels, rows; /* of all */
  size_t next, end;    /* still to come: rows, or units of a row of a panel */
  const fnn_worker *worker;
} fnn_part;

static inline fnn_part fnn_parts(const fnn_worker *worker, int by_rows, size_t panels,
                                 size_t rows) {
  fnn_part p = {.by_rows = by_rows, .panels = panels, .rows = rows, .worker = worker};
  fnn_worker whole = *worker; /* panels are not cut: blocks are of the rows of a part */
  if (!by_rows) whole.blocks = 0;
  fnn_share(&whole, by_rows ? rows : panels * rows, &p.next, &p.end);
  return p;
}

static inline int fnn_next_part(fnn_part *p) {
  do {
    const size_t left = p->end - p->next;
    if (!left) return 0;
    if (p->by_rows) {
      p->panel1 = p->panels;
      p->row0 = p->next;
      p->row1 = p->next = p->end;
      return 1;
    }
    p->panel0 = p->next / p->rows;
    p->row0 = p->next % p->rows;
    p->panel1 = p->panel0 + 1;
    p->row1 = left < p->rows - p->row0 ? p->row0 + left : p->rows;
    if (p->row0 == 0 && left >= p->rows) p->panel1 = p->panel0 + left / p->rows;
    p->next += (p->panel1 - p->panel0) * (p->row1 - p->row0);
    fnn_block(p->worker, &p->row0, &p->row1);
  } while (p->row0 == p->row1);
  return 1;
}

#endif
