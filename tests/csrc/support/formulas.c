#include "support/formulas.h"

#include <math.h>

static long double logistic(long double x) { return 1.0L / (1.0L + expl(-x)); }

static long double log1pexp(long double x) {
  return fmaxl(x, 0.0L) + log1pl(expl(-fabsl(x)));
}

long double activation_formula(fnn_activation activation, long double x) {
  const long double parameter = (long double)activation.parameter;
  switch (activation.kind) {
#define ROW(KIND, name, growth, TAKES, forward, backward, definition) \
  case FNN_##KIND: return definition;
    FNN_ACTIVATIONS(ROW)
#undef ROW
    case FNN_SOFTMAX: break;
  }
  return x;
}

long double activation_slope(fnn_activation activation, long double x) {
  static const long double weights[] = {45.0L / 60, -9.0L / 60, 1.0L / 60};
  /* Wider where the function is nearly a line and its own rounding is what remains. */
  const long double h = 0x1p-10L * (1 + x * x / 64);
  long double slope = 0.0L;
  for (int i = 0; i < 3; i++) {
    const long double step = (i + 1) * h;
    slope += weights[i] * (activation_formula(activation, x + step) -
                           activation_formula(activation, x - step));
  }
  return slope / h;
}

long double activation_slope_below(fnn_activation activation, long double x) {
  static const long double weights[] = {49.0L / 20, -6,    7.5L,    -20.0L / 3,
                                        3.75L,      -1.2L, 1.0L / 6};
  const long double h = 0x1p-9L;
  long double slope = 0.0L;
  for (int i = 0; i < 7; i++)
    slope += weights[i] * activation_formula(activation, x - i * h);
  return slope / h;
}

/* f(x + h) - 2 f(x) + f(x - h) */
static long double bend(fnn_activation activation, long double x, long double h) {
  return activation_formula(activation, x + h) - 2 * activation_formula(activation, x) +
         activation_formula(activation, x - h);
}

int activation_has_kink(fnn_activation activation, long double x) {
  const long double h = 0.01L; /* smooth ones bend by less than 2 h^2 */
  return fabsl(bend(activation, x, h)) > 5 * h * h;
}

int activation_is_gate(fnn_activation activation) {
  return fabsl(bend(activation, 0.5L, 0.25L)) + fabsl(bend(activation, -0.5L, 0.25L)) <
         1e-9L;
}

static long double softmax_cross_entropy(const long double *z, const long double *t,
                                         size_t n, long double smoothing,
                                         long double *dz) {
  long double top = z[0], sum = 0.0L, loss = 0.0L, total = 0.0L;
  for (size_t j = 1; j < n; j++) top = fmaxl(top, z[j]);
  for (size_t j = 0; j < n; j++) sum += expl(z[j] - top);
  for (size_t j = 0; j < n; j++) {
    const long double target = (1 - smoothing) * t[j] + smoothing / (long double)n;
    total += target;
    loss += target * (top - z[j] + logl(sum));
  }
  for (size_t j = 0; j < n; j++) {
    const long double target = (1 - smoothing) * t[j] + smoothing / (long double)n;
    dz[j] = total * expl(z[j] - top) / sum - target;
  }
  return loss;
}

long double loss_formula(fnn_loss loss, const long double *z, const long double *t,
                         size_t n, long double *dz) {
  const long double delta = (long double)loss.parameter;
  if (loss.kind == FNN_SOFTMAX_CROSS_ENTROPY)
    return softmax_cross_entropy(z, t, n, delta, dz);
  if (loss.kind == FNN_BINARY_CROSS_ENTROPY) {
    long double sum = 0.0L;
    for (size_t j = 0; j < n; j++) {
      sum += fmaxl(z[j], 0.0L) - t[j] * z[j] + log1pl(expl(-fabsl(z[j])));
      dz[j] = logistic(z[j]) - t[j];
    }
    return sum;
  }
  long double sum = 0.0L;
  for (size_t j = 0; j < n; j++) {
    const long double d = z[j] - t[j], size = fabsl(d);
    const int small = size <= delta;
    switch (loss.kind) {
      case FNN_MSE: sum += d * d, dz[j] = 2 * d; break;
      case FNN_MAE: sum += size, dz[j] = (d > 0) - (d < 0); break;
      case FNN_HUBER:
        sum += small ? 0.5L * d * d : delta * (size - 0.5L * delta);
        dz[j] = small ? d : copysignl(delta, d);
        break;
      default: sum += expl(z[j]) - t[j] * z[j], dz[j] = expl(z[j]) - t[j];
    }
    dz[j] /= (long double)n;
  }
  return sum / (long double)n;
}
