/* Networks of all layers: gradients by central differences, what frozen layers keep,
 * accumulated mini-batches, and batch norms folded away for prediction. */
#include <fenv.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/network.h"
#include "support/support.h"
#include "tests.h"

static void *room(size_t count) {
  void *memory = calloc(count ? count : 1, sizeof(double));
  if (!memory) abort();
  return memory;
}

/* Gradients of every layer, and the mean loss as training has it. */
typedef struct gradients {
  void *dw[MAX_LAYERS], *db[MAX_LAYERS];
  double loss;
} gradients;

static gradients gradients_of(fnn_network *network, const problem *p) {
  gradients g;
  double totals[FNN_TOTALS] = {0.0};
  for (size_t i = 0; i < p->n_layers; i++) {
    g.dw[i] = room(sizes_of(p, i).w);
    g.db[i] = room(sizes_of(p, i).b);
  }
  CHECK(fnn_gradients(network, &p->data, NULL, totals, g.dw, g.db) == FNN_OK, "failed");
  g.loss = totals[FNN_LOSS_SUM] / totals[FNN_WEIGHT_SUM];
  return g;
}

static void gradients_free(gradients *g, const problem *p) {
  for (size_t i = 0; i < p->n_layers; i++) {
    free(g->dw[i]);
    free(g->db[i]);
  }
}

static double loss_of(fnn_network *network, const problem *p) {
  gradients g = gradients_of(network, p);
  gradients_free(&g, p);
  return g.loss;
}

/* Some values of a layer moved a little. */
static void check_layer(fnn_network *network, const problem *p, size_t layer,
                        const gradients *g) {
  const double h = 1e-5;
  const array_sizes sizes = sizes_of(p, layer);
  if (!sizes.w) return;
  double *w = room(sizes.w + sizes.b), *b = w + sizes.w;
  fnn_network_get(network, layer, 0, w, b);
  const size_t count = sizes.w + sizes.b, most = samples(30, 5);
  for (size_t c = 0; c < (count < most ? count : most); c++) {
    const size_t i = count <= most ? c : random_below(count);
    const int is_bias = i >= sizes.w;
    const double analytic =
        is_bias ? ((double *)g->db[layer])[i - sizes.w] : ((double *)g->dw[layer])[i];
    const int moves =
        p->layers[layer].trainable && (!is_bias || has_bias(&p->layers[layer]));
    if (!moves) {
      CHECK(analytic == 0.0, "%s: layer %zu, value %zu is frozen: %g", p->spec.name,
            layer, i, analytic);
      continue;
    }
    const double kept = w[i];
    w[i] = kept + h;
    fnn_network_set(network, layer, 0, w, b);
    const double above = loss_of(network, p);
    w[i] = kept - h;
    fnn_network_set(network, layer, 0, w, b);
    const double below = loss_of(network, p);
    w[i] = kept;
    const double numeric = (above - below) / (2 * h);
    const double budget = 1e-6 * fmax(fabs(analytic), fabs(numeric)) + 1e-9;
    figure("stages, central differences: share of the budget",
           fabs(analytic - numeric) / budget);
    CHECK(fabs(analytic - numeric) <= budget,
          "%s: layer %zu, value %zu: %.12g, central difference %.12g", p->spec.name,
          layer, i, analytic, numeric);
  }
  fnn_network_set(network, layer, 0, w, b);
  free(w);
}

static void check_gradients(const spec *s) {
  problem p = problem_new(s);
  fnn_network *network = network_new(&p);
  fnn_network_set_step(network, 5);
  gradients g = gradients_of(network, &p);
  for (size_t i = 0; i < p.n_layers; i++) check_layer(network, &p, i, &g);
  gradients_free(&g, &p);
  fnn_network_free(network);
  problem_free(&p);
}

static const fnn_activation activations[] = {
    FNN_ACTIVATIONS(WITH_PARAMETER){FNN_SOFTMAX, 0.0}};
static const fnn_loss losses[] = {{FNN_SOFTMAX_CROSS_ENTROPY, 0.1},
                                  FNN_OUTPUT_LOSSES(WITH_PARAMETER)};
enum {
  ACTIVATIONS = sizeof activations / sizeof *activations,
  LOSSES = sizeof losses / sizeof *losses
};

/* Every activation above every kind of layer, in turn in front of every loss. */
void test_stage_gradients(void) {
  for (size_t a = 0; a < ACTIVATIONS; a++)
    for (size_t l = 0; l < LOSSES; l++) {
      const fnn_activation hidden = activations[a], other = activations[(a + l) % 13];
      const fnn_layer layers[] = {
          {.kind = FNN_DENSE,
           .units = 9,
           .activation = hidden,
           .use_bias = 1,
           .trainable = 1},
          {.kind = l % 2 ? FNN_BATCH_NORM : FNN_LAYER_NORM,
           .activation = other,
           .momentum = 0.1,
           .epsilon = 0.1,
           .trainable = 1},
          {.kind = FNN_DROPOUT, .rate = 0.3, .key = 5},
          {.kind = l % 2 ? FNN_LAYER_NORM : FNN_BATCH_NORM,
           .activation = hidden,
           .momentum = 0.1,
           .epsilon = 0.1,
           .trainable = l % 3 > 0},
          {.kind = FNN_DENSE,
           .units = 3,
           .activation = l % 2 ? other : (fnn_activation){FNN_IDENTITY, 0.0},
           .use_bias = (int)(a % 2),
           .trainable = 1},
      };
      check_gradients(&(spec){.name = "stages",
                              .dtype = FNN_F64,
                              .sizes = {4},
                              .layers = layers,
                              .n_layers = sizeof layers / sizeof *layers,
                              .kind = FNN_SGD,
                              .loss = losses[l],
                              .smoothing = losses[l].parameter,
                              .x_type = FNN_FLOAT64,
                              .rows = 6,
                              .batch = 6,
                              .weighted = l % 2 == 0,
                              .soft = 1});
    }
}

void test_trained_stage_gradients(void) {
  for (size_t i = 0; i < trained_cases(); i++)
    if (trained_spec(i)->layers && trained_spec(i)->dtype == FNN_F64)
      check_gradients(trained_spec(i));
}

/* Whatever the optimizer adds, frozen layers and absent biases stay. */
void test_frozen_layers_stay(fnn_dtype dtype) {
  for (size_t c = 0; c < trained_cases(); c++) {
    if (!trained_spec(c)->layers || trained_spec(c)->dtype != dtype) continue;
    problem p = problem_new(trained_spec(c));
    fnn_network *network = network_new(&p);
    double *before[MAX_LAYERS];
    for (size_t i = 0; i < p.n_layers; i++) {
      const array_sizes sizes = sizes_of(&p, i);
      before[i] = room(sizes.w + sizes.b);
      if (sizes.w)
        fnn_network_get(network, i, 0, before[i],
                        (char *)before[i] + sizes.w * itemsize(dtype));
    }
    double totals[FNN_TOTALS] = {0.0};
    size_t start = 0;
    CHECK(train_rows(network, &p, &start, totals, INFINITY, 1) == FNN_OK, "failed");
    for (size_t i = 0; i < p.n_layers; i++) {
      const array_sizes sizes = sizes_of(&p, i);
      const size_t k = sizes.w, w_bytes = sizes.w * itemsize(dtype);
      const size_t bytes = w_bytes + sizes.b * itemsize(dtype);
      double *after = room(sizes.w + sizes.b);
      if (k) fnn_network_get(network, i, 0, after, (char *)after + w_bytes);
      const int same_w = memcmp(after, before[i], w_bytes) == 0;
      const int same_b = memcmp((char *)after + w_bytes, (char *)before[i] + w_bytes,
                                bytes - w_bytes) == 0;
      const int bias = has_bias(&p.layers[i]);
      CHECK(!k || same_w == !p.layers[i].trainable, "%s: weights of layer %zu",
            p.spec.name, i);
      CHECK(!k || same_b == !(p.layers[i].trainable && bias), "%s: biases of layer %zu",
            p.spec.name, i);
      free(after);
      free(before[i]);
    }
    fnn_network_free(network);
    problem_free(&p);
  }
}

/* Without a batch norm, three mini-batches are one of all their rows, to the bit. */
void test_accumulation(fnn_dtype dtype) {
  static const fnn_layer layers[] = {
      {.kind = FNN_DENSE,
       .units = 300,
       .activation = {FNN_TANH, 0.0},
       .use_bias = 1,
       .trainable = 1},
      {.kind = FNN_PARAMETRIC, .activation = {FNN_GELU, 0.0}, .trainable = 1},
      {.kind = FNN_DROPOUT, .rate = 0.4, .key = 3},
      {.kind = FNN_SCALE, .trainable = 1},
      {.kind = FNN_LAYER_NORM,
       .activation = {FNN_SILU, 0.0},
       .epsilon = 1e-5,
       .trainable = 1},
      {.kind = FNN_DENSE, .units = 5, .use_bias = 1, .trainable = 1}};
  for (int weighted = 0; weighted < 2; weighted++) {
    spec s = {.name = "accumulated",
              .dtype = dtype,
              .sizes = {30},
              .layers = layers,
              .n_layers = sizeof layers / sizeof *layers,
              .kind = FNN_ADAM,
              .learning_rate = 1e-2,
              .x_type = FNN_U8,
              .rows = 65,
              .batch = 8,
              .accumulate = 3,
              .shuffled = 1,
              .weighted = weighted};
    problem p = problem_new(&s);
    snapshot parts[2] = {train(&p, &(run_options){.threads = 1, .fused = 1}),
                         train(&p, &(run_options){.threads = 3, .sliced = 1})};
    problem_free(&p);
    s.batch = 24;
    s.accumulate = 1;
    p = problem_new(&s);
    snapshot whole = train(&p, &(run_options){.threads = 2, .fused = 1});
    CHECK(same_snapshots(&parts[0], &whole), "other bits than one mini-batch");
    CHECK(same_snapshots(&parts[1], &whole), "3 threads: other bits");
    problem_free(&p);
    snapshot_free(&parts[0]);
    snapshot_free(&parts[1]);
    snapshot_free(&whole);
  }
}

/* A batch norm folded into the layer below gives what the formula gives, and follows
 * when it is prepared again. */
static const fnn_layer folded_layers[] = {
    {.kind = FNN_DENSE, .units = 37, .use_bias = 1, .trainable = 1},
    {.kind = FNN_BATCH_NORM,
     .activation = {FNN_SIGMOID, 0.0},
     .momentum = 0.1,
     .epsilon = 1e-3,
     .trainable = 1}};

static problem folded_problem(fnn_dtype dtype) {
  const spec s = {.name = "folded",
                  .dtype = dtype,
                  .sizes = {11},
                  .layers = folded_layers,
                  .n_layers = 2,
                  .kind = FNN_SGD,
                  .learning_rate = 0.1,
                  .loss = {FNN_MSE, 0.0},
                  .x_type = FNN_FLOAT64,
                  .rows = 9,
                  .batch = 9,
                  .soft = 1};
  return problem_new(&s);
}

/* As an operand of a product: in bfloat16, rounded, ties to even. */
static double operand(fnn_dtype dtype, double value) {
  float single = (float)value;
  uint32_t bits;
  if (dtype != FNN_BF16) return value;
  memcpy(&bits, &single, sizeof bits);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
  memcpy(&single, &bits, sizeof bits);
  return (double)single;
}

/* In bfloat16 it is not folded: products of scale and weights would be rounded. */
void test_folded_batch_norm(fnn_dtype dtype) {
  enum { K = 11, N = 37 };
  problem p = folded_problem(dtype);
  fnn_network *network = network_new(&p);
  for (int round = 0; round < 2; round++) {
    double w[K * N], b[N], scale[N], shift[N], mean[N], variance[N], out[9 * N];
    size_t start = 0;
    CHECK(fnn_network_prepare(network) == FNN_OK, "failed");
    CHECK(fnn_predict(network, &p.data.x, FNN_LOGITS, out, &start, INFINITY) == FNN_OK,
          "failed");
    fnn_network_get(network, 0, 0, w, b);
    fnn_network_get(network, 1, 0, scale, shift);
    fnn_network_get_statistics(network, 1, mean, variance);
    for (size_t i = 0; i < 9; i++)
      for (size_t j = 0; j < N; j++) {
        double z = real_at(dtype, b, j);
        for (size_t c = 0; c < K; c++)
          z += operand(dtype, p.x[i * K + c]) *
               operand(dtype, real_at(dtype, w, c * N + j));
        z = (z - real_at(dtype, mean, j)) / sqrt(real_at(dtype, variance, j) + 1e-3);
        z = z * real_at(dtype, scale, j) + real_at(dtype, shift, j);
        const double expected = 1.0 / (1.0 + exp(-z));
        CHECK(fabs(real_at(dtype, out, i * N + j) - expected) <= 60 * roundoff(dtype),
              "round %d: %.9g, not %.9g", round, real_at(dtype, out, i * N + j),
              expected);
      }
    double totals[FNN_TOTALS] = {0.0};
    start = 0;
    CHECK(train_rows(network, &p, &start, totals, INFINITY, 1) == FNN_OK, "failed");
  }
  fnn_network_free(network);
  problem_free(&p);
}

/* Folding gives the same bits whatever rounding the caller is at. */
void test_folding_in_any_state(fnn_dtype dtype) {
  enum { N = 37 };
  static const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD};
  problem p = folded_problem(dtype);
  fnn_network *network = network_new(&p);
  double out[3][9 * N] = {{0.0}}, totals[FNN_TOTALS] = {0.0};
  size_t start = 0;
  CHECK(train_rows(network, &p, &start, totals, INFINITY, 1) == FNN_OK, "failed");
  for (int i = 0; i < 3; i++) {
    fesetround(modes[i]);
    const fnn_status status = fnn_network_prepare(network);
    fesetround(FE_TONEAREST);
    start = 0;
    CHECK(status == FNN_OK && fnn_predict(network, &p.data.x, FNN_LOGITS, out[i],
                                          &start, INFINITY) == FNN_OK,
          "failed");
    CHECK(memcmp(out[0], out[i], sizeof out[0]) == 0, "other bits in mode %d", i);
  }
  fnn_network_free(network);
  problem_free(&p);
}
