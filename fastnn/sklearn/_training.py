"""Training by mini-batches for `fastnn.sklearn`: scikit-learn's loop around epochs.

`Epochs` is the callback that comes first: it makes the estimator's record of an epoch,
ends the training by scikit-learn's rules, and changes the learning rate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastnn._base.fields import is_number
from fastnn._base.warn import warn_user
from fastnn._core.model.state import Progress
from fastnn._core.training.fit import Course, Fit, Settings, make_fit
from fastnn._core.training.loop import run_epochs, train, train_rows
from fastnn.callbacks import History
from fastnn.callbacks._base import Callback, Logs
from fastnn.network import network_of

if TYPE_CHECKING:
    from fastnn._base.types import Array, Floats
    from fastnn._core.model.model import Model
    from fastnn.optimizers import Optimizer

    from ._network import TrainedNetwork
    from ._rows import DataSet


__all__ = ["Epochs", "Recorder", "fit_epochs", "train_checked"]


class Batches(NamedTuple):
    """Batches of an epoch that have the same size, and so the same penalty."""

    start: int
    stop: int
    optimizer: Optimizer  # with their penalty


class Recorder(Callback):
    """Adds the values of the validation data to the logs and to the estimator."""

    model: Model  # in training

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
        loss, score = self.validation.evaluate(self.model)
        if self.validation.y.ndim == 1 and len(estimator.classes_) == 1:
            score = 1.0  # as all that is predicted; the network could say "not it"
        factor = self.trained.terms.value_factor
        logs["val_loss"] = factor * loss + self.constant(self.validation)
        logs["val_score"] = score
        estimator.validation_loss_curve_.append(logs["val_loss"])
        estimator.validation_scores_.append(score)
        if estimator.verbose:
            print(f"Validation score: {score:f}")

    def constant(self, rows: DataSet) -> float:
        """The part of scikit-learn's loss that fastnn's lacks: terms of y alone."""
        if self.trained.terms.loss != "poisson":
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
        self.order = order  # of the rows to train on
        self.batch_size = batch_size
        self.incremental = incremental
        self.has_stopped = False  # by the rules
        n = len(order)
        if len(rows) != n:
            rows = replace(rows, X=rows.y).take(order)  # X is not needed here
        weight = rows.weight
        if weight == 0.0:
            raise ValueError("sample_weight is zero for every training sample")
        self.weight = weight
        alpha = float(estimator.alpha)
        whole = n - n % batch_size
        spans = [(0, whole, batch_size), (whole, n, n - whole)]
        # Sample weights are summed batch by batch in scikit-learn, for the penalty:
        # here all batches have the mean.
        spans = [(start, stop, size) for start, stop, size in spans if stop > start]
        penalties = [alpha / (size * weight / n) for _, _, size in spans]
        self.groups = [
            Batches(start, stop, optimizer)
            for (start, stop, _), optimizer in zip(
                spans, trained.optimizers(penalties), strict=True
            )
        ]
        self.n_batches = -(-n // batch_size)
        self.offset = self.constant(rows)
        self.squares: float | None = None  # of the weights, before the coming epoch

    def on_train_begin(self) -> None:
        self._set_optimizer(self.groups[0].optimizer)

    def _set_optimizer(self, optimizer: Optimizer) -> None:
        if self.model.engine.plan.optimizer is not optimizer:
            self.model.engine.set_optimizer(optimizer)
        self.last_set = optimizer

    def go_through(self, model: Model, fit: Fit, deadline: float) -> Floats:
        """Train for an epoch."""
        if self.squares is None and self.estimator.alpha > 0.0:
            self.squares = model.engine.weight_squares()
        if self.estimator.shuffle:
            # The draws of sklearn.utils.shuffle, which shuffles the last order.
            indices = np.arange(len(self.order))
            self.estimator._random_state.shuffle(indices)
            self.order = self.order[indices]
        epoch, batch_size = model.progress.epoch, self.batch_size
        totals = np.zeros(3)
        # Each group has its penalty; all else is as callbacks may have changed it.
        present = model.engine.plan.optimizer
        if len(self.groups) > 1 and present is not self.last_set:
            self.groups = [
                each._replace(optimizer=replace(present, l2=each.optimizer.l2))
                for each in self.groups
            ]
        for batches in self.groups:
            if len(self.groups) > 1:
                self._set_optimizer(batches.optimizer)
            order = self.order[batches.start : batches.stop]
            n = len(order)
            progress = Progress(epoch, epoch, n, batch_size, True, [0], totals)
            train_rows(model, fit, self.rows.rows, order, progress, deadline)
        return totals

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        estimator = self.estimator
        loss = self.trained.terms.value_factor * logs["loss"] + self.offset
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
        """The penalty in scikit-learn's loss: the mean of those before each update."""
        if self.squares is None:
            return 0.0
        # Exact for one batch; else the squares are taken to change linearly.
        mean, k = self.squares, self.n_batches
        self.squares = self.model.engine.weight_squares() if k > 1 else None
        if self.squares is not None:
            mean += (self.squares - mean) * (k - 1) / (2 * k)
        return 0.5 * float(self.estimator.alpha) * mean * k / self.weight

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
            estimator._best_parameters = self.model.engine.get_weights()
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
                self.model.stop_training = True
            if estimator.verbose:
                print(message)
        if rate != solver.learning_rate:
            self._set_rate(rate)

    def _set_rate(self, rate: float) -> None:
        solver = self.trained.solver
        if solver.momentum:
            self.trained.rescale_velocity(solver.learning_rate / rate)
        optimizer: Any = self.model.engine.plan.optimizer
        if is_number(optimizer.learning_rate):  # no schedule that a callback has set
            factor = self.trained.terms.gradient_factor
            # 1 unless a callback such as ReduceOnPlateau has changed the rate.
            share = optimizer.learning_rate / (solver.learning_rate * factor)
            self.model.engine.set_optimizer(
                replace(optimizer, learning_rate=rate * factor * share)
            )
        solver.learning_rate = rate


def train_checked(
    model: Model,
    run: Callable[[Model, Fit, float], bool],
    n_rows: int,
    epochs: int,
    callbacks: Sequence[Callback],
) -> None:
    """Train by a course; its data and the callbacks have been checked."""

    def prepare() -> Fit:
        epoch = model.epoch
        course = Course(run, Progress(epoch, epoch, n_rows), model.scaling)
        # A history that is not among the callbacks, as nobody reads it.
        settings = Settings(epochs, tuple(callbacks), History())
        return make_fit(model, network_of(model), course, settings)

    train(model, prepare)


def fit_epochs(
    epochs: Epochs, model: Model, max_iter: int, callbacks: Sequence[Callback]
) -> None:
    """Train for at most `max_iter` epochs, and warn if that was not enough."""
    estimator = epochs.estimator
    estimator.n_iter_ = 0
    epochs.model = model
    run = partial(run_epochs, epochs.go_through)
    train_checked(model, run, len(epochs.order), max_iter, (epochs, *callbacks))
    is_last = estimator.n_iter_ == max_iter
    if is_last and not epochs.has_stopped and not epochs.incremental:
        warn_user(
            f"Stochastic Optimizer: Maximum iterations ({max_iter}) reached and the "
            "optimization hasn't converged yet.",
            ConvergenceWarning,
        )
