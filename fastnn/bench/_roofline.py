"""``fastnn bench --roofline``: how close fastnn comes to the limits of this machine.

A task cannot be faster than its arithmetic at the FMA peak, nor than its bytes at the
bandwidth of the place they lie in: the lower of the two roofs limits it. Roofs and
tasks take turns, so that a change of the clock affects both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from fastnn._base.text import aligned, markdown_table
from fastnn._base.version import __version__
from fastnn._core.native.engine import build_info, get_num_threads

from ._child import Child
from ._report import describe_machine
from ._roofs import Level, Roofs
from ._tables import quantity, spread_text
from ._timing import (
    QUICK_SECONDS,
    TIMED_SECONDS,
    Spread,
    block_seconds,
    check_seconds,
    ratios,
    take_turns,
)
from .peers.fastnn import lane
from .peers.tasks import Task, flops, footprint, make_tasks, select, traffic

__all__ = ["Roof", "RooflineReport", "RooflineRow", "measure_roofline"]


@dataclass(frozen=True)
class Roof:
    """A rate of this machine, in flops or bytes a second, by threads."""

    name: str
    unit: str  # "flops" or "bytes"
    by_threads: dict[int, Spread]


@dataclass(frozen=True)
class RooflineRow:
    """A task on some threads, and the roofs above it.

    Parameters
    ----------
    name, kind : str
        Of the task.
    allowed, threads : int
        Threads that it was allowed, and that it used.
    seconds : Spread
        Of one run of the task.
    flops, bytes : int
        See `flops` and `traffic`.
    rate : Spread
        Flops a second.
    peak_share : Spread
        Relative to the FMA peak of those threads.
    level : str
        The first place that holds its data.
    roof : str
        Its limit: "FMA", or the level whose bandwidth is the limit.
    roof_share : Spread
        Relative to that limit.
    to_first : Spread
        The time of Adam's step / that of SGD's; 1 for others.
    """

    name: str
    kind: str
    allowed: int
    threads: int
    seconds: Spread
    flops: int
    bytes: int
    rate: Spread
    peak_share: Spread
    level: str
    roof: str
    roof_share: Spread
    to_first: Spread

    @property
    def intensity(self) -> float:
        """Flops per byte."""
        return self.flops / self.bytes


@dataclass
class RooflineReport:
    """A whole run."""

    quick: bool
    machine: dict[str, Any]
    dtype: str
    version: str
    levels: list[Level]
    roofs: list[Roof] = field(default_factory=list)
    rows: list[RooflineRow] = field(default_factory=list)

    def text(self) -> str:
        """Return two aligned tables between notes."""
        return "\n".join(
            [
                self._heading(),
                "",
                *aligned(self._roof_table()),
                "",
                *aligned(self._row_table()),
                "",
                *_NOTES,
            ]
        )

    def markdown(self) -> str:
        """Return the same with Markdown tables."""
        roofs, rows = self._roof_table(), self._row_table()
        tables = [*markdown_table(roofs), "", *markdown_table(rows)]
        return "\n".join([self._heading(), "", *tables, "", *_NOTES]) + "\n"

    def json(self) -> str:
        """Return all numbers, with quartiles."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def _heading(self) -> str:
        machine = self.machine
        return (
            f"{machine['processor']}, {machine['cpus']} CPUs; fastnn {self.version}; "
            f"{machine['isa']}, {self.dtype}, {machine['threads']} threads"
            + "; a quick run"
            * self.quick
        )

    def _roof_table(self) -> list[list[str]]:
        counts = list(self.roofs[0].by_threads)
        table = [["", *(_threads_text(n) for n in counts)]]
        for roof in self.roofs:
            unit = "GFLOP/s" if roof.unit == "flops" else "GB/s"
            table.append(
                [roof.name]
                + [_rate_text(roof.by_threads[n]) + f" {unit}" for n in counts]
            )
        return table

    def _row_table(self) -> list[list[str]]:
        table = [
            [
                *("", "threads", "time", "GFLOP/s", "of peak", "flop/B"),
                *("limit", "of it", "to SGD"),
            ]
        ]
        for row in self.rows:
            used, allowed = row.threads, row.allowed
            adam = row.kind == "step" and row.to_first.median != 1.0
            table.append(
                [
                    row.name,
                    f"{used}" if used == allowed else f"{used} of {allowed}",
                    quantity(row.seconds.median, "s") + spread_text(row.seconds),
                    f"{row.rate.median / 1e9:.1f}",
                    f"{100 * row.peak_share.median:.0f}%",
                    f"{row.intensity:.1f}",
                    row.roof,
                    f"{100 * row.roof_share.median:.0f}%",
                    f"{row.to_first.median:.2f}x" if adam else "",
                ]
            )
        return table


_NOTES = [
    "Medians of warm blocks; +- is half the distance between the quartiles. of peak:",
    "of the peak of the threads used (2 of 4: it was allowed 4). flop/B: flops per",
    "byte, if each product reads its operands once. limit: the lower of the peak (FMA)",
    "and flop/B x the bandwidth, the faster of read and copy, of the first place that",
    "holds the data. to SGD: the time of Adam's step / that of SGD's. A task far below",
    "its limit spends its time on calls, latency, barriers and what is not a product.",
]


def measure_roofline(
    quick: bool = False,
    seconds: float | None = None,
    *,
    only: Sequence[str] = (),
    dtype: str = "float32",
    tasks: Iterable[Task] | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> RooflineReport:
    """Measure roofs and fastnn under them.

    Every task is done on one thread and on as many as fastnn chooses.

    Parameters
    ----------
    quick : bool, default False
        Fewer tasks and shorter blocks.
    seconds : float, optional
        For each task, the roofs above it included: 4, or 0.5 if quick. Three blocks of
        each are measured in any case.
    only : sequence of str, default ()
        Parts of the names of the tasks to measure; all if there are none.
    dtype : {"float32", "float64"}
        Of weights and rows.
    tasks : iterable of Task, optional
        Instead of those of `make_tasks`.
    progress : callable, optional
        Called with the name of what is measured next.

    Raises
    ------
    ValueError
        An unknown dtype, no task of such a name, or seconds that are negative or not
        finite.
    """
    if seconds is None:
        seconds = 0.5 if quick else 4.0
    check_seconds(seconds)
    tasks = make_tasks(quick, dtype) if tasks is None else list(tasks)
    names = select([task.name for task in tasks], only)
    tasks = [task for task in tasks if task.name in names]
    timed = QUICK_SECONDS if quick else TIMED_SECONDS
    most = get_num_threads()
    counts = [1, most] if most > 1 else [1]
    roofs = Roofs()
    machine = describe_machine(str(build_info()["isa_active"]), most)
    report = RooflineReport(quick, machine, dtype, __version__, roofs.levels)
    progress("roofs")
    report.roofs = _measure_roofs(roofs, counts, seconds)
    for group in _groups(tasks):
        progress(group[0].name)
        report.rows += _measure_group(group, counts, roofs, seconds, timed)
    return report


def _groups(tasks: list[Task]) -> list[list[Task]]:
    """Group the tasks that differ only in the optimizer: they are measured together."""
    groups: dict[tuple[Any, ...], list[Task]] = {}
    for task in tasks:
        groups.setdefault((task.kind, task.sizes, task.rows), []).append(task)
    return list(groups.values())


def _measure_roofs(roofs: Roofs, counts: list[int], seconds: float) -> list[Roof]:
    measures: list[tuple[str, str, Callable[[int], float]]] = [
        (f"{_peak_name()}, {dtype}", "flops", partial(roofs.flops, dtype))
        for dtype in ("float32", "float64")
    ]
    for level in roofs.levels:
        for how in ("read", "copy"):
            name = f"{level.name}, {how}"
            measures.append((name, "bytes", partial(roofs.bandwidth, how, level)))
    # All of them in turns: a slow second of the machine then affects them all.
    blocks = [partial(measure, n) for _, _, measure in measures for n in counts]
    rates = iter(take_turns(blocks, seconds / 4 * len(measures)))
    return [
        Roof(name, unit, {n: Spread.of(next(rates)) for n in counts})
        for name, unit, _ in measures
    ]


def _measure_group(
    group: list[Task],
    counts: list[int],
    roofs: Roofs,
    seconds: float,
    timed: float,
) -> list[RooflineRow]:
    blocks: dict[tuple[Any, ...], Callable[[], float]] = {}
    used: dict[tuple[Task, int], int] = {}
    for task in group:
        for allowed in counts:
            threads = 1 if allowed == 1 else _threads_used(task, allowed)
            used[task, allowed] = threads
            level = roofs.level_of(footprint(task), threads)
            blocks["FMA", threads] = partial(roofs.flops, task.dtype, threads)
            for how in ("read", "copy"):
                blocks[how, level, threads] = partial(
                    roofs.bandwidth, how, level, threads
                )
            run = lane(task, "native", allowed).run
            run()  # touches memory
            blocks[task, allowed] = partial(block_seconds, run, timed=timed)
    values = dict(zip(blocks, take_turns(list(blocks.values()), seconds), strict=True))
    return [
        _row(task, allowed, threads, roofs, values, values[group[0], allowed])
        for (task, allowed), threads in used.items()
    ]


def _threads_used(task: Task, allowed: int) -> int:
    with Child("fastnn") as child:
        return child.threads_used(task, allowed)


def _row(
    task: Task,
    allowed: int,
    threads: int,
    roofs: Roofs,
    values: dict[tuple[Any, ...], list[float]],
    first: list[float],
) -> RooflineRow:
    times = values[task, allowed]
    work, moved = flops(task), traffic(task)
    level = roofs.level_of(footprint(task), threads)
    rates = [work / time for time in times]
    peaks = values["FMA", threads]
    reads, copies = (values[how, level, threads] for how in ("read", "copy"))
    slopes = [work / moved * max(pair) for pair in zip(reads, copies, strict=True)]
    limits = [min(pair) for pair in zip(peaks, slopes, strict=True)]
    bound = Spread.of(peaks).median <= Spread.of(slopes).median
    return RooflineRow(
        name=task.name,
        kind=task.kind,
        allowed=allowed,
        threads=threads,
        seconds=Spread.of(times),
        flops=work,
        bytes=moved,
        rate=Spread.of(rates),
        peak_share=Spread.of(ratios(rates, peaks)),
        level=level.name,
        roof="FMA" if bound else level.name,
        roof_share=Spread.of(ratios(rates, limits)),
        to_first=Spread.of(ratios(times, first)),
    )


def _peak_name() -> str:
    scalar = build_info()["isa_active"] == "scalar"  # which rounds twice
    return "multiply-add peak" if scalar else "FMA peak"


def _threads_text(n: int) -> str:
    return f"{n} thread{'s' * (n > 1)}"


def _rate_text(rate: Spread) -> str:
    return f"{rate.median / 1e9:.1f}{spread_text(rate)}"
