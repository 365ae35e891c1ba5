"""Clouds, moons and circles in the plane."""

import numpy as np
import pytest
from experiments import (
    TENTH,
    class_accuracy,
    dense_layers,
    half_mse_rate,
    one_hot,
    regressor,
)

from fastnn import SGD, Network, datasets


def split(x, y):
    """The first four fifths for training; the generators have mixed the rows."""
    at = len(x) * 4 // 5
    return (x[:at], y[:at]), (x[at:], y[at:])


def fit(net, x, y):
    net.fit(x, y, epochs=30, batch_size=50, verbose=0)
    return net


def cloud_net(n_classes, seed):
    layers = dense_layers([2, 4, n_classes], "sigmoid", "sigmoid", weights=TENTH)
    return regressor(layers, SGD(half_mse_rate(0.9, n_classes)), seed)


def accuracy_on_clouds(centers, seed):
    x, y = datasets.blobs(5000, centers, std=15, seed=seed)
    (x, y), (x_test, y_test) = split(x / 500, y)
    net = fit(cloud_net(3, seed), x, one_hot(y, 3))
    return class_accuracy(net, x_test, y_test)


def best_accuracy_on_clouds(centers):
    """Of round clouds of one size, the nearest centre is the most probable."""
    x, y = datasets.blobs(100_000, centers, std=15, seed=1000)
    distances = np.linalg.norm(x[:, None] - np.array(centers), axis=2)
    return (distances.argmin(axis=1) == y).mean()


def test_clouds_apart(measured):
    centers = [(100, 100), (400, 150), (250, 400)]
    accuracies = [accuracy_on_clouds(centers, seed) for seed in range(5)]
    measured("A23", "test >= .995 in 5/5", test=accuracies)
    assert min(accuracies) >= 0.995


def test_clouds_anywhere(measured):
    """Centres as scikit-learn's make_blobs draws them for random_state = seed."""
    lag = []
    for seed in range(10):
        centers = np.random.RandomState(seed).uniform(0, 500, (3, 2))
        lag.append(best_accuracy_on_clouds(centers) - accuracy_on_clouds(centers, seed))
    measured("A23 random", "test >= Bayes - .12 in 9/10", behind=lag)
    # In 9 of 10: four sigmoids do not part every three clouds from every start; an
    # independent NumPy net is up to .28 behind, over 20 starts at one set of centres.
    assert sum(each <= 0.12 for each in lag) >= 9


def plane_classifier(rate, seed):
    return Network(
        dense_layers([2, 16, 2], "relu"),
        optimizer=SGD(rate),
        dtype="float64",
        seed=seed,
    )


def test_moons(measured):
    accuracies = []
    for seed in range(3):
        x, y = datasets.moons(7500, noise=0.075, seed=seed)
        train, test = split(x / 2, y)
        accuracies.append(fit(plane_classifier(0.5, seed), *train).score(*test))
    measured("A24", "test >= .99 in 3/3", test=accuracies)
    assert min(accuracies) >= 0.99


def test_moons_with_four_sigmoids_stay_linear(measured):
    accuracies = []
    for seed in range(3):
        x, y = datasets.moons(7500, noise=0.075, seed=seed)
        (x, y), (x_test, y_test) = split(x / 2, y)
        net = fit(cloud_net(2, seed), x, one_hot(y, 2))
        accuracies.append(class_accuracy(net, x_test, y_test))
    measured("A24 sigmoid", "about .889", test=accuracies)
    assert 0.86 <= min(accuracies)
    assert max(accuracies) <= 0.92


def accuracy_on_circles(rate, seed, prepare=lambda x: x):
    x, y = datasets.circles(5000, noise=0.06, factor=0.1, seed=seed)
    train, test = split(prepare(x), y)
    return fit(plane_classifier(rate, seed), *train).score(*test)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_circles(measured, rate):
    accuracies = [accuracy_on_circles(rate, seed) for seed in range(3)]
    measured(f"A25 rate {rate}", "test >= .99", test=accuracies)
    assert min(accuracies) >= 0.99


def test_circles_squeezed_far_from_the_origin(measured):
    """All coordinates in .8 to 1.2: the inputs hardly differ, and nothing is learnt."""
    accuracies = [
        accuracy_on_circles(0.5, seed, lambda x: (x + 5) / 5) for seed in range(3)
    ]
    measured("A25 squeezed", "test about .50", test=accuracies)
    assert max(accuracies) <= 0.60
