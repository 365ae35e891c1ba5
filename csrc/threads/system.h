/* What the system has of threads: POSIX's, or those of Windows.  Only threads.c knows. */
#ifndef FNN_SYSTEM_H
#define FNN_SYSTEM_H

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <process.h>
#include <windows.h>

typedef SRWLOCK fnn_lock;
typedef CONDITION_VARIABLE fnn_condition;
typedef INIT_ONCE fnn_once;
#define FNN_ONCE INIT_ONCE_STATIC_INIT

static inline void fnn_lock_init(fnn_lock *lock) { InitializeSRWLock(lock); }
static inline void fnn_lock_take(fnn_lock *lock) { AcquireSRWLockExclusive(lock); }
static inline int fnn_lock_try(fnn_lock *lock) {
  return TryAcquireSRWLockExclusive(lock) != 0;
}
static inline void fnn_lock_give(fnn_lock *lock) { ReleaseSRWLockExclusive(lock); }

static inline void fnn_condition_init(fnn_condition *condition) {
  InitializeConditionVariable(condition);
}
static inline void fnn_condition_wait(fnn_condition *condition, fnn_lock *lock) {
  (void)SleepConditionVariableSRW(condition, lock, INFINITE, 0);
}
static inline void fnn_condition_wait_ms(fnn_condition *condition, fnn_lock *lock,
                                         unsigned milliseconds) {
  (void)SleepConditionVariableSRW(condition, lock, milliseconds, 0);
}
static inline void fnn_condition_wake_all(fnn_condition *condition) {
  WakeAllConditionVariable(condition);
}

static inline BOOL CALLBACK fnn_call_once(INIT_ONCE *once, void *argument,
                                          void **context) {
  (void)once;
  (void)context;
  (*(void (**)(void))argument)();
  return TRUE;
}
static inline void fnn_once_run(fnn_once *once, void (*function)(void)) {
  (void)InitOnceExecuteOnce(once, fnn_call_once, (void *)&function, NULL);
}

/* What a thread's function returns: 0. */
typedef unsigned fnn_thread_result;
/* Starts a thread that nobody waits for; 0 if the system refuses. */
static inline int fnn_thread_start(fnn_thread_result (*function)(void *),
                                   void *argument) {
  const uintptr_t thread = _beginthreadex(NULL, 0, function, argument, 0, NULL);
  return thread != 0 && CloseHandle((HANDLE)thread);
}

static inline void fnn_yield(void) { (void)SwitchToThread(); }
/* Windows has no forks. */
static inline void fnn_at_fork(void (*in_child)(void)) { (void)in_child; }

/* CPUs of this process, or `most` where nobody says. */
static inline int fnn_cpus_allowed(int most) {
  DWORD_PTR own, all;
  /* 0: its threads are in several groups of 64 CPUs. */
  if (GetProcessAffinityMask(GetCurrentProcess(), &own, &all) && own)
    return __builtin_popcountll(own);
  const DWORD count = GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
  return count && count < (DWORD)most ? (int)count : most;
}

/* Its scheduler is not helped, see threads.c. */
static inline void fnn_be_worker(void) {}
static inline int fnn_current_cpu(void) { return -1; }
static inline void fnn_leave_cpu(int cpu) { (void)cpu; }

#else
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "base/clock.h"

typedef pthread_mutex_t fnn_lock;
typedef pthread_cond_t fnn_condition;
typedef pthread_once_t fnn_once;
#define FNN_ONCE PTHREAD_ONCE_INIT

static inline void fnn_lock_init(fnn_lock *lock) { pthread_mutex_init(lock, NULL); }
static inline void fnn_lock_take(fnn_lock *lock) { pthread_mutex_lock(lock); }
static inline int fnn_lock_try(fnn_lock *lock) {
  return pthread_mutex_trylock(lock) == 0;
}
static inline void fnn_lock_give(fnn_lock *lock) { pthread_mutex_unlock(lock); }

static inline void fnn_condition_init(fnn_condition *condition) {
  pthread_cond_init(condition, NULL);
}
static inline void fnn_condition_wait(fnn_condition *condition, fnn_lock *lock) {
  pthread_cond_wait(condition, lock);
}
static inline void fnn_condition_wait_ms(fnn_condition *condition, fnn_lock *lock,
                                         unsigned milliseconds) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += 1000000 * (long)milliseconds;
  until.tv_sec += until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  (void)pthread_cond_timedwait(condition, lock, &until);
}
static inline void fnn_condition_wake_all(fnn_condition *condition) {
  pthread_cond_broadcast(condition);
}

static inline void fnn_once_run(fnn_once *once, void (*function)(void)) {
  pthread_once(once, function);
}

/* What a thread's function returns: 0. */
typedef void *fnn_thread_result;
/* Starts a thread that nobody waits for; 0 if the system refuses. */
static inline int fnn_thread_start(fnn_thread_result (*function)(void *),
                                   void *argument) {
  pthread_t thread;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  const int failed = pthread_create(&thread, &attributes, function, argument);
  pthread_attr_destroy(&attributes);
  return !failed;
}

static inline void fnn_yield(void) { sched_yield(); }
static inline void fnn_at_fork(void (*in_child)(void)) {
  pthread_atfork(NULL, NULL, in_child);
}

#if defined(__linux__)
/* CPUs of this process, or `most` where nobody says. */
static inline int fnn_cpus_allowed(int most) {
  cpu_set_t allowed;
  return sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed)
                                                             : most;
}

/* Of a loaded library, glibc allocates thread-local memory when a thread first touches it,
 * and ends the process if there is none.  These few bytes come with the thread. */
#define THREAD_LOCAL static _Thread_local __attribute__((tls_model("initial-exec")))
THREAD_LOCAL int fnn_is_worker;
THREAD_LOCAL double fnn_last_move;
#undef THREAD_LOCAL

static inline void fnn_be_worker(void) { fnn_is_worker = 1; }
static inline int fnn_current_cpu(void) { return sched_getcpu(); }

/* A worker that is on this CPU moves away, within those that it may use; these are the
 * same before and after. */
static inline void fnn_leave_cpu(int cpu) {
  static const double seconds_between_moves = 1e-3; /* one costs up to 60 us */
  cpu_set_t allowed, others;
  if (!fnn_is_worker || cpu < 0 || cpu >= CPU_SETSIZE || cpu != sched_getcpu()) return;
  const double now = fnn_now();
  if (now - fnn_last_move < seconds_between_moves) return;
  fnn_last_move = now;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  others = allowed;
  CPU_CLR((size_t)cpu, &others);
  if (CPU_COUNT(&others) == 0) return;
  /* Whoever sets the affinity of this thread between these calls is overruled. */
  if (sched_setaffinity(0, sizeof others, &others) == 0)
    (void)sched_setaffinity(0, sizeof allowed, &allowed);
}
#else
static inline int fnn_cpus_allowed(int most) { return most; }
static inline void fnn_be_worker(void) {}
static inline int fnn_current_cpu(void) { return -1; }
static inline void fnn_leave_cpu(int cpu) { (void)cpu; }
#endif
#endif

#endif
