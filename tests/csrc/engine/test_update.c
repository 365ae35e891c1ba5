/* Optimizer steps: against their equations in long double, and fused with the weight
 * gradient against the stored gradient, to the bit. */
#include <math.h>
#include <string.h>

#include "engine/update.h"
#include "support/support.h"
#include "tests.h"

#define ADAM .beta_1 = 0.9, .beta_2 = 0.999, .epsilon = 1e-8
#define PENALTIES .l1 = 0.02, .l2 = 0.3, .clip_value = 0.5, .weight_decay = 0.5

static const fnn_optimizer optimizers[] = {
    {.kind = FNN_SGD, .learning_rate = 0.1},
    {.kind = FNN_SGD, .learning_rate = 0.1, .weight_decay = 0.5},
    {.kind = FNN_SGD, .learning_rate = 0.1, PENALTIES},
    {.kind = FNN_MOMENTUM, .learning_rate = 0.1, .momentum = 0.9},
    {.kind = FNN_MOMENTUM, .learning_rate = 0.1, .momentum = 0.9, PENALTIES},
    {.kind = FNN_NESTEROV, .learning_rate = 0.03, .momentum = 0.7},
    {.kind = FNN_NESTEROV, .learning_rate = 0.03, .momentum = 0.7, PENALTIES},
    {.kind = FNN_RMSPROP, .learning_rate = 0.01, .beta_2 = 0.99, .epsilon = 1e-8},
    {.kind = FNN_RMSPROP,
     .learning_rate = 0.01,
     .beta_2 = 0.9,
     .epsilon = 1e-3,
     PENALTIES},
    {.kind = FNN_ADAGRAD, .learning_rate = 0.01, .epsilon = 1e-10},
    {.kind = FNN_ADAGRAD, .learning_rate = 0.1, .epsilon = 1e-3, PENALTIES},
    {.kind = FNN_ADAM, .learning_rate = 1e-2, ADAM},
    {.kind = FNN_ADAM, .learning_rate = 1e-2, ADAM, .epsilon_hat = 1},
    {.kind = FNN_ADAM, .learning_rate = 0.1, .weight_decay = 0.5, ADAM},
    {.kind = FNN_ADAM, .learning_rate = 0.1, ADAM, PENALTIES},
    {.kind = FNN_NADAM, .learning_rate = 2e-3, .momentum_decay = 4e-3, ADAM},
    {.kind = FNN_NADAM, .learning_rate = 0.1, .momentum_decay = 0.1, ADAM, PENALTIES},
    {.kind = FNN_LION, .learning_rate = 1e-2, .beta_1 = 0.9, .beta_2 = 0.99},
    {.kind = FNN_LION, .learning_rate = 1e-2, .beta_1 = 0.9, .beta_2 = 0.99, PENALTIES},
};
enum { OPTIMIZERS = sizeof optimizers / sizeof *optimizers };

static void check_near(const char *what, fnn_dtype dtype, double got, long double exact,
                       long double size, double roundings) {
  const double error =
      (double)(fabsl((long double)got - exact) /
               ((long double)roundoff(dtype) * size + (long double)smallest(dtype)));
  figure(what, error);
  CHECK(error <= limit(dtype, roundings), "%s: %.17g, not %.17Lg (%g u)", what, got,
        exact, error);
}

/* A value with the sum of the magnitudes that went into it. */
typedef struct sized {
  long double value, size;
} sized;

/* The gradient after clipping and penalties. */
static sized conditioned(const fnn_optimizer *o, long double w, long double g) {
  const long double c = (long double)o->clip_value;
  const long double l1 = (long double)o->l1, l2 = (long double)o->l2;
  if (c > 0) g = fminl(c, fmaxl(-c, g));
  const long double sign = (long double)(w > 0) - (long double)(w < 0);
  return (sized){g + l1 * sign + l2 * w, fabsl(g) + l1 + fabsl(l2 * w)};
}

static long double nadam_momentum(const fnn_optimizer *o, uint64_t t) {
  const long double psi = (long double)o->momentum_decay;
  return (long double)o->beta_1 * (1 - 0.5L * powl(0.96L, (long double)t * psi));
}

/* Adam and NAdam: what is divided by the root of the second moment. */
static sized adam_step(const fnn_optimizer *o, uint64_t step, sized m, sized g) {
  const long double lr = (long double)o->learning_rate;
  const long double b1 = (long double)o->beta_1;
  if (o->kind == FNN_ADAM) {
    const long double rate = lr / (1 - powl(b1, (long double)step));
    return (sized){rate * m.value, rate * m.size};
  }
  long double product = 1;
  for (uint64_t t = 1; t <= step; t++) product *= nadam_momentum(o, t);
  const long double mu = nadam_momentum(o, step), next = nadam_momentum(o, step + 1);
  const long double of_m = lr * next / (1 - product * next);
  const long double of_g = lr * (1 - mu) / (1 - product);
  return (sized){of_m * m.value + of_g * g.value, of_m * m.size + of_g * g.size};
}

/* The equations of optimizers.inc.h, as the papers have them. The constants are what
 * the dtype makes of them, so each may add a rounding. */
static void check_step(fnn_dtype dtype, const fnn_optimizer *o, uint64_t step,
                       const double before[3], double gradient, const double after[3]) {
  const long double lr = (long double)o->learning_rate, mu = (long double)o->momentum;
  const long double b1 = (long double)o->beta_1, b2 = (long double)o->beta_2;
  const long double eps = (long double)o->epsilon;
  const long double s0 = (long double)before[1], s1 = (long double)before[2];
  const sized g = conditioned(o, (long double)before[0], (long double)gradient);
  const long double w =
      (1 - lr * (long double)o->weight_decay) * (long double)before[0];
  const long double w_size = fabsl((long double)before[0]);
  switch (o->kind) {
    case FNN_SGD:
      check_near("sgd: error in u", dtype, after[0], w - lr * g.value,
                 w_size + lr * g.size, 8);
      return;
    case FNN_MOMENTUM:
    case FNN_NESTEROV: {
      const sized v = {mu * s0 + g.value, fabsl(mu * s0) + g.size};
      const int nesterov = o->kind == FNN_NESTEROV;
      const long double move = nesterov ? g.value + mu * v.value : v.value;
      const long double size = nesterov ? g.size + v.size : v.size;
      check_near("velocity: error in u", dtype, after[1], v.value, v.size, 6);
      check_near("momentum: error in u", dtype, after[0], w - lr * move,
                 w_size + lr * size, 8);
      return;
    }
    case FNN_RMSPROP:
    case FNN_ADAGRAD: {
      const int mean = o->kind == FNN_RMSPROP;
      const long double old = mean ? b2 * s0 : s0, share = mean ? 1 - b2 : 1;
      const long double s = old + share * g.value * g.value;
      const long double root = sqrtl(s) + eps;
      check_near("mean square: error in u", dtype, after[1], s,
                 old + share * g.size * g.size, 12);
      check_near("rooted: error in u", dtype, after[0], w - lr * g.value / root,
                 w_size + lr * g.size / root, 20);
      return;
    }
    case FNN_ADAM:
    case FNN_NADAM: {
      const sized m = {b1 * s0 + (1 - b1) * g.value,
                       fabsl(b1 * s0) + (1 - b1) * g.size};
      const long double v = b2 * s1 + (1 - b2) * g.value * g.value;
      const long double correction = 1 - powl(b2, (long double)step);
      const long double root =
          sqrtl(v / correction) + (o->epsilon_hat ? eps / sqrtl(correction) : eps);
      const sized move = adam_step(o, step, m, g);
      check_near("first moment: error in u", dtype, after[1], m.value, m.size, 8);
      check_near("second moment: error in u", dtype, after[2], v,
                 b2 * s1 + (1 - b2) * g.size * g.size, 12);
      /* The bias corrections are worked out in double: their roundings are magnified
       * where 1 - beta^t is small, which only f64 notices. */
      const double corrections =
          (double)(1 / (1 - powl(b1, (long double)step)) + 1 / correction);
      /* A gradient of which penalties left little makes the root uncertain. */
      const long double left = (1 - b2) * fabsl(g.value) * g.size;
      const long double doubt = v > 0 ? 1 + left / v : 1;
      check_near("adam: error in u", dtype, after[0], w - move.value / root,
                 w_size + doubt * move.size / root,
                 20 + (dtype == FNN_F64 ? 2 * corrections : 0.0));
      return;
    }
    case FNN_LION: {
      const long double c = b1 * s0 + (1 - b1) * g.value;
      const long double size = fabsl(b1 * s0) + (1 - b1) * g.size;
      const long double sign = (long double)(c > 0) - (long double)(c < 0);
      check_near("lion's moment: error in u", dtype, after[1],
                 b2 * s0 + (1 - b2) * g.value, fabsl(b2 * s0) + (1 - b2) * g.size, 8);
      if (c != 0 && fabsl(c) <= 8 * (long double)roundoff(dtype) * size) return;
      check_near("lion: error in u", dtype, after[0], w - lr * sign, w_size + lr, 8);
      return;
    }
  }
}

static void update_count(fnn_dtype dtype, const fnn_optimizer *o, size_t count) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const size_t states = fnn_optimizer_states(o->kind).count;
  const uint64_t step = 1 + random_below(50);
  const fnn_update update =
      fnn_update_begin(o, o->learning_rate, step, fnn_momentum_product(o, step - 1));
  guarded g = guard_random(dtype, count, random_below(3));
  guarded part[3], before[3];
  for (size_t p = 0; p < 3; p++) {
    part[p] = guard_random(dtype, p <= states ? count : 0, random_below(3));
    for (size_t i = 0; p && i < part[p].bytes / kernels->itemsize; i++)
      if (p == 2 || o->kind == FNN_RMSPROP || o->kind == FNN_ADAGRAD)
        set_real(dtype, part[p].data, i, fabs(real_at(dtype, part[p].data, i)));
    before[p] = guard_copy(&part[p]);
  }
  kernels->update(&update, part[0].data, g.data, states > 0 ? part[1].data : NULL,
                  states > 1 ? part[2].data : NULL, count);
  for (size_t i = 0; i < count; i++) {
    double old[3] = {0.0}, new[3] = {0.0};
    for (size_t p = 0; p <= states; p++) {
      old[p] = real_at(dtype, before[p].data, i);
      new[p] = real_at(dtype, part[p].data, i);
    }
    check_step(dtype, o, step, old, real_at(dtype, g.data, i), new);
  }
  for (size_t p = 0; p < 3; p++) {
    guard_release(&part[p], "weights or state");
    guard_release(&before[p], "their copy");
  }
  guard_release(&g, "g");
}

void test_update(fnn_dtype dtype) {
  static const size_t counts[] = {0,  1,  2,  3,  7,  8,  9,  15,
                                  16, 17, 31, 32, 33, 63, 65, 200};
  for (size_t o = 0; o < OPTIMIZERS; o++)
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
      update_count(dtype, &optimizers[o], counts[i]);
}

/* Weights and biases with an optimizer's state, packed. */
typedef struct parameters {
  guarded w[3], b[3];
} parameters;

static parameters random_parameters(const fnn_kernels *kernels, const shape *s) {
  parameters p;
  const size_t columns = fnn_panels(kernels, s->n) * kernels->nr;
  for (int part = 0; part < 3; part++) {
    guarded plain = guard_random(kernels->dtype, s->k * s->n, 0);
    for (size_t i = 0; part && i < s->k * s->n; i++) /* squares among them */
      set_real(kernels->dtype, plain.data, i,
               fabs(real_at(kernels->dtype, plain.data, i)));
    p.w[part] = guard_zeros(kernels->dtype, columns * s->k);
    p.b[part] = guard_zeros(kernels->dtype, columns);
    kernels->pack(plain.data, (ptrdiff_t)s->n, s->k, s->n, p.w[part].data);
    memcpy(p.b[part].data, plain.data, s->n * kernels->itemsize);
    guard_release(&plain, "plain");
  }
  return p;
}

static void fused_shape(const fnn_kernels *kernels, const shape *s,
                        const fnn_optimizer *o) {
  const size_t states = fnn_optimizer_states(o->kind).count, nr = kernels->nr;
  const size_t padded = round_up(s->n, kernels->lanes),
               panels = fnn_panels(kernels, s->n);
  guarded x = guard(s->m * s->k, kernels->itemsize, 0);
  guarded dy = guard(s->m * padded, kernels->itemsize, 0);
  guarded dw = guard_zeros(kernels->dtype, panels * nr * s->k);
  guarded db = guard_zeros(kernels->dtype, panels * nr);
  guarded scratch =
      guard(fnn_weights_scratch(kernels, s->m, s->k, s->n), kernels->itemsize, 0);
  fill_rows(kernels->dtype, x.data, s->m, s->k, s->k, s->k);
  fill_rows(kernels->dtype, dy.data, s->m, padded, s->n, padded);
  const uint64_t seed = random_bits();
  random_seed(seed);
  parameters fused = random_parameters(kernels, s);
  random_seed(seed);
  parameters stored = random_parameters(kernels, s);
  const fnn_update update =
      fnn_update_begin(o, o->learning_rate, 3, fnn_momentum_product(o, 2));
  const fnn_update for_bias = fnn_update_with(&update, &(fnn_factors){0.1, 2.0, 0.5});
  fnn_backward_weights g = {.x = x.data,
                            .x_row = (ptrdiff_t)s->k,
                            .dy = dy.data,
                            .dy_row = (ptrdiff_t)padded,
                            .m = s->m,
                            .k = s->k,
                            .n = s->n,
                            .update = &update,
                            .b_update = &for_bias,
                            .w = fused.w[0].data,
                            .b = fused.b[0].data,
                            .scratch = scratch.data};
  for (size_t i = 0; i < states; i++) {
    g.w_state[i] = fused.w[1 + i].data;
    g.b_state[i] = fused.b[1 + i].data;
  }
  const size_t row = random_below(s->k + 1);
  const size_t half = panels / 2;
  kernels->dense_backward_weights(&g, 0, half, 0, s->k);
  kernels->dense_backward_weights(&g, half, panels, 0, row);
  kernels->dense_backward_weights(&g, half, panels, row, s->k);
  for (size_t panel = 0; panel < panels; panel++)
    kernels->dense_backward_bias(&g, panel);
  g.update = NULL;
  g.dw = dw.data;
  g.db = db.data;
  kernels->dense_backward_weights(&g, 0, panels, 0, s->k);
  for (size_t panel = 0; panel < panels; panel++)
    kernels->dense_backward_bias(&g, panel);
  kernels->update(&update, stored.w[0].data, dw.data, stored.w[1].data,
                  stored.w[2].data, panels * nr * s->k);
  kernels->update(&for_bias, stored.b[0].data, db.data, stored.b[1].data,
                  stored.b[2].data, panels * nr);
  for (size_t p = 0; p < 3; p++) {
    CHECK(same_reals(kernels->dtype, &fused.w[p], &stored.w[p]),
          "w, part %zu, optimizer %d, (%zu, %zu, %zu)", p, (int)o->kind, s->m, s->k,
          s->n);
    CHECK(same_reals(kernels->dtype, &fused.b[p], &stored.b[p]),
          "b, part %zu, optimizer %d, (%zu, %zu, %zu)", p, (int)o->kind, s->m, s->k,
          s->n);
    guard_release(&fused.w[p], "w fused");
    guard_release(&fused.b[p], "b fused");
    guard_release(&stored.w[p], "w stored");
    guard_release(&stored.b[p], "b stored");
  }
  guard_release(&x, "x");
  guard_release(&dy, "dy");
  guard_release(&dw, "dw");
  guard_release(&db, "db");
  guard_release(&scratch, "scratch");
}

void test_fused_update_gives_the_stored_bits(fnn_dtype dtype) {
  shape s;
  size_t packed = 0, goes_on = 0;
  for (size_t i = 0; next_shape(i, &s); i++) {
    const fnn_kernels *kernels = fnn_kernels_for(dtype);
    const size_t columns = fnn_panels(kernels, s.n) * kernels->nr;
    fused_shape(kernels, &s, &optimizers[i % OPTIMIZERS]);
    if (!fnn_packs_inputs(s.m, s.k, columns, kernels->itemsize)) continue;
    for (size_t o = 0; o < OPTIMIZERS; o++) fused_shape(kernels, &s, &optimizers[o]);
    *(s.m > FNN_GRADIENT_STEPS ? &goes_on : &packed) += 1;
  }
  CHECK(packed > 0 && goes_on > 0, "no shape is packed, or summed up in blocks");
}
