/* The magnitude algebra that lets a step skip its checks (docs/engine.md): each bound
 * against the values that it bounds, at the edge of overflow. */
#include "engine/bounds.h"

#include <math.h>
#include <stdlib.h>

#include "engine/network.h"
#include "engine/update.h"
#include "engine/workspace.h"
#include "run/group.h"
#include "support/formulas.h"
#include "support/network.h"
#include "support/support.h"
#include "tests.h"

static const fnn_optimizer_kind kinds[] = {FNN_OPTIMIZERS(KIND_ALONE)};
enum { KINDS = sizeof kinds / sizeof *kinds };
static const fnn_activation activations[] = {FNN_ACTIVATIONS(WITH_PARAMETER)};
enum { ACTIVATIONS = sizeof activations / sizeof *activations };

/* 2^[lo, hi] */
static double random_scale(double lo, double hi) {
  return exp2(random_uniform(lo, hi));
}
static int one_in(size_t n) { return random_below(n) == 0; }
static double sometimes(double value) { return one_in(3) ? value : 0.0; }

/* At most its bound in the dtype's arithmetic, some roundings included. */
static int is_within(fnn_dtype dtype, double value, double bound) {
  return fabs(value) <= bound * (1.0 + 64.0 * roundoff(dtype)) + 64.0 * smallest(dtype);
}

/* |act(z)| <= c (|z| + 1) and |act'| <= c, by the definitions and by the kernels. */
void test_activations_grow_as_said(fnn_dtype dtype) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  for (size_t a = 0; a < ACTIVATIONS; a++)
    for (int large = 0; large < 2; large++) {
      fnn_activation f = activations[a];
      if (large) f.parameter = 30.0;
      const double c = fnn_activation_growth(f);
      for (double z = -40.0; z <= 40.0; z += quick ? 0.37 : 0.01) {
        guarded x = guard_zeros(dtype, 32), y = guard_zeros(dtype, 32);
        guarded dx = guard_zeros(dtype, 32), one = guard_zeros(dtype, 32);
        for (size_t i = 0; i < 32; i++) {
          set_real(dtype, x.data, i, z);
          set_real(dtype, one.data, i, 1.0);
        }
        kernels->activation_forward(f, x.data, y.data, 32);
        kernels->activation_backward(
            f, one.data, fnn_saves_input(f.kind) ? x.data : y.data, dx.data, 32);
        const double exact = (double)activation_formula(f, (long double)z);
        CHECK(fabs(exact) <= c * (fabs(z) + 1.0) &&
                  is_within(dtype, real_at(dtype, y.data, 0), c * (fabs(z) + 1.0)),
              "%s(%g) is %g, its growth %g", fnn_activation_name(f.kind), z, exact, c);
        const double slope = activation_has_kink(f, (long double)z)
                                 ? 0.0
                                 : (double)activation_slope(f, (long double)z);
        CHECK(fabs(slope) <= c * (1.0 + 1e-9) &&
                  is_within(dtype, real_at(dtype, dx.data, 0), c),
              "the slope of %s at %g is %g, its growth %g", fnn_activation_name(f.kind),
              z, slope, c);
        guard_release(&x, "x");
        guard_release(&y, "y");
        guard_release(&dx, "dx");
        guard_release(&one, "one");
      }
    }
}

static fnn_optimizer random_optimizer(fnn_optimizer_kind kind, int tame) {
  const double edge = tame ? 0.0 : 64.0;
  const double betas[] = {0.0, 0.5, 0.9, 0.999, 1.0 - 1e-7};
  return (fnn_optimizer){
      .kind = kind,
      .learning_rate = random_scale(-30.0, one_in(2) ? 0.0 : edge),
      .momentum = betas[random_below(5)],
      .beta_1 = betas[random_below(5)],
      .beta_2 = betas[random_below(5)],
      .epsilon = tame ? random_scale(-30.0, 0.0) : random_scale(-126.0, 4.0),
      .momentum_decay = one_in(2) ? 0.0 : 0.004,
      .epsilon_hat = one_in(2),
      .weight_decay = sometimes(random_scale(-20.0, edge)),
      .l1 = sometimes(random_scale(-20.0, edge)),
      .l2 = sometimes(random_scale(-20.0, edge)),
      .clip_value = sometimes(random_scale(-20.0, tame ? 10.0 : 80.0))};
}

/* A value of at most this size: often just that. */
static double up_to(double size) {
  const double sign = one_in(2) ? 1.0 : -1.0;
  return sign * (one_in(3) ? size : size * random_uniform(0.0, 1.0));
}

enum { VALUES = 64 };

/* Whether it was proven; then the update is finite and within the new bounds. */
static int advance(fnn_dtype dtype, fnn_optimizer_kind kind, int tame) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const fnn_states has = fnn_optimizer_states(kind);
  const fnn_optimizer o = random_optimizer(kind, tame);
  const uint64_t steps[] = {0, 1, 9, 1000, 1000000}, step = steps[random_below(5)];
  const fnn_update u =
      fnn_update_begin(&o, o.learning_rate, step + 1, fnn_momentum_product(&o, step));
  const double most = tame ? 10.0 : 64.0, gradient = random_scale(-60.0, most);
  fnn_bounds b = {random_scale(-60.0, most), {0.0, 0.0}};
  guarded part[3], g = guard_zeros(dtype, VALUES);
  for (size_t p = 0; p < 3; p++) {
    part[p] = guard_zeros(dtype, VALUES);
    if (p == 0 || p > has.count) continue;
    const double size = random_scale(-60.0, p == has.squares ? 2.0 * most : most);
    b.state[p - 1] = one_in(4) ? 0.0 : size;
  }
  for (size_t i = 0; i < VALUES; i++) {
    set_real(dtype, g.data, i, up_to(gradient));
    set_real(dtype, part[0].data, i, up_to(b.weight));
    for (size_t p = 1; p <= has.count; p++) {
      const double value = up_to(b.state[p - 1]);
      set_real(dtype, part[p].data, i, p == has.squares ? fabs(value) : value);
    }
  }
  /* float32 holds no more than its own range of each. */
  const int proven = fnn_bounds_advance(&b, &u, gradient * (1.0 + 0x1p-20));
  b.weight *= 1.0 + 0x1p-20;
  kernels->update(&u, part[0].data, g.data, has.count > 0 ? part[1].data : NULL,
                  has.count > 1 ? part[2].data : NULL, VALUES);
  for (size_t p = 0; proven && p <= has.count; p++)
    for (size_t i = 0; i < VALUES; i++) {
      const double value = real_at(dtype, part[p].data, i);
      const double bound = p ? b.state[p - 1] : b.weight;
      if (!CHECK(isfinite(value) && is_within(dtype, value, bound),
                 "%s, part %zu: %g, its bound %g; rate %g, epsilon %g, l1 %g, l2 %g, "
                 "decay %g, clip %g, momentum %g, betas %g %g, gradient %g",
                 fnn_optimizer_name(kind), p, value, bound, o.learning_rate, o.epsilon,
                 o.l1, o.l2, o.weight_decay, o.clip_value, o.momentum, o.beta_1,
                 o.beta_2, gradient))
        break;
    }
  for (size_t p = 0; p < 3; p++) guard_release(&part[p], "weights or state");
  guard_release(&g, "g");
  return proven;
}

void test_updates_stay_within_their_bounds(fnn_dtype dtype) {
  for (size_t k = 0; k < KINDS; k++) {
    const size_t trials = samples(6000, 600);
    size_t proven = 0;
    for (size_t i = 0; i < trials; i++) {
      proven += (size_t)advance(dtype, kinds[k], 0);
      CHECK(advance(dtype, kinds[k], 1), "%s: an ordinary update was not proven",
            fnn_optimizer_name(kinds[k]));
    }
    CHECK(proven > trials / 50 && proven < trials, "%s: %zu of %zu proven",
          fnn_optimizer_name(kinds[k]), proven, trials);
  }
}

static int all_within(fnn_dtype dtype, const void *values, size_t count, double bound) {
  for (size_t i = 0; i < count; i++)
    if (!(fabs(real_at(dtype, values, i)) <= bound * (1.0 + 1e-4))) return 0;
  return 1;
}

/* All weights of all layers times `factor`. */
static void scale_weights(fnn_network *network, const problem *p, double factor) {
  const fnn_dtype dtype = network->kernels->dtype;
  for (size_t layer = 0; layer < p->n_layers; layer++) {
    const array_sizes sizes = sizes_of(p, layer);
    if (!sizes.w) continue;
    void *w = calloc(sizes.w, 8), *b = calloc(sizes.b, 8);
    if (!w || !b) abort();
    fnn_network_get(network, layer, 0, w, b);
    for (size_t i = 0; i < sizes.w; i++)
      set_real(dtype, w, i, real_at(dtype, w, i) * factor);
    fnn_network_set(network, layer, 0, w, b);
    free(w);
    free(b);
  }
}

/* What a mini-batch is proven to stay below, and what came of it. */
static void check_batch(const spec *s, double factor, size_t *proven) {
  problem p = problem_new(s);
  fnn_network *network = network_new(&p);
  const fnn_dtype dtype = network->kernels->dtype;
  void *dw[MAX_LAYERS] = {0}, *db[MAX_LAYERS] = {0};
  double totals[FNN_TOTALS] = {0.0}, gradient = 0.0;
  for (size_t layer = 0; layer < p.n_layers; layer++) {
    const array_sizes sizes = sizes_of(&p, layer);
    dw[layer] = calloc(sizes.w + 1, 8);
    db[layer] = calloc(sizes.b + 1, 8);
    if (!dw[layer] || !db[layer]) abort();
  }
  scale_weights(network, &p, factor);
  fnn_network_set_threads(network, 1);
  CHECK(fnn_gradients(network, &p.data, NULL, totals, dw, db) == FNN_OK, "failed");
  const int tame = fnn_bounds_of_batch(network, p.data.rows, 1, &gradient);
  *proven += (size_t)tame;
  for (size_t layer = 0; tame && layer < p.n_layers; layer++) {
    const array_sizes sizes = sizes_of(&p, layer);
    const fnn_stage *stage = fnn_stage_of(network, layer);
    const int is_dense = p.layers[layer].kind == FNN_DENSE;
    CHECK(all_within(dtype, dw[layer], sizes.w, gradient) &&
              all_within(dtype, db[layer], sizes.b, gradient),
          "%s, layer %zu, weights times %g: a gradient beyond its bound %g", s->name,
          layer, factor, gradient);
    for (size_t i = 0; is_dense && stage->y && i < p.data.rows; i++)
      CHECK(
          all_within(dtype, fnn_at(network->kernels, stage->y, i * (size_t)stage->row),
                     stage->n, 0x1p62),
          "%s, layer %zu, weights times %g: outputs too large", s->name, layer, factor);
  }
  for (size_t layer = 0; layer < p.n_layers; layer++) {
    free(dw[layer]);
    free(db[layer]);
  }
  fnn_network_free(network);
  problem_free(&p);
}

void test_gradients_stay_within_their_bounds(fnn_dtype dtype) {
  size_t proven = 0, tried = 0;
  for (size_t i = 0; i < trained_cases(); i++) {
    if (trained_spec(i)->dtype != dtype) continue;
    for (double e = -60.0; e <= 60.0; e += quick ? 20.0 : 5.0, tried++)
      check_batch(trained_spec(i), exp2(e), &proven);
  }
  CHECK(proven > tried / 5 && proven < tried, "%zu of %zu proven", proven, tried);
}

/* The bounds that training keeps are those of what it leaves. */
static void check_kept(const fnn_network *network, const spec *s) {
  const fnn_dtype dtype = network->kernels->dtype;
  for (size_t i = 0; network->is_measured && i < network->n_stages; i++) {
    const fnn_stage *stage = &network->stages[i];
    for (size_t p = 0; stage->b_size && p <= network->states; p++) {
      const double bound = p ? network->bounds.state[p - 1] : network->bounds.weight;
      CHECK(all_within(dtype, stage->w[p], stage->w_size, bound) &&
                all_within(dtype, stage->b[p], stage->b_size, bound),
            "%s, stage %zu, part %zu: beyond the bound %g", s->name, i, p, bound);
    }
  }
}

void test_bounds_hold_after_training(fnn_dtype dtype) {
  for (size_t i = 0; i < trained_cases(); i++) {
    const spec *s = trained_spec(i);
    if (s->dtype != dtype) continue;
    problem p = problem_new(s);
    fnn_network *network = network_new(&p);
    for (int epoch = 0; epoch < 3; epoch++) {
      double totals[FNN_TOTALS] = {0.0};
      size_t start = 0;
      CHECK(train_rows(network, &p, &start, totals, INFINITY, epoch % 2) == FNN_OK,
            "%s failed", s->name);
      check_kept(network, s);
    }
    fnn_network_free(network);
    problem_free(&p);
  }
}

/* Of two mini-batches to an update, one has large gradients: the bound is of both. */
void test_bounds_of_accumulated_gradients(fnn_dtype dtype) {
  const spec s = {.name = "accumulated",
                  .dtype = dtype,
                  .sizes = {6, 3},
                  .kind = FNN_SGD,
                  .learning_rate = 0.1,
                  .x_type = dtype == FNN_F64 ? FNN_FLOAT64 : FNN_FLOAT32,
                  .rows = 16,
                  .batch = 8,
                  .accumulate = 2};
  for (int large = 0; large < 2; large++) {
    problem p = problem_new(&s);
    for (size_t i = 0; i < 8 * p.n_inputs; i++)
      set_real(dtype, p.x_memory, (size_t)large * 8 * p.n_inputs + i, 1e6);
    fnn_network *network = network_new(&p);
    double totals[FNN_TOTALS] = {0.0};
    size_t start = 0;
    CHECK(train_rows(network, &p, &start, totals, INFINITY, 1) == FNN_OK, "failed");
    CHECK(network->is_measured, "it was not proven");
    check_kept(network, &s);
    fnn_network_free(network);
    problem_free(&p);
  }
}

/* What a norm multiplies a gradient with is not bounded by its inputs: here one value of
 * a row is 1e-6, five deviations from their mean. */
void test_bounds_of_norms(fnn_dtype dtype) {
  static const fnn_layer layers[] = {
      {.kind = FNN_LAYER_NORM, .epsilon = 1e-20, .trainable = 1},
      {.kind = FNN_DENSE,
       .units = 1,
       .use_bias = 1}}; /* its bound would hide the norm's */
  static const fnn_optimizer sgd = {.kind = FNN_SGD, .learning_rate = 0.1};
  const spec s = {.name = "norm",
                  .dtype = dtype,
                  .sizes = {26},
                  .layers = layers,
                  .n_layers = 2,
                  .optimizer = &sgd,
                  .loss = {FNN_MSE, 0.0},
                  .soft = 1,
                  .x_type = dtype == FNN_F64 ? FNN_FLOAT64 : FNN_FLOAT32,
                  .rows = 1,
                  .batch = 1};
  problem p = problem_new(&s);
  fnn_network *network = network_new(&p);
  for (size_t i = 0; i < 26; i++) set_real(dtype, p.x_memory, i, i ? 0.0 : 1e-6);
  guarded w = guard_zeros(dtype, 26), b = guard_zeros(dtype, 26);
  guarded dw = guard_zeros(dtype, 26), db = guard_zeros(dtype, 26);
  set_real(dtype, w.data, 0, 1.0);
  fnn_network_set(network, 1, 0, w.data, b.data);
  for (size_t i = 0; i < 26; i++) set_real(dtype, w.data, i, 1.0);
  fnn_network_set(network, 0, 0, w.data, b.data);
  void *dw_at[] = {dw.data, w.data}, *db_at[] = {db.data, b.data};
  double totals[FNN_TOTALS] = {0.0}, gradient = 0.0;
  fnn_network_set_threads(network, 1);
  CHECK(fnn_gradients(network, &p.data, NULL, totals, dw_at, db_at) == FNN_OK,
        "failed");
  CHECK(fnn_bounds_of_batch(network, 1, 1, &gradient), "it was not proven");
  CHECK(fabs(real_at(dtype, dw.data, 0)) > 4.0 * fabs(real_at(dtype, db.data, 0)),
        "%g, %g", real_at(dtype, dw.data, 0), real_at(dtype, db.data, 0));
  CHECK(all_within(dtype, dw.data, 26, gradient), "%g, its bound %g",
        real_at(dtype, dw.data, 0), gradient);
  guard_release(&w, "w");
  guard_release(&b, "b");
  guard_release(&dw, "dw");
  guard_release(&db, "db");
  fnn_network_free(network);
  problem_free(&p);
}
