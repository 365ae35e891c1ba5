"""Layers that are frozen and trained again after a network was made."""

import numpy as np
import pytest
from engines import data_for, make_engine, snapshot, train
from helpers import same_bits, training_state

import fastnn
from fastnn import Adam, BatchNorm, Dense, Dropout, Network, Scale

LAYERS = [
    6,
    Scale(),
    Dense(19, use_bias=False),
    BatchNorm("gelu"),
    Dropout(0.2),
    Dense(9, "tanh"),
    Dense(3),
]
PARAMETRIC = (0, 1, 2, 4, 5)


def problem(n=50, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 6)), rng.integers(3, size=n)


def make(backend, **arguments):
    return Network(LAYERS, optimizer=Adam(0.01), backend=backend, seed=3, **arguments)


def fit(net, epochs=2):
    net.fit(*problem(), epochs=epochs, batch_size=16, verbose=0)
    return net


@pytest.mark.parametrize("frozen", [(0,), (2,), (0, 1, 2), (4, 5), (1, 4), PARAMETRIC])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_layer_frozen_later_is_one_that_always_was(backend, frozen, dtype):
    flags = [i not in frozen for i in range(len(LAYERS) - 1)]
    trained, late, always = (make_engine(backend, LAYERS, dtype=dtype) for _ in "123")
    data = data_for(trained, 40)
    for engine in (trained, late):
        train(engine, *data, epochs=2)
    late.set_trainable(flags)
    assert same_bits(snapshot(late), snapshot(trained))
    always.set_trainable(flags)
    always.set_trainable([True] * len(flags))
    always.set_trainable(flags)
    always.set_weights(trained.get_weights())
    always.set_optimizer_state(trained.get_optimizer_state())
    always.set_statistics(trained.get_statistics())
    always.step = trained.step
    loss, gradients = late.loss_and_gradients(*data)
    for index, pair in zip(PARAMETRIC, gradients, strict=True):
        assert pair[0].any() == (index not in frozen)
    assert always.loss_and_gradients(*data)[0] == loss
    for engine in (late, always):
        train(engine, *data, epochs=2)
    assert same_bits(snapshot(late), snapshot(always))
    for index, new, old in zip(
        PARAMETRIC, late.get_weights(), trained.get_weights(), strict=True
    ):
        assert same_bits(new, old) == (index in frozen)
    assert same_bits(late.forward(data[0]), always.forward(data[0]))


def test_lanes_agree_after_freezing_and_unfreezing():
    nets = [make(backend, dtype="float64") for backend in ("native", "numpy")]
    for net in nets:
        fit(net)
        net.freeze(1, 2)
        fit(net)
        net.unfreeze()
        net.freeze(-1)
        fit(net)
    for native, numpy in zip(*(net.get_weights() for net in nets), strict=True):
        for a, b in zip(native, numpy, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_the_state_of_the_optimizer_stays(backend):
    net = fit(make(backend))
    before = net._model.engine.get_optimizer_state()
    net.freeze(0, 1, 2)
    fit(net)
    after = net._model.engine.get_optimizer_state()
    assert [same_bits(*pair) for pair in zip(after, before, strict=True)] == [
        True, True, True, False, False
    ]  # fmt: skip
    assert net.step == 2 * 2 * 4


def test_files_keep_what_is_frozen(backend, tmp_path):
    net = fit(make(backend))
    net.freeze(1, -1)
    net.save(tmp_path / "net")
    same = Network.load(tmp_path / "net", backend=backend)
    assert same.plan == net.plan
    assert [layer.trainable for layer in same.plan.layers if layer.has_parameters] == [
        True, False, True, True, False
    ]  # fmt: skip
    assert same_bits(training_state(fit(same)), training_state(fit(net)))


def test_none_stands_for_all(backend):
    net = make(backend)
    before = net.get_weights()
    net.freeze()
    fit(net)
    assert same_bits(net.get_weights(), before)
    net.unfreeze()
    assert net.plan.layers == make(backend).plan.layers


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ((0, 6), ValueError, r"layers\[1\] must be an integer from -6 to 5, got 6"),
        ((-7,), ValueError, r"layers\[0\] must be an integer from -6 to 5"),
        (("dense",), TypeError, r"layers\[0\] must be an integer"),
        ((0, 3), ValueError, r"layers\[1\] is 3, but layer 3 is Dropout.*no param"),
        ((0, -3), ValueError, r"layers\[1\] is -3, but layer 3 is Dropout.*no param"),
    ],
)
def test_wrong_layers_are_named(backend, layers, error, message):
    net = make(backend)
    with pytest.raises(error, match=message):
        net.freeze(*layers)
    assert net.plan.layers == make(backend).plan.layers


def test_a_callback_may_freeze(backend):
    class Freeze(fastnn.Callback):
        def on_epoch_end(self, epoch, logs):
            self.network.freeze(0)  # by the thread that trains

    net = make(backend)
    net.fit(*problem(), epochs=2, verbose=0, callbacks=[Freeze()])
    assert not net.plan.layers[0].trainable
