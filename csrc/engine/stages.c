/* What a mini-batch goes through: every stage forward and back, each thread its share.
 *
 * Dense layers are split by columns (large ones) or by rows, a batch norm by columns,
 * everything else by rows.  A thread's rows of a stage split by rows need only its own
 * rows of the stage below: between two of those there is no barrier. */
#include "engine/stages.h"

#include "engine/rounding.h"
#include "engine/statistics.h"
#include "kernels/layout.h"

static const void *input_of(const fnn_network *network, size_t i,
                            const fnn_batch *batch) {
  return i ? network->stages[i - 1].y : batch->x;
}

static ptrdiff_t input_row(const fnn_network *network, size_t i,
                           const fnn_batch *batch) {
  return i ? network->stages[i - 1].row : batch->x_row;
}

/* What the derivative of the activation is computed from. */
static const void *saved_of(const fnn_stage *stage) {
  return stage->z ? stage->z : stage->y;
}

static void *scratch_of(const fnn_network *network, const fnn_worker *worker) {
  return fnn_at(network->kernels, network->scratch,
                (size_t)worker->thread * network->scratch_size);
}

static double dense_forward(const fnn_network *network, size_t i,
                            const fnn_batch *batch, const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const fnn_kernels *kernels = network->kernels;
  const size_t panels = fnn_panels(kernels, stage->n);
  const fnn_forward f = {.x = input_of(network, i, batch),
                         .x_row = input_row(network, i, batch),
                         .w = stage->w[0],
                         .b = stage->b[0],
                         .y = stage->y,
                         .y_row = stage->row,
                         .z = stage->z,
                         .k = stage->k,
                         .n = stage->n,
                         .activation = stage->activation};
  if (stage->split_rows) {
    size_t row0, row1;
    fnn_share(worker, batch->rows, &row0, &row1);
    return row0 < row1 ? kernels->dense_forward(&f, row0, row1, 0, panels) : 0.0;
  }
  double magnitude = 0.0;
  for (fnn_part p = fnn_parts(worker, panels, batch->rows); fnn_next_part(&p);)
    magnitude += kernels->dense_forward(&f, p.row0, p.row1, p.panel0, p.panel1);
  return magnitude;
}

static fnn_dropout dropout_of(const fnn_stage *stage, const fnn_batch *batch) {
  return (fnn_dropout){.n = stage->n,
                       .first = batch->group_row,
                       .rate = stage->rate,
                       .key = stage->key,
                       .step = batch->step};
}

static fnn_norm norm_of(const fnn_network *network, size_t i, const fnn_batch *batch) {
  const fnn_stage *stage = &network->stages[i];
  const int fixed = fnn_is_fixed(stage);
  /* The mini-batches of a group follow one another. */
  const fnn_statistics *old = batch->group_row ? &stage->pending : &stage->running;
  return (fnn_norm){.x = input_of(network, i, batch),
                    .x_row = input_row(network, i, batch),
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

static double stage_forward(const fnn_network *network, size_t i,
                            const fnn_batch *batch, const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const fnn_kernels *kernels = network->kernels;
  const void *x = input_of(network, i, batch);
  const ptrdiff_t x_row = input_row(network, i, batch);
  size_t begin, end; /* rows, or panels of a batch norm */
  fnn_share(worker, stage->split_rows ? batch->rows : fnn_panels(kernels, stage->n),
            &begin, &end);
  switch (stage->kind) {
    case FNN_STAGE_DENSE:
      return network->bf16 ? fnn_bf16_dense_forward(network, i, batch, worker)
                           : dense_forward(network, i, batch, worker);
    case FNN_STAGE_DROPOUT: {
      fnn_dropout d = dropout_of(stage, batch);
      d.x = x;
      d.x_row = x_row;
      d.y = stage->y;
      d.y_row = stage->row;
      return kernels->dropout(&d, begin, end);
    }
    case FNN_STAGE_BATCH_NORM:
    case FNN_STAGE_LAYER_NORM: {
      const fnn_norm f = norm_of(network, i, batch);
      if (stage->kind == FNN_STAGE_LAYER_NORM)
        return kernels->layer_norm_forward(&f, begin, end);
      if (fnn_is_fixed(stage)) return kernels->fixed_norm_forward(&f, begin, end);
      return kernels->batch_norm_forward(&f, begin, end);
    }
    case FNN_STAGE_SOFTMAX:
      return softmax_rows(network, stage, x, x_row, stage->y, begin, end);
  }
  return 0.0;
}

double fnn_stage_forward(const fnn_network *network, size_t i, const fnn_batch *batch,
                         const fnn_worker *worker) {
  const double magnitude = stage_forward(network, i, batch, worker);
  if (network->bf16 && network->stages[i].kind != FNN_STAGE_DENSE)
    fnn_bf16_round_outputs(network, i, batch, worker);
  return magnitude;
}

double fnn_loss_backward(const fnn_network *network, const fnn_batch *batch,
                         const fnn_worker *worker) {
  const fnn_stage *last = fnn_last(network);
  const fnn_kernels *kernels = network->kernels;
  size_t row0, row1;
  fnn_share(worker, batch->rows, &row0, &row1);
  const fnn_loss_rows l = {.loss = network->loss,
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
  const double magnitude = kernels->loss(&l, row0, row1);
  for (size_t i = row0; last->activation.kind != FNN_IDENTITY && i < row1; i++) {
    void *dy = fnn_at(network->kernels, last->dy, i * (size_t)last->row);
    kernels->activation_backward(
        last->activation, dy,
        fnn_at(network->kernels, saved_of(last), i * (size_t)last->row), dy, last->n);
  }
  if (network->bf16)
    fnn_bf16_round_gradient(network, network->n_stages - 1, 1, batch, worker);
  return magnitude;
}

static double dense_backward(const fnn_network *network, size_t i,
                             const fnn_batch *batch, const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i], *below = stage - 1;
  const fnn_kernels *kernels = network->kernels;
  const size_t panels = fnn_panels(kernels, stage->k);
  const fnn_backward_input g = {.dy = stage->dy,
                                .dy_row = stage->row,
                                .w = stage->w[0],
                                .saved = saved_of(below),
                                .dx = below->dy,
                                .dx_row = below->row,
                                .k = stage->k,
                                .n = stage->n,
                                .activation = below->activation,
                                .scratch = scratch_of(network, worker)};
  if (stage->split_rows_backward) {
    size_t row0, row1;
    fnn_share(worker, batch->rows, &row0, &row1);
    return row0 < row1 ? kernels->dense_backward_input(&g, row0, row1, 0, panels) : 0.0;
  }
  double magnitude = 0.0;
  for (fnn_part p = fnn_parts(worker, panels, batch->rows); fnn_next_part(&p);)
    magnitude += kernels->dense_backward_input(&g, p.row0, p.row1, p.panel0, p.panel1);
  return magnitude;
}

static fnn_norm_backward norm_backward_of(const fnn_network *network, size_t i,
                                          const fnn_batch *batch) {
  const fnn_stage *stage = &network->stages[i];
  const int fixed = fnn_is_fixed(stage), goes_on = i > network->lowest;
  return (fnn_norm_backward){.dy = stage->dy,
                             .dy_row = stage->row,
                             .x = input_of(network, i, batch),
                             .x_row = input_row(network, i, batch),
                             .scale = stage->w[0],
                             .mean = fixed ? stage->running.mean : stage->mean,
                             .inverse = fixed ? stage->fixed_inverse : stage->inverse,
                             .m = batch->rows,
                             .n = stage->n,
                             .dx = goes_on ? stage[-1].dy : NULL,
                             .dx_row = goes_on ? stage[-1].row : 0,
                             .saved = goes_on ? saved_of(stage - 1) : NULL,
                             .activation = goes_on
                                               ? stage[-1].activation
                                               : (fnn_activation){FNN_IDENTITY, 0.0},
                             .dscale = stage->dw,
                             .dshift = stage->db,
                             .add = batch->group_row > 0};
}

/* dx := p (dy - sum_j dy_j p_j); the layer below has no activation of its own. */
static double softmax_backward(const fnn_network *network, const fnn_stage *stage,
                               size_t row0, size_t row1) {
  const fnn_stage *below = stage - 1;
  const fnn_kernels *kernels = network->kernels;
  double magnitude = 0.0;
  const size_t from = (size_t)stage->row, to = (size_t)below->row;
  fnn_copy_rows(kernels, fnn_at(kernels, stage->dy, row0 * from), from,
                fnn_at(kernels, below->dy, row0 * to), to, stage->n, row1 - row0);
  for (size_t i = row0; i < row1; i++) {
    void *dx = fnn_at(kernels, below->dy, i * to);
    kernels->softmax_backward(dx, fnn_at(kernels, stage->y, i * from), stage->row,
                              stage->n, 1);
    magnitude += kernels->magnitude(dx, stage->n);
  }
  return magnitude;
}

static double stage_backward(const fnn_network *network, size_t i,
                             const fnn_batch *batch, const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const fnn_kernels *kernels = network->kernels;
  size_t begin, end;
  fnn_share(worker,
            stage->split_rows_backward ? batch->rows : fnn_panels(kernels, stage->n),
            &begin, &end);
  switch (stage->kind) {
    case FNN_STAGE_DENSE:
      return network->bf16 ? fnn_bf16_dense_backward(network, i, batch,
                                                     saved_of(stage - 1), worker)
                           : dense_backward(network, i, batch, worker);
    case FNN_STAGE_DROPOUT: {
      fnn_dropout d = dropout_of(stage, batch);
      d.x = stage->dy;
      d.x_row = stage->row;
      d.y = stage[-1].dy;
      d.y_row = stage[-1].row;
      d.saved = saved_of(stage - 1);
      d.activation = stage[-1].activation;
      return kernels->dropout(&d, begin, end);
    }
    case FNN_STAGE_BATCH_NORM:
    case FNN_STAGE_LAYER_NORM: {
      const fnn_norm_backward g = norm_backward_of(network, i, batch);
      if (stage->kind == FNN_STAGE_LAYER_NORM)
        return kernels->layer_norm_backward(&g, begin, end);
      if (fnn_is_fixed(stage)) return kernels->fixed_norm_backward(&g, begin, end);
      return kernels->batch_norm_backward(&g, begin, end);
    }
    case FNN_STAGE_SOFTMAX: return softmax_backward(network, stage, begin, end);
  }
  return 0.0;
}

double fnn_stage_backward(const fnn_network *network, size_t i, const fnn_batch *batch,
                          const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const double magnitude = stage_backward(network, i, batch, worker);
  if (network->bf16 && stage->kind != FNN_STAGE_DENSE && i > network->lowest)
    fnn_bf16_round_gradient(network, i - 1, stage->split_rows_backward, batch, worker);
  return magnitude;
}

static void dense_parameters(const fnn_network *network, size_t i,
                             const fnn_batch *batch, const fnn_update *update,
                             const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const fnn_kernels *kernels = network->kernels;
  const fnn_backward_weights g = {.x = input_of(network, i, batch),
                                  .x_row = input_row(network, i, batch),
                                  .dy = stage->dy,
                                  .dy_row = stage->row,
                                  .m = batch->rows,
                                  .k = stage->k,
                                  .n = stage->n,
                                  .update = update,
                                  .add = batch->group_row > 0,
                                  .w = stage->w[0],
                                  .w_state = {stage->w[1], stage->w[2]},
                                  .b = stage->b[0],
                                  .b_state = {stage->b[1], stage->b[2]},
                                  .dw = stage->dw,
                                  .db = stage->db,
                                  .scratch = scratch_of(network, worker)};
  const size_t panels = fnn_panels(kernels, stage->n);
  if (network->bf16) {
    size_t panel, end;
    fnn_bf16_dense_weights(network, i, batch, update, worker);
    fnn_share(worker, panels, &panel, &end);
    for (; stage->use_bias && panel < end; panel++)
      kernels->dense_backward_bias(&g, panel);
    return;
  }
  for (fnn_part p = fnn_parts(worker, panels, stage->k); fnn_next_part(&p);) {
    kernels->dense_backward_weights(&g, p.panel0, p.panel1, p.row0, p.row1);
    for (size_t panel = p.panel0; panel < p.panel1; panel++)
      if (p.row0 == 0 && stage->use_bias) kernels->dense_backward_bias(&g, panel);
  }
}

/* A batch norm's gradients have been stored with its dX. */
static void norm_parameters(const fnn_network *network, size_t i,
                            const fnn_batch *batch, const fnn_update *update,
                            const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const fnn_kernels *kernels = network->kernels;
  const fnn_norm_backward g = norm_backward_of(network, i, batch);
  size_t begin, end;
  fnn_share(worker, fnn_panels(kernels, stage->n), &begin, &end);
  for (size_t panel = begin; panel < end; panel++) {
    if (stage->kind == FNN_STAGE_LAYER_NORM)
      kernels->layer_norm_backward_weights(&g, panel);
    if (!update) continue;
    const fnn_update own = fnn_update_of_bias(update);
    const size_t at = panel * kernels->nr;
    void *w[FNN_PARTS] = {NULL}, *b[FNN_PARTS] = {NULL};
    for (size_t p = 0; p <= network->states; p++) {
      w[p] = fnn_at(network->kernels, stage->w[p], at);
      b[p] = fnn_at(network->kernels, stage->b[p], at);
    }
    kernels->update(&own, w[0], fnn_at(network->kernels, stage->dw, at), w[1], w[2],
                    kernels->nr);
    kernels->update(&own, b[0], fnn_at(network->kernels, stage->db, at), b[1], b[2],
                    kernels->nr);
  }
}

void fnn_backward_parameters(const fnn_network *network, const fnn_batch *batch,
                             const fnn_update *update, const fnn_worker *worker) {
  for (size_t i = network->lowest; i < network->n_stages; i++) {
    const fnn_stage *stage = &network->stages[i];
    if (!stage->trainable) continue;
    if (stage->kind == FNN_STAGE_DENSE)
      dense_parameters(network, i, batch, update, worker);
    else norm_parameters(network, i, batch, update, worker);
  }
}

int fnn_forward_needs_barrier(const fnn_network *network, size_t i) {
  return !network->stages[i].split_rows || (i && !network->stages[i - 1].split_rows);
}

int fnn_backward_needs_barrier(const fnn_network *network, size_t i) {
  return !network->stages[i].split_rows_backward ||
         (i + 1 < network->n_stages && !network->stages[i + 1].split_rows_backward);
}

int fnn_goes_back_to(const fnn_network *network, size_t i) {
  return i > network->lowest || (i == network->lowest && i < network->n_stages &&
                                 network->stages[i].kind == FNN_STAGE_BATCH_NORM);
}

double fnn_stage_predict(const fnn_network *network, const fnn_stage *stage,
                         const void *x, ptrdiff_t x_row, size_t rows, void *y) {
  const fnn_kernels *kernels = network->kernels;
  if (stage->kind == FNN_STAGE_SOFTMAX)
    return softmax_rows(network, stage, x, x_row, y, 0, rows);
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
  return batch_norm ? kernels->fixed_norm_forward(&f, 0, rows)
                    : kernels->layer_norm_forward(&f, 0, rows);
}
