"""NaN and infinity: refused in data; training that makes some keeps what was before."""

import numpy as np
import pytest
from engines import arrays_of, make_data, make_engine, snapshot, train
from helpers import same_bits, training_state
from samples import OPTIMIZERS

from fastnn import SGD, Adam, AdamW, TrainingDiverged

BAD = [np.nan, np.inf, -np.inf]
WAYS = {
    "fit": lambda net, X, y: net.fit(X, y, verbose=0),
    "X_val": lambda net, X, y: net.fit(
        np.zeros(X.shape), y, X_val=X, y_val=y, verbose=0
    ),
    "partial_fit": lambda net, X, y: net.partial_fit(X, y),
    "train_on_batch": lambda net, X, y: net.train_on_batch(X, y),
    "loss_and_gradients": lambda net, X, y: net.loss_and_gradients(X, y),
    "evaluate": lambda net, X, y: net.evaluate(X, y),
    "predict": lambda net, X, y: net.predict(X),
    "predict_proba": lambda net, X, y: net.predict_proba(X),
    "decision_function": lambda net, X, y: net.decision_function(X),
    "predict_one": lambda net, X, y: [net.predict_one(x) for x in X],
}


def injected(rng):
    """Clean data but for one value somewhere, in some dtype and layout."""
    n = int(rng.integers(1, 300))
    X = rng.normal(size=(n, 7)).astype(rng.choice(["f2", "f4", "f8", ">f4", ">f8"]))
    row, column = int(rng.integers(n)), int(rng.integers(7))
    with np.errstate(invalid="ignore"):
        X[row, column] = rng.choice(BAD)
    if rng.integers(2):
        X = np.asfortranarray(X)
    return X, rng.integers(3, size=n), row, column


def injections(make_net, way, count):
    """Try random places; each is found and named, and nothing changes."""
    rng = np.random.default_rng(list(WAYS).index(way))
    net = make_net([7, 9, 3], dtype=str(rng.choice(["float32", "float64"])))
    net.fit(*make_data(50, 7, 3)[:2], epochs=1, verbose=0)
    before = training_state(net)
    for _ in range(count):
        X, y, row, column = injected(rng)
        with pytest.raises(ValueError, match="expected finite values") as caught:
            WAYS[way](net, X, y)
        if way != "predict_one":  # that one knows a single row
            assert f"[{row}, {column}] is " in str(caught.value)
        assert same_bits(training_state(net), before)


@pytest.mark.parametrize("way", WAYS)
def test_data_that_is_not_finite_is_refused(make_net, way):
    injections(make_net, way, 25)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_data_that_is_not_finite_is_refused_at_length(make_net, way):
    injections(make_net, way, 500)


def test_float64_beyond_the_range_of_float32_is_refused(make_net):
    X, y, _ = make_data(10, 4, 3)
    net, wide = make_net(dtype="float32"), make_net(dtype="float64")
    X[3, 2] = 1e39
    with pytest.raises(ValueError, match=r"X\[3, 2\] is 1e\+39; .* of float32"):
        net.fit(X, y, verbose=0)
    wide.predict(X)
    X[3, 2] = np.finfo("f4").max
    net.predict(X)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_the_scaling_makes_infinite_is_refused(make_net, dtype):
    X, y, _ = make_data(10, 4, 3)
    top = float(np.finfo(dtype).max)
    net = make_net(dtype=dtype, input_scale=[1, 1, top / 2, 1])
    before = training_state(net)
    X[:, 2] = 1.0
    net.predict(X)
    X[7, 2] = 3.0
    for use in (net.predict, lambda X: net.fit(X, y, verbose=0)):
        with pytest.raises(ValueError, match="X is not finite .* input scaling"):
            use(X)
    with pytest.raises(ValueError, match="x is not finite .* input scaling"):
        net.predict_one(X[7])
    assert same_bits(training_state(net), before)


# Divergence.


def run_away(engine, X, y):
    """Train by single steps until it diverges; the states of all steps."""
    states = [snapshot(engine)]

    def train():
        for _ in range(3000):
            engine.train_step(X, y)
            states.append(snapshot(engine))

    with pytest.raises(TrainingDiverged):
        train()
    assert len(states) >= 2  # not before it had learned anything
    return states


def is_finite(state):
    return all(np.isfinite(array).all() for array in arrays_of(state))


# Each reaches infinity in another place: the loss, a gradient, a weight, the state.
RUNAWAYS = {
    "sgd": (SGD(1e6), (4, 8, 3), 1.0),
    "momentum": (SGD(1e5, 0.99), (4, 8, 3), 1.0),
    "nesterov": (SGD(1e5, 0.99, nesterov=True), (4, 8, 3), 1.0),
    "one layer": (SGD(3e33), (4, 3), 1e4),
    "adam": (Adam(1e35), (4, 8, 3), 1.0),
    "decay that grows": (AdamW(10.0, weight_decay=1.0), (4, 3), 0.0),
    "decay that grows, hidden": (AdamW(10.0, weight_decay=1.0), (4, 8, 3), 0.0),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", RUNAWAYS)
def test_divergence_keeps_the_last_finite_state(backend, name, dtype):
    optimizer, layers, size = RUNAWAYS[name]
    if dtype == "float64" and name in ("one layer", "adam"):
        optimizer = type(optimizer)(optimizer.learning_rate * 1e270)
    X, y, _ = make_data(12, layers[0], layers[-1], dtype=dtype)
    engine = make_engine(backend, layers, dtype=dtype, optimizer=optimizer)
    states = run_away(engine, X * size, y)
    assert all(map(is_finite, states))
    assert same_bits(snapshot(engine), states[-1])
    # It raises again, and again changes nothing.
    with pytest.raises(TrainingDiverged):
        engine.train_step(X * size, y)
    assert same_bits(snapshot(engine), states[-1])
    # The steps of a whole epoch are the same up to there, in either mode.
    for fused in (True, False):
        other = make_engine(backend, layers, dtype=dtype, optimizer=optimizer)
        many = np.tile(X * size, (3000, 1)), np.tile(y, 3000)
        with pytest.raises(TrainingDiverged):
            train(other, *many, batch_size=12, fused=fused, max_seconds=60.0)
        assert same_bits(snapshot(other), states[-1])


@pytest.mark.parametrize("name", RUNAWAYS)
def test_both_lanes_diverge_at_the_same_step(name):
    optimizer, layers, size = RUNAWAYS[name]
    X, y, _ = make_data(12, layers[0], layers[-1], dtype="float32")
    steps = []
    for backend in ("native", "numpy"):
        engine = make_engine(backend, layers, dtype="float32", optimizer=optimizer)
        run_away(engine, X * size, y)
        steps.append(engine.step)
    # A value within a rounding of the largest one may be infinite in one lane.
    assert abs(steps[0] - steps[1]) <= 1


def test_a_network_tells_and_goes_on(make_net):
    X, y, _ = make_data(64, 4, 3, dtype="float32")
    net = make_net(optimizer=SGD(1e20))
    with pytest.raises(TrainingDiverged, match="learning rate"):
        net.fit(X, y, epochs=100, batch_size=16, verbose=0)
    assert all(
        np.isfinite(W).all() and np.isfinite(b).all() for W, b in net.get_weights()
    )
    assert net.cursor == 0
    weights = net.get_weights()
    for W, b in weights:
        W[:], b[:] = np.clip(W, -1, 1), np.clip(b, -1, 1)
    net.set_weights(weights)
    net.optimizer = SGD(0.1)
    net.fit(X, y, epochs=2, batch_size=16, verbose=0)
    assert net.epoch >= 2


# The careful path: steps that cannot be proven harmless beforehand are checked value by
# value. They must not differ in any bit from the ones that need no care.


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_huge_weights_change_no_bit_of_the_others(backend, name, dtype, fused):
    # The first input is always 0: its weights matter to no other number.
    X, y, weight = make_data(40, 9, 5, "weighted", dtype=dtype)
    X[:, 0] = 0
    usual, careful = (
        make_engine(backend, (9, 19, 5), dtype=dtype, optimizer=OPTIMIZERS[name])
        for _ in range(2)
    )
    weights = careful.get_weights()
    weights[0][0][0] = 1e30  # beyond 2^60, so that nothing is proven
    careful.set_weights(weights)
    totals = [
        train(engine, X, y, weight, epochs=2, fused=fused)
        for engine in (usual, careful)
    ]
    assert same_bits(*totals)
    expected, found = snapshot(usual), snapshot(careful)
    decay = (1 - 1e-2 * OPTIMIZERS[name].weight_decay) ** usual.step
    np.testing.assert_allclose(found[0][0][0][0], 1e30 * decay, rtol=1e-4)
    found[0][0][0][0] = expected[0][0][0][0]
    assert same_bits(found, expected)


@pytest.mark.parametrize("size", [1e17, 1e25, 1e30])
@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_huge_inputs_and_tiny_weights_are_as_good_as_usual_ones(backend, name, size):
    # 2^k times the inputs and 2^-k times the weights is the same network, to the bit.
    factor = 2.0 ** round(np.log2(size))
    X, y, _ = make_data(40, 9, 5, dtype="float32")
    usual, huge = (make_engine(backend, (9, 19, 5), dtype="float32") for _ in range(2))
    (W, b), last = huge.get_weights()
    huge.set_weights([(W / np.float32(factor), b), last])
    for output in ("logits", "values", "labels"):
        scaled = huge.forward(X * np.float32(factor), output)
        assert same_bits(scaled, usual.forward(X, output))
    gradients = usual.loss_and_gradients(X, y)[1]
    scaled = huge.loss_and_gradients(X * np.float32(factor), y)[1]
    assert same_bits(scaled[0][0], gradients[0][0] * np.float32(factor))
    assert same_bits(scaled[1], gradients[1])
    # A step: finite if its result is, in both lanes.
    engine = make_engine(
        backend, (9, 19, 5), dtype="float32", optimizer=OPTIMIZERS[name]
    )
    engine.set_weights([(W / np.float32(factor), b), last])
    before = snapshot(engine)
    try:
        engine.train_step(X * np.float32(factor), y)
    except TrainingDiverged:
        assert same_bits(snapshot(engine), before)
    assert is_finite(snapshot(engine))


def test_the_lanes_agree_on_huge_but_finite_weights():
    X, y, _ = make_data(40, 9, 5, dtype="float32")
    for size in (1e6, 1e12, 1e18, 1e24, 1e30, 1e36):
        results = []
        for backend in ("native", "numpy"):
            engine = make_engine(backend, (9, 5), dtype="float32", optimizer=SGD(1e-3))
            weights = [(W * np.float32(size), b) for W, b in engine.get_weights()]
            engine.set_weights(weights)
            try:
                results.append([engine.train_step(X, y), engine.forward(X, "labels")])
            except TrainingDiverged:
                results.append(["diverged", engine.forward(X, "labels")])
        (loss, labels), (expected, others) = results
        assert same_bits(labels, others)
        assert loss == pytest.approx(expected, rel=1e-5)
        assert loss != "diverged"
