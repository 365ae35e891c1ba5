"""The attributes of an estimator of `fastnn.sklearn` that a fit sets.

One that raises leaves them as they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastnn._base.errors import TrainingDiverged
from fastnn._base.warn import warn_user

__all__ = ["all_or_nothing", "begin_record", "record_divergence"]

_PRIVATE = {
    "_best_parameters",
    "_label_binarizer",
    "_no_improvement_count",
    "_optimizer",
    "_parts",
    "_random_state",
    "_seed",
    "_target_range",
    "_targets",
}


def begin_record(estimator: Any, has_validation: bool) -> None:
    """Set what the coming fit adds to, unless earlier fits have."""
    fresh = {"n_iter_": 0, "t_": 0, "validation_loss_curve_": None}
    for name, value in fresh.items():
        if not hasattr(estimator, name):
            setattr(estimator, name, value)
    if has_validation:
        if getattr(estimator, "validation_scores_", None) is None:
            estimator.validation_scores_ = []
        if estimator.validation_loss_curve_ is None:
            estimator.validation_loss_curve_ = []
    if estimator.solver == "lbfgs":
        return
    if not hasattr(estimator, "loss_curve_"):
        estimator.loss_curve_ = []
    if not hasattr(estimator, "_no_improvement_count"):
        estimator._no_improvement_count = 0
    if estimator.early_stopping:
        if getattr(estimator, "best_validation_score_", None) is None:
            estimator.best_validation_score_ = -np.inf
        if not hasattr(estimator, "_best_parameters"):
            estimator._best_parameters = [
                *zip(estimator.coefs_, estimator.intercepts_, strict=True)
            ]
    elif getattr(estimator, "best_loss_", None) is None:
        estimator.best_loss_ = np.inf


def record_divergence(estimator: Any) -> None:
    """Add the epoch that diverged, as scikit-learn does; the best one stays."""
    estimator.n_iter_ += 1
    estimator.loss_ = float("nan")
    for curve in (
        estimator.loss_curve_,
        estimator.validation_scores_,
        estimator.validation_loss_curve_,
    ):
        assert curve is not None
        curve.append(float("nan"))
    warn_user(
        "Stochastic Optimizer: the training diverged in iteration "
        f"{estimator.n_iter_}; the weights are those with the best validation score.",
        ConvergenceWarning,
    )


@contextmanager
def all_or_nothing(estimator: Any, incremental: bool = False) -> Iterator[None]:
    """Restore what the estimator had learnt if the body raises.

    Except for a divergence, which leaves the last finite weights, as in scikit-learn.
    """
    before = _learnt(estimator)
    lists = [
        (value, value.copy()) for value in before.values() if isinstance(value, list)
    ]
    trained = before.get("_optimizer") if incremental else None
    state = None if trained is None else trained.snapshot()
    try:
        yield
    except BaseException as error:
        if isinstance(error.__cause__, TrainingDiverged):
            raise
        for name in _learnt(estimator):
            delattr(estimator, name)
        vars(estimator).update(before)
        for value, content in lists:
            value[:] = content
        if trained is not None:
            trained.restore(state, estimator)
        raise


def _learnt(estimator: Any) -> dict[str, Any]:
    """The attributes that a fit sets, by scikit-learn's rule for names."""
    return {
        name: value
        for name, value in vars(estimator).items()
        if name in _PRIVATE or (name.endswith("_") and not name.startswith("_"))
    }
