"""Measures what README.md says about speed: run it as a script.

    python tests/bench/compare.py            # print
    python tests/bench/compare.py --check    # and fail if a promise does not hold

Three tables: a training step, native (2 threads) against the NumPy reference; 2 threads
against 1; and the micro-kernel against the FMA peak of a core. float32, plain SGD,
`train_on_batch`.

Machines are shared and their clocks move, so the sides of a ratio take turns, in blocks
of some milliseconds, and the median of the ratios of neighbouring blocks counts;
`fastnn/bench/_timing.py` says how. `fastnn bench` compares with other packages.

A promise that fails is measured again, three times in all, and holds if it held once:
noise often lasts for a whole measurement, but it does not make slow code fast for one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import fastnn
from fastnn.bench._timing import block_seconds, calls_per_block, ratio, take_turns
from fastnn.bench.peers.tasks import SHAPES, label, make_batch, make_network

ROOT = Path(__file__).resolve().parents[2]
ATTEMPTS = 3
# The least speed-up over the reference, by shape; on CPUs with AVX-512.
LEAST_SPEEDUP = {0: 3.0, 2: 3.0}
MOST_SLOWDOWN = 1.05  # 2 threads against 1
LEAST_SHARE = 0.90  # of the FMA peak, from this many rows on:
LEAST_ROWS = 6

Side = Callable[[], object]
Shape = tuple[list[int], int]
Result = tuple[bool, str]  # as promised, what to print


def measure(sides: Sequence[Side], seconds: float) -> list[list[float]]:
    """Seconds per call of each side, block by block, the sides taking turns."""
    return take_turns(
        [partial(block_seconds, side, calls_per_block(side)) for side in sides],
        seconds,
    )


def attempt(what: str, measurement: Callable[[], Result], check: bool) -> bool:
    """Print a measurement; under --check repeat one that fails."""
    for _ in range(ATTEMPTS if check else 1):
        good, text = measurement()
        print(f"{what:<46}{text}{'' if good else '   not as promised'}", flush=True)
        if good:
            return True
    return not check


def step_sides(shape: Shape) -> list[Side]:
    """train_on_batch of the reference, and of the engine on 1 and 2 threads."""
    X, y = make_batch(shape)
    lanes = [("numpy", None), ("native", 1), ("native", 2)]
    return [partial(make_network(shape, *lane).train_on_batch, X, y) for lane in lanes]


def measure_step(sides: list[Side], seconds: float, least_speedup: float) -> Result:
    times = measure(sides, seconds)
    us = [1e6 * statistics.median(each) for each in times]
    speedup, slowdown = ratio(times[0], times[2]), ratio(times[2], times[1])
    text = "".join(f"{each:11.1f}" for each in us) + f"{speedup:9.2f}x"
    return speedup >= least_speedup and slowdown <= MOST_SLOWDOWN, text


def compare_steps(check: bool, seconds: float) -> bool:
    print(
        "\ntraining step, us" + " " * 29 + "reference   1 thread  2 threads  speed-up"
    )
    avx512 = fastnn.build_info()["isa_active"] == "avx512"
    good = True
    for i, shape in enumerate(SHAPES):
        least = LEAST_SPEEDUP.get(i, 0.0) if avx512 else 0.0
        good &= attempt(
            label(shape),
            partial(measure_step, step_sides(shape), seconds, least),
            check,
        )
    return good


def compile_peak(isa: str, folder: str) -> Path:
    program = Path(folder) / f"peak_{isa}"
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    flags = ["-std=gnu11", "-O3", "-fno-math-errno", "-ffp-contract=off", "-DNDEBUG"]
    tests = ROOT / "tests" / "csrc"
    paths = [f"-I{ROOT / 'csrc'}", f"-I{tests}", str(tests / "probes/peak.c"), "-lm"]
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
        "--seconds", type=float, default=2.0, help="for each shape (default 2)"
    )
    parser.add_argument("--no-tile", action="store_true", help="needs no C compiler")
    arguments = parser.parse_args()
    print(fastnn.build_info())
    if (os.cpu_count() or 1) < 2:
        print("one CPU only: 2 threads cannot be measured here")
    good = compare_steps(arguments.check, arguments.seconds)
    if not arguments.no_tile:
        good &= compare_tile(arguments.check)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
