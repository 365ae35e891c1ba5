/* A network is made from a plan, and freed. */
#include <assert.h>
#include <math.h>

#include "base/values.h"
#include "engine/network.h"
#include "engine/rounding.h"
#include "engine/stages.h"
#include "engine/workspace.h"
#include "kernels/layout.h"

/* Layers whose weights stay within a core's L1/L2 with everything else are split by
 * rows: no barrier is needed between them. */
enum { SMALL_LAYER_BYTES = 64 * 1024 };

static int parameters_init(const fnn_kernels *kernels, fnn_stage *stage) {
  stage->w_n = stage->n;
  stage->w_rows = stage->kind == FNN_STAGE_DENSE ? stage->k : 1;
  stage->b_rows = 1;
  if (stage->kind == FNN_STAGE_PERIODIC) {
    stage->w_n = stage->columns;
    stage->w_rows = stage->terms * stage->size;
    stage->b_rows = stage->terms + stage->size - 1;
  }
  if (stage->starts) {
    stage->w_n = stage->size;
    stage->w_rows = stage->starts[stage->columns];
    if (stage->kind == FNN_STAGE_PIECEWISE) stage->b_rows = stage->columns;
  }
  const size_t columns = fnn_panels(kernels, stage->w_n) * kernels->nr;
  stage->w_size = columns * stage->w_rows;
  stage->b_size = columns * stage->b_rows;
  stage->w[0] = fnn_alloc(stage->w_size, kernels->itemsize);
  stage->b[0] = fnn_alloc(stage->b_size, kernels->itemsize);
  if (stage->kind != FNN_STAGE_DENSE) { /* a dense layer rarely stores its gradients */
    stage->dw = fnn_alloc(stage->w_size, kernels->itemsize);
    stage->db = fnn_alloc(stage->b_size, kernels->itemsize);
    if (!stage->dw || !stage->db) return 0;
  }
  return stage->w[0] && stage->b[0];
}

/* The rows of each column, and the edges of its bins. */
static int columns_init(const fnn_kernels *kernels, fnn_stage *stage,
                        const fnn_layer *plan) {
  stage->starts = fnn_alloc(plan->columns + 1, sizeof *stage->starts);
  if (!stage->starts) return 0;
  for (size_t j = 0; j < plan->columns; j++)
    stage->starts[j + 1] = stage->starts[j] + plan->counts[j];
  if (plan->kind == FNN_TABLE) return 1;
  const size_t bins = stage->starts[plan->columns];
  stage->edges = fnn_alloc(bins + plan->columns, kernels->itemsize);
  if (!stage->edges) return 0;
  for (size_t j = 0; j < plan->columns; j++)
    for (size_t t = stage->starts[j]; t <= stage->starts[j + 1]; t++) {
      const double *edge = plan->edges + t + j;
      fnn_set_real(kernels->dtype, stage->edges, t + j, *edge);
      if (t > stage->starts[j])
        stage->steepest =
            fmax(stage->steepest, (1.0 + fabs(edge[-1])) / (edge[0] - edge[-1]));
    }
  return 1;
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

/* Its way: with its parameters, so that it can take rounded copies of them. */
static int way_init(const fnn_network *network, fnn_stage *stage) {
  stage->way = *fnn_stage_way_of(stage);
  return !network->bf16 || fnn_rounding_init(network, stage);
}

_Static_assert((int)FNN_STAGE_DENSE == FNN_DENSE &&
                   (int)FNN_STAGE_DROPOUT == FNN_DROPOUT &&
                   (int)FNN_STAGE_BATCH_NORM == FNN_BATCH_NORM &&
                   (int)FNN_STAGE_LAYER_NORM == FNN_LAYER_NORM &&
                   (int)FNN_STAGE_SCALE == FNN_SCALE &&
                   (int)FNN_STAGE_PERIODIC == FNN_PERIODIC &&
                   (int)FNN_STAGE_PIECEWISE == FNN_PIECEWISE &&
                   (int)FNN_STAGE_TABLE == FNN_TABLE &&
                   (int)FNN_STAGE_PARAMETRIC == FNN_PARAMETRIC,
               "a stage has the number of its layer's kind");

static int stage_init(fnn_network *network, fnn_stage *stage, size_t k,
                      const fnn_layer *plan) {
  const fnn_kernels *kernels = network->kernels;
  *stage =
      (fnn_stage){.kind = (fnn_stage_kind)plan->kind,
                  .k = k,
                  .n = plan->units,
                  .activation = plan->activation,
                  .trainable = plan->trainable,
                  .use_bias = plan->use_bias || plan->kind == FNN_BATCH_NORM ||
                              plan->kind == FNN_LAYER_NORM,
                  .rate = plan->rate,
                  .momentum = plan->momentum,
                  .epsilon = plan->epsilon,
                  .key = plan->key,
                  .columns = plan->columns,
                  .size = plan->size,
                  .terms = plan->terms,
                  .factors = {{1.0, 1.0, plan->kind == FNN_DENSE}, {1.0, 1.0, 0.0}},
                  .row = fnn_row_stride(kernels, plan->units),
                  .split_rows = 1,
                  .split_rows_backward = 1};
  assert(plan->kind == FNN_DENSE ||
         plan->units == k + plan->columns * (plan->columns ? plan->size - 1 : 0));
  assert(plan->columns <= k && plan->size <= FNN_MOST_SIZE &&
         plan->terms <= FNN_MOST_TERMS);
  if (stage->activation.kind == FNN_SOFTMAX) stage->activation.kind = FNN_IDENTITY;
  if (stage->activation.kind == FNN_LEAKY_RELU && stage->activation.parameter == 0.0)
    stage->activation.kind = FNN_RELU;
  if (plan->kind == FNN_DROPOUT) {
    stage->activation.kind = FNN_IDENTITY;
    stage->trainable = 0;
    return way_init(network, stage);
  }
  if (plan->kind == FNN_PARAMETRIC) {
    stage->function = stage->activation;
    stage->activation = (fnn_activation){FNN_IDENTITY, 0.0};
  }
  if (plan->counts && !columns_init(kernels, stage, plan)) return 0;
  if (!parameters_init(kernels, stage) || !way_init(network, stage)) return 0;
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
  network->stages = fnn_alloc(count + 1, sizeof *network->stages);
  network->stage_of = fnn_alloc(plan->n_layers, sizeof *network->stage_of);
  if (network->stages) network->stages++;
  if (!network->stages || !network->stage_of) return 0;
  network->n_layers = plan->n_layers;
  for (size_t i = 0; i < plan->n_layers; i++) {
    const fnn_layer *layer = &plan->layers[i];
    network->stage_of[i] = network->n_stages++;
    if (!stage_init(network, &network->stages[network->n_stages - 1], k, layer))
      return 0;
    network->stages[network->n_stages - 1].layer = i;
    k = layer->units;
    if (!has_softmax(layer)) continue;
    fnn_stage *softmax = &network->stages[network->n_stages++];
    *softmax = (fnn_stage){.kind = FNN_STAGE_SOFTMAX,
                           .k = k,
                           .n = k,
                           .row = fnn_row_stride(network->kernels, k),
                           .split_rows = 1,
                           .split_rows_backward = 1};
    if (!way_init(network, softmax)) return 0;
  }
  network->n_outputs = k;
  fnn_network_look_again(network);
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
  if (plan->dtype == FNN_BF16) network->bf16 = fnn_choose_bf16(plan);
  network->n_inputs = plan->n_inputs;
  network->loss = plan->loss;
  network->levels = plan->levels;
  network->product = 1.0;
  const size_t values = network->bf16 ? network->bf16->values : 1;
  network->cost = (double)network->kernels->itemsize / (double)(4 * values);
  network->rounded_growth = network->bf16 ? 1.0 + 0x1p-6 : 1.0;
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
                         stage->starts,
                         stage->edges,
                         stage->folded_w,
                         stage->folded_b,
                         stage->rounded.w};
    for (size_t j = 0; j < sizeof own / sizeof *own; j++) fnn_free(own[j]);
  }
  if (network->callers) fnn_free(network->callers->spare.block);
  if (network->stages) network->stages--;
  void *const own[] = {network->stages,  network->stage_of,    network->scale,
                       network->shift,   network->scratch,     network->magnitudes,
                       network->callers, network->square_sums, network->pairs,
                       network};
  for (size_t j = 0; j < sizeof own / sizeof *own; j++) fnn_free(own[j]);
}
