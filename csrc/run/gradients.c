/* Gradients without an update: of the loss, or of what is given in its place, and what
 * the latter is worked out from. */
#include <math.h>
#include <string.h>

#include "engine/workspace.h"
#include "kernels/layout.h"
#include "run/group.h"

/* All rows as one mini-batch of the next update. */
static fnn_training training_of(fnn_network *network, const fnn_data *data,
                                const double *dropout_rates, double *totals) {
  return (fnn_training){.network = network,
                        .data = data,
                        .batch_size = data->rows,
                        .accumulate = 1,
                        .dropout_rates = dropout_rates,
                        .totals = totals,
                        .deadline = INFINITY,
                        .purpose = FNN_GRADIENTS_ONLY,
                        .in_place = fnn_is_in_place(network, data)};
}

/* Leaves the stored gradients in dw and db. */
static fnn_status gradients_of(fnn_training *t, void *const *dw, void *const *db) {
  fnn_network *network = t->network;
  const fnn_kernels *kernels = network->kernels;
  if (fnn_reserve_gradients(network) != FNN_OK) return FNN_NO_MEMORY;
  for (size_t i = 0; t->data->weights && i < network->n_stages; i++) {
    const fnn_stage *stage = &network->stages[i]; /* no row may count */
    if (!stage->b_size) continue;
    memset(stage->dw, 0, stage->w_size * kernels->itemsize);
    memset(stage->db, 0, stage->b_size * kernels->itemsize);
  }
  const fnn_status status = fnn_train_rows(t);
  network->has_pending = status == FNN_OK;
  if (status != FNN_OK) return status;
  for (size_t layer = 0; layer < network->n_layers; layer++) {
    const fnn_stage *stage = &network->stages[network->stage_of[layer]];
    if (!stage->b_size) continue;
    const ptrdiff_t row = (ptrdiff_t)stage->w_n;
    kernels->unpack(stage->dw, stage->w_rows, stage->w_n, dw[layer], row);
    kernels->unpack(stage->db, stage->b_rows, stage->w_n, db[layer], row);
  }
  return FNN_OK;
}

fnn_status fnn_gradients(fnn_network *network, const fnn_data *data,
                         const double *dropout_rates, double *totals, void *const *dw,
                         void *const *db) {
  fnn_training t = training_of(network, data, dropout_rates, totals);
  return gradients_of(&t, dw, db);
}

fnn_status fnn_backward(fnn_network *network, const fnn_data *data,
                        const double *dropout_rates, void *const *dw, void *const *db,
                        void *dx) {
  double totals[FNN_TOTALS] = {0.0};
  fnn_training t = training_of(network, data, dropout_rates, totals);
  fnn_stage *inputs = network->stages - 1;
  const size_t n = network->n_inputs, row = (size_t)network->x_row;
  inputs->row = network->x_row;
  inputs->dy = fnn_alloc(data->rows, row * network->kernels->itemsize);
  if (!inputs->dy) return FNN_NO_MEMORY;
  inputs->y = inputs->dy; /* its activation does not look at it */
  t.given = network->to_inputs = 1;
  const fnn_status status = gradients_of(&t, dw, db);
  network->to_inputs = 0;
  if (status == FNN_OK)
    fnn_copy_rows(network->kernels, inputs->dy, row, dx, n, n, data->rows);
  fnn_free(inputs->dy);
  inputs->y = inputs->dy = NULL;
  return status;
}

fnn_status fnn_training_outputs(fnn_network *network, const fnn_data *data,
                                const double *dropout_rates, void *out) {
  const fnn_stage *last = fnn_last(network);
  double totals[FNN_TOTALS] = {0.0};
  fnn_training t = training_of(network, data, dropout_rates, totals);
  t.outputs = 1;
  network->has_pending = 0;
  const fnn_status status = fnn_train_rows(&t);
  if (status == FNN_OK)
    fnn_copy_rows(network->kernels, last->y, (size_t)last->row, out, last->n, last->n,
                  data->rows);
  return status;
}
