"""The epoch loop of `Network.fit`, and what it needs to be resumed to the bit.

A fit is prepared first (`prepare`: every check, nothing changed) and then run
(`run`). All state that training leaves behind, beside the engine's, is one `Progress`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._base.errors import TrainingDiverged
from fastnn._base.fields import check_bool, check_integer, check_number, is_number
from fastnn._base.warn import warn_user
from fastnn._plan.rows import (
    Rows,
    check_callbacks,
    check_rows,
    check_steps,
    check_validation,
    hold_out,
    new_scaling,
    weigh_classes,
)
from fastnn.callbacks import Callback, EpochPrinter, History, ProgressBar
from fastnn.callbacks._base import Prospect
from fastnn.optimizers import LBFGS

from .lbfgs import minimize, require_scipy
from .scoring import Metric, make_metrics, mean_logs, score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastnn._base.types import Floats, Scaling
    from fastnn.network import Network


__all__ = [
    "Fit",
    "Progress",
    "Rows",
    "begin_epoch",
    "check_rows",
    "end_epoch",
    "permutation",
    "prepare",
    "prepare_fit",
    "run",
    "train_rows",
]


# How long the interpreter waits for the engine: Ctrl-C acts within this time, and the
# progress bar moves. It costs nothing: a slice starts in microseconds.
SLICE_SECONDS = 0.05


@dataclass
class Progress:
    """Where training stands: with the engine's state, all that resuming needs."""

    epoch: int = 0  # completed, over the life of the network
    first_epoch: int = 0  # the first one of the running fit
    n_rows: int = 0  # of the running fit, like the next two
    batch_size: int = 1
    shuffle: bool = True
    # A list of one, because the interpreter raises KeyboardInterrupt between a call
    # and the assignment of its result: see train_rows.
    cursor: list[int] = field(default_factory=lambda: [0])  # rows done of this epoch
    # Sum of w * loss, of w, and of w * correct over those rows.
    totals: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    accumulate: int = 1  # mini-batches per update

    def at_epoch(self, epoch: int) -> Progress:
        """The same fit at the start of an epoch."""
        return replace(self, epoch=epoch, cursor=[0], totals=np.zeros(3))


@dataclass(frozen=True)
class Fit:
    """A fit that passed every check."""

    # (network, fit, deadline) -> the totals of the epoch, None if time ran out in it
    go_through: Callable[[Network, Fit, float], Floats | None]
    # (network, fit, deadline) -> whether the fit came to its end
    run_all: Callable[[Network, Fit, float], bool]
    rows: Rows | None  # None: they come in chunks
    validation: Rows | None
    metrics: Sequence[Metric]
    scaling: Scaling
    progress: Progress
    n_samples: int | None  # None: not known before an epoch has ended
    last_epoch: int
    seconds: float  # infinite without a limit
    callbacks: tuple[Callback, ...]
    history: History


def prepare(
    network: Network,
    X: Any,
    y: Any,
    *,
    batch_size: int,
    accumulate: int,
    shuffle: bool,
    sample_weight: Any,
    class_weight: Any,
    validation_split: float,
    input_scale: Any,
    input_shift: Any,
    resume: bool,
    **common: Any,
) -> Fit:
    """Check every argument of `Network.fit`; nothing is changed."""
    batch_size, accumulate, shuffle = check_steps(batch_size, accumulate, shuffle)
    check_bool("resume", resume)
    rows = check_rows(network, X, y, sample_weight)
    train, held_out = hold_out(rows, validation_split)
    weight = weigh_classes(network, class_weight, train)
    train = train._replace(sample_weight=weight)
    fresh = Progress(
        network.epoch, network.epoch, len(train.X), batch_size, shuffle,
        accumulate=accumulate,
    )  # fmt: skip
    progress = _resumed(network._progress, fresh) if resume else fresh
    return prepare_fit(
        network,
        partial(_go_through, train),
        progress,
        rows=train,
        held_out=held_out,
        scaling=new_scaling(network, input_scale, input_shift),
        **common,
    )


def prepare_fit(
    network: Network,
    go_through: Callable[[Network, Fit, float], Floats | None],
    progress: Progress,
    *,
    rows: Rows | None,
    held_out: Rows | None,
    scaling: Scaling,
    epochs: int,
    X_val: Any,
    y_val: Any,
    sample_weight_val: Any,
    callbacks: Iterable[Callback],
    verbose: int,
    metrics: Iterable[str | Callable[..., Any]],
    time_limit: float | None,
    run_all: Callable[[Network, Fit, float], bool] | None = None,
) -> Fit:
    """Check the arguments that every way through the data has; nothing is changed."""
    epochs = check_integer("epochs", epochs, 1)
    verbose = check_integer("verbose", verbose, 0, 2)
    seconds = math.inf
    if time_limit is not None:
        seconds = check_number(
            "time_limit",
            time_limit,
            "None or a finite number of seconds > 0",
            lambda s: s > 0,
        )
    if isinstance(network.optimizer, LBFGS):
        require_scipy()
        if rows is None and run_all is None:
            raise ValueError("the optimizer LBFGS takes all data at once: use fit")
        run_all = run_all or _run_lbfgs
    history = History()
    # The history comes last: it records what other callbacks add to the logs.
    extra = {0: (), 1: (ProgressBar(),), 2: (EpochPrinter(),)}[verbose]
    hooks = (*check_callbacks(callbacks), *extra, history)
    validation = check_validation(network, X_val, y_val, sample_weight_val, held_out)
    made = make_metrics(metrics, network.plan)
    if made and validation is None:
        raise ValueError(
            "metrics are those of validation data, but there is none; expected X_val "
            "and y_val, or validation_split"
        )
    names = list(mean_logs(np.ones(3), network.plan))
    if validation is not None:
        names += [f"val_{name}" for name in (*names, *(m.name for m in made))]
    begins = progress.epoch == progress.first_epoch and progress.cursor[0] == 0
    is_complete = True
    for hook in hooks:
        hook._check(Prospect(network, [*dict.fromkeys(names)], is_complete, begins))
        names += hook._adds
        is_complete = is_complete and not _may_add(hook)
    return Fit(
        go_through=go_through,
        run_all=run_all or _run_epochs,
        rows=rows,
        validation=validation,
        metrics=made,
        scaling=scaling,
        progress=progress,
        n_samples=None if rows is None else len(rows.X),
        last_epoch=progress.first_epoch + epochs,
        seconds=seconds,
        callbacks=hooks,
        history=history,
    )


def _may_add(hook: Callback) -> bool:
    """Whether the end of an epoch runs code of the user, which may add to the logs."""
    module = getattr(hook.on_epoch_end, "__module__", None) or ""
    return module.partition(".")[0] != __name__.partition(".")[0]


def run(network: Network, fit: Fit) -> History:
    """Train; whatever ends it, the network stands on a step boundary.

    The caller has acquired the engine.
    """
    before = network.step, network._scaling, network._progress
    try:
        return _run(network, fit)
    except TrainingDiverged:
        raise
    except Exception:
        # What failed before its first update has changed nothing. A fit that Ctrl-C
        # ends there has begun, and can be resumed.
        step, scaling, progress = before
        if network.step == step and network._progress is fit.progress:
            network._set_scaling(scaling)
            network._progress = progress
        raise


def _run(network: Network, fit: Fit) -> History:
    deadline = time.monotonic() + fit.seconds
    network._set_scaling(fit.scaling)
    network._progress = fit.progress
    network.stop_training = False
    for callback in fit.callbacks:
        callback.network = network
        callback._has_finished = False
        callback.params = {
            "n_samples": fit.n_samples,
            "batch_size": fit.progress.batch_size,
            "first_epoch": fit.progress.first_epoch,
            "last_epoch": fit.last_epoch,
        }
    with ExitStack() as ends:  # one that fails does not keep the others from ending
        for callback in reversed(fit.callbacks):
            ends.callback(callback.on_train_end)
        for callback in fit.callbacks:
            callback.on_train_begin()
        has_finished = fit.run_all(network, fit, deadline)
        for callback in fit.callbacks:
            callback._has_finished = has_finished
    return fit.history


def _run_epochs(network: Network, fit: Fit, deadline: float) -> bool:
    """Return whether the fit came to its end, rather than to its time limit."""
    while network.epoch < fit.last_epoch and not network.stop_training:
        begin_epoch(network, fit)
        totals = fit.go_through(network, fit, deadline)
        if totals is None:
            return False
        end_epoch(network, fit, totals)
        if time.monotonic() >= deadline:
            break
    return network.epoch >= fit.last_epoch or network.stop_training


def _run_lbfgs(network: Network, fit: Fit, deadline: float) -> bool:
    """Each iteration is an epoch; its loss is that after the iteration."""
    if network.epoch >= fit.last_epoch or network.stop_training:
        return True
    engine, rows = network._engine, fit.rows
    assert rows is not None
    is_out_of_time = False

    def record() -> None:
        totals = np.array(engine.evaluate(*rows))
        logs = mean_logs(totals, network.plan)
        for callback in fit.callbacks:
            callback.on_progress(len(rows.X), logs)
        end_epoch(network, fit, totals)

    def end_iteration() -> bool:
        nonlocal is_out_of_time
        record()
        done = network.epoch >= fit.last_epoch or network.stop_training
        is_out_of_time = not done and time.monotonic() >= deadline
        if not done and not is_out_of_time:
            begin_epoch(network, fit)
        return done or is_out_of_time

    begin_epoch(network, fit)
    problem = minimize(engine, rows, end_iteration)
    if network.epoch == fit.progress.first_epoch:
        record()  # there was nothing to gain, and that is the record
    if problem:
        warn_user(
            f"L-BFGS ended after epoch {network.epoch} of {fit.last_epoch} without "
            f"having converged: {problem}"
        )
    return not is_out_of_time


def begin_epoch(network: Network, fit: Fit) -> None:
    for callback in fit.callbacks:
        callback.on_epoch_begin(network.epoch, {})


def end_epoch(network: Network, fit: Fit, totals: Floats) -> None:
    epoch = network.epoch
    logs = mean_logs(totals, network.plan)
    if fit.validation is not None:
        values = network._evaluate(fit.validation)
        values |= score(fit.metrics, network, fit.validation)
        logs |= {f"val_{name}": value for name, value in values.items()}
    # One assignment, so that an interrupt finds the epoch running or counted; before
    # the hooks, so that a network saved by one of them goes on with the next epoch.
    network._progress = network._progress.at_epoch(epoch + 1)
    for callback in fit.callbacks:
        callback.on_epoch_end(epoch, logs)
        for name, value in logs.items():
            if not is_number(value):
                raise TypeError(
                    f"{type(callback).__name__} logged {name!r}: {value!r}; expected a "
                    "number"
                )


def _go_through(
    train: Rows, network: Network, fit: Fit, deadline: float
) -> Floats | None:
    """An epoch of `Network.fit`, or what an interrupt left of it."""
    progress = network._progress
    order = None
    if progress.shuffle:
        order = permutation(network.seed, (progress.epoch,), progress.n_rows)
    try:
        done = train_rows(network, fit, train, order, progress, deadline)
    except TrainingDiverged:
        # The weights are the last finite ones; the rows of an epoch that cannot be
        # finished do not count.
        network._progress = progress.at_epoch(progress.epoch)
        raise
    return progress.totals if done else None


def train_rows(
    network: Network,
    fit: Fit,
    rows: Rows,
    order: NDArray[np.int64] | None,
    progress: Progress,
    deadline: float,
) -> bool:
    """Train from the cursor to the last row; return whether it came so far in time.

    At least one update is made, so that fits with any time limit come to an end.
    """
    steps: dict[str, Any] = {"checked": False}
    if progress.accumulate > 1:
        steps["accumulate"] = progress.accumulate
    while (start := progress.cursor[0]) < progress.n_rows:
        left = max(0.0, deadline - time.monotonic())
        train = partial(
            network._engine.train,
            *rows,
            order,
            progress.batch_size,
            totals=progress.totals,
            max_seconds=min(SLICE_SECONDS, left),
            **steps,
        )
        # cursor = train(cursor), as one operation of the interpreter: after a Ctrl-C
        # the cursor says exactly which rows the weights have seen.
        progress.cursor[:] = map(train, progress.cursor)
        steps["checked"] = True
        logs = mean_logs(progress.totals, network.plan)
        for callback in fit.callbacks:
            callback.on_progress(progress.cursor[0] - start, logs)
        if time.monotonic() >= deadline:
            break
    return progress.cursor[0] >= progress.n_rows


def permutation(seed: int, place: tuple[int, ...], n_rows: int) -> NDArray[np.int64]:
    """The order of rows: a function of seed and epoch (and chunk), so not saved."""
    bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(2, *place)))
    return np.random.Generator(bits).permutation(n_rows)


def _resumed(old: Progress, fresh: Progress) -> Progress:
    """Where a fit goes on that would else begin with `fresh`."""
    if old.cursor[0] == 0:
        return replace(fresh, first_epoch=old.first_epoch)
    for name, given, expected in (
        ("the number of training samples", fresh.n_rows, old.n_rows),
        ("batch_size", fresh.batch_size, old.batch_size),
        ("accumulate", fresh.accumulate, old.accumulate),
        ("shuffle", fresh.shuffle, old.shuffle),
    ):
        if given != expected:
            raise ValueError(
                f"resume=True but {name} is {given}; expected {expected}, as in the "
                "interrupted epoch"
            )
    return old
