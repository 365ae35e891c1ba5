"""Products of matrices, in blocks of rows where they take long.

Between two blocks Ctrl-C acts, and so does the limit of `until`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from fastnn._base.types import Array

# Multiply-adds of a block: some 50 ms of a core.
_BLOCK = 2e9

_limit: ContextVar[float] = ContextVar("limit", default=float("inf"))


class TooLateError(Exception):
    """The limit has passed, and nothing has changed."""


@contextmanager
def until(limit: float) -> Iterator[None]:
    """Raise `TooLateError` in products within, from this time of `perf_counter` on."""
    token = _limit.set(limit)
    try:
        yield
    finally:
        _limit.reset(token)


def multiply(a: Array, b: Array) -> Array:
    """Return ``a @ b`` of (m, k) and (k, n)."""
    blocks = list(_blocks(len(a), a.shape[1] * b.shape[1]))
    if len(blocks) == 1:
        return np.asarray(a @ b)
    out = np.empty((len(a), b.shape[1]), np.result_type(a, b))
    for rows in _in_time(blocks):
        np.matmul(a[rows], b, out=out[rows])
    return out


def multiply_transposed(a: Array, b: Array) -> Array:
    """Return ``a.T @ b`` of (m, k) and (m, n): the sum of the products of blocks."""
    blocks = list(_blocks(len(a), a.shape[1] * b.shape[1]))
    if len(blocks) == 1:
        return np.asarray(a.T @ b)
    out = np.zeros((a.shape[1], b.shape[1]), np.result_type(a, b))
    for rows in _in_time(blocks):
        out += a[rows].T @ b[rows]
    return out


def _blocks(rows: int, work: int) -> Iterator[slice]:
    most = max(128, int(_BLOCK / max(work, 1)))
    for start in range(0, max(rows, 1), most):
        yield slice(start, start + most)


def _in_time(blocks: list[slice]) -> Iterator[slice]:
    for rows in blocks:
        if time.perf_counter() >= _limit.get():
            raise TooLateError
        yield rows
