# The types of kernels.pyx; stubtest compares the two.

from fastnn._base.types import Array
from fastnn.activations import Activation

__all__ = [
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

def dense_forward(
    x: Array, w: Array, b: Array, activation: str | Activation = "identity"
) -> Array: ...
def dense_backward(
    dy: Array,
    x: Array,
    w: Array,
    y: Array | None = None,
    activation: str | Activation = "identity",
) -> tuple[Array, Array, Array]: ...
def relu_forward(x: Array) -> Array: ...
def relu_backward(dy: Array, y: Array) -> Array: ...
def leaky_relu_forward(x: Array, slope: float = 0.01) -> Array: ...
def leaky_relu_backward(dy: Array, y: Array, slope: float = 0.01) -> Array: ...
def sigmoid_forward(x: Array) -> Array: ...
def sigmoid_backward(dy: Array, y: Array) -> Array: ...
def tanh_forward(x: Array) -> Array: ...
def tanh_backward(dy: Array, y: Array) -> Array: ...
def elu_forward(x: Array, alpha: float = 1.0) -> Array: ...
def elu_backward(dy: Array, y: Array, alpha: float = 1.0) -> Array: ...
def selu_forward(x: Array) -> Array: ...
def selu_backward(dy: Array, y: Array) -> Array: ...
def gelu_forward(x: Array) -> Array: ...
def gelu_backward(dy: Array, x: Array) -> Array: ...
def gelu_tanh_forward(x: Array) -> Array: ...
def gelu_tanh_backward(dy: Array, x: Array) -> Array: ...
def silu_forward(x: Array) -> Array: ...
def silu_backward(dy: Array, x: Array) -> Array: ...
def mish_forward(x: Array) -> Array: ...
def mish_backward(dy: Array, x: Array) -> Array: ...
def softplus_forward(x: Array) -> Array: ...
def softplus_backward(dy: Array, y: Array) -> Array: ...
def softmax(z: Array) -> Array: ...
def softmax_backward(dp: Array, p: Array) -> Array: ...
def softmax_cross_entropy(
    z: Array,
    labels: Array,
    sample_weight: Array | None = None,
    label_smoothing: float = 0.0,
) -> tuple[float, Array]: ...
def binary_cross_entropy(
    z: Array, targets: Array, sample_weight: Array | None = None
) -> tuple[float, Array]: ...
def mse(
    z: Array, targets: Array, sample_weight: Array | None = None
) -> tuple[float, Array]: ...
def mae(
    z: Array, targets: Array, sample_weight: Array | None = None
) -> tuple[float, Array]: ...
def huber(
    z: Array, targets: Array, sample_weight: Array | None = None, delta: float = 1.0
) -> tuple[float, Array]: ...
def poisson(
    z: Array, targets: Array, sample_weight: Array | None = None
) -> tuple[float, Array]: ...
def dropout(x: Array, rate: float, key: int, step: int) -> Array: ...
def batch_norm_forward(
    x: Array, scale: Array, shift: Array, epsilon: float = 1e-5
) -> tuple[Array, Array, Array]: ...
def batch_norm_backward(
    dy: Array, x: Array, scale: Array, epsilon: float = 1e-5
) -> tuple[Array, Array, Array]: ...
def layer_norm_forward(
    x: Array, scale: Array, shift: Array, epsilon: float = 1e-5
) -> Array: ...
def layer_norm_backward(
    dy: Array, x: Array, scale: Array, epsilon: float = 1e-5
) -> tuple[Array, Array, Array]: ...
def sgd_update(w: Array, dw: Array, learning_rate: float = 0.01) -> None: ...
def momentum_update(
    w: Array,
    dw: Array,
    velocity: Array,
    learning_rate: float = 0.01,
    momentum: float = 0.9,
) -> None: ...
def nesterov_update(
    w: Array,
    dw: Array,
    velocity: Array,
    learning_rate: float = 0.01,
    momentum: float = 0.9,
) -> None: ...
def lookahead_update(
    w: Array,
    dw: Array,
    velocity: Array,
    learning_rate: float = 0.01,
    momentum: float = 0.9,
) -> None: ...
def rmsprop_update(
    w: Array,
    dw: Array,
    mean_square: Array,
    learning_rate: float = 0.01,
    rho: float = 0.99,
    epsilon: float = 1e-8,
) -> None: ...
def adagrad_update(
    w: Array,
    dw: Array,
    sum_of_squares: Array,
    learning_rate: float = 0.01,
    epsilon: float = 1e-10,
) -> None: ...
def adam_update(
    w: Array,
    dw: Array,
    first_moment: Array,
    second_moment: Array,
    step: int,
    learning_rate: float = 1e-3,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
) -> None: ...
def adamw_update(
    w: Array,
    dw: Array,
    first_moment: Array,
    second_moment: Array,
    step: int,
    learning_rate: float = 1e-3,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.01,
) -> None: ...
def nadam_update(
    w: Array,
    dw: Array,
    first_moment: Array,
    second_moment: Array,
    step: int,
    learning_rate: float = 2e-3,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    momentum_decay: float = 4e-3,
) -> None: ...
def lion_update(
    w: Array,
    dw: Array,
    first_moment: Array,
    learning_rate: float = 1e-4,
    beta_1: float = 0.9,
    beta_2: float = 0.99,
) -> None: ...
def round_to_bfloat16(x: Array) -> Array: ...
