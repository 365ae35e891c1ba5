/* Optimizer steps on vectors: the new weight from weight, gradient and state.
 *
 * To add one: a name in fnn_optimizer_kind (fastnn.h), a case in KERNEL(step), its
 * constants in fnn_update_begin (update.c), and its twin in fastnn/reference.py.
 *
 *   SGD       w -= lr g
 *   momentum  v := mu v + g;  w -= lr v
 *   Nesterov  v := mu v + g;  w -= lr (g + mu v)
 *   Adam      m := b1 m + (1 - b1) g;  v := b2 v + (1 - b2) g^2
 *             w := keep w - rate m / (sqrt(v) root_scale + eps) */

typedef struct KERNEL(constants) {
  vec rate, momentum, beta_1, rest_1, beta_2, rest_2, root_scale, epsilon, keep;
} KERNEL(constants);

FNN_INLINE KERNEL(constants) KERNEL(splat)(const fnn_update *u) {
  const KERNEL(constants) c = {
      .rate = v_set1((real)u->rate),
      .momentum = v_set1((real)u->momentum),
      .beta_1 = v_set1((real)u->beta_1),
      .rest_1 = v_set1((real)(1.0 - u->beta_1)),
      .beta_2 = v_set1((real)u->beta_2),
      .rest_2 = v_set1((real)(1.0 - u->beta_2)),
      .root_scale = v_set1((real)u->root_scale),
      .epsilon = v_set1((real)u->epsilon),
      .keep = v_set1((real)u->keep),
  };
  return c;
}

FNN_INLINE vec KERNEL(step)(const fnn_optimizer_kind kind, const KERNEL(constants) * c,
                            vec w, vec g, real *s0, real *s1) {
  switch (kind) {
    case FNN_SGD: return v_fnma(c->rate, g, w);
    case FNN_MOMENTUM: {
      const vec velocity = v_fma(c->momentum, v_load(s0), g);
      v_store(s0, velocity);
      return v_fnma(c->rate, velocity, w);
    }
    case FNN_NESTEROV: {
      const vec velocity = v_fma(c->momentum, v_load(s0), g);
      v_store(s0, velocity);
      return v_fnma(c->rate, v_fma(c->momentum, velocity, g), w);
    }
    case FNN_ADAM: {
      const vec first = v_fma(c->beta_1, v_load(s0), v_mul(c->rest_1, g));
      const vec second = v_fma(c->beta_2, v_load(s1), v_mul(c->rest_2, v_mul(g, g)));
      v_store(s0, first);
      v_store(s1, second);
      const vec root = v_fma(v_sqrt(second), c->root_scale, c->epsilon);
      return v_fnma(c->rate, v_div(first, root), v_mul(c->keep, w));
    }
  }
  return w;
}

/* `rows` runs of `width` values, `stride` apart in w and the state, NR apart in g. */
FNN_INLINE void KERNEL(update_runs)(const fnn_optimizer_kind kind, const fnn_update *u,
                                    real *w, const real *g, real *s0, real *s1,
                                    size_t rows, size_t width) {
  const KERNEL(constants) c = KERNEL(splat)(u);
  for (size_t i = 0; i < rows; i++)
    for (size_t j = i * NR; j < i * NR + width; j += VL)
      v_store(w + j,
              KERNEL(step)(kind, &c, v_load(w + j), v_load(g + j), s0 + j, s1 + j));
}

/* A panel's rows: rows x NR values of which the first `width` (whole vectors) count. */
static void KERNEL(update_rows)(const fnn_update *u, real *w, const real *g, real *s0,
                                real *s1, size_t rows, size_t width) {
  switch (u->kind) {
    case FNN_SGD: KERNEL(update_runs)(FNN_SGD, u, w, g, s0, s1, rows, width); break;
    case FNN_MOMENTUM:
      KERNEL(update_runs)(FNN_MOMENTUM, u, w, g, s0, s1, rows, width);
      break;
    case FNN_NESTEROV:
      KERNEL(update_runs)(FNN_NESTEROV, u, w, g, s0, s1, rows, width);
      break;
    case FNN_ADAM: KERNEL(update_runs)(FNN_ADAM, u, w, g, s0, s1, rows, width); break;
  }
}

static void KERNEL(update)(const fnn_update *u, void *w, const void *g, void *s0,
                           void *s1, size_t count) {
  /* State that the optimizer does not have is never touched: w stands in for it. */
  real *weight = w, *state[2] = {s0 ? s0 : w, s1 ? s1 : w};
  const real *gradient = g;
  const size_t whole = count / NR * NR, rest = count - whole;
  KERNEL(update_rows)(u, weight, gradient, state[0], state[1], whole / NR, NR);
  if (!rest) return;
  real tail[4][NR] = {{0}};
  memcpy(tail[0], weight + whole, rest * sizeof(real));
  memcpy(tail[1], gradient + whole, rest * sizeof(real));
  memcpy(tail[2], state[0] + whole, rest * sizeof(real));
  memcpy(tail[3], state[1] + whole, rest * sizeof(real));
  KERNEL(update_rows)(u, tail[0], tail[1], tail[2], tail[3], 1, NR);
  if (s0) memcpy(state[0] + whole, tail[2], rest * sizeof(real));
  if (s1) memcpy(state[1] + whole, tail[3], rest * sizeof(real));
  memcpy(weight + whole, tail[0], rest * sizeof(real));
}
