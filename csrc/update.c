/* Optimizer steps: their constants, the proof that one cannot overflow, and the step
 * that is taken when there is no proof. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "engine.h"

size_t fnn_optimizer_states(fnn_optimizer_kind kind) {
  switch (kind) {
    case FNN_SGD: return 0;
    case FNN_MOMENTUM:
    case FNN_NESTEROV: return 1;
    case FNN_ADAM: return 2;
  }
  return 0;
}

fnn_update fnn_update_begin(const fnn_optimizer *o, uint64_t step) {
  fnn_update u = {.kind = o->kind,
                  .rate = o->learning_rate,
                  .momentum = o->momentum,
                  .beta_1 = o->beta_1,
                  .beta_2 = o->beta_2,
                  .root_scale = 1.0,
                  .epsilon = o->epsilon,
                  .keep = 1.0 - o->learning_rate * o->weight_decay};
  if (o->kind == FNN_ADAM) { /* bias correction of the two moments */
    const double t = (double)step;
    u.rate = o->learning_rate / (1.0 - pow(o->beta_1, t));
    u.root_scale = 1.0 / sqrt(1.0 - pow(o->beta_2, t));
  }
  return u;
}

int fnn_bounds_advance(fnn_bounds *b, const fnn_update *u, double gradient) {
  const double tame = 0x1p60;
  double step = u->rate * gradient;
  switch (u->kind) {
    case FNN_SGD: break;
    case FNN_MOMENTUM:
    case FNN_NESTEROV:
      b->state[0] = u->momentum * b->state[0] + gradient;
      step = u->rate * (gradient + b->state[0]);
      break;
    case FNN_ADAM:
      b->state[0] = fmax(b->state[0], gradient);
      b->state[1] = fmax(b->state[1], gradient * gradient);
      step = u->rate * b->state[0] / u->epsilon;
      break;
  }
  /* Decay by more than 2 / learning_rate makes weights grow. */
  b->weight = b->weight * fmax(1.0, fabs(u->keep)) + step;
  /* Written so that a NaN fails. */
  return gradient <= tame && step <= tame && b->weight <= tame && b->state[0] <= tame &&
         b->state[1] <= tame * tame && u->rate <= tame;
}

fnn_bounds fnn_bounds_measure(const fnn_network *network) {
  double part[FNN_PARTS] = {0.0};
  for (size_t i = 0; i < network->n_layers; i++) {
    const fnn_dense *layer = &network->layers[i];
    for (size_t p = 0; p <= network->states; p++)
      part[p] += network->kernels->magnitude(layer->w[p], layer->w_size) +
                 network->kernels->magnitude(layer->b[p], layer->b_size);
  }
  return (fnn_bounds){part[0], {part[1], part[2]}};
}

void fnn_apply_gradients(fnn_network *network, const fnn_update *update,
                         const fnn_worker *worker) {
  const fnn_kernels *kernels = network->kernels;
  fnn_update for_bias = *update;
  for_bias.keep = 1.0; /* weight decay is for weights */
  for (size_t i = 0; i < network->n_layers; i++) {
    const fnn_dense *layer = &network->layers[i];
    size_t begin, end;
    void *at[FNN_PARTS] = {NULL};
    fnn_share(worker, layer->w_size / kernels->nr, &begin, &end);
    const size_t from = begin * kernels->nr, count = (end - begin) * kernels->nr;
    for (size_t p = 0; p <= network->states; p++)
      at[p] = fnn_at(network, layer->w[p], from);
    kernels->update(update, at[0], fnn_at(network, layer->dw, from), at[1], at[2],
                    count);
    if (worker->thread == 0)
      kernels->update(&for_bias, layer->b[0], layer->db, layer->b[1], layer->b[2],
                      layer->b_size);
  }
}

int fnn_finite_values(fnn_dtype dtype, const void *values, size_t count) {
  int all = 1;
  if (dtype == FNN_F64)
    for (size_t i = 0; i < count; i++)
      all &= isfinite(((const double *)values)[i]) != 0;
  else
    for (size_t i = 0; i < count; i++) all &= isfinite(((const float *)values)[i]) != 0;
  return all;
}

/* Copies weights and state of all layers to (or from) one block. */
static void copy_parts(fnn_network *network, char *block, int restore) {
  const size_t itemsize = network->kernels->itemsize;
  for (size_t i = 0; i < network->n_layers; i++) {
    fnn_dense *layer = &network->layers[i];
    for (size_t p = 0; p <= network->states; p++)
      for (int bias = 0; bias < 2; bias++) {
        void *own = bias ? layer->b[p] : layer->w[p];
        const size_t bytes = (bias ? layer->b_size : layer->w_size) * itemsize;
        memcpy(restore ? own : block, restore ? block : own, bytes);
        block += bytes;
      }
  }
}

fnn_status fnn_careful_step(fnn_network *network, const void *x, ptrdiff_t x_row,
                            size_t rows) {
  const fnn_kernels *kernels = network->kernels;
  const fnn_dtype dtype = kernels->dtype;
  const ptrdiff_t row_bytes =
      x_row * (ptrdiff_t)kernels->itemsize; /* may be negative */
  for (size_t i = 0; i < rows; i++)
    if (!fnn_finite_values(dtype, (const char *)x + (ptrdiff_t)i * row_bytes,
                           network->n_inputs))
      return FNN_BAD_INPUT;
  if (!fnn_finite_values(dtype, network->loss_rows, rows)) return FNN_DIVERGED;

  size_t values = 0;
  for (size_t i = 0; i < network->n_layers; i++)
    values += network->layers[i].w_size + network->layers[i].b_size;
  char *before = fnn_alloc(values * (network->states + 1), kernels->itemsize);
  if (!before) return FNN_NO_MEMORY;
  if (fnn_reserve_gradients(network) != FNN_OK) {
    fnn_free(before);
    return FNN_NO_MEMORY;
  }
  int sound = 1;
  for (size_t i = 0; i < network->n_layers; i++) {
    const fnn_dense *layer = &network->layers[i];
    const fnn_backward_weights g = {.x = i ? network->layers[i - 1].y : x,
                                    .x_row = i ? network->layers[i - 1].row : x_row,
                                    .dy = layer->dy,
                                    .dy_row = layer->row,
                                    .m = rows,
                                    .k = layer->k,
                                    .n = layer->n,
                                    .dw = layer->dw,
                                    .db = layer->db};
    for (size_t panel = 0; panel < fnn_panels(kernels, layer->n); panel++) {
      kernels->dense_backward_weights(&g, panel, 0, layer->k);
      kernels->dense_backward_bias(&g, panel);
    }
    sound = sound && fnn_finite_values(dtype, layer->dw, layer->w_size) &&
            fnn_finite_values(dtype, layer->db, layer->b_size);
  }
  if (sound) {
    const fnn_update update = fnn_update_begin(&network->optimizer, network->step + 1);
    const fnn_worker alone = {0, 1, NULL};
    copy_parts(network, before, 0);
    fnn_apply_gradients(network, &update, &alone);
    for (size_t i = 0; sound && i < network->n_layers; i++)
      for (size_t p = 0; sound && p <= network->states; p++)
        sound = fnn_finite_values(dtype, network->layers[i].w[p],
                                  network->layers[i].w_size) &&
                fnn_finite_values(dtype, network->layers[i].b[p],
                                  network->layers[i].b_size);
    if (!sound) copy_parts(network, before, 1);
  }
  fnn_free(before);
  if (!sound) return FNN_DIVERGED;
  network->step++;
  network->bounds = fnn_bounds_measure(network);
  return FNN_OK;
}
