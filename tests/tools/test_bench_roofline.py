"""`fastnn bench --roofline`: counts worked by hand, and roofs of the active kernels."""

import json
import math
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import fastnn
from fastnn import bench, cli
from fastnn._core.native.engine import _measure_roof
from fastnn.bench import _child, _roofs
from fastnn.bench._child import Child
from fastnn.bench._roofline import (
    Roof,
    RooflineReport,
    RooflineRow,
    _row,
    measure_roofline,
)
from fastnn.bench._roofs import Level, Roofs, find_caches
from fastnn.bench._timing import Spread
from fastnn.bench.peers.tasks import Task, flops, footprint, make_tasks, traffic

STEP = Task("step", (4, 3, 2), 5)
ADAM = Task("step", (4, 3, 2), 5, "adam")
CACHES = [Level("L1", 32 << 10, False), Level("L2", 1 << 20, False)]
L3 = Level("L3", 32 << 20, True)


@pytest.fixture(scope="module")
def report():
    told = []
    tasks = [STEP, ADAM, Task("predict", (20, 8, 3), 7)]
    report = measure_roofline(True, 0.0, tasks=tasks, progress=told.append)
    assert told == ["roofs", "step 4-3-2, batch 5", "predict 20-8-3, 7 rows"]
    return report


@pytest.fixture
def made():
    """A report with known numbers."""

    def rate(value):
        return Spread(value, 0.9 * value, 1.1 * value)

    roofs = [
        Roof("FMA peak, float32", "flops", {1: rate(100e9), 2: rate(200e9)}),
        Roof("FMA peak, float64", "flops", {1: rate(50e9), 2: rate(100e9)}),
        Roof("L1, read", "bytes", {1: rate(200e9), 2: rate(400e9)}),
        Roof("L1, copy", "bytes", {1: rate(100e9), 2: rate(200e9)}),
    ]
    common = dict(
        kind="step",
        seconds=rate(2e-6),
        bytes=1000,
        rate=rate(50e9),
        level="L1",
        roof="FMA",
        roof_share=rate(0.5),
    )
    rows = [
        RooflineRow(
            name="step a",
            allowed=2,
            threads=1,
            flops=10_000,
            peak_share=rate(0.5),
            to_first=Spread(1.0, 1.0, 1.0),
            **common,
        ),
        RooflineRow(
            name="step a, Adam",
            allowed=2,
            threads=2,
            flops=10_000,
            peak_share=rate(0.25),
            to_first=rate(1.5),
            **common,
        ),
    ]
    machine = {"processor": "AMD EPYC", "cpus": 2, "isa": "avx2", "threads": 2}
    return RooflineReport(True, machine, "float32", "0.1", [CACHES[0]], roofs, rows)


# --- counts ---------------------------------------------------------------------------


def test_flops_by_hand():
    assert flops(Task("predict", (4, 3, 2), 5)) == 2 * 5 * (4 * 3 + 3 * 2)
    # Forward, dW, and dX of the second layer only.
    assert flops(STEP) == 2 * 5 * (2 * 4 * 3 + 3 * 3 * 2)
    assert flops(ADAM) == flops(STEP)
    assert flops(Task("epoch", (4, 3, 2), 130)) == 130 * flops(STEP) // 5
    # One layer has no dX at all.
    assert flops(Task("step", (4, 2), 1)) == 2 * 2 * 4 * 2


def test_bytes_by_hand():
    forward = (5 * 4 + 12 + 5 * 3) + (5 * 3 + 6 + 5 * 2)
    to_inputs = 5 * 2 + 6 + 5 * 3 + 5 * 3  # dY, W, what is below, dX
    update = (5 * 4 + 5 * 3 + 2 * 12) + (5 * 3 + 5 * 2 + 2 * 6)
    assert traffic(STEP) == 4 * (forward + to_inputs + update)
    assert traffic(ADAM) == traffic(STEP) + 4 * 4 * (12 + 6)
    # 130 rows: three steps of Adam, and 4 bytes of each row of uint8 gathered.
    epoch = 2 * traffic(Task("step", (4, 3, 2), 64, "adam"))
    epoch += traffic(Task("step", (4, 3, 2), 2, "adam"))
    assert traffic(Task("epoch", (4, 3, 2), 130)) == epoch + 130 * 4 * (1 + 4)
    assert traffic(Task("predict", (4, 3, 2), 5)) == 4 * (5 * 4 + 18 + 5 * 2)
    assert traffic(replace(STEP, dtype="float64")) == 2 * traffic(STEP)


def test_what_a_cache_has_to_hold_by_hand():
    rows = 5 * (4 + 2 * 3 + 2 * 2)
    assert footprint(STEP) == 4 * (18 + rows)
    assert footprint(ADAM) == 4 * (3 * 18 + rows)
    assert footprint(Task("epoch", (4, 3, 2), 10_000)) == footprint(
        Task("step", (4, 3, 2), 64, "adam")
    )


# --- roofs ----------------------------------------------------------------------------


def test_caches_are_those_the_system_tells(tmp_path):
    for i, (level, kind, size) in enumerate(
        [
            (1, "Data", "48K"),
            (1, "Instruction", "32K"),
            (2, "Unified", "2048K"),
            (3, "Unified", "32M"),
            (4, "Unified", "0K"),
        ]
    ):
        folder = tmp_path / f"index{i}"
        folder.mkdir()
        for name, text in dict(level=level, type=kind, size=size).items():
            (folder / name).write_text(f"{text}\n")
    assert find_caches(tmp_path) == [
        Level("L1", 48 << 10, False),
        Level("L2", 2 << 20, False),
        Level("L3", 32 << 20, True),
    ]
    assert find_caches(tmp_path / "nothing") == CACHES


def test_threads_have_private_caches_and_share_others():
    assert CACHES[1].holds(2 << 20, 2)
    assert not CACHES[1].holds(2 << 20, 1)
    assert L3.holds(32 << 20, 2)
    assert not L3.holds((32 << 20) + 1, 2)
    assert CACHES[1].measured_bytes(2) == 1 << 20
    assert L3.measured_bytes(2) == 16 << 20
    memory = Level("memory", 128 << 20, True)
    assert memory.holds(1 << 50, 1)
    assert memory.measured_bytes(2) == 128 << 20


def test_the_array_for_the_memory_is_larger_than_the_caches(monkeypatch):
    monkeypatch.setattr(_roofs, "find_caches", lambda: [*CACHES, L3])
    roofs = Roofs()
    assert [level.name for level in roofs.levels] == ["L1", "L2", "L3", "memory"]
    assert roofs.levels[-1].size == 4 * L3.size
    assert roofs.level_of(1 << 20, 1).name == "L2"
    assert roofs.level_of((1 << 20) + 1, 1).name == "L3"
    assert roofs.level_of((1 << 20) + 1, 2).name == "L2"
    array = roofs._array(1000)
    assert len(array) == 1000
    assert array.ctypes.data % 64 == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("threads", [1, 2])
def test_rates_are_possible(dtype, threads):
    roofs = Roofs()
    # Two threads that share a CPU wait for each other for milliseconds.
    assert 1e5 < roofs.flops(dtype, threads) < 1e12 * threads
    for how in ("read", "copy"):
        assert 1e5 < roofs.bandwidth(how, roofs.levels[0], threads) < 1e12 * threads


def test_more_repeats_take_longer():
    def seconds(repeats):
        rates = [_measure_roof("multiply_add", "float32", 1, repeats)]
        rates += [_measure_roof("multiply_add", "float32", 1, repeats)]
        return repeats / max(rates)

    # Work per repeat is the same, so the rate is: within what a busy machine makes.
    assert 10 < seconds(3000) / seconds(30) < 1000


def test_a_copy_copies_half_of_the_memory():
    memory = np.arange(4096, dtype=np.float32).view(np.uint8)
    rate = _measure_roof("copy", "float32", 1, 2, memory)
    assert math.isfinite(rate)
    values = memory.view(np.float32)
    np.testing.assert_array_equal(values[2048:], np.arange(2048))
    np.testing.assert_array_equal(values[:2048], np.arange(2048))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("read", "float32", 1, 1), ValueError, "2048 bytes at least, got None"),
        (
            ("copy", "float32", 2, 1, np.zeros(4095, np.uint8)),
            ValueError,
            "memory must be an array of 4096 bytes at least, got 4095 bytes",
        ),
        (
            ("read", "float32", 1, 1, np.zeros(5000, np.uint8)[1:4001]),
            ValueError,
            "aligned to 8 bytes",
        ),
        (("multiply_add", "float32", 0, 1), ValueError, "num_threads must be an int"),
        (("multiply_add", "float32", 1, 0), ValueError, "repeats must be an integer"),
        (("multiply_add", "float16", 1, 1), KeyError, "float16"),
        (("sing", "float32", 1, 1), KeyError, "sing"),
    ],
)
def test_wrong_measurements_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        _measure_roof(*arguments)


# --- tasks under them -----------------------------------------------------------------


def test_threads_that_are_used_are_counted():
    large = Task("step", (784, 512, 10), 1024)
    with Child("fastnn") as child:
        assert child.threads_used(STEP, 2) == 1
        assert child.threads_used(large, 1) == 1
        assert child.threads_used(large, 2) in (1, 2)  # while others are busy, one


@pytest.mark.parametrize("busy", [0.1, 1.0, 1.9])
def test_busy_threads_show_in_the_cpu_time(monkeypatch, busy):
    passed = [0.0]

    class Clock:
        perf_counter = staticmethod(lambda: passed[0])
        process_time = staticmethod(lambda: busy * passed[0])

    def run():
        passed[0] += 3e-3

    monkeypatch.setattr(_child, "time", Clock)
    assert _child.cpu_shares(run, 2) == pytest.approx([busy, busy])
    assert passed[0] == pytest.approx(24e-3)  # two blocks, to the end of the last run


def test_every_task_is_measured_on_one_thread_and_on_those_chosen(report):
    most = fastnn.get_num_threads()
    counts = [1, most] if most > 1 else [1]
    assert [(row.name, row.allowed) for row in report.rows] == [
        (name, n)
        for name in (STEP.name, ADAM.name, "predict 20-8-3, 7 rows")
        for n in counts
    ]
    for row in report.rows:
        assert 1 <= row.threads <= row.allowed
        assert row.rate.median == pytest.approx(row.flops / row.seconds.median)
        assert 0 < row.peak_share.median <= row.roof_share.median * (1 + 1e-9)
        assert row.level == "L1"
    assert report.rows[0].flops == flops(STEP)
    assert report.rows[0].bytes == traffic(STEP)
    assert report.rows[0].intensity == flops(STEP) / traffic(STEP)
    assert report.rows[0].to_first == Spread(1.0, 1.0, 1.0)
    assert report.rows[len(counts)].to_first.median != 1.0
    names = [roof.name for roof in report.roofs]
    assert names[:4] == [
        "FMA peak, float32",
        "FMA peak, float64",
        "L1, read",
        "L1, copy",
    ] or names[0].startswith("multiply-add")
    assert names[-1] == "memory, copy"
    assert [*report.roofs[0].by_threads] == counts


@pytest.mark.parametrize(
    ("peak", "read", "copy", "limit", "share"),
    [
        (100.0, 1e9, 1.0, "FMA", 0.84),  # the faster of read and copy counts
        (1e9, 10.0, 40.0, "L1", 84 / (84 / 368 * 40)),
    ],
)
def test_the_limit_is_the_lower_roof(peak, read, copy, limit, share):
    task = Task("step", (4, 3, 2), 1)
    assert (flops(task), traffic(task)) == (84, 368)
    roofs = Roofs()
    level = roofs.levels[0]
    values = {
        (task, 2): [1.0, 1.0, 1.0],
        ("FMA", 1): [peak] * 3,
        ("read", level, 1): [read] * 3,
        ("copy", level, 1): [copy] * 3,
    }
    row = _row(task, 2, 1, roofs, values, [0.5, 0.5, 0.5])
    assert (row.allowed, row.threads, row.level, row.roof) == (2, 1, "L1", limit)
    assert row.rate.median == 84
    assert row.peak_share.median == pytest.approx(84 / peak)
    assert row.roof_share.median == pytest.approx(share)
    assert row.to_first.median == 2.0


def test_text_has_roofs_and_rows(made):
    text = made.text()
    lines = text.splitlines()
    assert (
        lines[0]
        == "AMD EPYC, 2 CPUs; fastnn 0.1; avx2, float32, 2 threads; a quick run"
    )
    assert re.search(r"FMA peak, float32 +100\.0 \+-10% GFLOP/s +200\.0 ", text)
    assert re.search(r"L1, copy +100\.0 \+-10% GB/s +200\.0 \+-10% GB/s", text)
    row = r"step a +1 of 2 +2\.00 us \+-10% +50\.0 +50% +10\.0 +FMA +50%\n"
    assert re.search(row, text)
    row = r"step a, Adam +2 +2\.00 us \+-10% +50\.0 +25% +10\.0 +FMA +50% +1\.50x"
    assert re.search(row, text)


def test_the_longest_names_fit_into_120_columns(made):
    names = [task.name for task in make_tasks(quick=False)]
    made.rows = [replace(made.rows[1], name=name, level="memory") for name in names]
    assert max(map(len, made.text().splitlines())) <= 120


def test_markdown_and_json_have_the_same(made):
    tables = [line for line in made.markdown().splitlines() if line.startswith("|")]
    assert len(tables) == (2 + 4) + (2 + 2)
    assert "| L1, read | 200.0 +-10% GB/s | 400.0 +-10% GB/s |" in tables
    read = json.loads(made.json())
    assert read["rows"][1]["to_first"]["median"] == 1.5
    assert read["roofs"][0]["by_threads"]["2"]["median"] == 200e9
    assert read["levels"][0] == {"name": "L1", "size": 32 << 10, "shared": False}


@pytest.mark.parametrize("isa", [*fastnn.build_info()["isa_built"]])
def test_the_roof_is_that_of_the_active_instruction_set(isa):
    code = (
        "from fastnn.bench._roofline import measure_roofline\n"
        "from fastnn.bench.peers.tasks import Task\n"
        "if __name__ == '__main__':\n"
        "    tasks = [Task('predict', (4, 3), 1)]\n"
        "    print(measure_roofline(True, 0.0, tasks=tasks).text())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "FASTNN_ISA": isa, "FASTNN_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if "supports" in done.stderr:
        pytest.skip(f"this CPU has no {isa}")
    assert done.returncode == 0, done.stderr
    heading, _, _, roof, *_ = done.stdout.splitlines()
    assert f"; {isa}, float32, 1 threads" in heading
    kind = "multiply-add" if isa == "scalar" else "FMA"
    assert roof.startswith(f"{kind} peak, float32 ")


# --- the command ----------------------------------------------------------------------


def test_the_command_prints_and_writes(made, monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    asked = []

    def measured(*arguments, progress, **others):
        asked.append((*arguments, others))
        return made

    monkeypatch.setattr(bench, "measure_roofline", measured)
    monkeypatch.chdir(tmp_path)
    line = "bench --roofline --quick --only a --seconds 1 --json a.json --markdown a.md"
    assert cli.main(shlex.split(line + " --plot a.png")) == 0
    assert asked == [(True, 1.0, {"only": ["a"], "dtype": "float32"})]
    assert capsys.readouterr().out == made.text() + "\n"
    assert (tmp_path / "a.json").read_text() == made.json()
    assert (tmp_path / "a.md").read_text() == made.markdown()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--peers torch", "leave --peers out"),
        ("--only nothing", "no line has 'nothing'"),
        ("--seconds nan", "expected a finite number >= 0"),
        ("--json nowhere/a.json", "its folder does not exist"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, message, capsys):
    assert cli.main(["bench", "--roofline", *shlex.split(arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
