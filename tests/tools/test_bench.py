"""`fastnn bench`: the same results, fair turns, and reports that say what they are."""

import json
import os
import re
import shlex
import time
from dataclasses import replace

import numpy as np
import pytest

import fastnn
from fastnn import bench, cli
from fastnn.bench import _timing, peers
from fastnn.bench._child import (
    Child,
    _Worker,
    import_seconds,
    peak_bytes,
    without_kernel_settings,
)
from fastnn.bench._report import Cell, OnThreads, Report, Row, describe_machine
from fastnn.bench._timing import (
    QUICK_SECONDS,
    Spread,
    block_seconds,
    ratio,
    ratios,
    take_turns,
    warm_up,
)
from fastnn.bench.peers import PEERS, absent, choose
from fastnn.bench.peers.fastnn import lane
from fastnn.bench.peers.setup import (
    Side,
    require_threadpoolctl,
    set_blas_threads,
    thread_settings,
    threads_of,
)
from fastnn.bench.peers.tasks import (
    ADAM_SHAPES,
    CHECKED_ROWS,
    SHAPES,
    Task,
    flops,
    initial_weights,
    label,
    make_batch,
    make_images,
    make_network,
    make_rows,
    make_tasks,
    select,
)

TINY = [
    Task("step", (20, 8, 3), 16),
    Task("step", (20, 8, 3), 16, "adam"),
    Task("epoch", (20, 8, 3), CHECKED_ROWS + 5),
    Task("predict", (20, 8, 3), 1),
    Task("predict", (20, 8, 3), 7),
]


@pytest.fixture(scope="module")
def threadpoolctl():
    return pytest.importorskip("threadpoolctl")


@pytest.fixture(scope="module")
def report(threadpoolctl):
    told = []
    tasks = [TINY[4]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENBLAS_CORETYPE", "Haswell")
        report = bench.compare_peers(["numpy"], True, tasks=tasks, progress=told.append)
        assert os.environ["OPENBLAS_CORETYPE"] == "Haswell"
    assert told == [row.name for row in report.rows]
    return report


@pytest.fixture
def made():
    """A report with known numbers and a peer that could not do one thing."""

    def cell(median, ratio):
        spread = Spread(median, 0.9 * median, 1.1 * median)
        return Cell(spread, Spread(ratio, 0.8 * ratio, 1.5 * ratio), "2 threads")

    on_threads = {
        n: OnThreads(Spread(2e-6, 1e-6, 3e-6), Spread(share, 0.5, 1.0))
        for n, share in ((1, 0.95), (2, 0.9))
    }
    rows = [
        Row(
            "step a",
            "s",
            {"fastnn": cell(2e-6, 1), "numpy": cell(5e-4, 250)},
            on_threads,
        ),
        Row("step b", "s", {"fastnn": cell(2e-6, 1), "numpy": cell(1e-6, 0.5)}),
        Row("memory", "bytes", {"fastnn": cell(47e6, 1)}),
    ]
    machine = describe_machine("avx2", 2)
    peers = {"fastnn": "0.1", "numpy": "2.4"}
    dropped = {"OPENBLAS_L2_SIZE": "1024"}
    return Report(False, machine, "float32", peers, ["torch", "jax"], dropped, rows)


# --- shapes and tasks -----------------------------------------------------------------


def test_the_nine_shapes_have_labels_batches_and_networks():
    assert len(SHAPES) == 9
    assert label(SHAPES[1]) == "2-64-3, batch 300"
    X, y = make_batch(SHAPES[1])
    assert (X.shape, X.dtype, y.shape, y.max()) == ((300, 2), np.float32, (300,), 2)
    assert make_batch(SHAPES[1], "float64")[0].dtype == np.float64
    net = make_network(SHAPES[1], "numpy", learning_rate=0.5)
    assert net.plan.sizes == (2, 64, 3)
    assert net.optimizer == fastnn.SGD(0.5)


def test_all_tasks_are_the_shapes_an_epoch_and_predictions_of_1_to_10000_rows():
    tasks = make_tasks(quick=False)
    steps = [task for task in tasks if task.kind == "step"]
    assert [task.shape for task in steps if task.optimizer == "sgd"] == SHAPES
    assert [task.shape for task in steps if task.optimizer == "adam"] == ADAM_SHAPES
    assert {label(shape) for shape in ADAM_SHAPES} == {
        "784-50-10, batch 32",
        "784-128-10, batch 64",
        "784-128-10, batch 512",
    }
    assert [t.rows for t in tasks if t.kind == "epoch"] == [60_000]
    predictions = {(t.sizes, t.rows) for t in tasks if t.kind == "predict"}
    assert len(predictions) == 12
    assert {rows for _, rows in predictions} == {1, 16, 256, 10_000}
    quick = make_tasks(quick=True)
    assert len(quick) <= 5
    assert {task.kind for task in quick} == {"step", "epoch", "predict"}


def test_names_of_tasks():
    assert [task.name for task in TINY] == [
        "step 20-8-3, batch 16",
        "step 20-8-3, batch 16, Adam",
        "epoch 20-8-3, 135 rows, batch 64",
        "predict 20-8-3, 1 row",
        "predict 20-8-3, 7 rows",
    ]


def test_lines_are_selected_by_parts_of_their_names():
    names = [task.name for task in make_tasks(quick=False)]
    assert select(names, []) == names
    assert select(names, ["50-10, batch 32", "1 row"]) == [
        "step 784-50-10, batch 32",
        "step 784-50-10, batch 32, Adam",
        *(f"predict {sizes}, 1 row" for sizes in ("4-64-64-2", "784-128-10")),
        "predict 784-512-512-10, 1 row",
    ]
    with pytest.raises(ValueError, match="no line has 'nothing' in its name"):
        select(names, ["step", "nothing"])


def test_a_dtype_is_that_of_rows_and_weights():
    tasks = make_tasks(quick=True, dtype="float64")
    assert {task.dtype for task in tasks} == {"float64"}
    assert make_rows(tasks[0])[0].dtype == np.float64
    assert {a.dtype for Wb in initial_weights(tasks[0]) for a in Wb} == {
        np.dtype("float64")
    }
    with pytest.raises(ValueError, match="'float16'; expected float32 or float64"):
        make_tasks(quick=True, dtype="float16")


def test_images_look_like_mnist_and_rows_are_floats():
    X, y = make_images(TINY[2])
    assert (X.dtype, X.shape, y.shape) == (np.uint8, (135, 20), (135,))
    assert 0.1 < (X > 0).mean() < 0.3
    assert make_rows(TINY[0])[0].dtype == np.float32


def test_initial_weights_are_the_same_every_time_and_have_biases():
    first, second = initial_weights(TINY[0]), initial_weights(TINY[0])
    for (W, b), (other_W, other_b) in zip(first, second, strict=True):
        np.testing.assert_array_equal(W, other_W)
        np.testing.assert_array_equal(b, other_b)
        assert (b != 0).all()


# --- timing ---------------------------------------------------------------------------


def test_a_spread_is_median_and_quartiles():
    assert Spread.of([3]) == Spread(3.0, 3.0, 3.0)
    assert Spread.of([1, 2, 3, 4, 5]) == Spread(3.0, 2.0, 4.0)


def test_ratios_are_those_of_neighbours():
    assert ratios([2, 9, 8], [1, 3, 2]) == [2, 3, 4]
    assert ratio([2, 9, 8], [1, 3, 2]) == 3
    with pytest.raises(ValueError, match="shorter"):
        ratios([1, 2], [1])


def test_sides_take_turns_until_there_are_three_blocks():
    order = []
    sides = [lambda: order.append("a") or 1.0, lambda: order.append("b") or 2.0]
    assert take_turns(sides, 0.0) == [[1.0] * 3, [2.0] * 3]
    assert "".join(order) == "ab" * 3


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves only in calls of its sides; it keeps when each began."""

    class Clock:
        now = 0.0
        calls = ()

        def perf_counter(self):
            return self.now

        def sleep(self, seconds):
            self.now += seconds

        def side(self, seconds_at):
            def call():
                self.calls = (*self.calls, self.now)
                self.now += seconds_at(self.now)

            return call

    monkeypatch.setattr(_timing, "time", clock := Clock())
    return clock


def test_a_side_warms_up_for_50_ms_and_until_its_time_is_steady(clock):
    assert warm_up(clock.side(lambda now: 1e-3)) == pytest.approx(1e-3)
    assert 0.05 <= clock.now < 0.07
    clock.now = 0.0
    # Cold for 100 ms, as while threads wake and a clock rises.
    waking = warm_up(clock.side(lambda now: 1e-3 if now > 0.1 else 5e-3 - 4e-2 * now))
    assert waking == pytest.approx(1e-3)
    assert 0.1 < clock.now < 0.2


def test_a_side_that_is_never_steady_or_slow_is_not_warmed_up_for_long(clock):
    warm_up(clock.side(lambda now: 0.02 if len(clock.calls) % 2 else 0.01))
    assert 0.3 <= clock.now < 0.4
    clock.now, clock.calls = 0.0, ()
    assert warm_up(clock.side(lambda now: 2.0)) == 2.0
    assert clock.calls == (0.0,)


def test_a_block_is_timed_warm_after_the_others_are_asleep(clock):
    side = clock.side(lambda now: 1e-3 if now > 0.17 else 1e-2)
    assert block_seconds(side, 0.15) == pytest.approx(1e-3)
    assert clock.calls[0] == 0.15
    timed = [at for at in clock.calls if at > clock.now - 0.2001]
    assert len(timed) == 200
    assert timed[0] > 0.15 + 0.05
    clock.now, clock.calls = 0.0, ()
    assert block_seconds(clock.side(lambda now: 0.7), timed=0.05) == pytest.approx(0.7)
    assert len(clock.calls) == 2


# --- peers ----------------------------------------------------------------------------


def test_fastnn_and_its_reference_are_always_chosen(monkeypatch):
    monkeypatch.setattr(peers, "absent", lambda name: name in ("torch", "jax"))
    assert choose(["torch"]) == (["fastnn", "reference"], ["torch"])
    present, missing = choose(None)
    assert missing == ["torch", "jax"]
    assert [*present, *missing] == [p for p in PEERS if p in present] + missing


def test_a_peer_is_absent_without_one_of_its_modules(monkeypatch):
    monkeypatch.setitem(PEERS, "torch", ("json", "no_such_module"))
    assert absent("torch")
    monkeypatch.setitem(PEERS, "torch", ("json",))
    assert not absent("torch")


def test_an_unknown_peer_is_an_error():
    with pytest.raises(ValueError, match="no peer 'keras'; expected some of fastnn"):
        choose(["numpy", "keras"])


@pytest.mark.parametrize("task", TINY, ids=lambda task: task.name)
def test_both_lanes_compute_the_same_and_training_shows(task):
    native, reference = lane(task, "native"), lane(task, "numpy")
    assert isinstance(native, Side)
    bench.check_equal("fastnn", task, native.outputs, reference.outputs)
    native.run()
    if task.kind == "step":  # a step left out would be found out
        untrained = lane(Task("predict", task.sizes, task.rows), "numpy").outputs
        with pytest.raises(RuntimeError, match="probabilities differ by 0.0"):
            bench.check_equal("fastnn", task, untrained, reference.outputs)


@pytest.mark.parametrize("name", [name for name in PEERS if name != "fastnn"])
def test_every_peer_that_is_installed_computes_the_same(name, threadpoolctl):
    if absent(name):
        pytest.skip(f"{name} is not installed")
    with Child(name) as child:
        done = 0
        for task in [*TINY, *(replace(task, dtype="float64") for task in TINY[::2])]:
            expected = lane(task, "native").outputs
            for setting in child.settings(task):
                found = child.outputs(task, setting)
                assert found.dtype == task.dtype
                bench.check_equal(name, task, found, expected)
                done += 1
        assert done
        assert child.block(timed=QUICK_SECONDS) > 0
        if name == "scikit-learn":  # of two classes it makes a network of one output
            assert child.settings(Task("predict", (4, 8, 2), 5)) == []


def test_thread_settings_say_how_many(monkeypatch):
    assert [threads_of(s) for s in ("1 thread", "fused, 12 threads")] == [1, 12]
    assert thread_settings()[0] == "1 thread"
    with pytest.raises(ValueError, match="no number of threads in 'jit'"):
        threads_of("jit")


def test_the_threads_of_the_blas_are_set(threadpoolctl):
    before = threadpoolctl.threadpool_info()
    try:
        set_blas_threads("1 thread")
        pools = threadpoolctl.threadpool_info()
        assert {p["num_threads"] for p in pools if p["user_api"] == "blas"} == {1}
    finally:
        threadpoolctl.threadpool_limits({p["prefix"]: p["num_threads"] for p in before})


def test_without_threadpoolctl_nothing_is_compared(monkeypatch):
    from importlib import util

    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install threadpoolctl"):
        require_threadpoolctl()


# --- processes ------------------------------------------------------------------------


def test_what_goes_wrong_in_a_process_is_raised_with_its_name():
    with (
        Child("fastnn") as child,
        pytest.raises(RuntimeError, match="fastnn: ValueError: layers"),
    ):
        child.outputs(Task("predict", (3,), 1), "defaults")


def test_a_process_that_dies_is_an_error():
    with Child("fastnn") as child:
        child.settings(TINY[0])
        child._process.kill()
        with pytest.raises(RuntimeError, match="the process of fastnn ended: -9"):
            child.settings(TINY[0])


def test_a_process_knows_its_peaks_and_its_times():
    assert 10e6 < peak_bytes()
    with Child("fastnn") as child:
        assert 10e6 < child.peak_after(TINY[0], "1 thread") < 1e9
        assert 0 < child.block(timed=QUICK_SECONDS) < 1
        assert 1e5 < child.peak("float64", 1) < 1e12


def test_several_tasks_in_one_call_are_timed_as_one_each():
    worker = _Worker("reference")
    worker._side = Side(np.zeros(1), lambda: time.sleep(0.01), times=1000)
    assert 1e-5 <= worker.block(0.0, 0.02) < 1e-3  # undivided, 1e-2


def test_settings_of_kernels_are_dropped_for_a_while(monkeypatch):
    dropped = {
        "OPENBLAS_CORETYPE": "Haswell",
        "OPENBLAS_L2_SIZE": "512",
        "MKL_DEBUG_CPU_TYPE": "5",
        "BLIS_ARCH_TYPE": "zen3",
        "ONEDNN_MAX_CPU_ISA": "AVX",
        "ATEN_CPU_CAPABILITY": "default",
        "NPY_DISABLE_CPU_FEATURES": "AVX2",
    }
    kept = ["OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "FASTNN_ISA"]
    for name, value in {**dropped, **dict.fromkeys(kept, "1")}.items():
        monkeypatch.setenv(name, value)
    with without_kernel_settings() as found:
        assert dropped.items() <= found.items()
        assert not dropped.keys() & os.environ.keys()
        assert {*kept} <= os.environ.keys()
        assert not {*kept} & found.keys()
    assert dropped.items() <= os.environ.items()


def test_import_time_of_a_module():
    assert 0 < import_seconds("json") < 30
    with pytest.raises(RuntimeError, match="cannot import nothing_here: Module"):
        import_seconds("nothing_here")


def test_import_time_is_that_of_bytecode(tmp_path, monkeypatch):
    (tmp_path / "a_module_of_ours.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert import_seconds("a_module_of_ours") > 0
    assert [*tmp_path.glob("__pycache__/a_module_of_ours.*.pyc")]


# --- reports --------------------------------------------------------------------------


def test_a_run_has_every_row_with_both_lanes(report):
    names = [row.name for row in report.rows]
    assert names == [
        "predict 20-8-3, 7 rows",
        "import",
        "memory, predict 20-8-3, 7 rows",
    ]
    for row in report.rows:
        assert [*row.cells][-1] == "numpy"
        assert ("reference" in row.cells) == (row.name != "import")
        assert row.cells["fastnn"].ratio == Spread(1.0, 1.0, 1.0)
        assert row.cells["numpy"].value.median > 0
    own = report.rows[0].on_threads
    assert [*own] == sorted({1, fastnn.get_num_threads()})
    assert own[max(own)].seconds == report.rows[0].cells["fastnn"].value
    work, time_on_one = flops(TINY[4]), own[1].seconds.median
    assert 1e5 < work / time_on_one / own[1].share.median < 1e12  # the peak
    assert report.dropped["OPENBLAS_CORETYPE"] == "Haswell"
    assert report.peers["fastnn"] == fastnn.__version__
    assert report.peers["numpy"] == np.__version__


def test_times_and_ratios_are_aligned_and_who_is_absent_is_named(made):
    lines = made.text().splitlines()
    assert made.machine["processor"] in lines[0]
    assert lines[0].endswith("; avx2, float32, 2 threads")
    assert lines[1] == "fastnn 0.1, numpy 2.4"
    assert lines[2] == "dropped for the peers: OPENBLAS_L2_SIZE=1024"
    assert lines[4].split() == ["time", "or", "memory", "fastnn", "numpy"]
    assert re.fullmatch(r"step a +2\.00 us \+-10% +500 us", lines[5])
    assert re.fullmatch(r"memory +47 MB \+-10% +-", lines[7])
    assert len({len(line) for line in lines[4:8]}) == 1
    assert lines[9].split() == ["peer", "/", "fastnn", "numpy"]
    assert re.fullmatch(r"step a +250 \+-35%", lines[10])
    assert re.fullmatch(
        r"share .* 1 thread  2 threads  best peer .* fastnn is", lines[14]
    )
    assert re.fullmatch(r"step a +95% +90% +numpy +250 \+-35% +ahead", lines[15])
    assert re.fullmatch(r"step b +- +- +numpy +0\.50 \+-35% +BEHIND", lines[16])
    assert "ahead on 1, level on 1, behind on 1 of 3 lines." in lines[-3]
    assert lines[-2] == "Behind: step b (numpy)."
    assert lines[-1].startswith("Not installed, not measured: torch, jax (pip")


def test_all_peers_fit_into_120_columns(made):
    versions = dict.fromkeys(PEERS, "2.13.0+cpu")
    spread = Spread(12.34e-3, 11e-3, 14e-3)
    cells = {peer: Cell(spread, Spread(12.34, 11, 14), "") for peer in versions}
    names = [task.name for task in make_tasks(quick=False)]
    names += [f"memory, {task.name}" for task in make_tasks(quick=True)]
    rows = [Row(name, "s", cells) for name in names]
    report = Report(False, made.machine, "float32", versions, [], {}, rows)
    assert max(map(len, report.text().splitlines())) <= 120


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [
        ((1.5, 1.2, 1.6), "ahead"),
        ((0.8, 0.7, 0.9), "BEHIND"),
        ((1.1, 0.9, 1.2), "level"),
        ((0.9, 0.8, 1.1), "level"),
        ((0.995, 0.994, 0.996), "level"),
    ],
)
def test_the_verdict_is_about_the_best_peer(ratio, verdict):
    one = Spread(1.0, 1.0, 1.0)
    cells = {
        "fastnn": Cell(one, one, ""),
        "torch": Cell(one, Spread(30.0, 30.0, 30.0), ""),
        "jax": Cell(one, Spread(*ratio), ""),
    }
    row = Row("step a", "s", cells)
    assert row.best() == "jax"
    assert row.verdict() == verdict
    assert Row("step a", "s", {"fastnn": cells["fastnn"]}).verdict() == "level"


def test_markdown_has_tables_with_the_same_cells(made):
    lines = [line for line in made.markdown().splitlines() if line.startswith("|")]
    assert lines == [
        "| time or memory | fastnn | numpy |",
        "| --- | ---: | ---: |",
        "| step a | 2.00 us +-10% | 500 us |",
        "| step b | 2.00 us +-10% | 1.00 us |",
        "| memory | 47 MB +-10% | - |",
        "| peer / fastnn | numpy |",
        "| --- | ---: |",
        "| step a | 250 +-35% |",
        "| step b | 0.50 +-35% |",
        "| memory | - |",
        "| share of the FMA peak | 1 thread | 2 threads | best peer "
        "| best peer / fastnn | fastnn is |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| step a | 95% | 90% | numpy | 250 +-35% | ahead |",
        "| step b | - | - | numpy | 0.50 +-35% | BEHIND |",
        "| memory | - | - | fastnn | 1.00 +-35% | level |",
    ]


def test_json_has_every_number(made):
    read = json.loads(made.json())
    assert read["absent"] == ["torch", "jax"]
    assert read["dropped"] == {"OPENBLAS_L2_SIZE": "1024"}
    assert read["rows"][0]["on_threads"]["2"]["share"]["median"] == 0.9
    assert read["machine"]["isa"] == "avx2"
    cell = read["rows"][0]["cells"]["numpy"]
    value = {"median": 5e-4, "low": 4.5e-4, "high": 5.5e-4}
    assert cell["value"] == pytest.approx(value)
    assert cell["ratio"]["median"] == 250
    assert cell["setting"] == "2 threads"


def test_results_that_differ_are_not_timed():
    expected = np.full((2, 2), 0.5)
    bench.check_equal("torch", TINY[0], expected + 5e-5, expected)
    with pytest.raises(RuntimeError, match=r"torch, step .* differ by 0\.001 from"):
        bench.check_equal("torch", TINY[0], expected + 1e-3, expected)
    with pytest.raises(RuntimeError, match="differ by nan"):
        bench.check_equal("torch", TINY[0], expected * np.nan, expected)
    with pytest.raises(RuntimeError, match=r"result is \(1, 2\); expected \(2, 2\)"):
        bench.check_equal("torch", TINY[0], expected[:1], expected)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_seconds_must_be_possible(seconds, threadpoolctl):
    with pytest.raises(ValueError, match="expected a finite number >= 0"):
        bench.compare_peers(["numpy"], seconds=seconds)


# --- the command ----------------------------------------------------------------------


def test_the_command_prints_and_writes(made, monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    pytest.importorskip("threadpoolctl")
    asked = []

    def measured(*arguments, progress, **others):
        asked.append((*arguments, others))
        progress("step a")
        return made

    monkeypatch.setattr(bench, "compare_peers", measured)
    monkeypatch.chdir(tmp_path)
    line = (
        "bench --quick --peers numpy,torch --only a 'step b' --dtype float64 "
        "--json a.json --markdown a.md --plot a.png"
    )
    assert cli.main(shlex.split(line)) == 0
    out, err = capsys.readouterr()
    others = {"only": ["a", "step b"], "dtype": "float64"}
    assert asked == [(["numpy", "torch"], True, None, others)]
    assert out == made.text() + "\n"
    assert err == "fastnn bench: step a\n"
    assert (tmp_path / "a.json").read_text() == made.json()
    assert (tmp_path / "a.md").read_text() == made.markdown()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--peers numpy,keras", "there is no peer 'keras'"),
        ("--json nowhere/a.json", "cannot write nowhere/a.json: its folder"),
        ("--plot a.xyz", "cannot draw a.xyz"),
        ("--seconds -1", "seconds is -1.0"),
        ("--only nothing", "no line has 'nothing'"),
        ("--dtype float16", "expected float32 or float64"),
    ],
)
def test_wrong_arguments_are_one_line_before_anything_is_measured(
    arguments, message, capsys, threadpoolctl, monkeypatch, tmp_path
):
    if "--plot" in arguments:
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bench", *shlex.split(arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("fastnn: error: ")
    assert message in err
    assert err.count("\n") == 1
