/* The functions of fastnn.kernels: the engine's kernels on plain row-major arrays.  They
 * pack and pad on the way in and copy on the way out, which the engine never does. */
#include "stateless/stateless.h"

#include <math.h>

#include "base/values.h"
#include "engine/update.h"

typedef struct dense_call {
  const fnn_kernels *kernels;
  const fnn_forward *forward;
  const fnn_backward_input *input;
  const fnn_backward_weights *weights;
  size_t m;
  char *scratch; /* scratch_bytes a thread */
  size_t scratch_bytes;
} dense_call;

static void dense_forward_region(void *argument, const fnn_worker *worker) {
  const dense_call *c = argument;
  size_t row0, row1;
  fnn_share(worker, c->m, &row0, &row1);
  if (row0 < row1)
    c->kernels->dense_forward(c->forward, row0, row1, 0,
                              fnn_panels(c->kernels, c->forward->n));
}

static void dense_backward_region(void *argument, const fnn_worker *worker) {
  const dense_call *c = argument;
  fnn_backward_input input = *c->input;
  fnn_backward_weights weights = *c->weights;
  input.scratch = weights.scratch =
      c->scratch + (size_t)worker->thread * c->scratch_bytes;
  size_t begin, end;
  fnn_share(worker, fnn_panels(c->kernels, input.k), &begin, &end);
  if (begin < end) c->kernels->dense_backward_input(&input, 0, c->m, begin, end);
  fnn_share(worker, weights.k, &begin, &end);
  const size_t panels = fnn_panels(c->kernels, weights.n);
  c->kernels->dense_backward_weights(&weights, 0, panels, begin, end);
  for (size_t panel = 0; begin == 0 && end > 0 && panel < panels; panel++)
    c->kernels->dense_backward_bias(&weights, panel);
}

static int stateless_threads(size_t m, size_t k, size_t n) {
  return (double)m * (double)k * (double)n > 1e6 ? fnn_get_num_threads() : 1;
}

typedef struct elementwise {
  fnn_dtype dtype;
  fnn_activation activation;
  const void *x, *dy; /* dy: backward, and x is what was saved */
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

static void stateless_activation_forward(fnn_dtype dtype, fnn_activation activation,
                                         const void *x, void *y, size_t count) {
  elementwise e = {dtype, activation, x, NULL, y, count};
  fnn_parallel(1, elementwise_region, &e);
}

static void stateless_activation_backward(fnn_dtype dtype, fnn_activation activation,
                                          const void *dy, const void *saved, void *dx,
                                          size_t count) {
  elementwise e = {dtype, activation, saved, dy, dx, count};
  fnn_parallel(1, elementwise_region, &e);
}

typedef struct softmax_call {
  const fnn_kernels *kernels;
  void *z; /* p, or dp with p */
  const void *p;
  ptrdiff_t row;
  size_t n, m;
} softmax_call;

static void softmax_region(void *argument, const fnn_worker *worker) {
  const softmax_call *c = argument;
  (void)worker;
  if (c->p) c->kernels->softmax_backward(c->z, c->p, c->row, c->n, c->m);
  else c->kernels->softmax(c->z, c->row, c->n, c->m);
}

static void softmax_in_place(const fnn_kernels *kernels, void *z, ptrdiff_t row,
                             size_t n, size_t m) {
  softmax_call call = {kernels, z, NULL, row, n, m};
  fnn_parallel(1, softmax_region, &call);
}

static fnn_status stateless_softmax(fnn_dtype dtype, const void *z, size_t m, size_t n,
                                    void *p) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const size_t row = (size_t)fnn_row_stride(kernels, n);
  void *padded = fnn_alloc(m, row * kernels->itemsize);
  if (!padded) return FNN_NO_MEMORY;
  fnn_copy_rows(kernels, z, n, padded, row, n, m);
  softmax_in_place(kernels, padded, (ptrdiff_t)row, n, m);
  fnn_copy_rows(kernels, padded, row, p, n, n, m);
  fnn_free(padded);
  return FNN_OK;
}

static fnn_status stateless_softmax_backward(fnn_dtype dtype, const void *dp,
                                             const void *p, size_t m, size_t n,
                                             void *dz) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const size_t row = (size_t)fnn_row_stride(kernels, n);
  char *padded = fnn_alloc(2 * m, row * kernels->itemsize);
  if (!padded) return FNN_NO_MEMORY;
  char *given = fnn_at(kernels, padded, m * row);
  fnn_copy_rows(kernels, dp, n, padded, row, n, m);
  fnn_copy_rows(kernels, p, n, given, row, n, m);
  softmax_call call = {kernels, padded, given, (ptrdiff_t)row, n, m};
  fnn_parallel(1, softmax_region, &call);
  fnn_copy_rows(kernels, padded, row, dz, n, n, m);
  fnn_free(padded);
  return FNN_OK;
}

static fnn_status stateless_dense_forward(fnn_dtype dtype, const void *x, const void *w,
                                          const void *b, size_t m, size_t k, size_t n,
                                          fnn_activation activation, void *y) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const size_t columns = fnn_panels(kernels, n) * kernels->nr;
  const size_t row = (size_t)fnn_row_stride(kernels, n);
  fnn_block room = {kernels, NULL, 0};
  void *packed = NULL, *bias = NULL, *out = NULL;
  for (int pass = 0; pass < 2; pass++) { /* measure, then take */
    if (pass && !(room.memory = fnn_alloc(room.used, 1))) return FNN_NO_MEMORY;
    room.used = 0;
    packed = fnn_take(&room, columns * k);
    bias = fnn_take(&room, columns);
    out = fnn_take(&room, m * row);
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
  fnn_parallel(stateless_threads(m, k, n), dense_forward_region, &call);
  if (activation.kind == FNN_SOFTMAX)
    softmax_in_place(kernels, out, (ptrdiff_t)row, n, m);
  fnn_copy_rows(kernels, out, row, y, n, n, m);
  fnn_free(room.memory);
  return FNN_OK;
}

static fnn_status stateless_dense_backward(fnn_dtype dtype, const void *dy,
                                           const void *x, const void *w, const void *y,
                                           size_t m, size_t k, size_t n,
                                           fnn_activation activation, void *dx,
                                           void *dw, void *db) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const size_t columns = fnn_panels(kernels, n) * kernels->nr;
  const size_t row = (size_t)fnn_row_stride(kernels, n);
  const size_t dx_row = (size_t)fnn_row_stride(kernels, k);
  const int threads = stateless_threads(m, k, n);
  const size_t for_weights = fnn_weights_scratch(kernels, m, k, n);
  const size_t scratch =
      columns * kernels->nr > for_weights ? columns * kernels->nr : for_weights;
  fnn_block room = {kernels, NULL, 0};
  void *packed = NULL, *dz = NULL, *padded_dx = NULL, *packed_dw = NULL;
  void *padded_db = NULL, *scratches = NULL, *outputs = NULL;
  for (int pass = 0; pass < 2; pass++) {
    if (pass && !(room.memory = fnn_alloc(room.used, 1))) return FNN_NO_MEMORY;
    room.used = 0;
    packed = fnn_take(&room, columns * k);
    packed_dw = fnn_take(&room, columns * k);
    padded_db = fnn_take(&room, columns);
    dz = fnn_take(&room, m * row);
    outputs = fnn_take(&room, activation.kind == FNN_SOFTMAX ? m * row : 0);
    padded_dx = fnn_take(&room, m * dx_row);
    scratches = fnn_take(&room, (size_t)threads * scratch);
  }
  kernels->pack(w, (ptrdiff_t)n, k, n, packed);
  fnn_copy_rows(kernels, dy, n, dz, row, n, m);
  if (activation.kind == FNN_SOFTMAX) {
    fnn_copy_rows(kernels, y, n, outputs, row, n, m);
    softmax_call through = {kernels, dz, outputs, (ptrdiff_t)row, n, m};
    fnn_parallel(1, softmax_region, &through);
  } else if (activation.kind != FNN_IDENTITY) {
    for (size_t i = 0; i < m; i++)
      stateless_activation_backward(dtype, activation, fnn_at(kernels, dz, i * row),
                                    fnn_at(kernels, y, i * n),
                                    fnn_at(kernels, dz, i * row), n);
  }
  const fnn_backward_input input = {.dy = dz,
                                    .dy_row = (ptrdiff_t)row,
                                    .w = packed,
                                    .dx = padded_dx,
                                    .dx_row = (ptrdiff_t)dx_row,
                                    .k = k,
                                    .n = n,
                                    .activation = {FNN_IDENTITY, 0.0}};
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
  fnn_parallel(threads, dense_backward_region, &call);
  fnn_copy_rows(kernels, padded_dx, dx_row, dx, k, k, m);
  kernels->unpack(packed_dw, k, n, dw, (ptrdiff_t)n);
  memcpy(db, padded_db, n * kernels->itemsize);
  fnn_free(room.memory);
  return FNN_OK;
}

typedef struct loss_call {
  const fnn_kernels *kernels;
  const fnn_loss_rows *rows;
  size_t m;
} loss_call;

static void stateless_loss_region(void *argument, const fnn_worker *worker) {
  const loss_call *c = argument;
  (void)worker;
  c->kernels->loss(c->rows, 0, c->m);
}

static fnn_status stateless_loss(fnn_dtype dtype, fnn_loss which, const void *z,
                                 const int64_t *labels, const void *targets,
                                 const double *weights, size_t m, size_t n,
                                 double *mean, void *dz) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const size_t row = (size_t)fnn_row_stride(kernels, n);
  fnn_block room = {kernels, NULL, 0};
  void *padded = NULL, *soft = NULL, *given = NULL, *losses = NULL, *correct = NULL;
  for (int pass = 0; pass < 2; pass++) {
    if (pass && !(room.memory = fnn_alloc(room.used, 1))) return FNN_NO_MEMORY;
    room.used = 0;
    padded = fnn_take(&room, m * row);
    soft = fnn_take(&room, labels ? 0 : m * row);
    given = fnn_take(&room, m);
    losses = fnn_take(&room, m);
    correct = fnn_take(&room, m);
  }
  fnn_copy_rows(kernels, z, n, padded, row, n, m);
  if (!labels) fnn_copy_rows(kernels, targets, n, soft, row, n, m);
  double weight_sum = weights ? 0.0 : (double)m;
  for (size_t i = 0; weights && i < m; i++) {
    weight_sum += weights[i];
    fnn_set_real(dtype, given, i, weights[i]);
  }
  const fnn_loss_rows rows = {.loss = which,
                              .z = padded,
                              .z_row = (ptrdiff_t)row,
                              .n = n,
                              .labels = labels,
                              .targets = soft,
                              .weights = weights ? given : NULL,
                              .scale = 1.0 / weight_sum,
                              .dz = padded,
                              .losses = losses,
                              .correct = correct};
  loss_call call = {kernels, &rows, m};
  fnn_parallel(1, stateless_loss_region, &call);
  double sum = 0.0;
  for (size_t i = 0; i < m; i++) sum += fnn_real_at(dtype, losses, i);
  *mean = sum / weight_sum;
  fnn_copy_rows(kernels, padded, row, dz, n, n, m);
  fnn_free(room.memory);
  return FNN_OK;
}

static void stateless_optimizer_update(fnn_dtype dtype, const fnn_optimizer *optimizer,
                                       uint64_t step, void *w, const void *g, void *s0,
                                       void *s1, size_t count) {
  const double product = fnn_momentum_product(optimizer, step - 1);
  fnn_update update =
      fnn_update_begin(optimizer, optimizer->learning_rate, step, product);
  update.clip = INFINITY; /* the rule alone */
  fnn_kernels_for(dtype)->update(&update, w, g, s0, s1, count);
}

const fnn_stateless *fnn_stateless_functions(void) {
  static const fnn_stateless functions = {
      .dense_forward = stateless_dense_forward,
      .dense_backward = stateless_dense_backward,
      .activation_forward = stateless_activation_forward,
      .activation_backward = stateless_activation_backward,
      .softmax = stateless_softmax,
      .softmax_backward = stateless_softmax_backward,
      .loss = stateless_loss,
      .dropout = fnn_stateless_dropout,
      .batch_norm_forward = fnn_stateless_batch_norm_forward,
      .batch_norm_backward = fnn_stateless_batch_norm_backward,
      .layer_norm_forward = fnn_stateless_layer_norm_forward,
      .layer_norm_backward = fnn_stateless_layer_norm_backward,
      .optimizer_update = stateless_optimizer_update,
      .round_to_bfloat16 = fnn_round_to_bfloat16};
  return &functions;
}
