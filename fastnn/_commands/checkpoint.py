"""What an interrupted `fastnn train` leaves behind, and `--resume` goes on from.

A zip file: the network as a model file, the best one so far if `--patience` keeps one,
and as JSON the options, the history and what the early stopping remembers.
"""

from __future__ import annotations

import argparse
import io
import json
import signal
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

from fastnn._base.errors import ModelFormatError
from fastnn._core.exchange.files import write_atomically
from fastnn._core.exchange.model_file import from_bytes, to_bytes
from fastnn.callbacks import LambdaCallback
from fastnn.network import model_of

if TYPE_CHECKING:
    from types import FrameType

    from fastnn._core.model.state import ModelState
    from fastnn.callbacks import Callback, EarlyStopping, History
    from fastnn.network import Network

__all__ = ["Checkpoint", "Interrupts", "take_options"]

# Options that may be others when the training goes on, and defaults that are not None.
_FREE = ("run", "resume", "threads", "time", "quiet", "json", "plot", "save")
_DEFAULTS = {"dataset": "digits", "seed": 0, "dtype": "float32", "backend": "native"}
_REMEMBERED = ("best", "best_epoch", "stopped_epoch", "_stopped_network", "_waited")


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a training as Ctrl-C does."""

    status = 143


class Interrupts:
    """Ctrl-C and SIGTERM, which wait while the callbacks take note of an epoch."""

    def __init__(self) -> None:
        self._came: type[KeyboardInterrupt] | None = None
        self._is_held = False

    def __enter__(self) -> Interrupts:
        self._before: dict[int, Any] = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                with suppress(ValueError):  # not in the main thread
                    self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._came = Terminated if number == signal.SIGTERM else KeyboardInterrupt
        if not self._is_held:
            raise self._came

    def around(self, *callbacks: Callback) -> tuple[Callback, ...]:
        """Return the callbacks, between two that hold and release."""

        def hold(*_: object) -> None:
            self._is_held = True

        def release(*_: object) -> None:
            self._is_held = False
            if self._came is not None:
                raise self._came

        first, last = (LambdaCallback(on_epoch_end=each) for each in (hold, release))
        return first, *callbacks, last


class Checkpoint:
    """A file with all that a training needs to go on to the bit."""

    def __init__(self, path: str) -> None:
        """Read it; ModelFormatError if it is none."""
        try:
            with ZipFile(path) as file:
                course = json.loads(file.read("course.json"))
                self.options: dict[str, Any] = dict(course["options"])
                self.history, self.stop = course["history"], course["stop"]
                self.state: ModelState = from_bytes(file.read("network"))
                names = file.namelist()
                self._best = from_bytes(file.read("best")) if "best" in names else None
        except (BadZipFile, KeyError, TypeError, ValueError) as error:
            raise ModelFormatError(
                f"{path} is not a checkpoint of an interrupted training ({error})"
            ) from None

    @staticmethod
    def save(
        path: str,
        options: argparse.Namespace,
        network: Network,
        history: History,
        stop: EarlyStopping | None,
    ) -> None:
        """Write the file, atomically."""
        state = model_of(network).state()
        course: dict[str, Any] = {
            "options": {k: v for k, v in vars(options).items() if k not in _FREE},
            "history": [history.epochs, history.history],
            "stop": {},
        }
        parts = {"network": to_bytes(state)}
        if stop is not None:
            course["stop"] = {name: getattr(stop, name) for name in _REMEMBERED}
            if stop._parameters is not None:
                weights, statistics = stop._parameters
                best = replace(state, weights=weights, statistics=statistics)
                parts["best"] = to_bytes(best)
        parts["course.json"] = json.dumps(course).encode()
        content = io.BytesIO()
        with ZipFile(content, "w") as file:
            for name, data in parts.items():
                file.writestr(name, data)
        write_atomically(path, content.getvalue())

    def restore(self, history: History, stop: EarlyStopping | None) -> None:
        """Let the callbacks remember what they knew."""
        history.epochs, history.history = self.history
        if stop is not None:
            for name, value in self.stop.items():
                pair = name == "_stopped_network" and value is not None
                setattr(stop, name, tuple(value) if pair else value)
            if self._best is not None:
                stop._parameters = self._best.weights, self._best.statistics


def take_options(options: argparse.Namespace, checkpoint: Checkpoint) -> None:
    """Set the options to those of the interrupted training, whose they must be."""
    for name, value in checkpoint.options.items():
        if name in _FREE or not hasattr(options, name):
            continue
        given = getattr(options, name)
        if given not in (value, _DEFAULTS.get(name)):
            flag = name if name == "dataset" else f"--{name.replace('_', '-')}"
            raise ValueError(
                f"{flag} is {given}, but {value} in {options.resume}; leave it out"
            )
        setattr(options, name, value)
