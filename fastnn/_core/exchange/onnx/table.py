"""Whole pipelines as ONNX models: one input per column, by its name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper

from fastnn._base.version import __version__
from fastnn._core.training.calibration import LEAST

from .export import SCHEMA_KEY, Graph, make_model

if TYPE_CHECKING:
    from fastnn._core.exchange.pipeline import Pipeline
    from fastnn._core.model.state import ModelState
    from fastnn._plan.column import Column

__all__ = ["make_pipeline"]

_OPSETS = {"": 13, "ai.onnx.ml": 2}
_ML = {"domain": "ai.onnx.ml"}


def make_pipeline(pipeline: Pipeline) -> Any:
    """Return the ModelProto that predicts from the columns of a table."""
    schema = pipeline.schema
    used = [each for each in schema.columns if each.n_inputs]
    names = {each.name for each in used}
    if "" in names:
        raise ValueError("a column has the name '', which ONNX has not; rename it")
    graph = Graph("float64")
    inputs = [
        helper.make_tensor_value_info(
            each.name,
            TensorProto.STRING if each.kind == "categorical" else TensorProto.DOUBLE,
            ["rows", 1],
        )
        for each in used
    ]
    # Tensors within have names of their own, whatever those of the columns are.
    mark = "fastnn."
    while any(name.startswith(mark) for name in names):
        mark = f"_{mark}"
    plan = pipeline.states[0].plan
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(plan.array_dtype))
    x = _encode(graph, used, schema.encoding == "none")
    x = graph("Cast", x, to=kind)
    outputs = [_network(graph, i, s, x) for i, s in enumerate(pipeline.states)]
    values, out_kind = outputs[0], kind
    if len(outputs) > 1 or pipeline.target or pipeline.temperature != 1.0:
        values, out_kind = _combine(graph, pipeline, outputs), TensorProto.DOUBLE
    is_probable = plan.output_activation in ("softmax", "sigmoid")
    told = "probabilities" if is_probable else "values"
    shown = _free(told, names)
    graph.add("Identity", [values], shown)
    n_outputs = 1 if pipeline.target else plan.n_outputs
    outs = [helper.make_tensor_value_info(shown, out_kind, ["rows", n_outputs])]
    if plan.n_classes:
        label = _free("label", names)
        if plan.n_outputs == 1:
            above = graph("Cast", values, to=TensorProto.DOUBLE)
            above = graph("Greater", above, 0.5 if is_probable else 0.0)
            best = graph("Cast", above, to=TensorProto.INT64)
            best = graph("Squeeze", best, graph.array(np.array([1])))
        else:
            best = graph("ArgMax", values, axis=1, keepdims=0)
        classes = np.arange(plan.n_classes)
        if pipeline.classes is not None:
            classes = pipeline.classes
        if classes.dtype.kind in "OU":
            classes = np.array([*map(str, classes)], dtype=object)
        graph.add("Gather", [graph.array(classes), best], label)
        label_kind = helper.np_dtype_to_tensor_dtype(classes.dtype)
        outs.insert(0, helper.make_tensor_value_info(label, label_kind, ["rows"]))
    kept = names | {each.name for each in outs}

    def own(name: str) -> str:
        return name if name in kept else f"{mark}{name}"

    for node in graph.nodes:
        node.input[:], node.output[:] = map(own, node.input), map(own, node.output)
    for constant in graph.constants:
        constant.name = own(constant.name)
    model = helper.make_model(
        helper.make_graph(graph.nodes, "fastnn", inputs, outs, graph.constants),
        producer_name="fastnn",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid(*each) for each in _OPSETS.items()],
        ir_version=7,
    )
    helper.set_model_props(model, {SCHEMA_KEY: json.dumps(schema.to_dict())})
    return model


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _encode(op: Graph, columns: list[Column], as_they_are: bool) -> str:
    """The inputs (rows, n_inputs) in float64, as `Schema.encode` makes them."""
    if as_they_are:
        return _joined(op, [each.name for each in columns])
    numbers: list[str] = []
    flags: list[str] = []
    for each in columns:
        if each.kind == "numeric":
            numbers.append(each.name)
        elif each.kind == "date":
            numbers += _date_parts(op, each.name)[: len(each.statistics)]
        if each.has_indicator:
            flags.append(op("Cast", op("IsNaN", each.name), to=TensorProto.DOUBLE))
        if each.kind == "boolean":
            sign = op("Sub", op("Mul", each.name, 2.0), 1.0)
            flags.append(_where_there(op, each.name, sign))
        elif each.categories:
            flags.append(_one_hot(op, each))
    parts = [_joined(op, flags)] if flags else []
    if numbers:
        of = [statistic for each in columns for statistic in each.statistics]
        x = _joined(op, numbers)
        u = op("Sub", x, op.array(np.array([each.median for each in of])))
        u = op("Mul", u, op.array(np.array([each.factor for each in of])))
        u = _where_there(op, x, u)
        third = op("Div", u, 3.0)
        root = op("Sqrt", op("Add", op("Mul", third, third), 1.0))
        parts.insert(0, op("Div", u, root))
    return _joined(op, parts)


def _joined(op: Graph, parts: list[str]) -> str:
    return op("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]


def _where_there(op: Graph, x: str, y: str) -> str:
    """y, or 0 where x is missing."""
    return op("Where", op("IsNaN", x), 0.0, y)


def _one_hot(op: Graph, column: Column) -> str:
    codes = op(
        "LabelEncoder",
        column.name,
        keys_strings=[*column.categories],
        values_int64s=[*range(len(column.categories))],
        default_int64=-1,
        **_ML,
    )
    known = op("Equal", codes, op.array(np.arange(len(column.categories))[np.newaxis]))
    hot = op("Cast", known, to=TensorProto.DOUBLE)
    if len(column.categories) != 2:
        return hot
    return op("MatMul", hot, op.array(np.array([[1.0], [-1.0]])))


def _date_parts(op: Graph, seconds: str) -> list[str]:
    """Days since 1970, year, month, weekday and hour, of seconds.

    Years begin in March, so that the leap day is their last: see H. Hinnant,
    "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
    """

    def whole(x: str, divisor: float) -> str:
        return op("Floor", op("Div", x, divisor))

    def rest(x: str, divisor: float) -> str:
        return op("Sub", x, op("Mul", whole(x, divisor), divisor))

    days = op("Div", seconds, 86400.0)
    day = op("Floor", days)
    weekday = rest(op("Add", day, 3.0), 7.0)
    hour = op("Div", rest(seconds, 86400.0), 3600.0)
    since = op("Add", day, 719468.0)  # the 1st of March of the year 0
    era, day = whole(since, 146097.0), rest(since, 146097.0)
    leaps = op("Sub", whole(day, 36524.0), whole(day, 1460.0))
    leaps = op("Sub", leaps, whole(day, 146096.0))
    year = whole(op("Add", day, leaps), 365.0)
    spent = op("Add", op("Mul", year, 365.0), whole(year, 4.0))
    day = op("Sub", day, op("Sub", spent, whole(year, 100.0)))
    month = whole(op("Add", op("Mul", day, 5.0), 2.0), 153.0)  # 0: March
    late = op("Cast", op("Greater", month, 9.5), to=TensorProto.DOUBLE)
    month = op("Sub", op("Add", month, 3.0), op("Mul", late, 12.0))
    year = op("Add", op("Add", year, op("Mul", era, 400.0)), late)
    return [days, year, month, weekday, hour]


def _network(op: Graph, number: int, state: ModelState, x: str) -> str:
    """Add the graph of a network; return what it predicts."""
    graph = make_model(state).graph

    def own(name: str) -> str:
        return x if name == "X" else f"n{number}.{name}"

    nodes = [node for node in graph.node if "label" not in node.output]
    used = {name for node in nodes for name in node.input}
    for constant in graph.initializer:
        if constant.name in used:
            constant.name = own(constant.name)
            op.constants.append(constant)
    for node in nodes:
        node.input[:], node.output[:] = map(own, node.input), map(own, node.output)
        node.name = own(node.name)
        op.nodes.append(node)
    return own(graph.output[-1].name)


def _combine(op: Graph, pipeline: Pipeline, outputs: list[str]) -> str:
    """The mean of what networks predict, calibrated or scaled, in float64."""
    total, *others = (op("Cast", each, to=TensorProto.DOUBLE) for each in outputs)
    for other in others:
        total = op("Add", total, other)
    y = op("Div", total, float(len(outputs)))
    if pipeline.temperature != 1.0:
        z = op("Div", op("Log", op("Max", y, LEAST)), pipeline.temperature)
        y = op("Softmax", z, axis=1)
    if pipeline.target is not None:
        mean, deviation, low, high = pipeline.target
        loss = pipeline.states[0].plan.loss
        if loss.name == "quantile":
            k = op.array(np.array([loss.outputs_per_target]))
            y = op("TopK", y, k, axis=1, largest=0)
            op.nodes[-1].output.append(f"{y}_rows")  # not used
        y = op("Gather", y, op.array(np.array([pipeline.point])), axis=1)
        y = op("Add", op("Mul", y, deviation), mean)
        y = op("Min", op("Max", y, low), high)
    return y
