"""ONNX Runtime, which only predicts."""

from __future__ import annotations

from typing import Any

import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from .setup import Side, thread_settings, threads_of
from .tasks import Task, initial_weights, make_rows

__all__ = ["settings", "side"]

# Versions of the format that every runtime of recent years reads.
_IR_VERSION, _OPSET = 8, 17


def settings(task: Task) -> list[str]:
    """Return the thread counts."""
    return thread_settings() if task.kind == "predict" else []


def side(task: Task, setting: str) -> Side:
    """Set the task up."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads_of(setting)
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        _model(task), options, providers=["CPUExecutionProvider"]
    )
    feed = {"x": make_rows(task)[0]}
    (outputs,) = session.run(None, feed)
    return Side(outputs, lambda: session.run(None, feed))


def _model(task: Task) -> bytes:
    nodes: list[Any] = []
    initializers = []
    last = "x"
    for i, (W, b) in enumerate(initial_weights(task)):
        initializers += [
            numpy_helper.from_array(W, f"W{i}"),
            numpy_helper.from_array(b, f"b{i}"),
        ]
        nodes.append(helper.make_node("Gemm", [last, f"W{i}", f"b{i}"], [f"z{i}"]))
        last = f"z{i}"
        if i < len(task.sizes) - 2:
            nodes.append(helper.make_node("Relu", [last], [f"a{i}"]))
            last = f"a{i}"
    nodes.append(helper.make_node("Softmax", [last], ["p"], axis=1))
    kind = TensorProto.DOUBLE if task.dtype == "float64" else TensorProto.FLOAT
    ends = [
        helper.make_tensor_value_info(name, kind, ["rows", width])
        for name, width in (("x", task.sizes[0]), ("p", task.sizes[-1]))
    ]
    graph = helper.make_graph(nodes, "mlp", ends[:1], ends[1:], initializers)
    opsets = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    return bytes(model.SerializeToString())
