"""The shapes that fastnn's speed is stated for, and data for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.network import Network
from fastnn.optimizers import SGD

if TYPE_CHECKING:
    from fastnn._base.types import Array

    Shape = tuple[list[int], int]

__all__ = ["ADAM_SHAPES", "SHAPES", "label", "make_batch", "make_network"]

# (layer sizes, rows in a mini-batch): from a step that lasts microseconds, where every
# barrier shows, to one that reads its weights from memory.
SHAPES: list[Shape] = [
    ([784, 50, 10], 32),
    ([2, 64, 3], 300),
    ([784, 128, 10], 64),
    ([784, 128, 10], 512),
    ([784, 512, 512, 10], 128),
    ([784, 512, 512, 10], 1024),
    ([784, 2500, 2000, 1500, 1000, 500, 10], 256),
]
# Where Adam's two more arrays a weight are measured.
ADAM_SHAPES: list[Shape] = [SHAPES[0], SHAPES[2], SHAPES[3]]


def label(shape: Shape) -> str:
    """Return such as "784-50-10, batch 32"."""
    sizes, rows = shape
    return f"{'-'.join(map(str, sizes))}, batch {rows}"


def make_batch(shape: Shape, dtype: str = "float32") -> tuple[Array, Array]:
    """Return X (rows, inputs) in [0, 1), y (rows,)."""
    sizes, rows = shape
    rng = np.random.default_rng(0)
    X = rng.random((rows, sizes[0]), dtype)  # type: ignore[call-overload]
    return X, rng.integers(0, sizes[-1], rows)


def make_network(
    shape: Shape,
    backend: str,
    num_threads: int | None = None,
    learning_rate: float = 1e-3,
) -> Network:
    """Return a float32 network with plain SGD.

    The rate is small, so that the weights stay finite in any number of steps.
    """
    return Network(
        list(shape[0]),
        optimizer=SGD(learning_rate),
        seed=0,
        backend=backend,
        num_threads=num_threads,
    )
