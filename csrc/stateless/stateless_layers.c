/* Dropout and the norms for fastnn.kernels, on plain row-major arrays. */
#include "stateless/stateless.h"

#include "base/values.h"

typedef enum layer_operation {
  DROPOUT,
  BATCH_NORM_FORWARD,
  BATCH_NORM_BACKWARD,
  LAYER_NORM_FORWARD,
  LAYER_NORM_BACKWARD
} layer_operation;

typedef struct layer_call {
  layer_operation operation;
  fnn_dtype dtype;
  size_t m, n;
  double epsilon;
  fnn_dropout dropout;
  const void *x, *dy, *scale, *shift; /* dy: backward */
  void *out, *dscale, *dshift;        /* y or dx */
  void *batch_mean, *batch_variance;

  const fnn_kernels *kernels;
  fnn_norm forward;
  fnn_norm_backward backward;
} layer_call;

static void layer_region(void *argument, const fnn_worker *worker) {
  layer_call *c = argument;
  const fnn_kernels *kernels = c->kernels;
  const size_t panels = fnn_panels(kernels, c->n);
  (void)worker;
  switch (c->operation) {
    case DROPOUT: kernels->dropout(&c->dropout, 0, c->m); break;
    case BATCH_NORM_FORWARD:
    case BATCH_NORM_BACKWARD:
      kernels->batch_norm_forward(&c->forward, 0, panels);
      if (c->dy) kernels->batch_norm_backward(&c->backward, 0, panels);
      break;
    case LAYER_NORM_FORWARD:
    case LAYER_NORM_BACKWARD:
      kernels->layer_norm_forward(&c->forward, 0, c->m);
      if (!c->dy) break;
      kernels->layer_norm_backward(&c->backward, 0, c->m);
      for (size_t panel = 0; panel < panels; panel++)
        kernels->layer_norm_backward_weights(&c->backward, panel);
      break;
  }
}

static fnn_status call_layer(layer_call *c) {
  const fnn_kernels *kernels = c->kernels = fnn_kernels_for(c->dtype);
  const size_t n = c->n, m = c->m, row = (size_t)fnn_row_stride(kernels, n);
  const size_t columns = fnn_panels(kernels, n) * kernels->nr;
  const size_t longest = columns > m ? columns : m;
  fnn_block room = {kernels, NULL, 0};
  void *x = NULL, *y = NULL, *dy = NULL, *part[10] = {NULL};
  for (int pass = 0; pass < 2; pass++) {
    if (pass && !(room.memory = fnn_alloc(room.used, 1))) return FNN_NO_MEMORY;
    room.used = 0;
    x = fnn_take(&room, m * row);
    y = fnn_take(&room, m * row);
    dy = fnn_take(&room, c->dy ? m * row : 0);
    for (size_t i = 0; i < 10; i++) part[i] = fnn_take(&room, longest);
  }
  fnn_copy_rows(kernels, c->x, n, x, row, n, m);
  if (c->dy) fnn_copy_rows(kernels, c->dy, n, dy, row, n, m);
  if (c->scale) memcpy(part[0], c->scale, n * kernels->itemsize);
  if (c->shift) memcpy(part[1], c->shift, n * kernels->itemsize);
  c->dropout.x = x;
  c->dropout.y = y;
  c->dropout.x_row = c->dropout.y_row = (ptrdiff_t)row;
  c->forward = (fnn_norm){.x = x,
                          .x_row = (ptrdiff_t)row,
                          .scale = part[0],
                          .shift = part[1],
                          .mean = part[2],
                          .inverse = part[3],
                          .m = m,
                          .n = n,
                          .epsilon = c->epsilon,
                          .y = y,
                          .y_row = (ptrdiff_t)row,
                          .momentum = 1.0, /* new := that of the batch */
                          .old_mean = part[4],
                          .old_variance = part[5],
                          .new_mean = part[6],
                          .new_variance = part[7]};
  c->backward = (fnn_norm_backward){.dy = dy,
                                    .dy_row = (ptrdiff_t)row,
                                    .x = x,
                                    .x_row = (ptrdiff_t)row,
                                    .scale = part[0],
                                    .mean = part[2],
                                    .inverse = part[3],
                                    .m = m,
                                    .n = n,
                                    .dx = y,
                                    .dx_row = (ptrdiff_t)row,
                                    .dscale = part[8],
                                    .dshift = part[9]};
  fnn_parallel(1, layer_region, c);
  fnn_copy_rows(kernels, y, row, c->out, n, n, m);
  if (c->dscale) memcpy(c->dscale, part[8], n * kernels->itemsize);
  if (c->dshift) memcpy(c->dshift, part[9], n * kernels->itemsize);
  if (c->batch_mean) memcpy(c->batch_mean, part[6], n * kernels->itemsize);
  for (size_t j = 0; c->batch_variance && j < n; j++) { /* running ones are unbiased */
    const double biased = m > 1 ? (double)(m - 1) / (double)m : 1.0;
    fnn_set_real(c->dtype, c->batch_variance, j,
                 fnn_real_at(c->dtype, part[7], j) * biased);
  }
  fnn_free(room.memory);
  return FNN_OK;
}

fnn_status fnn_stateless_dropout(fnn_dtype dtype, const void *x, double rate,
                                 uint64_t key, uint64_t step, size_t m, size_t n,
                                 void *y) {
  layer_call c = {.operation = DROPOUT,
                  .dtype = dtype,
                  .m = m,
                  .n = n,
                  .dropout = {.n = n, .rate = rate, .key = key, .step = step},
                  .x = x,
                  .out = y};
  return call_layer(&c);
}

fnn_status fnn_stateless_batch_norm_forward(fnn_dtype dtype, const void *x,
                                            const void *scale, const void *shift,
                                            double epsilon, size_t m, size_t n, void *y,
                                            void *mean, void *variance) {
  layer_call c = {.operation = BATCH_NORM_FORWARD,
                  .dtype = dtype,
                  .m = m,
                  .n = n,
                  .epsilon = epsilon,
                  .x = x,
                  .scale = scale,
                  .shift = shift,
                  .out = y,
                  .batch_mean = mean,
                  .batch_variance = variance};
  return call_layer(&c);
}

fnn_status fnn_stateless_batch_norm_backward(fnn_dtype dtype, const void *dy,
                                             const void *x, const void *scale,
                                             double epsilon, size_t m, size_t n,
                                             void *dx, void *dscale, void *dshift) {
  layer_call c = {.operation = BATCH_NORM_BACKWARD,
                  .dtype = dtype,
                  .m = m,
                  .n = n,
                  .epsilon = epsilon,
                  .x = x,
                  .dy = dy,
                  .scale = scale,
                  .out = dx,
                  .dscale = dscale,
                  .dshift = dshift};
  return call_layer(&c);
}

fnn_status fnn_stateless_layer_norm_forward(fnn_dtype dtype, const void *x,
                                            const void *scale, const void *shift,
                                            double epsilon, size_t m, size_t n,
                                            void *y) {
  layer_call c = {.operation = LAYER_NORM_FORWARD,
                  .dtype = dtype,
                  .m = m,
                  .n = n,
                  .epsilon = epsilon,
                  .x = x,
                  .scale = scale,
                  .shift = shift,
                  .out = y};
  return call_layer(&c);
}

fnn_status fnn_stateless_layer_norm_backward(fnn_dtype dtype, const void *dy,
                                             const void *x, const void *scale,
                                             double epsilon, size_t m, size_t n,
                                             void *dx, void *dscale, void *dshift) {
  layer_call c = {.operation = LAYER_NORM_BACKWARD,
                  .dtype = dtype,
                  .m = m,
                  .n = n,
                  .epsilon = epsilon,
                  .x = x,
                  .dy = dy,
                  .scale = scale,
                  .out = dx,
                  .dscale = dscale,
                  .dshift = dshift};
  return call_layer(&c);
}
