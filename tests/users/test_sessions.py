"""Four people's first hour: what they type that is not quite right, and what they read.

A student, a data scientist, an engineer who deploys, and one who knows PyTorch.
"""

import copy
import pickle
import re

import numpy as np
import pytest

import fastnn
from fastnn import Adam, Dense, Network, ReLU, cli, datasets, schedules
from fastnn._base.names import ELSEWHERE

X, y = datasets.moons(60, noise=0.1, seed=0)


def net():
    return Network([2, 8, 2], seed=0)


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run a command line in a folder of its own: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(line):
        try:
            code = cli.main(line.split())
        except SystemExit as end:  # argparse ends that way
            code = end.code
        return code, *capsys.readouterr()

    return run


# --- the student ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "hint"),
    [
        (
            [2, Dense(8), "relu", Dense(2)],
            r"got 'relu'; .* a layer: Dense\(n, 'relu'\)",
        ),
        ([2, Dense(8), "ReLU", Dense(2)], r"belongs to a layer: Dense\(n, 'relu'\)"),
        ([2, Dense(8), ReLU(), Dense(2)], r"belongs to a layer: Dense\(n, 'relu'\)"),
        ([2, Dense(8), ["relu"], Dense(2)], r"got \['relu'\]$"),
        ([2, Dense(8), "relish", Dense(2)], "got 'relish'$"),
    ],
)
def test_an_activation_among_the_layers(layers, hint):
    with pytest.raises(TypeError, match=hint):
        Network(layers)


@pytest.mark.parametrize(
    ("argument", "hint"),
    [
        ({"activation": "tanh"}, r"each layer has its own: Dense\(64, 'tanh'\)"),
        ({"metrics": ["f1"]}, "they are an argument of fit"),
        ({"device": "cuda"}, "it runs on CPUs only"),
        ({"lr": 0.1}, r"the rate is the optimizer's: optimizer=Adam\(0.01\)"),
    ],
)
def test_arguments_that_belong_elsewhere(argument, hint):
    with pytest.raises(TypeError, match=f"; {hint}; its arguments are layers"):
        Network([2, 8, 2], **argument)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("train --epochs 0", "error: epochs must be an integer >= 1, got 0"),
        ("train --batch-size -3", "error: batch_size must be an integer >= 1, got -3"),
        ("evaluate digits", "digits is a data set; expected a model first"),
        ("predict moons picture.png", "moons is a data set; expected a model first"),
        ("train --version", "unrecognized arguments: --version (see fastnn --help)"),
        ("train t.xlsx", "FILE.npz, FILE.csv, FILE.tsv or FILE.parquet"),
    ],
)
def test_commands_that_are_not_quite_right(run, line, text):
    code, out, err = run(line)
    assert (code, out) == (2, "")
    assert text in err
    assert err.count("\n") == 1


def test_a_model_may_have_the_name_of_a_data_set(run):
    assert run("train moons --epochs 1 --quiet --save digits")[0] == 0
    assert "on moons" in run("evaluate digits moons")[1]


# --- the data scientist ---------------------------------------------------------------


@pytest.mark.parametrize(
    "labels", [np.where(y, "yes", "no"), np.where(y, "yes", "no").astype(object)]
)
def test_labels_of_text(labels):
    with pytest.raises(TypeError, match=r"encode labels by np.unique\(y, return_inv"):
        net().fit(X, labels, epochs=1, verbose=0)
    pd = pytest.importorskip("pandas")
    with pytest.raises(TypeError, match=r"y\[0\] is '\w+'; .*\(encode labels by"):
        net().fit(X, pd.Series(labels, dtype=object), epochs=1, verbose=0)


def test_metrics_by_the_names_of_scikit_learn():
    names = ["f1_score", "roc_auc_score", "accuracy_score"]
    found = net().fit(X, y, epochs=1, validation_split=0.5, metrics=names, verbose=0)
    assert {"val_f1", "val_roc_auc", "val_accuracy"} <= found.history.keys()


@pytest.mark.parametrize(
    "options",
    [
        "--loss cross_entropy",
        "--optimizer Adam",
        "--learning-rate 0.01",
        "--lr-schedule one-cycle",
        "--class-weight Balanced",
        "--metrics f1_score",
    ],
)
def test_options_by_other_names(run, options):
    code, out, err = run(f"train moons --epochs 1 --quiet {options}")
    assert (code, err) == (0, "")
    assert out.startswith("test accuracy ")


def test_the_nearest_of_losses_is_no_other_loss(run):
    _, _, err = run("train moons --loss cross_entropie")
    assert "did you mean 'softmax_cross_entropy'" in err


# --- the engineer ---------------------------------------------------------------------


def test_export_in_capitals(run):
    assert run("train moons --epochs 1 --quiet --save m.safetensors")[0] == 0
    assert run("export m.safetensors --to C")[0] == 0
    code, _, err = run("export m.safetensors --to tflite")
    assert (code, "invalid choice: 'tflite'" in err) == (2, True)


def test_an_onnx_model_is_no_model_file(tmp_path):
    pytest.importorskip("onnx")
    net().to_onnx(tmp_path / "m.onnx")
    with pytest.raises(fastnn.ModelFormatError, match="not a safetensors file"):
        Network.load(tmp_path / "m.onnx")


# --- who knows PyTorch ----------------------------------------------------------------


def test_methods_that_have_another_name_here():
    network = net()
    for name, place in ELSEWHERE.items():
        assert not hasattr(Network, name)
        with pytest.raises(AttributeError, match=re.escape(place)) as caught:
            getattr(network, name)
        assert (caught.value.name, caught.value.obj) == (name, network)
    with pytest.raises(AttributeError, match="has no attribute 'cudaa'$"):
        network.cudaa  # noqa: B018
    # Each place is one that there is.
    for name in re.findall(r"net\.(\w+)", " ".join(ELSEWHERE.values())):
        assert hasattr(network, name)


def test_copies_and_pickles_do_not_mind():
    network = net()
    for same in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        np.testing.assert_array_equal(same.predict_proba(X), network.predict_proba(X))
    assert not hasattr(network, "__array__")


def test_arguments_by_the_names_of_torch():
    with pytest.raises(TypeError, match="max_lr.*first argument"):
        schedules.OneCycle(max_lr=0.1, steps=5)
    with pytest.raises(TypeError, match="T_max.*which are updates"):
        schedules.Cosine(0.1, T_max=5)
    with pytest.raises(TypeError, match="the number of its outputs; the inputs are kn"):
        Dense(in_features=2, out_features=8)
    with pytest.raises(TypeError, match="did you mean"):
        Adam(betas=(0.9, 0.99))
