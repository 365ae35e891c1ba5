"""Callbacks that keep what a training did: its history, a table, the network."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, TextIO

from fastnn._base.fields import check_bool

from ._base import Callback, Logs
from ._monitor import Monitor

if TYPE_CHECKING:
    from ._base import Prospect
    from ._monitor import Monitored

__all__ = ["CSVLogger", "History", "ModelCheckpoint"]


class History(Callback):
    """The record of a training: `Network.fit` returns one.

    Attributes
    ----------
    history : dict
        One list per quantity ("loss", "accuracy", "val_loss", ...) with one value per
        epoch.
    epochs : list of int
        The number of each epoch recorded.
    restored_epoch : int or None
        The one whose weights an `EarlyStopping` gave the network at the end.
    error : Exception or None
        What ended the training, of a network that failed in `fastnn.fit_many`.

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

    restored_epoch: int | None = None

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epochs: list[int] = []
        self.error: Exception | None = None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self.epochs.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def __getstate__(self) -> dict[str, Any]:
        """The record without the network, which is another thing to keep."""
        state = self.__dict__.copy()
        state.pop("network", None)
        return state

    def plot(self, name: str | None = None, ax: Any = None) -> Any:
        """Draw a quantity by epoch: `plotting.plot_history`, by default of the loss.

        Without `name`, of classes the accuracy is drawn next to the loss, and the two
        axes are returned in an array (needs matplotlib).
        """
        # By its name: pictures are made of callbacks, not callbacks of pictures.
        plotting = import_module("fastnn.plotting")
        if name is not None or ax is not None or "accuracy" not in self.history:
            return plotting.plot_history(self, name or "loss", ax)
        import_module("fastnn.plotting._axes").require_matplotlib()
        pyplot = import_module("matplotlib.pyplot")
        axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")[1]
        for each, of in zip(("loss", "accuracy"), axes, strict=True):
            plotting.plot_history(self, each, of)
        return axes

    def _repr_html_(self) -> str:
        from fastnn._base.html import curves, table

        rows = [
            (name, values[0], min(values), max(values), values[-1])
            for name, values in self.history.items()
        ]
        loss: dict[str, Sequence[float]] = {
            name: self.history[name]
            for name in ("loss", "val_loss")
            if name in self.history
        }
        head = ("quantity", "first", "lowest", "highest", "last")
        title = f"History of {len(self.epochs)} epochs"
        return table(title, head, rows) + curves(loss)

    def __repr__(self) -> str:
        last = {name: round(values[-1], 6) for name, values in self.history.items()}
        return f"History({len(self.epochs)} epochs, last: {last})"


class ModelCheckpoint(Callback):
    """Save the network after each epoch, or after those that are the best so far.

    Each file is written as by `Network.save`: all of it or nothing, and a training that
    is resumed from it goes on with the next epoch.

    Parameters
    ----------
    path : str or path-like
        May have fields such as ``"net-{epoch:03}-{val_loss:.4f}.safetensors"``: the
        number of epochs the network has completed, and names of the logs. Without
        fields, the file is replaced each time.
    monitor : str or callable, default "val_loss"
        What `save_best_only` compares.
    save_best_only : bool, default False
    include_optimizer : bool, default True
        As in `Network.save`: resuming exactly needs it.

    Attributes
    ----------
    best : float
        The best value so far, with `save_best_only`.
    saved : str or None
        The last file written.

    Raises
    ------
    ValueError
        By `Network.fit`: a field is not in the logs.
    OSError
        By `Network.fit`: the folder is absent (before the training), or a file cannot
        be written.

    Examples
    --------
    >>> import os, tempfile, numpy as np, fastnn
    >>> net = fastnn.Network([2, 4, 2], seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save = fastnn.ModelCheckpoint(os.path.join(folder, "net-{epoch}"))
    ...     _ = net.fit(np.eye(2), [0, 1], epochs=3, callbacks=[save], verbose=0)
    ...     sorted(os.listdir(folder))
    ['net-1', 'net-2', 'net-3']
    """

    _on_every_rank: ClassVar = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: Monitored = "val_loss",
        mode: str = "auto",
        save_best_only: bool = False,
        include_optimizer: bool = True,
    ) -> None:
        self._path = _text(path)
        self._best_only = check_bool("save_best_only", save_best_only)
        self._monitor = (
            Monitor("ModelCheckpoint", monitor, mode) if save_best_only else None
        )
        self._include_optimizer = check_bool("include_optimizer", include_optimizer)
        self._begin()

    def _begin(self) -> None:
        self.best = math.nan if self._monitor is None else self._monitor.worst
        self.saved: str | None = None

    def _check(self, prospect: Prospect) -> None:
        if self._monitor is not None:
            self._monitor.check(prospect)
        if prospect.is_complete:
            self._format({"epoch": 1, **dict.fromkeys(prospect.logs, 1.0)})
        folder = os.path.dirname(self._path)
        if not _has_fields(folder):
            _require_folder("ModelCheckpoint", self._path)

    def on_train_begin(self) -> None:
        if self._starts_afresh():
            self._begin()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        path = self._format({"epoch": self.network.epoch, **logs})
        if self._monitor is not None:
            value = self._monitor.value(self.network, logs)
            if not self._monitor.is_better(value, self.best):
                return
            self.best = value
        self.network.save(path, include_optimizer=self._include_optimizer)
        self.saved = path

    def _format(self, known: Mapping[str, Any]) -> str:
        try:
            return self._path.format(**known)
        except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
            raise ValueError(
                f"ModelCheckpoint cannot make a name of {self._path!r} ({error}); "
                f"expected fields of {', '.join(known)}"
            ) from None


class CSVLogger(Callback):
    """Write the logs to a CSV file, one row per epoch as it ends.

    Each row is handed to the system when its epoch ends, so that an interrupted
    training, or a killed one, leaves all of them. A resumed fit adds to its rows, and
    first drops those of epochs that it will make again, if it goes on from an earlier
    checkpoint.

    Parameters
    ----------
    path : str or path-like
    append : bool, default False
        Add to the rows of an existing file, whose first row must name the same
        columns, instead of replacing it.

    Raises
    ------
    OSError
        By `Network.fit`, before the first epoch: the file cannot be written.
    ValueError
        By `Network.fit`: an epoch has other columns than the file; found before the
        first epoch, unless a callback before this one may add to the logs.

    Examples
    --------
    >>> import os, tempfile, numpy as np, fastnn
    >>> net = fastnn.Network([2, 4, 2], seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "log.csv")
    ...     logger = fastnn.CSVLogger(path)
    ...     _ = net.fit(np.eye(2), [0, 1], epochs=2, callbacks=[logger], verbose=0)
    ...     with open(path) as file:
    ...         lines = file.read().splitlines()
    >>> lines[0], [line.split(",")[0] for line in lines[1:]]
    ('epoch,loss,accuracy', ['0', '1'])
    """

    _on_every_rank: ClassVar = False
    _file: TextIO | None = None

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        self._path = _text(path)
        self._append = check_bool("append", append)

    def _check(self, prospect: Prospect) -> None:
        _require_folder("CSVLogger", self._path)
        goes_on = self._append or not prospect.starts_afresh
        if goes_on and prospect.is_complete:
            columns = _columns_of(self._path)
            if columns:
                row = ["epoch", *prospect.logs]
                self._require_columns(columns, row, "the fit logs")

    def on_train_begin(self) -> None:
        is_resumed = not self._starts_afresh()
        goes_on = self._append or is_resumed
        self._columns = _columns_of(self._path) if goes_on else []
        if self._columns and is_resumed:
            _drop_epochs(self._path, self.network.epoch)
        self._file = open(  # noqa: SIM115
            self._path, "a" if goes_on else "w", encoding="utf-8", newline=""
        )

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self._file is None:
            raise RuntimeError("on_train_begin was not called")
        row: dict[str, object] = {"epoch": epoch, **logs}
        rows = [list(row.values())]
        if not self._columns:
            self._columns = list(row)
            rows.insert(0, [*self._columns])
        self._require_columns(self._columns, row, f"epoch {epoch} logged")
        import csv  # here, so that `import fastnn` does not wait for it

        csv.writer(self._file, lineterminator="\n").writerows(rows)
        self._file.flush()

    def on_train_end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _require_columns(
        self, columns: list[str], logged: Collection[str], what: str
    ) -> None:
        if list(logged) != columns:
            raise ValueError(
                f"{self._path} has the columns {', '.join(columns)}, but {what} "
                f"{', '.join(logged)}"
            )


def _text(path: str | os.PathLike[str]) -> str:
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(f"path must be text, got {path!r}")
    return text


def _require_folder(owner: str, path: str) -> None:
    folder = os.path.dirname(path) or os.curdir
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f"{owner} saves to {path!r} but there is no folder {folder!r}"
        )


def _columns_of(path: str) -> list[str]:
    if not os.path.exists(path):
        return []
    import csv

    with open(path, encoding="utf-8", newline="") as file:
        return next(csv.reader(file), [])


def _drop_epochs(path: str, first: int) -> None:
    """Cut off the last rows, those of the epoch `first` and later ones."""
    with open(path, "rb+") as file:
        lines = file.readlines()
        while len(lines) > 1 and _epoch_of(lines[-1]) >= first:
            lines.pop()
        file.truncate(sum(map(len, lines)))


def _epoch_of(line: bytes) -> int:
    try:
        return int(line.partition(b",")[0])
    except ValueError:
        return -1  # not one of ours: it stays


def _has_fields(text: str) -> bool:
    from string import Formatter

    try:
        return any(name is not None for _, name, _, _ in Formatter().parse(text))
    except ValueError:  # a single brace: named by _format
        return True
