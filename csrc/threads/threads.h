/* The thread team: a function run by several threads at once, with barriers. */
#ifndef FNN_THREADS_H
#define FNN_THREADS_H

#include <stddef.h>

typedef struct fnn_barrier fnn_barrier;

/* A thread of a region, as it knows itself. */
typedef struct fnn_worker {
  int thread, threads; /* 0 <= thread < threads; thread 0 is the caller */
  fnn_barrier *barrier;
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

/* [*begin, *end): the share of `count` that is this thread's. */
static inline void fnn_share(const fnn_worker *worker, size_t count, size_t *begin,
                             size_t *end) {
  const size_t threads = (size_t)worker->threads, thread = (size_t)worker->thread;
  const size_t each = count / threads, rest = count % threads;
  *begin = thread * each + (thread < rest ? thread : rest);
  *end = *begin + each + (thread < rest);
}

#endif
