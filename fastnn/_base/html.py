"""What notebooks show: small tables and curves, self-contained, everything escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

__all__ = ["curves", "table"]


def table(
    title: str, head: Sequence[str], rows: Iterable[Sequence[Any]], foot: str = ""
) -> str:
    """Return a table of texts, those that are numbers to the right."""

    def row(cells: Sequence[Any], tag: str) -> str:
        made = (
            f'<{tag} style="text-align:'
            f'{"left" if isinstance(cell, str) else "right"}">'
            f"{escape(_text(cell))}</{tag}>"
            for cell in cells
        )
        return f"<tr>{''.join(made)}</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    foot = f"<div>{escape(foot)}</div>" if foot else ""
    return (
        f"<div><strong>{escape(title)}</strong><table><thead>{row(head, 'th')}</thead>"
        f"<tbody>{body}</tbody></table>{foot}</div>"
    )


def _text(cell: Any) -> str:
    if isinstance(cell, float):
        return f"{cell:.4g}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def curves(lines: dict[str, Sequence[float]]) -> str:
    """Return a picture (SVG) of numbers by epoch, with a legend."""
    finite = [
        value for line in lines.values() for value in line if abs(value) < float("inf")
    ]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    width, height, colors = 320, 120, ("#1f77b4", "#ff7f0e")
    shapes = []
    for i, (name, line) in enumerate(lines.items()):
        across = width / max(len(line) - 1, 1)
        points = " ".join(
            f"{j * across:.1f},{height * (high - value) / ((high - low) or 1):.1f}"
            for j, value in enumerate(line)
            if abs(value) < float("inf")
        )
        color = colors[i % len(colors)]
        shapes.append(
            f'<polyline points="{points}" fill="none" stroke="{color}" '
            f'stroke-width="1.5"/><text x="{width - 4}" y="{14 + 14 * i}" '
            f'text-anchor="end" font-size="12" fill="{color}">{escape(name)}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
        f'height="{height + 4}" viewBox="-2 -2 {width + 4} {height + 4}" role="img">'
        f"{''.join(shapes)}</svg>"
    )
