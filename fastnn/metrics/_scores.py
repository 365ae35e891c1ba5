"""Metrics of the scores of classes; `metrics` has them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn._base.fields import check_integer
from fastnn._plan.inputs import check_sample_weight

from ._sums import (
    average_over,
    binary_auc,
    labels_and_scores,
    mean_of,
    require_finite,
    same_shape,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastnn._base.types import Floats

__all__ = ["log_loss", "roc_auc", "top_k_accuracy"]


def top_k_accuracy(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    k: int = 2,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Return the share of rows whose class is among the k with the highest scores.

    Parameters
    ----------
    y_true : array_like (n,)
        Labels 0..C-1.
    y_score : array_like (n, C)
        Of classes with equal scores, the later one counts as higher.
    k : int, default 2
        At least 1.
    sample_weight : array_like (n,), optional

    Examples
    --------
    >>> from fastnn import metrics
    >>> p = [[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]
    >>> metrics.top_k_accuracy([1, 0], p, k=2), metrics.top_k_accuracy([1, 0], p, k=3)
    (0.5, 1.0)
    """
    true, score = labels_and_scores(y_true, y_score)
    k = check_integer("k", k, 1)
    own = score[np.arange(len(true)), true][:, np.newaxis]
    later = np.arange(score.shape[1]) > true[:, np.newaxis]
    ahead = ((score > own) | ((score == own) & later)).sum(axis=1)
    return mean_of(ahead < k, sample_weight)


def roc_auc(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    average: str | None = "macro",
    sample_weight: ArrayLike | None = None,
) -> float | Floats:
    """Return the area under the ROC curve: how well the scores order the rows.

    It is the probability that a row of the class has a higher score than a row of
    another class, with half for equal scores; rows are drawn by their weights.

    Parameters
    ----------
    y_true : array_like (n,) or (n, C)
        For two classes, labels of which the larger one is positive; for more, labels
        0..C-1, each class against the rest; or zeros and ones, one column per label.
    y_score : array_like (n,) or (n, C)
        For two classes, the score of the positive one, or both columns.
    average : {"macro", "weighted", None}, default "macro"
        Over the classes of several: the mean, plain or weighted by how often they
        occur; or one value per class.
    sample_weight : array_like (n,), optional

    Returns
    -------
    float, or ndarray (C,) with ``average=None``
        NaN for a class that no row, or every row, belongs to.

    References
    ----------
    J. Hanley, B. McNeil, "The Meaning and Use of the Area under a Receiver Operating
    Characteristic (ROC) Curve", Radiology 143, 1982.

    Examples
    --------
    >>> from fastnn import metrics
    >>> metrics.roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    if average not in (None, "macro", "weighted"):
        raise ValueError(
            f"average must be 'macro', 'weighted' or None, got {average!r}"
        )
    true, score = np.asarray(y_true), np.asarray(y_score)
    weight = check_sample_weight(sample_weight, len(true) if true.ndim else 0)
    if score.ndim == 2 and score.shape[1] <= 2 and true.ndim == 1:
        score = score[:, -1]
    if true.ndim == 2 and true.shape[1] == 1 and score.size == true.size:
        true, score = true[:, 0], score.ravel()
    if score.ndim == 1:
        true, score = same_shape(true, score)
        classes = np.unique(true)
        if len(classes) > 2:
            raise ValueError(
                f"y_true has {len(classes)} classes; expected y_score of shape "
                f"({len(true)}, {len(classes)}), got {score.shape}"
            )
        require_finite("y_score", score)
        return binary_auc(true == classes[-1], score, weight)
    if true.ndim == 1:
        true, score = labels_and_scores(true, score)
        member = true[:, np.newaxis] == np.arange(score.shape[1])
    else:
        member, score = same_shape(true, score)
        member = member > 0.5
    require_finite("y_score", score)
    values = np.array(
        [
            binary_auc(is_class, scores, weight)
            for is_class, scores in zip(member.T, score.T, strict=True)
        ]
    )
    sums = (member.T * (1.0 if weight is None else weight)).sum(axis=1)
    return average_over(values, average, sums)


def log_loss(
    y_true: ArrayLike, y_proba: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Return the mean of ``-log p`` of the true classes, natural logarithm.

    Probabilities are first clipped to at least the epsilon of their dtype (of float64
    if they are not floats), so that the mean is finite.

    Parameters
    ----------
    y_true : array_like (n,)
        Labels 0..C-1.
    y_proba : array_like (n, C), or (n,) with the probability of class 1 of two
    sample_weight : array_like (n,), optional

    Examples
    --------
    >>> from fastnn import metrics
    >>> round(metrics.log_loss([0, 1], [[0.9, 0.1], [0.4, 0.6]]), 4)
    0.3081
    """
    p = np.asarray(y_proba)
    if p.ndim == 1:
        p = np.stack([1 - p, p], axis=1)
    true, p = labels_and_scores(y_true, p)
    epsilon = np.finfo(p.dtype if p.dtype.kind == "f" else np.float64).eps
    own = np.clip(p[np.arange(len(true)), true], epsilon, 1 - epsilon)
    return mean_of(-np.log(own), sample_weight)
