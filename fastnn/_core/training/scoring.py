"""The metrics of `Network.fit`: named or functions, of the validation data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn import metrics as of
from fastnn._base.fields import is_number
from fastnn._base.names import close_to, known_name
from fastnn._core.model.model import Model, mean_logs

if TYPE_CHECKING:
    from fastnn._base.types import Array, Floats
    from fastnn._plan.plan import Plan
    from fastnn._plan.rows import Rows


__all__ = ["Metric", "evaluate", "make_metrics", "score"]

_TOP_K = re.compile(r"top_([1-9]\d*)_accuracy")
_OF_VALUES: dict[str, Callable[..., Any]] = {
    "r2": of.r2,
    "mean_squared_error": of.mean_squared_error,
    "mean_absolute_error": of.mean_absolute_error,
}
_OF_LABELS: dict[str, Callable[..., Any]] = {
    "accuracy": of.accuracy,
    "precision": of.precision,
    "recall": of.recall,
    "f1": of.f1,
}
_OF_SCORES: dict[str, Callable[..., Any]] = {
    "top_<k>_accuracy": of.top_k_accuracy,
    "roc_auc": of.roc_auc,
}
# As functions they mean the same as by name: they take what the name takes.
_NAMES = {
    function: "top_2_accuracy" if function is of.top_k_accuracy else name
    for name in of.__all__
    if (function := getattr(of, name))
}


class Metric(NamedTuple):
    """A function of true and predicted labels or values, which may take weights."""

    name: str
    function: Callable[..., Any]
    output: str  # of the engine: "labels" or "values"
    is_weighted: bool


def make_metrics(
    metrics: Iterable[str | Callable[..., Any]], plan: Plan
) -> list[Metric]:
    """Check the argument `metrics` of `Network.fit`."""
    if isinstance(metrics, str) or not isinstance(metrics, Iterable):
        raise TypeError(
            "metrics must be a sequence of names or functions (y_true, y_pred), got "
            f"{metrics!r}"
        )
    made = [_make(f"metrics[{i}]", each, plan) for i, each in enumerate(metrics)]
    names = [metric.name for metric in made]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"metrics has {name!r} twice; expected different names")
    return made


def evaluate(model: Model, rows: Rows, metrics: Sequence[Metric]) -> dict[str, float]:
    """Return loss, accuracy and these metrics of validation rows."""
    forward, y = partial(model.outputs, rows.X), model.unscaled(rows.y)
    values = model.evaluate(rows)
    return values | score(metrics, model.plan, y, rows.sample_weight, forward)


def score(
    made: Iterable[Metric],
    plan: Plan,
    y: Array,
    sample_weight: Floats | None,
    forward: Callable[[str], Array],
) -> dict[str, float]:
    """Return the value of each metric, of what `forward` gives for these targets."""
    predicted: dict[str, Array] = {}
    values = {}
    for name, function, output, is_weighted in made:
        if output not in predicted:
            predicted[output] = forward(output)
        arguments: Mapping[str, Any] = {}
        if is_weighted:
            arguments = {"sample_weight": sample_weight}
        values_of = predicted[output]
        if is_weighted and not plan.loss.is_classifier:
            values_of = values_of[:, plan.point]
        value = function(targets_of(y, plan), values_of, **arguments)
        if not is_number(value):
            what = repr(value)
            if isinstance(value, np.ndarray):
                what = f"an array of shape {value.shape}"
            raise TypeError(f"metric {name!r} returned {what}; expected a number")
        values[name] = float(value)
    return values


def targets_of(y: Array, plan: Plan) -> Array:
    """Return what predictions are compared with: labels of classes, or values."""
    if not plan.loss.is_classifier or y.ndim == 1:
        return y
    if plan.n_classes == y.shape[1]:
        return np.asarray(y.argmax(axis=1))
    labels = (y > 0.5).astype(np.int64)
    return labels[:, 0] if labels.shape[1] == 1 else labels


def _make(where: str, metric: Any, plan: Plan) -> Metric:
    if isinstance(metric, str):
        return _make_named(where, metric, plan)
    if not callable(metric):
        raise TypeError(f"{where} must be a name or a function, got {metric!r}")
    function = metric.func if isinstance(metric, partial) else metric
    # Not `in`: an object of the user need not be hashable.
    for own, name in _NAMES.items():
        if function is own:
            made = _make_named(where, name, plan)
            if isinstance(metric, partial):
                _require_new(where, name, plan)
                made = _with_options(made, metric)
            return made
    is_classifier = plan.loss.is_classifier
    name = getattr(function, "__name__", type(function).__name__)
    _require_new(where, name, plan)
    return Metric(name, metric, "labels" if is_classifier else "values", False)


def _require_new(where: str, name: str, plan: Plan) -> None:
    if name in mean_logs(np.ones(3), plan):
        raise ValueError(
            f"{where} is a function named {name!r}, but val_{name} is logged already; "
            "expected another name"
        )


def _with_options(made: Metric, metric: partial[Any]) -> Metric:
    """A metric of fastnn with the keywords of a partial function."""
    name = made.name
    if metric.func is of.top_k_accuracy:
        name = f"top_{metric.keywords.get('k', 2)}_accuracy"
    return Metric(
        name,
        partial(made.function, *metric.args, **metric.keywords),
        made.output,
        "sample_weight" not in metric.keywords,
    )


def _make_named(where: str, metric: str, plan: Plan) -> Metric:
    is_classifier = plan.loss.is_classifier
    top = _TOP_K.fullmatch(metric)
    known = {**_OF_LABELS, **_OF_SCORES} if is_classifier else _OF_VALUES
    is_softmax = plan.output_activation == "softmax"
    if not is_softmax:
        known.pop("top_<k>_accuracy", None)
    given, metric = metric, known_name(metric, known)
    if metric not in known and not (top and "top_<k>_accuracy" in known):
        raise ValueError(
            f"{where} is {given!r}; expected a function of your own, or with the loss "
            f"{plan.loss.name!r} one of {', '.join(known)}{close_to(given, known)}"
        )
    if top:
        k = int(top[1])
        return Metric(metric, partial(of.top_k_accuracy, k=k), "values", True)
    if metric in ("precision", "recall", "f1"):
        # Two classes have a positive one; else all classes count the same.
        two = plan.n_outputs == 1 or plan.n_classes == 2
        average = "binary" if two else "macro"
        function = partial(known[metric], average=average)
        return Metric(metric, function, "labels", True)
    output = "labels" if metric == "accuracy" else "values"
    return Metric(metric, known[metric], output, True)
