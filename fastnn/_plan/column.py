"""One column of a table as data: its kind, categories and statistics.

From these follows what the column becomes as inputs of a network, see `Schema`.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._base.fields import FINITE, NOT_NEGATIVE, check_name, check_number
from fastnn._base.frozen import dataclass

from .tables import as_dates, as_text, is_missing

if TYPE_CHECKING:
    from fastnn._base.types import Array, Floats

__all__ = ["TRUTH", "Column", "Statistics", "as_numbers", "describe_column"]

KINDS = ("numeric", "boolean", "categorical", "date")
_DATE_PARTS = ("days", "year", "month", "weekday", "hour")
TRUTH = {"true": True, "false": False, "1": True, "0": False}
_MANY = 20  # texts; a column of more that hardly repeat names its rows


@dataclass(frozen=True)
class Statistics:
    """Of the numbers that are there: quantiles, range, mean and deviation (of n)."""

    median: float
    q25: float
    q75: float
    min: float
    max: float
    mean: float
    deviation: float

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            kind = NOT_NEGATIVE if name == "deviation" else FINITE
            object.__setattr__(self, name, check_number(name, value, *kind))
        if not self.min <= self.q25 <= self.median <= self.q75 <= self.max:
            raise ValueError(f"min, quartiles and max must be in order, got {self}")

    @property
    def factor(self) -> float:
        """``1 / (q75 - q25)``, else ``2 / (max - min)``, 0 for a constant."""
        for spread, scale in ((self.q75 - self.q25, 1.0), (self.max - self.min, 2.0)):
            if spread > 0.0 and math.isfinite(factor := scale / spread):
                return factor
        return 0.0


@dataclass(frozen=True)
class Column:
    """A column by its name: what it holds, as found in the rows of the training.

    Parameters
    ----------
    name : str
    kind : {"numeric", "boolean", "categorical", "date"}
    categories : tuple of str, default ()
        Of a categorical column, sorted. Other texts count as missing; a column without
        categories (names, say, that never repeat) gives no input.
    statistics : tuple of Statistics, default ()
        Of a numeric column its own; of a date those of its parts: days since 1970,
        year, month, weekday (Monday is 0) and, unless all are midnight, hour.
    missing : float, default 0
        The share of rows without a value.
    """

    name: str
    kind: str
    categories: tuple[str, ...] = ()
    statistics: tuple[Statistics, ...] = ()
    missing: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"name must be a str, got {self.name!r}")
        check_name("kind", self.kind, KINDS)
        object.__setattr__(self, "categories", tuple(self.categories))
        object.__setattr__(self, "statistics", tuple(self.statistics))
        share = ("a number from 0 to 1", lambda x: 0 <= x <= 1)
        missing = check_number("missing", self.missing, *share)
        object.__setattr__(self, "missing", missing)
        if not all(isinstance(each, str) for each in self.categories):
            raise TypeError(f"categories must be of str, got {self.categories!r:.80}")
        if not all(isinstance(each, Statistics) for each in self.statistics):
            raise TypeError(f"statistics must be of Statistics, got {self.statistics}")
        if len({*self.categories}) != len(self.categories):
            raise ValueError(f"categories of column {self.name!r} repeat")
        expected = {"numeric": (1,), "date": (4, 5)}.get(self.kind, (0,))
        if len(self.statistics) not in expected or (
            self.categories and self.kind != "categorical"
        ):
            raise ValueError(
                f"{self.kind} column {self.name!r} has {len(self.statistics)} "
                f"statistics and {len(self.categories)} categories"
            )

    @property
    def has_indicator(self) -> bool:
        """Whether an input of its own tells that the number or date is missing."""
        return self.missing > 0.0 and self.kind in ("numeric", "date")

    @property
    def number_names(self) -> list[str]:
        """The names of the inputs that are numbers."""
        if self.kind == "numeric":
            return [self.name]
        parts = zip(_DATE_PARTS, self.statistics, strict=False)
        return [f"{self.name}.{part}" for part, _ in parts]

    @property
    def flag_names(self) -> list[str]:
        """The names of the inputs that are 0, 1 or -1."""
        names = [f"{self.name} is missing"] if self.has_indicator else []
        if self.kind == "boolean":
            names.append(self.name)
        elif len(self.categories) == 2:
            names.append("{}={}|{}".format(self.name, *self.categories))
        else:
            names += [f"{self.name}={each}" for each in self.categories]
        return names

    @property
    def n_inputs(self) -> int:
        """The number of inputs that the column becomes; 0: it is not used."""
        return len(self.number_names) + len(self.flag_names)

    def write_numbers(self, values: Array, out: Array) -> None:
        """Write the scaled numbers to `out` (n, k), 0 where they are missing."""
        parts: list[Floats] = []
        if self.kind == "numeric":
            parts = [self._numbers(values)]
        elif self.kind == "date":
            parts = _date_parts(self._dates(values), len(self.statistics))
        for j, (part, of) in enumerate(zip(parts, self.statistics, strict=True)):
            u = np.where(np.isnan(part), 0.0, (part - of.median) * of.factor)
            with np.errstate(over="ignore"):  # of the square: the limit is 3, or 0 here
                u /= np.sqrt(1.0 + np.square(u / 3.0))
            out[:, j] = u

    def write_flags(self, values: Array, out: Array) -> None:
        """Write the flags to `out` (n, k)."""
        out[...] = 0.0
        j = 0
        if self.has_indicator:
            out[:, 0] = is_missing(
                self._numbers(values) if self.kind == "numeric" else self._dates(values)
            )
            j = 1
        if self.kind == "boolean":
            out[:, j] = self._truths(values)
        elif len(self.categories) == 2:
            codes = self.codes(values)
            out[:, j] = (codes == 0) * 1.0 - (codes == 1) * 1.0
        elif self.categories:
            codes = self.codes(values)
            known = np.flatnonzero(codes >= 0)
            out[known, j + codes[known]] = 1.0

    def codes(self, values: Array) -> Array:
        """The number of each row's category, int64 (n,); -1 if missing or unknown."""
        index: dict[Any, int] = {each: i for i, each in enumerate(self.categories)}
        text = as_text(values)
        codes = map(index.get, text.tolist(), itertools.repeat(-1))
        return np.fromiter(codes, np.int64, len(text))

    def numbers(self, values: Array) -> Array:
        """The values as they are, for inputs that nothing scales: (n,)."""
        return values if values.dtype.kind in "biuf" else self._numbers(values)

    def _numbers(self, values: Array) -> Floats:
        return as_numbers(values, self._where)

    @property
    def _where(self) -> str:
        return f"column {self.name!r}"

    def _dates(self, values: Array) -> Array:
        if values.dtype.kind == "M":
            return values
        missing = is_missing(values)
        if missing.all():
            return np.full(len(values), "NaT", dtype="datetime64[s]")
        dates = as_dates(values) if values.dtype.kind == "O" else None
        if dates is not None:
            return dates
        for row in np.flatnonzero(~missing):
            if values.dtype.kind != "O" or as_dates(values[row : row + 1]) is None:
                raise _wrong(self._where, values, int(row), "a date such as 2026-11-28")
        raise AssertionError("unreachable")  # pragma: no cover

    def _truths(self, values: Array) -> Floats:
        """1 for True, -1 for False, 0 where missing."""
        if values.dtype.kind == "b":
            return np.where(values, 1.0, -1.0)
        known = {None: 0.0}
        for row, value in enumerate(text := as_text(values)):
            if value not in known:
                truth = TRUTH.get(value.lower())
                if truth is None:
                    raise _wrong(self._where, values, row, "true or false")
                known[value] = 1.0 if truth else -1.0
        return np.array([known[value] for value in text])


def as_numbers(values: Array, where: str) -> Floats:
    """Return a column as float64 (n,), NaN where it is missing."""
    if values.dtype.kind == "O":
        numbers = np.full(len(values), np.nan)
        for row, value in enumerate(values):
            if value is not None:
                try:
                    numbers[row] = float(value)
                except ValueError:
                    raise _wrong(where, values, row, "a number") from None
    elif values.dtype.kind == "M":
        raise _wrong(where, values, 0, "a number")
    else:
        numbers = values.astype(np.float64)
    infinite = np.isinf(numbers)
    if infinite.any():
        raise _wrong(where, values, int(infinite.argmax()), "a finite number")
    return numbers


def _wrong(where: str, values: Array, row: int, expected: str) -> ValueError:
    value = values[row]
    shown = repr(value) if isinstance(value, str) else str(value)
    return ValueError(f"{where}, row {row} is {shown:.80}; expected {expected}")


def describe_column(name: str, values: Array, max_categories: int) -> Column:
    """Return what the values of a column say about it."""
    missing = is_missing(values)
    share = float(missing.mean())
    kind = values.dtype.kind
    if kind == "O":
        there = values[~missing]
        if len(there) and isinstance(there[0], bool):
            return Column(name, "boolean", missing=share)
        if len(there) and (dates := as_dates(there)) is not None:
            return _date_column(name, dates, share)
        return Column(
            name, "categorical", _frequent(there, max_categories), missing=share
        )
    if kind == "b":
        return Column(name, "boolean")
    if kind == "M":
        return _date_column(name, values[~missing], share)
    numbers = as_numbers(values, f"column {name!r}")
    statistics = _statistics(numbers[~missing])
    return Column(name, "numeric", (), (statistics,), share)


def _date_column(name: str, dates: Array, share: float) -> Column:
    parts = _date_parts(dates, len(_DATE_PARTS))
    if not parts[-1].any():
        parts.pop()
    return Column(name, "date", (), tuple(map(_statistics, parts)), share)


_NOTHING = Statistics(*[0.0] * 7)


def _statistics(values: Floats) -> Statistics:
    if not len(values):
        return _NOTHING
    q = np.quantile(values, [0.0, 0.25, 0.5, 0.75, 1.0]).tolist()
    with np.errstate(over="ignore"):
        mean, deviation = float(values.mean()), float(values.std())
    mean = mean if math.isfinite(mean) else q[2]
    deviation = deviation if math.isfinite(deviation) else 0.0
    return Statistics(q[2], q[1], q[3], q[0], q[4], mean, deviation)


def _date_parts(dates: Array, n_parts: int) -> list[Floats]:
    """Days since 1970, year, month, weekday and hour as float64; NaN for NaT."""
    absent = np.isnat(dates)
    seconds = np.where(absent, 0, dates.astype(np.int64))
    years = dates.astype("datetime64[Y]").astype(np.int64) + 1970
    months = dates.astype("datetime64[M]").astype(np.int64) % 12 + 1
    day = seconds // 86400
    parts = (seconds / 86400, years, months, (day + 3) % 7, seconds % 86400 / 3600)
    return [np.where(absent, np.nan, part) for part in parts[:n_parts]]


def _frequent(texts: Array, most: int) -> tuple[str, ...]:
    """The categories, sorted: the most frequent ones; none if hardly any repeats."""
    count = Counter(texts.tolist())
    if len(count) > max(_MANY, len(texts) // 2):
        return ()
    names = sorted(count)
    if len(names) > most:
        names = sorted(sorted(names, key=lambda each: -count[each])[:most])
    return tuple(names)
