"""The stateless functions of the reference: checks and documentation.

The arithmetic is in the tables of `fastnn.reference`, which engines use as well. A
module's docstring says what its functions have in common; theirs give the equation, its
source and an example. Those of the native lane have these names, arguments and
docstrings.
"""

from fastnn.reference._rounding import round_to_bfloat16

from . import _activations, _dense, _layers, _losses, _updates
from ._activations import *  # noqa: F403
from ._dense import *  # noqa: F403
from ._layers import *  # noqa: F403
from ._losses import *  # noqa: F403
from ._updates import *  # noqa: F403

__all__ = ["round_to_bfloat16"]
__all__ += _activations.__all__
__all__ += _dense.__all__
__all__ += _layers.__all__
__all__ += _losses.__all__
__all__ += _updates.__all__
