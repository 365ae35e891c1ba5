"""Gradients against central differences: every activation with every loss and layer."""

import numpy as np
import pytest
from activations import ACTIVATIONS
from differences import error, parameter_differences
from engines import ENGINES, data_for, flat, make_engine
from samples import LOSSES, NETWORKS

from fastnn import BatchNorm, Dense, LayerNorm, reference
from fastnn.activations import as_activation
from fastnn.reference import (
    _activations as reference_activations,
)
from fastnn.reference import (
    _losses as reference_losses,
)
from fastnn.reference import (
    _passes as reference_passes,
)

# A last layer that squashes the raw outputs makes a poor classifier, but its gradient
# has to be right.
pytestmark = pytest.mark.filterwarnings("ignore:.*expects raw outputs:UserWarning")

KINK = 1e-3  # rows that come closer to one mean nothing: both sides would count

# Where the first or the second derivative jumps; the second makes differences inexact.
KINKED = ("relu", "leaky_relu", "elu", "selu")


def numeric_gradients(engine, data):
    return parameter_differences(engine, lambda: engine.loss_and_gradients(*data)[0])


def smooth_data(engine, name, n=13):
    """n rows of data away from kinks of dense layers and of the loss."""
    X, y, weight = data_for(engine, 4 * n, name, weighted=True)
    good, x = weight > 0, X
    for layer, (W, b) in zip(engine.plan.layers, engine.get_weights(), strict=True):
        z = reference.dense_forward(x, W, b)
        if as_activation(layer.activation).name in KINKED:
            good &= (abs(z) >= KINK).all(axis=1)
        x = reference.dense_forward(x, W, b, layer.activation)
    if name == "quantile":
        y_of_each = np.repeat(y, len(engine.plan.loss.levels), axis=1)
        good &= (abs(x - y_of_each) >= KINK).all(axis=1)
    if name == "gaussian_nll":  # the limit has a slope of its own, as in PyTorch
        good &= (x[:, 1::2] > np.log(engine.plan.loss.epsilon) + KINK).all(axis=1)
    if name == "hinge":
        margin = 1 - x[np.arange(len(x)), y][:, np.newaxis] + x
        good &= (abs(margin) >= KINK).all(axis=1)
    if name == "hinge, labels 0 and 1":
        good &= abs(1 - (2 * y - 1) * x[:, 0]) >= KINK
    if name == "mae":
        good &= (abs(x - y) >= KINK).all(axis=1)
    if name == "huber":
        delta = engine.plan.loss.delta
        good &= (abs(abs(x - y) - delta) >= KINK).all(axis=1)
        assert (abs(x - y)[good] < delta).any()
        assert (abs(x - y)[good] > delta).any()
    rows = np.flatnonzero(good)[:n]
    assert len(rows) == n
    return X[rows], y[rows], weight[rows]


def worst_error(backend, activation, name):
    """Hidden and last layer have the activation; the former has a ragged vector."""
    loss, n_outputs = LOSSES[name]
    layers = [3, Dense(17, activation), Dense(n_outputs, activation)]
    engine = make_engine(backend, layers, loss=loss)
    data = smooth_data(engine, name)
    analytic = flat(engine.loss_and_gradients(*data)[1])
    numeric = numeric_gradients(engine, data)
    if (activation, n_outputs) != ("softmax", 1):  # which is 1, whatever goes in
        assert max(abs(each).max() for each in numeric) > 0.005
    return max(map(error, analytic, numeric))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_gradients_are_those_of_central_differences(backend, activation, name):
    assert worst_error(backend, activation, name) <= 1


# Layers. Central differences of a training pass: the masks are those of one step, the
# statistics those of the batch.


def layer_error(backend, layers, weighted):
    engine = make_engine(backend, layers)
    data = data_for(engine, 9, weighted=weighted)
    analytic = engine.loss_and_gradients(*data)[1]
    numeric = iter(numeric_gradients(engine, data))
    worst = 0.0
    for index, pair in zip(engine.plan.parametric_layers, analytic, strict=True):
        layer = engine.plan.layers[index]
        for array in pair:
            expected = next(numeric)
            if not layer.trainable or (
                array is pair[1] and not getattr(layer, "use_bias", True)
            ):
                expected = np.zeros_like(array)  # no parameter, or none that moves
            worst = max(worst, error(array, expected))
    return worst


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_gradients_of_layers(backend, layers, weighted):
    assert layer_error(backend, layers, weighted) <= 1


# In a middle layer, so that what goes on down is tested as well.
@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
@pytest.mark.parametrize("norm", [BatchNorm, LayerNorm])
def test_activations_of_norms(backend, norm, activation):
    layers = [3, Dense(6, "tanh"), norm(activation), Dense(5, "tanh"), Dense(3)]
    assert layer_error(backend, layers, weighted=True) <= 1


def test_a_training_pass_is_not_that_of_prediction(backend):
    # The control: otherwise the differences above would say nothing of dropout.
    for name in ("dropout", "batch norm"):
        engine = make_engine(backend, NETWORKS[name])
        data = data_for(engine, 9)
        loss, weight, _ = engine.evaluate(*data)
        assert abs(engine.loss_and_gradients(*data)[0] - loss / weight) > 0.01


# Wrong gradients: each is a mistake that somebody made, or might have.

sigmoid, tanh = (reference_activations.ACTIVATIONS[n] for n in ("sigmoid", "tanh"))
softplus = reference_activations.ACTIVATIONS["softplus"]
right = dict(reference_activations.DERIVATIVES)

WRONG_DERIVATIVES = {
    "leaky_relu: the slope on both sides": ("leaky_relu", lambda dy, y, a: a * dy),
    "leaky_relu: of relu": ("leaky_relu", right["relu"]),
    "sigmoid: from the input": ("sigmoid", lambda dy, y, a: right["sigmoid"](
        dy, sigmoid(y, 0), a
    )),
    "tanh: half the slope": ("tanh", lambda dy, y, a: dy * (1 - y * y) / 2),
    "elu: alpha is 1": ("elu 1.7", lambda dy, y, a: right["elu"](dy, y, 1.0)),
    "selu: constants in float32": ("selu", lambda dy, y, a: right["selu"](dy, y, a)
        * np.where(y > 0, np.float32(1.0507009873554805) / 1.0507009873554805, 1)
        * (1 + 3e-6)),
    "gelu: of its approximation": ("gelu", right["gelu_tanh"]),
    "gelu_tanh: of the exact one": ("gelu_tanh", right["gelu"]),
    "silu: without the product rule": ("silu", lambda dy, z, a: dy * sigmoid(z, 0)),
    "mish: the slope of softplus forgotten": ("mish", lambda dy, z, a: dy * (
        tanh(softplus(z, 0), 0) + z * (1 - tanh(softplus(z, 0), 0) ** 2)
    )),
    "softplus: from the input": ("softplus", lambda dy, y, a: dy * sigmoid(y, 0)),
    "softmax: the diagonal alone": ("softmax", lambda dy, p, a: dy * p * (1 - p)),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG_DERIVATIVES)
def test_a_wrong_derivative_is_caught(mistake, monkeypatch):
    activation, wrong = WRONG_DERIVATIVES[mistake]
    spec = ACTIVATIONS[activation]
    assert worst_error("numpy", spec, "mse") <= 1
    name = as_activation(spec).name
    monkeypatch.setitem(reference_activations.DERIVATIVES, name, wrong)
    assert worst_error("numpy", spec, "mse") > 1


def scaled(factor):
    return lambda losses, dz: (losses, dz * factor)


WRONG_LOSSES = {
    "mse: without the 2": ("mse", scaled(0.5)),
    "mae: a sum": ("mae", scaled(3)),
    "huber: of another delta": (
        "huber", lambda losses, dz: (losses, np.clip(dz, -0.13, 0.13))
    ),
    "poisson: of the mean": ("poisson", scaled(1 + 1e-5)),
    "quantile: the other side": ("quantile", scaled(-1)),
    "gaussian: half of it": ("gaussian_nll", scaled(0.5)),
    "focal: of another gamma": ("focal", scaled(1 + 1e-5)),
    "hinge: of sums": ("hinge", scaled(3)),
    "binary: a mean": ("binary_cross_entropy, many", scaled(1 / 3)),
    "softmax: of the neighbour": (
        "softmax_cross_entropy", lambda losses, dz: (losses, np.roll(dz, 1, axis=1))
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG_LOSSES)
def test_a_wrong_loss_is_caught(mistake, monkeypatch):
    name, wrong = WRONG_LOSSES[mistake]
    table, key = reference_losses.LOSSES, LOSSES[name][0].name
    entry = table[key]
    replaced = entry._replace(rows=lambda *given: wrong(*entry.rows(*given)))
    monkeypatch.setitem(table, key, replaced)
    assert worst_error("numpy", "tanh", name) > 1


def without_statistics(cache, dz):
    """Mean and variance taken for constants."""
    return dz * cache.inputs.parameters[0] * cache.kept.inverse


@pytest.mark.parametrize("name", ["batch_norm", "layer_norm"])
@pytest.mark.parametrize("part", ["input_gradient", "parameter_gradients"])
def test_a_wrong_norm_is_caught(name, part, monkeypatch):
    norm = {"batch_norm": BatchNorm, "layer_norm": LayerNorm}[name]("tanh")
    layers = [3, Dense(6), norm, Dense(3)]
    assert layer_error("numpy", layers, False) <= 1
    entry = reference_passes.LAYERS[name]
    wrong = {
        "input_gradient": without_statistics,
        "parameter_gradients": lambda cache, dz: (dz.sum(axis=0), dz.sum(axis=0)),
    }
    replaced = entry._replace(**{part: wrong[part]})
    monkeypatch.setitem(reference_passes.LAYERS, name, replaced)
    assert layer_error("numpy", layers, False) > 1


def test_both_lanes_are_tested():
    assert {*ENGINES} == {"native", "numpy"}
