"""Three spiral arms, 100 points each: slow for plain gradient descent.

On fresh points no classifier exceeds about .910, because the arms overlap.
"""

from statistics import median
from typing import NamedTuple

import pytest
from experiments import HE, HUNDREDTH, dense_layers, fit_full_batch, fresh_spirals

from fastnn import SGD, Adam, Network, datasets
from fastnn.schedules import InverseTime

FIVE = range(5)


class Result(NamedTuple):
    accuracy: float
    loss: float
    fresh: float


class Spiral:
    """A network 2-64-3 on the spiral of its seed."""

    def __init__(self, optimizer, seed, weights=HUNDREDTH, n_per_class=100):
        self.seed = seed
        self.rows = datasets.spirals(n_per_class, seed=seed)
        self.net = Network(
            dense_layers([2, 64, 3], "relu", weights=weights),
            optimizer=optimizer,
            dtype="float64",
            seed=seed,
            num_threads=1,  # a step has 50 us of work
        )

    def train(self, steps):
        fit_full_batch(self.net, *self.rows, steps)
        on_train = self.net.evaluate(*self.rows)
        fresh = self.net.score(*fresh_spirals(self.seed))
        return Result(on_train["accuracy"], on_train["loss"], fresh)


def columns(results):
    """Accuracies, losses, and accuracies on fresh points."""
    return zip(*results, strict=True)


def sgd(rate, decay, momentum=0.0):
    return SGD(InverseTime(rate, decay), momentum=momentum)


def test_decayed_descent(measured):
    results = [Spiral(sgd(1.0, 1e-3), seed).train(10_001) for seed in FIVE]
    accuracies, losses, fresh = columns(results)
    measured(
        "A17",
        "median >= .64, all >= .58, median loss <= .80",
        median=median(accuracies),
        accuracy=accuracies,
        median_loss=median(losses),
        fresh=fresh,
    )
    assert median(accuracies) >= 0.64
    assert min(accuracies) >= 0.58
    assert median(losses) <= 0.80


def test_momentum(measured):
    results = [Spiral(sgd(1.0, 1e-3, 0.9), seed).train(10_001) for seed in FIVE]
    accuracies, _, fresh = columns(results)
    measured(
        "A18",
        "median >= .86, median fresh >= .74",
        median=median(accuracies),
        accuracy=accuracies,
        median_fresh=median(fresh),
    )
    assert median(accuracies) >= 0.86
    assert median(fresh) >= 0.74


def test_adam(measured):
    rule = Adam(InverseTime(0.05, 5e-7), epsilon=1e-7)
    spirals = [Spiral(rule, seed) for seed in FIVE]
    early, _, _ = columns(spiral.train(2000) for spiral in spirals)
    late, _, fresh = columns(spiral.train(8001) for spiral in spirals)
    measured(
        "A19",
        "median >= .90, all >= .86, median after 2000 steps >= .85",
        median=median(late),
        accuracy=late,
        median_2000=median(early),
        fresh=fresh,
    )
    assert median(late) >= 0.90
    assert min(late) >= 0.86
    assert median(early) >= 0.85


def test_large_rate_without_decay(measured):
    results = [Spiral(SGD(2.0), seed).train(10_000) for seed in FIVE]
    accuracies, _, _ = columns(results)
    measured("A20 E2", "median >= .72", median=median(accuracies), accuracy=accuracies)
    assert median(accuracies) >= 0.72


@pytest.mark.slow
def test_long_training_without_decay(measured):
    results = [Spiral(SGD(1.0), seed).train(30_000) for seed in FIVE]
    accuracies, _, fresh = columns(results)
    measured(
        "A20 E3",
        "median >= .86, median fresh >= .75",
        median=median(accuracies),
        accuracy=accuracies,
        median_fresh=median(fresh),
    )
    assert median(accuracies) >= 0.86
    assert median(fresh) >= 0.75


def test_strong_decay_starves(measured):
    """The sum of these rates over 10,000 steps is that of 460 steps of the first."""
    results = [Spiral(sgd(0.5, 0.01), seed).train(10_000) for seed in FIVE]
    accuracies, _, _ = columns(results)
    measured("A21", "all <= .55", accuracy=accuracies)
    assert max(accuracies) <= 0.55


def test_more_points_come_near_the_ceiling(measured):
    rule = Adam(InverseTime(0.02, 5e-4))
    results = [Spiral(rule, seed, HE, 1000).train(3000) for seed in range(2)]
    _, _, fresh = columns(results)
    measured("A22", "fresh >= .87, never > .93", fresh=fresh)
    assert min(fresh) >= 0.87
    assert max(fresh) <= 0.93
