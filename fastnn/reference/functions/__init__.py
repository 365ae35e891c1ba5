"""The stateless functions of the reference: checks and documentation.

The arithmetic is in the tables of `fastnn.reference`, which engines use as well. A
module's docstring says what its functions have in common; theirs give the equation, its
source and an example. Those of the native lane have these names, arguments and
docstrings.
"""

# ruff: noqa: F403, F405
from fastnn.reference._rounding import round_to_bfloat16

from ._activations import *
from ._dense import *
from ._layers import *
from ._losses import *
from ._updates import *

__all__ = [
    "activation_backward",
    "activation_forward",
    "adagrad_update",
    "adam_update",
    "adamw_update",
    "batch_norm_backward",
    "batch_norm_forward",
    "binary_cross_entropy",
    "dense_backward",
    "dense_forward",
    "dropout",
    "focal",
    "gaussian_nll",
    "hinge",
    "huber",
    "layer_norm_backward",
    "layer_norm_forward",
    "lion_update",
    "mae",
    "momentum_update",
    "mse",
    "nadam_update",
    "nesterov_update",
    "poisson",
    "quantile",
    "relu_backward",
    "relu_forward",
    "rmsprop_update",
    "round_to_bfloat16",
    "sgd_update",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
]
