/* The functions of fastnn.kernels: the engine's kernels on plain row-major arrays.  They
 * pack and pad on the way in and copy on the way out, which the engine never does. */
#include <assert.h>
#include <string.h>

#include "engine.h"

static char *at(const fnn_kernels *kernels, const void *base, size_t index) {
  return (char *)base + index * kernels->itemsize;
}

/* Rows of n values to rows `row` values apart (or back), the new columns zero. */
static void copy_rows(const fnn_kernels *kernels, const void *from, size_t from_row,
                      void *to, size_t to_row, size_t n, size_t rows) {
  for (size_t i = 0; i < rows; i++)
    memcpy(at(kernels, to, i * to_row), at(kernels, from, i * from_row),
           n * kernels->itemsize);
}

typedef struct dense_call {
  const fnn_kernels *kernels;
  const fnn_forward *forward;
  const fnn_backward_input *input;
  const fnn_backward_weights *weights;
  size_t m;
  char *scratch; /* scratch_bytes a thread */
  size_t scratch_bytes;
} dense_call;

static void forward_region(void *argument, const fnn_worker *worker) {
  const dense_call *c = argument;
  size_t row0, row1;
  fnn_share(worker, c->m, &row0, &row1);
  if (row0 < row1)
    c->kernels->dense_forward(c->forward, row0, row1, 0,
                              fnn_panels(c->kernels, c->forward->n));
}

static void backward_region(void *argument, const fnn_worker *worker) {
  const dense_call *c = argument;
  fnn_backward_input input = *c->input;
  fnn_backward_weights weights = *c->weights;
  input.scratch = weights.scratch =
      c->scratch + (size_t)worker->thread * c->scratch_bytes;
  size_t begin, end;
  fnn_share(worker, fnn_panels(c->kernels, input.k), &begin, &end);
  if (begin < end) c->kernels->dense_backward_input(&input, 0, c->m, begin, end);
  fnn_share(worker, weights.k, &begin, &end);
  for (size_t panel = 0; panel < fnn_panels(c->kernels, weights.n); panel++) {
    c->kernels->dense_backward_weights(&weights, panel, begin, end);
    if (begin == 0 && end > 0) c->kernels->dense_backward_bias(&weights, panel);
  }
}

static int threads_for(size_t m, size_t k, size_t n) {
  return (double)m * (double)k * (double)n > 1e6 ? fnn_get_num_threads() : 1;
}

/* The packed weights and every padded array of a call lie in one block. */
typedef struct block {
  const fnn_kernels *kernels;
  char *memory;
  size_t used;
} block;

static void *take(block *b, size_t values) {
  void *taken = b->memory ? b->memory + b->used : NULL;
  const size_t bytes = values * b->kernels->itemsize;
  b->used += (bytes + FNN_ALIGNMENT - 1) / FNN_ALIGNMENT * FNN_ALIGNMENT;
  return taken;
}

typedef struct elementwise {
  fnn_dtype dtype;
  fnn_activation activation;
  const void *x, *dy;
  void *out;
  size_t count;
} elementwise;

static void elementwise_region(void *argument, const fnn_worker *worker) {
  const elementwise *e = argument;
  const fnn_kernels *kernels = fnn_kernels_for(e->dtype);
  (void)worker;
  if (e->dy) kernels->activation_backward(e->activation, e->dy, e->x, e->out, e->count);
  else kernels->activation_forward(e->activation, e->x, e->out, e->count);
}

static void activation_forward(fnn_dtype dtype, fnn_activation activation,
                               const void *x, void *y, size_t count) {
  elementwise e = {dtype, activation, x, NULL, y, count};
  fnn_parallel(1, elementwise_region, &e);
}

static void activation_backward(fnn_dtype dtype, fnn_activation activation,
                                const void *dy, const void *y, void *dx, size_t count) {
  elementwise e = {dtype, activation, y, dy, dx, count};
  fnn_parallel(1, elementwise_region, &e);
}

static fnn_status dense_forward(fnn_dtype dtype, const void *x, const void *w,
                                const void *b, size_t m, size_t k, size_t n,
                                fnn_activation activation, void *y) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const size_t columns = fnn_panels(kernels, n) * kernels->nr;
  const size_t row = (size_t)fnn_row_stride(kernels, n);
  block room = {kernels, NULL, 0};
  void *packed = NULL, *bias = NULL, *out = NULL;
  for (int pass = 0; pass < 2; pass++) { /* measure, then take */
    if (pass && !(room.memory = fnn_alloc(room.used, 1))) return FNN_NO_MEMORY;
    room.used = 0;
    packed = take(&room, columns * k);
    bias = take(&room, columns);
    out = take(&room, m * row);
  }
  kernels->pack(w, (ptrdiff_t)n, k, n, packed);
  memcpy(bias, b, n * kernels->itemsize);
  const fnn_forward f = {.x = x,
                         .x_row = (ptrdiff_t)k,
                         .w = packed,
                         .b = bias,
                         .y = out,
                         .y_row = (ptrdiff_t)row,
                         .k = k,
                         .n = n,
                         .activation = activation};
  dense_call call = {.kernels = kernels, .forward = &f, .m = m};
  fnn_parallel(threads_for(m, k, n), forward_region, &call);
  copy_rows(kernels, out, row, y, n, n, m);
  fnn_free(room.memory);
  return FNN_OK;
}

static fnn_status dense_backward(fnn_dtype dtype, const void *dy, const void *x,
                                 const void *w, const void *y, size_t m, size_t k,
                                 size_t n, fnn_activation activation, void *dx,
                                 void *dw, void *db) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const size_t columns = fnn_panels(kernels, n) * kernels->nr;
  const size_t row = (size_t)fnn_row_stride(kernels, n);
  const size_t dx_row = (size_t)fnn_row_stride(kernels, k);
  const int threads = threads_for(m, k, n);
  const size_t scratch = (columns > kernels->mr ? columns : kernels->mr) * kernels->nr;
  block room = {kernels, NULL, 0};
  void *packed = NULL, *dz = NULL, *padded_dx = NULL, *packed_dw = NULL;
  void *padded_db = NULL, *scratches = NULL;
  for (int pass = 0; pass < 2; pass++) {
    if (pass && !(room.memory = fnn_alloc(room.used, 1))) return FNN_NO_MEMORY;
    room.used = 0;
    packed = take(&room, columns * k);
    packed_dw = take(&room, columns * k);
    padded_db = take(&room, columns);
    dz = take(&room, m * row);
    padded_dx = take(&room, m * dx_row);
    scratches = take(&room, (size_t)threads * scratch);
  }
  kernels->pack(w, (ptrdiff_t)n, k, n, packed);
  if (activation == FNN_IDENTITY) {
    copy_rows(kernels, dy, n, dz, row, n, m);
  } else {
    for (size_t i = 0; i < m; i++)
      activation_backward(dtype, activation, at(kernels, dy, i * n),
                          at(kernels, y, i * n), at(kernels, dz, i * row), n);
  }
  const fnn_backward_input input = {.dy = dz,
                                    .dy_row = (ptrdiff_t)row,
                                    .w = packed,
                                    .dx = padded_dx,
                                    .dx_row = (ptrdiff_t)dx_row,
                                    .k = k,
                                    .n = n,
                                    .activation = FNN_IDENTITY};
  const fnn_backward_weights weights = {.x = x,
                                        .x_row = (ptrdiff_t)k,
                                        .dy = dz,
                                        .dy_row = (ptrdiff_t)row,
                                        .m = m,
                                        .k = k,
                                        .n = n,
                                        .dw = packed_dw,
                                        .db = padded_db};
  dense_call call = {.kernels = kernels,
                     .input = &input,
                     .weights = &weights,
                     .m = m,
                     .scratch = scratches,
                     .scratch_bytes = scratch * kernels->itemsize};
  fnn_parallel(threads, backward_region, &call);
  copy_rows(kernels, padded_dx, dx_row, dx, k, k, m);
  kernels->unpack(packed_dw, k, n, dw, (ptrdiff_t)n);
  memcpy(db, padded_db, n * kernels->itemsize);
  fnn_free(room.memory);
  return FNN_OK;
}

typedef struct softmax_call {
  const fnn_kernels *kernels;
  void *z;
  ptrdiff_t row;
  size_t n, m;
  const fnn_softmax_loss *loss; /* NULL: softmax alone */
} softmax_call;

static void softmax_region(void *argument, const fnn_worker *worker) {
  const softmax_call *c = argument;
  (void)worker;
  if (c->loss) c->kernels->softmax_cross_entropy(c->loss, 0, c->m);
  else c->kernels->softmax(c->z, c->row, c->n, c->m);
}

static fnn_status softmax(fnn_dtype dtype, const void *z, size_t m, size_t n, void *p) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const size_t row = (size_t)fnn_row_stride(kernels, n);
  void *padded = fnn_alloc(m, row * kernels->itemsize);
  if (!padded) return FNN_NO_MEMORY;
  copy_rows(kernels, z, n, padded, row, n, m);
  softmax_call call = {kernels, padded, (ptrdiff_t)row, n, m, NULL};
  fnn_parallel(1, softmax_region, &call);
  copy_rows(kernels, padded, row, p, n, n, m);
  fnn_free(padded);
  return FNN_OK;
}

static fnn_status softmax_cross_entropy(fnn_dtype dtype, const void *z,
                                        const int64_t *labels, const void *targets,
                                        const double *weights, double smoothing,
                                        size_t m, size_t n, double *loss, void *dz) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const size_t row = (size_t)fnn_row_stride(kernels, n);
  block room = {kernels, NULL, 0};
  void *padded = NULL, *soft = NULL, *given = NULL, *losses = NULL, *correct = NULL;
  for (int pass = 0; pass < 2; pass++) {
    if (pass && !(room.memory = fnn_alloc(room.used, 1))) return FNN_NO_MEMORY;
    room.used = 0;
    padded = take(&room, m * row);
    soft = take(&room, labels ? 0 : m * row);
    given = take(&room, m);
    losses = take(&room, m);
    correct = take(&room, m);
  }
  copy_rows(kernels, z, n, padded, row, n, m);
  if (!labels) copy_rows(kernels, targets, n, soft, row, n, m);
  double weight_sum = (double)m;
  if (weights) {
    weight_sum = 0.0;
    for (size_t i = 0; i < m; i++) {
      weight_sum += weights[i];
      if (dtype == FNN_F64) ((double *)given)[i] = weights[i];
      else ((float *)given)[i] = (float)weights[i];
    }
  }
  const fnn_softmax_loss l = {.z = padded,
                              .z_row = (ptrdiff_t)row,
                              .n = n,
                              .labels = labels,
                              .targets = soft,
                              .weights = weights ? given : NULL,
                              .scale = 1.0 / weight_sum,
                              .smoothing = smoothing,
                              .dz = padded,
                              .loss = losses,
                              .correct = correct};
  softmax_call call = {kernels, padded, (ptrdiff_t)row, n, m, &l};
  fnn_parallel(1, softmax_region, &call);
  double sum = 0.0;
  for (size_t i = 0; i < m; i++)
    sum += dtype == FNN_F64 ? ((double *)losses)[i] : (double)((float *)losses)[i];
  *loss = sum / weight_sum;
  copy_rows(kernels, padded, row, dz, n, n, m);
  fnn_free(room.memory);
  return FNN_OK;
}

static void optimizer_update(fnn_dtype dtype, const fnn_optimizer *optimizer,
                             uint64_t step, void *w, const void *g, void *s0, void *s1,
                             size_t count) {
  const fnn_update update = fnn_update_begin(optimizer, step);
  fnn_kernels_for(dtype)->update(&update, w, g, s0, s1, count);
}

const fnn_stateless *fnn_stateless_functions(void) {
  static const fnn_stateless functions = {
      dense_forward, dense_backward,        activation_forward, activation_backward,
      softmax,       softmax_cross_entropy, optimizer_update};
  return &functions;
}
