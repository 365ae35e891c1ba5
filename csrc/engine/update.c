/* Optimizer steps: their constants, stored gradients applied, and what goes over whole
 * arrays: the norm of all gradients and those of columns. */
#include "engine/update.h"

#include <math.h>

#include "kernels/layout.h"

/* mu_t = beta_1 (1 - 0.96^(t psi) / 2) */
static double momentum_at(const fnn_optimizer *o, uint64_t t) {
  return o->beta_1 * (1.0 - 0.5 * pow(0.96, (double)t * o->momentum_decay));
}

double fnn_momentum_product_next(const fnn_optimizer *o, double product,
                                 uint64_t step) {
  /* Below 2^-60 it vanishes in the 1 that it is subtracted from. */
  if (o->kind != FNN_NADAM || product < 0x1p-60) return product;
  return product * momentum_at(o, step);
}

double fnn_momentum_product(const fnn_optimizer *o, uint64_t step) {
  double product = 1.0;
  if (o->kind != FNN_NADAM) return product;
  for (uint64_t t = 1; t <= step && product >= 0x1p-60; t++)
    product = fnn_momentum_product_next(o, product, t);
  return product;
}

fnn_update fnn_update_begin(const fnn_optimizer *o, double rate, uint64_t step,
                            double product) {
  fnn_update u = {.kind = o->kind,
                  .rate = rate,
                  .momentum = o->momentum,
                  .beta_1 = o->beta_1,
                  .beta_2 = o->beta_2,
                  .root_scale = 1.0,
                  .epsilon = o->epsilon,
                  .decay = rate * o->weight_decay,
                  .keep = 1.0 - rate * o->weight_decay,
                  .clip = o->clip_value > 0.0 ? o->clip_value : INFINITY,
                  .scale = 1.0,
                  .l1 = o->l1,
                  .l2 = o->l2};
  u.plain = o->clip_value <= 0.0 && o->clip_norm <= 0.0 && o->l1 == 0.0 && o->l2 == 0.0;
  const double t = (double)step;
  if (o->kind == FNN_ADAM || o->kind == FNN_NADAM)
    u.root_scale = 1.0 / sqrt(1.0 - pow(o->beta_2, t));
  if (o->kind == FNN_ADAM) u.rate = rate / (1.0 - pow(o->beta_1, t));
  if (o->kind == FNN_ADAM && o->epsilon_hat) u.epsilon *= u.root_scale;
  if (o->kind == FNN_NADAM) {
    const double now = momentum_at(o, step), next = momentum_at(o, step + 1);
    const double up_to_now = product * now;
    u.rate = rate * next / (1.0 - up_to_now * next);
    u.gradient_rate = rate * (1.0 - now) / (1.0 - up_to_now);
  }
  return u;
}

fnn_updates fnn_updates_of(const fnn_stage *stage, const fnn_update *update) {
  fnn_updates own = {fnn_update_with(update, &stage->factors[0]),
                     fnn_update_with(update, &stage->factors[1])};
  own.b.l1 = own.b.l2 = 0.0;
  if (stage->kind != FNN_STAGE_DENSE) own.w.l1 = own.w.l2 = 0.0;
  return own;
}

/* This thread's share of the stored gradients. */
static void apply_gradients(fnn_network *network, const fnn_update *update,
                            const fnn_worker *worker) {
  const fnn_kernels *kernels = network->kernels;
  for (size_t i = 0; i < network->n_stages; i++) {
    const fnn_stage *stage = &network->stages[i];
    if (!stage->trainable) continue;
    const fnn_updates own = fnn_updates_of(stage, update);
    size_t begin, end;
    void *at[FNN_PARTS] = {NULL};
    fnn_share(worker, stage->w_size / kernels->nr, &begin, &end);
    const size_t from = begin * kernels->nr, count = (end - begin) * kernels->nr;
    for (size_t p = 0; p <= network->states; p++)
      at[p] = fnn_at(kernels, stage->w[p], from);
    kernels->update(&own.w, at[0], fnn_at(kernels, stage->dw, from), at[1], at[2],
                    count);
    if (worker->thread == 0 && stage->use_bias)
      kernels->update(&own.b, stage->b[0], stage->db, stage->b[1], stage->b[2],
                      stage->b_size);
  }
}

/* Of every trainable array a place for each column, weights before biases. */
static void sum_squares(const fnn_network *network, const fnn_worker *worker) {
  const fnn_kernels *kernels = network->kernels;
  const double clip =
      network->optimizer.clip_value > 0.0 ? network->optimizer.clip_value : INFINITY;
  double *sums = network->square_sums;
  for (size_t i = 0; i < network->n_stages; i++) {
    const fnn_stage *stage = &network->stages[i];
    size_t begin, end;
    const size_t columns = fnn_parameter_columns(kernels, stage);
    fnn_share(worker, columns / kernels->nr, &begin, &end);
    for (size_t panel = begin; stage->trainable && panel < end; panel++) {
      const size_t column = panel * kernels->nr;
      kernels->square_sums(fnn_at(kernels, stage->dw, column * stage->w_rows),
                           stage->w_rows, clip, sums + column);
      kernels->square_sums(fnn_at(kernels, stage->db, column * stage->b_rows),
                           stage->b_rows, clip, sums + columns + column);
    }
    sums += 2 * columns;
  }
}

/* NaN if the norm overflows. */
static double clip_factor(const fnn_network *network) {
  const double *sums = network->square_sums;
  double total = 0.0;
  for (size_t i = 0; i < network->n_stages; i++) {
    const fnn_stage *stage = &network->stages[i];
    const size_t columns = fnn_parameter_columns(network->kernels, stage);
    for (int bias = 0; stage->trainable && bias < 2; bias++)
      for (size_t j = 0; j < stage->w_n; j++) total += sums[(bias ? columns : 0) + j];
    sums += 2 * columns;
  }
  if (!isfinite(total)) return NAN;
  return fmin(1.0, network->optimizer.clip_norm / sqrt(total));
}

int fnn_apply_stored(fnn_network *network, fnn_update *update,
                     const fnn_worker *worker) {
  fnn_barrier_wait(worker);
  if (network->optimizer.clip_norm > 0.0) {
    sum_squares(network, worker);
    fnn_barrier_wait(worker);
    update->scale = clip_factor(network);
    if (isnan(update->scale)) return 0;
  }
  apply_gradients(network, update, worker);
  return 1;
}

void fnn_apply_max_norm(const fnn_network *network, const fnn_worker *worker) {
  const fnn_kernels *kernels = network->kernels;
  if (network->optimizer.max_norm <= 0.0) return;
  fnn_barrier_wait(worker);
  for (size_t i = 0; i < network->n_stages; i++) {
    const fnn_stage *stage = &network->stages[i];
    if (!stage->trainable || stage->kind != FNN_STAGE_DENSE) continue;
    if (stage->factors[0].rate == 0.0) continue;
    size_t begin, end;
    fnn_share(worker, stage->b_size / kernels->nr, &begin, &end);
    for (size_t panel = begin; panel < end; panel++)
      kernels->limit_columns(
          fnn_at(kernels, stage->w[0], panel * kernels->nr * stage->w_rows),
          stage->w_rows, network->optimizer.max_norm);
  }
}
