/* exp and log on vectors, from the textbook reductions (Muller, Elementary Functions,
 * 3rd ed., ch. 11): at most 2 ulp over the whole range (tests/csrc checks 4). */

/* ln 2 in two parts: n * LN2_HI is exact for the exponents of the type. */
#undef LN2_HI
#undef LN2_LO
#undef EXP_DEGREE
#undef LOG_TERMS
#undef EXP_UNDERFLOW
#undef EXP_OVERFLOW
#if FNN_DOUBLE
#define LN2_HI 6.93147180369123816490e-01
#define LN2_LO 1.90821492927058770002e-10
#define EXP_DEGREE 13                     /* |r|^14 / 14! = 4e-18 */
#define LOG_TERMS 11                      /* s^22 / 23 = 6e-19 */
#define EXP_UNDERFLOW -708.39641853226408 /* ln 2^-1022 */
#define EXP_OVERFLOW 709.78271289338397   /* ln of the largest finite */
#else
#define LN2_HI 0.693359375f
#define LN2_LO -2.12194440054690583e-4f
#define EXP_DEGREE 7               /* |r|^8 / 8! = 5e-9 */
#define LOG_TERMS 5                /* s^10 / 11 = 2e-9 */
#define EXP_UNDERFLOW -87.3365402f /* ln 2^-126, the float above it */
#define EXP_OVERFLOW 88.7228317f   /* ln of the largest finite */
#endif

/* e^x = 2^n e^r, n = round(x / ln 2), |r| <= ln(2) / 2, e^r by its Taylor polynomial.
 * Results below the smallest normal number are 0, above the largest +inf; NaN stays. */
FNN_INLINE vec KERNEL(exp)(vec x) {
  static const real inverse_factorial[] = {
      (real)1,
      (real)1,
      (real)(1.0 / 2),
      (real)(1.0 / 6),
      (real)(1.0 / 24),
      (real)(1.0 / 120),
      (real)(1.0 / 720),
      (real)(1.0 / 5040),
      (real)(1.0 / 40320),
      (real)(1.0 / 362880),
      (real)(1.0 / 3628800),
      (real)(1.0 / 39916800),
      (real)(1.0 / 479001600),
      (real)(1.0 / 6227020800),
  };
  const vec n = v_round(v_mul(x, v_set1((real)1.44269504088896340736)));
  const vec r = v_fnma(n, v_set1(LN2_LO), v_fnma(n, v_set1(LN2_HI), x));
  vec p = v_set1(inverse_factorial[EXP_DEGREE]);
#pragma GCC unroll 16
  for (int i = EXP_DEGREE - 1; i >= 2; i--)
    p = v_fma(p, r, v_set1(inverse_factorial[i]));
  p = v_add(v_fma(v_mul(r, r), p, r), v_set1((real)1));
  /* 2^n in two factors, so that the ends of the range stay representable. */
  const vec half = v_round(v_mul(n, v_set1((real)0.5)));
  p = v_mul(v_mul(p, v_pow2(half)), v_pow2(v_sub(n, half)));
  p = v_where_less(x, v_set1(EXP_UNDERFLOW), v_zero(), p);
  return v_where_less(v_set1(EXP_OVERFLOW), x, v_set1((real)INFINITY), p);
}

/* ln x for normal x > 0 (+inf and NaN stay): x = m 2^e with m in [sqrt(1/2), sqrt(2)), s = (m - 1)/(m + 1),
 * ln m = 2 (s + s^3/3 + s^5/5 + ...). */
FNN_INLINE vec KERNEL(log)(vec x) {
  vec e;
  const vec half_one = v_frexp(x, &e);
  const vec root_half = v_set1((real)0.70710678118654752440);
  const vec m = v_where_less(half_one, root_half, v_add(half_one, half_one), half_one);
  e = v_where_less(half_one, root_half, v_sub(e, v_set1((real)1)), e);
  const vec f = v_sub(m, v_set1((real)1));
  const vec s = v_div(f, v_add(m, v_set1((real)1)));
  const vec s2 = v_mul(s, s);
  vec p = v_set1((real)(1.0 / (2 * LOG_TERMS - 1)));
#pragma GCC unroll 16
  for (int i = LOG_TERMS - 2; i >= 1; i--)
    p = v_fma(p, s2, v_set1((real)(1.0 / (2 * i + 1))));
  /* 2 s = f - s f, and f is exact, which keeps the last bit near x = 1. */
  const vec tail = v_fma(v_mul(v_add(s, s), s2), p, v_mul(e, v_set1(LN2_LO)));
  const vec twice = v_fnma(s, f, f);
  const vec result = v_fma(e, v_set1(LN2_HI), v_add(twice, tail));
  return v_where_less(x, v_set1((real)INFINITY), result, x);
}
