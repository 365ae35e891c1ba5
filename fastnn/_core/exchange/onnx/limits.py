"""The range of targets, as `to_onnx` writes it behind the last layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn._base.errors import ModelFormatError

if TYPE_CHECKING:
    from .graph import Node, Segment
    from .operators import Build

__all__ = ["take_range"]


def take_range(build: Build, segments: list[Segment]) -> bool:
    """Take Max and Min of a constant for each output; False if it is not just that."""
    stack, constants = build.stack, build.constants
    nodes: list[Node] = []
    at = segments[0].x
    for node in (node for segment in segments for node in segment.nodes):
        if node.domain not in ("", "ai.onnx") or node.inputs[:1] != [at]:
            return False
        at = node.outputs[0]
        if node.op_type == "Identity" and nodes:
            continue
        if node.op_type != ("Max", "Min", "")[len(nodes)] or len(node.inputs) != 2:
            return False
        nodes.append(node)
    names = [node.input(1) for node in nodes]
    if len(nodes) != 2 or build.inner is not None or build.ending:
        return False
    if not all(name in constants for name in names):
        return False
    low, high = map(constants.get, names)
    if low.shape != (stack.width,) or high.shape != (stack.width,):
        return False
    try:
        stack.limit(low, high)
    except ValueError as error:
        raise ModelFormatError(f"{nodes[0]}, {nodes[1]}: {error}") from None
    return True
