/* The kernels that measure the roofs of a roofline: multiply-adds on registers only,
 * and arrays read and copied.  Included by kernels.inc.h. */

/* Chains of dependent multiply-adds: more than latency times throughput on every CPU
 * known (4 cycles times 4 a cycle), and few enough for the registers. */
enum { KERNEL(chains) = 2 * MR > 12 ? 2 * MR : 12 };

static double KERNEL(multiply_adds)(size_t steps) {
  const vec a = v_set1((real)0.5), b = v_set1((real)1);
  vec acc[KERNEL(chains)];
  /* Different values: equal chains would be worked out once. */
#pragma GCC unroll 32
  for (int i = 0; i < KERNEL(chains); i++) acc[i] = v_set1((real)i);
  for (size_t s = 0; s < steps; s++) {
#pragma GCC unroll 32
    for (int i = 0; i < KERNEL(chains); i++) acc[i] = v_fma(a, acc[i], b);
  }
  double sum = 0.0;
  for (int i = 0; i < KERNEL(chains); i++) {
    real lanes[VL];
    v_store(lanes, acc[i]);
    for (size_t j = 0; j < VL; j++) sum += (double)lanes[j];
  }
  return sum;
}

static double KERNEL(read)(const void *from, size_t blocks) {
  enum { SUMS = 8 };
  const real *x = from;
  vec sum[SUMS];
#pragma GCC unroll 8
  for (size_t i = 0; i < SUMS; i++) sum[i] = v_zero();
  for (const real *end = x + blocks * (FNN_BLOCK / sizeof(real)); x < end;
       x += SUMS * VL) {
#pragma GCC unroll 8
    for (size_t i = 0; i < SUMS; i++) sum[i] = v_add(sum[i], v_load(x + i * VL));
  }
  for (size_t i = 1; i < SUMS; i++) sum[0] = v_add(sum[0], sum[i]);
  return KERNEL(sum_lanes)(sum[0]);
}

/* Scaled, because a compiler would turn a mere copy into a call of memcpy, which goes
 * past the caches as no kernel of the engine does. */
static void KERNEL(copy)(const void *from, void *to, size_t blocks, double scale) {
  enum { VECTORS = 4 };
  const real *x = from;
  real *y = to;
  const vec factor = v_set1((real)scale);
  for (const real *end = x + blocks * (FNN_BLOCK / sizeof(real)); x < end;
       x += VECTORS * VL, y += VECTORS * VL) {
#pragma GCC unroll 4
    for (size_t i = 0; i < VECTORS; i++)
      v_store(y + i * VL, v_mul(factor, v_load(x + i * VL)));
  }
}
