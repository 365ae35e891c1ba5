"""A system that refuses threads: fewer of them, one warning, the same bits."""

import textwrap

import pytest
from children import run_python

COMMON = """
import hashlib, os, resource, sys, warnings
import numpy as np
import fastnn
from fastnn._core.native import engine as _engine

fastnn.set_num_threads(5)
_engine._begin_on_all_threads(True)
rng = np.random.default_rng(0)
X = rng.normal(size=(300, 200)).astype("f4")
y = rng.integers(10, size=300)

def train_and_predict():
    net = fastnn.Network([200, 256, 10], seed=0)
    net.fit(X, y, epochs=3, batch_size=100, verbose=0)
    digest = hashlib.sha256(net.predict_proba(X).tobytes())
    for W, b in net.get_weights():
        digest.update(W.tobytes() + b.tobytes())
    return digest.hexdigest()

def tasks():
    return len(os.listdir("/proc/self/task"))

before = tasks()  # NumPy's BLAS has threads of its own

def threads():
    return 1 + tasks() - before

def with_limit(limit):
    "The result of a run under a limit, its warnings, and how often it was refused."
    limit()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = {train_and_predict() for _ in range(3)}
    for warning in caught:
        assert warning.category is RuntimeWarning, warning
        assert "refused to start a thread" in str(warning.message)
    print(*results, len(caught), fastnn.build_info()["threads_refused"] > 0, threads())
"""

EXPECTED = run_python(
    COMMON + "print(train_and_predict(), threads(), fastnn.build_info()"
    "['threads_refused'])"
).stdout.split()


def check(child, most_threads):
    digest, n_warnings, was_refused, threads = child.stdout.split()
    assert digest == EXPECTED[0]
    assert int(n_warnings) == 1
    assert was_refused == "True"
    assert int(threads) <= most_threads


def test_without_a_limit_there_are_threads():
    # Else the tests below limit nothing.
    assert int(EXPECTED[1]) >= 3
    assert EXPECTED[2] == "0"


@pytest.mark.parametrize(("n", "most"), [(1, 1), (2, 2), (3, 3)])
def test_refused_from_the_nth_on(n, most):
    code = f"with_limit(lambda: _engine._refuse_thread({n}, True))"
    check(run_python(COMMON + code), most)


def test_refused_once():
    # The next region tries again, and gets its threads.
    child = run_python(COMMON + "with_limit(lambda: _engine._refuse_thread(2))")
    check(child, 5)
    assert child.stdout.split()[-1] != "2"


def test_no_processes_left():
    # Root is exempt from the limit, so the child becomes nobody first.
    code = """
        # What is imported on first use: nobody may not be able to read it.
        fastnn.Network([2, 2], seed=0).fit([[0, 0]], [0], verbose=0)

        def limit():
            if os.getuid() == 0:
                os.setuid(65534)
            resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))

        with_limit(limit)
    """
    check(run_python(COMMON + textwrap.dedent(code)), 1)


def test_no_address_space_for_stacks():
    # Each thread wants a stack of 512 MB, which the limit has no room for.
    code = """
        def limit():
            stack = 512 << 20
            resource.setrlimit(resource.RLIMIT_STACK, (stack, stack))
            used = int(open("/proc/self/statm").read().split()[0]) * os.sysconf(
                "SC_PAGE_SIZE")
            room = used + (256 << 20)
            resource.setrlimit(resource.RLIMIT_AS, (room, room))

        with_limit(limit)
    """
    # The size of stacks is read when a program starts.
    restart = """
        import resource, os, sys
        stack = 512 << 20
        if resource.getrlimit(resource.RLIMIT_STACK)[0] != stack:
            resource.setrlimit(
                resource.RLIMIT_STACK,
                (stack, resource.getrlimit(resource.RLIMIT_STACK)[1]),
            )
            os.execv(sys.executable, [sys.executable, "-c", sys.argv[1], sys.argv[1]])
    """
    program = COMMON + textwrap.dedent(code)
    check(run_python(textwrap.dedent(restart) + program, program), 1)


def test_a_warning_as_an_error_loses_nothing():
    code = """
        _engine._refuse_thread(1, True)
        net = fastnn.Network([200, 256, 10], seed=0)
        raised = 0
        for _ in range(3):
            try:
                net.fit(X, y, epochs=3, batch_size=100, verbose=0, resume=True)
            except RuntimeWarning:
                raised += 1
        digest = hashlib.sha256(net.predict_proba(X).tobytes())
        for W, b in net.get_weights():
            digest.update(W.tobytes() + b.tobytes())
        print(digest.hexdigest(), raised)
    """
    child = run_python(COMMON + textwrap.dedent(code))
    assert child.stdout.split() == [EXPECTED[0], "1"]


@pytest.mark.slow
def test_more_threads_than_cpus_are_not_slower():
    # Each count in turn, and the best of many turns: the machine may be busy.
    code = """
        import time
        _engine._begin_on_all_threads(False)
        X, y = np.tile(X, (10, 1)), np.tile(y, 10)
        best = {}
        nets = {}
        for turn in range(12):
            for n in (1, 2, 4, 8, 16):
                fastnn.set_num_threads(n)
                net = nets.setdefault(n, fastnn.Network([200, 256, 10], seed=0))
                start = time.perf_counter()
                net.fit(X, y, epochs=4, batch_size=100, verbose=0)
                seconds = time.perf_counter() - start
                best[n] = min(best.get(n, seconds), seconds)
        print(*best.values())
    """
    child = run_python(COMMON + textwrap.dedent(code), timeout=300)
    one, two, *more = map(float, child.stdout.split())
    assert two < 1.2 * one, child.stdout
    assert max(more) < 1.5 * min(one, two), child.stdout
