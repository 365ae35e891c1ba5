/* Training that leaves the finite numbers stops at the last finite step, and input that
 * is not finite changes nothing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/network.h"
#include "support/support.h"
#include "tests.h"

static const fnn_optimizer_kind kinds[] = {FNN_OPTIMIZERS(KIND_ALONE)};
enum { KINDS = sizeof kinds / sizeof *kinds };

static spec spec_of(fnn_dtype dtype, fnn_optimizer_kind kind) {
  return (spec){.name = "divergence",
                .dtype = dtype,
                .sizes = {6, 40, 90, 3},
                .kind = kind,
                .learning_rate = 0.1,
                .x_type = dtype == FNN_F64 ? FNN_FLOAT64 : FNN_FLOAT32,
                .rows = 40,
                .batch = 8};
}

static spec one_layer(spec s) {
  const size_t sizes[] = {6, 3, 0};
  memcpy(s.sizes, sizes, sizeof sizes);
  return s;
}

/* A far too large learning rate. One step a call until it diverges, then all in one
 * call: the same end. */
static void diverge(spec s, int threads, int fused) {
  problem p = problem_new(&s);
  double totals[FNN_TOTALS] = {0.0};
  fnn_network *network = network_new(&p);
  fnn_network_set_threads(network, threads);
  snapshot last = snapshot_of(network, &p, totals);
  fnn_status status = FNN_OK;
  size_t start = 0;
  for (int step = 0; step < 3000 && status == FNN_OK; step++) {
    if (start == p.data.rows) start = 0;
    status = train_rows(network, &p, &start, totals, 0.0, fused);
    CHECK(all_weights_finite(network, &p),
          "step %d, status %d, left weights not finite", step, (int)status);
    snapshot now = snapshot_of(network, &p, totals);
    if (status == FNN_OK) {
      snapshot_free(&last);
      last = now;
      continue;
    }
    CHECK(status == FNN_DIVERGED, "status %d", (int)status);
    CHECK(same_snapshots(&last, &now), "%s, optimizer %d: not the last finite step",
          s.name, (int)p.optimizer.kind);
    CHECK(start % group_rows(&p) == 0 && start < p.data.rows, "at row %zu", start);
    snapshot_free(&now);
  }
  CHECK(status == FNN_DIVERGED, "%s, optimizer %d, rate %g: did not diverge", s.name,
        (int)p.optimizer.kind, p.optimizer.learning_rate);
  fnn_network_free(network);

  network = network_new(&p);
  fnn_network_set_threads(network, threads);
  memset(totals, 0, sizeof totals);
  status = FNN_OK;
  for (int epoch = 0; epoch < 3000 && status == FNN_OK; epoch++) {
    size_t from = 0;
    status = train_rows(network, &p, &from, totals, INFINITY, !fused);
  }
  snapshot whole = snapshot_of(network, &p, totals);
  CHECK(status == FNN_DIVERGED, "status %d", (int)status);
  CHECK(same_snapshots(&last, &whole), "%s, optimizer %d in whole epochs: another end",
        s.name, (int)p.optimizer.kind);
  snapshot_free(&whole);
  snapshot_free(&last);
  fnn_network_free(network);
  problem_free(&p);
}

static void diverge_with(fnn_dtype dtype, fnn_optimizer_kind kind, double rate,
                         int threads, int fused) {
  spec s = spec_of(dtype, kind);
  s.learning_rate = rate;
  diverge(s, threads, fused);
}

void test_divergence_keeps_the_last_finite_step(fnn_dtype dtype) {
  const double huge = dtype == FNN_F64 ? 1e200 : 1e25;
  for (size_t k = 0; k < KINDS; k++) {
    diverge_with(dtype, kinds[k], huge, 1 + (int)k % 3, (int)k % 2);
    diverge_with(dtype, kinds[k], huge * huge, 1 + (int)k % 2, 1);
  }
  diverge_with(dtype, FNN_SGD, 1e6, 2, 1); /* slowly */
}

/* Running statistics go back with the weights, those of a group of mini-batches to the
 * group's beginning. */
void test_divergence_with_every_layer(fnn_dtype dtype) {
  const double huge = dtype == FNN_F64 ? 1e200 : 1e25;
  for (size_t i = 0; i < trained_cases(); i++) {
    const spec *s = trained_spec(i);
    if (!s->layers || s->dtype != dtype) continue;
    fnn_optimizer o = *s->optimizer;
    o.learning_rate = huge;
    o.max_norm = 0.0;
    spec hot = *s;
    hot.optimizer = &o;
    for (int threads = 1; threads < 4; threads += 2) diverge(hot, threads, threads > 1);
  }
}

static fnn_status train_epoch(fnn_network *network, const problem *p, size_t *start,
                              double *totals) {
  return train_rows(network, p, start, totals, INFINITY, 1);
}

/* A bad value at every place of a batch, read in place, reversed, converted. */
void test_bad_input_changes_nothing(fnn_dtype dtype) {
  const double bad[] = {NAN, INFINITY, -INFINITY};
  for (int variant = 0; variant < 4; variant++) {
    spec s = spec_of(dtype, kinds[variant]);
    s.shuffled = variant == 2;
    if (variant == 3) s.x_type = dtype == FNN_F64 ? FNN_FLOAT32 : FNN_FLOAT64;
    const fnn_dtype x_dtype = s.x_type == FNN_FLOAT64 ? FNN_F64 : FNN_F32;
    problem p = problem_new(&s);
    if (variant == 1) { /* a negative row stride, read in place */
      p.data.x.data = (const char *)p.data.x.data +
                      (ptrdiff_t)(p.data.rows - 1) * p.data.x.row_stride;
      p.data.x.row_stride = -p.data.x.row_stride;
    }
    fnn_network *network = network_new(&p);
    const size_t values = p.data.rows * p.n_inputs;
    void *out = calloc(p.data.rows * p.n_outputs, 8);
    if (!out) abort();
    for (size_t i = 0; i < samples(30, 5); i++) {
      fnn_network_set_threads(network, 1 + (int)i % 3);
      const size_t at = random_below(values);
      const double kept = real_at(x_dtype, p.x_memory, at);
      set_real(x_dtype, p.x_memory, at, bad[i % 3]);
      double totals[FNN_TOTALS] = {0.0};
      size_t start = 0;
      fnn_status status;
      snapshot before = snapshot_of(network, &p, totals);
      size_t clean = 0; /* steps before the bad batch stand */
      while ((status = train_rows(network, &p, &start, totals, 0.0, (int)i % 2)) ==
                 FNN_OK &&
             start < p.data.rows) {
        snapshot_free(&before);
        before = snapshot_of(network, &p, totals);
        clean = start;
      }
      snapshot after = snapshot_of(network, &p, totals);
      CHECK(status == FNN_BAD_INPUT, "%g at %zu: status %d", bad[i % 3], at,
            (int)status);
      CHECK(same_snapshots(&before, &after), "something changed");
      CHECK(start == clean, "stopped at row %zu, the bad batch begins at %zu", start,
            clean);
      snapshot_free(&before);
      snapshot_free(&after);

      start = 0;
      CHECK(fnn_predict(network, &p.data.x, FNN_VALUES, out, &start, INFINITY) ==
                FNN_BAD_INPUT,
            "predict took %g", bad[i % 3]);
      start = 0;
      double sums[FNN_TOTALS] = {1.0, 2.0, 3.0};
      CHECK(fnn_evaluate(network, &p.data, &start, sums, INFINITY) == FNN_BAD_INPUT,
            "evaluate took %g", bad[i % 3]);
      CHECK(sums[0] == 1.0 && sums[1] == 2.0 && sums[2] == 3.0, "totals changed");
      if (x_dtype == dtype)
        CHECK(fnn_predict_one(
                  network,
                  (char *)p.x_memory + at / p.n_inputs * p.n_inputs * itemsize(dtype),
                  out) == FNN_BAD_INPUT,
              "predict_one took %g", bad[i % 3]);
      set_real(x_dtype, p.x_memory, at, kept);
    }
    size_t start = 0;
    double totals[FNN_TOTALS] = {0.0};
    CHECK(train_epoch(network, &p, &start, totals) == FNN_OK, "unusable afterwards");
    free(out);
    fnn_network_free(network);
    problem_free(&p);
  }
}

/* Sample weights that the dtype cannot hold, or whose inverse it cannot: the result is
 * a status, never weights that are not finite. */
void test_absurd_sample_weights(fnn_dtype dtype) {
  const double absurd[] = {1e39, 1e-39, 1e-46, 1e300, 1e-300,
                           1e19, 1e-19, 1e308, 5e-324};
  for (size_t a = 0; a < sizeof absurd / sizeof *absurd; a++)
    for (int variant = 0; variant < 4; variant++) {
      const int first_only = variant & 1;
      spec s = spec_of(dtype, kinds[a % 4]);
      if (variant >> 1) s = one_layer(s); /* no input gradient that would show it */
      s.weighted = 1;
      problem p = problem_new(&s);
      double *weights = (double *)p.data.weights, totals[FNN_TOTALS] = {0.0};
      for (size_t i = 0; i < p.data.rows; i++)
        weights[i] = first_only && i ? 1.0 : absurd[a];
      fnn_network *network = network_new(&p);
      fnn_status status = FNN_OK;
      for (int epoch = 0; epoch < 3 && status == FNN_OK; epoch++) {
        size_t start = 0;
        status = train_epoch(network, &p, &start, totals);
      }
      CHECK(status == FNN_OK || status == FNN_DIVERGED, "status %d", (int)status);
      CHECK(all_weights_finite(network, &p), "weights %g: status %d and NaN", absurd[a],
            (int)status);
      CHECK(status != FNN_OK || isfinite(totals[FNN_LOSS_SUM]), "a loss sum of %g",
            totals[FNN_LOSS_SUM]);
      fnn_network_free(network);
      problem_free(&p);
    }
}

/* learning_rate * weight_decay > 2 makes the decay an amplifier: weights of inputs that
 * are always 0 grow unseen by any activation. */
void test_growing_weight_decay(fnn_dtype dtype) {
  spec s = one_layer(spec_of(dtype, FNN_ADAM));
  s.learning_rate = 1.0;
  s.weight_decay = 1e6;
  problem p = problem_new(&s);
  memset(p.x_memory, 0, p.data.rows * p.n_inputs * itemsize(dtype));
  fnn_network *network = network_new(&p);
  double totals[FNN_TOTALS] = {0.0};
  fnn_status status = FNN_OK;
  for (int epoch = 0; epoch < 100 && status == FNN_OK; epoch++) {
    size_t start = 0;
    status = train_epoch(network, &p, &start, totals);
    if (!CHECK(all_weights_finite(network, &p), "epoch %d, status %d: not finite",
               epoch, (int)status))
      break;
  }
  CHECK(status == FNN_DIVERGED, "status %d", (int)status);
  fnn_network_free(network);
  problem_free(&p);
}

/* Inputs near the end of the range with weights to match: no overflow anywhere, so no
 * reason to refuse. */
void test_huge_finite_inputs(fnn_dtype dtype) {
  const double huge = dtype == FNN_F64 ? 0x1p100 : 0x1p70;
  spec s = spec_of(dtype, FNN_SGD);
  s.learning_rate = 0.0;
  problem p = problem_new(&s), usual = problem_new(&s);
  for (size_t i = 0; i < p.data.rows * p.n_inputs; i++)
    set_real(dtype, p.x_memory, i, real_at(dtype, p.x_memory, i) * huge);
  fnn_network *network = network_new(&p), *other = network_new(&usual);
  const size_t k = p.n_inputs, n = p.layers[0].units;
  double *w = calloc(k * n + n, sizeof *w);
  if (!w) abort();
  fnn_network_get(network, 0, 0, w, w + k * n);
  for (size_t i = 0; i < k * n; i++) set_real(dtype, w, i, real_at(dtype, w, i) / huge);
  fnn_network_set(network, 0, 0, w, w + k * n);
  free(w);
  double totals[2][FNN_TOTALS] = {{0.0}};
  size_t start[2] = {0, 0};
  CHECK(train_epoch(network, &p, &start[0], totals[0]) == FNN_OK, "refused");
  CHECK(train_epoch(other, &usual, &start[1], totals[1]) == FNN_OK, "refused");
  CHECK(memcmp(totals[0], totals[1], sizeof totals[0]) == 0, "loss sum %g, not %g",
        totals[0][0], totals[1][0]);
  CHECK(fnn_network_get_step(network) == 5, "%d steps",
        (int)fnn_network_get_step(network));
  fnn_network_free(network);
  fnn_network_free(other);
  problem_free(&p);
  problem_free(&usual);
}

/* A dense layer with zero weights and what it is trained on, one row a step. */
static fnn_network *zero_network(fnn_dtype dtype, size_t inputs, size_t outputs,
                                 const fnn_optimizer *o) {
  const fnn_layer layer = {.kind = FNN_DENSE, .units = outputs, .trainable = 1};
  const fnn_plan plan = {.dtype = dtype,
                         .n_inputs = inputs,
                         .n_layers = 1,
                         .layers = &layer,
                         .loss = {FNN_MSE, 0.0}};
  fnn_network *network = fnn_network_new(&plan);
  if (!network || fnn_network_set_optimizer(network, o) != FNN_OK) abort();
  return network;
}

static fnn_array float64_row(const double *values, size_t count) {
  return (fnn_array){.data = values,
                     .rows = 1,
                     .cols = count,
                     .row_stride = (ptrdiff_t)(count * sizeof *values),
                     .col_stride = sizeof *values,
                     .type = FNN_FLOAT64};
}

static fnn_status train_row(fnn_network *network, const double *x, size_t inputs,
                            const double *y, size_t outputs) {
  const fnn_data data = {
      .x = float64_row(x, inputs), .targets = float64_row(y, outputs), .rows = 1};
  const fnn_steps steps = {
      .batch_size = 1, .accumulate = 1, .max_seconds = INFINITY, .fused = 1};
  double totals[FNN_TOTALS] = {0.0};
  size_t start = 0;
  return fnn_train(network, &data, &steps, &start, totals);
}

static int first_weights_finite(fnn_network *network, fnn_dtype dtype, size_t count,
                                size_t outputs) {
  double w[8] = {0.0}, b[8] = {0.0};
  fnn_network_get(network, 0, 0, w, b);
  for (size_t i = 0; i < count + outputs; i++)
    if (!isfinite(i < count ? real_at(dtype, w, i) : real_at(dtype, b, i - count)))
      return 0;
  return 1;
}

/* Decay that float32 has no number for, of weights that are 0. */
void test_decay_out_of_range(fnn_dtype dtype) {
  const fnn_optimizer o = {.kind = FNN_SGD, .learning_rate = 1.0, .weight_decay = 1e39};
  static const double x[3] = {1.0, -2.0, 0.5}, y[2] = {1.0, 2.0};
  fnn_network *network = zero_network(dtype, 3, 2, &o);
  const fnn_status status = train_row(network, x, 3, y, 2);
  CHECK(status == (dtype == FNN_F32 ? FNN_DIVERGED : FNN_OK), "status %d", (int)status);
  CHECK(first_weights_finite(network, dtype, 6, 2), "not finite");
  fnn_network_free(network);
}

/* The moment over epsilon is beyond float32 though the step, at this rate, is not. */
void test_quotients_out_of_range(fnn_dtype dtype) {
  const fnn_optimizer o = {
      .kind = FNN_ADAM, .learning_rate = 1e-22, .beta_1 = 0.9, .epsilon = 1e-30};
  static const double large = 1e5, zero = 0.0;
  fnn_network *network = zero_network(dtype, 1, 1, &o);
  CHECK(train_row(network, &large, 1, &large, 1) == FNN_OK, "failed");
  const fnn_status status = train_row(network, &zero, 1, &zero, 1);
  CHECK(status == (dtype == FNN_F32 ? FNN_DIVERGED : FNN_OK), "status %d", (int)status);
  CHECK(first_weights_finite(network, dtype, 1, 1), "not finite");
  fnn_network_free(network);
}

/* A weight of 0 hides a huge input from all outputs, but not from its gradient:
 * wherever in the batch its row lies. */
void test_huge_sparse_rows(fnn_dtype dtype) {
  enum { ROWS = 4 };
  static const double targets[ROWS] = {1e3, 1e3, 1e3, 1e3};
  static const int64_t starts[ROWS + 1] = {0, 1, 2, 3, 4};
  static const int32_t columns[ROWS] = {0, 1, 2, 0};
  const fnn_optimizer o = {.kind = FNN_SGD, .learning_rate = 0.1};
  for (size_t at = 0; at < ROWS; at++)
    for (int threads = 1; threads < 4; threads++) {
      double values[ROWS], totals[FNN_TOTALS] = {0.0};
      for (size_t i = 0; i < ROWS; i++) set_real(dtype, values, i, 1.0);
      set_real(dtype, values, at, dtype == FNN_F64 ? 1e308 : 3e38);
      const fnn_data data = {.x = {.data = values,
                                   .rows = ROWS,
                                   .cols = 3,
                                   .type = dtype == FNN_F64 ? FNN_FLOAT64 : FNN_FLOAT32,
                                   .starts = starts,
                                   .columns = columns},
                             .targets = {.data = targets,
                                         .rows = ROWS,
                                         .cols = 1,
                                         .row_stride = sizeof *targets,
                                         .col_stride = sizeof *targets,
                                         .type = FNN_FLOAT64},
                             .rows = ROWS};
      const fnn_steps steps = {
          .batch_size = ROWS, .accumulate = 1, .max_seconds = INFINITY, .fused = 1};
      fnn_network *network = zero_network(dtype, 3, 1, &o);
      fnn_network_set_threads(network, threads);
      size_t start = 0;
      const fnn_status status = fnn_train(network, &data, &steps, &start, totals);
      CHECK(status == FNN_DIVERGED, "row %zu, %d threads: status %d", at, threads,
            (int)status);
      CHECK(first_weights_finite(network, dtype, 3, 1), "not finite");
      fnn_network_free(network);
    }
}

/* New weights are measured before they are trained, also after a training. */
void test_large_weights_set_between_steps(fnn_dtype dtype) {
  const double huge = dtype == FNN_F64 ? 1e300 : 1e37;
  const fnn_optimizer o = {.kind = FNN_SGD, .learning_rate = 1.0, .weight_decay = 1e3};
  static const double x[3] = {0.0, 0.0, 0.0}, y[2] = {0.0, 0.0};
  fnn_network *network = zero_network(dtype, 3, 2, &o);
  double w[6] = {0.0}, b[2] = {0.0};
  CHECK(train_row(network, x, 3, y, 2) == FNN_OK, "failed");
  set_real(dtype, w, 0, huge);
  fnn_network_set(network, 0, 0, w, b);
  fnn_status status = FNN_OK;
  for (int step = 0; step < 5 && status == FNN_OK; step++)
    status = train_row(network, x, 3, y, 2);
  CHECK(status == FNN_DIVERGED, "status %d", (int)status);
  CHECK(first_weights_finite(network, dtype, 6, 2), "not finite");
  fnn_network_free(network);
}
