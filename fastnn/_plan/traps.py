"""Warnings of what is allowed and hardly ever meant, each with its remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn._base.warn import warn_user
from fastnn.activations import as_activation
from fastnn.layers import BatchNorm, Dense, Dropout, Layer, Scale

if TYPE_CHECKING:
    from fastnn._base.types import Array

    from .plan import Plan

__all__ = ["warn_of_linear_layers", "warn_of_sorted_labels", "warn_of_unscaled_targets"]

_ROWS = 4096  # to see a deviation by
_SCALED = (0.1, 10.0)  # deviations that a usual learning rate suits


def warn_of_linear_layers(plan: Plan) -> None:
    """Two dense layers without anything in between are no more than one.

    Unless the first is narrower than what is around it, which makes a product of low
    rank of the two.
    """
    last: int | None = None
    for i, layer in enumerate(plan.layers):
        if isinstance(layer, Dense) and last is not None:
            units, around = plan.widths[last + 1], (plan.widths[last], layer.units)
            if units >= min(around):
                warn_user(
                    f"layers[{last + 1}], {units} units of Dense, has no activation "
                    f"before layers[{i + 1}], so that both together are no more than "
                    f'one linear layer; expected Dense({units}, "relu") or another '
                    "activation"
                )
        if isinstance(layer, Dense) and _is_linear(layer):
            last = i
        elif not (isinstance(layer, Dropout | BatchNorm | Scale) and _is_linear(layer)):
            last = None


def _is_linear(layer: Layer) -> bool:
    return as_activation(layer.activation).name == "identity"


def warn_of_sorted_labels(train: Array, held_out: Array) -> None:
    """The last rows of sorted labels, held out, are of the last classes alone."""
    if train.ndim == 1 and train[0] != held_out[-1] and _is_sorted(train, held_out):
        warn_user(
            "validation_split holds out the last rows, but y is sorted by class: "
            "expected rows in random order. Shuffle X and y, or give X_val and y_val, "
            "for example of datasets.train_test_split(X, y, stratify=True)"
        )


def _is_sorted(train: Array, held_out: Array) -> bool:
    labels = np.concatenate([train, held_out])
    rises = labels[1:] >= labels[:-1]
    return bool(rises.all() or (labels[1:] <= labels[:-1]).all())


def warn_of_unscaled_targets(plan: Plan, y: Array) -> None:
    """Of losses of differences, whose gradients grow with the targets' deviation."""
    if plan.loss.name not in ("mse", "mae", "huber"):
        return
    with np.errstate(all="ignore"):
        deviations = y[:: 1 + len(y) // _ROWS].std(axis=0, dtype=np.float64)
    low, high = _SCALED
    far = (deviations > high) | ((deviations < low) & (deviations > 0))
    if far.any():
        column = int(far.argmax())
        where = f" in column {column}" if len(far) > 1 else ""
        warn_user(
            f"y has the standard deviation {deviations[column]:.3g}{where}, far from "
            f"1: with the loss {plan.loss.name!r}, usual learning rates do not suit "
            "it. Let the network scale them: Network(..., target_scale='auto')"
        )
