"""The range of targets, as `to_onnx` writes it behind the last layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn._base.errors import ModelFormatError

if TYPE_CHECKING:
    from fastnn._core.exchange.stack import LayerStack

    from .graph import Constants, Segment

__all__ = ["take_range"]


def take_range(
    stack: LayerStack, segments: list[Segment], constants: Constants
) -> bool:
    """Take Max and Min of a constant for each output; False if it is not just that."""
    nodes = [node for segment in segments for node in segment.nodes]
    nodes = [node for node in nodes if node.op_type != "Identity"]
    if [node.op_type for node in nodes] != ["Max", "Min"]:
        return False
    names = [node.input(1) for node in nodes]
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
