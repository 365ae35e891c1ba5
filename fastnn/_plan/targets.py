"""Targets as users give them, in the form that the engines take, by loss."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .arrays import as_array, row_chunks

if TYPE_CHECKING:
    from fastnn._base.types import Array, Floats
    from fastnn.losses import Loss

    from .plan import Plan

    _Pair: TypeAlias = tuple[Floats, Floats] | str | None

__all__ = [
    "TargetScaling",
    "check_targets",
    "mean_and_deviation",
    "parse_target_scaling",
]

# Rows of soft targets may miss a sum of one by this much: probabilities that went
# through float16 or a text file with three digits still pass.
_ROW_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class TargetScaling:
    """Networks learn ``(t - mean) / deviation``, and predict from low to high."""

    loss: Loss
    n_targets: int
    # None if not asked for, "auto" until a fit has learnt it, or (n_targets,) each.
    scale: _Pair = None  # mean, deviation
    range: _Pair = None  # low, high

    def __post_init__(self) -> None:
        for pair in (self.scale, self.range):
            for array in pair if isinstance(pair, tuple) else ():
                array.setflags(write=False)  # what is made of them stays

    @property
    def is_known(self) -> bool:
        return not (isinstance(self.scale, str) or isinstance(self.range, str))

    def learnt(self, y: Floats, weight: Floats | None) -> TargetScaling:
        """Learn what is "auto" of targets (n, n_targets)."""
        if weight is not None:
            y, weight = y[weight > 0], weight[weight > 0]
        scale, limits = self.scale, self.range
        if scale == "auto":
            scale = mean_and_deviation(y, weight)
        if limits == "auto":
            limits = y.min(axis=0), y.max(axis=0)
        return replace(self, scale=scale, range=limits)

    @property
    def _scale(self) -> tuple[Any, Any]:
        return self.scale if isinstance(self.scale, tuple) else (0.0, 1.0)

    def scaled(self, y: Floats, dtype: str, name: str = "y") -> Array:
        """Targets as networks learn them; as they are if that is not known."""
        if not self.is_known:
            return y
        mean, deviation = self._scale
        with np.errstate(all="ignore"):
            made = np.asarray((y - mean) / deviation, np.dtype(dtype))
        if not (np.isfinite(made).all() and np.isfinite(deviation).all()):
            raise ValueError(f"{name} is not finite once scaled by {self.scale}")
        return made

    def unscaled(self, y: Array) -> Array:
        """The targets that `scaled` made these of."""
        mean, deviation = self._scale
        return np.asarray(y.astype(np.float64) * deviation + mean)

    @cached_property
    def of_outputs(self) -> list[Floats]:
        """Factor, shift, low and high of raw outputs, (n_outputs,) each."""
        limits = self.range if isinstance(self.range, tuple) else (-np.inf, np.inf)
        n, k = self.n_targets, self.loss.outputs_per_target
        numbers = *self._scale[::-1], *limits
        all_of = [np.repeat(np.broadcast_to(x, n), k).astype(float) for x in numbers]
        if self.loss.name == "gaussian_nll":  # the logarithms of variances
            of_variances = 1.0, 2.0 * np.log(all_of[0][1::2]), -np.inf, np.inf
            for array, value in zip(all_of, of_variances, strict=True):
                array[1::2] = value
        return all_of

    def predicted(self, outputs: Array) -> Array:
        """Return what raw outputs (..., n_outputs) predict, in their dtype."""
        factor, shift, low, high = self.of_outputs
        y = np.clip(outputs.astype(np.float64) * factor + shift, low, high)
        return np.asarray(y, outputs.dtype)


def mean_and_deviation(
    y: Floats, weight: Floats | None = None
) -> tuple[Floats, Floats]:
    """Of the columns of y (n, k); the deviation of constants is 1."""
    mean = np.average(y, axis=0, weights=weight)
    with np.errstate(over="ignore"):
        deviation = np.average((y - mean) ** 2, axis=0, weights=weight) ** 0.5
    rounding = 8 * np.finfo(float).eps * np.abs(mean)
    return mean, np.where(deviation > rounding, deviation, 1.0)


def parse_target_scaling(scale: Any, limits: Any, plan: Plan) -> TargetScaling | None:
    """Check the arguments `target_scale` and `target_range` of `Network`."""
    if scale is None and limits is None:
        return None
    if plan.loss.is_classifier or plan.loss.target_range[0] > -np.inf:
        raise ValueError(
            "target_scale and target_range are for losses of any numbers, such as "
            f"'mse', not for {plan.loss.name!r}"
        )
    n = plan.n_targets
    pairs: list[_Pair] = []
    for name, given, of in (
        ("target_scale", scale, "(mean, deviation), the last > 0"),
        ("target_range", limits, "(low, high), low <= high"),
    ):
        if given is None or (isinstance(given, str) and given == "auto"):
            pairs.append(given)
            continue
        with suppress(TypeError, ValueError, OverflowError):
            if not isinstance(given, list | tuple | np.ndarray):
                raise TypeError  # a text is a sequence, too
            if any(np.asarray(x).dtype.kind not in "iuf" for x in given):
                raise TypeError
            first, second = (np.array(np.broadcast_to(x, n), float) for x in given)
            least = np.nextafter(0.0, 1.0) if name == "target_scale" else first
            if np.isfinite([first, second]).all() and (second >= least).all():
                pairs.append((first, second))
                continue
        raise ValueError(
            f"{name} is {given!r:.99}; expected 'auto', None or finite {of}, each one "
            f"number or {n}"
        )
    return TargetScaling(plan.loss, n, *pairs)


def check_targets(
    y: Any,
    n_samples: int,
    plan: Plan,
    name: str = "y",
    dtype: str | None = None,
) -> Array:
    """Return labels as int64 (n,), or a matrix (n, n_targets) in the network's dtype.

    With losses that give a row one class, labels are the integers 0..C-1, where C is
    the number of outputs; bools and floats with integral values are taken too, and so
    is a column (n, 1) of labels. A matrix (n, C) holds one probability distribution
    per row: one-hot or soft targets. With binary cross-entropy they are labels 0 and 1
    (n,) if there is one output, or a matrix of numbers 0..1; with the other losses a
    matrix of numbers, or (n,) if there is one output. Matrices are returned
    C-contiguous, in `dtype` if it is given. Errors name the first offending row.
    """
    n_outputs, n_classes = plan.n_targets, plan.n_classes
    is_exclusive = plan.loss.is_exclusive and n_classes == n_outputs
    dtype = dtype or plan.array_dtype
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
        _require_range(array, low, high, dtype, name)
    return np.ascontiguousarray(array, dtype=np.dtype(dtype))


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
