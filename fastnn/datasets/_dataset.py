"""The type of a data set, and its split; used by the loaders and generators."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnn._base.fields import check_integer


class Dataset(NamedTuple):
    """A training set and a test set: ``X_train, y_train, X_test, y_test``.

    One sample per row; an image is flattened row by row. Images stay ``uint8`` as
    they are stored: `Network.fit` converts batch by batch and scales with
    ``input_scale``, so a float copy of the whole set is never needed. Labels are
    ``int64``.

    Examples
    --------
    >>> from fastnn import datasets
    >>> X_train, y_train, X_test, y_test = datasets.digits()
    >>> X_train.shape, X_train.dtype, y_train.dtype
    ((1437, 64), dtype('uint8'), dtype('int64'))
    """

    X_train: NDArray[Any]
    y_train: NDArray[Any]
    X_test: NDArray[Any]
    y_test: NDArray[Any]

    def _repr_html_(self) -> str:
        from fastnn._base.html import table

        rows = []
        for name, array in self._asdict().items():
            array = np.asarray(array)
            what = f"{array.min():.4g} to {array.max():.4g}" if array.size else ""
            if name[0] == "y" and array.dtype.kind in "iu" and array.size:
                what = f"{len(np.unique(array))} classes"
            rows.append((name, str(array.shape), str(array.dtype), what))
        return table("Dataset", ("array", "shape", "dtype", "values"), rows)


def make_rng(seed: int) -> np.random.Generator:
    """Return NumPy's default generator for a non-negative integer seed."""
    return np.random.default_rng(check_integer("seed", seed, 0))


def train_test_split(
    X: ArrayLike,
    y: ArrayLike,
    test_size: float = 0.2,
    seed: int = 0,
    *,
    stratify: bool | ArrayLike = False,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Split rows at random into a training part and a test part.

    The rows are shuffled with `seed`; ``ceil(test_size * n)`` of them become the test
    part and all the others the training part. Name, arguments and order of results are
    those of scikit-learn.

    Parameters
    ----------
    X, y : array_like
        Samples and targets with the same number of rows n, n >= 2. Not changed.
    test_size : float or int, default 0.2
        Share of the rows that go to the **test** part, in (0, 1); or, as an int, their
        number, in 1..n-1.
    seed : int, default 0
        Seed of the shuffle.
    stratify : bool or array_like (n,), default False
        Give both parts the same shares of each class, up to rounding: of the labels y
        if True, or of other labels. Each class needs at least 2 rows, and each part as
        many rows as there are classes.

    Returns
    -------
    X_train, X_test, y_train, y_test : ndarray
        Copies, of the dtypes of `X` and `y`.

    Raises
    ------
    ValueError
        If `X` and `y` differ in length, one part would be empty, or what is to be
        stratified by is not as described.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.datasets import train_test_split
    >>> X = np.arange(20).reshape(10, 2)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, np.arange(10))
    >>> len(X_train), len(X_test)
    (8, 2)
    >>> labels = np.repeat([0, 1], [6, 4])
    >>> train_test_split(X, labels, 0.5, stratify=True)[3].tolist()
    [0, 1, 0, 1, 0]
    """
    X, y = np.asarray(X), np.asarray(y)
    if X.ndim == 0 or y.ndim == 0 or len(X) != len(y):
        raise ValueError(
            f"X and y must have the same number of rows, got shapes {X.shape} "
            f"and {y.shape}"
        )
    n = len(X)
    if n < 2:
        raise ValueError(f"X must have at least 2 rows to be split, got {n}")
    if isinstance(test_size, float | np.floating):
        if not 0 < test_size < 1:
            raise ValueError(f"test_size must be in (0, 1), got {test_size}")
        # 0.07 * 100 is 7.000000000000001: rounding noise must not add a row.
        n_test = math.ceil(test_size * n - 1e-9)
    else:
        n_test = check_integer("test_size", test_size, 1)
    if n_test >= n:
        raise ValueError(
            f"test_size={test_size} of {n} rows leaves no row for training"
        )
    order = make_rng(seed).permutation(n)
    if stratify is not False and stratify is not None:
        order = _stratified(y if stratify is True else stratify, order, n_test)
    test, train = order[:n_test], order[n_test:]
    return X[train], X[test], y[train], y[test]


def _stratified(by: ArrayLike, order: NDArray[Any], n_test: int) -> NDArray[Any]:
    """Rows in an order whose first `n_test` have a share of each class."""
    n = len(order)
    labels = np.asarray(by)
    if labels.shape != (n,):
        raise ValueError(f"stratify must be {n} labels, got shape {labels.shape}")
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.min() < 2 or not len(counts) <= n_test <= n - len(counts):
        raise ValueError(
            f"stratify has {len(counts)} classes, the rarest with {counts.min()} rows; "
            f"expected at least 2 of each, and in both parts, of {n_test} and "
            f"{n - n_test} rows, as many rows as classes"
        )
    # Whole rows of each class's share, and one more where the most is cut off.
    share = counts * (n_test / n)
    taken = np.maximum(1, np.floor(share + 1e-9)).astype(int)
    while taken.sum() != n_test:
        step = 1 if taken.sum() < n_test else -1
        free = taken < counts - 1 if step > 0 else taken > 1
        gap = np.where(free, step * (share - taken), -np.inf)
        taken[int(gap.argmax())] += step
    codes = codes[order]
    rank = np.empty(n, int)  # of a row among those of its class, in the random order
    by_class = np.argsort(codes, kind="stable")
    rank[by_class] = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts)
    in_test = rank < taken[codes]
    return np.concatenate([order[in_test], order[~in_test]])
