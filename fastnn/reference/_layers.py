"""Dropout and normalisation in NumPy.

Nothing is checked here, and callers silence NumPy's warnings. Letters in shapes are m
rows and n columns.
"""

from typing import NamedTuple

import numpy as np

from fastnn._base.types import Array

# Dropout: a value is kept if a hash of its place is at least rate * 2^32.


def dropout_factor(
    shape: tuple[int, int],
    dtype: np.dtype[np.generic],
    rate: float,
    key: int,
    step: int,
    first_row: int = 0,
) -> Array:
    """Return what dropout multiplies values with: 0, or 1 / (1 - rate) (m, n).

    A function of the layer's key, the number of updates done before, and the row and
    column; the rows of an update are numbered from `first_row` on.
    """
    m, n = shape
    base = _splitmix64(key + 0x9E3779B97F4A7C15 * (step + 1))
    place = (first_row * n + np.arange(m * n)).astype(np.uint32).reshape(shape)
    low, high = np.uint32(base % 2**32), np.uint32(base >> 32)
    kept = _triple32(_triple32(place ^ low) ^ high) >= np.uint32(rate * 2**32)
    return np.where(kept, 1 / (1 - rate), 0).astype(dtype)


def _splitmix64(x: int) -> int:
    """G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators"."""
    x %= 2**64
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 % 2**64
    x ^= x >> 27
    x = x * 0x94D049BB133111EB % 2**64
    return x ^ x >> 31


def _triple32(x: Array) -> Array:
    """C. Wellons' hash of 32 bits, a permutation with little bias ("prospector")."""
    for shift, factor in ((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB)):
        x = (x ^ x >> np.uint32(shift)) * np.uint32(factor)
    return np.asarray(x ^ x >> np.uint32(14))


# Normalisation: over the rows for batch norm (axis 0), over the columns for layer norm
# (axis 1).


class Normal(NamedTuple):
    """Normalised values, and what they were made with."""

    values: Array  # (x - mean) * inverse, (m, n)
    inverse: Array  # 1 / sqrt(variance + epsilon), (1, n) or (m, 1)
    mean: Array  # of inverse's shape, float64 if they are those of x
    variance: Array  # likewise, and biased


def normalize(x: Array, axis: int, epsilon: float) -> Normal:
    """Normalise with the mean and variance along the axis, which are in float64."""
    mean = x.mean(axis=axis, keepdims=True, dtype=np.float64)
    variance = np.square(x - mean).mean(axis=axis, keepdims=True)
    return normalize_with(x, mean, variance, epsilon)


def normalize_with(x: Array, mean: Array, variance: Array, epsilon: float) -> Normal:
    """Normalise with statistics that do not depend on x."""
    root = np.sqrt(variance.astype(np.float64, copy=False) + epsilon)
    inverse = (1 / root).astype(x.dtype)
    return Normal((x - mean.astype(x.dtype)) * inverse, inverse, mean, variance)


def normalize_backward(dvalues: Array, normal: Normal, axis: int) -> Array:
    """Return the gradient wrt x of what `normalize` returned, statistics included."""
    mean = dvalues.mean(axis=axis, keepdims=True)
    along = (dvalues * normal.values).mean(axis=axis, keepdims=True)
    return np.asarray(normal.inverse * (dvalues - mean - normal.values * along))


def running_statistics(
    running: tuple[Array, Array], normal: Normal, m: int, momentum: float
) -> tuple[Array, Array]:
    """Return the running mean and variance (n,) after a mini-batch of m rows.

    The variance goes by the unbiased estimate; that of one row is 0.
    """
    unbiased = normal.variance * (m / (m - 1) if m > 1 else 1)
    mean, variance = (
        ((1 - momentum) * old.astype(np.float64) + momentum * new[0]).astype(old.dtype)
        for old, new in zip(running, (normal.mean, unbiased), strict=True)
    )
    return mean, variance
