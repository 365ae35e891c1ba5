"""Tables as text and as Markdown, and quantities with units."""

from __future__ import annotations

from collections.abc import Sequence

from ._timing import Spread

__all__ = ["aligned", "markdown_table", "quantity", "spread_text"]

# The largest unit in which a value is at least 1, from the largest on.
_UNITS = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")),
    "bytes": ((1e6, "MB"),),
}


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Return lines, the first column aligned left and the others right.

    Examples
    --------
    >>> aligned([["", "ab"], ["x", "c"]])
    ['   ab', 'x   c']
    """
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        first, *others = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([first, *others]).rstrip())
    return lines


def markdown_table(table: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table whose first row is the header."""
    header, *body = table
    rows = [header, ["---"] + ["---:"] * (len(header) - 1), *body]
    return [f"| {' | '.join(row)} |" for row in rows]


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
