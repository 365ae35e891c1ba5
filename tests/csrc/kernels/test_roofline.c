/* The kernels that measure roofs do the work that is counted, on any number of
 * threads. */
#include <math.h>

#include "support/support.h"
#include "tests.h"

enum { BLOCKS = 11 };

void test_roofs(fnn_dtype dtype) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const size_t size = itemsize(dtype), per_block = FNN_BLOCK / size;
  for (int threads = 1; threads <= 3; threads++) {
    double work = 0.0;
    double seconds =
        fnn_measure_roof(FNN_MULTIPLY_ADD, dtype, threads, NULL, 0, 3, &work);
    const double flops = 3.0 * FNN_STEPS * 2.0 * (double)kernels->step_values;
    CHECK(seconds > 0.0 && work == threads * flops, "%g s, %g flops", seconds, work);

    guarded memory = guard(BLOCKS * per_block, size, 0);
    for (size_t i = 0; i < BLOCKS * per_block; i++)
      set_real(dtype, memory.data, i, (double)(i / per_block));
    seconds = fnn_measure_roof(FNN_READ, dtype, threads, memory.data,
                               BLOCKS * FNN_BLOCK, 2, &work);
    CHECK(seconds > 0.0 && work == 2.0 * BLOCKS * FNN_BLOCK, "%g bytes", work);

    const size_t copied = 10; /* of 11; of 6 and 5; of 4, 4 and 3: even shares */
    fnn_measure_roof(FNN_COPY, dtype, threads, memory.data, BLOCKS * FNN_BLOCK, 2,
                     &work);
    CHECK(work == 2.0 * (double)copied * FNN_BLOCK, "%g bytes", work);
    size_t changed = 0;
    for (size_t i = 0; i < BLOCKS * per_block; i++)
      changed += real_at(dtype, memory.data, i) != (double)(i / per_block);
    CHECK(changed == copied / 2 * per_block, "%zu values", changed);
    guard_release(&memory, "the memory of a roof");
  }
}

/* 0, 1, 2, ... in all chains go to 2, the fixed point of x / 2 + 1: each step halves
 * the distance, so the sum tells how many were done. */
void test_multiply_adds(fnn_dtype dtype) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const double lanes = (double)kernels->lanes;
  const double chains = (double)kernels->step_values / lanes;
  for (size_t steps = 0; steps <= 4; steps++) {
    const double start = chains * (chains - 1.0) / 2.0 - 2.0 * chains;
    const double expected = lanes * (2.0 * chains + ldexp(start, -(int)steps));
    const double sum = kernels->multiply_adds(steps);
    CHECK(fabs(sum - expected) < 1e-3, "%zu steps: %g, not %g", steps, sum, expected);
  }
}

void test_streams(fnn_dtype dtype) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  for (size_t blocks = 0; blocks <= 3; blocks++) {
    const size_t count = blocks * FNN_BLOCK / itemsize(dtype);
    guarded from = guard_zeros(dtype, count), to = guard_zeros(dtype, count);
    for (size_t i = 0; i < count; i++) set_real(dtype, from.data, i, (double)(i % 7));
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) sum += (double)(i % 7);
    const double read = kernels->read(from.data, blocks);
    CHECK(read == sum, "%zu blocks: %g, not %g", blocks, read, sum);
    kernels->copy(from.data, to.data, blocks, 3.0);
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++)
      wrong += real_at(dtype, to.data, i) != 3.0 * (double)(i % 7);
    CHECK(wrong == 0, "%zu blocks: %zu values", blocks, wrong);
    guard_release(&from, "what is read");
    guard_release(&to, "what is written");
  }
}
