"""How many threads: what the environment, the CPUs and the container say."""

import os
import shutil
import threading

import numpy as np
import pytest
from children import run_python

import fastnn
from fastnn._core.native.threads import default_num_threads

CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
needs_two = pytest.mark.skipif(CPUS < 2, reason="needs two CPUs to see less than all")
needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system has no CPU affinity"
)

ASK = "import fastnn; print(fastnn.get_num_threads())"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in ("FASTNN_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def many_cpus(monkeypatch):
    """A process that may use 64 CPUs."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))


# Variables.


@pytest.mark.parametrize("name", ["FASTNN_NUM_THREADS", "OMP_NUM_THREADS"])
@needs_two
def test_a_variable_limits(name):
    assert run_python(ASK, **{name: "1"}).stdout == "1"
    assert run_python(ASK, **{name: "1000"}).stdout == run_python(ASK).stdout


def test_the_least_counts(many_cpus, monkeypatch, tmp_path):
    assert default_num_threads(tmp_path) == 64
    monkeypatch.setenv("OMP_NUM_THREADS", "9")
    assert default_num_threads(tmp_path) == 9
    monkeypatch.setenv("FASTNN_NUM_THREADS", "5")
    assert default_num_threads(tmp_path) == 5
    (tmp_path / "cpu.max").write_text("300000 100000\n")
    assert default_num_threads(tmp_path) == 3
    monkeypatch.setenv("FASTNN_NUM_THREADS", "2")
    assert default_num_threads(tmp_path) == 2


@pytest.mark.parametrize("text", ["0", "-1", "2.5", " 3"])
def test_a_bad_number_of_threads_is_an_import_error(text):
    child = run_python("import fastnn", FASTNN_NUM_THREADS=text, check=False)
    assert child.returncode == 1
    error = child.stderr.splitlines()[-1]
    assert error.startswith("ImportError: FASTNN_NUM_THREADS is ")
    assert repr(text) in error
    assert ">= 1" in error


@pytest.mark.parametrize("text", ["1e7", "nan"])
def test_a_bad_time_to_spin_is_an_import_error(text):
    child = run_python("import fastnn", FASTNN_SPIN_US=text, check=False)
    assert child.stderr.splitlines()[-1].startswith("ImportError: FASTNN_SPIN_US is ")
    assert repr(text) in child.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4", 4), ("4,2,1", 4), (" 4 ", 4), ("", 64), ("all", 64), ("0", 64), ("-2", 64)],
)
def test_openmps_variable_is_read_as_openmp_does(
    many_cpus, monkeypatch, tmp_path, text, expected
):
    # It belongs to others: what is no number is not for fastnn to complain about.
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert default_num_threads(tmp_path) == expected


# CPUs.


@needs_affinity
@needs_two
def test_affinity_limits():
    code = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); " + ASK
    assert run_python(code).stdout == "1"


@needs_affinity
@needs_two
def test_taskset_limits():
    taskset = shutil.which("taskset")
    if taskset is None:
        pytest.skip("needs taskset (util-linux)")
    cpu = min(os.sched_getaffinity(0))
    code = f"""
        import subprocess, sys
        command = [{taskset!r}, "-c", "{cpu}", sys.executable, "-c", {ASK!r}]
        print(subprocess.run(command, capture_output=True, text=True).stdout.strip())
    """
    assert run_python(code).stdout == "1"


# Containers.


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),  # one and a half: rounded up
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "1000 1000000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({}, 64),
        # What nobody can read is no reason not to start.
        ({"cpu.max": ""}, 64),
        ({"cpu.max": "100000\n"}, 64),
        ({"cpu.max": "a lot\n"}, 64),
        ({"cpu.max": "100000 0\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "x\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "200000\n"}, 64),
    ],
)
def test_the_quota_of_a_control_group_limits(many_cpus, tmp_path, files, expected):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert default_num_threads(tmp_path) == expected


# At run time.


def test_the_number_can_be_set():
    before = fastnn.get_num_threads()
    try:
        for n in (1, 3, 256):
            fastnn.set_num_threads(n)
            assert fastnn.get_num_threads() == n
            assert fastnn.Network([2, 2], seed=0).num_threads == n
        bad = ((0, ValueError), (257, ValueError), (2.0, TypeError), (True, TypeError))
        for n, error in bad:
            with pytest.raises(error, match="n must be an integer from 1 to 256"):
                fastnn.set_num_threads(n)
        assert fastnn.get_num_threads() == 256
    finally:
        fastnn.set_num_threads(before)


FIRST = {
    "threadpoolctl": "import threadpoolctl, fastnn",
    "fastnn": "import fastnn, threadpoolctl; fastnn.Network([2, 2])",
    "scikit-learn": "import fastnn, fastnn.sklearn, threadpoolctl",
}


@pytest.mark.parametrize("first", FIRST)
def test_threadpoolctl_sees_and_limits_them(first):
    pytest.importorskip("threadpoolctl")
    if first == "scikit-learn":
        pytest.importorskip("sklearn")
    code = f"""
        {FIRST[first]}
        fastnn.set_num_threads(3)

        def own():
            info = threadpoolctl.threadpool_info()
            (found,) = [each for each in info if each["user_api"] == "fastnn"]
            assert found["version"] == fastnn.__version__
            return found["num_threads"]

        found = [own()]
        net = fastnn.Network([2, 2], seed=0)
        for limits in (1, {{"fastnn": 2}}, 1000, None):
            with threadpoolctl.threadpool_limits(limits):
                found += [own(), net.num_threads]
            found.append(fastnn.get_num_threads())
        with threadpoolctl.threadpool_limits(1, user_api="blas"):
            found.append(own())
        print(*found)
    """
    expected = "3 1 1 3 2 2 3 256 256 3 3 3 3 3"
    assert run_python(code).stdout == expected


def test_a_library_of_another_package_is_not_taken_for_ours(tmp_path):
    pytest.importorskip("threadpoolctl")
    code = f"""
        import ctypes, os, shutil
        import threadpoolctl, fastnn
        from fastnn._core.native import engine

        path = os.path.join({str(tmp_path)!r}, os.path.basename(engine.__file__))
        shutil.copy(engine.__file__, path)
        other = ctypes.CDLL(path)
        info = threadpoolctl.threadpool_info()
        print([p["filepath"] for p in info if p["user_api"] == "fastnn"]
              == [os.path.realpath(engine.__file__)])
    """
    assert run_python(code).stdout == "True"


@pytest.mark.parametrize("limit", [1, 2, 4])
def test_no_more_threads_than_allowed_are_started(limit):
    code = f"""
        import os
        import numpy as np
        import fastnn
        before = len(os.listdir("/proc/self/task"))
        fastnn.set_num_threads({limit})
        X, y = np.ones((512, 300), "f4"), np.arange(512) % 10
        net = fastnn.Network([300, 300, 300, 10], seed=0)
        net.fit(X, y, epochs=1, batch_size=256, verbose=0)
        net.predict(np.tile(X, (20, 1)))
        net.evaluate(X, y)
        print(1 + len(os.listdir("/proc/self/task")) - before)
    """
    # More than CPUs are tried, if ever, when those are measured.
    assert min(limit, CPUS) <= int(run_python(code).stdout) <= limit


def test_a_small_network_starts_no_thread():
    # A second thread would only cost: see the cost model.
    code = """
        import os
        import numpy as np
        import fastnn
        fastnn.set_num_threads(8)
        before = len(os.listdir("/proc/self/task"))
        net = fastnn.Network([4, 16, 3], seed=0)
        net.fit(np.ones((64, 4)), np.arange(64) % 3, epochs=2, batch_size=32, verbose=0)
        net.predict(np.ones((64, 4)))
        print(len(os.listdir("/proc/self/task")) - before)
    """
    assert run_python(code).stdout == "0"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n_threads", "n_rows"), [(29, 113), (40, 150), (64, 255)])
def test_rows_that_more_threads_share_than_a_chunk_holds(dtype, n_threads, n_rows):
    X = np.random.default_rng(0).random((n_rows, 600), dtype)
    net = fastnn.Network([600, 600, 600, 10], dtype=dtype, seed=0, num_threads=1)
    expected = net.predict_proba(X)
    many = fastnn.Network(
        [600, 600, 600, 10], dtype=dtype, seed=0, num_threads=n_threads
    )
    for _ in range(5):
        assert (many.predict_proba(X) == expected).all()


def test_processes_side_by_side_stay_within_the_cpus():
    # As many workers as CPUs, one thread each by the variable they are given: no more
    # threads than workers compute.
    code = """
        import os, sys
        import numpy as np
        import fastnn
        before = len(os.listdir("/proc/self/task"))
        net = fastnn.Network([300, 300, 10], seed=0)
        X, y = np.ones((512, 300), "f4"), np.arange(512) % 10
        net.fit(X, y, epochs=1, batch_size=256, verbose=0)
        print(len(os.listdir("/proc/self/task")) - before)
    """
    counts, workers = [], []

    def work():
        counts.append(run_python(code, OMP_NUM_THREADS="1").stdout)

    for _ in range(2):
        workers.append(threading.Thread(target=work))
        workers[-1].start()
    for worker in workers:
        worker.join()
    assert counts == ["0", "0"]
