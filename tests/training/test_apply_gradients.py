"""An update by gradients that were worked out before: `Network.apply_gradients`."""

import numpy as np
import pytest

import fastnn
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
    Network,
    RMSprop,
    Scale,
    schedules,
)

OPTIMIZERS = {
    "sgd": SGD(0.05),
    "momentum": SGD(0.05, 0.9),
    "nesterov": SGD(0.05, 0.9, nesterov=True),
    "rmsprop": RMSprop(1e-3),
    "adagrad": AdaGrad(1e-2),
    "adam": Adam(1e-2),
    "adamw": AdamW(1e-2, weight_decay=0.1),
    "nadam": NAdam(1e-2),
    "lion": Lion(1e-3),
    "penalties": Adam(1e-2, l1=1e-3, l2=1e-2),
    "clipped": SGD(0.05, clip_norm=0.1, clip_value=0.05, max_norm=0.9),
    "scheduled": Adam(schedules.Exponential(1e-2, 2)),
    "scheduled decay": AdamW(1e-2, weight_decay=schedules.Exponential(0.9, 2)),
}


def layers():
    return [
        7,
        Scale(),
        Dense(33, "relu"),
        BatchNorm("gelu"),
        Dropout(0.3),
        Dense(17, "tanh"),
        LayerNorm(),
        Dense(5, trainable=False),
        Dense(3),
    ]


def everything(net):
    engine = net._model.engine
    arrays = [each for pair in engine.get_weights() for each in pair]
    arrays += [each for pair in engine.get_statistics() if pair for each in pair]
    for state in engine.get_optimizer_state():
        arrays += [each for pair in state.values() for each in pair]
    return engine.step, [each.tobytes() for each in arrays]


@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_it_has_the_bits_of_train_on_batch(optimizer, backend):
    rng = np.random.default_rng(0)
    one, other = (
        Network(layers(), optimizer=OPTIMIZERS[optimizer], seed=0, backend=backend)
        for _ in range(2)
    )
    for _ in range(4):
        X, y = rng.standard_normal((21, 7)), rng.integers(0, 3, 21)
        weight = rng.random(21)
        expected = one.train_on_batch(X, y, weight)
        loss, gradients = other.loss_and_gradients(X, y, weight)
        other.apply_gradients(gradients)
        assert loss == expected
        assert everything(one) == everything(other)


@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_statistics_that_were_set_or_trained_since_stay(backend):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((21, 7)), rng.integers(0, 3, 21)
    net = Network(layers(), seed=0, backend=backend)

    def statistics():
        return [
            each.copy()
            for pair in net._model.engine.get_statistics()
            if pair
            for each in pair
        ]

    _, gradients = net.loss_and_gradients(X, y)
    net.train_on_batch(X + 1, y)
    before = statistics()
    net.apply_gradients(gradients)
    net.apply_gradients(gradients)
    np.testing.assert_array_equal(statistics(), before)
    assert net._model.engine.step == 3


@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_what_does_not_fit_changes_nothing(backend):
    net = Network([4, Dense(8, "relu", use_bias=False), 3], seed=0, backend=backend)
    _, gradients = net.loss_and_gradients(np.eye(4), [0, 1, 2, 0])
    before = everything(net)
    (dW, db), last = gradients
    for bad, error, message in (
        ([(dW, db)], ValueError, "gradients has 1 entries; expected 2 pairs"),
        ([(dW.T, db), last], ValueError, r"W of gradients\[0\] has shape \(8, 4\)"),
        ([(dW, db + 1), last], ValueError, r"b of gradients\[0\] has values other"),
        ([(dW * np.nan, db), last], ValueError, r"W of gradients\[0\]"),
        (3, TypeError, "gradients must be a list"),
    ):
        with pytest.raises(error, match=message):
            net.apply_gradients(bad)
        assert everything(net) == before
    huge = [(np.full_like(dW, 3e38), db), last]
    diverging = Network([4, Dense(8, "relu", use_bias=False), 3], optimizer=SGD(1e30),
                        seed=0, backend=backend)  # fmt: skip
    before = everything(diverging)
    with pytest.raises(fastnn.TrainingDiverged):
        diverging.apply_gradients(huge)
    assert everything(diverging) == before


def test_two_halves_are_the_whole():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((64, 7)), rng.integers(0, 3, 64)
    one, other = (
        Network([7, 16, 3], seed=0, dtype="float64", optimizer=SGD(0.1))
        for _ in range(2)
    )
    for _ in range(3):
        one.train_on_batch(X, y)
        halves = [other.loss_and_gradients(X[i::2], y[i::2])[1] for i in range(2)]
        other.apply_gradients(
            [((V + W) / 2, (a + b) / 2) for (V, a), (W, b) in zip(*halves, strict=True)]
        )
    for pair, twin in zip(one.get_weights(), other.get_weights(), strict=True):
        for a, b in zip(pair, twin, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
