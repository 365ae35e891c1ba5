"""`Network.fit_chunks`: training on data that comes in parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._base.errors import TrainingDiverged
from fastnn._core.model.seeds import row_order
from fastnn._core.model.state import Progress
from fastnn._plan.rows import Rows, check_steps, weigh_classes
from fastnn.optimizers import LBFGS

from .fit import Course, Fit, check_settings, check_validation, make_fit
from .loop import run_epochs, train_rows

if TYPE_CHECKING:
    from fastnn._base.types import Floats
    from fastnn._core.model.model import Model
    from fastnn.callbacks._base import NetworkInTraining

    Chunks = Iterable[tuple[Any, ...]]

__all__ = ["prepare_chunks"]


def prepare_chunks(
    model: Model,
    network: NetworkInTraining,
    chunks: Chunks | Callable[[], Chunks],
    *,
    epochs: int,
    batch_size: int,
    accumulate: int,
    shuffle: bool,
    class_weight: Any,
    validation: tuple[Any, Any, Any],
    **settings: Any,
) -> Fit:
    """Check every argument of `Network.fit_chunks` but the chunks themselves."""
    batch_size, accumulate, shuffle = check_steps(batch_size, accumulate, shuffle)
    if not callable(chunks):
        if not isinstance(chunks, Iterable):
            raise TypeError(
                "chunks must be an iterable of (X, y) or (X, y, sample_weight), or a "
                f"function that returns one, got {chunks!r}"
            )
        if isinstance(chunks, Iterator) and epochs != 1:
            raise ValueError(
                f"chunks is an iterator, which can be read once, but epochs is "
                f"{epochs}; expected a function that returns a new one"
            )
    if isinstance(class_weight, str):
        raise ValueError(
            f"class_weight is {class_weight!r}; expected a dict of weights by class, "
            "because the classes of all chunks are not known beforehand"
        )
    if isinstance(model.plan.optimizer, LBFGS):
        raise ValueError("the optimizer LBFGS takes all data at once: use fit")
    n_classes = model.plan.n_classes
    # One row of each class, to have the weights checked; a matrix if there are none.
    labels = np.zeros((1, 1)) if n_classes is None else np.arange(n_classes)
    weigh_classes(model.plan, class_weight, Rows(labels, labels, None))
    epoch = model.epoch
    # Its cursor stays 0: only whole epochs can be resumed.
    progress = Progress(epoch, epoch, 0, batch_size, shuffle, accumulate=accumulate)
    run = partial(run_epochs, partial(_go_through, chunks, class_weight))
    checked = check_settings(
        model, check_validation(model, validation), epochs=epochs, **settings
    )
    course = Course(
        run, progress, model.scaling, schema=model.schema, targets=model.targets
    )
    return make_fit(model, network, course, checked)


def _go_through(
    chunks: Chunks | Callable[[], Chunks],
    class_weight: Any,
    model: Model,
    fit: Fit,
    deadline: float,
) -> Floats | None:
    epoch, settings = model.epoch, fit.course.progress
    totals = np.zeros(3)
    index = -1
    if callable(chunks):
        made = chunks()
        if not isinstance(made, Iterable):
            raise TypeError(
                f"the function chunks returned {made!r}; expected an iterable of "
                "(X, y) or (X, y, sample_weight)"
            )
        chunks = made
    for index, chunk in enumerate(chunks):
        if index > 0 and time.monotonic() >= deadline:
            return None
        rows = _check_chunk(model, index, chunk, class_weight)
        order = None
        if settings.shuffle:
            order = row_order(model.seed, len(rows.X), epoch, index)
        progress = Progress(
            epoch, epoch, len(rows.X), settings.batch_size, settings.shuffle,
            totals=totals, accumulate=settings.accumulate,
        )  # fmt: skip
        try:
            if not train_rows(model, fit, rows, order, progress, deadline):
                return None
        except TrainingDiverged as error:
            raise TrainingDiverged(f"chunk {index}: {error}") from None
    if index < 0:
        raise ValueError("chunks has no chunk; expected at least one")
    return totals


def _check_chunk(model: Model, index: int, chunk: Any, class_weight: Any) -> Rows:
    if not isinstance(chunk, tuple | list) or len(chunk) not in (2, 3):
        raise TypeError(
            f"chunk {index} must be (X, y) or (X, y, sample_weight), got "
            f"{type(chunk).__name__}"
        )
    try:
        rows = model.check_rows(chunk[0], chunk[1], *chunk[2:] or (None,))
        return rows._replace(
            sample_weight=weigh_classes(model.plan, class_weight, rows)
        )
    except TypeError as error:
        raise TypeError(f"chunk {index}: {error}") from None
    except ValueError as error:
        raise ValueError(f"chunk {index}: {error}") from None
