/* Optimizer steps on vectors: the new weight from weight, gradient and state.
 *
 * To add one: a row in kinds.h, a case in KERNEL(rule), its constants in update.c and
 * the bound of its step in bounds.c.  First of all w := keep w (decoupled decay); then
 *
 *   SGD        w -= lr g
 *   momentum   v := mu v + g;  w -= lr v
 *   Nesterov   v := mu v + g;  w -= lr (g + mu v)
 *   RMSprop    s := b2 s + (1 - b2) g^2;  w -= lr g / (sqrt(s) + eps)
 *   AdaGrad    s := s + g^2;  w -= lr g / (sqrt(s) + eps)
 *   Adam       m := b1 m + (1 - b1) g;  s := b2 s + (1 - b2) g^2
 *              w -= rate m / (sqrt(s) root_scale + eps)
 *   NAdam      likewise, w -= (rate m + gradient_rate g) / (sqrt(s) root_scale + eps)
 *   Lion       w -= lr sign(b1 m + (1 - b1) g);  m := b2 m + (1 - b2) g */

typedef struct KERNEL(constants) {
  vec rate, gradient_rate, momentum, beta_1, rest_1, beta_2, rest_2, root_scale;
  vec epsilon, keep, clip, minus_clip, scale, l1, minus_l1, l2;
} KERNEL(constants);

FNN_INLINE KERNEL(constants) KERNEL(splat)(const fnn_update *u) {
  const KERNEL(constants) c = {
      .rate = v_set1((real)u->rate),
      .gradient_rate = v_set1((real)u->gradient_rate),
      .momentum = v_set1((real)u->momentum),
      .beta_1 = v_set1((real)u->beta_1),
      .rest_1 = v_set1((real)(1.0 - u->beta_1)),
      .beta_2 = v_set1((real)u->beta_2),
      .rest_2 = v_set1((real)(1.0 - u->beta_2)),
      .root_scale = v_set1((real)u->root_scale),
      .epsilon = v_set1((real)u->epsilon),
      .keep = v_set1((real)u->keep),
      .clip = v_set1((real)u->clip),
      .minus_clip = v_set1(-(real)u->clip),
      .scale = v_set1((real)u->scale),
      .l1 = v_set1((real)u->l1),
      .minus_l1 = v_set1(-(real)u->l1),
      .l2 = v_set1((real)u->l2),
  };
  return c;
}

/* `positive` where x > 0, `negative` where x < 0, else 0. */
FNN_INLINE vec KERNEL(by_sign)(vec x, vec positive, vec negative) {
  return v_where_less(v_zero(), x, positive,
                      v_where_less(x, v_zero(), negative, v_zero()));
}

/* The gradient of what is minimised, from that of the data; NaN stays NaN. */
FNN_INLINE vec KERNEL(condition)(const KERNEL(constants) * c, vec w, vec g) {
  g = v_where_less(c->clip, g, c->clip, g);
  g = v_where_less(g, c->minus_clip, c->minus_clip, g);
  g = v_mul(g, c->scale);
  g = v_add(g, KERNEL(by_sign)(w, c->l1, c->minus_l1));
  return v_fma(c->l2, w, g);
}

FNN_INLINE vec KERNEL(rule)(const fnn_optimizer_kind kind, const KERNEL(constants) * c,
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
    case FNN_RMSPROP: {
      const vec square = v_fma(c->beta_2, v_load(s0), v_mul(c->rest_2, v_mul(g, g)));
      v_store(s0, square);
      return v_fnma(c->rate, v_div(g, v_add(v_sqrt(square), c->epsilon)), w);
    }
    case FNN_ADAGRAD: {
      const vec square = v_fma(g, g, v_load(s0));
      v_store(s0, square);
      return v_fnma(c->rate, v_div(g, v_add(v_sqrt(square), c->epsilon)), w);
    }
    case FNN_ADAM:
    case FNN_NADAM: {
      const vec first = v_fma(c->beta_1, v_load(s0), v_mul(c->rest_1, g));
      const vec second = v_fma(c->beta_2, v_load(s1), v_mul(c->rest_2, v_mul(g, g)));
      v_store(s0, first);
      v_store(s1, second);
      const vec root = v_fma(v_sqrt(second), c->root_scale, c->epsilon);
      if (kind == FNN_ADAM) return v_fnma(c->rate, v_div(first, root), w);
      const vec both = v_fma(c->gradient_rate, g, v_mul(c->rate, first));
      return v_sub(w, v_div(both, root));
    }
    case FNN_LION: {
      const vec first = v_load(s0);
      const vec mean = v_fma(c->beta_1, first, v_mul(c->rest_1, g));
      v_store(s0, v_fma(c->beta_2, first, v_mul(c->rest_2, g)));
      return v_sub(w, KERNEL(by_sign)(mean, c->rate, v_sub(v_zero(), c->rate)));
    }
  }
  return w;
}

/* `rows` runs of `width` values, NR apart. */
FNN_INLINE void KERNEL(update_runs)(const fnn_optimizer_kind kind, const int plain,
                                    const fnn_update *u, real *w, const real *g,
                                    real *s0, real *s1, size_t rows, size_t width) {
  const KERNEL(constants) c = KERNEL(splat)(u);
  for (size_t i = 0; i < rows; i++)
    for (size_t j = i * NR; j < i * NR + width; j += VL) {
      const vec weight = v_load(w + j), loaded = v_load(g + j);
      const vec gradient = plain ? loaded : KERNEL(condition)(&c, weight, loaded);
      v_store(w + j,
              KERNEL(rule)(kind, &c, v_mul(c.keep, weight), gradient, s0 + j, s1 + j));
    }
}

/* A panel's rows: rows x NR values of which the first `width` (whole vectors) count. */
static void KERNEL(update_rows)(const fnn_update *u, real *w, const real *g, real *s0,
                                real *s1, size_t rows, size_t width) {
#define ROW(KIND, ...)                                                              \
  case FNN_##KIND:                                                                  \
    if (u->plain) KERNEL(update_runs)(FNN_##KIND, 1, u, w, g, s0, s1, rows, width); \
    else KERNEL(update_runs)(FNN_##KIND, 0, u, w, g, s0, s1, rows, width);          \
    break;
  switch (u->kind) { FNN_OPTIMIZERS(ROW) }
#undef ROW
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

/* Column by column in order, so the sums do not depend on the width of a vector. */
static void KERNEL(square_sums)(const void *panel, size_t k, double clip,
                                double *sums) {
  const real *row = panel, top = (real)clip;
  for (size_t j = 0; j < NR; j++) sums[j] = 0.0;
  for (size_t i = 0; i < k; i++, row += NR)
    for (size_t j = 0; j < NR; j++) {
      const real g = row[j] > top ? top : row[j] < -top ? -top : row[j];
      sums[j] += (double)g * (double)g;
    }
}

/* A column whose squares overflow, or that takes a factor below the normal numbers: by
 * way of w / big, with its largest value. */
static void KERNEL(limit_large_column)(real *w, size_t k, double most) {
  double big = 0.0, sum = 0.0;
  for (size_t i = 0; i < k * NR; i += NR) { /* fmax crashes gcc 12 for AArch64 */
    const double size = fabs((double)w[i]);
    if (size > big) big = size;
  }
  for (size_t i = 0; i < k * NR; i += NR)
    sum += ((double)w[i] / big) * ((double)w[i] / big);
  /* Values that are not finite stay: the sum is NaN then. */
  if (!(sqrt(sum) > most / big)) return;
  for (size_t i = 0; i < k * NR; i += NR)
    w[i] = (real)((double)w[i] / big * (most / sqrt(sum)));
}

static void KERNEL(limit_columns)(void *panel, size_t k, double most) {
  double sums[NR];
  real factor[NR], *row = panel;
  int any = 0;
  KERNEL(square_sums)(panel, k, INFINITY, sums);
  for (size_t j = 0; j < NR; j++) {
    const double norm = sqrt(sums[j]), least = FNN_DOUBLE ? 0x1p-1022 : 0x1p-126;
    const int large = !(sums[j] < INFINITY) || most / norm < least;
    const int above = !large && norm > most;
    factor[j] = above ? (real)(most / norm) : (real)1;
    any |= above;
    if (large) KERNEL(limit_large_column)(row + j, k, most);
  }
  for (size_t i = 0; any && i < k; i++, row += NR)
    for (size_t j = 0; j < NR; j++) row[j] *= factor[j];
}
