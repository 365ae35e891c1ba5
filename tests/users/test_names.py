"""People who come from elsewhere: their names are taken, or the nearest one is said."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import (
    MSE,
    SGD,
    Adam,
    Dense,
    Dropout,
    EarlyStopping,
    LambdaCallback,
    Network,
    ReLU,
    cli,
)
from fastnn._base.names import ALIASES, ARGUMENTS
from fastnn._commands.data import load_data

X = np.random.default_rng(0).standard_normal((40, 2))
y = (X[:, 0] > 0).astype(int)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "names.md"


def net(**arguments):
    return Network([2, 4, 2], seed=0, **arguments)


def fit(network=None, **arguments):
    arguments = {"epochs": 1, "verbose": 0, **arguments}
    return (network or net()).fit(X, y, **arguments).history


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("cross_entropy", "softmax_cross_entropy"),
        ("Cross-Entropy", "softmax_cross_entropy"),
        ("sparse_categorical_crossentropy", "softmax_cross_entropy"),
        ("bce", "binary_cross_entropy"),
        ("mean_squared_error", "mse"),
        ("MSE", "mse"),
        (MSE, "mse"),
    ],
)
def test_losses(given, meant):
    n_outputs = 1 if meant != "softmax_cross_entropy" else 3
    assert Network([2, n_outputs], loss=given).plan.loss.name == meant


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("ReLU", "relu"),
        ("swish", "silu"),
        ("SiLU", "silu"),
        ("linear", "identity"),
        ("LeakyReLU", "leaky_relu"),
        ("leaky-relu", "leaky_relu"),
        ("logistic", "sigmoid"),
        (ReLU, "relu"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*no more than one linear layer")
def test_activations(given, meant):
    assert Network([2, Dense(3, given), 2]).plan.layers[0].activation == meant


@pytest.mark.parametrize("given", ["Adam", "ADAM", Adam, Adam()])
def test_optimizers(given):
    network = net(optimizer=given)
    assert network.optimizer == Adam()
    network.optimizer = "SGD"
    assert network.optimizer == SGD()


def test_verbose_and_callbacks(capsys):
    fit(verbose=False)
    assert capsys.readouterr() == ("", "")
    fit(verbose=True)
    assert "epoch 1/1" in "".join(capsys.readouterr())
    seen = []
    watch = LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    fit(callbacks=watch)
    fit(callbacks=None)
    fit(callback=watch)
    assert seen == [0, 0]


def test_validation_data():
    found = fit(validation_data=(X, y))
    assert found == fit(X_val=X, y_val=y)
    weight = np.arange(40.0)
    found = fit(validation_data=(X, y, weight))
    assert found == fit(X_val=X, y_val=y, sample_weight_val=weight)
    for bad in (X, (X,), (X, y, weight, 1)):
        with pytest.raises(TypeError, match=r"validation_data must be a tuple \(X_val"):
            fit(validation_data=bad)
    with pytest.raises(TypeError, match="'validation_data' and 'X_val' are the same"):
        fit(validation_data=(X, y), X_val=X)


def test_arguments_by_other_names():
    assert Adam(lr=0.1) == Adam(0.1)
    assert Dropout(p=0.5) == Dropout(0.5)
    assert Dense(3, act="relu", bias=False) == Dense(3, "relu", use_bias=False)
    assert Network([2, 2], random_state=7).seed == 7
    assert len(net().fit(X, y, n_epochs=3, verbose=0).history["loss"]) == 3
    with pytest.raises(TypeError, match="'lr' and 'learning_rate' are the same"):
        Adam(lr=0.1, learning_rate=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: net(loss="huberr"), "did you mean 'huber'"),
        (lambda: net(optimizer="adamm"), "did you mean 'adam'"),
        (lambda: net(backend="numpi"), "did you mean 'numpy'"),
        (lambda: Dense(3, "rellu"), "did you mean 'relu'"),
        (lambda: net(optimiser="adam"), "has no argument 'optimiser'; did you mean"),
        (lambda: net(lr=0.1), "the rate is the optimizer's: optimizer=Adam"),
        (lambda: fit(epoch=3), "has no argument 'epoch'; did you mean 'epochs'"),
        (lambda: fit(validation=3), "has no argument 'validation'.*validation_split"),
        (lambda: Adam(learningrate=1), "did you mean 'learning_rate'"),
        (lambda: EarlyStopping(patiense=3), "did you mean 'patience'"),
        (lambda: fit(metrics=["acc_racy"]), "did you mean 'accuracy'"),
        (
            lambda: fit(callbacks=EarlyStopping("val_acc"), validation_data=(X, y)),
            "mode is 'auto'.*did you mean 'val_accuracy'",
        ),
        (
            lambda: fit(
                callbacks=EarlyStopping("val_acc", mode="max"), validation_data=(X, y)
            ),
            "expected one of .*did you mean 'val_accuracy'",
        ),
        (lambda: load_data("mnits"), "did you mean 'mnist'"),
    ],
)
def test_the_nearest_is_said_with_what_there_is(call, message):
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        call()
    assert re.search("expected|one of|arguments are", str(caught.value))


def test_metrics():
    found = fit(metrics=["auc"], X_val=X, y_val=y)
    assert "val_roc_auc" in found
    network = Network([2, 1], loss="mse", seed=0)
    t = X[:, 0]
    found = network.fit(X, t, 1, verbose=0, metrics=["MAE", "r2_score"],
                        validation_split=0.5).history  # fmt: skip
    assert {"val_mean_absolute_error", "val_r2"} <= found.keys()


@pytest.mark.parametrize(
    "keys", [(0.0, 1.0), (False, True), (np.float32(0), np.int8(1))], ids=str
)
def test_class_weight_takes_the_keys_of_the_labels(keys):
    expected = fit(class_weight={0: 1.0, 1: 3.0})
    assert fit(class_weight=dict(zip(keys, (1.0, 3.0), strict=True))) == expected
    for bad in (0.5, "0", 2.0):
        with pytest.raises((TypeError, ValueError), match="a key of class_weight"):
            fit(class_weight={bad: 1})


def test_data_frames_of_bool_and_float():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"is": X[:, 0] > 0, "b": X[:, 1]})
    kinds = [frame, frame.astype({"is": "boolean"}), frame.astype({"b": "Float64"})]
    found = [net().fit(each, y, 1, verbose=0).history for each in kinds]
    assert found[0] == found[1] == found[2]
    with pytest.raises(TypeError, match="X has dtype object; expected bool"):
        net().fit(frame.to_numpy(dtype=object), y, 1)
    text = frame.assign(is_=["a"] * 40).to_numpy()
    with pytest.raises(TypeError, match=r"X\[0, 2\] is 'a' in column 2; expected num"):
        Network([3, 2]).fit(text, y)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("trainn", "invalid choice: 'trainn' .*train.*; did you mean 'train'"),
        ("train --optimizer adamm", "did you mean 'adam'"),
        ("train mnits", "unknown data set 'mnits'.*; did you mean 'mnist'"),
        ("train --epocs 3", "arguments: --epocs; did you mean '--epochs'"),
    ],
)
def test_the_command_line_says_the_nearest(line, message, capsys):
    try:
        code = cli.main(line.split())
    except SystemExit as end:
        code = end.code
    assert code != 0
    assert re.search(message, capsys.readouterr().err)


def test_signatures_are_what_they_were():
    assert "X_val" in inspect.signature(Network.fit).parameters
    assert "optimizer" in inspect.signature(Network).parameters
    assert next(iter(inspect.signature(Adam).parameters)) == "learning_rate"
    assert fastnn.Network.fit.__doc__.startswith("Train for a number of epochs")


def test_the_page_lists_all_of_them():
    rows = dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", PAGE.read_text(), re.M))
    assert rows == {**ALIASES, **ARGUMENTS}
