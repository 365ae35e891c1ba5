"""What was measured, as a table, as Markdown and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ._bench_timing import Spread

__all__ = ["Cell", "Report", "Row", "describe_machine"]

# The largest unit in which a value is at least 1, from the largest on.
_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))


@dataclass(frozen=True)
class Cell:
    """One peer on one row: its values, and how many times those of fastnn they are."""

    value: Spread
    ratio: Spread
    setting: str


@dataclass(frozen=True)
class Row:
    """What was measured, in seconds or bytes, by peer."""

    name: str
    unit: str  # "s" or "bytes"
    cells: dict[str, Cell]


@dataclass
class Report:
    """A whole run."""

    quick: bool
    machine: dict[str, Any]
    peers: dict[str, str]  # present: version
    absent: list[str]
    rows: list[Row] = field(default_factory=list)

    def text(self) -> str:
        """Return an aligned table between two notes."""
        lines = [self._heading(), ""]
        table = self._table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            first, *others = (
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            lines.append("  ".join([first, *others]).rstrip())
        return "\n".join([*lines, "", *self._notes()])

    def markdown(self) -> str:
        """Return the same with a Markdown table."""
        header, *body = self._table()
        lines = [_markdown_row(header), _markdown_row(["---"] * len(header))]
        lines += [_markdown_row(row) for row in body]
        return "\n".join([self._heading(), "", *lines, "", *self._notes()]) + "\n"

    def json(self) -> str:
        """Return all numbers: seconds, bytes and ratios with their quartiles."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def _heading(self) -> str:
        machine = self.machine
        return (
            f"{machine['processor']}, {machine['cpus']} CPUs; "
            + ", ".join(f"{name} {version}" for name, version in self.peers.items())
            + f"; {machine['isa']}, {machine['threads']} threads"
        )

    def _table(self) -> list[list[str]]:
        """Rows of cells: the name, then the peers, fastnn first."""
        table = [["", *self.peers]]
        for row in self.rows:
            cells = [_cell_text(row, name) for name in self.peers]
            table.append([row.name, *cells])
        return table

    def _notes(self) -> list[str]:
        notes = [
            "Medians; +- is half the distance of the quartiles; in brackets: the time "
            "or memory",
            "of the peer / that of fastnn, from neighbouring blocks.",
        ]
        if self.absent:
            notes.append(
                f"Not installed, not measured: {', '.join(self.absent)} "
                '(pip install ".[bench]" in the source folder).'
            )
        return notes


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell_text(row: Row, peer: str) -> str:
    cell = row.cells.get(peer)
    if cell is None:
        return "-"
    value = cell.value
    text = _quantity(value.median, row.unit)
    if value.high > value.low:  # more than one was measured
        text += f" +-{50 * (value.high - value.low) / value.median:.0f}%"
    return text if peer == "fastnn" else f"{text} ({cell.ratio.median:.2f}x)"


def _quantity(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value / 1e6:.0f} MB"
    scale, name = next((t for t in _TIMES if value >= t[0]), _TIMES[-1])
    number = value / scale
    return f"{number:.{2 if number < 10 else 1 if number < 100 else 0}f} {name}"


def describe_machine(isa: str, threads: int) -> dict[str, Any]:
    """Return the processor and what fastnn makes of it."""
    return {
        "processor": _processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "isa": isa,
        "threads": threads,
    }


def _processor(path: Path = Path("/proc/cpuinfo")) -> str:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1] for line in lines if line.startswith("model name")]
    return names[0].strip() if names else platform.processor()
