"""Weights under PyTorch's names and in its layout, without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from .plan import Plan

    Array = NDArray[Any]

__all__ = ["from_state_dict", "to_state_dict"]


def to_state_dict(plan: Plan, weights: Sequence[tuple[Array, Array]]) -> dict[str, Any]:
    """Return {"0.weight": (n_out, n_in), "0.bias": (n_out,), "2.weight": ...}."""
    state: dict[str, Array] = {}
    for i, (w, b) in zip(_module_indices(plan), weights, strict=True):
        state[f"{i}.weight"] = np.ascontiguousarray(w.T)
        state[f"{i}.bias"] = b
    return state


def from_state_dict(
    plan: Plan, state: Mapping[str, ArrayLike]
) -> list[tuple[Array, Array]]:
    """Return [(W (n_in, n_out), b (n_out,)), ...]; only the names are checked."""
    if not isinstance(state, Mapping):
        raise TypeError(f"state must be a dict, got {type(state).__name__}")
    indices = _module_indices(plan)
    expected = [f"{i}.{kind}" for i in indices for kind in ("weight", "bias")]
    if set(state) != set(expected):
        raise ValueError(
            f"state has the names {sorted(map(str, state))}; expected {expected}"
        )
    return [
        (np.asarray(state[f"{i}.weight"]).T, np.asarray(state[f"{i}.bias"]))
        for i in indices
    ]


def _module_indices(plan: Plan) -> list[int]:
    """The place of each layer in an nn.Sequential, where an activation takes one."""
    indices, place = [], 0
    for layer in plan.layers:
        indices.append(place)
        place += 1 if layer.activation == "identity" else 2
    return indices
