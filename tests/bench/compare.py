"""Measures the least that fastnn promises about speed: run it as a script.

    python tests/bench/compare.py            # print
    python tests/bench/compare.py --check    # and fail if a promise does not hold

Two tables: a training step, on the default number of threads, against the NumPy
reference and against one thread; and the micro-kernel against the FMA peak of a core.
float32, plain SGD, `train_on_batch`. Steps are timed by `fastnn bench`, which compares
with other packages as well.

A promise that fails is measured again, three times in all, and holds if it held once:
noise often lasts for a whole measurement, but it does not make slow code fast for one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import fastnn
from fastnn.bench import compare_peers
from fastnn.bench.peers.tasks import SHAPES, Task

ROOT = Path(__file__).resolve().parents[2]
ATTEMPTS = 3
# The least speed-up over the reference, by shape; on CPUs with AVX-512.
LEAST_SPEEDUP = {0: 3.0, 2: 3.0}
MOST_SLOWDOWN = 1.05  # all threads against 1
LEAST_SHARE = 0.90  # of the FMA peak, from this many rows on:
LEAST_ROWS = 6

Result = tuple[bool, str]  # as promised, what to print


def attempt(what: str, measurement: Callable[[], Result], check: bool) -> bool:
    """Print a measurement; under --check repeat one that fails."""
    for _ in range(ATTEMPTS if check else 1):
        good, text = measurement()
        print(f"{what:<46}{text}{'' if good else '   not as promised'}", flush=True)
        if good:
            return True
    return not check


def measure_step(task: Task, quick: bool, least_speedup: float) -> Result:
    (row,) = compare_peers([], quick, tasks=[task], only=[task.name]).rows
    reference = row.cells["reference"]
    on = {n: each.seconds.median for n, each in row.on_threads.items()}
    speedup, slowdown = reference.ratio.median, on[max(on)] / on[1]
    us = [1e6 * seconds for seconds in (reference.value.median, on[1], on[max(on)])]
    text = "".join(f"{each:11.1f}" for each in us) + f"{speedup:9.2f}x"
    return speedup >= least_speedup and slowdown <= MOST_SLOWDOWN, text


def compare_steps(check: bool, quick: bool) -> bool:
    print(f"\n{'us':<46}  reference   1 thread    threads   speed-up")
    avx512 = fastnn.build_info()["isa_active"] == "avx512"
    good = True
    for i, (sizes, rows) in enumerate(SHAPES[: 4 if quick else 7]):
        task = Task("step", tuple(sizes), rows)
        least = LEAST_SPEEDUP.get(i, 0.0) if avx512 else 0.0
        good &= attempt(task.name, partial(measure_step, task, quick, least), check)
    return good


def compile_peak(isa: str, folder: str) -> Path:
    program = Path(folder) / f"peak_{isa}"
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    flags = ["-std=gnu11", "-O3", "-fno-math-errno", "-ffp-contract=off", "-DNDEBUG"]
    tests = ROOT / "tests" / "csrc"
    files = [tests / "probes/peak.c", ROOT / "csrc/kernels/row_losses.c"]
    paths = [f"-I{ROOT / 'csrc'}", f"-I{tests}", *map(str, files), "-lm"]
    subprocess.run(
        [*compiler.split(), *flags, f"-DPEAK_{isa.upper()}", *paths, "-o", program],
        check=True,
    )
    return program


def measure_tile(program: Path, shares: dict[int, float]) -> Result:
    """Run it; keep the best share seen of each float32 tile in `shares`, by mr."""
    out = subprocess.run([program], check=True, capture_output=True, text=True)
    for line in out.stdout.splitlines():
        print("  " + line)
        _, dtype, _, mr, *_, share = line.split()
        if dtype == "f32" and int(mr) >= LEAST_ROWS:
            shares[int(mr)] = max(shares.get(int(mr), 0.0), float(share))
    least = min(shares.values())
    return least >= LEAST_SHARE, f"least share {least:.3f}"


def compare_tile(check: bool) -> bool:
    print("\nmicro-kernel, share of the FMA peak of one core")
    info = fastnn.build_info()
    isas = info["isa_built"]
    good = True
    with tempfile.TemporaryDirectory() as folder:
        # The sets listed after the active one, best first, are supported as well.
        for isa in isas[isas.index(info["isa_active"]) :]:
            if isa != "scalar":  # has no FMA
                measurement = partial(measure_tile, compile_peak(isa, folder), {})
                good &= attempt(f"{isa} f32, mr >= {LEAST_ROWS}", measurement, check)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="fail if not as promised")
    parser.add_argument(
        "--quick", action="store_true", help="four shapes, few short blocks"
    )
    parser.add_argument("--no-tile", action="store_true", help="needs no C compiler")
    arguments = parser.parse_args()
    print(fastnn.build_info())
    good = compare_steps(arguments.check, arguments.quick)
    if not arguments.no_tile:
        good &= compare_tile(arguments.check)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
