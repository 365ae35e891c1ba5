"""The estimators of `fastnn.sklearn` for skl2onnx, which converts whole pipelines."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from fastnn._core.exchange.sklearn import read_estimator

from .export import make_model

__all__ = ["register"]

_OPSET = 13  # the oldest that has what `make_model` writes


def register(classifier: type, regressor: type) -> None:
    """Tell skl2onnx how these become nodes."""
    try:
        from skl2onnx import update_registered_converter as update
        from skl2onnx.common import shape_calculator as shapes
    except ImportError:
        raise ImportError(
            "register_skl2onnx needs the package skl2onnx: pip install skl2onnx"
        ) from None

    def of_classes(operator: Any) -> None:
        shapes.calculate_linear_classifier_output_shapes(operator)
        state = read_estimator(operator.raw_operator, "adam", None, 0)
        if not state.plan.n_classes:  # several labels
            _widen(operator, 0, state.plan.n_outputs)

    def of_values(operator: Any) -> None:
        shapes.calculate_linear_regressor_output_shapes(operator)
        _widen(operator, 0, operator.raw_operator.n_outputs_)

    options = {"zipmap": [True, False, "columns"], "nocl": [True, False]}
    update(classifier, "FastnnClassifier", of_classes, _convert, options=options)
    update(regressor, "FastnnRegressor", of_values, _convert)


def _widen(operator: Any, output: int, width: int) -> None:
    rows = operator.inputs[0].type.shape[0]
    operator.outputs[output].type.shape = [rows, width]


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of `make_model` between the operator's input and outputs."""
    from skl2onnx.common.data_types import guess_proto_type

    if container.target_opset < _OPSET:
        raise ValueError(
            f"target_opset is {container.target_opset}; expected {_OPSET} or later"
        )
    state = read_estimator(operator.raw_operator, "adam", None, 0)
    graph = make_model(state).graph
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(state.plan.array_dtype))
    *labels, to = (each.full_name for each in operator.outputs)
    names: dict[str, str] = {}

    def own(name: str) -> str:
        if name not in names:
            names[name] = scope.get_unique_variable_name(name)
        return names[name]

    def add(op_type: str, inputs: list[str], output: str, **attributes: Any) -> None:
        name = scope.get_unique_operator_name(op_type)
        container.add_node(op_type, inputs, [output], name=name, **attributes)

    add("Cast", [operator.inputs[0].full_name], own("X"), to=kind)
    for tensor in graph.initializer:
        dims = list(tensor.dims)
        container.add_initializer(own(tensor.name), tensor.data_type, dims, tensor)
    for node in graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        add(node.op_type, [*map(own, node.input)], own(node.output[0]), **attributes)
    values = own(graph.output[-1].name)
    # "nocl": the numbers of classes instead of their names.
    by_number = (
        labels and container.get_options(operator.raw_operator, {"nocl": False})["nocl"]
    )
    if labels and (by_number or not state.plan.n_classes):  # each output is one
        add("Identity", [own("label")], labels[0])
    elif labels:
        classes = np.asarray(operator.raw_operator.classes_)
        if classes.dtype.kind in "OU":
            of, listed = TensorProto.STRING, [str(each).encode() for each in classes]
        else:
            of, listed = TensorProto.INT64, classes.astype(np.int64).tolist()
        container.add_initializer(own("classes"), of, [len(listed)], listed)
        add("Gather", [own("classes"), own("label")], labels[0])
    if state.plan.n_classes and state.plan.n_outputs == 1:
        container.add_initializer(own("one"), kind, [1], [1.0])
        add("Sub", [own("one"), values], own("other"))
        add("Concat", [own("other"), values], own("both"), axis=1)
        values = own("both")
    add("Cast", [values], to, to=guess_proto_type(operator.outputs[-1].type))
