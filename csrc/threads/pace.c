/* See pace.h. */
#include "threads/pace.h"

#include <math.h>

#include "threads/threads.h"

/* A window is long enough to wake the team and to average over what happens in
 * microseconds; a trial that showed nothing new doubles the time to the next, up to the
 * longest; and the time that trials lose is a few percent at most, but for the first. */
static const double window = 3e-3, segment = 10e-3;
static const double shortest = 20e-3, longest = 0.1, most_lost = 0.05,
                    first_lost = 0.25;
/* No thread is slower than this: what takes longer is the fault of threads that wait. */
static const double least_rate = 4e9;
/* Less than this begins alone: nothing is lost if it stays the only one of its kind. */
static const double work_for_team = 2e6;
/* Fewer threads are rarely tried with what would take them longer than this and longer
 * than those in use, and not at all while their rate is unknown: nobody wants to wait for
 * an answer that is known. */
static const double longest_trial = 50e-3;
/* A team that gains less than this over one thread is left asleep, and of two teams the
 * one in use is kept. */
static const double worth = 1.05, worth_change = 1.02;
/* What is known is forgotten where a count has become faster than it was by this, and
 * where others were thought to be faster like one that is not; by and by it is doubted. */
static const double changed = 1.25, aging = 1.02;

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

/* 1 to 16, 18, 20, ... 32, 36, 40, ... 64, 72, ... */
static int count_of(int way) {
  const int n = way + 1;
  return n < FNN_OCTAVE ? n : (FNN_OCTAVE + n % FNN_OCTAVE) << (n / FNN_OCTAVE - 1);
}

/* The last is that of all threads, whatever their number. */
static int last_way(const fnn_pace *pace) {
  int way = 0;
  while (way < FNN_COUNTS - 1 && count_of(way) < pace->threads) way++;
  return way;
}

static int threads_of(const fnn_pace *pace, int way) {
  const int count = count_of(way);
  return count < pace->threads ? count : pace->threads;
}

int fnn_pace_threads(fnn_pace *pace, double multiply_adds, int likely, int most,
                     double now) {
  if (!pace->begun && !remember(pace, multiply_adds, most, now)) {
    *pace =
        (fnn_pace){.begun = 1, .kind = multiply_adds, .went = -1, .interval = window};
    pace->threads = most;
    while (multiply_adds >= work_for_team && threads_of(pace, pace->way) < likely)
      pace->way++;
    pace->trial = pace->way;
  }
  if (most != pace->threads) { /* the limit was changed: other counts */
    pace->rate[last_way(pace)] = 0.0;
    pace->threads = most;
    const int last = last_way(pace);
    pace->rate[last] = 0.0;
    if (pace->way > last) pace->way = last;
    if (pace->trial > last) pace->trial = pace->way;
  }
  return threads_of(pace, pace->trial);
}

double fnn_pace_seconds(const fnn_pace *pace) {
  return pace->trial != pace->way || pace->interval < segment ? window : segment;
}

/* Whether way a is to be used although b is in use. */
static int is_better(const fnn_pace *pace, int a, int b) {
  const double *rate = pace->rate;
  if (b == 0) return rate[a] > worth * rate[b];
  if (a == 0) return rate[b] <= worth * rate[a];
  return rate[a] > worth_change * rate[b];
}

/* Half or twice the count, or half-way to a count nearer that is known; the way in use if
 * there is none. */
static int next_way(const fnn_pace *pace, int direction) {
  const int way = pace->way, last = last_way(pace);
  const int up = way < FNN_OCTAVE ? way + 1 : FNN_OCTAVE;
  const int down = way < 2 * FNN_OCTAVE ? (way + 1) / 2 : FNN_OCTAVE;
  int far = direction > 0 ? way + up : way - down;
  if (far > last) far = last;
  for (int near = way + direction; direction * (far - near) > 0; near += direction)
    if (pace->rate[near] > 0.0) far = near;
  if (pace->rate[far] == 0.0 || far == way) return far;
  return way + (far - way + direction) / 2;
}

/* Whether nothing is known of a way that may be faster than the one in use: as many times
 * as fast as one thread, or as the count below it that is known, as it has threads.  While
 * nothing is known of one thread, a quarter of those in use may be. */
static int is_open(const fnn_pace *pace, int way) {
  if (way < 0 || way > last_way(pace) || pace->rate[way] > 0.0) return 0;
  int known = way > pace->way ? way - 1 : 0;
  while (known > 0 && pace->rate[known] == 0.0) known--;
  if (pace->rate[known] == 0.0) return way >= pace->way - 2 * FNN_OCTAVE;
  const double each = pace->rate[known] / threads_of(pace, known);
  return each * threads_of(pace, way) > worth * pace->rate[pace->way];
}

/* What a trial takes: a window, or a piece if that is longer.  Of fewer threads whose rate
 * is unknown it is the most that it can be, if each is as fast as one of a team. */
static double trial_seconds(const fnn_pace *pace, int way) {
  const double in_use = pace->rate[pace->way], known = pace->rate[way];
  const double least = fmax(pace->peak * threads_of(pace, way), least_rate);
  const double rate = known > 0.0 ? known : way > pace->way ? in_use : least;
  return fmax(window, pace->kind / rate);
}

/* What to try next: a way that was faster than the one in use is now; one thread, which
 * tells what more can reach at best; an open way; one known, in the direction that was
 * not tried last. */
static int candidate(const fnn_pace *pace) {
  const double *rate = pace->rate;
  const int in_use = pace->way;
  int best = in_use;
  for (int way = 0; way < FNN_COUNTS; way++)
    if (rate[way] > rate[best]) best = way;
  if (rate[best] > worth * rate[in_use]) return best;
  if (rate[0] == 0.0 && trial_seconds(pace, 0) <= 4.0 * window) return 0;
  const int turn = next_way(pace, -pace->went), on = next_way(pace, pace->went);
  if (is_open(pace, turn)) return turn;
  if (is_open(pace, on)) return on;
  for (int away = 1; away < FNN_COUNTS; away++) {
    if (is_open(pace, in_use - away)) return in_use - away;
    if (is_open(pace, in_use + away)) return in_use + away;
  }
  const int nearest = in_use - pace->went;
  return nearest < 0 || nearest > last_way(pace) ? in_use + pace->went : nearest;
}

/* `before`: the rate that was known of the way that was tried, or 0. */
static void end_trial(fnn_pace *pace, double before) {
  const int way = pace->way, trial = pace->trial;
  const double rate = pace->rate[trial];
  /* With pieces that did not count. */
  const double spent = pace->busy - pace->last;
  const double lost = spent * (1.0 - rate / pace->rate[way]);
  const int better = is_better(pace, trial, way);
  /* Ways that are equal are tried often, it costs nothing: the system may have put both
   * threads on one core, or their CPUs, and may take them apart again soon. */
  const int again = !better && lost > most_lost * spent;
  double next = again ? 2.0 * pace->interval : shortest;
  const int settled = pace->rate[candidate(pace)] > 0.0;
  for (int other = 0; other < FNN_COUNTS; other++) {
    if (other == way || other == trial) continue;
    if (settled) pace->rate[other] *= aging;
    const int doubted = before > pace->rate[way] && pace->rate[other] > pace->rate[way];
    if (before > 0.0 && (rate > changed * before || (doubted && !better)))
      pace->rate[other] = 0.0;
  }
  pace->went = trial > way ? 1 : -1;
  if (better) {
    pace->way = trial;
    pace->went = -pace->went; /* further on in this direction */
  }
  const int unknown = pace->rate[candidate(pace)] == 0.0;
  if (unknown) next = window;
  /* Where a process was stopped for minutes, the next trial is not hours away. */
  pace->interval =
      fmax(fmin(next, longest),
           fmin(lost / (unknown ? first_lost : most_lost), 64.0 * pace->interval));
  pace->trial = pace->way;
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
  const int way = pace->trial, trying = way != pace->way;
  const double done = pace->work, spent = pace->seconds;
  const double rate = done / spent, before = pace->rate[way];
  /* One window in which something else happened does not decide. */
  pace->rate[way] = trying || before == 0.0 ? rate : 0.5 * (rate + before);
  pace->work = pace->seconds = 0.0;
  if (way) pace->peak = fmax(pace->peak, pace->rate[way] / threads_of(pace, way));
  if (trying) {
    end_trial(pace, before);
    return;
  }
  int next = candidate(pace);
  const double piece = pace->kind / rate;
  if (next < way && trial_seconds(pace, next) > fmax(longest_trial, piece)) {
    next = way - 1;
    if (pace->rate[next] == 0.0 && trial_seconds(pace, next) > 1.5 * piece) return;
  }
  if (next == way) return;
  const double other = trial_seconds(pace, next);
  double interval = pace->interval;
  if (next < way && other > longest_trial) interval = fmax(interval, other / most_lost);
  if (pace->rate[next] == 0.0) interval = fmax(interval, 2.0 * other);
  /* A way that has become slower than the other was is worth a trial early. */
  else if (pace->rate[next] > worth * pace->rate[way])
    interval = fmin(interval, 4.0 * window);
  if (pace->busy - pace->last < interval) return;
  pace->trial = next;
  pace->last = pace->busy;
}

void fnn_pace_add(fnn_pace *pace, double multiply_adds, double seconds, double now) {
  add(pace, multiply_adds, seconds, now);
  memorise(pace);
}
