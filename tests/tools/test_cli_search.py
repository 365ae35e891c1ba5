"""`fastnn search`: from a file to a model that the other commands take."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from fastnn._core.exchange.files import write_atomically
from fastnn._search import course

QUICK = "--settings 4 --space epochs=60 width=8,16 frequencies=0"


def score(out):
    return float(re.search(r"^(?:test )?accuracy ([\d.]+)", out, re.MULTILINE)[1])


def write(labels):
    rng = np.random.default_rng(0)
    lines = ["age,city,churn"]
    for _ in range(400):
        age, city = rng.normal(45, 12), ("Rome", "Oslo")[rng.integers(2)]
        lines.append(f"{age:.1f},{city},{labels(age + 12 * (city == 'Oslo'))}")
    Path("t.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def table():
    write(lambda score: ("no", "yes")[score > 50])


def error(run, line):
    code, out, err = run(line)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    return err


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("ensemble", [1, 3])
def test_a_model_that_the_other_commands_take(run, ensemble):
    code, out, err = run(
        f"search t.csv {QUICK} --ensemble {ensemble} --save m --markdown s.md"
    )
    assert code == 0, err
    assert score(out) > 0.8
    assert len(out.splitlines()) <= 40
    for line in (
        "t.csv: 400 rows, 2 columns",
        "t: 320 training .* and 80 test samples",
        rf"4 settings, {5 + ensemble} trainings in [\d.]+ s; on rows held out: ",
        "model saved to m ",
        "next:",
    ):
        assert re.search(f"^{line}", out, re.MULTILINE), line
    assert not Path("m.search").exists()
    assert Path("s.md").read_text().count("\n| ") == 5 + ensemble
    code, told, err = run("evaluate m t.csv")
    assert (code, score(told)) == (0, score(out)), err
    assert "80 samples that were held out" in told
    code, told, _ = run("predict m t.csv --proba")
    assert (code, told.count("\n")) == (0, 401)
    code, told, _ = run("info m")
    assert code == 0
    assert "columns" in told


@pytest.mark.usefixtures("table")
def test_ctrl_c_and_resume(run, monkeypatch):
    assert run(f"search t.csv {QUICK} --save whole --quiet")[0] == 0

    def interrupted(*arguments):
        monkeypatch.setattr(course, "write_atomically", write_atomically)
        write_atomically(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(course, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(course, "PAUSE", 0.0)
    monkeypatch.setattr(course, "write_atomically", interrupted)
    code, out, err = run(f"search t.csv {QUICK} --save m --quiet")
    assert (code, out) == (130, "")
    assert err == "fastnn: interrupted; the same command goes on with --resume\n"
    assert Path("m.search").exists()
    assert not Path("m").exists()
    assert "other seed" in error(
        run, f"search t.csv {QUICK} --save m --quiet --resume --seed 1"
    )
    code, out, err = run(f"search t.csv {QUICK} --save m --quiet --resume")
    assert code == 0, err
    assert re.fullmatch(r"test accuracy [01].\d+, model saved to m\n", out)
    assert Path("m").read_bytes() == Path("whole").read_bytes()


def test_quantities_and_named_data(run):
    write(lambda score: f"{100 + score:.3f}")
    code, out, err = run(
        "search t.csv --settings 3 --space epochs=60 depth=1 learning_rate=0.02"
    )
    assert code == 0, err
    assert re.search(r"^test R2 0.[5-9]", out, re.MULTILINE)
    code, out, err = run("search moons --settings 2 --space epochs=20 --json")
    assert code == 0, err
    found = json.loads(out)
    assert found["test"]["accuracy"] > 0.8
    assert len(found["search"]["trials"]) == 2
    assert run("evaluate fastnn-moons.safetensors moons")[0] == 0


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--space width", "--space must be NAME=VALUE"),
        ("--space widths=8", "did you mean 'width'"),
        ("--space width=x", "width must be an integer"),
        ("--settings 0", "n_settings must be an integer >= 1"),
        ("--time 0", "time_limit must be a finite number > 0"),
        ("--resume", "--resume: there is no"),
        ("--markdown no/s.md", "there is no folder"),
        ("--save t.csv", "t.csv is named twice"),
        ("--save m --markdown m.search", "m.search is named twice"),
        ("--loss mse", "number"),
        ("--loss hinge", "loss is 'hinge'; expected"),
    ],
)
def test_wrong_input(run, options, message):
    assert message in error(run, f"search t.csv --quiet {options}")
    assert not Path("fastnn-t.safetensors").exists()
