"""What an interrupted `fastnn train` leaves behind, and `--resume` goes on from.

A zip file: the network as a model file, the best so far if there is one, and as JSON
the options, the history and what the early stopping remembers.
"""

from __future__ import annotations

import hashlib
import io
import json
import signal
from contextlib import suppress
from dataclasses import replace
from typing import Any
from zipfile import BadZipFile, ZipFile

from fastnn._base.errors import ModelFormatError
from fastnn._core.exchange.files import write_atomically
from fastnn._core.exchange.model_file import from_bytes, to_bytes
from fastnn.callbacks import LambdaCallback
from fastnn.network import model_of

__all__ = ["Checkpoint", "Interrupts", "digest_of", "fill_in"]

# Options that may be others when it goes on, and defaults that are not None.
_FREE = ("run", "resume", "threads", "time", "quiet", "json", "plot", "save")
_DEFAULTS = {"dataset": "digits", "seed": 0, "dtype": "float32", "backend": "native"}
_REMEMBERED = ("best", "best_epoch", "stopped_epoch", "_stopped_network", "_waited")


def fill_in(options: Any) -> None:
    """Set the options of `train` and `search` that were not given to their defaults."""
    for name, value in _DEFAULTS.items():
        if getattr(options, name) is None:
            setattr(options, name, value)


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a training as Ctrl-C does."""

    status = 143


class Interrupts:
    """Ctrl-C and SIGTERM, which wait while callbacks take note of an epoch."""

    _came: Any = None
    _is_held = False

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

    def _take(self, number: int, frame: object) -> None:
        self._came = Terminated if number == signal.SIGTERM else KeyboardInterrupt
        if not self._is_held:
            raise self._came

    def around(self, *callbacks: Any) -> Any:
        """Return the callbacks, between two that hold and release."""
        return (
            LambdaCallback(on_epoch_end=lambda *_: self._hold(True)),
            *callbacks,
            LambdaCallback(on_epoch_end=lambda *_: self._hold(False)),
        )

    def hold(self) -> None:
        """From now on, wait."""
        self._is_held = True

    def _hold(self, is_held: bool) -> None:
        self._is_held = is_held
        if self._came and not is_held:
            raise self._came


def digest_of(arrays: Any) -> str:
    """A checksum of what is in arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        for start in range(0, len(array), 4096):
            digest.update(array[start : start + 4096].tobytes())
    return digest.hexdigest()


class Checkpoint:
    """What is read from a file; ModelFormatError if it is none."""

    def __init__(self, path: str) -> None:
        try:
            with ZipFile(path) as file:
                course = json.loads(file.read("course.json"))
                self._options, self._history = (
                    dict(course["options"]),
                    course["history"],
                )
                self._stop = dict(course["stop"])
                self.data = course["data"]
                self.seconds = float(course.get("seconds", 0.0))
                self.state = from_bytes(file.read("network"))
                names = file.namelist()
                self._best = from_bytes(file.read("best")) if "best" in names else None
        except (BadZipFile, KeyError, TypeError, ValueError) as error:
            raise ModelFormatError(
                f"{path} is not a checkpoint of an interrupted training ({error})"
            ) from None

    @staticmethod
    def save(path: str, job: Any) -> None:
        state, stop = model_of(job.network).state(), job.stop
        options = vars(job.options).items()
        course = {
            "options": {k: v for k, v in options if k not in _FREE},
            "history": [job.record.epochs, job.record.history],
            "stop": {name: getattr(stop, name, None) for name in _REMEMBERED},
            "data": digest_of(job.train),
            "seconds": job.seconds,
        }
        parts = {"network": to_bytes(state), "course.json": json.dumps(course).encode()}
        if stop is not None and stop._parameters is not None:
            weights, statistics = stop._parameters
            parts["best"] = to_bytes(
                replace(state, weights=weights, statistics=statistics)
            )
        content = io.BytesIO()
        with ZipFile(content, "w") as file:
            for name, data in parts.items():
                file.writestr(name, data)
        write_atomically(path, content.getvalue())

    def take_options(self, options: Any) -> None:
        """Set the options to those of the interrupted training, or complain."""
        for name in (vars(options).keys() & self._options.keys()) - {*_FREE}:
            given, value = getattr(options, name), self._options[name]
            if given is not None and given is not False and given != value:
                flag = name if name == "dataset" else f"--{name.replace('_', '-')}"
                was = "was not given" if value is None else value
                raise ValueError(
                    f"{flag} is {given}, but {was} in {options.resume}; leave it out"
                )
            setattr(options, name, value)

    def restore(self, job: Any) -> None:
        """Let the callbacks remember what they knew."""
        job.seconds = self.seconds
        job.record.epochs, job.record.history = self._history
        if job.stop is not None:
            vars(job.stop).update(self._stop)
            place = self._stop["_stopped_network"]
            job.stop._stopped_network = place and tuple(place)
            if self._best is not None:
                job.stop._parameters = self._best.weights, self._best.statistics
