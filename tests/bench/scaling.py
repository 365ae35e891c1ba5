"""When a step on several ranks pays: the cost model of docs/scaling.md, and its check.

``python tests/bench/scaling.py`` measures the constants of this machine, then steps on
1, 2 and 4 ranks against what the model says of them; it takes a minute.
"""

import json
import math
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple


class Machine(NamedTuple):
    """What a rank needs, in seconds; constants of one core where it has one."""

    multiply_add: float  # of the layers' products
    gradient: float  # of a parameter of a shard: written, fetched and added
    update: float  # of a parameter
    step: float  # whatever the size
    cores: float = math.inf  # for all ranks together


class Link(NamedTuple):
    """How ranks are connected."""

    latency: float  # seconds a message
    bandwidth: float  # bytes a second, each way at once


# Measured by `measure`: a virtual machine of two cores of an AMD EPYC (Zen 3), Adam.
ZEN_3 = Machine(3.2e-11, 3.0e-9, 3.6e-9, 2e-4, 2)
SHARED_MEMORY = Link(3e-6, 6e9)
# Ranks that are machines of 16 such cores each.
SERVER = Machine(ZEN_3.multiply_add / 16, ZEN_3.gradient / 4, ZEN_3.update / 4, 2e-4)
# Ping-pong through a switch: http://www.nw-grid.ac.uk/LivMPI (Broadcom BCM5704s).
GIGABIT = Link(23.6e-6, 118.2e6)
# Open MPI without the kernel's UDP, 40 Gbit/s Ethernet:
# https://news-blogs.cisco.com/performance/mpi-over-40gb-ethernet
GIGABIT_40 = Link(1.93e-6, 37.23e9 / 8)


def n_parameters(widths):
    return sum((k + 1) * n for k, n in pairwise(widths))


def products(widths):
    """Multiply-adds of a row: forward, and back but for the gradient of the inputs."""
    return 3 * sum(k * n for k, n in pairwise(widths)) - widths[0] * widths[1]


def step_seconds(widths, batch, ranks, machine, link, itemsize=4):
    """The time of an update of a dense network on this many ranks.

    ``S = max(8, R)`` shards. The update is made by each rank; sums are halved among
    the ranks, so that each sends ``2 (1 - 1/R)`` times the parameters in 2 log2 R
    messages, besides the log2 R of `Ranks.agree`.
    """
    size, rounds = n_parameters(widths), math.log2(ranks)
    own = products(widths) * batch / ranks * machine.multiply_add
    own += max(8, ranks) / ranks * size * machine.gradient
    own += size * machine.update + machine.step
    sent = 2 * (1 - 1 / ranks) * size * itemsize
    talk = 3 * rounds * link.latency + sent / link.bandwidth
    return own * max(1.0, ranks / machine.cores) + talk


def speed_up(widths, batch, ranks, machine, link):
    """Over a fit without a communicator, which has no shards."""
    alone = products(widths) * batch * machine.multiply_add
    alone += n_parameters(widths) * machine.update
    return alone / step_seconds(widths, batch, ranks, machine, link)


def smallest_batch(widths, ranks, machine, link, share=0.7):
    """The least power of two from which a rank does this share of what one alone does.

    None if a mini-batch of 2**20 rows is too small.
    """
    for exponent in range(max(3, round(math.log2(ranks))), 21):
        if speed_up(widths, 2**exponent, ranks, machine, link) >= share * ranks:
            return 2**exponent
    return None


NETWORKS = ([784, 128, 10], [784, 512, 512, 10], [784, 2048, 2048, 2048, 10])


def table():
    """The table of docs/scaling.md."""
    lines = [
        "| network | parameters | link | 2 machines | 8 | 64 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for widths in NETWORKS:
        for name, link in (("1 Gbit/s", GIGABIT), ("40 Gbit/s", GIGABIT_40)):
            batches = [smallest_batch(widths, r, SERVER, link) for r in (2, 8, 64)]
            cells = [
                "-".join(map(str, widths)),
                f"{n_parameters(widths):,}",
                name,
                *("-" if batch is None else f"{batch:,}" for batch in batches),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def measure(widths, batches, repeats=30):
    """The constants of this machine, by CPU time: the machine may do other things."""
    import numpy as np

    from fastnn import Network
    from fastnn._core.training.shards import _flat

    rng = np.random.default_rng(0)
    net = Network(widths, optimizer="adam", seed=0, num_threads=1)
    engine = net._model.engine
    X = rng.random((max(batches), widths[0]), dtype="f4")
    y = rng.integers(0, widths[-1], len(X))
    (values, pairs), (others, _) = (_flat(engine.plan.shapes, "f4") for _ in range(2))
    order = np.arange(len(X))

    def seconds(function):
        found = []
        for _ in range(repeats):
            start = time.thread_time()
            function()
            found.append(time.thread_time() - start)
        return sorted(found)[repeats // 4]

    def shard(rows):
        engine.partial_gradients(X, y, None, order[:rows], 0, float(rows), pairs)

    few, many = (seconds(partial(shard, rows)) for rows in batches)
    each = (many - few) / (batches[1] - batches[0])
    added = seconds(lambda: np.add(values, others, out=others))
    size = n_parameters(widths)
    return Machine(
        each / products(widths),
        (max(0.0, few - each * batches[0]) + added) / size,
        seconds(lambda: engine.apply_gradients(pairs)) / size,
        ZEN_3.step,
        os.cpu_count(),
    )


STEP = """
import json, sys, time
import numpy as np
from mpi4py import MPI
import fastnn
from fastnn._core.training.ranks import Ranks
from fastnn._core.training.shards import _Updates

widths, batch, updates = json.loads(sys.argv[1])
world = MPI.COMM_WORLD
rng = np.random.default_rng(0)
own = fastnn.rows_of_rank(batch * updates, world)
X = rng.random((batch * updates, widths[0]), dtype="f4")[own]
y = rng.integers(0, widths[-1], batch * updates)[own]
net = fastnn.Network(widths, optimizer="adam", seed=0, num_threads=1)
talk, update = Ranks._talk, _Updates._update
waited, work, exchanges = [0.0], [], []

def timed(self, function, *arguments):
    start, begin = time.thread_time(), time.perf_counter()
    result = talk(self, function, *arguments)
    waited[0] += time.thread_time() - start
    if function == self._add_up:
        exchanges.append(time.perf_counter() - begin)
    return result

def counted(self, *arguments):
    waited[0], start = 0.0, time.thread_time()
    result = update(self, *arguments)
    work.append(time.thread_time() - start - waited[0])
    return result

Ranks._talk, _Updates._update = timed, counted
net.fit(X, y, 6, batch, verbose=0, communicator=world)
slowest = world.allreduce(sorted(work)[len(work) // 4], MPI.MAX)
if world.rank == 0:
    print(slowest, min(exchanges))
"""


def measured_step(widths, batch, ranks, updates=16):
    """The seconds of a step on ranks of one thread, without what others made it wait.

    The CPU time of the slowest rank, and the shortest exchange of gradients.
    """
    here = Path(sys.executable).parent / "mpiexec"
    mpiexec = str(here) if here.exists() else shutil.which("mpiexec")
    argument = json.dumps([widths, batch, updates])
    command = [mpiexec, "-n", str(ranks), sys.executable, "-c", STEP, argument]
    out = subprocess.run(command, check=True, capture_output=True).stdout
    work, exchange = map(float, out.split())
    return work * max(1.0, ranks / ZEN_3.cores) + exchange


def main():
    print(measure([784, 512, 512, 10], (128, 1024)), "against", ZEN_3)
    for widths, batch in (
        ([784, 512, 512, 10], 1024),
        ([784, 512, 512, 10], 128),
        ([784, 128, 10], 512),
    ):
        runs = {ranks: [] for ranks in (1, 2, 4)}
        for _ in range(2):  # in turns
            for ranks, found in runs.items():
                found.append(measured_step(widths, batch, ranks))
        for ranks, found in runs.items():
            model = step_seconds(widths, batch, ranks, ZEN_3, SHARED_MEMORY)
            print(
                f"| {'-'.join(map(str, widths))} | {batch:,} | {ranks} | "
                f"{min(found) * 1e3:.1f} ms | {model * 1e3:.1f} ms |",
                flush=True,
            )


if __name__ == "__main__":
    main()
