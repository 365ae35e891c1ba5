/* A network: creation, weights and state in and out. */
#include "engine/network.h"

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

static int parameters_init(const fnn_kernels *kernels, fnn_stage *stage) {
  const size_t columns = fnn_panels(kernels, stage->n) * kernels->nr;
  stage->w_rows = stage->kind == FNN_STAGE_DENSE ? stage->k : 1;
  stage->w_size = columns * stage->w_rows;
  stage->b_size = columns;
  stage->w[0] = fnn_alloc(stage->w_size, kernels->itemsize);
  stage->b[0] = fnn_alloc(stage->b_size, kernels->itemsize);
  if (stage->kind != FNN_STAGE_DENSE) { /* a dense layer rarely stores its gradients */
    stage->dw = fnn_alloc(stage->w_size, kernels->itemsize);
    stage->db = fnn_alloc(stage->b_size, kernels->itemsize);
    if (!stage->dw || !stage->db) return 0;
  }
  return stage->w[0] && stage->b[0];
}

static int batch_norm_init(fnn_network *network, fnn_stage *stage) {
  const fnn_kernels *kernels = network->kernels;
  void **own[] = {&stage->mean,         &stage->inverse,
                  &stage->running.mean, &stage->running.variance,
                  &stage->pending.mean, &stage->pending.variance,
                  &stage->fixed_inverse};
  for (size_t i = 0; i < sizeof own / sizeof *own; i++)
    if (!(*own[i] = fnn_alloc(stage->b_size, kernels->itemsize))) return 0;
  for (size_t j = 0; j < stage->n; j++)
    fnn_set_real(kernels->dtype, stage->running.variance, j, 1.0);
  fnn_fix_statistics(network, stage);
  return 1;
}

static int stage_init(fnn_network *network, fnn_stage *stage, size_t k,
                      const fnn_layer *plan) {
  const fnn_kernels *kernels = network->kernels;
  *stage = (fnn_stage){.kind = (fnn_stage_kind)plan->kind,
                       .k = k,
                       .n = plan->units,
                       .activation = plan->activation,
                       .trainable = plan->trainable,
                       .use_bias = plan->kind != FNN_DENSE || plan->use_bias,
                       .rate = plan->rate,
                       .momentum = plan->momentum,
                       .epsilon = plan->epsilon,
                       .key = plan->key,
                       .row = fnn_row_stride(kernels, plan->units),
                       .split_rows = 1,
                       .split_rows_backward = 1};
  assert(plan->kind == FNN_DENSE || plan->units == k);
  if (stage->activation.kind == FNN_SOFTMAX) stage->activation.kind = FNN_IDENTITY;
  if (stage->activation.kind == FNN_LEAKY_RELU && stage->activation.parameter == 0.0)
    stage->activation.kind = FNN_RELU;
  if (plan->kind == FNN_DROPOUT) {
    stage->activation.kind = FNN_IDENTITY;
    stage->trainable = 0;
    return 1;
  }
  if (!parameters_init(kernels, stage)) return 0;
  if (network->bf16 && !fnn_bf16_init_stage(stage)) return 0;
  if (plan->kind == FNN_DENSE)
    stage->split_rows = stage->split_rows_backward =
        stage->w_size * kernels->itemsize <= SMALL_LAYER_BYTES;
  if (plan->kind != FNN_BATCH_NORM) return 1;
  stage->split_rows = stage->split_rows_backward = !plan->trainable;
  return batch_norm_init(network, stage);
}

/* A softmax is a stage of its own: the layer below may be split by columns. */
static int has_softmax(const fnn_layer *layer) {
  return layer->kind != FNN_DROPOUT && layer->activation.kind == FNN_SOFTMAX;
}

static int stages_init(fnn_network *network, const fnn_plan *plan) {
  size_t count = plan->n_layers, k = plan->n_inputs;
  for (size_t i = 0; i < plan->n_layers; i++)
    count += (size_t)has_softmax(&plan->layers[i]);
  network->stages = fnn_alloc(count, sizeof *network->stages);
  network->stage_of = fnn_alloc(plan->n_layers, sizeof *network->stage_of);
  if (!network->stages || !network->stage_of) return 0;
  network->n_layers = plan->n_layers;
  for (size_t i = 0; i < plan->n_layers; i++) {
    const fnn_layer *layer = &plan->layers[i];
    network->stage_of[i] = network->n_stages++;
    if (!stage_init(network, &network->stages[network->n_stages - 1], k, layer))
      return 0;
    k = layer->units;
    if (!has_softmax(layer)) continue;
    network->stages[network->n_stages++] =
        (fnn_stage){.kind = FNN_STAGE_SOFTMAX,
                    .k = k,
                    .n = k,
                    .row = fnn_row_stride(network->kernels, k),
                    .split_rows = 1,
                    .split_rows_backward = 1};
  }
  network->n_outputs = k;
  for (network->lowest = 0; network->lowest < network->n_stages; network->lowest++)
    if (network->stages[network->lowest].trainable) break;
  /* The loss takes whole rows, so a dense layer below it is split by rows as well. */
  fnn_stage *last = &network->stages[network->n_stages - 1];
  if (last->kind == FNN_STAGE_DENSE) last->split_rows = 1;
  return 1;
}

fnn_network *fnn_network_new(const fnn_plan *plan) {
  assert(plan->n_layers > 0 && plan->n_inputs > 0);
  fnn_network *network = fnn_alloc(1, sizeof *network);
  if (!network) return NULL;
  network->kernels = fnn_kernels_for(plan->dtype);
  if (plan->dtype == FNN_BF16) {
    network->bf16 = fnn_bf16_kernels_active();
    assert(network->bf16);
  }
  network->n_inputs = plan->n_inputs;
  network->loss = plan->loss;
  network->product = 1.0;
  network->x_row = fnn_row_stride(network->kernels, plan->n_inputs);
  network->callers = fnn_alloc(1, sizeof *network->callers);
  if (!network->callers || !stages_init(network, plan)) {
    fnn_network_free(network);
    return NULL;
  }
  return network;
}

void fnn_network_free(fnn_network *network) {
  if (!network) return;
  fnn_workspace_free(network);
  for (size_t i = 0; i < network->n_stages; i++) {
    fnn_stage *stage = &network->stages[i];
    for (size_t part = 0; part < FNN_PARTS; part++) {
      fnn_free(stage->w[part]);
      fnn_free(stage->b[part]);
    }
    void *const own[] = {stage->dw,
                         stage->db,
                         stage->mean,
                         stage->inverse,
                         stage->running.mean,
                         stage->running.variance,
                         stage->pending.mean,
                         stage->pending.variance,
                         stage->fixed_inverse,
                         stage->folded_w,
                         stage->folded_b,
                         stage->rounded.w};
    for (size_t j = 0; j < sizeof own / sizeof *own; j++) fnn_free(own[j]);
  }
  if (network->callers) fnn_free(network->callers->spare.block);
  void *const own[] = {network->stages,  network->stage_of,    network->scale,
                       network->shift,   network->scratch,     network->magnitudes,
                       network->callers, network->square_sums, network->pairs,
                       network};
  for (size_t j = 0; j < sizeof own / sizeof *own; j++) fnn_free(own[j]);
}

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
uint64_t fnn_network_get_step(const fnn_network *network) { return network->step; }
void fnn_network_set_step(fnn_network *network, uint64_t step) {
  network->step = step;
  network->product = fnn_momentum_product(&network->optimizer, step);
}

static fnn_stage *stage_of(const fnn_network *network, size_t layer) {
  assert(layer < network->n_layers);
  return &network->stages[network->stage_of[layer]];
}

void fnn_network_get(const fnn_network *network, size_t layer, int part, void *w,
                     void *b) {
  const fnn_stage *stage = stage_of(network, layer);
  assert(stage->b_size);
  network->kernels->unpack(stage->w[part], stage->w_rows, stage->n, w,
                           (ptrdiff_t)stage->n);
  memcpy(b, stage->b[part], stage->n * network->kernels->itemsize);
}

typedef struct rounding {
  const fnn_network *network;
  const fnn_stage *stage;
} rounding;

static void round_region(void *argument, const fnn_worker *worker) {
  const rounding *r = argument;
  fnn_bf16_round_weights(r->network, r->stage, worker);
}

static void round_all(const fnn_network *network, const fnn_stage *stage) {
  rounding r = {network, stage};
  fnn_parallel(1, round_region, &r);
}

void fnn_network_set(fnn_network *network, size_t layer, int part, const void *w,
                     const void *b) {
  const fnn_stage *stage = stage_of(network, layer);
  assert(stage->b_size);
  network->kernels->pack(w, (ptrdiff_t)stage->n, stage->w_rows, stage->n,
                         stage->w[part]);
  memcpy(stage->b[part], b, stage->n * network->kernels->itemsize);
  if (network->bf16 && part == 0) round_all(network, stage);
  network->is_measured = 0;
}

void fnn_network_get_statistics(const fnn_network *network, size_t layer, void *mean,
                                void *variance) {
  const fnn_stage *stage = stage_of(network, layer);
  assert(stage->kind == FNN_STAGE_BATCH_NORM);
  memcpy(mean, stage->running.mean, stage->n * network->kernels->itemsize);
  memcpy(variance, stage->running.variance, stage->n * network->kernels->itemsize);
}

void fnn_network_set_statistics(fnn_network *network, size_t layer, const void *mean,
                                const void *variance) {
  fnn_stage *stage = stage_of(network, layer);
  assert(stage->kind == FNN_STAGE_BATCH_NORM);
  memcpy(stage->running.mean, mean, stage->n * network->kernels->itemsize);
  memcpy(stage->running.variance, variance, stage->n * network->kernels->itemsize);
  fnn_fix_statistics(network, stage);
}

int fnn_readable_in_place(const fnn_kernels *kernels, const fnn_array *x) {
  const ptrdiff_t itemsize = (ptrdiff_t)kernels->itemsize;
  return x->type == (kernels->dtype == FNN_F64 ? FNN_FLOAT64 : FNN_FLOAT32) &&
         !x->swapped && (x->col_stride == itemsize || x->cols == 1) &&
         x->row_stride % itemsize == 0 && (uintptr_t)x->data % (size_t)itemsize == 0;
}

int fnn_takes_in_place(const fnn_network *network, const fnn_array *x) {
  /* Rows that lie a whole number of pages apart have the same place in the caches, which
   * is for 8 of them: 1024-1024-10, batch 128, takes a fifth less time with a copy. */
  if (!network->bf16 && x->rows > 8 && x->row_stride % 4096 == 0) return 0;
  /* Other stages read whole vectors, which the user's rows may not have. */
  return network->stages[0].kind == FNN_STAGE_DENSE && !network->scale &&
         fnn_readable_in_place(network->kernels, x);
}
