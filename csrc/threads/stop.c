#include "threads/stop.h"

#include <stddef.h>

#include "base/clock.h"
#include "fastnn.h"

/* Signals are looked for this often; work that takes less never waits for it. */
static const double seconds_between = 0.03;

static int (*check)(void);

static double times = 1.0;

void fnn_leave_early(double factor) { times = factor; }
double fnn_as_long(double multiply_adds) { return multiply_adds * times; }

void fnn_set_check(int (*function)(void)) { check = function; }

void fnn_stop_begin(fnn_stop *stop, double limit) {
  stop->state = fnn_flush_subnormals();
  fnn_restore_fpstate(stop->state);
  stop->next = fnn_now() + seconds_between;
  stop->limit = limit;
  stop->agreed = FNN_GO_ON;
  atomic_store(&stop->asked, FNN_GO_ON);
}

static int look(const fnn_stop *stop, double now) {
  if (stop->limit > 0.0 && now >= stop->limit) return FNN_TOO_LATE;
  if (!check) return FNN_GO_ON;
  /* What it runs is the caller's. */
  const fnn_fpstate own = fnn_flush_subnormals();
  fnn_restore_fpstate(stop->state);
  const int interrupt = check();
  fnn_restore_fpstate(own);
  return interrupt ? FNN_INTERRUPT : FNN_GO_ON;
}

int fnn_stop_asked(fnn_stop *stop, int is_caller) {
  if (!stop) return 0;
  if (is_caller && atomic_load(&stop->asked) == FNN_GO_ON) {
    const double now = fnn_now();
    if (now >= stop->next || times > 1.0) {
      atomic_store(&stop->asked, look(stop, now));
      stop->next = fnn_now() + seconds_between;
    }
  }
  return atomic_load_explicit(&stop->asked, memory_order_relaxed);
}
