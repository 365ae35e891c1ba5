/* The speed of this machine, for `fastnn bench --roofline`: multiply-adds a second on
 * registers only, bytes a second from where an array lies. */
#include <assert.h>

#include "base/clock.h"
#include "kernels/kernels.h"
#include "threads/threads.h"

typedef struct measurement {
  fnn_roof roof;
  const fnn_kernels *kernels;
  char *memory;
  size_t blocks, repeats;
  double seconds, work;
} measurement;

static void measure_region(void *argument, const fnn_worker *worker) {
  measurement *m = argument;
  const fnn_kernels *kernels = m->kernels;
  size_t begin, end;
  char *to = NULL;
  fnn_share(worker, m->blocks, &begin, &end);
  char *from = m->memory + begin * FNN_BLOCK;
  size_t count = end - begin;
  if (m->roof == FNN_COPY) { /* within the share of each thread, so that it stays in
                                the cache of its core */
    count /= 2;
    to = from + count * FNN_BLOCK;
  }
  for (int timed = 0; timed < 2; timed++) { /* once before: memory comes to its cache */
    fnn_barrier_wait(worker);
    if (timed && worker->thread == 0) m->seconds = fnn_now();
    for (size_t i = 0; i < (timed ? m->repeats : 1); i++) {
      switch (m->roof) {
        case FNN_MULTIPLY_ADD: kernels->multiply_adds(FNN_STEPS); break;
        case FNN_READ: kernels->read(from, count); break;
        case FNN_COPY: kernels->copy(from, to, count, 1.0); break;
      }
    }
  }
  fnn_barrier_wait(worker);
  if (worker->thread != 0) return;
  m->seconds = fnn_now() - m->seconds;
  const double threads = (double)worker->threads, repeats = (double)m->repeats;
  /* A copy reads half of the blocks and writes half; an odd one is left out. */
  size_t moved = m->blocks;
  if (m->roof == FNN_COPY) {
    moved = 0;
    for (int thread = 0; thread < worker->threads; thread++) {
      const fnn_worker other = {.thread = thread, .threads = worker->threads};
      fnn_share(&other, m->blocks, &begin, &end);
      moved += (end - begin) / 2 * 2;
    }
  }
  m->work = m->roof == FNN_MULTIPLY_ADD
                ? threads * repeats * FNN_STEPS * 2.0 * (double)kernels->step_values
                : repeats * (double)moved * FNN_BLOCK;
}

double fnn_measure_roof(fnn_roof roof, fnn_dtype dtype, int threads, void *memory,
                        size_t bytes, size_t repeats, double *work) {
  assert(threads > 0 && repeats > 0);
  assert(roof == FNN_MULTIPLY_ADD || bytes >= 2 * FNN_BLOCK * (size_t)threads);
  measurement m = {.roof = roof,
                   .kernels = fnn_kernels_for(dtype),
                   .memory = memory,
                   .blocks = bytes / FNN_BLOCK,
                   .repeats = repeats};
  fnn_parallel(threads, measure_region, &m);
  *work = m.work;
  return m.seconds;
}
