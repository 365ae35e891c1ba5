"""Networks as ONNX models: opset 13, rows of any number, labels and probabilities."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from fastnn._base.version import __version__
from fastnn._core.exchange.stages import (
    Activate,
    Affine,
    Clamp,
    Lookup,
    Normalize,
    Parametric,
    Periodic,
    PiecewiseLinear,
    Stage,
    stages_of,
    width_after,
)

from .recipes import MAX_BYTES, RECIPES, write_activation, write_normalization

if TYPE_CHECKING:
    from fastnn._base.types import Array
    from fastnn._core.model.state import ModelState


__all__ = ["LOSS_KEY", "SCHEMA_KEY", "Graph", "make_model"]

# Of the metadata: what the graph cannot say.
LOSS_KEY, SCHEMA_KEY = "fastnn.loss", "fastnn.schema"

# The versions of the format that read the same in every runtime of the last years.
_OPSET, _IR_VERSION = 13, 7


def make_model(state: ModelState) -> Any:
    """Return the ModelProto that predicts as the network does."""
    plan = state.plan
    stages = stages_of(state)
    n_bytes = sum(
        array.nbytes
        for stage in stages
        for array in vars(stage).values()
        if isinstance(array, np.ndarray)
    )
    if n_bytes > MAX_BYTES - 2**20:
        raise ValueError(
            f"the network has {n_bytes / 1e9:.1f} GB of weights; an ONNX file holds 2"
        )
    graph = Graph(plan.array_dtype)
    z: Any = "X"
    width = plan.n_inputs
    for stage in stages:
        z = _write_stage(graph, stage, z, width)
        width = width_after(stage, width)
    last = plan.output_activation
    values = "values" if last in ("identity", "exponential") else "probabilities"
    if last == "identity":
        graph.add("Identity", [z], values)
    else:
        graph.rename(RECIPES[plan.array_dtype][last](graph, z, 0.0), values)
    outputs = [
        helper.make_tensor_value_info(values, graph.kind, ["rows", plan.n_outputs])
    ]
    if plan.loss.is_classifier:
        shape = ["rows"] if plan.n_classes else ["rows", plan.n_outputs]
        _write_labels(graph, z, plan.n_classes or 0, plan.n_outputs)
        label = helper.make_tensor_value_info("label", TensorProto.INT64, shape)
        outputs.insert(0, label)
    x = helper.make_tensor_value_info("X", graph.kind, ["rows", plan.n_inputs])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "fastnn", [x], outputs, graph.constants),
        producer_name="fastnn",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )
    loss = {"type": plan.loss.name, **vars(plan.loss)}
    metadata = {LOSS_KEY: json.dumps(loss)}
    if state.schema is not None:
        metadata[SCHEMA_KEY] = json.dumps(state.schema.to_dict())
        metadata["input_names"] = json.dumps(state.schema.input_names)
        if state.schema.target is not None and state.schema.target.classes:
            metadata["class_names"] = json.dumps(state.schema.target.classes)
    helper.set_model_props(model, metadata)
    return model


class Graph:
    """Nodes and constants in the making; a value is the name of its tensor."""

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        self.kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._numbers: dict[tuple[float, str], str] = {}

    def __call__(self, op_type: str, *inputs: Any, **attributes: Any) -> str:
        names = [x if isinstance(x, str) else self.number(x) for x in inputs]
        return self.add(op_type, names, f"v{len(self.nodes)}", **attributes)

    def add(
        self, op_type: str, inputs: list[str], output: str, **attributes: Any
    ) -> str:
        name = f"{op_type}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op_type, inputs, [output], name, **attributes)
        )
        return output

    def rename(self, value: str, name: str) -> None:
        """Give the output of the last node another name."""
        assert list(self.nodes[-1].output) == [value]
        self.nodes[-1].output[0] = name

    def number(self, value: float) -> str:
        key = float(value), self.dtype.name
        if key not in self._numbers:
            self._numbers[key] = self.array(np.array(value, self.dtype))
        return self._numbers[key]

    def array(self, array: Array) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name


def _write_stage(op: Graph, stage: Stage, x: str, width: int) -> str:
    if isinstance(stage, Affine):
        weights = op.array(stage.weights)
        if stage.biases is None:
            return op("MatMul", x, weights)
        return op("Gemm", x, weights, op.array(stage.biases))
    if isinstance(stage, Activate):
        return str(write_activation(op, stage.activation, x, op.dtype.name))
    if isinstance(stage, Periodic):
        return _write_periodic(op, stage, x, width)
    if isinstance(stage, PiecewiseLinear):
        return _write_piecewise_linear(op, stage, x, width)
    if isinstance(stage, Lookup):
        return _write_lookup(op, stage, x, width)
    if isinstance(stage, Parametric):
        y = x
        if stage.function.name != "identity":
            y = str(write_activation(op, stage.function, x, op.dtype.name))
        return op("Add", x, op("Mul", op.array(stage.factors), op("Sub", y, x)))
    if isinstance(stage, Clamp):
        return op("Min", op("Max", x, op.array(stage.low)), op.array(stage.high))
    if isinstance(stage, Normalize):
        x = write_normalization(op, x, stage.epsilon)
        return op("Add", op("Mul", x, op.array(stage.scale)), op.array(stage.shift))
    for op_type, array, neutral in (
        ("Sub", stage.center, 0),
        ("Mul", stage.scale, 1),
        ("Add", stage.shift, 0),
    ):
        if array is not None and (array != neutral).any():
            x = op(op_type, x, op.array(array.astype(op.dtype)))
    return x


def _integers(op: Graph, *numbers: int) -> str:
    return op.array(np.array(numbers))


def _columns(op: Graph, x: str, width: int, start: int, stop: int) -> list[str]:
    """Columns start to stop of x (rows, width), nothing if there are none."""
    if start == stop:
        return []
    if stop - start == width:
        return [x]
    ends = (_integers(op, each) for each in (start, stop, 1))
    return [op("Slice", x, *ends)]


def _write_periodic(op: Graph, stage: Periodic, x: str, width: int) -> str:
    def axes(*numbers: int) -> str:
        return _integers(op, *numbers)

    _, n_values, n_columns = stage.weights.shape
    parts = _columns(op, x, width, 0, n_columns)
    # (rows, columns, 1), and with the frequencies in place of 1.
    inputs = op("Unsqueeze", parts[0], axes(2))
    turns = op("Mul", inputs, op.array(stage.frequencies.T.copy()))
    angles = op("Add", op("Mul", turns, 2 * np.pi), op.array(stage.phases.T.copy()))
    waves = op("Unsqueeze", op("Cos", angles), axes(2))
    weights = op.array(np.ascontiguousarray(stage.weights.transpose(2, 0, 1)))
    mixed = op("Squeeze", op("MatMul", waves, weights), axes(2))
    mixed = op("Add", mixed, op.array(stage.biases.T.copy()))
    values = op("Concat", mixed, inputs, axis=2)
    parts = [op("Reshape", values, axes(0, n_columns * (n_values + 1)))]
    parts += _columns(op, x, width, n_columns, width)
    return op("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]


def _write_piecewise_linear(
    op: Graph, stage: PiecewiseLinear, x: str, width: int
) -> str:
    parts, start = [], 0
    for j, edges in enumerate(stage.edges):
        n_bins = len(edges) - 1
        (column,) = _columns(op, x, width, j, j + 1)
        shares = op("Sub", column, op.array(edges[:-1]))
        shares = op("Div", shares, op.array(np.diff(edges)))
        # The first bin is open below and the last one above.
        low, high = np.zeros(n_bins, op.dtype), np.ones(n_bins, op.dtype)
        low[0], high[-1] = np.finfo(op.dtype).min, np.finfo(op.dtype).max
        shares = op("Min", op("Max", shares, op.array(low)), op.array(high))
        weights = op.array(stage.weights[start : start + n_bins].copy())
        parts.append(op("Gemm", shares, weights, op.array(stage.biases[j].copy())))
        start += n_bins
    parts += _columns(op, x, width, len(parts), width)
    return op("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]


def _write_lookup(op: Graph, stage: Lookup, x: str, width: int) -> str:
    first, start = width - len(stage.counts), 0
    parts = _columns(op, x, width, 0, first)
    for j, count in enumerate(stage.counts):
        (code,) = _columns(op, x, width, first + j, first + j + 1)
        # Row 0 is that of -1.
        row = op("Cast", op("Add", code, 1.0), to=TensorProto.INT64)
        row = op("Squeeze", row, _integers(op, 1))
        rows = stage.weights[start : start + count]
        table = np.concatenate([np.zeros_like(rows[:1]), rows])
        parts.append(op("Gather", op.array(table), row, axis=0))
        start += count
    return op("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]


def _write_labels(op: Graph, z: str, n_classes: int, n_outputs: int) -> None:
    if n_classes == n_outputs:
        op.add("ArgMax", [z], "label", axis=1, keepdims=0)
        return
    above = op("Greater", z, 0.0)
    if n_outputs > 1:
        op.add("Cast", [above], "label", to=TensorProto.INT64)
        return
    column = op("Cast", above, to=TensorProto.INT64)
    op.add("Squeeze", [column, op.array(np.array([1]))], "label")
