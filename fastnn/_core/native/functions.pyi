# The functions have the types of the reference's; stubtest compares the two.

from fastnn.reference.functions import *  # noqa: F403
from fastnn.reference.functions import __all__ as __all__

__test__: dict[str, str]
