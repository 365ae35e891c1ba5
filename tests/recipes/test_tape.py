"""The tape of docs/from-scratch.md: its gradients are those of both lanes."""

import doctest
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from fastnn import Dense, Network

PATH = Path(__file__).with_name("tape.py")
spec = importlib.util.spec_from_file_location("tape", PATH)
tape = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tape)
Variable = tape.Variable


def test_it_is_short_and_its_example_is_right():
    assert len(PATH.read_text().splitlines()) <= 150
    assert doctest.testmod(tape).failed == 0


FUNCTIONS = {
    "add": lambda a, b: (a + b) * b,
    "subtract": lambda a, b: (3.0 - a) - (b - 2.0),
    "divide": lambda a, b: a / b + 1.0 / b,
    "power": lambda a, b: b**3 * a**2,
    "product": lambda a, b: np.ones((2, 4)) @ (a @ np.ones((3, 2))) + 2.0,
    "exp and log": lambda a, b: (a * 0.3).exp() + b.log(),
    "tanh": lambda a, b: (a * b).tanh(),
    "relu": lambda a, b: (a - 0.1).relu() * b,
    "sums": lambda a, b: a.sum(axis=0) * a.sum(axis=1)[0] + b.sum(),
    "mean": lambda a, b: a.mean() * b,
    "parts": lambda a, b: a[[0, 1, 1]] * a[0, 2] + b[0],
    "an array first": lambda a, b: np.ones(3) * a + np.ones((4, 1)) - b,
    "used twice": lambda a, b: a * a + a,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_operations_against_differences(name):
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(4, 3)), rng.uniform(0.5, 2, size=3)]

    def loss(variables):
        result = FUNCTIONS[name](*variables)
        factors = np.cos(np.arange(result.value.size)).reshape(result.shape)
        return (result * factors).sum()

    variables = [*map(Variable, values)]
    found = tape.gradients(loss(variables), variables)
    for i, gradient in enumerate(found):
        assert gradient.shape == values[i].shape
        for index in np.ndindex(values[i].shape):
            sides = []
            for step in (1e-6, -1e-6):
                moved = [value.copy() for value in values]
                moved[i][index] += step
                sides.append(float(loss(map(Variable, moved)).value))
            numeric = (sides[0] - sides[1]) / 2e-6
            assert gradient[index] == pytest.approx(numeric, rel=1e-6, abs=1e-6)


def cross_entropy(z, labels):
    """The mean of -log softmax(z)[label]; the largest output is taken off first."""
    z = z - z.value.max(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    return (z.exp().sum(axis=1).log() - z[rows, labels]).mean()


def mse(z, targets):
    return ((z - targets) ** 2).mean()


@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mse"])
def test_the_gradients_of_a_network(backend, activation, loss):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(32, 5))
    labels, targets = rng.integers(0, 3, 32), rng.normal(size=(32, 3))
    net = Network(
        [5, Dense(8, activation), Dense(7, activation), 3],
        loss=loss,
        dtype="float64",
        backend=backend,
        seed=0,
    )
    pairs = [(Variable(W), Variable(b)) for W, b in net.get_weights()]
    x = Variable(X)
    for W, b in pairs[:-1]:
        x = getattr(x @ W + b, activation)()
    W, b = pairs[-1]
    y = labels if loss == "softmax_cross_entropy" else targets
    of_tape = (cross_entropy if loss == "softmax_cross_entropy" else mse)(x @ W + b, y)
    value, expected = net.loss_and_gradients(X, y)
    assert float(of_tape.value) == pytest.approx(value, rel=1e-12)
    found = tape.gradients(of_tape, [each for pair in pairs for each in pair])
    for a, b in zip(found, [each for pair in expected for each in pair], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-14)
