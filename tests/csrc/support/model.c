#include "support/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

enum { MAX_WIDTH = 512 };

static long double *reals(size_t count) {
  long double *memory = calloc(count, sizeof *memory);
  if (!memory) abort();
  return memory;
}

long double model_loss(const long double *z, const long double *t, size_t n,
                       long double smoothing, long double *dz) {
  long double top = z[0], sum = 0.0L, loss = 0.0L, total = 0.0L;
  for (size_t j = 1; j < n; j++) top = fmaxl(top, z[j]);
  for (size_t j = 0; j < n; j++) sum += expl(z[j] - top);
  for (size_t j = 0; j < n; j++) {
    const long double target = (1 - smoothing) * t[j] + smoothing / (long double)n;
    total += target;
    loss += target * (top - z[j] + logl(sum));
  }
  for (size_t j = 0; j < n; j++) {
    const long double target = (1 - smoothing) * t[j] + smoothing / (long double)n;
    dz[j] = total * expl(z[j] - top) / sum - target;
  }
  return loss;
}

model model_new(const fnn_network *network, const problem *p) {
  model m = {.n_layers = p->n_layers, .sizes = {p->n_inputs}};
  for (size_t i = 0; i < m.n_layers; i++) {
    const size_t k = m.sizes[i], n = p->layers[i].units;
    m.sizes[i + 1] = n;
    m.w[i] = reals(k * n), m.b[i] = reals(n);
    m.dw[i] = reals(k * n), m.db[i] = reals(n);
    double *w = calloc(k * n, sizeof *w), *b = calloc(n, sizeof *b);
    if (!w || !b) abort();
    fnn_network_get(network, i, 0, w, b);
    for (size_t j = 0; j < k * n; j++)
      m.w[i][j] = (long double)real_at(p->spec.dtype, w, j);
    for (size_t j = 0; j < n; j++)
      m.b[i][j] = (long double)real_at(p->spec.dtype, b, j);
    free(w);
    free(b);
  }
  return m;
}

static void forward_layer(model *m, size_t i, const long double *x, long double *y) {
  const size_t k = m->sizes[i], n = m->sizes[i + 1];
  for (size_t j = 0; j < n; j++) {
    long double sum = m->b[i][j];
    for (size_t s = 0; s < k; s++) sum += x[s] * m->w[i][s * n + j];
    y[j] = sum;
    if (i + 1 == m->n_layers) continue;
    m->least_input = fminl(m->least_input, fabsl(sum));
    y[j] = fmaxl(sum, 0.0L);
  }
}

/* Adds a layer's gradients for one row and turns dy into dx. */
static void backward_layer(model *m, size_t i, const long double *x,
                           const long double *dy, long double *dx) {
  const size_t k = m->sizes[i], n = m->sizes[i + 1];
  for (size_t j = 0; j < n; j++) m->db[i][j] += dy[j];
  for (size_t s = 0; s < k; s++) {
    long double sum = 0.0L;
    for (size_t j = 0; j < n; j++) {
      m->dw[i][s * n + j] += x[s] * dy[j];
      sum += dy[j] * m->w[i][s * n + j];
    }
    dx[s] = x[s] > 0.0L ? sum : 0.0L;
  }
}

static void run_row(model *m, const problem *p, size_t row, long double weight,
                    long double weight_sum) {
  static long double y[MAX_LAYERS + 1][MAX_WIDTH], dy[2][MAX_WIDTH], t[MAX_WIDTH];
  const size_t last = m->n_layers, n = m->sizes[last];
  for (size_t j = 0; j < m->sizes[0]; j++)
    y[0][j] = (long double)p->x[row * m->sizes[0] + j];
  for (size_t i = 0; i < last; i++) forward_layer(m, i, y[i], y[i + 1]);
  size_t label = 0, best = 0;
  for (size_t j = 0; j < n; j++) {
    if (p->targets) { /* as the network's dtype holds them */
      double target;
      set_real(p->spec.dtype, &target, 0, p->targets[row * n + j]);
      t[j] = (long double)real_at(p->spec.dtype, &target, 0);
    } else {
      t[j] = (size_t)p->data.labels[row] == j;
    }
    if (t[j] > t[label]) label = j;
    if (y[last][j] > y[last][best]) best = j;
  }
  const long double loss =
      model_loss(y[last], t, n, (long double)p->spec.smoothing, dy[0]);
  m->totals[FNN_LOSS_SUM] += (double)(weight * loss);
  m->totals[FNN_WEIGHT_SUM] += (double)weight;
  m->totals[FNN_CORRECT_SUM] += label == best ? (double)weight : 0.0;
  for (size_t j = 0; j < n; j++) dy[0][j] *= weight / weight_sum;
  for (size_t i = last; i-- > 0;)
    backward_layer(m, i, y[i], dy[(last - 1 - i) % 2], dy[(last - i) % 2]);
}

void model_run(model *m, const problem *p, size_t begin, size_t end) {
  long double weight_sum = 0.0L;
  memset(m->totals, 0, sizeof m->totals);
  m->least_input = INFINITY;
  for (size_t i = 0; i < m->n_layers; i++) {
    memset(m->dw[i], 0, m->sizes[i] * m->sizes[i + 1] * sizeof(long double));
    memset(m->db[i], 0, m->sizes[i + 1] * sizeof(long double));
  }
  for (int pass = 0; pass < 2; pass++)
    for (size_t i = begin; i < end; i++) {
      const size_t row = p->data.order ? (size_t)p->data.order[i] : i;
      const long double weight =
          p->data.weights ? (long double)p->data.weights[row] : 1.0L;
      if (pass) run_row(m, p, row, weight, weight_sum);
      else weight_sum += weight;
    }
}

void model_free(model *m) {
  for (size_t i = 0; i < m->n_layers; i++) {
    free(m->w[i]);
    free(m->b[i]);
    free(m->dw[i]);
    free(m->db[i]);
  }
  *m = (model){0};
}
