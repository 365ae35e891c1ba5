/* The choice of the number of threads on simulated machines: cost.c and pace.c as they
 * are, on a clock and with barriers of the test's own. */
#define fnn_pace_take machine_pace_take
#define fnn_pace_give machine_pace_give
#define fnn_pace_threads machine_pace_threads
#define fnn_pace_seconds machine_pace_seconds
#define fnn_pace_add machine_pace_add
#define fnn_choose_threads machine_choice
#define fnn_begin_on_all_threads machine_begin_on_all
#define fnn_barrier_seconds machine_barrier
#define fnn_cpus machine_cpus
#include "threads/threads.h"
#include "threads/cost.c"
#include "threads/pace.c"

#include "support/support.h"
#include "tests.h"

typedef struct machine {
  int cores, per_core; /* CPUs of a core: 2 share it, each at `shared` of its rate */
  double shared, rate; /* multiply-adds a second of a core */
  double barrier;      /* of 64 threads */
  double noise;        /* each piece takes up to this share more or less */
  int busy;            /* CPUs that other processes use all the time */
} machine;

typedef struct job {
  double work, serial; /* of a step: multiply-adds, the share that is not split */
  int barriers, most;
} job;

static const machine *running;
static double machine_clock = 1e6;

/* Every octave as often. */
static double spread(double low, double high) {
  return low * pow(high / low, random_uniform(0.0, 1.0));
}

double machine_barrier(int threads) {
  return running->barrier * (0.4 + 0.1 * log2(threads));
}
int machine_cpus(void) { return running->cores * running->per_core; }

/* Threads go to idle cores, then to the other CPUs of cores, then next to a thread that
 * is there: then all wait for one that runs half of the time, at every barrier. */
static double step_seconds(const machine *m, const job *j, int threads) {
  const int cpus = m->cores * m->per_core;
  const int idle = m->cores > m->busy ? m->cores - m->busy : 0;
  double rate = m->rate, barrier = machine_barrier(threads);
  if (threads > idle && m->per_core == 2) rate *= m->shared;
  if (threads > cpus - m->busy) rate *= 0.5, barrier *= 20.0;
  if (threads > cpus) rate *= (double)cpus / threads;
  if (threads == 1) barrier = 0.0;
  return j->work * (j->serial / m->rate + (1.0 - j->serial) / (rate * threads)) +
         j->barriers * barrier;
}

static double best_seconds(const machine *m, const job *j) {
  double best = INFINITY;
  for (int threads = 1; threads <= j->most; threads++)
    best = fmin(best, step_seconds(m, j, threads));
  return best;
}

/* Steps for `seconds`, as train.c asks for threads; what they took more than on the best
 * fixed count. */
static double loss_for(fnn_pace *pace, const machine *m, const job *j, double seconds) {
  running = m;
  int most = j->most;
  const int likely = machine_choice(j->work, 1.0, j->barriers, &most);
  double taken = 0.0, fair = 0.0;
  while (taken < seconds) {
    int threads = 1;
    double slice = 10e-3;
    if (most > 1) {
      threads = machine_pace_threads(pace, j->work, likely, most, machine_clock);
      slice = machine_pace_seconds(pace);
    }
    const double step = step_seconds(m, j, threads), steps = ceil(slice / step);
    const double slower = 1.0 + m->noise * random_uniform(0.0, 2.0);
    const double stop =
        random_uniform(0.0, 1.0) < slice ? 2e-3 : 0.0; /* one a second */
    const double piece = steps * step * slower + stop;
    machine_clock += piece;
    if (most > 1) machine_pace_add(pace, steps * j->work, piece, machine_clock);
    taken += piece;
    fair += steps * best_seconds(m, j) * slower + stop;
  }
  return taken / fair - 1.0;
}

static machine random_machine(void) {
  machine m = {.cores = (int)spread(1.0, 65.0),
               .per_core = random_uniform(0.0, 1.0) < 0.4 ? 2 : 1,
               .shared = random_uniform(0.55, 0.65),
               .rate = spread(20e9, 80e9),
               .barrier = spread(0.3e-6, 20e-6),
               .noise = random_uniform(0.0, 0.05)};
  if (random_uniform(0.0, 1.0) < 0.5)
    m.busy = (int)(m.cores * random_uniform(0.0, 0.7));
  return m;
}

/* One in ten is allowed twice as many threads as there are CPUs. */
static job random_job(const machine *m) {
  const int cpus = m->cores * m->per_core;
  return (job){.work = spread(1e5, 1e9),
               .serial = 0.05 * random_uniform(0.0, 1.0) * random_uniform(0.0, 1.0),
               .barriers = (int)random_uniform(2.0, 7.0),
               .most = random_uniform(0.0, 1.0) < 0.1 ? 2 * cpus : cpus};
}

static void next_network(fnn_pace *pace) {
  machine_clock += 10.0; /* nothing is remembered */
  *pace = (fnn_pace){0};
}

void test_pace_on_machines(void) {
  double sum = 0.0, worst = 0.0;
  for (int i = 0; i < 1000; i++) {
    const machine m = random_machine();
    const job j = random_job(&m);
    fnn_pace pace;
    next_network(&pace);
    (void)loss_for(&pace, &m, &j, 0.1);
    const double loss = loss_for(&pace, &m, &j, 1.0);
    sum += loss;
    worst = fmax(worst, loss);
    CHECK(loss < 0.2, "%d: %g more on %d cores of %d, %d busy, %g multiply-adds: %d", i,
          loss, m.cores, m.per_core, m.busy, j.work,
          machine_pace_threads(&pace, j.work, 1, j.most, machine_clock));
  }
  CHECK(sum / 1000 < 0.05, "%g more than the best count on the average", sum / 1000);
  figure("threads against the best count, mean loss", sum / 1000);
  figure("threads against the best count, worst loss", worst);
}

/* Other processes come and go. */
void test_pace_on_changing_machines(void) {
  double sum = 0.0;
  for (int i = 0; i < 200; i++) {
    machine m = random_machine();
    const job j = random_job(&m);
    fnn_pace pace;
    next_network(&pace);
    m.busy = 0;
    (void)loss_for(&pace, &m, &j, 1.0);
    for (int turn = 0; turn < 4; turn++) {
      m.busy = turn % 2 ? 0 : turn ? m.cores / 2 : m.cores > 1;
      (void)loss_for(&pace, &m, &j, 0.2);
      const double loss = loss_for(&pace, &m, &j, 1.0);
      sum += loss / 800;
      CHECK(loss < 0.3, "%d, %d: %g more on %d cores of %d, %g multiply-adds", i, turn,
            loss, m.cores, m.per_core, j.work);
    }
  }
  CHECK(sum < 0.05, "%g more than the best count on the average", sum);
}

/* With more threads allowed nothing becomes slower, but for a wrong turn now and then. */
void test_pace_with_more_threads(void) {
  double sum = 0.0, worst = 0.0;
  for (int i = 0; i < 200; i++) {
    machine m = random_machine();
    job j = random_job(&m);
    m.busy = 0;
    double least = INFINITY;
    for (j.most = 1; j.most <= 16; j.most *= 2) {
      fnn_pace pace;
      next_network(&pace);
      (void)loss_for(&pace, &m, &j, 0.1);
      const double time = (1.0 + loss_for(&pace, &m, &j, 0.5)) * best_seconds(&m, &j);
      const double rise = fmax(0.0, time / least - 1.0);
      sum += rise;
      worst = fmax(worst, rise);
      CHECK(rise < 0.2, "%d: %g more with %d on %d cores of %d, %g multiply-adds", i,
            rise, j.most, m.cores, m.per_core, j.work);
      least = fmin(least, time);
    }
  }
  CHECK(sum / 1000 < 0.01, "%g more on the average", sum / 1000);
  figure("time with more threads allowed, worst rise", worst);
}
