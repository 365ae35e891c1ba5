"""Losses of the user's own: functions of outputs and targets, called for each batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastnn._base.types import Array
    from fastnn.losses import OwnLoss

__all__ = ["own_rows"]

_CHECKED_ROWS = 8


def own_rows(loss: Any, z: Array, targets: Array) -> tuple[Array, Array]:
    """Return the losses (m,) and their gradients (m, n) by z, in its dtype.

    The first time, the gradients are compared with central differences.
    """
    targets = np.asarray(targets).reshape(z.shape)
    if not loss.checked:
        _check_gradient(loss, z[:_CHECKED_ROWS], targets[:_CHECKED_ROWS])
        object.__setattr__(loss, "checked", True)
    losses, gradients = _call(loss, z, targets)
    return losses.astype(z.dtype), gradients.astype(z.dtype)


def _call(loss: OwnLoss, z: Array, targets: Array) -> tuple[Array, Array]:
    name = loss.label
    # Copies: a function that works in place changes nothing of ours.
    found = loss.function(z.copy(), targets.astype(z.dtype))
    if not isinstance(found, tuple) or len(found) != 2:
        raise TypeError(
            f"the loss {name} returned {type(found).__name__}; expected a tuple "
            "(loss per row, gradient)"
        )
    losses, gradients = map(np.asarray, found)
    for what, array, shape in (
        ("loss per row", losses, z.shape[:1]),
        ("gradient", gradients, z.shape),
    ):
        if array.shape != shape or array.dtype.kind not in "fiu":
            raise ValueError(
                f"the {what} of {name} has shape {array.shape} and dtype "
                f"{array.dtype}; expected {shape} and floats"
            )
    return losses, gradients


def _check_gradient(loss: OwnLoss, z: Array, targets: Array) -> None:
    z = z.astype(np.float64)
    gradients = _call(loss, z, targets)[1]
    for j in range(min(z.shape[1], 16)):
        step = 1e-5 * (1 + abs(z[:, j]))
        sides = []
        for sign in (1, -1):
            moved = z.copy()
            moved[:, j] += sign * step
            sides.append(_call(loss, moved, targets)[0])
        numeric = (sides[0] - sides[1]) / (2 * step)
        wrong = abs(gradients[:, j] - numeric) > 1e-3 * (1e-2 + abs(numeric))
        if wrong.any():
            i = int(wrong.argmax())
            raise ValueError(
                f"the gradient of the loss {loss.label} by output {j} is "
                f"{gradients[i, j]:.6g} in row {i}, where differences of the loss give "
                f"{numeric[i]:.6g}; the gradient is that of each row's own loss, "
                "not of a mean"
            )
