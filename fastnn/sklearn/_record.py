"""What a fit of `fastnn.sklearn` leaves in the estimator's attributes, and when."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn._base.warn import warn_user

__all__ = ["begin_record", "record_divergence"]


def begin_record(estimator: Any, has_validation: bool) -> None:
    """Have what the coming fit adds to, after whatever fits came before."""
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
    """The epoch that diverged, as in scikit-learn's record; the best one stays."""
    from sklearn.exceptions import ConvergenceWarning

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
