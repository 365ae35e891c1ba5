"""Learning rates as functions of the update number, as data.

An optimizer takes a schedule in place of a number for `learning_rate` and
`weight_decay`, and so does a `Dropout` for its `rate`. ``schedule(t)`` is the rate of
update ``t`` = 0, 1, 2, ... (an int, or an array of them) and is evaluated before each
update; it depends on nothing else, so a resumed training goes on exactly.

`steps` and `interval` count updates: a fit of n rows, without those held out for
validation, makes ``ceil(n / batch_size)`` of them in an epoch (with `accumulate`,
``ceil(n / (batch_size * accumulate))``). A second fit goes on counting. In place of
either a schedule takes `epochs`, which the first `Network.fit` turns into updates, for
good: ``OneCycle(0.1, epochs=10)``. Elsewhere `Schedule.in_steps` does.

To add a schedule: a frozen dataclass here, listed in SCHEDULES.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ._base.fields import (
    BELOW_1,
    NOT_NEGATIVE,
    POSITIVE,
    check_count,
    check_number,
    short_repr,
)
from ._base.frozen import dataclass

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ._base.types import Floats


__all__ = [
    "SCHEDULES",
    "Constant",
    "CosLog",
    "Cosine",
    "Exponential",
    "FlatCosine",
    "InverseTime",
    "OneCycle",
    "Polynomial",
    "Scaled",
    "Schedule",
    "Step",
    "Warmup",
]

MAX_DEPTH = 8  # schedules within one another, as a model file holds
_FROM_EPOCHS: Any = None  # a number of updates that `epochs` will give

_SHARE = ("a number > 0 and < 1", lambda x: 0 < x < 1)
_AT_LEAST_1 = ("a finite number >= 1", lambda x: x >= 1)

_RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "rate": POSITIVE,
    "epochs": POSITIVE,
    "factor": POSITIVE,
    "decay": NOT_NEGATIVE,
    "end": NOT_NEGATIVE,
    "power": POSITIVE,
    "growth": _AT_LEAST_1,
    "start": NOT_NEGATIVE,
    "warmup": _SHARE,
    "flat": BELOW_1,
    "initial_divisor": _AT_LEAST_1,
    "final_divisor": _AT_LEAST_1,
}


class Schedule:
    """What every schedule can do: ``schedule(t)`` is the learning rate of update t."""

    name: ClassVar[str]
    _length: ClassVar[str] = ""  # the parameter that `epochs` stands for
    epochs: ClassVar[Any] = None

    __repr__ = short_repr

    def __post_init__(self) -> None:
        length = self._length
        for name in [each.name for each in fields(self)]:  # type: ignore[arg-type]
            value = getattr(self, name)
            if value is None and name in (length, "epochs"):
                continue
            if name in ("steps", "interval", "cycles"):
                value = check_count(name, value)
            elif name == "schedule":
                if not isinstance(value, Schedule):
                    raise TypeError(f"schedule must be a Schedule, got {value!r}")
                if value.depth >= MAX_DEPTH:
                    raise ValueError(
                        f"schedule must have at most {MAX_DEPTH - 1} schedules within "
                        f"one another, got {value.depth}"
                    )
            else:
                value = check_number(name, value, *_RANGES[name])
            object.__setattr__(self, name, value)
        count = getattr(self, length, None)
        if length and (count is None) == (self.epochs is None):
            raise TypeError(
                f"{type(self).__name__} takes {length} or epochs, got {length}={count} "
                f"and epochs={self.epochs}"
            )

    @property
    def counts_epochs(self) -> bool:
        """Whether it has no rates before `in_steps`."""
        inner: Schedule | None = getattr(self, "schedule", None)
        return self.epochs is not None or (inner is not None and inner.counts_epochs)

    def in_steps(self, updates: int) -> Schedule:
        """Return the schedule with updates for epochs, of this many updates each.

        Examples
        --------
        >>> from fastnn.schedules import OneCycle, Step
        >>> OneCycle(0.1, epochs=3).in_steps(50).steps
        150
        >>> Step(0.1, epochs=0.5).in_steps(50).interval
        25
        """
        updates = check_count("updates", updates)
        changes: dict[str, Any] = {}
        if hasattr(self, "schedule"):
            changes["schedule"] = self.schedule.in_steps(updates)
        if self.epochs is not None:
            count = max(1, round(self.epochs * updates))
            changes |= {"epochs": None, self._length: count}
        return replace(self, **changes)  # type: ignore[type-var]

    @property
    def depth(self) -> int:
        """How many schedules there are within one another, itself included."""
        inner: Schedule | None = getattr(self, "schedule", None)
        return 1 if inner is None else 1 + inner.depth

    def __call__(self, t: ArrayLike) -> Any:
        """Return the rate of update t, or the rates (n,) of updates t (n,)."""
        given = np.asarray(t)
        if given.dtype.kind not in "iu" or (given < 0).any():
            raise ValueError(f"t must be integers >= 0, got {t!r}")
        if self.counts_epochs:
            raise ValueError(
                f"{self!r} counts epochs, whose updates Network.fit alone knows; "
                "expected steps or interval, or in_steps(updates of an epoch)"
            )
        # Always an array: powers of NumPy's scalars differ from those of arrays in the
        # last bit, and a single update is to have the rate it has among others.
        values = self._rates(np.atleast_1d(given).astype(np.float64))
        return float(values[0]) if given.ndim == 0 else values

    def _rates(self, t: Floats) -> Floats:
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class _Timed(Schedule):
    """A schedule with a length, in updates or in epochs."""

    _length: ClassVar[str] = "steps"
    epochs: float | None = field(default=None, kw_only=True)  # type: ignore[misc]


@dataclass(frozen=True, repr=False)
class Constant(Schedule):
    """``rate``

    Examples
    --------
    >>> from fastnn.schedules import Constant
    >>> Constant(0.1)(7)
    0.1
    """

    name: ClassVar[str] = "constant"

    rate: float

    def _rates(self, t: Floats) -> Floats:
        return np.full_like(t, self.rate)


@dataclass(frozen=True, repr=False)
class Step(_Timed):
    """``rate * factor ** floor(t / interval)``: a cut every so many updates.

    Examples
    --------
    >>> from fastnn.schedules import Step
    >>> Step(1.0, interval=100, factor=0.5)([0, 99, 100, 200]).tolist()
    [1.0, 1.0, 0.5, 0.25]
    """

    name: ClassVar[str] = "step"
    _length: ClassVar[str] = "interval"

    rate: float
    interval: int = _FROM_EPOCHS
    factor: float = 0.1

    def _rates(self, t: Floats) -> Floats:
        return self.rate * self.factor ** np.floor(t / self.interval)


@dataclass(frozen=True, repr=False)
class Exponential(_Timed):
    """``rate * factor ** (t / interval)``: the same, without the corners.

    Examples
    --------
    >>> from fastnn.schedules import Exponential
    >>> Exponential(1.0, interval=100, factor=0.25)(50)
    0.5
    """

    name: ClassVar[str] = "exponential"
    _length: ClassVar[str] = "interval"

    rate: float
    interval: int = _FROM_EPOCHS
    factor: float = 0.1

    def _rates(self, t: Floats) -> Floats:
        return self.rate * self.factor ** (t / self.interval)


@dataclass(frozen=True, repr=False)
class InverseTime(Schedule):
    """``rate / (1 + decay * t)``

    H. Robbins, S. Monro, "A Stochastic Approximation Method", 1951.

    Examples
    --------
    >>> from fastnn.schedules import InverseTime
    >>> InverseTime(1.0, decay=1e-3)(1000)
    0.5
    """

    name: ClassVar[str] = "inverse_time"

    rate: float
    decay: float

    def _rates(self, t: Floats) -> Floats:
        return self.rate / (1.0 + self.decay * t)


@dataclass(frozen=True, repr=False)
class Polynomial(_Timed):
    """``end + (rate - end) * (1 - t / steps) ** power``, and `end` from `steps` on.

    Examples
    --------
    >>> from fastnn.schedules import Polynomial
    >>> Polynomial(1.0, steps=100, power=2.0)([0, 50, 100, 900]).tolist()
    [1.0, 0.25, 0.0, 0.0]
    """

    name: ClassVar[str] = "polynomial"

    rate: float
    steps: int = _FROM_EPOCHS
    power: float = 1.0
    end: float = 0.0

    def _rates(self, t: Floats) -> Floats:
        left = 1.0 - np.minimum(t / self.steps, 1.0)
        return self.end + (self.rate - self.end) * left**self.power


@dataclass(frozen=True, repr=False)
class Cosine(_Timed):
    """Half a cosine from `rate` to `end` in `steps` updates, again and again.

    ``end + (rate - end) / 2 * (1 + cos(pi * u))`` where u is the share of the period
    done. Each period is `growth` times as long as the one before. For a single descent,
    make `steps` the number of all updates.

    I. Loshchilov, F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts",
    ICLR 2017.

    Examples
    --------
    >>> from fastnn.schedules import Cosine
    >>> Cosine(1.0, steps=100)([0, 50, 100]).round(6).tolist()
    [1.0, 0.5, 1.0]
    """

    name: ClassVar[str] = "cosine"

    rate: float
    steps: int = _FROM_EPOCHS
    end: float = 0.0
    growth: float = 1.0

    def _rates(self, t: Floats) -> Floats:
        if self.growth == 1.0:
            share = t / self.steps % 1.0
        else:
            # Period k starts at steps (growth^k - 1) / (growth - 1).
            k = np.floor(
                np.log1p(t * (self.growth - 1.0) / self.steps) / np.log(self.growth)
            )
            first = self._start(k)
            # Logarithms may be off by one at the very first update of a period.
            k = np.where(t < first, k - 1, k)
            k = np.where(t >= self._start(k + 1), k + 1, k)
            share = (t - self._start(k)) / (self.steps * self.growth**k)
        wave = 0.5 * (1.0 + np.cos(np.pi * share))
        return self.end + (self.rate - self.end) * wave

    def _start(self, k: Floats) -> Floats:
        return self.steps * (self.growth**k - 1.0) / (self.growth - 1.0)


@dataclass(frozen=True, repr=False)
class OneCycle(_Timed):
    """Up from ``rate / initial_divisor`` to `rate`, then down to almost nothing.

    Half a cosine up during the share `warmup` of the `steps` updates, half a cosine
    down to ``rate / initial_divisor / final_divisor`` in the rest, and that from then
    on. `steps` is the number of all updates.

    L. Smith, N. Topin, "Super-Convergence: Very Fast Training of Neural Networks Using
    Large Learning Rates", 2018.

    Examples
    --------
    >>> from fastnn.schedules import OneCycle
    >>> OneCycle(1.0, steps=100)([0, 30, 100]).round(6).tolist()
    [0.04, 1.0, 4e-06]
    """

    name: ClassVar[str] = "one_cycle"

    rate: float
    steps: int = _FROM_EPOCHS
    warmup: float = 0.3
    initial_divisor: float = 25.0
    final_divisor: float = 1e4

    def _rates(self, t: Floats) -> Floats:
        top = self.warmup * self.steps
        first = self.rate / self.initial_divisor
        last = first / self.final_divisor
        up = np.minimum(t / top, 1.0)
        down = np.clip((t - top) / (self.steps - top), 0.0, 1.0)
        rising = self.rate + (first - self.rate) * 0.5 * (1.0 + np.cos(np.pi * up))
        falling = last + (self.rate - last) * 0.5 * (1.0 + np.cos(np.pi * down))
        return np.where(t < top, rising, falling)


@dataclass(frozen=True, repr=False)
class CosLog(_Timed):
    """Waves from 0 up to `rate` and back, each twice as long as the one before.

    ``rate / 2 * (1 - cos(2 pi log2(1 + (2^cycles - 1) u)))`` where u is the share of
    the `steps` updates done, and 0 from then on: `cycles` waves. `steps` is the number
    of all updates.

    D. Holzmueller, L. Grinsztajn, I. Steinwart, "Better by Default: Strong Pre-Tuned
    MLPs and Boosted Trees on Tabular Data", NeurIPS 2024, with 4 cycles.

    Examples
    --------
    >>> from fastnn.schedules import CosLog
    >>> CosLog(1.0, steps=30, cycles=4)([0, 2, 6, 14, 30]).round(6).tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0]
    >>> CosLog(1.0, steps=30, cycles=1)([0, 10, 30]).round(6).tolist()
    [0.0, 0.930431, 0.0]
    """

    name: ClassVar[str] = "cos_log"

    rate: float
    steps: int = _FROM_EPOCHS
    cycles: int = 4

    def _rates(self, t: Floats) -> Floats:
        share = np.minimum(t / self.steps, 1.0)
        waves = np.log2(1.0 + (2.0**self.cycles - 1.0) * share)
        return self.rate * 0.5 * (1.0 - np.cos(2.0 * np.pi * waves))


@dataclass(frozen=True, repr=False)
class FlatCosine(_Timed):
    """`rate` for the share `flat` of the `steps` updates, then half a cosine to `end`.

    `end` from then on. `steps` is the number of all updates.

    D. Holzmueller, L. Grinsztajn, I. Steinwart, as for `CosLog`; for decay and dropout.

    Examples
    --------
    >>> from fastnn.schedules import FlatCosine
    >>> FlatCosine(1.0, steps=100)([0, 50, 75, 100]).round(6).tolist()
    [1.0, 1.0, 0.5, 0.0]
    """

    name: ClassVar[str] = "flat_cosine"

    rate: float
    steps: int = _FROM_EPOCHS
    flat: float = 0.5
    end: float = 0.0

    def _rates(self, t: Floats) -> Floats:
        first = self.flat * self.steps
        down = np.clip((t - first) / (self.steps - first), 0.0, 1.0)
        return self.end + (self.rate - self.end) * 0.5 * (1.0 + np.cos(np.pi * down))


@dataclass(frozen=True, repr=False)
class Warmup(_Timed):
    """A straight line up to another schedule, which then starts from its beginning.

    From ``start * schedule(0)`` to ``schedule(0)`` in `steps` updates, then
    ``schedule(t - steps)``.

    P. Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 2.2.

    Examples
    --------
    >>> from fastnn.schedules import Cosine, Warmup
    >>> Warmup(Cosine(1.0, steps=100), steps=10)([0, 5, 10, 60]).round(6).tolist()
    [0.0, 0.5, 1.0, 0.5]
    """

    name: ClassVar[str] = "warmup"

    schedule: Schedule
    steps: int = _FROM_EPOCHS
    start: float = 0.0

    def _rates(self, t: Floats) -> Floats:
        share = np.minimum(t / self.steps, 1.0)
        line = self.start + (1.0 - self.start) * share
        return line * self.schedule._rates(np.maximum(t - self.steps, 0.0))


@dataclass(frozen=True, repr=False)
class Scaled(Schedule):
    """Another schedule times a factor, ``factor * schedule(t)``.

    Examples
    --------
    >>> from fastnn.schedules import Constant, Scaled
    >>> Scaled(Constant(0.5), 0.1)(3)
    0.05
    """

    name: ClassVar[str] = "scaled"

    schedule: Schedule
    factor: float

    def _rates(self, t: Floats) -> Floats:
        return self.factor * self.schedule._rates(t)


SCHEDULES: dict[str, type[Schedule]] = {
    each.name: each
    for each in (
        Constant,
        Step,
        Exponential,
        InverseTime,
        Polynomial,
        Cosine,
        OneCycle,
        CosLog,
        FlatCosine,
        Warmup,
        Scaled,
    )
}


def rates(learning_rate: float | Schedule, first: int, count: int) -> Floats:
    """Return the rates of updates first to first + count - 1, float64 (count,)."""
    if isinstance(learning_rate, Schedule):
        found = learning_rate(np.arange(first, first + count))
        if np.shape(found) != (count,):
            raise ValueError(
                f"{learning_rate!r} gives values of shape {np.shape(found)} for "
                f"{count} updates; expected one for each"
            )
        return np.ascontiguousarray(found, np.float64)
    return np.full(count, learning_rate)


def first_rate(rate: float | Schedule) -> float:
    """Return the rate of update 0, which does not depend on how long an epoch is."""
    return float(rate.in_steps(1)(0)) if isinstance(rate, Schedule) else rate
