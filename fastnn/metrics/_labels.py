"""Metrics of labels; `metrics` has them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._plan.inputs import check_sample_weight

from ._sums import (
    average_over,
    count_by_class,
    distinct,
    labels_of,
    mean_of,
    places_of,
    ratio,
    require_same_kind,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastnn._base.types import Array, Floats

__all__ = ["accuracy", "confusion_matrix", "f1", "precision", "recall"]


def accuracy(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Return the share of rows that are right: ``sum_i w_i [p_i == t_i] / sum_i w_i``.

    Parameters
    ----------
    y_true, y_pred : array_like (n,) or (n, n_labels)
        Labels of any kind, both numbers or both text; a row of several labels is right
        if all of them are.
    sample_weight : array_like (n,), optional

    Raises
    ------
    ValueError
        If the shapes or kinds differ, there are no rows, or a weight is not a
        finite number >= 0.

    Examples
    --------
    >>> from fastnn import metrics
    >>> metrics.accuracy([0, 1, 2, 2], [0, 1, 1, 2])
    0.75
    """
    true, predicted = labels_of(y_true, y_pred)
    right = true == predicted
    if right.ndim == 2:
        right = right.all(axis=1)
    return mean_of(right, sample_weight)


def confusion_matrix(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> Array:
    """Return how often class i was taken for class j, in row i and column j.

    Parameters
    ----------
    y_true, y_pred : array_like (n,)
        Labels of any kind, both numbers or both text.
    labels : array_like (C,), optional
        The classes, in the order wanted; rows with other labels are left out. By
        default all that occur, sorted.
    sample_weight : array_like (n,), optional

    Returns
    -------
    ndarray (C, C)
        int64 counts, or float64 sums of weights.

    Examples
    --------
    >>> from fastnn import metrics
    >>> metrics.confusion_matrix([0, 0, 1, 2], [0, 2, 1, 2])
    array([[1, 0, 1],
           [0, 1, 0],
           [0, 0, 1]])
    """
    true, predicted = labels_of(y_true, y_pred, columns=False)
    weight = check_sample_weight(sample_weight, len(true))
    classes = distinct(true, predicted) if labels is None else np.asarray(labels)
    require_same_kind("labels", classes, "y_true", true)
    n = len(classes)
    rows, columns = places_of(true, classes), places_of(predicted, classes)
    known = (rows >= 0) & (columns >= 0)
    flat = np.bincount(
        rows[known] * n + columns[known],
        weights=None if weight is None else weight[known],
        minlength=n * n,
    )
    return flat.reshape(n, n)


def precision(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    average: str | None = "binary",
    labels: ArrayLike | None = None,
    pos_label: Any = 1,
    sample_weight: ArrayLike | None = None,
) -> float | Floats:
    """Return the share of rows that are right among those predicted to be of a class.

    ``tp / (tp + fp)`` with true and false positives as sums of weights; 0 if nothing
    was predicted to be of the class.

    Parameters
    ----------
    y_true, y_pred : array_like (n,) or (n, n_labels)
        Labels of any kind, both numbers or both text; or one column of zeros and ones
        for each label that a row may have (with an average other than "binary").
    average : {"binary", "macro", "weighted", "micro", None}, default "binary"
        The value of the class `pos_label` out of two; the mean over classes, plain or
        weighted by how often they occur in `y_true`; the value for all classes counted
        together; or one value per class.
    labels : array_like (C,), optional
        The classes to average over (of several columns: their numbers). By default all
        that occur, sorted.
    pos_label : optional
        The class that counts as positive with "binary".
    sample_weight : array_like (n,), optional

    Returns
    -------
    float, or ndarray (C,) with ``average=None``

    Raises
    ------
    ValueError
        If an argument is not as described; for "binary" also if there are more than
        two classes, or two of which neither is `pos_label`.

    Examples
    --------
    >>> from fastnn import metrics
    >>> metrics.precision([0, 1, 1, 0], [1, 1, 0, 0])
    0.5
    >>> metrics.precision([0, 1, 2, 2], [0, 1, 1, 1], average=None)
    array([1.        , 0.33333333, 0.        ])
    """
    right, predicted, true = count_by_class(
        y_true, y_pred, average, labels, pos_label, sample_weight
    )
    return average_over(ratio(right, predicted), average, true)


def recall(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    average: str | None = "binary",
    labels: ArrayLike | None = None,
    pos_label: Any = 1,
    sample_weight: ArrayLike | None = None,
) -> float | Floats:
    """Return the share of the rows of a class that are found.

    ``tp / (tp + fn)`` with true positives and false negatives as sums of weights; 0 if
    the class does not occur. The arguments are those of `precision`.

    Examples
    --------
    >>> from fastnn import metrics
    >>> metrics.recall([0, 1, 1, 0], [1, 1, 0, 0])
    0.5
    >>> metrics.recall([0, 1, 2, 2], [0, 1, 1, 1], average="macro")
    0.6666666666666666
    """
    right, _, true = count_by_class(
        y_true, y_pred, average, labels, pos_label, sample_weight
    )
    return average_over(ratio(right, true), average, true)


def f1(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    average: str | None = "binary",
    labels: ArrayLike | None = None,
    pos_label: Any = 1,
    sample_weight: ArrayLike | None = None,
) -> float | Floats:
    """Return the harmonic mean of precision and recall.

    ``2 tp / (2 tp + fp + fn)``; 0 if the class neither occurs nor was predicted. The
    average is taken over the values of the classes. The arguments are those of
    `precision`.

    Examples
    --------
    >>> from fastnn import metrics
    >>> metrics.f1([0, 1, 1, 0], [1, 1, 0, 0])
    0.5
    >>> metrics.f1([0, 1, 2, 2], [0, 1, 1, 1], average="micro")
    0.5
    """
    right, predicted, true = count_by_class(
        y_true, y_pred, average, labels, pos_label, sample_weight
    )
    return average_over(ratio(2 * right, predicted + true), average, true)
