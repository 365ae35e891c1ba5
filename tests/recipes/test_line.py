"""Lines: what tiny networks learn, and how far beyond the data they carry it."""

import numpy as np
import pytest
from experiments import (
    SEEDS,
    UNIT,
    count,
    dense_layers,
    fit_full_batch,
    fit_per_sample,
    half_mse_rate,
    largest_error,
    regressor,
)

from fastnn import SGD, LeakyReLU, datasets

X, Y = datasets.line(10)  # 3 x + 5 at 1..10
X_FAR, Y_FAR = datasets.line(11, start=30)
LEAKY = LeakyReLU(0.1)


def sgd(rate):
    return SGD(half_mse_rate(rate))


def one_neuron(rate, seed):
    layers = dense_layers([1, 1], "identity", weights=UNIT, biases=UNIT)
    return regressor(layers, sgd(rate), seed)


def slope_and_intercept(net):
    ((W, b),) = net.get_weights()
    return W.item(), b.item()


def train_mse(net, x, y):
    return net.evaluate(x, y)["loss"]


def test_a_neuron_nears_the_line(measured):
    nets = [fit_per_sample(one_neuron(0.01, seed), X, Y, 200) for seed in SEEDS]
    w, b = np.transpose([slope_and_intercept(net) for net in nets])
    measured("A3", "w 3.000..3.015, b 4.86..5", w=w, b=b)
    assert ((w >= 3.0) & (w <= 3.015)).all()
    assert ((b >= 4.86) & (b <= 5.0)).all()


def test_a_neuron_carries_the_line_on(measured):
    nets = [fit_per_sample(one_neuron(0.01, seed), X, Y, 500) for seed in SEEDS]
    errors = [largest_error(net, X_FAR, Y_FAR) for net in nets]
    measured("A4", "error at 30..40 <= .002 in 10/10", error=errors)
    assert max(errors) <= 0.002


def test_full_batch_ends_at_the_line(measured):
    errors = []
    for seed in range(3):
        net = one_neuron(0.02, seed)
        fit_full_batch(net, X, Y, 20_000)
        errors.append(np.abs(np.subtract(slope_and_intercept(net), (3, 5))).max())
    measured("A5 convergence", "w = 3, b = 5 to 1e-6", error=errors)
    assert max(errors) <= 1e-6


def test_full_batch_diverges_above_the_limit(measured):
    """The limit is 2 / 39.29, of the largest eigenvalue of the mean of (x, 1)^2."""
    growth = {}
    for rate in (0.050, 0.055):
        losses = fit_full_batch(one_neuron(rate, 0), X, Y, 100).history["loss"]
        growth[rate] = losses[-1] / losses[0]
    measured(
        "A5 limit",
        "loss falls at .050, grows at .055",
        at_050=growth[0.050],
        at_055=growth[0.055],
    )
    assert growth[0.050] < 1
    assert growth[0.055] > 1e6


def test_two_linear_layers(measured):
    errors = []
    for seed in SEEDS:
        layers = dense_layers([1, 6, 1], "identity", weights=UNIT)
        net = fit_per_sample(regressor(layers, sgd(0.001), seed), X, Y, 600)
        errors.append(largest_error(net, X_FAR, Y_FAR))
    measured("A6", "error at 30..40 <= .02 in 10/10", error=errors)
    assert max(errors) <= 0.02


def deep_nets(activation):
    for seed in SEEDS:
        layers = dense_layers([1, 6, 6, 6, 1], activation)
        yield fit_per_sample(regressor(layers, sgd(2e-4), seed), X[:9], Y[:9], 4000)


def test_deep_relu_may_die(measured):
    """A dead network answers with the mean of y, and its loss is the variance, 60."""
    losses = np.array([train_mse(net, X[:9], Y[:9]) for net in deep_nets("relu")])
    learned, dead = count(losses < 0.01), count(abs(losses - 60) < 1e-3)
    measured("A7 ReLU", "MSE < .01 in >= 3/10", nets=learned, dead=dead)
    assert learned >= 3


def test_deep_leaky_relu_always_learns(measured):
    nets = list(deep_nets(LEAKY))
    losses = [train_mse(net, X[:9], Y[:9]) for net in nets]
    errors = np.array([largest_error(net, X_FAR, Y_FAR) for net in nets])
    near = count(errors < 1)
    measured(
        "A7 leaky",
        "MSE < .01 in 10/10, error at 30..40 < 1 in >= 8/10",
        mse=losses,
        nets=near,
    )
    assert max(losses) < 0.01
    assert near >= 8


@pytest.mark.parametrize(
    ("activation", "least"), [(LEAKY, 10), ("relu", 7)], ids=["leaky", "relu"]
)
def test_one_hidden_layer(measured, activation, least):
    """Between the points; a leaky unit may have its kink beyond them, before 40."""
    errors, far = [], []
    for seed in SEEDS:
        layers = dense_layers([1, 6, 1], activation)
        net = fit_per_sample(regressor(layers, sgd(0.001), seed), X, Y, 2000)
        errors.append(largest_error(net, X, Y))
        far.append(largest_error(net, X_FAR, Y_FAR))
    near = count(np.array(errors) < 0.01)
    measured(
        f"A8 {'ReLU' if activation == 'relu' else 'leaky'}",
        f"error at 1..10 < .01 in >= {least}/10",
        nets=near,
        error=errors,
        nets_at_30_to_40=count(np.array(far) < 0.01),
    )
    assert near >= least


def test_sigmoid_learns_inside_and_saturates_outside(measured):
    losses, differences, levels = [], [], []
    for seed in range(5):
        layers = dense_layers([1, 6, 1], "sigmoid", weights=UNIT, biases=UNIT)
        net = fit_per_sample(regressor(layers, sgd(0.01), seed), X, Y, 5000)
        losses.append(train_mse(net, X, Y))
        at_30, at_40 = net.predict([[30.0], [40.0]]).ravel()
        differences.append(abs(at_40 - at_30))
        levels.append(at_40)
    measured(
        "A9",
        "MSE < .1 in 4/5, predictions at 30 and 40 differ < .05",
        mse=losses,
        difference=differences,
        level=levels,
    )
    # Of five starts, 4: a start succeeds in 85 to 93 of 100, in an independent NumPy
    # loop as well, and from the same start and order the two part after 500 epochs.
    assert count(loss < 0.1 for loss in losses) >= 4
    assert max(differences) < 0.05


@pytest.mark.parametrize(
    ("name", "slopes", "hidden", "rate", "bound", "least"),
    [
        ("A10 W7", [3, 5, 5], [6], 5e-4, 0.3, 10),
        ("A10 W8", [3, 5], [6, 6, 6], 3e-4, 0.5, 8),
    ],
    ids=["three-inputs", "two-inputs-deep"],
)
def test_sums_of_equal_inputs(measured, name, slopes, hidden, rate, bound, least):
    def rows(values):
        x = np.repeat(np.array(values, dtype=float)[:, None], len(slopes), axis=1)
        return x, 5 + x @ np.array(slopes, dtype=float)[:, None]

    x, y = rows(range(1, 10))
    x_far, y_far = rows(range(40, 50))
    errors = []
    for seed in SEEDS:
        layers = dense_layers([len(slopes), *hidden, 1], "relu")
        net = fit_per_sample(regressor(layers, sgd(rate), seed), x, y, 700)
        errors.append(largest_error(net, x_far, y_far))
    near = np.array(errors) <= bound
    measured(
        name,
        f"error at 40..49 <= {bound} in >= {least}/10",
        nets=count(near),
        error_of_those=np.array(errors)[near],
    )
    assert count(near) >= least
