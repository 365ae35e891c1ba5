/* Optimizer steps: against their equations in long double, and fused with the weight
 * gradient against the stored gradient, to the bit. */
#include <math.h>
#include <string.h>

#include "engine.h"
#include "support.h"
#include "tests.h"

static const fnn_optimizer optimizers[] = {
    {.kind = FNN_SGD, .learning_rate = 0.1},
    {.kind = FNN_MOMENTUM, .learning_rate = 0.1, .momentum = 0.9},
    {.kind = FNN_NESTEROV, .learning_rate = 0.03, .momentum = 0.7},
    {.kind = FNN_ADAM,
     .learning_rate = 1e-2,
     .beta_1 = 0.9,
     .beta_2 = 0.999,
     .epsilon = 1e-8},
    {.kind = FNN_ADAM,
     .learning_rate = 0.1,
     .beta_1 = 0.8,
     .beta_2 = 0.9,
     .epsilon = 1e-4,
     .weight_decay = 0.5},
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

/* The equations of optimizers.inc.h, as the papers have them. The constants are what
 * the dtype makes of them, so each may add a rounding. */
static void check_step(fnn_dtype dtype, const fnn_optimizer *o, uint64_t step,
                       const double before[3], double g, const double after[3]) {
  const long double lr = (long double)o->learning_rate, mu = (long double)o->momentum;
  const long double w = (long double)before[0], gradient = (long double)g;
  const long double s0 = (long double)before[1], s1 = (long double)before[2];
  switch (o->kind) {
    case FNN_SGD:
      check_near("sgd: error in u", dtype, after[0], w - lr * gradient,
                 fabsl(w) + fabsl(lr * gradient), 3);
      return;
    case FNN_MOMENTUM:
    case FNN_NESTEROV: {
      const long double v = mu * s0 + gradient;
      const long double v_size = fabsl(mu * s0) + fabsl(gradient);
      const int nesterov = o->kind == FNN_NESTEROV;
      const long double move = nesterov ? gradient + mu * v : v;
      const long double size = nesterov ? fabsl(gradient) + v_size : v_size;
      check_near("velocity: error in u", dtype, after[1], v, v_size, 3);
      check_near("momentum: error in u", dtype, after[0], w - lr * move,
                 fabsl(w) + lr * size, 5);
      return;
    }
    case FNN_ADAM: {
      const long double b1 = (long double)o->beta_1, b2 = (long double)o->beta_2;
      const long double m = b1 * s0 + (1 - b1) * gradient;
      const long double v = b2 * s1 + (1 - b2) * gradient * gradient;
      const long double m_size = fabsl(b1 * s0) + fabsl((1 - b1) * gradient);
      const long double rate = lr / (1 - powl(b1, (long double)step));
      const long double root = sqrtl(v / (1 - powl(b2, (long double)step)));
      const long double keep = 1 - lr * (long double)o->weight_decay;
      const long double over = root + (long double)o->epsilon;
      check_near("first moment: error in u", dtype, after[1], m, m_size, 4);
      check_near("second moment: error in u", dtype, after[2], v, v, 6);
      /* The bias corrections are worked out in double: their roundings are magnified
       * where 1 - beta^t is small, which only f64 notices. */
      const double corrections = (double)(1 / (1 - powl(b1, (long double)step)) +
                                          1 / (1 - powl(b2, (long double)step)));
      check_near("adam: error in u", dtype, after[0], keep * w - rate * m / over,
                 fabsl(w) + rate * m_size / over,
                 8 + (dtype == FNN_F64 ? corrections : 0.0));
      return;
    }
  }
}

static void update_count(fnn_dtype dtype, const fnn_optimizer *o, size_t count) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const size_t states = fnn_optimizer_states(o->kind);
  const uint64_t step = 1 + random_below(50);
  const fnn_update update = fnn_update_begin(o, step);
  guarded g = guard_random(dtype, count, random_below(3));
  guarded part[3], before[3];
  for (size_t p = 0; p < 3; p++) {
    part[p] = guard_random(dtype, p <= states ? count : 0, random_below(3));
    for (size_t i = 0; p == 2 && i < part[p].bytes / kernels->itemsize; i++)
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
    for (size_t i = 0; part == 2 && i < s->k * s->n; i++)
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
  const size_t states = fnn_optimizer_states(o->kind), nr = kernels->nr;
  const size_t padded = round_up(s->n, kernels->lanes),
               panels = fnn_panels(kernels, s->n);
  guarded x = guard(s->m * s->k, kernels->itemsize, 0);
  guarded dy = guard(s->m * padded, kernels->itemsize, 0);
  guarded dw = guard_zeros(kernels->dtype, panels * nr * s->k);
  guarded db = guard_zeros(kernels->dtype, panels * nr);
  guarded scratch = guard(kernels->mr * nr, kernels->itemsize, 0);
  fill_rows(kernels->dtype, x.data, s->m, s->k, s->k, s->k);
  fill_rows(kernels->dtype, dy.data, s->m, padded, s->n, padded);
  const uint64_t seed = random_bits();
  random_seed(seed);
  parameters fused = random_parameters(kernels, s);
  random_seed(seed);
  parameters stored = random_parameters(kernels, s);
  const fnn_update update = fnn_update_begin(o, 3);
  fnn_update for_bias = update;
  for_bias.keep = 1.0;
  fnn_backward_weights g = {.x = x.data,
                            .x_row = (ptrdiff_t)s->k,
                            .dy = dy.data,
                            .dy_row = (ptrdiff_t)padded,
                            .m = s->m,
                            .k = s->k,
                            .n = s->n,
                            .update = &update,
                            .w = fused.w[0].data,
                            .b = fused.b[0].data,
                            .scratch = scratch.data};
  for (size_t i = 0; i < states; i++) {
    g.w_state[i] = fused.w[1 + i].data;
    g.b_state[i] = fused.b[1 + i].data;
  }
  const size_t row = random_below(s->k + 1);
  for (size_t panel = 0; panel < panels; panel++) {
    kernels->dense_backward_weights(&g, panel, 0, row);
    kernels->dense_backward_weights(&g, panel, row, s->k);
    kernels->dense_backward_bias(&g, panel);
  }
  g.update = NULL;
  g.dw = dw.data;
  g.db = db.data;
  for (size_t panel = 0; panel < panels; panel++) {
    kernels->dense_backward_weights(&g, panel, 0, s->k);
    kernels->dense_backward_bias(&g, panel);
  }
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
  for (size_t i = 0; next_shape(i, &s); i++)
    fused_shape(fnn_kernels_for(dtype), &s, &optimizers[i % OPTIMIZERS]);
}
