#include "base/clock.h"

#if defined(_WIN32)
/* Not in the header: windows.h defines `near`, `far` and others. */
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

double fnn_now(void) {
  LARGE_INTEGER ticks, a_second;
  QueryPerformanceCounter(&ticks);
  QueryPerformanceFrequency(&a_second);
  return (double)ticks.QuadPart / (double)a_second.QuadPart;
}
#endif
