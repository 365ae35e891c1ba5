"""Activations and LayerNorm in ONNX: recipes to export, templates to import.

A recipe writes an activation through an `Operators`, which makes nodes of a graph or
expressions of `expressions.py`. Opset 13 has operators for some, not all of which ONNX
Runtime has for float64: there the others are composed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

from fastnn.activations import Activation

__all__ = [
    "MAX_BYTES",
    "RECIPES",
    "Operators",
    "write_activation",
    "write_normalization",
]

MAX_BYTES = 2**31 - 1  # of a model: what Protocol Buffers can hold


class Operators(Protocol):
    """Takes operators down; values are whatever it returns for them."""

    def __call__(self, op_type: str, *inputs: Any, **attributes: Any) -> Any:
        """Return the value of an operator; inputs are values or numbers."""


# (operators, x, parameter) -> y
Recipe = Callable[[Operators, Any, float], Any]


def write_activation(op: Operators, activation: Activation, x: Any, dtype: str) -> Any:
    """Return ``y := activation(x)``."""
    return RECIPES[dtype][activation.name](op, x, activation.parameter)


def write_normalization(op: Operators, x: Any, epsilon: float) -> Any:
    """Return ``y := (x - mean) / sqrt(variance + epsilon)`` of each row."""
    distance = op("Sub", x, op("ReduceMean", x, axes=[1], keepdims=1))
    square = op("Mul", distance, distance)
    variance = op("ReduceMean", square, axes=[1], keepdims=1)
    return op("Div", distance, op("Sqrt", op("Add", variance, epsilon)))


def _operator(op_type: str, parameter: str = "") -> Recipe:
    def write(op: Operators, x: Any, p: float) -> Any:
        return op(op_type, x, **({parameter: p} if parameter else {}))

    return write


def _softmax(op: Operators, x: Any, p: float) -> Any:
    return op("Softmax", x, axis=1)


def _gelu(op: Operators, x: Any, p: float) -> Any:
    gate = op("Add", op("Erf", op("Mul", x, math.sqrt(0.5))), 1.0)
    return op("Mul", op("Mul", x, 0.5), gate)


def _gelu_tanh(op: Operators, x: Any, p: float) -> Any:
    # (1 + tanh(u)) / 2 is sigmoid(2 u)
    cube = op("Mul", op("Mul", op("Mul", x, x), x), 0.044715)
    u = op("Mul", op("Add", x, cube), 2 * math.sqrt(2 / math.pi))
    return op("Mul", x, op("Sigmoid", u))


def _silu(op: Operators, x: Any, p: float) -> Any:
    return op("Mul", x, op("Sigmoid", x))


def _mish(op: Operators, x: Any, p: float) -> Any:
    return op("Mul", x, op("Tanh", op("Softplus", x)))


# In float64, for ONNX Runtime: no LeakyRelu, Elu, Selu, Softplus and Erf.


def _negative_part(op: Operators, x: Any) -> Any:
    """Return min(x, 0)."""
    return op("Neg", op("Relu", op("Neg", x)))


def _leaky_relu(op: Operators, x: Any, slope: float) -> Any:
    return op("Add", op("Relu", x), op("Mul", _negative_part(op, x), slope))


def _elu(op: Operators, x: Any, alpha: float) -> Any:
    below = op("Sub", op("Exp", _negative_part(op, x)), 1.0)
    return op("Add", op("Relu", x), op("Mul", below, alpha))


def _selu(op: Operators, x: Any, p: float) -> Any:
    return op("Mul", _elu(op, x, 1.6732632423543772), 1.0507009873554805)


def _softplus(op: Operators, x: Any, p: float) -> Any:
    small = op("Exp", op("Neg", op("Abs", x)))
    return op("Add", op("Relu", x), op("Log", op("Add", small, 1.0)))


def _mish_composed(op: Operators, x: Any, p: float) -> Any:
    return op("Mul", x, op("Tanh", _softplus(op, x, p)))


# erfc(z) exp(z^2) (z + 4) for z >= 0 as a polynomial in (4 - z) / (4 + z), the lowest
# power first: interpolated at 17 Chebyshev nodes, relative error below 1e-12.
_ERFC = (
    1.095995661000491, 0.9765487290628161, 0.7732087022469604, 0.5408538321808913,
    0.3308515887579651, 0.17401092507599816, 0.0763815024987458, 0.02637012997893926,
    0.006112134669983551, 0.0002807024673015259, -0.0004553215579676711,
    -0.00017632524002984573, -3.109374395045127e-06, 1.833095969206302e-05,
    4.094040497134968e-06, -1.1162605157582788e-06, -4.6050934061271285e-07,
)  # fmt: skip


def _gelu_composed(op: Operators, x: Any, p: float) -> Any:
    # x Phi(x) is max(x, 0) - |x| Phi(-|x|), with Phi(-|x|) = erfc(|x| / sqrt(2)) / 2
    size = op("Abs", x)
    z = op("Mul", size, math.sqrt(0.5))
    inverse = op("Reciprocal", op("Add", z, 4.0))
    s = op("Mul", op("Sub", 4.0, z), inverse)
    value = op("Mul", s, _ERFC[-1])
    for coefficient in _ERFC[-2:0:-1]:
        value = op("Mul", op("Add", value, coefficient), s)
    value = op("Mul", op("Add", value, _ERFC[0]), inverse)
    erfc = op("Mul", value, op("Exp", op("Neg", op("Mul", z, z))))
    below = op("Mul", op("Mul", size, 0.5), erfc)
    return op("Sub", op("Relu", x), below)


# By name: the recipe, and where it is another one, that of float64.
_ROWS: dict[str, tuple[Recipe, ...]] = {
    "relu": (_operator("Relu"),),
    "leaky_relu": (_operator("LeakyRelu", "alpha"), _leaky_relu),
    "sigmoid": (_operator("Sigmoid"),),
    "tanh": (_operator("Tanh"),),
    "elu": (_operator("Elu", "alpha"), _elu),
    "selu": (_operator("Selu"), _selu),
    "gelu": (_gelu, _gelu_composed),
    "gelu_tanh": (_gelu_tanh,),
    "silu": (_silu,),
    "mish": (_mish, _mish_composed),
    "softplus": (_operator("Softplus"), _softplus),
    "softmax": (_softmax,),
    "exponential": (_operator("Exp"),),  # of the Poisson loss
}

RECIPES: dict[str, dict[str, Recipe]] = {
    "float32": {name: row[0] for name, row in _ROWS.items()},
    "float64": {name: row[-1] for name, row in _ROWS.items()},
}
