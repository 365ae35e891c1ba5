/* Embeddings, and functions with parameters, forward and back, each thread its share: of
 * rows, and of parameters units whose gradients need nothing of each other. */
#include "engine/embeddings.h"

#include "engine/stages.h"
#include "engine/update.h"

static fnn_embedding embedding_of(const fnn_network *network, size_t i) {
  const fnn_stage *stage = &network->stages[i];
  return (fnn_embedding){.k = stage->k,
                         .columns = stage->columns,
                         .size = stage->size,
                         .terms = stage->terms,
                         .starts = stage->starts,
                         .edges = stage->edges,
                         .w = stage->w[0],
                         .b = stage->b[0],
                         .y_row = stage->row};
}

/* Forward, by rows. */
static double embed(const fnn_network *network, fnn_stage_kind kind,
                    const fnn_embedding *e, size_t row0, size_t row1) {
  const fnn_kernels *kernels = network->kernels;
  if (kind == FNN_STAGE_PERIODIC) return kernels->periodic_forward(e, row0, row1);
  if (kind == FNN_STAGE_PIECEWISE) return kernels->piecewise_forward(e, row0, row1);
  return kernels->table_forward(e, row0, row1);
}

static double embedding_forward(const fnn_network *network, size_t i,
                                const fnn_batch *batch, const fnn_worker *worker) {
  fnn_embedding e = embedding_of(network, i);
  size_t row0, row1;
  fnn_share(worker, batch->rows, &row0, &row1);
  e.x = fnn_input_of(network, i, batch);
  e.x_row = fnn_input_row(network, i, batch);
  e.y = network->stages[i].y;
  return embed(network, network->stages[i].kind, &e, row0, row1);
}

/* By one thread. */
static double embedding_predict(const fnn_network *network, size_t i, const void *x,
                                ptrdiff_t x_row, size_t rows, void *y, void *room,
                                const fnn_worker *worker) {
  fnn_embedding e = embedding_of(network, i);
  e.x = x;
  e.x_row = x_row;
  e.y = y;
  (void)room;
  if (worker->thread > 0) return 0.0;
  return embed(network, network->stages[i].kind, &e, 0, rows);
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

static double embedding_input_gradient(const fnn_network *network, size_t i,
                                       const fnn_batch *batch,
                                       const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i], *below = stage - 1;
  const fnn_kernels *kernels = network->kernels;
  fnn_embedding e = backward_of(network, i, batch);
  size_t row0, row1;
  fnn_share(worker, batch->rows, &row0, &row1);
  e.dx = below->dy;
  e.dx_row = below->row;
  e.saved = fnn_saved_of(below);
  e.activation = below->activation;
  if (stage->kind == FNN_STAGE_PERIODIC)
    return kernels->periodic_backward(&e, row0, row1);
  if (stage->kind == FNN_STAGE_PIECEWISE)
    return kernels->piecewise_backward(&e, row0, row1);
  return kernels->table_backward(&e, row0, row1);
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

/* The update of rows [row0, row1) of all panels. */
static void update_rows(const fnn_network *network, const fnn_stage *stage,
                        void *const *values, const void *gradients, size_t rows,
                        const fnn_update *update, size_t row0, size_t row1) {
  const size_t nr = network->kernels->nr;
  for (size_t panel = 0; panel < fnn_panels(network->kernels, stage->w_n); panel++)
    update_values(network, values, gradients, update, (panel * rows + row0) * nr,
                  (row1 - row0) * nr);
}

/* Units: columns, each with rows of its own. */
static void rows_parameters(const fnn_network *network, size_t i,
                            const fnn_batch *batch, const fnn_update *update,
                            const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const fnn_kernels *kernels = network->kernels;
  const fnn_embedding e = backward_of(network, i, batch);
  size_t begin, end;
  fnn_share(worker, stage->columns, &begin, &end);
  if (begin == end) return;
  if (stage->kind == FNN_STAGE_TABLE) kernels->table_backward_weights(&e, begin, end);
  else kernels->piecewise_backward_weights(&e, begin, end);
  if (!update) return;
  const fnn_updates own = fnn_updates_of(stage, update);
  update_rows(network, stage, stage->w, stage->dw, stage->w_rows, &own.w,
              stage->starts[begin], stage->starts[end]);
  if (stage->use_bias)
    update_rows(network, stage, stage->b, stage->db, stage->b_rows, &own.b, begin, end);
}

static fnn_parametric parametric_of(const fnn_network *network, size_t i,
                                    const fnn_batch *batch) {
  const fnn_stage *stage = &network->stages[i];
  return (fnn_parametric){.function = stage->function,
                          .x = fnn_input_of(network, i, batch),
                          .x_row = fnn_input_row(network, i, batch),
                          .a = stage->w[0],
                          .y = stage->y,
                          .f = stage->z,
                          .y_row = stage->row,
                          .m = batch->rows,
                          .n = stage->n,
                          .dy = stage->dy,
                          .da = stage->dw,
                          .add = batch->group_row > 0};
}

static double parametric_forward(const fnn_network *network, size_t i,
                                 const fnn_batch *batch, const fnn_worker *worker) {
  const fnn_parametric p = parametric_of(network, i, batch);
  size_t row0, row1;
  fnn_share(worker, batch->rows, &row0, &row1);
  return network->kernels->parametric_forward(&p, row0, row1);
}

static double parametric_input_gradient(const fnn_network *network, size_t i,
                                        const fnn_batch *batch,
                                        const fnn_worker *worker) {
  const fnn_stage *below = &network->stages[i] - 1;
  fnn_parametric p = parametric_of(network, i, batch);
  size_t row0, row1;
  fnn_share(worker, batch->rows, &row0, &row1);
  p.dx = below->dy;
  p.dx_row = below->row;
  p.saved = fnn_saved_of(below);
  p.activation = below->activation;
  return network->kernels->parametric_backward(&p, row0, row1);
}

static void parametric_parameters(const fnn_network *network, size_t i,
                                  const fnn_batch *batch, const fnn_update *update,
                                  const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const fnn_kernels *kernels = network->kernels;
  const fnn_parametric p = parametric_of(network, i, batch);
  fnn_updates own;
  size_t begin, end;
  if (update) own = fnn_updates_of(stage, update);
  fnn_share(worker, fnn_panels(kernels, stage->n), &begin, &end);
  for (size_t panel = begin; panel < end; panel++) {
    kernels->parametric_backward_weights(&p, panel);
    if (update)
      update_values(network, stage->w, stage->dw, &own.w, panel * kernels->nr,
                    kernels->nr);
  }
}

/* By one thread. */
static double parametric_predict(const fnn_network *network, size_t i, const void *x,
                                 ptrdiff_t x_row, size_t rows, void *y, void *room,
                                 const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const fnn_parametric p = {.function = stage->function,
                            .x = x,
                            .x_row = x_row,
                            .a = stage->w[0],
                            .y = y,
                            .y_row = stage->row,
                            .n = stage->n};
  (void)room;
  return worker->thread > 0 ? 0.0 : network->kernels->parametric_forward(&p, 0, rows);
}

const fnn_stage_way fnn_periodic_way = {embedding_forward, embedding_input_gradient,
                                        periodic_parameters, embedding_predict};
const fnn_stage_way fnn_piecewise_way = {embedding_forward, embedding_input_gradient,
                                         rows_parameters, embedding_predict};
const fnn_stage_way fnn_table_way = {embedding_forward, embedding_input_gradient,
                                     rows_parameters, embedding_predict};
const fnn_stage_way fnn_parametric_way = {parametric_forward, parametric_input_gradient,
                                          parametric_parameters, parametric_predict};
