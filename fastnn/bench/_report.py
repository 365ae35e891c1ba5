"""The report of the comparison: as text, as Markdown and as JSON."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fastnn._base.text import aligned, markdown_table

from ._tables import quantity, spread_text
from ._timing import Spread

__all__ = ["Cell", "OnThreads", "Report", "Row", "describe_machine"]


@dataclass(frozen=True)
class Cell:
    """One peer on one row: its values, and their ratios to those of fastnn."""

    value: Spread
    ratio: Spread
    setting: str


@dataclass(frozen=True)
class OnThreads:
    """fastnn on at most some threads: its time, and its share of their FMA peak."""

    seconds: Spread
    share: Spread


@dataclass(frozen=True)
class Row:
    """One line of the tables: seconds or bytes, by peer."""

    name: str
    unit: str  # "s" or "bytes"
    cells: dict[str, Cell]
    on_threads: dict[int, OnThreads] = field(default_factory=dict)

    def best(self) -> str:
        """Return the peer that needs least; fastnn itself if there is no other."""
        others = [peer for peer in self.cells if peer != "fastnn"] or ["fastnn"]
        return min(others, key=lambda peer: self.cells[peer].ratio.median)

    def standing(self) -> int:
        """Return 1 if fastnn needs less than the best peer, -1 if more, 0 if level.

        Level: 1 lies between the quartiles of the ratio, or within 1 % of its median.
        """
        ratio = self.cells[self.best()].ratio
        if ratio.low <= 1 <= ratio.high or abs(ratio.median - 1) < 0.01:
            return 0
        return 1 if ratio.median > 1 else -1

    def verdict(self) -> str:
        """Return "ahead", "level" or "BEHIND"."""
        return {1: "ahead", 0: "level", -1: "BEHIND"}[self.standing()]


@dataclass
class Report:
    """A whole run."""

    quick: bool
    machine: dict[str, Any]
    dtype: str
    peers: dict[str, str]  # present: version
    absent: list[str]
    dropped: dict[str, str]  # from the environment of the peers
    rows: list[Row] = field(default_factory=list)

    def text(self) -> str:
        """Return aligned tables, of times, ratios and shares, between notes."""
        lines = [*self._heading(), ""]
        for table in self._tables():
            lines += [*aligned(table), ""]
        return "\n".join([*lines, *self._notes()])

    def markdown(self) -> str:
        """Return the same with Markdown tables."""
        head = [f"{line}  " for line in self._heading()]  # each on a line of its own
        notes = [f"{line}  " for line in self._notes()]
        lines = [*head, ""]
        for table in self._tables():
            lines += [*markdown_table(table), ""]
        return "\n".join([*lines, *notes]) + "\n"

    def json(self) -> str:
        """Return all numbers: seconds, bytes and ratios with their quartiles."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def _heading(self) -> list[str]:
        machine = self.machine
        lines = [
            f"{machine['processor']}, {machine['cpus']} CPUs; {machine['isa']}, "
            f"{self.dtype}, {machine['threads']} threads"
            + "; a quick run"
            * self.quick,
            ", ".join(f"{n} {v}" for n, v in self.peers.items() if n != "reference"),
        ]
        if self.dropped:
            named = ", ".join(f"{name}={value}" for name, value in self.dropped.items())
            lines.append(f"dropped for the peers: {named}")
        return lines

    def _tables(self) -> list[list[list[str]]]:
        return [self._times(), self._ratios(), self._standings()]

    def _times(self) -> list[list[str]]:
        """Seconds or bytes of each; the spreads of peers are with their ratios."""
        table = [["time or memory", *map(_short, self.peers)]]
        for row in self.rows:
            cells = []
            for peer in self.peers:
                cell = row.cells.get(peer)
                text = "-" if cell is None else quantity(cell.value.median, row.unit)
                if peer == "fastnn" and cell is not None:
                    text += spread_text(cell.value)
                cells.append(text)
            table.append([row.name, *cells])
        return table

    def _ratios(self) -> list[list[str]]:
        """The ratios of the peers to fastnn."""
        peers = [peer for peer in self.peers if peer != "fastnn"]
        table = [["peer / fastnn", *map(_short, peers)]]
        for row in self.rows:
            cells = [row.cells.get(peer) for peer in peers]
            table.append([row.name, *map(_ratio_text, cells)])
        return table

    def _standings(self) -> list[list[str]]:
        """How close fastnn is to the peak, and whether it beats the best peer."""
        counts = sorted({1, self.machine["threads"]})
        table = [
            [
                "share of the FMA peak",
                *(f"{n} thread{'s' * (n > 1)}" for n in counts),
                *("best peer", "best peer / fastnn", "fastnn is"),
            ]
        ]
        for row in self.rows:
            own = [row.on_threads.get(n) for n in counts]
            shares = ["-" if o is None else f"{100 * o.share.median:.0f}%" for o in own]
            best = row.best()
            ratio = _ratio_text(row.cells[best])
            table.append([row.name, *shares, _short(best), ratio, row.verdict()])
        return table

    def _notes(self) -> list[str]:
        behind = [f"{r.name} ({r.best()})" for r in self.rows if r.standing() < 0]
        ahead = sum(row.standing() > 0 for row in self.rows)
        level = len(self.rows) - ahead - len(behind)
        notes = [
            "Medians of warm blocks; +- is half the distance between the quartiles. "
            "Ratios are those of neighbouring blocks.",
            "Shares are those of fastnn's matrix products, of the peak of the threads "
            "that it may use.",
            "Compared with the best peer of each line, fastnn is "
            f"ahead on {ahead}, level on {level}, behind on {len(behind)} of "
            f"{len(self.rows)} lines.",
            *(f"Behind: {line}." for line in behind),
        ]
        if self.absent:
            notes.append(
                f"Not installed, not measured: {', '.join(self.absent)} "
                '(pip install ".[bench]" in the source folder).'
            )
        return notes


def _ratio_text(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    return _digits(cell.ratio.median) + spread_text(cell.ratio)


def _digits(ratio: float) -> str:
    return f"{ratio:.{2 if ratio < 9.995 else 1 if ratio < 99.95 else 0}f}"


def _short(peer: str) -> str:
    """Shorten a name: seven peers must fit into 120 columns."""
    return {"scikit-learn": "sklearn", "onnxruntime": "onnxrt"}.get(peer, peer)


def describe_machine(isa: str, threads: int) -> dict[str, Any]:
    """Return the processor, the system and what fastnn uses of them."""
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
