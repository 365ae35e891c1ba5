"""Tables as text and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["aligned", "markdown_table"]


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
