/* The only place that allocates. */
#ifndef FNN_MEMORY_H
#define FNN_MEMORY_H

#include <stddef.h>

enum { FNN_ALIGNMENT = 64 };

/* count * size zeroed bytes aligned to a cache line; NULL when there is no memory or
 * the product overflows. */
void *fnn_alloc(size_t count, size_t size);
void fnn_free(void *memory);

/* A block that is kept for the next caller, so that a short call need not get its
 * memory from the system, page by page.  Callers at the same time get blocks of their
 * own.  Its contents are left over, not zero. */
enum { FNN_LARGEST_SPARE = 16 * 1024 * 1024 }; /* larger ones are not kept */
typedef struct fnn_spare {
  _Atomic(void *) block;
} fnn_spare;
void *fnn_spare_take(fnn_spare *spare, size_t bytes);
void fnn_spare_give(fnn_spare *spare, void *memory);

/* A counter that a test can set; fnn_fault_now returns 1 if the event that it counts is
 * to fail. */
typedef struct fnn_fault {
  long countdown; /* 0: never */
  int forever;
} fnn_fault;
int fnn_fault_now(fnn_fault *fault);

#endif
