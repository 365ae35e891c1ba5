"""What `fastnn bench` lets every peer do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ._shapes import ADAM_SHAPES, SHAPES, label, make_batch, make_network

if TYPE_CHECKING:
    from fastnn._base.types import Array


__all__ = [
    "ADAM_RATE",
    "CHECKED_ROWS",
    "EPOCH_BATCH",
    "RATE",
    "Task",
    "check_rate",
    "initial_weights",
    "make_images",
    "make_rows",
    "make_tasks",
]

RATE = 1e-3  # of SGD, while it is timed
ADAM_RATE = 1e-3
EPOCH_BATCH = 64
# Two whole mini-batches and a rest: what of an epoch is checked, in its given order.
CHECKED_ROWS = 2 * EPOCH_BATCH + 2

_PREDICTORS: tuple[tuple[int, ...], ...] = (
    (4, 64, 64, 2),
    (784, 128, 10),
    (784, 512, 512, 10),
)
_PREDICTED_ROWS: tuple[int, ...] = (1, 16, 256, 10_000)


@dataclass(frozen=True)
class Task:
    """One line of the table.

    Parameters
    ----------
    kind : {"step", "epoch", "predict"}
        A training step; an epoch of shuffled steps with Adam, from uint8; the class
        probabilities of rows.
    sizes : tuple of int
        The widths of the layers, ReLU between them.
    rows : int
        In the mini-batch, the data set, or the call.
    optimizer : {"sgd", "adam"}
        Of a step.
    """

    kind: str
    sizes: tuple[int, ...]
    rows: int
    optimizer: str = "sgd"

    @property
    def shape(self) -> tuple[list[int], int]:
        """As in `SHAPES`."""
        return list(self.sizes), self.rows

    @property
    def name(self) -> str:
        """What is done, with what."""
        if self.kind == "step":
            adam = ", Adam" if self.optimizer == "adam" else ""
            return f"step {label(self.shape)}{adam}"
        sizes = "-".join(map(str, self.sizes))
        if self.kind == "epoch":
            return f"epoch {sizes}, {self.rows} rows, batch {EPOCH_BATCH}"
        return f"predict {sizes}, {self.rows} row{'s' * (self.rows > 1)}"


def make_tasks(quick: bool) -> list[Task]:
    """Return all tasks, or those few that take less than a minute."""
    if quick:
        steps, adam_steps = SHAPES[2:3], []
        epoch_rows = 1500
        predictors, predicted_rows = _PREDICTORS[1:2], _PREDICTED_ROWS[0:3:2]
    else:
        steps, adam_steps = SHAPES, ADAM_SHAPES
        epoch_rows = 60_000
        predictors, predicted_rows = _PREDICTORS, _PREDICTED_ROWS
    return [
        *(Task("step", tuple(sizes), rows) for sizes, rows in steps),
        *(Task("step", tuple(sizes), rows, "adam") for sizes, rows in adam_steps),
        Task("epoch", (784, 128, 10), epoch_rows),
        *(Task("predict", sizes, n) for sizes in predictors for n in predicted_rows),
    ]


def make_images(task: Task) -> tuple[Array, Array]:
    """Return X (rows, inputs) uint8, a fifth of it ink as in MNIST, and y (rows,)."""
    rng = np.random.default_rng(0)
    size = task.rows, task.sizes[0]
    X = rng.integers(0, 256, size, np.uint8)
    X[rng.integers(0, 5, size, np.uint8) > 0] = 0
    return X, rng.integers(0, task.sizes[-1], task.rows)


def make_rows(task: Task) -> tuple[Array, Array]:
    """Return X (rows, inputs) float32 in [0, 1), and y (rows,)."""
    return make_batch(task.shape)


def check_rate(task: Task) -> float:
    """Return the rate of the one step whose results are compared.

    SGD's is large enough for the step to change predictions by more than the tolerance.
    In the deepest network it is smaller: there rounding, in NumPy a matter of its
    threads, turns some ReLU on or off, and a step of 1e-2 makes 2e-4 of that.
    """
    if task.optimizer == "adam":
        return ADAM_RATE
    return 1e-2 if len(task.sizes) <= 4 else 1e-3


def initial_weights(task: Task) -> list[tuple[Array, Array]]:
    """Return [(W (n_in, n_out), b (n_out,)), ...]: the same in every process."""
    weights = make_network(task.shape, "numpy").get_weights()
    rng = np.random.default_rng(1)
    # Biases that are not zero: a peer that ignored them would be found out.
    return [(W, rng.uniform(-0.1, 0.1, b.shape).astype(b.dtype)) for W, b in weights]
