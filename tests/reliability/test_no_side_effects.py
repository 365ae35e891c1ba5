"""Import and every call leave the process as it was: rounding, signals, variables."""

import ctypes
import ctypes.util
import os
import platform
import random
import re
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from children import run_python

import fastnn
from fastnn import kernels
from fastnn._core.native import engine, functions

ROOT = Path(__file__).parents[2]
LIBM = ctypes.CDLL(ctypes.util.find_library("m"))
X86 = platform.machine() in ("x86_64", "AMD64")
# fenv_t of glibc: on x86-64 the control word of SSE is its last 4 bytes, elsewhere the
# whole of it is compared.
FENV_BYTES = 32 if X86 else 16
MXCSR_AT = 28
MXCSR_CONTROL = 0xFFC0  # all but the flags of exceptions that have happened

requires_glibc = pytest.mark.skipif(
    sys.platform != "linux", reason="reads the layout of glibc's fenv_t"
)


def floating_point_state():
    """Rounding, flushing and masks of this thread."""
    state = (ctypes.c_ubyte * FENV_BYTES)()
    assert LIBM.fegetenv(ctypes.byref(state)) == 0
    if not X86:
        return bytes(state)
    mxcsr = int.from_bytes(bytes(state[MXCSR_AT : MXCSR_AT + 4]), "little")
    return LIBM.fegetround(), mxcsr & MXCSR_CONTROL


def set_mxcsr(bits):
    state = (ctypes.c_ubyte * FENV_BYTES)()
    assert LIBM.fegetenv(ctypes.byref(state)) == 0
    state[MXCSR_AT : MXCSR_AT + 4] = list(bits.to_bytes(4, "little"))
    assert LIBM.fesetenv(ctypes.byref(state)) == 0


def subnormals_work():
    """Whether this thread computes with subnormals: neither results nor operands."""
    tiny = np.array([np.finfo("f4").tiny, 1e-310])
    return bool((tiny[:1].astype("f4") / np.float32(4) > 0).all() and tiny[1] * 2 > 0)


X = np.random.default_rng(0).normal(size=(300, 200)).astype("f4")
Y = np.arange(300) % 10


def use_everything(net):
    """Every method that computes, on one thread and on several, with an error too."""
    for n in (1, 3):
        net.num_threads = n
        net.fit(X, Y, epochs=1, batch_size=100, validation_split=0.2, verbose=0)
        net.train_on_batch(X, Y)
        net.partial_fit(X, Y)
        net.loss_and_gradients(X, Y)
        net.predict(X)
        net.predict_proba(X * np.float32(1e-38))  # subnormals on the way
        net.predict_one(X[0])
        net.evaluate(X, Y)
        net.set_weights(net.get_weights())
    with pytest.raises(ValueError, match="X"):
        net.predict(X[:, :2])
    with pytest.raises(ValueError, match="is nan"):
        net.predict_proba(X * np.nan)
    kernels.dense_forward(X, np.ones((200, 70), "f4"), np.zeros(70, "f4"))
    kernels.softmax(X)
    kernels.relu_forward(X)
    kernels.softmax_cross_entropy(X, Y)
    w, m, v = (np.ones(33, "f4") for _ in range(3))
    kernels.adam_update(w, m.copy(), m, v, 1)


@pytest.fixture
def net():
    return fastnn.Network([200, 256, 10], seed=0)


# Floating point.


@requires_glibc
def test_floating_point_state_is_left_alone(net):
    before = floating_point_state()
    assert subnormals_work()
    use_everything(net)
    assert floating_point_state() == before
    assert subnormals_work()


@pytest.mark.skipif(not X86, reason="sets the control word of SSE")
@requires_glibc
@pytest.mark.parametrize(
    "changed",
    [0x1F80 | 0x8040, 0x1F80 | 0x6000, 0x1F80 | 0x2000],
    ids=["flush to zero", "round to zero", "round down"],
)
def test_an_unusual_state_is_left_alone_and_changes_no_bit(changed):
    results, states = [], []

    def run():  # in a thread of its own: its state ends with it
        for unusual in (False, True):
            net = fastnn.Network([200, 256, 10], seed=0, num_threads=2)
            if unusual:
                set_mxcsr(changed)
            states.append(floating_point_state())
            net._model.engine.train_step(X, Y)
            results.append(net._model.engine.forward(X).tobytes())
            states.append(floating_point_state())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert states[0] == states[1] != states[2] == states[3]
    assert results[0] == results[1]


@requires_glibc
def test_import_does_not_change_floating_point():
    # A library linked with -ffast-math by gcc 12 flushes subnormals from then on.
    child = run_python("""
        import ctypes, ctypes.util
        import numpy as np
        libm = ctypes.CDLL(ctypes.util.find_library("m"))
        def state():
            env = (ctypes.c_ubyte * 64)()
            libm.fegetenv(ctypes.byref(env))
            return bytes(env[28:32]), libm.fegetround()
        before = state()
        import fastnn, fastnn.kernels, fastnn.datasets
        assert state() == before
        assert np.float32(1e-38) * np.float32(0.1) > 0
        print("same")
    """)
    assert child.stdout == "same"


BANNED = re.compile(
    r"-(ffast-math|Ofast|ffinite-math-only|funsafe-math-optimizations|fassociative-math"
    r"|freciprocal-math|fopenmp|march|flto)"
)


def test_no_flag_that_changes_the_meaning_of_numbers():
    build = [ROOT / "setup.py", ROOT / "pyproject.toml", *ROOT.glob("csrc/**/*.[ch]")]
    for path in build:
        for line in path.read_text().splitlines():
            assert not BANNED.search(line), f"{path.name}: {line}"
            assert "fast-math" not in line or line.lstrip().startswith(("#", "*", "/*"))
    assert BANNED.search('flags = ["-O3", "-ffast-math"]')


@pytest.mark.skipif(sys.platform != "linux", reason="ldd")
def test_no_other_runtime_is_loaded():
    # A second OpenMP runtime hangs or ends processes.
    for module in (engine, functions):
        linked = subprocess.run(
            ["ldd", module.__file__], capture_output=True, text=True, check=True
        ).stdout
        assert not re.search(r"gomp|libomp|iomp|blas|mkl|libgcc_s|stdc", linked)
        assert "libc.so" in linked


# The process.


def process_state():
    names = [s for s in signal.Signals if s not in (signal.SIGKILL, signal.SIGSTOP)]
    generator = np.random.get_state()
    return {
        "environment": dict(os.environ),
        "signals": [signal.getsignal(name) for name in names],
        "blocked": signal.pthread_sigmask(signal.SIG_BLOCK, []),
        "numpy random": (generator[0], generator[1].tobytes(), *generator[2:]),
        "random": random.getstate(),
        "warnings": list(warnings.filters),
        "errstate": np.geterr(),
        "print options": str(np.get_printoptions()),
        "folder": os.getcwd(),
        "excepthook": (sys.excepthook, threading.excepthook, sys.unraisablehook),
        "switch interval": sys.getswitchinterval(),
        "recursion": sys.getrecursionlimit(),
        "affinity": os.sched_getaffinity(0)
        if hasattr(os, "sched_getaffinity")
        else None,
        "descriptors": len(os.listdir("/proc/self/fd"))
        if os.path.isdir("/proc/self/fd")
        else None,
    }


def test_training_and_prediction_leave_the_process_alone(net, tmp_path):
    use_everything(net)
    net.save(tmp_path / "warm")  # imports what it needs
    before = process_state()
    use_everything(net)
    net.save(tmp_path / "net")
    use_everything(fastnn.Network.load(tmp_path / "net"))
    after = process_state()
    assert after == before


def test_import_leaves_the_process_alone():
    child = run_python("""
        import os, random, signal, sys, threading, warnings
        import numpy as np

        def state():
            generator = np.random.get_state()
            return [
                dict(os.environ), list(warnings.filters), np.geterr(), os.getcwd(),
                [signal.getsignal(s) for s in signal.Signals],
                signal.pthread_sigmask(signal.SIG_BLOCK, []),
                random.getstate(), generator[1].tobytes(), generator[2:],
                sys.excepthook, sys.unraisablehook, threading.excepthook,
                sys.getswitchinterval(), sys.getrecursionlimit(),
                threading.active_count(), len(os.listdir("/proc/self/task")),
            ]

        before = state()
        import fastnn, fastnn.kernels, fastnn.reference, fastnn.datasets
        for was, now in zip(before, state(), strict=True):
            assert was == now, (was, now)
        print("same")
    """)
    assert child.stdout == "same"
    assert child.stderr == ""


def test_nothing_is_printed():
    child = run_python("""
        import numpy as np, fastnn
        net = fastnn.Network([4, 8, 3], seed=0)
        X, y = np.eye(4), np.array([0, 1, 2, 0])
        net.fit(X, y, epochs=3, verbose=0)
        net.partial_fit(X, y); net.train_on_batch(X, y); net.predict(X)
        net.evaluate(X, y); net.predict_one(X[0]); net.summary(); repr(net)
    """)
    assert child.stdout == child.stderr == ""


def test_the_global_generator_is_not_used():
    # Neither read nor moved: a seed of the caller's has no effect on a network.
    weights = []
    for seed in (1, 2):
        np.random.seed(seed)
        net = fastnn.Network([20, 8, 10], seed=5)
        net.fit(X[:, :20], Y, epochs=2, verbose=0)
        weights.append(net.get_weights()[0][0].tobytes())
        expected = np.random.RandomState(seed).random_sample(3)
        assert (np.random.random_sample(3) == expected).all()
    assert weights[0] == weights[1]
