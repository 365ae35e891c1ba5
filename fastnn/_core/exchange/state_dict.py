"""Weights under PyTorch's names and in its layout, without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._plan.inputs import as_parameter

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastnn._base.types import Array, Pair
    from fastnn._plan.plan import Plan


__all__ = ["from_state_dict", "require_modules", "to_state_dict"]


def to_state_dict(
    plan: Plan, weights: Sequence[Pair], statistics: Sequence[Pair | None]
) -> dict[str, Any]:
    """Return {"0.weight": (n_out, n_in), "0.bias": (n_out,), "2.weight": ...}."""
    require_modules(plan)
    state: dict[str, Array] = {}
    pairs = dict(zip(plan.parametric_layers, weights, strict=True))
    for i, place in enumerate(_module_indices(plan)):
        if i in pairs:
            first, second = pairs[i]
            state[f"{place}.weight"] = np.ascontiguousarray(first.T)
            if getattr(plan.layers[i], "use_bias", True):
                state[f"{place}.bias"] = second
        if (pair := statistics[i]) is not None:
            state[f"{place}.running_mean"], state[f"{place}.running_var"] = pair
    return state


def from_state_dict(
    plan: Plan, state: Mapping[str, ArrayLike]
) -> tuple[list[Pair], list[Pair | None]]:
    """Return weights and statistics as an engine has them, in the network's dtype.

    PyTorch's "num_batches_tracked" is not needed. Errors name an array as `state` does.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"state must be a dict, got {type(state).__name__}")
    require_modules(plan)
    expected = _names(plan)
    given = [name for name in state if not str(name).endswith(".num_batches_tracked")]
    if set(given) != set(expected):
        raise ValueError(
            f"state has the names {sorted(map(str, given))}; expected {expected}"
        )

    def take(name: str, shape: tuple[int, ...]) -> Array:
        return as_parameter(state[name], shape, plan.array_dtype, f"state[{name!r}]")

    shapes = dict(zip(plan.parametric_layers, plan.shapes, strict=True))
    weights: list[Pair] = []
    statistics: list[Pair | None] = []
    for i, place in enumerate(_module_indices(plan)):
        width = plan.widths[i + 1 : i + 2]
        if i in shapes:
            first = take(f"{place}.weight", shapes[i][0][::-1]).T
            second = np.zeros(width, dtype=plan.array_dtype)
            if f"{place}.bias" in expected:
                second = take(f"{place}.bias", width)
            weights.append((np.ascontiguousarray(first), second))
        pair = None
        if plan.layers[i].name == "batch_norm":
            name = f"{place}.running_var"
            pair = take(f"{place}.running_mean", width), take(name, width)
            if (pair[1] < 0).any():
                raise ValueError(f"state[{name!r}] has negative values")
        statistics.append(pair)
    return weights, statistics


def require_modules(plan: Plan) -> None:
    """Raise ValueError for layers that are no module of PyTorch or `fastnn.torch`."""
    for i, layer in enumerate(plan.layers):
        if layer.name not in ("dense", "dropout", "batch_norm", "layer_norm", "scale"):
            raise ValueError(
                f"layers[{i}] is {layer!r}, which no module of torch.nn computes; "
                "save, to_onnx and to_c keep such a network"
            )


def _names(plan: Plan) -> list[str]:
    names = []
    for layer, place in zip(plan.layers, _module_indices(plan), strict=True):
        kinds = ["weight", "bias"] if layer.has_parameters else []
        if not getattr(layer, "use_bias", True):
            kinds.remove("bias")
        if layer.name == "batch_norm":
            kinds += ["running_mean", "running_var"]
        names += [f"{place}.{kind}" for kind in kinds]
    return names


def _module_indices(plan: Plan) -> list[int]:
    """The place of each layer in an nn.Sequential, where an activation takes one."""
    indices, place = [], 0
    for layer in plan.layers:
        indices.append(place)
        place += 1 if layer.activation == "identity" else 2
    return indices
