"""The C functions that exported headers are made of.

@ stands for the header's name and an underscore, REAL for the type; functions of
<math.h> are written as those of double and get their suffix later, and numbers likewise
("0.5" becomes "0.5f").
"""

__all__ = ["FUNCTIONS", "LACKING", "MACROS"]

_FLASH = """\
#ifdef __AVR__
#include <avr/pgmspace.h>
#define @FLASH PROGMEM
#define @READ(p) pgm_read_float(p)
#else
#define @FLASH
#define @READ(p) (*(p))
#endif
"""

# WIDE is what products and sums of floats are rounded from: double, unless that is slow
# because the CPU has float alone. MADD is x * w + sum, of floats rounded once where the
# CPU can, and so as by the engine to the bit. Elsewhere the sum is rounded to WIDE
# first, which of double in rare cases, of about 1 in 2**29, gives the other neighbour.
MACROS = {
    "float": f"""\
/* With FASTNN_PLAIN defined, everything is multiplied and added in float, rounded each
   time, and expm1f, log1pf and erfcf are not needed: for small CPUs. */
#if defined FASTNN_PLAIN || (defined __ARM_FP && !(__ARM_FP & 8))
#define @WIDE float
#define @SQRT sqrtf
#else
#define @WIDE double
#define @SQRT sqrt
#endif
#if !defined FASTNN_PLAIN && (defined FP_FAST_FMAF || defined __FP_FAST_FMAF || \\
                              defined __ARM_FEATURE_FMA)
#define @MADD(x, w, sum) fmaf(x, w, sum)
#else
#define @MADD(x, w, sum) ((float)((@WIDE)(x) * (@WIDE)(w) + (@WIDE)(sum)))
#endif
{_FLASH}""",
    # Double has digits to spare.
    "double": """\
#define @WIDE double
#define @SQRT sqrt
#define @MADD(x, w, sum) ((x) * (w) + (sum))
#define @FLASH
#define @READ(p) (*(p))
""",
}


def _lacking(name: str, body: str) -> str:
    return f"""\
#if defined __AVR__ || defined FASTNN_PLAIN
static inline REAL @{name}(REAL z) {{
{body}}}
#else
#define @{name}(z) {name}(z)
#endif
"""


# What small <math.h> lack: by W. Kahan, and erfcc of W. H. Press et al., "Numerical
# Recipes", whose relative error is 1.2e-7.
LACKING = {
    "expm1": _lacking(
        "expm1",
        """\
  const REAL e = exp(z);
  if (e == 1) return z;
  return e - 1 == -1 ? -1 : (e - 1) * z / log(e);
""",
    ),
    "log1p": _lacking(
        "log1p",
        """\
  const REAL one = 1 + z;
  return one == 1 ? z : log(one) * z / (one - 1);
""",
    ),
    "erfc": _lacking(
        "erfc",
        """\
  static const REAL c[10] = {
      -1.26551223, 1.00002368, 0.37409196,  0.09678418, -0.18628806,
      0.27886807,  -1.13520398, 1.48851587, -0.82215223, 0.17087277};
  const REAL t = 1 / (1 + 0.5 * fabs(z));
  REAL sum = 0;
  int i;
  for (i = 9; i >= 0; i--) sum = sum * t + c[i];
  sum = t * exp(sum - z * z);
  return z < 0 ? 2 - sum : sum;
""",
    ),
}


def _elementwise(name: str, formula: str) -> str:
    return f"""\
static inline void @{name}(REAL *y, size_t n) {{
  size_t j;
  for (j = 0; j < n; j++) {{
    const REAL z = y[j];
    y[j] = {formula};
  }}
}}
"""


def _with_parameter(name: str, parameter: str, formula: str) -> str:
    function = _elementwise(name, formula)
    return function.replace("size_t n)", f"size_t n, REAL {parameter})", 1)


# By name, in the order in which they use each other.
FUNCTIONS = {
    # Each sum in the order of the inputs, with one rounding per product, as the engine.
    # Inputs that are 0, as pixels and what ReLU returns often are, cost nothing.
    "dense": """\
/* y := x @ w + b; w is (n_in, n_out), row by row. */
static inline void @dense(const REAL *x, size_t n_in, const REAL *w, const REAL *b,
                          size_t n_out, REAL *y) {
  size_t i, j;
  for (j = 0; j < n_out; j++) y[j] = 0;
  for (i = 0; i < n_in; i++, w += n_out) {
    const REAL xi = x[i];
    if (xi == 0) continue;
    for (j = 0; j < n_out; j++) y[j] = @MADD(xi, @READ(w + j), y[j]);
  }
  for (j = 0; j < n_out; j++) y[j] += @READ(b + j);
}
""",
    "periodic": """\
/* y := [cos(2 pi w x + c) @ W + b, x] of each of the first inputs, then the others; w
   and c are (terms, columns), W is (terms, size - 1, columns), b (size - 1, columns) */
static inline void @periodic(const REAL *x, size_t n, size_t columns, size_t terms,
                             size_t size, const REAL *w, const REAL *c,
                             const REAL *W, const REAL *b, REAL *y) {
  size_t f, j, o;
  for (j = 0; j < columns; j++, y += size) {
    for (o = 0; o + 1 < size; o++) y[o] = @READ(b + o * columns + j);
    for (f = 0; f < terms; f++) {
      const REAL turns = (REAL)((@WIDE)x[j] * (@WIDE)@READ(w + f * columns + j));
      const REAL angle =
          @MADD(turns, 6.28318530717958648, @READ(c + f * columns + j));
      const REAL wave = cos(angle);
      for (o = 0; o + 1 < size; o++)
        y[o] = @MADD(wave, @READ(W + (f * (size - 1) + o) * columns + j), y[o]);
    }
    y[size - 1] = x[j];
  }
  for (j = columns; j < n; j++) *y++ = x[j];
}
""",
    "piecewise_linear": """\
/* y := b + W * shares of each of the first inputs, then the others. counts are those of
   their bins, edges one more each; W is (all bins, size), b (columns, size). */
static inline void @piecewise_linear(const REAL *x, size_t n, size_t columns,
                                     size_t size, const size_t *counts,
                                     const REAL *edges, const REAL *W, const REAL *b,
                                     REAL *y) {
  size_t i, j, o;
  for (j = 0; j < columns; j++, y += size, b += size) {
    REAL share;
    for (o = 0; o < size; o++) y[o] = @READ(b + o);
    for (i = 0; i + 1 < counts[j] && x[j] >= @READ(edges + i + 1); i++)
      for (o = 0; o < size; o++) y[o] += @READ(W + i * size + o);
    share = x[j] - @READ(edges + i);
    share /= @READ(edges + i + 1) - @READ(edges + i);
    for (o = 0; o < size; o++) y[o] = @MADD(share, @READ(W + i * size + o), y[o]);
    W += counts[j] * size;
    edges += counts[j] + 1;
  }
  for (j = columns; j < n; j++) *y++ = x[j];
}
""",
    "lookup": """\
/* y := all inputs but the last ones, then for each of these its row of W, which has
   counts[0] rows for the first, and so on; of codes that are none, zeros. */
static inline void @lookup(const REAL *x, size_t n, size_t columns, size_t size,
                           const size_t *counts, const REAL *W, REAL *y) {
  size_t j, o;
  for (j = 0; j < n - columns; j++) *y++ = x[j];
  for (j = 0; j < columns; j++, y += size) {
    const REAL code = x[n - columns + j];
    const int known = code >= 0 && code < (REAL)counts[j];
    const REAL *row = W + (known ? (size_t)code : 0) * size;
    for (o = 0; o < size; o++) y[o] = known ? @READ(row + o) : 0;
    W += counts[j] * size;
  }
}
""",
    "clamp": """\
static inline void @clamp(REAL *y, size_t n, const REAL *low, const REAL *high) {
  size_t j;
  for (j = 0; j < n; j++) {
    const REAL least = @READ(low + j), most = @READ(high + j);
    y[j] = y[j] < least ? least : y[j];
    y[j] = y[j] > most ? most : y[j];
  }
}
""",
    "mix": """\
/* y := y + factors * (f - y) */
static inline void @mix(REAL *y, size_t n, const REAL *f, const REAL *factors) {
  size_t j;
  for (j = 0; j < n; j++) y[j] = @MADD(@READ(factors + j), f[j] - y[j], y[j]);
}
""",
    "copy": """\
static inline void @copy(const REAL *x, size_t n, REAL *y) {
  size_t j;
  for (j = 0; j < n; j++) y[j] = x[j];
}
""",
    # The cast keeps compilers from making one operation of the product and the sum.
    "scale": """\
/* y := y * scale + shift */
static inline void @scale(REAL *y, size_t n, const REAL *scale, const REAL *shift) {
  size_t j;
  for (j = 0; j < n; j++) {
    const REAL product = (REAL)((@WIDE)y[j] * (@WIDE)@READ(scale + j));
    y[j] = product + @READ(shift + j);
  }
}
""",
    "scale_all": """\
/* y := y * scale + shift */
static inline void @scale_all(REAL *y, size_t n, REAL scale, REAL shift) {
  size_t j;
  for (j = 0; j < n; j++) {
    const REAL product = (REAL)((@WIDE)y[j] * (@WIDE)scale);
    y[j] = product + shift;
  }
}
""",
    "batch_norm": """\
/* y := (y - mean) * scale + shift */
static inline void @batch_norm(REAL *y, size_t n, const REAL *mean, const REAL *scale,
                               const REAL *shift) {
  size_t j;
  for (j = 0; j < n; j++)
    y[j] = @MADD(y[j] - @READ(mean + j), @READ(scale + j), @READ(shift + j));
}
""",
    "normalize": """\
/* y := scale * (y - mean) / sqrt(variance + epsilon) + shift */
static inline void @normalize(REAL *y, size_t n, const REAL *scale, const REAL *shift,
                              @WIDE epsilon) {
  @WIDE mean = 0, variance = 0;
  REAL inverse;
  size_t j;
  for (j = 0; j < n; j++) mean += (@WIDE)y[j];
  mean /= (@WIDE)n;
  for (j = 0; j < n; j++) {
    const @WIDE d = (@WIDE)y[j] - mean;
    variance += d * d;
  }
  inverse = (REAL)(1 / @SQRT(variance / (@WIDE)n + epsilon));
  for (j = 0; j < n; j++) {
    const REAL d = (REAL)((@WIDE)y[j] - mean) * inverse;
    y[j] = @READ(scale + j) * d + @READ(shift + j);
  }
}
""",
    "relu": _elementwise("relu", "z > 0 ? z : 0"),
    "leaky_relu": _with_parameter("leaky_relu", "slope", "z > 0 ? z : slope * z"),
    "sigmoid": """\
static inline void @sigmoid(REAL *y, size_t n) {
  size_t j;
  for (j = 0; j < n; j++) {
    const REAL e = exp(-fabs(y[j]));
    y[j] = (y[j] < 0 ? e : 1) / (1 + e);
  }
}
""",
    "tanh": _elementwise("tanh", "tanh(z)"),
    "elu": _with_parameter("elu", "alpha", "z > 0 ? z : alpha * @expm1(z)"),
    "selu": _elementwise(
        "selu", "1.0507009873554805 * (z > 0 ? z : 1.6732632423543772 * @expm1(z))"
    ),
    "gelu": _elementwise("gelu", "0.5 * z * @erfc(z * -0.7071067811865476)"),
    "gelu_tanh": _elementwise(
        "gelu_tanh", "z / (1 + exp(-1.5957691216057308 * (z + 0.044715 * z * z * z)))"
    ),
    "silu": _elementwise("silu", "z / (1 + exp(-z))"),
    "softplus": _elementwise("softplus", "(z > 0 ? z : 0) + @log1p(exp(-fabs(z)))"),
    "mish": _elementwise("mish", "z * tanh((z > 0 ? z : 0) + @log1p(exp(-fabs(z))))"),
    "softmax": """\
static inline void @softmax(REAL *y, size_t n) {
  REAL top = y[0], total = 0;
  size_t j;
  for (j = 1; j < n; j++) top = y[j] > top ? y[j] : top;
  for (j = 0; j < n; j++) {
    y[j] = exp(y[j] - top);
    total += y[j];
  }
  for (j = 0; j < n; j++) y[j] /= total;
}
""",
    "exponential": _elementwise("exponential", "exp(z)"),
}
