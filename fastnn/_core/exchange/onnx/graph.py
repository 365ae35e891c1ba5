"""Reading an ONNX model as a chain: from the rows to one output, segment by segment.

A segment is what lies between two tensors that everything passes through: one operator
or, say, the five of a GELU. Nothing of a file is executed: functions and subgraphs are
refused, and no array is made that is larger than the file, and those beside it that
hold its tensors (see `external.py`), let expect.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from reprlib import repr as short
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from fastnn._base.errors import ModelFormatError
from fastnn._base.fields import MAX_DIMENSION

from .external import ExternalFiles

if TYPE_CHECKING:
    from fastnn._base.types import Array


__all__ = [
    "FLOATS",
    "Constants",
    "Node",
    "Segment",
    "check_model",
    "metadata_of",
    "read_segments",
    "value_input",
]

_MAX_NODES = 100_000
# A tensor may be used more than once: to tie two layers, or to fill a memory.
_REUSE = 16
_LEAST_CHARGE = 1000  # bytes, for what a tensor takes besides its numbers
_OLDEST_OPSET = 7  # before it, operators broadcast by attributes

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
# The types of constants that may be read, and the field of those not in raw_data.
_FIELDS = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.FLOAT16: "int32_data",
    TensorProto.INT32: "int32_data",
    TensorProto.INT64: "int64_data",
    TensorProto.BOOL: "int32_data",
}


class Node:
    """An operator of the graph."""

    def __init__(self, proto: Any) -> None:
        self._proto = proto
        self.op_type: str = proto.op_type
        self.domain: str = proto.domain
        self.inputs: list[str] = list(proto.input)
        self.outputs: list[str] = list(proto.output)

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an int, a float, a str, a list of ints or floats, or a TensorProto."""
        for each in self._proto.attribute:
            if each.name != name:
                continue
            for field in ("f", "i", "s", "t"):
                if each.HasField(field):
                    value = getattr(each, field)
                    return value.decode("utf-8", "replace") if field == "s" else value
            return [*each.ints] or [*each.floats]
        return default

    def input(self, index: int) -> str:
        """Return the name of an input, "" if it is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""

    def __str__(self) -> str:
        name = self._proto.name or (self.outputs[0] if self.outputs else "")
        return f"node {short(name)} ({self.op_type[:40]})"


@dataclass(frozen=True)
class Segment:
    """Operators, in order, that make one tensor of another."""

    nodes: list[Node]
    x: str
    y: str


class Constants:
    """The tensors of the graph that do not depend on its input."""

    def __init__(self, graph: Any, n_bytes: int, folder: str | None = None) -> None:
        self._files = ExternalFiles(folder)
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._nodes: dict[str, Node] = {}
        self._left = _REUSE * n_bytes + 2**24
        self._arrays: dict[str, Array] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._tensors or name in self._nodes

    def add(self, node: Node) -> bool:
        """Take a node that depends on constants alone; False if it is none."""
        if node.inputs and not node.inputs[0]:
            raise ModelFormatError(f"{node}: its first input is left out")
        # A shape is none, but `Build.shape_of` asks for it as for one.
        if node.op_type != "Shape" and not all(
            name in self or not name for name in node.inputs
        ):
            return False
        self._nodes.update(dict.fromkeys(filter(None, node.outputs), node))
        return True

    def get(self, name: str) -> Array:
        """Return the array of a constant, numeric."""
        if name not in self._arrays:
            self._arrays[name] = self._make(name)
        array = self._arrays[name]
        self.charge(array.nbytes)
        return array

    def charge(self, n_bytes: int) -> None:
        """Count memory that is taken; raise ModelFormatError if it is too much."""
        self._left -= n_bytes
        if self._left < 0:
            raise ModelFormatError(
                "the graph uses its tensors too many times, or has more columns than "
                "its weights let expect"
            )

    def node(self, name: str) -> Node | None:
        """Return the node that makes a constant, None for a tensor."""
        return self._nodes.get(name)

    def is_plain(self, name: str) -> bool:
        """Return whether a constant is given as such, and not made of others."""
        node = self._nodes.get(name)
        return name in self._tensors or (
            node is not None and node.op_type == "Constant"
        )

    def _make(self, name: str) -> Array:
        changes: list[Node] = []
        while name in self._nodes:
            node = self._nodes[name]
            if node.op_type == "Constant":
                array = self._value_of(node)
                break
            if node.op_type not in _CHANGES or len(changes) > 100:
                raise ModelFormatError(
                    f"{node} makes a constant; expected {', '.join(_CHANGES)}"
                )
            changes.append(node)
            name = node.input(0)
        else:
            array = self._decode(self._tensors[name])
        self.charge(array.nbytes + _LEAST_CHARGE)
        for node in reversed(changes):
            array = _CHANGES[node.op_type](self, node, array)
        return array

    def number(self, name: str) -> float | None:
        """Return the value of a constant that is one number, else None."""
        if name not in self:
            return None
        array = self.get(name)
        return float(array.reshape(())) if array.size == 1 else None

    def integers(self, node: Node, name: str, index: int) -> list[int] | None:
        """Return an attribute that newer opsets have as an input; None if absent."""
        if value := node.input(index):
            if value not in self:
                raise ModelFormatError(f"{node}: {name} is no constant")
            return [int(each) for each in self.get(value).ravel()]
        value = node.attribute(name)
        return [value] if isinstance(value, int) else value

    def _value_of(self, node: Node) -> Array:
        if (tensor := node.attribute("value")) is not None:
            return self._decode(tensor)
        for name in ("value_float", "value_int", "value_floats", "value_ints"):
            if (value := node.attribute(name)) is not None:
                return np.array(value, np.float32 if "float" in name else np.int64)
        raise ModelFormatError(f"{node} has no value that is a number")

    def _decode(self, tensor: Any) -> Array:
        name = short(getattr(tensor, "name", "?"))
        kind = getattr(tensor, "data_type", 0)
        if kind not in _FIELDS:
            raise ModelFormatError(
                f"tensor {name} has data type {kind}; expected numbers such as float"
            )
        dims = list(tensor.dims)
        if any(not 0 <= dim <= MAX_DIMENSION for dim in dims) or len(dims) > 8:
            raise ModelFormatError(f"tensor {name} has shape {short(dims)}")
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        item = dtype.itemsize
        given = len(tensor.raw_data)
        expected = math.prod(dims) * item
        is_outside = tensor.data_location == TensorProto.EXTERNAL
        if is_outside != bool(tensor.external_data) or (is_outside and given):
            raise ModelFormatError(
                f"tensor {name} has its data in two places, or in none; expected them "
                "in the model or in a file"
            )
        if is_outside:
            try:
                data, n_new = self._files.read(tensor.external_data, expected)
            except ValueError as error:
                raise ModelFormatError(f"tensor {name} {error}") from None
            self._left += _REUSE * n_new
            return np.frombuffer(data, dtype.newbyteorder("<")).reshape(dims)
        if not tensor.HasField("raw_data"):
            given = len(getattr(tensor, _FIELDS[kind])) * item
        if given != expected:
            raise ModelFormatError(
                f"tensor {name} of shape {dims} has {given} bytes; expected {expected}"
            )
        try:
            return np.asarray(numpy_helper.to_array(tensor))
        except (ValueError, TypeError, OverflowError) as error:
            raise ModelFormatError(f"tensor {name}: {error}") from None


def _transpose(constants: Constants, node: Node, array: Array) -> Array:
    axes = node.attribute("perm") or range(array.ndim)[::-1]
    try:
        return array.transpose(axes)
    except ValueError as error:
        raise ModelFormatError(f"{node}: {error}") from None


def _cast(constants: Constants, node: Node, array: Array) -> Array:
    if node.attribute("to") not in FLOATS:
        raise ModelFormatError(f"{node} makes no floating-point numbers")
    dtype = helper.tensor_dtype_to_np_dtype(node.attribute("to"))
    with np.errstate(all="ignore"):
        return array.astype(dtype)


def _reshape(constants: Constants, node: Node, array: Array) -> Array:
    name = node.input(1)
    if not constants.is_plain(name):
        raise ModelFormatError(f"{node}: its shape {short(name)} is no given constant")
    shape = constants.get(name).ravel().tolist()
    if 0 in shape and node.attribute("allowzero", 0):
        raise ModelFormatError(f"{node} reshapes to {short(shape)}, without values")
    try:
        shape = [array.shape[i] if n == 0 else n for i, n in enumerate(shape)]
        return array.reshape(shape)
    except (IndexError, TypeError, ValueError) as error:
        raise ModelFormatError(f"{node}: {error}") from None


_CHANGES = {
    "Identity": lambda constants, node, array: array,
    "Transpose": _transpose,
    "Cast": _cast,
    "Reshape": _reshape,
}


def check_model(model: Any) -> None:
    """Refuse what no multilayer perceptron needs."""
    graph = model.graph
    if len(graph.node) > _MAX_NODES:
        raise ModelFormatError(
            f"the graph has {len(graph.node)} nodes; expected at most {_MAX_NODES}"
        )
    if model.functions:
        raise ModelFormatError("the model defines functions; expected operators only")
    if graph.sparse_initializer:
        raise ModelFormatError("the graph has sparse tensors; expected dense ones")
    versions = [each.version for each in model.opset_import if not each.domain]
    if not versions or max(versions) < _OLDEST_OPSET:
        raise ModelFormatError(
            f"the model is of opset {versions or 'unknown'}; expected "
            f"{_OLDEST_OPSET} or later"
        )


def value_input(graph: Any) -> Any:
    """Return the ValueInfoProto of the rows: the one input that is no constant."""
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [each for each in graph.input if each.name not in constants]
    if len(inputs) != 1:
        names = [each.name for each in inputs]
        raise ModelFormatError(f"the graph has the inputs {short(names)}; expected one")
    if not inputs[0].type.HasField("tensor_type"):
        raise ModelFormatError("the graph's input is no tensor")
    return inputs[0]


def read_segments(
    graph: Any, constants: Constants, x: str, output: str
) -> list[Segment]:
    """Return what lies between the input and an output; fills the constants."""
    nodes, made = _nodes_by_order(graph, constants, x)
    if output not in made and output != x:
        raise ModelFormatError(f"output {short(output)} does not depend on the input")
    needed, waiting = set(), [output]
    while waiting:
        name = waiting.pop()
        if name == x or (index := made[name]) in needed:
            continue
        needed.add(index)
        waiting += [each for each in nodes[index].inputs if each == x or each in made]
    path = [nodes[index] for index in sorted(needed)]
    return _cut(path, x, output, made)


def _nodes_by_order(
    graph: Any, constants: Constants, x: str
) -> tuple[list[Node], dict[str, int]]:
    """All nodes that depend on x, and by which of them each tensor is made."""
    nodes: list[Node] = []
    made: dict[str, int] = {}
    for proto in graph.node:
        node = Node(proto)
        if node.inputs == [] and node.op_type != "Constant":
            raise ModelFormatError(f"{node} is not supported")
        for name in filter(None, node.outputs):
            if name in made or name in constants or name == x:
                raise ModelFormatError(f"{node} makes {short(name)}, which exists")
        if constants.add(node):
            continue
        for name in node.inputs:
            if name and name != x and name not in made and name not in constants:
                raise ModelFormatError(
                    f"{node} uses {short(name)}, which nothing makes before it"
                )
        # The others, such as the mask of Dropout, are no values of a row.
        made.update(dict.fromkeys(filter(None, node.outputs[:1]), len(nodes)))
        nodes.append(node)
    return nodes, made


def _cut(path: list[Node], x: str, output: str, made: dict[str, int]) -> list[Segment]:
    """Cut where one tensor is all that later nodes use of earlier ones."""
    uses: dict[str, int] = {output: 1}
    for node in path:
        for name in node.inputs:
            if name == x or name in made:
                uses[name] = uses.get(name, 0) + 1
    segments: list[Segment] = []
    alive = {x}
    nodes: list[Node] = []
    for node in path:
        nodes.append(node)
        for name in node.inputs:
            if name in uses:
                uses[name] -= 1
                if not uses[name]:
                    alive.discard(name)
        alive.update(name for name in node.outputs if uses.get(name))
        if len(alive) == 1 and (y := next(iter(alive))) in node.outputs:
            segments.append(Segment(nodes, x, y))
            nodes, x = [], y
    return segments


def metadata_of(model: Any, key: str, longest: int = 1000) -> Any:
    """Return the JSON value of an entry of the metadata, None if there is none."""
    for entry in model.metadata_props:
        if entry.key == key and len(entry.value) < longest:
            try:
                return json.loads(entry.value)
            except (ValueError, RecursionError):
                return None
    return None
