"""A forked child computes: after use, during another thread's fit, in every way."""

import os

import pytest
from children import run_python

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")

# Large enough that the thread team works in parent and child.
COMMON = """
import os, sys, time, threading, warnings
import numpy as np
import fastnn
from fastnn import Network
from fastnn._core.native import engine as _engine

# Python 3.12 warns of fork with threads about, which is what is tested here.
warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
fastnn.set_num_threads(3)
_engine._begin_on_all_threads(True)
rng = np.random.default_rng(0)
X = rng.normal(size=(256, 200)).astype("f4")
y = rng.integers(10, size=256)

def make():
    return Network([200, 256, 10], seed=0, num_threads=3)

def use(net, X=X, y=y):
    net.partial_fit(X, y)
    return net.predict_proba(X).tobytes()

def threads():
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 3

def in_child(function, seconds=60.0):  # takes some 0.03; a hang, for ever
    "Fork, run, and wait for so long; the child must end with code 0."
    child = os.fork()
    if child == 0:
        try:
            function()
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    left, last = seconds, time.monotonic()
    while left > 0:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            assert code == 0, f"the child ended with {code}"
            return
        time.sleep(0.002)
        now = time.monotonic()
        left -= min(now - last, 0.1)  # more than that, and the machine stood still
        last = now
    os.kill(child, 9)
    os.waitpid(child, 0)
    raise SystemExit("the child hangs")
"""


def run(code, timeout=200, **variables):
    return run_python(COMMON + code, timeout=timeout, **variables)


AFTER_USE = """
used, fresh = make(), make()
use(used)
expected = [use(used), use(fresh)]
used.partial_fit(X, y)
assert threads() >= 3, threads()  # the team exists
nets = make(), make()
use(nets[0])

def compute():
    assert threads() == 1  # it has not come along
    assert [use(net) for net in nets] == expected
    assert threads() >= 3  # and a new one works

for _ in range(int(sys.argv[1])):
    in_child(compute)
    in_child(lambda: in_child(compute))  # a child's child
assert [use(net) for net in nets] == expected  # the parent goes on
"""


@needs_fork
def test_after_use():
    run_python(COMMON + AFTER_USE, 10)


@needs_fork
@pytest.mark.slow
def test_after_use_at_length():
    run_python(COMMON + AFTER_USE, 200, timeout=600)


@needs_fork
def test_during_the_fit_of_another_thread():
    run("""
training = make()
others = make()
expected = make()
expected = use(expected)
go_on, inside = threading.Event(), threading.Event()
watch = fastnn.LambdaCallback(
    on_progress=lambda rows, logs: inside.set(),
    on_epoch_begin=lambda epoch, logs: setattr(
        training, "stop_training", not go_on.is_set()
    ),
)
go_on.set()
thread = threading.Thread(
    target=training.fit,
    args=(X, y, 10**9),
    kwargs=dict(verbose=0, callbacks=[watch]),
)
thread.start()
assert inside.wait(10)

def compute():
    # Whatever the other thread held at the time of the fork, this network works.
    assert use(others) == expected
    # That one was copied in the middle of a step: it says so instead of waiting.
    try:
        training.predict(X)
    except fastnn.BusyError:
        pass
    else:
        raise AssertionError("half a step was taken for a network")

for _ in range(20):
    time.sleep(0.001 * np.random.default_rng().random())
    in_child(compute)
go_on.clear()
thread.join(30)
assert not thread.is_alive()
training.predict(X)
""")


@needs_fork
def test_during_the_prediction_of_another_thread():
    run("""
net = make()
expected = make()
expected = use(expected)
stop, failed = threading.Event(), []
rows = np.broadcast_to(X[0], (20_000, 200))

def predict():
    while not stop.is_set():
        net.predict(rows)

threads_ = [threading.Thread(target=predict) for _ in range(2)]
for thread in threads_:
    thread.start()

def compute():
    assert use(net) == expected  # to train, all readers must be gone: they are

for _ in range(20):
    time.sleep(0.001 * np.random.default_rng().random())
    in_child(compute)
stop.set()
for thread in threads_:
    thread.join(30)
assert use(net) == expected
""")


WORKER = """
import sys, multiprocessing
sys.path.insert(0, {folder!r})
from common import *

def task(seed):
    net = Network([200, 256, 10], seed=seed, num_threads=2)
    net.fit(X, y, epochs=1, verbose=0)
    return float(net.predict_proba(X).sum(dtype="f8")) + net.evaluate(X, y)["loss"]

if __name__ == "__main__":
    here = [task(seed) for seed in range(4)]
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        there = pool.map(task, range(4))
    assert here == there, (here, there)
"""


def compute_in_a_pool(method, tmp_path):
    import multiprocessing

    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this system")
    (tmp_path / "common.py").write_text(COMMON)
    script = tmp_path / "main.py"
    script.write_text(WORKER.format(folder=str(tmp_path)))
    # By name, so that spawn and forkserver find the functions again.
    run_python(
        "import runpy, sys; sys.argv = sys.argv[1:];"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
        if method == "fork"
        else "import os, sys; python = sys.executable;"
        "os.execv(python, [python, *sys.argv[1:]])",
        script,
        method,
        timeout=200,  # takes 0.7 s; a pool that hangs, for ever
    )


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method, tmp_path):
    compute_in_a_pool(method, tmp_path)


def test_loky():
    pytest.importorskip("joblib", reason="loky comes with joblib")
    run("""
import joblib

def task(seed):
    from fastnn import Network
    net = Network([200, 256, 10], seed=seed, num_threads=2)
    net.fit(X, y, epochs=1, verbose=0)
    return float(net.predict_proba(X).sum(dtype="f8"))

here = [task(seed) for seed in range(4)]
there = joblib.Parallel(2, backend="loky")(joblib.delayed(task)(s) for s in range(4))
assert here == there
joblib.externals.loky.get_reusable_executor().shutdown(wait=True)
""")


@needs_fork
def test_a_network_is_sent_to_another_process():
    run("""
import multiprocessing

def work(net):
    net.partial_fit(X, y)
    return net

net = make()
use(net)
with multiprocessing.get_context("fork").Pool(1) as pool:
    there = pool.apply(work, [net])
net.partial_fit(X, y)
assert (there.predict_proba(X) == net.predict_proba(X)).all()
assert there.step == net.step
""")
