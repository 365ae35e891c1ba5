/* A network's workspace: what a mini-batch passes through, grown when it must be. */
#include "engine/workspace.h"

#include "engine/rounding.h"
#include "kernels/layout.h"

void fnn_workspace_free(fnn_network *network) {
  void **own[] = {&network->x,       (void **)&network->labels, &network->targets,
                  &network->weights, &network->loss_rows,       &network->correct_rows};
  for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
    fnn_free(*own[i]);
    *own[i] = NULL;
  }
  for (size_t i = 0; i < network->n_stages; i++) {
    fnn_stage *stage = &network->stages[i];
    fnn_free(stage->y);
    fnn_free(stage->dy);
    fnn_free(stage->z);
    fnn_free(stage->rounded.x);
    fnn_free(stage->rounded.dy);
    stage->y = stage->dy = stage->z = NULL;
    stage->rounded.x = stage->rounded.dy = NULL;
    if (stage->kind != FNN_STAGE_LAYER_NORM) continue;
    fnn_free(stage->mean);
    fnn_free(stage->inverse);
    stage->mean = stage->inverse = NULL;
  }
  network->batch_capacity = network->x_capacity = 0;
}

static int reserve_stage(const fnn_network *network, fnn_stage *stage, size_t rows) {
  const size_t itemsize = network->kernels->itemsize;
  const size_t bytes = (size_t)stage->row * itemsize;
  stage->y = fnn_alloc(rows, bytes);
  stage->dy = fnn_alloc(rows, bytes);
  if (!stage->y || !stage->dy) return 0;
  const int keeps =
      fnn_saves_input(stage->activation.kind) || stage->kind == FNN_STAGE_PARAMETRIC;
  if (keeps && !(stage->z = fnn_alloc(rows, bytes))) return 0;
  if (!fnn_rounding_reserve(stage, rows)) return 0;
  if (stage->kind != FNN_STAGE_LAYER_NORM) return 1;
  stage->mean = fnn_alloc(rows, itemsize);
  stage->inverse = fnn_alloc(rows, itemsize);
  return stage->mean && stage->inverse;
}

static fnn_status reserve_rows(fnn_network *network, size_t rows) {
  if (rows <= network->batch_capacity) return FNN_OK;
  const size_t itemsize = network->kernels->itemsize;
  const size_t outputs = (size_t)fnn_last(network)->row;
  fnn_workspace_free(network);
  network->labels = fnn_alloc(rows, sizeof *network->labels);
  network->targets = fnn_alloc(rows, outputs * itemsize);
  network->weights = fnn_alloc(rows, itemsize);
  network->loss_rows = fnn_alloc(rows, itemsize);
  network->correct_rows = fnn_alloc(rows, itemsize);
  int complete = network->labels && network->targets && network->weights &&
                 network->loss_rows && network->correct_rows;
  for (size_t i = 0; complete && i < network->n_stages; i++)
    complete = reserve_stage(network, &network->stages[i], rows);
  if (!complete) {
    fnn_workspace_free(network);
    return FNN_NO_MEMORY;
  }
  network->batch_capacity = rows;
  return FNN_OK;
}

static fnn_status reserve_inputs(fnn_network *network, size_t rows) {
  if (rows <= network->x_capacity) return FNN_OK;
  fnn_free(network->x);
  network->x = fnn_alloc(2 * rows, (size_t)network->x_row * network->kernels->itemsize);
  network->x_capacity = network->x ? rows : 0;
  return network->x ? FNN_OK : FNN_NO_MEMORY;
}

fnn_status fnn_reserve(fnn_network *network, size_t batch_size, int in_place,
                       int threads) {
  if (reserve_rows(network, batch_size) != FNN_OK) return FNN_NO_MEMORY;
  if (!in_place && reserve_inputs(network, batch_size) != FNN_OK) return FNN_NO_MEMORY;
  if (fnn_rounding_reserve_scratch(network, threads) != FNN_OK) return FNN_NO_MEMORY;
  const fnn_kernels *kernels = network->kernels;
  size_t size = 0;
  for (size_t i = 0; i < network->n_stages; i++) {
    const fnn_stage *stage = &network->stages[i];
    size_t needed = fnn_parameter_columns(kernels, stage) * kernels->nr;
    if (needed > size) size = needed;
    if (stage->kind != FNN_STAGE_DENSE || network->pairs) continue;
    needed = fnn_input_scratch(kernels, batch_size, stage->k, stage->n);
    if (needed > size) size = needed;
    needed = fnn_weights_scratch(kernels, batch_size, stage->k, stage->n);
    if (needed > size) size = needed;
  }
  if (threads <= network->scratch_threads && size <= network->scratch_size)
    return FNN_OK;
  if (threads < network->scratch_threads) threads = network->scratch_threads;
  /* A thread's slots lie on cache lines of their own. */
  const size_t row = (2 * network->n_stages + 3 + 15) / 8 * 8;
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
  const size_t itemsize = network->kernels->itemsize;
  size_t columns = 0;
  for (size_t i = 0; i < network->n_stages; i++) {
    fnn_stage *stage = &network->stages[i];
    columns += 2 * fnn_parameter_columns(network->kernels, stage);
    if (!stage->b_size) continue;
    if (!stage->dw) stage->dw = fnn_alloc(stage->w_size, itemsize);
    if (!stage->db) stage->db = fnn_alloc(stage->b_size, itemsize);
    if (!stage->dw || !stage->db) return FNN_NO_MEMORY;
  }
  if (!network->square_sums)
    network->square_sums = fnn_alloc(columns, sizeof *network->square_sums);
  return network->square_sums ? FNN_OK : FNN_NO_MEMORY;
}
