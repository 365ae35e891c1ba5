"""The embedded digits, and random splits."""

import hashlib

import numpy as np
import pytest

from fastnn import datasets

# --- digits ---------------------------------------------------------------------------


def test_digits_shapes_dtypes_and_classes():
    X_train, y_train, X_test, y_test = datasets.digits()
    assert X_train.shape == (1437, 64)
    assert X_test.shape == (360, 64)
    assert X_train.dtype == X_test.dtype == np.uint8
    assert y_train.dtype == y_test.dtype == np.int64
    assert (X_train.min(), X_train.max()) == (0, 16)
    assert np.bincount(y_train).min() >= 130  # every class in both parts
    assert np.bincount(y_test).min() >= 27
    assert len(set(y_train[:50].tolist())) == 10  # shuffled


def test_digits_split_is_fixed():
    d = datasets.digits()
    stored = d.X_train.tobytes() + d.X_test.tobytes()
    stored += d.y_train.astype(np.uint8).tobytes() + d.y_test.astype(np.uint8).tobytes()
    assert (
        hashlib.sha256(stored).hexdigest()
        == "428ad214e900fe9343f94d9fedc8a16d461db8cd1bc0f61eecf448b8c5f16b35"
    )


def test_digits_are_those_of_scikit_learn():
    sklearn_datasets = pytest.importorskip(
        "sklearn.datasets", reason="scikit-learn is not installed"
    )
    theirs = sklearn_datasets.load_digits()
    d = datasets.digits()
    ours = np.column_stack(
        [np.concatenate([d.X_train, d.X_test]), np.concatenate([d.y_train, d.y_test])]
    )
    theirs = np.column_stack([theirs.data, theirs.target])
    assert sorted(ours.tolist()) == sorted(theirs.tolist())


def test_digits_returns_arrays_of_its_own():
    d = datasets.digits()
    d.X_train[:] = 0
    assert datasets.digits().X_train.any()
    assert d.X_test.any()


# --- train_test_split -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "test_size", "n_test"),
    [
        (10, 0.2, 2),
        (1797, 0.2, 360),
        (5, 0.3, 2),
        (100, 0.07, 7),  # 0.07 * 100 > 7 in floating point
        (2, 0.5, 1),
        (10, 3, 3),
        (10, np.int64(9), 9),
    ],
)
def test_split_sizes_and_disjointness(n, test_size, n_test):
    rows = np.arange(n)
    X_train, X_test, y_train, y_test = datasets.train_test_split(
        rows[:, None], rows, test_size
    )
    assert (len(X_train), len(X_test)) == (n - n_test, n_test)
    assert sorted([*y_train, *y_test]) == rows.tolist()  # disjoint and complete
    assert np.array_equal(X_train[:, 0], y_train)  # rows keep their label
    assert np.array_equal(X_test[:, 0], y_test)


def test_split_is_seeded_and_keeps_dtypes_and_inputs():
    X, y = np.arange(40, dtype=np.uint8).reshape(20, 2), np.arange(20.0)
    first = datasets.train_test_split(X, y, seed=3)
    again = datasets.train_test_split(X, y, seed=3)
    other = datasets.train_test_split(X, y, seed=4)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], other[1])
    assert first[0].dtype == np.uint8
    assert first[2].dtype == np.float64
    assert np.array_equal(X, np.arange(40).reshape(20, 2))


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        (([[1], [2]], [1]), ValueError, "X and y must have the same number of rows"),
        (([[1]], [1]), ValueError, "X must have at least 2 rows"),
        (([[1], [2]], [1, 2], 0.0), ValueError, "test_size must be in"),
        (([[1], [2]], [1, 2], 1.0), ValueError, "test_size must be in"),
        (([[1], [2]], [1, 2], 0), ValueError, "test_size must be an integer >= 1"),
        (([[1], [2]], [1, 2], 2), ValueError, "test_size=2 of 2 rows leaves no row"),
        (([[1], [2]], [1, 2], 0.9), ValueError, "leaves no row for training"),
        (([[1], [2]], [1, 2], "a"), TypeError, "test_size must be an integer"),
    ],
)
def test_split_errors(args, error, message):
    with pytest.raises(error, match=message):
        datasets.train_test_split(*args)
