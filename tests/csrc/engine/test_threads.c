/* The thread team. The numbers of turns are chosen so that a missing barrier shows
 * within a second on two cores, and under ThreadSanitizer at once. */
#include "threads/threads.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/fpstate.h"
#include "support/support.h"
#include "tests.h"

enum { MOST = 17 };

typedef struct attendance {
  atomic_int seen[MOST];
  atomic_int threads;
  int writes[MOST]; /* plain: made visible by the end of the region */
} attendance;

static void attend(void *argument, const fnn_worker *worker) {
  attendance *a = argument;
  atomic_fetch_add(&a->seen[worker->thread], 1);
  atomic_store(&a->threads, worker->threads);
  a->writes[worker->thread] = worker->thread + 1;
}

static void check_attendance(int threads) {
  attendance a = {0};
  fnn_parallel(threads, attend, &a);
  const int had = atomic_load(&a.threads);
  CHECK(had == (threads < 1 ? 1 : threads), "%d threads for %d", had, threads);
  for (int i = 0; i < MOST; i++) {
    CHECK(atomic_load(&a.seen[i]) == (i < had), "thread %d ran %d times", i,
          atomic_load(&a.seen[i]));
    CHECK(a.writes[i] == (i < had ? i + 1 : 0), "thread %d left %d", i, a.writes[i]);
  }
}

void test_regions(void) {
  for (int threads = 0; threads <= MOST; threads++) check_attendance(threads);
  check_attendance(-3);
  for (int turn = 0; turn < 200; turn++) check_attendance(1 + turn % 5);
  /* A worker that has gone to sleep wakes up. */
  const struct timespec pause = {.tv_nsec = 2000000};
  for (int turn = 0; turn < 5; turn++) {
    nanosleep(&pause, NULL);
    check_attendance(3);
  }
  /* Every share of the work, once. */
  for (int threads = 1; threads < 9; threads++)
    for (size_t count = 0; count < 40; count++) {
      size_t next = 0, least = count, most = 0;
      for (int i = 0; i < threads; i++) {
        const fnn_worker worker = {.thread = i, .threads = threads};
        size_t begin, end;
        fnn_share(&worker, count, &begin, &end);
        CHECK(begin == next && end >= begin, "a gap at %zu", next);
        if (end - begin < least) least = end - begin;
        if (end - begin > most) most = end - begin;
        next = end;
      }
      CHECK(next == count && most - least <= 1, "%zu of %zu", next, count);
    }
}

typedef struct phases {
  int turns;
  long slot[MOST][16]; /* plain: only the barriers order these */
  atomic_long wrong;
} phases;

static void in_phases(void *argument, const fnn_worker *worker) {
  phases *p = argument;
  for (int turn = 1; turn <= p->turns; turn++) {
    p->slot[worker->thread][0] = turn;
    fnn_barrier_wait(worker);
    for (int i = 0; i < worker->threads; i++)
      if (p->slot[i][0] != turn) atomic_fetch_add(&p->wrong, 1);
    fnn_barrier_wait(worker);
  }
}

void test_barriers(void) {
  static const int threads[] = {1, 2, 3, 4, 7, 9, 16, 17}; /* clusters of eight */
  static const double spins[] = {0.0, 20e-6};
  for (size_t s = 0; s < 2; s++) {
    fnn_set_spin(spins[s]);
    for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
      phases p = {.turns = (int)samples(threads[t] < 4 ? 1000 : 100, 20)};
      fnn_parallel(threads[t], in_phases, &p);
      CHECK(atomic_load(&p.wrong) == 0, "%ld times early on %d threads",
            atomic_load(&p.wrong), threads[t]);
    }
  }
}

/* Regions of changing size as fast as they go: what a worker still reads while the next
 * region is being set up would be seen here. */
void test_changing_teams(void) {
  for (size_t turn = 0; turn < samples(20000, 300); turn++) {
    attendance a = {0};
    const int threads = 2 + (int)(turn % 3);
    fnn_parallel(threads, attend, &a);
    int sum = 0;
    for (int i = 0; i < MOST; i++) sum += atomic_load(&a.seen[i]);
    if (!CHECK(sum == threads, "turn %zu: %d of %d threads", turn, sum, threads))
      return;
  }
}

static void inner(void *argument, const fnn_worker *worker) {
  atomic_fetch_add((atomic_int *)argument, worker->threads);
}

static void outer(void *argument, const fnn_worker *worker) {
  (void)worker;
  fnn_parallel(4, inner, argument);
}

/* The team is busy with the outer region: each inner one runs on its caller alone. */
void test_nested_region(void) {
  atomic_int sum = 0;
  fnn_parallel(3, outer, &sum);
  CHECK(atomic_load(&sum) == 3, "%d", atomic_load(&sum));
}

/* A caller that works alone keeps its CPU: another one's team is smaller by one. */
void test_room_for_callers(void) {
  const int before = fnn_get_num_threads();
  for (int limit = 1; limit <= 4; limit++) {
    atomic_int sum = 0;
    fnn_set_num_threads(limit);
    fnn_parallel(1, outer, &sum); /* wants four threads inside */
    /* inner() adds the size of its team once for every thread */
    const int team = limit > 2 ? limit - 1 : 1;
    CHECK(atomic_load(&sum) == team * team, "%d threads of %d: %d", team, limit,
          atomic_load(&sum));
  }
  fnn_set_num_threads(before);
}

typedef struct flushing {
  atomic_int kept; /* threads that kept a subnormal */
  volatile float tiny;
  volatile double tiny_double;
} flushing;

static void flush(void *argument, const fnn_worker *worker) {
  flushing *f = argument;
  (void)worker;
  if (f->tiny * 0.5f != 0.0f || f->tiny_double * 0.5 != 0.0)
    atomic_fetch_add(&f->kept, 1);
}

void test_floating_point_state(void) {
  flushing f = {.tiny = 0x1p-126f, .tiny_double = 0x1p-1022};
  for (int threads = 1; threads < 4 && !memcheck; threads++) {
    fnn_parallel(threads, flush, &f);
    CHECK(atomic_load(&f.kept) == 0, "%d of %d threads keep subnormals",
          atomic_load(&f.kept), threads);
    CHECK(f.tiny * 0.5f == 0x1p-127f, "the caller's subnormals are flushed");
  }
#if defined(__x86_64__)
  if (memcheck) return;
  const unsigned before = _mm_getcsr();
  const unsigned unusual = 0x1f80u | 0x6000u | 0x8000u; /* towards zero, FTZ */
  _mm_setcsr(unusual);
  fnn_parallel(1, flush, &f);
  fnn_parallel(3, flush, &f);
  const unsigned after = _mm_getcsr();
  _mm_setcsr(before);
  CHECK((after & ~0x3fu) == unusual, "MXCSR is %#x, was %#x", after, unusual);
#endif
}
