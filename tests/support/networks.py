"""A network of every kind of layer on the NumPy engine, and data for it."""

import engines
import numpy as np

from fastnn.activations import LeakyReLU
from fastnn.layers import BatchNorm, Dense, Dropout, LayerNorm, Scale

# Every kind of layer, with activations of every kind: saved input, saved output, rows.
ALL = (
    Dense(6, "tanh"),
    BatchNorm("gelu", momentum=0.3, epsilon=1e-3),
    Dropout(0.4),
    Dense(5, LeakyReLU(0.2), use_bias=False),
    LayerNorm("silu", epsilon=1e-3),
    Dropout(0.2),
    BatchNorm(),
    Scale(0.8),
    Dense(4, "softmax"),
    Dense(3),
)
KEYS = (0, 0, 2**63 + 5, 0, 0, 17, 0, 0, 0, 0)


def make_engine(layers=ALL, seed=0, keys=None, n_inputs=4, **arguments):
    if keys is None:
        keys = KEYS if layers == ALL else range(1, len(layers) + 1)
    return engines.make_engine(
        "numpy", [n_inputs, *layers], seed, keys=keys, **arguments
    )


def make_data(engine, n=20, seed=0, labels=False):
    """X, and targets that the loss can have."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, engine.plan.n_inputs))
    shape = (n, engine.plan.n_outputs)
    if labels:
        return X, rng.integers(engine.plan.n_classes, size=n)
    y = rng.random(shape)
    if engine.plan.loss.name == "softmax_cross_entropy":
        y /= y.sum(axis=1, keepdims=True)
    return X, y
