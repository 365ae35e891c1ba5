"""Limits of the system: address space, processes, sizes of files, room on a disk."""

import ctypes
import os
import resource
import warnings
from pathlib import Path

import numpy as np
from helpers import same_bits, training_state

import fastnn
from fastnn import Network
from fastnn._core.native import engine as native

from . import Skip, Try, in_child, part

X = np.random.default_rng(0).normal(size=(4096, 500)).astype("f4")
Y = np.arange(4096) % 10


def limit(name, value):
    which = getattr(resource, f"RLIMIT_{name}")
    resource.setrlimit(which, (value, resource.getrlimit(which)[1]))


# --- address space --------------------------------------------------------------------


def fit(net, path):
    net.fit(X, Y, 1, 2048, verbose=0)


def predict(net, path):
    net.predict_proba(X)


def save_and_load(net, path):
    net.save(path)
    assert same_bits(training_state(Network.load(path)), training_state(net))


def gradients(net, path):
    net.loss_and_gradients(X, Y)


@part(share=2)
def address_space(t: Try):
    """RLIMIT_AS, 256 kB by 256 kB above what is used: MemoryError, or the bits."""
    sizes = [500, int(t.rng.integers(1, 900)), 10]
    use = t.pick([fit, predict, save_and_load, gradients])
    path, dtype = t.folder / "net", t.pick(["float32", "float64"])

    def make():
        return Network(sizes, seed=t.seed, dtype=dtype, num_threads=3)

    expected = make()
    use(expected, path)  # and imports what it needs
    expected = training_state(expected)
    path.unlink(missing_ok=True)
    net = make()

    def within(room):
        native._begin_on_all_threads(True)
        warnings.simplefilter("ignore", RuntimeWarning)
        before = training_state(net)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit("AS", pages * resource.getpagesize() + room)
        refused = False
        try:
            use(net, path)
        except MemoryError:
            refused = True
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
        if refused:
            assert same_bits(training_state(net), before)
            use(net, path)
        assert same_bits(training_state(net), expected), room

    steps = t.rng.integers(0, 200, 12)
    for room in steps:
        in_child(within, int(room) << 18)
    return len(steps)


# --- processes ------------------------------------------------------------------------


@part(share=0.5)
def few_processes(t: Try):
    """RLIMIT_NPROC as a user who may start few threads: the same bits."""

    def train():
        net = Network([500, 300, 10], seed=t.seed, num_threads=5)
        net.fit(X[:256], Y[:256], 2, 64, verbose=0)
        return training_state(net)

    expected = train()

    def within(n):
        native._begin_on_all_threads(True)
        if os.getuid() == 0:  # who is exempt
            os.setuid(60000 + t.seed % 5000)
        limit("NPROC", n)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(3):
                assert same_bits(train(), expected)
        refused = fastnn.build_info()["threads_refused"]
        assert len(caught) == (refused > 0), caught

    for n in range(1, 7):
        in_child(within, n)
    return 6


# --- files and disks ------------------------------------------------------------------


def save_within(net, path, old, expected):
    """Save where there may be no room: the old file or the new one, nothing else."""
    try:
        net.save(path)
    except OSError:
        assert path.read_bytes() == old
    else:
        assert path.read_bytes() == expected
    assert [*path.parent.iterdir()] == [path]
    Network.load(path)


def old_and_new(t, path):
    """A network that was saved and has gone on; both contents of its file."""
    sizes = [int(n) for n in t.rng.integers(1, 120, 3)]
    net = Network(sizes, seed=t.seed, loss="mse", num_threads=1)
    rows = np.ones((3, sizes[0]))
    net.train_on_batch(rows, np.ones((3, sizes[2])))
    net.save(path)
    new = path.read_bytes()
    net.train_on_batch(rows, np.ones((3, sizes[2])))
    net.save(path)
    old, new = new, path.read_bytes()
    path.write_bytes(old)
    return net, old, new


@part()
def file_sizes(t: Try):
    """RLIMIT_FSIZE at every 4 KiB of a file."""
    path = t.folder / "net"
    net, old, new = old_and_new(t, path)

    def within(size):
        limit("FSIZE", size)
        save_within(net, path, old, new)

    sizes = [*range(0, len(new) + 4096, 4096), len(new) - 1, len(new)]
    for size in sizes:
        path.write_bytes(old)
        in_child(within, size)
    return len(sizes)


def mount(folder, pages):
    """Mount a disk in memory that only this process sees, and that ends with it."""
    libc = ctypes.CDLL(None, use_errno=True)
    private, new_mounts = 1 << 18 | 1 << 14, 0x20000
    for code in (
        libc.unshare(new_mounts),
        libc.mount(b"none", b"/", None, private, None),
        libc.mount(b"t", os.fsencode(folder), b"tmpfs", 0, b"nr_blocks=%d" % pages),
    ):
        if code != 0:
            raise Skip(f"may not mount: {os.strerror(ctypes.get_errno())}")


@part()
def full_disks(t: Try):
    """A disk with room for every number of pages."""
    path = t.folder / "net"
    net, old, new = old_and_new(t, path)
    path.unlink()
    needed = len(old) // 4096 + 1
    marker = t.folder / "skipped"

    def within(pages):
        try:
            mount(t.folder, pages)
        except Skip as reason:
            marker.write_text(str(reason))
            return
        path.write_bytes(old)
        save_within(net, path, old, new)

    for pages in range(needed, 2 * needed + 4):
        in_child(within, pages)
        if marker.exists():
            raise Skip(marker.read_text())
    return needed + 4
