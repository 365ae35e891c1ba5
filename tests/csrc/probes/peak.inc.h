/* peak.c for one dtype: DTYPE (f32), SCALAR (float), VECTOR (vf32). */
#define V(name) FNN_JOIN(FNN_JOIN(VECTOR, _), name)
#define TYPED(name) FNN_JOIN(FNN_JOIN(name, _), DTYPE)
#define TILE(name) FNN_JOIN(FNN_JOIN(TYPED(fnn_##name), __), ISA)

/* Seconds for `steps` FMAs in each chain. */
static double TYPED(peak_seconds)(size_t steps) {
  const double start = now();
  sink = TILE(kernels).multiply_adds(steps);
  return now() - start;
}

static double TYPED(tile_seconds)(size_t mr, size_t calls) {
  static SCALAR a[V(mr) * DEPTH], out[V(mr) * 2 * V(lanes)];
  static _Alignas(64) SCALAR b[DEPTH * 2 * V(lanes)];
  struct TILE(tile_args) t = {.depth = DEPTH,
                              .a = a,
                              .a_row = DEPTH,
                              .a_step = 1,
                              .b = b,
                              .b_step = 2 * V(lanes),
                              .out = out,
                              .out_row = 2 * V(lanes),
                              .magnitude = V(zero)()};
  const double start = now();
  for (size_t i = 0; i < calls; i++) TILE(tile_store)(mr, 2, &t);
  return now() - start;
}

/* Prints a line for each mr. */
static void TYPED(measure)(void) {
  for (size_t mr = 1; mr <= V(mr); mr++) {
    /* Some 100 microseconds a side: long for the clock, short for the time slice
     * of a neighbour. */
    const double step = 2.0 * (double)TILE(kernels).step_values;
    const double call = 2.0 * (double)mr * DEPTH * 2.0 * V(lanes);
    const size_t steps = (size_t)(1e7 / step), calls = (size_t)(1e7 / call) + 1;
    double peak[ROUNDS], tile[ROUNDS], share[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
      peak[round] = 1e-9 * step * (double)steps / TYPED(peak_seconds)(steps);
      tile[round] = 1e-9 * call * (double)calls / TYPED(tile_seconds)(mr, calls);
      share[round] = tile[round] / peak[round];
    }
    printf("%s %s mr %2zu peak %6.1f tile %6.1f GFLOP/s share %.3f\n",
           FNN_JOIN(fnn_kernels_f32__, ISA).isa, sizeof(SCALAR) == 4 ? "f32" : "f64",
           mr, median(peak), median(tile), median(share));
  }
}

#undef V
#undef TYPED
#undef TILE
