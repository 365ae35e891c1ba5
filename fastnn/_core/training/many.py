"""`fastnn.fit_many`: fits side by side, each in a thread of Python.

The engine works without the GIL, so that threads are all it takes: each takes the next
network and calls its `fit`. A callback of each fit tells the others how far it is.
"""

from __future__ import annotations

import inspect
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import copy_context
from functools import cache
from typing import TYPE_CHECKING, Any

from fastnn._base.fields import check_count, check_integer
from fastnn._base.warn import warn_user
from fastnn._core.native.engine import get_num_threads
from fastnn._plan.arrays import as_array
from fastnn._plan.rows import check_numbers
from fastnn._plan.tables import column_names
from fastnn.callbacks import Callback, History
from fastnn.callbacks._base import Logs, check_callbacks
from fastnn.callbacks._display import samples_bar

if TYPE_CHECKING:
    from fastnn._core.model.model import Model

__all__ = ["Member", "fit_all", "make_fits", "work_of"]

# A step costs as much as these multiply-adds, whatever the size of the network.
_STEP = 5e4
# Arguments of fit that are those of the call, or that cannot be in several threads.
_NOT_OF_ONE = ("self", "X", "y", "verbose", "communicator", "shards")
_here = threading.local()  # whether a fit of some crew runs in this thread


class Member(Callback):
    """The fit of one network, and its callback, which comes after those of the user."""

    model: Model
    _crew: Crew
    _seen = 0

    def __init__(self, network: Any, X: Any, y: Any, options: dict[str, Any]):
        self.options = options
        self.history = History()
        self.data = X, y
        self._of, self.model, self.backend = network, network._model, network.backend
        n_rows = len(options["rows"]) if "rows" in options else len(y)
        self.n_samples = options["epochs"] * n_rows
        size = network.plan.n_parameters
        self.work = work_of(size, n_rows, options["epochs"], options["batch_size"])

    def run(self, crew: Crew) -> None:
        """Fit; what goes wrong with this network is not for the others."""
        self._crew = crew
        hooks = (*self.options["callbacks"], self.history, self)
        options = {**self.options, "callbacks": hooks, "verbose": 0}
        try:
            self._of.fit(*self.data, **options)
        except Exception as error:
            self.history.error = error
        crew.has_ended(self.n_samples - self._seen)

    def on_train_begin(self) -> None:
        self._crew.share_threads(self.model)

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        self._crew.share_threads(self.model)

    def on_progress(self, rows: int, logs: Logs) -> None:
        self._seen += rows
        self._crew.has_seen(rows)
        self._crew.share_threads(self.model)

    def on_train_end(self) -> None:
        self.model.engine.num_threads = self.model.num_threads


def work_of(size: int, n_rows: int, epochs: int, batch_size: int) -> float:
    """Return the cost of a fit of a network with `size` parameters."""
    steps = -(-n_rows // batch_size)
    # Forward, gradients of inputs and of weights; updates read and write all.
    return epochs * (3 * n_rows * size + steps * (10 * size + _STEP))


class Crew:
    """The threads that share the fits of one call."""

    def __init__(self, fits: Sequence[Member], num_threads: int, bar: Any) -> None:
        self._num_threads = num_threads
        self._bar = bar
        self._count = self._left = len(fits)  # left: have not ended
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        native = [fit for fit in fits if fit.backend == "native"]
        self._queue = deque(sorted(native, key=lambda fit: -fit.work))
        # NumPy has threads of its own.
        self._alone = deque(fit for fit in fits if fit.backend != "native")
        self._describe()

    def run(self) -> None:
        """Run all fits; the calling thread is one of the crew."""
        helpers: list[_Helper] = []
        try:
            for _ in range(min(self._num_threads, len(self._queue)) - 1):
                helper = _Helper(self._help)
                helpers.append(helper)
                try:
                    helper.start()
                except RuntimeError:  # refused by the system: fewer do
                    break
            self._work(self._queue)
            self._work(self._alone)
            _join(helpers)
            if self._failure is not None:
                raise self._failure
        except BaseException as error:
            self._failure = self._failure or error
            _join(helpers)
            raise self._failure from None

    def _help(self) -> None:
        try:
            self._work(self._queue)
        except BaseException as error:  # of a callback: KeyboardInterrupt, SystemExit
            self._failure = self._failure or error

    def _work(self, queue: deque[Member]) -> None:
        is_nested, _here.is_busy = is_busy(), True
        try:
            while self._failure is None:
                try:
                    fit = queue.popleft()
                except IndexError:
                    break
                fit.run(self)
        finally:
            _here.is_busy = is_nested

    def share_threads(self, model: Model) -> None:
        """Let a network have the threads that the others leave: one, in general."""
        own = model.num_threads or self._num_threads
        others = self._left - len(self._alone) - 1
        model.engine.num_threads = min(own, max(1, self._num_threads - others))

    def has_seen(self, rows: int) -> None:
        """Count samples; where others want to stop, end this fit like a Ctrl-C."""
        if self._failure is not None:
            raise KeyboardInterrupt
        if self._bar is not None:
            with self._lock:
                self._bar.update(rows)

    def has_ended(self, rows: int) -> None:
        with self._lock:
            self._left -= 1
            self._describe()
            if self._bar is not None:
                self._bar.update(rows)

    def _describe(self) -> None:
        if self._bar is not None:
            done = f"{self._count - self._left}/{self._count} networks"
            self._bar.set_description_str(done, refresh=False)


def is_busy() -> bool:
    return getattr(_here, "is_busy", False)


class _Helper(threading.Thread):
    """A thread that can be joined again after Ctrl-C.

    Before Python 3.13 a `join` that an exception leaves takes the thread for ended.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(target=copy_context().run, args=(work,))
        self._over = threading.Event()

    def run(self) -> None:
        try:
            super().run()
        finally:
            self._over.set()

    def wait(self) -> None:
        if self.is_alive():
            self._over.wait()
            self.join()


def _join(helpers: list[_Helper]) -> None:
    for helper in helpers:
        helper.wait()


def make_fits(
    networks: Sequence[Any], X: Any, y: Any, each: Any, options: dict[str, Any]
) -> list[Member]:
    """Check what concerns the call as a whole; the rest is checked by each fit."""
    _require_different("networks", networks)
    if column_names(X) is None:
        X = as_array(X, "X")
    y = as_array(y, "y")
    if y.ndim == 0:
        raise ValueError("y has no rows; expected one for each row of X")
    if each is None:
        each = [{}] * len(networks)
    if not isinstance(each, Iterable) or isinstance(each, Mapping):
        raise TypeError(f"each must be a sequence of dicts, got {each!r}")
    each = [*each]
    if len(each) != len(networks):
        raise ValueError(
            f"each has {len(each)} entries; expected {len(networks)}, one per network"
        )
    fits = []
    for i, (network, own) in enumerate(zip(networks, each, strict=True)):
        if not isinstance(own, Mapping):
            raise TypeError(f"each[{i}] must be a dict, got {own!r}")
        try:
            fits.append(Member(network, X, y, _checked(network, y, {**options, **own})))
        except (TypeError, ValueError) as error:
            raise type(error)(f"of networks[{i}]: {error}") from None
    _require_different("callbacks", [c for f in fits for c in f.options["callbacks"]])
    return fits


@cache
def _arguments(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


def _checked(network: Any, y: Any, options: dict[str, Any]) -> dict[str, Any]:
    known = _arguments(type(network).fit)
    for name in options:
        if name not in known or name in _NOT_OF_ONE:
            raise TypeError(f"{name!r} is no argument of Network.fit for one of many")
    for name in ("epochs", "batch_size"):
        options[name] = check_count(name, options.get(name, known[name].default))
    for name in ("rows", "rows_val"):
        if options.get(name) is not None:
            options[name] = check_numbers(name, options[name], len(y))
        else:
            options.pop(name, None)
    options["callbacks"] = check_callbacks(options.get("callbacks", ()))
    return options


def _require_different(name: str, objects: Sequence[Any]) -> None:
    places: dict[int, int] = {}
    for i, each in enumerate(objects):
        if places.setdefault(id(each), i) != i:
            raise ValueError(
                f"{name} has {each!r} twice; expected an object of its own for each "
                "network"
            )


def fit_all(fits: list[Member], num_threads: int | None, verbose: int) -> list[History]:
    """Run the fits and return their histories."""
    if num_threads is not None:
        num_threads = check_integer("num_threads", num_threads, 1)
    most = get_num_threads() if num_threads is None else num_threads
    if is_busy():
        most = 1
    bar = None
    if check_integer("verbose", verbose, 0, 1) and fits:
        bar = samples_bar(sum(fit.n_samples for fit in fits))
    try:
        Crew(fits, most, bar).run()
    finally:
        if bar is not None:
            bar.close()
    errors = [fit.history.error for fit in fits]
    failed = [i for i, error in enumerate(errors) if error is not None]
    if failed:
        first = errors[failed[0]]
        assert first is not None
        if len(failed) == len(fits):
            raise first
        warn_user(
            f"{len(failed)} of {len(fits)} networks failed, see History.error; "
            f"networks[{failed[0]}]: {type(first).__name__}: {first}",
            RuntimeWarning,
        )
    return [fit.history for fit in fits]
