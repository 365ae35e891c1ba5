"""Tables as people have them: the right answer, or one clear error."""

import csv
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import datasets
from fastnn._plan.recipes import RECIPES

N = 400


def rows_of(n=N, seed=0, names=("no", "yes")):
    """(age, city, since, member, label) with a rule that a network can learn."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        age, city = rng.normal(45, 12), ("Rome", "Oslo", "Bonn")[rng.integers(3)]
        since = np.datetime64("2020-01-01") + int(rng.integers(2000))
        member = rng.random() < 0.5
        score = age + 12 * (city == "Oslo") - 12 * member
        rows.append([f"{age:.1f}", city, str(since), str(member), names[score > 43]])
    return rows


HEADER = ["age", "city", "since", "member", "churn"]


def write(path, rows, header=HEADER, delimiter=",", start=""):
    with open(path, "w", newline="", encoding="utf-8") as file:
        file.write(start)
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])


def score(out, name="accuracy"):
    return float(re.search(rf"^(?:test )?{name} ([\d.]+)", out, re.MULTILINE)[1])


def train(run, options="", least=0.85):
    code, out, err = run(f"train t.csv --epochs 40 --save m {options}")
    assert code == 0, err
    assert score(out) > least
    return out


def error(run, line):
    code, out, err = run(line)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    return err


def test_one_screen_says_what_each_column_is_taken_for(run):
    rows = rows_of()
    for i, row in enumerate(rows):
        row += [f"note {i}", "", "7"]
        if i % 10 == 0:
            row[0] = ""
    write("t.csv", rows, [*HEADER, "note", "empty", "constant"])
    out = train(run, "--label churn")
    for line in (
        r"t.csv: 400 rows, 7 columns that become 13 inputs",
        r"  age       numeric     1\d.\d% missing, [\d.]+ to [\d.]+, median 4[\d.]+",
        r"  city      categorical 3: Bonn, Oslo, Rome",
        r"  since     date        2020-01-\d\d to 2025-06-\d\d",
        r"  member    boolean     true or false",
        r"  note      categorical hardly any text twice: not used",
        r"  empty     numeric     always missing",
        r"  constant  numeric     always 7",
        r"  churn     label       2 classes: no, yes",
    ):
        assert re.search(f"^{line}$", out, re.MULTILINE), line
    assert len(out.splitlines()) <= 30
    _, told, _ = run("info m")
    assert "network" not in told
    for line in (*HEADER, "note"):
        assert f"\n  {line} " in told
    assert re.search(r" 13 +64  relu ", told)


def test_many_columns_still_fit_on_a_screen(run):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 200)).round(3).tolist()
    rows = [[*row, "ab"[row[0] > 0]] for row in rows]
    write("t.csv", rows, [*(f"c{i}" for i in range(200)), "y"])
    code, out, _ = run("train t.csv --epochs 1")
    assert code == 0
    assert "  and 177 more: 177 numeric\n" in out
    assert len(out.splitlines()) < 50


def test_swapped_columns_are_found_by_name(run):
    write("t.csv", rows_of())
    out = train(run)
    turned = [row[::-1] for row in rows_of(seed=1)]
    write("turned.csv", turned, HEADER[::-1])
    write("same.csv", rows_of(seed=1))
    _, a, _ = run("evaluate m turned.csv")
    _, b, _ = run("evaluate m same.csv")
    assert a.replace("turned", "same") == b
    assert score(a) > 0.85
    assert "400 samples, all rows of the file" in a
    _, a, _ = run("predict m turned.csv --proba")
    _, b, _ = run("predict m same.csv --proba")
    assert a == b
    # With the label in the first column, by name.
    write("t.csv", [row[::-1] for row in rows_of()], HEADER[::-1])
    again = train(run, "--label churn")
    assert "churn   label       2 classes: no, yes" in again
    assert abs(score(out) - score(again)) < 0.06


def test_the_rows_held_out_are_those_that_are_scored(run):
    write("t.csv", rows_of())
    out = train(run)
    _, again, _ = run("evaluate m t.csv")
    assert "the 80 samples that were held out in the training" in again
    assert again.splitlines()[-1] in out
    # Another file of the same rows is another file.
    write("more.csv", [*rows_of(), *rows_of(1, seed=9)])
    _, other, _ = run("evaluate m more.csv")
    assert "401 samples, all rows of the file\n" in other
    write("test.csv", rows_of(100, seed=3))
    out = train(run, "--test test.csv")
    assert "400 training and 100 test samples" in out
    _, again, _ = run("evaluate m t.csv")
    assert "400 samples, all rows of the file, which are those of the training" in again


def test_a_test_file_that_lacks_a_class(run):
    write("t.csv", rows_of())
    write("test.csv", [row for row in rows_of(seed=1) if row[-1] == "yes"])
    out = train(run, "--test test.csv", least=0.7)
    assert "2 classes: no, yes" in out
    assert re.search(r"^ *0 no +\. +\.$", out, re.MULTILINE)
    code, again, _ = run("evaluate m test.csv")
    assert (code, score(again)) == (0, score(out))


def test_a_class_of_another_name(run):
    write("t.csv", rows_of())
    train(run)
    write("other.csv", rows_of(seed=1, names=("no", "perhaps")))
    err = error(run, "evaluate m other.csv")
    assert "other.csv: column 'churn', row " in err
    assert "is 'perhaps'; expected one of the classes 'no', 'yes'" in err
    err = error(run, "train t.csv --test other.csv")
    assert "is 'perhaps'; expected one of the classes" in err


def test_a_column_is_missing(run):
    write("t.csv", rows_of())
    train(run)
    write("less.csv", [row[1:] for row in rows_of()], HEADER[1:])
    for line in ("evaluate m less.csv", "predict m less.csv"):
        err = error(run, line)
        assert "less.csv: has no column 'age'; it has city, since, member, churn" in err
    write("unlabelled.csv", [row[:-1] for row in rows_of()], HEADER[:-1])
    assert "label must be a column of unlabelled.csv, got 'churn'; its" in error(
        run, "evaluate m unlabelled.csv"
    )
    assert run("predict m unlabelled.csv")[0] == 0
    code, _, err = run("evaluate m less.csv --label city")
    assert code == 2
    # One that is no longer known is ignored, and named.
    write("more.csv", [[*row, "1"] for row in rows_of(3)], [*HEADER, "extra"])
    code, out, err = run("predict m more.csv")
    assert (code, len(out.splitlines())) == (0, 3)
    assert err == (
        "fastnn: more.csv has columns that the model does not know, which are ignored: "
        "extra\n"
    )


def test_a_value_that_does_not_fit_its_column(run):
    write("t.csv", rows_of())
    train(run)
    rows = rows_of(10)
    rows[4][0] = "old"
    write("bad.csv", rows)
    err = error(run, "predict m bad.csv")
    assert "bad.csv: column 'age', row 4 is 'old'; expected a number" in err
    rows[4][0], rows[7][2] = "30", "today"
    write("bad.csv", rows)
    assert "column 'since', row 7 is 'today'; expected a date" in error(
        run, "evaluate m bad.csv"
    )


def test_what_is_no_table_to_train_on(run):
    write(
        "t.csv",
        [[*row, f"row {i}"] for i, row in enumerate(rows_of())],
        [*HEADER, "id"],
    )
    err = error(run, "train t.csv")
    assert "column 'id' has 400 different labels in 400 rows; expected classes" in err
    assert "t.csv has no column that tells rows apart" in error(
        run, "train t.csv --label churn --drop age,city,since,member"
    )
    write("t.csv", [["x" * 600_000, "a"], ["y" * 600_000, "b"]] * 5, ["a", "y"])
    assert "is not a UTF-8 CSV file: field larger than" in error(run, "train t.csv")
    names = [f"{i:0100000}" for i in range(12)]
    write(
        "t.csv", [[name, "ab"[i % 2]] for i, name in enumerate(names)] * 3, ["a", "y"]
    )
    assert "a model file holds 1,048,576" in error(run, "train t.csv")
    write("t.csv", [["1", "x"]], ["a", "y"])
    assert "the file has 1 row; expected some to train" in error(run, "train t.csv")


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (("1", "2"), (1, 2)),
        (("-1", "1"), (-1, 1)),
        (("01", "1"), ("01", "1")),  # text that looks like numbers
        (("1", "x"), ("1", "x")),
        (("true", "false"), (False, True)),
        (("None", "some"), ("None", "some")),
    ],
)
def test_labels_of_any_kind(run, names, classes):
    write("t.csv", rows_of(names=names))
    train(run)
    schema = fastnn.Network.load("m").schema
    assert schema.target.classes == classes
    # A file with one class alone looks like numbers, and is read as the model knows.
    one = [row for row in rows_of(seed=1, names=names) if row[-1] == names[0]]
    write("one.csv", one)
    code, out, _ = run("evaluate m one.csv")
    assert code == 0
    assert score(out) > 0.7
    run("predict m one.csv --output p.csv")
    with open("p.csv") as file:
        predicted = [row["churn"] for row in csv.DictReader(file)]
    assert {*predicted} <= {*map(str, classes)}
    right = str(schema.decode(schema.encode_target([names[0]]))[0])
    assert predicted.count(right) / len(one) == pytest.approx(score(out), abs=1e-4)


def test_empty_cells_count_as_missing(run):
    rows = rows_of()
    rng = np.random.default_rng(5)
    for row in rows:
        row[rng.integers(4)] = ["", "NA", "?"][rng.integers(3)]
    write("t.csv", rows)
    train(run, least=0.75)
    write("empty.csv", [["", "", "", "", "no"]] * 3)
    code, out, _ = run("predict m empty.csv --proba")
    assert code == 0
    assert len({*out.splitlines()[1:]}) == 1
    rows[7][-1] = ""
    write("t.csv", rows)
    err = error(run, "train t.csv")
    assert "t.csv: column 'churn', row 7 is missing; expected a target" in err


def test_other_files_of_the_same_table(run):
    """Semicolons, decimal commas, line breaks, a BOM, row numbers: the same model."""
    write("t.csv", rows_of())
    plain = train(run)
    rows = [[row[0].replace(".", ","), *row[1:]] for row in rows_of()]
    write("t.csv", rows, delimiter=";", start="\ufeff")
    assert train(run).splitlines()[-8:-6] == plain.splitlines()[-8:-6]
    write("t.csv", [[i, *row] for i, row in enumerate(rows_of())], ["", *HEADER])
    told = train(run)
    assert "left out: column 0 (without a name, numbers the rows)\n" in told
    assert score(told) == score(plain)
    cities = {"Oslo": 'Os\nlo, "N"'}
    write(
        "t.csv",
        [[row[0], cities.get(row[1], row[1]), *row[2:]] for row in rows_of()],
    )
    assert abs(score(train(run)) - score(plain)) < 0.05
    assert fastnn.Network.load("m").schema.columns[1].categories[1] == 'Os\nlo, "N"'
    write("t.tsv", rows_of(), delimiter="\t")
    code, out, _ = run("train t.tsv --epochs 40")
    assert (code, score(out)) == (0, score(plain))
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table(datasets.read_table("t.tsv")), "t.parquet")
    code, out, _ = run("train t.parquet --epochs 40")
    assert (code, score(out)) == (0, score(plain))


def test_columns_are_dropped(run):
    write("t.csv", rows_of())
    out = train(run, "--drop since,member", least=0.6)
    assert "2 columns that become 4 inputs" in out
    assert "left out: since (--drop), member (--drop)\n" in out
    assert "--drop must name columns of t.csv other than the label, got 'x'" in error(
        run, "train t.csv --drop age,x"
    )
    assert "other than the label, got 'churn'" in error(run, "train t.csv --drop churn")
    assert "no columns but the label" in error(
        run, "train t.csv --drop age,city,since,member"
    )
    for option in ("--drop a", "--test t.csv"):
        assert "is for tables such as FILE.csv, but 'moons'" in error(
            run, f"train moons {option}"
        )


def test_quantities_are_told_from_classes(run):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    y = 40 * X[:, 0] + 200
    for values, loss in ((y, "mse"), (y.round(), "mse"), (y > 200, "softmax")):
        write("t.csv", np.column_stack([X, values]).tolist(), ["a", "b", "price"])
        code, out, _ = run("train t.csv --epochs 60 --lr 0.01 --save m")
        assert code == 0
        assert fastnn.Network.load("m").plan.loss.name.startswith(loss)
        assert score(out, "R2" if loss == "mse" else "accuracy") > 0.9
    # The label has few whole numbers, and the user says what they are.
    ranks = np.digitize(X[:, 0], [-1, 0, 1])
    write("t.csv", np.column_stack([X, ranks]).tolist(), ["a", "b", "rank"])
    _, out, _ = run("train t.csv --loss mse --epochs 60 --lr 0.01 --save m")
    assert "a quantity, 0 to 3" in out
    assert score(out, "R2") > 0.7
    code, out, _ = run("evaluate m t.csv")
    assert (code, score(out, "R2") > 0.7) == (0, True)
    run("predict m t.csv --output p.csv")
    values = np.loadtxt("p.csv", skiprows=1)
    table = datasets.read_table("t.csv")
    net = fastnn.Network.load("m")
    np.testing.assert_allclose(values, net.predict(table)[:, 0], rtol=1e-6)
    assert "--proba needs a network of classes" in error(run, "predict m t.csv --proba")


def test_predictions_are_written_as_csv(run):
    write("t.csv", rows_of())
    train(run)
    code, out, _ = run("predict m t.csv --output p.csv --proba")
    assert (code, out) == (0, "p.csv: 400 predictions\n")
    with open("p.csv") as file:
        rows = [*csv.DictReader(file)]
    assert [*rows[0]] == ["churn", "p(no)", "p(yes)"]
    net, table = fastnn.Network.load("m"), datasets.read_table("t.csv")
    p = net.predict_proba(table)
    written = [[float(row["p(no)"]), float(row["p(yes)"])] for row in rows]
    np.testing.assert_allclose(written, p, rtol=1e-5)
    names = net.schema.decode(net.predict(table)).tolist()
    assert [row["churn"] for row in rows] == names
    _, out, _ = run("predict m t.csv")
    assert out.splitlines()[0].split()[1] == names[0]
    for files in ("t.csv t.csv", "a.png"):
        assert "are for one file of rows, got" in error(
            run, f"predict m {files} --output p.csv"
        )


def test_predictions_of_arrays_are_written_as_csv(run):
    run("train --quiet --epochs 2 --save m")
    np.save("rows.npy", datasets.digits().X_test[:5])
    code, out, _ = run("predict m rows.npy --proba")
    assert code == 0
    assert out.splitlines()[0].startswith("prediction,p(0),p(1),")
    assert len(out.splitlines()) == 6


def test_the_time_is_limited(run):
    write("t.csv", rows_of())
    code, out, _ = run("train t.csv --epochs 1000000 --time 0.3")
    assert code == 0
    assert re.search(r"^the time was over after \d+ of 1000000 epochs$", out, re.M)
    assert "time_limit must be" in error(run, "train t.csv --time 0 --quiet")


def test_many_distinct_labels_load_at_once(run):
    """Takes 0.1 s and 0.3 s of CPU time where nothing else runs; if quadratic, 29 s."""
    import time

    n = 60_000
    with open("t.csv", "w") as file:
        file.write("a,y\n")
        file.writelines(f"{i},name {i}\n" for i in range(n))
    start = time.process_time()
    table = datasets.load_csv("t.csv")
    assert time.process_time() - start < 5.0
    assert len(table.class_names) == n
    start = time.process_time()
    schema = fastnn.Schema.from_table(datasets.read_table("t.csv"), label="y")
    assert time.process_time() - start < 5.0
    assert len(schema.target.classes) == n


BIG = """
import json, resource, sys
from fastnn import cli
import fastnn.plotting, fastnn.datasets._reader
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert cli.main(sys.argv[1:]) == 0
peak = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"more": 1024 * (peak.ru_maxrss - before)}))
"""


@pytest.mark.slow
def test_a_large_table_from_the_command_line(folder):
    """200,000 rows of 40 columns: within 60 s, and twice the memory of the table."""
    import time

    rng = np.random.default_rng(0)
    n = 200_000
    letters = np.array([*"abcde"])
    with open("t.csv", "w", newline="") as file:
        out = csv.writer(file)
        out.writerow([*(f"c{i}" for i in range(39)), "y"])
        for _ in range(0, n, 10_000):
            X = rng.normal(size=(10_000, 31)).round(4)
            codes = rng.integers(0, 5, (10_000, 8))
            y = np.where(X[:, 0] + X[:, 1] * codes[:, 0] > 0, "yes", "no")
            rows = zip(X.tolist(), letters[codes].tolist(), y.tolist(), strict=True)
            out.writerows([*x, *c, label] for x, c, label in rows)
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", BIG, "train", "t.csv", "--save", "m"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    seconds = time.monotonic() - start
    assert score(done.stdout) > 0.95
    assert seconds < 60
    table = n * 40 * 8
    assert json.loads(done.stdout.splitlines()[-1])["more"] < 2 * table


def test_a_recipe_trains_tables_unless_something_else_is_chosen(run):
    write("t.csv", rows_of())
    code, out, err = run("train t.csv --save m --threads 1")
    assert code == 0, err
    assert score(out) > 0.9
    assert "\nrecipe default: compares 2 variants on a fifth of the training" in out
    assert "\nnetwork 9-256-256-256-2: " in out
    assert "\nadamw, learning rate OneCycle(" in out
    assert re.search(r"^recipe default, the variant of weight decay ", out, re.M)
    assert len(out.splitlines()) < 30
    net = fastnn.Network.load("m")
    assert (net.epoch, net.plan.optimizer.name) == (64, "adamw")
    _, again, _ = run("evaluate m t.csv")
    assert again.splitlines()[-1] in out
    # By name, and as it is trained with scikit-learn.
    code, same, _ = run("train t.csv --save again --threads 2 --recipe default --quiet")
    assert code == 0
    assert f"test accuracy {score(out):.4f}" in same
    assert Path("m").read_bytes() == Path("again").read_bytes()
    _, plain, _ = run("train t.csv --save m --recipe plain")
    assert "\nnetwork 9-64-2: " in plain
    assert "recipe" not in plain


@pytest.mark.parametrize("recipe", ["realmlp-s", "realmlp"])
def test_the_recipes_of_realmlp_keep_the_best_epoch(run, recipe, monkeypatch):
    (whole,) = RECIPES[recipe]
    small = replace(whole, width=16, epochs=20)
    monkeypatch.setitem(RECIPES, recipe, (small,))
    write("t.csv", rows_of())
    code, out, err = run(f"train t.csv --save m --recipe {recipe} --plot p.png")
    assert code == 0, err
    assert score(out) > 0.8
    assert f"\nrecipe {recipe}: holds out a fifth of the training samples" in out
    _, again, _ = run("evaluate m t.csv")
    assert again.splitlines()[-1] in out


@pytest.mark.parametrize("recipe", ["default", "realmlp-s"])
def test_probabilities_are_calibrated(run, recipe, monkeypatch):
    small = [replace(each, width=16, epochs=20) for each in RECIPES[recipe]]
    monkeypatch.setitem(RECIPES, recipe, tuple(small))
    write("t.csv", rows_of())
    _, out, _ = run(f"train t.csv --save a --recipe {recipe}")
    assert "temperature" not in out
    code, out, err = run(f"train t.csv --save b --recipe {recipe} --calibrate")
    assert code == 0, err
    t = float(re.search(r"^probabilities at the temperature (\S+)$", out, re.M)[1])
    assert t != 1
    p, q = [], []
    for name, to in (("a", p), ("b", q)):
        run(f"predict {name} t.csv --proba --output {name}.csv")
        to += np.loadtxt(f"{name}.csv", delimiter=",", skiprows=1, usecols=1).tolist()
    p, q = (np.clip(each, 1e-5, 1 - 1e-5) for each in (p, q))
    some = (np.log(p / (1 - p)) ** 2 < 9) & (np.log(q / (1 - q)) ** 2 < 9)
    z, y = np.log(p / (1 - p))[some], np.log(q / (1 - q))[some]
    np.testing.assert_allclose(y, z / t, rtol=0.02, atol=1e-3)
    _, out, _ = run(f"train t.csv --save b --recipe {recipe} --calibrate --json")
    assert json.loads(out)["temperature"] == pytest.approx(t, rel=5e-3)


def test_the_loss_that_is_told_is_that_of_the_probabilities(run):
    write("t.csv", rows_of())
    _, out, _ = run("train t.csv --save m --recipe default --time 2")
    told = float(re.search(r"^test accuracy .*, loss (\S+)$", out, re.M)[1])
    _, out, _ = run("evaluate m t.csv")
    assert f", loss {told:.4f}" in out
    assert fastnn.Network.load("m").plan.loss == fastnn.SoftmaxCrossEntropy()


def test_a_temperature_of_few_rows_is_told(run):
    write("t.csv", rows_of(60))
    code, _, err = run("train t.csv --save m --calibrate --time 1")
    assert code == 0
    assert "fastnn: the temperature of the probabilities is that of 9 rows" in err


def test_what_cannot_be_calibrated_is_told(run):
    write("t.csv", rows_of(60))
    for options in ("t.csv --recipe plain", "t.csv --epochs 2", "moons"):
        err = error(run, f"train {options} --calibrate")
        assert "--calibrate is for a table that a --recipe is trained on" in err
    write("v.csv", [[i, 0.5 * i] for i in range(60)], ["x", "y"])
    err = error(run, "train v.csv --calibrate")
    assert "--calibrate is for classes, but the label is a quantity" in err


def test_a_recipe_leaves_nothing_to_choose(run):
    write("t.csv", rows_of(60))
    for option in ("--lr 1", "--layers 8", "--patience 3", "--optimizer adam"):
        name = option.split()[0]
        err = error(run, f"train t.csv --recipe default {option}")
        assert f"{name} is for --recipe plain; --recipe default chooses that" in err
    err = error(run, "train t.csv --recipe default --loss binary_cross_entropy")
    assert "--loss is for --recipe plain" in err
    err = error(run, "train moons --recipe default")
    assert "--recipe default is for tables such as FILE.csv, but 'moons' is none" in err
    assert "time_limit must be" in error(run, "train t.csv --time 0")


def test_a_recipe_of_a_quantity_in_limited_time(run):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    write("t.csv", np.column_stack([X, 40 * X[:, 0] + 200]).tolist(), ["a", "b", "y"])
    code, out, err = run("train t.csv --save m --time 0.5 --seed 3")
    assert code == 0, err
    told = re.search(r"^shortened to (\d+) of 64 epochs by --time 0.5$", out, re.M)
    steps = fastnn.Network.load("m").plan.optimizer.learning_rate.steps
    assert steps == 2 * int(told[1])
    run("predict m t.csv --output p.csv")
    assert 100 < np.loadtxt("p.csv", skiprows=1).mean() < 300
    code, out, _ = run("train t.csv --save m --seed 3")
    assert score(out, "R2") > 0.98
    assert "shortened" not in out


def test_a_recipe_needs_no_scikit_learn(folder):
    write("t.csv", rows_of(60))
    code = (
        "import sys; sys.modules.update(sklearn=None, scipy=None); from fastnn import "
        "cli; sys.exit(cli.main(['train', 't.csv', '--time', '1', '--quiet']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout
