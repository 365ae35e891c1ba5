/* Prediction and evaluation: the rows in chunks, each taken through all layers by one
 * thread in a workspace of its own, so any number of callers may run at once.  A few
 * rows of a large network are taken by all threads together, each some of the columns:
 * then the weights, which are read once for them, come through several caches.  A row's
 * result depends on none of that. */
#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/values.h"
#include "engine/rounding.h"
#include "kernels/layout.h"
#include "threads/cost.h"
#include "threads/stop.h"

enum { CHUNK = 112 }; /* rows: 8 tiles of AVX-512, and their inputs fit in L2 */

typedef struct prediction {
  const fnn_network *network;
  const fnn_array *x;
  const fnn_data *data; /* evaluation: the targets too */
  fnn_output kind;
  void *out;
  size_t first, end;
  size_t chunk;       /* rows of one, CHUNK at most */
  atomic_size_t next; /* chunk */
  atomic_int bad, finite;
  int in_place;
  char *memory;
  size_t memory_size; /* bytes a thread */
  void *loss_rows, *correct_rows;
  fnn_stop *stop; /* of rows that take long; else NULL */
} prediction;

static size_t widest_row(const fnn_network *network) {
  ptrdiff_t widest = 0;
  for (size_t i = 0; i < network->n_stages; i++)
    if (network->stages[i].row > widest) widest = network->stages[i].row;
  return (size_t)widest;
}

/* Y of the first stage, as its `predict`, from sparse rows. */
static double sparse_predict(const fnn_network *network, const fnn_sparse *sparse,
                             size_t rows, void *y, const fnn_worker *worker) {
  const fnn_stage *first = &network->stages[0];
  const int folded = network->n_stages > 1 && first[1].is_folded;
  const fnn_forward f = {
      .w = folded ? first->folded_w : first->w[0],
      .b = folded ? first->folded_b : first->b[0],
      .y = y,
      .y_row = first->row,
      .k = first->k,
      .n = first->n,
      .activation = folded ? first[1].activation : first->activation};
  size_t panel0, panel1;
  fnn_share(worker, fnn_panels(network->kernels, first->n), &panel0, &panel1);
  if (panel0 == panel1) return 0.0;
  return network->kernels->sparse_forward(&f, sparse, 0, rows, panel0, panel1);
}

/* Of a stage, for the worker's share; in blocks of panels if it may be left. */
static double predict_stage(const fnn_network *network, size_t i, const void *x,
                            ptrdiff_t x_row, const fnn_sparse *sparse, size_t rows,
                            void *y, void *room, const fnn_worker *worker) {
  const fnn_stage *stage = &network->stages[i];
  const int cut =
      worker->stop && stage->kind == FNN_STAGE_DENSE && !fnn_is_rounded(stage);
  fnn_worker own = *worker;
  if (cut)
    own.blocks =
        1 + (size_t)fmin(
                128.0,
                fnn_as_long((double)rows * (double)stage->k * (double)stage->n) / 1e9);
  double magnitude = 0.0;
  do {
    /* What has barriers of its own is not skipped by one thread alone. */
    if (!fnn_is_rounded(stage) && fnn_stop_asked(own.stop, own.thread == 0)) break;
    magnitude += sparse ? sparse_predict(network, sparse, rows, y, &own)
                        : stage->way.predict(network, i, x, x_row, rows, y, room, &own);
  } while (++own.block < own.blocks);
  return magnitude;
}

/* The raw outputs of `rows` rows at x or sparse, in one of y, by all threads of the
 * worker's team; *finite is cleared when the outputs of the first stage are not,
 * which a NaN or infinity in x always brings about, or codes are none. */
static void *raw_outputs(const fnn_network *network, const void *x, ptrdiff_t x_row,
                         const fnn_sparse *sparse, size_t rows, char *const y[2],
                         void *room, atomic_int *finite, const fnn_worker *worker) {
  void *out = NULL;
  for (size_t i = 0; i < network->n_stages; i++) {
    const fnn_stage *stage = &network->stages[i];
    if (!stage->way.predict || stage->is_folded) continue;
    const int first = out == NULL;
    out = out == y[0] ? y[1] : y[0];
    const double magnitude = predict_stage(network, i, x, x_row, first ? sparse : NULL,
                                           rows, out, room, worker);
    if ((first || stage->kind == FNN_STAGE_TABLE) && !isfinite(magnitude))
      atomic_store(finite, 0);
    fnn_barrier_wait(worker);
    x = out;
    x_row = stage->row;
  }
  assert(out); /* a plan of dropout alone predicts nothing */
  return out;
}

static size_t argmax_row(const fnn_network *network, const void *z, size_t n) {
  const fnn_dtype dtype = network->kernels->dtype;
  size_t best = 0;
  for (size_t j = 1; j < n; j++)
    if (fnn_real_at(dtype, z, j) > fnn_real_at(dtype, z, best)) best = j;
  return best;
}

static void write_outputs(const prediction *p, void *z, size_t first, size_t rows) {
  const fnn_network *network = p->network;
  const fnn_kernels *kernels = network->kernels;
  const fnn_stage *last = fnn_last(network);
  const size_t n = last->n, bytes = n * kernels->itemsize;
  if (p->kind == FNN_VALUES)
    kernels->predict_values(network->loss.kind, z, last->row, n, rows);
  for (size_t i = 0; i < rows; i++) {
    const void *row = fnn_at(kernels, z, i * (size_t)last->row);
    int64_t *labels = (int64_t *)p->out;
    if (p->kind != FNN_LABELS) memcpy((char *)p->out + (first + i) * bytes, row, bytes);
    else if (!fnn_is_yes_or_no(network->loss.kind, n))
      labels[first + i] = (int64_t)argmax_row(network, row, n);
    else
      for (size_t j = 0; j < n; j++)
        labels[(first + i) * n + j] = fnn_real_at(kernels->dtype, row, j) > 0.0;
  }
}

/* Loss and correctness of the rows of a chunk; room is for the chunk's targets. */
static void evaluate_rows(const prediction *p, void *z, char *room, size_t first,
                          size_t rows) {
  const fnn_network *network = p->network;
  const fnn_kernels *kernels = network->kernels;
  const fnn_stage *last = fnn_last(network);
  const fnn_data *data = p->data;
  const size_t offset = first - p->first;
  if (!data->labels)
    kernels->gather(&data->targets, NULL, first, rows, NULL, NULL, room, last->row);
  const fnn_loss_rows l = {.loss = network->loss,
                           .levels = network->levels,
                           .z = z,
                           .z_row = last->row,
                           .n = last->n,
                           .labels = data->labels ? data->labels + first : NULL,
                           .targets = room,
                           .scale = 1.0,
                           .losses = fnn_at(kernels, p->loss_rows, offset),
                           .correct = fnn_at(kernels, p->correct_rows, offset)};
  kernels->loss(&l, 0, rows);
}

/* Rows [first, first + rows) by the threads of the team, which may be this one
 * alone. */
static void predict_rows(prediction *p, char *memory, size_t first, size_t rows,
                         const fnn_worker *team) {
  const fnn_network *network = p->network;
  const size_t itemsize = network->kernels->itemsize;
  const size_t layer_bytes = p->chunk * widest_row(network) * itemsize;
  char *const y[2] = {memory, memory + layer_bytes};
  char *room =
      memory + p->memory_size - p->chunk * fnn_rounding_room(network) * itemsize;
  assert(rows <= p->chunk);
  const void *x = (const char *)p->x->data + (ptrdiff_t)first * p->x->row_stride;
  ptrdiff_t x_row = p->x->row_stride / (ptrdiff_t)itemsize;
  if (!p->in_place) {
    char *gathered = memory + 2 * layer_bytes;
    if (team->thread == 0)
      network->kernels->gather(p->x, NULL, first, rows, network->scale, network->shift,
                               gathered, network->x_row);
    fnn_barrier_wait(team);
    x = gathered;
    x_row = network->x_row;
  }
  atomic_int own = 1, *finite = team->threads > 1 ? &p->finite : &own;
  const fnn_sparse sparse = {p->x, NULL, first};
  char *z = raw_outputs(network, x, x_row, p->x->starts ? &sparse : NULL, rows, y, room,
                        finite, team);
  if (team->thread > 0) return;
  for (size_t i = 0; !atomic_load(finite) && !p->x->starts && i < rows; i++)
    if (!fnn_is_good_row(
            network, (const char *)x + (ptrdiff_t)i * x_row * (ptrdiff_t)itemsize)) {
      atomic_store(&p->bad, 1);
      return;
    }
  if (p->data) evaluate_rows(p, z, z == y[0] ? y[1] : y[0], first, rows);
  else write_outputs(p, z, first, rows);
}

static void chunks_region(void *argument, const fnn_worker *worker) {
  prediction *p = argument;
  fnn_worker alone = {.thread = 0, .threads = 1};
  if (worker->thread == 0) alone.stop = p->stop;
  for (;;) {
    const size_t first = p->first + p->chunk * atomic_fetch_add(&p->next, 1);
    if (first >= p->end || atomic_load(&p->bad)) return;
    if (fnn_stop_asked(p->stop, worker->thread == 0)) return;
    predict_rows(p, p->memory + (size_t)worker->thread * p->memory_size, first,
                 p->end - first < p->chunk ? p->end - first : p->chunk, &alone);
  }
}

static void columns_region(void *argument, const fnn_worker *worker) {
  prediction *p = argument;
  fnn_worker own = *worker;
  own.stop = p->stop;
  predict_rows(p, p->memory, p->first, p->end - p->first, &own);
}

static double row_multiply_adds(const fnn_network *network, const fnn_array *x) {
  double sum = 0.0;
  for (size_t i = 0; i < network->n_stages; i++) {
    const fnn_stage *stage = &network->stages[i];
    const double width = i ? (double)stage->k : fnn_row_width(network, x);
    if (stage->kind == FNN_STAGE_DENSE) sum += width * (double)stage->n;
    else sum += 10.0 * (double)(stage->n + 2 * stage->columns * stage->terms);
  }
  return sum;
}

/* Rows of a slice: about 20 ms of work, in whole chunks. */
static size_t slice_rows(const fnn_network *network, const fnn_array *x) {
  const double rows = 0.02 * 20e9 / (row_multiply_adds(network, x) + 100.0);
  return ((size_t)rows / CHUNK + 1) * CHUNK;
}

/* The same number of chunks for every thread, as large as may be. */
static size_t chunk_rows(size_t rows, size_t threads) {
  const size_t turns = (rows + CHUNK * threads - 1) / (CHUNK * threads);
  return (rows + turns * threads - 1) / (turns * threads);
}

/* Rows of a tile, where they are split into nearly equal blocks. */
static double tile_height(const fnn_network *network, size_t rows) {
  const size_t mr = network->kernels->mr;
  return (double)rows / (double)((rows + mr - 1) / mr);
}

/* Rows that do too little with the weights, which do not fit into a core's own cache:
 * with two threads, one row of 784-512-512-10 took 17 us so, and 29 us by one.  And
 * those of which a thread's share makes low tiles: with AVX2 16 rows (6 + 5 + 5, or
 * 4 + 4 twice) took 177 us by columns, and 233. */
static int goes_by_columns(const fnn_network *network, size_t rows, size_t threads) {
  enum { FEW_ROWS = 4, LARGE_BYTES = 768 * 1024 };
  const double height = tile_height(network, rows);
  const double share = tile_height(network, (rows + threads - 1) / threads);
  return threads > 1 && rows <= CHUNK && fnn_network_bytes(network) > LARGE_BYTES &&
         (rows < FEW_ROWS * threads || height > 1.3 * share);
}

/* On this many threads at most; *used: on how many. */
static fnn_status predict_on_threads(prediction *p, int threads, int *used) {
  const fnn_network *network = p->network;
  fnn_spare *spare = &network->callers->spare;
  const size_t itemsize = network->kernels->itemsize, rows = p->end - p->first;
  const int by_columns = goes_by_columns(network, rows, (size_t)threads);
  if (!by_columns && (size_t)threads > rows) threads = (int)rows;
  const size_t blocks = by_columns ? 1 : (size_t)threads;
  const size_t width = 2 * widest_row(network) +
                       (p->in_place ? 0 : (size_t)network->x_row) +
                       fnn_rounding_room(network);
  p->chunk = chunk_rows(rows, blocks);
  p->memory_size = p->chunk * width * itemsize;
  p->memory = fnn_spare_take(spare, blocks * p->memory_size);
  if (!p->memory) return FNN_NO_MEMORY;
  atomic_store(&p->next, 0);
  atomic_store(&p->finite, 1);
  *used = fnn_parallel(threads, by_columns ? columns_region : chunks_region, p);
  fnn_spare_give(spare, p->memory);
  if (p->stop && atomic_load(&p->stop->asked)) return FNN_INTERRUPTED;
  return atomic_load(&p->bad) ? FNN_BAD_INPUT : FNN_OK;
}

static int predict_threads(const fnn_network *network, double work, int *most) {
  *most = fnn_most_threads(network);
  return fnn_choose_threads(work, network->cost, 2 + (int)network->n_stages, most);
}

/* On as many threads as are the fastest at present. */
static fnn_status predict_slice(prediction *p) {
  const double least_to_leave = 1e9;
  const size_t rows = p->end - p->first;
  const double work = row_multiply_adds(p->network, p->x) * (double)rows;
  fnn_stop stop;
  if (fnn_as_long(work) * p->network->cost > least_to_leave) {
    fnn_stop_begin(&stop, INFINITY);
    p->stop = &stop;
  }
  int most, used;
  const int likely = predict_threads(p->network, work, &most);
  fnn_paces *paces = &p->network->callers->paces;
  fnn_pace *pace = most > 1 ? fnn_pace_take(paces, work) : NULL;
  if (!pace) return predict_on_threads(p, 1, &used);
  const double begin = fnn_now();
  const int threads = fnn_pace_threads(pace, work, likely, most, begin);
  const fnn_status status = predict_on_threads(p, threads, &used);
  const double end = fnn_now();
  if (status == FNN_OK && (threads > 1) == (used > 1))
    fnn_pace_add(pace, work, end - begin, end);
  fnn_pace_give(paces);
  return status;
}

fnn_status fnn_predict(const fnn_network *network, const fnn_array *x, fnn_output kind,
                       void *out, size_t *start, double max_seconds) {
  const double deadline = fnn_now() + max_seconds;
  const size_t slice = slice_rows(network, x);
  while (*start < x->rows) {
    const size_t left = x->rows - *start;
    prediction p = {.network = network,
                    .x = x,
                    .kind = kind,
                    .out = out,
                    .first = *start,
                    .end = *start + (left < slice ? left : slice),
                    .in_place = fnn_takes_in_place(network, x)};
    const fnn_status status = predict_slice(&p);
    if (status != FNN_OK) return status;
    *start = p.end;
    if (fnn_now() >= deadline) break;
  }
  return FNN_OK;
}

fnn_status fnn_evaluate(const fnn_network *network, const fnn_data *data, size_t *start,
                        double *totals, double max_seconds) {
  const double deadline = fnn_now() + max_seconds;
  const size_t slice = slice_rows(network, &data->x);
  const fnn_dtype dtype = network->kernels->dtype;
  while (*start < data->x.rows) {
    const size_t left = data->x.rows - *start, rows = left < slice ? left : slice;
    prediction p = {.network = network,
                    .x = &data->x,
                    .data = data,
                    .first = *start,
                    .end = *start + rows,
                    .in_place = fnn_takes_in_place(network, &data->x)};
    p.loss_rows = fnn_alloc(2 * rows, network->kernels->itemsize);
    if (!p.loss_rows) return FNN_NO_MEMORY;
    p.correct_rows = fnn_at(network->kernels, p.loss_rows, rows);
    const fnn_status status = predict_slice(&p);
    for (size_t i = 0; status == FNN_OK && i < rows; i++) {
      const double weight = data->weights ? data->weights[*start + i] : 1.0;
      const double l = fnn_real_at(dtype, p.loss_rows, i);
      const double c = fnn_real_at(dtype, p.correct_rows, i);
      if (weight > 0.0) totals[FNN_LOSS_SUM] += weight * l;
      totals[FNN_WEIGHT_SUM] += weight;
      totals[FNN_CORRECT_SUM] += weight * c;
    }
    fnn_free(p.loss_rows);
    if (status != FNN_OK) return status;
    *start = p.end;
    if (fnn_now() >= deadline) break;
  }
  return FNN_OK;
}

typedef struct one_row {
  const fnn_network *network;
  const void *x;
  char *own; /* room for x, scaled or with the padding of the network's rows */
  char *y[2];
  void *room;
  void *out;
  atomic_int finite;
} one_row;

static fnn_array row_array(const fnn_network *network, const void *x) {
  const ptrdiff_t itemsize = (ptrdiff_t)network->kernels->itemsize;
  return (fnn_array){
      .data = x,
      .rows = 1,
      .cols = network->n_inputs,
      .row_stride = (ptrdiff_t)network->n_inputs * itemsize,
      .col_stride = itemsize,
      .type = network->kernels->dtype == FNN_F64 ? FNN_FLOAT64 : FNN_FLOAT32};
}

static void one_row_region(void *argument, const fnn_worker *worker) {
  one_row *r = argument;
  const fnn_network *network = r->network;
  const fnn_kernels *kernels = network->kernels;
  const fnn_stage *last = fnn_last(network);
  if (r->own) {
    const fnn_array row = row_array(network, r->x);
    kernels->gather(&row, NULL, 0, 1, network->scale, network->shift, r->own,
                    network->x_row);
    r->x = r->own;
  }
  void *z = raw_outputs(network, r->x, 0, NULL, 1, r->y, r->room, &r->finite, worker);
  kernels->predict_values(network->loss.kind, z, last->row, last->n, 1);
  memcpy(r->out, z, last->n * kernels->itemsize);
}

fnn_status fnn_predict_one(const fnn_network *network, const void *x, void *out) {
  enum { STACK = 32 * 1024 };
  _Alignas(FNN_ALIGNMENT) char stack[STACK];
  const size_t itemsize = network->kernels->itemsize;
  const size_t layer_bytes = widest_row(network) * itemsize;
  const fnn_array row = row_array(network, x);
  const double work = row_multiply_adds(network, NULL);
  int most;
  if (goes_by_columns(network, 1, 2) &&
      goes_by_columns(network, 1, (size_t)predict_threads(network, work, &most))) {
    size_t start = 0;
    return fnn_predict(network, &row, FNN_VALUES, out, &start, INFINITY);
  }
  const size_t x_bytes =
      fnn_takes_in_place(network, &row) ? 0 : (size_t)network->x_row * itemsize;
  const size_t room_bytes = fnn_rounding_room(network) * itemsize;
  const size_t bytes = 2 * layer_bytes + x_bytes + room_bytes;
  char *memory = bytes <= STACK ? stack : fnn_alloc(1, bytes);
  if (!memory) return FNN_NO_MEMORY;
  char *own = memory + 2 * layer_bytes;
  if (x_bytes && memory == stack) memset(own, 0, x_bytes);
  one_row r = {.network = network,
               .x = x,
               .own = x_bytes ? own : NULL,
               .y = {memory, memory + layer_bytes},
               .room = own + x_bytes,
               .out = out,
               .finite = 1};
  fnn_parallel(1, one_row_region, &r);
  const int bad = !atomic_load(&r.finite) && !fnn_is_good_row(network, r.x);
  if (memory != stack) fnn_free(memory);
  return bad ? FNN_BAD_INPUT : FNN_OK;
}
