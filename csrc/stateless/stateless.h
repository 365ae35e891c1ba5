/* Shared by the functions of fastnn.kernels: room for packed and padded copies. */
#ifndef FNN_STATELESS_H
#define FNN_STATELESS_H

#include "kernels/layout.h"
#include "threads/threads.h"

/* The packed weights and every padded array of a call lie in one block, which starts
 * zeroed.  Taking is done twice: to measure, and then for good. */
typedef struct fnn_block {
  const fnn_kernels *kernels;
  char *memory;
  size_t used;
} fnn_block;

static inline void *fnn_take(fnn_block *b, size_t values) {
  void *taken = b->memory ? b->memory + b->used : NULL;
  const size_t bytes = values * b->kernels->itemsize;
  b->used += (bytes + FNN_ALIGNMENT - 1) / FNN_ALIGNMENT * FNN_ALIGNMENT;
  return taken;
}

/* stateless_layers.c: see fnn_stateless in fastnn.h. */
fnn_status fnn_stateless_dropout(fnn_dtype dtype, const void *x, double rate,
                                 uint64_t key, uint64_t step, size_t m, size_t n,
                                 void *y);
fnn_status fnn_stateless_batch_norm_forward(fnn_dtype dtype, const void *x,
                                            const void *scale, const void *shift,
                                            double epsilon, size_t m, size_t n, void *y,
                                            void *mean, void *variance);
fnn_status fnn_stateless_batch_norm_backward(fnn_dtype dtype, const void *dy,
                                             const void *x, const void *scale,
                                             double epsilon, size_t m, size_t n,
                                             void *dx, void *dscale, void *dshift);
fnn_status fnn_stateless_layer_norm_forward(fnn_dtype dtype, const void *x,
                                            const void *scale, const void *shift,
                                            double epsilon, size_t m, size_t n,
                                            void *y);
fnn_status fnn_stateless_layer_norm_backward(fnn_dtype dtype, const void *dy,
                                             const void *x, const void *scale,
                                             double epsilon, size_t m, size_t n,
                                             void *dx, void *dscale, void *dshift);

#endif
