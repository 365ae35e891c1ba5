"""Nothing is lost: memory, references and buffers are given back by every call."""

import gc
import sys

import numpy as np
import pytest
from children import run_python

import fastnn
from fastnn import kernels

# Two counts that are exact where the resident set size knows whole pages: the bytes
# that glibc's malloc has handed out, in all arenas (NumPy's data and the C core's), and
# the blocks of Python's own allocator. A thread's cache of freed blocks would blur the
# first.
EXACT = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
COUNT = """
import ctypes, gc, os, sys, tempfile
import numpy as np
import fastnn
from fastnn import Network, kernels

class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks",
        "uordblks", "fordblks", "keepcost")]

libc = ctypes.CDLL(None)
if not hasattr(libc, "mallinfo2"):
    print("skip")
    sys.exit()
libc.mallinfo2.restype = Mallinfo2

def in_use():
    gc.collect()
    info = libc.mallinfo2()
    return np.array([info.uordblks + info.hblkhd, sys.getallocatedblocks()])

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 8)).astype("f4")
y = rng.integers(3, size=40)
weight = np.ones(40)
soft = np.eye(3, dtype="f4")[y]
out = np.empty(3, "f4")
net = Network([8, 16, 3], seed=0)
path = os.path.join(tempfile.mkdtemp(), "net")
big = np.full((40, 8), 1e30)

def refused(call, *arguments, **keywords):
    try:
        call(*arguments, **keywords)
    except (TypeError, ValueError, RuntimeError):
        return
    raise AssertionError("it was not refused")

def calls(i):
    net.train_on_batch(X, y)
    net.train_on_batch(X[::-1], y[::-1], weight)  # strided: through a copy
    net.train_on_batch(X.astype(">f8"), soft)
    net.loss_and_gradients(X, y, weight)
    net.predict(X); net.predict_proba(X.tolist()); net.decision_function(X)
    net.predict_one(X[0]); net.predict_one(X[0], out)
    net.evaluate(X, y, weight); net.score(X, soft)
    net.set_weights(net.get_weights())
    net.load_state_dict(net.state_dict())
    net._model.engine.set_optimizer_state(net._model.engine.get_optimizer_state())
    net._model.engine.set_input_scaling(np.ones(8), np.zeros(8))
    net._model.engine.set_input_scaling(None, None)
    net.optimizer = ("sgd", "adam")[i % 2]
    net.num_threads = 1 + i % 3
    kernels.dense_backward(soft, X, np.ones((8, 3), "f4"))
    kernels.softmax_cross_entropy(soft, y)
    if i % 10 == 0:
        net.fit(X, y, epochs=1, batch_size=7 + i % 30, sample_weight=weight,
                validation_split=0.2, verbose=0)
        net.save(path)
        Network.load(path).predict(X)
        Network([8, 4, 3]).partial_fit(X, y)

def errors(i):
    refused(net.predict, X[:, :3])
    refused(net.predict, X * np.nan)
    refused(net.predict, None)
    refused(net.predict_one, X[0], out[:2])
    refused(net.predict_one, X)
    refused(net.train_on_batch, X, y + 5)
    refused(net.train_on_batch, X, y, -weight)
    refused(net.train_on_batch, X, y[:3])
    refused(net.evaluate, X, soft * 2)
    refused(net.loss_and_gradients, X * np.inf, y)
    refused(net.fit, X, y, epochs=0, verbose=0)
    refused(net.set_weights, [])
    refused(net._model.engine.train, X, y, None, None, 8, 0, np.zeros(3))  # not taken
    refused(kernels.softmax, y)
    refused(Network, [3, 0])
    net._model.engine.acquire()
    refused(net.fit, X, y, verbose=0)
    net._model.engine.release()
    wild = Network([8, 3], optimizer=fastnn.SGD(1e30), seed=0)
    refused(wild.fit, big, y, epochs=50, verbose=0)

def memory_errors(i):
    for n in range(1, 12):
        fastnn._core.native.engine._fail_allocation(n)
        try:
            fresh = Network([8, 16, 3], seed=0)
            fresh.train_on_batch(X, y)
        except MemoryError:
            pass
    fastnn._core.native.engine._fail_allocation(0)

def growth(function, count):
    "What a thousand rounds leave behind, the least of five times."
    for i in range(count // 2):  # caches fill up
        function(i)
    found = []
    for _ in range(5):
        before = in_use()
        for i in range(count):
            function(i)
        found.append((in_use() - before) * 1000 / count)
    return np.min(found, axis=0).tolist()

def bytes_leak(i):  # the controls: something small in every tenth round
    if i % 10 == 0:
        leaked.append(np.empty(20))

def block_leak(i):
    leaked.append([])

leaked = []

print(*growth(globals()[sys.argv[1]], int(sys.argv[2])))
"""


def growth(what, count):
    """(bytes, blocks) that a thousand rounds leave behind."""
    child = run_python(COUNT, what, count, timeout=600, **EXACT)
    if child.stdout == "skip":
        pytest.skip("needs mallinfo2 (glibc 2.33)")
    return map(float, child.stdout.split())


# A block lost in every round would be a thousand; some are the interpreter's, whose
# caches of freed objects still grow now and then.
def assert_no_growth(what, count):
    lost_bytes, blocks = growth(what, count)
    assert lost_bytes <= 1024
    assert blocks <= 500


@pytest.mark.parametrize(
    ("what", "count"), [("calls", 200), ("errors", 400), ("memory_errors", 200)]
)
def test_memory_does_not_grow(what, count):
    assert_no_growth(what, count)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["calls", "errors", "memory_errors"])
def test_memory_does_not_grow_at_length(what):
    assert_no_growth(what, 3000)


def test_a_leak_is_seen():
    assert next(iter(growth("bytes_leak", 100))) > 10_000
    assert [*growth("block_leak", 100)][1] >= 1000


@pytest.mark.slow
def test_resident_memory_does_not_grow():
    code = COUNT.replace(
        "info = libc.mallinfo2()\n    return np.array([info.uordblks + info.hblkhd,",
        "pages = open('/proc/self/statm').read().split()[1]\n"
        "    return np.array([int(pages) * os.sysconf('SC_PAGE_SIZE'),",
    )
    assert "statm" in code
    # 1 KiB for a thousand calls, of which a round has at least so many.
    for what, calls in (("calls", 21), ("errors", 17)):
        child = run_python(code, what, 3000, timeout=600)
        assert float(child.stdout.split()[0]) <= 1024 * calls


# References.


def every_call(net, X, y, weight, out):
    net.train_on_batch(X, y, weight)
    net.fit(X, y, epochs=2, batch_size=7, sample_weight=weight, verbose=0)
    net.fit(X, y, epochs=1, X_val=X, y_val=y, sample_weight_val=weight, verbose=0)
    net.loss_and_gradients(X, y, weight)
    net.evaluate(X, y, weight)
    net.predict(X)
    net.predict_proba(X)
    net.predict_one(X[0], out)
    for wrong in (
        lambda: net.train_on_batch(X, y, -weight - 1),
        lambda: net.train_on_batch(X[1:], y, weight),
        lambda: net.fit(X, y, epochs=1, validation_split=2, verbose=0),
        lambda: net.predict_one(X[0], out[:1]),
        lambda: net.predict_one(out, out),
    ):
        with pytest.raises(ValueError):
            wrong()
    kernels.softmax(X)
    kernels.softmax_cross_entropy(X, y)
    kernels.relu_backward(X, X)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_references_to_arguments_are_given_back(backend, dtype):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 8)).astype("f4")
    arrays = [X, rng.integers(3, size=40), np.ones(40), np.empty(3, dtype)]
    net = fastnn.Network([8, 16, 3], seed=0, backend=backend, dtype=dtype)
    plan, optimizer = net.plan, net.optimizer
    every_call(net, *arrays)
    gc.collect()
    held = [*arrays, plan, optimizer, net, None]
    before = [sys.getrefcount(each) for each in held[:-2]]
    for _ in range(20):
        every_call(net, *arrays)
    gc.collect()
    after = [sys.getrefcount(each) for each in held[:-2]]
    assert after == before


def test_buffers_of_arguments_are_given_back(backend):
    # A bytearray cannot be resized while anybody holds its memory.
    memory = bytearray(np.ones((40, 8), "f4").tobytes())
    labels = bytearray(np.zeros(40, "i8").tobytes())
    weights = bytearray(np.ones(40).tobytes())
    net = fastnn.Network([8, 16, 3], seed=0, backend=backend)
    for bad in (False, True):
        X = np.frombuffer(memory, "f4").reshape(40, 8)
        y, weight = np.frombuffer(labels, "i8"), np.frombuffer(weights)
        out = np.frombuffer(bytearray(12), "f4")
        with pytest.raises(BufferError):
            memory.append(0)
        if bad:
            y = y + 7
            with pytest.raises(ValueError):
                net.train_on_batch(X, y, weight)
            with pytest.raises(ValueError):
                net.predict(X[:, 1:])
        else:
            every_call(net, X, y, weight, out)
        del X, y, weight, out
        for array in (memory, labels, weights):
            array.append(0)
            array.pop()


def test_a_network_is_freed_with_its_last_reference(backend):
    import weakref

    gc.disable()
    try:
        net = fastnn.Network([8, 16, 3], seed=0, backend=backend)
        net.fit(np.ones((40, 8)), np.zeros(40, int), epochs=2, verbose=0)
        engine = weakref.ref(net._model.engine)
        gone = weakref.ref(net)
        del net
        assert gone() is None
        assert engine() is None
    finally:
        gc.enable()
