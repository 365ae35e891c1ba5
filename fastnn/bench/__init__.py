"""``fastnn bench``: fastnn compared with its alternatives, on this machine.

One process per peer and one run; the processes take turns in warm blocks (see
`_timing.py`). Before a task is timed, the results of a peer from the same initial
weights are compared with those of the NumPy reference; then the best of the peer's
settings is chosen. fastnn itself is timed on one thread as well, and the FMA peak after
each of its blocks.

``fastnn bench --roofline`` compares fastnn with the limits of the machine: see
`_roofline.py`.

Tasks, timing, reports and pictures live here, and in `peers` a file for each package
that is timed. The library never imports this folder.
"""

from __future__ import annotations

import argparse
import contextlib
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

from ._child import Child, import_seconds, without_kernel_settings
from ._plot import save_bench_plot, save_roofline_plot
from ._report import Cell, OnThreads, Report, Row, describe_machine
from ._roofline import RooflineReport, measure_roofline
from ._timing import (
    QUICK_SECONDS,
    SHORT_SPIN_SECONDS,
    SPIN_SECONDS,
    TIMED_SECONDS,
    Spread,
    check_seconds,
    ratios,
    take_turns,
)
from .peers import choose
from .peers.setup import require_threadpoolctl, threads_of
from .peers.tasks import Task, flops, make_tasks, select

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

    common = {"only": options.only, "dtype": options.dtype, "progress": show}
    report: Report | RooflineReport
    if options.roofline:
        report = measure_roofline(options.quick, options.seconds, **common)
    else:
        report = compare_peers(names, options.quick, options.seconds, **common)
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
    only: Sequence[str] = (),
    dtype: str = "float32",
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
        Fewer tasks, shorter blocks, and only three of each.
    seconds : float, optional
        For each task, all peers together: 12, or 0 if quick. Three blocks of each peer
        are measured in any case.
    only : sequence of str, default ()
        Parts of the names of the lines to measure; all if there are none.
    dtype : {"float32", "float64"}
        Of weights and rows.
    tasks : iterable of Task, optional
        Instead of those of `make_tasks`.
    progress : callable, optional
        Called with the name of what is measured next.

    Raises
    ------
    ValueError
        An unknown peer or dtype, no line of such a name, or seconds that are negative
        or not finite.
    ImportError
        The package threadpoolctl is not installed.
    RuntimeError
        A peer computes something other than the reference, fails or dies.
    """
    present, missing = choose(peers)
    require_threadpoolctl()
    if seconds is None:
        seconds = 0.0 if quick else 12.0
    check_seconds(seconds)
    tasks = make_tasks(quick, dtype) if tasks is None else list(tasks)
    by_kind = {task.kind: task for task in tasks}  # the last of each
    kinds = ["predict"] if quick else ["epoch", "predict"]
    memory = {f"memory, {by_kind[k].name}": by_kind[k] for k in kinds if k in by_kind}
    names = select([*(task.name for task in tasks), "import", *memory], only)
    ours = ("fastnn", "reference")
    versions = {
        name: __version__ if name in ours else version(name) for name in present
    }
    most = get_num_threads()
    machine = describe_machine(str(build_info()["isa_active"]), most)
    with without_kernel_settings() as dropped:
        report = Report(quick, machine, dtype, versions, missing, dropped)
        with contextlib.ExitStack() as started:
            children = {n: started.enter_context(Child(n)) for n in present}
            own = {most: children["fastnn"]}
            if most > 1:
                own[1] = started.enter_context(Child("fastnn"))
            timed = QUICK_SECONDS if quick else TIMED_SECONDS
            for task in tasks:
                if task.name in names:
                    progress(task.name)
                    report.rows.append(_time_task(task, children, own, seconds, timed))
        if "import" in names:
            progress("import")
            report.rows.append(_time_imports(present, 1 if quick else 5))
        for name, task in memory.items():
            if name in names:
                progress(name)
                report.rows.append(_measure_memory(name, task, present))
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


def _time_task(
    task: Task,
    children: dict[str, Child],
    own: dict[int, Child],
    seconds: float,
    timed: float,
) -> Row:
    """Time each peer, and fastnn on each of the numbers of threads of `own`."""
    reference = children["reference"]
    expected = reference.outputs(task, reference.settings(task)[0])
    chosen: dict[str, str] = {}
    pause = SPIN_SECONDS
    for name, child in children.items():
        trials: dict[str, float] = {}
        for setting in child.settings(task):
            check_equal(name, task, child.outputs(task, setting), expected)
            trials[setting] = child.block(pause, timed)
            pause = pause_after(name, setting)
        if trials:
            chosen[name] = min(trials, key=trials.__getitem__)
            if chosen[name] != setting:  # the last one tried is still set up
                child.outputs(task, chosen[name])
    blocks: dict[object, Callable[[], float]] = {}
    for name, setting in chosen.items():
        blocks[name] = partial(children[name].block, pause, timed)
        pause = pause_after(name, setting)
        for threads, child in own.items() if name == "fastnn" else ():
            if child is not children["fastnn"]:
                child.outputs(task, f"{threads} thread")
                blocks[threads] = partial(child.block, pause, timed)
            blocks["peak", threads] = partial(child.peak, task.dtype, threads)
    found = dict(zip(blocks, take_turns(list(blocks.values()), seconds), strict=True))
    on_threads = {}
    for threads in sorted(own):
        times = found[threads if threads in found else "fastnn"]
        rates = [flops(task) / time for time in times]
        shares = Spread.of(ratios(rates, found["peak", threads]))
        on_threads[threads] = OnThreads(Spread.of(times), shares)
    return _row(task.name, "s", {n: found[n] for n in chosen}, chosen, on_threads)


def pause_after(peer: str, setting: str) -> float:
    """Return how long the threads of a peer go on spinning after a block."""
    patient = peer in ("reference", "numpy", "scikit-learn", "onnxruntime")
    return SPIN_SECONDS if patient and threads_of(setting) > 1 else SHORT_SPIN_SECONDS


def _time_imports(peers: Sequence[str], rounds: int) -> Row:
    modules = {n: _IMPORTS.get(n, n) for n in peers if n != "reference"}  # in fastnn
    times: dict[str, list[float]] = {name: [] for name in modules}
    for _ in range(rounds):
        for name, module in modules.items():
            times[name].append(import_seconds(module))
    return _row("import", "s", times, {n: f"import {m}" for n, m in modules.items()})


def _measure_memory(name: str, task: Task, peers: Sequence[str]) -> Row:
    """Peak memory of new processes: Python, NumPy and data are part of it."""
    peaks: dict[str, list[float]] = {}
    chosen: dict[str, str] = {}
    for peer in peers:
        with Child(peer) as child:
            settings = child.settings(task)
            if settings:
                chosen[peer] = settings[0]
                peaks[peer] = [child.peak_after(task, chosen[peer])]
    return _row(name, "bytes", peaks, chosen)


def _row(
    name: str,
    unit: str,
    values: dict[str, list[float]],
    settings: dict[str, str],
    on_threads: dict[int, OnThreads] | None = None,
) -> Row:
    ours = values["fastnn"]
    cells = {
        peer: Cell(Spread.of(theirs), Spread.of(ratios(theirs, ours)), settings[peer])
        for peer, theirs in values.items()
    }
    return Row(name, unit, cells, on_threads or {})
