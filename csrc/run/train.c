/* Training: the epoch loop and the phases of an update.
 *
 *   gather | forward 1 | ... | forward L, loss, dX_L | dX_(L-1) | ... | all dW, update
 *   |
 *
 * "|" is a barrier; between stages that are split by rows there is none (stages.c).
 * All input gradients are complete before any weight changes, so one decision for the
 * whole step (fnn_bounds_of_batch) tells whether the updates may be applied in place, and all
 * weight gradients form one phase.  Every thread works out the same decisions from the
 * same numbers.
 *
 * Where steps are short (looks_ahead), the next rows are gathered while these are worked
 * on.  If each thread also updates the panels of layer 1 that it goes forward with, nobody
 * waits at the end of a step but for the weight gradients of the upper layers, which come
 * first and are long complete:
 *
 *   forward 1 | forward 2, loss, dX_2, gather the next | dW_L ... dW_2, arrive, dW_1, wait
 *
 * The rows of an update are a group of one or more mini-batches.  Gradients of several
 * are stored, and each goes on from the one before: one chain over all rows. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "engine/rounding.h"
#include "engine/update.h"
#include "engine/workspace.h"
#include "run/blocks.h"
#include "run/careful.h"
#include "threads/cost.h"

/* Whether the next rows are gathered ahead, see above; not where a step takes long, which
 * feels no barriers and is better not chosen before the last one's time is known. */
static int looks_ahead(const fnn_training *t, double work) {
  const double longest = 1e8;
  const fnn_network *network = t->network;
  const fnn_stage *first = &network->stages[0];
  return t->purpose == FNN_FUSED && work < longest && first->kind == FNN_STAGE_DENSE &&
         !first->split_rows && !network->bf16 && network->optimizer.max_norm <= 0.0;
}

/* Whether a thread goes forward through the panels of the first stage that it updates. */
static int keeps_panels(const fnn_network *network, const fnn_worker *worker) {
  return fnn_panels(network->kernels, network->stages[0].n) % (size_t)worker->threads ==
         0;
}

/* Thread 0, for all: what comes after the groups up to this row.  One that may be left
 * is the only one of its call, whose caller can then tell that nothing has changed. */
static void decide(fnn_training *t, size_t start) {
  t->stop = start == t->data->rows || t->leave || fnn_now() >= t->pause;
  if (!t->stop) fnn_next_group(t, start);
}

/* The last phase of a step that looks ahead; returns its arrival at the end. */
static unsigned update_and_arrive(const fnn_network *network, const fnn_batch *b,
                                  const fnn_update *update, const fnn_worker *worker) {
  const int early = keeps_panels(network, worker);
  unsigned arrival = 0;
  for (size_t i = network->n_stages; i-- > 0;) {
    if (early && i == 0) arrival = fnn_barrier_arrive(worker);
    if (i >= network->lowest && network->stages[i].trainable)
      network->stages[i].way.parameters(network, i, b, update, worker);
  }
  return early ? arrival : fnn_barrier_arrive(worker);
}

/* All mini-batches of a group and its update; FNN_RUNNING if that was done.  With `ahead`,
 * all have not yet arrived at its end. */
static fnn_region_end train_group(fnn_training *t, const fnn_group *g,
                                  fnn_update *update, fnn_bounds *bounds, uint64_t step,
                                  fnn_sums *s, fnn_ahead *ahead,
                                  const fnn_worker *worker) {
  fnn_network *network = t->network;
  const fnn_update worst = fnn_update_with(update, &network->worst);
  double gradient = isfinite(g->weight_sum) ? 0.0 : INFINITY;
  fnn_worker leaving = *worker; /* up to the last moment at which nothing has changed */
  leaving.stop = t->leave;
  if (ahead && worker->thread == 0) decide(t, g->first + g->rows);
  for (size_t row = 0; row < g->rows;) {
    const fnn_batch b = fnn_batch_begin(t, g, row, step);
    if (row) fnn_barrier_wait(&leaving); /* the workspace is free again */
    fnn_group_gradients(t, g, &b, ahead, &leaving);
    if (fnn_all_leave(&leaving)) return FNN_LEFT;
    if (t->outputs) return FNN_RUNNING;
    /* Every thread comes to the same conclusion. */
    if (t->purpose != FNN_GRADIENTS_ONLY &&
        !fnn_bounds_of_batch(network, b.rows, worker->threads, &gradient))
      return FNN_NEEDS_CARE;
    if (t->purpose == FNN_FUSED && !fnn_bounds_advance(bounds, &worst, gradient))
      return FNN_NEEDS_CARE;
    if (ahead) {
      ahead->stop = t->stop;
      ahead->next = t->next;
      ahead->arrival = update_and_arrive(network, &b, update, worker);
    } else {
      const int fused = t->purpose == FNN_FUSED;
      fnn_backward_parameters(network, &b, fused ? update : NULL,
                              fused ? worker : &leaving);
    }
    if (worker->thread == 0) fnn_add_rows(t, &b, s);
    row += b.rows;
  }
  if (t->purpose != FNN_FUSED && fnn_all_leave(&leaving)) return FNN_LEFT;
  if (t->purpose == FNN_GRADIENTS_ONLY) return FNN_RUNNING;
  if (t->purpose == FNN_STORED && (!fnn_bounds_advance(bounds, &worst, gradient) ||
                                   !fnn_apply_stored(network, update, worker)))
    return FNN_NEEDS_CARE;
  fnn_apply_max_norm(network, worker);
  if (t->purpose == FNN_STORED || network->optimizer.max_norm > 0.0)
    fnn_round_trained_weights(network, worker);
  if (worker->thread == 0) fnn_commit_statistics(network);
  return FNN_RUNNING;
}

static void train_groups(void *argument, const fnn_worker *worker) {
  fnn_training *t = argument;
  fnn_network *network = t->network;
  fnn_bounds bounds = network->bounds;
  uint64_t step = network->step;
  double product = network->product;
  fnn_region_end outcome = FNN_RUNNING;
  size_t start = t->start;
  const int looks = t->ahead && worker->threads > 1;
  fnn_ahead ahead = {.next = t->next};
  if (looks) fnn_barrier_wait(worker); /* all have read t->next */

  while (outcome == FNN_RUNNING) {
    const fnn_group g = ahead.next;
    fnn_sums s = {0.0, 0.0};
    if (g.weight_sum > 0.0) { /* else the group is skipped */
      const fnn_optimizer o = fnn_optimizer_at(t, step);
      fnn_update update = {0};
      if (t->purpose != FNN_GRADIENTS_ONLY)
        update = fnn_update_begin(&o, o.learning_rate, step + 1, product);
      outcome =
          train_group(t, &g, &update, &bounds, step, &s, looks ? &ahead : NULL, worker);
      if (outcome != FNN_RUNNING) {
        if (worker->thread == 0) t->next = g;
        break;
      }
      if (t->purpose != FNN_GRADIENTS_ONLY)
        product = fnn_momentum_product_next(&o, product, ++step);
    }
    start += g.rows;
    if (worker->thread == 0 && g.weight_sum > 0.0) fnn_add_totals(t, &g, &s);
    if (looks && g.weight_sum > 0.0) {
      fnn_barrier_finish(worker, ahead.arrival);
    } else {
      if (!(g.weight_sum > 0.0)) fnn_barrier_wait(worker); /* all know this group */
      if (worker->thread == 0) decide(t, start);
      fnn_barrier_wait(worker);
      ahead.stop = t->stop;
      ahead.next = t->next;
      if (looks) fnn_barrier_wait(worker); /* all have read t->next */
    }
    if (ahead.stop) outcome = FNN_FINISHED;
  }
  if (worker->thread == 0) {
    t->start = start;
    t->outcome = outcome;
    network->step = step;
    network->product = product;
    if (outcome == FNN_FINISHED) network->bounds = bounds;
  }
}

/* Of a mini-batch, in multiply-adds. */
static double step_work(const fnn_network *network, const fnn_array *x, size_t rows) {
  double work = 0.0;
  for (size_t i = 0; i < network->n_stages; i++) {
    const fnn_stage *stage = &network->stages[i];
    const int back = fnn_goes_back_to(network, i);
    const double width = i ? (double)stage->k : fnn_row_width(network, x);
    if (stage->kind == FNN_STAGE_DENSE)
      work += width * (double)stage->n * (1 + stage->trainable + back);
    else work += 20.0 * (double)stage->n;
    /* A cosine takes as long as some 10 of them, and more with its sine. */
    work += 50.0 * (double)(stage->columns * stage->terms);
    if (stage->starts) work += 3.0 * (double)(stage->w_size / stage->columns);
    if (!fnn_is_fused(stage->activation.kind)) work += 20.0 * (double)stage->n;
  }
  work *= (double)rows;
  /* The update of all weights, for which a dense mini-batch hides the time. */
  if (x->starts) work += 8.0 * (double)network->stages[0].w_size;
  return work;
}

static int step_barriers(const fnn_training *t, double work) {
  const fnn_network *network = t->network;
  int barriers = 2 + !fnn_last(network)->split_rows - looks_ahead(t, work);
  for (size_t i = 0; i < network->n_stages; i++) {
    barriers += fnn_forward_needs_barrier(network, i);
    barriers += fnn_goes_back_to(network, i) && fnn_backward_needs_barrier(network, i);
  }
  return barriers;
}

/* Updates until the data or the time is over, on as many threads as pay. */
static fnn_status train_on_threads(fnn_training *t, size_t rows, int likely, int most,
                                   double work) {
  fnn_network *network = t->network;
  fnn_pace *pace = most > 1 ? fnn_pace_take(&network->paces, work) : NULL;
  const double begin = fnn_now();
  const uint64_t step = network->step;
  int threads = 1;
  t->ahead = 0;
  t->pause = t->deadline;
  if (pace) {
    threads = fnn_pace_threads(pace, work, likely, most, begin);
    t->pause = fmin(t->deadline, begin + fnn_pace_seconds(pace));
    t->ahead = threads > 1 && looks_ahead(t, work);
  }
  const fnn_status status = fnn_reserve(network, rows, t->in_place, threads);
  if (status == FNN_OK) {
    const int used = fnn_parallel(threads, train_groups, t);
    const double end = fnn_now();
    const double steps =
        t->purpose == FNN_GRADIENTS_ONLY ? 1.0 : (double)(network->step - step);
    if (pace && steps > 0.0 && (threads > 1) == (used > 1) && t->outcome != FNN_LEFT)
      fnn_pace_add(pace, work * steps, end - begin, end);
  }
  if (pace) fnn_pace_give(&network->paces);
  return status;
}

/* Multiply-adds from which on an update may be left: some 40 ms by AVX2.  From those on
 * gradients are stored, so that it may be left until all are known. */
static const double long_work = 2e9, stored_work = 1.5e10;

static double update_work(const fnn_training *t) {
  const size_t left = t->data->rows - t->start;
  const size_t rows = t->batch_size < left ? t->batch_size : left;
  const size_t batches = t->batch_size ? (left + rows - 1) / rows : 1;
  return fnn_as_long(step_work(t->network, &t->data->x, rows)) * t->network->cost *
         (double)(t->accumulate < batches ? t->accumulate : batches);
}

fnn_status fnn_train_rows(fnn_training *t) {
  const size_t rows = t->batch_size < t->data->rows ? t->batch_size : t->data->rows;
  const double work =
      step_work(t->network, &t->data->x, rows) / (t->outputs ? 3.0 : 1.0);
  fnn_stop stop;
  fnn_stop_begin(&stop, t->limit);
  if (update_work(t) > long_work) t->leave = &stop;
  int most = fnn_most_threads(t->network);
  const int likely =
      fnn_choose_threads(work, t->network->cost, step_barriers(t, work), &most);
  if (t->purpose != FNN_FUSED && fnn_reserve_gradients(t->network) != FNN_OK)
    return FNN_NO_MEMORY;
  if (t->purpose != FNN_GRADIENTS_ONLY && !t->network->is_measured) {
    t->network->bounds = fnn_bounds_measure(t->network);
    t->network->is_measured = 1;
  }
  t->first_step = t->network->step;
  do {
    fnn_next_group(t, t->start);
    fnn_status status = train_on_threads(t, rows, likely, most, work);
    if (status == FNN_OK && t->outcome == FNN_NEEDS_CARE) status = fnn_careful_step(t);
    if (status != FNN_OK) return status;
    if (t->outcome == FNN_LEFT)
      return t->leave->agreed == FNN_INTERRUPT ? FNN_INTERRUPTED : FNN_OK;
  } while (t->start < t->data->rows && !t->leave && fnn_now() < t->deadline);
  return FNN_OK;
}

fnn_status fnn_train(fnn_network *network, const fnn_data *data, const fnn_steps *steps,
                     size_t *start, double *totals) {
  assert(steps->batch_size > 0 && steps->accumulate > 0 && *start <= data->rows);
  if (*start == data->rows) return FNN_OK;
  network->has_pending = 0;
  const int fused = steps->fused && steps->accumulate == 1 && !data->x.starts &&
                    network->optimizer.clip_norm <= 0.0;
  fnn_training t = {.network = network,
                    .data = data,
                    .batch_size = steps->batch_size,
                    .accumulate = steps->accumulate,
                    .rates = steps->rates,
                    .decays = steps->decays,
                    .dropout_rates = steps->dropout_rates,
                    .start = *start,
                    .totals = totals,
                    .deadline = fnn_now() + steps->max_seconds,
                    .limit = fnn_now() + steps->limit,
                    .purpose = fused ? FNN_FUSED : FNN_STORED,
                    .in_place = fnn_is_in_place(network, data)};
  /* Where there is no memory for gradients, it cannot be left at its end. */
  if (fused && update_work(&t) > stored_work &&
      fnn_reserve_gradients(network) == FNN_OK)
    t.purpose = FNN_STORED;
  const fnn_status status = fnn_train_rows(&t);
  *start = t.start;
  return status;
}
