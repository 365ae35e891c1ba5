"""`fastnn bench`: the same results, fair turns, and reports that say what they are."""

import json
import re
import shlex
import time

import numpy as np
import pytest

import fastnn
from fastnn import bench, cli
from fastnn.bench import peers
from fastnn.bench._child import Child, import_seconds, peak_bytes
from fastnn.bench._report import Cell, Report, Row, describe_machine
from fastnn.bench._timing import (
    BLOCK_SECONDS,
    Spread,
    block_seconds,
    calls_per_block,
    ratio,
    ratios,
    take_turns,
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
    initial_weights,
    label,
    make_batch,
    make_images,
    make_network,
    make_rows,
    make_tasks,
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
    report = bench.compare_peers(["numpy"], True, tasks=tasks, progress=told.append)
    assert told == [*(task.name for task in tasks), "import and memory"]
    return report


@pytest.fixture
def made():
    """A report with known numbers and a peer that could not do one thing."""

    def cell(median, ratio):
        spread = Spread(median, 0.9 * median, 1.1 * median)
        return Cell(spread, Spread(ratio, 0.8 * ratio, 1.5 * ratio), "2 threads")

    rows = [
        Row("step a", "s", {"fastnn": cell(2e-6, 1), "numpy": cell(5e-4, 250)}),
        Row("step b", "s", {"fastnn": cell(2e-6, 1), "numpy": cell(1e-6, 0.5)}),
        Row("memory", "bytes", {"fastnn": cell(47e6, 1)}),
    ]
    machine = describe_machine("avx2", 2)
    peers = {"fastnn": "0.1", "numpy": "2.4"}
    return Report(False, machine, peers, ["torch", "jax"], rows)


# --- shapes and tasks -----------------------------------------------------------------


def test_the_seven_shapes_have_labels_batches_and_networks():
    assert len(SHAPES) == 7
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


def test_sides_take_turns_until_there_are_five_blocks():
    order = []
    sides = [lambda: order.append("a") or 1.0, lambda: order.append("b") or 2.0]
    assert take_turns(sides, 0.0) == [[1.0] * 5, [2.0] * 5]
    assert "".join(order) == "ab" * 5


def test_a_block_takes_the_mean_of_its_calls_after_the_others_are_asleep():
    calls = []
    start = time.perf_counter()
    seconds = block_seconds(lambda: calls.append(time.sleep(0.002)), 10)
    assert len(calls) == 12  # two to warm up
    assert calls_per_block(lambda: time.sleep(2 * BLOCK_SECONDS)) == 1
    assert seconds >= 0.002
    assert time.perf_counter() - start > 0.15


# --- peers ----------------------------------------------------------------------------


def test_fastnn_and_its_reference_are_always_chosen(monkeypatch):
    monkeypatch.setattr(peers, "absent", lambda name: name in ("torch", "jax"))
    assert choose(["torch"]) == (["fastnn", "numpy"], ["torch"])
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
        for task in TINY:
            expected = lane(task, "native").outputs
            for setting in child.settings(task):
                found = child.outputs(task, setting)
                bench.check_equal(name, task, found, expected)
                done += 1
        assert done
        child.set_calls(BLOCK_SECONDS)
        assert child.block() > 0
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


def test_a_process_knows_its_peak_memory_and_its_trial_time():
    assert 10e6 < peak_bytes()
    with Child("fastnn") as child:
        assert 10e6 < child.peak_after(TINY[0], "defaults") < 1e9
        assert 0 < child.trial_seconds() < 1


def test_import_time_of_a_module():
    assert 0 < import_seconds("json") < 30
    with pytest.raises(RuntimeError, match="cannot import nothing_here: Module"):
        import_seconds("nothing_here")


# --- reports --------------------------------------------------------------------------


def test_a_run_has_every_row_with_both_lanes(report):
    names = [row.name for row in report.rows]
    assert names == [
        "predict 20-8-3, 7 rows",
        "import",
        "memory, predict 20-8-3, 7 rows",
    ]
    for row in report.rows:
        assert [*row.cells] == ["fastnn", "numpy"]
        assert row.cells["fastnn"].ratio == Spread(1.0, 1.0, 1.0)
        assert row.cells["numpy"].value.median > 0
    assert report.peers["fastnn"] == fastnn.__version__
    assert report.peers["numpy"] == np.__version__


def test_times_and_ratios_are_aligned_and_who_is_absent_is_named(made):
    lines = made.text().splitlines()
    assert made.machine["processor"] in lines[0]
    assert lines[0].endswith("; avx2, 2 threads")
    assert lines[1] == "fastnn 0.1, numpy 2.4"
    assert lines[3].split() == ["time", "or", "memory", "fastnn", "numpy"]
    assert re.fullmatch(r"step a +2\.00 us \+-10% +500 us", lines[4])
    assert re.fullmatch(r"memory +47 MB \+-10% +-", lines[6])
    assert len({len(line) for line in lines[3:7]}) == 1
    assert lines[8].split() == ["peer", "/", "fastnn", "numpy", "fastnn", "is"]
    assert re.fullmatch(r"step a +250 \+-35% +250x ahead", lines[9])
    assert re.fullmatch(r"step b +0\.50 \+-35% +2\.00x BEHIND", lines[10])
    assert "ahead on 1, level on 1, behind on 1 of 3 lines." in lines[-3]
    assert lines[-2] == "Behind: step b (numpy)."
    assert lines[-1].startswith("Not installed, not measured: torch, jax (pip")


def test_six_peers_fit_into_120_columns(made):
    six = dict.fromkeys(PEERS, "2.13.0+cpu")
    spread = Spread(12.34e-3, 11e-3, 14e-3)
    cells = {peer: Cell(spread, Spread(12.34, 11, 14), "") for peer in six}
    names = [task.name for task in make_tasks(quick=False)]
    names += [f"memory, {task.name}" for task in make_tasks(quick=True)]
    rows = [Row(name, "s", cells) for name in names]
    report = Report(False, made.machine, six, [], rows)
    assert max(map(len, report.text().splitlines())) <= 120


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [
        ((1.5, 1.2, 1.6), "1.50x ahead"),
        ((0.8, 0.7, 0.9), "1.25x BEHIND"),
        ((1.1, 0.9, 1.2), "level"),
        ((0.9, 0.8, 1.1), "level"),
        ((0.995, 0.994, 0.996), "level"),
        ((20.0, 19.0, 21.0), "20.0x ahead"),
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
        "| peer / fastnn | numpy | fastnn is |",
        "| --- | ---: | ---: |",
        "| step a | 250 +-35% | 250x ahead |",
        "| step b | 0.50 +-35% | 2.00x BEHIND |",
        "| memory | - | level |",
    ]


def test_json_has_every_number(made):
    read = json.loads(made.json())
    assert read["absent"] == ["torch", "jax"]
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

    def measured(*arguments, progress):
        asked.append(arguments)
        progress("step a")
        return made

    monkeypatch.setattr(bench, "compare_peers", measured)
    monkeypatch.chdir(tmp_path)
    line = (
        "bench --quick --peers numpy,torch --json a.json --markdown a.md --plot a.png"
    )
    assert cli.main(shlex.split(line)) == 0
    out, err = capsys.readouterr()
    assert asked == [(["numpy", "torch"], True, None)]
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
