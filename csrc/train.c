/* Training: the epoch loop and the phases of a step.
 *
 *   gather | forward 1 | ... | forward L, loss, dX_L | dX_(L-1) | ... | all dW, update |
 *
 * "|" is a barrier; between layers that are split by rows there is none.  All input
 * gradients are complete before any weight changes, so one decision for the whole step
 * (is_tame) tells whether the updates may be applied in place, and all weight gradients
 * form one phase.  Every thread works out the same decisions from the same numbers. */
#include <assert.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "engine.h"

typedef enum region_end { RUNNING, FINISHED, NEEDS_CARE } region_end;
typedef enum purpose { FUSED, STORED, GRADIENTS_ONLY } purpose;

typedef struct training {
  fnn_network *network;
  const fnn_data *data;
  size_t batch_size, start;
  double *totals;
  double deadline; /* CLOCK_MONOTONIC */
  purpose purpose;
  int in_place; /* X is read where it lies */
  int stop;     /* thread 0 to the others, across a barrier, like the next two */
  /* Of the next mini-batch: the sum of its weights, and the power of two that its
   * weights are divided by so that any that are finite in float64 fit into the dtype. */
  double weight_sum;
  int weight_exponent;
  region_end outcome;
} training;

/* One mini-batch, as every thread sees it. */
typedef struct batch {
  size_t first, rows; /* of the epoch */
  const void *x;
  ptrdiff_t x_row;
  const int64_t *labels;
  double weight_sum; /* see training */
  int weight_exponent;
} batch;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static size_t row_of(const fnn_data *data, size_t i) {
  return data->order ? (size_t)data->order[i] : i;
}

static size_t batch_rows(const training *t, size_t start) {
  const size_t left = t->data->rows - start;
  return left < t->batch_size ? left : t->batch_size;
}

/* One thread does this for all: the user's array may be written to at any time, and
 * threads that saw different sums would not agree on whether the mini-batch counts. */
static void weigh_batch(training *t, size_t start) {
  const fnn_data *data = t->data;
  const size_t rows = batch_rows(t, start);
  t->weight_sum = (double)rows;
  t->weight_exponent = 0;
  if (!data->weights) return;
  t->weight_sum = 0.0;
  for (size_t i = 0; i < rows; i++)
    t->weight_sum += data->weights[row_of(data, start + i)];
  (void)frexp(t->weight_sum / (double)rows, &t->weight_exponent);
}

static batch batch_begin(const training *t, size_t start) {
  const fnn_network *network = t->network;
  const fnn_data *data = t->data;
  batch b = {.first = start,
             .rows = batch_rows(t, start),
             .weight_sum = t->weight_sum,
             .weight_exponent = t->weight_exponent};
  b.x = network->x;
  b.x_row = network->x_row;
  if (t->in_place) {
    const ptrdiff_t itemsize = (ptrdiff_t)network->kernels->itemsize;
    b.x = (const char *)data->x.data + (ptrdiff_t)start * data->x.row_stride;
    b.x_row = data->x.row_stride / itemsize;
  }
  b.labels = data->labels && !data->order ? data->labels + start : network->labels;
  return b;
}

static double *magnitudes_of(const fnn_network *network, int thread) {
  return network->magnitudes + (size_t)thread * network->magnitude_row;
}

/* This thread's rows of the mini-batch: inputs, labels or targets, weights. */
static double fetch_rows(const training *t, const batch *b, size_t row0, size_t row1) {
  const fnn_network *network = t->network;
  const fnn_kernels *kernels = network->kernels;
  const fnn_data *data = t->data;
  const size_t rows = row1 - row0;
  double magnitude = 0.0;
  if (!t->in_place) {
    magnitude = kernels->gather(
        &data->x, data->order, b->first + row0, rows, network->scale, network->shift,
        fnn_at(network, network->x, row0 * (size_t)network->x_row), network->x_row);
  } else {
    for (size_t i = row0; i < row1; i++)
      magnitude += kernels->magnitude(
          (const char *)b->x + (ptrdiff_t)i * data->x.row_stride, network->n_inputs);
  }
  if (!data->labels) {
    const ptrdiff_t row = fnn_last(network)->row;
    kernels->gather(&data->targets, data->order, b->first + row0, rows, NULL, NULL,
                    fnn_at(network, network->targets, row0 * (size_t)row), row);
  } else if (data->order) {
    for (size_t i = row0; i < row1; i++)
      network->labels[i] = data->labels[row_of(data, b->first + i)];
  }
  if (data->weights)
    for (size_t i = row0; i < row1; i++) {
      const double weight =
          ldexp(data->weights[row_of(data, b->first + i)], -b->weight_exponent);
      if (kernels->dtype == FNN_F64) ((double *)network->weights)[i] = weight;
      else ((float *)network->weights)[i] = (float)weight;
    }
  return magnitude;
}

/* Calls a kernel on this thread's share of panels x rows, panel by panel: the same
 * panels belong to the same thread in every step, and stay in its cache. */
#define FOR_PANEL_RANGES(worker, panels, rows, panel, row0, row1)                      \
  size_t unit_, units_end_, row0, row1, panel;                                         \
  for (fnn_share(worker, (panels) * (rows), &unit_, &units_end_);                      \
       unit_ < units_end_ &&                                                           \
       (panel = unit_ / (rows), row0 = unit_ % (rows),                                 \
       row1 = units_end_ - unit_ < (rows) - row0 ? row0 + units_end_ - unit_ : (rows), \
       1);                                                                             \
       unit_ += row1 - row0)

static double forward(const fnn_network *network, size_t i, const batch *b,
                      const fnn_worker *worker) {
  const fnn_dense *layer = &network->layers[i];
  const fnn_kernels *kernels = network->kernels;
  const size_t panels = fnn_panels(kernels, layer->n);
  const fnn_forward f = {.x = i ? network->layers[i - 1].y : b->x,
                         .x_row = i ? network->layers[i - 1].row : b->x_row,
                         .w = layer->w[0],
                         .b = layer->b[0],
                         .y = layer->y,
                         .y_row = layer->row,
                         .k = layer->k,
                         .n = layer->n,
                         .activation = layer->activation};
  if (layer->split_rows) {
    size_t row0, row1;
    fnn_share(worker, b->rows, &row0, &row1);
    return row0 < row1 ? kernels->dense_forward(&f, row0, row1, 0, panels) : 0.0;
  }
  double magnitude = 0.0;
  FOR_PANEL_RANGES(worker, panels, b->rows, panel, row0, row1) {
    magnitude += kernels->dense_forward(&f, row0, row1, panel, panel + 1);
  }
  return magnitude;
}

static void loss(const fnn_network *network, const fnn_data *data, const batch *b,
                 const fnn_worker *worker) {
  const fnn_dense *last = fnn_last(network);
  size_t row0, row1;
  fnn_share(worker, b->rows, &row0, &row1);
  const fnn_softmax_loss l = {.z = last->y,
                              .z_row = last->row,
                              .n = last->n,
                              .labels = data->labels ? b->labels : NULL,
                              .targets = network->targets,
                              .weights = data->weights ? network->weights : NULL,
                              .scale = 1.0 / ldexp(b->weight_sum, -b->weight_exponent),
                              .smoothing = network->label_smoothing,
                              .dz = last->dy,
                              .loss = network->loss_rows,
                              .correct = network->correct_rows};
  network->kernels->softmax_cross_entropy(&l, row0, row1);
}

/* dy of layer i - 1 from dy of layer i. */
static double backward_input(const fnn_network *network, size_t i, const batch *b,
                             const fnn_worker *worker) {
  const fnn_dense *layer = &network->layers[i], *below = &network->layers[i - 1];
  const fnn_kernels *kernels = network->kernels;
  const size_t panels = fnn_panels(kernels, layer->k);
  const fnn_backward_input g = {
      .dy = layer->dy,
      .dy_row = layer->row,
      .w = layer->w[0],
      .x = below->y,
      .dx = below->dy,
      .dx_row = below->row,
      .k = layer->k,
      .n = layer->n,
      .activation = below->activation,
      .scratch = fnn_at(network, network->scratch,
                        (size_t)worker->thread * network->scratch_size)};
  if (layer->split_rows_backward) {
    size_t row0, row1;
    fnn_share(worker, b->rows, &row0, &row1);
    return row0 < row1 ? kernels->dense_backward_input(&g, row0, row1, 0, panels) : 0.0;
  }
  double magnitude = 0.0;
  FOR_PANEL_RANGES(worker, panels, b->rows, panel, row0, row1) {
    magnitude += kernels->dense_backward_input(&g, row0, row1, panel, panel + 1);
  }
  return magnitude;
}

/* All weight gradients; with an update they are consumed where they arise. */
static void backward_weights(const fnn_network *network, const batch *b,
                             const fnn_update *update, const fnn_worker *worker) {
  const fnn_kernels *kernels = network->kernels;
  for (size_t i = 0; i < network->n_layers; i++) {
    const fnn_dense *layer = &network->layers[i];
    const fnn_backward_weights g = {
        .x = i ? network->layers[i - 1].y : b->x,
        .x_row = i ? network->layers[i - 1].row : b->x_row,
        .dy = layer->dy,
        .dy_row = layer->row,
        .m = b->rows,
        .k = layer->k,
        .n = layer->n,
        .update = update,
        .w = layer->w[0],
        .w_state = {layer->w[1], layer->w[2]},
        .b = layer->b[0],
        .b_state = {layer->b[1], layer->b[2]},
        .dw = layer->dw,
        .db = layer->db,
        .scratch = fnn_at(network, network->scratch,
                          (size_t)worker->thread * network->scratch_size)};
    FOR_PANEL_RANGES(worker, fnn_panels(kernels, layer->n), layer->k, panel, k0, k1) {
      kernels->dense_backward_weights(&g, panel, k0, k1);
      if (k0 == 0) kernels->dense_backward_bias(&g, panel);
    }
  }
}

/* Adds the mini-batch to the totals, rows in order. */
static void add_totals(const training *t, const batch *b) {
  const fnn_network *network = t->network;
  const fnn_data *data = t->data;
  const int f64 = network->kernels->dtype == FNN_F64;
  const void *losses = network->loss_rows, *correct = network->correct_rows;
  double loss_sum = 0.0, correct_sum = 0.0;
  for (size_t i = 0; i < b->rows; i++) {
    loss_sum += f64 ? ((const double *)losses)[i] : (double)((const float *)losses)[i];
    /* The weight itself, so that the sum of all is that of the correct ones. */
    if (f64 ? ((const double *)correct)[i] > 0.0 : ((const float *)correct)[i] > 0.0f)
      correct_sum += data->weights ? data->weights[row_of(data, b->first + i)] : 1.0;
  }
  t->totals[FNN_LOSS_SUM] += ldexp(loss_sum, b->weight_exponent);
  t->totals[FNN_WEIGHT_SUM] += b->weight_sum;
  t->totals[FNN_CORRECT_SUM] += correct_sum;
}

/* Sum over the threads of one magnitude. */
static double magnitude_sum(const fnn_network *network, const fnn_worker *worker,
                            size_t slot) {
  double sum = 0.0;
  for (int thread = 0; thread < worker->threads; thread++)
    sum += magnitudes_of(network, thread)[slot];
  return sum;
}

/* Whether this step's update is proven harmless (see fnn_bounds); advances the bounds.
 * Slots: 0 the input, 1 + 2 i the outputs of layer i, 2 + 2 i their gradient. */
static int is_tame(const fnn_network *network, const batch *b, const fnn_update *update,
                   fnn_bounds *bounds, const fnn_worker *worker) {
  double largest = isfinite(b->weight_sum) ? 0.0 : INFINITY;
  for (size_t i = 0; i < network->n_layers; i++) {
    const double inputs = magnitude_sum(network, worker, i ? 2 * i - 1 : 0);
    const double outputs = magnitude_sum(network, worker, 2 * i + 1);
    /* The loss's own gradient sums to 2 times the row sums of the targets at most. */
    const double gradient =
        i + 1 < network->n_layers ? magnitude_sum(network, worker, 2 * i + 2) : 4.0;
    if (!(inputs <= 0x1p60 && outputs <= 0x1p60 && gradient <= 0x1p60)) return 0;
    largest = fmax(largest, fmax(gradient, inputs * gradient));
  }
  return fnn_bounds_advance(bounds, update, largest);
}

static void train_region(void *argument, const fnn_worker *worker) {
  training *t = argument;
  fnn_network *network = t->network;
  const size_t last = network->n_layers - 1;
  double *magnitude = magnitudes_of(network, worker->thread);
  fnn_bounds bounds = network->bounds;
  uint64_t step = network->step;
  size_t start = t->start;
  region_end outcome = RUNNING;

  while (outcome == RUNNING) {
    const batch b = batch_begin(t, start);
    size_t row0, row1;
    fnn_share(worker, b.rows, &row0, &row1);
    magnitude[0] = fetch_rows(t, &b, row0, row1);
    for (size_t i = 0; i <= last; i++) {
      const int own_rows = network->layers[i].split_rows &&
                           (i == 0 || network->layers[i - 1].split_rows);
      if (!own_rows && !(i == 0 && t->in_place)) fnn_barrier_wait(worker);
      magnitude[2 * i + 1] = forward(network, i, &b, worker);
    }
    const int counts = b.weight_sum > 0.0; /* else the mini-batch is skipped */
    if (counts) loss(network, t->data, &b, worker);
    for (size_t i = last; counts && i; i--) {
      const int own_rows = network->layers[i].split_rows_backward &&
                           (i == last || network->layers[i + 1].split_rows_backward);
      if (!own_rows) fnn_barrier_wait(worker);
      magnitude[2 * i] = backward_input(network, i, &b, worker);
    }
    fnn_barrier_wait(worker);

    if (counts) {
      const fnn_update update = fnn_update_begin(&network->optimizer, step + 1);
      if (t->purpose == GRADIENTS_ONLY) {
        backward_weights(network, &b, NULL, worker);
      } else if (!is_tame(network, &b, &update, &bounds, worker)) {
        outcome = NEEDS_CARE;
        break; /* every thread comes to the same conclusion */
      } else if (t->purpose == FUSED) {
        backward_weights(network, &b, &update, worker);
      } else {
        backward_weights(network, &b, NULL, worker);
        fnn_barrier_wait(worker);
        fnn_apply_gradients(network, &update, worker);
      }
      step += t->purpose != GRADIENTS_ONLY;
    }
    start += b.rows;
    if (worker->thread == 0) {
      if (counts) add_totals(t, &b);
      t->stop = start == t->data->rows || now() >= t->deadline;
      if (!t->stop) weigh_batch(t, start);
    }
    fnn_barrier_wait(worker);
    if (t->stop) outcome = FINISHED;
  }
  if (worker->thread == 0) {
    t->start = start;
    t->outcome = outcome;
    network->step = step;
    if (outcome == FINISHED) network->bounds = bounds;
  }
}

typedef struct careful {
  training *training;
  fnn_status status;
} careful;

static void careful_region(void *argument, const fnn_worker *worker) {
  careful *c = argument;
  training *t = c->training;
  (void)worker;
  const batch b = batch_begin(t, t->start);
  c->status = FNN_DIVERGED; /* a mean of losses over an overflowing sum */
  if (!isfinite(b.weight_sum)) return;
  c->status = fnn_careful_step(t->network, b.x, b.x_row, b.rows);
  if (c->status != FNN_OK) return;
  add_totals(t, &b);
  t->start += b.rows;
}

static int step_threads(const fnn_network *network, size_t rows) {
  double weights = 0.0;
  int barriers = 3;
  for (size_t i = 0; i < network->n_layers; i++) {
    const fnn_dense *layer = &network->layers[i];
    weights += (double)layer->k * (double)layer->n * (i ? 3.0 : 2.0);
    barriers += 2 * !layer->split_rows;
  }
  return fnn_choose_threads(network, weights * (double)rows, barriers);
}

static fnn_status run(training *t, size_t rows) {
  const int threads = step_threads(t->network, rows);
  if (fnn_reserve(t->network, rows, threads) != FNN_OK) return FNN_NO_MEMORY;
  if (t->purpose != FUSED && fnn_reserve_gradients(t->network) != FNN_OK)
    return FNN_NO_MEMORY;
  do {
    weigh_batch(t, t->start);
    fnn_parallel(threads, train_region, t);
    if (t->outcome == NEEDS_CARE) {
      careful c = {t, FNN_OK};
      fnn_parallel(1, careful_region, &c);
      if (c.status != FNN_OK) { /* the bounds are from before the steps of this call */
        t->network->bounds = fnn_bounds_measure(t->network);
        return c.status;
      }
    }
  } while (t->outcome == NEEDS_CARE && t->start < t->data->rows && now() < t->deadline);
  return FNN_OK;
}

static int in_place(const fnn_network *network, const fnn_data *data) {
  return !data->order && !network->scale &&
         fnn_readable_in_place(network->kernels, &data->x);
}

fnn_status fnn_train(fnn_network *network, const fnn_data *data, size_t batch_size,
                     size_t *start, double *totals, double max_seconds, int fused) {
  assert(batch_size > 0 && *start <= data->rows);
  if (*start == data->rows) return FNN_OK;
  training t = {.network = network,
                .data = data,
                .batch_size = batch_size,
                .start = *start,
                .totals = totals,
                .deadline = now() + max_seconds,
                .purpose = fused ? FUSED : STORED,
                .in_place = in_place(network, data)};
  const size_t rows = batch_size < data->rows ? batch_size : data->rows;
  const fnn_status status = run(&t, rows);
  *start = t.start;
  return status;
}

fnn_status fnn_gradients(fnn_network *network, const fnn_data *data, double *totals,
                         void *const *dw, void *const *db) {
  const fnn_kernels *kernels = network->kernels;
  training t = {.network = network,
                .data = data,
                .batch_size = data->rows,
                .totals = totals,
                .deadline = INFINITY,
                .purpose = GRADIENTS_ONLY,
                .in_place = in_place(network, data)};
  const fnn_status status = run(&t, data->rows);
  if (status != FNN_OK) return status;
  for (size_t i = 0; i < network->n_layers; i++) {
    const fnn_dense *layer = &network->layers[i];
    kernels->unpack(layer->dw, layer->k, layer->n, dw[i], (ptrdiff_t)layer->n);
    memcpy(db[i], layer->db, layer->n * kernels->itemsize);
  }
  return FNN_OK;
}
