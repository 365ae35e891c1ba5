"""The common parts of the metrics: checks, and sums over classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._plan.inputs import check_sample_weight

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastnn._base.types import Array, Floats


AVERAGES = (None, "binary", "micro", "macro", "weighted")


# Checks


def same_shape(y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    true, predicted = np.asarray(y_true), np.asarray(y_pred)
    # A column of labels, as some tables give them, is the labels.
    if true.ndim == 2 and true.shape[1] == 1:
        true = true[:, 0]
    if predicted.ndim == 2 and predicted.shape[1] == 1:
        predicted = predicted[:, 0]
    if true.ndim not in (1, 2) or true.shape != predicted.shape or true.size == 0:
        raise ValueError(
            f"y_true has shape {np.shape(y_true)} and the prediction "
            f"{np.shape(y_pred)}; expected the same, with at least one row"
        )
    return true, predicted


def labels_of(y_true: Any, y_pred: Any, columns: bool = True) -> tuple[Array, Array]:
    true, predicted = same_shape(y_true, y_pred)
    if true.ndim == 2 and not columns:
        raise ValueError(f"y_true has shape {true.shape}; expected labels (n,)")
    for name, array in (("y_true", true), ("y_pred", predicted)):
        if array.dtype.kind == "f":
            require_finite(name, array)
    require_same_kind("y_pred", predicted, "y_true", true)
    return true, predicted


def require_same_kind(name: str, array: Array, other: str, like: Array) -> None:
    """Raise for numbers and text, which are never equal: a mistake."""
    found, expected = _kind(array), _kind(like)
    if found != expected and "" not in (found, expected):
        raise ValueError(
            f"{name} has labels of {found}, {other} of {expected}; expected the same"
        )


def _kind(labels: Array) -> str:
    kind = labels.dtype.kind
    if kind == "O" and labels.size:
        # Tables hold text as objects. One label tells the kind of all.
        kind = np.asarray(labels.flat[0]).dtype.kind
    return {"U": "text", "S": "bytes", **dict.fromkeys("biuf", "numbers")}.get(kind, "")


def labels_and_scores(y_true: Any, y_score: Any) -> tuple[Array, Array]:
    true, score = np.asarray(y_true), np.asarray(y_score)
    if score.ndim != 2 or true.shape != (len(score),) or score.size == 0:
        raise ValueError(
            f"y_true has shape {true.shape} and the scores {score.shape}; expected "
            "(n,) labels and (n, n_classes) scores, with at least one row"
        )
    n = score.shape[1]
    bad = (true < 0) | (true >= n) | (true != np.trunc(true))
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(f"y_true[{row}] is {true[row]}; expected labels 0..{n - 1}")
    require_finite("the scores", score)
    return true.astype(np.intp), score


def values_of(y_true: Any, y_pred: Any) -> tuple[Floats, Floats]:
    true, predicted = same_shape(y_true, y_pred)
    arrays = []
    for name, array in (("y_true", true), ("y_pred", predicted)):
        values = array.astype(np.float64)
        require_finite(name, values)
        arrays.append(values.reshape(len(values), -1))
    return arrays[0], arrays[1]


def require_finite(name: str, array: Array) -> None:
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has NaN or infinity; expected finite numbers")


# Arithmetic


def distinct(true: Array, predicted: Array) -> Array:
    return np.unique(np.concatenate([true, predicted]))


def places_of(labels: Array, classes: Array) -> NDArray[np.intp]:
    """Return the place of each label in `classes`, -1 where it is not there."""
    by_value = np.argsort(classes, kind="stable")
    places = np.searchsorted(classes, labels, sorter=by_value)
    places = by_value[np.minimum(places, len(classes) - 1)]
    return np.where(classes[places] == labels, places, -1)


def count_by_class(
    y_true: Any,
    y_pred: Any,
    average: str | None,
    labels: Any,
    pos_label: Any,
    sample_weight: Any,
) -> tuple[Floats, Floats, Floats]:
    """Return the weights of rows right, predicted and true, for each class (C,)."""
    if average not in AVERAGES:
        raise ValueError(f"average must be one of {AVERAGES}, got {average!r}")
    true, predicted = labels_of(y_true, y_pred)
    weight = check_sample_weight(sample_weight, len(true))
    w = np.ones(len(true)) if weight is None else weight
    if average == "binary":
        labels = _positive(true, predicted, pos_label)
    if true.ndim == 2:
        columns = np.arange(true.shape[1]) if labels is None else np.asarray(labels)
        is_true, is_predicted = true[:, columns] > 0, predicted[:, columns] > 0
        sums = [
            w @ member for member in (is_true & is_predicted, is_predicted, is_true)
        ]
    else:
        classes = distinct(true, predicted) if labels is None else np.asarray(labels)
        class_true, class_predicted = (
            places_of(each, classes) for each in (true, predicted)
        )
        class_right = np.where(class_true == class_predicted, class_true, -1)
        sums = [
            _sum_by_class(w, places, len(classes))
            for places in (class_right, class_predicted, class_true)
        ]
    if average == "micro":
        sums = [each.sum(keepdims=True) for each in sums]
    return sums[0], sums[1], sums[2]


def _sum_by_class(weight: Floats, places: NDArray[np.intp], n: int) -> Floats:
    known = places >= 0
    # Without any rows, NumPy counts in integers.
    return np.bincount(places[known], weight[known], n).astype(np.float64)


def _positive(true: Array, predicted: Array, pos_label: Any) -> list[Any]:
    if true.ndim == 2:
        raise ValueError(
            f"y_true has shape {true.shape}; expected average 'macro', 'weighted', "
            "'micro' or None for several labels per row"
        )
    present = distinct(true, predicted)
    if len(present) > 2:
        raise ValueError(
            f"there are {len(present)} classes; expected average 'macro', 'weighted', "
            "'micro' or None"
        )
    if len(present) == 2 and pos_label not in present.tolist():
        raise ValueError(
            f"pos_label is {pos_label!r}; expected one of {present.tolist()}"
        )
    return [pos_label]


def mean_of(values: Array, sample_weight: Any) -> float:
    """Return the mean of one value per row, with the rows' weights if there are any."""
    weight = check_sample_weight(sample_weight, len(values))
    return float(np.average(values, weights=weight))


def ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def average_over(values: Floats, average: str | None, sums: Floats) -> float | Floats:
    if average is None:
        return values
    if average == "weighted":
        total = sums.sum()
        return float(values @ sums / total) if total > 0 else 0.0
    return float(values.mean())


def binary_auc(positive: Array, score: Array, weight: Floats | None) -> float:
    w = np.ones(len(score)) if weight is None else weight
    group = np.unique(score, return_inverse=True)[1]
    high = np.bincount(group, w * positive)  # by score, ascending
    low = np.bincount(group, w * ~positive)
    if high.sum() == 0.0 or low.sum() == 0.0:
        return float("nan")
    below = np.cumsum(low) - 0.5 * low
    return float(high @ below / (high.sum() * low.sum()))
