/* See pace.h. */
#include "pace.h"

#include <math.h>
#include <string.h>

#include "threads.h"

/* A window is long enough to wake the team and to average over what happens in
 * microseconds; the shortest interval makes trials cost a few percent at most, the
 * longest is how late a change on the machine may be noticed. */
static const double window = 3e-3, segment = 10e-3;
static const double shortest = 20e-3, longest = 0.1, windows_between = 20.0;
/* No thread is slower than this: what takes longer is the fault of threads that wait. */
static const double least_rate = 4e9;
/* Less than this begins alone: nothing is lost if it stays the only one of its kind. */
static const double work_for_team = 2e6;
/* A thread alone is not tried with what would take it longer than this and longer than the
 * team: nobody wants to wait for an answer that is known. */
static const double longest_trial = 50e-3;
/* A team that gains less than this is left asleep. */
static const double worth = 1.05;

/* Networks that are new while the team is no good start without it. */
static _Atomic double trouble_until;

fnn_pace *fnn_pace_take(fnn_paces *paces, double multiply_adds) {
  /* What a thread had taken when its process forked is free in the child. */
  const unsigned process = fnn_process();
  unsigned owner = atomic_load(&paces->taken);
  if (owner == process ||
      !atomic_compare_exchange_strong(&paces->taken, &owner, process))
    return NULL;
  const int size = (ilogb(fmax(multiply_adds, 1.0)) - 10) / 2;
  return &paces->of[size < 0 ? 0 : size >= FNN_PACES ? FNN_PACES - 1 : size];
}

void fnn_pace_give(fnn_paces *paces) { atomic_store(&paces->taken, 0); }

int fnn_pace_team(fnn_pace *pace, double multiply_adds, int threads, double now) {
  if (!pace->begun) {
    const int trouble = now < atomic_load(&trouble_until);
    *pace = (fnn_pace){.begun = 1,
                       .team = multiply_adds >= work_for_team && !trouble,
                       .interval = trouble ? shortest : window};
  }
  pace->threads = threads;
  return pace->team != pace->trial;
}

double fnn_pace_seconds(const fnn_pace *pace) { return pace->trial ? window : segment; }

static void end_trial(fnn_pace *pace, double spent, double now) {
  const int better = pace->rate[1] > worth * pace->rate[0];
  const double next = better == pace->team ? 2.0 * pace->interval : shortest;
  pace->interval = fmax(fmin(next, longest), windows_between * spent);
  pace->team = better;
  if (!better) atomic_store(&trouble_until, now + 2.0 * pace->interval);
  pace->trial = 0;
  pace->last = pace->busy;
}

void fnn_pace_add(fnn_pace *pace, double multiply_adds, double seconds, double now) {
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
    end_trial(pace, spent, now);
    return;
  }
  if (way) pace->peak = fmax(pace->peak, pace->rate[1]);
  /* What the other way would have taken: of one that is unknown, the most it can be. */
  double other = spent;
  if (way && pace->rate[0] > 0.0) other = done / pace->rate[0];
  else if (way) other = fmin(done * pace->threads / pace->peak, done / least_rate);
  if (way && other > longest_trial && other > spent) return;
  /* The first trial of a way may cost a part of what was spent so far, others a few percent.
   * A way that has become slower than the other was is worth one early. */
  const double times = pace->rate[!way] == 0.0 ? 2.0 : windows_between;
  const int slower = worth * pace->rate[way] < pace->rate[!way];
  const double interval =
      fmax(pace->interval, times * fmax(other, fmin(spent, done / least_rate)));
  pace->trial =
      pace->busy - pace->last >= (slower ? fmin(interval, 4.0 * window) : interval);
}
