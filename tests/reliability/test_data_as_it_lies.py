"""Data is read where it lies, a batch at a time: no call copies or converts a set.

Peaks are the kernel's own count of resident pages, and in one test a limit of its, so
that a copy is seen however short it lives.
"""

import sys

import pytest
from children import run_python

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="reads /proc/self and limits memory as Linux does"
)

# 60 000 images, neither loaded nor drawn with anything of NumPy's that needs memory.
IMAGES = """
import gc, random, sys
import numpy as np

def resident(name):
    with open("/proc/self/status") as file:
        lines = dict(line.split(":") for line in file)
    return 1024 * int(lines[name].split()[0])  # bytes

def start():
    gc.collect()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak so far is forgotten
    return resident("VmRSS")

X = np.frombuffer(random.Random(0).randbytes(60_000 * 784), np.uint8)
X = X.reshape(-1, 784)
y = np.arange(60_000, dtype=np.uint8) % 10
"""


@pytest.mark.parametrize("kind", ["array", "memory map"])
def test_training_on_mnist_takes_30_mb(tmp_path, kind):
    """Above an interpreter that has imported NumPy and loaded the data."""
    code = """
    if sys.argv[1] == "memory map":
        X.tofile(sys.argv[2])
        X = np.memmap(sys.argv[2], np.uint8, "r", shape=X.shape)
        X.sum()  # the file's pages are the system's, but counted
    before = start()
    import fastnn
    net = fastnn.Network([784, 128, 10], input_scale=1 / 255, seed=0)
    net.fit(X, y, epochs=1, batch_size=64, shuffle=True, verbose=0)
    trained = resident("VmHWM") - before
    net.evaluate(X, y)
    assert net.predict(X).shape == (60_000,)
    assert net.step == 938
    print(trained, resident("VmHWM") - before)
    """
    child = run_python(f"{IMAGES}\n{_flat(code)}", kind, tmp_path / "X")
    trained, in_all = map(int, child.stdout.split())
    assert trained <= 30e6
    assert in_all <= 30e6


LAYOUTS = {
    "uint8": "X",
    "bool": "X > 127",
    "float16": "X.astype('f2')",
    "float64": "X.astype('f8')",
    "big-endian int16": "X.astype('>i2')",
    "big-endian float32": "X.astype('>f4')",
    "columns first": "np.asfortranarray(X)",
    "columns first float16": "np.asfortranarray(X.astype('f2'))",
    "every second row": "np.repeat(X, 2, axis=0)[::2]",
    "every second column": "np.repeat(X, 2, axis=1)[:, ::2]",
    "backwards": "X[::-1, ::-1]",
    "unaligned": "np.frombuffer(b'.' + X.tobytes() * 2, 'u2', offset=1)[: X.size]"
    ".reshape(X.shape)",
    "field of records": "np.array(X, [('x', 'u1')])['x']",
    "one row for all": "np.broadcast_to(X[0], X.shape)",
}


def test_no_layout_is_copied():
    code = """
    X, y = X[:8_000].copy(), y[:8_000]
    import fastnn
    net = fastnn.Network([784, 16, 10], input_scale=1e-5, seed=0)

    quiet = {"batch_size": 500, "verbose": 0}
    held_out = {"validation_split": 0.5, "metrics": ["top_2_accuracy"]}
    calls = {
        "fit": lambda X: net.fit(X, y[: len(X)], **held_out, **quiet),
        "fit_chunks": lambda X: net.fit_chunks([(X, y[: len(X)])], **quiet),
        "evaluate": lambda X: net.evaluate(X, y[: len(X)]),
        "predict": net.predict,
        "predict_proba": net.predict_proba,
        # Whether a copy would be seen:
        "copy": lambda X: X.copy(),
        "conversion": lambda X: X.astype("f4"),
    }
    for call in calls.values():
        call(X[:2000])  # what it keeps for the next call, it has
    for name, layout in LAYOUTS.items():
        data = eval(layout)
        for what, call in calls.items():
            before = start()
            call(data)
            growth = resident("VmHWM") - before
            if (growth > 4e6) != (what in ("copy", "conversion")):
                print(f"{what} of {name} took {growth / 1e6:.1f} MB")
    """
    child = run_python(
        f"LAYOUTS = {LAYOUTS}\n{IMAGES}\n{_flat(code)}",
        # Whatever is freed goes back to the system, where it is counted anew.
        MALLOC_MMAP_THRESHOLD_="1000000",
        FASTNN_NUM_THREADS="1",
    )
    assert child.stdout == ""


# 64 MB of this process's own: room for indices and labels, not for the data.
LIMIT = """
import mmap, resource, sys
import numpy as np
import fastnn

def limit_memory():
    with open("/proc/self/status") as file:
        lines = dict(line.split(":") for line in file)
    used = 1024 * int(lines["VmData"].split()[0])
    limit = used + (64 << 20)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))

def does_not_fit(call):
    try:
        call()
    except MemoryError:
        return True
    return False

def network(n_inputs):
    net = fastnn.Network([n_inputs, 16, 10], input_scale=1 / 255, seed=0)
    few = np.zeros((100, n_inputs), "u1")
    net.fit(few, np.zeros(100), verbose=0)  # starts the threads
    net.predict(few)
    return net
"""


def sparse(path, n_bytes):
    """A file that occupies nothing and reads as zeros."""
    with open(path, "wb") as file:
        file.truncate(n_bytes)
    if path.stat().st_blocks:
        pytest.skip(f"the file system of {path} has no sparse files")
    return path


def test_a_memory_map_larger_than_memory(tmp_path):
    """5 GB, where copying a part of 80 MB fails already."""
    rows, columns = 1_300_000, 4096
    code = """
    rows, columns = int(sys.argv[2]), int(sys.argv[3])
    written = np.memmap(sys.argv[1], np.uint8, "r+", shape=(rows, columns))
    written[-100:] = np.arange(100 * columns).reshape(100, columns) % 251
    written.flush()
    del written
    X = np.memmap(sys.argv[1], np.uint8, "r", shape=(rows, columns))
    X.base.madvise(mmap.MADV_RANDOM)  # else each page brings megabytes along
    y = np.arange(rows, dtype=np.uint8) % 10
    net, untrained = network(columns), network(columns)
    limit_memory()
    part = slice(rows - 20_000, rows)
    assert does_not_fit(lambda: np.array(X[part]))

    def chunks():
        for i in range(0, rows, 20_000):
            yield X[i : i + 20_000], y[i : i + 20_000]

    for fit in (
        lambda: net.fit(X, y, **brief),
        lambda: net.fit(X, y, shuffle=False, validation_split=0.1, **brief),
        lambda: net.fit(X[::-3], y[::-3], batch_size=1000, **brief),
        lambda: net.fit_chunks(chunks, **brief),
    ):
        brief = {"verbose": 0, "time_limit": 0.3}
        step = net.step
        fit()
        assert net.step > step
    net.fit(X[part], y[part], shuffle=False, X_val=X[part], y_val=y[part], verbose=0)
    p = untrained.predict_proba(X[part])
    last = untrained.predict_proba(np.array(X[-100:]))
    np.testing.assert_array_equal(p[-100:], last)
    assert len(np.unique(p[:-100], axis=0)) == 1 < len(np.unique(last, axis=0))
    far = X[:: rows - 1]  # two rows with more than 2**32 bytes between them
    p, last = untrained.predict_proba(far), untrained.predict_proba(np.array(far))
    np.testing.assert_array_equal(p, last)
    nets = [network(columns) for _ in range(2)]
    for net, two in zip(nets, (far, np.array(far)), strict=True):
        net.fit(two, y[:2], batch_size=1, epochs=5, shuffle=False, verbose=0)
    for pairs in zip(*(net.get_weights() for net in nets), strict=True):
        for ours, theirs in zip(*pairs, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    print("streamed")
    """
    path = sparse(tmp_path / "X", rows * columns)
    child = run_python(f"{LIMIT}\n{_flat(code)}", path, rows, columns)
    assert child.stdout == "streamed"


def test_values_of_a_memory_map_are_looked_at_in_passing(tmp_path):
    """A NaN in the last of 500 MB is found, where no half of them would fit."""
    rows, columns = 125_000, 1000
    code = """
    shape = int(sys.argv[2]), int(sys.argv[3])
    X = np.memmap(sys.argv[1], np.float32, "r+", shape=shape)
    y = np.arange(len(X)) % 10
    net = network(shape[1])
    limit_memory()
    assert does_not_fit(lambda: X.astype(np.float16))
    assert does_not_fit(lambda: np.isfinite(X))
    X[-1, 7] = np.nan
    step = net.step
    for call in (
        lambda: net.fit(X, y, verbose=0),
        lambda: net.fit(X[:10], y[:10], X_val=X, y_val=y, verbose=0),
        lambda: net.predict(X),
    ):
        try:
            call()
        except ValueError as error:
            assert f"[{len(X) - 1}, 7] is nan" in str(error), error
        else:
            raise AssertionError("it was not refused")
    assert net.step == step
    X[-1, 7] = 0
    net.fit(X, y, time_limit=0.2, verbose=0)
    assert net.step > step
    print("refused")
    """
    path = sparse(tmp_path / "X", rows * columns * 4)
    child = run_python(f"{LIMIT}\n{_flat(code)}", path, rows, columns)
    assert child.stdout == "refused"


def _flat(code):
    """Without the indentation of the test that it is in."""
    return "\n".join(line.removeprefix("    ") for line in code.splitlines())
