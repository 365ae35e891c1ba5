"""What training changes: made, copied, and zeroed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn._base.types import Pair
from fastnn._plan.plan import Plan
from fastnn.layers import BatchNorm
from fastnn.optimizers import Optimizer


@dataclass(frozen=True)
class State:
    """What training changes; a step makes a new one and leaves the old as it was."""

    weights: list[Pair]  # of each layer with parameters
    optimizer: list[dict[str, Pair]]  # likewise, by name
    statistics: list[Pair | None]  # of each layer: mean and variance of a batch norm
    step: int  # updates done


def initial_state(plan: Plan) -> State:
    """Return weights and optimizer state of zero, running means 0 and variances 1."""
    weights = [
        (np.zeros(first, plan.array_dtype), np.zeros(second, plan.array_dtype))
        for first, second in plan.shapes
    ]
    statistics = [
        (np.zeros(width, plan.array_dtype), np.ones(width, plan.array_dtype))
        if isinstance(layer, BatchNorm)
        else None
        for layer, width in zip(plan.layers, plan.widths[1:], strict=True)
    ]
    optimizer = zero_optimizer_state(plan.optimizer, weights)
    return State(weights, optimizer, statistics, step=0)


def zero_optimizer_state(
    optimizer: Optimizer, weights: Sequence[Pair]
) -> list[dict[str, Pair]]:
    """Return the optimizer's arrays before the first update."""
    return [
        {name: (np.zeros_like(W), np.zeros_like(b)) for name in optimizer.state_names}
        for W, b in weights
    ]


def copy_pair(pair: Pair, dtype: np.dtype[Any] | None = None) -> Pair:
    """Return copies in C order."""
    first, second = pair
    return np.array(first, dtype, order="C"), np.array(second, dtype, order="C")


def copy_optimizer_state(
    state: Sequence[dict[str, Pair]], dtype: np.dtype[Any]
) -> list[dict[str, Pair]]:
    """Return copies in C order."""
    return [
        {name: copy_pair(pair, dtype) for name, pair in layer.items()}
        for layer in state
    ]


def copy_statistics(
    statistics: Sequence[Pair | None], dtype: np.dtype[Any]
) -> list[Pair | None]:
    """Return copies in C order."""
    return [None if pair is None else copy_pair(pair, dtype) for pair in statistics]
