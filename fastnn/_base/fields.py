"""Checks of the scalar fields of specs: each returns the value in its plain type.

Specs are stored in model files as JSON, so numbers become Python's own ``int`` and
``float`` here; NumPy scalars are welcome from users.
"""

import math
import operator
from collections.abc import Callable, Collection
from dataclasses import fields
from numbers import Real
from reprlib import repr as short  # a hostile file's nested lists stay readable
from typing import Any

from .names import close_to

# Expected text and test of common kinds of numbers, for `check_number`.
FINITE = ("a finite number", lambda x: True)
NOT_NEGATIVE = ("a finite number >= 0", lambda x: x >= 0)
POSITIVE = ("a finite number > 0", lambda x: x > 0)
BELOW_1 = ("a number >= 0 and < 1", lambda x: 0 <= x < 1)

MAX_COUNT = 2**53
MAX_DIMENSION = 2**24  # a model file cannot make a reader compute with larger ones


def check_integer(
    name: str, value: Any, minimum: int, maximum: int | None = None
) -> int:
    """Return ``value`` as an int of minimum..maximum."""
    limit = f"from {minimum} to {maximum}" if maximum else f">= {minimum}"
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer {limit}, got {short(value)}")
    number = operator.index(value)
    if number < minimum or (maximum is not None and number > maximum):
        raise ValueError(f"{name} must be an integer {limit}, got {short(number)}")
    return number


def check_count(name: str, value: Any) -> int:
    """Return ``value`` as an int of 1..2**53, which float64 and model files hold."""
    number = check_integer(name, value, 1)
    if number > MAX_COUNT:
        raise ValueError(f"{name} must be at most 2**53, got {short(number)}")
    return number


def check_dimension(name: str, value: Any) -> int:
    """Return ``value`` as an int of 1..2**24."""
    return check_integer(name, value, 1, MAX_DIMENSION)


def check_number(
    name: str, value: Any, expected: str, accept: Callable[[float], bool]
) -> float:
    """Return ``value`` as a finite float for which ``accept`` is true."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be {expected}, got {short(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and accept(number)):
        raise ValueError(f"{name} must be {expected}, got {short(value)}")
    return number


def is_number(value: Any) -> bool:
    """Whether ``value`` is one real number: Python's, NumPy's or of another library."""
    if isinstance(value, str | bytes):  # NumPy's have __float__
        return False
    return hasattr(value, "__float__") and getattr(value, "ndim", 0) == 0


def check_bool(name: str, value: Any) -> bool:
    """Return ``value`` if it is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {short(value)}")
    return value


def check_name(name: str, value: Any, known: Collection[str]) -> str:
    """Return ``value`` if it is one of the ``known`` names."""
    if isinstance(value, str) and value in known:
        return value
    expected = "one of " + ", ".join(repr(each) for each in known)
    kind = ValueError if isinstance(value, str) else TypeError
    hint = close_to(value, known)
    raise kind(f"{name} must be {expected}, got {short(value)}{hint}")


def short_repr(spec: Any) -> str:
    """Return the repr of a dataclass without the fields that have their defaults."""
    given = ", ".join(
        f"{each.name}={getattr(spec, each.name)!r}"
        for each in fields(spec)
        if not getattr(spec, each.name) == each.default  # noqa: SIM201
    )
    return f"{type(spec).__name__}({given})"
