/* Seconds of a clock that only goes forward. */
#ifndef FNN_CLOCK_H
#define FNN_CLOCK_H

#if defined(_WIN32)
double fnn_now(void);
#else
#include <time.h>

static inline double fnn_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
#endif

#endif
