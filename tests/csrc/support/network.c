#include "support/network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#if !defined(_WIN32)
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "engine/update.h"
#include "support/support.h"

static void *room(size_t count, size_t size) {
  void *memory = calloc(count ? count : 1, size);
  if (!memory) abort();
  return memory;
}

/* Rows around one random centre a class. */
static void make_data(problem *p, int64_t *labels) {
  const size_t rows = p->spec.rows, k = p->n_inputs, n = p->n_outputs;
  double *centres = room(n * k, sizeof *centres);
  for (size_t i = 0; i < n * k; i++) centres[i] = random_uniform(-1.0, 1.0);
  for (size_t i = 0; i < rows; i++) {
    labels[i] = (int64_t)random_below(n);
    for (size_t j = 0; j < k; j++) {
      double value = centres[(size_t)labels[i] * k + j] + random_uniform(-0.5, 0.5);
      if (p->spec.x_type == FNN_U8) value = rint((value + 1.5) * 85.0);
      else if (p->spec.x_type == FNN_FLOAT32 || p->spec.dtype != FNN_F64)
        value = (double)(float)value;
      switch (p->spec.x_type) {
        case FNN_U8: ((uint8_t *)p->x_memory)[i * k + j] = (uint8_t)value; break;
        case FNN_FLOAT32: ((float *)p->x_memory)[i * k + j] = (float)value; break;
        default: ((double *)p->x_memory)[i * k + j] = value; break;
      }
      if (p->scale) { /* in the network's dtype, a rounding each */
        if (p->spec.dtype == FNN_F64) value = value * p->scale[j] + p->shift[j];
        else value = (float)value * (float)p->scale[j] + (float)p->shift[j];
      }
      p->x[i * k + j] = value;
    }
  }
  free(centres);
}

static fnn_layer dense_layer(size_t units, fnn_activation_kind activation) {
  return (fnn_layer){.kind = FNN_DENSE,
                     .units = units,
                     .activation = {activation, 0.0},
                     .use_bias = 1,
                     .trainable = 1};
}

size_t weight_rows(const problem *p, size_t layer) {
  if (p->layers[layer].kind == FNN_DROPOUT) return 0;
  if (p->layers[layer].kind != FNN_DENSE) return 1;
  return layer ? p->layers[layer - 1].units : p->n_inputs;
}

array_sizes sizes_of(const problem *p, size_t layer) {
  const fnn_layer *l = &p->layers[layer];
  array_sizes sizes = {weight_rows(p, layer) * l->units, l->units};
  if (!sizes.w) sizes.b = 0;
  if (l->kind == FNN_PERIODIC)
    sizes = (array_sizes){l->columns * l->terms * l->size,
                          l->columns * (l->terms + l->size - 1)};
  if (l->kind == FNN_PIECEWISE) {
    sizes = (array_sizes){0, l->columns * l->size};
    for (size_t j = 0; j < l->columns; j++) sizes.w += l->counts[j] * l->size;
  }
  return sizes;
}

size_t group_rows(const problem *p) {
  return p->spec.batch * (p->spec.accumulate ? p->spec.accumulate : 1);
}

fnn_status train_rows(fnn_network *network, const problem *p, size_t *start,
                      double *totals, double max_seconds, int fused) {
  const fnn_steps steps = {.batch_size = p->spec.batch,
                           .accumulate = p->spec.accumulate ? p->spec.accumulate : 1,
                           .max_seconds = max_seconds,
                           .limit = INFINITY,
                           .fused = fused};
  return fnn_train(network, &p->data, &steps, start, totals);
}

problem problem_new(const spec *given) {
  problem p = {.spec = *given, .n_inputs = given->sizes[0]};
  while (!given->layers && given->sizes[p.n_layers + 1]) {
    const size_t i = p.n_layers++;
    p.layers[i] =
        dense_layer(given->sizes[i + 1], given->sizes[i + 2] ? FNN_RELU : FNN_IDENTITY);
  }
  for (; given->layers && p.n_layers < given->n_layers; p.n_layers++) {
    p.layers[p.n_layers] = given->layers[p.n_layers];
    if (p.layers[p.n_layers].units == 0) /* those of the layer below */
      p.layers[p.n_layers].units =
          p.n_layers ? p.layers[p.n_layers - 1].units : p.n_inputs;
  }
  p.n_outputs = p.layers[p.n_layers - 1].units;
  p.plan = (fnn_plan){.dtype = given->dtype,
                      .n_inputs = p.n_inputs,
                      .n_layers = p.n_layers,
                      .loss = given->loss};
  if (given->loss.kind == FNN_SOFTMAX_CROSS_ENTROPY)
    p.plan.loss.parameter = given->smoothing;
  p.optimizer = (fnn_optimizer){.kind = given->kind,
                                .learning_rate = given->learning_rate,
                                .momentum = 0.9,
                                .beta_1 = 0.9,
                                .beta_2 = 0.999,
                                .epsilon = 1e-8,
                                .weight_decay = given->weight_decay};
  if (given->optimizer) p.optimizer = *given->optimizer;
  const size_t rows = given->rows, k = p.n_inputs, n = p.n_outputs;
  const size_t x_size = given->x_type == FNN_U8        ? 1
                        : given->x_type == FNN_FLOAT32 ? 4
                                                       : 8;
  int64_t *labels = room(rows, sizeof *labels), *order = room(rows, sizeof *order);
  double *weights = room(rows, sizeof *weights);
  random_seed(7);
  p.x = room(rows * k, sizeof *p.x);
  p.x_memory = room(rows * k, x_size);
  if (given->x_type == FNN_U8) {
    p.scale = room(k, sizeof *p.scale);
    p.shift = room(k, sizeof *p.shift);
    for (size_t j = 0; j < k; j++) p.scale[j] = 1.0 / 85.0, p.shift[j] = -1.5;
  }
  make_data(&p, labels);
  p.data.x = (fnn_array){.data = p.x_memory,
                         .rows = rows,
                         .cols = k,
                         .row_stride = (ptrdiff_t)(k * x_size),
                         .col_stride = (ptrdiff_t)x_size,
                         .type = given->x_type};
  p.data.rows = rows;
  for (size_t i = 0; i < rows; i++) order[i] = (int64_t)i;
  for (size_t i = rows; i > 1; i--) {
    const size_t other = random_below(i);
    const int64_t kept = order[i - 1];
    order[i - 1] = order[other];
    order[other] = kept;
  }
  for (size_t i = 0; i < rows; i++)
    weights[i] = i % 7 == 3 ? 0.0 : random_uniform(0.5, 2.0);
  if (given->soft) {
    p.targets = room(rows * n, sizeof *p.targets);
    for (size_t i = 0; i < rows; i++)
      for (size_t j = 0; j < n; j++)
        p.targets[i * n + j] = ((size_t)labels[i] == j ? 0.75 : 0.0) + 0.25 / (double)n;
    p.data.targets = (fnn_array){.data = p.targets,
                                 .rows = rows,
                                 .cols = n,
                                 .row_stride = (ptrdiff_t)(n * 8),
                                 .col_stride = 8,
                                 .type = FNN_FLOAT64};
    free(labels);
  } else {
    p.data.labels = labels;
  }
  if (given->shuffled) p.data.order = order;
  else free(order);
  if (given->weighted) p.data.weights = weights;
  else free(weights);
  return p;
}

void problem_free(problem *p) {
  free(p->x);
  free(p->x_memory);
  free(p->scale);
  free(p->shift);
  free(p->targets);
  free((void *)p->data.labels);
  free((void *)p->data.order);
  free((void *)p->data.weights);
  *p = (problem){0};
}

int has_bias(const fnn_layer *layer) {
  if (layer->kind == FNN_DENSE) return layer->use_bias;
  return layer->kind != FNN_SCALE && layer->kind != FNN_PARAMETRIC;
}

fnn_network *network_new(const problem *p) {
  fnn_plan plan = p->plan;
  plan.layers = p->layers;
  fnn_network *network = fnn_network_new(&plan);
  if (!network) abort();
  if (fnn_network_set_optimizer(network, &p->optimizer) != FNN_OK) abort();
  if (fnn_network_set_scaling(network, p->scale, p->shift) != FNN_OK) abort();
  random_seed(11);
  for (size_t i = 0; i < p->n_layers; i++) {
    const size_t n = p->layers[i].units;
    const array_sizes sizes = sizes_of(p, i);
    const int dense = p->layers[i].kind == FNN_DENSE;
    if (!sizes.w) continue;
    double *w = room(sizes.w + n, sizeof *w), *b = room(sizes.b + n, sizeof *b);
    const double range = sqrt(3.0 / (double)weight_rows(p, i));
    for (size_t j = 0; j < sizes.w; j++)
      set_real(p->spec.dtype, w, j,
               dense ? range * random_uniform(-1.0, 1.0) : random_uniform(0.5, 1.5));
    for (size_t j = 0; j < sizes.b; j++)
      set_real(p->spec.dtype, b, j,
               has_bias(&p->layers[i]) ? random_uniform(-0.1, 0.1) : 0.0);
    fnn_network_set(network, i, 0, w, b);
    for (size_t j = 0; j < n; j++) {
      set_real(p->spec.dtype, w, j, random_uniform(-0.2, 0.2));
      set_real(p->spec.dtype, b, j, random_uniform(0.5, 2.0));
    }
    if (p->layers[i].kind == FNN_BATCH_NORM)
      fnn_network_set_statistics(network, i, w, b);
    free(w);
    free(b);
  }
  return network;
}

snapshot snapshot_of(const fnn_network *network, const problem *p,
                     const double *totals) {
  const size_t size = itemsize(p->spec.dtype);
  const int parts = 1 + (int)fnn_optimizer_states(p->optimizer.kind).count;
  size_t values = 0;
  for (size_t i = 0; i < p->n_layers; i++)
    values +=
        (sizes_of(p, i).w + sizes_of(p, i).b) * (size_t)parts + 2 * p->layers[i].units;
  snapshot s = {.size = values * size + sizeof(uint64_t) + FNN_TOTALS * sizeof(double)};
  s.bytes = room(s.size, 1);
  unsigned char *to = s.bytes;
  for (size_t i = 0; i < p->n_layers; i++) {
    const array_sizes sizes = sizes_of(p, i);
    const size_t n = p->layers[i].units;
    for (int part = 0; sizes.w && part < parts; part++) {
      fnn_network_get(network, i, part, to, to + sizes.w * size);
      to += (sizes.w + sizes.b) * size;
    }
    if (p->layers[i].kind != FNN_BATCH_NORM) continue;
    fnn_network_get_statistics(network, i, to, to + n * size);
    to += 2 * n * size;
  }
  to = s.bytes + values * size;
  const uint64_t step = fnn_network_get_step(network);
  memcpy(to, &step, sizeof step);
  if (totals) memcpy(to + sizeof step, totals, FNN_TOTALS * sizeof *totals);
  return s;
}

int same_snapshots(const snapshot *a, const snapshot *b) {
  return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

void snapshot_free(snapshot *s) {
  free(s->bytes);
  *s = (snapshot){0};
}

int all_weights_finite(const fnn_network *network, const problem *p) {
  snapshot s = snapshot_of(network, p, NULL);
  const size_t size = itemsize(p->spec.dtype);
  const size_t tail = sizeof(uint64_t) + FNN_TOTALS * sizeof(double);
  int finite = 1;
  for (size_t i = 0; i < (s.size - tail) / size; i++)
    finite = finite && isfinite(real_at(p->spec.dtype, s.bytes, i));
  snapshot_free(&s);
  return finite;
}

snapshot train(const problem *p, const run_options *options) {
  fnn_network *network = network_new(p);
  double totals[FNN_TOTALS] = {0.0};
  fnn_network_set_threads(network, options->threads);
  for (int epoch = 0; epoch < 2; epoch++)
    for (size_t start = 0; start < p->data.rows;) {
      const fnn_status status = train_rows(
          network, p, &start, totals, options->sliced ? 0.0 : INFINITY, options->fused);
      if (!CHECK(status == FNN_OK, "status %d in %s", (int)status, p->spec.name)) break;
    }
  const snapshot s = snapshot_of(network, p, totals);
  fnn_network_free(network);
  return s;
}

int can_fork(void) {
#if defined(__SANITIZE_THREAD__) || defined(_WIN32)
  return 0;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
  return 0;
#else
  return 1;
#endif
#else
  return 1;
#endif
}

int in_child(int (*body)(void *argument), void *argument) {
#if defined(_WIN32)
  (void)body;
  (void)argument;
  return 0;
#else
  const pid_t child = fork();
  if (child == 0) {
    alarm(60); /* a child that hangs is killed */
    _exit(body(argument) ? 0 : 1);
  }
  int status = 1;
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
         WEXITSTATUS(status) == 0;
#endif
}
