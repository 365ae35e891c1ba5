/* A network's settings, weights and state, in and out. */
#include "engine/network.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/values.h"
#include "engine/rounding.h"
#include "engine/update.h"

/* New state arrays, all zero, instead of the old ones. */
static fnn_status renew_state(fnn_network *network, size_t states) {
  const size_t count = 2 * states * network->n_stages;
  /* All new arrays first: when one cannot be had, the old ones are still there. */
  void **made = fnn_alloc(count + 1, sizeof *made);
  int complete = made != NULL;
  for (size_t i = 0; complete && i < count; i++) {
    const fnn_stage *stage = &network->stages[i / (2 * states)];
    if (!stage->b_size) continue;
    made[i] =
        fnn_alloc(i % 2 ? stage->b_size : stage->w_size, network->kernels->itemsize);
    complete = made[i] != NULL;
  }
  if (!complete) {
    for (size_t i = 0; made && i < count; i++) fnn_free(made[i]);
    fnn_free(made);
    return FNN_NO_MEMORY;
  }
  for (size_t i = 0; i < network->n_stages; i++) {
    fnn_stage *stage = &network->stages[i];
    for (size_t s = 0; s < FNN_STATES; s++) {
      fnn_free(stage->w[1 + s]);
      fnn_free(stage->b[1 + s]);
      stage->w[1 + s] = s < states ? made[2 * (i * states + s)] : NULL;
      stage->b[1 + s] = s < states ? made[2 * (i * states + s) + 1] : NULL;
    }
  }
  fnn_free(made);
  network->states = states;
  network->step = 0;
  return FNN_OK;
}

fnn_status fnn_network_set_optimizer(fnn_network *network,
                                     const fnn_optimizer *optimizer) {
  const fnn_states old = fnn_optimizer_states(network->optimizer.kind);
  const fnn_states states = fnn_optimizer_states(optimizer->kind);
  if (states.family != old.family && renew_state(network, states.count) != FNN_OK)
    return FNN_NO_MEMORY;
  network->optimizer = *optimizer;
  network->product = fnn_momentum_product(optimizer, network->step);
  network->is_measured = 0;
  return FNN_OK;
}

void fnn_network_look_again(fnn_network *network) {
  fnn_factors worst = {0.0, INFINITY, 0.0};
  network->lowest = network->n_stages;
  for (size_t i = network->n_stages; i-- > 0;) {
    const fnn_stage *stage = &network->stages[i];
    if (!stage->trainable) continue;
    network->lowest = i;
    for (int b = 0; b < 2; b++) {
      worst.rate = fmax(worst.rate, stage->factors[b].rate);
      worst.epsilon = fmin(worst.epsilon, stage->factors[b].epsilon);
      worst.decay = fmax(worst.decay, stage->factors[b].decay);
    }
  }
  network->worst = worst;
}

void fnn_network_set_factors(fnn_network *network, size_t layer, const fnn_factors *w,
                             const fnn_factors *b) {
  fnn_stage *stage = fnn_stage_of(network, layer);
  assert(stage->b_size);
  stage->factors[0] = *w;
  stage->factors[1] = *b;
  fnn_network_look_again(network);
}

void fnn_network_set_trainable(fnn_network *network, size_t layer, int trainable) {
  fnn_stage *stage = fnn_stage_of(network, layer);
  assert(stage->b_size);
  stage->trainable = trainable;
  if (stage->kind == FNN_STAGE_BATCH_NORM) {
    stage->split_rows = stage->split_rows_backward = !trainable;
    fnn_fix_statistics(network, stage);
  }
  /* What is not trained has a gradient of zeros. */
  if (stage->dw) memset(stage->dw, 0, stage->w_size * network->kernels->itemsize);
  if (stage->db) memset(stage->db, 0, stage->b_size * network->kernels->itemsize);
  fnn_network_look_again(network);
}

fnn_status fnn_network_set_scaling(fnn_network *network, const double *scale,
                                   const double *shift) {
  const fnn_kernels *kernels = network->kernels;
  void *made[2] = {NULL, NULL};
  for (int i = 0; scale && i < 2; i++) {
    const double *from = i ? shift : scale;
    made[i] = fnn_alloc(network->n_inputs, kernels->itemsize);
    if (!made[i]) {
      fnn_free(made[0]);
      return FNN_NO_MEMORY;
    }
    for (size_t j = 0; j < network->n_inputs; j++)
      fnn_set_real(kernels->dtype, made[i], j, from[j]);
  }
  fnn_free(network->scale);
  fnn_free(network->shift);
  network->scale = made[0];
  network->shift = made[1];
  return FNN_OK;
}

void fnn_network_set_threads(fnn_network *network, int threads) {
  network->threads = threads;
}
size_t fnn_network_bytes(const fnn_network *network) {
  size_t bytes = 0;
  for (size_t i = 0; i < network->n_stages; i++)
    bytes += network->stages[i].w_size * network->kernels->itemsize;
  return bytes;
}
double fnn_network_squares(const fnn_network *network) {
  const fnn_kernels *kernels = network->kernels;
  enum { MOST_COLUMNS = 64 }; /* of a panel */
  double sum = 0.0, columns[MOST_COLUMNS];
  assert(kernels->nr <= MOST_COLUMNS);
  for (size_t i = 0; i < network->n_stages; i++) {
    const fnn_stage *stage = &network->stages[i];
    if (stage->kind != FNN_STAGE_DENSE) continue;
    for (size_t panel = 0; panel < fnn_panels(kernels, stage->n); panel++) {
      const void *at = fnn_at(kernels, stage->w[0], panel * kernels->nr * stage->k);
      kernels->square_sums(at, stage->k, INFINITY, columns);
      for (size_t j = 0; j < kernels->nr; j++) sum += columns[j];
    }
  }
  return sum;
}
uint64_t fnn_network_get_step(const fnn_network *network) { return network->step; }
void fnn_network_set_step(fnn_network *network, uint64_t step) {
  network->step = step;
  network->product = fnn_momentum_product(&network->optimizer, step);
}

void fnn_network_get(const fnn_network *network, size_t layer, int part, void *w,
                     void *b) {
  const fnn_stage *stage = fnn_stage_of(network, layer);
  assert(stage->b_size);
  const ptrdiff_t row = (ptrdiff_t)stage->w_n;
  network->kernels->unpack(stage->w[part], stage->w_rows, stage->w_n, w, row);
  network->kernels->unpack(stage->b[part], stage->b_rows, stage->w_n, b, row);
}

void fnn_network_set(fnn_network *network, size_t layer, int part, const void *w,
                     const void *b) {
  const fnn_stage *stage = fnn_stage_of(network, layer);
  assert(stage->b_size);
  const ptrdiff_t row = (ptrdiff_t)stage->w_n;
  network->kernels->pack(w, row, stage->w_rows, stage->w_n, stage->w[part]);
  network->kernels->pack(b, row, stage->b_rows, stage->w_n, stage->b[part]);
  if (part == 0) fnn_round_weights(network, stage);
  network->is_measured = 0;
}

int fnn_readable_in_place(const fnn_kernels *kernels, const fnn_array *x) {
  const ptrdiff_t itemsize = (ptrdiff_t)kernels->itemsize;
  return x->type == (kernels->dtype == FNN_F64 ? FNN_FLOAT64 : FNN_FLOAT32) &&
         !x->swapped && (x->col_stride == itemsize || x->cols == 1) &&
         x->row_stride % itemsize == 0 && (uintptr_t)x->data % (size_t)itemsize == 0;
}

int fnn_takes_sparse(const fnn_network *network) {
  const fnn_stage *first = &network->stages[0];
  return first->kind == FNN_STAGE_DENSE && !fnn_is_rounded(first) && !network->scale;
}

double fnn_row_width(const fnn_network *network, const fnn_array *x) {
  if (!x || !x->starts) return (double)network->n_inputs;
  return (double)x->starts[x->rows] / (double)x->rows;
}

int fnn_takes_in_place(const fnn_network *network, const fnn_array *x) {
  if (x->starts) return 1;
  /* Rows that lie a whole number of pages apart have the same place in the caches,
   * which is for 8 of them: 1024-1024-10, batch 128, takes a fifth less time with a
   * copy. */
  const fnn_stage *first = &network->stages[0];
  if (!fnn_is_rounded(first) && x->rows > 8 && x->row_stride % 4096 == 0) return 0;
  /* Other stages read whole vectors, which the user's rows may not have. */
  return first->kind == FNN_STAGE_DENSE && !network->scale &&
         fnn_readable_in_place(network->kernels, x);
}

int fnn_is_good_row(const fnn_network *network, const void *x) {
  const fnn_dtype dtype = network->kernels->dtype;
  if (!fnn_finite_values(dtype, x, network->n_inputs)) return 0;
  for (size_t i = 0; i < network->n_stages; i++) {
    const fnn_stage *stage = &network->stages[i];
    for (size_t j = 0; stage->kind == FNN_STAGE_TABLE && j < stage->columns; j++) {
      const double code = fnn_real_at(dtype, x, network->n_inputs - stage->columns + j);
      const double count = (double)(stage->starts[j + 1] - stage->starts[j]);
      if (code < -1.0 || code >= count || code != floor(code)) return 0;
    }
  }
  return 1;
}

typedef struct fixing {
  const fnn_network *network;
  fnn_stage *stage;
} fixing;

static void fix_region(void *argument, const fnn_worker *worker) {
  const fixing *f = argument;
  const fnn_dtype dtype = f->network->kernels->dtype;
  fnn_stage *stage = f->stage;
  (void)worker;
  for (size_t j = 0; j < stage->n; j++)
    fnn_set_real(
        dtype, stage->fixed_inverse, j,
        1.0 / sqrt(fnn_real_at(dtype, stage->running.variance, j) + stage->epsilon));
}

void fnn_fix_statistics(const fnn_network *network, fnn_stage *stage) {
  fixing f = {network, stage};
  fnn_parallel(1, fix_region, &f);
}

void fnn_commit_statistics(fnn_network *network) {
  for (size_t i = 0; i < network->n_stages; i++) {
    fnn_stage *stage = &network->stages[i];
    if (stage->kind != FNN_STAGE_BATCH_NORM || fnn_is_fixed(stage)) continue;
    const fnn_statistics old = stage->running;
    stage->running = stage->pending;
    stage->pending = old;
  }
}

static void copy_statistics(const fnn_network *network, size_t layer, int pending,
                            void *mean, void *variance) {
  const fnn_stage *stage = fnn_stage_of(network, layer);
  const int is_new = pending && !fnn_is_fixed(stage);
  const fnn_statistics *from = is_new ? &stage->pending : &stage->running;
  assert(stage->kind == FNN_STAGE_BATCH_NORM);
  memcpy(mean, from->mean, stage->n * network->kernels->itemsize);
  memcpy(variance, from->variance, stage->n * network->kernels->itemsize);
}

void fnn_network_get_statistics(const fnn_network *network, size_t layer, void *mean,
                                void *variance) {
  copy_statistics(network, layer, 0, mean, variance);
}

void fnn_network_pending_statistics(const fnn_network *network, size_t layer,
                                    void *mean, void *variance) {
  copy_statistics(network, layer, 1, mean, variance);
}

void fnn_network_set_statistics(fnn_network *network, size_t layer, const void *mean,
                                const void *variance) {
  fnn_stage *stage = fnn_stage_of(network, layer);
  assert(stage->kind == FNN_STAGE_BATCH_NORM);
  memcpy(stage->running.mean, mean, stage->n * network->kernels->itemsize);
  memcpy(stage->running.variance, variance, stage->n * network->kernels->itemsize);
  fnn_fix_statistics(network, stage);
  network->has_pending = 0;
}
