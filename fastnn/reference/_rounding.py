"""The rounding of bfloat16 mode."""

import numpy as np

from fastnn._base.types import Array
from fastnn._plan.functions import check_float32

__all__ = ["round_to_bfloat16"]

_SIGN = np.uint32(0x80000000)
_UPPER = np.uint32(0xFFFF0000)  # the bits that bfloat16 has
_INFINITY = np.uint32(0x7F800000)
_SMALLEST_NORMAL = np.uint32(0x00800000)
_QUIET = np.uint32(0x00400000)


def round_to_bfloat16(x: Array) -> Array:
    """Round to the nearest bfloat16 value, of two that are as near to the even one.

    bfloat16 is float32 without the lower 16 bits: 8 bits of precision and the same
    range. ``|y - x| <= 2**-8 |x|`` for normal x whose rounding does not overflow, which
    it does from 3.396e38 on. A NaN stays one, with its sign and upper bits; a subnormal
    x gives zero of its sign, as the AVX512-BF16 instructions have it.

    x is float32, of any shape, as is what is returned; a ``TypeError`` is raised for
    anything else.

    Intel, "BFLOAT16 - Hardware Numerics Definition", 2018. D. Kalamkar et al., "A Study
    of BFLOAT16 for Deep Learning Training", 2019, arXiv:1905.12322.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import round_to_bfloat16
    >>> x = np.array([1.0, 1.0039062, 1.0039064, -3.1415927], "float32")
    >>> round_to_bfloat16(x)
    array([ 1.       ,  1.       ,  1.0078125, -3.140625 ], dtype=float32)
    """
    check_float32("x", x)
    bits = np.array(x, order="C").view(np.uint32)
    magnitude = bits & ~_SIGN
    # Half of the last bit that stays; a tie goes up only from an odd one.
    half = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    with np.errstate(over="ignore"):  # of NaN, which is not taken
        rounded = (bits + half) & _UPPER
    rounded = np.where(magnitude < _SMALLEST_NORMAL, bits & _SIGN, rounded)
    rounded = np.where(magnitude > _INFINITY, (bits | _QUIET) & _UPPER, rounded)
    return rounded.view(np.float32)
