"""The types of arrays, once for all annotations."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Floats", "Pair", "Scaling"]

Array: TypeAlias = NDArray[Any]
Floats: TypeAlias = NDArray[np.float64]
# W (n_in, n_out) and b (n_out,) of a dense layer, or scale and shift (n,) of a norm.
Pair: TypeAlias = tuple[Array, Array]
# Of the inputs, (n_inputs,) each; none if they are taken as they are.
Scaling: TypeAlias = tuple[Floats, Floats] | tuple[None, None]
