/* Embeddings forward and back, each thread its share: of rows, and of parameters units
 * whose gradients need nothing of each other. */
#include "engine/embeddings.h"

#include "engine/stages.h"
#include "engine/update.h"

static fnn_embedding embedding_of(const fnn_network *network, size_t i) {
  const fnn_stage *stage = &network->stages[i];
  return (fnn_embedding){.k = stage->k,
                         .columns = stage->columns,
                         .size = stage->size,
                         .terms = stage->terms,
                         .w = stage->w[0],
                         .b = stage->b[0],
                         .y_row = stage->row};
}

static double periodic_forward(const fnn_network *network, size_t i,
                               const fnn_batch *batch, const fnn_worker *worker) {
  fnn_embedding e = embedding_of(network, i);
  size_t row0, row1;
  fnn_share(worker, batch->rows, &row0, &row1);
  e.x = fnn_input_of(network, i, batch);
  e.x_row = fnn_input_row(network, i, batch);
  e.y = network->stages[i].y;
  return network->kernels->periodic_forward(&e, row0, row1);
}

/* By one thread. */
static double periodic_predict(const fnn_network *network, size_t i, const void *x,
                               ptrdiff_t x_row, size_t rows, void *y, void *room,
                               const fnn_worker *worker) {
  fnn_embedding e = embedding_of(network, i);
  e.x = x;
  e.x_row = x_row;
  e.y = y;
  (void)room;
  return worker->thread > 0 ? 0.0 : network->kernels->periodic_forward(&e, 0, rows);
}

static fnn_embedding backward_of(const fnn_network *network, size_t i,
                                 const fnn_batch *batch) {
  const fnn_stage *stage = &network->stages[i];
  fnn_embedding e = embedding_of(network, i);
  e.x = fnn_input_of(network, i, batch);
  e.x_row = fnn_input_row(network, i, batch);
  e.dy = stage->dy;
  e.m = batch->rows;
  e.dw = stage->dw;
  e.db = stage->db;
  e.add = batch->group_row > 0;
  return e;
}

static double periodic_input_gradient(const fnn_network *network, size_t i,
                                      const fnn_batch *batch,
                                      const fnn_worker *worker) {
  const fnn_stage *below = &network->stages[i] - 1;
  fnn_embedding e = backward_of(network, i, batch);
  size_t row0, row1;
  fnn_share(worker, batch->rows, &row0, &row1);
  e.dx = below->dy;
  e.dx_row = below->row;
  e.saved = fnn_saved_of(below);
  e.activation = below->activation;
  return network->kernels->periodic_backward(&e, row0, row1);
}

/* The update of `count` values from `at` on, whose gradients are stored. */
static void update_values(const fnn_network *network, void *const *values,
                          const void *gradients, const fnn_update *update, size_t at,
                          size_t count) {
  const fnn_kernels *kernels = network->kernels;
  void *part[FNN_PARTS] = {NULL};
  for (size_t p = 0; p <= network->states; p++)
    part[p] = fnn_at(kernels, values[p], at);
  kernels->update(update, part[0], fnn_at(kernels, gradients, at), part[1], part[2],
                  count);
}

/* Units: the terms of a panel of columns; the first of them has the biases too. */
static void periodic_parameters(const fnn_network *network, size_t i,
                                const fnn_batch *batch, const fnn_update *update,
                                const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const fnn_kernels *kernels = network->kernels;
  const fnn_embedding e = backward_of(network, i, batch);
  fnn_updates own;
  if (update) own = fnn_updates_of(stage, update);
  const size_t nr = kernels->nr, terms = stage->terms;
  fnn_part p = fnn_parts(worker, 0, fnn_panels(kernels, stage->columns), terms);
  while (fnn_next_part(&p))
    for (size_t panel = p.panel0; panel < p.panel1; panel++) {
      const size_t w = panel * stage->w_rows * nr, b = panel * stage->b_rows * nr;
      kernels->periodic_backward_weights(&e, panel, p.row0, p.row1);
      if (!update) continue;
      update_values(network, stage->w, stage->dw, &own.w, w + p.row0 * stage->size * nr,
                    (p.row1 - p.row0) * stage->size * nr);
      update_values(network, stage->b, stage->db, &own.b, b + p.row0 * nr,
                    (p.row1 - p.row0) * nr);
      if (p.row0 == 0)
        update_values(network, stage->b, stage->db, &own.b, b + terms * nr,
                      (stage->size - 1) * nr);
    }
}

const fnn_stage_way fnn_periodic_way = {periodic_forward, periodic_input_gradient,
                                        periodic_parameters, periodic_predict};
