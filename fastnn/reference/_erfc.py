"""The complementary error function in NumPy: `math.erfc` for arrays.

Rational approximations of four ranges of ``|x|``, from fdlibm's s_erf.c ("Copyright (C)
1993 by Sun Microsystems, Inc. All rights reserved. Permission to use, copy, modify, and
distribute this software is freely granted, provided that this notice is preserved.").
"""

import numpy as np

from fastnn._base.types import Array

# Polynomials, the constant term first. Numerators over denominators give:
# (erf(x) - x) / x, in x^2, for |x| < 0.84375
_P = (
    1.28379167095512558561e-01, -3.25042107247001499370e-01,
    -2.84817495755985104766e-02, -5.77027029648944159157e-03,
    -2.37630166566501626084e-05,
)  # fmt: skip
_Q = (
    1.0, 3.97917223959155352819e-01, 6.50222499887672944485e-02,
    5.08130628187576562776e-03, 1.32494738004321644526e-04, -3.96022827877536812320e-06,
)  # fmt: skip
# erf(|x|) - _ERF_OF_1, in |x| - 1, for |x| < 1.25
_ERF_OF_1 = 8.45062911510467529297e-01
_PA = (
    -2.36211856075265944077e-03, 4.14856118683748331666e-01,
    -3.72207876035701323847e-01, 3.18346619901161753674e-01,
    -1.10894694282396677476e-01, 3.54783043256182359371e-02,
    -2.16637559486879084300e-03,
)  # fmt: skip
_QA = (
    1.0, 1.06420880400844228286e-01, 5.40397917702171048937e-01,
    7.18286544141962662868e-02, 1.26171219808761642112e-01, 1.36370839120290507362e-02,
    1.19844998467991074170e-02,
)  # fmt: skip
# log(|x| exp(x^2) erfc(|x|)) + 0.5625, in 1 / x^2, for |x| < 1 / 0.35
_RA = (
    -9.86494403484714822705e-03, -6.93858572707181764372e-01,
    -1.05586262253232909814e01, -6.23753324503260060396e01, -1.62396669462573470355e02,
    -1.84605092906711035994e02, -8.12874355063065934246e01, -9.81432934416914548592e00,
)  # fmt: skip
_SA = (
    1.0, 1.96512716674392571292e01, 1.37657754143519042600e02,
    4.34565877475229228821e02, 6.45387271733267880336e02, 4.29008140027567833386e02,
    1.08635005541779435134e02, 6.57024977031928170135e00, -6.04244152148580987438e-02,
)  # fmt: skip
# the same for |x| < 28, where erfc vanishes
_RB = (
    -9.86494292470009928597e-03, -7.99283237680523006574e-01,
    -1.77579549177547519889e01, -1.60636384855821916062e02, -6.37566443368389627722e02,
    -1.02509513161107724954e03, -4.83519191608651397019e02,
)  # fmt: skip
_SB = (
    1.0, 3.03380607434824582924e01, 3.25792512996573918826e02,
    1.53672958608443695994e03, 3.19985821950859553908e03, 2.55305040643316442583e03,
    4.74528541206955367215e02, -2.24409524465858183362e01,
)  # fmt: skip


def erfc(x: Array) -> Array:
    """Return ``1 - erf(x) = 2 / sqrt(pi) int_x^oo exp(-t^2) dt``, float64.

    It is within 4 units of the last place, for large x as well.
    """
    x = np.clip(np.asarray(x, np.float64), -28, 28)  # erfc is 2 and 0 beyond
    size = np.abs(x)
    small = x * _ratio(_P, _Q, np.minimum(x * x, 1))
    tail = _tail(np.maximum(size, 1))
    middle = _ratio(_PA, _QA, np.minimum(size, 2) - 1)
    # Each term in the order that loses nothing where terms nearly cancel.
    near = np.where(x < 0.25, 1 - (x + small), 0.5 - (x - 0.5 + small))
    above = np.where(size < 1.25, 1 - _ERF_OF_1 - middle, tail)
    below = np.where(size < 1.25, 1 + (_ERF_OF_1 + middle), 2 - tail)
    far = np.where(x > 0, above, below)
    return np.asarray(np.where(size < 0.84375, near, far))


def _tail(size: Array) -> Array:
    """``erfc(size)`` for 1.25 and above."""
    inverse_square = 1 / (size * size)
    ratio = np.where(
        size < 1 / 0.35,
        _ratio(_RA, _SA, inverse_square),
        _ratio(_RB, _SB, inverse_square),
    )
    # exp(-size^2) without the rounding of size^2: the square of a float32 is exact.
    head = size.astype(np.float32).astype(np.float64)
    rest = (head - size) * (head + size)
    return np.asarray(np.exp(-head * head - 0.5625) * np.exp(rest + ratio) / size)


def _ratio(above: tuple[float, ...], below: tuple[float, ...], x: Array) -> Array:
    return _polynomial(above, x) / _polynomial(below, x)


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    value = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * x + coefficient
    return value
