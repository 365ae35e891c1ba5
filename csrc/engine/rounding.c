/* The engine's part of bfloat16 mode: rounded copies of what dense layers multiply, made
 * where it arises and in the shares in which it does, so that no barrier is added. */
#include "engine/rounding.h"

#include "kernels/layout.h"

/* Pairs from one row to the next: whole cache lines, an odd number of them. */
ptrdiff_t fnn_bf16_row(size_t n) {
  enum { LINE = FNN_ALIGNMENT / sizeof(uint32_t) };
  const size_t lines = ((n + 1) / 2 + LINE - 1) / LINE;
  return (ptrdiff_t)((lines | 1) * LINE);
}

int fnn_bf16_init_stage(fnn_stage *stage) {
  if (stage->kind != FNN_STAGE_DENSE) return 1;
  stage->rounded.x_row = fnn_bf16_row(stage->k);
  stage->rounded.dy_row = fnn_bf16_row(stage->n);
  stage->rounded.w = fnn_alloc((stage->k + 1) / 2 * stage->b_size, sizeof(uint32_t));
  return stage->rounded.w != NULL;
}

int fnn_bf16_reserve_stage(fnn_stage *stage, size_t rows) {
  fnn_rounded *r = &stage->rounded;
  if (stage->kind != FNN_STAGE_DENSE) return 1;
  r->x = fnn_alloc(rows, (size_t)r->x_row * sizeof(uint32_t));
  r->dy = fnn_alloc(rows, (size_t)r->dy_row * sizeof(uint32_t));
  return r->x && r->dy;
}

fnn_status fnn_bf16_reserve_scratch(fnn_network *network, int threads) {
  size_t size = fnn_bf16_scratch(network->batch_capacity);
  /* Fewer rows may take more: the panels of a group grow. */
  const size_t few = fnn_bf16_scratch(2 * FNN_BF16_IN_L2);
  if (size < few && network->batch_capacity > 2 * FNN_BF16_IN_L2 / FNN_BF16_MOST)
    size = few;
  if (network->pairs && size <= network->pairs_size &&
      threads <= network->pairs_threads)
    return FNN_OK;
  uint32_t *pairs = fnn_alloc((size_t)threads * size, sizeof *pairs);
  if (!pairs) return FNN_NO_MEMORY;
  fnn_free(network->pairs);
  network->pairs = pairs;
  network->pairs_size = size;
  network->pairs_threads = threads;
  return FNN_OK;
}

static void round_columns(const fnn_network *network, const void *values, ptrdiff_t row,
                          size_t row0, size_t row1, size_t column, size_t columns,
                          uint32_t *to, ptrdiff_t to_row) {
  network->bf16->round_rows(
      (const float *)values + (ptrdiff_t)row0 * row + (ptrdiff_t)column, row,
      row1 - row0, columns, to + (ptrdiff_t)row0 * to_row + (ptrdiff_t)(column / 2),
      to_row);
}

/* The dense layer that takes the outputs of stage i, or NULL. */
static const fnn_rounded *above(const fnn_network *network, size_t i) {
  const fnn_stage *stage = &network->stages[i + 1];
  return i + 1 < network->n_stages && stage->kind == FNN_STAGE_DENSE ? &stage->rounded
                                                                     : NULL;
}

/* Columns of stage i's outputs for the dense layer above. */
static void round_outputs(const fnn_network *network, size_t i, size_t row0,
                          size_t row1, size_t column, size_t columns) {
  const fnn_stage *stage = &network->stages[i];
  const fnn_rounded *to = above(network, i);
  if (to)
    round_columns(network, stage->y, stage->row, row0, row1, column, columns, to->x,
                  to->x_row);
}

/* Columns of the gradient wrt stage i's outputs, if it is dense. */
static void round_gradient(const fnn_network *network, size_t i, size_t row0,
                           size_t row1, size_t column, size_t columns) {
  const fnn_stage *stage = &network->stages[i];
  if (stage->kind != FNN_STAGE_DENSE) return;
  round_columns(network, stage->dy, stage->row, row0, row1, column, columns,
                stage->rounded.dy, stage->rounded.dy_row);
}

typedef void (*rounding)(const fnn_network *, size_t i, size_t row0, size_t row1,
                         size_t column, size_t columns);

/* The rows, or the panels, that are this thread's. */
static void round_share(const fnn_network *network, size_t i, size_t rows, int by_rows,
                        rounding round, const fnn_worker *worker) {
  const size_t n = network->stages[i].n;
  size_t begin, end;
  fnn_share(worker, by_rows ? rows : fnn_panels(network->kernels, n), &begin, &end);
  if (begin == end) return;
  if (by_rows) {
    round(network, i, begin, end, 0, n);
    return;
  }
  const size_t column = begin * FNN_PAIR_NR, stop = end * FNN_PAIR_NR;
  round(network, i, 0, rows, column, (stop < n ? stop : n) - column);
}

double fnn_bf16_round_inputs(const fnn_network *network, const fnn_batch *batch,
                             size_t row0, size_t row1) {
  const fnn_rounded *r = &network->stages[0].rounded;
  return network->bf16->round_rows(
      (const float *)batch->x + (ptrdiff_t)row0 * batch->x_row, batch->x_row,
      row1 - row0, network->n_inputs, r->x + (ptrdiff_t)row0 * r->x_row, r->x_row);
}

void fnn_bf16_round_outputs(const fnn_network *network, size_t i,
                            const fnn_batch *batch, const fnn_worker *worker) {
  round_share(network, i, batch->rows, network->stages[i].split_rows, round_outputs,
              worker);
}

void fnn_bf16_round_gradient(const fnn_network *network, size_t i, int by_rows,
                             const fnn_batch *batch, const fnn_worker *worker) {
  round_share(network, i, batch->rows, by_rows, round_gradient, worker);
}

double fnn_bf16_dense_forward(const fnn_network *network, size_t i,
                              const fnn_batch *batch, const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const fnn_bf16_kernels *bf16 = network->bf16;
  const size_t panels = fnn_panels(network->kernels, stage->n);
  const fnn_rounded *to = above(network, i);
  /* The float32 outputs are then of no more use: ReLU's gradient takes rounded ones. */
  const int plain =
      stage->activation.kind == FNN_RELU || stage->activation.kind == FNN_IDENTITY;
  const fnn_bf16_forward f = {.x = stage->rounded.x,
                              .x_row = stage->rounded.x_row,
                              .w = stage->rounded.w,
                              .b = stage->b[0],
                              .y = to && plain ? NULL : stage->y,
                              .y_row = stage->row,
                              .z = stage->z,
                              .rounded = to ? to->x : NULL,
                              .rounded_row = to ? to->x_row : 0,
                              .k = stage->k,
                              .n = stage->n,
                              .activation = stage->activation,
                              .kernels = network->kernels};
  double magnitude = 0.0;
  if (stage->split_rows) {
    size_t row0, row1;
    fnn_share(worker, batch->rows, &row0, &row1);
    return row0 < row1 ? bf16->forward(&f, row0, row1, 0, panels) : 0.0;
  }
  for (fnn_part p = fnn_parts(worker, panels, batch->rows); fnn_next_part(&p);)
    magnitude += bf16->forward(&f, p.row0, p.row1, p.panel0, p.panel1);
  return magnitude;
}

double fnn_bf16_dense_backward(const fnn_network *network, size_t i,
                               const fnn_batch *batch, const void *saved,
                               const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i], *below = stage - 1;
  const fnn_bf16_kernels *bf16 = network->bf16;
  const size_t panels = fnn_panels(network->kernels, stage->k);
  const fnn_bf16_backward_input g = {
      .dy = stage->rounded.dy,
      .dy_row = stage->rounded.dy_row,
      .w = stage->rounded.w,
      .saved = saved,
      .x = stage->rounded.x,
      .x_row = stage->rounded.x_row,
      .dx = below->dy,
      .dx_row = below->row,
      .rounded = below->kind == FNN_STAGE_DENSE ? below->rounded.dy : NULL,
      .rounded_row = below->rounded.dy_row,
      .k = stage->k,
      .n = stage->n,
      .activation = below->activation,
      .kernels = network->kernels,
      .scratch = (uint32_t *)network->scratch +
                 (size_t)worker->thread * network->scratch_size};
  double magnitude = 0.0;
  if (stage->split_rows_backward) {
    size_t row0, row1;
    fnn_share(worker, batch->rows, &row0, &row1);
    return row0 < row1 ? bf16->backward_input(&g, row0, row1, 0, panels) : 0.0;
  }
  for (fnn_part p = fnn_parts(worker, panels, batch->rows); fnn_next_part(&p);)
    magnitude += bf16->backward_input(&g, p.row0, p.row1, p.panel0, p.panel1);
  return magnitude;
}

void fnn_bf16_dense_weights(const fnn_network *network, size_t i,
                            const fnn_batch *batch, const fnn_update *update,
                            const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const size_t k = stage->k, pairs = (k + 1) / 2;
  const fnn_bf16_backward_weights g = {
      .x = stage->rounded.x,
      .x_row = stage->rounded.x_row,
      .dy = stage->rounded.dy,
      .dy_row = stage->rounded.dy_row,
      .m = batch->rows,
      .k = k,
      .n = stage->n,
      .update = update,
      .add = batch->group_row > 0,
      .w = stage->w[0],
      .w_state = {stage->w[1], stage->w[2]},
      .dw = stage->dw,
      .w_pairs = stage->rounded.w,
      .kernels = network->kernels,
      .scratch = network->pairs + (size_t)worker->thread * network->pairs_size};
  const size_t panels = fnn_panels(network->kernels, stage->n);
  for (fnn_part p = fnn_parts(worker, panels, pairs); fnn_next_part(&p);) {
    const size_t k0 = 2 * p.row0, k1 = 2 * p.row1 < k ? 2 * p.row1 : k;
    network->bf16->backward_weights(&g, p.panel0, p.panel1, k0, k1);
  }
}

void fnn_bf16_round_weights(const fnn_network *network, const fnn_stage *stage,
                            const fnn_worker *worker) {
  if (stage->kind != FNN_STAGE_DENSE) return;
  const size_t pairs = (stage->k + 1) / 2;
  size_t panel, end;
  fnn_share(worker, fnn_panels(network->kernels, stage->n), &panel, &end);
  for (; panel < end; panel++)
    network->bf16->round_panel(
        (const float *)stage->w[0] + panel * stage->k * FNN_PAIR_NR, stage->k,
        stage->rounded.w + panel * pairs * FNN_PAIR_NR);
}

void fnn_bf16_round_changed(const fnn_network *network, const fnn_worker *worker) {
  fnn_barrier_wait(worker);
  for (size_t i = 0; i < network->n_stages; i++)
    if (network->stages[i].trainable)
      fnn_bf16_round_weights(network, &network->stages[i], worker);
}

size_t fnn_bf16_widest(const fnn_network *network) {
  ptrdiff_t widest = 0;
  for (size_t i = 0; network->bf16 && i < network->n_stages; i++)
    if (network->stages[i].rounded.x_row > widest)
      widest = network->stages[i].rounded.x_row;
  return (size_t)widest;
}

double fnn_bf16_predict(const fnn_network *network, const fnn_stage *stage,
                        const void *x, ptrdiff_t x_row, size_t rows, void *y,
                        void *room, const fnn_worker *worker) {
  const fnn_bf16_forward f = {.x = room,
                              .x_row = stage->rounded.x_row,
                              .w = stage->rounded.w,
                              .b = stage->b[0],
                              .y = y,
                              .y_row = stage->row,
                              .k = stage->k,
                              .n = stage->n,
                              .activation = stage->activation,
                              .kernels = network->kernels};
  size_t panel0, panel1;
  if (worker->thread == 0)
    network->bf16->round_rows(x, x_row, rows, stage->k, room, f.x_row);
  fnn_barrier_wait(worker);
  fnn_share(worker, fnn_panels(network->kernels, stage->n), &panel0, &panel1);
  return panel0 < panel1 ? network->bf16->forward(&f, 0, rows, panel0, panel1) : 0.0;
}
