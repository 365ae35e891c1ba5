"""`Network.fit_chunks`: training on data that comes in parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._base.errors import TrainingDiverged
from fastnn._plan.rows import Rows, check_rows, check_steps, weigh_classes

from .loop import Fit, Progress, permutation, prepare_fit, train_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastnn.network import Network

    Chunks = Iterable[tuple[Any, ...]]

__all__ = ["prepare_chunks"]


def prepare_chunks(
    network: Network,
    chunks: Chunks | Callable[[], Chunks],
    *,
    epochs: int,
    batch_size: int,
    accumulate: int,
    shuffle: bool,
    class_weight: Any,
    **common: Any,
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
    n_classes = network.plan.n_classes
    # One row of each class, to have the weights checked; a matrix if there are none.
    labels = np.zeros((1, 1)) if n_classes is None else np.arange(n_classes)
    weigh_classes(network, class_weight, Rows(labels, labels, None))
    epoch = network.epoch
    # Its cursor stays 0: only whole epochs can be resumed.
    progress = Progress(epoch, epoch, 0, batch_size, shuffle, accumulate=accumulate)
    return prepare_fit(
        network,
        partial(_go_through, chunks, class_weight),
        progress,
        rows=None,
        held_out=None,
        scaling=network._scaling,
        epochs=epochs,
        **common,
    )


def _go_through(
    chunks: Chunks | Callable[[], Chunks],
    class_weight: Any,
    network: Network,
    fit: Fit,
    deadline: float,
) -> NDArray[np.float64] | None:
    epoch, settings = network.epoch, fit.progress
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
        rows = _check_chunk(network, index, chunk, class_weight)
        order = None
        if settings.shuffle:
            order = permutation(network.seed, (epoch, index), len(rows.X))
        progress = Progress(
            epoch, epoch, len(rows.X), settings.batch_size, settings.shuffle,
            totals=totals, accumulate=settings.accumulate,
        )  # fmt: skip
        try:
            if not train_rows(network, fit, rows, order, progress, deadline):
                return None
        except TrainingDiverged as error:
            raise TrainingDiverged(f"chunk {index}: {error}") from None
    if index < 0:
        raise ValueError("chunks has no chunk; expected at least one")
    return totals


def _check_chunk(network: Network, index: int, chunk: Any, class_weight: Any) -> Rows:
    if not isinstance(chunk, tuple | list) or len(chunk) not in (2, 3):
        raise TypeError(
            f"chunk {index} must be (X, y) or (X, y, sample_weight), got "
            f"{type(chunk).__name__}"
        )
    try:
        rows = check_rows(network, chunk[0], chunk[1], *chunk[2:] or (None,))
        return rows._replace(sample_weight=weigh_classes(network, class_weight, rows))
    except TypeError as error:
        raise TypeError(f"chunk {index}: {error}") from None
    except ValueError as error:
        raise ValueError(f"chunk {index}: {error}") from None
