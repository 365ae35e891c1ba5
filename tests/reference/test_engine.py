"""The promises of the NumPy engine; its arithmetic is tested in `lanes/`."""

import copy
import itertools

import engines
import numpy as np
import pytest
from engines import snapshot, train
from helpers import same_bits
from samples import OPTIMIZERS

from fastnn._base.errors import TrainingDiverged
from fastnn._plan.plan import make_plan
from fastnn.layers import Dense
from fastnn.optimizers import SGD, Adam, AdamW
from fastnn.reference import Engine


def make_engine(layers=(4, 8, 3), seed=0, **arguments):
    return engines.make_engine("numpy", layers, seed, **arguments)


def make_data(n=20, n_inputs=4, n_classes=3, seed=0):
    return engines.make_data(n, n_inputs, n_classes, seed=seed)[:2]


each_optimizer = pytest.mark.parametrize(
    "optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS
)


# Weights of samples.


def test_a_weight_of_zero_is_an_absent_row():
    engine = make_engine()
    X, y = make_data()
    weight = np.ones(20)
    weight[5:9] = 0
    kept = weight > 0
    loss, gradients = engine.loss_and_gradients(X, y, weight)
    short_loss, short_gradients = engine.loss_and_gradients(X[kept], y[kept])
    assert loss == pytest.approx(short_loss, rel=1e-14)
    for pair, short in zip(gradients, short_gradients, strict=True):
        for one, other in zip(pair, short, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-15)


def test_weights_of_one_are_no_weights():
    X, y = make_data()
    plain, weighted = make_engine(), make_engine()
    totals = [
        train(plain, X, y, epochs=3),
        train(weighted, X, y, np.ones(20), epochs=3),
    ]
    assert same_bits(snapshot(plain), snapshot(weighted))
    assert same_bits(*totals)


def test_a_batch_without_weight_is_skipped():
    X, y = make_data(24)
    weight = np.ones(24)
    weight[8:16] = 0
    engine, short = make_engine(), make_engine()
    totals = train(engine, X, y, weight, batch_size=8)
    rows = np.r_[0:8, 16:24]
    assert same_bits(totals, train(short, X, y, weight, order=rows, batch_size=8))
    assert engine.step == 2
    assert same_bits(snapshot(engine), snapshot(short))


# Epochs.


def test_totals_are_the_sums_over_all_batches():
    engine = make_engine(optimizer=SGD(1e-9))  # so slow that weights hardly change
    X, y = make_data(19)
    weight = np.random.default_rng(2).random(19)
    totals = train(engine, X, y, weight, batch_size=8)
    z = engine.forward(X, output="logits")
    losses = np.log(np.exp(z).sum(axis=1)) - z[np.arange(19), y]
    correct = z.argmax(axis=1) == y
    expected = [weight @ losses, weight.sum(), weight @ correct]
    np.testing.assert_allclose(totals, expected, rtol=1e-7)
    np.testing.assert_allclose(totals, engine.evaluate(X, y, weight), rtol=1e-7)


def test_sums_are_taken_in_the_order_of_the_rows():
    # np.sum adds pairwise and gives other bits
    X, y = make_data(1000)
    weight = np.random.default_rng(2).random(1000)
    *_, expected = itertools.accumulate(weight.tolist())
    assert expected != weight.sum()
    assert train(make_engine(), X, y, weight, batch_size=1000)[1] == expected
    assert make_engine().evaluate(X, y, weight)[1] == expected


def test_the_ragged_last_batch_is_used():
    X, y = make_data(19)
    engine, by_hand = make_engine(), make_engine()
    train(engine, X, y, batch_size=8)
    for rows in (slice(0, 8), slice(8, 16), slice(16, 19)):
        by_hand.train_step(X[rows], y[rows])
    assert engine.step == 3
    assert same_bits(snapshot(engine), snapshot(by_hand))


def test_order_chooses_the_rows():
    X, y = make_data(10)
    order = np.array([7, 7, 1, 9, 0], dtype=np.int64)
    engine, by_hand = make_engine(), make_engine()
    train(engine, X, y, order=order, batch_size=2)
    for rows in (order[:2], order[2:4], order[4:]):
        by_hand.train_step(X[rows], y[rows])
    assert same_bits(snapshot(engine), snapshot(by_hand))


@each_optimizer
def test_slicing_of_an_epoch_gives_the_same_bits(optimizer):
    X, y = make_data(50)
    weight = np.random.default_rng(3).random(50)
    order = np.random.default_rng(4).permutation(50)
    whole, sliced = make_engine(optimizer=optimizer), make_engine(optimizer=optimizer)
    totals = train(whole, X, y, weight, order, 8, epochs=2, max_seconds=60)
    # no time at all: every call does one step
    assert same_bits(
        totals, train(sliced, X, y, weight, order, 8, epochs=2, max_seconds=0)
    )
    assert same_bits(snapshot(whole), snapshot(sliced))


def test_a_slice_stops_on_a_step_boundary():
    X, y = make_data(20)
    engine = make_engine()
    engine.acquire()
    assert engine.train(X, y, None, None, 8, 0, np.zeros(3), max_seconds=0) == 8
    assert engine.train(X, y, None, None, 8, 16, np.zeros(3), max_seconds=0) == 20
    assert engine.train(X, y, None, None, 8, 20, np.zeros(3)) == 20
    engine.release()
    assert engine.step == 2


@each_optimizer
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fused_and_stored_gradients_give_the_same_bits(optimizer, dtype):
    X, y = make_data(50)
    fused = make_engine((4, 9, 7, 3), optimizer=optimizer, dtype=dtype)
    stored = make_engine((4, 9, 7, 3), optimizer=optimizer, dtype=dtype)
    totals = train(fused, X, y, epochs=3, fused=True)
    assert same_bits(totals, train(stored, X, y, epochs=3, fused=False))
    assert same_bits(snapshot(fused), snapshot(stored))


def test_soft_targets_train_like_their_labels():
    X, y = make_data(30)
    by_label, by_row = make_engine(), make_engine()
    totals = train(by_label, X, y, epochs=2)
    one_hot = np.eye(3, dtype=np.float32)[y]
    assert same_bits(totals, train(by_row, X, one_hot, epochs=2))
    assert same_bits(snapshot(by_label), snapshot(by_row))


def test_training_needs_acquire():
    X, y = make_data()
    engine = make_engine()
    with pytest.raises(RuntimeError, match="has not acquired"):
        engine.train(X, y, None, None, 8, 0, np.zeros(3))
    with pytest.raises(RuntimeError, match="has not acquired"):
        engine.release()


def test_an_interrupt_keeps_the_beginning_of_the_slice(monkeypatch):
    X, y = make_data(40)
    engine, expected = make_engine(), make_engine()
    totals = np.zeros(3)
    engine.acquire()
    start = engine.train(X, y, None, None, 8, 0, totals, max_seconds=0)
    before, totals_before = snapshot(engine), totals.copy()
    calls = itertools.count()
    gather = engine._gather

    def interrupted(rows):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return gather(rows)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_gather", interrupted)
        with pytest.raises(KeyboardInterrupt):
            engine.train(X, y, None, None, 8, start, totals, max_seconds=60)
    assert same_bits(before, snapshot(engine))
    assert same_bits(totals, totals_before)
    engine.train(X, y, None, None, 8, start, totals, max_seconds=60)
    engine.release()
    assert same_bits(totals, train(expected, X, y))
    assert same_bits(snapshot(engine), snapshot(expected))


# Divergence.


def test_divergence_keeps_the_last_finite_state():
    X, y = make_data(40)
    X[20, 1] = 1e300  # the third batch of 8: its gradient overflows after a step
    engine = make_engine(optimizer=SGD(1e10, 0.9))
    expected = make_engine(optimizer=SGD(1e10, 0.9))
    totals = np.zeros(3)
    engine.acquire()
    with pytest.raises(TrainingDiverged, match="step 3 .* state after step 2"):
        engine.train(X, y, None, None, 8, 0, totals, max_seconds=60)
    engine.release()
    assert same_bits(totals, train(expected, X, y, order=np.arange(16)))
    assert same_bits(snapshot(engine), snapshot(expected))
    assert np.isfinite(engine.forward(X[:8])).all()


def engine_with(*weights, rate, optimizer=SGD):
    """Layers of the given weights and biases, 1 input."""
    sizes = [1, *(len(b) for _, b in weights)]
    engine = Engine(make_plan(sizes, optimizer=optimizer(rate), dtype="float64"))
    engine.set_weights([(np.array(W), np.array(b)) for W, b in weights])
    return engine


OVERFLOWS = {
    # x @ W
    "loss": (engine_with(([[1e300, -1e300]], [0, 0]), rate=0.1), 1e300),
    # x.T @ dz of the first layer: its dz is about 1e300, though its output is 1e-300
    "gradient": (
        engine_with(([[0]], [1e-300]), ([[1e300, -1e300]], [0, 0]), rate=1e-300),
        1e300,
    ),
    # learning rate * gradient of the second layer, when the first one has its new bias
    "new weight": (
        engine_with(([[1e300]], [0]), ([[0, 0]], [0, 0]), rate=1e10),
        1.0,
    ),
    # the gradient's square
    "new optimizer state": (
        engine_with(([[0, 0]], [0, 0]), rate=0.1, optimizer=Adam),
        1e200,
    ),
}


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("what", OVERFLOWS)
def test_each_overflow_is_seen_and_undone(what, fused):
    engine, x = OVERFLOWS[what]
    before, totals = snapshot(engine), np.zeros(3)
    engine.acquire()
    with pytest.raises(TrainingDiverged, match=f"a {what} of step 1 .* after step 0"):
        engine.train(
            np.full((2, 1), x), np.ones(2, int), None, None, 2, 0, totals, fused=fused
        )
    engine.release()
    assert same_bits(before, snapshot(engine))
    assert not totals.any()


# Forward, evaluate, predict_one.


def test_outputs():
    engine = make_engine()
    X, _ = make_data(9)
    (W1, b1), (W2, b2) = engine.get_weights()
    z = np.maximum(X @ W1 + b1, 0) @ W2 + b2
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(engine.forward(X, output="logits"), z, rtol=1e-12)
    np.testing.assert_allclose(engine.forward(X), p, rtol=1e-12)
    labels = engine.forward(X, output="labels")
    assert labels.dtype == np.int64
    assert labels.tolist() == z.argmax(axis=1).tolist()
    with pytest.raises(ValueError, match="output must be one of .* got 'classes'"):
        engine.forward(X, output="classes")


def test_ties_go_to_the_first_class():
    engine = Engine(make_plan([4, 3]))
    X, y = make_data(5)
    assert engine.forward(X, output="labels").tolist() == [0] * 5
    assert engine.evaluate(X, y)[2] == (y == 0).sum()
    assert engine.evaluate(X, np.full((5, 3), 1 / 3))[2] == 5


def test_sets_larger_than_a_chunk():
    engine = make_engine()
    X, y = make_data(10_000)
    weight = np.random.default_rng(5).random(10_000)
    whole = engine.forward(X)
    assert whole.shape == (10_000, 3)
    np.testing.assert_allclose(whole[8190:8200], engine.forward(X[8190:8200]), 1e-12)
    sums = engine.evaluate(X, y, weight)
    loss, _ = engine.loss_and_gradients(X, y, weight)
    assert sums[0] / sums[1] == pytest.approx(loss, rel=1e-12)
    assert sums[1] == pytest.approx(weight.sum(), rel=1e-12)
    assert sums[2] == pytest.approx(weight @ (whole.argmax(axis=1) == y), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predict_one(dtype):
    engine = make_engine(dtype=dtype)
    X, _ = make_data(3)
    p = engine.predict_one(X[1])
    assert p.dtype == dtype
    np.testing.assert_allclose(p, engine.forward(X)[1], rtol=1e-6)
    out = np.empty(3, dtype)
    assert engine.predict_one(X[1], out=out) is out
    assert same_bits(out, p)
    assert same_bits(engine.predict_one(X[1].tolist()), p)


def test_predict_one_checks_x_and_out():
    engine = make_engine()
    x = np.ones(4)
    with pytest.raises(ValueError, match=r"x must have shape \(4,\), got \(3,\)"):
        engine.predict_one(x[:3])
    with pytest.raises(ValueError, match=r"x must have shape \(4,\), got \(1, 4\)"):
        engine.predict_one(x[np.newaxis])
    with pytest.raises(ValueError, match=r"x\[0, 2\] is nan"):
        engine.predict_one(np.array([0, 0, np.nan, 0]))
    with pytest.raises(TypeError, match="x has dtype complex128"):
        engine.predict_one(x + 0j)
    with pytest.raises(TypeError, match="out must be a float64 array"):
        engine.predict_one(x, out=[0, 0, 0])
    with pytest.raises(TypeError, match="out must be .* got float32"):
        engine.predict_one(x, out=np.zeros(3, np.float32))
    with pytest.raises(ValueError, match=r"out must be .* got shape \(4,\)"):
        engine.predict_one(x, out=np.zeros(4))
    with pytest.raises(ValueError, match="contiguous and writable"):
        engine.predict_one(x, out=np.zeros(6)[::2])
    frozen = np.zeros(3)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="contiguous and writable"):
        engine.predict_one(x, out=frozen)
    with pytest.raises(ValueError, match="out must not share memory with x"):
        engine.predict_one(x, out=x[1:])
    assert x.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "call",
    [
        lambda engine, X, y: engine.forward(X),
        lambda engine, X, y: engine.evaluate(X, y),
        lambda engine, X, y: engine.loss_and_gradients(X, y),
        lambda engine, X, y: engine.train_step(X, y),
    ],
)
def test_x_that_is_not_finite_is_refused(call):
    engine = make_engine(dtype="float32")
    before = snapshot(engine)
    X, y = make_data()
    for value in (np.nan, np.inf, 1e300):  # the last is infinite in float32
        X[3, 1] = value
        with pytest.raises(ValueError, match=r"X\[3, 1\] is "):
            call(engine, X, y)
    assert same_bits(before, snapshot(engine))


def test_train_step_checks_targets_and_weights():
    engine = make_engine()
    before = snapshot(engine)
    X, y = make_data()
    with pytest.raises(ValueError, match=r"y\[0\] is 3"):
        engine.train_step(X, np.full(20, 3))
    with pytest.raises(ValueError, match="sample_weight"):
        engine.train_step(X, y, np.zeros(20))
    assert same_bits(before, snapshot(engine))


# Inputs of every kind.


@pytest.mark.parametrize(
    "dtype", ["?", "i1", "u1", ">i2", "<u2", "i4", "u8", "f2", ">f4", "f4", ">f8", "f8"]
)
@pytest.mark.parametrize("scaled", [False, True])
def test_any_dtype_trains_like_its_conversion(dtype, scaled):
    X, y = make_data(20)
    X = abs(X * 50).astype(dtype)
    engines = make_engine(dtype="float32"), make_engine(dtype="float32")
    for engine in engines:
        if scaled:
            engine.set_input_scaling(np.full(4, 1 / 255), np.arange(4.0))
    assert engines[0].all_finite(X)
    totals = train(engines[0], X, y)
    assert same_bits(totals, train(engines[1], X.astype("f4"), y))
    assert same_bits(snapshot(engines[0]), snapshot(engines[1]))


@pytest.mark.parametrize("ordered", [False, True])
def test_any_memory_layout_trains_like_its_copy(ordered):
    X, y = make_data(20)
    order = np.random.default_rng(6).permutation(20) if ordered else None
    wide = np.zeros((40, 8))
    wide[::-2, ::2] = X
    read_only = X.copy()
    read_only.flags.writeable = False
    expected = make_engine()
    train(expected, X.copy(), y, order=order)
    for layout in (np.asfortranarray(X), wide[::-2, ::2], read_only):
        engine = make_engine()
        train(engine, layout, y, order=order)
        assert same_bits(snapshot(engine), snapshot(expected))
        # BLAS may, for other shapes than these, round differently for other layouts
        assert engine._gather(layout).flags.c_contiguous


def test_input_scaling():
    X, _ = make_data()
    plain, scaled = make_engine(), make_engine()
    scale, shift = np.array([2.0, 0.5, -1.0, 3.0]), np.array([0.0, 1.0, -1.0, 0.5])
    scaled.set_input_scaling(scale, shift)
    assert same_bits(scaled.forward(X), plain.forward(X * scale + shift))
    scaled.set_input_scaling(None, None)
    assert same_bits(scaled.forward(X), plain.forward(X))


def test_all_finite():
    engine = make_engine(dtype="float32")
    X = np.zeros((5000, 4))
    assert engine.all_finite(X)
    for value in (np.nan, -np.inf, 1e300):
        X[4999, 3] = value
        assert not engine.all_finite(X)
    X[4999, 3] = 1e38
    assert engine.all_finite(X)
    engine.set_input_scaling(np.full(4, 10.0), np.zeros(4))
    assert not engine.all_finite(X)
    assert engine.all_finite(X.astype(bool))


# State.


def test_a_new_engine_is_zero():
    engine = Engine(make_plan([4, 8, 3]), num_threads=7)
    assert engine.step == 0
    assert engine.num_threads == 1
    for W, b in engine.get_weights():
        assert W.dtype == b.dtype == np.float32
        assert not W.any()
        assert not b.any()
    state = engine.get_optimizer_state()
    assert [list(layer) for layer in state] == [["first_moment", "second_moment"]] * 2
    assert [pair[0].shape for pair in state[0].values()] == [(4, 8)] * 2


def test_weights_and_state_are_copied_both_ways():
    engine = make_engine()
    train(engine, *make_data())
    before = copy.deepcopy(snapshot(engine))
    weights, state, *_ = snapshot(engine)
    for get in (weights, state[0].values()):
        for W, b in get:
            W[:], b[:] = 7, 7
    assert same_bits(before, snapshot(engine))
    weights, state, *_ = snapshot(engine)
    engine.set_weights(weights)
    engine.set_optimizer_state(state)
    weights[0][0][:] = 7
    state[0]["first_moment"][0][:] = 7
    assert same_bits(before, snapshot(engine))


@each_optimizer
def test_a_restored_engine_continues_to_the_bit(optimizer):
    X, y = make_data(40)
    engine = make_engine(optimizer=optimizer)
    train(engine, X, y, epochs=2)
    other = Engine(engine.plan)
    other.set_weights(engine.get_weights())
    other.set_optimizer_state(engine.get_optimizer_state())
    other.step = engine.step
    train(engine, X, y, epochs=2)
    train(other, X, y, epochs=2)
    assert engine.step == other.step == 20
    assert same_bits(snapshot(engine), snapshot(other))


def test_set_optimizer_keeps_a_state_of_the_same_names():
    engine = make_engine(optimizer=Adam())
    train(engine, *make_data())
    before = snapshot(engine)
    engine.set_optimizer(AdamW(0.5))
    assert engine.plan.optimizer == AdamW(0.5)
    assert same_bits(before, snapshot(engine))
    engine.set_optimizer(SGD(0.1, momentum=0.9))
    assert engine.step == 0
    assert same_bits(before[0], engine.get_weights())
    assert [list(layer) for layer in engine.get_optimizer_state()] == [["velocity"]] * 2
    assert not engine.get_optimizer_state()[0]["velocity"][0].any()


def test_step_and_num_threads_are_checked():
    engine = make_engine()
    with pytest.raises(ValueError, match="step must be an integer >= 0, got -1"):
        engine.step = -1
    with pytest.raises(ValueError, match="num_threads must be an integer >= 1, got 0"):
        engine.num_threads = 0
    engine.num_threads = 4
    assert engine.num_threads == 1


def test_gradients_and_predictions_change_nothing():
    engine = make_engine()
    X, y = make_data()
    before = snapshot(engine)
    engine.loss_and_gradients(X, y)
    engine.evaluate(X, y)
    engine.forward(X)
    engine.predict_one(X[0])
    assert same_bits(before, snapshot(engine))


def test_last_layer_with_an_activation():
    with pytest.warns(UserWarning, match="the last one, has activation 'relu'"):
        engine = make_engine((4, Dense(5, "relu"), Dense(3, "relu")))
    X, _ = make_data()
    (W1, b1), (W2, b2) = engine.get_weights()
    z = np.maximum(np.maximum(X @ W1 + b1, 0) @ W2 + b2, 0)
    np.testing.assert_allclose(engine.forward(X, output="logits"), z, rtol=1e-12)
