"""Engines of both lanes, driven without a `Network`."""

import numpy as np

import fastnn._core.native.engine
import fastnn.reference
from fastnn import SGD, Adam, AdamW
from fastnn._core.model.seeds import initial_weights
from fastnn._plan.plan import make_plan

ENGINES = {
    "native": fastnn._core.native.engine.Engine,
    "numpy": fastnn.reference.Engine,
}

# Every update rule of the optimizers.
OPTIMIZERS = {
    "sgd": SGD(0.1),
    "momentum": SGD(0.1, 0.9),
    "nesterov": SGD(0.1, 0.9, nesterov=True),
    "adam": Adam(1e-2),
    "adamw": AdamW(1e-2, weight_decay=0.1),
}

# Kinds of targets of a step: hard labels, soft targets, with weights or without.
KINDS = ["labels", "soft", "weighted", "soft and weighted"]


def make_engine(backend, layers=(4, 8, 3), seed=0, num_threads=None, **arguments):
    """An engine with random weights, and biases that are not zero."""
    arguments.setdefault("dtype", "float64")
    plan = make_plan(list(layers), **arguments)
    engine = ENGINES[backend](plan, num_threads)
    rng = np.random.default_rng(seed)  # zero biases would hide mistakes
    engine.set_weights(
        [
            (W, rng.normal(size=b.shape).astype(plan.dtype) / 10)
            for W, b in initial_weights(plan, seed)
        ]
    )
    return engine


def make_data(n, n_inputs, n_classes, kind="labels", seed=0, dtype="float64"):
    """X, y and sample_weight of n rows."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, n_inputs)).astype(dtype)
    y = rng.integers(n_classes, size=n)
    if "soft" in kind:
        y = rng.random((n, n_classes)) + 0.1
        y = (y / y.sum(axis=1, keepdims=True)).astype(dtype)
    weight = rng.integers(0, 4, n) * 0.3 if "weighted" in kind else None
    return X, y, weight


def train(engine, X, y, weight=None, order=None, batch_size=8, epochs=1, **options):
    """Whole epochs of an engine; returns the totals."""
    totals = np.zeros(3)
    n = len(X) if order is None else len(order)
    engine.acquire()
    try:
        for _ in range(epochs):
            start = 0
            while start < n:
                start = engine.train(
                    X, y, weight, order, batch_size, start, totals, **options
                )
    finally:
        engine.release()
    return totals


def snapshot(engine):
    """All state of an engine, to be compared by `helpers.same_bits`."""
    state = engine.get_optimizer_state()
    return [engine.get_weights(), state, np.array([engine.step])]


def flat(pairs):
    """All W and b of a list of pairs, as one list of arrays."""
    return [array for pair in pairs for array in pair]


def relative_distance(array, reference):
    """||array - reference|| / ||reference||, in float64."""
    array, reference = np.float64(array), np.float64(reference)
    distance = np.linalg.norm((array - reference).ravel())
    return distance / max(np.linalg.norm(reference.ravel()), 1e-300)
