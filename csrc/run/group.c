/* The rows of an update, mini-batch by mini-batch: fetched, taken forward and back, and
 * counted. */
#include "run/group.h"

#include <math.h>

#include "base/values.h"
#include "engine/rounding.h"
#include "kernels/layout.h"
#include "run/blocks.h"
#include "threads/stop.h"

static size_t row_of(const fnn_data *data, size_t i) {
  return data->order ? (size_t)data->order[i] : i;
}

/* One thread does this for all: the user's array may be written to at any time, and
 * threads that saw different sums would not agree on whether the group counts. */
void fnn_next_group(fnn_training *t, size_t start) {
  const fnn_data *data = t->data;
  const size_t left = data->rows - start;
  fnn_group g = {.first = start, .rows = left};
  if (left / t->batch_size >= t->accumulate) g.rows = t->batch_size * t->accumulate;
  g.weight_sum = (double)g.rows;
  if (data->weights) {
    g.weight_sum = 0.0;
    for (size_t i = 0; i < g.rows; i++)
      g.weight_sum += data->weights[row_of(data, start + i)];
  }
  if (data->weight_sum > 0.0) g.weight_sum = data->weight_sum;
  if (data->weights) (void)frexp(g.weight_sum / (double)g.rows, &g.weight_exponent);
  t->next = g;
}

fnn_batch fnn_batch_begin(const fnn_training *t, const fnn_group *g, size_t row,
                          uint64_t step) {
  const fnn_network *network = t->network;
  const fnn_data *data = t->data;
  const size_t left = g->rows - row;
  fnn_batch b = {.first = g->first + row,
                 .rows = left < t->batch_size ? left : t->batch_size,
                 .group_row = row,
                 .mask_row = data->first_row + row,
                 .x = network->x,
                 .x_row = network->x_row,
                 .weighted = data->weights != NULL,
                 .scale = 1.0 / ldexp(g->weight_sum, -g->weight_exponent),
                 .step = step,
                 .given = t->given};
  if (t->dropout_rates)
    b.dropout_rates = t->dropout_rates + (step - t->first_step) * network->n_layers;
  /* What is fetched ahead must not overwrite what weight gradients still read. */
  if (t->ahead && !t->in_place && step % 2)
    b.x = fnn_at(network->kernels, network->x,
                 network->x_capacity * (size_t)network->x_row);
  if (t->in_place) {
    const ptrdiff_t itemsize = (ptrdiff_t)network->kernels->itemsize;
    b.x = (const char *)data->x.data + (ptrdiff_t)b.first * data->x.row_stride;
    b.x_row = data->x.row_stride / itemsize;
  }
  if (data->x.starts) b.sparse = (fnn_sparse){&data->x, data->order, b.first};
  if (data->labels) b.labels = data->order ? network->labels : data->labels + b.first;
  return b;
}

/* This thread's rows of the mini-batch: inputs, labels or targets, weights. */
static double fetch_rows(const fnn_training *t, const fnn_batch *b, int weight_exponent,
                         size_t row0, size_t row1) {
  const fnn_network *network = t->network;
  const fnn_kernels *kernels = network->kernels;
  const fnn_data *data = t->data;
  const size_t rows = row1 - row0;
  double magnitude = 0.0;
  if (!t->in_place) {
    magnitude = kernels->gather(
        &data->x, data->order, b->first + row0, rows, network->scale, network->shift,
        fnn_at(kernels, (void *)b->x, row0 * (size_t)network->x_row), network->x_row);
  }
  if (b->sparse.x) {
    for (size_t i = row0, count; i < row1; i++) {
      const int32_t *columns;
      const void *x =
          fnn_sparse_row(&b->sparse, i, kernels->itemsize, &columns, &count);
      magnitude += kernels->magnitude(x, count);
    }
  } else if (fnn_is_rounded(&network->stages[0])) {
    magnitude = fnn_round_inputs(network, b, row0, row1);
  } else if (t->in_place) {
    /* Short rows are taken together where they touch. */
    const char *x = (const char *)b->x + (ptrdiff_t)row0 * data->x.row_stride;
    const size_t n = network->n_inputs;
    const size_t most = b->x_row == (ptrdiff_t)n ? 1024 / n + 1 : 1;
    for (size_t left = rows, some; left; left -= some) {
      some = left < most ? left : most;
      magnitude += kernels->magnitude(x, some * n);
      x += (ptrdiff_t)some * data->x.row_stride;
    }
  }
  if (!data->labels && !t->outputs) {
    const ptrdiff_t row = fnn_last(network)->row;
    kernels->gather(&data->targets, data->order, b->first + row0, rows, NULL, NULL,
                    fnn_at(kernels, network->targets, row0 * (size_t)row), row);
  } else if (data->labels && data->order) {
    for (size_t i = row0; i < row1; i++)
      network->labels[i] = data->labels[row_of(data, b->first + i)];
  }
  for (size_t i = row0; data->weights && i < row1; i++)
    fnn_set_real(kernels->dtype, network->weights, i,
                 ldexp(data->weights[row_of(data, b->first + i)], -weight_exponent));
  return magnitude;
}

/* Likewise, in blocks if the worker has a stop. */
static double fetch_in_blocks(const fnn_training *t, const fnn_batch *b, int exponent,
                              size_t row0, size_t row1, const fnn_worker *worker) {
  if (!worker->stop) return fetch_rows(t, b, exponent, row0, row1);
  const size_t most = (size_t)(0x1p23 / fnn_as_long((double)t->network->n_inputs)) + 1;
  double magnitude = 0.0;
  for (size_t end; row0 < row1; row0 = end) {
    if (fnn_stop_asked(worker->stop, worker->thread == 0)) break;
    end = row1 - row0 < most ? row1 : row0 + most;
    magnitude += fetch_rows(t, b, exponent, row0, end);
  }
  return magnitude;
}

static double loss_gradient(const fnn_network *network, size_t i, const fnn_batch *b,
                            const fnn_worker *worker) {
  (void)i;
  const double magnitude = fnn_loss_backward(network, b, worker);
  fnn_round_loss_gradient(network, b, worker);
  return magnitude;
}

/* This thread's rows of the next group, if they are its rows of this one as well. */
static void fetch_ahead(const fnn_training *t, const fnn_batch *b, fnn_ahead *ahead,
                        size_t row0, size_t row1) {
  const fnn_group *next = &t->next;
  ahead->fetched = !t->stop && next->rows == b->rows && next->weight_sum > 0.0;
  if (!ahead->fetched) return;
  const fnn_batch after = fnn_batch_begin(t, next, 0, b->step + 1);
  ahead->magnitude = fetch_rows(t, &after, next->weight_exponent, row0, row1);
}

/* By thread 0, for all: their sum bounds the gradients of their frequencies. */
static double periodic_weights(const fnn_network *network, const fnn_worker *worker) {
  double sum = 0.0;
  for (size_t i = 0; worker->thread == 0 && i < network->n_stages; i++)
    if (network->stages[i].kind == FNN_STAGE_PERIODIC)
      sum += network->kernels->magnitude(network->stages[i].w[0],
                                         network->stages[i].w_size);
  return sum;
}

void fnn_group_gradients(const fnn_training *t, const fnn_group *g, const fnn_batch *b,
                         fnn_ahead *ahead, const fnn_worker *worker) {
  const fnn_network *network = t->network;
  const size_t stages = network->n_stages;
  double *magnitude = fnn_magnitudes_of(network, worker->thread);
  const int fetched = ahead && ahead->fetched;
  size_t row0, row1;
  fnn_share(worker, b->rows, &row0, &row1);
  magnitude[0] = fetched
                     ? ahead->magnitude
                     : fetch_in_blocks(t, b, g->weight_exponent, row0, row1, worker);
  for (size_t i = 0; i < stages; i++) {
    /* Rows that are read where they lie are there. */
    const int there =
        i == 0 && (fetched || (t->in_place && !fnn_is_rounded(&network->stages[0])));
    if (fnn_forward_needs_barrier(network, i) && !there) fnn_barrier_wait(worker);
    magnitude[2 * i + 1] =
        fnn_in_blocks(network->stages[i].way.forward, network, i, b, worker);
  }
  if (t->outputs) {
    fnn_barrier_wait(worker);
    return;
  }
  if (!fnn_last(network)->split_rows) fnn_barrier_wait(worker);
  magnitude[2 * stages] = fnn_in_blocks(loss_gradient, network, stages - 1, b, worker);
  magnitude[2 * stages + 1] = network->kernels->magnitude(
      fnn_at(network->kernels, network->loss_rows, row0), row1 - row0);
  for (size_t i = stages; i-- > 0 && fnn_goes_back_to(network, i);) {
    if (fnn_backward_needs_barrier(network, i)) fnn_barrier_wait(worker);
    const double sum =
        fnn_in_blocks(network->stages[i].way.input_gradient, network, i, b, worker);
    if (i > network->lowest) magnitude[2 * i] = sum;
  }
  magnitude[2 * stages + 2] = periodic_weights(network, worker);
  if (ahead) fetch_ahead(t, b, ahead, row0, row1);
  fnn_barrier_wait(worker);
}

int fnn_all_leave(const fnn_worker *worker) {
  fnn_stop *stop = worker->stop;
  if (!stop) return 0;
  fnn_barrier_wait(worker); /* all have read what was agreed before */
  if (worker->thread == 0) stop->agreed = fnn_stop_asked(stop, 1);
  /* Whoever sleeps here does not look: what a handler of a signal raised now, nobody
   * would see. */
  fnn_worker deaf = *worker;
  deaf.stop = NULL;
  fnn_barrier_wait(&deaf);
  return stop->agreed != FNN_GO_ON;
}

void fnn_add_rows(const fnn_training *t, const fnn_batch *b, fnn_sums *s) {
  const fnn_network *network = t->network;
  const fnn_data *data = t->data;
  const fnn_dtype dtype = network->kernels->dtype;
  for (size_t i = 0; i < b->rows; i++) {
    s->loss += fnn_real_at(dtype, network->loss_rows, i);
    /* The weight itself, so that the sum of all is that of the correct ones. */
    if (fnn_real_at(dtype, network->correct_rows, i) > 0.0)
      s->correct += data->weights ? data->weights[row_of(data, b->first + i)] : 1.0;
  }
}

void fnn_add_totals(const fnn_training *t, const fnn_group *g, const fnn_sums *s) {
  t->totals[FNN_LOSS_SUM] += ldexp(s->loss, g->weight_exponent);
  t->totals[FNN_WEIGHT_SUM] += g->weight_sum;
  t->totals[FNN_CORRECT_SUM] += s->correct;
}

fnn_optimizer fnn_optimizer_at(const fnn_training *t, uint64_t step) {
  fnn_optimizer o = t->network->optimizer;
  if (t->rates) o.learning_rate = t->rates[step - t->first_step];
  if (t->decays) o.weight_decay = t->decays[step - t->first_step];
  return o;
}
