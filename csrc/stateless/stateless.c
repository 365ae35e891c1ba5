/* The functions of fastnn.kernels: the engine's kernels on plain row-major arrays.
 * They pack and pad on the way in and copy on the way out, which the engine never
 * does. */
#include <math.h>

#include "base/fpstate.h"
#include "base/values.h"
#include "engine/update.h"
#include "kernels/layout.h"
#include "threads/threads.h"

/* An array of a call: a packed or padded copy, or scratch. */
typedef struct place {
  void **array;
  size_t values;
} place;

/* All of them in one zeroed block, which is returned; NULL if there is no memory. */
static void *take_all(const fnn_kernels *kernels, const place *places, size_t count) {
  const size_t line = FNN_ALIGNMENT / kernels->itemsize;
  size_t lines = 0;
  for (size_t i = 0; i < count; i++) lines += (places[i].values + line - 1) / line;
  char *block = fnn_alloc(lines, FNN_ALIGNMENT), *at = block;
  for (size_t i = 0; block && i < count; i++) {
    *places[i].array = at;
    at += (places[i].values + line - 1) / line * FNN_ALIGNMENT;
  }
  return block;
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

static void stateless_activation(fnn_dtype dtype, fnn_activation activation,
                                 const void *dy, const void *x, void *out,
                                 size_t count) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const fnn_fpstate state = fnn_flush_subnormals();
  if (dy) kernels->activation_backward(activation, dy, x, out, count);
  else kernels->activation_forward(activation, x, out, count);
  fnn_restore_fpstate(state);
}

static fnn_status stateless_softmax(fnn_dtype dtype, const void *dp, const void *x,
                                    size_t m, size_t n, void *out) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const size_t row = (size_t)fnn_row_stride(kernels, n);
  void *padded, *padded_dp;
  const place places[] = {{&padded, m * row}, {&padded_dp, dp ? m * row : 0}};
  void *block = take_all(kernels, places, 2);
  if (!block) return FNN_NO_MEMORY;
  fnn_copy_rows(kernels, x, n, padded, row, n, m);
  if (dp) fnn_copy_rows(kernels, dp, n, padded_dp, row, n, m);
  const fnn_fpstate state = fnn_flush_subnormals();
  if (dp) kernels->softmax_backward(padded_dp, padded, (ptrdiff_t)row, n, m);
  else kernels->softmax(padded, (ptrdiff_t)row, n, m);
  fnn_restore_fpstate(state);
  fnn_copy_rows(kernels, dp ? padded_dp : padded, row, out, n, n, m);
  fnn_free(block);
  return FNN_OK;
}

static fnn_status stateless_dense_forward(fnn_dtype dtype, const void *x, const void *w,
                                          const void *b, size_t m, size_t k, size_t n,
                                          fnn_activation activation, void *y) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const size_t columns = fnn_panels(kernels, n) * kernels->nr;
  const size_t row = (size_t)fnn_row_stride(kernels, n);
  void *packed, *bias, *out;
  const place places[] = {{&packed, columns * k}, {&bias, columns}, {&out, m * row}};
  void *block = take_all(kernels, places, 3);
  if (!block) return FNN_NO_MEMORY;
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
  fnn_copy_rows(kernels, out, row, y, n, n, m);
  fnn_free(block);
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
  const size_t for_input = fnn_input_scratch(kernels, m, k, n);
  const size_t scratch = for_input > for_weights ? for_input : for_weights;
  void *packed, *packed_dw, *padded_db, *dz, *padded_dx, *scratches;
  const place places[] = {
      {&packed, columns * k},   {&packed_dw, columns * k},
      {&padded_db, columns},    {&dz, m * row},
      {&padded_dx, m * dx_row}, {&scratches, (size_t)threads * scratch}};
  void *block = take_all(kernels, places, sizeof places / sizeof *places);
  if (!block) return FNN_NO_MEMORY;
  kernels->pack(w, (ptrdiff_t)n, k, n, packed);
  fnn_copy_rows(kernels, dy, n, dz, row, n, m);
  for (size_t i = 0; activation.kind != FNN_IDENTITY && i < m; i++) {
    void *at = fnn_at(kernels, dz, i * row);
    stateless_activation(dtype, activation, at, fnn_at(kernels, y, i * n), at, n);
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
  fnn_free(block);
  return FNN_OK;
}

static fnn_status stateless_loss(fnn_dtype dtype, fnn_loss which, const double *levels,
                                 const void *z, const int64_t *labels,
                                 const void *targets, const double *weights, size_t m,
                                 size_t n, double *mean, void *dz) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const size_t row = (size_t)fnn_row_stride(kernels, n);
  void *padded, *soft, *given, *losses, *correct;
  const place places[] = {{&padded, m * row},
                          {&soft, labels ? 0 : m * row},
                          {&given, m},
                          {&losses, m},
                          {&correct, m}};
  void *block = take_all(kernels, places, sizeof places / sizeof *places);
  if (!block) return FNN_NO_MEMORY;
  fnn_copy_rows(kernels, z, n, padded, row, n, m);
  const size_t n_targets = n / fnn_loss_outputs(which);
  if (!labels) fnn_copy_rows(kernels, targets, n_targets, soft, row, n_targets, m);
  double weight_sum = weights ? 0.0 : (double)m;
  for (size_t i = 0; weights && i < m; i++) {
    weight_sum += weights[i];
    fnn_set_real(dtype, given, i, weights[i]);
  }
  const fnn_loss_rows rows = {.loss = which,
                              .levels = levels,
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
  const fnn_fpstate state = fnn_flush_subnormals();
  kernels->loss(&rows, 0, m);
  fnn_restore_fpstate(state);
  double sum = 0.0;
  for (size_t i = 0; i < m; i++) sum += fnn_real_at(dtype, losses, i);
  *mean = sum / weight_sum;
  fnn_copy_rows(kernels, padded, row, dz, n, n, m);
  fnn_free(block);
  return FNN_OK;
}

static void stateless_dropout(fnn_dtype dtype, const void *x, double rate, uint64_t key,
                              uint64_t step, size_t m, size_t n, void *y) {
  const fnn_dropout d = {.x = x,
                         .x_row = (ptrdiff_t)n,
                         .y = y,
                         .y_row = (ptrdiff_t)n,
                         .n = n,
                         .rate = rate,
                         .key = key,
                         .step = step};
  const fnn_fpstate state = fnn_flush_subnormals();
  fnn_kernels_for(dtype)->dropout(&d, 0, m);
  fnn_restore_fpstate(state);
}

static fnn_status stateless_norm(fnn_dtype dtype, fnn_layer_kind kind, const void *dy,
                                 const void *x, const void *scale, const void *shift,
                                 double epsilon, size_t m, size_t n, void *out,
                                 void *first, void *second) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const int of_batch = kind == FNN_BATCH_NORM;
  const size_t row = (size_t)fnn_row_stride(kernels, n);
  const size_t panels = fnn_panels(kernels, n), bytes = n * kernels->itemsize;
  const size_t columns = panels * kernels->nr, longest = columns > m ? columns : m;
  void *padded, *padded_dy, *padded_out, *part[8];
  place places[11] = {
      {&padded, m * row}, {&padded_out, m * row}, {&padded_dy, dy ? m * row : 0}};
  for (size_t i = 0; i < 8; i++) places[3 + i] = (place){&part[i], longest};
  void *block = take_all(kernels, places, 11);
  if (!block) return FNN_NO_MEMORY;
  fnn_copy_rows(kernels, x, n, padded, row, n, m);
  if (dy) fnn_copy_rows(kernels, dy, n, padded_dy, row, n, m);
  memcpy(part[0], scale, bytes);
  if (shift) memcpy(part[1], shift, bytes);
  const fnn_norm f = {.x = padded,
                      .x_row = (ptrdiff_t)row,
                      .scale = part[0],
                      .shift = part[1],
                      .mean = part[2],
                      .inverse = part[3],
                      .m = m,
                      .n = n,
                      .epsilon = epsilon,
                      .y = padded_out,
                      .y_row = (ptrdiff_t)row,
                      .momentum = 1.0, /* new := that of the batch */
                      .old_mean = part[4],
                      .old_variance = part[5],
                      .new_mean = part[6],
                      .new_variance = part[7]};
  const fnn_norm_backward g = {.dy = padded_dy,
                               .dy_row = (ptrdiff_t)row,
                               .x = padded,
                               .x_row = (ptrdiff_t)row,
                               .scale = part[0],
                               .mean = part[2],
                               .inverse = part[3],
                               .m = m,
                               .n = n,
                               .dx = padded_out,
                               .dx_row = (ptrdiff_t)row,
                               .dscale = part[4],
                               .dshift = part[5]};
  const fnn_fpstate state = fnn_flush_subnormals();
  if (of_batch) kernels->batch_norm_forward(&f, 0, panels);
  else kernels->layer_norm_forward(&f, 0, m);
  if (dy && of_batch) kernels->batch_norm_backward(&g, 0, panels);
  if (dy && !of_batch) kernels->layer_norm_backward(&g, 0, m);
  for (size_t panel = 0; dy && !of_batch && panel < panels; panel++)
    kernels->layer_norm_backward_weights(&g, panel);
  fnn_restore_fpstate(state);
  fnn_copy_rows(kernels, padded_out, row, out, n, n, m);
  if (first) memcpy(first, part[dy ? 4 : 6], bytes);
  if (second) memcpy(second, part[dy ? 5 : 7], bytes);
  for (size_t j = 0; second && !dy && j < n; j++) { /* running ones are unbiased */
    const double biased = m > 1 ? (double)(m - 1) / (double)m : 1.0;
    fnn_set_real(dtype, second, j, fnn_real_at(dtype, second, j) * biased);
  }
  fnn_free(block);
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
      .activation = stateless_activation,
      .softmax = stateless_softmax,
      .loss = stateless_loss,
      .dropout = stateless_dropout,
      .norm = stateless_norm,
      .optimizer_update = stateless_optimizer_update,
      .round_to_bfloat16 = fnn_round_to_bfloat16};
  return &functions;
}
