"""The native engine against the reference, after one step and after a hundred."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from activations import ACTIVATIONS
from cases import factors
from engines import (
    ENGINES,
    arrays_of,
    data_for,
    flat,
    losses_of,
    make_engine,
    relative_distance,
    snapshot,
    train,
)
from helpers import same_bits
from samples import EXTRAS, LOSSES, NETWORKS, OPTIMIZERS, SCHEDULES

from fastnn import SGD, BatchNorm, Dense, Dropout, LayerNorm
from fastnn.layers import LAYERS
from fastnn.optimizers import OPTIMIZERS as OPTIMIZER_NAMES
from fastnn.schedules import SCHEDULES as SCHEDULE_NAMES
from fastnn.schedules import Constant, CosLog, FlatCosine, Warmup

pytestmark = pytest.mark.filterwarnings("ignore:.*expects raw outputs:UserWarning")

FLOATS = ["float32", "float64"]
STATES = {"float32": 1e-4, "float64": 1e-10}  # relative, of each array
CURVES = {"float32": 1e-4, "float64": 1e-8}  # of each loss of a hundred

# In float32 the rest takes long and finds the same.
EXTRAS_AND_FLOATS = [
    pytest.param(
        extra,
        dtype,
        marks=[pytest.mark.slow]
        if dtype == "float32" and extra not in ("plain", "all")
        else [],
    )
    for extra, dtype in itertools.product(EXTRAS, FLOATS)
]


def pair_of_engines(layers, **arguments):
    return [make_engine(backend, layers, **arguments) for backend in ENGINES]


def distances(both):
    """Of all arrays of the native engine's state from the reference's."""
    native, numpy = (arrays_of(snapshot(engine)) for engine in both)
    assert [(a.dtype, a.shape) for a in native] == [(a.dtype, a.shape) for a in numpy]
    return [relative_distance(n, e) for n, e in zip(native, numpy, strict=True)]


def compare(layers, name, dtype, weighted=True, **arguments):
    """Train both lanes for 100 steps; returns the native engine."""
    both = pair_of_engines(layers, loss=LOSSES[name][0], dtype=dtype, **arguments)
    data = data_for(both[0], 70, name, weighted=weighted)
    curves = []
    for steps in (1, 100):
        curves.append([losses_of(engine, data, steps) for engine in both])
        assert max(distances(both)) <= STATES[dtype], steps
    native, numpy = map(np.concatenate, zip(*curves, strict=True))
    assert len(native) == 100
    np.testing.assert_allclose(native, numpy, rtol=CURVES[dtype], atol=CURVES[dtype])
    X = data[0]
    for output in ("logits", "values"):
        found, expected = (engine.forward(X, output) for engine in both)
        assert relative_distance(found, expected) <= STATES[dtype]
    if both[0].plan.loss.is_classifier:  # of two numbers as close as that, either
        native, numpy = (engine.forward(X, "labels") for engine in both)
        assert native.dtype == numpy.dtype == np.int64
        assert native.shape == numpy.shape
        assert (native != numpy).sum() <= (0 if dtype == "float64" else 1)
    sums = [engine.evaluate(*data) for engine in both]
    np.testing.assert_allclose(*sums, rtol=STATES[dtype], atol=STATES[dtype])
    return both[0]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_activations_and_losses(activation, name, dtype):
    layers = [4, Dense(19, activation), Dense(LOSSES[name][1], activation)]
    rate = 0.005 if name == "poisson" else 0.02  # it is exp that learns
    compare(layers, name, dtype, optimizer=SGD(rate))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("optimizer", [SGD(0.01, 0.9), OPTIMIZERS["adam"]])
def test_networks(layers, dtype, optimizer):
    compare(layers, "softmax_cross_entropy", dtype, optimizer=optimizer)


@pytest.mark.parametrize(("extra", "dtype"), EXTRAS_AND_FLOATS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name, extra, dtype):
    optimizer = replace(OPTIMIZERS[name], **EXTRAS[extra])
    layers = [4, Dense(19, "tanh"), Dense(5, "gelu"), Dense(3)]
    compare(layers, "softmax_cross_entropy", dtype, optimizer=optimizer)


@pytest.mark.parametrize("extra", ["plain", "all"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_factors(name, extra):
    optimizer = replace(OPTIMIZERS[name], weight_decay=0.1)
    optimizer = replace(optimizer, **EXTRAS[extra])
    layers = factors((4, 19, 5, 3), optimizer)
    engine = compare(layers, "softmax_cross_entropy", "float64", optimizer=optimizer)
    before = make_engine("native", layers, optimizer=optimizer).get_weights()
    for pair, old, index in zip(
        engine.get_weights(), before, engine.plan.parametric_layers, strict=True
    ):
        for i, each in enumerate(engine.plan.layers[index].factors):
            moves = each.rate > 0 and old[i].any()
            assert (pair[i] != old[i]).any() == moves


@pytest.mark.parametrize("rate", [0.25, 4.0])
def test_a_factor_of_the_rate_is_another_rate(backend, rate):
    weights = []
    for factor, optimizer in ((rate, SGD(0.01, 0.9)), (1.0, SGD(0.01 * rate, 0.9))):
        layers = [4, *(Dense(n, "tanh", rate_factors=factor) for n in (19, 3))]
        engine = make_engine(backend, layers, optimizer=optimizer)
        losses_of(engine, data_for(engine, 70), 5)
        weights.append(flat(engine.get_weights()))
    assert same_bits(*weights)


@pytest.mark.parametrize("extra", EXTRAS)
def test_extras_with_every_kind_of_layer(extra):
    optimizer = replace(OPTIMIZERS["momentum"], **EXTRAS[extra])
    compare(
        NETWORKS["everything"], "softmax_cross_entropy", "float64", optimizer=optimizer
    )


@pytest.mark.parametrize("name", ["nesterov", "adamw", "lion"])
def test_schedules_of_the_decay(name):
    decay = FlatCosine(3.0, 60)
    optimizer = replace(OPTIMIZERS[name], weight_decay=decay)
    layers = [4, Dense(19, "tanh", decay_factors=(0.5, 2)), Dense(3)]
    compare(layers, "softmax_cross_entropy", "float64", optimizer=optimizer)


@pytest.mark.parametrize("fused", [True, False])
def test_a_schedule_says_what_a_number_would(backend, fused):
    """Of decay and dropout, update by update; also in `loss_and_gradients`."""
    decay, rate = FlatCosine(3.0, 9), CosLog(0.6, 11, 2)

    def layers(rate):
        return [4, Dense(19, "tanh"), Dropout(rate), Dense(3)]

    optimizer = OPTIMIZERS["adamw"]
    by_schedule = make_engine(
        backend, layers(rate), optimizer=replace(optimizer, weight_decay=decay)
    )
    data = data_for(by_schedule, 50)
    gradients = by_schedule.loss_and_gradients(*data)
    by_number = make_engine(backend, layers(rate(0)), optimizer=optimizer)
    assert same_bits(gradients[1], by_number.loss_and_gradients(*data)[1])
    train(by_schedule, *data, batch_size=4, fused=fused)
    for step in range(13):
        now = replace(optimizer, weight_decay=decay(step))
        one = make_engine(backend, layers(rate(step)), optimizer=now)
        one.set_weights(by_number.get_weights())
        one.set_optimizer_state(by_number.get_optimizer_state())
        one.step = step
        one.train_step(*(each[4 * step : 4 * step + 4] for each in data[:2]))
        by_number = one
    assert same_bits(snapshot(by_number), snapshot(by_schedule))


def test_a_schedule_that_drops_everything(backend):
    with pytest.raises(ValueError, match="rate of update 0 must be a number >= 0 and"):
        Dropout(Constant(1.0))
    rising = Warmup(Constant(1.0), 5, 0.5)
    engine = make_engine(backend, [4, Dropout(rising), Dense(3)])
    data = data_for(engine, 8)
    for _ in range(5):
        engine.train_step(*data)
    weights = engine.get_weights()
    with pytest.raises(ValueError, match=r"layers\[0\]: .* rate 1.0 at update 5"):
        engine.train_step(*data)
    assert same_bits(engine.get_weights(), weights)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("name", ["nesterov", "adamw"])
def test_schedules(name, schedule, dtype):
    optimizer = OPTIMIZERS[name]
    if "adam" in name:  # whose rates are smaller
        schedule = SCHEDULE_NAMES["scaled"](schedule, 0.1)
    optimizer = replace(optimizer, learning_rate=schedule)
    compare(
        [4, Dense(19, "tanh"), 3], "softmax_cross_entropy", dtype, optimizer=optimizer
    )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("norm", "size"),
    [
        *itertools.product([BatchNorm(), LayerNorm()], [1e-30, 1e-10, 1e10, 1e17]),
        (LayerNorm(), 1e25),  # a running variance of that would be infinite
    ],
)
def test_norms_of_other_magnitudes(norm, size, dtype):
    # Also where the square of a float32 would overflow: statistics are in float64.
    both = pair_of_engines([5, norm, Dense(3)], dtype=dtype, optimizer=SGD(0.01))
    X, y, _ = data_for(both[0], 20)
    X *= X.dtype.type(size)
    losses = [engine.train_step(X, y) for engine in both]
    assert losses[0] == pytest.approx(losses[1], rel=STATES[dtype])
    assert max(distances(both)) <= STATES[dtype]
    found, expected = (engine.forward(X, "logits") for engine in both)
    assert relative_distance(found, expected) <= STATES[dtype]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("layers", [NETWORKS["dropout"], NETWORKS["everything"]])
def test_accumulated_mini_batches(layers, weighted, accumulate, dtype):
    # 53 rows: 7 mini-batches of 8 or less, so that the last group is short twice.
    optimizer = replace(OPTIMIZERS["momentum"], learning_rate=SCHEDULES["cosine"])
    both = pair_of_engines(layers, dtype=dtype, optimizer=optimizer)
    data = data_for(both[0], 53, weighted=weighted)
    order = np.random.default_rng(1).permutation(53)
    totals = [
        train(engine, *data, order, epochs=12, accumulate=accumulate) for engine in both
    ]
    assert both[0].step == both[1].step == 12 * -(-7 // accumulate)
    assert max(distances(both)) <= STATES[dtype]
    np.testing.assert_allclose(*totals, rtol=CURVES[dtype])


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_a_group_is_one_mini_batch_of_all_its_rows(backend, schedule):
    # Also of its dropout, and of its number in the schedule. Batch norms differ.
    layers = [5, Dropout(0.3), Dense(19, "relu"), Dense(3)]
    optimizer = replace(OPTIMIZERS["momentum"], learning_rate=schedule)
    parts, whole = (make_engine(backend, layers, optimizer=optimizer) for _ in range(2))
    data = data_for(parts, 53, weighted=True)
    sums = [
        train(parts, *data, batch_size=8, accumulate=3, epochs=3),
        train(whole, *data, batch_size=24, epochs=3),
    ]
    np.testing.assert_allclose(*sums, rtol=1e-12)
    assert parts.step == whole.step == 9
    for found, expected in zip(
        *map(arrays_of, map(snapshot, (parts, whole))), strict=True
    ):
        assert relative_distance(found, expected) <= 1e-12


@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_mini_batches_of_one_row(layers):
    # A batch norm then makes its shift of everything.
    both = pair_of_engines(layers, optimizer=SGD(0.05, 0.9))
    data = data_for(both[0], 20)
    totals = [train(engine, *data, batch_size=1) for engine in both]
    assert max(distances(both)) <= 1e-10
    np.testing.assert_allclose(*totals, rtol=1e-10)


@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_mini_batches_and_groups_without_weight(accumulate):
    # Whatever the former count for, the latter count for nothing.
    both = pair_of_engines(NETWORKS["everything"], optimizer=OPTIMIZERS["nadam"])
    X, y, weight = data_for(both[0], 80, weighted=True)
    weight[16:24] = 0
    weight[32:56] = 0
    totals = [train(e, X, y, weight, accumulate=accumulate, epochs=2) for e in both]
    assert both[0].step == both[1].step == {1: 12, 2: 8, 3: 8}[accumulate]
    assert max(distances(both)) <= 1e-10
    np.testing.assert_allclose(*totals, rtol=1e-10)


# What is compared above is of use only if it happens.


def test_everything_is_compared():
    kinds = {type(layer) for layers in NETWORKS.values() for layer in layers[1:]}
    assert kinds - {int} == {*LAYERS.values()}
    assert {s.name for s in SCHEDULES.values()} == {*SCHEDULE_NAMES}
    rules = {type(o) for o in OPTIMIZERS.values()}
    assert rules == {*OPTIMIZER_NAMES.values()} - {OPTIMIZER_NAMES["lbfgs"]}


@pytest.mark.parametrize("extra", [e for e in EXTRAS if e != "plain"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_extras_make_a_difference(name, extra):
    # More than what the lanes may differ by, after one step or within ten.
    layers = [4, Dense(19, "tanh"), Dense(5, "gelu"), Dense(3)]
    results = []
    for arguments in ({**EXTRAS[extra]}, {}):
        plain = OPTIMIZERS[name]
        if extra in ("weight_decay", "all"):
            arguments = {"weight_decay": 0.0, **arguments}
        engine = make_engine("native", layers, optimizer=replace(plain, **arguments))
        losses_of(engine, data_for(engine, 70, weighted=True), 10)
        results.append(arrays_of(snapshot(engine)))
    assert max(itertools.starmap(relative_distance, zip(*results, strict=True))) > 1e-3


def test_frozen_layers_stay(backend):
    for name in ("frozen dense", "frozen above", "frozen norms", "everything"):
        engine = make_engine(backend, NETWORKS[name], optimizer=OPTIMIZERS["adamw"])
        before = engine.get_weights()
        statistics = engine.get_statistics()
        losses_of(engine, data_for(engine, 70), 10)
        plan = engine.plan
        moved = 0
        for i, old, new in zip(
            plan.parametric_layers, before, engine.get_weights(), strict=True
        ):
            if not plan.layers[i].trainable:
                assert same_bits(old, new)
            else:
                moved += 1
                assert not same_bits(old[0], new[0])
                has_bias = getattr(plan.layers[i], "use_bias", True)
                assert same_bits(old[1], new[1]) != has_bias
        assert moved
        for i, (old, new) in enumerate(
            zip(statistics, engine.get_statistics(), strict=True)
        ):
            if old is not None:
                assert same_bits(old, new) != plan.layers[i].trainable


def test_a_frozen_layer_has_no_part_in_the_norm_of_all(backend):
    # With the gradient of the frozen layer it would be ten times as large.
    layers = [5, Dense(19, "tanh", trainable=False), Dense(3)]
    engine = make_engine(backend, layers, optimizer=SGD(1.0))
    X, y, _ = data_for(engine, 40)
    norm = np.linalg.norm(
        np.concatenate([g.ravel() for g in engine.loss_and_gradients(X, y)[1][1]], None)
    )
    for limit, factor in ((norm * 1.001, 1.0), (norm / 2, 0.5)):
        clipped = make_engine(backend, layers, optimizer=SGD(1.0, clip_norm=limit))
        clipped.train_step(X, y)
        plain = make_engine(backend, layers, optimizer=SGD(factor))
        plain.train_step(X, y)
        for found, expected in zip(
            *(flat(e.get_weights()) for e in (clipped, plain)), strict=True
        ):
            assert relative_distance(found, expected) <= 1e-14


@pytest.mark.parametrize("after", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("before", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_change_of_the_optimizer(before, after):
    # State of the same names is kept, with its step; else it starts afresh.
    both = pair_of_engines([4, Dense(9, "tanh"), 3], optimizer=before)
    data = data_for(both[0], 70)
    for engine in both:
        losses_of(engine, data, 8)
        engine.set_optimizer(after)
    assert both[0].step == both[1].step
    assert both[0].step == 8 * (before.state_names == after.state_names)
    for engine in both:
        losses_of(engine, data, engine.step + 8)
    assert max(distances(both)) <= 1e-10


def test_a_row_without_weight_may_be_infinite():
    both = pair_of_engines([1, Dense(1)], loss=LOSSES["poisson"][0])
    X, y = np.array([[1.0], [2.0], [1e3]]), np.ones((3, 1))
    for engine in both:
        engine.set_weights([(np.ones((1, 1)), np.zeros(1))])
    weight = np.array([1.0, 1.0, 0.0])
    sums = [engine.evaluate(X, y, weight) for engine in both]
    np.testing.assert_allclose(*sums, rtol=1e-12)
    losses = [engine.train_step(X, y, weight) for engine in both]
    assert np.isfinite(losses).all()
    assert max(distances(both)) <= 1e-10


def test_columns_whose_squares_overflow_are_limited():
    both = pair_of_engines(
        [2, Dense(1)], loss="mse", optimizer=SGD(1e-30, max_norm=1.0)
    )
    for engine in both:
        engine.set_weights([(np.array([[3e200], [4e200]]), np.zeros(1))])
        engine.train_step(np.zeros((1, 2)), np.zeros((1, 1)))
        W = engine.get_weights()[0][0]
        np.testing.assert_allclose(W, [[0.6], [0.8]], rtol=1e-12)
