"""The epoch loop: a fit is prepared (`Fit`: nothing has changed) and then run.

All state that training leaves behind, besides the engine's, is one `Progress`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from fastnn._base.errors import BusyError, TrainingDiverged
from fastnn._base.fields import is_number
from fastnn._core.model.model import Model, mean_logs
from fastnn._plan.rows import Rows
from fastnn.callbacks import Callback, EarlyStopping, History

from .fit import Fit, counts_epochs, in_steps

if TYPE_CHECKING:
    from fastnn._base.types import Array, Floats
    from fastnn._core.model.state import Progress

__all__ = ["begin_epoch", "end_epoch", "run_epochs", "train", "train_rows"]

# How long the interpreter waits for the engine: Ctrl-C acts within this time, and the
# progress bar moves. It costs nothing: a slice starts in microseconds.
SLICE_SECONDS = 0.05
# An update is left, with nothing changed, if it takes this much longer than the limit.
GRACE_SECONDS = 0.5


def train(model: Model, prepare: Callable[[], Fit]) -> History:
    """Prepare a fit and run it, with the engine taken."""
    refused = False
    try:
        # First, so that nobody trains between the checks and the training; inside the
        # try, so that Ctrl-C just after it cannot leave the engine taken.
        try:
            model.engine.acquire()
        except BusyError:
            refused = True
            raise
        return _run(model, prepare())
    finally:
        if not refused:
            # No context manager: Ctrl-C could come before its first line.
            try:  # noqa: SIM105
                model.engine.release()
            except RuntimeError:  # interrupted before it was taken
                pass


def _run(model: Model, fit: Fit) -> History:
    """Train; whatever ends it, the model stands on a step boundary."""
    step, scaling, progress = model.engine.step, model.scaling, model.progress
    schema, plan = model.schema, model.plan
    targets = model.targets
    try:
        return _run_course(model, fit)
    except TrainingDiverged:
        raise
    except Exception:
        # A fit that failed before its first update has changed nothing. One that Ctrl-C
        # ends there has begun, and can be resumed.
        if model.engine.step == step and model.progress is fit.course.progress:
            model.set_scaling(scaling)
            model.progress, model.schema = progress, schema
            if counts_epochs(plan):
                model.engine.set_optimizer(plan.optimizer, plan.layers)
            model.targets = targets
        raise


def _run_course(model: Model, fit: Fit) -> History:
    deadline = time.monotonic() + fit.settings.seconds
    model.set_scaling(fit.course.scaling)
    model.progress = progress = fit.course.progress
    model.schema, model.targets = fit.course.schema, fit.course.targets
    if counts_epochs(model.plan):
        plan = in_steps(model.plan, progress.updates)
        model.engine.set_optimizer(plan.optimizer, plan.layers)
    model.stop_training = False
    for callback in fit.settings.callbacks:
        callback.network = fit.network
        callback._has_finished = False
        callback.params = {
            "n_samples": fit.course.n_samples,
            "batch_size": progress.batch_size,
            "first_epoch": progress.first_epoch,
            "last_epoch": fit.last_epoch,
        }
    with ExitStack() as ends:  # one that fails does not keep the others from ending
        for callback in reversed(fit.settings.callbacks):
            ends.callback(callback.on_train_end)
        for callback in fit.settings.callbacks:
            callback.on_train_begin()
        has_finished = fit.course.run(model, fit, deadline)
        for callback in fit.settings.callbacks:
            callback._has_finished = has_finished
    restored: int | None = None
    for callback in fit.settings.callbacks:
        if isinstance(callback, EarlyStopping):
            epoch = callback._restored_epoch()
            restored = restored if epoch is None else epoch
        elif isinstance(callback, History):  # the last, or fit_many's
            callback.restored_epoch = restored
    return fit.settings.history


def run_epochs(
    go_through: Callable[[Model, Fit, float], Floats | None],
    model: Model,
    fit: Fit,
    deadline: float,
) -> bool:
    """Return whether the fit came to its end, rather than to its time limit.

    `go_through` returns the totals of an epoch, None if time ran out in it.
    """
    while model.progress.epoch < fit.last_epoch and not model.stop_training:
        begin_epoch(model, fit)
        totals = go_through(model, fit, deadline)
        if totals is None:
            return False
        end_epoch(model, fit, totals)
        if time.monotonic() >= deadline:
            break
    return model.progress.epoch >= fit.last_epoch or model.stop_training


def begin_epoch(model: Model, fit: Fit) -> None:
    for callback in fit.settings.callbacks:
        callback.on_epoch_begin(model.progress.epoch, {})


def end_epoch(model: Model, fit: Fit, totals: Floats) -> None:
    epoch = model.progress.epoch
    logs = mean_logs(totals, model.plan)
    validation = fit.settings.validation
    if validation is not None:
        values = fit.course.evaluate(model, validation, fit.settings.metrics)
        logs |= {f"val_{name}": value for name, value in values.items()}
    # One assignment, so that an interrupt finds the epoch running or counted; before
    # the hooks, so that a network saved by one of them goes on with the next epoch.
    model.progress = model.progress.at_epoch(epoch + 1)
    for callback in fit.settings.callbacks:
        callback.on_epoch_end(epoch, logs)
        for name, value in logs.items():
            if not is_number(value):
                raise TypeError(
                    f"{type(callback).__name__} logged {name!r}: {value!r}; expected a "
                    "number"
                )


def train_rows(
    model: Model,
    fit: Fit,
    rows: Rows,
    order: Array | None,
    progress: Progress,
    deadline: float,
) -> bool:
    """Train from the cursor to the last row; return whether it came so far in time.

    At least one update is made, so that fits with any time limit come to an end; but
    not one that takes longer than the limit by `GRACE_SECONDS`.
    """
    steps: dict[str, Any] = {"checked": False}
    if progress.accumulate > 1:
        steps["accumulate"] = progress.accumulate
    hooks = [
        hook
        for hook in fit.settings.callbacks
        if getattr(hook.on_batch_end, "__func__", hook) is not Callback.on_batch_end
    ]
    slice_seconds = 0.0 if hooks else SLICE_SECONDS  # at least an update
    while (start := progress.cursor[0]) < progress.n_rows:
        step = model.engine.step
        left = max(0.0, deadline - time.monotonic())
        train = partial(
            model.engine.train,
            *rows,
            order,
            progress.batch_size,
            totals=progress.totals,
            max_seconds=min(slice_seconds, left),
            limit=left + GRACE_SECONDS,
            **steps,
        )
        # cursor = train(cursor), as one operation of the interpreter: after a Ctrl-C
        # the cursor says exactly which rows the weights have seen.
        progress.cursor[:] = map(train, progress.cursor)
        steps["checked"] = True
        if progress.cursor[0] == start:  # the update was left
            break
        logs = mean_logs(progress.totals, model.plan)
        for callback in fit.settings.callbacks:
            callback.on_progress(progress.cursor[0] - start, logs)
        if model.engine.step > step:  # not if all rows weigh 0
            for hook in hooks:
                hook.on_batch_end(step, logs)
        if time.monotonic() >= deadline:
            break
    return progress.cursor[0] >= progress.n_rows
