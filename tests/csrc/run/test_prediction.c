/* A row's prediction does not depend on the rows around it, the threads, or the way it
 * is asked for. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/model.h"
#include "support/support.h"
#include "tests.h"

/* 300 rows: three chunks of the engine's. */
static const fnn_layer folding[] = {
    {.kind = FNN_DROPOUT, .rate = 0.3},
    {.kind = FNN_BATCH_NORM, .momentum = 0.1, .epsilon = 1e-5},
    {.kind = FNN_DENSE, .units = 40, .use_bias = 1, .trainable = 1},
    {.kind = FNN_BATCH_NORM,
     .activation = {FNN_GELU, 0.0},
     .momentum = 0.1,
     .epsilon = 1e-5,
     .trainable = 1},
    {.kind = FNN_DENSE,
     .units = 33,
     .activation = {FNN_SOFTMAX, 0.0},
     .use_bias = 1,
     .trainable = 1},
    {.kind = FNN_LAYER_NORM, .activation = {FNN_SELU, 0.0}, .epsilon = 1e-5},
    {.kind = FNN_DENSE, .units = 5, .use_bias = 1, .trainable = 1},
    {.kind = FNN_DROPOUT, .rate = 0.3}};

/* What is first reads whole vectors, which rows of 13 are not. */
static const fnn_layer norm_first[] = {
    {.kind = FNN_LAYER_NORM, .epsilon = 1e-5, .trainable = 1},
    {.kind = FNN_DENSE, .units = 5, .use_bias = 1, .trainable = 1}};
static const fnn_layer scale_first[] = {
    {.kind = FNN_SCALE, .trainable = 1},
    {.kind = FNN_DENSE, .units = 5, .use_bias = 1, .trainable = 1}};

static const spec predicted[] = {
    {.name = "small",
     .dtype = FNN_F32,
     .sizes = {7, 20, 5},
     .kind = FNN_SGD,
     .learning_rate = 0.1,
     .x_type = FNN_FLOAT32,
     .rows = 300,
     .batch = 32},
    {.name = "wide, u8",
     .dtype = FNN_F32,
     .sizes = {40, 210, 140, 33},
     .kind = FNN_SGD,
     .learning_rate = 0.1,
     .x_type = FNN_U8,
     .rows = 300,
     .batch = 32,
     .weighted = 1,
     .smoothing = 0.1},
    {.name = "one layer",
     .dtype = FNN_F32,
     .sizes = {130, 2},
     .kind = FNN_SGD,
     .learning_rate = 0.1,
     .x_type = FNN_FLOAT64,
     .rows = 230,
     .batch = 32,
     .soft = 1},
    {.name = "small",
     .dtype = FNN_F64,
     .sizes = {7, 20, 5},
     .kind = FNN_SGD,
     .learning_rate = 0.1,
     .x_type = FNN_FLOAT64,
     .rows = 300,
     .batch = 32},
    {.name = "wide, u8",
     .dtype = FNN_F64,
     .sizes = {40, 110, 70, 17},
     .kind = FNN_SGD,
     .learning_rate = 0.1,
     .x_type = FNN_U8,
     .rows = 250,
     .batch = 32,
     .weighted = 1,
     .soft = 1},
#define FOLDED(type, x, which)                   \
  {.name = "layers",                             \
   .dtype = type,                                \
   .sizes = {13},                                \
   .layers = folding,                            \
   .n_layers = sizeof folding / sizeof *folding, \
   .kind = FNN_SGD,                              \
   .learning_rate = 0.1,                         \
   .loss = {which, 0.0},                         \
   .x_type = x,                                  \
   .rows = 300,                                  \
   .batch = 32,                                  \
   .soft = 1}
    FOLDED(FNN_F32, FNN_FLOAT32, FNN_BINARY_CROSS_ENTROPY),
    FOLDED(FNN_F64, FNN_U8, FNN_POISSON),
    FOLDED(FNN_F64, FNN_FLOAT64, FNN_SOFTMAX_CROSS_ENTROPY),
#define TWO_LAYERS(first, type, x) \
  {.name = #first,                 \
   .dtype = type,                  \
   .sizes = {13},                  \
   .layers = first,                \
   .n_layers = 2,                  \
   .kind = FNN_SGD,                \
   .learning_rate = 0.1,           \
   .x_type = x,                    \
   .rows = 50,                     \
   .batch = 32,                    \
   .soft = 1}
    TWO_LAYERS(norm_first, FNN_F32, FNN_FLOAT32),
    TWO_LAYERS(norm_first, FNN_F64, FNN_FLOAT64),
    TWO_LAYERS(scale_first, FNN_F32, FNN_FLOAT32),
    TWO_LAYERS(scale_first, FNN_F64, FNN_FLOAT64),
};

static fnn_array rows_of(const fnn_array *x, size_t first, size_t rows) {
  fnn_array part = *x;
  part.data = (const char *)x->data + (ptrdiff_t)first * x->row_stride;
  part.rows = rows;
  return part;
}

static void predict(const fnn_network *network, const fnn_array *x, fnn_output kind,
                    void *out, double max_seconds) {
  for (size_t start = 0; start < x->rows;)
    if (!CHECK(fnn_predict(network, x, kind, out, &start, max_seconds) == FNN_OK,
               "failed"))
      return;
}

static void check_against_model(const fnn_network *network, const problem *p,
                                const void *values, const int64_t *labels) {
  const fnn_dtype dtype = p->spec.dtype;
  model m = model_new(network, p);
  size_t correct = 0, counted = 0;
  double worst = 0.0;
  for (size_t row = 0; row < p->data.rows; row++) {
    if (p->data.weights && p->data.weights[row] == 0.0) continue;
    /* The model's loss of one row gives the probability of its label. */
    model_run(&m, p, row, row + 1);
    const double *b = m.totals;
    size_t best = 0;
    double sum = 0.0;
    for (size_t j = 0; j < p->n_outputs; j++) {
      const double value = real_at(dtype, values, row * p->n_outputs + j);
      sum += value;
      if (value > real_at(dtype, values, row * p->n_outputs + best)) best = j;
    }
    counted++;
    CHECK((size_t)labels[row] == best, "row %zu: label %d of %zu", row,
          (int)labels[row], best);
    CHECK(fabs(sum - 1.0) <= 40 * roundoff(dtype), "row %zu sums to %.17g", row, sum);
    if (p->data.labels && p->spec.smoothing == 0.0) {
      const size_t label = (size_t)p->data.labels[row];
      const double loss = -log(real_at(dtype, values, row * p->n_outputs + label));
      worst = fmax(worst, fabs(loss - b[FNN_LOSS_SUM] / b[FNN_WEIGHT_SUM]));
      correct += best == label;
    }
  }
  CHECK(worst <= 300 * roundoff(dtype), "log-probabilities are off by %g", worst);
  CHECK(p->spec.smoothing > 0.0 || !p->data.labels || correct <= counted, "%zu",
        correct);
  model_free(&m);
}

/* NaN where the next call has its stack. */
static __attribute__((noinline)) void soil_stack(void) {
  volatile char soil[96 * 1024];
  for (size_t i = 0; i < sizeof soil; i++) soil[i] = (char)0xff;
}

static void predict_case(const spec *given) {
  problem p = problem_new(given);
  fnn_network *network = network_new(&p);
  const size_t rows = p.data.rows, row_bytes = p.n_outputs * itemsize(given->dtype);
  guarded logits = guard(rows, row_bytes, 0), values = guard(rows, row_bytes, 0);
  const size_t row_labels =
      given->loss.kind == FNN_BINARY_CROSS_ENTROPY ? p.n_outputs : 1;
  guarded labels = guard(rows, 8 * row_labels, 0);
  CHECK(fnn_network_prepare(network) == FNN_OK, "failed");
  fnn_network_set_threads(network, 1);
  predict(network, &p.data.x, FNN_LOGITS, logits.data, INFINITY);
  predict(network, &p.data.x, FNN_VALUES, values.data, INFINITY);
  predict(network, &p.data.x, FNN_LABELS, labels.data, INFINITY);
  if (!given->layers) check_against_model(network, &p, values.data, labels.data);

  static const size_t batches[] = {1,  2,  3,  5,   6,   13,  14,
                                   15, 29, 64, 111, 112, 113, 257};
  static const int threads[] = {1, 2, 3, 7};
  for (size_t b = 0; b < sizeof batches / sizeof *batches; b += samples(1, 3)) {
    guarded again[3] = {guard(rows, row_bytes, 0), guard(rows, row_bytes, 0),
                        guard(rows, 8 * row_labels, 0)};
    fnn_network_set_threads(network, threads[b % 4]);
    for (size_t first = 0; first < rows; first += batches[b]) {
      const size_t left = rows - first;
      const fnn_array part =
          rows_of(&p.data.x, first, left < batches[b] ? left : batches[b]);
      for (int kind = 0; kind < 3; kind++)
        predict(network, &part, (fnn_output)kind,
                (char *)again[kind].data +
                    first * (kind == FNN_LABELS ? 8 * row_labels : row_bytes),
                b % 2 ? 0.0 : INFINITY);
    }
    CHECK(same_bytes(&again[0], &logits), "%s: logits in batches of %zu", given->name,
          batches[b]);
    CHECK(same_bytes(&again[1], &values), "%s: values in batches of %zu", given->name,
          batches[b]);
    CHECK(same_bytes(&again[2], &labels), "%s: labels in batches of %zu", given->name,
          batches[b]);
    for (int i = 0; i < 3; i++) guard_release(&again[i], "predictions");
  }

  guarded x = guard(p.n_inputs, itemsize(given->dtype), 0),
          one = guard(1, row_bytes, 0);
  for (size_t row = 0; row < rows && given->x_type != FNN_U8; row += 7) {
    for (size_t j = 0; j < p.n_inputs; j++)
      set_real(given->dtype, x.data, j, p.x[row * p.n_inputs + j]);
    soil_stack();
    CHECK(fnn_predict_one(network, x.data, one.data) == FNN_OK, "failed");
    CHECK(memcmp(one.data, (char *)values.data + row * row_bytes, row_bytes) == 0,
          "%s: row %zu alone", given->name, row);
  }
  guard_release(&x, "x");
  guard_release(&one, "one row");
  guard_release(&logits, "logits");
  guard_release(&values, "values");
  guard_release(&labels, "labels");
  fnn_network_free(network);
  problem_free(&p);
}

/* The label of each output of a binary cross-entropy is the sign of its logit. */
void test_binary_labels(fnn_dtype dtype) {
  spec s = {.name = "binary",
            .dtype = dtype,
            .sizes = {7, 20, 5},
            .kind = FNN_SGD,
            .learning_rate = 0.1,
            .loss = {FNN_BINARY_CROSS_ENTROPY, 0.0},
            .x_type = FNN_FLOAT64,
            .rows = 130,
            .batch = 10,
            .soft = 1};
  problem p = problem_new(&s);
  fnn_network *network = network_new(&p);
  double logits[130 * 5], values[130 * 5];
  int64_t labels[130 * 5];
  predict(network, &p.data.x, FNN_LOGITS, logits, INFINITY);
  predict(network, &p.data.x, FNN_VALUES, values, INFINITY);
  predict(network, &p.data.x, FNN_LABELS, labels, INFINITY);
  for (size_t i = 0; i < 130 * 5; i++) {
    const double z = real_at(dtype, logits, i), y = real_at(dtype, values, i);
    CHECK(labels[i] == (z > 0.0), "value %zu: logit %g, label %d", i, z,
          (int)labels[i]);
    CHECK(fabs(y - 1.0 / (1.0 + exp(-z))) <= 8 * roundoff(dtype), "logit %g: %g", z, y);
  }
  fnn_network_free(network);
  problem_free(&p);
}

void test_prediction_bits(fnn_dtype dtype) {
  for (size_t i = 0; i < sizeof predicted / sizeof *predicted; i++)
    if (predicted[i].dtype == dtype) predict_case(&predicted[i]);
}

/* x * scale is subnormal here, and flushed or not the same way for one row and many. */
void test_prediction_bits_of_scaled_subnormals(fnn_dtype dtype) {
  spec small = predicted[dtype == FNN_F64 ? 3 : 0];
  small.x_type = dtype == FNN_F64 ? FNN_FLOAT64 : FNN_FLOAT32;
  problem p = problem_new(&small);
  fnn_network *network = network_new(&p);
  double scale[7], shift[7], one[5] = {0.0}, many[5] = {0.0}, w[7 * 20], b[20];
  for (size_t j = 0; j < 7; j++) {
    scale[j] = smallest(dtype) / 3;
    shift[j] = smallest(dtype) * 1.5;
  }
  if (dtype == FNN_F32) /* a scale that is itself normal */
    for (size_t j = 0; j < 7; j++) scale[j] = 0x1p-126;
  fnn_network_get(network, 0, 0, w, b);
  for (size_t i = 0; i < 7 * 20; i++) /* make them matter in the result */
    set_real(dtype, w, i, real_at(dtype, w, i) / (4.0 * smallest(dtype)));
  fnn_network_set(network, 0, 0, w, b);
  CHECK(fnn_network_set_scaling(network, scale, shift) == FNN_OK, "failed");
  for (size_t row = 0; row < 40; row++) {
    const fnn_array x = rows_of(&p.data.x, row, 1);
    predict(network, &x, FNN_VALUES, many, INFINITY);
    soil_stack();
    CHECK(fnn_predict_one(network, x.data, one) == FNN_OK, "failed");
    CHECK(memcmp(one, many, 5 * itemsize(dtype)) == 0, "row %zu: other bits", row);
  }
  fnn_network_free(network);
  problem_free(&p);
}

void test_evaluation(fnn_dtype dtype) {
  for (size_t i = 0; i < sizeof predicted / sizeof *predicted; i++) {
    if (predicted[i].dtype != dtype) continue;
    problem p = problem_new(&predicted[i]);
    fnn_network *network = network_new(&p);
    CHECK(fnn_network_prepare(network) == FNN_OK, "failed");
    double first[FNN_TOTALS] = {0.0};
    for (int threads = 1; threads < 8; threads += 3)
      for (int sliced = 0; sliced < 2; sliced++) {
        double totals[FNN_TOTALS] = {0.0};
        fnn_network_set_threads(network, threads);
        for (size_t start = 0; start < p.data.rows;)
          if (!CHECK(fnn_evaluate(network, &p.data, &start, totals,
                                  sliced ? 0.0 : INFINITY) == FNN_OK,
                     "failed"))
            break;
        if (threads == 1 && !sliced) memcpy(first, totals, sizeof first);
        CHECK(memcmp(first, totals, sizeof first) == 0,
              "%s: other totals on %d threads", p.spec.name, threads);
      }
    const double tolerance = 200 * roundoff(dtype);
    model m = {0};
    if (!p.spec.layers) {
      m = model_new(network, &p);
      model_run(&m, &p, 0, p.data.rows);
    }
    for (int t = 0; !p.spec.layers && t < FNN_TOTALS; t++)
      CHECK(fabs(first[t] - m.totals[t]) <= tolerance * (1.0 + m.totals[t]),
            "%s: total %d is %.12g, not %.12g", p.spec.name, t, first[t], m.totals[t]);
    model_free(&m);
    fnn_network_free(network);
    problem_free(&p);
  }
}

void test_all_finite(fnn_dtype dtype) {
  const spec *s = &predicted[dtype == FNN_F64 ? 3 : 0];
  problem p = problem_new(s);
  fnn_network *network = network_new(&p);
  const double bad[] = {NAN, INFINITY, -INFINITY};
  const size_t values = p.data.rows * p.n_inputs;
  int finite = -1;
  CHECK(fnn_all_finite(network, &p.data.x, &finite) == FNN_OK && finite == 1, "%d",
        finite);
  for (size_t b = 0; b < 3; b++)
    for (int i = 0; i < 20; i++) {
      const size_t at = i == 0 ? 0 : i == 1 ? values - 1 : random_below(values);
      const double kept = real_at(dtype, p.x_memory, at);
      set_real(dtype, p.x_memory, at, bad[b]);
      CHECK(fnn_all_finite(network, &p.data.x, &finite) == FNN_OK && finite == 0,
            "%g at %zu was not seen", bad[b], at);
      set_real(dtype, p.x_memory, at, kept);
    }
  /* The largest numbers are finite, though their sum is not. */
  for (size_t i = 0; i < values; i++)
    set_real(dtype, p.x_memory, i, dtype == FNN_F64 ? 1.7e308 : 3.4e38);
  CHECK(fnn_all_finite(network, &p.data.x, &finite) == FNN_OK && finite == 1,
        "large values are called not finite");
  if (dtype == FNN_F32) { /* a double may be too large for the network's floats */
    double wide[7] = {0, 0, 0, 0, 0, 0, 1e300};
    const fnn_array x = {.data = wide,
                         .rows = 1,
                         .cols = 7,
                         .row_stride = 56,
                         .col_stride = 8,
                         .type = FNN_FLOAT64};
    CHECK(fnn_all_finite(network, &x, &finite) == FNN_OK && finite == 0,
          "1e300 is no finite float");
  }
  /* Integers are, unless the scaling makes too much of one. */
  const double most = dtype == FNN_F64 ? 1.7e308 : 3.4e38;
  const struct {
    fnn_type type;
    int64_t value;
    double scale, shift;
    int finite;
  } cases[] = {
      {FNN_U8, 255, most / 255, 0, 1},
      {FNN_U8, 255, -most / 200, 0, 0},
      {FNN_U8, 1, most / 200, 0, 1}, /* though 255 would be too large */
      {FNN_U8, 255, most / 300, most, 0},
      {FNN_I64, INT64_MIN, most / 0x1p63, 0, 1},
      {FNN_I64, INT64_MIN, most / 0x1p62, 0, 0},
      {FNN_I64, 7, most / 0x1p62, 0, 1},
/* With the shift, one end is too large and the other is not. */
#define ENDS(type, least, greatest)                         \
  {type, greatest, most / (double)(greatest), most / 2, 0}, \
      {type, greatest, most / (double)(greatest), 0, 1},    \
      {type, least, most / ((double)(greatest) + 1), -most / 2, least == 0}
      ENDS(FNN_I8, INT8_MIN, INT8_MAX),
      ENDS(FNN_U16, 0, UINT16_MAX),
      ENDS(FNN_I16, INT16_MIN, INT16_MAX),
      ENDS(FNN_U32, 0, UINT32_MAX),
      ENDS(FNN_I32, INT32_MIN, INT32_MAX),
      ENDS(FNN_I64, INT64_MIN, INT64_MAX),
  };
#undef ENDS
  enum { MOST = 64 };
  CHECK(p.n_inputs <= MOST, "%zu inputs", p.n_inputs);
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    uint8_t bytes[MOST] = {0};
    int64_t words[MOST] = {0};
    double scale[MOST] = {0}, shift[MOST] = {0};
    const size_t at = p.n_inputs - 1;
    bytes[at] = (uint8_t)cases[c].value;
    words[at] = cases[c].value;
    scale[at] = cases[c].scale;
    shift[at] = cases[c].shift;
    const int narrow = cases[c].type == FNN_U8;
    const fnn_array x = {.data = narrow ? (void *)bytes : (void *)words,
                         .rows = 1,
                         .cols = p.n_inputs,
                         .col_stride = narrow ? 1 : 8,
                         .type = cases[c].type};
    CHECK(fnn_network_set_scaling(network, scale, shift) == FNN_OK, "%zu", c);
    CHECK(fnn_all_finite(network, &x, &finite) == FNN_OK && finite == cases[c].finite,
          "integers, case %zu: %d", c, finite);
  }
  fnn_network_free(network);
  problem_free(&p);
}
