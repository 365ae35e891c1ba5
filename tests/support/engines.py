"""Engines of both lanes, driven without a `Network`."""

import numpy as np
from samples import LOSSES

import fastnn._core.native.engine
import fastnn.reference
from fastnn._core.model.seeds import dropout_keys, initial_weights
from fastnn._plan.plan import make_plan

ENGINES = {
    "native": fastnn._core.native.engine.Engine,
    "numpy": fastnn.reference.Engine,
}

# What a step is computed from: hard labels, or soft targets and weights as well.
KINDS = ["labels", "soft", "weighted", "soft and weighted"]


def make_engine(
    backend, layers=(4, 8, 3), seed=0, num_threads=None, keys=None, **arguments
):
    """An engine whose weights, scales, shifts and statistics are all of their own."""
    arguments.setdefault("dtype", "float64")
    plan = make_plan(list(layers), **arguments)
    keys = dropout_keys(plan, seed) if keys is None else keys
    engine = ENGINES[backend](plan, num_threads, dropout_keys=keys)
    rng = np.random.default_rng(seed)  # zeros and ones would hide mistakes
    weights = []
    for index, pair in zip(
        plan.parametric_layers, initial_weights(plan, seed), strict=True
    ):
        noise = [rng.normal(size=a.shape).astype(plan.array_dtype) / 10 for a in pair]
        biased = getattr(plan.layers[index], "use_bias", True)
        weights.append((pair[0] + noise[0], pair[1] + noise[1] * biased))
    engine.set_weights(weights)
    statistics = [
        None if pair is None else tuple(rng.random(a.shape) + 0.5 for a in pair)
        for pair in engine.get_statistics()
    ]
    engine.set_statistics(statistics)
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


def data_for(engine, n, name="softmax_cross_entropy", seed=0, weighted=False):
    """X, y and sample_weight for a loss of LOSSES."""
    loss, n_outputs = LOSSES[name]
    rng = np.random.default_rng(seed)
    dtype = engine.plan.dtype
    X = rng.normal(size=(n, engine.plan.n_inputs)).astype(dtype)
    if categories := engine.plan.categories:
        X[:, -len(categories) :] = rng.integers(-1, categories, (n, len(categories)))
    if name == "softmax_cross_entropy":
        y = rng.integers(n_outputs, size=n)
    elif name == "binary_cross_entropy, labels":
        y = rng.integers(2, size=n)
    elif loss.name == "softmax_cross_entropy":
        y = rng.random((n, n_outputs)) + 0.1
        y = (y / y.sum(axis=1, keepdims=True)).astype(dtype)
    elif loss.name == "binary_cross_entropy":
        y = rng.random((n, n_outputs)).astype(dtype)
    elif loss.name == "poisson":
        y = rng.poisson(2.0, (n, n_outputs)).astype(dtype)
    elif loss.is_classifier:
        y = rng.integers(max(2, n_outputs), size=n)
    else:
        y = rng.normal(size=(n, engine.plan.n_targets)).astype(dtype)
    return X, y, rng.integers(0, 4, n) * 0.3 if weighted else None


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
    """All that training changes, to be compared by `helpers.same_bits`."""
    statistics = [pair for pair in engine.get_statistics() if pair is not None]
    step = np.array([engine.step])
    return [engine.get_weights(), engine.get_optimizer_state(), statistics, step]


def arrays_of(state):
    """The arrays of a snapshot, each of them once, as one list."""
    weights, optimizer, statistics, _ = state
    moments = [a for layer in optimizer for pair in layer.values() for a in pair]
    return [*flat(weights), *moments, *flat(statistics)]


def batch(data, step, size=7):
    """The rows of one of the mini-batches that go around in the data."""
    X, y, weight = data
    at = size * (step % (len(X) // size))
    rows = slice(at, at + size)
    return X[rows], y[rows], None if weight is None else weight[rows]


def losses_of(engine, data, steps, size=7):
    """Train until that many steps are done; the loss before each."""
    return [
        engine.train_step(*batch(data, step, size))
        for step in range(engine.step, steps)
    ]


def flat(pairs):
    """All W and b of a list of pairs, as one list of arrays."""
    return [array for pair in pairs for array in pair]


def relative_distance(array, reference):
    """||array - reference|| / ||reference||, in float64."""
    array, reference = np.float64(array), np.float64(reference)
    distance = np.linalg.norm((array - reference).ravel())
    return distance / max(np.linalg.norm(reference.ravel()), 1e-300)
