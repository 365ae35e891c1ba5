/* Every stage forward and back, each thread its share.
 *
 * Dense layers are split by columns (large ones) or by rows, a batch norm by columns,
 * everything else by rows.  A thread's rows of a stage split by rows need only its own
 * rows of the stage below: between two of those there is no barrier. */
#include "engine/stages.h"

#include "engine/embeddings.h"
#include "engine/update.h"

static double stage_dense_forward(const fnn_network *network, size_t i,
                                  const fnn_batch *batch, const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const fnn_kernels *kernels = network->kernels;
  const size_t panels = fnn_panels(kernels, stage->n);
  const fnn_forward f = {.x = fnn_input_of(network, i, batch),
                         .x_row = fnn_input_row(network, i, batch),
                         .w = stage->w[0],
                         .b = stage->b[0],
                         .y = stage->y,
                         .y_row = stage->row,
                         .z = stage->z,
                         .k = stage->k,
                         .n = stage->n,
                         .activation = stage->activation};
  const fnn_sparse *sparse = fnn_sparse_input(i, batch);
  double magnitude = 0.0;
  fnn_part p = fnn_parts(worker, stage->split_rows, panels, batch->rows);
  while (fnn_next_part(&p))
    magnitude +=
        sparse ? kernels->sparse_forward(&f, sparse, p.row0, p.row1, p.panel0, p.panel1)
               : kernels->dense_forward(&f, p.row0, p.row1, p.panel0, p.panel1);
  return magnitude;
}

static double stage_dense_input_gradient(const fnn_network *network, size_t i,
                                         const fnn_batch *batch,
                                         const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i], *below = stage - 1;
  const fnn_kernels *kernels = network->kernels;
  const size_t panels = fnn_panels(kernels, stage->k);
  const fnn_backward_input g = {.dy = stage->dy,
                                .dy_row = stage->row,
                                .w = stage->w[0],
                                .saved = fnn_saved_of(below),
                                .dx = below->dy,
                                .dx_row = below->row,
                                .k = stage->k,
                                .n = stage->n,
                                .activation = below->activation,
                                .scratch = fnn_scratch_of(network, worker)};
  double magnitude = 0.0;
  fnn_part p = fnn_parts(worker, stage->split_rows_backward, panels, batch->rows);
  while (fnn_next_part(&p))
    magnitude += kernels->dense_backward_input(&g, p.row0, p.row1, p.panel0, p.panel1);
  return magnitude;
}

fnn_backward_weights fnn_weights_of(const fnn_network *network, size_t i,
                                    const fnn_batch *batch, const fnn_updates *updates,
                                    const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  return (fnn_backward_weights){.x = fnn_input_of(network, i, batch),
                                .x_row = fnn_input_row(network, i, batch),
                                .dy = stage->dy,
                                .dy_row = stage->row,
                                .m = batch->rows,
                                .k = stage->k,
                                .n = stage->n,
                                .update = updates ? &updates->w : NULL,
                                .b_update = updates ? &updates->b : NULL,
                                .add = batch->group_row > 0,
                                .w = stage->w[0],
                                .w_state = {stage->w[1], stage->w[2]},
                                .b = stage->b[0],
                                .b_state = {stage->b[1], stage->b[2]},
                                .dw = stage->dw,
                                .db = stage->db,
                                .scratch = fnn_scratch_of(network, worker)};
}

static void stage_dense_parameters(const fnn_network *network, size_t i,
                                   const fnn_batch *batch, const fnn_update *update,
                                   const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const fnn_kernels *kernels = network->kernels;
  fnn_updates own;
  if (update) own = fnn_updates_of(stage, update);
  fnn_backward_weights g =
      fnn_weights_of(network, i, batch, update ? &own : NULL, worker);
  fnn_sparse of_block = batch->sparse;
  const fnn_sparse *sparse = fnn_sparse_input(i, batch) ? &of_block : NULL;
  fnn_worker whole = *worker;
  if (worker->blocks > 1) { /* of samples: the sums go on from one to the next */
    size_t row0 = 0, row1 = batch->rows;
    fnn_block(worker, &row0, &row1);
    whole.blocks = 0;
    g.x = sparse ? g.x
                 : fnn_at(kernels, g.x, 0) +
                       (ptrdiff_t)row0 * g.x_row * (ptrdiff_t)kernels->itemsize;
    g.dy = fnn_at(kernels, g.dy, row0 * (size_t)stage->row);
    g.m = row1 - row0;
    g.add |= row0 > 0;
    of_block.first += row0;
  }
  fnn_part p = fnn_parts(&whole, 0, fnn_panels(kernels, stage->n), stage->k);
  while (fnn_next_part(&p)) {
    if (sparse)
      kernels->sparse_backward_weights(&g, sparse, p.panel0, p.panel1, p.row0, p.row1);
    else kernels->dense_backward_weights(&g, p.panel0, p.panel1, p.row0, p.row1);
    for (size_t panel = p.panel0; panel < p.panel1; panel++)
      if (p.row0 == 0 && stage->use_bias) kernels->dense_backward_bias(&g, panel);
  }
}

/* This thread's columns. */
static double stage_dense_predict(const fnn_network *network, size_t i, const void *x,
                                  ptrdiff_t x_row, size_t rows, void *y, void *room,
                                  const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const int folded = i + 1 < network->n_stages && stage[1].is_folded;
  const fnn_forward f = {
      .x = x,
      .x_row = x_row,
      .w = folded ? stage->folded_w : stage->w[0],
      .b = folded ? stage->folded_b : stage->b[0],
      .y = y,
      .y_row = stage->row,
      .k = stage->k,
      .n = stage->n,
      .activation = folded ? stage[1].activation : stage->activation};
  size_t panel0, panel1;
  (void)room;
  fnn_share(worker, fnn_panels(network->kernels, stage->n), &panel0, &panel1);
  if (panel0 == panel1) return 0.0;
  return network->kernels->dense_forward(&f, 0, rows, panel0, panel1);
}

static fnn_dropout dropout_of(const fnn_stage *stage, const fnn_batch *batch) {
  return (fnn_dropout){
      .n = stage->n,
      .first = batch->mask_row,
      .rate = batch->dropout_rates ? batch->dropout_rates[stage->layer] : stage->rate,
      .key = stage->key,
      .step = batch->step};
}

static double stage_dropout_forward(const fnn_network *network, size_t i,
                                    const fnn_batch *batch, const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  fnn_dropout d = dropout_of(stage, batch);
  size_t row0, row1;
  fnn_share(worker, batch->rows, &row0, &row1);
  d.x = fnn_input_of(network, i, batch);
  d.x_row = fnn_input_row(network, i, batch);
  d.y = stage->y;
  d.y_row = stage->row;
  return network->kernels->dropout(&d, row0, row1);
}

static double stage_dropout_input_gradient(const fnn_network *network, size_t i,
                                           const fnn_batch *batch,
                                           const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i], *below = stage - 1;
  fnn_dropout d = dropout_of(stage, batch);
  size_t row0, row1;
  fnn_share(worker, batch->rows, &row0, &row1);
  d.x = stage->dy;
  d.x_row = stage->row;
  d.y = below->dy;
  d.y_row = below->row;
  d.saved = fnn_saved_of(below);
  d.activation = below->activation;
  return network->kernels->dropout(&d, row0, row1);
}

/* Norms, and scales: a norm that only multiplies. */
static fnn_norm norm_of(const fnn_network *network, size_t i, const fnn_batch *batch) {
  const fnn_stage *stage = &network->stages[i];
  const int fixed = fnn_is_fixed(stage);
  /* The mini-batches of a group follow one another. */
  const fnn_statistics *old = batch->group_row ? &stage->pending : &stage->running;
  return (fnn_norm){.x = fnn_input_of(network, i, batch),
                    .x_row = fnn_input_row(network, i, batch),
                    .scale = stage->w[0],
                    .shift = stage->b[0],
                    .mean = fixed ? stage->running.mean : stage->mean,
                    .inverse = fixed ? stage->fixed_inverse : stage->inverse,
                    .m = batch->rows,
                    .n = stage->n,
                    .epsilon = stage->epsilon,
                    .y = stage->y,
                    .y_row = stage->row,
                    .z = stage->z,
                    .activation = stage->activation,
                    .momentum = stage->momentum,
                    .old_mean = old->mean,
                    .old_variance = old->variance,
                    .new_mean = stage->pending.mean,
                    .new_variance = stage->pending.variance};
}

static fnn_norm_backward norm_backward_of(const fnn_network *network, size_t i,
                                          const fnn_batch *batch) {
  const fnn_stage *stage = &network->stages[i];
  const int fixed = fnn_is_fixed(stage), goes_on = fnn_goes_on_from(network, i);
  return (fnn_norm_backward){.dy = stage->dy,
                             .dy_row = stage->row,
                             .x = fnn_input_of(network, i, batch),
                             .x_row = fnn_input_row(network, i, batch),
                             .scale = stage->w[0],
                             .mean = fixed ? stage->running.mean : stage->mean,
                             .inverse = fixed ? stage->fixed_inverse : stage->inverse,
                             .m = batch->rows,
                             .n = stage->n,
                             .dx = goes_on ? stage[-1].dy : NULL,
                             .dx_row = goes_on ? stage[-1].row : 0,
                             .saved = goes_on ? fnn_saved_of(stage - 1) : NULL,
                             .activation = goes_on
                                               ? stage[-1].activation
                                               : (fnn_activation){FNN_IDENTITY, 0.0},
                             .dscale = stage->dw,
                             .dshift = stage->db,
                             .add = batch->group_row > 0};
}

/* Columns, if those of a mini-batch have statistics; else rows. */
static void share_of_norm(const fnn_network *network, const fnn_stage *stage,
                          size_t rows, const fnn_worker *worker, size_t *begin,
                          size_t *end) {
  const size_t panels = fnn_panels(network->kernels, stage->n);
  fnn_share(worker, stage->split_rows ? rows : panels, begin, end);
}

static double stage_norm_forward(const fnn_network *network, size_t i,
                                 const fnn_batch *batch, const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const fnn_kernels *kernels = network->kernels;
  const fnn_norm f = norm_of(network, i, batch);
  size_t begin, end;
  share_of_norm(network, stage, batch->rows, worker, &begin, &end);
  if (stage->kind == FNN_STAGE_LAYER_NORM)
    return kernels->layer_norm_forward(&f, begin, end);
  if (stage->kind == FNN_STAGE_SCALE) return kernels->scale_forward(&f, begin, end);
  return fnn_is_fixed(stage) ? kernels->fixed_norm_forward(&f, begin, end)
                             : kernels->batch_norm_forward(&f, begin, end);
}

static double stage_norm_input_gradient(const fnn_network *network, size_t i,
                                        const fnn_batch *batch,
                                        const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const fnn_kernels *kernels = network->kernels;
  const fnn_norm_backward g = norm_backward_of(network, i, batch);
  size_t begin, end;
  share_of_norm(network, stage, batch->rows, worker, &begin, &end);
  if (stage->kind == FNN_STAGE_LAYER_NORM)
    return kernels->layer_norm_backward(&g, begin, end);
  if (stage->kind == FNN_STAGE_SCALE) return kernels->scale_backward(&g, begin, end);
  return fnn_is_fixed(stage) ? kernels->fixed_norm_backward(&g, begin, end)
                             : kernels->batch_norm_backward(&g, begin, end);
}

/* The update of a panel of such parameters, whose gradients are stored. */
static void update_norm(const fnn_network *network, const fnn_stage *stage,
                        const fnn_updates *own, size_t panel) {
  const fnn_kernels *kernels = network->kernels;
  const size_t at = panel * kernels->nr;
  void *w[FNN_PARTS] = {NULL}, *b[FNN_PARTS] = {NULL};
  for (size_t p = 0; p <= network->states; p++) {
    w[p] = fnn_at(kernels, stage->w[p], at);
    b[p] = fnn_at(kernels, stage->b[p], at);
  }
  kernels->update(&own->w, w[0], fnn_at(kernels, stage->dw, at), w[1], w[2],
                  kernels->nr);
  if (stage->use_bias)
    kernels->update(&own->b, b[0], fnn_at(kernels, stage->db, at), b[1], b[2],
                    kernels->nr);
}

/* The gradients of a batch norm have been stored with dX. */
static void stage_norm_parameters(const fnn_network *network, size_t i,
                                  const fnn_batch *batch, const fnn_update *update,
                                  const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const fnn_norm_backward g = norm_backward_of(network, i, batch);
  fnn_updates own;
  size_t begin, end;
  if (update) own = fnn_updates_of(stage, update);
  fnn_share(worker, fnn_panels(network->kernels, stage->n), &begin, &end);
  for (size_t panel = begin; panel < end; panel++) {
    if (stage->kind == FNN_STAGE_LAYER_NORM)
      network->kernels->layer_norm_backward_weights(&g, panel);
    if (stage->kind == FNN_STAGE_SCALE)
      network->kernels->scale_backward_weights(&g, panel);
    if (update) update_norm(network, stage, &own, panel);
  }
}

/* With running statistics if it is a batch norm; by one thread. */
static double stage_norm_predict(const fnn_network *network, size_t i, const void *x,
                                 ptrdiff_t x_row, size_t rows, void *y, void *room,
                                 const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const fnn_kernels *kernels = network->kernels;
  const int batch_norm = stage->kind == FNN_STAGE_BATCH_NORM;
  const fnn_norm f = {.x = x,
                      .x_row = x_row,
                      .scale = stage->w[0],
                      .shift = stage->b[0],
                      .mean = batch_norm ? stage->running.mean : NULL,
                      .inverse = batch_norm ? stage->fixed_inverse : NULL,
                      .m = rows,
                      .n = stage->n,
                      .epsilon = stage->epsilon,
                      .y = y,
                      .y_row = stage->row,
                      .activation = stage->activation};
  (void)room;
  if (worker->thread > 0) return 0.0;
  if (stage->kind == FNN_STAGE_SCALE) return kernels->scale_forward(&f, 0, rows);
  return batch_norm ? kernels->fixed_norm_forward(&f, 0, rows)
                    : kernels->layer_norm_forward(&f, 0, rows);
}

/* Probabilities sum to 1; NaN in z was seen in the stage below. */
static double softmax_rows(const fnn_network *network, const fnn_stage *stage,
                           const void *x, ptrdiff_t x_row, void *y, size_t row0,
                           size_t row1) {
  const fnn_kernels *kernels = network->kernels;
  const size_t from = (size_t)x_row, to = (size_t)stage->row, rows = row1 - row0;
  void *z = fnn_at(kernels, y, row0 * to);
  fnn_copy_rows(kernels, fnn_at(kernels, x, row0 * from), from, z, to, stage->n, rows);
  kernels->softmax(z, stage->row, stage->n, rows);
  return (double)rows;
}

static double stage_softmax_forward(const fnn_network *network, size_t i,
                                    const fnn_batch *batch, const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  size_t row0, row1;
  fnn_share(worker, batch->rows, &row0, &row1);
  return softmax_rows(network, stage, fnn_input_of(network, i, batch),
                      fnn_input_row(network, i, batch), stage->y, row0, row1);
}

static double stage_softmax_predict(const fnn_network *network, size_t i, const void *x,
                                    ptrdiff_t x_row, size_t rows, void *y, void *room,
                                    const fnn_worker *worker) {
  (void)room;
  if (worker->thread > 0) return 0.0;
  return softmax_rows(network, &network->stages[i], x, x_row, y, 0, rows);
}

/* dx := p (dy - sum_j dy_j p_j); the layer below has no activation of its own. */
static double stage_softmax_input_gradient(const fnn_network *network, size_t i,
                                           const fnn_batch *batch,
                                           const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i], *below = stage - 1;
  const fnn_kernels *kernels = network->kernels;
  const size_t from = (size_t)stage->row, to = (size_t)below->row;
  double magnitude = 0.0;
  size_t row0, row1;
  fnn_share(worker, batch->rows, &row0, &row1);
  fnn_copy_rows(kernels, fnn_at(kernels, stage->dy, row0 * from), from,
                fnn_at(kernels, below->dy, row0 * to), to, stage->n, row1 - row0);
  for (size_t row = row0; row < row1; row++) {
    void *dx = fnn_at(kernels, below->dy, row * to);
    kernels->softmax_backward(dx, fnn_at(kernels, stage->y, row * from), stage->row,
                              stage->n, 1);
    magnitude += kernels->magnitude(dx, stage->n);
  }
  return magnitude;
}

const fnn_stage_way *fnn_stage_way_of(const fnn_stage *stage) {
  if (stage->kind == FNN_STAGE_PERIODIC) return &fnn_periodic_way;
  if (stage->kind == FNN_STAGE_PIECEWISE) return &fnn_piecewise_way;
  if (stage->kind == FNN_STAGE_TABLE) return &fnn_table_way;
  if (stage->kind == FNN_STAGE_PARAMETRIC) return &fnn_parametric_way;
  static const fnn_stage_way ways[] = {
      [FNN_STAGE_DENSE] = {stage_dense_forward, stage_dense_input_gradient,
                           stage_dense_parameters, stage_dense_predict},
      [FNN_STAGE_DROPOUT] = {stage_dropout_forward, stage_dropout_input_gradient, NULL,
                             NULL},
      [FNN_STAGE_BATCH_NORM] = {stage_norm_forward, stage_norm_input_gradient,
                                stage_norm_parameters, stage_norm_predict},
      [FNN_STAGE_LAYER_NORM] = {stage_norm_forward, stage_norm_input_gradient,
                                stage_norm_parameters, stage_norm_predict},
      [FNN_STAGE_SCALE] = {stage_norm_forward, stage_norm_input_gradient,
                           stage_norm_parameters, stage_norm_predict},
      [FNN_STAGE_SOFTMAX] = {stage_softmax_forward, stage_softmax_input_gradient, NULL,
                             stage_softmax_predict},
  };
  return &ways[stage->kind];
}

/* dy of the last stage is given, before its activation, as this thread's targets.  No
 * update follows that would ask for its magnitude. */
static double given_backward(const fnn_network *network, size_t row0, size_t row1) {
  const fnn_stage *last = fnn_last(network);
  const fnn_kernels *kernels = network->kernels;
  const size_t row = (size_t)last->row;
  fnn_copy_rows(kernels, fnn_at(kernels, network->targets, row0 * row), row,
                fnn_at(kernels, last->dy, row0 * row), row, last->n, row1 - row0);
  return 0.0;
}

double fnn_loss_backward(const fnn_network *network, const fnn_batch *batch,
                         const fnn_worker *worker) {
  const fnn_stage *last = fnn_last(network);
  const fnn_kernels *kernels = network->kernels;
  size_t row0, row1;
  fnn_share(worker, batch->rows, &row0, &row1);
  const fnn_loss_rows l = {.loss = network->loss,
                           .levels = network->levels,
                           .z = last->y,
                           .z_row = last->row,
                           .n = last->n,
                           .labels = batch->labels,
                           .targets = network->targets,
                           .weights = batch->weighted ? network->weights : NULL,
                           .scale = batch->scale,
                           .dz = last->dy,
                           .losses = network->loss_rows,
                           .correct = network->correct_rows};
  const double magnitude = batch->given ? given_backward(network, row0, row1)
                                        : kernels->loss(&l, row0, row1);
  for (size_t i = row0; last->activation.kind != FNN_IDENTITY && i < row1; i++) {
    void *dy = fnn_at(kernels, last->dy, i * (size_t)last->row);
    const void *saved = fnn_at(kernels, fnn_saved_of(last), i * (size_t)last->row);
    kernels->activation_backward(last->activation, dy, saved, dy, last->n);
  }
  return magnitude;
}

int fnn_forward_needs_barrier(const fnn_network *network, size_t i) {
  return !network->stages[i].split_rows || (i && !network->stages[i - 1].split_rows);
}

int fnn_backward_needs_barrier(const fnn_network *network, size_t i) {
  return !network->stages[i].split_rows_backward ||
         (i + 1 < network->n_stages && !network->stages[i + 1].split_rows_backward);
}

int fnn_goes_back_to(const fnn_network *network, size_t i) {
  return fnn_goes_on_from(network, i) ||
         (i == network->lowest && network->stages[i].kind == FNN_STAGE_BATCH_NORM);
}
