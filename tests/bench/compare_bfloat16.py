"""Compares bfloat16 mode with float32, and with PyTorch's autocast to bfloat16.

    python tests/bench/compare_bfloat16.py            # print
    python tests/bench/compare_bfloat16.py --check    # and fail if one is not kept

A training step by `train_on_batch`, plain SGD, on 1 and 2 threads; PyTorch likewise:
`torch.autocast("cpu", dtype=torch.bfloat16)` around the model and its loss, the fused
and the foreach form of SGD, and of all its settings the fastest. As in compare.py the
sides take turns, and the median of the ratios of neighbouring blocks counts.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import fastnn
from fastnn import SGD, Network
from fastnn.bench._timing import SPIN_SECONDS, block_seconds, ratio, take_turns
from fastnn.bench.peers.tasks import SHAPES, label, make_batch

LEAST_SPEEDUP = {5: 1.5}  # over float32, by shape
ATTEMPTS = 3

Side = Callable[[], object]
Shape = tuple[list[int], int]


def own_side(shape: Shape, dtype: str, threads: int) -> Side:
    net = Network(
        list(shape[0]), optimizer=SGD(1e-3), dtype=dtype, seed=0, num_threads=threads
    )
    return partial(net.train_on_batch, *make_batch(shape))


def torch_side(shape: Shape, kind: str, threads: int) -> Side:
    import torch
    from torch.nn.functional import cross_entropy

    torch.manual_seed(0)
    sizes = shape[0]
    layers: list[Any] = []
    for n_in, n_out in pairwise(sizes):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, **{kind: True})
    X, y = map(torch.from_numpy, make_batch(shape))

    def step() -> None:
        torch.set_num_threads(threads)
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = cross_entropy(model(X), y)
        loss.backward()
        optimizer.step()

    return step


def sides_of(shape: Shape, with_torch: bool) -> dict[str, list[Side]]:
    sides = {
        dtype: [own_side(shape, dtype, threads) for threads in (1, 2)]
        for dtype in ("float32", "bfloat16")
    }
    if with_torch:
        sides["PyTorch"] = [
            torch_side(shape, kind, threads)
            for kind in ("foreach", "fused")
            for threads in (1, 2)
        ]
    return sides


def measure(shape: Shape, seconds: float, with_torch: bool) -> dict[str, list[float]]:
    """Seconds per call of the fastest setting of each, block by block."""
    sides = sides_of(shape, with_torch)
    flat = [side for each in sides.values() for side in each]
    times = take_turns(
        [partial(block_seconds, side, SPIN_SECONDS) for side in flat], seconds
    )
    found, at = {}, 0
    for name, each in sides.items():
        own = times[at : at + len(each)]
        found[name] = min(own, key=statistics.median)
        at += len(each)
    return found


def attempt(index: int, shape: Shape, seconds: float, with_torch: bool) -> bool:
    times = measure(shape, seconds, with_torch)
    text = "".join(f"{1e6 * statistics.median(t):11.1f}" for t in times.values())
    least = "".join(f"{1e6 * min(t):11.1f}" for t in times.values())
    gain = ratio(times["float32"], times["bfloat16"])
    good = gain >= LEAST_SPEEDUP.get(index, 0.0)
    text += f"{gain:9.2f}x"
    if with_torch:
        peer = ratio(times["PyTorch"], times["bfloat16"])
        good &= peer > 1.0
        text += f"{peer:9.2f}x"
    mark = "" if good else "   not as promised"
    print(f"{label(shape):<40}{text}   least {least}{mark}", flush=True)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="fail if not as promised")
    parser.add_argument(
        "--no-torch", action="store_true", help="compare with float32 only"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="for each shape")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of shapes")
    options = parser.parse_args()
    if not fastnn.build_info()["bfloat16"]:
        print("bfloat16 is not faster here: see fastnn.build_info()")
        return 0
    names = ["float32", "bfloat16"] + ["PyTorch"] * (not options.no_torch)
    print("training step, us" + " " * 23 + "".join(f"{name:>11}" for name in names))
    good = True
    for index, shape in enumerate(SHAPES):
        if options.only and index not in options.only:
            continue
        good &= any(
            attempt(index, shape, options.seconds, not options.no_torch)
            for _ in range(ATTEMPTS if options.check else 1)
        )
    return 0 if good or not options.check else 1


if __name__ == "__main__":
    sys.exit(main())
