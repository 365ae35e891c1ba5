"""Training by L-BFGS for `fastnn.sklearn`: SciPy's, with scikit-learn's settings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._base.warn import warn_user
from fastnn._core.training.loop import begin_epoch, end_epoch

from ._training import Recorder, fit_checked

if TYPE_CHECKING:
    from fastnn._base.types import Array, Pair
    from fastnn._core.model.model import Model
    from fastnn._core.training.fit import Fit
    from fastnn.callbacks._base import Callback, Logs
    from fastnn.network import Network

    from ._network import TrainedNetwork
    from ._rows import DataSet


__all__ = ["fit_lbfgs"]


class Iterations(Recorder):
    """The iterations of one fit."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        logs["loss"] = self.estimator.loss_
        self.validate(logs)


class Objective:
    """Loss and gradient of all rows as functions of one vector, coefs first."""

    def __init__(
        self, model: Model, trained: TrainedNetwork, rows: DataSet, alpha: float
    ) -> None:
        self.engine = model.engine
        self.terms = trained.objective
        self.rows = rows
        self.l2 = alpha / rows.weight
        weights = model.engine.get_weights()
        self.shapes = [w.shape for w, _ in weights] + [b.shape for _, b in weights]
        self.n_coefs = sum(w.size for w, _ in weights)
        self.dtype = model.plan.array_dtype

    def vector(self, pairs: list[Pair]) -> Array:
        arrays = [w for w, _ in pairs] + [b for _, b in pairs]
        return np.concatenate([a.ravel() for a in arrays]).astype(np.float64)

    def pairs(self, vector: Array) -> list[Pair]:
        vector = vector.astype(self.dtype)
        arrays, at = [], 0
        for shape in self.shapes:
            size = int(np.prod(shape))
            arrays.append(vector[at : at + size].reshape(shape))
            at += size
        half = len(arrays) // 2
        return [*zip(arrays[:half], arrays[half:], strict=True)]

    def penalty(self, vector: Array) -> float:
        coefs = vector[: self.n_coefs]
        return 0.5 * self.l2 * float(coefs @ coefs)

    def __call__(self, vector: Array) -> tuple[float, Array]:
        self.engine.set_weights(self.pairs(vector))
        loss, gradient = 0.0, np.zeros_like(vector)
        for rows, _ in self.rows.parts():
            # Each part has the weight of its rows.
            share = len(rows.X) / len(self.rows)
            if rows.sample_weight is not None:
                share = float(rows.sample_weight.sum()) / self.rows.weight
            if share == 0.0:
                continue
            part_loss, part_gradient = self.engine.loss_and_gradients(*rows)
            loss += share * part_loss
            gradient += share * self.vector(part_gradient)
        factor = self.terms.gradient_factor
        gradient *= factor
        gradient[: self.n_coefs] += self.l2 * vector[: self.n_coefs]
        return factor * loss + self.penalty(vector), gradient


def fit_lbfgs(
    estimator: Any,
    trained: TrainedNetwork,
    network: Network,
    rows: DataSet,
    validation: DataSet | None,
    callbacks: Sequence[Callback],
) -> None:
    """Minimise the loss of all rows, and warn if no minimum was found."""
    from sklearn.exceptions import ConvergenceWarning

    iterations = Iterations(estimator, trained, validation)
    offset = iterations.constant(rows)
    problems: list[str] = []
    estimator.n_iter_ = 0
    run = partial(
        _minimize,
        estimator,
        trained,
        rows,
        iterations,
        offset,
        bool(callbacks),
        problems,
    )
    max_iter = int(estimator.max_iter)
    fit_checked(network, run, len(rows), max_iter, (iterations, *callbacks))
    for problem in problems:
        n_iter = estimator.n_iter_
        message = f"lbfgs failed to converge after {n_iter} iteration(s) {problem}"
        if n_iter == estimator.max_iter:
            message += (
                "\nIncrease the number of iterations to improve the convergence "
                f"(max_iter={n_iter})."
            )
        message += "\nYou might also want to scale the data."
        warn_user(message, ConvergenceWarning)


def _minimize(
    estimator: Any,
    trained: TrainedNetwork,
    rows: DataSet,
    iterations: Iterations,
    offset: float,
    has_callbacks: bool,
    problems: list[str],
    model: Model,
    fit: Fit,
    deadline: float,
) -> bool:
    from scipy.optimize import minimize

    objective = Objective(model, trained, rows, float(estimator.alpha))
    value_share = trained.objective.value_factor / trained.objective.gradient_factor
    is_watched = iterations.validation is not None or has_callbacks
    best = objective.vector(model.engine.get_weights())

    def loss_of(vector: Array, value: float) -> float:
        """scikit-learn's loss: of several outputs' squares the mean, not the sum."""
        penalty = objective.penalty(vector)
        return (value - penalty) * value_share + penalty + offset

    def end_iteration(intermediate_result: Any) -> None:
        nonlocal best
        best = intermediate_result.x.copy()
        estimator.n_iter_ += 1
        estimator.loss_ = loss_of(best, float(intermediate_result.fun))
        if not is_watched:
            return
        objective.engine.set_weights(objective.pairs(best))
        end_epoch(model, fit, np.zeros(3))  # of which the logs stay empty
        if model.stop_training:
            raise StopIteration
        if model.epoch < fit.last_epoch:
            begin_epoch(model, fit)

    if is_watched:
        begin_epoch(model, fit)
    try:
        result = minimize(
            objective,
            best,
            jac=True,
            method="L-BFGS-B",
            callback=end_iteration,
            options={
                "maxfun": int(estimator.max_fun),
                "maxiter": int(estimator.max_iter),
                "gtol": float(estimator.tol),
            },
        )
        best = result.x
    finally:
        objective.engine.set_weights(objective.pairs(best))
    estimator.n_iter_ = min(int(result.nit), int(estimator.max_iter))
    estimator.loss_ = loss_of(result.x, float(result.fun))
    if estimator.verbose:
        print(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
    if result.status != 0 and not model.stop_training:
        problems.append(f"(status={result.status}):\n{result.message}\n")
    return True
