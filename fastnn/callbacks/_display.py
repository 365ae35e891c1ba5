"""Callbacks that show how a training goes on."""

from __future__ import annotations

import sys
import time
from typing import Any, ClassVar

from ._base import Callback, Logs

__all__ = ["EpochPrinter", "ProgressBar", "samples_bar"]

_OTHER_COLUMNS = 43  # epoch, a bar of a few, percentage, time and rate


class ProgressBar(Callback):
    """One bar for the whole training, in samples, on stderr (needs tqdm).

    In a notebook on stdout; in a log file, a line now and then. Shows the epoch, loss
    and accuracy so far, and the samples per second. `fit` adds one by itself with
    ``verbose=1``.
    """

    _on_every_rank: ClassVar = False
    _bar: Any = None

    def on_train_begin(self) -> None:
        self._close()
        n_samples = self.params["n_samples"]  # None: not known before the end
        known = n_samples is not None
        epochs = self.params["last_epoch"] - self.params["first_epoch"]
        done = self.network.epoch - self.params["first_epoch"]
        self._bar = samples_bar(
            total=epochs * n_samples if known else None,
            initial=done * n_samples + self.network.cursor if known else 0,
        )

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        first, last = self.params["first_epoch"], self.params["last_epoch"]
        self._bar.set_description_str(
            f"epoch {epoch - first + 1}/{last - first}", refresh=False
        )

    def on_progress(self, rows: int, logs: Logs) -> None:
        self._show(logs)
        self._bar.update(rows)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self._show(logs)

    def _show(self, logs: Logs) -> None:
        """All values if the line has room; else those of validation, which matter."""
        text, columns = _format(logs, ", "), self._bar.ncols
        if columns is not None and len(text) > columns - _OTHER_COLUMNS:
            validation = {name: logs[name] for name in logs if name.startswith("val_")}
            text = _format(validation or logs, ", ")
        self._bar.set_postfix_str(text, refresh=False)

    def on_train_end(self) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()  # draws it once more, with the last values
            self._bar = None


def samples_bar(total: int | None, initial: int = 0) -> Any:
    """Return a bar of tqdm that counts samples; None: not known how many."""
    # Not tqdm.auto: it warns where the widgets of notebooks are absent.
    from tqdm.std import tqdm  # type: ignore[import-untyped]

    # A notebook shows stderr in red, and apart from what else a cell prints.
    file: Any = sys.stdout if _is_notebook() else sys.stderr
    redrawn = _is_notebook() or file.isatty()
    return tqdm(
        total=total,
        initial=initial,
        file=file if redrawn else _Lines(file),
        delay=0 if redrawn else 1e-9,  # nothing before there is something
        unit=" samples",
        unit_scale=True,
        dynamic_ncols=True,
        # A log file wants few lines; a terminal is redrawn.
        mininterval=0.1 if redrawn else 10.0,
        bar_format="{desc} {n_fmt}{unit} {elapsed} {rate_fmt}{postfix}"
        if total is None
        else "{desc} |{bar}|{percentage:4.0f}% {elapsed} {rate_fmt}{postfix}",
    )


class _Lines:
    """A file in which nothing can be drawn over: of each text a line."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, text: str) -> None:
        if text := text.strip():
            self._file.write(text + "\n")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _is_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return type(shell).__name__ == "ZMQInteractiveShell"


class EpochPrinter(Callback):
    """One line per epoch on stdout; `fit` adds one by itself with ``verbose=2``."""

    _on_every_rank: ClassVar = False

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        self._start = time.perf_counter()
        self._rows = 0

    def on_progress(self, rows: int, logs: Logs) -> None:
        self._rows += rows

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        seconds = time.perf_counter() - self._start
        first, last = self.params["first_epoch"], self.params["last_epoch"]
        print(
            f"epoch {epoch - first + 1:{len(str(last - first))}}/{last - first}  "
            f"{_format(logs, '  ')}  {seconds:.2f} s  "
            f"{self._rows / max(seconds, 1e-9):,.0f} samples/s",
            flush=True,
        )


def _format(logs: Logs, separator: str) -> str:
    return separator.join(f"{name} {value:.4f}" for name, value in logs.items())
