"""MNIST and Fashion-MNIST: `FASTNN_DATA=... python -m pytest -m slow tests/recipes`."""

import contextlib
import os
import time
from pathlib import Path

import numpy as np
import pytest
from experiments import (
    TENTH,
    TORCH,
    UNIT,
    class_accuracy,
    dense_layers,
    half_mse_rate,
    one_hot,
    regressor,
)

from fastnn import (
    SGD,
    Adam,
    BatchNorm,
    Dense,
    LeakyReLU,
    Network,
    TrainingDiverged,
    datasets,
)
from fastnn.schedules import OneCycle

pytestmark = pytest.mark.slow

SCALE = 1 / 255


def load(name, loader):
    """Only from the folder of FASTNN_DATA: a test downloads nothing."""
    folder = os.environ.get("FASTNN_DATA")
    if not folder or not (Path(folder) / name).is_dir():
        pytest.skip(f"FASTNN_DATA names no folder with {name}")
    return loader()


@pytest.fixture(scope="module")
def mnist():
    return load("mnist", datasets.mnist)


@pytest.fixture(scope="module")
def fashion_mnist():
    return load("fashion_mnist", datasets.fashion_mnist)


def classifier(layers, optimizer, seed=0, scale=SCALE):
    return Network(layers, optimizer=optimizer, seed=seed, input_scale=scale)


def fit(net, X, y, epochs, batch_size, shuffle=True):
    """Some more epochs: fits in turn make the steps of one."""
    net.fit(X, y, epochs, batch_size, shuffle, verbose=0)
    return net


def test_sigmoids_by_regression(mnist, measured):
    layers = dense_layers([784, 50, 10], "sigmoid", "sigmoid", weights=TENTH)
    net = regressor(layers, SGD(half_mse_rate(0.2, 10)), 0, "float32")
    targets = one_hot(mnist.y_train, 10, "float32")
    scores = []
    for epochs in (1, 24):
        net.fit(mnist.X_train, targets, epochs, 20, input_scale=SCALE, verbose=0)
        scores.append(class_accuracy(net, mnist.X_test, mnist.y_test))
    mse = net.evaluate(mnist.X_test, one_hot(mnist.y_test, 10, "float32"))["loss"]
    cost = mse * 10 / 2
    measured(
        "A26",
        "ep1 .88-.91, ep25 >= .953, test cost <= .040",
        ep1=scores[0],
        ep25=scores[1],
        cost=cost,
    )
    assert 0.88 <= scores[0] <= 0.91
    assert scores[1] >= 0.953
    assert cost <= 0.040


def test_98_percent(mnist, measured):
    """The command of the README, seed by seed."""
    scores, seconds = [], []
    epochs, batch_size = 8, 128
    steps = -(-len(mnist.X_train) // batch_size) * epochs
    for seed in range(5):
        net = classifier([784, 128, 10], Adam(OneCycle(0.004, steps)), seed)
        start = time.perf_counter()
        fit(net, mnist.X_train, mnist.y_train, epochs, batch_size)
        seconds.append(time.perf_counter() - start)
        scores.append(net.score(mnist.X_test, mnist.y_test))
    measured(
        "98 %",
        "median >= .98; under 2 s on two cores of their own",
        scores=scores,
        median=float(np.median(scores)),
        seconds=seconds,
    )
    assert np.median(scores) >= 0.98


def test_cross_entropy(mnist, measured):
    first, last, losses = [], [], []
    for seed in range(3):
        net = classifier(
            dense_layers([784, 50, 10], "relu", weights=TENTH), SGD(0.04), seed
        )
        fit(net, mnist.X_train, mnist.y_train, 1, 32)
        first.append(net.score(mnist.X_test, mnist.y_test))
        fit(net, mnist.X_train, mnist.y_train, 19, 32)
        on_test = net.evaluate(mnist.X_test, mnist.y_test)
        last.append(on_test["accuracy"])
        losses.append(on_test["loss"])
    measured(
        "A27",
        "ep1 >= .905, ep20 >= .967, test CE <= .12 in 3/3",
        ep1=first,
        ep20=last,
        ce=losses,
    )
    assert min(first) >= 0.905
    assert min(last) >= 0.967
    assert max(losses) <= 0.12


def test_cross_entropy_from_he_weights(mnist, measured):
    scores = []
    for seed in range(3):
        net = classifier(dense_layers([784, 50, 10], "relu"), SGD(0.04), seed)
        fit(net, mnist.X_train, mnist.y_train, 20, 32)
        scores.append(net.score(mnist.X_test, mnist.y_test))
    measured("A27 He", "ep20 >= .970", ep20=scores)
    assert min(scores) >= 0.970


def test_leaky_relu_by_nesterovs_momentum(mnist, measured):
    leaky = LeakyReLU(0.1)
    layers = dense_layers(
        [784, 32, 16, 10], leaky, leaky, weights="lecun_normal", biases=UNIT
    )
    rule = SGD(half_mse_rate(1e-3, 10), momentum=0.9, nesterov=True)
    net = regressor(layers, rule, 0, "float32")
    targets = one_hot(mnist.y_train, 10, "float32")
    scores = []
    for epochs in (50, 50, 100):
        net.fit(mnist.X_train, targets, epochs, 200, input_scale=SCALE, verbose=0)
        scores.append(class_accuracy(net, mnist.X_test, mnist.y_test))
    confusion = np.zeros((10, 10), dtype=int)
    np.add.at(confusion, (mnist.y_test, net.predict(mnist.X_test).argmax(axis=1)), 1)
    measured(
        "A28",
        "ep50 >= .92, ep100 >= .935, ep200 >= .942",
        ep50=scores[0],
        ep100=scores[1],
        ep200=scores[2],
    )
    assert scores[0] >= 0.92
    assert scores[1] >= 0.935
    assert scores[2] >= 0.942
    assert confusion.sum(axis=1).tolist() == np.bincount(mnist.y_test).tolist()
    assert np.trace(confusion) == round(scores[2] * 10_000)


def test_one_sample_at_a_time(mnist, measured):
    tenth, last = [], []
    for seed in range(3):
        net = classifier(dense_layers([784, 15, 10, 10], "relu"), SGD(5e-4), seed)
        fit(net, mnist.X_train, mnist.y_train, 10, 1, shuffle=False)
        tenth.append(net.score(mnist.X_test, mnist.y_test))
        fit(net, mnist.X_train, mnist.y_train, 40, 1, shuffle=False)
        last.append(net.score(mnist.X_test, mnist.y_test))
    measured("A29", "ep10 >= .925, ep50 >= .935", ep10=tenth, ep50=last)
    assert min(tenth) >= 0.925
    assert min(last) >= 0.935


def adam_score(data, epochs):
    net = classifier(dense_layers([784, 128, 10], "relu"), Adam(1e-3))
    fit(net, data.X_train, data.y_train, epochs, 128)
    return net.score(data.X_test, data.y_test)


def test_adam(mnist, measured):
    score = adam_score(mnist, 5)
    measured("A30", "ep5 >= .968", ep5=score)
    assert score >= 0.968


def test_adam_on_fashion(fashion_mnist, measured):
    score = adam_score(fashion_mnist, 10)
    measured("A30 Fashion", "ep10 >= .86", ep10=score)
    assert score >= 0.86


def with_norm(activation):
    """A hidden layer of 50, normalised before its activation."""
    return [Dense(50, weight_init=TORCH), BatchNorm(activation)]


def without_norm(activation):
    return [Dense(50, activation, TORCH)]


def hidden_score(mnist, hidden, epochs, scale):
    """After training, which the network without normalisation may not survive."""
    net = classifier(
        [784, *hidden, Dense(10, weight_init=TORCH)], SGD(0.1), scale=scale
    )
    with contextlib.suppress(TrainingDiverged):
        fit(net, mnist.X_train, mnist.y_train, epochs, 128)
    return net.score(mnist.X_test, mnist.y_test)


def test_batch_norm_takes_raw_pixels(mnist, measured):
    normed = hidden_score(mnist, with_norm("relu"), 2, 1)
    plain = hidden_score(mnist, without_norm("relu"), 2, 1)
    measured("A31 raw", "with >= .93, without <= .20", normed=normed, plain=plain)
    assert normed >= 0.93
    assert plain <= 0.20


def test_batch_norm_trains_deep_sigmoids(mnist, measured):
    normed = hidden_score(mnist, with_norm("sigmoid") * 5, 3, SCALE)
    plain = hidden_score(mnist, without_norm("sigmoid") * 5, 3, SCALE)
    measured("A31 deep", "with >= .92, without <= .20", normed=normed, plain=plain)
    assert normed >= 0.92
    assert plain <= 0.20
