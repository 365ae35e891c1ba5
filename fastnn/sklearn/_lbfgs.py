"""Training by L-BFGS for `fastnn.sklearn`, with scikit-learn's settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import ThreadpoolController

from fastnn._base.warn import warn_user
from fastnn._core.training.lbfgs import Objective, minimize
from fastnn._core.training.loop import begin_epoch, end_epoch

from ._training import Recorder, train_checked

if TYPE_CHECKING:
    from fastnn._core.model.model import Model
    from fastnn._core.training.fit import Fit
    from fastnn.callbacks._base import Callback, Logs

    from ._network import TrainedNetwork
    from ._rows import DataSet


__all__ = ["fit_lbfgs"]


class Iterations(Recorder):
    """The iterations of one fit."""

    def __init__(
        self,
        estimator: Any,
        trained: TrainedNetwork,
        model: Model,
        rows: DataSet,
        validation: DataSet | None,
    ) -> None:
        super().__init__(estimator, trained, validation)
        self.model = model
        self.rows = rows
        self.offset = self.constant(rows)
        self.is_watched = validation is not None  # or there are callbacks
        self.problem = ""

    def minimize(self, model: Model, fit: Fit, deadline: float) -> bool:
        """Search for a minimum, in at most `max_iter` iterations."""
        estimator, factor = self.estimator, self.trained.terms.gradient_factor
        l2 = float(estimator.alpha) / self.rows.weight
        objective = Objective(
            model.engine, self.rows.rows, l2, factor, matrices_first=True
        )

        def end_iteration(value: float) -> bool:
            estimator.n_iter_ += 1
            self._record_loss(value, objective)
            if not self.is_watched:
                return False
            objective.show()
            end_epoch(model, fit, np.zeros(3))  # of which the logs stay empty
            if not model.stop_training and model.epoch < fit.last_epoch:
                begin_epoch(model, fit)
            return model.stop_training

        if self.is_watched:
            begin_epoch(model, fit)
        options = {
            "maxfun": int(estimator.max_fun),
            "maxiter": int(estimator.max_iter),
            "gtol": float(estimator.tol),
        }
        # SciPy's sums are done by its BLAS, whose threads would be in our way.
        with ThreadpoolController().limit(limits=1, user_api="blas"):
            result = minimize(objective, end_iteration, options)
        estimator.n_iter_ = min(int(result.nit), int(estimator.max_iter))
        self._record_loss(float(result.fun), objective)
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
        if result.status != 0 and not model.stop_training:
            self.problem = f"(status={result.status}):\n{result.message}\n"
        return True

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        logs["loss"] = self.estimator.loss_
        self.validate(logs)

    def _record_loss(self, value: float, objective: Objective) -> None:
        """scikit-learn's loss: of several outputs' squares the mean, not the sum."""
        terms, penalty = self.trained.terms, objective.accepted_penalty()
        share = terms.value_factor / terms.gradient_factor
        self.estimator.loss_ = (value - penalty) * share + penalty + self.offset


def fit_lbfgs(
    estimator: Any,
    trained: TrainedNetwork,
    model: Model,
    rows: DataSet,
    validation: DataSet | None,
    callbacks: Sequence[Callback],
) -> None:
    """Minimise the loss of all rows, and warn if no minimum was found."""
    iterations = Iterations(estimator, trained, model, rows, validation)
    iterations.is_watched |= bool(callbacks)
    estimator.n_iter_ = 0
    max_iter = int(estimator.max_iter)
    hooks = iterations, *callbacks
    train_checked(model, iterations.minimize, len(rows), max_iter, hooks)
    if not iterations.problem:
        return
    n_iter = estimator.n_iter_
    message = (
        f"lbfgs failed to converge after {n_iter} iteration(s) {iterations.problem}"
    )
    if n_iter == estimator.max_iter:
        message += (
            "\nIncrease the number of iterations to improve the convergence "
            f"(max_iter={n_iter})."
        )
    message += "\nYou might also want to scale the data."
    warn_user(message, ConvergenceWarning)
