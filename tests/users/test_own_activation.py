"""An activation of one's own, as two functions in Python."""

import pickle
import threading

import numpy as np
import pytest

import fastnn
from fastnn import Adam, BatchNorm, Dense, Dropout, LayerNorm, Network, datasets
from fastnn.activations import OwnActivation

rng = np.random.default_rng(0)
X = rng.standard_normal((60, 3))
TARGETS = {
    "softmax_cross_entropy": rng.integers(0, 3, 60),
    "mse": rng.standard_normal((60, 3)),
    "binary_cross_entropy": rng.integers(0, 2, (60, 3)).astype(float),
}


def tanh():
    return OwnActivation(np.tanh, lambda x, y: 1 - y * y)


def silu():
    def gradient(x, y):
        gate = 1 / (1 + np.exp(-x))
        return gate + y * (1 - gate)

    return OwnActivation(lambda x: x / (1 + np.exp(-x)), gradient)


def layers(first, second):
    return [
        3,
        Dense(16, first),
        Dropout(0.1),
        BatchNorm(),
        Dense(8, second),
        LayerNorm(),
        Dense(3),
    ]


@pytest.fixture(params=["native", "numpy"])
def backend(request):
    return request.param


def make(backend, *activations, **arguments):
    given = {"optimizer": Adam(0.01, clip_norm=0.5, l2=1e-3), "dtype": "float64"}
    given |= {"input_scale": 0.5, "seed": 0, "backend": backend, **arguments}
    return Network(layers(*activations), **given)


def numbers(net):
    pairs = [*net.get_weights(), *net._model.engine.get_statistics()]
    return np.concatenate([a.ravel() for pair in pairs if pair for a in pair])


@pytest.mark.parametrize("loss", TARGETS)
@pytest.mark.parametrize("weight", [None, rng.integers(0, 3, 60) * 0.5])
def test_it_trains_as_that_of_fastnn(backend, loss, weight):
    nets = [
        make(backend, tanh(), silu(), loss=loss),
        make(backend, "tanh", "silu", loss=loss),
    ]
    ours, theirs = nets
    ours.set_weights(theirs.get_weights())  # the initializers differ
    y = TARGETS[loss]
    histories = [
        net.fit(X, y, epochs=3, batch_size=16, sample_weight=weight, verbose=0,
                X_val=X, y_val=y).history
        for net in nets
    ]  # fmt: skip
    assert histories[0].keys() == histories[1].keys()
    for name in histories[0]:
        np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=1e-7)
    np.testing.assert_allclose(numbers(ours), numbers(theirs), rtol=1e-6, atol=1e-9)
    assert ours.step == theirs.step == 12
    for call in ("train_on_batch", "evaluate", "loss_and_gradients", "score"):
        a, b = (getattr(net, call)(X, y, weight) for net in nets)
        a, b = (each["loss"] if isinstance(each, dict) else each for each in (a, b))
        a, b = (each[0] if isinstance(each, tuple) else each for each in (a, b))
        assert a == pytest.approx(b, rel=1e-7)
    for call in ("predict", "predict_proba", "decision_function"):
        a, b = (getattr(net, call)(X) for net in nets)
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        ours.predict_one(X[0]), ours.predict_proba(X[:1])[0], rtol=1e-12
    )
    d = rng.standard_normal((60, 3))
    (a, dx), (b, dx_b) = (net.backward(X, d) for net in nets)
    np.testing.assert_allclose(dx, dx_b, rtol=1e-6, atol=1e-9)
    for pair, other in zip(a, b, strict=True):
        for one, two in zip(pair, other, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-9)


def test_both_lanes_agree_in_float32():
    nets = [make(each, tanh(), silu(), dtype="float32") for each in ("native", "numpy")]
    y = TARGETS["softmax_cross_entropy"]
    for net in nets:
        net.fit(X, y, epochs=2, batch_size=16, verbose=0)
    np.testing.assert_allclose(*map(numbers, nets), rtol=1e-3, atol=1e-4)


def test_the_last_layer_and_one_after_the_other(backend):
    net = Network(
        [3, Dense(4, tanh()), Dense(4, tanh()), Dense(2, tanh())],
        loss="mse",
        backend=backend,
        seed=0,
    )
    T = np.tanh(X[:, :2])
    before = net.evaluate(X, T)["loss"]
    net.fit(X, T, epochs=60, batch_size=16, verbose=0)
    assert net.evaluate(X, T)["loss"] < before / 2
    assert abs(net.predict(X)).max() <= 1


def test_resuming_freezing_and_slices(backend):
    y = TARGETS["softmax_cross_entropy"]
    whole, net = make(backend, tanh(), silu()), make(backend, tanh(), silu())
    whole.fit(X, y, epochs=4, batch_size=16, verbose=0)

    def stop(step, logs):
        if step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, epochs=4, batch_size=16, verbose=0,
                callbacks=fastnn.LambdaCallback(on_batch_end=stop))  # fmt: skip
    net.fit(X, y, epochs=4, batch_size=16, verbose=0, resume=True)
    np.testing.assert_array_equal(numbers(net), numbers(whole))
    net.freeze(0)
    first = net.get_weights()[0][0]
    net.fit(X, y, epochs=1, verbose=0)
    np.testing.assert_array_equal(net.get_weights()[0][0], first)
    assert net.layers[0].activation == whole.layers[0].activation or net.layers[0]
    np.testing.assert_allclose(
        net[:1](X), np.tanh(X * 0.5 @ first + net.get_weights()[0][1]), rtol=1e-9
    )
    np.testing.assert_allclose(
        net.activations(X)[-1], net.decision_function(X), rtol=1e-9, atol=1e-12
    )


def test_a_wrong_gradient_is_named(backend):
    def wrong(x):
        return x**3

    net = make(backend, OwnActivation(wrong, lambda x, y: x**2), "relu")
    before = numbers(net)
    with pytest.raises(
        ValueError, match="the gradient of the activation wrong is .* where"
    ):
        net.fit(X, TARGETS["softmax_cross_entropy"], epochs=1, verbose=0)
    np.testing.assert_array_equal(numbers(net), before)


def test_a_function_may_work_in_float32(backend):
    spec = OwnActivation(lambda x: np.sin(x.astype("f4")), lambda x, y: np.cos(x))
    net = Network([3, Dense(8, spec), 2], seed=0, backend=backend)
    net.train_on_batch(np.eye(3), [0, 1, 0])
    wrong = OwnActivation(lambda x: np.sin(x.astype("f4")), lambda x, y: np.cos(2 * x))
    net = Network([3, Dense(8, wrong), 2], seed=0, backend=backend)
    with pytest.raises(ValueError, match="the gradient of the activation"):
        net.train_on_batch(np.eye(3), [0, 1, 0])


def test_a_gradient_that_is_nan_is_wrong():
    spec = OwnActivation(np.sin, lambda x, y: np.where(x < 0, np.nan, np.cos(x)))
    net = Network([3, Dense(8, spec), 2], seed=0)
    with pytest.raises(ValueError, match="is nan at"):
        net.train_on_batch(np.eye(3), [0, 1, 0])


def test_batch_norm_has_no_mini_batches_of_its_own():
    net = Network([3, Dense(8, tanh()), BatchNorm(), Dense(3)], seed=0)
    before = numbers(net)
    with pytest.raises(ValueError, match=r"accumulate is 2.* layers\[1\], BatchNorm"):
        net.fit(X, TARGETS["softmax_cross_entropy"], accumulate=2, epochs=1, verbose=0)
    np.testing.assert_array_equal(numbers(net), before)
    net.fit(X, TARGETS["softmax_cross_entropy"], epochs=1, verbose=0)


def test_a_corner_is_no_wrong_gradient(backend):
    clipped = OwnActivation(lambda x: np.clip(x, 0, 1), lambda x, y: (x == y) * 1.0)
    net = Network([2, Dense(8, clipped), 2], backend=backend, seed=0)
    net.fit(
        np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), [0, 1, 1, 0], epochs=2, verbose=0
    )


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda x: x.sum(), r"has shape \(\) and dtype"),
        (lambda x: x > 0, "has shape .* and dtype bool; expected"),
    ],
)
def test_another_shape_is_named(backend, function, text):
    net = make(backend, OwnActivation(function, lambda x, y: x), "relu")
    with pytest.raises(ValueError, match=text):
        net.predict(X)
    with pytest.raises(TypeError, match="gradient must be callable, got 3"):
        OwnActivation(function, 3)


def test_functions_in_place_change_nothing(backend):
    def doubled(x):
        x *= 2
        return x

    net = make(
        backend, OwnActivation(doubled, lambda x, y: np.full_like(x, 2.0)), "relu"
    )
    net.fit(X, TARGETS["softmax_cross_entropy"], epochs=1, verbose=0)


def test_it_is_neither_stored_nor_exported(backend, tmp_path):
    net = Network([3, Dense(4, tanh()), Dense(2)], backend=backend, seed=0)
    calls = [
        lambda: net.save(tmp_path / "net"),
        lambda: pickle.dumps(net),
        lambda: net.to_c(tmp_path / "net.h"),
        lambda: net.to_sklearn(),
        lambda: net.to_onnx(tmp_path / "net.onnx"),
        lambda: net.to_torch(),
    ]
    for call in calls:
        try:
            with pytest.raises(ValueError, match="the activation tanh is a function"):
                call()
        except ImportError:
            pass
    for kernel in (fastnn.kernels, fastnn.reference):
        if kernel is fastnn.kernels:
            with pytest.raises(ValueError, match="is a function"):
                kernel.activation_forward(X, tanh())
    state = net.state_dict()
    other = Network([3, Dense(4, tanh()), Dense(2)], backend=backend, seed=1)
    other.load_state_dict(state)
    np.testing.assert_array_equal(other(X), net(X))


def test_it_learns_digits(backend):
    X_train, y_train, X_test, y_test = datasets.digits()
    sine = OwnActivation(np.sin, lambda x, y: np.cos(x))
    net = Network(
        [64, Dense(32, sine), 10], input_scale=1 / 16, seed=0, backend=backend
    )
    net.fit(X_train, y_train, epochs=10, verbose=0)
    assert net.score(X_test, y_test) > 0.9


def test_threads_predict_at_the_same_time():
    net = make("native", tanh(), silu())
    expected = net(X)
    errors = []

    def predict():
        for _ in range(50):
            if not np.array_equal(net(X), expected):
                errors.append("differs")

    threads = [threading.Thread(target=predict) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert errors == []


def test_infinite_values_are_a_divergence(backend):
    huge = OwnActivation(
        lambda x: np.exp(1000 * abs(x)), lambda x, y: 1000 * np.sign(x) * y
    )
    net = make(backend, huge, "relu")
    before = numbers(net)
    with pytest.raises((fastnn.TrainingDiverged, ValueError)):
        net.fit(X, TARGETS["softmax_cross_entropy"], epochs=1, verbose=0)
    np.testing.assert_array_equal(numbers(net), before)
