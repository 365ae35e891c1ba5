"""Dropout's mask, bit by bit from its definition, and what training does with it."""

import math

import numpy as np
import pytest
from engines import ENGINES, data_for, make_engine, snapshot, train
from helpers import same_bits

from fastnn import SGD, Dense, Dropout, kernels, reference
from fastnn._core.model.seeds import dropout_keys
from fastnn._plan.plan import make_plan

LANES = {"native": kernels, "numpy": reference}
FLOATS = ["float32", "float64"]
TWO_32, TWO_64 = 2**32, 2**64


# The definition, in whole numbers: of the key, the update and the place.


def splitmix64(x):
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 % TWO_64
    x ^= x >> 27
    x = x * 0x94D049BB133111EB % TWO_64
    return x ^ x >> 31


def triple32(x):
    for shift, factor in ((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB)):
        x = (x ^ x >> shift) * factor % TWO_32
    return x ^ x >> 14


def is_kept(key, step, place, rate):
    base = splitmix64((key + 0x9E3779B97F4A7C15 * (step + 1)) % TWO_64)
    h = triple32(triple32(place ^ base % TWO_32) ^ base >> 32)
    return h >= math.floor(rate * TWO_32)


def mask(key, step, m, n, rate, first_row=0):
    places = range(first_row * n, (first_row + m) * n)
    kept = [is_kept(key, step, place % TWO_32, rate) for place in places]
    return np.reshape(kept, (m, n))


KEYS = [0, 1, TWO_32, 0x0123456789ABCDEF, TWO_64 - 1]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 1 - 2**-33])
def test_the_mask_is_that_of_the_definition(backend, rate, dtype):
    for number, key in enumerate(KEYS):
        for step in (0, 1, 999, 2**40, TWO_64 - 1):
            m, n = 3 + number, 17 - number
            x = np.random.default_rng(number).normal(size=(m, n)).astype(dtype)
            y = LANES[backend].dropout(x, rate, key, step)
            factor = x.dtype.type(1 / (1 - rate))
            expected = np.where(mask(key, step, m, n, rate), x * factor, 0)
            assert same_bits(y + 0, expected + x.dtype.type(0))  # -0 is 0


def test_of_all_numbers_exactly_the_share_below_the_rate_is_dropped(backend):
    # A rate of h / 2**32 drops the numbers 0 ... h - 1, and keeps h itself.
    x = np.ones((4, 9), np.float32)
    for place in range(36):
        base = splitmix64((KEYS[3] + 0x9E3779B97F4A7C15) % TWO_64)
        h = triple32(triple32(place ^ base % TWO_32) ^ base >> 32)
        y = LANES[backend].dropout(x, h / TWO_32, KEYS[3], 0).ravel()
        assert y[place]
        assert not LANES[backend].dropout(x, (h + 1) / TWO_32, KEYS[3], 0).flat[place]


def test_keys():
    plan = make_plan([4, Dropout(), Dense(5), Dropout(seed=9), Dropout(seed=9), 3])

    def key(seed, spawn_key):
        sequence = np.random.SeedSequence(seed, spawn_key=spawn_key)
        return int(sequence.generate_state(1, np.uint64)[0])

    expected = (key(7, (1, 0)), 0, key(9, (1,)), key(9, (1,)), 0)
    assert dropout_keys(plan, 7) == expected


# Statistics: within 5 sigma, of fixed seeds.


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_the_share_kept(rate):
    counts, n = [], 200
    for seed in range(100):
        y = kernels.dropout(np.ones((n, n)), rate, splitmix64(seed + 1), seed)
        kept = y != 0
        counts.append(kept.sum())
        sigma = math.sqrt(rate * (1 - rate) * n)
        assert abs(kept.sum(axis=0) - n * (1 - rate)).max() <= 5 * sigma
        assert abs(kept.sum(axis=1) - n * (1 - rate)).max() <= 5 * sigma
    sigma = math.sqrt(rate * (1 - rate)) * n
    deviations = (np.array(counts) - n * n * (1 - rate)) / sigma
    assert abs(deviations).max() <= 5
    assert abs(deviations.mean()) <= 5 / math.sqrt(100)
    assert 0.5 <= deviations.std() <= 1.5


OTHERS = {
    "update": dict(step=4),
    "key": dict(key=12),
    "high key": dict(key=11 + 2**60),
}


@pytest.mark.parametrize("other", OTHERS)
def test_masks_are_independent_of_each_other(other):
    n = 300
    arguments = dict(rate=0.5, key=11, step=3)
    masks = [
        kernels.dropout(np.ones((n, n)), **{**arguments, **changes}) != 0
        for changes in ({}, OTHERS[other])
    ]
    same = (masks[0] == masks[1]).sum()
    assert abs(same - n * n / 2) <= 5 * math.sqrt(n * n / 4)


@pytest.mark.parametrize("lag", [(0, 1), (1, 0), (1, 1), (0, 32), (7, 3)])
def test_neighbours_are_independent(lag):
    n = 400
    kept = kernels.dropout(np.ones((n, n)), 0.5, 2**63 + 5, 17) != 0
    rows, columns = lag
    same = kept[rows:, columns:] == kept[: n - rows, : n - columns]
    assert abs(same.sum() - same.size / 2) <= 5 * math.sqrt(same.size / 4)


# In a network.


def by_hand(engine, X, y, key, step, first_row=0):
    """The loss of [Dropout, Dense, Dropout, Dense]: from masks of the definition."""
    (W1, b1), (W2, b2) = engine.get_weights()
    below, _, above, _ = engine.plan.layers
    m = len(X)
    x = X * mask(key[0], step, m, X.shape[1], below.rate, first_row) / (1 - below.rate)
    x = np.tanh(x @ W1 + b1)
    x = x * mask(key[2], step, m, x.shape[1], above.rate, first_row) / (1 - above.rate)
    z = x @ W2 + b2
    z -= z.max(axis=1, keepdims=True)
    return float((np.log(np.exp(z).sum(axis=1)) - z[np.arange(m), y]).mean())


LAYERS = [6, Dropout(0.25), Dense(19, "tanh"), Dropout(0.5), Dense(3)]


def test_training_uses_the_masks_of_its_updates(backend):
    engine = make_engine(backend, LAYERS, optimizer=SGD(0.1), seed=4)
    keys = dropout_keys(engine.plan, 4)
    X, y, _ = data_for(engine, 21)
    for step in range(4):
        expected = by_hand(engine, X, y, keys, step)
        assert engine.loss_and_gradients(X, y)[0] == pytest.approx(expected, rel=1e-13)
        assert engine.train_step(X, y) == pytest.approx(expected, rel=1e-13)
    engine.step = 10**12
    expected = by_hand(engine, X, y, keys, 10**12)
    assert engine.train_step(X, y) == pytest.approx(expected, rel=1e-13)


def test_rows_of_a_group_are_numbered_through(backend):
    # A rate of 0 for learning would do as well: the weights are those of the start.
    engine = make_engine(backend, LAYERS, optimizer=SGD(0.1), seed=4)
    keys = dropout_keys(engine.plan, 4)
    X, y, _ = data_for(engine, 20)
    expected = 20 * by_hand(engine, X, y, keys, 0)
    totals = train(engine, X, y, batch_size=7, accumulate=3)
    assert engine.step == 1
    assert totals[0] == pytest.approx(expected, rel=1e-13)


def test_prediction_drops_nothing(backend):
    engine = make_engine(backend, LAYERS)
    without = make_engine(backend, [6, LAYERS[2], LAYERS[4]])
    without.set_weights(engine.get_weights())
    X, y, weight = data_for(engine, 21, weighted=True)
    assert same_bits(engine.forward(X), without.forward(X))
    assert engine.evaluate(X, y, weight) == without.evaluate(X, y, weight)
    assert same_bits(engine.predict_one(X[0]), without.predict_one(X[0]))


def test_a_rate_of_0_is_no_dropout(backend):
    layers = [6, Dropout(0.0), LAYERS[2], Dropout(0.0), LAYERS[4]]
    engine = make_engine(backend, layers)
    without = make_engine(backend, [6, LAYERS[2], LAYERS[4]])
    without.set_weights(engine.get_weights())
    data = data_for(engine, 21)
    for each in (engine, without):
        train(each, *data, epochs=3)
    assert same_bits(snapshot(engine), snapshot(without))


@pytest.mark.parametrize("dtype", FLOATS)
def test_both_lanes_drop_the_same(dtype):
    # Each input has a weight of its own, whose gradient is 0 if it was dropped.
    masks = []
    for backend in ENGINES:
        layers = [300, Dropout(0.3), Dense(1)]
        engine = make_engine(backend, layers, dtype=dtype, loss="mse", seed=8)
        X, y = np.eye(300, dtype=dtype), np.full((300, 1), 9, dtype)
        masks.append(engine.loss_and_gradients(X, y)[1][0][0] != 0)
    assert 60 < masks[0].sum() < 240
    assert same_bits(*masks)
