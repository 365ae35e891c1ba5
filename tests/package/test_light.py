"""`import fastnn` is over before anybody notices, and brings nothing along.

The size of what is installed is in `test_packaging.py`, the memory that calls take in
`reliability/test_data_as_it_lies.py`.
"""

import json
from statistics import median

import pytest
from children import run_python

MOST_MILLISECONDS = 30  # on top of `import numpy`

# Modules of the standard library that take long: imported only where they are used.
HEAVY = {
    *("argparse", "asyncio", "concurrent", "csv", "ctypes", "email", "gzip", "hashlib"),
    *("http", "json", "logging", "multiprocessing", "pathlib", "pickle", "pydoc"),
    *("shutil", "socket", "string", "subprocess", "tempfile", "unittest", "urllib"),
    *("zipfile",),
}
# Also parts of NumPy that it loads when they are first used.
HEAVY_PARTS = {"numpy.random", "numpy.testing", "numpy.typing"}
HEAVY_PARTS |= {f"fastnn.{name}" for name in ("cli", "datasets", "reference")}
HEAVY_PARTS |= {f"fastnn.{name}" for name in ("kernels", "plotting", "_commands")}
HEAVY_PARTS |= {"fastnn._core.exchange.model_file"}

NEW_MODULES = """
import json, sys
import numpy
before = {*sys.modules}
import fastnn
imported = [*({*sys.modules} - before)]
net = fastnn.Network([2, 3, 2], seed=0)
net.fit(numpy.eye(2), [0, 1], batch_size=1, verbose=0)
net.predict(numpy.eye(2))
used = [*({*sys.modules} - before)]
own = [*sys.stdlib_module_names]
print(json.dumps({"imported": imported, "used": used, "own": own}))
"""


def packages(modules):
    names = {name.partition(".")[0] for name in modules}
    return {name for name in names if "cython_" not in name}  # Cython's own, in memory


def test_import_brings_no_heavy_module_along():
    found = json.loads(run_python(NEW_MODULES).stdout)
    imported = {*found["imported"]}
    assert "fastnn._core.native.engine" in imported
    assert not imported & HEAVY_PARTS
    assert not packages(imported) & HEAVY
    assert packages(imported) - {*found["own"], "numpy"} == {"fastnn"}
    # Nor does a training that shows nothing.
    assert packages(found["used"]) - {*found["own"], "numpy"} == {"fastnn"}


# The time of the thread, so that it does not matter who else is computing; and, of what
# elapses, not what it stands in the queue for a CPU, which Linux tells.
IMPORT_TIME = """
import time

def queued():
    try:
        with open("/proc/thread-self/schedstat") as file:
            return 1e-9 * int(file.read().split()[1])
    except OSError:
        return 0.0

before = time.thread_time()
import numpy
start, work, queue = time.perf_counter(), time.thread_time(), queued()
import fastnn
work, before, queue = time.thread_time() - work, work - before, queued() - queue
print(time.perf_counter() - start - queue, work, before)
"""


def import_seconds():
    """What elapses, what the thread works, and what it worked to import NumPy."""
    run_python(IMPORT_TIME)  # so that the bytecode is there, as where pip installs
    runs = [run_python(IMPORT_TIME).stdout.split() for _ in range(9)]
    return [[float(seconds) for seconds in each] for each in zip(*runs, strict=True)]


def test_import_is_a_small_part_of_that_of_numpy():
    elapsed, worked, numpy_worked = import_seconds()
    # Some 0.2: in units of NumPy's, since CPUs differ, and one CPU from hour to hour.
    # The best of each, since who computes on the same core may disturb one of a pair.
    assert min(worked) <= 0.3 * min(numpy_worked), (worked, numpy_worked)
    # Nor does it wait, in the pair that others disturb least.
    shares = [passed / work for passed, work in zip(elapsed, worked, strict=True)]
    assert min(shares) <= 2, (worked, elapsed)


@pytest.mark.slow  # measures: holds on a quiet machine of some years ago
def test_import_takes_no_time():
    _, worked, _ = import_seconds()
    assert 1e3 * median(worked) <= MOST_MILLISECONDS, worked


MODULES = [
    *("activations", "bench", "callbacks", "cli", "datasets", "demo", "initializers"),
    *("kernels", "layers", "losses", "metrics", "onnx", "optimizers", "plotting"),
    *("reference", "schedules", "sklearn", "torch"),
]


@pytest.mark.parametrize("name", MODULES)
def test_every_public_module_is_an_attribute(name):
    if name in ("sklearn", "torch"):
        pytest.importorskip(name)
    code = f"import fastnn; print(fastnn.{name}.__name__); dir(fastnn).index('{name}')"
    assert run_python(code).stdout == f"fastnn.{name}"


def test_a_star_import_takes_no_name_from_other_packages():
    names = run_python("from fastnn import *; print(*globals())").stdout.split()
    assert {"Network", "datasets"} <= {*names}
    assert not {"onnx", "sklearn", "torch"} & {*names}
