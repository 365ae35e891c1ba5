"""The shapes that fastnn's speed is stated for, and data for them."""

import numpy as np

import fastnn

# (layer sizes, rows in a mini-batch): from a step that lasts microseconds, where every
# barrier shows, to one that reads its weights from memory.
SHAPES = [
    ([784, 50, 10], 32),
    ([2, 64, 3], 300),
    ([784, 128, 10], 64),
    ([784, 128, 10], 512),
    ([784, 512, 512, 10], 128),
    ([784, 512, 512, 10], 1024),
    ([784, 2500, 2000, 1500, 1000, 500, 10], 256),
]


def label(shape) -> str:
    sizes, rows = shape
    return f"{'-'.join(map(str, sizes))}, batch {rows}"


def make_batch(shape, dtype="float32"):
    """X (rows, inputs) in [0, 1), y (rows,)."""
    sizes, rows = shape
    rng = np.random.default_rng(0)
    return rng.random((rows, sizes[0]), dtype), rng.integers(0, sizes[-1], rows)


def make_network(shape, backend, num_threads=None) -> fastnn.Network:
    """float32, plain SGD; the rate is small so that any number of steps is finite."""
    return fastnn.Network(
        list(shape[0]),
        optimizer=fastnn.SGD(1e-3),
        seed=0,
        backend=backend,
        num_threads=num_threads,
    )
