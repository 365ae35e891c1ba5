"""What an update is made of: options of layers and optimizers, groups, statistics."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from engines import snapshot, train
from helpers import same_bits
from networks import ALL, KEYS, make_data, make_engine
from samples import OPTIMIZERS

from fastnn._base.errors import TrainingDiverged
from fastnn._plan.plan import make_plan
from fastnn.layers import BatchNorm, Dense, Dropout, LayerNorm
from fastnn.optimizers import LBFGS, SGD, Adam, Lion, NAdam
from fastnn.reference import Engine
from fastnn.reference._layers import dropout_factor
from fastnn.schedules import Constant, Cosine, Warmup

DENSE = (Dense(6, "tanh"), Dense(3))


def assert_close(pairs, others, rtol=1e-10, atol=1e-14):
    for pair, other in zip(pairs, others, strict=True):
        for one, two in zip(pair, other, strict=True):
            np.testing.assert_allclose(one, two, rtol, atol)


# The optimizer's options, by hand from the gradients.


def clipped(gradients, limit):
    """All arrays scaled so that their common norm is at most the limit."""
    norm = np.sqrt(sum((g**2).sum() for pair in gradients for g in pair))
    assert norm > limit
    return [tuple(g * limit / norm for g in pair) for pair in gradients]


def test_an_update_by_hand():
    optimizer = SGD(
        0.5,
        weight_decay=0.1,
        l1=0.01,
        l2=0.2,
        clip_value=0.05,
        clip_norm=0.1,
        max_norm=1.1,
    )
    engine = make_engine((Dense(6, "tanh"), LayerNorm(), Dense(3)), optimizer=optimizer)
    X, y = make_data(engine)
    before = engine.get_weights()
    _, gradients = engine.loss_and_gradients(X, y)
    gradients = [tuple(np.clip(g, -0.05, 0.05) for g in pair) for pair in gradients]
    gradients = clipped(gradients, 0.1)
    engine.train_step(X, y)
    limited = False
    for after, (W, b), (dW, db) in zip(
        engine.get_weights(), before, gradients, strict=True
    ):
        if W.ndim == 2:
            dW = dW + 0.01 * np.sign(W) + 0.2 * W
            W = W * (1 - 0.5 * 0.1)
        W, b = W - 0.5 * dW, b - 0.5 * db
        if W.ndim == 2:
            norm = np.linalg.norm(W, axis=0)
            W = W * np.minimum(1, 1.1 / norm)
            limited |= (norm > 1.1).any() and (norm < 1.1).any()
        np.testing.assert_allclose(after[0], W, rtol=1e-13)
        np.testing.assert_allclose(after[1], b, rtol=1e-13)
    assert limited


def test_lion_by_hand():
    engine = make_engine(DENSE, optimizer=Lion(0.25, 0.5, 0.75, weight_decay=0.5))
    X, y = make_data(engine)
    moments = [(0, 0)] * 2
    for _ in range(3):
        before = engine.get_weights()
        _, gradients = engine.loss_and_gradients(X, y)
        engine.train_step(X, y)
        for i, ((W, b), (dW, db), (m, n)) in enumerate(
            zip(before, gradients, moments, strict=True)
        ):
            W = W * (1 - 0.125) - 0.25 * np.sign(0.5 * m + 0.5 * dW)
            b = b - 0.25 * np.sign(0.5 * n + 0.5 * db)
            moments[i] = 0.75 * m + 0.25 * dW, 0.75 * n + 0.25 * db
            assert_close([engine.get_weights()[i]], [(W, b)], 1e-13)


def test_a_norm_within_the_limit_changes_nothing():
    optimizer = SGD(0.1, clip_value=1e3, clip_norm=1e3, max_norm=1e3)
    engine, plain = make_engine(optimizer=optimizer), make_engine(optimizer=SGD(0.1))
    X, y = make_data(engine)
    train(engine, X, y)
    train(plain, X, y)
    assert same_bits(snapshot(engine), snapshot(plain))


def test_a_gradient_beyond_all_norms_diverges():
    engine = make_engine((Dense(2),), optimizer=SGD(0.1, clip_norm=1.0), loss="mse")
    before = snapshot(engine)
    with pytest.raises(TrainingDiverged, match="a gradient of step 1"):
        engine.train_step(np.full((2, 4), 1e120), np.full((2, 2), 1e120))
    assert same_bits(before, snapshot(engine))


@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_rates_of_a_schedule(optimizer):
    schedule = Warmup(Cosine(0.1, steps=4), steps=3, start=0.01)
    engine = make_engine(optimizer=optimizer(schedule))
    by_hand = make_engine(optimizer=optimizer(0.1))
    X, y = make_data(engine, 50)
    train(engine, X, y)  # 7 updates
    for step, rows in enumerate(np.split(np.arange(50), range(8, 50, 8))):
        by_hand.set_optimizer(optimizer(schedule(step)))
        by_hand.train_step(X[rows], y[rows])
    assert engine.step == 7
    assert same_bits(engine.get_weights(), by_hand.get_weights())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", [SGD, Adam, NAdam])
def test_a_constant_schedule_is_a_number_to_the_bit(optimizer, dtype):
    engine, other = (
        make_engine(optimizer=optimizer(rate), dtype=dtype)
        for rate in (0.1, Constant(0.1))
    )
    X, y = make_data(engine)
    train(engine, X, y)
    train(other, X, y)
    assert {a.dtype for pair in engine.get_weights() for a in pair} == {np.dtype(dtype)}
    assert same_bits(snapshot(engine), snapshot(other))


def test_updates_of_float32_are_computed_in_float32():
    engine = make_engine(optimizer=SGD(Constant(1e3 / 3)), dtype="float32")
    X, y = make_data(engine)
    before, (_, gradients) = engine.get_weights(), engine.loss_and_gradients(X, y)
    engine.train_step(X, y)
    expected = [
        tuple(w - np.float32(1e3 / 3) * g for w, g in zip(*each, strict=True))
        for each in zip(before, gradients, strict=True)
    ]
    assert same_bits(engine.get_weights(), expected)


def test_lbfgs_makes_no_steps():
    engine = make_engine(DENSE, optimizer=LBFGS())
    X, y = make_data(engine)
    with pytest.raises(ValueError, match="the optimizer LBFGS takes all data at once"):
        engine.train_step(X, y)
    with pytest.raises(ValueError, match="the optimizer LBFGS takes all data at once"):
        train(engine, X, y)
    assert engine.loss_and_gradients(X, y)[0] > 0


# Frozen layers, and biases that do not exist.


def frozen(*indices):
    return tuple(
        replace(layer, trainable=False) if index in indices else layer
        for index, layer in enumerate(ALL)
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_frozen_layers_do_not_change(optimizer):
    engine = make_engine(frozen(1, 3, 4), keys=KEYS, optimizer=optimizer)
    X, y = make_data(engine)
    before = engine.get_weights(), engine.get_optimizer_state()
    statistics = engine.get_statistics()
    train(engine, X, y, epochs=2)
    after = engine.get_weights(), engine.get_optimizer_state()
    for at, index in enumerate(engine.plan.parametric_layers):
        for old, new in zip(before, after, strict=True):
            if old[at]:
                same = same_bits(old[at], new[at])
                assert same == (index in (1, 3, 4)), index
    assert same_bits(statistics[1], engine.get_statistics()[1])
    assert not same_bits(statistics[6], engine.get_statistics()[6])


def test_gradients_of_frozen_layers_are_zeros_and_others_stay():
    layers = ALL[:1] + ALL[3:5] + ALL[7:]  # without what a frozen batch norm changes
    plain = make_engine(layers)
    X, y = make_data(plain)
    _, expected = plain.loss_and_gradients(X, y)
    for indices in ((0,), (1, 2), (0, 1, 2), (3, 4), (0, 4), (0, 1, 2, 3, 4)):
        some = tuple(
            replace(layer, trainable=i not in indices) for i, layer in enumerate(layers)
        )
        _, gradients = make_engine(some).loss_and_gradients(X, y)
        for index, (pair, other) in enumerate(zip(gradients, expected, strict=True)):
            if index in indices:
                assert not any(array.any() for array in pair)
                assert [a.shape for a in pair] == [a.shape for a in other]
            else:
                assert same_bits(pair, other)


def test_a_frozen_batch_norm_uses_its_running_statistics():
    layers = Dense(5, "tanh"), BatchNorm(epsilon=0.1, trainable=False), Dense(2)
    engine = make_engine(layers, loss="mse")
    X, y = make_data(engine)
    (W1, b1), (scale, shift), (W2, b2) = engine.get_weights()
    mean, variance = engine.get_statistics()[1]
    factor = scale / np.sqrt(variance + 0.1)
    folded = make_engine((Dense(5, "tanh"), Dense(2)), loss="mse")
    W = factor[:, np.newaxis] * W2
    folded.set_weights([(W1, b1), (W, b2 + (shift - mean * factor) @ W2)])
    loss, gradients = engine.loss_and_gradients(X, y)
    expected, of_folded = folded.loss_and_gradients(X, y)
    assert loss == pytest.approx(expected, rel=1e-12)
    assert_close(gradients[:1], of_folded[:1], 1e-11)
    np.testing.assert_allclose(engine.forward(X), folded.forward(X), rtol=1e-11)


def test_an_absent_bias_stays_zero():
    for optimizer in OPTIMIZERS.values():
        engine = make_engine(
            (Dense(5, "tanh", use_bias=False), Dense(3)), optimizer=optimizer
        )
        X, y = make_data(engine)
        assert not engine.loss_and_gradients(X, y)[1][0][1].any()
        train(engine, X, y)
        assert not engine.get_weights()[0][1].any()
        assert engine.get_weights()[1][1].any()


def test_all_frozen():
    engine = make_engine(tuple(replace(each, trainable=False) for each in DENSE))
    X, y = make_data(engine)
    before = engine.get_weights()
    train(engine, X, y, fused=False)
    assert same_bits(before, engine.get_weights())
    assert engine.step == 3


# Dropout.


def test_dropout_is_for_training_only():
    engine = make_engine((Dense(6, "tanh"), Dropout(0.5), Dense(3)))
    plain = make_engine((Dense(6, "tanh"), Dense(3)))
    plain.set_weights(engine.get_weights())
    X, y = make_data(engine)
    assert same_bits(engine.forward(X), plain.forward(X))
    assert engine.evaluate(X, y) == plain.evaluate(X, y)
    assert engine.loss_and_gradients(X, y)[0] != plain.loss_and_gradients(X, y)[0]


def test_the_mask_of_a_step_by_hand():
    engine = make_engine(
        (Dense(6), Dropout(0.3), Dense(2)), keys=(0, 77, 0), loss="mse"
    )
    engine.step = 12
    X, y = make_data(engine)
    (W1, b1), (W2, b2) = engine.get_weights()
    factor = dropout_factor((20, 6), np.dtype(float), 0.3, 77, 12)
    h = (X @ W1 + b1) * factor
    dz = 2 * (h @ W2 + b2 - y) / 40
    loss, gradients = engine.loss_and_gradients(X, y)
    assert loss == pytest.approx(((h @ W2 + b2 - y) ** 2).mean(), rel=1e-13)
    dh = dz @ W2.T * factor
    expected = [(X.T @ dh, dh.sum(axis=0)), (h.T @ dz, dz.sum(axis=0))]
    assert_close(gradients, expected, 1e-11)
    assert engine.train_step(X, y) == loss


def test_masks_differ_by_step_and_key():
    engine = make_engine()
    X, y = make_data(engine)
    first = engine.loss_and_gradients(X, y)[0]
    assert engine.loss_and_gradients(X, y)[0] == first
    engine.step = 1
    assert engine.loss_and_gradients(X, y)[0] != first
    engine.step = 0
    other = make_engine(keys=(0, 0, 1, 0, 0, 17, 0, 0, 0, 0))
    assert other.loss_and_gradients(X, y)[0] != first
    zeros = Engine(engine.plan)
    by_name = Engine(engine.plan, dropout_keys=(0,) * len(KEYS))
    for each in (zeros, by_name):
        each.set_weights(engine.get_weights())
    assert zeros.loss_and_gradients(X, y)[0] == by_name.loss_and_gradients(X, y)[0]


# Accumulation.

WITHOUT_BATCH_NORM = tuple(each for each in ALL if not isinstance(each, BatchNorm))


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_group_is_one_large_mini_batch(optimizer, weighted):
    if isinstance(optimizer, Lion):
        optimizer = replace(optimizer, learning_rate=1e-6)  # signs of rounding errors
    group = make_engine(WITHOUT_BATCH_NORM, optimizer=optimizer)
    whole = make_engine(WITHOUT_BATCH_NORM, optimizer=optimizer)
    X, y = make_data(group, 22)
    weight = np.random.default_rng(3).integers(0, 3, 22) * 0.5 if weighted else None
    if weighted:
        weight[3:6] = 0  # a whole mini-batch, which leaves its place in the masks
    totals = train(group, X, y, weight, batch_size=3, accumulate=3)
    expected = train(whole, X, y, weight, batch_size=9)
    np.testing.assert_allclose(totals, expected, rtol=1e-11)
    assert group.step == whole.step == 3
    rtol = 1e-5 if isinstance(optimizer, Lion) else 1e-9
    assert_close(group.get_weights(), whole.get_weights(), rtol, 1e-11)


def test_a_group_without_weight_is_skipped():
    engine, short = make_engine(), make_engine()
    X, y = make_data(engine, 24)
    weight = np.ones(24)
    weight[8:16] = 0
    totals = train(engine, X, y, weight, batch_size=4, accumulate=2)
    rows = np.r_[0:8, 16:24]
    expected = train(short, X, y, weight, rows, batch_size=4, accumulate=2)
    assert engine.step == 2
    assert same_bits(totals, expected)
    assert same_bits(snapshot(engine), snapshot(short))


def test_groups_have_the_statistics_of_their_mini_batches():
    layers = Dense(5, "tanh"), BatchNorm(momentum=0.5), Dense(2)
    engine = make_engine(layers, loss="mse", optimizer=SGD(0.1))
    X, y = make_data(engine, 10)
    before = engine.get_statistics()[1]
    pairs = [engine.loss_and_gradients(X[r], y[r])[1] for r in (slice(6), slice(6, 10))]
    W, b = engine.get_weights()[0]
    weights = engine.get_weights()
    train(engine, X, y, batch_size=6, accumulate=2)
    mean, variance = before
    for rows in (slice(6), slice(6, 10)):
        h = np.tanh(X[rows] @ W + b)
        mean = (mean + h.mean(axis=0)) / 2
        variance = (variance + h.var(axis=0, ddof=1)) / 2
    assert_close([engine.get_statistics()[1]], [(mean, variance)], 1e-13)
    expected = [
        tuple(w - 0.1 * (0.6 * g + 0.4 * h) for w, g, h in zip(*three, strict=True))
        for three in zip(weights, *pairs, strict=True)
    ]
    assert_close(engine.get_weights(), expected, 1e-12)


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam(Cosine(0.1, steps=5))], ids=repr)
def test_slices_and_fusion_give_the_same_bits(accumulate, optimizer):
    engines = [make_engine(optimizer=optimizer) for _ in range(3)]
    X, y = make_data(engines[0], 50)
    order = np.random.default_rng(4).permutation(50)
    options = [dict(max_seconds=60), dict(max_seconds=0), dict(fused=False)]
    totals = [
        train(engine, X, y, None, order, 4, 2, accumulate=accumulate, **each)
        for engine, each in zip(engines, options, strict=True)
    ]
    assert engines[0].step == 2 * -(-50 // (4 * accumulate))
    for engine, each in zip(engines[1:], totals[1:], strict=True):
        assert same_bits(totals[0], each)
        assert same_bits(snapshot(engines[0]), snapshot(engine))


def test_a_slice_stops_after_a_group():
    engine = make_engine()
    X, y = make_data(engine, 20)
    engine.acquire()
    start = engine.train(X, y, None, None, 4, 0, np.zeros(3), 0, accumulate=3)
    assert (start, engine.step) == (12, 1)
    start = engine.train(X, y, None, None, 4, start, np.zeros(3), 0, accumulate=3)
    assert (start, engine.step) == (20, 2)
    engine.release()


# Statistics and state.


def test_running_statistics_by_hand():
    engine = make_engine((BatchNorm(momentum=0.25), Dense(2)), loss="mse")
    X, y = make_data(engine, 5)
    mean, variance = engine.get_statistics()[0]
    assert engine.get_statistics()[1] is None
    engine.loss_and_gradients(X, y)
    engine.forward(X)
    engine.evaluate(X, y)
    assert same_bits((mean, variance), engine.get_statistics()[0])
    # sample weights do not count
    engine.train_step(X, y, np.array([1.0, 0.0, 0.0, 2.0, 3.0]))
    mean = 0.75 * mean + 0.25 * X.mean(axis=0)
    variance = 0.75 * variance + 0.25 * X.var(axis=0, ddof=1)
    assert_close(engine.get_statistics()[:1], [(mean, variance)], 1e-14)
    engine.train_step(X[:1], y[:1])  # one row has no unbiased variance
    assert_close(
        engine.get_statistics()[:1], [(0.75 * mean + 0.25 * X[0], 0.75 * variance)]
    )


def test_a_new_engine():
    plan = make_plan([4, Dense(3), BatchNorm(), Dropout(), Dense(2)])
    engine = Engine(plan, num_threads=None, dropout_keys=(0, 0, 5, 0))
    for pair, shapes in zip(engine.get_weights(), plan.shapes, strict=True):
        assert tuple(array.shape for array in pair) == shapes
        assert not any(array.any() for array in pair)
    assert len(engine.get_optimizer_state()) == 3
    statistics = engine.get_statistics()
    assert [pair is None for pair in statistics] == [True, False, True, True]
    mean, variance = statistics[1]
    assert mean.dtype == variance.dtype == np.float32
    assert mean.tolist() == [0, 0, 0]
    assert variance.tolist() == [1, 1, 1]
    engine.num_threads = None
    assert engine.num_threads == 1


def test_statistics_are_copied_both_ways():
    engine = make_engine()
    before = snapshot(engine)
    statistics = engine.get_statistics()
    statistics[1][0][:] = 7
    assert same_bits(before, snapshot(engine))
    statistics = engine.get_statistics()
    engine.set_statistics(statistics)
    statistics[1][1][:] = 7
    assert same_bits(before, snapshot(engine))


@pytest.mark.parametrize(
    "optimizer", [*OPTIMIZERS.values(), Adam(Cosine(0.1, steps=5))], ids=repr
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_restored_engine_continues_to_the_bit(optimizer, dtype):
    engine = make_engine(optimizer=optimizer, dtype=dtype)
    X, y = make_data(engine, 40)
    train(engine, X, y)
    other = Engine(engine.plan, dropout_keys=KEYS)
    other.set_weights(engine.get_weights())
    other.set_statistics(engine.get_statistics())
    other.set_optimizer_state(engine.get_optimizer_state())
    other.step = engine.step
    train(engine, X, y)
    train(other, X, y)
    assert same_bits(snapshot(engine), snapshot(other))


def test_divergence_keeps_the_last_finite_statistics():
    layers = Dense(5), BatchNorm(), Dropout(), Dense(2)
    engines = [make_engine(layers, loss="mse") for _ in range(2)]
    X, y = make_data(engines[0], 40)
    X[20, 1] = 1e300  # whose square overflows
    engines[0].acquire()
    with pytest.raises(TrainingDiverged, match="step 3 .* state after step 2"):
        engines[0].train(X, y, None, None, 8, 0, np.zeros(3), max_seconds=60)
    engines[0].release()
    train(engines[1], X, y, order=np.arange(16))
    assert same_bits(snapshot(engines[0]), snapshot(engines[1]))


def test_an_infinite_statistic_diverges():
    engine = make_engine((BatchNorm(momentum=1.0), Dense(2)), loss="mse")
    before = snapshot(engine)
    X = np.array([[1e200, 0, 0, 0], [-1e200, 0, 0, 0]])
    with pytest.raises(TrainingDiverged, match="a running statistic of step 1"):
        engine.train_step(X, np.zeros((2, 2)))
    assert same_bits(before, snapshot(engine))


def test_an_interrupt_keeps_the_statistics_of_the_beginning(monkeypatch):
    engine = make_engine()
    X, y = make_data(engine, 40)
    before, calls, gather = snapshot(engine), itertools.count(), engine._gather

    def interrupted(rows):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return gather(rows)

    monkeypatch.setattr(engine, "_gather", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(engine, X, y, max_seconds=60)
    assert same_bits(before, snapshot(engine))


# What is predicted.


def test_outputs_of_a_regression():
    engine = make_engine(DENSE, loss="poisson")
    X, y = make_data(engine)
    z = engine.forward(X, output="logits")
    np.testing.assert_allclose(engine.forward(X), np.exp(z), rtol=1e-14)
    with pytest.raises(ValueError, match="the loss 'poisson' has no labels"):
        engine.forward(X, output="labels")
    loss, weight, correct = engine.evaluate(X, y)
    assert loss == pytest.approx((np.exp(z) - y * z).mean(axis=1).sum(), rel=1e-12)
    assert (weight, correct) == (20, 0)
    np.testing.assert_allclose(engine.predict_one(X[3]), np.exp(z[3]), rtol=1e-12)


def test_outputs_of_yes_or_no():
    engine = make_engine((Dense(6, "tanh"), Dense(1)), loss="binary_cross_entropy")
    X, y = make_data(engine, labels=True)
    z = engine.forward(X, output="logits")
    labels = engine.forward(X, output="labels")
    assert labels.shape == (20,)
    assert labels.dtype == np.int64
    assert np.array_equal(labels, z[:, 0] > 0)
    np.testing.assert_allclose(engine.forward(X), 1 / (1 + np.exp(-z)), rtol=1e-13)
    assert engine.evaluate(X, y)[2] == (labels == y).sum()
    matrix = y[:, np.newaxis].astype(float)
    assert engine.evaluate(X, matrix) == engine.evaluate(X, y)
    other = make_engine((Dense(6, "tanh"), Dense(1)), loss="binary_cross_entropy")
    assert same_bits(train(engine, X, y), train(other, X, matrix))
    assert same_bits(snapshot(engine), snapshot(other))


def test_outputs_of_several_labels():
    engine = make_engine(DENSE, loss="binary_cross_entropy")
    X, _ = make_data(engine)
    labels = engine.forward(X, output="labels")
    assert labels.shape == (20, 3)
    assert np.array_equal(labels, engine.forward(X, output="logits") > 0)
    y = labels.astype(float)
    y[:5, 1] = 1 - y[:5, 1]
    assert engine.evaluate(X, y)[2] == 15
