"""How much arithmetic a task of the benchmark is, and how many bytes it moves.

Counted are the matrix products of the dense layers, which are nearly everything. A
product reads each of its operands once and writes its result once: less cannot be, so
the intensity (flops per byte) that comes of it is the highest possible one, and the
roof above it is a bound. Activations, losses and biases are left out.
"""

from __future__ import annotations

from itertools import pairwise

from ._tasks import EPOCH_BATCH, Task

__all__ = ["flops", "footprint", "traffic"]

_ITEM = 4  # bytes of a float32


def flops(task: Task) -> int:
    """Return the floating-point operations of a task, two for each multiply-add.

    Training: ``2 m k n`` of each layer for Y = X W, as much for dW, and as much for dX
    but in the first layer, whose dX nobody asks for.

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
    """Return the bytes that a task moves at least.

    A layer of a training step: X, W and Y forward; dY, W, the outputs below and dX; X,
    dY and W, old and new, in the update, with Adam both moments as well. An epoch: its
    steps, and each sample read as uint8 and written as float32. A prediction: rows,
    weights, results; what lies between stays in the caches.

    Examples
    --------
    >>> traffic(Task("predict", (4, 3, 2), 1)) == 4 * (4 + 18 + 2)
    True
    """
    layers = list(pairwise(task.sizes))
    weights = sum(k * n for k, n in layers)
    if task.kind == "predict":
        return _ITEM * (weights + task.rows * (task.sizes[0] + task.sizes[-1]))
    first = layers[0][0] * layers[0][1]
    updated = 2 + 4 * _is_adam(task)
    a_step = weights * (1 + updated) + weights - first
    a_row = sum(2 * (k + n) for k, n in layers)
    a_row += sum(n + 2 * k for k, n in layers[1:])
    steps = -(-task.rows // EPOCH_BATCH) if task.kind == "epoch" else 1
    gathered = 5 * task.rows * task.sizes[0] if task.kind == "epoch" else 0
    return _ITEM * (steps * a_step + task.rows * a_row) + gathered


def footprint(task: Task) -> int:
    """Return the bytes that a task comes back to, which a cache may hold.

    Training: weights, their moments, and of a mini-batch the rows, outputs and
    gradients. A prediction that is repeated: all of it.
    """
    if task.kind == "predict":
        return traffic(task)
    weights = sum(k * n for k, n in pairwise(task.sizes))
    rows = EPOCH_BATCH if task.kind == "epoch" else task.rows
    return _ITEM * (
        weights * (1 + 2 * _is_adam(task))
        + rows * (task.sizes[0] + 2 * sum(task.sizes[1:]))
    )


def _is_adam(task: Task) -> bool:
    return task.kind == "epoch" or task.optimizer == "adam"
