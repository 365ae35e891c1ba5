# The types of kernels.pyx; stubtest compares the two.

from ._arguments import Array

__all__ = [
    "adam_update",
    "adamw_update",
    "dense_backward",
    "dense_forward",
    "momentum_update",
    "nesterov_update",
    "relu_backward",
    "relu_forward",
    "sgd_update",
    "softmax",
    "softmax_cross_entropy",
]

def dense_forward(
    x: Array, w: Array, b: Array, activation: str = "identity"
) -> Array: ...
def dense_backward(
    dy: Array,
    x: Array,
    w: Array,
    y: Array | None = None,
    activation: str = "identity",
) -> tuple[Array, Array, Array]: ...
def relu_forward(x: Array) -> Array: ...
def relu_backward(dy: Array, y: Array) -> Array: ...
def softmax(z: Array) -> Array: ...
def softmax_cross_entropy(
    z: Array,
    labels: Array,
    sample_weight: Array | None = None,
    label_smoothing: float = 0.0,
) -> tuple[float, Array]: ...
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
