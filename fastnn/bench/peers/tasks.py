"""The tasks of `fastnn bench`: their shapes, their data, and the work that they are.

Of the work, the matrix products of the dense layers are counted, which are nearly all
of it. A product reads each of its operands once and writes its result once: it cannot
do with less, so the intensity (flops per byte) that follows is the highest possible
one, and the roof above it is a bound. Activations, losses and biases are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from fastnn.network import Network
from fastnn.optimizers import SGD

if TYPE_CHECKING:
    from fastnn._base.types import Array

    Shape = tuple[list[int], int]

__all__ = [
    "ADAM_RATE",
    "ADAM_SHAPES",
    "BETA1",
    "BETA2",
    "CHECKED_ROWS",
    "EPOCH_BATCH",
    "EPSILON",
    "RATE",
    "SHAPES",
    "Task",
    "check_rate",
    "flops",
    "footprint",
    "initial_weights",
    "label",
    "make_batch",
    "make_images",
    "make_network",
    "make_rows",
    "make_tasks",
    "select",
    "traffic",
]

# (layer sizes, rows in a mini-batch): from a step that lasts microseconds, where every
# barrier shows, to those that read their weights or their rows from memory.
SHAPES: list[Shape] = [
    ([784, 50, 10], 32),
    ([2, 64, 3], 300),
    ([784, 128, 10], 64),
    ([784, 128, 10], 512),
    ([784, 512, 512, 10], 128),
    ([784, 512, 512, 10], 1024),
    ([784, 2500, 2000, 1500, 1000, 500, 10], 256),
    ([784, 1024, 1024, 10], 4096),
    ([1000, 600, 200, 10], 2000),
]
# With Adam too: two more arrays per weight.
ADAM_SHAPES: list[Shape] = [SHAPES[0], SHAPES[2], SHAPES[3]]

RATE = 1e-3  # of SGD, while it is timed
ADAM_RATE = 1e-3
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # of Adam
EPOCH_BATCH = 64
# Two whole mini-batches and a rest: the part of an epoch that is checked, unshuffled.
CHECKED_ROWS = 2 * EPOCH_BATCH + 2

_PREDICTORS: tuple[tuple[int, ...], ...] = (
    (4, 64, 64, 2),
    (784, 128, 10),
    (784, 512, 512, 10),
)
_PREDICTED_ROWS: tuple[int, ...] = (1, 16, 256, 10_000)
_DTYPES = ("float32", "float64")


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
    dtype : {"float32", "float64"}
        Of weights and rows.
    """

    kind: str
    sizes: tuple[int, ...]
    rows: int
    optimizer: str = "sgd"
    dtype: str = "float32"

    @property
    def shape(self) -> tuple[list[int], int]:
        """As in `SHAPES`."""
        return list(self.sizes), self.rows

    @property
    def adam(self) -> bool:
        """Whether it trains with Adam."""
        return self.kind == "epoch" or self.optimizer == "adam"

    @property
    def item(self) -> int:
        """The bytes of a number."""
        return np.dtype(self.dtype).itemsize

    @property
    def name(self) -> str:
        """The kind of work and its sizes, as the tables show them."""
        if self.kind == "step":
            adam = ", Adam" if self.optimizer == "adam" else ""
            return f"step {label(self.shape)}{adam}"
        sizes = "-".join(map(str, self.sizes))
        if self.kind == "epoch":
            return f"epoch {sizes}, {self.rows} rows, batch {EPOCH_BATCH}"
        return f"predict {sizes}, {self.rows} row{'s' * (self.rows > 1)}"


def make_tasks(quick: bool, dtype: str = "float32") -> list[Task]:
    """Return all tasks, or a few that take about a minute in all."""
    if dtype not in _DTYPES:
        raise ValueError(f"dtype is {dtype!r}; expected {' or '.join(_DTYPES)}")
    if quick:
        steps, adam_steps = SHAPES[2:3], []
        epoch_rows = 1500
        predictors, predicted_rows = _PREDICTORS[1:2], _PREDICTED_ROWS[0:3:2]
    else:
        steps, adam_steps = SHAPES, ADAM_SHAPES
        epoch_rows = 60_000
        predictors, predicted_rows = _PREDICTORS, _PREDICTED_ROWS
    tasks = [
        *(Task("step", tuple(sizes), rows) for sizes, rows in steps),
        *(Task("step", tuple(sizes), rows, "adam") for sizes, rows in adam_steps),
        Task("epoch", (784, 128, 10), epoch_rows),
        *(Task("predict", sizes, n) for sizes in predictors for n in predicted_rows),
    ]
    return [replace(task, dtype=dtype) for task in tasks]


def select(names: Sequence[str], parts: Sequence[str]) -> list[str]:
    """Return the names with one of the parts in them; all if there are no parts.

    Raises
    ------
    ValueError
        There is no such name.

    Examples
    --------
    >>> select(["step a", "predict b"], ["b"])
    ['predict b']
    """
    for part in parts:
        if not any(part in name for name in names):
            raise ValueError(f"no line has {part!r} in its name")
    return [name for name in names if not parts or any(p in name for p in parts)]


def make_images(task: Task) -> tuple[Array, Array]:
    """Return X (rows, inputs) uint8, a fifth of it ink as in MNIST, and y (rows,)."""
    rng = np.random.default_rng(0)
    size = task.rows, task.sizes[0]
    X = rng.integers(0, 256, size, np.uint8)
    X[rng.integers(0, 5, size, np.uint8) > 0] = 0
    return X, rng.integers(0, task.sizes[-1], task.rows)


def make_rows(task: Task) -> tuple[Array, Array]:
    """Return X (rows, inputs) in [0, 1), and y (rows,)."""
    return make_batch(task.shape, task.dtype)


def check_rate(task: Task) -> float:
    """Return the rate of the one step whose results are compared.

    SGD's is large enough for the step to change predictions by more than the tolerance.
    In the deepest network it is smaller: there rounding, which in NumPy depends on the
    number of threads, turns some ReLU on or off, and a step of 1e-2 makes that 2e-4.
    """
    if task.optimizer == "adam":
        return ADAM_RATE
    return 1e-2 if len(task.sizes) <= 4 else 1e-3


def initial_weights(task: Task) -> list[tuple[Array, Array]]:
    """Return [(W (n_in, n_out), b (n_out,)), ...]: the same in every process."""
    weights = make_network(task.shape, "numpy").get_weights()
    rng = np.random.default_rng(1)
    # Biases other than zero: a peer that ignored them would be found out.
    return [
        (W.astype(task.dtype), rng.uniform(-0.1, 0.1, b.shape).astype(task.dtype))
        for W, b in weights
    ]


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


def flops(task: Task) -> int:
    """Return the floating-point operations of a task, two for each multiply-add.

    Training: ``2 m k n`` of each layer for Y = X W, as much for dW, and as much for dX
    except in the first layer, whose dX is not needed.

    Examples
    --------
    >>> flops(Task("predict", (4, 3, 2), 1))
    36
    >>> flops(Task("step", (4, 3, 2), 1))
    84
    """
    products = [2 * task.rows * k * n for k, n in pairwise(task.sizes)]
    if task.kind == "predict":
        return sum(products)
    return 3 * sum(products) - products[0]


def traffic(task: Task) -> int:
    """Return the fewest bytes that a task can move.

    A layer of a training step: X, W and Y forward; dY, W, the outputs below and dX; X,
    dY and W, old and new, in the update, with Adam both moments as well. An epoch: its
    steps, and each sample read as uint8 and written as a float. A prediction: rows,
    weights, results; the values in between stay in the caches.

    Examples
    --------
    >>> traffic(Task("predict", (4, 3, 2), 1)) == 4 * (4 + 18 + 2)
    True
    """
    layers = list(pairwise(task.sizes))
    weights = sum(k * n for k, n in layers)
    if task.kind == "predict":
        return task.item * (weights + task.rows * (task.sizes[0] + task.sizes[-1]))
    first = layers[0][0] * layers[0][1]
    updated = 2 + 4 * task.adam
    a_step = weights * (1 + updated) + weights - first
    a_row = sum(2 * (k + n) for k, n in layers)
    a_row += sum(n + 2 * k for k, n in layers[1:])
    steps = -(-task.rows // EPOCH_BATCH) if task.kind == "epoch" else 1
    gathered = (1 + task.item) * task.rows * task.sizes[0] * (task.kind == "epoch")
    return task.item * (steps * a_step + task.rows * a_row) + gathered


def footprint(task: Task) -> int:
    """Return the bytes that a task uses again and again, which a cache may hold.

    Training: the weights, their moments, and the rows, outputs and gradients of a
    mini-batch. A prediction that is repeated: everything.
    """
    if task.kind == "predict":
        return traffic(task)
    weights = sum(k * n for k, n in pairwise(task.sizes))
    rows = EPOCH_BATCH if task.kind == "epoch" else task.rows
    return task.item * (
        weights * (1 + 2 * task.adam) + rows * (task.sizes[0] + 2 * sum(task.sizes[1:]))
    )
