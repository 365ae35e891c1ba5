"""Callbacks: code that runs at the start and end of epochs of `Network.fit`.

Python wakes about every 50 ms during an epoch, for signals and the progress bar, and
never per batch: a callback costs nothing per step.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from .network import Network

__all__ = [
    "Callback",
    "EpochPrinter",
    "History",
    "LambdaCallback",
    "ProgressBar",
]

Logs = dict[str, float]


class Callback:
    """Base class: override the hooks you need.

    Attributes
    ----------
    network : Network
        The network in training. Within a hook it may predict, evaluate and be saved;
        ``self.network.stop_training = True`` ends the training after this epoch.
    params : dict
        "n_samples", "batch_size", "first_epoch" and "last_epoch" (exclusive) of the
        running fit.

    Notes
    -----
    Epochs are counted from 0 over the life of the network, so a second `fit` goes on
    where the first one ended. `on_train_end` is called in any case, also when the
    training was interrupted or raised: it is the place to close things.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> class StopWhenGood(fastnn.Callback):
    ...     def on_epoch_end(self, epoch, logs):
    ...         if logs["loss"] < 0.1:
    ...             self.network.stop_training = True
    >>> X = np.array([[0.0], [1.0]]); y = np.array([0, 1])
    >>> net = fastnn.Network([1, 8, 2], optimizer=fastnn.Adam(0.1), seed=0)
    >>> history = net.fit(X, y, epochs=500, callbacks=[StopWhenGood()], verbose=0)
    >>> len(history.epochs) < 500
    True
    """

    network: Network
    params: dict[str, int]

    def on_train_begin(self) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """Before an epoch; `logs` is empty."""

    def on_progress(self, rows: int, logs: Logs) -> None:
        """About every 50 ms: the epoch went on by `rows` samples.

        `logs` has the loss and the accuracy of the running epoch so far.
        """

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """After an epoch and its validation.

        `logs` has "loss" and "accuracy", with validation data also "val_loss" and
        "val_accuracy". What a callback adds is recorded in the `History`.
        """

    def on_train_end(self) -> None:
        """After the last epoch, or after what ended the training early."""


class History(Callback):
    """The record of a training: `Network.fit` returns one.

    Attributes
    ----------
    history : dict
        One list per quantity ("loss", "accuracy", "val_loss", ...) with one value per
        epoch.
    epochs : list of int
        The number of each epoch recorded.

    Examples
    --------
    A history of your own survives an interrupted training:

    >>> import numpy as np, fastnn
    >>> history = fastnn.History()
    >>> net = fastnn.Network([2, 4, 2], seed=0)
    >>> X = np.array([[0.0, 1.0], [1.0, 0.0]]); y = np.array([0, 1])
    >>> _ = net.fit(X, y, epochs=3, callbacks=[history], verbose=0)
    >>> history.epochs, sorted(history.history)
    ([0, 1, 2], ['accuracy', 'loss'])
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epochs: list[int] = []

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self.epochs.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def __repr__(self) -> str:
        last = {name: round(values[-1], 6) for name, values in self.history.items()}
        return f"History({len(self.epochs)} epochs, last: {last})"


class LambdaCallback(Callback):
    """A callback made of functions, given by the name of the hook.

    Parameters
    ----------
    on_train_begin, on_train_end : callable, optional
        Called without arguments.
    on_epoch_begin, on_epoch_end : callable, optional
        Called with (epoch, logs).
    on_progress : callable, optional
        Called with (rows, logs).

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> seen = []
    >>> watch = fastnn.LambdaCallback(
    ...     on_epoch_end=lambda epoch, logs: seen.append(epoch)
    ... )
    >>> net = fastnn.Network([2, 4, 2], seed=0)
    >>> _ = net.fit(np.eye(2), np.array([0, 1]), epochs=2, callbacks=[watch], verbose=0)
    >>> seen
    [0, 1]
    """

    _HOOKS: ClassVar = (
        "on_train_begin",
        "on_epoch_begin",
        "on_progress",
        "on_epoch_end",
        "on_train_end",
    )

    def __init__(self, **hooks: Callable[..., object]) -> None:
        for name, function in hooks.items():
            if name not in self._HOOKS:
                raise TypeError(f"{name!r} is no hook; expected {self._HOOKS}")
            if not callable(function):
                raise TypeError(f"{name} must be callable, got {function!r}")
            setattr(self, name, function)


class ProgressBar(Callback):
    """One bar for the whole training, in samples, on stderr (needs tqdm).

    Shows the epoch, loss and accuracy so far, and the samples per second. `fit` adds
    one by itself with ``verbose=1``.
    """

    _bar: Any = None

    def on_train_begin(self) -> None:
        # Not tqdm.auto: it warns where the widgets of notebooks are absent.
        from tqdm.std import tqdm  # type: ignore[import-untyped]

        self._close()
        n_samples = self.params["n_samples"]
        epochs = self.params["last_epoch"] - self.params["first_epoch"]
        done = (self.network.epoch - self.params["first_epoch"]) * n_samples
        self._bar = tqdm(
            total=epochs * n_samples,
            initial=done + self.network.cursor,
            unit=" samples",
            unit_scale=True,
            dynamic_ncols=True,
            # A log file wants few lines; a terminal is redrawn.
            mininterval=0.1 if sys.stderr.isatty() else 10.0,
            bar_format="{desc} |{bar}|{percentage:4.0f}% {elapsed} {rate_fmt}{postfix}",
        )

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        first, last = self.params["first_epoch"], self.params["last_epoch"]
        self._bar.set_description_str(
            f"epoch {epoch - first + 1}/{last - first}", refresh=False
        )

    def on_progress(self, rows: int, logs: Logs) -> None:
        self._bar.set_postfix_str(_format_logs(logs, ", "), refresh=False)
        self._bar.update(rows)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self._bar.set_postfix_str(_format_logs(logs, ", "), refresh=False)

    def on_train_end(self) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()  # draws it once more, with the last values
            self._bar = None


class EpochPrinter(Callback):
    """One line per epoch on stdout; `fit` adds one by itself with ``verbose=2``."""

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        self._start = time.perf_counter()
        self._rows = self.params["n_samples"] - self.network.cursor

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        seconds = time.perf_counter() - self._start
        first, last = self.params["first_epoch"], self.params["last_epoch"]
        print(
            f"epoch {epoch - first + 1:{len(str(last - first))}}/{last - first}  "
            f"{_format_logs(logs, '  ')}  {seconds:.2f} s  "
            f"{self._rows / max(seconds, 1e-9):,.0f} samples/s",
            flush=True,
        )


def _format_logs(logs: Logs, separator: str) -> str:
    return separator.join(f"{name} {value:.4f}" for name, value in logs.items())
