/* The vector code of activations and of their derivatives, which the rows of kinds.h
 * name.  The identity and ReLU do not reach the loops in training, they live in the
 * tile's epilogue (gemm.inc.h). */
#ifndef FNN_ACTIVATION_CONSTANTS
#define FNN_ACTIVATION_CONSTANTS
#define SELU_SCALE 1.0507009873554804934
#define SELU_ALPHA 1.6732632423543772849
#define GELU_SLOPE 1.5957691216057307117 /* 2 sqrt(2 / pi) */
#define GELU_CUBE 0.044715
/* Beyond -FAR what is multiplied with x is exactly 0, and so must the product be. */
#define FAR 1000
#endif

/* x for x > 0, else other. */
FNN_INLINE vec KERNEL(positive_or)(vec x, vec positive, vec other) {
  return v_where_less(v_zero(), x, positive, other);
}

/* (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2, a sigmoid. */
FNN_INLINE vec KERNEL(gelu_gate)(vec x, vec *rest) {
  const vec cube = v_mul(v_set1((real)(GELU_SLOPE * GELU_CUBE)), v_mul(x, x));
  const vec inner = v_mul(x, v_add(cube, v_set1((real)GELU_SLOPE)));
  return KERNEL(sigmoid)(inner, rest);
}

/* tanh(softplus x) = n / (n + 2) with n = e^x (e^x + 2), or both times e^-2x; and 1
 * less that in *rest. */
FNN_INLINE vec KERNEL(mish_gate)(vec x, vec *rest) {
  const vec one = v_set1((real)1), two = v_set1((real)2);
  const vec e = KERNEL(exp)(v_sub(v_zero(), v_abs(x)));
  const vec below = v_mul(e, v_add(e, two)), above = v_fma(two, e, one);
  const vec n = v_where_less(x, v_zero(), below, above);
  const vec more = v_where_less(x, v_zero(), two, v_mul(v_add(e, e), e));
  const vec sum = v_add(n, more);
  *rest = v_div(more, sum);
  return v_div(n, sum);
}

FNN_INLINE vec KERNEL(selu)(vec x) {
  const vec below = v_mul(v_set1((real)SELU_ALPHA), KERNEL(expm1)(x));
  return v_mul(v_set1((real)SELU_SCALE), KERNEL(positive_or)(x, x, below));
}

FNN_INLINE vec KERNEL(selu_slope)(vec y) {
  return KERNEL(positive_or)(y, v_set1((real)SELU_SCALE),
                             v_add(y, v_set1((real)(SELU_SCALE * SELU_ALPHA))));
}

/* x, or -FAR: what it is multiplied by is 0 there. */
FNN_INLINE vec KERNEL(not_far_below)(vec x) { return v_max(v_set1((real)-FAR), x); }

FNN_INLINE vec KERNEL(gelu)(vec x) {
  vec unused;
  return v_mul(KERNEL(not_far_below)(x), KERNEL(normal)(x, &unused));
}

/* The slopes take an x between -FAR and FAR. */
FNN_INLINE vec KERNEL(gelu_slope)(vec x) {
  vec rest;
  const vec cdf = KERNEL(normal)(x, &rest); /* x times its density joins it */
  return v_fma(v_mul(x, rest), v_set1((real)0.39894228040143267794), cdf);
}

FNN_INLINE vec KERNEL(gelu_tanh)(vec x) {
  return v_mul(KERNEL(not_far_below)(x), KERNEL(gelu_gate)(x, NULL));
}

FNN_INLINE vec KERNEL(gelu_tanh_slope)(vec x) {
  vec rest;
  const vec gate = KERNEL(gelu_gate)(x, &rest);
  const vec cube = v_set1((real)(3 * GELU_SLOPE * GELU_CUBE));
  const vec inner = v_fma(v_mul(x, x), cube, v_set1((real)GELU_SLOPE));
  return v_fma(v_mul(x, inner), v_mul(gate, rest), gate);
}

FNN_INLINE vec KERNEL(silu)(vec x) {
  return v_mul(KERNEL(not_far_below)(x), KERNEL(sigmoid)(x, NULL));
}

FNN_INLINE vec KERNEL(silu_slope)(vec x) {
  vec rest;
  const vec gate = KERNEL(sigmoid)(x, &rest);
  return v_fma(v_mul(x, gate), rest, gate);
}

FNN_INLINE vec KERNEL(mish)(vec x) {
  vec unused;
  return v_mul(KERNEL(not_far_below)(x), KERNEL(mish_gate)(x, &unused));
}

FNN_INLINE vec KERNEL(mish_slope)(vec x) {
  vec rest;
  const vec gate = KERNEL(mish_gate)(x, &rest);
  const vec change = v_mul(v_fma(gate, rest, rest), KERNEL(sigmoid)(x, NULL));
  return v_fma(x, change, gate);
}

FNN_INLINE vec KERNEL(softplus)(vec x) {
  const vec e = KERNEL(exp)(v_sub(v_zero(), v_abs(x)));
  return v_add(v_max(v_zero(), x), KERNEL(log1p)(e));
}

/* y = act(x), p the parameter */
FNN_INLINE vec KERNEL(act)(fnn_activation_kind kind, vec p, vec x) {
  switch (kind) {
#define ROW(KIND, name, growth, TAKES, forward, backward, definition) \
  case FNN_##KIND: return forward;
    FNN_ACTIVATIONS(ROW)
#undef ROW
    case FNN_SOFTMAX: break;
  }
  return x;
}

/* dx = dy * act'(x), from what fnn_saves_input says. */
FNN_INLINE vec KERNEL(act_backward)(fnn_activation_kind kind, vec p, vec dy,
                                    vec saved) {
  const vec one = v_set1((real)1), y = saved, far = v_set1((real)FAR);
  const vec low = KERNEL(not_far_below)(saved), x = v_where_less(far, low, far, low);
  switch (kind) {
#define ROW(KIND, name, growth, TAKES, forward, backward, definition) \
  case FNN_##KIND: return backward;
    FNN_ACTIVATIONS(ROW)
#undef ROW
    case FNN_SOFTMAX: break;
  }
  return dy;
}

/* The loops, of which the switches below make one for each kind. */
FNN_INLINE void KERNEL(forward_loop)(const fnn_activation_kind kind, real parameter,
                                     const real *x, real *y, size_t count) {
  const vec p = v_set1(parameter);
  size_t i = 0;
  for (; i + VL <= count; i += VL) v_store(y + i, KERNEL(act)(kind, p, v_load(x + i)));
  if (i < count) {
    real rest[VL] = {0};
    memcpy(rest, x + i, (count - i) * sizeof(real));
    v_store(rest, KERNEL(act)(kind, p, v_load(rest)));
    memcpy(y + i, rest, (count - i) * sizeof(real));
  }
}

FNN_INLINE void KERNEL(backward_loop)(const fnn_activation_kind kind, real parameter,
                                      const real *dy, const real *saved, real *dx,
                                      size_t count) {
  const vec p = v_set1(parameter);
  size_t i = 0;
  for (; i + VL <= count; i += VL)
    v_store(dx + i, KERNEL(act_backward)(kind, p, v_load(dy + i), v_load(saved + i)));
  if (i < count) {
    real rest[2][VL] = {{0}};
    memcpy(rest[0], dy + i, (count - i) * sizeof(real));
    memcpy(rest[1], saved + i, (count - i) * sizeof(real));
    v_store(rest[0], KERNEL(act_backward)(kind, p, v_load(rest[0]), v_load(rest[1])));
    memcpy(dx + i, rest[0], (count - i) * sizeof(real));
  }
}

/* A slope of 0 is that of ReLU also at -inf. */
FNN_INLINE fnn_activation_kind KERNEL(loop_kind)(fnn_activation activation) {
  const int flat = activation.kind == FNN_LEAKY_RELU && (real)activation.parameter == 0;
  return flat ? FNN_RELU : activation.kind;
}

static void KERNEL(activation_forward)(fnn_activation activation, const void *x,
                                       void *y, size_t count) {
  const real parameter = (real)activation.parameter;
  switch (KERNEL(loop_kind)(activation)) {
#define ROW(KIND, ...) \
  case FNN_##KIND: KERNEL(forward_loop)(FNN_##KIND, parameter, x, y, count); break;
    FNN_ACTIVATIONS(ROW)
#undef ROW
    case FNN_SOFTMAX: break;
  }
}

static void KERNEL(activation_backward)(fnn_activation activation, const void *dy,
                                        const void *saved, void *dx, size_t count) {
  const real parameter = (real)activation.parameter;
  if (activation.kind == FNN_IDENTITY) saved = dy; /* there may be none */
  switch (KERNEL(loop_kind)(activation)) {
#define ROW(KIND, ...)                                                  \
  case FNN_##KIND:                                                      \
    KERNEL(backward_loop)(FNN_##KIND, parameter, dy, saved, dx, count); \
    break;
    FNN_ACTIVATIONS(ROW)
#undef ROW
    case FNN_SOFTMAX: break;
  }
}
