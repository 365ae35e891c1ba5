/* Several callers, forks, and a system that refuses threads: always the same bits. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "support/network.h"
#include "support/support.h"
#include "tests.h"
#include "threads/threads.h"

static const spec small = {.name = "concurrency",
                           .dtype = FNN_F32,
                           .sizes = {30, 100, 80, 5},
                           .kind = FNN_ADAM,
                           .learning_rate = 1e-3,
                           .x_type = FNN_FLOAT32,
                           .rows = 48,
                           .batch = 16,
                           .shuffled = 1};

typedef struct caller {
  const problem *p;
  const snapshot *expected;
  atomic_int stop;
} caller;

static int trains_as_expected(const caller *c, int threads) {
  snapshot now = train(c->p, &(run_options){.threads = threads, .fused = 1});
  const int same = same_snapshots(&now, c->expected);
  snapshot_free(&now);
  return same;
}

/* Every caller trains a network of its own, and all of them predict with one more. The
 * networks are made beforehand: their random weights come from one generator. */
typedef struct sharer {
  const problem *p;
  fnn_network *own;          /* trained here alone */
  const fnn_network *shared; /* asked by all */
  double *out;
  int failed;
} sharer;

static void *train_and_predict(void *argument) {
  sharer *s = argument;
  for (int turn = 0; turn < 6; turn++) {
    double totals[FNN_TOTALS] = {0.0};
    size_t start = 0, row = 0;
    s->failed |= train_rows(s->own, s->p, &start, totals, INFINITY, turn % 2) != FNN_OK;
    s->failed |= fnn_predict(s->shared, &s->p->data.x, FNN_VALUES, s->out, &row,
                             INFINITY) != FNN_OK;
    s->failed |= fnn_predict_one(s->shared, s->p->x_memory, s->out) != FNN_OK;
  }
  return NULL;
}

void test_two_callers_at_once(void) {
  problem p = problem_new(&small);
  fnn_network *shared = network_new(&p);
  enum { CALLERS = 3 };
  sharer callers[CALLERS];
  pthread_t threads[CALLERS];
  const size_t values = p.data.rows * p.n_outputs;
  for (int i = 0; i < CALLERS; i++) {
    callers[i] = (sharer){&p, network_new(&p), shared, calloc(values, 8), 0};
    if (!callers[i].out) abort();
    fnn_network_set_threads(callers[i].own, 1 + i);
  }
  fnn_network_set_threads(shared, 3);
  for (int i = 0; i < CALLERS; i++)
    if (pthread_create(&threads[i], NULL, train_and_predict, &callers[i])) abort();
  for (int i = 0; i < CALLERS; i++) pthread_join(threads[i], NULL);
  snapshot first = snapshot_of(callers[0].own, &p, NULL);
  for (int i = 0; i < CALLERS; i++) {
    snapshot now = snapshot_of(callers[i].own, &p, NULL);
    CHECK(!callers[i].failed, "caller %d failed", i);
    CHECK(same_snapshots(&first, &now), "caller %d has other weights", i);
    for (size_t j = 0; j < values; j++)
      if (!CHECK(real_at(FNN_F32, callers[i].out, j) ==
                     real_at(FNN_F32, callers[0].out, j),
                 "caller %d, value %zu: another prediction", i, j))
        break;
    snapshot_free(&now);
  }
  for (int i = 0; i < CALLERS; i++) {
    fnn_network_free(callers[i].own);
    free(callers[i].out);
  }
  snapshot_free(&first);
  fnn_network_free(shared);
  problem_free(&p);
}

static int train_in_child(void *argument) {
  const caller *c = argument;
  return trains_as_expected(c, 1) && trains_as_expected(c, 3) &&
         trains_as_expected(c, 2);
}

void test_fork_after_use(void) {
  if (!can_fork()) return;
  problem p = problem_new(&small);
  snapshot expected = train(&p, &(run_options){.threads = 3, .fused = 1});
  caller c = {.p = &p, .expected = &expected};
  for (int i = 0; i < 5; i++)
    CHECK(in_child(train_in_child, &c), "child %d failed or hung", i);
  CHECK(trains_as_expected(&c, 3), "the parent has other bits afterwards");
  snapshot_free(&expected);
  problem_free(&p);
}

static void idle(void *argument, const fnn_worker *worker) {
  (void)argument;
  fnn_barrier_wait(worker);
}

static void *run_regions(void *argument) {
  caller *c = argument;
  while (!atomic_load(&c->stop)) fnn_parallel(3, idle, NULL);
  return NULL;
}

/* The team is in the middle of another thread's region when the process forks. */
void test_fork_during_use(void) {
  if (!can_fork()) return;
  problem p = problem_new(&small);
  snapshot expected = train(&p, &(run_options){.threads = 1, .fused = 1});
  caller c = {.p = &p, .expected = &expected};
  pthread_t other;
  if (pthread_create(&other, NULL, run_regions, &c)) abort();
  for (size_t i = 0; i < samples(10, 3); i++)
    CHECK(in_child(train_in_child, &c), "child %zu failed or hung", i);
  atomic_store(&c.stop, 1);
  pthread_join(other, NULL);
  snapshot_free(&expected);
  problem_free(&p);
}

typedef struct refusal {
  caller caller;
  long n;
  int forever;
} refusal;

/* The child has no team yet: its n-th thread is refused. */
static int train_refused(void *argument) {
  const refusal *r = argument;
  const int before = fnn_threads_refused();
  fnn_refuse_thread(r->n, r->forever);
  const int same = trains_as_expected(&r->caller, 4);
  const int refused = fnn_threads_refused() - before;
  fnn_refuse_thread(0, 0);
  return same && (refused > 0) == (r->n <= 3) && trains_as_expected(&r->caller, 4);
}

static void count(void *argument, const fnn_worker *worker) {
  (void)worker;
  atomic_fetch_add((atomic_int *)argument, 1);
}

/* No memory for the second thread's place in the team: fewer threads, until there
 * is. */
static int run_without_memory(void *argument) {
  atomic_int ran = 0, later = 0;
  (void)argument;
  fnn_fail_allocation(2, 1);
  fnn_parallel(4, count, &ran);
  fnn_fail_allocation(0, 0);
  fnn_parallel(4, count, &later);
  return atomic_load(&ran) == 2 && atomic_load(&later) == 4;
}

/* Of threads that are refused nothing is left. */
static int refused_without_a_leak(void *argument) {
  atomic_int ran = 0;
  (void)argument;
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
  fnn_refuse_thread(1, 1);
  fnn_parallel(2, count, &ran);
  const size_t before = mallinfo2().uordblks;
  for (int i = 0; i < 1000; i++) fnn_parallel(2, count, &ran);
  const size_t after = mallinfo2().uordblks; /* what malloc keeps at hand counts, too */
  fnn_refuse_thread(0, 0);
  return atomic_load(&ran) == 1001 && after < before + 100000;
#else
  return atomic_load(&ran) == 0;
#endif
}

void test_refused_threads_give_the_same_bits(void) {
  if (!can_fork()) return;
  problem p = problem_new(&small);
  snapshot expected = train(&p, &(run_options){.threads = 1, .fused = 1});
  refusal r = {.caller = {.p = &p, .expected = &expected}};
  for (r.n = 1; r.n <= 4; r.n++)
    for (r.forever = 0; r.forever < 2; r.forever++)
      CHECK(in_child(train_refused, &r), "thread %ld refused%s", r.n,
            r.forever ? " and all others" : "");
  CHECK(in_child(run_without_memory, NULL), "no memory for threads");
  CHECK(in_child(refused_without_a_leak, NULL), "refused threads leave memory");
  snapshot_free(&expected);
  problem_free(&p);
}
