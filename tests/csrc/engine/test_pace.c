/* How many threads are used, on a clock of the test's own: the real code under other
 * names. */
#define fnn_pace_take real_take
#define fnn_pace_give real_give
#define fnn_pace_threads real_threads
#define fnn_pace_seconds real_seconds
#define fnn_pace_add real_add
#include "threads/pace.c"

#include "support/network.h"
#include "support/support.h"
#include "tests.h"

static double clock_now = 1e6;

/* Pieces of one or two steps for `seconds` of the clock, when a step of `work` takes so
 * long alone and as a team; returns the time that a step took on the average. */
static double mean_time(fnn_pace *pace, double work, double alone, double team,
                        double seconds) {
  const double begin = clock_now, end = begin + seconds;
  double pieces = 0.0;
  while (clock_now < end) {
    const double time = real_threads(pace, work, 2, 2, clock_now) > 1 ? team : alone;
    const double steps = fmod(pieces, 3.0) < 1.0 ? 1.0 : 2.0;
    clock_now += steps * time;
    real_add(pace, steps * work, steps * time, clock_now);
    pieces += steps;
  }
  return (clock_now - begin) / pieces;
}

/* A pace that nothing is remembered for. */
static fnn_pace fresh(void) {
  clock_now += 10.0;
  return (fnn_pace){0};
}

void test_pace(void) {
  static const double alone[] = {10e-6, 100e-6, 1e-3, 20e-3, 200e-3};
  for (size_t i = 0; i < sizeof alone / sizeof *alone; i++) {
    const double best = alone[i], work = 40e9 * best,
                 seconds = fmax(20.0, 1000.0 * best);
    fnn_pace pace = fresh();
    double mean = mean_time(&pace, work, best, best / 2, seconds);
    CHECK(mean < 0.53 * best, "a good team: %g of the time", mean / best);
    mean = mean_time(&pace, work, best, 8 * best, seconds);
    CHECK(mean < 1.3 * best, "a team that has become slow, %g s alone: %g", best,
          mean / best);
    mean = mean_time(&pace, work, best, best / 2, seconds);
    CHECK(mean < 0.6 * best, "a team that is good again, %g s alone: %g", best,
          mean / best);
    pace = fresh();
    mean = mean_time(&pace, work, best, 1.0 * best, seconds);
    CHECK(mean < 1.01 * best && (!pace.way || best > longest_trial / 2),
          "a team that gains nothing: %g", mean / best);
    pace = fresh();
    mean = mean_time(&pace, work, best, best + 4e-3, seconds);
    CHECK(mean < 1.1 * best, "barriers that wait for another process: %g", mean / best);
    if (best > longest_trial / 2) continue; /* too long to be tried alone */
    fnn_pace next = {0};
    (void)real_threads(&next, work, 2, 2, clock_now);
    CHECK(next.begun && !next.way, "a new network did not learn from it, %g s", best);
    pace = fresh();
    mean = mean_time(&pace, work, best, best + 16e-3, 1.0);
    CHECK(mean < 1.2 * best || best > 10e-3, "a network that is new there, %g s: %g",
          best, mean / best);
  }
}

/* Networks that are gone before a window is over learn from each other. */
void test_pace_of_short_lives(void) {
  static const double slower[] = {0.5, 8.0};
  for (size_t i = 0; i < 2; i++) {
    const double alone = 70e-6, work = 40e9 * alone, team = slower[i] * alone;
    double sum = 0.0;
    clock_now += 10.0;
    for (int network = 0; network < 1000; network++) {
      fnn_pace pace = {0};
      sum += mean_time(&pace, work, alone, team, 1.4e-3) / 1000.0;
      clock_now += 0.4e-3;
    }
    CHECK(sum < 1.3 * fmin(alone, team), "a team of %g times the time: %g", slower[i],
          sum / fmin(alone, team));
  }
}

/* Work that comes in bursts is not spent on trials, and learns from them as well. */
void test_pace_of_bursts(void) {
  static const double alone[] = {100e-6, 500e-6, 3e-3, 30e-3};
  for (size_t i = 0; i < sizeof alone / sizeof *alone; i++) {
    const double best = alone[i], work = 40e9 * best;
    fnn_pace pace = fresh();
    double good = 0.0, bad = 0.0;
    for (int burst = 0; burst < 400; burst++) {
      const double team = burst < 200 ? best / 2 : 4 * best;
      double *sum = burst < 200 ? &good : &bad;
      *sum += mean_time(&pace, work, best, team, 10e-3) / 200.0;
      clock_now += 0.15;
    }
    CHECK(good < 0.56 * best, "a good team, %g s alone: %g", best, good / best);
    CHECK(bad < 1.3 * best, "a bad team, %g s alone: %g", best, bad / best);
  }
}

/* The effect of a minute's stop on a trial is forgotten in a second of work. */
void test_pace_of_a_stopped_process(void) {
  const double alone = 1e-3, team = 0.5e-3, work = 40e9 * alone;
  for (int trials_of_team = 0; trials_of_team < 2; trials_of_team++) {
    fnn_pace pace = fresh();
    (void)mean_time(&pace, work, alone, trials_of_team ? alone : team, 5.0);
    while (pace.trial == pace.way) (void)mean_time(&pace, work, alone, team, 1e-4);
    clock_now += 600.0;
    real_add(&pace, work, 600.0, clock_now);
    (void)mean_time(&pace, work, alone, team, 10.0);
    const double mean = mean_time(&pace, work, alone, team, 1.0);
    CHECK(mean < 0.55 * alone, "after a stop in a trial of the %s: %g",
          trials_of_team ? "team" : "thread", mean / alone);
  }
}

/* A pace learnt on some threads says nothing of others. */
void test_pace_of_other_threads(void) {
  const double work = 4e6;
  fnn_pace two = fresh(), many = {0}, again = {0};
  (void)mean_time(&two, work, 1e-4, 8e-4, 1.0);
  CHECK(!two.way, "a slow team of two is in use");
  CHECK(real_threads(&many, work, 64, 64, clock_now) == 64,
        "64 threads learnt from two");
  (void)real_threads(&again, work, 2, 2, clock_now);
  CHECK(!again.way && again.rate[0] > 0.0, "two threads did not");
}

/* Nobody waits long for fewer threads to show that they are slower than many: those that
 * are tried are not much fewer. */
void test_pace_of_many_threads(void) {
  static const int most[] = {8, 32, 64};
  for (size_t i = 0; i < sizeof most / sizeof *most; i++) {
    const double team = 0.1, each = 0.8 * most[i] * team, work = 20e9 * each;
    fnn_pace pace = fresh();
    double slowest = 0.0, begin = clock_now;
    for (int piece = 0; piece < 200; piece++) {
      const int threads = real_threads(&pace, work, most[i], most[i], clock_now);
      const double time = each / fmax(1.0, 0.8 * threads);
      clock_now += time;
      real_add(&pace, work, time, clock_now);
      slowest = fmax(slowest, time);
    }
    CHECK(clock_now - begin < 1.02 * 200 * team && slowest < 1.15 * team,
          "%d threads: %g s, the longest %g", most[i], clock_now - begin, slowest);
  }
}

static void nothing(void *argument, const fnn_worker *worker) {
  (void)argument;
  (void)worker;
}

static fnn_paces paces;
static int is_free_in_child(void *pace) {
  return real_take(&paces, 1e6) == pace && !real_take(&paces, 1e6);
}

void test_paces(void) {
  fnn_pace *pace = real_take(&paces, 1e6);
  CHECK(pace && !real_take(&paces, 1e6), "two callers have the team");
  /* Whoever has it may be a thread that a forked child does not have. */
  fnn_parallel(1, nothing, NULL);
  if (can_fork()) CHECK(in_child(is_free_in_child, pace), "not free in a child");
  real_give(&paces);
  CHECK(real_take(&paces, 1e9) != pace, "large and small work share a pace");
  real_give(&paces);
  static const double extremes[] = {0.0, 1.0, 1e300};
  for (size_t i = 0; i < 3; i++) {
    pace = real_take(&paces, extremes[i]);
    CHECK(pace >= paces.of && pace < paces.of + FNN_PACES, "%g", extremes[i]);
    real_give(&paces);
  }
}
