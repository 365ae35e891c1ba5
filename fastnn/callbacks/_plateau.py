"""A callback that lowers the learning rate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from fastnn._base.fields import NOT_NEGATIVE, check_integer, check_number
from fastnn.optimizers import LBFGS
from fastnn.schedules import Scaled, Schedule, rates

from ._base import Callback, Logs
from ._monitor import Monitor

if TYPE_CHECKING:
    from ._base import NetworkInTraining, Prospect
    from ._monitor import Monitored

__all__ = ["ReduceOnPlateau"]


class ReduceOnPlateau(Callback):
    """Lower the learning rate when a quantity stops improving.

    After `patience` epochs in a row of which none improved on the best value by more
    than `min_delta`: ``rate := max(factor * rate, min_rate)``. A schedule is multiplied
    from there on. The rate of the coming updates is logged as "learning_rate", and the
    optimizer with it is part of the network: it is saved with it and stays after the
    fit.

    Parameters
    ----------
    factor : float, default 0.1
        Greater than 0, less than 1.
    patience : int, default 10
        At least 1.
    min_rate : float, default 0.0
        The rate is not lowered below it.
    cooldown : int, default 0
        Epochs after a reduction that do not count.

    Raises
    ------
    ValueError
        By `Network.fit`, before the first epoch: if the optimizer is `LBFGS`, which has
        no learning rate.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> net = fastnn.Network([2, 8, 2], optimizer=fastnn.SGD(0.1), seed=0)
    >>> plateau = fastnn.ReduceOnPlateau("loss", patience=2, min_delta=10.0)
    >>> history = net.fit(np.eye(2), [0, 1], epochs=4, callbacks=[plateau], verbose=0)
    >>> [round(rate, 6) for rate in history.history["learning_rate"]]
    [0.1, 0.1, 0.01, 0.01]
    """

    _adds: ClassVar = ("learning_rate",)

    def __init__(
        self,
        monitor: Monitored = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        min_rate: float = 0.0,
        cooldown: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
    ) -> None:
        self._monitor = Monitor("ReduceOnPlateau", monitor, mode, min_delta)
        self._factor = check_number(
            "factor", factor, "a number > 0 and < 1", lambda f: 0 < f < 1
        )
        self._patience = check_integer("patience", patience, 1)
        self._min_rate = check_number("min_rate", min_rate, *NOT_NEGATIVE)
        self._cooldown = check_integer("cooldown", cooldown, 0)
        self._begin()

    def _begin(self) -> None:
        self._best = self._monitor.worst
        self._waited = 0
        self._cooling = 0

    def _check(self, prospect: Prospect) -> None:
        self._monitor.check(prospect)
        optimizer = prospect.network.optimizer
        if isinstance(optimizer, LBFGS):
            raise ValueError(
                f"ReduceOnPlateau lowers the learning rate, but {optimizer!r} has none"
            )
        rate = optimizer.learning_rate
        if isinstance(rate, Schedule):
            _scaled(rate, self._factor)  # refused now if it is nested too deeply

    def on_train_begin(self) -> None:
        if self._starts_afresh():
            self._begin()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        value = self._monitor.value(self.network, logs)
        better = self._monitor.is_better(value, self._best)
        if better:
            self._best = value
        self._waited = 0 if better or self._cooling else self._waited + 1
        self._cooling = max(0, self._cooling - 1)
        if self._waited >= self._patience:
            self._waited, self._cooling = 0, self._cooldown
            self._reduce()
        logs["learning_rate"] = _rate(self.network)

    def _reduce(self) -> None:
        network = self.network
        rate = _rate(network)
        lower = max(self._factor * rate, self._min_rate)
        if lower >= rate:
            return
        optimizer = network.optimizer
        learning_rate: float | Schedule = lower
        if isinstance(optimizer.learning_rate, Schedule):
            learning_rate = _scaled(optimizer.learning_rate, lower / rate)
        network.optimizer = replace(optimizer, learning_rate=learning_rate)


def _rate(network: NetworkInTraining) -> float:
    """The learning rate of the next update."""
    return float(rates(network.optimizer.learning_rate, network.step, 1)[0])


def _scaled(schedule: Schedule, factor: float) -> Scaled:
    if isinstance(schedule, Scaled):  # one factor, however often it is lowered
        return Scaled(schedule.schedule, schedule.factor * factor)
    return Scaled(schedule, factor)
