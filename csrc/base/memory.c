#include "base/memory.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fastnn.h"

static fnn_fault allocation_fault;

void fnn_fail_allocation(long n, int forever) {
  allocation_fault = (fnn_fault){n, forever};
}

int fnn_fault_now(fnn_fault *fault) {
  if (fault->countdown == 0) return 0;
  if (fault->countdown > 1) {
    fault->countdown--;
    return 0;
  }
  if (!fault->forever) fault->countdown = 0;
  return 1;
}

/* From here on memory is zeroed by the system, page by page as it is first used: a Ctrl-C
 * does not wait for all of it (it took 0.5 s a GB and more). */
#if defined(_WIN32) /* all, as there is no aligned_alloc whose memory free() takes */
static const size_t large = 0;
#define aligned_alloc(alignment, bytes) NULL
#else
static const size_t large = (size_t)64 * 1024 * 1024;
#endif

/* `bytes` and a line in front of them, where the base is that is to be freed. */
void *fnn_alloc(size_t count, size_t size) {
  enum { LINE = FNN_ALIGNMENT };
  if (fnn_fault_now(&allocation_fault)) return NULL;
  if (size && count > (SIZE_MAX / 2 - 3 * LINE) / size) return NULL;
  /* aligned_alloc wants a multiple of the alignment; never zero bytes. */
  const size_t bytes = (count * size + LINE) / LINE * LINE;
  /* Large pages (madvise) for large blocks gained nothing, once operands were packed. */
  const int is_large = bytes >= large;
  char *base =
      is_large ? calloc(1, bytes + 2 * LINE) : aligned_alloc(LINE, LINE + bytes);
  if (!base) return NULL;
  char *memory = base + 2 * LINE - (uintptr_t)base % LINE;
  if (!is_large) memory = memset(base + LINE, 0, bytes);
  ((void **)(void *)memory)[-1] = base;
  return memory;
}

void fnn_free(void *memory) {
  if (memory) free(((void **)memory)[-1]);
}

/* In front of the memory of a spare, on a line of its own. */
typedef struct capacity {
  _Alignas(FNN_ALIGNMENT) size_t bytes;
} capacity;

void *fnn_spare_take(fnn_spare *spare, size_t bytes) {
  capacity *block = atomic_exchange(&spare->block, NULL);
  if (!block || block->bytes < bytes) {
    fnn_free(block);
    if (bytes > SIZE_MAX - sizeof *block) return NULL;
    block = fnn_alloc(1, sizeof *block + bytes);
    if (!block) return NULL;
    block->bytes = bytes;
  }
  return block + 1;
}

void fnn_spare_give(fnn_spare *spare, void *memory) {
  capacity *block = (capacity *)memory - 1;
  if (block->bytes > FNN_LARGEST_SPARE) fnn_free(block);
  else fnn_free(atomic_exchange(&spare->block, block));
}
