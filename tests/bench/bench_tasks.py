"""The tasks of `fastnn bench`, by its own definitions, under pytest-benchmark.

Here everything is in one process, which is good for following one side from commit to
commit; the ratios that count are those of `fastnn bench`.
"""

import sys

import pytest

from fastnn import bench
from fastnn.bench.peers import PEERS, absent, load
from fastnn.bench.peers.fastnn import lane
from fastnn.bench.peers.tasks import flops, make_tasks

# Lanes and threads: the engine alone and on two, and the reference as NumPy has it.
LANES = {"native-1": ("native", 1), "native-2": ("native", 2), "numpy": ("numpy", None)}
# An epoch of 60 000 rows and the largest step are for `fastnn bench`.
TASKS = [task for task in make_tasks(quick=False) if flops(task) < 2e10]
QUICK = make_tasks(quick=True)
OTHERS = [name for name in list(PEERS)[2:] if not absent(name)]


def name_of(task):
    return task.name


@pytest.fixture
def threads_restored():
    """Peers set the threads of their libraries for good."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    with threadpoolctl.threadpool_limits():
        yield
    if torch:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", LANES)
@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_lane(benchmark, task, name):
    benchmark.group = task.name
    side = lane(task, *LANES[name])
    benchmark(side.run)
    assert side.outputs.shape == (task.rows, task.sizes[-1])


@pytest.mark.parametrize("name", ["native-2", *OTHERS])
@pytest.mark.parametrize("task", QUICK, ids=name_of)
def test_peer(benchmark, task, name, threads_restored):
    """With the last of the peer's settings, which has the most threads."""
    benchmark.group = f"{task.name}, all peers"
    if name == "native-2":
        side = lane(task, *LANES[name])
    else:
        peer = load(name)
        settings = peer.settings(task)
        if not settings:
            pytest.skip(f"{name} does not do this")
        side = peer.side(task, settings[-1])
    bench.check_equal(name, task, side.outputs, lane(task, "numpy").outputs)
    benchmark(side.run)
