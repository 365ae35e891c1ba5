/* Activations and their derivatives.
 *
 * To add one: a name in fnn_activation_kind (fnn_saves_input in kernels.h says what its
 * derivative is computed from), a line in FNN_ACTIVATIONS and in each switch below, a
 * case in fnn_activation_growth (bounds.c), and its twin in
 * fastnn/reference_activations.py.  The identity and ReLU do not reach the loops in
 * training, they live in the tile's epilogue (gemm.inc.h). */
#ifndef FNN_ACTIVATIONS
#define FNN_ACTIVATIONS(DO) \
  DO(FNN_IDENTITY)          \
  DO(FNN_RELU)              \
  DO(FNN_LEAKY_RELU)        \
  DO(FNN_SIGMOID)           \
  DO(FNN_TANH)              \
  DO(FNN_ELU)               \
  DO(FNN_SELU)              \
  DO(FNN_GELU)              \
  DO(FNN_GELU_TANH)         \
  DO(FNN_SILU)              \
  DO(FNN_MISH)              \
  DO(FNN_SOFTPLUS)
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

/* y = act(x) */
FNN_INLINE vec KERNEL(act)(fnn_activation_kind kind, vec parameter, vec x) {
  const vec low = v_max(v_set1((real)-FAR), x);
  vec unused;
  switch (kind) {
    case FNN_RELU: return v_max(v_zero(), x);
    case FNN_LEAKY_RELU: return KERNEL(positive_or)(x, x, v_mul(parameter, x));
    case FNN_SIGMOID: return KERNEL(sigmoid)(x, NULL);
    case FNN_TANH: return KERNEL(tanh)(x);
    case FNN_ELU: return KERNEL(positive_or)(x, x, v_mul(parameter, KERNEL(expm1)(x)));
    case FNN_SELU: {
      const vec below = v_mul(v_set1((real)SELU_ALPHA), KERNEL(expm1)(x));
      return v_mul(v_set1((real)SELU_SCALE), KERNEL(positive_or)(x, x, below));
    }
    case FNN_GELU: return v_mul(low, KERNEL(normal)(x, &unused));
    case FNN_GELU_TANH: return v_mul(low, KERNEL(gelu_gate)(x, NULL));
    case FNN_SILU: return v_mul(low, KERNEL(sigmoid)(x, NULL));
    case FNN_MISH: return v_mul(low, KERNEL(mish_gate)(x, &unused));
    case FNN_SOFTPLUS: {
      const vec e = KERNEL(exp)(v_sub(v_zero(), v_abs(x)));
      return v_add(v_max(v_zero(), x), KERNEL(log1p)(e));
    }
    case FNN_IDENTITY:
    case FNN_SOFTMAX: break;
  }
  return x;
}

/* dx = dy * act'(x), from what fnn_saves_input says; at a kink that of the negative
 * side. */
FNN_INLINE vec KERNEL(act_backward)(fnn_activation_kind kind, vec parameter, vec dy,
                                    vec saved) {
  const vec one = v_set1((real)1), y = saved, far = v_set1((real)FAR);
  vec x = v_max(v_set1((real)-FAR), saved), rest, slope = one;
  x = v_where_less(far, x, far, x);
  switch (kind) {
    case FNN_RELU: return v_gate(y, dy);
    case FNN_LEAKY_RELU: return KERNEL(positive_or)(y, dy, v_mul(parameter, dy));
    case FNN_SIGMOID: slope = v_mul(y, v_sub(one, y)); break;
    case FNN_TANH: slope = v_fnma(y, y, one); break;
    case FNN_ELU: slope = KERNEL(positive_or)(y, one, v_add(y, parameter)); break;
    case FNN_SELU:
      slope = KERNEL(positive_or)(y, v_set1((real)SELU_SCALE),
                                  v_add(y, v_set1((real)(SELU_SCALE * SELU_ALPHA))));
      break;
    case FNN_GELU: {
      const vec cdf = KERNEL(normal)(x, &rest); /* x times its density joins it */
      slope = v_fma(v_mul(x, rest), v_set1((real)0.39894228040143267794), cdf);
      break;
    }
    case FNN_GELU_TANH: {
      const vec gate = KERNEL(gelu_gate)(x, &rest);
      const vec cube = v_set1((real)(3 * GELU_SLOPE * GELU_CUBE));
      const vec inner = v_fma(v_mul(x, x), cube, v_set1((real)GELU_SLOPE));
      slope = v_fma(v_mul(x, inner), v_mul(gate, rest), gate);
      break;
    }
    case FNN_SILU: {
      const vec gate = KERNEL(sigmoid)(x, &rest);
      slope = v_fma(v_mul(x, gate), rest, gate);
      break;
    }
    case FNN_MISH: {
      const vec gate = KERNEL(mish_gate)(x, &rest);
      const vec change = v_mul(v_fma(gate, rest, rest), KERNEL(sigmoid)(x, NULL));
      slope = v_fma(x, change, gate);
      break;
    }
    case FNN_SOFTPLUS:
      slope = v_sub(v_zero(), KERNEL(expm1)(v_sub(v_zero(), y)));
      break;
    case FNN_IDENTITY:
    case FNN_SOFTMAX: return dy;
  }
  return v_mul(dy, slope);
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
#define LOOP(kind) \
  case kind: KERNEL(forward_loop)(kind, parameter, x, y, count); break;
    FNN_ACTIVATIONS(LOOP)
#undef LOOP
    case FNN_SOFTMAX: break;
  }
}

static void KERNEL(activation_backward)(fnn_activation activation, const void *dy,
                                        const void *saved, void *dx, size_t count) {
  const real parameter = (real)activation.parameter;
  if (activation.kind == FNN_IDENTITY) saved = dy; /* there may be none */
  switch (KERNEL(loop_kind)(activation)) {
#define LOOP(kind) \
  case kind: KERNEL(backward_loop)(kind, parameter, dy, saved, dx, count); break;
    FNN_ACTIVATIONS(LOOP)
#undef LOOP
    case FNN_SOFTMAX: break;
  }
}
