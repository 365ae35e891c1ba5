"""Small synthetic data sets; what they have in common is said in `datasets`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnn._base.fields import FINITE, NOT_NEGATIVE, check_integer, check_number
from fastnn._base.types import Floats

from ._dataset import make_rng

Labels = NDArray[np.int64]


def _shuffled(
    rng: np.random.Generator, X: Floats, y: NDArray[Any]
) -> tuple[Floats, Labels]:
    order = rng.permutation(len(X))
    return X[order], y[order].astype(np.int64)


def line(
    n_samples: int = 10,
    slope: float = 3.0,
    intercept: float = 5.0,
    start: float = 1.0,
    noise: float = 0.0,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Points of a line: ``y = slope * x + intercept + noise * N(0, 1)``.

    Parameters
    ----------
    n_samples : int, default 10
        Number of points.
    slope, intercept : float, default 3 and 5
        Of the line.
    start : float, default 1
        The first x; the others are ``start + 1``, ``start + 2``, ...

    Returns
    -------
    X, y : ndarray, float64, both (n_samples, 1)
        In order of x.

    Examples
    --------
    >>> from fastnn import datasets
    >>> X, y = datasets.line(3)
    >>> X.ravel().tolist(), y.ravel().tolist()
    ([1.0, 2.0, 3.0], [8.0, 11.0, 14.0])
    """
    n = check_integer("n_samples", n_samples, 1)
    noise = check_number("noise", noise, *NOT_NEGATIVE)
    start = check_number("start", start, *FINITE)
    slope = check_number("slope", slope, *FINITE)
    intercept = check_number("intercept", intercept, *FINITE)
    X = start + np.arange(n, dtype=np.float64)[:, np.newaxis]
    y = slope * X + intercept
    return X, y + noise * make_rng(seed).standard_normal((n, 1))


def xor(n_samples: int = 4, seed: int = 0) -> tuple[Floats, Labels]:
    """Exclusive or of two bits: ``y = x0 != x1``.

    Parameters
    ----------
    n_samples : int, default 4
        4 gives the four points, each once; any other number draws that many rows of
        two independent fair bits.

    Examples
    --------
    >>> from fastnn import datasets
    >>> X, y = datasets.xor()
    >>> X.tolist(), y.tolist()
    ([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0])
    """
    n = check_integer("n_samples", n_samples, 1)
    rng = make_rng(seed)
    if n == 4:
        bits = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    else:
        bits = rng.integers(0, 2, (n, 2))
    return bits.astype(np.float64), (bits[:, 0] != bits[:, 1]).astype(np.int64)


def spirals(
    n_per_class: int = 100, n_classes: int = 3, noise: float = 0.2, seed: int = 0
) -> tuple[Floats, Labels]:
    """Interleaved spiral arms, one per class.

    For class c the radius r runs evenly from 0 to 1 and t from 4c to 4(c + 1), plus
    ``noise * N(0, 1)``; a point is ``(r sin 2.5t, r cos 2.5t)``. The noise turns a
    point about the origin and never changes its radius. With the default noise the
    classes overlap: no classifier exceeds about 0.91 on fresh points.

    Parameters
    ----------
    n_per_class : int, default 100
        Points of each arm.
    n_classes : int, default 3
        Number of arms.
    noise : float, default 0.2
        Standard deviation of t. An arm is 4 long in t, which is 10 radians.

    References
    ----------
    The spiral of H. Kinsley and D. Kukiela, *Neural Networks from Scratch in Python*,
    2020, after A. Karpathy's course notes CS231n (there the rows are ordered by class).

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import datasets
    >>> X, y = datasets.spirals(100, 3)
    >>> X.shape, np.bincount(y).tolist()
    ((300, 2), [100, 100, 100])
    """
    n = check_integer("n_per_class", n_per_class, 1)
    n_arms = check_integer("n_classes", n_classes, 1)
    noise = check_number("noise", noise, *NOT_NEGATIVE)
    rng = make_rng(seed)
    y = np.repeat(np.arange(n_arms), n)
    r = np.tile(np.linspace(0.0, 1.0, n), n_arms)
    t = np.concatenate([np.linspace(4 * c, 4 * (c + 1), n) for c in range(n_arms)])
    t += noise * rng.standard_normal(len(t))
    return _shuffled(rng, np.stack([r * np.sin(2.5 * t), r * np.cos(2.5 * t)], 1), y)


def blobs(
    n_samples: int = 100, centers: int | ArrayLike = 3, std: float = 1.0, seed: int = 0
) -> tuple[Floats, Labels]:
    """Round Gaussian clouds, one per class: ``x = centers[y] + std * N(0, I)``.

    Parameters
    ----------
    n_samples : int, default 100
        Shared out as evenly as possible: class sizes differ by at most one.
    centers : int or array_like (n_classes, n_features), default 3
        The centres; or their number, and then they are drawn uniformly from the square
        from -10 to 10.
    std : float, default 1
        Standard deviation in each direction.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import datasets
    >>> X, y = datasets.blobs(300, centers=[(100, 100), (400, 150), (250, 400)], std=15)
    >>> X.shape, np.bincount(y).tolist()
    ((300, 2), [100, 100, 100])
    """
    n = check_integer("n_samples", n_samples, 1)
    std = check_number("std", std, *NOT_NEGATIVE)
    rng = make_rng(seed)
    if np.ndim(centers) == 0:
        n_classes = check_integer("centers", centers, 1)
        points = rng.uniform(-10.0, 10.0, (n_classes, 2))
    else:
        points = np.asarray(centers, dtype=np.float64)
        if points.ndim != 2 or 0 in points.shape or not np.isfinite(points).all():
            raise ValueError(
                "centers must be an integer or a finite array of shape "
                f"(n_classes, n_features), got {centers!r}"
            )
    y = np.arange(n) % len(points)
    X = points[y] + std * rng.standard_normal((n, points.shape[1]))
    return _shuffled(rng, X, y)


def moons(
    n_samples: int = 100, noise: float = 0.0, seed: int = 0
) -> tuple[Floats, Labels]:
    """Two interlocking half circles, one per class.

    Class 0: ``(cos t, sin t)``; class 1: ``(1 - cos t, 0.5 - sin t)``, with t evenly
    from 0 to pi, plus ``noise * N(0, I)``. The definition is that of scikit-learn's
    ``make_moons``.

    Parameters
    ----------
    n_samples : int, default 100
        At least 2. Half of them (rounded down) are of class 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import datasets
    >>> X, y = datasets.moons(200, noise=0.1)
    >>> X.shape, np.bincount(y).tolist()
    ((200, 2), [100, 100])
    """
    n = check_integer("n_samples", n_samples, 2)
    upper, lower = np.linspace(0, np.pi, n // 2), np.linspace(0, np.pi, n - n // 2)
    return _noisy(_circle(upper), (1.0, 0.5) - _circle(lower), noise, seed)


def circles(
    n_samples: int = 100, noise: float = 0.0, factor: float = 0.5, seed: int = 0
) -> tuple[Floats, Labels]:
    """Two circles about the origin, of radius 1 (class 0) and `factor` (class 1).

    Points ``radius * (cos t, sin t)``, t evenly round the circle, plus
    ``noise * N(0, I)``. The definition is that of scikit-learn's ``make_circles``.

    Parameters
    ----------
    n_samples : int, default 100
        At least 2. Half of them (rounded down) are of class 0.
    factor : float, default 0.5
        Radius of the inner circle, in [0, 1).

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import datasets
    >>> X, y = datasets.circles(200, factor=0.1)
    >>> np.unique(np.hypot(*X.T).round(6)).tolist()
    [0.1, 1.0]
    """
    n = check_integer("n_samples", n_samples, 2)
    factor = check_number(
        "factor", factor, "a number >= 0 and < 1", lambda f: 0 <= f < 1
    )
    outer = np.linspace(0, 2 * np.pi, n // 2, endpoint=False)
    inner = np.linspace(0, 2 * np.pi, n - n // 2, endpoint=False)
    return _noisy(_circle(outer), factor * _circle(inner), noise, seed)


def _circle(t: Floats) -> Floats:
    return np.stack([np.cos(t), np.sin(t)], 1)


def _noisy(
    first: Floats, second: Floats, noise: float, seed: int
) -> tuple[Floats, Labels]:
    """Points of the classes 0 and 1, with noise and in random order."""
    noise = check_number("noise", noise, *NOT_NEGATIVE)
    rng = make_rng(seed)
    X = np.concatenate([first, second])
    X += noise * rng.standard_normal(X.shape)
    return _shuffled(rng, X, np.arange(len(X)) >= len(first))
