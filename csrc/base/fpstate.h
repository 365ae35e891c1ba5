/* Flush-to-zero: a subnormal operand costs over 100 cycles on many CPUs.  It is on
 * only while kernels run, and off before the caller's code goes on. */
#ifndef FNN_FPSTATE_H
#define FNN_FPSTATE_H

#include <stdint.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
typedef unsigned fnn_fpstate;
static inline fnn_fpstate fnn_flush_subnormals(void) {
  const unsigned before = _mm_getcsr();
  /* FTZ and DAZ on, all exceptions masked, to nearest: whatever the caller had set. */
  _mm_setcsr(0x1f80u | 0x8040u);
  return before;
}
static inline void fnn_restore_fpstate(fnn_fpstate before) { _mm_setcsr(before); }
#elif defined(__aarch64__)
typedef uint64_t fnn_fpstate;
static inline fnn_fpstate fnn_flush_subnormals(void) {
  uint64_t before;
  __asm__ volatile("mrs %0, fpcr" : "=r"(before));
  __asm__ volatile("msr fpcr, %0" : : "r"(UINT64_C(1) << 24));
  return before;
}
static inline void fnn_restore_fpstate(fnn_fpstate before) {
  __asm__ volatile("msr fpcr, %0" : : "r"(before));
}
#else
typedef int fnn_fpstate;
static inline fnn_fpstate fnn_flush_subnormals(void) { return 0; }
static inline void fnn_restore_fpstate(fnn_fpstate before) { (void)before; }
#endif

#endif
