"""kill -9 at any moment: the old file or the new one, and never a step back."""

import os
import time
from pathlib import Path

import numpy as np
from samples import NETWORKS, OPTIMIZERS

from fastnn import ModelCheckpoint, Network

from . import Try, in_child, part

X = np.random.default_rng(0).normal(size=(64, 6)).astype("f4")
Y = np.arange(64) % 3


def rows_for(net):
    rows = X[:, : net.plan.n_inputs].copy()
    if net.plan.categories:
        rows[:, -len(net.plan.categories) :] = 0
    return rows


def save_for_ever(net, path):
    while True:
        net.train_on_batch(rows_for(net), Y)
        net.save(path)


def fit_for_ever(net, path):
    checkpoint = ModelCheckpoint(path, monitor="loss", save_best_only=False)
    net.fit(rows_for(net), Y, 10**6, 16, callbacks=[checkpoint], verbose=0)


def folders(folder):
    """One on each file system that there is to write on."""
    yield folder
    shared = Path("/dev/shm")
    if os.access(shared, os.W_OK):
        yield Path(shared / folder.name)


@part(share=2)
def kill_while_saving(t: Try):
    """SIGKILL while a network is saved, by hand or as a checkpoint."""
    kills = 0
    for folder in folders(t.folder):
        folder.mkdir(exist_ok=True)
        path = folder / ("n" * int(t.rng.integers(1, 256)))
        wide = [6, int(t.rng.integers(1, 900)), int(t.rng.integers(1, 200)), 3]
        layers = t.pick([wide, t.pick(NETWORKS)])
        net = Network(layers, optimizer=t.pick(OPTIMIZERS), seed=t.seed, num_threads=1)
        net.save(path)
        size, last = path.stat().st_size, 0
        pace = t.rng.choice([0.001, 0.005, 0.02, 0.1])
        for _ in range(10):
            child = t.pick([save_for_ever, fit_for_ever])
            in_child(child, net, path, killed_after=t.rng.exponential(pace))
            net = Network.load(path, num_threads=1)
            assert net.step >= last, (net.step, last)
            assert abs(path.stat().st_size - size) < 1000  # the header's numbers
            last, kills = net.step, kills + 1
        net.save(path)
        assert [*folder.iterdir()] == [path], [*folder.iterdir()]
        if folder != t.folder:
            path.unlink()
            folder.rmdir()
    return kills


@part(share=0.5)
def kill_of_many_writers(t: Try):
    """SIGKILL while many processes write the same file, each of its own content."""
    from fastnn._core.exchange.files import write_atomically

    path = t.folder / "file"
    contents = [bytes([i]) * int(t.rng.integers(1, 10**6)) for i in range(3)]
    path.write_bytes(contents[0])

    def write(i):
        while True:
            write_atomically(path, contents[i])

    def writers():
        children = []
        for i in range(3):
            if (child := os.fork()) == 0:
                write(i)
            children.append(child)
        time.sleep(t.rng.exponential(0.01))
        for child in t.rng.permutation(children):
            os.kill(int(child), 9)
            assert path.read_bytes() in contents
            time.sleep(t.rng.exponential(0.002))
        for child in children:
            os.waitpid(child, 0)  # with it goes its lock

    for _ in range(5):
        in_child(writers)
        assert path.read_bytes() in contents
    write_atomically(path, contents[0])
    assert [*t.folder.iterdir()] == [path]
    return 15
