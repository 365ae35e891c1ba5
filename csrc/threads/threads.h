/* The thread team: a function run by several threads at once, with barriers. */
#ifndef FNN_THREADS_H
#define FNN_THREADS_H

#include <stddef.h>

typedef struct fnn_barrier fnn_barrier;

/* A thread of a region, as it knows itself. */
typedef struct fnn_worker {
  int thread, threads; /* 0 <= thread < threads; thread 0 is the caller */
  fnn_barrier *barrier;
  size_t block,
      blocks; /* of its shares only that of `blocks` parts, if there are any */
  struct fnn_stop *stop; /* or NULL; looked at in barriers too, see stop.h */
} fnn_worker;

typedef void (*fnn_region)(void *argument, const fnn_worker *worker);

/* Runs region on `threads` threads, or on fewer when the team is busy with another
 * caller or the system refuses threads: always on the calling one.  Subnormals are
 * flushed to zero inside and the caller's floating-point state is back on return.
 * Returns how many threads there were. */
int fnn_parallel(int threads, fnn_region region, void *argument);

/* A number > 0 that is another one in a forked child. */
unsigned fnn_process(void);

/* Every thread of the region waits for all others. */
void fnn_barrier_wait(const fnn_worker *worker);
/* The same in two halves, between which a thread may do what the others need not wait
 * for: it arrives, and waits later for all to have arrived. */
unsigned fnn_barrier_arrive(const fnn_worker *worker);
void fnn_barrier_finish(const fnn_worker *worker, unsigned arrival);

/* What that takes so many threads that are awake and arrive together: measured when it is
 * first asked, in some tens of microseconds. */
double fnn_barrier_seconds(int threads);

/* CPUs that the first caller may use. */
int fnn_cpus(void);

/* The worker's block of [*begin, *end); block 0 of what is not empty is not. */
static inline void fnn_block(const fnn_worker *worker, size_t *begin, size_t *end) {
  if (worker->blocks < 2) return;
  const size_t count = *end - *begin, each = count / worker->blocks;
  const size_t rest = count % worker->blocks, block = worker->block;
  *begin += block * each + (block < rest ? block : rest);
  *end = *begin + each + (block < rest);
}

/* [*begin, *end): the share of `count` that is this thread's. */
static inline void fnn_share(const fnn_worker *worker, size_t count, size_t *begin,
                             size_t *end) {
  const size_t threads = (size_t)worker->threads, thread = (size_t)worker->thread;
  const size_t each = count / threads, rest = count % threads;
  *begin = thread * each + (thread < rest ? thread : rest);
  *end = *begin + each + (thread < rest);
  fnn_block(worker, begin, end);
}

#endif
