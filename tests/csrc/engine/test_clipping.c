/* The parts of an update that go over whole arrays: the norm of all gradients,
 * penalties for weights and not for biases, the norm of columns.  One step of a network
 * against the definition, from its own gradients. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/network.h"
#include "support/support.h"
#include "tests.h"

enum { INPUTS = 21, HIDDEN = 35, OUTPUTS = 4 };

static const fnn_layer layers[] = {
    {.kind = FNN_DENSE,
     .units = HIDDEN,
     .activation = {FNN_TANH, 0.0},
     .use_bias = 1,
     .trainable = 1},
    {.kind = FNN_LAYER_NORM, .epsilon = 1e-5, .trainable = 1},
    {.kind = FNN_DENSE, .units = HIDDEN, .use_bias = 1},
    {.kind = FNN_DENSE, .units = OUTPUTS, .use_bias = 1, .trainable = 1}};
enum { LAYERS = sizeof layers / sizeof *layers };

#define SGD_ .kind = FNN_SGD, .learning_rate = 0.5

static const fnn_optimizer optimizers[] = {
    {SGD_, .clip_norm = 1e-2},
    {SGD_, .clip_norm = 1e2},
    {SGD_, .clip_value = 1e-3, .clip_norm = 1e-2},
    {SGD_, .max_norm = 0.9},
    {SGD_, .clip_norm = 0.05, .max_norm = 1.0, .l1 = 0.01, .l2 = 0.02},
    {SGD_, .l1 = 0.1, .l2 = 0.1, .weight_decay = 0.3},
};
enum { OPTIMIZERS = sizeof optimizers / sizeof *optimizers };

static int is_weight(size_t layer) { return layers[layer].kind == FNN_DENSE; }

/* Every array of the network, and what an update should make of it. */
typedef struct arrays {
  double *w[LAYERS], *b[LAYERS];
} arrays;

static arrays arrays_new(void) {
  arrays a;
  for (size_t i = 0; i < LAYERS; i++) {
    a.w[i] = calloc(HIDDEN * HIDDEN, sizeof(double));
    a.b[i] = calloc(HIDDEN, sizeof(double));
    if (!a.w[i] || !a.b[i]) abort();
  }
  return a;
}

static void arrays_free(arrays *a) {
  for (size_t i = 0; i < LAYERS; i++) {
    free(a->w[i]);
    free(a->b[i]);
  }
}

static double clipped(const fnn_optimizer *o, double g) {
  return o->clip_value > 0.0 ? fmax(-o->clip_value, fmin(o->clip_value, g)) : g;
}

/* The factor that clip_norm asks for. */
static double clip_factor(fnn_dtype dtype, const problem *p, const fnn_optimizer *o,
                          const arrays *d) {
  long double squares = 0.0L;
  for (size_t i = 0; i < LAYERS; i++)
    for (size_t j = 0; j < (weight_rows(p, i) + 1) * p->layers[i].units; j++) {
      const size_t weights = weight_rows(p, i) * p->layers[i].units;
      const double g = clipped(o, j < weights ? real_at(dtype, d->w[i], j)
                                              : real_at(dtype, d->b[i], j - weights));
      if (layers[i].trainable) squares += (long double)g * (long double)g;
    }
  if (o->clip_norm <= 0.0) return 1.0;
  return fmin(1.0, o->clip_norm / (double)sqrtl(squares));
}

static double stepped(const fnn_optimizer *o, double w, double g, double factor,
                      int penalised) {
  g = clipped(o, g) * factor;
  if (!penalised) return w - o->learning_rate * g;
  g += o->l1 * ((double)(w > 0.0) - (double)(w < 0.0)) + o->l2 * w;
  return (1.0 - o->learning_rate * o->weight_decay) * w - o->learning_rate * g;
}

static void check_array(fnn_dtype dtype, const char *what, size_t layer,
                        const double *expected, const void *got, size_t count) {
  for (size_t j = 0; j < count; j++)
    if (!CHECK(fabs(real_at(dtype, got, j) - expected[j]) <=
                   20 * roundoff(dtype) * (0.1 + fabs(expected[j])),
               "%s of layer %zu, value %zu: %.9g, not %.9g", what, layer, j,
               real_at(dtype, got, j), expected[j]))
      return;
}

static void check_step(fnn_dtype dtype, const fnn_optimizer *o, int threads,
                       int fused) {
  const spec s = {.name = "clipping",
                  .dtype = dtype,
                  .sizes = {INPUTS},
                  .layers = layers,
                  .n_layers = LAYERS,
                  .optimizer = o,
                  .x_type = FNN_FLOAT64,
                  .rows = 12,
                  .batch = 12};
  problem p = problem_new(&s);
  fnn_network *network = network_new(&p);
  fnn_network_set_threads(network, threads);
  arrays before = arrays_new(), d = arrays_new(), after = arrays_new();
  double totals[FNN_TOTALS] = {0.0};
  size_t start = 0;
  for (size_t i = 0; i < LAYERS; i++)
    fnn_network_get(network, i, 0, before.w[i], before.b[i]);
  CHECK(fnn_gradients(network, &p.data, NULL, totals, (void *const *)d.w,
                      (void *const *)d.b) == FNN_OK,
        "failed");
  CHECK(train_rows(network, &p, &start, totals, INFINITY, fused) == FNN_OK, "failed");
  const double factor = clip_factor(dtype, &p, o, &d);
  for (size_t i = 0; i < LAYERS; i++) {
    const size_t k = weight_rows(&p, i), n = p.layers[i].units;
    double *w = calloc((k + 1) * n, sizeof *w), *b = w + k * n;
    if (!w) abort();
    fnn_network_get(network, i, 0, after.w[i], after.b[i]);
    for (size_t j = 0; j < k * n; j++) {
      w[j] = real_at(dtype, before.w[i], j);
      if (layers[i].trainable)
        w[j] = stepped(o, w[j], real_at(dtype, d.w[i], j), factor, is_weight(i));
    }
    for (size_t j = 0; j < n; j++) {
      b[j] = real_at(dtype, before.b[i], j);
      if (layers[i].trainable)
        b[j] = stepped(o, b[j], real_at(dtype, d.b[i], j), factor, 0);
    }
    for (size_t j = 0; j < n && o->max_norm > 0.0 && is_weight(i); j++) {
      double squares = 0.0;
      for (size_t c = 0; c < k; c++) squares += w[c * n + j] * w[c * n + j];
      if (!layers[i].trainable || sqrt(squares) <= o->max_norm) continue;
      for (size_t c = 0; c < k; c++) w[c * n + j] *= o->max_norm / sqrt(squares);
    }
    check_array(dtype, "w", i, w, after.w[i], k * n);
    check_array(dtype, "b", i, b, after.b[i], n);
    free(w);
  }
  arrays_free(&before);
  arrays_free(&d);
  arrays_free(&after);
  fnn_network_free(network);
  problem_free(&p);
}

void test_clipping(fnn_dtype dtype) {
  for (size_t i = 0; i < OPTIMIZERS; i++)
    for (int threads = 1; threads < 4; threads += 2)
      for (int fused = 0; fused < 2; fused++)
        check_step(dtype, &optimizers[i], threads, fused);
}

/* The rate of each update of a call, and where none is given the optimizer's. */
void test_rates(fnn_dtype dtype) {
  const spec s = {.name = "rates",
                  .dtype = dtype,
                  .sizes = {6, 9, 3},
                  .kind = FNN_NADAM,
                  .learning_rate = 0.25,
                  .x_type = FNN_FLOAT64,
                  .rows = 22,
                  .batch = 4,
                  .weighted = 1};
  problem p = problem_new(&s);
  static const double rates[] = {0.1, 0.0, 0.3, 1e-3, 0.2, 0.7};
  double *weights = (double *)p.data.weights;
  for (size_t i = 8; i < 12; i++) weights[i] = 0.0; /* no update, so no rate */
  snapshot ends[3];
  for (int variant = 0; variant < 3; variant++) {
    fnn_network *network = network_new(&p);
    double totals[FNN_TOTALS] = {0.0};
    fnn_network_set_threads(network, 1 + variant);
    for (size_t start = 0; start < p.data.rows;) {
      const uint64_t done = fnn_network_get_step(network);
      fnn_optimizer o = p.optimizer;
      o.learning_rate = rates[done];
      if (variant == 2) fnn_network_set_optimizer(network, &o);
      const fnn_steps steps = {.batch_size = 4,
                               .accumulate = 1,
                               .rates = variant == 2 ? NULL : rates + done,
                               .max_seconds = variant ? 0.0 : INFINITY,
                               .fused = 1};
      if (!CHECK(fnn_train(network, &p.data, &steps, &start, totals) == FNN_OK,
                 "failed"))
        break;
    }
    CHECK(fnn_network_get_step(network) == 5, "%d steps",
          (int)fnn_network_get_step(network));
    ends[variant] = snapshot_of(network, &p, totals);
    fnn_network_free(network);
  }
  CHECK(same_snapshots(&ends[0], &ends[1]), "one update a call");
  CHECK(same_snapshots(&ends[0], &ends[2]), "the optimizer's rate changed");
  for (int i = 0; i < 3; i++) snapshot_free(&ends[i]);
  problem_free(&p);
}

/* Columns whose squares overflow, among others. */
void test_max_norm_of_huge_weights(fnn_dtype dtype) {
  enum { K = 19 };
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const double largest = dtype == FNN_F64 ? 1.7e308 : 3.4e38;
  const double sizes[] = {largest, 1.0, sqrt(largest), 1e30, 1e-3, largest / 1e3};
  static const double limits[] = {0.5, 3.0, 1e34};
  for (size_t l = 0; l < sizeof limits / sizeof *limits; l++) {
    const double most = limits[l];
    guarded panel = guard_random(dtype, K * kernels->nr, 0);
    for (size_t i = 0; i < K * kernels->nr; i++)
      set_real(dtype, panel.data, i,
               random_uniform(-1.0, 1.0) * sizes[(i % kernels->nr + l) % 6]);
    guarded before = guard_copy(&panel);
    kernels->limit_columns(panel.data, K, most);
    for (size_t j = 0; j < kernels->nr; j++) {
      double big = 0.0, sum = 0.0;
      for (size_t i = 0; i < K; i++) { /* fmax crashes gcc 12 for AArch64 */
        const double size = fabs(real_at(dtype, before.data, i * kernels->nr + j));
        if (size > big) big = size;
      }
      for (size_t i = 0; i < K; i++) {
        const double w = real_at(dtype, before.data, i * kernels->nr + j) / big;
        sum += w * w;
      }
      const int above = sqrt(sum) > most / big;
      for (size_t i = 0; i < K; i++) {
        const size_t at = i * kernels->nr + j;
        const double w = real_at(dtype, before.data, at);
        const double expected = above ? w / big * (most / sqrt(sum)) : w;
        const double got = real_at(dtype, panel.data, at);
        CHECK(fabs(got - expected) <= 8 * roundoff(dtype) * fabs(expected),
              "limit %g, column %zu, value %zu: %g, not %g", most, j, i, got, expected);
      }
    }
    guard_release(&panel, "panel");
    guard_release(&before, "copy");
  }
}
