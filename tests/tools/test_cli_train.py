"""`fastnn train` on generated problems and quantities, and how it can be told to."""

import json
import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest

import fastnn
from fastnn import datasets, metrics


def number(name, out):
    return float(re.search(rf"{name} (-?\d+\.\d+)", out)[1])


# --- generated problems ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "least"), [("spiral", 0.85), ("moons", 0.97), ("circles", 0.97)]
)
def test_a_problem_of_the_plane_is_solved_by_default(run, name, least):
    code, out, _ = run(f"train {name}")
    assert code == 0
    assert number("test accuracy", out) >= least
    assert re.search(r"^test accuracy .* on fresh points, loss ", out, re.MULTILINE)
    assert f"\n  fastnn evaluate fastnn-{name}.safetensors {name}\n" in out
    code, again, _ = run(f"evaluate fastnn-{name}.safetensors {name}")
    assert (code, number("accuracy", again)) == (0, number("accuracy", out))


def test_the_test_points_of_a_problem_are_others(run):
    from fastnn._commands.problems import PROBLEMS

    for name, make in PROBLEMS.items():
        data = make()
        same = np.isin(data.test[0][:, 0], data.train[0][:, 0]).mean()
        if name == "line":  # at the same places
            same = np.isin(data.test[1], data.train[1]).mean()
        # Noise turns the points of a spiral and never moves its centre.
        assert same == (name == "xor") or (name == "spiral" and same < 0.01), name


@pytest.mark.parametrize("seed", range(5))
def test_xor_is_learned_with_any_seed(run, seed):
    code, out, _ = run(f"train xor --seed {seed}")
    assert code == 0
    table = re.findall(r"^([01]) xor ([01]) = ([01])   \(.*: ([\d.]+)\)$", out, re.M)
    assert [(int(a) ^ int(b)) == int(c) for a, b, c, _ in table] == [True] * 4
    assert all(abs(float(p) - int(c)) < 0.05 for _, _, c, p in table)
    assert "fresh" not in out  # there are no others


def test_blobs_are_told_apart(run):
    _, out, _ = run("train blobs --quiet")
    assert number("test accuracy", out) > 0.97


def test_a_line_is_found(run):
    code, out, _ = run("train line")
    assert code == 0
    found = re.search(r"^learned y = ([\d.]+) x \+ ([\d.]+);", out, re.MULTILINE)
    slope, intercept = found.groups()
    X, y = datasets.line(20, noise=1.0, seed=0)
    expected = np.polyfit(X[:, 0], y[:, 0], 1)
    np.testing.assert_allclose([float(slope), float(intercept)], expected, atol=0.01)
    assert number("test R2", out) > 0.99
    assert "20 test samples, 1 input, 1 target (scaled" in out
    net = fastnn.Network.load("fastnn-line.safetensors")
    # The network takes x as it is, and gives y as it is.
    ((w, b),), (mean, deviation) = net.get_weights(), net.target_scale
    w, b = w * deviation, b * deviation + mean
    assert w[0, 0] * 2 / 19 == pytest.approx(expected[0], abs=0.01)
    assert b[0] - w[0, 0] * 21 / 19 == pytest.approx(expected[1], abs=0.01)
    code, again, _ = run("evaluate fastnn-line.safetensors line")
    assert (code, number("R2", again)) == (0, number("R2", out))


def test_the_next_command_of_a_problem_works(run):
    _, out, _ = run("train moons --epochs 3")
    command = next(c for c in out.splitlines() if c.startswith("  python -c"))
    done = subprocess.run(
        [sys.executable, "-c", shlex.split(command)[2]], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\[[01] [01]\]\n", done.stdout)
    assert "IMAGE" not in out


# --- options --------------------------------------------------------------------------


def test_patience_keeps_the_best_weights_of_validation(run):
    code, out, _ = run("train spiral --epochs 400 --patience 10 --lr 0.02")
    assert code == 0
    stopped, best = re.search(
        r"^stopped after (\d+) of 400 epochs; the weights are those of epoch (\d+)$",
        out,
        re.MULTILINE,
    ).groups()
    assert int(stopped) == int(best) + 10
    assert f"({stopped} epochs, " in out
    assert "spiral: 900 training (90 of them for validation) and 900 test" in out
    code, out, _ = run("train moons --epochs 2 --patience 9 --validation-split 0.25")
    assert "500 training (125 of them for validation)" in out
    assert re.search(r"^the weights are those of epoch [12]$", out, re.MULTILINE)


def test_the_rows_for_validation_are_drawn_at_random(run, monkeypatch):
    d = datasets.digits()
    order = np.argsort(d.y_train, kind="stable")
    np.savez(
        "sorted.npz", x_train=d.X_train[order], y_train=d.y_train[order],
        x_test=d.X_test, y_test=d.y_test,
    )  # fmt: skip
    seen = []
    fit = fastnn.Network.fit

    def spy(self, X, y, **arguments):
        seen.append((y, arguments["y_val"]))
        return fit(self, X, y, **arguments)

    monkeypatch.setattr(fastnn.Network, "fit", spy)
    run("train sorted.npz --epochs 1 --validation-split 0.2 --quiet")
    y, y_val = seen[0]
    assert (len(y), len(y_val)) == (1149, 288)
    assert set(y_val) == set(range(10))


def test_the_activation_is_that_of_hidden_layers(run):
    run("train moons --layers 8,6 --activation identity --epochs 1 --quiet --save m")
    layers = fastnn.Network.load("m").plan.layers
    assert [(each.units, each.activation) for each in layers] == [
        (8, "identity"),
        (6, "identity"),
        (2, "identity"),
    ]


def test_a_problem_has_a_rate_of_its_own_for_adam(run):
    run("train spiral --epochs 1 --quiet --save m")
    assert fastnn.Network.load("m").optimizer == fastnn.Adam(0.005)
    run("train spiral --epochs 1 --quiet --save m --lr 0.5 --lr-schedule constant")
    assert fastnn.Network.load("m").optimizer == fastnn.Adam(0.5)
    run("train spiral --epochs 1 --quiet --save m --optimizer sgd")
    assert fastnn.Network.load("m").optimizer == fastnn.SGD(0.1)


def test_schedules_make_one_descent_in_all_updates(run):
    from fastnn._commands.network import SCHEDULES

    for name in SCHEDULES:
        code, out, _ = run(f"train moons --lr-schedule {name} --quiet --save m")
        assert code == 0
        assert number("accuracy", out) > 0.95, name
        net = fastnn.Network.load("m")
        rate = net.optimizer.learning_rate
        if name != "constant":
            rates = rate(np.arange(net.step))
            assert rates.max() == pytest.approx(0.01, rel=1e-3)
            assert rates[-1] <= 0.11 * rates.max()
            assert rates[-1] == rates[net.step // 2 :].min()


def test_two_classes_take_one_output_with_binary_cross_entropy(run):
    code, out, _ = run("train moons --loss binary_cross_entropy --save m")
    assert (code, number("test accuracy", out) > 0.95) == (0, True)
    assert "network 2-32-1" in out
    code, again, _ = run("evaluate m moons")
    assert (code, number("accuracy", again)) == (0, number("accuracy", out))
    np.save("rows.npy", [[0.0, 1.0], [1.0, -0.5]])
    _, out, _ = run("predict m rows.npy")
    found = [line.split()[1:] for line in out.splitlines()]
    assert [label for label, _ in found] == ["0", "1"]
    assert all(0.5 < float(p) <= 1 for _, p in found)


def test_json_is_all_that_is_printed(run):
    code, out, err = run("train moons --epochs 2 --validation-split 0.2 --json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["model"] == "fastnn-moons.safetensors"
    assert (found["dataset"], found["layers"]) == ("moons", [2, 32, 2])
    assert (found["epochs"], found["training_samples"]) == (2, 400)
    assert [*found["history"]] == ["loss", "accuracy", "val_loss", "val_accuracy"]
    _, out, _ = run("evaluate fastnn-moons.safetensors moons")
    assert found["test"]["accuracy"] == pytest.approx(number("accuracy", out), abs=1e-4)
    assert np.sum(found["test"]["confusion_matrix"]) == found["test"]["samples"] == 500
    found = json.loads(run("train line --epochs 2 --json")[1])
    assert {"r2", "mean_absolute_error", "loss"} <= {*found["test"]}


def test_json_has_no_nan(run):
    np.savez("one.npz", X=np.eye(8), y=[1] * 8, X_test=np.eye(8), y_test=[1] * 8)
    code, out, _ = run("train one.npz --epochs 1 --json --metrics roc_auc")
    assert code == 0
    assert json.loads(out)["test"]["roc_auc"] is None


def test_metrics_are_those_of_the_test_rows(run):
    line = "train moons --quiet --save m --validation-split 0.1 --metrics f1,roc_auc"
    code, quiet, _ = run(line)
    assert code == 0
    _, out, _ = run(line.replace("--quiet", "--json"))
    found = json.loads(out)
    assert {"val_f1", "val_roc_auc"} <= {*found["history"]}
    data = datasets.moons(500, noise=0.15, seed=1)
    net = fastnn.Network.load("m")
    f1 = metrics.f1(data[1], net.predict(data[0]))
    assert found["test"]["f1"] == f1
    _, out, _ = run(line.replace("--quiet ", ""))
    assert f", f1 {f1:.4g}, roc_auc " in out
    assert re.search(rf"^test accuracy .*, f1 {f1:.4g}, roc_auc .*, model", quiet)
    code, _, err = run("train moons --metrics f2")
    assert (code, "metrics[0] is 'f2'" in err) == (2, True)


def test_dropout_and_penalty(run):
    line = "train moons --epochs 1 --quiet --save m --layers 8,6"
    run(f"{line} --dropout 0.25 --l2 0.01")
    net = fastnn.Network.load("m")
    names = [each.name for each in net.layers]
    assert names == ["dense", "dropout", "dense", "dropout", "dense"]
    assert net.layers[1].rate == net.layers[3].rate == 0.25
    assert net.optimizer.l2 == 0.01
    code, _, err = run(f"{line} --dropout 1")
    assert (code, "--dropout must be a number >= 0 and < 1, got 1" in err) == (2, True)


def test_class_weights_by_name(run, monkeypatch):
    rng = np.random.default_rng(0)
    rows = [f"{rng.normal(len(kind))},{kind}" for kind in ("no", "yes") * 50]
    with open("t.csv", "w") as file:
        file.write("\n".join(["x,kind", *rows]))
    seen = []
    fit = fastnn.Network.fit

    def spy(self, *arguments, **options):
        seen.append(options["class_weight"])
        return fit(self, *arguments, **options)

    monkeypatch.setattr(fastnn.Network, "fit", spy)
    for given in ("yes=5", "no=0.5,yes=2", "balanced"):
        assert run(f"train t.csv --class-weight {given} --quiet --epochs 1")[0] == 0
    assert seen == [{1: 5.0}, {0: 0.5, 1: 2.0}, "balanced"]
    for given in ("maybe=1", "yes", "yes=x", "yes=5,yes=1"):
        code, _, err = run(f"train t.csv --class-weight {given}")
        assert code == 2
        assert f"once each, of the classes no, yes, got '{given}'" in err
    code, _, err = run("train line --class-weight balanced")
    assert (code, "--class-weight is for classes, but line has none" in err) == (
        2,
        True,
    )


def test_lbfgs_takes_no_rate(run):
    pytest.importorskip("scipy", reason="L-BFGS needs scipy")
    code, out, _ = run("train moons --optimizer lbfgs --epochs 30")
    assert code == 0
    assert "\nlbfgs, all samples at once\n" in out
    code, _, err = run("train moons --optimizer lbfgs --lr 0.1")
    assert (code, "lbfgs takes neither --lr nor --lr-schedule" in err) == (2, True)


@pytest.mark.parametrize("option", ["--dropout 0.1", "--l2 1", "--class-weight x=1"])
def test_a_recipe_leaves_no_room_for(run, option):
    with open("t.csv", "w") as file:
        file.write("x,y\n1,2\n")
    code, _, err = run(f"train t.csv --recipe default {option}")
    name = option.split()[0]
    assert (code, f"{name} is for --recipe plain" in err) == (2, True)


def test_a_failed_download_takes_two_lines(run, monkeypatch):
    pytest.importorskip("pooch", reason="downloads need pooch (extra: data)")
    from dataclasses import replace

    from fastnn.datasets import _mnist

    dead = ("http://127.0.0.1:9/a/", "http://127.0.0.1:9/b/")
    monkeypatch.setattr(_mnist, "MNIST", replace(_mnist.MNIST, mirrors=dead))
    monkeypatch.setenv("XDG_CACHE_HOME", os.getcwd())
    code, out, err = run("train mnist")
    assert (code, out) == (2, "")
    first, second = err.splitlines()
    assert first.startswith(
        "fastnn: error: could not download train-images-idx3-ubyte "
        "(http://127.0.0.1:9/a/train-images-idx3-ubyte.gz: "
    )
    assert len(first) < 300
    assert second.startswith("pass folder= or set FASTNN_DATA to a folder")


# --- quantities -----------------------------------------------------------------------


@pytest.fixture
def houses(folder):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2)) * [1, 100] + [5, 1000]
    y = 2e5 + 3e4 * X[:, 0] + 80 * (X[:, 1] - 1000)
    lines = [f"{p:.2f},{a},{b}" for p, (a, b) in zip(y, X, strict=True)]
    (folder / "houses.csv").write_text("\n".join(["price,area,year", *lines]))
    return X, y


@pytest.mark.parametrize(("loss", "is_scaled"), [("mse", True), ("poisson", False)])
def test_the_state_of_the_optimizer_is_saved(run, loss, is_scaled):
    X = np.random.default_rng(0).normal(size=(30, 2))
    np.savez("counts.npz", X=X, y=np.arange(30) % 3)
    code, *_ = run(f"train counts.npz --loss {loss} --epochs 2 --quiet --save m")
    assert code == 0
    net = fastnn.Network.load("m")
    assert (net.epoch, net.step > 0, net.target_scale is not None) == (
        2,
        True,
        is_scaled,
    )
    moments = [pair[0] for pair in net._model.engine.get_optimizer_state()[-1].values()]
    assert any(array.any() for array in moments)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_a_quantity_of_any_size_is_learned(run, houses, loss):
    X, y = houses
    code, out, _ = run(
        f"train houses.csv --label price --loss {loss} --lr 0.01 --plot p.png"
    )
    assert code == 0
    assert number("test R2", out) > 0.97
    assert "mean absolute error " in out
    assert "--label" not in out.split("next:")[1]  # the model knows it
    net = fastnn.Network.load("fastnn-houses.safetensors")
    table = {"year": X[:, 1], "area": X[:, 0]}
    assert net.score(table, y) > 0.97  # in the quantity's own unit
    code, out, _ = run("evaluate fastnn-houses.safetensors houses.csv --label price")
    assert (code, number("R2", out) > 0.97) == (0, True)
    code, out, _ = run("predict fastnn-houses.safetensors houses.csv --label price")
    values = [float(line.split()[1]) for line in out.splitlines()]
    np.testing.assert_allclose(values, net.predict(table)[:, 0], rtol=1e-5)


def test_validation_is_scaled_like_the_training(run, houses, monkeypatch):
    histories = []
    fit = fastnn.Network.fit

    def spy(*arguments, **options):
        history = fit(*arguments, **options)
        histories.append(history.history)
        return history

    monkeypatch.setattr(fastnn.Network, "fit", spy)
    run("train houses.csv --label price --loss mse --lr 0.01 --patience 9 --quiet")
    assert histories[0]["val_loss"][-1] < 0.1


def test_several_quantities_of_an_npz(run):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    np.savez("two.npz", X=X, y=np.stack([X[:, 0] * 5 + 100, X[:, 1] - X[:, 2]], 1))
    code, out, _ = run("train two.npz --loss mse --lr 0.01 --plot p.png")
    assert (code, number("test R2", out) > 0.97) == (0, True)
    assert "2 targets" in out


def test_the_label_column_is_named_or_numbered(run):
    rng = np.random.default_rng(0)
    rows = [f"{k},{rng.normal(3 * k)},{rng.normal()}" for k in (0, 1) * 60]
    for header in ("kind,a,b\n", ""):
        with open("t.csv", "w") as file:
            file.write(header + "\n".join(rows))
        for label in ("kind", "0", "-3"):
            code, out, err = run(f"train t.csv --label={label} --epochs 20")
            if header == "" and label == "kind":
                assert code == 2
                assert "label must be a column of t.csv, got 'kind'" in err
                continue
            assert (code, number("accuracy", out) > 0.85) == (0, True)
            code, out, _ = run(f"predict fastnn-t.safetensors t.csv --label={label}")
            assert (code, len(out.splitlines())) == (0, 120)


# --- pictures -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "titles"),
    [
        (
            "digits",
            "loss|accuracy|confusion matrix (counts)|"
            "M misclassified, most confident first|first-layer weights, 48 of 64 units",
        ),
        (
            "digits --lr-schedule cosine --layers 20 --epochs 2",
            "loss|accuracy|learning rate|confusion matrix (counts)|"
            "M misclassified, most confident first|first-layer weights",
        ),
        ("moons", "decision boundary|loss|accuracy|C"),
        ("moons --lr-schedule step", "decision boundary|loss|"
         "accuracy|learning rate|C"),
        ("flowers.npz", "loss|accuracy|C"),
        ("line", "loss|fit"),
        ("flowers.npz --loss mse", "loss|test rows"),
    ],
)  # fmt: skip
def test_the_page_has_what_fits(run, folder, monkeypatch, line, titles):
    from matplotlib.figure import Figure

    pages = []
    write = Figure.savefig

    def spy(figure, *args, **named):
        pages.append(figure)
        return write(figure, *args, **named)

    monkeypatch.setattr(Figure, "savefig", spy)
    X = np.random.default_rng(0).normal(size=(60, 4))
    np.savez("flowers.npz", X=X, y=np.arange(60) % 3)
    code, out, err = run(f"train {line} --plot p.png")
    assert code == 0, err
    assert "pictures drawn in p.png" in out
    (page,) = pages
    axes = [ax for ax in page.axes if ax.get_label() != "<colorbar>"]
    found = [re.sub(r"^\S+ of \S+", "M", ax.get_title(loc="left")) for ax in axes]
    titles = titles.replace("C", "confusion matrix (counts)").split("|")
    assert sorted(found) == sorted(titles)
    texts = [text.get_text() for text in page.texts]
    assert any(re.search(r": test (accuracy|R2) -?\d\.\d{4}$", text) for text in texts)
    from PIL import Image

    with Image.open("p.png") as image:
        assert image.size == (2000, 1125)
        assert len(image.convert("RGB").getcolors(1 << 22)) > 50  # something is drawn


@pytest.mark.parametrize("suffix", ["pdf", "svg"])
def test_the_page_has_the_format_of_its_suffix(run, folder, suffix):
    assert run(f"train blobs --epochs 2 --plot p.{suffix}")[0] == 0
    start = (folder / f"p.{suffix}").read_bytes()[:200]
    assert (b"%PDF" if suffix == "pdf" else b"<?xml") in start


# --- errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            "train moons --label y",
            "--label is a column of a CSV file, but 'moons' is n",
        ),
        ("train t.csv --label z", "label must be a column of t.csv, got 'z'"),
        (
            "train t.csv --label 7",
            "label must be a column of t.csv, which has 3, got 7",
        ),
        ("train moons --patience 0", "patience must be an integer >= 1"),
        ("train moons --validation-split 1", "--validation-split must be >= 0 and < 1"),
        ("train moons --patience 3 --validation-split 0", "--patience needs a"),
        ("train moons --activation soft", "'soft'"),
        ("train moons --lr-schedule up", "invalid choice: 'up'"),
        ("train moons --loss most", "invalid choice: 'most'"),
        ("train line --loss softmax_cross_entropy", "line has a quantity"),
    ],
)
def test_errors_are_one_line(run, folder, line, text):
    (folder / "t.csv").write_text("a,b,y\n1,2,0\n3,4,1\n" + "5,6,1\n" * 8)
    code, out, err = run(line)
    assert (code, out) == (2, "")
    assert err.startswith("fastnn: error: ")
    assert text in err, err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("train digits --loss mse", "digits has classes: --loss mse is for another"),
        (
            "train digits --loss binary_cross_entropy",
            "digits has 10 classes; expected 2",
        ),
        (
            "train names.csv --loss mse",
            "names.csv: column '1', row 0 is 'x'; expected a number",
        ),
        ("train nan.npz --loss mse", "a target is not a finite number"),
        ("evaluate line digits", "does not fit its loss, mse"),
    ],
)
def test_errors_of_other_losses(run, folder, line, text):
    (folder / "names.csv").write_text("1,x\n2,y\n" * 10)
    np.savez("nan.npz", X=np.ones((9, 2)), y=np.full(9, np.nan))
    fastnn.Network([1, 1], loss="mse", seed=0).save("line")
    code, out, err = run(line)
    assert (code, out) == (2, "")
    assert text in err, err


def test_quantities_in_a_file_are_not_taken_for_classes_silently(run):
    np.savez("q.npz", X=np.ones((9, 2)), y=np.linspace(0, 1, 9))
    code, _, err = run("train q.npz")
    assert code == 2
    assert "--loss mse" in err
