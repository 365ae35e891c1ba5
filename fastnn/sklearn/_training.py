"""Training by mini-batches for `fastnn.sklearn`: scikit-learn's loop around epochs.

`Epochs` is the callback that comes first: it makes the estimator's record of an epoch,
ends the training by scikit-learn's rules, and changes the learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn._base.fields import is_number
from fastnn._base.warn import warn_user
from fastnn._core.model.state import Progress
from fastnn._core.training.fit import Course, Fit, Settings, make_fit
from fastnn._core.training.loop import run_epochs, train, train_rows
from fastnn.callbacks import History
from fastnn.callbacks._base import Callback, Logs, check_callbacks
from fastnn.network import Network, model_of

if TYPE_CHECKING:
    from fastnn._base.types import Array, Floats, Pair
    from fastnn._core.model.model import Model
    from fastnn.optimizers import Optimizer

    from ._network import TrainedNetwork
    from ._rows import DataSet


__all__ = ["Epochs", "Recorder", "fit_checked", "fit_epochs"]


class Batches(NamedTuple):
    """Batches of an epoch that have the same size, and so the same penalty."""

    start: int
    stop: int
    weight: float  # the (mean) sum of the sample weights of a batch


class Recorder(Callback):
    """Adds the values of the validation data to the logs and to the estimator."""

    network: Network

    def __init__(
        self, estimator: Any, trained: TrainedNetwork, validation: DataSet | None
    ) -> None:
        self.estimator = estimator
        self.trained = trained
        self.validation = validation
        names = "val_loss", "val_score"
        self._adds = () if validation is None else names  # type: ignore[misc]

    def validate(self, logs: Logs) -> None:
        if self.validation is None:
            return
        estimator = self.estimator
        loss, score = self.validation.evaluate(self.network)
        factor = self.trained.objective.value_factor
        logs["val_loss"] = factor * loss + self.constant(self.validation)
        logs["val_score"] = score
        estimator.validation_loss_curve_.append(logs["val_loss"])
        estimator.validation_scores_.append(score)
        if estimator.verbose:
            print(f"Validation score: {score:f}")

    def constant(self, rows: DataSet) -> float:
        """What scikit-learn's loss has beside fastnn's: the terms of y alone."""
        if self.trained.objective.loss != "poisson":
            return 0.0
        y = rows.y.astype(np.float64)
        terms = y * np.log(np.where(y > 0, y, 1.0)) - y
        return float(np.average(terms.sum(axis=1), weights=rows.sample_weight))


class Epochs(Recorder):
    """The epochs of one fit."""

    def __init__(
        self,
        estimator: Any,
        trained: TrainedNetwork,
        rows: DataSet,
        order: Array,
        batch_size: int,
        validation: DataSet | None,
        incremental: bool,
    ) -> None:
        super().__init__(estimator, trained, validation)
        self.rows = rows
        self.first_order = order  # the rows to train on
        self.order = order
        self.batch_size = batch_size
        self.incremental = incremental
        self.has_stopped = False  # by the rules
        n = len(order)
        weight = rows.weight
        if len(rows) != n:
            weight = rows.take(order).weight
        if weight == 0.0:
            raise ValueError("sample_weight is zero for every training sample")
        self.weight = weight
        whole = n - n % batch_size
        spans = [(0, whole, batch_size), (whole, n, n - whole)]
        # Sample weights are summed batch by batch in scikit-learn, for the penalty:
        # here all batches have the mean.
        self.groups = [
            Batches(start, stop, size * weight / n)
            for start, stop, size in spans
            if stop > start
        ]
        self.n_batches = -(-n // batch_size)
        self.offset = self.constant(rows if len(rows) == n else rows.take(order))
        self.squares = 0.0  # of the weights, after the last epoch

    def on_train_begin(self) -> None:
        self.squares = _squares(self.network.get_weights())
        alpha = float(self.estimator.alpha)
        optimizers = [self._optimizer(alpha / b.weight) for b in self.groups]
        self.penalties = [optimizer.l2 for optimizer in optimizers]
        self.network.optimizer = optimizers[0]

    def _optimizer(self, l2: float) -> Optimizer:
        solver, factor = self.trained.solver, self.trained.objective.gradient_factor
        return solver.optimizer(l2, factor)

    def go_through(self, model: Model, fit: Fit, deadline: float) -> Floats:
        """Train for an epoch."""
        if self.estimator.shuffle:
            # The draws of sklearn.utils.shuffle, which shuffles the last order.
            indices = np.arange(len(self.order))
            self.estimator._random_state.shuffle(indices)
            self.order = self.order[indices]
        epoch, batch_size = model.epoch, self.batch_size
        totals = np.zeros(3)
        for batches, l2 in zip(self.groups, self.penalties, strict=True):
            if len(self.groups) > 1:
                # All but the penalty may be changed by callbacks.
                model.set_optimizer(replace(model.plan.optimizer, l2=l2))
            order = self.order[batches.start : batches.stop]
            for rows, part in self.rows.parts(order, batch_size):
                n = len(rows.X) if part is None else len(part)
                progress = Progress(epoch, epoch, n, batch_size, True, totals=totals)
                train_rows(model, fit, rows, part, progress, deadline)
        return totals

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        estimator = self.estimator
        loss = self.trained.objective.value_factor * logs["loss"] + self.offset
        loss += self._penalty()
        logs["loss"] = loss
        estimator.n_iter_ += 1
        estimator.loss_ = loss
        estimator.t_ += len(self.order)
        estimator.loss_curve_.append(loss)
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {loss:.8f}")
        self.validate(logs)
        self._count_improvement()
        self._end_iteration()

    def _penalty(self) -> float:
        """The penalty in scikit-learn's loss: the mean of that before each update."""
        alpha = float(self.estimator.alpha)
        if alpha == 0.0:
            return 0.0
        # Exact for one batch; else the squares are taken to change linearly.
        before, k = self.squares, self.n_batches
        self.squares = _squares(self.network.get_weights())
        mean = before + (self.squares - before) * (k - 1) / (2 * k)
        return 0.5 * alpha * mean * k / self.weight

    def _count_improvement(self) -> None:
        estimator = self.estimator
        tol = float(estimator.tol)
        if estimator.early_stopping:
            score, best = (
                estimator.validation_scores_[-1],
                estimator.best_validation_score_,
            )
            is_better, is_worse = score > best, score < best + tol
        else:
            score, best = estimator.loss_curve_[-1], estimator.best_loss_
            is_better, is_worse = score < best, score > best - tol
        if is_worse:
            estimator._no_improvement_count += 1
        else:
            estimator._no_improvement_count = 0
        if not is_better:
            return
        if estimator.early_stopping:
            estimator.best_validation_score_ = score
            estimator._best_parameters = self.network.get_weights()
        else:
            estimator.best_loss_ = score

    def _end_iteration(self) -> None:
        """Learning rate and end of training, by scikit-learn's rules."""
        estimator, solver = self.estimator, self.trained.solver
        rate = solver.learning_rate
        if solver.name == "sgd" and solver.schedule == "invscaling":
            rate = solver.learning_rate_init / (estimator.t_ + 1) ** solver.power_t
        if estimator._no_improvement_count > estimator.n_iter_no_change:
            what = "Training loss did"
            if estimator.early_stopping:
                what = "Validation score did"
            message = (
                f"{what} not improve more than tol={estimator.tol:f} for "
                f"{estimator.n_iter_no_change:d} consecutive epochs."
            )
            adapts = solver.name == "sgd" and solver.schedule == "adaptive"
            if adapts and rate > 1e-6:
                rate /= 5.0
                message += f" Setting learning rate to {rate:f}"
                estimator._no_improvement_count = 0
            else:
                message += " Learning rate too small." if adapts else ""
                message += " Stopping."
                self.has_stopped = True
                self.network.stop_training = True
            if estimator.verbose:
                print(message)
        if rate != solver.learning_rate:
            self._set_rate(rate)

    def _set_rate(self, rate: float) -> None:
        solver = self.trained.solver
        if solver.momentum:
            self.trained.rescale_velocity(solver.learning_rate / rate)
        optimizer: Any = self.network.optimizer
        was: Any = self._optimizer(0.0)
        solver.learning_rate = rate
        now: Any = self._optimizer(0.0)
        if is_number(optimizer.learning_rate):  # no schedule that a callback has set
            # 1 unless a callback such as ReduceOnPlateau has changed the rate.
            share = optimizer.learning_rate / was.learning_rate
            self.network.optimizer = replace(
                optimizer, learning_rate=now.learning_rate * share
            )


def _squares(weights: Sequence[Pair]) -> float:
    return math.fsum(float(np.vdot(w, w)) for w, _ in weights)


def fit_checked(
    network: Network,
    run: Callable[[Model, Fit, float], bool],
    n_rows: int,
    epochs: int,
    callbacks: Sequence[Callback],
) -> None:
    """Train by a course whose data has been checked."""
    model = model_of(network)

    def prepare() -> Fit:
        epoch, history = model.epoch, History()
        course = Course(run, Progress(epoch, epoch, n_rows), model.scaling)
        settings = Settings(epochs, (*check_callbacks(callbacks), history), history)
        return make_fit(model, network, course, settings)

    train(model, prepare)


def fit_epochs(
    epochs: Epochs, network: Network, max_iter: int, callbacks: Sequence[Callback]
) -> None:
    """Train for up to so many epochs, and warn if that was not enough."""
    from sklearn.exceptions import ConvergenceWarning

    estimator = epochs.estimator
    estimator.n_iter_ = 0
    run = partial(run_epochs, epochs.go_through)
    fit_checked(network, run, len(epochs.order), max_iter, (epochs, *callbacks))
    is_last = estimator.n_iter_ == max_iter
    if is_last and not epochs.has_stopped and not epochs.incremental:
        warn_user(
            f"Stochastic Optimizer: Maximum iterations ({max_iter}) reached and the "
            "optimization hasn't converged yet.",
            ConvergenceWarning,
        )
