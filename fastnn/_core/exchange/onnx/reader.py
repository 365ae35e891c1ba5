"""ONNX models that are multilayer perceptrons as networks."""

from __future__ import annotations

import math
from dataclasses import fields, replace
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
from fastnn.activations import ACTIVATIONS
from fastnn.layers import LayerNorm
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
from .operators import ALONG_AN_AXIS, EITHER_WAY, OPERATORS, TRANSPARENT, Build

if TYPE_CHECKING:
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
    folder: str | None = None,
) -> ModelState:
    """Return the network of a ModelProto of this number of bytes.

    Tensors may lie in files in the folder.
    """
    check_model(model)
    graph = model.graph
    constants = Constants(graph, n_bytes, folder)
    x = value_input(graph)
    y = _output_name(graph, output)
    segments = read_segments(graph, constants, x.name, y)
    dims = _dims(x)
    stack = LayerStack(_n_inputs(x.name, dims), constants.charge)
    inner = dims[1:] if len(dims) > 2 else None
    importer = _Importer(constants, stack, y, dims[0] if dims else 0, inner)
    importer.keep_shape(x.name)
    while segments and not take_range(importer, segments):
        n = importer.take(segments)
        importer.keep_shape(segments[n - 1].y)
        del segments[:n]
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


class _Importer(Build):
    """Puts segments on the stack."""

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
            f"are {', '.join(sorted({*OPERATORS, *TRANSPARENT}))}, and what the "
            "activations and LayerNorm are composed of"
        )

    def _take_nodes(self, nodes: list[Node], x: str, y: str) -> None:
        if not all(map(_is_standard, nodes)):
            raise NotAnExpression
        segment = Segment(nodes, x, y)
        nodes = [node for node in nodes if node.op_type not in TRANSPARENT]
        if self.ending and any(node.op_type != "ZipMap" for node in nodes):
            raise NotAnExpression
        try:
            for node in segment.nodes:
                if node.op_type in TRANSPARENT:
                    if nodes and node.op_type in ("Flatten", "Reshape", "Squeeze"):
                        raise NotAnExpression
                    TRANSPARENT[node.op_type](self, node, segment)
            if not nodes:
                return
            if self.rank > 2:
                for node in nodes:
                    self._check_elementwise(node)
            if len(nodes) == 1 and nodes[0].op_type in OPERATORS:
                if nodes[0].op_type not in EITHER_WAY and nodes[0].input(0) != x:
                    raise NotAnExpression
                OPERATORS[nodes[0].op_type](self, nodes[0], segment)
            elif not self._take_both_classes(nodes, segment):
                self._take_expression(segment)
        except ModelFormatError:
            raise
        except (IndexError, OverflowError, TypeError, ValueError) as error:
            raise ModelFormatError(f"{_names(segment.nodes)}: {error}") from None

    def _check_elementwise(self, node: Node) -> None:
        """Refuse what sees more of rows that are not flat than a value at a time."""
        known = self.constants
        arrays = [known.get(name) for name in node.inputs if name in known]
        if node.op_type in ALONG_AN_AXIS or any(
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
    is_ml = node.op_type in ("Imputer", "Scaler", "ZipMap")
    return node.domain in (("ai.onnx.ml",) if is_ml else ("", "ai.onnx"))
