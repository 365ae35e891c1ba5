"""The native engine against the NumPy one, and its own promises.

Gradients, updates and whole trainings are compared in `lanes/`.
"""

import numpy as np
import pytest
from engines import (
    ENGINES,
    KINDS,
    flat,
    make_data,
    make_engine,
    relative_distance,
    snapshot,
    train,
)
from helpers import same_bits
from samples import OPTIMIZERS

from fastnn import SGD, Adam, SoftmaxCrossEntropy

# Odd widths, so that every layer has a ragged panel; the deep one has a layer of one
# unit, the last one has none that is hidden.
NETS = {"wide": (5, 19, 3), "deep": (3, 7, 1, 6, 2), "flat": (4, 5)}


def engines(layers=(4, 8, 3), **arguments):
    """The native engine and the reference with the same weights."""
    return [make_engine(backend, layers, **arguments) for backend in ENGINES]


# The native engine against the reference.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", NETS.values(), ids=NETS)
def test_loss_and_gradients_are_those_of_the_reference(layers, kind):
    for dtype, unit in (("float64", 1e-12), ("float32", 1e-5)):
        native, numpy = engines(layers, dtype=dtype, loss=SoftmaxCrossEntropy(0.1))
        data = make_data(41, layers[0], layers[-1], kind, dtype=dtype)
        (loss, gradients), (expected, others) = (
            engine.loss_and_gradients(*data) for engine in (native, numpy)
        )
        assert abs(loss - expected) <= unit * expected
        for gradient, other in zip(flat(gradients), flat(others), strict=True):
            assert gradient.dtype == dtype
            assert relative_distance(gradient, other) <= unit


@pytest.mark.parametrize("kind", KINDS)
def test_epochs_and_totals_are_those_of_the_reference(kind):
    data = make_data(53, 9, 5, kind)
    order = np.random.default_rng(1).permutation(53)
    native, numpy = engines((9, 19, 5))
    totals = [train(engine, *data, order, epochs=3) for engine in (native, numpy)]
    np.testing.assert_allclose(*totals, rtol=1e-10)
    for found, expected in zip(
        *map(flat, map(weights_of, (native, numpy))), strict=True
    ):
        assert relative_distance(found, expected) <= 1e-10
    sums = [engine.evaluate(*data) for engine in (native, numpy)]
    np.testing.assert_allclose(*sums, rtol=1e-10)


def weights_of(engine):
    return engine.get_weights()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outputs_are_those_of_the_reference(dtype):
    native, numpy = engines((9, 19, 5), dtype=dtype)
    X, _, _ = make_data(300, 9, 5, dtype=dtype)
    unit = {"float32": 1e-5, "float64": 1e-13}[dtype]
    for output in ("logits", "values"):
        found, expected = (engine.forward(X, output) for engine in (native, numpy))
        assert found.dtype == expected.dtype == dtype
        assert relative_distance(found, expected) <= unit
    found, expected = (engine.forward(X, "labels") for engine in (native, numpy))
    assert same_bits(found, expected)
    one, other = (engine.predict_one(X[0]) for engine in (native, numpy))
    assert relative_distance(one, other) <= unit


def test_ties_go_to_the_first_class(backend):
    engine = make_engine(backend, (2, 40))
    engine.set_weights([(np.zeros((2, 40)), np.zeros(40))])
    X, y = np.ones((50, 2)), np.arange(50) % 40
    assert (engine.forward(X, "labels") == 0).all()
    assert engine.evaluate(X, y)[2] == 2
    weights = [(np.zeros((2, 40)), np.eye(40)[[7, 33]].sum(axis=0))]
    engine.set_weights(weights)
    assert (engine.forward(X, "labels") == 7).all()
    assert engine.evaluate(X, y)[2] == 2  # rows 7 and 47, not 33
    totals = train(engine, X, y, batch_size=50)
    assert totals[2] == 2


@pytest.mark.parametrize("scale", [1 / 255, "per column"])
def test_input_scaling(scale):
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (40, 7), np.uint8), rng.integers(3, size=40)
    scale, shift = np.broadcast_to(scale, 7), np.zeros(7)
    if scale.dtype.kind == "U":
        scale, shift = rng.random(7), rng.normal(size=7)
    scale = scale.astype(np.float64)
    by_hand = X * scale + shift
    results = []
    for engine in engines((7, 9, 3)):
        engine.set_input_scaling(scale, shift)
        train(engine, X, y)
        results.append([*flat(engine.get_weights()), engine.forward(X, "logits")])
        results[-1].append(engine.predict_one(by_hand[0] / scale - shift / scale))
        engine.set_input_scaling(None, None)
        results[-1].append(engine.forward(by_hand, "values"))
        np.testing.assert_allclose(
            results[-1][-1][0], results[-1][-2], rtol=1e-9
        )  # the row scaled by the engine and by hand
    for found, expected in zip(*results, strict=True):
        assert relative_distance(found, expected) <= 1e-10


# float32.


@pytest.mark.parametrize("layers", [(784, 128, 10), (64, 64, 64, 64, 10), (3, 1, 2)])
def test_float32_gradients_are_close_to_float64(backend, layers):
    single = make_engine(backend, layers, dtype="float32")
    double = make_engine(backend, layers, dtype="float64")
    double.set_weights(
        [(np.float64(W), np.float64(b)) for W, b in single.get_weights()]
    )
    X, y, weight = make_data(64, layers[0], layers[-1], "weighted", dtype="float32")
    X[:, ::3] = abs(X[:, ::3])
    results = (engine.loss_and_gradients(X, y, weight) for engine in (single, double))
    (loss, gradients), (expected, others) = results
    assert abs(loss - expected) <= 1e-6 * expected
    for gradient, other in zip(flat(gradients), flat(others), strict=True):
        assert relative_distance(gradient, other) <= 1e-5


# Promises of a step.


def test_a_batch_without_weight_is_skipped(backend):
    X, y, _ = make_data(24, 4, 3)
    weight = np.ones(24)
    weight[8:16] = 0
    skipping, engine = make_engine(backend), make_engine(backend)
    totals = train(skipping, X, y, weight)
    kept = np.r_[0:8, 16:24]
    expected = train(engine, X[kept], y[kept], np.ones(16))
    assert skipping.step == engine.step == 2
    assert same_bits(snapshot(skipping), snapshot(engine))
    assert same_bits(totals, expected)


def test_a_row_without_weight_is_absent(backend):
    X, y, _ = make_data(16, 4, 3)
    weight = np.ones(16)
    weight[[2, 5, 11]] = 0
    kept = weight > 0
    full, part = make_engine(backend), make_engine(backend)
    totals = train(full, X, y, weight, batch_size=16)
    expected = train(part, X[kept], y[kept], weight[kept], batch_size=16)
    np.testing.assert_allclose(totals, expected, rtol=1e-12)
    for found, other in zip(*map(flat, map(weights_of, (full, part))), strict=True):
        assert relative_distance(found, other) <= 1e-12


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_of_one_are_no_weights(backend, dtype):
    X, y, _ = make_data(30, 4, 3, dtype=dtype)
    weighted, plain = (make_engine(backend, dtype=dtype) for _ in range(2))
    totals = train(weighted, X, y, np.ones(30)), train(plain, X, y)
    assert same_bits(snapshot(weighted), snapshot(plain))
    assert same_bits(*totals)


@pytest.mark.parametrize("factor", [1e-60, 1e-3, 0.1, 1e60, 1e300])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_only_ratios_of_sample_weights_matter(backend, dtype, factor):
    X, y, weight = make_data(30, 4, 3, "weighted", dtype=dtype)
    scaled, plain = (make_engine(backend, dtype=dtype) for _ in range(2))
    totals = train(scaled, X, y, weight * factor), train(plain, X, y, weight)
    unit = {"float32": 1e-6, "float64": 1e-13}[dtype]
    np.testing.assert_allclose(totals[0] / factor, totals[1], rtol=unit)
    for found, other in zip(*map(flat, map(weights_of, (scaled, plain))), strict=True):
        assert relative_distance(found, other) <= 10 * unit
    sums = scaled.evaluate(X, y, weight * factor), scaled.evaluate(X, y, weight)
    np.testing.assert_allclose(np.divide(sums[0], factor), sums[1], rtol=1e-12)


def test_no_more_than_everything_is_correct(backend):
    # 0.1 is not a float32: the sum of correct rows must still be that of all rows.
    X, y = np.eye(4, dtype="f4"), np.arange(4)
    engine = make_engine(backend, (4, 4), dtype="float32", optimizer=SGD(1e-6))
    engine.set_weights([(np.eye(4, dtype="f4") * 9, np.zeros(4, "f4"))])
    totals = train(engine, X, y, np.full(4, 0.1))
    assert totals[2] == totals[1] == pytest.approx(0.4, rel=1e-15)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_slices_and_stored_gradients_change_no_bit(backend, name, dtype, fused):
    X, y, weight = make_data(45, 9, 5, "weighted", dtype=dtype)
    order = np.random.default_rng(2).permutation(45)
    whole, parts = (
        make_engine(backend, (9, 37, 5), dtype=dtype, optimizer=OPTIMIZERS[name])
        for _ in range(2)
    )
    totals = train(whole, X, y, weight, order, epochs=2, max_seconds=60)
    in_steps = train(parts, X, y, weight, order, epochs=2, max_seconds=0.0, fused=fused)
    assert same_bits(snapshot(whole), snapshot(parts))
    assert same_bits(totals, in_steps)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_gradients_of_more_rows_than_the_cache_holds(name):
    X, y, _ = make_data(1501, 1400, 3)
    whole, parts = (
        make_engine("native", (1400, 37, 3), optimizer=OPTIMIZERS[name])
        for _ in range(2)
    )
    for engine in (whole, parts):
        train(engine, X[:20], y[:20])  # the workspace grows after that
    train(whole, X, y, batch_size=1501, epochs=2)
    train(parts, X, y, batch_size=500, accumulate=4, epochs=2)
    assert same_bits(snapshot(whole), snapshot(parts))


def test_a_slice_of_no_time_is_one_step(backend):
    X, y, _ = make_data(20, 4, 3)
    engine, totals = make_engine(backend), np.zeros(3)
    engine.acquire()
    assert engine.train(X, y, None, None, 8, 0, totals, max_seconds=0.0) == 8
    assert engine.train(X, y, None, None, 8, 8, totals, max_seconds=0.0) == 16
    assert engine.train(X, y, None, None, 8, 16, totals, max_seconds=0.0) == 20
    assert engine.train(X, y, None, None, 8, 20, totals, max_seconds=0.0) == 20
    engine.release()
    assert engine.step == 3
    assert totals[1] == 20


def test_checked_labels_are_not_read_again():
    X = make_data(20, 4, 3)[0]
    engine, order = make_engine("native"), np.arange(20)
    engine.acquire()
    wrong = np.full(20, 1 << 40)
    with pytest.raises(ValueError, match=r"y\[0\] is 1099511627776"):
        engine.train(X, wrong, None, order, 8, 0, np.zeros(3))
    # Harmless where somebody wrote into them since they were checked.
    assert engine.train(X, wrong, None, order, 8, 0, np.zeros(3), checked=True) == 20
    # An order for data that have shrunk would not be.
    with pytest.raises(ValueError, match=r"order\[10\] is 10; expected a row of X"):
        engine.train(X[:10], wrong[:10], None, order, 8, 0, np.zeros(3), checked=True)
    engine.release()


def test_rows_in_place_and_gathered_are_the_same(backend):
    # Without an order the native engine reads X where it lies.
    X, y, _ = make_data(40, 9, 5)
    in_place, gathered = (make_engine(backend, (9, 17, 5)) for _ in range(2))
    totals = train(in_place, X, y), train(gathered, X, y, order=np.arange(40))
    assert same_bits(snapshot(in_place), snapshot(gathered))
    assert same_bits(*totals)


@pytest.mark.parametrize("n", [8, 9])
def test_rows_whole_pages_apart_are_the_same(backend, n):
    # More than eight of them are copied before they are multiplied.
    X, y, _ = make_data(n, 512, 3)
    apart = np.zeros((n, 520))
    apart[:, :512] = X
    engines = [make_engine(backend, (512, 17, 3)) for _ in range(2)]
    totals = [train(engines[0], X, y), train(engines[1], apart[:, :512], y)]
    assert same_bits(*map(snapshot, engines))
    assert same_bits(*totals)
    outputs = [engines[0].forward(rows) for rows in (X, apart[:, :512])]
    assert same_bits(*outputs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_in_place_and_converted_are_the_same(backend, dtype):
    # The native engine reads targets where they lie if they need no conversion.
    X, y, _ = make_data(16, 4, 3, "soft", dtype=dtype)
    swapped, strided = y.astype(y.dtype.newbyteorder()), y.repeat(2, axis=0)[::2]
    states = []
    for form in [y, y.tolist(), np.asfortranarray(y), swapped, strided]:
        engine = make_engine(backend, dtype=dtype, loss="mse")
        loss = engine.train_step(X, form)
        states.append([*snapshot(engine), np.float64(loss)])
    assert all(same_bits(state, states[0]) for state in states)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_value_that_is_not_finite_is_refused(backend, dtype, bad):
    X, y, _ = make_data(16, 4, 3, "soft", dtype=dtype)
    engine = make_engine(backend, dtype=dtype, loss="huber")
    before = snapshot(engine)
    y[15, 2] = bad
    for form in [y, y.repeat(2, axis=0)[::2]]:
        with pytest.raises(ValueError, match=r"y\[15, 2\] is .*expected finite values"):
            engine.train_step(X, form)
    assert same_bits(snapshot(engine), before)


def test_train_step_is_a_batch_of_train(backend):
    X, y, weight = make_data(16, 4, 3, "weighted")
    one, other = make_engine(backend), make_engine(backend)
    losses = [
        one.train_step(X[i : i + 8], y[i : i + 8], weight[i : i + 8]) for i in (0, 8)
    ]
    totals = train(other, X, y, weight)
    assert same_bits(snapshot(one), snapshot(other))
    sums = weight[:8].sum(), weight[8:].sum()
    assert losses[0] * sums[0] + losses[1] * sums[1] == pytest.approx(totals[0], 1e-14)


def test_gradients_and_predictions_change_nothing(backend):
    data = make_data(30, 4, 3)
    engine = make_engine(backend)
    train(engine, *data)
    before = snapshot(engine)
    engine.loss_and_gradients(*data)
    engine.forward(data[0])
    engine.predict_one(data[0][0])
    engine.evaluate(*data)
    engine.all_finite(data[0])
    assert same_bits(snapshot(engine), before)


def test_weights_and_state_are_copies_both_ways(backend):
    engine = make_engine(backend, optimizer="adam")
    engine.train_step(*make_data(8, 4, 3)[:2])
    before = snapshot(engine)
    for array in flat(engine.get_weights()):
        array[:] = 7
    for layer in engine.get_optimizer_state():
        for array in flat(layer.values()):
            array[:] = 7
    assert same_bits(snapshot(engine), before)
    given, state = engine.get_weights(), engine.get_optimizer_state()
    engine.set_weights(given)
    engine.set_optimizer_state(state)
    for array in [*flat(given), *(a for s in state for a in flat(s.values()))]:
        array[:] = 7
    assert same_bits(snapshot(engine), before)


def test_a_new_optimizer_keeps_a_state_of_the_same_names(backend):
    X, y, _ = make_data(8, 4, 3)
    engine = make_engine(backend, optimizer=SGD(0.1, 0.9))
    engine.train_step(X, y)
    state = engine.get_optimizer_state()
    engine.set_optimizer(SGD(0.2, 0.5, nesterov=True))
    assert same_bits(engine.get_optimizer_state(), state)
    assert engine.step == 1
    engine.set_optimizer(Adam())
    assert engine.step == 0
    assert set(engine.get_optimizer_state()[0]) == {"first_moment", "second_moment"}
    assert not any(
        a.any() for s in engine.get_optimizer_state() for a in s["first_moment"]
    )
    engine.set_optimizer(SGD(0.1))
    assert engine.get_optimizer_state() == [{}, {}]
    assert engine.plan.optimizer == SGD(0.1)


# Errors.


def test_training_needs_acquire(backend):
    X, y, _ = make_data(8, 4, 3)
    engine = make_engine(backend)
    with pytest.raises(RuntimeError, match="not acquired"):
        engine.train(X, y, None, None, 8, 0, np.zeros(3))
    with pytest.raises(RuntimeError, match="not acquired"):
        engine.release()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda e, X, y: e.forward(X, "log"), ValueError, "output must be .* 'log'"),
        (lambda e, X, y: e.forward(X[0]), ValueError, "X has 1 dimensions"),
        (lambda e, X, y: e.forward(X[:, :3]), ValueError, "X has 3 columns"),
        (lambda e, X, y: e.forward(X[:0]), ValueError, "X has no rows"),
        (lambda e, X, y: e.forward(X * 1j), TypeError, "X has dtype complex128"),
        (lambda e, X, y: e.predict_one(X), ValueError, r"x must have shape \(4,\)"),
        (lambda e, X, y: e.predict_one(X[0] * 1j), TypeError, "x has dtype complex"),
        (lambda e, X, y: e.predict_one(X[0] * np.nan), ValueError, r"x\[0, 0\] is nan"),
        (lambda e, X, y: e.train_step(X, y[:7]), ValueError, "y has 7 rows"),
        (lambda e, X, y: e.train_step(X, y + 1), ValueError, r"y\[\d\] is 3"),
        (lambda e, X, y: e.train_step(X, y, -y), ValueError, r"sample_weight\[\d\]"),
        (lambda e, X, y: e.evaluate(X, y, 0 * y), ValueError, "sample_weight sums to"),
        (lambda e, X, y: e.loss_and_gradients(X, y - 1), ValueError, r"y\[\d\] is -1"),
        (lambda e, X, y: e.train_step(X / 0.0, y), ValueError, r"X\[0, 0\] is -?inf"),
        (lambda e, X, y: e.evaluate(X * np.inf, y), ValueError, r"X\[0, 0\] is -?inf"),
        (lambda e, X, y: setattr(e, "step", 1.5), TypeError, "integer"),
        (lambda e, X, y: setattr(e, "step", -1), (ValueError, OverflowError), "-?1"),
        (lambda e, X, y: setattr(e, "num_threads", 0), ValueError, "num_threads"),
        (lambda e, X, y: setattr(e, "num_threads", "2"), TypeError, "num_threads"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_errors_name_the_argument_and_change_nothing(backend, call, error, message):
    X, y, _ = make_data(8, 4, 3)
    assert set(y) == {0, 1, 2}
    engine = make_engine(backend)
    before = snapshot(engine)
    with pytest.raises(error, match=message):
        call(engine, X, y)
    assert same_bits(snapshot(engine), before)
    engine.acquire()  # nothing is held
    engine.release()


def test_an_infinite_input_that_relu_hides_is_refused(backend):
    # -inf becomes 0 in the hidden layer, and the loss is finite.
    engine = make_engine(backend, (2, 3, 2))
    engine.set_weights(
        [(-np.ones((2, 3)), np.zeros(3)), (np.ones((3, 2)), np.zeros(2))]
    )
    X, y = np.array([[1.0, 1.0], [np.inf, 1.0]]), np.array([0, 1])
    before = snapshot(engine)
    for call in (
        lambda: engine.loss_and_gradients(X, y),
        lambda: engine.train_step(X, y),
        lambda: engine.evaluate(X, y),
        lambda: engine.forward(X),
        lambda: engine.predict_one(X[1]),
    ):
        with pytest.raises(ValueError, match=r"\[[01], 0\] is inf"):
            call()
    assert same_bits(snapshot(engine), before)


@pytest.mark.parametrize("what", ["X", "x", "y", "sample_weight"])
def test_masked_values_are_refused(backend, what):
    # Their buffer holds numbers nobody vouches for.
    X, y, _ = make_data(8, 4, 3)
    weight = np.ones(8)
    engine = make_engine(backend)
    before = snapshot(engine)

    def masked(array):
        return np.ma.masked_array(
            array, np.arange(array.size).reshape(array.shape) == 1
        )

    calls = {
        "X": [
            lambda: engine.train_step(masked(X), y),
            lambda: engine.loss_and_gradients(masked(X), y),
            lambda: engine.evaluate(masked(X), y),
            lambda: engine.forward(masked(X)),
        ],
        "x": [lambda: engine.predict_one(masked(X[0]))],
        "y": [
            lambda: engine.train_step(X, masked(y)),
            lambda: engine.evaluate(X, masked(y)),
        ],
        "sample_weight": [lambda: engine.train_step(X, y, masked(weight))],
    }
    for call in calls[what]:
        with pytest.raises(ValueError, match=f"^{what} has masked values"):
            call()
    assert same_bits(snapshot(engine), before)
    nothing_masked = np.ma.masked_array(X, False)
    assert same_bits(engine.forward(nothing_masked), engine.forward(X))


def test_out_must_be_an_array_of_its_own(backend):
    engine = make_engine(backend, (3, 3))
    room = np.zeros(6)
    x = room[:3]
    for out, error, message in [
        ([0.0] * 3, TypeError, "out must be .* got list"),
        (np.zeros(3, "f4"), TypeError, "out must be .* got float32"),
        (np.zeros(4), ValueError, r"out must be .* \(4,\)"),
        (np.zeros((3, 1)), ValueError, r"out must be .* \(3, 1\)"),
        (np.zeros(6)[::2], ValueError, "out must be C-contiguous"),
        (np.broadcast_to(0.0, 3), ValueError, "out must be C-contiguous"),
        (room[2:5], ValueError, "out must not share memory with x"),
        (x, ValueError, "out must not share memory with x"),
    ]:
        with pytest.raises(error, match=message):
            engine.predict_one(x, out)
    assert not room.any()
    out = room[3:]
    assert engine.predict_one(x, out) is out
    assert same_bits(out, engine.forward(x[np.newaxis])[0])


@pytest.mark.parametrize(
    "view",
    [
        lambda room: room[:6:2],
        lambda room: room[2::-1],
        lambda room: room[:3].view(">f8"),
        lambda room: room.view("f4")[1:4],
        lambda room: room.view("u1")[:3],
        lambda room: room.view("u1")[1:25].view("f8"),
        lambda room: room[:3].view(np.recarray),
        lambda room: memoryview(room[:3]),
        lambda room: np.broadcast_to(room[1:2], 3),
    ],
)
def test_out_must_be_apart_from_x_before_it_is_converted(backend, view):
    engine = make_engine(backend, (3, 3))
    room = np.zeros(9)
    with pytest.raises(ValueError, match="out must not share memory with x"):
        engine.predict_one(view(room), room[:3])
    assert not room.any()
    assert engine.predict_one(view(room), room[6:]) is not None
