"""Gradients of any function of the outputs: `Network.backward`."""

import numpy as np
import pytest
from differences import differences, error, parameter_differences
from engines import data_for, flat, make_engine, relative_distance
from samples import NETWORKS

from fastnn import SGD, BatchNorm, Dense, Dropout, Network, network


@pytest.fixture(params=["native", "numpy"])
def backend(request):
    return request.param


def case(backend, layers, n=9, **arguments):
    engine = make_engine(backend, layers, loss="mse", **arguments)
    X = data_for(make_engine(backend, layers, loss="mse"), n)[0]
    X = X.astype(engine.plan.array_dtype)
    d = np.random.default_rng(1).standard_normal((n, engine.plan.n_outputs))
    return engine, X, d.astype(engine.plan.array_dtype)


@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_they_are_those_of_central_differences(backend, layers):
    engine, X, d = case(backend, layers)

    def value():
        return (engine.training_outputs(X) * d).sum()

    gradients, d_inputs = engine.backward(X, d)
    numeric = iter(parameter_differences(engine, value))
    for index, pair in zip(engine.plan.parametric_layers, gradients, strict=True):
        layer = engine.plan.layers[index]
        for array in pair:
            expected = next(numeric)
            if not layer.trainable or (
                array is pair[1] and not getattr(layer, "use_bias", True)
            ):
                expected = np.zeros_like(array)
            assert error(array, expected) <= 1
    n_codes = len(engine.plan.categories)
    assert not d_inputs[:, engine.plan.n_inputs - n_codes :].any()
    if not n_codes:  # which are no numbers to be moved
        assert error(d_inputs, differences(value, X)) <= 1
        assert d_inputs.any()


@pytest.mark.filterwarnings("ignore:.*bfloat16:UserWarning")
@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_lanes_agree(layers, dtype):
    found = []
    for backend in ("native", "numpy"):
        engine, X, d = case(backend, layers, n=70, dtype=dtype)
        gradients, d_inputs = engine.backward(X, d)
        found.append([engine.training_outputs(X), d_inputs, *flat(gradients)])
    for one, other in zip(*found, strict=True):
        if np.linalg.norm(other) > 1e-3:
            assert relative_distance(one, other) < (
                2e-5 if dtype == "float32" else 0.02
            )


@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_they_are_those_of_pytorch(backend, layers):
    torch = pytest.importorskip("torch", reason="PyTorch is one of the oracles")
    pytorch = pytest.importorskip("pytorch")
    engine, X, d = case(backend, layers)
    if any(isinstance(layer, Dropout) for layer in engine.plan.layers):
        pytest.skip("masks of its own")
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        twin = pytorch.Twin(engine)
        x = torch.tensor(X, requires_grad=True)
        outputs = twin.forward(x)
        outputs.backward(torch.tensor(d))
    finally:
        torch.set_default_dtype(default)
    gradients, d_inputs = engine.backward(X, d)
    assert relative_distance(engine.training_outputs(X), outputs.detach()) < 1e-12
    if x.grad is not None and not engine.plan.categories:
        assert relative_distance(d_inputs, x.grad.numpy()) < 1e-10
    for array, tensor in zip(flat(gradients), flat(twin.gradients()), strict=True):
        if np.linalg.norm(array) > 1e-12:
            assert relative_distance(array, tensor.detach().numpy()) < 1e-10


def layers():
    return [5, Dense(33, "relu"), BatchNorm("gelu"), Dropout(0.3), Dense(1)]


def test_a_loop_of_its_own_has_the_weights_of_training(backend):
    rng = np.random.default_rng(0)
    X, t = rng.standard_normal((40, 5)), rng.standard_normal((40, 1))
    one, other = (
        Network(layers(), loss="mse", optimizer=SGD(0.05, 0.9), dtype="float64",
                seed=0, backend=backend, input_scale=0.5, input_shift=0.1)
        for _ in range(2)
    )  # fmt: skip
    for _ in range(4):
        one.train_on_batch(X, t)
        d = 2 * (other(X, training=True) - t) / len(X)
        other.apply_gradients(other.backward(X, d)[0])
    assert one.step == other.step == 4
    for pair, twin in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(pair[0], twin[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(one.predict(X), other.predict(X), rtol=1e-9)


def test_the_pass_is_that_of_the_next_update(backend):
    X = np.random.default_rng(0).standard_normal((40, 5))
    net = Network(layers(), loss="mse", seed=0, backend=backend)
    first = net(X, training=True)
    np.testing.assert_array_equal(net(X, training=True), first)
    np.testing.assert_array_equal(net(X), net.decision_function(X))
    assert abs(net(X) - first).max() > 0.01
    net.apply_gradients(net.backward(X, np.ones_like(first))[0])
    assert abs(net(X, training=True) - first).max() > 0.01


def test_d_inputs_is_that_of_x_as_it_is_given(backend):
    X = np.random.default_rng(0).standard_normal((7, 3))
    scale, shift = np.array([0.5, 2.0, -3.0]), np.array([0.1, 0.0, 1.0])
    net = Network([3, Dense(8, "tanh"), 2], dtype="float64", seed=0, backend=backend,
                  input_scale=scale, input_shift=shift)  # fmt: skip
    d = np.ones((7, 2))
    expected = differences(lambda: net(X).sum(), X)
    assert error(net.backward(X, d)[1], expected) <= 1


def test_two_networks_are_trained_as_one():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 4)), rng.integers(0, 3, 30)
    whole = Network([4, Dense(8, "tanh"), 3], dtype="float64", seed=0)
    low = Network([4, Dense(8, "tanh")], dtype="float64", loss="mse", seed=1)
    high = Network([8, 3], dtype="float64", seed=2)
    low.set_weights(whole.get_weights()[:1])
    high.set_weights(whole.get_weights()[1:])
    _, expected = whole.loss_and_gradients(X, y)
    z = high(low(X), training=True)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    top, d_hidden = high.backward(low(X), (p - np.eye(3)[y]) / len(X))
    bottom, _ = low.backward(X, d_hidden)
    for found, pair in zip(bottom + top, expected, strict=True):
        np.testing.assert_allclose(found[0], pair[0], rtol=1e-9, atol=1e-12)


def test_any_number_of_threads_has_the_same_bits():
    rng = np.random.default_rng(0)
    X, d = rng.standard_normal((300, 64)), rng.standard_normal((300, 10))
    found = []
    for n in (1, 2):
        net = Network([64, Dense(500, "relu"), Dense(200, "tanh"), 10], seed=0,
                      num_threads=n)  # fmt: skip
        gradients, d_inputs = net.backward(X, d)
        arrays = [*flat(gradients), d_inputs, net(X, training=True)]
        found.append([array.tobytes() for array in arrays])
    assert found[0] == found[1]


def test_it_changes_nothing(backend):
    X = np.random.default_rng(0).standard_normal((40, 5))
    net = Network(layers(), loss="mse", seed=0, backend=backend)
    before = network.model_of(net).state()
    net.backward(X, np.ones((40, 1)))
    after = network.model_of(net).state()
    for a, b in zip(before.statistics, after.statistics, strict=True):
        assert a is b is None or (np.array(a) == np.array(b)).all()
    assert before.step == after.step


@pytest.mark.parametrize(
    ("X", "d", "message"),
    [
        (np.ones((4, 5)), np.ones((4, 2)), r"d_outputs has shape \(4, 2\); expected"),
        (np.ones((4, 5)), np.ones((3, 1)), r"d_outputs has shape \(3, 1\); expected"),
        (np.ones((4, 5)), np.full((4, 1), np.nan), "d_outputs is nan at"),
        (np.ones((4, 6)), np.ones((4, 1)), "X has 6 columns"),
        (np.full((4, 5), np.inf), np.ones((4, 1)), "inf"),
    ],
)
def test_bad_arguments_are_named(backend, X, d, message):
    net = Network(layers(), loss="mse", seed=0, backend=backend)
    with pytest.raises(ValueError, match=message):
        net.backward(X, d)
