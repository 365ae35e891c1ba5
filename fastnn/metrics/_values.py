"""Metrics of predicted values; `metrics` has them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn._plan.inputs import check_sample_weight

from ._sums import mean_of, values_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


__all__ = ["mean_absolute_error", "mean_squared_error", "r2"]


def r2(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Return the coefficient of determination, averaged over the outputs.

    Of an output, ``1 - sum_i w_i (t_i - p_i)^2 / sum_i w_i (t_i - mean)^2`` with the
    weighted mean of the targets: 1 for a perfect prediction, 0 for one no better than
    the mean. If the targets are constant, 1 if all are met and 0 otherwise. NaN for
    fewer than two rows.

    Parameters
    ----------
    y_true, y_pred : array_like (n,) or (n, n_outputs)
        A column counts as (n,).
    sample_weight : array_like (n,), optional

    Examples
    --------
    >>> from fastnn import metrics
    >>> round(metrics.r2([3, -0.5, 2, 7], [2.5, 0.0, 2, 8]), 4)
    0.9486
    """
    true, predicted = values_of(y_true, y_pred)
    weight = check_sample_weight(sample_weight, len(true))
    if len(true) < 2:
        return float("nan")
    mean = np.average(true, axis=0, weights=weight)
    w = 1.0 if weight is None else weight[:, np.newaxis]
    residual = (w * (true - predicted) ** 2).sum(axis=0)
    total = (w * (true - mean) ** 2).sum(axis=0)
    missed = np.where(residual > 0, 0.0, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.where(total > 0, 1 - residual / total, missed).mean())


def mean_squared_error(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Return the mean of ``(t - p)^2`` over rows and outputs.

    The arguments are those of `r2`.

    Examples
    --------
    >>> from fastnn import metrics
    >>> metrics.mean_squared_error([1, 2], [1, 4])
    2.0
    """
    true, predicted = values_of(y_true, y_pred)
    return mean_of(((true - predicted) ** 2).mean(axis=1), sample_weight)


def mean_absolute_error(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Return the mean of ``|t - p|`` over rows and outputs.

    The arguments are those of `r2`.

    Examples
    --------
    >>> from fastnn import metrics
    >>> metrics.mean_absolute_error([1, 2], [1, 4])
    1.0
    """
    true, predicted = values_of(y_true, y_pred)
    return mean_of(np.abs(true - predicted).mean(axis=1), sample_weight)
