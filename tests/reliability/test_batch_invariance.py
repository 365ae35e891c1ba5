"""A row's prediction does not depend on the other rows, nor on how it is asked for."""

import numpy as np
import pytest
from helpers import same_bits

import fastnn

pytestmark = pytest.mark.usefixtures("on_all_threads")

# Wide enough for tiles of several panels, which few rows take; ragged everywhere.
LAYERS = [33, 200, 70, 11]


def network(dtype, **arguments):
    net = fastnn.Network(LAYERS, dtype=dtype, seed=0, **arguments)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, LAYERS[0])).astype(dtype)
    net.fit(X, rng.integers(LAYERS[-1], size=600), epochs=1, verbose=0)
    return net, X


METHODS = ["predict", "predict_proba", "decision_function"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_batch_size_gives_the_same_bits(dtype, method):
    net, X = network(dtype)
    predict = getattr(net, method)
    whole = predict(X)
    rng = np.random.default_rng(1)
    for size in range(1, 258):
        at = int(rng.integers(0, len(X) - size + 1))
        part = slice(at, at + size)
        assert same_bits(predict(X[part]), whole[part]), size


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_row_order_gives_the_same_bits(dtype, method):
    net, X = network(dtype)
    predict = getattr(net, method)
    whole = predict(X)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(X))
        assert same_bits(predict(X[order]), whole[order])
    again = np.repeat(np.arange(40), 9)
    assert same_bits(predict(X[again]), whole[again])
    assert same_bits(predict(X[::-3]), whole[::-3])


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_row_is_a_row_of_many(dtype, scaled):
    scaling = dict(input_scale=0.3, input_shift=-0.1) if scaled else {}
    net, X = network(dtype, **scaling)
    whole = net.predict_proba(X)
    out = np.empty(LAYERS[-1], dtype)
    for row, expected in zip(X, whole, strict=True):
        assert same_bits(net.predict_one(row), expected)
        assert same_bits(net.predict_one(row, out=out), expected)


@pytest.mark.parametrize("layers", [[5, 3], [1, 1, 2], [300, 5000, 2], [64, 64, 64]])
def test_other_shapes(layers):
    # The one of 5000 units is too wide for the stack of predict_one.
    net = fastnn.Network(layers, seed=2)
    X = np.random.default_rng(0).normal(size=(130, layers[0])).astype(np.float32)
    whole = net.predict_proba(X)
    for at in range(0, 130, 13):
        assert same_bits(net.predict_one(X[at]), whole[at])
        assert same_bits(net.predict_proba(X[at : at + 1])[0], whole[at])
    assert same_bits(net.predict_proba(X[5:22]), whole[5:22])


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_any_number_of_threads_gives_the_same_bits(threads):
    net, X = network("float32")
    X = np.tile(X, (8, 1))
    expected = net.predict_proba(X[:600])
    sums = net.evaluate(X, np.arange(len(X)) % LAYERS[-1])
    net.num_threads = threads
    assert same_bits(net.predict_proba(X), np.tile(expected, (8, 1)))
    assert net.evaluate(X, np.arange(len(X)) % LAYERS[-1]) == sums


def test_the_weights_of_other_rows_do_not_matter_either():
    # The sums of evaluate are those of its rows, one at a time, in their order.
    net, X = network("float64")
    y, weight = np.arange(600) % LAYERS[-1], np.linspace(0, 2, 600)
    totals = net._model.engine.evaluate(X, y, weight)
    by_row = np.zeros(3)
    for i in range(600):
        loss, one, correct = net._model.engine.evaluate(X[i : i + 1], y[i : i + 1])
        by_row += weight[i] * np.array([loss, one, correct])
    assert totals[0] == by_row[0]
    assert totals[1] == by_row[1]
    assert totals[2] == by_row[2]
