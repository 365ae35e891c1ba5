"""A fit that passed every check: through which data, how long, and who is told."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._base.fields import check_integer, check_number
from fastnn._base.frozen import dataclass
from fastnn._core.model.model import Model, mean_logs
from fastnn._plan.rows import Rows
from fastnn.callbacks import Callback, EpochPrinter, History, ProgressBar
from fastnn.callbacks._base import NetworkInTraining, Prospect, check_callbacks
from fastnn.schedules import Schedule

from .scoring import Metric, evaluate, make_metrics

if TYPE_CHECKING:
    from fastnn._base.types import Scaling
    from fastnn._core.model.state import Progress
    from fastnn._plan.plan import Plan
    from fastnn._plan.schema import Schema
    from fastnn._plan.targets import TargetScaling

__all__ = [
    "Course",
    "Fit",
    "Settings",
    "check_settings",
    "check_validation",
    "counts_epochs",
    "in_steps",
    "make_fit",
]


@dataclass(frozen=True)
class Course:
    """A way through the data, which is checked."""

    # (model, fit, deadline) -> whether the fit came to its end
    run: Callable[[Model, Fit, float], bool]
    progress: Progress  # at the beginning
    scaling: Scaling
    n_samples: int | None = None  # None: not known before an epoch has ended
    schema: Schema | None = None
    targets: TargetScaling | None = None
    # (model, validation rows, metrics) -> logs without "val_"
    evaluate: Callable[[Model, Rows, Sequence[Metric]], dict[str, float]] = evaluate


@dataclass(frozen=True)
class Settings:
    """How long to train, what to evaluate, and who is told."""

    epochs: int
    callbacks: tuple[Callback, ...]
    history: History  # one of them
    validation: Rows | None = None
    metrics: Sequence[Metric] = ()
    seconds: float = math.inf


@dataclass(frozen=True)
class Fit:
    """A course with its settings, and the network that callbacks see."""

    network: NetworkInTraining
    course: Course
    settings: Settings
    last_epoch: int  # the number of the first epoch that is not trained any more


def check_settings(
    model: Model,
    validation: Rows | None,
    *,
    epochs: int,
    callbacks: Iterable[Callback] | Callback | None,
    verbose: int,
    metrics: Iterable[str | Callable[..., Any]],
    time_limit: float | None,
) -> Settings:
    """Check the arguments that all ways of training have."""
    epochs = check_integer("epochs", epochs, 1)
    if isinstance(verbose, bool):
        verbose = int(verbose)
    verbose = check_integer("verbose", verbose, 0, 2)
    seconds = math.inf
    if time_limit is not None:
        seconds = check_number(
            "time_limit",
            time_limit,
            "None or a finite number of seconds > 0",
            lambda s: s > 0,
        )
    made = make_metrics(metrics, model.plan)
    if made and validation is None:
        raise ValueError(
            "metrics are those of validation data, but there is none; expected X_val "
            "and y_val, or validation_split"
        )
    history = History()
    # The history comes last: it records what other callbacks add to the logs.
    extra = {0: (), 1: (ProgressBar(),), 2: (EpochPrinter(),)}[verbose]
    hooks = (*check_callbacks(callbacks), *extra, history)
    return Settings(epochs, hooks, history, validation, made, seconds)


def check_validation(
    model: Model,
    data: tuple[Any, Any, Any],
    held_out: Rows | None = None,
    schema: Schema | None = None,
    targets: TargetScaling | None = None,
) -> Rows | None:
    """Check X_val, y_val and sample_weight_val."""
    X, y, sample_weight = data
    if X is None and y is None:
        if sample_weight is not None:
            raise ValueError("sample_weight_val is given but X_val is None")
        return held_out
    if X is None or y is None:
        missing, given = ("X_val", "y_val") if X is None else ("y_val", "X_val")
        raise ValueError(f"{given} is given but {missing} is None; expected both")
    if held_out is not None:
        raise ValueError(
            "validation_split is not 0 although X_val is given; expected one of them"
        )
    return model.check_rows(X, y, sample_weight, "_val", schema, targets)


def make_fit(
    model: Model, network: NetworkInTraining, course: Course, settings: Settings
) -> Fit:
    """Return the fit if the callbacks can do with it; nothing is changed."""
    names = list(mean_logs(np.ones(3), model.plan))
    if settings.validation is not None:
        scored = (metric.name for metric in settings.metrics)
        names += [f"val_{name}" for name in (*names, *scored)]
    progress = course.progress
    if counts_epochs(model.plan) and not progress.n_rows:
        raise ValueError(
            "a schedule counts epochs, but the updates of an epoch of chunks are not "
            "known; expected steps or interval"
        )
    begins = progress.epoch == progress.first_epoch and progress.cursor[0] == 0
    is_complete = True
    for hook in settings.callbacks:
        hook._check(Prospect(network, [*dict.fromkeys(names)], is_complete, begins))
        names += hook._adds
        is_complete = is_complete and not _may_add(hook)
    last_epoch = progress.first_epoch + settings.epochs
    return Fit(network, course, settings, last_epoch)


def _may_add(hook: Callback) -> bool:
    """Whether the end of an epoch runs code of the user, which may add to the logs."""
    module = getattr(hook.on_epoch_end, "__module__", None) or ""
    return module.partition(".")[0] != __name__.partition(".")[0]


def counts_epochs(plan: Plan) -> bool:
    """Whether a schedule has no rates before `in_steps`."""
    specs = (plan.optimizer, *plan.layers)
    # A list: Ctrl-C in a generator that ends early would be lost.
    found = [each for spec in specs for each in _schedules(spec).values()]
    return any(map(attrgetter("counts_epochs"), found))


def in_steps(plan: Plan, updates: int) -> Plan:
    """Return the plan whose schedules have updates for epochs of that many."""

    def counted(spec: Any) -> Any:
        found = _schedules(spec).items()
        changes = {name: each.in_steps(updates) for name, each in found}
        return replace(spec, **changes) if changes else spec

    layers = tuple(map(counted, plan.layers))
    return replace(plan, layers=layers, optimizer=counted(plan.optimizer))


def _schedules(spec: Any) -> dict[str, Schedule]:
    values = {each.name: getattr(spec, each.name) for each in fields(spec)}
    return {k: v for k, v in values.items() if isinstance(v, Schedule)}
