/* Training gives the same bits however it is done. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"
#include "support/network.h"
#include "tests.h"

/* body(problem) for the trainings of a dtype. */
#define FOR_CASES(dtype_, p)                               \
  for (size_t case_ = 0; case_ < trained_cases(); case_++) \
    if (trained_spec(case_)->dtype == (dtype_))            \
      for (problem p = problem_new(trained_spec(case_)); p.x; problem_free(&p))

void test_training_bits_on_any_thread_count(fnn_dtype dtype) {
  static const int threads[] = {1, 2, 3, 4, 7, 16};
  FOR_CASES(dtype, p) {
    snapshot expected = train(&p, &(run_options){.threads = 1, .fused = 1});
    for (size_t t = 0; t < sizeof threads / sizeof *threads; t += samples(1, 2))
      for (int fused = 0; fused < 2; fused++) {
        snapshot now = train(&p, &(run_options){.threads = threads[t], .fused = fused});
        CHECK(same_snapshots(&now, &expected), "%s: %d threads, %s", p.spec.name,
              threads[t], fused ? "fused" : "stored");
        snapshot_free(&now);
      }
    snapshot_free(&expected);
  }
}

void test_training_bits_in_slices(fnn_dtype dtype) {
  FOR_CASES(dtype, p) {
    snapshot expected = train(&p, &(run_options){.threads = 1, .fused = 1});
    for (int threads = 1; threads < 4; threads += 2) {
      snapshot now =
          train(&p, &(run_options){.threads = threads, .fused = 1, .sliced = 1});
      CHECK(same_snapshots(&now, &expected), "%s: a step a call, %d threads",
            p.spec.name, threads);
      snapshot_free(&now);
    }
    snapshot_free(&expected);
  }
}

/* X in other clothes: reversed rows, columns apart, unaligned, behind an order. */
void test_training_bits_of_any_array(fnn_dtype dtype) {
  FOR_CASES(dtype, p) {
    if (p.spec.x_type == FNN_U8) continue;
    const size_t size = p.spec.x_type == FNN_FLOAT64 ? 8 : 4;
    const size_t rows = p.data.rows, k = p.n_inputs;
    snapshot expected = train(&p, &(run_options){.threads = 1, .fused = 1});
    const fnn_array plain = p.data.x;
    const unsigned char *from = plain.data;
    const ptrdiff_t step = (ptrdiff_t)size, whole = (ptrdiff_t)(k * size);
    const struct {
      ptrdiff_t row_stride, col_stride;
      size_t offset;
    } clothes[] = {{-whole, step, 0},
                   {2 * whole + step, 2 * step, 0},
                   {whole + 1, step, 1},
                   {step, (ptrdiff_t)rows * step, 0},
                   {3 * whole, step, 0}};
    for (size_t c = 0; c < sizeof clothes / sizeof *clothes; c++) {
      guarded memory = guard(3 * rows * (k + 1) * size + 8, 1, 0);
      unsigned char *to = (unsigned char *)memory.data + clothes[c].offset;
      if (clothes[c].row_stride < 0) to += (rows - 1) * k * size;
      for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < k; j++)
          memcpy(to + (ptrdiff_t)i * clothes[c].row_stride +
                     (ptrdiff_t)j * clothes[c].col_stride,
                 from + (i * k + j) * size, size);
      p.data.x.data = to;
      p.data.x.row_stride = clothes[c].row_stride;
      p.data.x.col_stride = clothes[c].col_stride;
      snapshot now = train(&p, &(run_options){.threads = 2, .fused = 1});
      CHECK(same_snapshots(&now, &expected), "%s: array %zu", p.spec.name, c);
      snapshot_free(&now);
      guard_release(&memory, "X");
    }
    p.data.x = plain;
    if (!p.data.order) { /* in place and gathered */
      int64_t *order = calloc(rows, sizeof *order);
      if (!order) abort();
      for (size_t i = 0; i < rows; i++) order[i] = (int64_t)i;
      p.data.order = order;
      snapshot now = train(&p, &(run_options){.threads = 2, .fused = 1});
      CHECK(same_snapshots(&now, &expected), "%s: in order 0, 1, ...", p.spec.name);
      snapshot_free(&now);
    }
    snapshot_free(&expected);
  }
}

/* The rows of X as compressed sparse rows, in memory to be freed; its zeros are left
 * out, but for each seventh. */
typedef struct compressed {
  fnn_array x;
  int64_t *starts;
  int32_t *columns;
  char *values;
} compressed;

static compressed compress(const fnn_array *x, size_t size) {
  compressed c = {.starts = calloc(x->rows + 1, sizeof *c.starts),
                  .columns = calloc(x->rows * x->cols + 1, sizeof *c.columns),
                  .values = calloc(x->rows * x->cols + 1, size)};
  if (!c.starts || !c.columns || !c.values) abort();
  size_t count = 0;
  for (size_t i = 0; i < x->rows; i++) {
    const char *row = (const char *)x->data + (ptrdiff_t)i * x->row_stride;
    for (size_t j = 0; j < x->cols; j++, row += size) {
      const double value = real_at(size == 8 ? FNN_F64 : FNN_F32, row, 0);
      if (value == 0.0 && (i + j) % 7) continue;
      memcpy(c.values + count * size, row, size);
      c.columns[count++] = (int32_t)j;
    }
    c.starts[i + 1] = (int64_t)count;
  }
  c.x = (fnn_array){.data = c.values,
                    .rows = x->rows,
                    .cols = x->cols,
                    .type = x->type,
                    .starts = c.starts,
                    .columns = c.columns};
  return c;
}

/* Gradients of all rows, and what is predicted; bytes to be freed. */
static char *outputs_of(fnn_network *network, const problem *p, size_t size,
                        size_t *bytes) {
  const size_t n = p->layers[0].units, k = p->n_inputs;
  const size_t gradients = (k + 1) * n, outputs = p->data.rows * p->n_outputs;
  char *all = calloc(gradients + outputs, size), *rest[MAX_LAYERS] = {NULL};
  void *dw[MAX_LAYERS], *db[MAX_LAYERS];
  double totals[FNN_TOTALS] = {0.0};
  size_t start = 0, width = n;
  if (!all) abort();
  dw[0] = all;
  db[0] = all + k * n * size;
  for (size_t i = 1; i < p->n_layers; i++) {
    rest[i] = calloc((width + 1) * p->layers[i].units, size);
    if (!rest[i]) abort();
    dw[i] = rest[i];
    db[i] = rest[i] + width * p->layers[i].units * size;
    width = p->layers[i].units;
  }
  CHECK(fnn_gradients(network, &p->data, NULL, totals, dw, db) == FNN_OK &&
            fnn_predict(network, &p->data.x, FNN_VALUES, all + gradients * size, &start,
                        1e9) == FNN_OK,
        "%s failed", p->spec.name);
  for (size_t i = 1; i < p->n_layers; i++) free(rest[i]);
  *bytes = (gradients + outputs) * size;
  return all;
}

void test_training_bits_of_sparse_rows(fnn_dtype dtype) {
  const fnn_type own = dtype == FNN_F64 ? FNN_FLOAT64 : FNN_FLOAT32;
  const size_t size = itemsize(dtype);
  FOR_CASES(dtype, p) {
    if (p.spec.x_type != own || p.layers[0].kind != FNN_DENSE || p.spec.n_layers)
      continue;
    char *x = p.x_memory;
    for (size_t i = 0; i < p.data.rows * p.n_inputs; i++)
      if (random_below(3)) memset(x + i * size, 0, size);
    memset(x, 0, p.n_inputs * size); /* a row of nothing */
    const fnn_array dense = p.data.x;
    compressed c = compress(&dense, size);
    fnn_network *network = network_new(&p);
    size_t bytes;
    CHECK(fnn_takes_sparse(network), "%s: refused", p.spec.name);
    snapshot expected = train(&p, &(run_options){.threads = 1, .fused = 1});
    char *outputs = outputs_of(network, &p, size, &bytes);
    p.data.x = c.x;
    for (int threads = 1; threads < 5; threads++) {
      snapshot now = train(
          &p, &(run_options){.threads = threads, .fused = 1, .sliced = threads == 2});
      CHECK(same_snapshots(&now, &expected), "%s: %d threads", p.spec.name, threads);
      snapshot_free(&now);
      fnn_network_set_threads(network, threads);
      char *found = outputs_of(network, &p, size, &bytes);
      CHECK(!memcmp(found, outputs, bytes), "%s: gradients or outputs, %d threads",
            p.spec.name, threads);
      free(found);
    }
    int finite = 0;
    CHECK(fnn_all_finite(network, &p.data.x, &finite) == FNN_OK && finite,
          "not finite");
    p.data.x = dense;
    snapshot_free(&expected);
    fnn_network_free(network);
    free(outputs);
    free(c.starts);
    free(c.columns);
    free(c.values);
  }
}

/* Whether a weight changes though its gradient is 0, or others do because of it. */
static int touches_weights(const fnn_optimizer *o) {
  return o->weight_decay > 0.0 || o->l1 > 0.0 || o->l2 > 0.0 || o->max_norm > 0.0;
}

/* One huge weight on an input that is always 0 takes away the proof that the update is
 * harmless: every step is taken with care. The other weights come out as ever. */
void test_careful_steps_give_the_same_bits(fnn_dtype dtype) {
  FOR_CASES(dtype, p) {
    if (p.spec.x_type == FNN_U8 || touches_weights(&p.optimizer)) continue;
    const size_t k = p.n_inputs, n = p.layers[0].units;
    for (size_t i = 0; i < p.data.rows; i++) {
      if (p.spec.x_type == FNN_FLOAT64) ((double *)p.x_memory)[i * k] = 0.0;
      else ((float *)p.x_memory)[i * k] = 0.0f;
    }
    snapshot results[3];
    for (int variant = 0; variant < 3;
         variant++) { /* plain, careful, careful in slices */
      fnn_network *network = network_new(&p);
      double totals[FNN_TOTALS] = {0.0};
      double *w = calloc(k * n + n, sizeof *w);
      if (!w) abort();
      void *b = (char *)w + k * n * itemsize(dtype);
      fnn_network_get(network, 0, 0, w, b);
      set_real(dtype, w, 0, variant ? 0x1p70 : 0.0);
      fnn_network_set(network, 0, 0, w, b);
      fnn_network_set_threads(network, variant + 1);
      for (size_t start = 0; start < p.data.rows;)
        if (!CHECK(train_rows(network, &p, &start, totals,
                              variant == 2 ? 0.0 : INFINITY, 1) == FNN_OK,
                   "%s: failed", p.spec.name))
          break;
      fnn_network_get(network, 0, 0, w, b);
      CHECK(real_at(dtype, w, 0) == (variant ? 0x1p70 : 0.0), "the huge weight is %g",
            real_at(dtype, w, 0));
      set_real(dtype, w, 0, 0.0);
      fnn_network_set(network, 0, 0, w, b);
      results[variant] = snapshot_of(network, &p, totals);
      free(w);
      fnn_network_free(network);
    }
    CHECK(same_snapshots(&results[0], &results[1]), "%s: other bits", p.spec.name);
    CHECK(same_snapshots(&results[0], &results[2]), "%s in slices: other bits",
          p.spec.name);
    for (int i = 0; i < 3; i++) snapshot_free(&results[i]);
  }
}

void test_loss_decreases(fnn_dtype dtype) {
  FOR_CASES(dtype, p) {
    fnn_network *network = network_new(&p);
    double mean = 0.0, first = 0.0;
    const int epochs = 30;
    for (int epoch = 0; epoch < epochs; epoch++) {
      double totals[FNN_TOTALS] = {0.0};
      size_t start = 0;
      const fnn_status status = train_rows(network, &p, &start, totals, INFINITY, 1);
      CHECK(status == FNN_OK && start == p.data.rows, "status %d", (int)status);
      mean = totals[FNN_LOSS_SUM] / totals[FNN_WEIGHT_SUM];
      if (epoch == 0) first = mean;
    }
    CHECK(mean < 0.9 * first, "%s: the loss went from %g to %g", p.spec.name, first,
          mean);
    fnn_network_free(network);
  }
}

/* A mini-batch whose weights are all 0 changes nothing and is not a step. */
void test_zero_weight_batch_is_skipped(fnn_dtype dtype) {
  FOR_CASES(dtype, p) {
    if (!p.spec.weighted) continue;
    double *weights = (double *)p.data.weights;
    for (size_t i = 0; i < group_rows(&p) && i < p.data.rows; i++)
      weights[p.data.order ? (size_t)p.data.order[i] : i] = 0.0;
    fnn_network *network = network_new(&p);
    double totals[FNN_TOTALS] = {1.0, 2.0, 3.0};
    snapshot before = snapshot_of(network, &p, totals);
    size_t start = 0;
    CHECK(train_rows(network, &p, &start, totals, 0.0, 1) == FNN_OK, "failed");
    snapshot after = snapshot_of(network, &p, totals);
    CHECK(start == (group_rows(&p) < p.data.rows ? group_rows(&p) : p.data.rows),
          "stopped at %zu", start);
    CHECK(same_snapshots(&before, &after), "%s: something changed", p.spec.name);
    snapshot_free(&before);
    snapshot_free(&after);
    fnn_network_free(network);
  }
}
