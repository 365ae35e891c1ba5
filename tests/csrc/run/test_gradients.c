/* Gradients of whole networks: against the long double model, and against central
 * differences of the engine's own loss. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/model.h"
#include "support/support.h"
#include "tests.h"

/* Gradient arrays for fnn_gradients. */
typedef struct gradients {
  size_t n_layers;
  void *dw[MAX_LAYERS], *db[MAX_LAYERS];
} gradients;

static gradients gradients_new(const problem *p) {
  gradients g = {.n_layers = p->n_layers};
  for (size_t i = 0; i < p->n_layers; i++) {
    const size_t k = i ? p->layers[i - 1].units : p->n_inputs;
    g.dw[i] = calloc(k * p->layers[i].units, itemsize(p->spec.dtype));
    g.db[i] = calloc(p->layers[i].units, itemsize(p->spec.dtype));
    if (!g.dw[i] || !g.db[i]) abort();
  }
  return g;
}

static void gradients_free(gradients *g) {
  for (size_t i = 0; i < g->n_layers; i++) {
    free(g->dw[i]);
    free(g->db[i]);
  }
}

/* ||got - exact|| / ||exact|| */
static double distance(fnn_dtype dtype, const void *got, const long double *exact,
                       size_t count) {
  long double difference = 0.0L, size = 0.0L;
  for (size_t i = 0; i < count; i++) {
    const long double d = (long double)real_at(dtype, got, i) - exact[i];
    difference += d * d;
    size += exact[i] * exact[i];
  }
  return (double)(sqrtl(difference) / (size > 0 ? sqrtl(size) : 1.0L));
}

void test_gradients_match_model(fnn_dtype dtype) {
  const double limit = dtype == FNN_F64 ? 1e-13 : 1e-5;
  for (size_t c = 0; c < trained_cases(); c++) {
    if (trained_spec(c)->dtype != dtype || trained_spec(c)->layers) continue;
    problem p = problem_new(trained_spec(c));
    fnn_network *network = network_new(&p);
    model m = model_new(network, &p);
    gradients g = gradients_new(&p);
    double totals[FNN_TOTALS] = {0.0};
    model_run(&m, &p, 0, p.data.rows);
    const fnn_status status = fnn_gradients(network, &p.data, NULL, totals, g.dw, g.db);
    CHECK(status == FNN_OK, "status %d", (int)status);
    CHECK(fnn_network_get_step(network) == 0, "a step was counted");
    for (size_t i = 0; i < p.n_layers; i++) {
      const size_t k = m.sizes[i], n = m.sizes[i + 1];
      const double w = distance(dtype, g.dw[i], m.dw[i], k * n);
      const double b = distance(dtype, g.db[i], m.db[i], n);
      figure("gradient: relative error of a tensor", fmax(w, b));
      CHECK(w <= limit, "%s: dw of layer %zu is off by %g", p.spec.name, i, w);
      CHECK(b <= limit, "%s: db of layer %zu is off by %g", p.spec.name, i, b);
    }
    for (int i = 0; i < FNN_TOTALS; i++)
      CHECK(fabs(totals[i] - m.totals[i]) <= limit * (1.0 + fabs(m.totals[i])),
            "%s: total %d is %.12g, not %.12g", p.spec.name, i, totals[i], m.totals[i]);
    gradients_free(&g);
    model_free(&m);
    fnn_network_free(network);
    problem_free(&p);
  }
}

static double mean_loss(fnn_network *network, const problem *p) {
  double totals[FNN_TOTALS] = {0.0};
  size_t start = 0;
  fnn_data data = p->data;
  const fnn_status status = fnn_evaluate(network, &data, &start, totals, INFINITY);
  CHECK(status == FNN_OK, "status %d", (int)status);
  return totals[FNN_LOSS_SUM] / totals[FNN_WEIGHT_SUM];
}

/* Every weight of a layer moved a little; |analytic - numeric| against the two. */
static void check_layer(fnn_network *network, const problem *p, size_t layer,
                        const gradients *g) {
  const size_t k = layer ? p->layers[layer - 1].units : p->n_inputs;
  const size_t n = p->layers[layer].units;
  double *w = calloc(k * n + n, sizeof *w), *b = w + k * n;
  if (!w) abort();
  fnn_network_get(network, layer, 0, w, b);
  const double eps = 1e-5;
  for (size_t i = 0; i < k * n + n; i++) {
    const double kept = w[i], analytic = i < k * n
                                             ? ((double *)g->dw[layer])[i]
                                             : ((double *)g->db[layer])[i - k * n];
    w[i] = kept + eps;
    fnn_network_set(network, layer, 0, w, b);
    const double above = mean_loss(network, p);
    w[i] = kept - eps;
    fnn_network_set(network, layer, 0, w, b);
    const double below = mean_loss(network, p);
    w[i] = kept;
    const double numeric = (above - below) / (2 * eps);
    const double budget = 1e-6 * fmax(fabs(analytic), fabs(numeric)) + 1e-9;
    figure("central differences: share of the budget",
           fabs(analytic - numeric) / budget);
    CHECK(fabs(analytic - numeric) <= budget,
          "layer %zu, value %zu: %.12g, central difference %.12g", layer, i, analytic,
          numeric);
  }
  fnn_network_set(network, layer, 0, w, b);
  free(w);
}

void test_gradients_by_central_differences(void) {
  static const spec specs[] = {
      {.name = "labels",
       .dtype = FNN_F64,
       .sizes = {5, 9, 6, 3},
       .kind = FNN_SGD,
       .learning_rate = 0.1,
       .x_type = FNN_FLOAT64,
       .rows = 7,
       .batch = 7,
       .weighted = 1,
       .smoothing = 0.1},
      {.name = "soft",
       .dtype = FNN_F64,
       .sizes = {3, 18, 2},
       .kind = FNN_SGD,
       .learning_rate = 0.1,
       .x_type = FNN_FLOAT64,
       .rows = 6,
       .batch = 6,
       .soft = 1},
      {.name = "one class",
       .dtype = FNN_F64,
       .sizes = {4, 6, 1},
       .kind = FNN_SGD,
       .learning_rate = 0.1,
       .x_type = FNN_FLOAT64,
       .rows = 4,
       .batch = 4},
  };
  for (size_t c = 0; c < sizeof specs / sizeof *specs; c++) {
    problem p = problem_new(&specs[c]);
    fnn_network *network = network_new(&p);
    model m = model_new(network, &p);
    gradients g = gradients_new(&p);
    double totals[FNN_TOTALS] = {0.0};
    model_run(&m, &p, 0, p.data.rows);
    CHECK(m.least_input > 1e-3L, "%s: a ReLU is at %Lg, choose other data", p.spec.name,
          m.least_input);
    CHECK(fnn_gradients(network, &p.data, NULL, totals, g.dw, g.db) == FNN_OK,
          "failed");
    for (size_t i = 0; i < p.n_layers; i++) check_layer(network, &p, i, &g);
    gradients_free(&g);
    model_free(&m);
    fnn_network_free(network);
    problem_free(&p);
  }
}

/* Gradients of rows of which none counts are zero, whatever was there before. */
void test_gradients_without_weight(fnn_dtype dtype) {
  const spec s = {.name = "no weight",
                  .dtype = dtype,
                  .sizes = {5, 7, 3},
                  .kind = FNN_SGD,
                  .learning_rate = 0.1,
                  .x_type = dtype == FNN_F64 ? FNN_FLOAT64 : FNN_FLOAT32,
                  .rows = 9,
                  .batch = 9};
  problem p = problem_new(&s);
  fnn_network *network = network_new(&p);
  const double none[9] = {0.0};
  double totals[FNN_TOTALS] = {0.0};
  guarded dw[2], db[2];
  void *w[2], *b[2];
  for (size_t i = 0; i < 2; i++) {
    dw[i] = guard_random(dtype, sizes_of(&p, i).w, 0);
    db[i] = guard_random(dtype, sizes_of(&p, i).b, 0);
    w[i] = dw[i].data;
    b[i] = db[i].data;
  }
  CHECK(fnn_gradients(network, &p.data, NULL, totals, w, b) == FNN_OK, "failed");
  p.data.weights = none;
  CHECK(fnn_gradients(network, &p.data, NULL, totals, w, b) == FNN_OK, "failed");
  for (size_t i = 0; i < 2; i++) {
    for (size_t j = 0; j < sizes_of(&p, i).w; j++)
      CHECK(real_at(dtype, w[i], j) == 0.0, "layer %zu: a weight's is left", i);
    for (size_t j = 0; j < sizes_of(&p, i).b; j++)
      CHECK(real_at(dtype, b[i], j) == 0.0, "layer %zu: a bias's is left", i);
    guard_release(&dw[i], "dw");
    guard_release(&db[i], "db");
  }
  p.data.weights = NULL;
  fnn_network_free(network);
  problem_free(&p);
}

/* A bias that a layer does not have stays 0, whatever its gradient is said to be; and
 * gradients whose norm overflows are no update. */
void test_updates_by_given_gradients(fnn_dtype dtype) {
  static const fnn_layer layers[] = {
      {.kind = FNN_DENSE, .units = 3, .use_bias = 0, .trainable = 1}};
  const fnn_optimizer clipping = {
      .kind = FNN_SGD, .learning_rate = 0.1, .clip_norm = 1.0};
  const spec s = {.name = "given",
                  .dtype = dtype,
                  .sizes = {4},
                  .layers = layers,
                  .n_layers = 1,
                  .optimizer = &clipping,
                  .x_type = dtype == FNN_F64 ? FNN_FLOAT64 : FNN_FLOAT32,
                  .rows = 4,
                  .batch = 4};
  problem p = problem_new(&s);
  fnn_network *network = network_new(&p);
  guarded dw = guard_zeros(dtype, 12), db = guard_zeros(dtype, 3);
  guarded w = guard_zeros(dtype, 12), b = guard_zeros(dtype, 3);
  const void *dw_at[] = {dw.data}, *db_at[] = {db.data};
  for (size_t j = 0; j < 12; j++) set_real(dtype, dw.data, j, 1.0);
  for (size_t j = 0; j < 3; j++) set_real(dtype, db.data, j, 1.0);
  CHECK(fnn_apply_gradients(network, 0.1, 0.0, dw_at, db_at) == FNN_OK, "failed");
  fnn_network_get(network, 0, 0, w.data, b.data);
  for (size_t j = 0; j < 3; j++)
    CHECK(real_at(dtype, b.data, j) == 0.0, "a bias that is none was updated");
  if (dtype == FNN_F64) { /* squares of float32 do not overflow in double */
    double totals[FNN_TOTALS] = {0.0};
    snapshot before = snapshot_of(network, &p, totals);
    for (size_t j = 0; j < 12; j++) set_real(dtype, dw.data, j, 1e200);
    CHECK(fnn_apply_gradients(network, 0.1, 0.0, dw_at, db_at) == FNN_DIVERGED,
          "a norm beyond all numbers was taken");
    snapshot after = snapshot_of(network, &p, totals);
    CHECK(same_snapshots(&before, &after), "it has changed something");
    snapshot_free(&before);
    snapshot_free(&after);
  }
  guard_release(&dw, "dw");
  guard_release(&db, "db");
  guard_release(&w, "w");
  guard_release(&b, "b");
  fnn_network_free(network);
  problem_free(&p);
}
