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

void *fnn_alloc(size_t count, size_t size) {
  if (fnn_fault_now(&allocation_fault)) return NULL;
  if (size && count > (SIZE_MAX / 2 - FNN_ALIGNMENT) / size) return NULL;
  /* aligned_alloc wants a multiple of the alignment; never zero bytes. */
  const size_t bytes = (count * size + FNN_ALIGNMENT) / FNN_ALIGNMENT * FNN_ALIGNMENT;
  /* Large pages (madvise) for large blocks gained nothing, once operands were packed. */
  void *memory = aligned_alloc(FNN_ALIGNMENT, bytes);
  if (memory) memset(memory, 0, bytes);
  return memory;
}

void fnn_free(void *memory) { free(memory); }

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
