"""How times are taken: in warm blocks, the sides of a comparison taking turns.

What a side does after a pause is slow for some milliseconds: caches are cold, threads
asleep and clocks low. So a block first calls it, unmeasured, for 50 ms at least and
until the time per call is steady; then 0.2 s of calls are timed, or one that takes
longer.

Machines are shared and their clocks move: a disturbance of one block affects its
neighbours as well, so the ratios of neighbouring blocks say more than the ratio of two
times. The BLAS of NumPy keeps its threads spinning for up to 100 ms after a
product and ONNX Runtime for 50 ms, on the cores that the next side wants: before each
block everything sleeps until that is over. Others stop within 10 ms.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = [
    "QUICK_SECONDS",
    "SHORT_SPIN_SECONDS",
    "SPIN_SECONDS",
    "TIMED_SECONDS",
    "Spread",
    "block_seconds",
    "check_seconds",
    "ratio",
    "ratios",
    "run_seconds",
    "take_turns",
    "warm_up",
]

WARM_SECONDS, MOST_WARM_SECONDS = 0.05, 0.3
TIMED_SECONDS, QUICK_SECONDS = 0.2, 0.05
FEWEST_BLOCKS = 3
SPIN_SECONDS = 0.15
SHORT_SPIN_SECONDS = 0.02


@dataclass(frozen=True)
class Spread:
    """The median of several values, and their lower and upper quartile."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of at least one value.

        Examples
        --------
        >>> Spread.of([5, 1, 2, 4, 3])
        Spread(median=3.0, low=2.0, high=4.0)
        """
        if len(values) == 1:
            return cls(*[float(values[0])] * 3)
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


def check_seconds(seconds: float) -> None:
    """Raise ValueError unless it is a finite number >= 0."""
    if not (seconds >= 0 and math.isfinite(seconds)):
        raise ValueError(f"seconds is {seconds}; expected a finite number >= 0")


def run_seconds(side: Callable[[], object], calls: int) -> float:
    """Return the seconds per call of some calls."""
    start = time.perf_counter()
    for _ in range(calls):
        side()
    return (time.perf_counter() - start) / calls


def warm_up(side: Callable[[], object]) -> float:
    """Call until the time per call is steady, and return it.

    Steady: in two slices of 10 ms, or calls that take longer, it differs by at most
    5 %. Where it never does, because other processes come and go, 0.3 s will do.
    """
    calls, before, start = 1, 0.0, time.perf_counter()
    while True:
        now = run_seconds(side, calls)
        passed = time.perf_counter() - start
        steady = abs(now - before) <= 0.05 * before
        if passed >= WARM_SECONDS and (steady or passed >= MOST_WARM_SECONDS):
            return now
        calls, before = max(1, int(WARM_SECONDS / 5 / now)), now


def block_seconds(
    side: Callable[[], object], pause: float = 0.0, timed: float = TIMED_SECONDS
) -> float:
    """Return the seconds per call, warm, once the threads of other sides are asleep.

    About `timed` seconds of calls count, or one call that takes longer.
    """
    time.sleep(pause)
    return run_seconds(side, math.ceil(timed / warm_up(side)))


def take_turns(
    blocks: Sequence[Callable[[], float]], seconds: float
) -> list[list[float]]:
    """Call the functions in turn for about `seconds`; return the results of each."""
    times: list[list[float]] = [[] for _ in blocks]
    end = time.perf_counter() + seconds
    while len(times[0]) < FEWEST_BLOCKS or time.perf_counter() < end:
        for values, block in zip(times, blocks, strict=True):
            values.append(block())
    return times


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return the ratios of the blocks of each round.

    Examples
    --------
    >>> ratios([6.0, 8.0], [2.0, 4.0])
    [3.0, 2.0]
    """
    return [a / b for a, b in zip(above, below, strict=True)]


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median of the ratios of the blocks of each round."""
    return statistics.median(ratios(above, below))
