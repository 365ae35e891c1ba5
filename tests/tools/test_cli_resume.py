"""What Ctrl-C and SIGTERM leave of `fastnn train`, and how `--resume` goes on."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from zipfile import ZipFile

import numpy as np
import pytest

import fastnn
from fastnn._commands import checkpoint as checkpoints

TABLE = "train t.csv --recipe plain --patience 4 --epochs 12 --metrics f1"
# And an update of a later epoch.
TRAININGS = {
    "digits": ("train digits --epochs 4", 100),
    "numpy": ("train moons --epochs 3 --backend numpy", 30),
    "patience": ("train moons --patience 3 --epochs 40 --lr 0.1", 50),
    "quantity": ("train line --epochs 30 --patience 9", 9),
    "table": (TABLE, 22),
    "options": (
        "train moons --optimizer nadam --lr-schedule one_cycle --dropout 0.2 --l2 1e-3 "
        "--class-weight 0=2 --seed 7 --epochs 6 --batch-size 16 --layers 8,8 "
        "--activation tanh --dtype float64",
        100,
    ),
}


@pytest.fixture
def table(folder):
    rng = np.random.default_rng(0)
    rows = [f"{k},{rng.normal(3 * k)},{'ab'[k]}" for k in rng.integers(0, 2, 200)]
    (folder / "t.csv").write_text("\n".join(["kind,x,text", *rows]))


@contextlib.contextmanager
def stopped_at(step, number=signal.SIGINT):
    """Fits to which a signal comes after an update."""
    fit = fastnn.Network.fit

    def send(done, logs):
        if done == step:
            signal.raise_signal(number)

    def stopped(self, *arguments, callbacks, **options):
        hook = fastnn.LambdaCallback(on_batch_end=send)
        return fit(self, *arguments, callbacks=(*callbacks, hook), **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fastnn.Network, "fit", stopped)
        yield


def weights(path):
    net = fastnn.Network.load(path)
    return [array.tobytes() for pair in net.get_weights() for array in pair]


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize(("number", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_stopped_training_goes_on_to_the_same_bits(run, table, name, number, status):
    line, later = TRAININGS[name]
    code, out, _ = run(f"{line} --save whole.safetensors --json")
    assert code == 0
    whole = json.loads(out)
    del whole["seconds"]
    for step in (0, later):
        with stopped_at(step, getattr(signal, number)):
            code, out, err = run(f"{line} --save part.safetensors --quiet")
        assert (code, out) == (status, ""), err
        assert not os.path.exists("part.safetensors")
        command = re.search(r"; go on with: fastnn (train --resume .*)\n", err)[1]
        assert command == "train --resume part.checkpoint --save part.safetensors"
        code, out, err = run(f"{command} --json")
        assert (code, err) == (0, "")
        found = json.loads(out)
        del found["seconds"]
        assert found == {**whole, "model": "part.safetensors"}
        assert weights("part.safetensors") == weights("whole.safetensors")
        os.unlink("part.safetensors")


def test_a_signal_waits_until_the_callbacks_know_of_the_epoch(run, monkeypatch):
    """Else the patience, or the history, would miss an epoch."""
    line = "train moons --patience 3 --epochs 40 --lr 0.1 --quiet"
    assert run(f"{line} --save whole")[0] == 0
    look, seen = fastnn.callbacks.EarlyStopping.on_epoch_end, []

    def send(self, epoch, logs):
        if epoch == 2 and not seen:
            seen.append(epoch)
            signal.raise_signal(signal.SIGINT)
        look(self, epoch, logs)

    monkeypatch.setattr(fastnn.callbacks.EarlyStopping, "on_epoch_end", send)
    code, _, err = run(f"{line} --save part")
    assert code == 130
    assert "interrupted after 3 of 40 epochs; go on with: " in err
    assert run("train --resume part.checkpoint --save part --quiet")[0] == 0
    assert weights("part") == weights("whole")


def test_several_signals_one_after_another(run):
    assert run("train digits --epochs 3 --quiet --save whole")[0] == 0
    line = "train digits --epochs 3"
    for step in (5, 50, 100):
        with stopped_at(step, signal.SIGTERM):
            assert run(f"{line} --save a.safetensors --quiet")[0] == 143
        line = "train --resume a.checkpoint"
    assert run(f"{line} --save a.safetensors --quiet")[0] == 0
    assert weights("a.safetensors") == weights("whole")


def test_the_seconds_are_those_of_all_epochs(run, monkeypatch):
    """Else epochs / seconds is no speed."""
    stop(run, "train moons --epochs 3 --save a --quiet")
    with ZipFile("a.checkpoint") as file:
        before = json.loads(file.read("course.json"))["seconds"]
    assert before > 0
    restore = checkpoints.Checkpoint.restore

    def later(self, job):
        self.seconds = 1000.0 + before
        restore(self, job)

    monkeypatch.setattr(checkpoints.Checkpoint, "restore", later)
    found = json.loads(run("train --resume a.checkpoint --save a --json")[1])
    assert found["epochs"] == 3
    assert 1000 + before < found["seconds"] < 1060


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("name", "number", "status"),
    [("train mnist", "SIGTERM", 143), ("train", "SIGINT", 130)],
)
def test_a_process_ends_with_the_status_of_its_signal(
    folder, user_data, name, number, status
):
    command = [sys.executable, "-m", "fastnn", *name.split(), "--epochs", "99999"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "FASTNN_DATA": user_data},
    ) as process:
        assert any(line.startswith("engine ") for line in process.stdout)
        while process.stderr.read(1) != "/":  # of the progress bar: it trains
            pass
        process.send_signal(getattr(signal, number))
        _, err = process.communicate()
    assert process.returncode == status, err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("fastnn: interrupted after ")
    assert [each.name for each in folder.glob("*.checkpoint")]


def stop(run, line):
    with stopped_at(3):
        assert run(line)[0] == 130


def test_what_differs_from_the_checkpoint_is_named(run, table):
    line = "train moons --seed 3 --dtype float64 --backend numpy"
    stop(run, f"{line} --save a --quiet")
    for given, text in (
        ("--seed 4", "--seed is 4, but 3 in a.checkpoint; leave it out"),
        (
            "--batch-size 7",
            "--batch-size is 7, but was not given in a.checkpoint; leave it out",
        ),
        ("spiral", "dataset is spiral, but moons in a.checkpoint; leave it out"),
        # What stands for an option that is not given, too.
        ("digits", "dataset is digits, but moons in a.checkpoint; leave it out"),
        ("--seed 0", "--seed is 0, but 3 in a.checkpoint; leave it out"),
        (
            "--dtype float32",
            "--dtype is float32, but float64 in a.checkpoint; leave it out",
        ),
        (
            "--backend native",
            "--backend is native, but numpy in a.checkpoint; leave it out",
        ),
    ):
        code, _, err = run(f"train {given} --resume a.checkpoint")
        assert (code, err) == (2, f"fastnn: error: {text}\n")
    assert run(f"{line} --resume a.checkpoint --quiet")[0] == 0
    stop(run, f"{TABLE} --save b --quiet")
    with open("t.csv") as file:
        text = file.read()
    for other in (f"{text}\n1,5,a", swapped(text)):
        with open("t.csv", "w") as file:
            file.write(other)
        code, _, err = run("train --resume b.checkpoint")
        assert code == 2
        assert "the data or fastnn are not those that b.checkpoint was made with" in err


def swapped(text):
    """A table whose labels are each the other one."""
    head, *rows = text.splitlines()
    return "\n".join(
        [head, *(row[:-1] + {"a": "b", "b": "a"}[row[-1]] for row in rows)]
    )


def test_ctrl_c_after_the_training_leaves_the_model(run, table, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(fastnn.Network, "evaluate", interrupted)
    assert run(f"{TABLE} --save m --quiet")[0] == 130
    fastnn.Network.load("m")


def test_ctrl_c_while_the_checkpoint_is_written_waits(run, table, monkeypatch):
    written = checkpoints.write_atomically

    def write(*arguments):
        signal.raise_signal(signal.SIGINT)
        written(*arguments)

    monkeypatch.setattr(checkpoints, "write_atomically", write)
    err = stop(run, f"{TABLE} --save m --quiet")
    assert os.path.exists("m.checkpoint"), err


def test_a_checkpoint_cannot_say_where_to_write(run, folder):
    stop(run, "train moons --save a --quiet")
    with ZipFile("a.checkpoint") as file:
        parts = {name: file.read(name) for name in file.namelist()}
    course = json.loads(parts["course.json"])
    course["options"] |= {"save": "elsewhere", "plot": "x.png", "unknown": 1}
    parts["course.json"] = json.dumps(course).encode()
    with ZipFile("b.checkpoint", "w") as file:
        for name, data in parts.items():
            file.writestr(name, data)
    assert run("train --resume b.checkpoint --quiet")[0] == 0
    assert {each.name for each in folder.iterdir()} == {
        "a.checkpoint",
        "b.checkpoint",
        "fastnn-moons.safetensors",
    }


def test_something_else_is_no_checkpoint(run, folder):
    (folder / "text").write_text("no")
    fastnn.Network([2, 3], seed=0).save("net")
    with ZipFile("zip", "w") as file:
        file.writestr("course.json", "[]")
    for name in ("text", "net", "zip"):
        code, _, err = run(f"train --resume {name}")
        assert code == 2
        assert f"{name} is not a checkpoint of an interrupted training" in err
    assert run("train --resume absent")[2].startswith("fastnn: error: absent: No such")


def test_a_recipe_leaves_no_checkpoint(run, table, monkeypatch, folder):
    from fastnn._commands import recipe

    def stop(*arguments, **options):
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError

    monkeypatch.setattr(recipe, "fit_models", stop)
    code, _, err = run("train t.csv --quiet")
    assert (code, err) == (143, "fastnn: interrupted\n")
    assert not [*folder.glob("*.checkpoint")]


def test_ignored_signals_stay_ignored():
    """As those of a process that was started with nohup."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with checkpoints.Interrupts():
            signal.raise_signal(signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            assert callable(signal.getsignal(signal.SIGTERM))
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
