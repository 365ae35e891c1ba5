"""Targets as users give them, in the form that the engines take, by loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .arrays import as_array, row_chunks

if TYPE_CHECKING:
    from fastnn._base.types import Array, Floats
    from fastnn.losses import Loss

    from .plan import Plan


__all__ = ["check_targets", "output_scaling"]

# Rows of soft targets may miss a sum of one by this much: probabilities that went
# through float16 or a text file with three digits still pass.
_ROW_SUM_TOLERANCE = 1e-3


def check_targets(y: Any, n_samples: int, plan: Plan, name: str = "y") -> Array:
    """Return labels as int64 (n,), or a matrix (n, n_targets) in the network's dtype.

    With losses that give a row one class, labels are the integers 0..C-1, where C is
    the number of outputs; bools and floats with integral values are taken too, and so
    is a column (n, 1) of labels. A matrix (n, C) holds one probability distribution
    per row: one-hot or soft targets. With binary cross-entropy they are labels 0 and 1
    (n,) if there is one output, or a matrix of numbers 0..1; with the other losses a
    matrix of numbers, or (n,) if there is one output. Matrices are returned
    C-contiguous. Errors name the first offending row.
    """
    n_outputs, n_classes = plan.n_targets, plan.n_classes
    is_exclusive = plan.loss.is_exclusive and n_classes == n_outputs
    hint = ""
    if plan.loss.is_classifier:
        hint = "encode labels by np.unique(y, return_inverse=True)[1]"
    array = as_array(y, name, hint)
    labels = n_classes is not None
    if labels and array.ndim == 2 and array.shape[1] == 1 != n_outputs:
        array = array[:, 0]
    if array.ndim == 1 and not labels and n_outputs == 1:
        array = array[:, np.newaxis]
    expected = f"({n_samples}, {n_outputs})"
    if is_exclusive:
        expected = f"({n_samples},) labels or {expected} one-hot or soft targets"
    elif n_outputs == 1:
        expected = f"({n_samples},) or {expected}"
    if (
        array.ndim not in (1, 2)
        or (array.ndim == 1 and not labels)
        or (array.ndim == 2 and array.shape[1] != n_outputs)
    ):
        raise ValueError(f"{name} has shape {array.shape}; expected {expected}")
    if array.shape[0] != n_samples:
        raise ValueError(
            f"{name} has {array.shape[0]} rows but X has {n_samples}; "
            "expected one target per sample"
        )
    if array.ndim == 1:
        assert n_classes is not None
        _require_labels(array, n_classes, name, not is_exclusive)
        # The engines keep the buffer for the whole call; int64 labels are not copied.
        return np.ascontiguousarray(array, dtype=np.int64)
    if is_exclusive:
        _require_distributions(array, name)
    else:
        low, high = plan.loss.target_range
        _require_range(array, low, high, plan.array_dtype, name)
    return np.ascontiguousarray(array, dtype=np.dtype(plan.array_dtype))


def output_scaling(loss: Loss, mean: Any, deviation: Any) -> tuple[Floats, Floats]:
    """Factor and shift of raw outputs that were trained on (t - mean) / deviation."""
    k = loss.outputs_per_target
    factor, shift = np.repeat(deviation, k), np.repeat(mean, k)
    if loss.name == "gaussian_nll":
        factor[1::2], shift[1::2] = 1.0, 2.0 * np.log(factor[1::2])
    return factor, shift


def _require_labels(array: Array, n_classes: int, name: str, column: bool) -> None:
    """Each is 0..n_classes-1; `column`: probabilities are taken as one."""
    bad = (array < 0) | (array >= n_classes)
    if array.dtype.kind == "f":
        bad |= array != np.trunc(array)  # NaN differs from itself
    if bad.any():
        row = int(bad.argmax())
        hint = ""
        if column and 0 < array[row] < 1:
            hint = f". For probabilities: {name}.reshape(-1, 1)"
        raise ValueError(
            f"{name}[{row}] is {array[row]}; expected integer labels "
            f"0..{n_classes - 1}{hint}"
        )


def _require_distributions(array: Array, name: str) -> None:
    for start, chunk in row_chunks(array):
        values = chunk.astype(np.float64)
        bad = ~(np.isfinite(values) & (values >= 0.0))
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            raise ValueError(
                f"{name}[{start + row}, {column}] is {chunk[row, column]}; "
                "expected finite target probabilities >= 0"
            )
        sums = values.sum(axis=1)
        off = np.abs(sums - 1.0) > _ROW_SUM_TOLERANCE
        if off.any():
            row = int(off.argmax())
            raise ValueError(
                f"{name}[{start + row}] sums to {sums[row]:.6g}; expected rows of "
                "target probabilities that sum to 1"
            )


def _require_range(
    array: Array, low: float, high: float, dtype: str, name: str
) -> None:
    for start, chunk in row_chunks(array):
        with np.errstate(all="ignore"):
            values = chunk.astype(np.dtype(dtype))
        bad = ~(np.isfinite(values) & (values >= low) & (values <= high))
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            limits = "finite values"
            if low == 0.0:
                limits = "values from 0 to 1" if high == 1.0 else "finite values >= 0"
            raise ValueError(
                f"{name}[{start + row}, {column}] is {chunk[row, column]}; "
                f"expected {limits}"
            )
