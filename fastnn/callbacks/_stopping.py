"""Callbacks that end a training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fastnn._base.fields import (
    NOT_NEGATIVE,
    check_bool,
    check_integer,
    check_name,
    check_number,
)

from ._base import Callback, Logs
from ._monitor import Monitor

if TYPE_CHECKING:
    from fastnn._core.model.model import Parameters

    from ._base import Prospect
    from ._monitor import Monitored

__all__ = ["EarlyStopping", "LossBelow", "LossTolerance"]


class EarlyStopping(Callback):
    """End the training when a quantity stops improving, and keep the best weights.

    The training ends after `patience` epochs in a row of which none improved on the
    best value by more than `min_delta`. A value of NaN is no improvement.

    Parameters
    ----------
    patience : int or None, default 10
        At least 1. None: the training goes on to its end, and only the best weights are
        kept.
    restore_best : bool, default True
        When the fit ends, by this or another callback or by itself, give the network
        the weights, and the statistics of its normalisations, of the best epoch. The
        state of the optimizer stays that of the last epoch.
    start_from_epoch : int, default 0
        Ignore this many epochs at the start of each fit.
    ties : {"first", "last"}, default "first"
        Which of several epochs with the best value is the best one. Another epoch as
        good is no improvement that `patience` knows of.

    Attributes
    ----------
    best : float
        The best value so far.
    best_epoch : int or None
        Its epoch, counted like those of the `History`.
    stopped_epoch : int or None
        The epoch after which this callback ended the training.

    Notes
    -----
    A fit that is interrupted, or runs into its time limit, keeps the weights it has, so
    that it can be resumed to the bit; `restore` sets the best ones. Use the same object
    for the resumed fit.

    Examples
    --------
    >>> import fastnn
    >>> X_train, y_train, X_test, y_test = fastnn.datasets.digits()
    >>> net = fastnn.Network([64, 32, 10], input_scale=1 / 16, seed=0)
    >>> stop = fastnn.EarlyStopping(patience=5)
    >>> history = net.fit(
    ...     X_train, y_train, epochs=500, validation_split=0.2, callbacks=[stop],
    ...     verbose=0,
    ... )
    >>> len(history.epochs) < 500
    True
    >>> min(history.history["val_loss"]) == stop.best
    True
    """

    def __init__(
        self,
        monitor: Monitored = "val_loss",
        patience: int | None = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
        start_from_epoch: int = 0,
        ties: str = "first",
    ) -> None:
        self._monitor = Monitor("EarlyStopping", monitor, mode, min_delta)
        if patience is not None:
            patience = check_integer("patience", patience, 1)
        self._patience = math.inf if patience is None else patience
        self._takes_last = check_name("ties", ties, ("first", "last")) == "last"
        self._restores = check_bool("restore_best", restore_best)
        self._start_from = check_integer("start_from_epoch", start_from_epoch, 0)
        self._begin()

    def _begin(self) -> None:
        self.best = self._monitor.worst
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self._stopped_network: tuple[int, int] | None = None  # its seed and epoch
        self._waited = 0
        self._parameters: Parameters | None = None

    def restore(self) -> None:
        """Give the network the parameters of the best epoch, if there is one yet."""
        if self._parameters is not None:
            self.network._model.set_parameters(self._parameters)

    def _check(self, prospect: Prospect) -> None:
        self._monitor.check(prospect)

    def on_train_begin(self) -> None:
        place = self.network.seed, self.network.epoch
        is_stopped = self._stopped_network is not None
        if self._starts_afresh() or (is_stopped and self._stopped_network != place):
            self._begin()
        elif is_stopped:
            self.network.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        value = self._monitor.value(self.network, logs)
        if epoch - self.params["first_epoch"] < self._start_from:
            return
        is_better = self._monitor.is_better(value, self.best)
        if is_better or (self._takes_last and value == self.best):
            self.best, self.best_epoch = value, epoch
            if self._restores:
                self._parameters = self.network._model.get_parameters()
        self._waited = 0 if is_better else self._waited + 1
        if self._waited >= self._patience:
            self.stopped_epoch = epoch
            self._stopped_network = self.network.seed, self.network.epoch
            self.network.stop_training = True

    def on_train_end(self) -> None:
        if self._restored_epoch() is not None:
            self.restore()

    def _restored_epoch(self) -> int | None:
        """The epoch whose weights the end of the fit gives, if it gives any."""
        return self.best_epoch if self._restores and self._has_finished else None


class LossTolerance(Callback):
    """End the training when the training loss stops falling: scikit-learn's rule.

    Ends it after more than `patience` epochs in a row whose loss was greater than the
    least one before minus `tol`. That of ``MLPClassifier(tol, n_iter_no_change)``.

    Parameters
    ----------
    tol : float, default 1e-4
        At least 0.
    patience : int, default 10
        At least 1.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> net = fastnn.Network([2, 8, 2], optimizer=fastnn.Adam(0.05), seed=0)
    >>> stop = fastnn.LossTolerance(tol=1e-3, patience=5)
    >>> history = net.fit(np.eye(2), [0, 1], epochs=999, callbacks=[stop], verbose=0)
    >>> len(history.epochs) < 999
    True
    """

    def __init__(self, tol: float = 1e-4, patience: int = 10) -> None:
        self._tol = check_number("tol", tol, *NOT_NEGATIVE)
        self._patience = check_integer("patience", patience, 1)
        self._begin()

    def _begin(self) -> None:
        self._best = math.inf
        self._waited = 0

    def on_train_begin(self) -> None:
        if self._starts_afresh():
            self._begin()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        loss = logs["loss"]
        self._waited = self._waited + 1 if loss > self._best - self._tol else 0
        self._best = min(self._best, loss)
        if self._waited > self._patience:
            self.network.stop_training = True


class LossBelow(Callback):
    """End the training after the first epoch whose training loss is below a value.

    Parameters
    ----------
    loss : float
        At least 0.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> net = fastnn.Network([2, 8, 2], optimizer=fastnn.Adam(0.05), seed=0)
    >>> stop = fastnn.LossBelow(0.1)
    >>> history = net.fit(np.eye(2), [0, 1], epochs=999, callbacks=[stop], verbose=0)
    >>> history.history["loss"][-1] < 0.1 <= history.history["loss"][-2]
    True
    """

    def __init__(self, loss: float) -> None:
        self._loss = check_number("loss", loss, *NOT_NEGATIVE)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if logs["loss"] < self._loss:
            self.network.stop_training = True
