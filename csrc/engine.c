/* A network's memory: creation, weights in and out, the workspace. */
#include "engine.h"

#include <assert.h>
#include <string.h>

ptrdiff_t fnn_row_stride(const fnn_kernels *kernels, size_t n) {
  const size_t line = FNN_ALIGNMENT / kernels->itemsize;
  const size_t lines = (n + line - 1) / line;
  return (ptrdiff_t)((lines | 1) * line);
}

/* Layers whose weights stay within a core's L1/L2 beside everything else are split by
 * rows: no barrier is needed between them. */
enum { SMALL_LAYER_BYTES = 64 * 1024 };

static int layer_init(fnn_network *network, fnn_dense *layer, size_t k,
                      const fnn_layer *plan) {
  const fnn_kernels *kernels = network->kernels;
  const size_t columns = fnn_panels(kernels, plan->units) * kernels->nr;
  layer->k = k;
  layer->n = plan->units;
  layer->activation = plan->activation;
  layer->w_size = columns * k;
  layer->b_size = columns;
  layer->row = fnn_row_stride(kernels, plan->units);
  const int small = k * columns * kernels->itemsize <= SMALL_LAYER_BYTES;
  layer->split_rows = layer->split_rows_backward = small;
  layer->w[0] = fnn_alloc(layer->w_size, kernels->itemsize);
  layer->b[0] = fnn_alloc(layer->b_size, kernels->itemsize);
  return layer->w[0] && layer->b[0];
}

fnn_network *fnn_network_new(const fnn_plan *plan) {
  assert(plan->n_layers > 0 && plan->n_inputs > 0);
  fnn_network *network = fnn_alloc(1, sizeof *network);
  if (!network) return NULL;
  network->kernels = fnn_kernels_for(plan->dtype);
  network->n_inputs = plan->n_inputs;
  network->loss = plan->loss;
  network->label_smoothing = plan->label_smoothing;
  network->x_row = fnn_row_stride(network->kernels, plan->n_inputs);
  network->layers = fnn_alloc(plan->n_layers, sizeof *network->layers);
  int made = network->layers != NULL;
  network->n_layers = made ? plan->n_layers : 0;
  size_t k = plan->n_inputs;
  for (size_t i = 0; made && i < plan->n_layers; i++) {
    made = layer_init(network, &network->layers[i], k, &plan->layers[i]);
    k = plan->layers[i].units;
  }
  if (!made) {
    fnn_network_free(network);
    return NULL;
  }
  /* The loss takes whole rows, so the layer below it is split by rows as well. */
  network->layers[plan->n_layers - 1].split_rows = 1;
  return network;
}

static void workspace_free(fnn_network *network) {
  void **own[] = {&network->x,       (void **)&network->labels, &network->targets,
                  &network->weights, &network->loss_rows,       &network->correct_rows};
  for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
    fnn_free(*own[i]);
    *own[i] = NULL;
  }
  for (size_t i = 0; i < network->n_layers; i++) {
    fnn_free(network->layers[i].y);
    fnn_free(network->layers[i].dy);
    network->layers[i].y = network->layers[i].dy = NULL;
  }
  network->batch_capacity = 0;
}

void fnn_network_free(fnn_network *network) {
  if (!network) return;
  workspace_free(network);
  for (size_t i = 0; i < network->n_layers; i++) {
    fnn_dense *layer = &network->layers[i];
    for (size_t part = 0; part < FNN_PARTS; part++) {
      fnn_free(layer->w[part]);
      fnn_free(layer->b[part]);
    }
    fnn_free(layer->dw);
    fnn_free(layer->db);
  }
  fnn_free(network->layers);
  fnn_free(network->scale);
  fnn_free(network->shift);
  fnn_free(network->scratch);
  fnn_free(network->magnitudes);
  fnn_free(network);
}

fnn_status fnn_network_set_optimizer(fnn_network *network,
                                     const fnn_optimizer *optimizer) {
  const size_t states = fnn_optimizer_states(optimizer->kind);
  const size_t itemsize = network->kernels->itemsize;
  if (states != network->states) {
    /* All new arrays first: when one cannot be had, the old ones are still there. */
    const size_t count = 2 * states * network->n_layers;
    void **made = fnn_alloc(count + 1, sizeof *made);
    int complete = made != NULL;
    for (size_t i = 0; complete && i < count; i++) {
      const fnn_dense *layer = &network->layers[i / (2 * states)];
      made[i] = fnn_alloc(i % 2 ? layer->b_size : layer->w_size, itemsize);
      complete = made[i] != NULL;
    }
    if (!complete) {
      for (size_t i = 0; made && i < count; i++) fnn_free(made[i]);
      fnn_free(made);
      return FNN_NO_MEMORY;
    }
    for (size_t i = 0; i < network->n_layers; i++) {
      fnn_dense *layer = &network->layers[i];
      for (size_t s = 0; s < FNN_STATES; s++) {
        fnn_free(layer->w[1 + s]);
        fnn_free(layer->b[1 + s]);
        layer->w[1 + s] = s < states ? made[2 * (i * states + s)] : NULL;
        layer->b[1 + s] = s < states ? made[2 * (i * states + s) + 1] : NULL;
      }
    }
    fnn_free(made);
    network->states = states;
    network->step = 0;
  }
  network->optimizer = *optimizer;
  network->bounds = fnn_bounds_measure(network);
  return FNN_OK;
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
    for (size_t j = 0; j < network->n_inputs; j++) {
      if (kernels->dtype == FNN_F64) ((double *)made[i])[j] = from[j];
      else ((float *)made[i])[j] = (float)from[j];
    }
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
uint64_t fnn_network_get_step(const fnn_network *network) { return network->step; }
void fnn_network_set_step(fnn_network *network, uint64_t step) { network->step = step; }

void fnn_network_get(const fnn_network *network, size_t index, int part, void *w,
                     void *b) {
  const fnn_dense *layer = &network->layers[index];
  network->kernels->unpack(layer->w[part], layer->k, layer->n, w, (ptrdiff_t)layer->n);
  memcpy(b, layer->b[part], layer->n * network->kernels->itemsize);
}

void fnn_network_set(fnn_network *network, size_t index, int part, const void *w,
                     const void *b) {
  const fnn_dense *layer = &network->layers[index];
  network->kernels->pack(w, (ptrdiff_t)layer->n, layer->k, layer->n, layer->w[part]);
  memcpy(layer->b[part], b, layer->n * network->kernels->itemsize);
  network->bounds = fnn_bounds_measure(network);
}

static fnn_status reserve_rows(fnn_network *network, size_t rows) {
  if (rows <= network->batch_capacity) return FNN_OK;
  const size_t itemsize = network->kernels->itemsize;
  const size_t outputs = (size_t)fnn_last(network)->row;
  workspace_free(network);
  network->x = fnn_alloc(rows, (size_t)network->x_row * itemsize);
  network->labels = fnn_alloc(rows, sizeof *network->labels);
  network->targets = fnn_alloc(rows, outputs * itemsize);
  network->weights = fnn_alloc(rows, itemsize);
  network->loss_rows = fnn_alloc(rows, itemsize);
  network->correct_rows = fnn_alloc(rows, itemsize);
  int complete = network->x && network->labels && network->targets &&
                 network->weights && network->loss_rows && network->correct_rows;
  for (size_t i = 0; complete && i < network->n_layers; i++) {
    fnn_dense *layer = &network->layers[i];
    layer->y = fnn_alloc(rows, (size_t)layer->row * itemsize);
    layer->dy = fnn_alloc(rows, (size_t)layer->row * itemsize);
    complete = layer->y && layer->dy;
  }
  if (!complete) {
    workspace_free(network);
    return FNN_NO_MEMORY;
  }
  network->batch_capacity = rows;
  return FNN_OK;
}

fnn_status fnn_reserve(fnn_network *network, size_t batch_size, int threads) {
  if (reserve_rows(network, batch_size) != FNN_OK) return FNN_NO_MEMORY;
  if (threads <= network->scratch_threads) return FNN_OK;
  const fnn_kernels *kernels = network->kernels;
  size_t widest = kernels->mr;
  for (size_t i = 0; i < network->n_layers; i++)
    if (network->layers[i].b_size > widest) widest = network->layers[i].b_size;
  /* A thread's slots lie on cache lines of their own. */
  const size_t row = (2 * network->n_layers + 1 + 15) / 8 * 8;
  const size_t size = widest * kernels->nr;
  void *scratch = fnn_alloc((size_t)threads, size * kernels->itemsize);
  double *magnitudes = fnn_alloc((size_t)threads, row * sizeof *magnitudes);
  if (!scratch || !magnitudes) {
    fnn_free(scratch);
    fnn_free(magnitudes);
    return FNN_NO_MEMORY;
  }
  fnn_free(network->scratch);
  fnn_free(network->magnitudes);
  network->scratch = scratch;
  network->magnitudes = magnitudes;
  network->magnitude_row = row;
  network->scratch_size = size;
  network->scratch_threads = threads;
  return FNN_OK;
}

fnn_status fnn_reserve_gradients(fnn_network *network) {
  for (size_t i = 0; i < network->n_layers; i++) {
    fnn_dense *layer = &network->layers[i];
    const size_t itemsize = network->kernels->itemsize;
    if (!layer->dw) layer->dw = fnn_alloc(layer->w_size, itemsize);
    if (!layer->db) layer->db = fnn_alloc(layer->b_size, itemsize);
    if (!layer->dw || !layer->db) return FNN_NO_MEMORY;
  }
  return FNN_OK;
}

int fnn_readable_in_place(const fnn_kernels *kernels, const fnn_array *x) {
  const ptrdiff_t itemsize = (ptrdiff_t)kernels->itemsize;
  return x->type == (kernels->dtype == FNN_F64 ? FNN_FLOAT64 : FNN_FLOAT32) &&
         !x->swapped && (x->col_stride == itemsize || x->cols == 1) &&
         x->row_stride % itemsize == 0 && (uintptr_t)x->data % (size_t)itemsize == 0;
}
