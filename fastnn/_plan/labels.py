"""The target of a table: classes by name, or numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._base.fields import FINITE, NOT_NEGATIVE, check_name, check_number
from fastnn._base.frozen import dataclass

from .column import TRUTH, as_numbers
from .tables import as_text, is_missing

if TYPE_CHECKING:
    from fastnn._base.types import Array

__all__ = ["Target", "describe_target", "encode_target"]

_FEW = 20  # different whole numbers are classes
_ROWS_EACH = 100  # of classes 0, 1, ... that are more


@dataclass(frozen=True)
class Target:
    """What a model predicts: one of several classes, or a number.

    Parameters
    ----------
    name : str or None
        Of the column, if it was one of the table.
    classes : tuple of str, int, float or bool, default ()
        Class c is ``classes[c]``; all are of one type. None: the target is a number.
    mean, deviation, min, max : float, default 0
        Of the numbers in training.
    """

    name: str | None
    classes: tuple[Any, ...] = ()
    mean: float = 0.0
    deviation: float = 0.0
    min: float = 0.0
    max: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str | None):
            raise TypeError(f"name must be a str or None, got {self.name!r:.80}")
        object.__setattr__(self, "classes", tuple(self.classes))
        types = {type(each) for each in self.classes}
        if len(types) > 1 or not types <= {str, int, float, bool}:
            raise TypeError(
                "classes must be all of str, int, float or bool, got "
                f"{self.classes!r:.80}"
            )
        if len({*self.classes}) != len(self.classes):
            raise ValueError(f"classes must differ, got {self.classes!r:.80}")
        if types <= {int, float} and max(map(abs, self.classes), default=0) >= 2**63:
            raise ValueError(f"classes must be finite, got {self.classes!r:.80}")
        for name in ("mean", "deviation", "min", "max"):
            kind = NOT_NEGATIVE if name == "deviation" else FINITE
            value = check_number(name, getattr(self, name), *kind)
            object.__setattr__(self, name, value)
        if self.min > self.max:
            raise ValueError(f"min must be at most max, got {self.min} and {self.max}")


def describe_target(values: Array, name: str | None, task: str | None) -> Target:
    """Return the target that the values of a column are."""
    if task is not None:
        check_name("task", task, ("classes", "values"))
    where = "y" if name is None else f"column {name!r}"
    missing = is_missing(values)
    if missing.any():
        raise ValueError(
            f"{where}, row {int(missing.argmax())} is missing; expected a target in "
            "every row"
        )
    classes = _classes_of(values, task)
    if classes is not None:
        return Target(name, tuple(classes))
    numbers = encode_target(Target(name), values, where)
    statistics = numbers.mean(), numbers.std(), numbers.min(), numbers.max()
    return Target(name, (), *map(float, statistics))


def encode_target(target: Target, values: Array, where: str) -> Array:
    """Return labels int64 (n,), or numbers float64 (n,)."""
    if not target.classes:
        numbers = as_numbers(values, where)
        absent = np.isnan(numbers)
        if absent.any():
            row = int(absent.argmax())
            raise ValueError(f"{where}, row {row} is missing; expected a number")
        return numbers
    given: Any
    if isinstance(target.classes[0], str):
        given = as_text(values)
    elif values.dtype.kind in "OM":
        given = [_parsed(each) for each in as_text(values)]
    else:
        given = values.tolist()
    index = {each: label for label, each in enumerate(target.classes)}
    labels = np.fromiter((index.get(each, -1) for each in given), np.int64, len(values))
    unknown = labels < 0
    if unknown.any():
        row = int(unknown.argmax())
        known = ", ".join(repr(each) for each in target.classes[:20])
        what = repr(given[row])
        if given[row] is None or given[row] != given[row]:
            what = "missing"
        raise ValueError(
            f"{where}, row {row} is {what:.80}; expected one of the classes "
            f"{known}{', ...' if len(target.classes) > 20 else ''}"
        )
    return labels


def _classes_of(values: Array, task: str | None) -> list[Any] | None:
    """The classes in order; None if the values are numbers."""
    if task == "values":
        return None
    if values.dtype.kind == "b":
        return [False, True]
    if values.dtype.kind in "OM":
        return sorted({*as_text(values)})
    distinct = np.unique(as_numbers(values, "the label"))
    whole = bool(
        (distinct == np.floor(distinct)).all() and (abs(distinct) < 2**53).all()
    )
    if task is None:
        n = len(distinct)
        counted = n * _ROWS_EACH <= len(values) and distinct[-1] == n - 1
        if not whole or not (n <= _FEW or (counted and distinct[0] == 0)):
            return None
    return [int(each) for each in distinct] if whole else distinct.tolist()


def _parsed(text: str | None) -> Any:
    """The number or truth value that a text is."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return TRUTH.get(text.lower(), text)
