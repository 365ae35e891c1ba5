/* Elementary functions on vectors, from the textbook reductions (Muller, Elementary
 * Functions, 3rd ed., ch. 11): at most 4 ulp over the whole range (tests/csrc). */

/* ln 2 in two parts: n * LN2_HI is exact for the exponents of the type. */
#undef LN2_HI
#undef LN2_LO
#undef EXP_DEGREE
#undef LOG_TERMS
#undef EXP_UNDERFLOW
#undef EXP_OVERFLOW
#undef HALF_PI
#undef SIN_TERMS
#undef COS_TERMS
#undef SIN_FAR
#if FNN_DOUBLE
#define LN2_HI 6.93147180369123816490e-01
#define LN2_LO 1.90821492927058770002e-10
#define EXP_DEGREE 13                     /* |r|^14 / 14! = 4e-18 */
#define LOG_TERMS 11                      /* s^22 / 23 = 6e-19 */
#define EXP_UNDERFLOW -708.39641853226408 /* ln 2^-1022 */
#define EXP_OVERFLOW 709.78271289338397   /* ln of the largest finite */
/* pi / 2 in parts: n times any but the last is exact for |n| <= 2^20. */
#define HALF_PI \
  {0x1.921fb544p+0, 0x1.0b4611a6p-34, 0x1.3198a2ep-69, 0x1.b839a252049c1p-104}
#define SIN_TERMS 8   /* r^18 / 19! = 1e-19 */
#define COS_TERMS 8   /* r^18 / 18! = 2e-18 */
#define SIN_FAR 1.6e6 /* 2^20 pi / 2, less than that */
#else
#define LN2_HI 0.693359375f
#define LN2_LO -2.12194440054690583e-4f
#define EXP_DEGREE 7               /* |r|^8 / 8! = 5e-9 */
#define LOG_TERMS 5                /* s^10 / 11 = 2e-9 */
#define EXP_UNDERFLOW -87.3365402f /* ln 2^-126, the float above it */
#define EXP_OVERFLOW 88.7228317f   /* ln of the largest finite */
/* pi / 2 in parts: n times any but the last is exact for |n| <= 2^12. */
#define HALF_PI {0x1.92p+0f, 0x1.fb4p-12f, 0x1.444p-24f, 0x1.68c234p-39f}
#define SIN_TERMS 4    /* r^10 / 11! = 2e-9 */
#define COS_TERMS 5    /* r^12 / 12! = 1e-10 */
#define SIN_FAR 6.4e3f /* 2^12 pi / 2, less than that */
#endif

/* c[0] + c[1] x + ... + c[terms - 1] x^(terms - 1) */
FNN_INLINE vec KERNEL(polynomial)(vec x, const real *c, const int terms) {
  vec p = v_set1(c[terms - 1]);
#pragma GCC unroll 16
  for (int i = terms - 2; i >= 0; i--) p = v_fma(p, x, v_set1(c[i]));
  return p;
}

/* e^r - 1 by its Taylor polynomial, with x = n ln 2 + r, |r| <= ln(2) / 2. */
FNN_INLINE vec KERNEL(exp_reduced)(vec x, vec *n) {
  static const real inverse_factorial[] = {
      /* from 1 / 2! on */
      (real)(1.0 / 2),        (real)(1.0 / 6),         (real)(1.0 / 24),
      (real)(1.0 / 120),      (real)(1.0 / 720),       (real)(1.0 / 5040),
      (real)(1.0 / 40320),    (real)(1.0 / 362880),    (real)(1.0 / 3628800),
      (real)(1.0 / 39916800), (real)(1.0 / 479001600), (real)(1.0 / 6227020800)};
  *n = v_round(v_mul(x, v_set1((real)1.44269504088896340736)));
  const vec r = v_fnma(*n, v_set1(LN2_LO), v_fnma(*n, v_set1(LN2_HI), x));
  const vec p = KERNEL(polynomial)(r, inverse_factorial, EXP_DEGREE - 1);
  return v_fma(v_mul(r, r), p, r);
}

/* e^x = 2^n e^r.  Results below the smallest normal number are 0, above the largest
 * +inf; NaN stays. */
FNN_INLINE vec KERNEL(exp)(vec x) {
  vec n;
  vec p = v_add(KERNEL(exp_reduced)(x, &n), v_set1((real)1));
  /* 2^n in two factors, so that the ends of the range stay representable. */
  const vec half = v_round(v_mul(n, v_set1((real)0.5)));
  p = v_mul(v_mul(p, v_pow2(half)), v_pow2(v_sub(n, half)));
  p = v_where_less(x, v_set1(EXP_UNDERFLOW), v_zero(), p);
  return v_where_less(v_set1(EXP_OVERFLOW), x, v_set1((real)INFINITY), p);
}

/* e^x - 1 = 2^n (e^r - 1) + (2^n - 1) for x <= 0; for x > 0 any value. */
FNN_INLINE vec KERNEL(expm1)(vec x) {
  vec n;
  const vec q = KERNEL(exp_reduced)(v_max(v_set1((real)-50), x), &n);
  const vec scale = v_pow2(n);
  return v_fma(scale, q, v_sub(scale, v_set1((real)1)));
}

/* ln((1 + f) 2^e) for 1 + f in [sqrt(1/2), sqrt(2)): with s = f / (2 + f),
 * ln(1 + f) = 2 (s + s^3/3 + s^5/5 + ...). */
FNN_INLINE vec KERNEL(log_reduced)(vec f, vec e) {
  const vec s = v_div(f, v_add(f, v_set1((real)2)));
  const vec s2 = v_mul(s, s);
  vec p = v_set1((real)(1.0 / (2 * LOG_TERMS - 1)));
#pragma GCC unroll 16
  for (int i = LOG_TERMS - 2; i >= 1; i--)
    p = v_fma(p, s2, v_set1((real)(1.0 / (2 * i + 1))));
  /* 2 s = f - s f, and f is exact, which keeps the last bit near f = 0. */
  const vec tail = v_fma(v_mul(v_add(s, s), s2), p, v_mul(e, v_set1(LN2_LO)));
  const vec twice = v_fnma(s, f, f);
  return v_fma(e, v_set1(LN2_HI), v_add(twice, tail));
}

/* ln x for normal x > 0 (+inf and NaN stay). */
FNN_INLINE vec KERNEL(log)(vec x) {
  const vec one = v_set1((real)1), root_half = v_set1((real)0.70710678118654752440);
  vec e;
  const vec half_one = v_frexp(x, &e);
  const vec m = v_where_less(half_one, root_half, v_add(half_one, half_one), half_one);
  e = v_where_less(half_one, root_half, v_sub(e, one), e);
  const vec result = KERNEL(log_reduced)(v_sub(m, one), e);
  return v_where_less(x, v_set1((real)INFINITY), result, x);
}

/* ln(1 + x) for x in [0, 1]: 1 + x as it is or, above sqrt(2), halved. */
FNN_INLINE vec KERNEL(log1p)(vec x) {
  const vec bound = v_set1((real)0.41421356237309504880), one = v_set1((real)1);
  const vec halved = v_mul(v_sub(x, one), v_set1((real)0.5));
  return KERNEL(log_reduced)(v_where_less(x, bound, x, halved),
                             v_where_less(x, bound, v_zero(), one));
}

/* 1 / (1 + e^-x), and 1 less that in *rest if it is not NULL: neither cancels. */
FNN_INLINE vec KERNEL(sigmoid)(vec x, vec *rest) {
  const vec one = v_set1((real)1);
  const vec e = KERNEL(exp)(v_sub(v_zero(), v_abs(x)));
  const vec sum = v_add(one, e);
  if (rest) *rest = v_div(v_where_less(x, v_zero(), one, e), sum);
  return v_div(v_where_less(x, v_zero(), e, one), sum);
}

/* y with the sign of x. */
FNN_INLINE vec KERNEL(signed)(vec y, vec x) {
  return v_where_less(x, v_zero(), v_sub(v_zero(), y), y);
}

/* tanh |x| = -d / (2 + d), d = e^(-2 |x|) - 1 */
FNN_INLINE vec KERNEL(tanh)(vec x) {
  const vec d = KERNEL(expm1)(v_mul(v_abs(x), v_set1((real)-2)));
  const vec y = v_div(v_sub(v_zero(), d), v_add(v_set1((real)2), d));
  return KERNEL(signed)(y, x);
}

/* erf x for x in [0, 1): x + x c(x^2), c the polynomial of its degree with the least
 * error: 1e-19 (1.2e-9 in float). */
FNN_INLINE vec KERNEL(erf_near)(vec x) {
#if FNN_DOUBLE
  static const real c[] = {
      0.128379167095512574,    -0.376126389031837482,   0.112837916709548844,
      -0.0268661706450778696,  0.00522397762482838584,  -0.000854832698142343995,
      0.000120553311328941422, -1.49255957710133672e-5, 1.64610084635029451e-6,
      -1.63503961126496656e-7, 1.4660328227506626e-8,   -1.13749546648358158e-9,
      5.96068479269257695e-11};
#else
  static const real c[] = {0.1283791659f,   -0.3761262714f,  0.1128360018f,
                           -0.02685444468f, 0.005189535425f, -0.0008020841518f,
                           7.889119072e-5f};
#endif
  return v_fma(x, KERNEL(polynomial)(v_mul(x, x), c, sizeof c / sizeof *c), x);
}

/* e^(x^2) erfc x for x in [1, 30]: the rational functions of these degrees of the least
 * relative error up to 28 (10 in float), beyond which erfc x is 0: 5e-17 (1.3e-8). */
FNN_INLINE vec KERNEL(erfc_scaled)(vec x) {
#if FNN_DOUBLE
  static const real p[] = {991.05004260762487, 2168.0145830884110, 2327.4732851776049,
                           1573.4595704282801, 728.10947964789514, 236.34422209231557,
                           52.959909772427697, 7.6145340125830184, 0.56418958354838057};
  static const real q[] = {991.05001279208728, 3286.2950791419870,
                           5044.6086418516745, 4724.9208459967059,
                           2991.5911413768612, 1336.9749361453876,
                           425.65743212124911, 94.368996008332939,
                           13.496410133621169, 1.0};
#else
  static const real p[] = {3.6137171180f, 4.2230680488f, 2.1974798026f, 0.56418077225f};
  static const real q[] = {3.6176672921f, 8.2811739443f, 7.9936257388f, 3.8943734514f,
                           1.0f};
#endif
  return v_div(KERNEL(polynomial)(x, p, sizeof p / sizeof *p),
               KERNEL(polynomial)(x, q, sizeof q / sizeof *q));
}

FNN_INLINE vec KERNEL(erf)(vec x) {
  const vec one = v_set1((real)1), last = v_set1((real)30);
  vec t = v_abs(x);
  t = v_where_less(last, t, last, t);
  const vec e = KERNEL(exp)(v_fnma(t, t, v_zero()));
  const vec far = v_fnma(e, KERNEL(erfc_scaled)(t), one);
  return KERNEL(signed)(v_where_less(t, one, KERNEL(erf_near)(t), far), x);
}

/* The normal distribution function, (1 + erf(z / sqrt(2))) / 2 without cancellation,
 * and e^(-z^2 / 2) in *e. */
FNN_INLINE vec KERNEL(normal)(vec z, vec *e) {
  const vec one = v_set1((real)1), half = v_set1((real)0.5), last = v_set1((real)30);
  vec t = v_mul(v_abs(z), v_set1((real)0.70710678118654752440));
  t = v_where_less(last, t, last, t);
  *e = KERNEL(exp)(v_mul(v_mul(z, z), v_set1((real)-0.5)));
  const vec far = v_mul(v_mul(half, *e), KERNEL(erfc_scaled)(t));
  const vec tail = v_where_less(t, one, v_fnma(half, KERNEL(erf_near)(t), half), far);
  return v_where_less(z, v_zero(), tail, v_sub(one, tail));
}

/* sin and cos of the lanes beyond SIN_FAR by libm, one after the other: exact to its
 * last bit or so, and slow; NaN for infinities. */
static __attribute__((noinline)) void KERNEL(far_sincos)(const real *x, real *sines,
                                                         real *cosines) {
  for (size_t i = 0; i < VL; i++)
    if ((real)fabs((double)x[i]) > SIN_FAR) {
      sines[i] = (real)sin((double)x[i]);
      cosines[i] = (real)cos((double)x[i]);
    }
}

/* The sine, and the cosine in *cosine: x = n pi / 2 + r, |r| <= pi / 4, by W. Cody and
 * W. Waite's subtraction in parts, and the Taylor polynomials of r. */
FNN_INLINE vec KERNEL(sincos)(vec x, vec *cosine) {
  static const real half_pi[] = HALF_PI;
  static const real odd[] = {/* from -1 / 3! on */
                             (real)(-1.0 / 6),
                             (real)(1.0 / 120),
                             (real)(-1.0 / 5040),
                             (real)(1.0 / 362880),
                             (real)(-1.0 / 39916800),
                             (real)(1.0 / 6227020800),
                             (real)(-1.0 / 1307674368000),
                             (real)(1.0 / 355687428096000)};
  static const real even[] = {/* from -1 / 2! on */
                              (real)(-1.0 / 2),           (real)(1.0 / 24),
                              (real)(-1.0 / 720),         (real)(1.0 / 40320),
                              (real)(-1.0 / 3628800),     (real)(1.0 / 479001600),
                              (real)(-1.0 / 87178291200), (real)(1.0 / 20922789888000)};
  const vec one = v_set1((real)1), half = v_set1((real)0.5), far = v_set1(SIN_FAR);
  const vec n = v_round(v_mul(x, v_set1((real)0.63661977236758134308)));
  vec r = x;
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) r = v_fnma(n, v_set1(half_pi[i]), r);
  const vec r2 = v_mul(r, r);
  const vec s = v_fma(v_mul(r, r2), KERNEL(polynomial)(r2, odd, SIN_TERMS), r);
  const vec c = v_fma(r2, KERNEL(polynomial)(r2, even, COS_TERMS), one);
  /* The quarter turn, -2 .. 2: an odd one takes the other function, and some a sign. */
  const vec turns = v_round(v_mul(n, v_set1((real)0.25)));
  const vec q = v_fnma(turns, v_set1((real)4), n);
  const vec is_even = v_abs(v_sub(v_abs(q), one)); /* 0 or 1 */
  const vec first = v_where_less(is_even, half, c, s);
  const vec second = v_where_less(is_even, half, s, c);
  const vec below = v_set1((real)-0.5), above = v_set1((real)1.5);
  const vec minus = v_sub(v_zero(), first), other = v_sub(v_zero(), second);
  vec sine = v_where_less(q, below, minus, v_where_less(above, q, minus, first));
  const vec low = v_set1((real)-1.5);
  *cosine = v_where_less(q, low, other, v_where_less(half, q, other, second));
  if (v_any_less(far, v_abs(x))) {
    real values[3][VL];
    v_store(values[0], x);
    v_store(values[1], sine);
    v_store(values[2], *cosine);
    KERNEL(far_sincos)(values[0], values[1], values[2]);
    sine = v_load(values[1]);
    *cosine = v_load(values[2]);
  }
  return sine;
}
