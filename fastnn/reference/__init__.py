"""The numeric core in NumPy: what the native kernels compute, written to be read.

The functions have the names, arguments, defaults and results of `fastnn.kernels`, up to
rounding, and are what the tests compare those with. They are themselves tested against
hand-worked values, central differences and PyTorch. `Engine` is the native engine's
counterpart.

Each function checks its arguments and leaves the arithmetic to the tables that the
engine uses too. Arrays are float32 or float64, all of one call the same, in any memory
layout unless they are changed in place; letters in shapes are m rows, k inputs and n
outputs. Infinities and NaN pass through without warnings.
"""

from . import functions as _functions
from ._engine import Engine
from .functions import *  # noqa: F403

__all__ = ["Engine"]
__all__ += _functions.__all__
