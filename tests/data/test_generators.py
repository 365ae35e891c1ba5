"""The generated data sets."""

import math

import numpy as np
import pytest

from fastnn import datasets

GENERATORS = {
    "line": lambda seed: datasets.line(20, noise=0.5, seed=seed),
    "xor": lambda seed: datasets.xor(50, seed=seed),
    "spirals": lambda seed: datasets.spirals(20, 3, seed=seed),
    "blobs": lambda seed: datasets.blobs(31, 3, seed=seed),
    "moons": lambda seed: datasets.moons(31, 0.1, seed=seed),
    "circles": lambda seed: datasets.circles(31, 0.1, 0.3, seed=seed),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_same_seed_same_data(name):
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    X, y = GENERATORS[name](1)
    X_again, y_again = GENERATORS[name](1)
    X_other, _ = GENERATORS[name](2)
    assert X.tobytes() == X_again.tobytes()
    assert y.tobytes() == y_again.tobytes()
    assert name == "line" or X.tobytes() != X_other.tobytes()
    assert np.array_equal(before, np.random.get_state()[1])  # the global state is left
    assert X.dtype == np.float64
    assert X.flags.c_contiguous
    if name == "line":
        assert y.shape == (20, 1)
        assert not np.array_equal(y, GENERATORS[name](2)[1])
    else:
        assert y.dtype == np.int64
        assert y.shape == (len(X),)


@pytest.mark.parametrize("name", ["spirals", "blobs", "moons", "circles"])
def test_rows_come_in_random_order(name):
    _, y = GENERATORS[name](0)
    assert set(y[-len(y) // 3 :].tolist()) == set(y.tolist())


def test_line_is_the_line_of_the_recipe():
    X, y = datasets.line()
    assert X.shape == y.shape == (10, 1)
    assert X.ravel().tolist() == list(range(1, 11))
    assert y.ravel().tolist() == [3 * x + 5 for x in range(1, 11)]
    X, y = datasets.line(11, start=30)
    assert (y[0, 0], y[-1, 0]) == (95, 125)
    X, y = datasets.line(10000, slope=-2, intercept=1, noise=0.5)
    assert np.std(y - (-2 * X + 1)) == pytest.approx(0.5, rel=0.05)


def test_xor():
    X, y = datasets.xor()
    assert sorted(map(tuple, X)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    X, y = datasets.xor(10000)
    assert X.shape == (10000, 2)
    assert all(label == (a != b) for (a, b), label in zip(X, y, strict=True))
    counts = np.bincount((2 * X[:, 0] + X[:, 1]).astype(int))
    assert abs(counts - 2500).max() < 5 * math.sqrt(10000 * 0.25 * 0.75)


def test_spirals_follow_the_formula():
    X, y = datasets.spirals(50, 4, noise=0.0)
    for c in range(4):
        arm = X[y == c]
        arm = arm[np.argsort(np.hypot(arm[:, 0], arm[:, 1]))]
        for i, (x0, x1) in enumerate(arm):
            r = i / 49
            t = 4 * c + 4 * i / 49
            assert x0 == pytest.approx(r * math.sin(2.5 * t), abs=1e-12)
            assert x1 == pytest.approx(r * math.cos(2.5 * t), abs=1e-12)


def test_spirals_noise_turns_and_keeps_the_radius():
    n = 4000
    X, y = datasets.spirals(n, 2, noise=0.2, seed=3)
    for c in range(2):
        arm = X[y == c]
        r = np.hypot(arm[:, 0], arm[:, 1])
        order = np.argsort(r)[1:]
        np.testing.assert_allclose(
            r[order], np.linspace(0, 1, n)[1:], rtol=0, atol=1e-12
        )
        t = 4 * c + 4 * np.arange(1, n) / (n - 1)
        angle = np.arctan2(arm[order, 0], arm[order, 1]) - 2.5 * t
        turn = (angle + np.pi) % (2 * np.pi) - np.pi  # sigma 0.5: wraps never matter
        assert np.std(turn) == pytest.approx(2.5 * 0.2, rel=0.05)


def test_blobs_have_the_centers_and_spread_asked_for():
    centers = np.array([(100, 100), (400, 150), (250, 400)])
    X, y = datasets.blobs(5000, centers, std=15.0, seed=0)
    assert np.bincount(y).tolist() == [1667, 1667, 1666]
    for c in range(3):
        np.testing.assert_allclose(X[y == c].mean(0), centers[c], rtol=0, atol=2)
        np.testing.assert_allclose(X[y == c].std(0), 15, rtol=0.06, atol=0)
    assert datasets.blobs(10, np.zeros((2, 5)))[0].shape == (10, 5)
    X, y = datasets.blobs(100, centers=7, std=0.0)
    assert len(np.unique(X, axis=0)) == 7
    assert abs(X).max() <= 10


@pytest.mark.parametrize("n", [2, 3, 100, 101])
def test_moons_and_circles_are_those_of_scikit_learn(n):
    theirs = pytest.importorskip(
        "sklearn.datasets", reason="scikit-learn is not installed"
    )

    def rows(X, y):
        return sorted(np.column_stack([X, y]).round(9).tolist())

    assert rows(*datasets.moons(n)) == rows(*theirs.make_moons(n, shuffle=False))
    assert rows(*datasets.circles(n, factor=0.1)) == rows(
        *theirs.make_circles(n, shuffle=False, factor=0.1)
    )


def test_moons_and_circles_noise():
    for generate in (datasets.moons, datasets.circles):
        clean, y = generate(4000, noise=0.0, seed=0)
        noisy, y_noisy = generate(4000, noise=0.1, seed=0)
        assert np.array_equal(np.sort(y), np.sort(y_noisy))
        # The variance of a sum of independent parts is the sum of the variances.
        excess = noisy.var(0) - clean.var(0)
        np.testing.assert_allclose(excess, 0.01, rtol=0, atol=0.005)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: datasets.line(0),
            ValueError,
            "n_samples must be an integer >= 1, got 0",
        ),
        (lambda: datasets.line(2.5), TypeError, "n_samples must be an integer"),
        (lambda: datasets.line(True), TypeError, "n_samples must be an integer"),
        (lambda: datasets.line(slope=np.nan), ValueError, "slope must be a finite"),
        (lambda: datasets.line(start="a"), TypeError, "start must be a finite number"),
        (
            lambda: datasets.line(noise=-1),
            ValueError,
            "noise must be a finite number >= 0",
        ),
        (
            lambda: datasets.line(seed=-1),
            ValueError,
            "seed must be an integer >= 0, got -1",
        ),
        (lambda: datasets.xor(None), TypeError, "n_samples must be an integer"),
        (
            lambda: datasets.spirals(0),
            ValueError,
            "n_per_class must be an integer >= 1",
        ),
        (
            lambda: datasets.spirals(n_classes=0),
            ValueError,
            "n_classes must be an integer >= 1",
        ),
        (lambda: datasets.spirals(noise=np.inf), ValueError, "noise must be a finite"),
        (lambda: datasets.blobs(10, 0), ValueError, "centers must be an integer >= 1"),
        (lambda: datasets.blobs(10, [1, 2]), ValueError, "centers must be an integer"),
        (lambda: datasets.blobs(10, [[np.nan]]), ValueError, "centers must be an int"),
        (
            lambda: datasets.blobs(std=-1),
            ValueError,
            "std must be a finite number >= 0",
        ),
        (
            lambda: datasets.moons(1),
            ValueError,
            "n_samples must be an integer >= 2, got 1",
        ),
        (
            lambda: datasets.circles(9, factor=1),
            ValueError,
            "factor must be a number >= 0 and < 1",
        ),
        (lambda: datasets.circles(9, seed=1.5), TypeError, "seed must be an integer"),
    ],
)
def test_generator_errors_name_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()
