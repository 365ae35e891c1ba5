"""The stateless functions of the native lane; `fastnn.reference` has them in NumPy."""

from ._core.native.functions import *  # noqa: F403
from ._core.native.functions import __all__  # noqa: F401
