/* The engine's part of bfloat16 mode: rounded copies of what dense layers multiply,
 * made where it arises and in the shares in which it does, so that no barrier is
 * added. */
#include "engine/rounding.h"

#include <math.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "engine/update.h"
#include "kernels/layout.h"

static double measure_rate(size_t values) {
  enum { TRIALS = 16, STEPS = 300 };
  const fnn_kernels *kernels = fnn_kernels_for(FNN_F32);
  const fnn_bf16_kernels *pairs = fnn_bf16_kernels_of(2);
  if (values == 2 && !pairs) return 0.0;
  double least = INFINITY;
  for (int i = 0; i < TRIALS; i++) { /* the first wake the core's wide units */
    const double begin = fnn_now();
    (values == 2 ? pairs->multiply_adds : kernels->multiply_adds)(STEPS);
    least = fmin(least, fnn_now() - begin);
  }
  const size_t each = values == 2 ? pairs->step_values : kernels->step_values;
  return (double)(STEPS * each) / fmax(1e9 * least, 1.0);
}

double fnn_multiply_add_rate(size_t values) {
  static _Atomic double rates[2];
  double rate = atomic_load(&rates[values == 2]);
  if (rate > 0.0) return rate;
  rate = measure_rate(values);
  atomic_store(&rates[values == 2], rate);
  return rate;
}

static atomic_size_t forced;
void fnn_force_bf16(size_t values) { atomic_store(&forced, values); }

const fnn_bf16_kernels *fnn_choose_bf16(const fnn_plan *plan) {
  if (atomic_load(&forced)) return fnn_bf16_kernels_of(atomic_load(&forced));
  const double large = 64.0 * 64.0; /* measured: 2-64-3 is slower in pairs */
  double work = 0.0, worth = 0.0;
  for (size_t i = 0, k = plan->n_inputs; i < plan->n_layers;
       k = plan->layers[i++].units) {
    const double products = (double)k * (double)plan->layers[i].units;
    if (plan->layers[i].kind != FNN_DENSE) continue;
    work += products;
    if (products >= large) worth += products;
  }
  const int pays =
      2.0 * worth >= work && fnn_multiply_add_rate(2) > fnn_multiply_add_rate(1);
  return fnn_bf16_kernels_of(pays ? 2 : 1);
}

/* Words that hold n values. */
static size_t words_of(const fnn_network *network, size_t n) {
  const size_t values = network->bf16->values;
  return (n + values - 1) / values;
}

/* Words from one row of n values to the next: room for whole panels, and an odd number
 * of cache lines. */
static ptrdiff_t words_row(const fnn_network *network, size_t n) {
  enum { LINE = FNN_ALIGNMENT / sizeof(uint32_t) };
  const size_t padded = fnn_panels(network->kernels, n) * network->kernels->nr;
  const size_t lines = (words_of(network, padded) + LINE - 1) / LINE;
  return (ptrdiff_t)((lines | 1) * LINE);
}

int fnn_rounding_reserve(fnn_stage *stage, size_t rows) {
  fnn_rounded *r = &stage->rounded;
  if (!fnn_is_rounded(stage)) return 1;
  r->x = fnn_alloc(rows, (size_t)r->x_row * sizeof(uint32_t));
  r->dy = fnn_alloc(rows, (size_t)r->dy_row * sizeof(uint32_t));
  return r->x && r->dy;
}

fnn_status fnn_rounding_reserve_scratch(fnn_network *network, int threads) {
  if (!network->bf16 || network->bf16->values == 1) return FNN_OK;
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
      row1 - row0, columns,
      to + (ptrdiff_t)row0 * to_row + (ptrdiff_t)(column / network->bf16->values),
      to_row);
}

/* Where rounded outputs of stage i go: to a dense layer above, or NULL. */
static const fnn_rounded *above(const fnn_network *network, size_t i) {
  const fnn_stage *stage = &network->stages[i + 1];
  return i + 1 < network->n_stages && fnn_is_rounded(stage) ? &stage->rounded : NULL;
}

/* Columns of stage i's outputs. */
static void round_outputs(const fnn_network *network, size_t i, size_t row0,
                          size_t row1, size_t column, size_t columns) {
  const fnn_stage *stage = &network->stages[i];
  const fnn_rounded *to = above(network, i);
  if (to)
    round_columns(network, stage->y, stage->row, row0, row1, column, columns, to->x,
                  to->x_row);
}

/* Columns of the gradient wrt stage i's outputs, if its products take it. */
static void round_gradient(const fnn_network *network, size_t i, size_t row0,
                           size_t row1, size_t column, size_t columns) {
  const fnn_stage *stage = &network->stages[i];
  if (!fnn_is_rounded(stage)) return;
  round_columns(network, stage->dy, stage->row, row0, row1, column, columns,
                stage->rounded.dy, stage->rounded.dy_row);
}

typedef void (*round_function)(const fnn_network *, size_t i, size_t row0, size_t row1,
                               size_t column, size_t columns);

/* The rows, or the panels, that are this thread's. */
static void round_share(const fnn_network *network, size_t i, size_t rows, int by_rows,
                        round_function round, const fnn_worker *worker) {
  const size_t n = network->stages[i].n;
  size_t begin, end;
  fnn_share(worker, by_rows ? rows : fnn_panels(network->kernels, n), &begin, &end);
  if (begin == end) return;
  if (by_rows) {
    round(network, i, begin, end, 0, n);
    return;
  }
  const size_t nr = network->kernels->nr, column = begin * nr, stop = end * nr;
  round(network, i, 0, rows, column, (stop < n ? stop : n) - column);
}

double fnn_round_inputs(const fnn_network *network, const fnn_batch *batch, size_t row0,
                        size_t row1) {
  const fnn_rounded *r = &network->stages[0].rounded;
  return network->bf16->round_rows(
      (const float *)batch->x + (ptrdiff_t)row0 * batch->x_row, batch->x_row,
      row1 - row0, network->n_inputs, r->x + (ptrdiff_t)row0 * r->x_row, r->x_row);
}

void fnn_round_loss_gradient(const fnn_network *network, const fnn_batch *batch,
                             const fnn_worker *worker) {
  round_share(network, network->n_stages - 1, batch->rows, 1, round_gradient, worker);
}

static void round_panels(const fnn_network *network, const fnn_stage *stage,
                         size_t panel, size_t end) {
  const size_t nr = network->kernels->nr, words = words_of(network, stage->k);
  for (; panel < end; panel++)
    network->bf16->round_panel((const float *)stage->w[0] + panel * stage->k * nr,
                               stage->k, stage->rounded.w + panel * words * nr);
}

void fnn_round_weights(const fnn_network *network, const fnn_stage *stage) {
  if (fnn_is_rounded(stage))
    round_panels(network, stage, 0, fnn_panels(network->kernels, stage->n));
}

void fnn_round_trained_weights(const fnn_network *network, const fnn_worker *worker) {
  if (!network->bf16) return;
  fnn_barrier_wait(worker);
  for (size_t i = 0; i < network->n_stages; i++) {
    const fnn_stage *stage = &network->stages[i];
    size_t panel, end;
    if (!stage->trainable || !fnn_is_rounded(stage)) continue;
    fnn_share(worker, fnn_panels(network->kernels, stage->n), &panel, &end);
    round_panels(network, stage, panel, end);
  }
}

size_t fnn_rounding_room(const fnn_network *network) {
  ptrdiff_t widest = 0;
  for (size_t i = 0; i < network->n_stages; i++)
    if (network->stages[i].rounded.x_row > widest)
      widest = network->stages[i].rounded.x_row;
  return (size_t)widest;
}

static double rounded_dense_forward(const fnn_network *network, size_t i,
                                    const fnn_batch *batch, const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const size_t panels = fnn_panels(network->kernels, stage->n);
  const fnn_rounded *to = above(network, i);
  /* The gradient of ReLU takes pairs: its float32 outputs are then of no more use. */
  const int plain = network->bf16->values == 2 && fnn_is_fused(stage->activation.kind);
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
  fnn_part p = fnn_parts(worker, stage->split_rows, panels, batch->rows);
  while (fnn_next_part(&p))
    magnitude += network->bf16->forward(&f, p.row0, p.row1, p.panel0, p.panel1);
  return magnitude;
}

static double rounded_dense_input_gradient(const fnn_network *network, size_t i,
                                           const fnn_batch *batch,
                                           const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i], *below = stage - 1;
  const size_t panels = fnn_panels(network->kernels, stage->k);
  const fnn_bf16_backward_input g = {
      .dy = stage->rounded.dy,
      .dy_row = stage->rounded.dy_row,
      .w = stage->rounded.w,
      .saved = fnn_saved_of(below),
      .x = stage->rounded.x,
      .x_row = stage->rounded.x_row,
      .dx = below->dy,
      .dx_row = below->row,
      .rounded = fnn_is_rounded(below) ? below->rounded.dy : NULL,
      .rounded_row = below->rounded.dy_row,
      .k = stage->k,
      .n = stage->n,
      .activation = below->activation,
      .kernels = network->kernels,
      .scratch = fnn_scratch_of(network, worker)};
  double magnitude = 0.0;
  fnn_part p = fnn_parts(worker, stage->split_rows_backward, panels, batch->rows);
  while (fnn_next_part(&p))
    magnitude += network->bf16->backward_input(&g, p.row0, p.row1, p.panel0, p.panel1);
  return magnitude;
}

static void rounded_dense_parameters(const fnn_network *network, size_t i,
                                     const fnn_batch *batch, const fnn_update *update,
                                     const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const size_t k = stage->k, panels = fnn_panels(network->kernels, stage->n);
  fnn_updates updates;
  if (update) updates = fnn_updates_of(stage, update);
  const fnn_bf16_backward_weights g = {
      .x = stage->rounded.x,
      .x_row = stage->rounded.x_row,
      .dy = stage->rounded.dy,
      .dy_row = stage->rounded.dy_row,
      .m = batch->rows,
      .k = k,
      .n = stage->n,
      .update = update ? &updates.w : NULL,
      .add = batch->group_row > 0,
      .w = stage->w[0],
      .w_state = {stage->w[1], stage->w[2]},
      .dw = stage->dw,
      .w_pairs = stage->rounded.w,
      .kernels = network->kernels,
      .scratch = network->pairs
                     ? network->pairs + (size_t)worker->thread * network->pairs_size
                     : fnn_scratch_of(network, worker)};
  const size_t values = network->bf16->values;
  fnn_part p = fnn_parts(worker, 0, panels, words_of(network, k));
  while (fnn_next_part(&p)) {
    const size_t k0 = values * p.row0, end = values * p.row1, k1 = end < k ? end : k;
    network->bf16->backward_weights(&g, p.panel0, p.panel1, k0, k1);
  }
  const fnn_backward_weights own =
      fnn_weights_of(network, i, batch, update ? &updates : NULL, worker);
  size_t panel, end;
  fnn_share(worker, panels, &panel, &end);
  for (; stage->use_bias && panel < end; panel++)
    network->kernels->dense_backward_bias(&own, panel);
}

static double rounded_dense_predict(const fnn_network *network, size_t i, const void *x,
                                    ptrdiff_t x_row, size_t rows, void *y, void *room,
                                    const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
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

/* Stages that are not dense, whose neighbours may be. */
static double forward_and_round(const fnn_network *network, size_t i,
                                const fnn_batch *batch, const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const double magnitude = fnn_stage_way_of(stage)->forward(network, i, batch, worker);
  round_share(network, i, batch->rows, stage->split_rows, round_outputs, worker);
  return magnitude;
}

static double input_gradient_and_round(const fnn_network *network, size_t i,
                                       const fnn_batch *batch,
                                       const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const double magnitude =
      fnn_stage_way_of(stage)->input_gradient(network, i, batch, worker);
  if (i && fnn_goes_on_from(network, i))
    round_share(network, i - 1, batch->rows, stage->split_rows_backward, round_gradient,
                worker);
  return magnitude;
}

int fnn_rounding_init(const fnn_network *network, fnn_stage *stage) {
  static const fnn_stage_way rounded_dense = {
      rounded_dense_forward, rounded_dense_input_gradient, rounded_dense_parameters,
      rounded_dense_predict};
  if (stage->kind != FNN_STAGE_DENSE) {
    stage->way.forward = forward_and_round;
    stage->way.input_gradient = input_gradient_and_round;
    return 1;
  }
  stage->way = rounded_dense;
  stage->rounded.x_row = words_row(network, stage->k);
  stage->rounded.dy_row = words_row(network, stage->n);
  stage->rounded.w =
      fnn_alloc(words_of(network, stage->k) * stage->b_size, sizeof(uint32_t));
  return stage->rounded.w != NULL;
}
