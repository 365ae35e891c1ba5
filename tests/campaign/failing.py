"""The n-th system call, allocation or thread fails, for every n.

`failing.c` makes them fail; it is compiled and loaded before all other libraries of a
child, which runs one of the functions here.
"""

import ctypes
import errno
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path

import numpy as np
from children import run_python
from helpers import same_bits, training_state
from samples import NETWORKS, OPTIMIZERS

import fastnn
from fastnn import ModelCheckpoint, ModelFormatError, Network
from fastnn._core.native import engine as native

from . import Skip, Try, part
from .crashes import X, Y, rows_for


@cache
def library():
    """`failing.c`, compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        raise Skip("no C compiler, or not Linux")
    target = Path(tempfile.gettempdir()) / f"campaign-{os.getpid()}.so"
    source = Path(__file__).with_suffix(".c")
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-fno-builtin"]
    subprocess.run([compiler, *flags, "-o", target, source, "-ldl"], check=True)
    return target


def child(function, t: Try):
    """Run a function of this module in a child that has `failing.c`; its tries."""
    code = f"""
        from tests.campaign import Try
        from tests.campaign.failing import {function.__name__}, numpy
        from pathlib import Path
        t = Try({t.seed}, numpy({t.seed}), Path({str(t.folder)!r}))
        print(sum({function.__name__}(t) for _ in range(3)))
    """
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    done = run_python(
        code, LD_PRELOAD=str(library()), PYTHONPATH=path, timeout=250, check=False
    )
    library().unlink()
    library.cache_clear()
    assert done.returncode == 0, f"{done.returncode}\n{done.stderr[-5000:]}"
    return int(done.stdout.split()[-1])


def numpy(seed):
    return np.random.default_rng(seed)


def plan(name, n, error=errno.EIO, forever=False, code=(0, 0)):
    """Make the n-th call of that name fail, of those in this part of the memory."""
    fail = ctypes.CDLL(None).campaign_fail
    fail(
        name.encode(),
        ctypes.c_long(n),
        error,
        int(forever),
        *map(ctypes.c_void_p, code),
    )


def has_failed():
    """Whether there were as many calls as the plan said."""
    left = ctypes.CDLL(None).campaign_left
    left.restype = ctypes.c_long
    return left() <= 0


# --- files ----------------------------------------------------------------------------

CALLS = [
    "any",
    "write",
    "read",
    "fsync",
    "rename",
    "open",
    "unlink",
    "fchmod",
    "flock",
    "stat",
    "fstat",
]
ERRORS = [errno.EIO, errno.ENOSPC, errno.EACCES, errno.EMFILE, errno.EDQUOT]


@part(share=2, slowest=300)
def failing_calls(t: Try):
    """Each system call of a save, a checkpoint and a load fails in turn."""
    return child(each_call_fails, t)


def each_call_fails(t):
    path = t.folder / "net"
    path.unlink(missing_ok=True)
    net = Network(t.pick(NETWORKS), optimizer=t.pick(OPTIMIZERS), seed=t.seed)
    net.train_on_batch(rows_for(net), Y)
    net.save(path)
    old = path.read_bytes()
    Network.load(path)
    net.train_on_batch(rows_for(net), Y)
    state = training_state(net)
    net.save(path)
    new = path.read_bytes()
    net.fit(rows_for(net), Y, 1, callbacks=[ModelCheckpoint(path)], verbose=0)
    tries = 0
    for name in t.rng.permutation(CALLS)[:4]:
        error, forever = int(t.rng.choice(ERRORS)), bool(t.rng.integers(2))
        for n in range(1, 99):
            path.write_bytes(old)
            saver = Network.load(path)
            saver.train_on_batch(rows_for(net), Y)
            refused = False
            plan(name, n, error, forever)
            try:
                saver.save(path)
            except OSError as caught:
                refused = True
                assert caught.errno == error, caught
            finally:
                failed = has_failed()
                plan(name, 0)
            tries += 1
            case = f"{name} {n} {errno.errorcode[error]} {forever}"
            assert path.read_bytes() in (old, new), case
            assert refused or path.read_bytes() == new, case
            assert same_bits(training_state(saver), state), case
            others = [each.name for each in t.folder.iterdir() if each != path]
            cannot_unlink = name == "unlink" or (forever and name in ("any", "open"))
            assert not others or cannot_unlink, (case, others)
            saver.save(path)
            assert [*t.folder.iterdir()] == [path], case
            if not failed:
                break
        for n in range(1, 99):
            plan(name, n, error, forever)
            try:
                assert Network.load(path).step == 2
            except (OSError, ModelFormatError):
                pass
            finally:
                failed = has_failed()
                plan(name, 0)
            tries += 1
            if not failed:
                break
    return tries


# --- memory and threads ---------------------------------------------------------------


def code_of(module):
    """The addresses of a library's code."""
    with open("/proc/self/maps") as maps:
        found = [line.split()[0] for line in maps if module.__file__ in line]
    return [int(found[0].split("-")[0], 16), int(found[-1].split("-")[1], 16)]


USES = {
    "train_on_batch": lambda net, X: net.train_on_batch(X, Y),
    "loss_and_gradients": lambda net, X: net.loss_and_gradients(X, Y),
    "predict": lambda net, X: net.predict_proba(X),
    "predict_one": lambda net, X: net.predict_one(X[0]),
    "evaluate": lambda net, X: net.evaluate(X, Y),
    "get_weights": lambda net, X: net.get_weights(),
    "set_weights": lambda net, X: net.set_weights(net.get_weights()),
    "optimizer": lambda net, X: setattr(net, "optimizer", "adam"),
    "Network": lambda net, X: Network([3, 9, 3], seed=0),
}


@part(share=2, slowest=300)
def failing_allocations(t: Try):
    """Each allocation of a call fails in turn, of the engine's or of NumPy's."""
    return child(each_allocation_fails, t)


def each_allocation_fails(t):
    from numpy._core import _multiarray_umath

    tries = 0
    sizes = [6, int(t.rng.integers(1, 9000)), 3]
    layers = t.pick([sizes, t.pick(NETWORKS)])
    dtype, optimizer = t.pick(["float32", "float64"]), t.pick(OPTIMIZERS)

    def make():
        return Network(layers, dtype=dtype, optimizer=optimizer, seed=0, num_threads=3)

    rows = rows_for(make())
    for name in t.rng.permutation([*USES])[:3]:
        use = USES[name]
        whole = make()
        use(whole, rows)
        expected = training_state(whole)
        for module in (native, _multiarray_umath):
            code, forever = code_of(module), bool(t.rng.integers(2))
            for n in range(1, 60):
                net = make()
                before, refused = training_state(make()), False
                plan("memory", n, errno.ENOMEM, forever, code)
                try:
                    use(net, rows)
                except MemoryError:
                    refused = True
                finally:
                    failed = has_failed()
                    plan("memory", 0)
                tries += 1
                case = f"{name} {n} {forever} {module.__name__}"
                if refused:
                    assert same_bits(training_state(net), before), case
                    use(net, rows)
                assert same_bits(training_state(net), expected), case
                if not failed:
                    break
    return tries


@part(slowest=300)
def refused_threads(t: Try):
    """Each thread that is started is refused in turn: fewer of them, the same bits."""
    return child(each_thread_is_refused, t)


def each_thread_is_refused(t):
    native._begin_on_all_threads(True)
    warnings.simplefilter("ignore", RuntimeWarning)
    tries = 0
    for _ in range(2):
        threads = int(t.rng.integers(2, 12))
        sizes = [6, int(t.rng.integers(1, 900)), int(t.rng.integers(1, 90)), 3]

        def train(threads=threads, sizes=sizes):
            net = Network(sizes, seed=1, num_threads=threads)
            net.fit(X, Y, 2, 32, verbose=0)
            return training_state(net)

        plan("pthread_create", 1, errno.EAGAIN, True)
        alone = train()
        for n in range(1, threads + 2):
            plan("pthread_create", n, errno.EAGAIN, bool(t.rng.integers(2)))
            assert same_bits(train(), alone), (sizes, threads, n)
            plan("pthread_create", 0)
            assert same_bits(train(), alone), (sizes, threads, n)
            tries += 2
    assert fastnn.build_info()["threads_refused"] > 0
    return tries
