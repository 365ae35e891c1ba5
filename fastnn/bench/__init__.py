"""``fastnn bench``: fastnn compared with its alternatives, on this machine.

One process per peer and one run; the processes take turns in blocks of a few
milliseconds. Before a task is timed, the results of a peer from the same initial
weights are compared with those of the NumPy reference; then the best of the peer's
settings is chosen.

``fastnn bench --roofline`` compares fastnn with the limits of the machine: see
`_roofline.py`.

Tasks, timing, reports and pictures live here, and in `peers` a file for each package
that is timed. The library never imports this folder.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from fastnn._base.version import __version__
from fastnn._core.exchange.files import write_atomically
from fastnn._core.native.engine import build_info, get_num_threads
from fastnn.plotting._axes import require_format

from ._child import Child, import_seconds
from ._plot import save_bench_plot, save_roofline_plot
from ._report import Cell, Report, Row, describe_machine
from ._roofline import RooflineReport, measure_roofline
from ._timing import (
    SHORT_SPIN_SECONDS,
    SPIN_SECONDS,
    Spread,
    check_seconds,
    ratios,
    take_turns,
)
from .peers import choose
from .peers.setup import require_threadpoolctl, threads_of
from .peers.tasks import Task, make_tasks

if TYPE_CHECKING:
    from fastnn._base.types import Array


__all__ = ["TOLERANCE", "bench", "check_equal", "compare_peers", "save_plot"]

TOLERANCE = 1e-4  # of probabilities

_IMPORTS = {"scikit-learn": "sklearn.neural_network"}  # others: their own name


def bench(options: argparse.Namespace) -> None:
    """Run as the command line says: measure, print, write files."""
    names = None if options.peers is None else options.peers.split(",")
    if options.roofline and names is not None:
        raise ValueError("--roofline measures fastnn only: leave --peers out")
    if not options.roofline:
        choose(names)
        require_threadpoolctl()
    for path in (options.json, options.markdown, options.plot):
        if path is not None and not os.path.isdir(os.path.dirname(path) or "."):
            raise ValueError(f"cannot write {path}: its folder does not exist")
    if options.plot is not None:
        require_format(options.plot)

    def show(text: str) -> None:
        print(f"fastnn bench: {text}", file=sys.stderr, flush=True)

    report: Report | RooflineReport
    if options.roofline:
        report = measure_roofline(options.quick, options.seconds, progress=show)
    else:
        report = compare_peers(names, options.quick, options.seconds, progress=show)
    print(report.text())
    if options.json is not None:
        write_atomically(options.json, report.json().encode())
    if options.markdown is not None:
        write_atomically(options.markdown, report.markdown().encode())
    if options.plot is not None:
        save_plot(options.plot, report)


def save_plot(path: str, report: Report | RooflineReport) -> None:
    """Write a picture of what was measured; its suffix says the format."""
    if isinstance(report, RooflineReport):
        save_roofline_plot(path, report)
    else:
        save_bench_plot(path, report)


def compare_peers(
    peers: Sequence[str] | None = None,
    quick: bool = False,
    seconds: float | None = None,
    *,
    tasks: Iterable[Task] | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Report:
    """Measure fastnn and its peers, and return the report.

    Parameters
    ----------
    peers : sequence of str, optional
        Names of `PEERS`; None for all. The NumPy reference is always measured. Those
        that are not installed are named in the report.
    quick : bool, default False
        Fewer tasks, and only as many blocks as a median with quartiles needs.
    seconds : float, optional
        For each task, all peers together: 2, or 0 if quick. Five blocks of each peer
        are measured in any case.
    tasks : iterable of Task, optional
        Instead of those of `make_tasks`.
    progress : callable, optional
        Called with the name of what is measured next.

    Raises
    ------
    ValueError
        An unknown peer, or seconds that are negative or not finite.
    ImportError
        The package threadpoolctl is not installed.
    RuntimeError
        A peer computes something other than the reference, fails or dies.
    """
    present, missing = choose(peers)
    require_threadpoolctl()
    if seconds is None:
        seconds = 0.0 if quick else 2.0
    check_seconds(seconds)
    tasks = make_tasks(quick) if tasks is None else list(tasks)
    versions = {n: __version__ if n == "fastnn" else version(n) for n in present}
    machine = describe_machine(str(build_info()["isa_active"]), get_num_threads())
    report = Report(quick, machine, versions, missing)
    with contextlib.ExitStack() as stack:
        children = {name: stack.enter_context(Child(name)) for name in present}
        for task in tasks:
            progress(task.name)
            report.rows.append(_time_task(task, children, seconds))
    progress("import and memory")
    report.rows.append(_time_imports(present, 1 if quick else 5))
    by_kind = {task.kind: task for task in tasks}  # the last of each
    kinds = ["predict"] if quick else ["epoch", "predict"]
    report.rows += [_measure_memory(by_kind[k], present) for k in kinds if k in by_kind]
    return report


def check_equal(peer: str, task: Task, outputs: Array, expected: Array) -> None:
    """Raise RuntimeError if probabilities differ by more than `TOLERANCE`."""
    if outputs.shape != expected.shape:
        raise RuntimeError(
            f"{peer}, {task.name}: the result is {outputs.shape}; expected "
            f"{expected.shape}, that of the reference"
        )
    difference = float(np.abs(outputs - expected).max())
    if not difference <= TOLERANCE:  # also catches NaN
        raise RuntimeError(
            f"{peer}, {task.name}: probabilities differ by {difference:.2g} from those "
            f"of the reference; expected at most {TOLERANCE:g}"
        )


def _time_task(task: Task, children: dict[str, Child], seconds: float) -> Row:
    reference = children["numpy"]
    expected = reference.outputs(task, reference.settings(task)[0])
    chosen: dict[str, str] = {}
    for name, child in children.items():
        trials: dict[str, float] = {}
        settings = child.settings(task)
        best = math.inf
        for setting in settings:
            check_equal(name, task, child.outputs(task, setting), expected)
            trials[setting] = child.trial_seconds()
            if seconds > 0 and len(settings) > 1 and trials[setting] < 2 * best:
                # The worse of two: threads in competition with other processes vary.
                trials[setting] = max(trials[setting], child.trial_seconds())
            best = min(best, trials[setting])
        if trials:
            chosen[name] = min(trials, key=trials.__getitem__)
            if chosen[name] != setting:  # the last one tried is still set up
                child.outputs(task, chosen[name])
            child.set_calls(trials[chosen[name]])
    pauses = [pause_after(name, setting) for name, setting in chosen.items()]
    blocks = [
        partial(children[name].block, pause)  # the one before it; the last, at first
        for name, pause in zip(chosen, [pauses[-1], *pauses], strict=False)
    ]
    times = take_turns(blocks, seconds)
    return _row(task.name, "s", dict(zip(chosen, times, strict=True)), chosen)


def pause_after(peer: str, setting: str) -> float:
    """Return how long the threads of a peer go on spinning after a block."""
    patient = peer in ("numpy", "scikit-learn", "onnxruntime")
    return SPIN_SECONDS if patient and threads_of(setting) > 1 else SHORT_SPIN_SECONDS


def _time_imports(peers: Sequence[str], rounds: int) -> Row:
    modules = {name: _IMPORTS.get(name, name) for name in peers}
    times: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, module in modules.items():
            times[name].append(import_seconds(module))
    return _row("import", "s", times, {n: f"import {m}" for n, m in modules.items()})


def _measure_memory(task: Task, peers: Sequence[str]) -> Row:
    """Peak memory of new processes: Python, NumPy and data are part of it."""
    peaks: dict[str, list[float]] = {}
    chosen: dict[str, str] = {}
    for name in peers:
        with Child(name) as child:
            settings = child.settings(task)
            if settings:
                chosen[name] = settings[0]
                peaks[name] = [child.peak_after(task, chosen[name])]
    return _row(f"memory, {task.name}", "bytes", peaks, chosen)


def _row(
    name: str, unit: str, values: dict[str, list[float]], settings: dict[str, str]
) -> Row:
    ours = values["fastnn"]
    cells = {
        peer: Cell(Spread.of(theirs), Spread.of(ratios(theirs, ours)), settings[peer])
        for peer, theirs in values.items()
    }
    return Row(name, unit, cells)
