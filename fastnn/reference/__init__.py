"""The numeric core in NumPy: what the native kernels compute, written to be read.

The functions have the names, arguments, defaults and results of `fastnn.kernels`, up to
rounding, and are what the tests compare those with. They are themselves tested against
hand-worked values, central differences and PyTorch. `Engine` is the native engine's
counterpart.

Each function checks its arguments and leaves the arithmetic to the tables of
`reference_activations`, `reference_losses`, `reference_layers` and `reference_updates`,
which the engine uses too. Arrays are float32 or float64, all of one call the same, in
any memory layout unless they are changed in place; letters in shapes are m rows, k
inputs and n outputs. Infinities and NaN pass through without warnings.
"""

from ._engine import Engine
from ._rounding import round_to_bfloat16
from .functions._dense import dense_backward, dense_forward
from .functions._gates import (
    gelu_backward,
    gelu_forward,
    gelu_tanh_backward,
    gelu_tanh_forward,
    mish_backward,
    mish_forward,
    sigmoid_backward,
    sigmoid_forward,
    silu_backward,
    silu_forward,
    tanh_backward,
    tanh_forward,
)
from .functions._gradients import (
    adagrad_update,
    lookahead_update,
    momentum_update,
    nesterov_update,
    rmsprop_update,
    sgd_update,
)
from .functions._layers import (
    batch_norm_backward,
    batch_norm_forward,
    dropout,
    layer_norm_backward,
    layer_norm_forward,
)
from .functions._losses import (
    binary_cross_entropy,
    huber,
    mae,
    mse,
    poisson,
    softmax,
    softmax_backward,
    softmax_cross_entropy,
)
from .functions._moments import adam_update, adamw_update, lion_update, nadam_update
from .functions._rectifiers import (
    elu_backward,
    elu_forward,
    leaky_relu_backward,
    leaky_relu_forward,
    relu_backward,
    relu_forward,
    selu_backward,
    selu_forward,
    softplus_backward,
    softplus_forward,
)

__all__ = [
    "Engine",
    "adagrad_update",
    "adam_update",
    "adamw_update",
    "batch_norm_backward",
    "batch_norm_forward",
    "binary_cross_entropy",
    "dense_backward",
    "dense_forward",
    "dropout",
    "elu_backward",
    "elu_forward",
    "gelu_backward",
    "gelu_forward",
    "gelu_tanh_backward",
    "gelu_tanh_forward",
    "huber",
    "layer_norm_backward",
    "layer_norm_forward",
    "leaky_relu_backward",
    "leaky_relu_forward",
    "lion_update",
    "lookahead_update",
    "mae",
    "mish_backward",
    "mish_forward",
    "momentum_update",
    "mse",
    "nadam_update",
    "nesterov_update",
    "poisson",
    "relu_backward",
    "relu_forward",
    "rmsprop_update",
    "round_to_bfloat16",
    "selu_backward",
    "selu_forward",
    "sgd_update",
    "sigmoid_backward",
    "sigmoid_forward",
    "silu_backward",
    "silu_forward",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "softplus_backward",
    "softplus_forward",
    "tanh_backward",
    "tanh_forward",
]
