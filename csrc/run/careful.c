/* The update of a group without a proof that it is harmless (see fnn_bounds): gradients
 * stored, everything checked, the old weights kept until all is sound. */
#include "run/careful.h"

#include <math.h>
#include <string.h>

#include "base/values.h"
#include "engine/rounding.h"
#include "engine/update.h"
#include "engine/workspace.h"
#include "run/blocks.h"
#include "threads/cost.h"

/* Copies weights and state of all stages to (or from) one block. */
static void copy_parts(fnn_network *network, char *block, int restore) {
  const size_t itemsize = network->kernels->itemsize;
  for (size_t i = 0; i < network->n_stages; i++) {
    fnn_stage *stage = &network->stages[i];
    for (size_t p = 0; stage->b_size && p <= network->states; p++)
      for (int bias = 0; bias < 2; bias++) {
        void *own = bias ? stage->b[p] : stage->w[p];
        const size_t bytes = (bias ? stage->b_size : stage->w_size) * itemsize;
        memcpy(restore ? own : block, restore ? block : own, bytes);
        block += bytes;
      }
  }
}

/* Whether parts [0, parts) of the weights and the stored gradients are finite. */
static int all_finite(const fnn_network *network, size_t parts) {
  const fnn_dtype dtype = network->kernels->dtype;
  int sound = 1;
  for (size_t i = 0; sound && i < network->n_stages; i++) {
    const fnn_stage *stage = &network->stages[i];
    if (!stage->trainable) continue;
    sound = fnn_finite_values(dtype, stage->dw, stage->w_size) &&
            fnn_finite_values(dtype, stage->db, stage->b_size);
    for (size_t p = 0; sound && p < parts; p++)
      sound = fnn_finite_values(dtype, stage->w[p], stage->w_size) &&
              fnn_finite_values(dtype, stage->b[p], stage->b_size);
    if (sound && stage->kind == FNN_STAGE_BATCH_NORM)
      sound = fnn_finite_values(dtype, stage->pending.mean, stage->n) &&
              fnn_finite_values(dtype, stage->pending.variance, stage->n);
  }
  return sound;
}

typedef struct careful {
  fnn_training *training;
  char *before; /* room for all weights and state */
  fnn_status status;
} careful;

/* The update by the stored gradients; all that is new is looked at. */
static fnn_status careful_update(fnn_network *network, const fnn_optimizer *o,
                                 char *before, const fnn_worker *worker) {
  fnn_update update =
      fnn_update_begin(o, o->learning_rate, network->step + 1, network->product);
  copy_parts(network, before, 0);
  int sound = fnn_apply_stored(network, &update, worker);
  if (sound) fnn_apply_max_norm(network, worker);
  if (!sound || !all_finite(network, 1 + network->states)) {
    copy_parts(network, before, 1);
    return FNN_DIVERGED;
  }
  fnn_round_trained_weights(network, worker);
  network->step++;
  network->product = fnn_momentum_product_next(o, network->product, network->step);
  return FNN_OK;
}

/* The gradients of a group without proof: everything that enters them is looked at.
 * May be left, see fnn_all_leave. */
static fnn_status careful_gradients(const fnn_training *t, const fnn_group *g,
                                    fnn_sums *s, const fnn_worker *worker) {
  fnn_network *network = t->network;
  const fnn_kernels *kernels = network->kernels;
  if (!isfinite(g->weight_sum)) return FNN_DIVERGED; /* a mean over that */
  for (size_t row = 0; row < g->rows;) {
    const fnn_batch b = fnn_batch_begin(t, g, row, network->step);
    /* The row stride may be negative. */
    const ptrdiff_t row_bytes = b.x_row * (ptrdiff_t)kernels->itemsize;
    fnn_group_gradients(t, g, &b, NULL, worker);
    for (size_t i = 0; !b.sparse.x && i < b.rows && !fnn_stop_asked(t->leave, 1); i++)
      if (!fnn_is_good_row(network, (const char *)b.x + (ptrdiff_t)i * row_bytes))
        return FNN_BAD_INPUT;
    if (fnn_all_leave(worker)) return FNN_OK;
    if (!fnn_finite_values(kernels->dtype, network->loss_rows, b.rows))
      return FNN_DIVERGED;
    fnn_backward_parameters(network, &b, NULL, worker);
    fnn_add_rows(t, &b, s);
    row += b.rows;
  }
  if (fnn_all_leave(worker)) return FNN_OK;
  return all_finite(network, 0) ? FNN_OK : FNN_DIVERGED;
}

/* The update of a group without proof.  Single-threaded and rare. */
static void careful_region(void *argument, const fnn_worker *worker) {
  careful *c = argument;
  fnn_training *t = c->training;
  fnn_network *network = t->network;
  const fnn_group g = t->next;
  fnn_sums s = {0.0, 0.0};
  fnn_worker leaving = *worker;
  leaving.stop = t->leave;
  c->status = careful_gradients(t, &g, &s, &leaving);
  if (c->status != FNN_OK) return;
  if (t->leave && t->leave->agreed) {
    t->outcome = FNN_LEFT;
    return;
  }
  const fnn_optimizer o = fnn_optimizer_at(t, network->step);
  c->status = careful_update(network, &o, c->before, worker);
  if (c->status != FNN_OK) return;
  fnn_commit_statistics(network);
  fnn_add_totals(t, &g, &s);
  t->start += g.rows;
}

/* Room for all weights and state, or NULL. */
static char *room_for_all(const fnn_network *network) {
  size_t values = 0;
  for (size_t i = 0; i < network->n_stages; i++)
    values += network->stages[i].w_size + network->stages[i].b_size;
  return fnn_alloc(values * (network->states + 1), network->kernels->itemsize);
}

fnn_status fnn_careful_step(fnn_training *t) {
  fnn_network *network = t->network;
  careful c = {t, room_for_all(network), FNN_NO_MEMORY};
  if (c.before && fnn_reserve_gradients(network) == FNN_OK)
    fnn_parallel(1, careful_region, &c);
  fnn_free(c.before);
  /* The bounds are from before the steps of this call. */
  network->bounds = fnn_bounds_measure(network);
  return c.status;
}

typedef struct application {
  fnn_network *network;
  fnn_optimizer optimizer; /* with the rate and decay of this update */
  char *before;
  fnn_status status;
} application;

static void careful_application(void *argument, const fnn_worker *worker) {
  application *a = argument;
  a->status = careful_update(a->network, &a->optimizer, a->before, worker);
}

/* The update of a group with a proof, as in train.c. */
static void tame_application(void *argument, const fnn_worker *worker) {
  application *a = argument;
  fnn_network *network = a->network;
  const fnn_optimizer *o = &a->optimizer;
  const uint64_t step = network->step + 1;
  fnn_update update = fnn_update_begin(o, o->learning_rate, step, network->product);
  if (!fnn_apply_stored(network, &update, worker)) return; /* a norm overflowed */
  fnn_apply_max_norm(network, worker);
  fnn_round_trained_weights(network, worker);
  if (worker->thread == 0) a->status = FNN_OK;
}

/* Whether the stored gradients can be proven harmless; the bounds are then those after
 * the update. */
static int is_tame(application *a) {
  fnn_network *network = a->network;
  const fnn_kernels *kernels = network->kernels;
  const fnn_optimizer *o = &a->optimizer;
  const fnn_update update =
      fnn_update_begin(o, o->learning_rate, network->step + 1, network->product);
  const fnn_update worst = fnn_update_with(&update, &network->worst);
  double gradient = 0.0;
  if (!network->is_measured) network->bounds = fnn_bounds_measure(network);
  network->is_measured = 1;
  for (size_t i = 0; i < network->n_stages; i++) {
    const fnn_stage *stage = &network->stages[i];
    if (!stage->trainable) continue;
    gradient += kernels->magnitude(stage->dw, stage->w_size) +
                kernels->magnitude(stage->db, stage->b_size);
  }
  return all_finite(network, 0) &&
         fnn_bounds_advance(&network->bounds, &worst, gradient);
}

static void apply_carefully(application *a) {
  a->before = room_for_all(a->network);
  if (a->before) fnn_parallel(1, careful_application, a);
  fnn_free(a->before);
  a->network->bounds = fnn_bounds_measure(a->network);
}

/* Threads that the update of all weights is worth. */
static int threads_of_update(const fnn_network *network) {
  double work = 0.0;
  int most = fnn_most_threads(network);
  for (size_t i = 0; i < network->n_stages; i++)
    work += 8.0 * (double)network->stages[i].w_size;
  return fnn_choose_threads(work, network->cost, 3, &most);
}

fnn_status fnn_apply_gradients(fnn_network *network, double rate, double decay,
                               const void *const *dw, const void *const *db) {
  application a = {network, network->optimizer, NULL, FNN_NO_MEMORY};
  a.optimizer.learning_rate = rate;
  a.optimizer.weight_decay = decay;
  if (fnn_reserve_gradients(network) != FNN_OK) return FNN_NO_MEMORY;
  for (size_t layer = 0; layer < network->n_layers; layer++) {
    const fnn_stage *stage = &network->stages[network->stage_of[layer]];
    const ptrdiff_t row = (ptrdiff_t)stage->w_n;
    if (!stage->b_size) continue;
    network->kernels->pack(dw[layer], row, stage->w_rows, stage->w_n, stage->dw);
    network->kernels->pack(db[layer], row, stage->b_rows, stage->w_n, stage->db);
  }
  if (is_tame(&a)) fnn_parallel(threads_of_update(network), tame_application, &a);
  if (a.status == FNN_OK) {
    network->step++;
    network->product =
        fnn_momentum_product_next(&a.optimizer, network->product, network->step);
  } else {
    apply_carefully(&a);
  }
  if (a.status == FNN_OK && network->has_pending) fnn_commit_statistics(network);
  network->has_pending = 0;
  return a.status;
}
