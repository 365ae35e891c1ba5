/* See pace.h. */
#include "threads/pace.h"

#include <math.h>

#include "threads/threads.h"

/* A window is long enough to wake the team and to average over what happens in
 * microseconds; a trial that showed nothing new doubles the time to the next, up to the
 * longest; and the time that trials lose is a few percent at most, but for the first. */
static const double window = 3e-3, segment = 10e-3;
static const double shortest = 20e-3, longest = 0.1, most_lost = 0.05;
/* No thread is slower than this: what takes longer is the fault of threads that wait. */
static const double least_rate = 4e9;
/* Less than this begins alone: nothing is lost if it stays the only one of its kind. */
static const double work_for_team = 2e6;
/* A thread alone is rarely tried with what would take it longer than this and longer than
 * the team, and not at all while its rate is unknown: nobody wants to wait for an answer
 * that is known. */
static const double longest_trial = 50e-3;
/* A team that gains less than this is left asleep. */
static const double worth = 1.05;

/* The last that was learnt from work of just this size, in this process.  A network that is
 * new goes on from there: those of a grid search may be gone before a window is over. */
static struct memory {
  atomic_uint taken; /* as in fnn_paces */
  fnn_pace pace;
} memories[FNN_PACES];
static const double memory_lasts = 1.0;

static int size_class(double multiply_adds) {
  const int size = (ilogb(fmax(multiply_adds, 1.0)) - 10) / 2;
  return size < 0 ? 0 : size >= FNN_PACES ? FNN_PACES - 1 : size;
}

/* A pace that a thread had taken when its process forked is free in the child. */
static int take(atomic_uint *taken) {
  const unsigned process = fnn_process();
  unsigned owner = atomic_load(taken);
  return owner != process && atomic_compare_exchange_strong(taken, &owner, process);
}

static int remember(fnn_pace *pace, double multiply_adds, int threads, double now) {
  struct memory *m = &memories[size_class(multiply_adds)];
  if (!take(&m->taken)) return 0;
  const int found = m->pace.kind == multiply_adds && m->pace.threads == threads &&
                    now - m->pace.end < memory_lasts;
  if (found) *pace = m->pace;
  atomic_store(&m->taken, 0);
  return found;
}

static void memorise(const fnn_pace *pace) {
  struct memory *m = &memories[size_class(pace->kind)];
  if (!take(&m->taken)) return;
  m->pace = *pace;
  atomic_store(&m->taken, 0);
}

fnn_pace *fnn_pace_take(fnn_paces *paces, double multiply_adds) {
  return take(&paces->taken) ? &paces->of[size_class(multiply_adds)] : NULL;
}

void fnn_pace_give(fnn_paces *paces) { atomic_store(&paces->taken, 0); }

int fnn_pace_team(fnn_pace *pace, double multiply_adds, int threads, double now) {
  if (!pace->begun && !remember(pace, multiply_adds, threads, now)) {
    *pace = (fnn_pace){.begun = 1,
                       .kind = multiply_adds,
                       .team = multiply_adds >= work_for_team,
                       .interval = window};
  }
  pace->threads = threads;
  return pace->team != pace->trial;
}

double fnn_pace_seconds(const fnn_pace *pace) { return pace->trial ? window : segment; }

static void end_trial(fnn_pace *pace) {
  /* With pieces that did not count. */
  const double spent = pace->busy - pace->last;
  const double lost = spent * (1.0 - pace->rate[!pace->team] / pace->rate[pace->team]);
  const int better = pace->rate[1] > worth * pace->rate[0];
  /* Ways that are equal are tried often, it costs nothing: the system may have put both
   * threads on one core, or their CPUs, and may take them apart again soon. */
  const int again = better == pace->team && lost > most_lost * spent;
  const double next = again ? 2.0 * pace->interval : shortest;
  /* Where a process was stopped for minutes, the next trial is not hours away. */
  pace->interval =
      fmax(fmin(next, longest), fmin(lost / most_lost, 64.0 * pace->interval));
  pace->team = better;
  pace->trial = 0;
  pace->last = pace->busy;
}

static void add(fnn_pace *pace, double multiply_adds, double seconds, double now) {
  /* The first piece after a pause wakes the team, which says nothing of those that follow
   * at once; pieces that all have pauses between them count as they are. */
  const int rested = now - seconds - pace->end > 1e-3, first = rested && !pace->rested;
  pace->busy += seconds;
  pace->end = now;
  pace->rested = rested;
  if (first) return;
  pace->work += multiply_adds;
  pace->seconds += seconds;
  if (pace->seconds < window) return;
  const int way = pace->team != pace->trial;
  const double done = pace->work, spent = pace->seconds;
  const double rate = done / spent, before = pace->rate[way];
  /* One window in which something else happened does not decide. */
  pace->rate[way] = pace->trial || before == 0.0 ? rate : 0.5 * (rate + before);
  pace->work = pace->seconds = 0.0;
  if (pace->trial) {
    end_trial(pace);
    return;
  }
  if (way) pace->peak = fmax(pace->peak, pace->rate[1]);
  /* The time the other way would have taken: of one that is unknown, the most it can be. */
  double other = spent, interval = pace->interval;
  if (pace->rate[!way] > 0.0) other = done / pace->rate[!way];
  else if (way) other = fmin(done * pace->threads / pace->peak, done / least_rate);
  if (way && other > longest_trial && other > spent) {
    if (pace->rate[0] == 0.0) return;
    interval = fmax(interval, other / most_lost);
  }
  if (pace->rate[!way] == 0.0) interval = fmax(interval, 2.0 * other);
  /* A way that has become slower than the other was is worth a trial early. */
  else if (worth * other < spent) interval = fmin(interval, 4.0 * window);
  if (pace->busy - pace->last < interval) return;
  pace->trial = 1;
  pace->last = pace->busy;
}

void fnn_pace_add(fnn_pace *pace, double multiply_adds, double seconds, double now) {
  add(pace, multiply_adds, seconds, now);
  memorise(pace);
}
