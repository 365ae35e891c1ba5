"""`Network.fit`: training on rows that are all at hand."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from fastnn._base.errors import TrainingDiverged
from fastnn._base.fields import check_bool
from fastnn._core.model.seeds import row_order
from fastnn._core.model.state import Progress
from fastnn._plan.rows import Rows, check_steps, hold_out, new_scaling, weigh_classes
from fastnn._plan.schema import schema_for
from fastnn.optimizers import LBFGS

from .fit import Course, Fit, check_settings, check_validation, make_fit
from .lbfgs import require_scipy, run_lbfgs
from .loop import run_epochs, train_rows

if TYPE_CHECKING:
    from fastnn._base.types import Floats
    from fastnn._core.model.model import Model
    from fastnn.callbacks._base import NetworkInTraining

__all__ = ["prepare_rows", "resumed"]


def prepare_rows(
    model: Model,
    network: NetworkInTraining,
    X: Any,
    y: Any,
    *,
    batch_size: int,
    accumulate: int,
    shuffle: bool,
    sample_weight: Any,
    class_weight: Any,
    validation: tuple[Any, Any, Any],
    validation_split: float,
    scaling: tuple[Any, Any],
    resume: bool,
    **settings: Any,
) -> Fit:
    """Check every argument of `Network.fit`; nothing is changed."""
    plan = model.plan
    batch_size, accumulate, shuffle = check_steps(batch_size, accumulate, shuffle)
    check_bool("resume", resume)
    schema = model.schema or schema_for(X, plan.n_inputs)
    rows = model.check_rows(X, y, sample_weight, "", schema)
    rows, held_out = hold_out(rows, validation_split)
    rows = rows._replace(sample_weight=weigh_classes(plan, class_weight, rows))
    progress = Progress(
        model.epoch, model.epoch, len(rows.X), batch_size, shuffle,
        accumulate=accumulate,
    )  # fmt: skip
    if resume:
        progress = resumed(model.progress, progress)
    scaling = new_scaling(model.scaling, *scaling, plan.n_inputs)
    if isinstance(plan.optimizer, LBFGS):
        require_scipy()
        run = partial(run_lbfgs, rows)
    else:
        run = partial(run_epochs, partial(_go_through, rows))
    checked = check_settings(
        model, check_validation(model, validation, held_out, schema), **settings
    )
    course = Course(run, progress, scaling, len(rows.X), schema)
    return make_fit(model, network, course, checked)


def _go_through(rows: Rows, model: Model, fit: Fit, deadline: float) -> Floats | None:
    """An epoch, or what an interrupt left of it."""
    progress = model.progress
    order = None
    if progress.shuffle:
        order = row_order(model.seed, progress.n_rows, progress.epoch)
    try:
        done = train_rows(model, fit, rows, order, progress, deadline)
    except TrainingDiverged:
        # The weights are the last finite ones; the rows of an epoch that cannot be
        # finished do not count.
        model.progress = progress.at_epoch(progress.epoch)
        raise
    return progress.totals if done else None


def resumed(old: Progress, fresh: Progress) -> Progress:
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
