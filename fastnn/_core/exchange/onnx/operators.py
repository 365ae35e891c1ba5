"""Operators of ONNX as layers of a network in the making.

To add one: a function in OPERATORS that puts it on the stack.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from reprlib import repr as short
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._core.exchange.stack import LayerStack
from fastnn.activations import ELU, LeakyReLU
from fastnn.layers import BatchNorm, LayerNorm

from .expressions import NotAnExpression
from .graph import FLOATS, Constants, Node, Segment

if TYPE_CHECKING:
    from fastnn._base.types import Array

__all__ = ["ALONG_AN_AXIS", "EITHER_WAY", "OPERATORS", "TRANSPARENT", "Build"]

_ROWS, _UNKNOWN = -2, -3  # in shapes
_MAX_STEPS, _MAX_DEPTH = 10_000, 100  # of shapes made of shapes
_MAX_RANK = 8


@dataclass
class Build:
    """What the nodes so far have become."""

    constants: Constants
    stack: LayerStack
    output: str
    n_rows: int = 0  # 0: any number
    inner: list[int] | None = None  # of rows that are not flat, 0 for what is not known
    ending: str = ""  # what the graph ends with that is no activation of a layer
    ended_by: str = ""
    shapes: dict[str, list[int]] = field(default_factory=dict)  # of tensors so far
    _steps: int = 0

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return 2 if self.inner is None else 1 + len(self.inner)

    def keep_shape(self, name: str) -> None:
        """The tensor of this name is what there is now."""
        inner = [self.stack.width or 0] if self.inner is None else self.inner
        self.shapes[name] = [_ROWS, *(n or _UNKNOWN for n in inner)]

    def shape_of(self, name: str, depth: int = 0) -> list[int]:
        """Return a shape that is a constant, or made of those of tensors."""
        self._steps += 1
        if self._steps > _MAX_STEPS or depth > _MAX_DEPTH:
            raise ValueError(f"its shape {short(name)} is made of too many others")
        depth += 1
        node = self.constants.node(name)
        if node is None or node.op_type == "Constant":
            numbers = self.vector(name)
            if numbers.dtype.kind not in "iu" or (numbers < -1).any():
                raise ValueError(f"its shape {short(name)} is {short(numbers)}")
            shape = [int(each) for each in numbers.ravel()]
        elif node.op_type == "Shape":
            if node.input(0) not in self.shapes:
                raise ValueError(f"the shape of {short(node.input(0))} is not known")
            ends = slice(node.attribute("start", 0), node.attribute("end"))
            shape = self.shapes[node.input(0)][ends]
        elif node.op_type == "Concat":
            shape = [n for each in node.inputs for n in self.shape_of(each, depth)]
        elif node.op_type == "Gather" and node.attribute("axis", 0) == 0:
            of = self.shape_of(node.input(0), depth)
            shape = [of[int(i)] for i in self.vector(node.input(1)).ravel()]
        elif node.op_type in _SAME_NUMBERS and (
            node.op_type != "Cast" or node.attribute("to") in _INTEGERS
        ):
            shape = self.shape_of(node.input(0), depth)
        else:
            raise ValueError(f"its shape is made by {node}")
        if len(shape) > _MAX_RANK:
            raise ValueError(f"its shape {short(name)} has {len(shape)} numbers")
        return shape

    def vector(self, name: str) -> Array:
        """Return a constant, or raise NotAnExpression."""
        if name not in self.constants:
            raise NotAnExpression(name)
        return self.constants.get(name)

    def optional(self, node: Node, index: int) -> Array | None:
        name = node.input(index)
        return self.vector(name) if name else None

    def end(self, ending: str, node: Node) -> None:
        self.ending, self.ended_by = ending, str(node)


# Of shapes, whatever else these do.
_SAME_NUMBERS = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
_INTEGERS = frozenset({6, 7})  # as TensorProto numbers int32 and int64

# Operators by name: (build, node, segment) -> None


def _gemm(build: Build, node: Node, segment: Segment) -> None:
    if node.attribute("transA", 0):
        raise ValueError("transA is set; expected the rows as they are")
    weights = build.vector(node.input(1))
    if node.attribute("transB", 0):
        weights = weights.T
    biases = build.optional(node, 2)
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    weights = weights if alpha == 1 else weights * weights.dtype.type(alpha)
    if biases is not None and beta != 1:
        biases = biases * beta
    _dense(build, weights, biases)


def _matmul(build: Build, node: Node, segment: Segment) -> None:
    _dense(build, build.vector(node.input(1)), None)


def _dense(build: Build, weights: Array, biases: Array | None) -> None:
    build.stack.dense(np.ascontiguousarray(weights), biases)


def _arithmetic(sign: int, inverse: bool, is_sum: bool) -> Any:
    def write(build: Build, node: Node, segment: Segment) -> None:
        first, second = node.input(0), node.input(1)
        reverse = second == segment.x
        array = build.vector(first if reverse else second).astype(np.float64)
        if is_sum:  # x + c, c + x, x - c, c - x
            shift = array if reverse else sign * array
            scale = np.array(float(sign if reverse else 1))
            build.stack.scale(scale, shift)
            return
        if inverse:
            if reverse or not array.all():
                raise NotAnExpression
            array = 1 / array
        build.stack.scale(array, np.zeros(()))

    return write


def _batch_norm(build: Build, node: Node, segment: Segment) -> None:
    if node.attribute("training_mode", 0):
        raise ValueError("it is in training mode; export the model for inference")
    momentum = 1 - node.attribute("momentum", 0.9)
    layer = BatchNorm(
        momentum=round(momentum, 7) if 1e-6 < momentum <= 1 else 0.1,
        epsilon=_decimal(node.attribute("epsilon", 1e-5)),
    )
    arrays = [build.vector(node.input(i)) for i in range(1, 5)]
    build.stack.normalize(layer, *arrays)


def _layer_norm(build: Build, node: Node, segment: Segment) -> None:
    if node.attribute("axis", -1) not in (1, -1):
        raise ValueError(f"axis is {node.attribute('axis')}; expected -1")
    layer = LayerNorm(epsilon=_decimal(node.attribute("epsilon", 1e-5)))
    scale, shift = build.vector(node.input(1)), build.optional(node, 2)
    build.stack.normalize(layer, scale, shift)


def _decimal(value: float) -> float:
    """1e-5 for the float32 nearest to it, which attributes are."""
    return float(f"{value:.7g}")


def _activation(name: str) -> Any:
    def write(build: Build, node: Node, segment: Segment) -> None:
        build.stack.activate(name)

    return write


def _softmax(build: Build, node: Node, segment: Segment) -> None:
    _check_axis(node)
    build.stack.activate("softmax")


def _log_softmax(build: Build, node: Node, segment: Segment) -> None:
    _check_axis(node)
    build.end("softmax", node)


def _check_axis(node: Node) -> None:
    if node.attribute("axis", -1) not in (1, -1):
        raise ValueError(f"axis is {node.attribute('axis')}; expected 1 or -1")


def _exp(build: Build, node: Node, segment: Segment) -> None:
    if segment.y != build.output:
        raise NotAnExpression
    build.end("exponential", node)


def _leaky_relu(build: Build, node: Node, segment: Segment) -> None:
    build.stack.activate(LeakyReLU(_decimal(node.attribute("alpha", 0.01))))


def _prelu(build: Build, node: Node, segment: Segment) -> None:
    slope = build.constants.number(node.input(1))
    if slope is None:
        raise ValueError("the slope must be one number for all columns")
    build.stack.activate(LeakyReLU(_decimal(slope)))


def _elu(build: Build, node: Node, segment: Segment) -> None:
    build.stack.activate(ELU(_decimal(node.attribute("alpha", 1.0))))


def _selu(build: Build, node: Node, segment: Segment) -> None:
    for name, expected in (("alpha", 1.6732632), ("gamma", 1.0507010)):
        if not math.isclose(node.attribute(name, expected), expected, rel_tol=1e-6):
            raise ValueError(f"{name} is not {expected}")
    build.stack.activate("selu")


def _gelu(build: Build, node: Node, segment: Segment) -> None:
    tanh = node.attribute("approximate", "none") == "tanh"
    build.stack.activate("gelu_tanh" if tanh else "gelu")


def _clip(build: Build, node: Node, segment: Segment) -> None:
    limits = [node.attribute("min", -math.inf), node.attribute("max", math.inf)]
    for i in (0, 1):
        if name := node.input(i + 1):
            limits[i] = build.constants.number(name)
    if limits[0] != 0 or limits[1] is None or limits[1] < 3e38:
        raise ValueError(f"clips to {limits}; expected 0 and infinity, which is ReLU")
    build.stack.activate("relu")


def _transparent(build: Build, node: Node, segment: Segment) -> None:
    """Leave the values of a row as they are."""


def _dropout(build: Build, node: Node, segment: Segment) -> None:
    if (name := node.input(2)) and build.constants.number(name) != 0:
        raise ValueError("it is in training mode; export the model for inference")


def _cast(build: Build, node: Node, segment: Segment) -> None:
    if node.attribute("to") not in FLOATS:
        raise ValueError("casts to other than floating-point numbers")


def _flatten(build: Build, node: Node, segment: Segment) -> None:
    if node.attribute("axis", 1) != 1:
        raise ValueError(f"axis is {node.attribute('axis')}; expected 1")
    build.inner = None


def _reshape(build: Build, node: Node, segment: Segment) -> None:
    shape = build.shape_of(node.input(1))
    columns, told = build.stack.width, f"reshapes to {short(shape)}"
    if columns is None and build.rank > 2 and shape[:1] not in ([0], [_ROWS]):
        raise ValueError(f"{told}; expected 0 rows, for as many")
    if 0 in shape and node.attribute("allowzero", 0):
        raise ValueError(f"{told}, no rows; expected allowzero=0")
    if shape == [-1] and columns == 1 and segment.y == build.output:
        shape = [-1, 1]
    before = [columns or 0] if build.inner is None else build.inner
    inner = [
        before[i] if n == 0 and i < len(before) else n for i, n in enumerate(shape[1:])
    ]
    if columns is None and len(inner) == 1 and inner[0] > 0:
        build.stack.expect(columns := inner[0])
    free, known = inner.count(-1), math.prod(n for n in inner if n != -1)
    if columns is None:
        fits = inner == [-1]
    else:
        fits = known > 0 and columns == (columns // known * known if free else known)
    if (
        not (inner and fits)
        or min(inner) < -1
        or free + (shape[0] == -1) > 1
        or shape[0] not in (-1, 0, _ROWS, build.n_rows)
    ):
        raise ValueError(f"{told}; expected rows of {columns}")
    build.inner = None
    if len(inner) > 1:
        assert columns is not None
        build.inner = [columns // known if n == -1 else n for n in inner]


def _squeeze(build: Build, node: Node, segment: Segment) -> None:
    axes = build.constants.integers(node, "axes", 1)
    if build.stack.width != 1 or segment.y != build.output or axes not in ([1], [-1]):
        raise ValueError(f"squeezes axes {axes}; expected a single column, at the end")


def _scaler(build: Build, node: Node, segment: Segment) -> None:
    offset, scale = (
        np.array(node.attribute(name, default), np.float64)
        for name, default in (("offset", [0.0]), ("scale", [1.0]))
    )
    build.stack.scale(np.ones(1), -offset)
    build.stack.scale(scale, np.zeros(1))


def _imputer(build: Build, node: Node, segment: Segment) -> None:
    # Networks are given no missing values.
    if not math.isnan(node.attribute("replaced_value_float", 0.0)):
        raise ValueError("replaces a number; expected NaN")


_Write = Callable[[Build, Node, Segment], None]

OPERATORS: dict[str, _Write] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _arithmetic(1, False, True),
    "Sub": _arithmetic(-1, False, True),
    "Mul": _arithmetic(1, False, False),
    "Div": _arithmetic(1, True, False),
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Relu": _activation("relu"),
    "Sigmoid": _activation("sigmoid"),
    "Tanh": _activation("tanh"),
    "Softplus": _activation("softplus"),
    "Mish": _activation("mish"),
    "LeakyRelu": _leaky_relu,
    "PRelu": _prelu,
    "Elu": _elu,
    "Selu": _selu,
    "Gelu": _gelu,
    "Clip": _clip,
    "Softmax": _softmax,
    "LogSoftmax": _log_softmax,
    "Exp": _exp,
    "ZipMap": _transparent,
    "Scaler": _scaler,
}

# Those that may have the rows as their second input.
EITHER_WAY = frozenset({"Add", "Div", "Mul", "Sub"})

# Those that see more than one value at a time; all others that are supported do not.
ALONG_AN_AXIS = frozenset(
    {
        "BatchNormalization",
        "Gemm",
        "LayerNormalization",
        "LogSoftmax",
        "MatMul",
        "ReduceMax",
        "ReduceMean",
        "ReduceSum",
        "Scaler",
        "Softmax",
    }
)

TRANSPARENT: dict[str, _Write] = {
    "Identity": _transparent,
    "Dropout": _dropout,
    "Cast": _cast,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Imputer": _imputer,
}
