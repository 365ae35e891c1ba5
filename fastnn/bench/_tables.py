"""Quantities with units, and how far they spread."""

from __future__ import annotations

from ._timing import Spread

__all__ = ["quantity", "spread_text"]

# The largest unit in which a value is at least 1, from the largest on.
_UNITS = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")),
    "bytes": ((1e6, "MB"),),
}


def quantity(value: float, unit: str) -> str:
    """Return seconds or bytes with three digits and a unit.

    Examples
    --------
    >>> quantity(2.5e-6, "s"), quantity(47e6, "bytes")
    ('2.50 us', '47 MB')
    """
    units = _UNITS[unit]
    scale, name = next((u for u in units if value >= u[0]), units[-1])
    number = value / scale
    digits = 0 if unit == "bytes" else 2 if number < 10 else 1 if number < 100 else 0
    return f"{number:.{digits}f} {name}"


def spread_text(spread: Spread) -> str:
    """Return half the distance between the quartiles in percent; "" for one value.

    Examples
    --------
    >>> spread_text(Spread(10.0, 9.0, 11.0))
    ' +-10%'
    """
    if spread.high == spread.low:
        return ""
    return f" +-{50 * (spread.high - spread.low) / spread.median:.0f}%"
