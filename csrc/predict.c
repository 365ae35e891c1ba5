/* Prediction and evaluation: the rows in chunks, each taken through all layers by one
 * thread in a workspace of its own, so any number of callers may run at once.  A row's
 * result does not depend on its chunk. */
#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "engine.h"

enum { CHUNK = 112 }; /* rows: 8 tiles of AVX-512, and their inputs fit in L2 */

typedef struct workspace {
  char *x, *y[2]; /* gathered rows; outputs of odd and even layers */
} workspace;

typedef struct prediction {
  const fnn_network *network;
  const fnn_array *x;
  const fnn_data *data; /* evaluation: the targets too */
  fnn_output kind;
  void *out;
  size_t first, end;
  atomic_size_t next; /* chunk */
  atomic_int bad;
  int in_place;
  char *memory;
  size_t memory_size; /* bytes a thread */
  void *loss_rows, *correct_rows;
} prediction;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static size_t widest_row(const fnn_network *network) {
  ptrdiff_t widest = 0;
  for (size_t i = 0; i < network->n_layers; i++)
    if (network->layers[i].row > widest) widest = network->layers[i].row;
  return (size_t)widest;
}

/* The logits of `rows` rows at x; *finite is cleared when the first layer's outputs are
 * not, which a NaN or infinity in x always brings about. */
static void *logits(const fnn_network *network, const void *x, ptrdiff_t x_row,
                    size_t rows, char *const y[2], int *finite) {
  void *out = NULL;
  for (size_t i = 0; i < network->n_layers; i++) {
    const fnn_dense *layer = &network->layers[i];
    out = y[i % 2];
    const fnn_forward f = {.x = x,
                           .x_row = x_row,
                           .w = layer->w[0],
                           .b = layer->b[0],
                           .y = out,
                           .y_row = layer->row,
                           .k = layer->k,
                           .n = layer->n,
                           .activation = layer->activation};
    const double magnitude = network->kernels->dense_forward(
        &f, 0, rows, 0, fnn_panels(network->kernels, layer->n));
    if (i == 0 && !isfinite(magnitude)) *finite = 0;
    x = out;
    x_row = layer->row;
  }
  return out;
}

static size_t argmax_row(const fnn_network *network, const void *z, size_t n) {
  size_t best = 0;
  for (size_t j = 1; j < n; j++)
    if (network->kernels->dtype == FNN_F64
            ? ((const double *)z)[j] > ((const double *)z)[best]
            : ((const float *)z)[j] > ((const float *)z)[best])
      best = j;
  return best;
}

static void deliver(const prediction *p, void *z, size_t first, size_t rows) {
  const fnn_network *network = p->network;
  const fnn_dense *last = fnn_last(network);
  const size_t bytes = last->n * network->kernels->itemsize;
  if (p->kind == FNN_VALUES) network->kernels->softmax(z, last->row, last->n, rows);
  for (size_t i = 0; i < rows; i++) {
    const void *row = fnn_at(network, z, i * (size_t)last->row);
    if (p->kind == FNN_LABELS)
      ((int64_t *)p->out)[first + i] = (int64_t)argmax_row(network, row, last->n);
    else memcpy((char *)p->out + (first + i) * bytes, row, bytes);
  }
}

/* Loss and correctness of the rows of a chunk; w is room for the chunk's targets. */
static void measure(const prediction *p, void *z, char *room, size_t first,
                    size_t rows) {
  const fnn_network *network = p->network;
  const fnn_kernels *kernels = network->kernels;
  const fnn_dense *last = fnn_last(network);
  const fnn_data *data = p->data;
  const size_t offset = first - p->first;
  if (!data->labels)
    kernels->gather(&data->targets, NULL, first, rows, NULL, NULL, room, last->row);
  const fnn_softmax_loss l = {.z = z,
                              .z_row = last->row,
                              .n = last->n,
                              .labels = data->labels ? data->labels + first : NULL,
                              .targets = room,
                              .scale = 1.0,
                              .smoothing = network->label_smoothing,
                              .loss = fnn_at(network, p->loss_rows, offset),
                              .correct = fnn_at(network, p->correct_rows, offset)};
  kernels->softmax_cross_entropy(&l, 0, rows);
}

static void predict_region(void *argument, const fnn_worker *worker) {
  prediction *p = argument;
  const fnn_network *network = p->network;
  const size_t itemsize = network->kernels->itemsize;
  const size_t layer_bytes = CHUNK * widest_row(network) * itemsize;
  char *memory = p->memory + (size_t)worker->thread * p->memory_size;
  char *const y[2] = {memory, memory + layer_bytes};
  char *gathered = memory + 2 * layer_bytes;
  for (;;) {
    const size_t first = p->first + CHUNK * atomic_fetch_add(&p->next, 1);
    if (first >= p->end || atomic_load(&p->bad)) return;
    const size_t rows = p->end - first < CHUNK ? p->end - first : CHUNK;
    const void *x = (const char *)p->x->data + (ptrdiff_t)first * p->x->row_stride;
    ptrdiff_t x_row = p->x->row_stride / (ptrdiff_t)itemsize;
    if (!p->in_place) {
      network->kernels->gather(p->x, NULL, first, rows, network->scale, network->shift,
                               gathered, network->x_row);
      x = gathered;
      x_row = network->x_row;
    }
    int finite = 1;
    char *z = logits(network, x, x_row, rows, y, &finite);
    for (size_t i = 0; !finite && i < rows; i++)
      if (!fnn_finite_values(
              network->kernels->dtype,
              (const char *)x + (ptrdiff_t)i * x_row * (ptrdiff_t)itemsize,
              network->n_inputs)) {
        atomic_store(&p->bad, 1);
        return;
      }
    if (p->data) measure(p, z, z == y[0] ? y[1] : y[0], first, rows);
    else deliver(p, z, first, rows);
  }
}

static double row_multiply_adds(const fnn_network *network) {
  double sum = 0.0;
  for (size_t i = 0; i < network->n_layers; i++)
    sum += (double)network->layers[i].k * (double)network->layers[i].n;
  return sum;
}

/* Rows of a slice: about 20 ms of work, in whole chunks. */
static size_t slice_rows(const fnn_network *network) {
  const double rows = 0.02 * 20e9 / (row_multiply_adds(network) + 100.0);
  return ((size_t)rows / CHUNK + 1) * CHUNK;
}

static fnn_status run_slice(prediction *p) {
  const fnn_network *network = p->network;
  const size_t itemsize = network->kernels->itemsize;
  const size_t rows = p->end - p->first, chunks = (rows + CHUNK - 1) / CHUNK;
  int threads =
      fnn_choose_threads(network, row_multiply_adds(network) * (double)rows, 2);
  if ((size_t)threads > chunks) threads = (int)chunks;
  const size_t width =
      2 * widest_row(network) + (p->in_place ? 0 : (size_t)network->x_row);
  p->memory_size = CHUNK * width * itemsize;
  p->memory = fnn_alloc((size_t)threads, p->memory_size);
  if (!p->memory) return FNN_NO_MEMORY;
  atomic_store(&p->next, 0);
  fnn_parallel(threads, predict_region, p);
  fnn_free(p->memory);
  return atomic_load(&p->bad) ? FNN_BAD_INPUT : FNN_OK;
}

static int in_place(const fnn_network *network, const fnn_array *x) {
  return !network->scale && fnn_readable_in_place(network->kernels, x);
}

fnn_status fnn_predict(const fnn_network *network, const fnn_array *x, fnn_output kind,
                       void *out, size_t *start, double max_seconds) {
  const double deadline = now() + max_seconds;
  const size_t slice = slice_rows(network);
  while (*start < x->rows) {
    const size_t left = x->rows - *start;
    prediction p = {.network = network,
                    .x = x,
                    .kind = kind,
                    .out = out,
                    .first = *start,
                    .end = *start + (left < slice ? left : slice),
                    .in_place = in_place(network, x)};
    const fnn_status status = run_slice(&p);
    if (status != FNN_OK) return status;
    *start = p.end;
    if (now() >= deadline) break;
  }
  return FNN_OK;
}

fnn_status fnn_evaluate(const fnn_network *network, const fnn_data *data, size_t *start,
                        double *totals, double max_seconds) {
  const double deadline = now() + max_seconds;
  const size_t slice = slice_rows(network);
  const int f64 = network->kernels->dtype == FNN_F64;
  while (*start < data->x.rows) {
    const size_t left = data->x.rows - *start, rows = left < slice ? left : slice;
    prediction p = {.network = network,
                    .x = &data->x,
                    .data = data,
                    .first = *start,
                    .end = *start + rows,
                    .in_place = in_place(network, &data->x)};
    p.loss_rows = fnn_alloc(2 * rows, network->kernels->itemsize);
    if (!p.loss_rows) return FNN_NO_MEMORY;
    p.correct_rows = fnn_at(network, p.loss_rows, rows);
    const fnn_status status = run_slice(&p);
    for (size_t i = 0; status == FNN_OK && i < rows; i++) {
      const double weight = data->weights ? data->weights[*start + i] : 1.0;
      const double l = f64 ? ((double *)p.loss_rows)[i] : ((float *)p.loss_rows)[i];
      const double c =
          f64 ? ((double *)p.correct_rows)[i] : ((float *)p.correct_rows)[i];
      if (weight > 0.0) totals[FNN_LOSS_SUM] += weight * l;
      totals[FNN_WEIGHT_SUM] += weight;
      totals[FNN_CORRECT_SUM] += weight * c;
    }
    fnn_free(p.loss_rows);
    if (status != FNN_OK) return status;
    *start = p.end;
    if (now() >= deadline) break;
  }
  return FNN_OK;
}

typedef struct one_row {
  const fnn_network *network;
  const void *x;
  char *scaled; /* room for x * scale + shift */
  char *y[2];
  void *out;
  int finite;
} one_row;

static void one_row_region(void *argument, const fnn_worker *worker) {
  one_row *r = argument;
  const fnn_network *network = r->network;
  const fnn_dense *last = fnn_last(network);
  (void)worker;
  if (network->scale) {
    const ptrdiff_t itemsize = (ptrdiff_t)network->kernels->itemsize;
    const fnn_array row = {
        .data = r->x,
        .rows = 1,
        .cols = network->n_inputs,
        .col_stride = itemsize,
        .type = network->kernels->dtype == FNN_F64 ? FNN_FLOAT64 : FNN_FLOAT32};
    network->kernels->gather(&row, NULL, 0, 1, network->scale, network->shift,
                             r->scaled, network->x_row);
    r->x = r->scaled;
  }
  void *z = logits(network, r->x, 0, 1, r->y, &r->finite);
  network->kernels->softmax(z, last->row, last->n, 1);
  memcpy(r->out, z, last->n * network->kernels->itemsize);
}

fnn_status fnn_predict_one(const fnn_network *network, const void *x, void *out) {
  enum { STACK = 32 * 1024 };
  _Alignas(FNN_ALIGNMENT) char stack[STACK];
  const size_t itemsize = network->kernels->itemsize;
  const size_t layer_bytes = widest_row(network) * itemsize;
  const size_t x_bytes = network->scale ? (size_t)network->x_row * itemsize : 0;
  const size_t bytes = 2 * layer_bytes + x_bytes;
  char *memory = bytes <= STACK ? stack : fnn_alloc(1, bytes);
  if (!memory) return FNN_NO_MEMORY;
  one_row r = {network, x, memory + 2 * layer_bytes, {memory, memory + layer_bytes},
               out,     1};
  fnn_parallel(1, one_row_region, &r);
  const int bad =
      !r.finite && !fnn_finite_values(network->kernels->dtype, r.x, network->n_inputs);
  if (memory != stack) fnn_free(memory);
  return bad ? FNN_BAD_INPUT : FNN_OK;
}

typedef struct finiteness {
  const fnn_network *network;
  const fnn_array *x;
  char *room; /* a row for every thread */
  atomic_size_t next;
  atomic_int bad;
} finiteness;

static void finiteness_region(void *argument, const fnn_worker *worker) {
  enum { ROWS = 64 };
  finiteness *f = argument;
  const fnn_network *network = f->network;
  const fnn_kernels *kernels = network->kernels;
  const size_t columns = network->n_inputs;
  const int direct = in_place(network, f->x);
  char *room =
      fnn_at(network, f->room, (size_t)worker->thread * (size_t)network->x_row);
  for (;;) {
    const size_t first = ROWS * atomic_fetch_add(&f->next, 1);
    if (first >= f->x->rows || atomic_load(&f->bad)) return;
    const size_t end = f->x->rows - first < ROWS ? f->x->rows : first + ROWS;
    for (size_t i = first; i < end; i++) {
      const void *row = (const char *)f->x->data + (ptrdiff_t)i * f->x->row_stride;
      double sum;
      if (direct) {
        sum = kernels->magnitude(row, columns);
      } else {
        sum = kernels->gather(f->x, NULL, i, 1, network->scale, network->shift, room,
                              network->x_row);
        row = room;
      }
      /* The fast sum may overflow on finite values: then each one decides. */
      if (!isfinite(sum) && !fnn_finite_values(kernels->dtype, row, columns))
        atomic_store(&f->bad, 1);
    }
  }
}

fnn_status fnn_all_finite(const fnn_network *network, const fnn_array *x, int *finite) {
  const double values = (double)x->rows * (double)x->cols;
  const int threads = values > 1e6 ? fnn_get_num_threads() : 1;
  finiteness f = {.network = network, .x = x};
  *finite = 1;
  if (x->type != FNN_FLOAT16 && x->type != FNN_FLOAT32 && x->type != FNN_FLOAT64 &&
      !network->scale)
    return FNN_OK;
  f.room =
      fnn_alloc((size_t)threads * (size_t)network->x_row, network->kernels->itemsize);
  if (!f.room) return FNN_NO_MEMORY;
  fnn_parallel(threads, finiteness_region, &f);
  fnn_free(f.room);
  *finite = !atomic_load(&f.bad);
  return FNN_OK;
}
