"""Small synthetic data sets: seeded, in float64, one sample per row.

Rows of the classification sets come in random order, so that a part taken from the end
(``validation_split``) holds every class.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnn._base.types import Floats

from ._dataset import check_count, make_rng

Labels = NDArray[np.int64]


def _check_number(value: float, name: str, minimum: float = -math.inf) -> float:
    """Return `value` as a finite float >= `minimum`."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    if not math.isfinite(number) or number < minimum:
        wanted = "finite" if minimum == -math.inf else f"finite and >= {minimum:g}"
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return number


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
    noise : float, default 0
        Standard deviation of the noise on y.
    seed : int, default 0
        Seed of the random numbers.

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
    n = check_count(n_samples, "n_samples")
    noise = _check_number(noise, "noise", 0)
    X = _check_number(start, "start") + np.arange(n, dtype=np.float64)[:, None]
    y = _check_number(slope, "slope") * X + _check_number(intercept, "intercept")
    return X, y + noise * make_rng(seed).standard_normal((n, 1))


def xor(n_samples: int = 4, seed: int = 0) -> tuple[Floats, Labels]:
    """Exclusive or of two bits: ``y = x0 != x1``.

    Parameters
    ----------
    n_samples : int, default 4
        4 gives the four points, each once; any other number draws that many rows of
        two independent fair bits.
    seed : int, default 0
        Seed of the random numbers.

    Returns
    -------
    X : ndarray, float64, (n_samples, 2)
        Zeros and ones.
    y : ndarray, int64, (n_samples,)

    Examples
    --------
    >>> from fastnn import datasets
    >>> X, y = datasets.xor()
    >>> X.tolist(), y.tolist()
    ([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0])
    """
    n = check_count(n_samples, "n_samples")
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
    seed : int, default 0
        Seed of the random numbers.

    Returns
    -------
    X : ndarray, float64, (n_per_class * n_classes, 2)
    y : ndarray, int64, (n_per_class * n_classes,)

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
    n = check_count(n_per_class, "n_per_class")
    n_arms = check_count(n_classes, "n_classes")
    noise = _check_number(noise, "noise", 0)
    rng = make_rng(seed)
    y = np.repeat(np.arange(n_arms), n)
    r = np.tile(np.linspace(0.0, 1.0, n), n_arms)
    t = np.concatenate([np.linspace(4 * c, 4 * (c + 1), n) for c in range(n_arms)])
    t += noise * rng.standard_normal(len(t))
    return _shuffled(rng, np.stack([r * np.sin(2.5 * t), r * np.cos(2.5 * t)], 1), y)


def blobs(
    n_samples: int = 100,
    centers: int | ArrayLike = 3,
    std: float = 1.0,
    seed: int = 0,
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
    seed : int, default 0
        Seed of the random numbers.

    Returns
    -------
    X : ndarray, float64, (n_samples, n_features)
    y : ndarray, int64, (n_samples,)

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import datasets
    >>> X, y = datasets.blobs(300, centers=[(100, 100), (400, 150), (250, 400)], std=15)
    >>> X.shape, np.bincount(y).tolist()
    ((300, 2), [100, 100, 100])
    """
    n = check_count(n_samples, "n_samples")
    std = _check_number(std, "std", 0)
    rng = make_rng(seed)
    if np.ndim(centers) == 0:
        n_classes = check_count(centers, "centers")  # type: ignore[arg-type]
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
    noise : float, default 0
        Standard deviation of the noise in each direction.
    seed : int, default 0
        Seed of the random numbers.

    Returns
    -------
    X : ndarray, float64, (n_samples, 2)
    y : ndarray, int64, (n_samples,)

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import datasets
    >>> X, y = datasets.moons(200, noise=0.1)
    >>> X.shape, np.bincount(y).tolist()
    ((200, 2), [100, 100])
    """
    n = check_count(n_samples, "n_samples", 2)
    noise = _check_number(noise, "noise", 0)
    rng = make_rng(seed)
    upper, lower = np.linspace(0, np.pi, n // 2), np.linspace(0, np.pi, n - n // 2)
    X = np.concatenate(
        [
            np.stack([np.cos(upper), np.sin(upper)], 1),
            np.stack([1 - np.cos(lower), 0.5 - np.sin(lower)], 1),
        ]
    )
    X += noise * rng.standard_normal(X.shape)
    return _shuffled(rng, X, np.arange(n) >= n // 2)


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
    noise : float, default 0
        Standard deviation of the noise in each direction.
    factor : float, default 0.5
        Radius of the inner circle, in [0, 1).
    seed : int, default 0
        Seed of the random numbers.

    Returns
    -------
    X : ndarray, float64, (n_samples, 2)
    y : ndarray, int64, (n_samples,)

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import datasets
    >>> X, y = datasets.circles(200, factor=0.1)
    >>> np.unique(np.hypot(*X.T).round(6)).tolist()
    [0.1, 1.0]
    """
    n = check_count(n_samples, "n_samples", 2)
    noise = _check_number(noise, "noise", 0)
    factor = _check_number(factor, "factor", 0)
    if factor >= 1:
        raise ValueError(f"factor must be in [0, 1), got {factor}")
    rng = make_rng(seed)
    outer = np.linspace(0, 2 * np.pi, n // 2, endpoint=False)
    inner = np.linspace(0, 2 * np.pi, n - n // 2, endpoint=False)
    X = np.concatenate(
        [
            np.stack([np.cos(outer), np.sin(outer)], 1),
            factor * np.stack([np.cos(inner), np.sin(inner)], 1),
        ]
    )
    X += noise * rng.standard_normal(X.shape)
    return _shuffled(rng, X, np.arange(n) >= n // 2)
