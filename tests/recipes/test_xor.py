"""Exclusive or: the smallest problem that needs a hidden layer."""

import numpy as np
from experiments import (
    SEEDS,
    UNIT,
    count,
    dense_layers,
    fit_full_batch,
    half_mse_rate,
    regressor,
)

from fastnn import SGD, Adam, Callback, LeakyReLU, Network, datasets


class StopBelow(Callback):
    """End the training after the first epoch whose loss is below a bound."""

    def __init__(self, bound):
        self.bound = bound

    def on_epoch_end(self, epoch, logs):
        self.network.stop_training = logs["loss"] < self.bound


def test_xor_by_regression_with_early_stop(measured):
    leaky = LeakyReLU(0.1)
    solved_at, failed = [], []
    for seed in SEEDS:
        x, y = datasets.xor(10_000, seed=seed)
        layers = dense_layers(
            [2, 8, 1], leaky, leaky, weights="lecun_normal", biases=UNIT
        )
        rule = SGD(half_mse_rate(0.1), momentum=0.9, nesterov=True)
        net = regressor(layers, rule, seed)
        history = net.fit(
            x[:3000],
            y[:3000, None],
            epochs=100,
            batch_size=200,
            callbacks=[StopBelow(1e-4)],
            verbose=0,
        )
        share = ((net.predict(x[3000:])[:, 0] > 0.5) == y[3000:]).mean()
        if share == 1.0:
            solved_at.append(len(history.epochs))
        else:
            failed.append(share)
    measured(
        "A14",
        "test 1.0 in >= 8/10, those stopped before epoch 40",
        nets=len(solved_at),
        epochs=solved_at,
        failures=f"{[round(float(share), 4) for share in failed]}",
    )
    assert len(solved_at) >= 8
    assert max(solved_at) < 40


def test_four_points_with_tanh(measured):
    x, y = datasets.xor()
    right = []
    for seed in SEEDS:
        net = Network(
            dense_layers([2, 8, 1], "tanh", weights="glorot_normal"),
            loss="binary_cross_entropy",
            optimizer=Adam(0.05),
            dtype="float64",
            seed=seed,
        )
        fit_full_batch(net, x, y, 1000)
        right.append(count(net.predict(x) == y))
    measured("A15 tanh", "4/4 in 10/10", right=right)
    assert min(right) == 4


def test_four_points_with_two_sigmoids(measured):
    """Two hidden units have local minima: not every start ends well."""
    x, y = datasets.xor()
    solved = 0
    for seed in SEEDS:
        layers = dense_layers([2, 2, 1], "sigmoid", "sigmoid", weights=UNIT)
        net = regressor(layers, SGD(half_mse_rate(2.0)), seed)
        fit_full_batch(net, x, y[:, None], 5000)
        solved += np.array_equal(net.predict(x)[:, 0] > 0.5, y == 1)
    measured("A15 sigmoid", "4/4 in >= 6/10", nets=solved)
    assert solved >= 6
