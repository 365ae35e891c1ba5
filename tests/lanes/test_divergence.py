"""Training that diverges keeps the state after its last finite step, all of it."""

import numpy as np
import pytest
from engines import arrays_of, data_for, make_engine, snapshot, train
from helpers import same_bits
from samples import LOSSES, NETWORKS, OPTIMIZERS

from fastnn import (
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    BatchNorm,
    Dense,
    Dropout,
    LayerNorm,
    Lion,
    NAdam,
    RMSprop,
    TrainingDiverged,
)

FLOATS = ["float32", "float64"]
MOST_STEPS = 400

# Name: an optimizer whose weights grow beyond float32, and its rate for float64.
OPTIMIZER_RUNAWAYS = {
    "sgd": (SGD, 1e6, 1e30, {}),
    "momentum": (SGD, 1e5, 1e30, dict(momentum=0.9)),
    "nesterov": (SGD, 1e5, 1e30, dict(momentum=0.9, nesterov=True)),
    "rmsprop": (RMSprop, 1e35, 1e300, {}),
    "adagrad": (AdaGrad, 1e35, 1e300, {}),
    "adam": (Adam, 1e35, 1e300, {}),
    "adamw": (AdamW, 1e3, 1e3, dict(weight_decay=1.0)),
    "nadam": (NAdam, 1e35, 1e300, {}),
    "lion": (Lion, 1e36, 1e305, {}),
    "l2": (SGD, 1e3, 1e3, dict(l2=1.0)),
    "l2 and momentum": (SGD, 1e3, 1e3, dict(l2=1.0, momentum=0.9)),
}

LAYER_RUNAWAYS = {
    "no bias": [5, Dense(19, "relu", use_bias=False), Dense(3, use_bias=False)],
    "dropout": [5, Dropout(0.2), Dense(19, "relu"), Dropout(0.5), Dense(3)],
    "batch norm": [5, Dense(19, use_bias=False), BatchNorm("relu"), Dense(3)],
    "batch norm last": [5, Dense(19, "relu"), Dense(3), BatchNorm()],
    "layer norm": [5, Dense(19), LayerNorm("softplus"), Dense(3)],
    "frozen": [5, Dense(19, "tanh", trainable=False), Dense(7, "relu"), 3],
    "unbounded": [5, Dense(19, "leaky_relu"), Dense(7, "mish"), Dense(3)],
}


def run_away(engine, data):
    """Single steps until it diverges; the states after each of them."""
    states = [snapshot(engine)]

    def go_on():
        for _ in range(MOST_STEPS):
            engine.train_step(*data)
            states.append(snapshot(engine))

    with pytest.raises(TrainingDiverged):
        go_on()
    return states


def check(backend, layers, dtype, optimizer, size=1.0, loss="softmax_cross_entropy"):
    def make():
        return make_engine(
            backend, layers, dtype=dtype, optimizer=optimizer, loss=LOSSES[loss][0]
        )

    engine = make()
    X, y, _ = data_for(engine, 12, loss)
    X *= X.dtype.type(size)
    states = run_away(engine, (X, y))
    assert len(states) >= 2  # not before it had learned anything
    assert all(np.isfinite(a).all() for state in states for a in arrays_of(state))
    assert same_bits(snapshot(engine), states[-1])
    # A twin trained to that step, and no further, has the same.
    twin = make()
    for _ in range(len(states) - 1):
        twin.train_step(X, y)
    assert same_bits(snapshot(twin), states[-1])
    # It raises again, and again changes nothing; prediction goes on.
    with pytest.raises(TrainingDiverged):
        engine.train_step(X, y)
    assert same_bits(snapshot(engine), states[-1])
    assert same_bits(engine.forward(X, "logits"), twin.forward(X, "logits"))
    # The steps of a whole epoch are the same up to there, in either mode.
    many = np.tile(X, (MOST_STEPS, 1)), np.concatenate([y] * MOST_STEPS)
    for fused in (True, False):
        other = make()
        with pytest.raises(TrainingDiverged):
            train(other, *many, batch_size=12, fused=fused, max_seconds=60.0)
        assert same_bits(snapshot(other), states[-1])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", OPTIMIZER_RUNAWAYS)
def test_every_optimizer(backend, name, dtype):
    cls, single, double, options = OPTIMIZER_RUNAWAYS[name]
    optimizer = cls(single if dtype == "float32" else double, **options)
    check(backend, [5, Dense(19, "relu"), Dense(3)], dtype, optimizer)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", LAYER_RUNAWAYS)
def test_every_layer(backend, name, dtype):
    layers = LAYER_RUNAWAYS[name]
    optimizer = SGD(1e6 if dtype == "float32" else 1e30, 0.9)
    if "batch norm" in name:  # which takes out the size of what comes from below
        optimizer = SGD(1e19 if dtype == "float32" else 1e153, 0.9)
    elif name == "layer norm":  # whose loss goes to 0 first
        optimizer = SGD(1e3, 0.9, l2=1.0)
    check(backend, layers, dtype, optimizer)


@pytest.mark.parametrize("name", [name for name in LOSSES if "softmax" not in name])
def test_every_loss(backend, name):
    layers = [5, Dense(19, "relu"), Dense(LOSSES[name][1])]
    # The derivatives of some are 1 at most: only the weights make it grow.
    check(backend, layers, "float32", SGD(1e5, 0.9, l2=1.0), loss=name)


@pytest.mark.parametrize("accumulate", [2, 3])
def test_within_a_group(backend, accumulate):
    # The second mini-batch of the third group is infinite: nothing of the first one
    # of it has come to the statistics either.
    layers = NETWORKS["everything"]
    options = dict(dtype="float32", optimizer=OPTIMIZERS["adam"], loss="mse")
    engine, twin = (make_engine(backend, layers, **options) for _ in range(2))
    X, y, _ = data_for(engine, 8 * 4 * accumulate, "mse")
    at = 8 * (2 * accumulate + 1)
    y[at] = 3e38
    with pytest.raises(TrainingDiverged):
        train(engine, X, y, batch_size=8, accumulate=accumulate)
    n = 8 * 2 * accumulate
    train(twin, X[:n], y[:n], batch_size=8, accumulate=accumulate)
    assert engine.step == twin.step == 2
    assert same_bits(snapshot(engine), snapshot(twin))


@pytest.mark.parametrize("dtype", FLOATS)
def test_running_statistics_that_overflow(backend, dtype):
    # The activations are finite, their variance is not; frozen norms do not mind.
    size = 1e25 if dtype == "float32" else 1e200
    for trainable in (True, False):
        layers = [5, BatchNorm(trainable=trainable), Dense(3)]
        engine = make_engine(backend, layers, dtype=dtype, optimizer=SGD(1e-3))
        X, y, _ = data_for(engine, 12)
        engine.train_step(X, y)
        before = snapshot(engine)
        X *= X.dtype.type(size)
        if trainable:
            with pytest.raises(TrainingDiverged):
                engine.train_step(X, y)
            assert same_bits(snapshot(engine), before)


# Values that become infinite in the update itself: the loss knows nothing of them.


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["adamw", "l2", "l2 and momentum"])
def test_weights_that_overflow(backend, name, dtype):
    # The inputs are 0, and so is the gradient: decay alone makes the weights grow.
    cls, rate, _, options = OPTIMIZER_RUNAWAYS[name]
    layers = [5, Dense(19, "relu"), Dense(3)]
    check(backend, layers, dtype, cls(rate, **options), size=0.0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_second_moment_that_overflows(backend, optimizer):
    # The square of the gradient is infinite, the new weights are not.
    engine = make_engine(
        backend,
        [5, Dense(19, "relu"), Dense(3)],
        dtype="float32",
        loss="mse",
        optimizer=OPTIMIZERS[optimizer],
    )
    X, y, _ = data_for(engine, 12, "mse")
    engine.train_step(X, y)
    before = snapshot(engine)
    states = OPTIMIZERS[optimizer].state_names
    X, y = X * np.float32(1e4), np.full_like(y, 1e19)
    if {"mean_square", "sum_of_squares", "second_moment"} & {*states}:
        with pytest.raises(TrainingDiverged):
            engine.train_step(X, y)
        assert same_bits(snapshot(engine), before)
    else:
        engine.train_step(X, y)
        assert not same_bits(snapshot(engine), before)
    assert all(np.isfinite(array).all() for array in arrays_of(snapshot(engine)))


def test_clipping_takes_a_gradient_whose_square_overflows(backend):
    # In float32; the sum of squares is in float64.
    engine = make_engine(
        backend,
        [5, Dense(3)],
        dtype="float32",
        loss="mae",
        optimizer=SGD(0.1, clip_norm=1.0),
    )
    X, y, _ = data_for(engine, 12, "mae")
    X *= np.float32(1e30)
    before = [np.float64(a) for a in engine.get_weights()[0]]
    engine.train_step(X, y)
    moved = [a - b for a, b in zip(engine.get_weights()[0], before, strict=True)]
    norm = np.sqrt(sum((each**2).sum() for each in moved))
    assert norm == pytest.approx(0.1, rel=1e-5)
