"""Activations of the user's own: functions of arrays, called for each mini-batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.activations import OwnActivation

if TYPE_CHECKING:
    from fastnn._base.types import Array

__all__ = ["has_own_activation", "own_slopes", "own_values"]

_CHECKED_ROWS = 8


def has_own_activation(layer: Any) -> bool:
    return isinstance(layer.activation, OwnActivation)


def own_values(z: Array, spec: OwnActivation) -> Array:
    """Return y := function(z), in the dtype of z."""
    return _call(f"the activation {spec.label}", spec.function, z)


def own_slopes(dy: Array, z: Array, spec: OwnActivation) -> Array:
    """Return dy times the derivative at z, which is checked the first time."""
    if not spec.checked:
        _check_gradient(spec, z[:_CHECKED_ROWS].astype(np.float64))
        object.__setattr__(spec, "checked", True)
    return np.asarray(dy * _slopes(spec, z))


def _slopes(spec: OwnActivation, z: Array) -> Array:
    what = f"the gradient of the activation {spec.label}"
    return _call(what, spec.gradient, z, own_values(z, spec))


def _call(what: str, function: Any, *arrays: Array) -> Array:
    # Copies: a function that works in place changes nothing of ours.
    found = np.asarray(function(*(array.copy() for array in arrays)))
    shape, dtype = arrays[0].shape, arrays[0].dtype
    if found.shape != shape or found.dtype.kind not in "fiu":
        raise ValueError(
            f"{what} has shape {found.shape} and dtype {found.dtype}; expected {shape} "
            "and floats"
        )
    return found.astype(dtype)


def _check_gradient(spec: OwnActivation, z: Array) -> None:
    # A function that works in float32 needs longer steps, and is less exact.
    is_double = np.asarray(spec.function(z.copy())).dtype.itemsize >= 8
    part, slack = (1e-5, 1.0) if is_double else (5e-3, 10.0)
    step = part * (1 + abs(z))
    below, y, above = (own_values(z + i * step, spec) for i in (-1, 0, 1))
    left, right = (y - below) / step, (above - y) / step
    numeric, found = (left + right) / 2, _slopes(spec, z)
    scale = slack * (1e-2 + abs(numeric))
    is_smooth = abs(left - right) <= 1e-2 * scale  # no corner is near
    wrong = is_smooth & ~(abs(found - numeric) <= 1e-3 * scale)  # NaN is wrong, too
    if wrong.any():
        at = np.unravel_index(wrong.argmax(), z.shape)
        raise ValueError(
            f"the gradient of the activation {spec.label} is {found[at]:.6g} at "
            f"{z[at]:.6g}, where differences of the function give {numeric[at]:.6g}"
        )
