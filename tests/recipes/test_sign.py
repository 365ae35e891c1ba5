"""The sign of a number from eight examples, with a gap from -1 to 10 between them.

The boundary of a network with biases ends up near 4.4, inside the gap: 1 is then
counted as negative, and all other test points are right. Without biases the boundary
is at 0.
"""

import numpy as np
import pytest
from experiments import HE, SEEDS, count, dense_layers, fit_full_batch, fit_per_sample

from fastnn import SGD, Adam, Network

SCALE = 21.4764


def points(values):
    x = np.array(values, dtype=float)[:, None]
    return x / SCALE, (x[:, 0] > 0).astype(int)


X, Y = points([50, -1, 10, -10, -15, -20, 20, 17])
X_TEST, Y_TEST = points([-100, -510, 1, 100, -1000, -2, 29, 67])
ONE = 2  # the row of x = 1


def make(sizes, optimizer, seed, **arguments):
    return Network(
        dense_layers(sizes, "relu", weights=HE, **arguments),
        loss="binary_cross_entropy",
        optimizer=optimizer,
        dtype="float64",
        seed=seed,
    )


def n_right(net, x, y):
    return count(net.predict(x) == y)


def area_under_curve(net):
    """The share of pairs (negative, positive) that the network orders rightly."""
    scores = net.predict_proba(X_TEST)[:, 0]
    negative, positive = scores[Y_TEST == 0], scores[Y_TEST == 1]
    below = negative[:, None] < positive
    ties = negative[:, None] == positive
    return float((below + 0.5 * ties).mean())


def test_biases_put_the_boundary_into_the_gap(measured):
    nets = [fit_per_sample(make([1, 6, 1], SGD(0.1), s), X, Y, 150) for s in SEEDS]
    train = [n_right(net, X, Y) for net in nets]
    wrong = [np.flatnonzero(net.predict(X_TEST) != Y_TEST) for net in nets]
    curves = [area_under_curve(net) for net in nets]
    losses = [net.evaluate(X, Y)["loss"] for net in nets]
    measured(
        "A11",
        "train 8/8, test >= 7/8 (only x = 1 wrong), AUC 1 in 9/10; loss < .03 in 10/10",
        train=train,
        test=[8 - len(rows) for rows in wrong],
        auc=curves,
        loss=losses,
    )
    assert min(train) == 8
    # In 9 of 10: seed 9 starts with units that a positive input never reaches (also in
    # an independent NumPy loop); such are 2 of 100 starts.
    assert count(set(rows) <= {ONE} for rows in wrong) >= 9
    assert count(curve == 1 for curve in curves) >= 9
    assert max(losses) < 0.03


def without_biases(seed):
    return make([1, 6, 1], SGD(0.1), seed, use_bias=False)


def test_without_biases_the_boundary_is_zero(measured):
    nets = [fit_per_sample(without_biases(seed), X, Y, 150) for seed in SEEDS]
    solved = count(
        n_right(net, X, Y) == 8 and n_right(net, X_TEST, Y_TEST) == 8 for net in nets
    )
    measured("A12", "train 8/8 and test 8/8 in >= 8/10", nets=solved)
    assert solved >= 8
    assert all((b == 0).all() for net in nets for _, b in net.get_weights())


def test_without_biases_and_one_living_unit(measured):
    """A unit that is active for positive inputs from the start solves it always."""
    solved = 0
    for seed in SEEDS:
        net = without_biases(seed)
        (W, b), (V, c) = net.get_weights()
        W[0, 0] = V[0, 0] = 1.0
        net.set_weights([(W, b), (V, c)])
        fit_per_sample(net, X, Y, 150)
        solved += n_right(net, X, Y) == 8 and n_right(net, X_TEST, Y_TEST) == 8
    measured("A12 w = v = 1", "train 8/8 and test 8/8 in 10/10", nets=solved)
    assert solved == 10


@pytest.mark.parametrize(
    ("name", "sizes", "optimizer", "fit", "epochs"),
    [
        ("A13 1-6-6-6-1", [1, 6, 6, 6, 1], SGD(0.1), fit_per_sample, 150),
        ("A13 full batch", [1, 6, 1], SGD(0.5), fit_full_batch, 150),
        ("A13 Adam", [1, 6, 1], Adam(0.01), fit_full_batch, 500),
    ],
    ids=["deep", "full-batch", "adam"],
)
def test_other_ways_to_train(measured, name, sizes, optimizer, fit, epochs):
    train, test = [], []
    for seed in SEEDS:
        net = make(sizes, optimizer, seed)
        fit(net, X, Y, epochs)
        train.append(n_right(net, X, Y))
        test.append(n_right(net, X_TEST, Y_TEST))
    all_right = count(n == 8 for n in train)
    nearly = count(n >= 7 for n in test)
    measured(
        name,
        "train 8/8 in >= 9/10, test >= 7/8 in >= 7/10",
        train=all_right,
        test=nearly,
    )
    assert all_right >= 9
    assert nearly >= 7
