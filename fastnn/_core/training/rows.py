"""`Network.fit`: training on rows that are all at hand."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from fastnn._base.errors import TrainingDiverged
from fastnn._base.fields import check_bool
from fastnn._core.model.seeds import row_order
from fastnn._core.model.state import Progress
from fastnn._plan.rows import (
    Rows,
    check_numbers,
    check_steps,
    hold_out,
    new_scaling,
    take_numbers,
    weigh_classes,
)
from fastnn._plan.schema import schema_for
from fastnn._plan.traps import warn_of_sorted_labels, warn_of_unscaled_targets
from fastnn.optimizers import LBFGS

from .fit import Course, Fit, check_settings, check_validation, make_fit
from .lbfgs import require_scipy, run_lbfgs
from .loop import run_epochs, train_rows

if TYPE_CHECKING:
    from fastnn._base.types import Array, Floats
    from fastnn._core.model.model import Model
    from fastnn._plan.schema import Schema
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
    rows: Any,
    rows_val: Any,
    **settings: Any,
) -> Fit:
    """Check every argument of `Network.fit`; nothing is changed."""
    plan = model.plan
    batch_size, accumulate, shuffle = check_steps(batch_size, accumulate, shuffle)
    check_bool("resume", resume)
    schema = model.schema or schema_for(X, plan.n_inputs)
    if rows is not None and schema is not model.schema:
        _require_plain(schema)
    data = model.check_rows(X, y, sample_weight, "", schema, learns=True)
    data, held_out, numbers = _parts(data, validation_split, rows, rows_val)
    if rows_val is not None and validation[0] is not None:
        raise ValueError("rows_val is given although X_val is; expected one of them")
    weight = weigh_classes(plan, class_weight, data, numbers)
    data = data._replace(sample_weight=weight)
    targets = model.targets
    if targets is not None and not targets.is_known:
        used: Any = slice(None) if numbers is None else numbers
        targets = targets.learnt(data.y[used], None if weight is None else weight[used])
        scaled = partial(targets.scaled, dtype=plan.array_dtype)
        data = data._replace(y=scaled(data.y))
        held_out = held_out and held_out._replace(y=scaled(held_out.y))
    n_rows = len(data.X) if numbers is None else len(numbers)
    progress = Progress(
        model.epoch, model.epoch, n_rows, batch_size, shuffle,
        accumulate=accumulate,
    )  # fmt: skip
    if resume:
        progress = resumed(model.progress, progress)
    scaling = new_scaling(model.scaling, *scaling, plan.n_inputs)
    if isinstance(plan.optimizer, LBFGS):
        require_scipy()
        if numbers is not None:
            data = take_numbers(data, numbers, "training")
        run = partial(run_lbfgs, data)
    else:
        run = partial(run_epochs, partial(_go_through, data, numbers))
    held_out = check_validation(model, validation, held_out, schema, targets)
    checked = check_settings(model, held_out, **settings)
    course = Course(run, progress, scaling, n_rows, schema, targets)
    if validation_split and held_out is not None:
        warn_of_sorted_labels(data.y, held_out.y)
    if not model.engine.step:
        warn_of_unscaled_targets(plan, data.y)
    return make_fit(model, network, course, checked)


def _parts(
    data: Rows, validation_split: float, rows: Any, rows_val: Any
) -> tuple[Rows, Rows | None, Array | None]:
    """Data to train on, data held out, and the numbers of the rows of the first."""
    rest, held_out = hold_out(data, validation_split)
    if held_out is not None and not (rows is None and rows_val is None):
        raise ValueError(
            "validation_split is not 0 although rows or rows_val is given; expected "
            "one of them"
        )
    if rows_val is not None:
        numbers = check_numbers("rows_val", rows_val, len(data.X))
        held_out = take_numbers(data, numbers, "validation")
    if rows is None:
        return rest, held_out, None
    return data, held_out, check_numbers("rows", rows, len(data.X))


def _require_plain(schema: Schema | None) -> None:
    if schema is not None and schema.encoding != "none":
        raise ValueError(
            "rows of a table are given, but the network has no schema yet, and would "
            "learn it from all rows; assign net.schema = "
            "fastnn.Schema.from_table(the rows to learn it from) before"
        )


def _go_through(
    data: Rows, numbers: Array | None, model: Model, fit: Fit, deadline: float
) -> Floats | None:
    """An epoch, or what an interrupt left of it."""
    progress = model.progress
    order = numbers
    if progress.shuffle:
        order = row_order(model.seed, progress.n_rows, progress.epoch)
        order = order if numbers is None else numbers[order]
    try:
        done = train_rows(model, fit, data, order, progress, deadline)
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
