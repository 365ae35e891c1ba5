/* Every activation, loss and optimizer, a row each: all that is known of it.  The enums
 * of fastnn.h, the names that Cython sees, facts (base/facts.h), kernels and the cases
 * of the tests come from these rows, so a new kind is a new row; the order is that of
 * the enum. */
#ifndef FNN_KINDS_H
#define FNN_KINDS_H

/* Activations of single values: ROW(KIND, name, growth, TAKES, forward, backward,
 * definition).
 *
 *   growth      of `parameter`, at least c with |act(z)| <= c (|z| + 1) and |act'| <= c
 *   TAKES       what the derivative is computed from, and so saved: INPUT or OUTPUT
 *   forward     act(x), on vectors: `x`, and `p`, the parameter
 *   backward    dy act'(x), at a kink that of the negative side, from `dy`, `y` or `x`,
 *               `p` and `one`
 *   definition  act(x) in long double, from `x` and `parameter`: the tests of the core
 *               (tests/csrc/support/formulas.c) hold the vector code to it
 *
 * The vector functions are those of kernels/math.inc.h and
 * kernels/ops/activations.inc.h.  The parameter is the slope below 0 of LEAKY_RELU,
 * alpha of ELU.  GELU is exact, with erf.  The derivatives of SELU and what follows it
 * reach 1.13 at most. */
/* clang-format off */
#define FNN_ACTIVATIONS(ROW)                                                         \
  ROW(IDENTITY, "identity", 1.0, OUTPUT, x, dy, x)                                   \
  ROW(RELU, "relu", 1.0, OUTPUT, v_max(v_zero(), x), v_gate(y, dy), fmaxl(x, 0))     \
  ROW(LEAKY_RELU, "leaky_relu", fmax(1.0, parameter), OUTPUT,                        \
      KERNEL(positive_or)(x, x, v_mul(p, x)),                                        \
      KERNEL(positive_or)(y, dy, v_mul(p, dy)), x > 0 ? x : parameter * x)           \
  ROW(SIGMOID, "sigmoid", 1.0, OUTPUT, KERNEL(sigmoid)(x, NULL),                     \
      v_mul(dy, v_mul(y, v_sub(one, y))), logistic(x))                               \
  ROW(TANH, "tanh", 1.0, OUTPUT, KERNEL(tanh)(x), v_mul(dy, v_fnma(y, y, one)),      \
      tanhl(x))                                                                      \
  ROW(ELU, "elu", fmax(1.0, parameter), OUTPUT,                                      \
      KERNEL(positive_or)(x, x, v_mul(p, KERNEL(expm1)(x))),                         \
      v_mul(dy, KERNEL(positive_or)(y, one, v_add(y, p))),                           \
      x > 0 ? x : parameter * expm1l(x))                                             \
  ROW(SELU, "selu", 2.0, OUTPUT, KERNEL(selu)(x), v_mul(dy, KERNEL(selu_slope)(y)),  \
      1.0507009873554804934193349852946L * (x > 0 ? x :                              \
        1.6732632423543772848170429916717L * expm1l(x)))                             \
  ROW(GELU, "gelu", 2.0, INPUT, KERNEL(gelu)(x), v_mul(dy, KERNEL(gelu_slope)(x)),   \
      0.5L * x * erfcl(-x * sqrtl(0.5L)))                                            \
  ROW(GELU_TANH, "gelu_tanh", 2.0, INPUT, KERNEL(gelu_tanh)(x),                      \
      v_mul(dy, KERNEL(gelu_tanh_slope)(x)),                                         \
      x * logistic(2 * sqrtl(2 / acosl(-1.0L)) * (x + 0.044715L * x * x * x)))       \
  ROW(SILU, "silu", 2.0, INPUT, KERNEL(silu)(x), v_mul(dy, KERNEL(silu_slope)(x)),   \
      x * logistic(x))                                                               \
  ROW(MISH, "mish", 2.0, INPUT, KERNEL(mish)(x), v_mul(dy, KERNEL(mish_slope)(x)),   \
      x * tanhl(log1pexp(x)))                                                        \
  ROW(SOFTPLUS, "softplus", 1.0, OUTPUT, KERNEL(softplus)(x),                        \
      v_mul(dy, v_sub(v_zero(), KERNEL(expm1)(v_sub(v_zero(), y)))), log1pexp(x))

/* Losses that are a sum over outputs: ROW(KIND, name, DIVISOR), divided by NOTHING or
 * by the number of OUTPUTS.  The parameter of HUBER is delta; POISSON takes the
 * logarithm of the rate.  Their vector code is a case of KERNEL(point) in
 * kernels/ops/losses.inc.h. */
#define FNN_OUTPUT_LOSSES(ROW)                                                     \
  ROW(BINARY_CROSS_ENTROPY, "binary_cross_entropy", NOTHING)                       \
  ROW(MSE, "mse", OUTPUTS)                                                         \
  ROW(MAE, "mae", OUTPUTS)                                                         \
  ROW(HUBER, "huber", OUTPUTS)                                                     \
  ROW(POISSON, "poisson", OUTPUTS)

/* Losses of whole rows: ROW(KIND, name, outputs), the number of outputs of a target, 1
 * where it is a class.  The parameter of QUANTILE is the number of levels, of
 * GAUSSIAN_NLL the least variance, of FOCAL gamma.  FOCAL is made of the cross-entropies
 * by KERNEL(focal) in kernels/ops/losses.inc.h, the others are in
 * kernels/row_losses.c. */
#define FNN_ROW_LOSSES(ROW)                                                        \
  ROW(QUANTILE, "quantile", (size_t)loss.parameter)                                \
  ROW(GAUSSIAN_NLL, "gaussian_nll", 2)                                             \
  ROW(FOCAL, "focal", 1)                                                           \
  ROW(HINGE, "hinge", 1)

/* Optimizers: ROW(KIND, name, states, family, squares).
 *
 *   states   arrays of state
 *   family   optimizers of one family understand each other's state
 *   squares  the array (1, 2) that holds squares, 0 if none does
 *
 * Their vector code is a case of KERNEL(rule) in kernels/ops/optimizers.inc.h, the
 * bound of their step one of fnn_bounds_advance.  ADAM is AdamW too, with
 * weight_decay. */
#define FNN_OPTIMIZERS(ROW)                                                        \
  ROW(SGD, "sgd", 0, 0, 0)                                                         \
  ROW(MOMENTUM, "momentum", 1, 1, 0)                                               \
  ROW(NESTEROV, "nesterov", 1, 1, 0)                                               \
  ROW(RMSPROP, "rmsprop", 1, 2, 1)                                                 \
  ROW(ADAGRAD, "adagrad", 1, 3, 1)                                                 \
  ROW(ADAM, "adam", 2, 4, 2)                                                       \
  ROW(NADAM, "nadam", 2, 4, 2)                                                     \
  ROW(LION, "lion", 1, 5, 0)
/* clang-format on */

#endif
