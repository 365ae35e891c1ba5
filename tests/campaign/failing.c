/* Makes the n-th system call or allocation of a process fail: loaded by LD_PRELOAD, and
   steered by campaign_fail. Only calls of the thread that armed it count. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define VISIBLE __attribute__((visibility("default")))

static struct {
  const char *name;     /* of the function that fails, or "any" call about files */
  long left;            /* calls until it does */
  int error, forever;   /* its errno; whether all later ones fail as well */
  uintptr_t begin, end; /* only calls from this code, if not 0 */
} plan;
static _Thread_local int armed;

VISIBLE void campaign_fail(const char *name, long n, int error, int forever,
                           uintptr_t begin, uintptr_t end) {
  static char copy[32];
  strncpy(copy, name, sizeof copy - 1);
  plan.name = copy;
  plan.error = error;
  plan.forever = forever;
  plan.begin = begin;
  plan.end = end;
  plan.left = n;
  armed = n > 0;
}

/* How many calls are left; 0 or less: it has failed. */
VISIBLE long campaign_left(void) { return plan.left; }

static int fails(const char *name, int is_of_files, const void *caller) {
  if (!armed) return 0;
  if (strcmp(name, plan.name) != 0 && !(is_of_files && strcmp(plan.name, "any") == 0))
    return 0;
  uintptr_t from = (uintptr_t)caller;
  if (plan.begin && (from < plan.begin || from >= plan.end)) return 0;
  plan.left--;
  if (plan.left > 0 || (plan.left < 0 && !plan.forever)) return 0;
  errno = plan.error;
  return 1;
}

#define CALLER __builtin_return_address(0)
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAILING(type, failed, is_of_files, name, parameters, arguments) \
  VISIBLE type name parameters {                                        \
    static type(*next) parameters;                                      \
    if (!next) next = NEXT(name);                                       \
    return fails(#name, is_of_files, CALLER) ? failed : next arguments; \
  }

FAILING(ssize_t, -1, 1, write, (int fd, const void *data, size_t n), (fd, data, n))
FAILING(ssize_t, -1, 1, read, (int fd, void *data, size_t n), (fd, data, n))
FAILING(int, -1, 1, fsync, (int fd), (fd))
FAILING(int, -1, 1, rename, (const char *from, const char *to), (from, to))
FAILING(int, -1, 1, unlink, (const char *path), (path))
FAILING(int, -1, 1, fchmod, (int fd, mode_t mode), (fd, mode))
FAILING(int, -1, 1, flock, (int fd, int operation), (fd, operation))
FAILING(int, -1, 1, stat, (const char *path, struct stat *found), (path, found))
FAILING(int, -1, 1, fstat, (int fd, struct stat *found), (fd, found))
FAILING(int, EAGAIN, 0, pthread_create,
        (pthread_t * thread, const pthread_attr_t *how, void *(*run)(void *),
         void *its),
        (thread, how, run, its))

VISIBLE int open(const char *path, int flags, ...) {
  static int (*next)(const char *, int, ...);
  if (!next) next = NEXT(open);
  va_list more;
  va_start(more, flags);
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
  va_end(more);
  return fails("open", 1, CALLER) ? -1 : next(path, flags, mode);
}

VISIBLE int open64(const char *path, int flags, ...) {
  static int (*next)(const char *, int, ...);
  if (!next) next = NEXT(open64);
  va_list more;
  va_start(more, flags);
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
  va_end(more);
  return fails("open", 1, CALLER) ? -1 : next(path, flags, mode);
}

/* dlsym may call calloc, so these ask glibc itself. */
extern void *__libc_memalign(size_t align, size_t n);
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *block, size_t n);

VISIBLE void *malloc(size_t n) {
  return fails("memory", 0, CALLER) ? NULL : __libc_malloc(n);
}

VISIBLE void *calloc(size_t n, size_t size) {
  return fails("memory", 0, CALLER) ? NULL : __libc_calloc(n, size);
}

VISIBLE void *realloc(void *block, size_t n) {
  return fails("memory", 0, CALLER) ? NULL : __libc_realloc(block, n);
}

VISIBLE void *aligned_alloc(size_t align, size_t n) {
  return fails("memory", 0, CALLER) ? NULL : __libc_memalign(align, n);
}
