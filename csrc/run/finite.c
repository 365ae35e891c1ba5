/* Whether all of X is finite, for the message that says where it is not. */
#include <math.h>
#include <stdatomic.h>

#include "base/values.h"
#include "engine/network.h"
#include "kernels/layout.h"
#include "threads/stop.h"

typedef struct finiteness {
  const fnn_network *network;
  const fnn_array *x;
  char *room; /* a row for every thread */
  atomic_size_t next;
  atomic_int bad;
  fnn_stop stop;
} finiteness;

static void finiteness_region(void *argument, const fnn_worker *worker) {
  enum { ROWS = 64 };
  finiteness *f = argument;
  const fnn_network *network = f->network;
  const fnn_kernels *kernels = network->kernels;
  const size_t columns = network->n_inputs;
  const int direct = !network->scale && fnn_readable_in_place(kernels, f->x);
  char *room =
      fnn_at(kernels, f->room, (size_t)worker->thread * (size_t)network->x_row);
  for (;;) {
    const size_t first = ROWS * atomic_fetch_add(&f->next, 1);
    if (first >= f->x->rows || atomic_load(&f->bad)) return;
    if (fnn_stop_asked(&f->stop, worker->thread == 0)) return;
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

/* The least and the greatest value of every integer type. */
static fnn_array extremes(const fnn_array *x) {
  static const uint8_t u8[] = {0, UINT8_MAX};
  static const int8_t i8[] = {INT8_MIN, INT8_MAX};
  static const uint16_t u16[] = {0, UINT16_MAX};
  static const int16_t i16[] = {INT16_MIN, INT16_MAX};
  static const uint32_t u32[] = {0, UINT32_MAX};
  static const int32_t i32[] = {INT32_MIN, INT32_MAX};
  static const uint64_t u64[] = {0, UINT64_MAX};
  static const int64_t i64[] = {INT64_MIN, INT64_MAX};
  static const struct {
    const void *data;
    ptrdiff_t size;
  } of[] = {
      [FNN_U8] = {u8, 1},   [FNN_I8] = {i8, 1},   [FNN_U16] = {u16, 2},
      [FNN_I16] = {i16, 2}, [FNN_U32] = {u32, 4}, [FNN_I32] = {i32, 4},
      [FNN_U64] = {u64, 8}, [FNN_I64] = {i64, 8},
  };
  return (fnn_array){.data = of[x->type].data,
                     .rows = 2,
                     .cols = x->cols,
                     .row_stride = of[x->type].size,
                     .type = x->type};
}

fnn_status fnn_all_finite(const fnn_network *network, const fnn_array *x, int *finite) {
  const int floating =
      x->type == FNN_FLOAT16 || x->type == FNN_FLOAT32 || x->type == FNN_FLOAT64;
  const double values = (double)x->rows * (double)x->cols;
  const int threads = values > 1e6 ? fnn_get_num_threads() : 1;
  finiteness f = {.network = network, .x = x};
  fnn_stop_begin(&f.stop, INFINITY);
  *finite = 1;
  if (x->starts || (!floating && !network->scale)) return FNN_OK;
  f.room =
      fnn_alloc((size_t)threads * (size_t)network->x_row, network->kernels->itemsize);
  if (!f.room) return FNN_NO_MEMORY;
  if (!floating) {
    /* The scaling is monotonic, rounding included: between finite extremes all is
     * finite, and a set of any size need not be read. */
    const fnn_array most = extremes(x);
    f.x = &most;
    fnn_parallel(1, finiteness_region, &f);
    f.x = x;
  }
  if (floating || atomic_load(&f.bad)) {
    atomic_store(&f.next, 0);
    atomic_store(&f.bad, 0);
    fnn_parallel(threads, finiteness_region, &f);
  }
  fnn_free(f.room);
  *finite = !atomic_load(&f.bad);
  return atomic_load(&f.stop.asked) ? FNN_INTERRUPTED : FNN_OK;
}
