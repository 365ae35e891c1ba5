"""ONNX models that are multilayer perceptrons as networks.

To add an operator: a function in OPERATORS that puts it on the stack.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from reprlib import repr as short
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._base.errors import ModelFormatError
from fastnn._base.fields import MAX_DIMENSION
from fastnn._core.exchange.model_header import MAX_HEADER
from fastnn._core.exchange.stack import (
    LayerStack,
    Options,
    endings_of,
    loss_of_ending,
    loss_problem,
)
from fastnn._plan.plan import spec_from_dict
from fastnn._plan.schema import Schema, check_schema
from fastnn.activations import ACTIVATIONS, ELU, LeakyReLU
from fastnn.layers import BatchNorm, LayerNorm
from fastnn.losses import LOSSES, Loss

from .export import LOSS_KEY, SCHEMA_KEY
from .expressions import Expressions, NotAnExpression, recognize
from .graph import (
    FLOATS,
    Constants,
    Node,
    Segment,
    check_model,
    metadata_of,
    read_segments,
    value_input,
)
from .limits import take_range

if TYPE_CHECKING:
    from fastnn._base.types import Array
    from fastnn._core.model.state import ModelState


__all__ = ["read_model"]

# Operators in one segment; the longest that is known, GELU in float64, has 48.
_MAX_SEGMENT = 64
# Segments that are tried together, such as log(exp(x) + 1) in three operators.
_MAX_TOGETHER = 6


def read_model(
    model: Any,
    n_bytes: int,
    output: str | None,
    loss: str | Loss | None,
    options: Options,
) -> ModelState:
    """Return the network of a ModelProto of this number of bytes."""
    check_model(model)
    graph = model.graph
    constants = Constants(graph, n_bytes)
    x = value_input(graph)
    y = _output_name(graph, output)
    segments = read_segments(graph, constants, x.name, y)
    dims = _dims(x)
    stack = LayerStack(_n_inputs(x.name, dims), constants.charge)
    importer = _Importer(constants, stack, y, rank=max(2, len(dims)))
    while segments and not take_range(stack, segments, constants):
        del segments[: importer.take(segments)]
    hint = metadata_of(model, LOSS_KEY)
    found = importer.find_loss(hint) if loss is None else importer.require_loss(loss)
    try:
        state: ModelState = importer.stack.state(found, options)
    except ValueError as error:
        raise ModelFormatError(f"the graph: {error}") from None
    return replace(state, schema=_schema_of(model, state))


def _schema_of(model: Any, state: ModelState) -> Schema | None:
    """The schema that `to_onnx` wrote, if it fits what was read."""
    data = metadata_of(model, SCHEMA_KEY, MAX_HEADER)
    try:
        schema = None if data is None else Schema.from_dict(data)
        check_schema(schema, state.plan)
    except ValueError:
        return None
    return schema


def _dims(x: Any) -> list[int]:
    """The shape of the rows, 0 for what is not fixed; empty if it is not known."""
    return [
        each.dim_value if each.HasField("dim_value") else 0
        for each in x.type.tensor_type.shape.dim
    ]


def _n_inputs(name: str, dims: list[int]) -> int | None:
    """The product of all dimensions but the first; None if they are not fixed."""
    if len(dims) < 2 or min(dims[1:]) <= 0:
        return None
    product = math.prod(dims[1:])
    if product > MAX_DIMENSION:
        raise ModelFormatError(
            f"the input {short(name)} has {short(product)} columns; expected at most "
            f"{MAX_DIMENSION}"
        )
    return product


def _output_name(graph: Any, given: str | None) -> str:
    """The one output of floating-point numbers."""
    outputs = {each.name: each.type for each in graph.output}
    if given is not None:
        if given not in outputs:
            raise ValueError(
                f"output is {given!r}; expected one of {short(list(outputs))}"
            )
        return given
    names = [
        name
        for name, kind in outputs.items()
        if not kind.HasField("tensor_type")  # skl2onnx: a list of dicts
        or kind.tensor_type.elem_type in (0, *FLOATS)
    ]
    if len(names) != 1:
        raise ModelFormatError(
            f"the graph has the outputs {short(list(outputs))}; expected one of "
            "floating-point numbers, or its name as the argument `output`"
        )
    return str(names[0])


@dataclass
class _Importer:
    """Puts segments on a stack."""

    constants: Constants
    stack: LayerStack
    output: str
    ending: str = ""  # what the graph ends with that is no activation of a layer
    ended_by: str = ""
    rank: int = 2  # of the rows; more until Flatten or Reshape

    def take(self, segments: list[Segment]) -> int:
        """Put the first segment on the stack; return how many made sense together."""
        for n in range(1, min(len(segments), _MAX_TOGETHER) + 1):
            nodes = [node for segment in segments[:n] for node in segment.nodes]
            try:
                self._take_nodes(nodes, segments[0].x, segments[n - 1].y)
            except NotAnExpression:
                continue
            return n
        raise ModelFormatError(
            f"{_names(segments[0].nodes)}: not supported, alone or together; supported "
            f"are {', '.join(sorted({*OPERATORS, *_TRANSPARENT}))}, and what the "
            "activations and LayerNorm are composed of"
        )

    def _take_nodes(self, nodes: list[Node], x: str, y: str) -> None:
        if not all(map(_is_standard, nodes)):
            raise NotAnExpression
        segment = Segment(nodes, x, y)
        nodes = [node for node in nodes if node.op_type not in _TRANSPARENT]
        if self.ending and any(node.op_type != "ZipMap" for node in nodes):
            raise NotAnExpression
        try:
            for node in segment.nodes:
                if node.op_type in _TRANSPARENT:
                    if nodes and node.op_type in ("Flatten", "Reshape"):
                        raise NotAnExpression
                    _TRANSPARENT[node.op_type](self, node, segment)
            if not nodes:
                return
            if self.rank > 2:
                for node in nodes:
                    self._check_elementwise(node)
            if len(nodes) == 1 and nodes[0].op_type in OPERATORS:
                if nodes[0].op_type not in _EITHER_WAY and nodes[0].input(0) != x:
                    raise NotAnExpression
                OPERATORS[nodes[0].op_type](self, nodes[0], segment)
            elif not self._take_both_classes(nodes, segment):
                self._take_expression(segment)
        except ModelFormatError:
            raise
        except (TypeError, ValueError) as error:
            raise ModelFormatError(f"{_names(segment.nodes)}: {error}") from None

    def _check_elementwise(self, node: Node) -> None:
        """Refuse what sees more of rows that are not flat than a value at a time."""
        known = self.constants
        arrays = [known.get(name) for name in node.inputs if name in known]
        if node.op_type in _ALONG_AN_AXIS or any(
            array.size > 1 or array.ndim > self.rank for array in arrays
        ):
            raise ModelFormatError(
                f"{node}: its input has {self.rank} dimensions; expected 2, as after "
                "Flatten"
            )

    def find_loss(self, hint: Any) -> str | Loss:
        """Return the loss with which predictions are what the graph's output is."""
        last = self.ending or self.stack.last_activation
        if hint is not None:
            try:
                loss: Loss = spec_from_dict(LOSS_KEY, hint, LOSSES)
            except ModelFormatError:
                return loss_of_ending(last)
            endings = endings_of(loss)
            if endings & {last, "identity"} and self.ending in {"", *endings}:
                return loss
        return loss_of_ending(last)

    def require_loss(self, loss: str | Loss) -> str | Loss:
        """Return the loss that is asked for, if the graph's ending belongs to it."""
        if problem := loss_problem(loss, self.ending):
            raise ModelFormatError(f"the graph ends with {self.ended_by}, {problem}")
        return loss

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

    def _take_both_classes(self, nodes: list[Node], segment: Segment) -> bool:
        """The columns 1 - p and p, as skl2onnx writes them for two classes."""
        if [node.op_type for node in nodes] != ["Sub", "Concat"]:
            return False
        minus, both = nodes
        if (
            self.constants.number(minus.input(0)) != 1
            or minus.input(1) != segment.x
            or both.inputs != [minus.outputs[0], segment.x]
            or both.attribute("axis") not in (1, -1)
            or self.stack.last_activation != "sigmoid"
        ):
            return False
        self.end("sigmoid", both)
        return True

    def _take_expression(self, segment: Segment) -> None:
        if len(segment.nodes) > _MAX_SEGMENT:
            raise NotAnExpression
        op = Expressions()
        values: dict[str, Any] = {segment.x: op.x}
        for node in segment.nodes:
            arguments = [
                values[name] if name in values else self._number(name)
                for name in node.inputs
            ]
            if node.op_type in ("Cast", "Dropout"):
                values[node.outputs[0]] = arguments[0]
                continue
            if node.op_type == "ReduceMean":
                axes = self.constants.integers(node, "axes", 1)
                if axes not in ([1], [-1]) or node.attribute("keepdims", 1) != 1:
                    raise NotAnExpression
                del arguments[1:]
            values[node.outputs[0]] = op(node.op_type, *arguments)
        meaning = recognize(values[segment.y])
        if meaning is None:
            raise NotAnExpression
        if meaning.name == "normalize":
            self.stack.normalize(LayerNorm(epsilon=meaning.parameter), None, None)
        else:
            known: Any = ACTIVATIONS[meaning.name]
            self.stack.activate(known(*[meaning.parameter] * len(fields(known))))
        if abs(meaning.factor - 1) > 1e-9:
            self.stack.scale(np.array(meaning.factor), np.zeros(()))

    def _number(self, name: str) -> float:
        number = self.constants.number(name)
        if number is None:
            raise NotAnExpression
        return number


def _names(nodes: list[Node]) -> str:
    return ", ".join(str(node) for node in nodes[:8])


def _is_standard(node: Node) -> bool:
    domains = ("ai.onnx.ml",) if node.op_type == "ZipMap" else ("", "ai.onnx")
    return node.domain in domains


# Operators by name: (importer, node, segment) -> None


def _gemm(importer: _Importer, node: Node, segment: Segment) -> None:
    if node.attribute("transA", 0):
        raise ValueError("transA is set; expected the rows as they are")
    weights = importer.vector(node.input(1))
    if node.attribute("transB", 0):
        weights = weights.T
    biases = importer.optional(node, 2)
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    weights = weights if alpha == 1 else weights * weights.dtype.type(alpha)
    if biases is not None and beta != 1:
        biases = biases * beta
    _dense(importer, weights, biases)


def _matmul(importer: _Importer, node: Node, segment: Segment) -> None:
    _dense(importer, importer.vector(node.input(1)), None)


def _dense(importer: _Importer, weights: Array, biases: Array | None) -> None:
    importer.stack.dense(np.ascontiguousarray(weights), biases)


def _arithmetic(sign: int, inverse: bool, is_sum: bool) -> Any:
    def write(importer: _Importer, node: Node, segment: Segment) -> None:
        first, second = node.input(0), node.input(1)
        reverse = second == segment.x
        array = importer.vector(first if reverse else second).astype(np.float64)
        if is_sum:  # x + c, c + x, x - c, c - x
            shift = array if reverse else sign * array
            scale = np.array(float(sign if reverse else 1))
            importer.stack.scale(scale, shift)
            return
        if inverse:
            if reverse or not array.all():
                raise NotAnExpression
            array = 1 / array
        importer.stack.scale(array, np.zeros(()))

    return write


def _batch_norm(importer: _Importer, node: Node, segment: Segment) -> None:
    if node.attribute("training_mode", 0):
        raise ValueError("it is in training mode; export the model for inference")
    momentum = 1 - node.attribute("momentum", 0.9)
    layer = BatchNorm(
        momentum=round(momentum, 7) if 1e-6 < momentum <= 1 else 0.1,
        epsilon=_decimal(node.attribute("epsilon", 1e-5)),
    )
    arrays = [importer.vector(node.input(i)) for i in range(1, 5)]
    importer.stack.normalize(layer, *arrays)


def _layer_norm(importer: _Importer, node: Node, segment: Segment) -> None:
    if node.attribute("axis", -1) not in (1, -1):
        raise ValueError(f"axis is {node.attribute('axis')}; expected -1")
    layer = LayerNorm(epsilon=_decimal(node.attribute("epsilon", 1e-5)))
    scale, shift = importer.vector(node.input(1)), importer.optional(node, 2)
    importer.stack.normalize(layer, scale, shift)


def _decimal(value: float) -> float:
    """1e-5 for the float32 nearest to it, which attributes are."""
    return float(f"{value:.7g}")


def _activation(name: str) -> Any:
    def write(importer: _Importer, node: Node, segment: Segment) -> None:
        importer.stack.activate(name)

    return write


def _softmax(importer: _Importer, node: Node, segment: Segment) -> None:
    _check_axis(node)
    importer.stack.activate("softmax")


def _log_softmax(importer: _Importer, node: Node, segment: Segment) -> None:
    _check_axis(node)
    importer.end("softmax", node)


def _check_axis(node: Node) -> None:
    if node.attribute("axis", -1) not in (1, -1):
        raise ValueError(f"axis is {node.attribute('axis')}; expected 1 or -1")


def _exp(importer: _Importer, node: Node, segment: Segment) -> None:
    if segment.y != importer.output:
        raise NotAnExpression
    importer.end("exponential", node)


def _leaky_relu(importer: _Importer, node: Node, segment: Segment) -> None:
    importer.stack.activate(LeakyReLU(_decimal(node.attribute("alpha", 0.01))))


def _prelu(importer: _Importer, node: Node, segment: Segment) -> None:
    slope = importer.constants.number(node.input(1))
    if slope is None:
        raise ValueError("the slope must be one number for all columns")
    importer.stack.activate(LeakyReLU(_decimal(slope)))


def _elu(importer: _Importer, node: Node, segment: Segment) -> None:
    importer.stack.activate(ELU(_decimal(node.attribute("alpha", 1.0))))


def _selu(importer: _Importer, node: Node, segment: Segment) -> None:
    for name, expected in (("alpha", 1.6732632), ("gamma", 1.0507010)):
        if not math.isclose(node.attribute(name, expected), expected, rel_tol=1e-6):
            raise ValueError(f"{name} is not {expected}")
    importer.stack.activate("selu")


def _gelu(importer: _Importer, node: Node, segment: Segment) -> None:
    tanh = node.attribute("approximate", "none") == "tanh"
    importer.stack.activate("gelu_tanh" if tanh else "gelu")


def _clip(importer: _Importer, node: Node, segment: Segment) -> None:
    limits = [node.attribute("min", -math.inf), node.attribute("max", math.inf)]
    for i in (0, 1):
        if name := node.input(i + 1):
            limits[i] = importer.constants.number(name)
    if limits[0] != 0 or limits[1] is None or limits[1] < 3e38:
        raise ValueError(f"clips to {limits}; expected 0 and infinity, which is ReLU")
    importer.stack.activate("relu")


def _transparent(importer: _Importer, node: Node, segment: Segment) -> None:
    """Leave the values of a row as they are."""


def _dropout(importer: _Importer, node: Node, segment: Segment) -> None:
    if (name := node.input(2)) and importer.constants.number(name) != 0:
        raise ValueError("it is in training mode; export the model for inference")


def _cast(importer: _Importer, node: Node, segment: Segment) -> None:
    if node.attribute("to") not in FLOATS:
        raise ValueError("casts to other than floating-point numbers")


def _flatten(importer: _Importer, node: Node, segment: Segment) -> None:
    if node.attribute("axis", 1) != 1:
        raise ValueError(f"axis is {node.attribute('axis')}; expected 1")
    importer.rank = 2


def _reshape(importer: _Importer, node: Node, segment: Segment) -> None:
    shape = importer.vector(node.input(1)).ravel().tolist()
    columns = importer.stack.width
    if columns is None and importer.rank > 2 and shape[:1] != [0]:
        raise ValueError(f"reshapes to {short(shape)}; expected 0 rows, for as many")
    if 0 in shape and node.attribute("allowzero", 0):
        raise ValueError(f"reshapes to {short(shape)}, no rows; expected allowzero=0")
    if columns is None and len(shape) == 2 and shape[1] > 0:
        importer.stack.expect(columns := shape[1])
    if len(shape) != 2 or (shape[0] > 0) or shape[1] not in (-1, columns or -1):
        raise ValueError(f"reshapes to {short(shape)}; expected rows of {columns}")
    if shape[0] == shape[1] == -1:
        raise ValueError(f"reshapes to {short(shape)}")
    importer.rank = 2


_Write = Callable[[_Importer, Node, Segment], None]

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
}

# Those that may have the rows as their second input.
_EITHER_WAY = frozenset({"Add", "Div", "Mul", "Sub"})

# Those that see more than one value at a time; all others that are supported do not.
_ALONG_AN_AXIS = frozenset(
    {
        "BatchNormalization",
        "Gemm",
        "LayerNormalization",
        "LogSoftmax",
        "MatMul",
        "ReduceMax",
        "ReduceMean",
        "ReduceSum",
        "Softmax",
    }
)

_TRANSPARENT: dict[str, _Write] = {
    "Identity": _transparent,
    "Dropout": _dropout,
    "Cast": _cast,
    "Flatten": _flatten,
    "Reshape": _reshape,
}
