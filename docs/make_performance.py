"""Makes the measurements of docs/performance.md and README.md, and writes them there.

    python docs/make_performance.py            # an otherwise idle machine: half an hour
    python docs/make_performance.py --quick    # to see that it works: 4 minutes
    python docs/make_performance.py --only scaling

Needs fastnn with its extra `bench`. Every part is a table between two marks in the
page, most of them with a picture below it; README's comes from the same run as "peers".
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastnn
from fastnn._base.text import markdown_table
from fastnn.bench import compare_peers, save_plot
from fastnn.bench._report import Report, describe_machine
from fastnn.bench._roofline import measure_roofline
from fastnn.bench._roofs import Roofs
from fastnn.bench._tables import quantity, spread_text
from fastnn.bench._timing import Spread, block_seconds, ratios, take_turns
from fastnn.bench.peers.fastnn import lane
from fastnn.bench.peers.tasks import Task, flops

# Imported only where a picture is drawn: the processes of the peers import this
# script too, and their memory is measured.
if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER / "performance.md"
README = FOLDER.parent / "README.md"
PARTS = ["peers", "avx2", "roofline", "scaling"]
MOST = fastnn.get_num_threads()


def step(sizes: tuple[int, ...], rows: int) -> Task:
    return Task("step", sizes, rows)


# Tasks by the value of the quantity that is varied.
WIDTHS = {w: step((w, w, w, 10), 128) for w in (16, 32, 64, 128, 256, 512, 1024, 2048)}
DEPTHS = {d: step((256,) * (d + 1) + (10,), 128) for d in (1, 2, 4, 8, 16, 32)}
BATCHES = {b: step((784, 128, 10), b) for b in (1, 4, 16, 64, 256, 1024, 4096)}
SWEEPS: dict[str, tuple[str, dict[int, Task]]] = {
    "width": ("n of n-n-n-10, batch 128", WIDTHS),
    "depth": ("hidden layers of 256, batch 128", DEPTHS),
    "batch": ("rows in a mini-batch, 784-128-10", BATCHES),
}
THREADS = sorted({1, MOST, *(2**i for i in range(9) if 2**i < MOST)})
SHAPES = [
    step((784, 50, 10), 32),
    step((784, 128, 10), 64),
    step((784, 512, 512, 10), 128),
    step((784, 512, 512, 10), 1024),
]

Measured = dict[int, tuple[Spread, Spread]]  # threads: seconds, share of their peak


def measure(task: Task, counts: list[int], roofs: Roofs, seconds: float) -> Measured:
    """Time a task on at most each number of threads, and their FMA peaks, in turn."""

    def timed(threads: int) -> Callable[[], float]:
        return partial(block_seconds, lane(task, "native", threads).run)

    blocks = [timed(n) for n in counts]
    blocks += [partial(roofs.flops, "float32", n) for n in counts]
    values = take_turns(blocks, seconds)
    found = {}
    for n, times, peaks in zip(
        counts, values[: len(counts)], values[len(counts) :], strict=True
    ):
        shares = ratios([flops(task) / time for time in times], peaks)
        found[n] = Spread.of(times), Spread.of(shares)
    return found


def scaling(seconds: float) -> tuple[list[str], Figure]:
    """Measure how the time of a step grows with width, depth, batch and threads."""
    from matplotlib.figure import Figure

    roofs = Roofs()
    counts = [1, MOST] if MOST > 1 else [1]
    figure = Figure(figsize=(13, 6), layout="constrained")
    axes = figure.subplots(2, 4)
    lines: list[str] = []
    for column, (name, (label, tasks)) in enumerate(SWEEPS.items()):
        tell(f"cost by {name}")
        found = {x: measure(task, counts, roofs, seconds) for x, task in tasks.items()}
        lines += [f"**{name.capitalize()}**: {label}", ""]
        lines += [*sweep_table(name, counts, found), ""]
        draw_sweep(axes[:, column], label, counts, found)
    tell("cost by threads")
    by_shape = {task: measure(task, THREADS, roofs, seconds) for task in SHAPES}
    draw_threads(axes[:, 3], by_shape)
    for each, title in zip(
        axes[0], ["Width", "Depth", "Batch", "Threads"], strict=True
    ):
        each.set_title(title)
    lines += ["**Threads**: time on one thread / on at most this many", ""]
    lines += threads_table(by_shape)
    axes[0, 0].set_ylabel("time of a step, us")
    axes[1, 0].set_ylabel("share of the FMA peak\nof the threads allowed")
    return lines, figure


def readme(report: Report) -> list[str]:
    """README's table: the steps with SGD."""
    header = ["step"]
    for n in sorted({1, MOST}):
        header += [f"{n} thread{'s' * (n > 1)}", "of peak"]
    table = [[*header, "best peer", "best peer / fastnn", "reference / fastnn"]]
    for row in report.rows:
        if row.name.startswith("step ") and not row.name.endswith(", Adam"):
            cells = [row.name.removeprefix("step ")]
            for own in row.on_threads.values():
                cells.append(quantity(own.seconds.median, "s"))
                cells.append(f"{100 * own.share.median:.0f}%")
            ratios = [
                f"{row.cells[p].ratio.median:.2f}" for p in (row.best(), "reference")
            ]
            table.append([*cells, row.best(), *ratios])
    return [machine_line(report.quick), "", *markdown_table(table)]


def avx2(quick: bool) -> list[str]:
    """Compare with the packages that most people have, on the narrower vectors."""
    if fastnn.build_info()["isa_active"] != "avx512":
        return ["Measured without AVX-512: the tables above are those of this machine."]
    tell("peers, with AVX2")
    command = [sys.executable, "-m", "fastnn", "bench", "--peers", "numpy,torch,jax"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "report.md")
        subprocess.run(
            [*command, "--markdown", path, *["--quick"] * quick],
            env={**os.environ, "FASTNN_ISA": "avx2"},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return path.read_text().splitlines()


def sweep_table(name: str, counts: list[int], found: dict[int, Measured]) -> list[str]:
    header = [name]
    for n in counts:
        header += [f"{n} thread{'s' * (n > 1)}", "of peak"]
    table = [header]
    for x, measured in found.items():
        cells = [str(x)]
        for n in counts:
            time, share = measured[n]
            cells.append(quantity(time.median, "s") + spread_text(time))
            cells.append(f"{100 * share.median:.0f}%")
        table.append(cells)
    return markdown_table(table)


def threads_table(by_shape: dict[Task, Measured]) -> list[str]:
    table = [["", *map(str, THREADS)]]
    for task, measured in by_shape.items():
        one = measured[1][0].median
        cells = [f"{one / measured[n][0].median:.2f}" for n in THREADS]
        table.append([task.name, *cells])
    return markdown_table(table)


def draw_sweep(
    axes: Any, label: str, counts: list[int], found: dict[int, Measured]
) -> None:
    for n in counts:
        xs = list(found)
        times = [found[x][n][0] for x in xs]
        shares = [found[x][n][1] for x in xs]
        name = f"{n} thread{'s' * (n > 1)}"
        draw_spreads(axes[0], xs, times, 1e6, name)
        draw_spreads(axes[1], xs, shares, 1.0, name)
    axes[0].legend(fontsize=8)
    finish(axes, list(found), label)


def draw_spreads(
    axes: Any, xs: list[int], spreads: list[Spread], scale: float, label: str
) -> None:
    medians = [scale * spread.median for spread in spreads]
    errors = [
        [scale * (spread.median - spread.low) for spread in spreads],
        [scale * (spread.high - spread.median) for spread in spreads],
    ]
    axes.errorbar(xs, medians, yerr=errors, fmt="o-", markersize=4, label=label)
    axes.grid(alpha=0.3)


def draw_threads(axes: Any, by_shape: dict[Task, Measured]) -> None:
    for task, measured in by_shape.items():
        times = [measured[n][0] for n in THREADS]
        shares = [measured[n][1] for n in THREADS]
        draw_spreads(axes[0], THREADS, times, 1e6, task.name)
        draw_spreads(axes[1], THREADS, shares, 1.0, task.name)
    axes[0].legend(fontsize=7)
    finish(axes, THREADS, "threads allowed")


def finish(axes: Any, xs: list[int], label: str) -> None:
    for each in axes:
        each.set_xscale("log")
        each.set_xticks(xs, map(str, xs), fontsize=8)
        each.minorticks_off()
    axes[0].set_yscale("log")
    axes[0].yaxis.set_major_formatter("{x:g}")
    axes[1].set(xlabel=label, ylim=(0, 1.05))


def write_part(page: Path, name: str, lines: list[str]) -> None:
    """Put lines between the two marks of a part, which stay."""
    begin, end = f"<!-- {name}: measured -->\n", f"<!-- {name}: end -->"
    before, mark, rest = page.read_text().partition(begin)
    _, other_mark, after = rest.partition(end)
    if not mark or not other_mark:
        raise ValueError(f"{page} has no marks of {name}")
    page.write_text("\n".join([f"{before}{begin}", *lines, "", f"{end}{after}"]))


def machine_line(quick: bool) -> str:
    machine = describe_machine(fastnn.build_info()["isa_active"], MOST)
    text = f"{machine['processor']}, {machine['cpus']} CPUs; {machine['isa']}, float32"
    return text + "; a quick run" * quick


def shrink(picture: str) -> None:
    """Keep 256 colours, which look the same at a third of the size."""
    from PIL import Image

    with Image.open(picture) as image:
        small = image.convert("RGB").quantize(256)
    small.save(picture, optimize=True)


def tell(text: str) -> None:
    print(f"make_performance: {text}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few short measurements")
    parser.add_argument("--only", choices=PARTS)
    options = parser.parse_args()
    wanted = [options.only] if options.only else PARTS
    for name in wanted:
        if name == "avx2":
            write_part(PAGE, name, avx2(options.quick))
            continue
        picture = str(FOLDER / f"performance_{name}.png")
        if name == "peers":
            peers = compare_peers(quick=options.quick, progress=tell)
            lines = peers.markdown().splitlines()
            save_plot(picture, peers)
            write_part(README, "speed", readme(peers))
        elif name == "roofline":
            roofline = measure_roofline(quick=options.quick, progress=tell)
            lines = roofline.markdown().splitlines()
            save_plot(picture, roofline)
        else:
            lines, figure = scaling(0.1 if options.quick else 1.0)
            lines = [machine_line(options.quick), "", *lines]
            figure.savefig(picture, dpi=90)
        shrink(picture)
        write_part(PAGE, name, lines)


if __name__ == "__main__":
    main()
