"""What is allowed and hardly ever meant warns, with the remedy; the rest is silent."""

import warnings

import numpy as np
import pytest

from fastnn import BatchNorm, Dense, Dropout, LayerNorm, Network, ParametricActivation
from fastnn.datasets import train_test_split


@pytest.mark.parametrize(
    ("layers", "index", "remedy"),
    [
        ([2, Dense(64), Dense(64, "relu"), Dense(3)], 1, 'Dense(64, "relu")'),
        ([2, 16, Dense(8), Dropout(0.5), 3], 2, 'Dense(8, "relu")'),
        ([2, Dense(8), BatchNorm(), 3], 1, 'Dense(8, "relu")'),
    ],
)
def test_dense_layers_without_an_activation_between_them(layers, index, remedy):
    with pytest.warns(UserWarning, match="no more than one linear layer") as found:
        Network(layers, seed=0)
    (warning,) = found
    assert str(warning.message).startswith(f"layers[{index}], ")
    assert remedy in str(warning.message)
    assert warning.filename == __file__


def test_each_of_three_linear_layers_warns():
    with pytest.warns(UserWarning, match="one linear layer") as found:
        Network([2, Dense(64), Dense(64), Dense(3)], seed=0)
    assert len(found) == 2


@pytest.mark.parametrize(
    "layers",
    [
        [2, 64, 64, 3],
        [2, Dense(3)],
        [2, Dense(8, "relu"), Dropout(0.5), Dense(3)],
        [2, Dense(8), BatchNorm("relu"), Dense(3)],
        [2, Dense(8), LayerNorm(), Dense(3)],
        [2, Dense(8), ParametricActivation("relu"), Dense(3)],
        [64, Dense(2), Dense(64)],  # of low rank, which one layer would not be
    ],
)
def test_other_layers_are_silent(layers):
    Network(layers, seed=0)


X = np.random.default_rng(0).normal(size=(90, 2))


def fit(y, loss="softmax_cross_entropy", n=3, **options):
    net = Network([2, 8, n], loss=loss, seed=0)
    net.fit(X, y, epochs=1, verbose=0, **options)
    return net


@pytest.mark.parametrize("labels", [np.repeat([0, 1, 2], 30), np.repeat([2, 1, 0], 30)])
def test_a_validation_split_of_sorted_labels(labels):
    with pytest.warns(UserWarning, match="y is sorted by class"):
        fit(labels, validation_split=0.2)
    fit(labels)  # nothing is held out
    fit(np.random.default_rng(0).permutation(labels), validation_split=0.2)
    fit(np.zeros(90, int), validation_split=0.2)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
@pytest.mark.parametrize("deviation", [100.0, 0.01])
def test_targets_of_another_scale(loss, deviation):
    y = X[:, 0] / X[:, 0].std()
    with pytest.warns(UserWarning, match=r"y has the standard deviation .* far from 1"):
        net = fit(deviation * y, loss, 1)
    net.fit(X, deviation * y, epochs=1, verbose=0)  # once is enough
    fit(y, loss, 1)
    fit(np.zeros(90), loss, 1)  # all the same
    with pytest.warns(UserWarning, match="in column 1, far from 1"):
        fit(np.stack([y, deviation * y], axis=1), loss, 2)
    fit(abs(100 * y), "poisson", 1)


def test_a_classifier_of_torch_needs_its_loss():
    torch = pytest.importorskip("torch")
    linear = torch.nn.Linear(2, 3)
    with pytest.warns(UserWarning, match="returns 3 raw outputs and no loss is given"):
        Network.from_torch(torch.nn.Sequential(linear))
    Network.from_torch(torch.nn.Sequential(linear), loss="softmax_cross_entropy")
    Network.from_torch(torch.nn.Sequential(linear, torch.nn.Softmax(1)))
    Network.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 1)))


# A split that keeps the shares of the classes.


@pytest.mark.parametrize("test_size", [0.2, 0.37, 7, 0.9])
def test_a_stratified_split(test_size):
    labels = np.random.default_rng(1).permutation(np.repeat([5, 1, 9], [60, 33, 7]))
    rows = np.arange(100)
    train, test, y_train, y_test = train_test_split(
        rows, labels, test_size, seed=3, stratify=True
    )
    assert sorted([*train, *test]) == [*rows]
    assert (labels[train] == y_train).all()
    assert (labels[test] == y_test).all()
    plain = train_test_split(rows, labels, test_size, seed=3)
    assert (len(train), len(test)) == (len(plain[0]), len(plain[1]))
    for label, count in ((5, 60), (1, 33), (9, 7)):
        assert abs((y_test == label).sum() - count * len(test) / 100) < 1
    again = train_test_split(rows, -rows, test_size, seed=3, stratify=labels)
    assert (again[1] == test).all()
    assert (np.diff(test) < 0).any()  # in random order


def test_what_cannot_be_stratified():
    rows = np.arange(10)
    with pytest.raises(ValueError, match=r"stratify must be 10 labels, got shape \(3,"):
        train_test_split(rows, rows, stratify=[1, 2, 3])
    for labels, size in (([0] * 9 + [1], 0.5), ([0] * 5 + [1] * 5, 1)):
        with pytest.raises(ValueError, match="stratify has 2 classes, the rarest with"):
            train_test_split(rows, labels, size, stratify=True)


def test_nothing_else_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(np.arange(90) % 3, validation_split=0.5)
