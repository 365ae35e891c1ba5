"""Forks and threads: children compute, and threads find what the contract says."""

import threading
import time
import types

import numpy as np
import pytest

import fastnn
from tests.reliability import test_fork, test_thread_contract

from . import Skip, Try, part

# --- forks ----------------------------------------------------------------------------


def common():
    """What the tests of forks run in: networks, data and `in_child`."""
    found = {}
    exec(test_fork.COMMON, found)
    return types.SimpleNamespace(**found)


@part(share=2)
def forks(t: Try):
    """Children and grandchildren, of an idle process or beside work in a thread."""
    c = common()
    expected = c.use(c.make())
    busy, idle = c.make(), c.make()
    stop, rows = threading.Event(), np.broadcast_to(c.X[0], (5000, 200))
    work = t.pick(
        [
            lambda: time.sleep(0.01),
            lambda: busy.fit(c.X, c.y, 3, 64, verbose=0),
            lambda: busy.predict(rows),
            lambda: c.use(c.make()),
            lambda: busy.save(t.folder / "net"),
        ]
    )

    def repeat():
        while not stop.is_set():
            work()

    def child():
        assert c.use(c.make()) == expected
        assert c.use(idle) == expected

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        for _ in range(10):
            time.sleep(t.rng.exponential(0.003))
            if t.rng.integers(3):
                c.in_child(child, 30.0)
            else:
                c.in_child(lambda: c.in_child(child, 30.0), 60.0)
    finally:
        stop.set()
        thread.join(60)
    assert c.use(c.make()) == expected
    return 10


@part(slowest=300, least=10)
def start_methods(t: Try):
    """Pools of fork, spawn and forkserver, loky's, and networks sent to a child."""
    checks = [
        *(
            lambda method=method: test_fork.compute_in_a_pool(method, t.folder)
            for method in ("fork", "spawn", "forkserver")
        ),
        test_fork.test_loky,
        test_fork.test_a_network_is_sent_to_another_process,
        test_fork.test_during_the_fit_of_another_thread,
        test_fork.test_during_the_prediction_of_another_thread,
    ]
    try:
        checks[t.seed % len(checks)]()
    except pytest.skip.Exception as reason:
        raise Skip(str(reason)) from None


# --- threads --------------------------------------------------------------------------


@part(share=2, slowest=300, least=5)
def thread_contract(t: Try):
    """Eight threads predict with one network, or find it busy: not one wrong bit."""
    sizes = [64, int(t.rng.integers(1, 300)), 10]
    threads = int(t.rng.integers(1, 5))
    net = fastnn.Network(sizes, seed=t.seed, num_threads=threads)
    test_thread_contract.predict_together(net, 2)
    test_thread_contract.test_training_beside_refused_calls_has_the_same_bits("native")
    test_thread_contract.test_networks_are_independent()
    return 3
