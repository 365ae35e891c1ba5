"""Activations and their derivatives in NumPy, by name, in two tables.

To add an activation: a function in ACTIVATIONS and one in DERIVATIVES. Each takes the
activation's parameter last, whether it has one or not. Nothing is checked here, and
callers silence NumPy's warnings where values overflow on the way to a right limit.
"""

from collections.abc import Callable
from functools import lru_cache
from math import pi, sqrt
from typing import Any

import numpy as np

from fastnn._base.types import Array
from fastnn._plan.own_activation import own_slopes, own_values
from fastnn.activations import Activation, as_activation

from ._erfc import erfc

_SELU_SCALE = 1.0507009873554805
_SELU_ALPHA = 1.6732632423543772
_GELU_SLOPE = 2 * sqrt(2 / pi)
_GELU_CUBE = 0.044715
# Where exp(-x), in float64 too, is 0, and what depends on it has its limit; an infinity
# would be multiplied by that 0.
_FAR = 1e4


def activate(activation: str | Activation, z: Array) -> Array:
    """Return ``y := act(z)``."""
    spec = _spec(activation)
    return ACTIVATIONS[spec.name](z, spec.parameter)


def activation_gradient(activation: str | Activation, dy: Array, saved: Array) -> Array:
    """Return ``dz := dy * act'(z)``, from z for SAVES_INPUT, for the others from y."""
    spec = _spec(activation)
    return DERIVATIVES[spec.name](dy, saved, spec.parameter)


def saves_input(activation: str | Activation) -> bool:
    """Return whether the derivative is computed from z, and not from y."""
    return _spec(activation).name in SAVES_INPUT


_spec = lru_cache(as_activation)  # asked for in every step


# y := act(z)


def _identity(z: Array, parameter: float) -> Array:
    return z


def _relu(z: Array, parameter: float) -> Array:
    return np.maximum(z, 0)


def _leaky_relu(z: Array, slope: float) -> Array:
    if slope == 0:  # 0 * inf is not 0
        return _relu(z, slope)
    return np.where(z > 0, z, slope * z)


def _sigmoid(z: Array, parameter: float = 0.0) -> Array:
    small = np.exp(-np.abs(z))  # never overflows
    return np.asarray(np.where(z < 0, small, 1) / (1 + small))


def _tanh(z: Array, parameter: float = 0.0) -> Array:
    return np.asarray(np.tanh(z))


def _elu(z: Array, alpha: float) -> Array:
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))


def _selu(z: Array, parameter: float) -> Array:
    return _SELU_SCALE * _elu(z, _SELU_ALPHA)


def _gelu(z: Array, parameter: float) -> Array:
    return np.maximum(z, -_FAR) * _normal(z)


def _gelu_tanh(z: Array, parameter: float) -> Array:
    # (1 + tanh(u)) / 2 is sigmoid(2 u), and loses nothing where tanh(u) is near -1
    return np.maximum(z, -_FAR) * _sigmoid(_gelu_argument(z))


def _silu(z: Array, parameter: float) -> Array:
    return np.maximum(z, -_FAR) * _sigmoid(z)


def _mish(z: Array, parameter: float) -> Array:
    return np.maximum(z, -_FAR) * np.tanh(_softplus(z))


def _softplus(z: Array, parameter: float = 0.0) -> Array:
    return np.asarray(np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))))


def softmax(z: Array, parameter: float = 0.0) -> Array:
    """Return exp(z_ij) / sum_j exp(z_ij)."""
    exp = np.exp(z - z.max(axis=1, keepdims=True))  # the largest is exp(0)
    return np.asarray(exp / exp.sum(axis=1, keepdims=True))


def _normal(z: Array) -> Array:
    """Return the standard normal distribution, in float64 before the last rounding."""
    return np.asarray(erfc(z / -sqrt(2)) / 2, z.dtype)


def _gelu_argument(z: Array) -> Array:
    return _GELU_SLOPE * (z + _GELU_CUBE * z * z * z)


# dz := dy * act'(z)


def _identity_backward(dy: Array, y: Array, parameter: float) -> Array:
    return dy


def _relu_backward(dy: Array, y: Array, parameter: float) -> Array:
    return np.where(y > 0, dy, 0)


def _leaky_relu_backward(dy: Array, y: Array, slope: float) -> Array:
    if slope == 0:
        return _relu_backward(dy, y, slope)
    return np.where(y > 0, dy, slope * dy)


def _sigmoid_backward(dy: Array, y: Array, parameter: float) -> Array:
    return np.asarray(dy * (y * (1 - y)))


def _tanh_backward(dy: Array, y: Array, parameter: float) -> Array:
    return np.asarray(dy * (1 - y * y))


def _elu_backward(dy: Array, y: Array, alpha: float) -> Array:
    return dy * np.where(y > 0, 1, y + alpha)


def _selu_backward(dy: Array, y: Array, parameter: float) -> Array:
    return dy * np.where(y > 0, _SELU_SCALE, y + _SELU_SCALE * _SELU_ALPHA)


def _gelu_backward(dy: Array, z: Array, parameter: float) -> Array:
    z = np.clip(z, -_FAR, _FAR)
    density = np.exp(z * z / -2) / sqrt(2 * pi)
    return dy * (_normal(z) + z * density)


def _gelu_tanh_backward(dy: Array, z: Array, parameter: float) -> Array:
    z = np.clip(z, -_FAR, _FAR)
    u = _gelu_argument(z)
    slope = _GELU_SLOPE * (1 + 3 * _GELU_CUBE * z * z)
    gate = _sigmoid(u)
    return dy * (gate + z * slope * gate * _sigmoid(-u))


def _silu_backward(dy: Array, z: Array, parameter: float) -> Array:
    z = np.clip(z, -_FAR, _FAR)
    gate = _sigmoid(z)
    return np.asarray(dy * (gate + z * gate * _sigmoid(-z)))


def _mish_backward(dy: Array, z: Array, parameter: float) -> Array:
    z = np.clip(z, -_FAR, _FAR)
    gate = np.tanh(_softplus(z))
    return np.asarray(dy * (gate + z * (1 - gate * gate) * _sigmoid(z)))


def _softplus_backward(dy: Array, y: Array, parameter: float) -> Array:
    return dy * -np.expm1(-y)  # sigmoid(z)


def softmax_backward(dp: Array, p: Array, parameter: float = 0.0) -> Array:
    """Return the rows' gradient wrt z; every output depends on every z of the row."""
    return np.asarray(p * (dp - (dp * p).sum(axis=1, keepdims=True)))


ACTIVATIONS: dict[str, Callable[[Array, Any], Array]] = {
    "identity": _identity,
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "elu": _elu,
    "selu": _selu,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": _silu,
    "mish": _mish,
    "softplus": _softplus,
    "softmax": softmax,
    "own": own_values,
}

# (dy, saved, parameter) -> dz. What the forward pass saves is the activation's output
# y, because it is at hand as the next layer's input; names in SAVES_INPUT have their
# input z saved instead, because their derivative cannot be had from y.
DERIVATIVES: dict[str, Callable[[Array, Array, Any], Array]] = {
    "identity": _identity_backward,
    "relu": _relu_backward,
    "leaky_relu": _leaky_relu_backward,
    "sigmoid": _sigmoid_backward,
    "tanh": _tanh_backward,
    "elu": _elu_backward,
    "selu": _selu_backward,
    "gelu": _gelu_backward,
    "gelu_tanh": _gelu_tanh_backward,
    "silu": _silu_backward,
    "mish": _mish_backward,
    "softplus": _softplus_backward,
    "softmax": softmax_backward,
    "own": own_slopes,
}
SAVES_INPUT = frozenset({"gelu", "gelu_tanh", "silu", "mish", "own"})
