/* A team of threads, started on first use and kept.
 *
 * Between regions a worker spins for a short time, so that the steps of a training loop
 * find it awake, and then sleeps on a condition variable.  Inside a barrier it spins
 * ten times as long: somebody is at work, and whoever sleeps wakes too late.  One
 * region runs at a time: a second caller finds the team busy and does its work alone,
 * which gives the same bits.
 *
 * fork: the child has only the forking thread, so it forgets the team and starts a new
 * one when it needs it.  OpenMP is not used because its runtimes hang or exit there. */
#define _GNU_SOURCE /* sched_getcpu */
#include "threads/threads.h"

#include <math.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/fpstate.h"
#include "base/memory.h"
#include "fastnn.h"
#include "threads/stop.h"
#include "threads/system.h"

enum { MAX_THREADS = 256 };

/* A gate opens every time its number changes. */
typedef struct gate {
  atomic_uint number;
  atomic_int sleepers;
  fnn_lock lock;
  fnn_condition changed;
} gate;

/* Threads of a cluster meet at its counter and wait at its gate, so that no line of memory
 * goes to more than CLUSTER of them: the last of each meets those of the others, and the
 * last of all opens every gate. */
enum { CLUSTER = 8, CLUSTERS = MAX_THREADS / CLUSTER };

typedef struct cluster {
  _Alignas(FNN_ALIGNMENT) gate gate;
  atomic_int arrived;
} cluster;

struct fnn_barrier {
  cluster clusters[CLUSTERS];
  atomic_int arrived; /* clusters */
};

typedef struct member {
  _Alignas(FNN_ALIGNMENT) gate start;
  fnn_region region;
  void *argument;
  fnn_worker worker;
} member;

static struct team {
  fnn_lock busy; /* held during a region */
  fnn_barrier barrier;
  int started; /* workers, the caller not counted */
  member *members[MAX_THREADS];
} team;

static fnn_once team_once = FNN_ONCE;
static atomic_int thread_limit = 1;
static atomic_int refused;
static fnn_fault thread_fault;
static _Atomic double spin_seconds = 50e-6;
/* Inside a region this many times longer: the first to arrive waits for a part of a
 * step. */
static const double barrier_spins = 10.0;

void fnn_set_num_threads(int threads) {
  atomic_store(&thread_limit, threads < 1             ? 1
                              : threads > MAX_THREADS ? MAX_THREADS
                                                      : threads);
}
int fnn_get_num_threads(void) { return atomic_load(&thread_limit); }
int fnn_threads_refused(void) { return atomic_load(&refused); }
void fnn_set_spin(double seconds) { atomic_store(&spin_seconds, seconds); }
void fnn_refuse_thread(long n, int forever) { thread_fault = (fnn_fault){n, forever}; }

static void pause_cpu(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void gate_init(gate *g) {
  atomic_store(&g->number, 0);
  atomic_store(&g->sleepers, 0);
  fnn_lock_init(&g->lock);
  fnn_condition_init(&g->changed);
}

/* The scheduler likes to put a woken thread on the CPU of the one that woke it, and to
 * pull threads that sleep now and then together on one.  There no two of them run at
 * once, and since each yields to the others, nothing moves them (measured: from 2 to 6
 * times the time of one thread).  So whoever waits yields, and a worker that finds
 * itself on the caller's CPU moves away. */
static atomic_int caller_cpu = -1;

static void publish_cpu(void) {
  atomic_store_explicit(&caller_cpu, fnn_current_cpu(), memory_order_relaxed);
}

static void leave_caller(void) {
  fnn_leave_cpu(atomic_load_explicit(&caller_cpu, memory_order_relaxed));
}

static void gate_open(gate *g) {
  atomic_fetch_add(&g->number, 1);
  /* Sequentially consistent on both sides: either this load sees the sleeper, or the
   * sleeper sees the new number before it waits. */
  if (atomic_load(&g->sleepers) == 0) return;
  fnn_lock_take(&g->lock);
  fnn_condition_wake_all(&g->changed);
  fnn_lock_give(&g->lock);
  fnn_yield(); /* whoever woke on this CPU moves away now, not at the next wait */
}

/* Sleeps until the gate's number is no longer `before`, awake now and then to look at
 * `stop`; the gate is locked. */
static void gate_sleep(gate *g, unsigned before, fnn_stop *stop) {
  while (atomic_load(&g->number) == before) {
    if (!stop) {
      fnn_condition_wait(&g->changed, &g->lock);
      continue;
    }
    fnn_condition_wait_ms(&g->changed, &g->lock, 50);
    fnn_lock_give(&g->lock);
    (void)fnn_stop_asked(stop, 1);
    fnn_lock_take(&g->lock);
  }
}

/* Waits until the gate's number is no longer `before`, asleep after `spins` times the
 * time to spin. */
static void gate_wait(gate *g, unsigned before, double spins, fnn_stop *stop) {
  double deadline = 0.0;
  for (unsigned turn = 0;; turn++) {
    if (atomic_load_explicit(&g->number, memory_order_acquire) != before) return;
    pause_cpu();
    if (turn % 16 != 15) continue;
    fnn_yield();
    const double time = fnn_now();
    if (deadline == 0.0) deadline = time + spins * atomic_load(&spin_seconds);
    if (time >= deadline) break;
  }
  fnn_lock_take(&g->lock);
  atomic_fetch_add(&g->sleepers, 1);
  gate_sleep(g, before, stop);
  atomic_fetch_sub(&g->sleepers, 1);
  fnn_lock_give(&g->lock);
  leave_caller();
}

unsigned fnn_barrier_arrive(const fnn_worker *worker) {
  /* Read before arriving: once the last thread has arrived, the caller may already set
   * up the next region, with another number of threads. */
  const int threads = worker->threads;
  if (threads == 1) return 0;
  if (worker->thread == 0) publish_cpu();
  else leave_caller();
  fnn_barrier *b = worker->barrier;
  const int own = worker->thread / CLUSTER, clusters = (threads - 1) / CLUSTER + 1;
  const int rest = threads - own * CLUSTER, members = rest < CLUSTER ? rest : CLUSTER;
  cluster *c = &b->clusters[own];
  const unsigned number = atomic_load(&c->gate.number);
  if (atomic_fetch_add(&c->arrived, 1) < members - 1) return number;
  atomic_store(&c->arrived, 0);
  if (atomic_fetch_add(&b->arrived, 1) < clusters - 1) return number;
  atomic_store(&b->arrived, 0);
  for (int i = clusters; i-- > 0;) gate_open(&b->clusters[i].gate);
  return number;
}

void fnn_barrier_finish(const fnn_worker *worker, unsigned arrival) {
  if (worker->threads > 1)
    gate_wait(&worker->barrier->clusters[worker->thread / CLUSTER].gate, arrival,
              barrier_spins, worker->thread == 0 ? worker->stop : NULL);
}

void fnn_barrier_wait(const fnn_worker *worker) {
  const fnn_worker self = *worker; /* see fnn_barrier_arrive */
  fnn_barrier_finish(&self, fnn_barrier_arrive(&self));
}

/* Callers inside a region.  Each of them is a thread that works: a team leaves it a
 * CPU. */
static atomic_int callers;

static void team_init(void) {
  fnn_lock_init(&team.busy);
  for (int i = 0; i < CLUSTERS; i++) {
    gate_init(&team.barrier.clusters[i].gate);
    atomic_store(&team.barrier.clusters[i].arrived, 0);
  }
  atomic_store(&team.barrier.arrived, 0);
  team.started = 0;
}

static atomic_uint process = 1;
unsigned fnn_process(void) { return atomic_load(&process); }

/* In a forked child the workers do not exist and a lock may be held by nobody.  Their
 * members are left allocated: a worker's stack still refers to its own. */
static void team_forget(void) {
  atomic_fetch_add(&process, 1);
  team_init();
  atomic_store(&callers, 0);
}

static void team_first_use(void) {
  team_init();
  fnn_at_fork(team_forget);
}

static fnn_thread_result worker_main(void *argument) {
  member *self = argument;
  fnn_be_worker();
  for (unsigned number = 0;; number++) {
    gate_wait(&self->start, number, 1.0, NULL);
    const fnn_fpstate state = fnn_flush_subnormals();
    self->region(self->argument, &self->worker);
    fnn_restore_fpstate(state);
    fnn_barrier_wait(&self->worker); /* the region ends together */
  }
  return 0;
}

/* Starts workers until there are `wanted`; returns how many there are. */
static int team_grow(int wanted) {
  while (team.started < wanted) {
    /* Two lines apart from the next block: CPUs prefetch lines in pairs. */
    member *m = fnn_alloc(1, sizeof *m + 128);
    if (!m) break;
    gate_init(&m->start);
    if (fnn_fault_now(&thread_fault) || !fnn_thread_start(worker_main, m)) {
      fnn_free(m);
      atomic_fetch_add(&refused, 1);
      break;
    }
    team.members[team.started++] = m;
  }
  return team.started < wanted ? team.started : wanted;
}

static int beside_others(int threads, int others) {
  const int left = fnn_get_num_threads() - others;
  return others > 0 && threads > left ? left : threads;
}

static int run_team(int threads, fnn_region region, void *argument) {
  const int workers = team_grow((threads < MAX_THREADS ? threads : MAX_THREADS) - 1);
  const fnn_worker self = {.threads = workers + 1, .barrier = &team.barrier};
  publish_cpu();
  for (int i = 0; i < workers; i++) {
    member *m = team.members[i];
    m->region = region;
    m->argument = argument;
    m->worker = self;
    m->worker.thread = i + 1;
    gate_open(&m->start);
  }
  region(argument, &self);
  fnn_barrier_wait(&self);
  return self.threads;
}

int fnn_parallel(int threads, fnn_region region, void *argument) {
  const fnn_fpstate state = fnn_flush_subnormals();
  fnn_once_run(&team_once, team_first_use);
  threads = beside_others(threads, atomic_fetch_add(&callers, 1));
  if (threads <= 1 || !fnn_lock_try(&team.busy)) {
    threads = 1;
    region(argument, &(fnn_worker){.threads = 1, .barrier = &team.barrier});
  } else {
    threads = run_team(threads, region, argument);
    fnn_lock_give(&team.busy);
  }
  atomic_fetch_sub(&callers, 1);
  fnn_restore_fpstate(state);
  return threads;
}

int fnn_cpus(void) {
  static atomic_int cpus;
  if (atomic_load(&cpus) > 0) return atomic_load(&cpus);
  const int count = fnn_cpus_allowed(MAX_THREADS);
  atomic_store(&cpus, count);
  return count;
}

static void time_barriers(void *argument, const fnn_worker *worker) {
  double *least = argument, before = 0.0;
  for (int i = 0; i < 12; i++) {
    fnn_barrier_wait(worker);
    if (worker->thread > 0) continue;
    const double now = fnn_now();
    if (i > 0) *least = fmin(*least, now - before);
    before = now;
  }
}

double fnn_barrier_seconds(int threads) {
  static _Atomic double of_octave[9]; /* of up to 2, 4, 8, ... threads; 0: unknown */
  int octave = 0;
  while (octave < 8 && (2 << octave) < threads) octave++;
  double seconds = atomic_load(&of_octave[octave]);
  if (seconds > 0.0) return seconds;
  seconds = 1e-3;
  if (fnn_parallel(threads, time_barriers, &seconds) < threads)
    return 1e-6 * (1 + octave); /* the team is busy: what it often takes */
  seconds = fmax(seconds, 0.1e-6);
  atomic_store(&of_octave[octave], seconds);
  return seconds;
}
