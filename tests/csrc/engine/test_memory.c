/* Every allocation fails once: the call says so and the network is what it was. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/network.h"
#include "base/memory.h"
#include "support/network.h"
#include "support/support.h"
#include "tests.h"

void test_allocator(void) {
  const size_t sizes[] = {0, 1, 63, 64, 65, 1000};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    unsigned char *memory = fnn_alloc(sizes[i], 1);
    size_t nonzero = 0;
    if (!CHECK(memory != NULL, "no %zu bytes", sizes[i])) continue;
    CHECK((uintptr_t)memory % FNN_ALIGNMENT == 0, "%p is not aligned", (void *)memory);
    for (size_t j = 0; j < sizes[i]; j++) nonzero += memory[j] != 0;
    CHECK(nonzero == 0, "%zu bytes are not zero", nonzero);
    memset(memory, 1, sizes[i]);
    fnn_free(memory);
  }
  CHECK(fnn_alloc(SIZE_MAX, 2) == NULL, "an overflowing product");
  CHECK(fnn_alloc(SIZE_MAX / 2, 1) == NULL, "more than half of the address space");
  CHECK(fnn_alloc((size_t)1 << 40, (size_t)1 << 40) == NULL, "2^80 bytes");
  fnn_fail_allocation(2, 0);
  void *first = fnn_alloc(1, 1), *second = fnn_alloc(1, 1), *third = fnn_alloc(1, 1);
  CHECK(first && !second && third, "not the second alone");
  fnn_free(first);
  fnn_free(third);
  fnn_fail_allocation(1, 1);
  CHECK(!fnn_alloc(1, 1) && !fnn_alloc(1, 1), "not for ever");
  fnn_fail_allocation(0, 0);
  fnn_free(NULL);
}

typedef enum operation {
  SET_OPTIMIZER,
  SET_SCALING,
  TRAIN,
  TRAIN_STORED,
  TRAIN_CAREFULLY,
  GRADIENTS,
  PREPARE,
  PREDICT,
  PREDICT_ONE,
  EVALUATE,
  ALL_FINITE,
  OPERATIONS
} operation;

static void *room(size_t count) {
  void *memory = calloc(count, sizeof(double));
  if (!memory) abort();
  return memory;
}

static fnn_status gradients_of(fnn_network *network, const problem *p, double *totals) {
  void *dw[MAX_LAYERS], *db[MAX_LAYERS];
  for (size_t i = 0; i < p->n_layers; i++) {
    dw[i] = room(sizes_of(p, i).w + 1);
    db[i] = room(sizes_of(p, i).b + 1);
  }
  const fnn_status status = fnn_gradients(network, &p->data, NULL, totals, dw, db);
  for (size_t i = 0; i < p->n_layers; i++) {
    free(dw[i]);
    free(db[i]);
  }
  return status;
}

static fnn_status operate(operation what, fnn_network *network, const problem *p,
                          double *totals, double *out) {
  size_t start = 0;
  int finite;
  const double ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  fnn_optimizer other = p->optimizer;
  other.kind = FNN_LION;
  switch (what) {
    case SET_OPTIMIZER: return fnn_network_set_optimizer(network, &other);
    case SET_SCALING: return fnn_network_set_scaling(network, ones, ones);
    case TRAIN:
    case TRAIN_STORED:
    case TRAIN_CAREFULLY:
      return train_rows(network, p, &start, totals, INFINITY, what != TRAIN_STORED);
    case GRADIENTS: return gradients_of(network, p, totals);
    case PREPARE: return fnn_network_prepare(network);
    case PREDICT:
      return fnn_predict(network, &p->data.x, FNN_VALUES, out, &start, INFINITY);
    case PREDICT_ONE: return fnn_predict_one(network, p->data.x.data, out);
    case EVALUATE: return fnn_evaluate(network, &p->data, &start, totals, INFINITY);
    case ALL_FINITE: return fnn_all_finite(network, &p->data.x, &finite);
    case OPERATIONS: break;
  }
  return FNN_OK;
}

/* One operation on a fresh network with its n-th allocation failing (and all later ones
 * if `forever`). Returns its status. */
static fnn_status fail_once(operation what, const problem *p, int threads, long n,
                            int forever) {
  fnn_network *network = network_new(p);
  double totals[FNN_TOTALS] = {0.0}, *out = room(p->data.rows * p->n_outputs);
  fnn_network_set_threads(network, threads);
  if (what == TRAIN_CAREFULLY) {
    const size_t k = p->n_inputs, units = p->layers[0].units;
    double *w = room((k + 1) * units);
    set_real(p->spec.dtype, w, 0, 0x1p80);
    fnn_network_set(network, 0, 0, w, w + k * units);
    free(w);
  }
  snapshot before = snapshot_of(network, p, totals);
  fnn_fail_allocation(n, forever);
  const fnn_status status = operate(what, network, p, totals, out);
  fnn_fail_allocation(0, 0);
  CHECK(status == FNN_OK || status == FNN_NO_MEMORY, "status %d", (int)status);
  if (status == FNN_NO_MEMORY) {
    snapshot after = snapshot_of(network, p, totals);
    CHECK(same_snapshots(&before, &after), "operation %d, allocation %ld: changed",
          (int)what, n);
    snapshot_free(&after);
    /* And it works once there is memory. */
    CHECK(operate(what, network, p, totals, out) == FNN_OK,
          "operation %d, allocation %ld: unusable afterwards", (int)what, n);
  }
  snapshot_free(&before);
  free(out);
  fnn_network_free(network);
  return status;
}

/* Each operation with every single allocation failing, and with all from then on. */
static void fail_all(const spec *s) {
  problem p = problem_new(s);
  for (size_t i = 0; i < p.data.rows; i++) /* the input of the huge weight */
    set_real(s->dtype, p.x_memory, i * p.n_inputs, 0.0);
  fnn_plan plan = p.plan;
  plan.layers = p.layers;
  fnn_network *network = NULL;
  long n = 1;
  for (; !network && n < 100; n++) {
    fnn_fail_allocation(n, (int)(n % 2));
    network = fnn_network_new(&plan);
    fnn_fail_allocation(0, 0);
  }
  CHECK(n > 6 && n < 100, "%s: a network was made with allocation %ld failing", s->name,
        n - 1);
  fnn_network_free(network);

  for (operation what = 0; what < OPERATIONS; what++)
    for (int forever = 0; forever < 2; forever++) {
      n = 1;
      while (n < 100 && fail_once(what, &p, 1, n, forever) == FNN_NO_MEMORY) n++;
      CHECK(n > 1 - (what == PREPARE) && n < 100, "%s, operation %d: %ld failures",
            s->name, (int)what, n - 1);
    }
  problem_free(&p);
}

void test_failing_allocations(fnn_dtype dtype) {
  const fnn_type type = dtype == FNN_F64 ? FNN_FLOAT64 : FNN_FLOAT32;
  /* PREDICT_ONE allocates only for layers as wide as the last one here. */
  fail_all(&(spec){.name = "memory",
                   .dtype = dtype,
                   .sizes = {8, 20, 5000},
                   .kind = FNN_MOMENTUM,
                   .learning_rate = 0.1,
                   .x_type = type,
                   .rows = 6,
                   .batch = 6,
                   .shuffled = 1,
                   .weighted = 1});
  static const size_t counts[] = {1, 2};
  static const double edges[] = {-1.0, 1.0, -1.0, 0.0, 1.0};
  static const fnn_layer layers[] = {
      {.kind = FNN_DENSE, .units = 9, .use_bias = 1, .trainable = 1},
      {.kind = FNN_BATCH_NORM,
       .activation = {FNN_GELU, 0.0},
       .momentum = 0.1,
       .epsilon = 1e-5,
       .trainable = 1},
      {.kind = FNN_DROPOUT, .rate = 0.5},
      {.kind = FNN_PIECEWISE,
       .units = 11,
       .trainable = 1,
       .use_bias = 1,
       .columns = 2,
       .size = 2,
       .counts = counts,
       .edges = edges},
      {.kind = FNN_PARAMETRIC, .activation = {FNN_TANH, 0.0}, .trainable = 1},
      {.kind = FNN_DENSE, .units = 5000, .use_bias = 1, .trainable = 1},
      {.kind = FNN_LAYER_NORM, .epsilon = 1e-5, .trainable = 1}};
  static const fnn_optimizer clipping = {.kind = FNN_ADAM,
                                         .learning_rate = 0.01,
                                         .beta_1 = 0.9,
                                         .beta_2 = 0.999,
                                         .epsilon = 1e-8,
                                         .clip_norm = 1.0};
  fail_all(&(spec){.name = "memory of layers",
                   .dtype = dtype,
                   .sizes = {8},
                   .layers = layers,
                   .n_layers = sizeof layers / sizeof *layers,
                   .optimizer = &clipping,
                   .x_type = type,
                   .rows = 6,
                   .batch = 3,
                   .accumulate = 2,
                   .shuffled = 1,
                   .weighted = 1});
}

/* A new optimizer keeps the state if it has the same arrays, else starts from zero. */
void test_optimizer_state(fnn_dtype dtype) {
  const spec s = {.name = "state",
                  .dtype = dtype,
                  .sizes = {5, 9, 3},
                  .kind = FNN_MOMENTUM,
                  .learning_rate = 0.1,
                  .x_type = FNN_FLOAT32,
                  .rows = 12,
                  .batch = 4};
  problem p = problem_new(&s);
  fnn_network *network = network_new(&p);
  double totals[FNN_TOTALS] = {0.0};
  size_t start = 0;
  CHECK(train_rows(network, &p, &start, totals, INFINITY, 1) == FNN_OK, "failed");
  snapshot before = snapshot_of(network, &p, NULL);
  p.optimizer.kind = FNN_NESTEROV;
  p.optimizer.learning_rate = 0.5;
  CHECK(fnn_network_set_optimizer(network, &p.optimizer) == FNN_OK, "failed");
  snapshot kept = snapshot_of(network, &p, NULL);
  CHECK(same_snapshots(&before, &kept), "the velocity was not kept");
  CHECK(fnn_network_get_step(network) == 3, "the step was not kept");
  p.optimizer.kind = FNN_ADAM;
  CHECK(fnn_network_set_optimizer(network, &p.optimizer) == FNN_OK, "failed");
  double w[45], b[9], sum = 0.0;
  for (int part = 1; part < 3; part++) {
    fnn_network_get(network, 0, part, w, b);
    for (size_t i = 0; i < 45; i++) sum += fabs(real_at(dtype, w, i));
    for (size_t i = 0; i < 9; i++) sum += fabs(real_at(dtype, b, i));
  }
  CHECK(sum == 0.0 && fnn_network_get_step(network) == 0,
        "the moments do not start at 0");
  /* State comes back as it was set. */
  for (int part = 0; part < 3; part++) {
    double w2[45] = {0.0}, b2[9] = {0.0}, w3[45] = {0.0}, b3[9] = {0.0};
    for (size_t i = 0; i < 45; i++) set_real(dtype, w2, i, random_value());
    for (size_t i = 0; i < 9; i++) set_real(dtype, b2, i, random_value());
    fnn_network_set(network, 0, part, w2, b2);
    fnn_network_get(network, 0, part, w3, b3);
    CHECK(!memcmp(w2, w3, sizeof w2) && !memcmp(b2, b3, sizeof b2), "part %d", part);
  }
  fnn_network_set_step(network, 41);
  CHECK(fnn_network_get_step(network) == 41, "the step is not what was set");
  snapshot_free(&before);
  snapshot_free(&kept);
  fnn_network_free(network);
  problem_free(&p);
}
