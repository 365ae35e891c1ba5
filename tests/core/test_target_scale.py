"""`target_scale` and `target_range`: networks that learn standardised targets."""

import json
import shutil
import subprocess

import numpy as np
import pytest
from helpers import same_bits, training_state

import fastnn
from fastnn import Dense, Network, fit_many
from fastnn.losses import GaussianNLL, Quantile

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3))
Y = X[:, :2] * [3.0, 400.0] + [1e4, -50.0] + RNG.normal(size=(120, 2))
WEIGHT = RNG.random(120)
WEIGHT[:9] = 0.0


@pytest.fixture(params=["native", "numpy"])
def net_of(request):
    """A network of either lane."""

    def net_of(loss="mse", n=2, **options):
        layers = [3, Dense(8, "tanh"), Dense(n)]
        return Network(
            layers, loss=loss, dtype="float64", seed=0, backend=request.param, **options
        )

    return net_of


def scaled(y, weight=None):
    mean = np.average(y, axis=0, weights=weight)
    deviation = np.average((y - mean) ** 2, axis=0, weights=weight) ** 0.5
    return mean, deviation, (y - mean) / deviation


def test_a_fit_is_that_on_standardised_targets(net_of):
    options = dict(epochs=3, batch_size=16, verbose=0)
    for weight in (None, WEIGHT):
        mean, deviation, y = scaled(Y, weight)
        net, plain = net_of(target_scale="auto"), net_of()
        assert net.target_scale == "auto"
        history = net.fit(X, Y, sample_weight=weight, **options)
        alike = plain.fit(X, y, sample_weight=weight, **options)
        np.testing.assert_allclose(history.history["loss"], alike.history["loss"])
        np.testing.assert_allclose(net.target_scale, [mean, deviation])
        values = plain.predict(X) * deviation + mean
        for found in (net.predict(X), net.predict_proba(X)):
            np.testing.assert_allclose(found, values, rtol=1e-12)
        np.testing.assert_allclose(net.predict_one(X[5]), values[5], rtol=1e-12)
        np.testing.assert_allclose(net(X), plain(X), atol=1e-12)  # raw
        assert net.evaluate(X, Y)["loss"] == pytest.approx(plain.evaluate(X, y)["loss"])
        assert net.score(X, Y) == pytest.approx(fastnn.metrics.r2(Y, values))


def test_numbers_suit_all_ways_of_training(net_of):
    mean, deviation, y = scaled(Y)
    options = dict(optimizer=fastnn.Adam(0.01))
    net, plain = (
        net_of(target_scale=(mean, deviation), **options), net_of(**options)
    )  # fmt: skip
    for each in (slice(0, 50), slice(50, 120)):
        a, b = (
            net.train_on_batch(X[each], Y[each]),
            plain.train_on_batch(X[each], y[each]),
        )
        assert a == pytest.approx(b)
    chunks = [(X[:60], Y[:60]), (X[60:], Y[60:])]
    net.fit_chunks(chunks, verbose=0)
    plain.fit_chunks([(X[:60], y[:60]), (X[60:], y[60:])], verbose=0)
    net.partial_fit(X, Y)
    plain.partial_fit(X, y)
    for (W, b), (V, c) in zip(net.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(W, V, rtol=1e-9)
        np.testing.assert_allclose(b, c, rtol=1e-9, atol=1e-12)
    (loss, _), (alike, _) = net.loss_and_gradients(X, Y), plain.loss_and_gradients(X, y)
    assert loss == pytest.approx(alike)
    assert net.find_learning_rate(X, Y, steps=20).losses == pytest.approx(
        plain.find_learning_rate(X, y, steps=20).losses
    )


def test_auto_is_learnt_by_a_fit_alone_and_then_stays(net_of):
    net = net_of(target_scale="auto", target_range="auto")
    for what in (net.evaluate, net.train_on_batch, net.loss_and_gradients):
        with pytest.raises(ValueError, match="no fit has learnt it yet"):
            what(X, Y)
    with pytest.raises(ValueError, match="no fit has learnt it yet"):
        net.fit_chunks([(X, Y)], verbose=0)
    assert len(net.find_learning_rate(X, Y, steps=20).losses)
    with pytest.raises(ValueError, match="sample_weight sums to 0.0"):
        net.fit(X, Y, sample_weight=np.zeros(120), verbose=0)
    assert net.target_scale == net.target_range == "auto"

    class Failing(fastnn.Callback):
        def on_train_begin(self):
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        net.fit(X, Y, verbose=0, callbacks=Failing())
    assert net.target_scale == net.target_range == "auto"
    net.fit(X, Y, epochs=1, verbose=0, validation_split=0.25)
    mean, deviation, _ = scaled(Y[:90])
    np.testing.assert_allclose(net.target_scale, [mean, deviation])
    np.testing.assert_array_equal(net.target_range, [Y[:90].min(0), Y[:90].max(0)])
    net.fit(X, 7 * Y, epochs=1, verbose=0)
    np.testing.assert_allclose(net.target_scale, [mean, deviation])
    net.evaluate(X, Y)
    assert net[1:].target_scale is net.target_scale
    assert net[:1].target_scale is None


def test_only_the_rows_of_the_training_are_learnt_from(net_of):
    rows = np.arange(0, 120, 3)
    net = net_of(target_scale="auto", target_range="auto")
    options = dict(epochs=2, metrics=["mean_squared_error", "r2"], verbose=0)
    history = net.fit(X, Y, rows=rows, rows_val=np.arange(50, 90), **options).history
    np.testing.assert_allclose(net.target_scale, scaled(Y[rows])[:2])
    values = net.predict(X[50:90])
    error = fastnn.metrics.mean_squared_error(Y[50:90], values)
    assert history["val_mean_squared_error"][-1] == pytest.approx(error)
    other = net_of(target_scale="auto", target_range="auto")
    data = dict(X_val=X[50:90], y_val=Y[50:90])
    assert other.fit(X[rows], Y[rows], **data, **options).history == history
    many = net_of(target_scale="auto", target_range="auto")
    fit_many([many], X, Y, [{"rows": rows}], epochs=2, verbose=0)
    assert same_bits(many.get_weights(), other.get_weights())


def test_predictions_are_kept_in_the_range(net_of):
    low, high = [0.0, -1.0], [2.0, 1.0]
    net = net_of(target_range=(low, high))
    net.set_weights([(W * 9, b) for W, b in net.get_weights()])
    raw, values = net(X), net.predict(X)
    assert (raw > high).any()
    assert (raw < low).any()
    np.testing.assert_array_equal(values, np.clip(raw, low, high))
    out = np.zeros(2)
    assert net.predict_one(X[0], out) is out
    np.testing.assert_array_equal(out, values[0])
    net = net_of(target_scale="auto", target_range="auto", optimizer=fastnn.SGD(3.0))
    net.fit(X, Y, epochs=5, verbose=0)
    values = net.predict(9 * X)
    np.testing.assert_array_equal(values.max(axis=0), Y.max(axis=0))
    np.testing.assert_array_equal(values.min(axis=0), Y.min(axis=0))


def test_each_loss_has_outputs_of_its_own():
    y = Y[:, 1]
    mean, deviation, z = scaled(y)
    for loss, k in ((Quantile((0.1, 0.5, 0.9)), 3), (GaussianNLL(), 2)):
        net, plain = (
            Network([3, 8, k], loss=loss, dtype="float64", seed=0, **options)
            for options in ({"target_scale": (mean, deviation)}, {})
        )
        net.fit(X, y, epochs=2, verbose=0)
        plain.fit(X, z, epochs=2, verbose=0)
        values, raw = net.predict(X), plain.predict(X)
        np.testing.assert_allclose(values[:, 0], raw[:, 0] * deviation + mean)
        if k == 2:
            std = np.exp(raw[:, 1]) ** 0.5 * deviation
            np.testing.assert_allclose(np.exp(values[:, 1]) ** 0.5, std)
        else:
            np.testing.assert_allclose(values, raw * deviation + mean)


def test_files_keep_it_and_training_goes_on(net_of, tmp_path):
    options = dict(epochs=4, batch_size=32, verbose=0)
    net, whole = (net_of(target_scale="auto", target_range="auto") for _ in range(2))
    net.save(tmp_path / "new")  # what is still to be learnt
    net = Network.load(tmp_path / "new", backend=net.backend)
    assert net.target_scale == net.target_range == "auto"
    whole.fit(X, Y, **options)
    net.fit(X, Y, **options, time_limit=1e-6)
    assert net.epoch < 4
    while net.epoch < 4:
        net.save(tmp_path / "half")
        net = Network.load(tmp_path / "half", backend=net.backend)
        net.fit(X, Y, resume=True, **options, time_limit=1e-6)
    assert same_bits(training_state(net), training_state(whole))
    assert same_bits(net.predict(X), whole.predict(X))
    np.testing.assert_array_equal(net.target_scale, whole.target_scale)
    net.save(tmp_path / "a")
    whole.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    "wrong",
    [
        [[[0.0], [-1.0]], None], [[[0.0], None], None], ["auto"], [None, "known"],
        [[[0.0, 1.0, 2.0], [1.0]], None], [{}, None], [None, [[2.0], [1.0]]],
        [[[10**400], [1.0]], None], [3, None], [[[[0.0]], [1.0]], None],
    ],
    ids=str,
)  # fmt: skip
def test_a_file_with_a_wrong_scale_is_refused(wrong):
    from fastnn._core.exchange.model_header import Description

    plan = Network([3, 2], loss="mse", seed=0, target_scale=(0.0, 1.0))
    state = plan._model.state()
    text = Description(
        state.plan, 0, 0, state.progress, (1.0, 0.0), True, None, state.targets
    ).to_json()
    found = json.loads(text)
    assert found["targets"] == [[[0.0, 0.0], [1.0, 1.0]], None]
    assert Description.from_json(text).to_json() == text
    found["targets"] = wrong
    with pytest.raises(fastnn.ModelFormatError, match="target"):
        Description.from_json(json.dumps(found))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_scale": "self"}, "target_scale is 'self'; expected 'auto', None or"),
        ({"target_scale": 3.0}, "target_scale is 3.0; expected 'auto', None or"),
        ({"target_scale": "12"}, "target_scale is '12'; expected"),
        ({"target_scale": b"ab"}, "target_scale is b'ab'; expected"),
        ({"target_scale": {1: 2, 3: 4}}, "target_scale is {1: 2, 3: 4}; expected"),
        ({"target_scale": ("1", "2")}, r"target_scale is \('1', '2'\); expected"),
        ({"target_scale": (True, True)}, r"target_scale is \(True, True\); expected"),
        ({"target_range": (1j, 3)}, r"target_range is \(1j, 3\); expected"),
        ({"target_scale": (0.0, 0.0)}, r"finite \(mean, deviation\), the last > 0"),
        ({"target_scale": (0.0, np.inf)}, r"finite \(mean, deviation\), the last > 0"),
        ({"target_scale": ([0, 0, 0], 1)}, "each one number or 2"),
        ({"target_range": (2.0, 1.0)}, r"target_range is \(2.0, 1.0\); .* low <= high"),
        (
            {"target_scale": "auto", "loss": "poisson"},
            "such as 'mse', not for 'poisson'",
        ),
        (
            {"target_range": "auto", "loss": "softmax_cross_entropy"},
            "target_scale and target_range are for losses of any numbers",
        ),
    ],
)
def test_what_is_wrong_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        Network([3, 2], **{"loss": "mse", **options})


def test_the_deviation_of_constants_is_one():
    net = Network([1, 1], loss="mse", target_scale="auto", seed=0)
    net.fit(np.zeros((300, 1)), np.full(300, 0.1), epochs=1, verbose=0)
    assert net.target_scale[1] == 1.0


def test_what_it_is_cannot_be_changed_in_place():
    net = Network([1, 1], loss="mse", target_scale=(0, 1), target_range=(0, 1), seed=0)
    for array in (*net.target_scale, *net.target_range):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 9.0


def test_targets_that_overflow_once_scaled():
    net = Network([3, 2], loss="mse", target_scale=(0.0, 1e-300))
    with pytest.raises(ValueError, match="y is not finite once scaled by"):
        net.train_on_batch(X, Y)
    adam = fastnn.Adam(0.05)
    net = Network([3, 1], loss="mse", optimizer=adam, seed=0, target_scale="auto")
    with pytest.raises(ValueError, match="y is not finite once scaled by"):
        net.fit(X, 1e300 * X[:, 0], epochs=100, verbose=0)
    big = 1e100 * X[:, 0]  # no float32 could hold these
    net.fit(X, big, epochs=100, verbose=0)
    assert fastnn.metrics.r2(X[:, 0], net(X)[:, 0] * X[:, 0].std()) > 0.9


def test_the_warning_of_unscaled_targets_names_it(net_of, recwarn):
    net_of(target_scale="auto").fit(X, Y, epochs=1, verbose=0)
    assert not recwarn
    with pytest.warns(UserWarning, match=r"Network\(..., target_scale='auto'\)"):
        net_of().fit(X, Y, epochs=1, verbose=0)


# Exports


def fitted(dtype="float32", loss="mse", n=2, **options):
    options = {"target_scale": "auto", **options}
    net = Network([3, 8, n], loss=loss, dtype=dtype, seed=0, **options)
    net.fit(X, Y if loss == "mse" else Y[:, 1], epochs=3, verbose=0)
    return net


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("limits", [None, "auto", ([0, -9], [1e4, 9])])
def test_onnx_has_it(dtype, limits):
    pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    net = fitted(dtype, target_range=limits)
    model = fastnn.onnx.to_onnx(net)
    session = ort.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    rows = (9 * X).astype(dtype)
    (values,) = session.run(None, {"X": rows})
    assert values.dtype == dtype
    np.testing.assert_allclose(values, net.predict(rows), rtol=2e-6)
    same = Network.from_onnx(model)  # the scale as weights of the last layer
    np.testing.assert_allclose(same.predict(rows), values, rtol=1e-5)
    assert (same.target_range is None) == (limits is None)


def test_a_range_from_0_is_no_relu_in_onnx():
    pytest.importorskip("onnx")
    net = Network([3, 8, 1], loss="mse", target_range=(0.0, 0.1), seed=0)
    same = Network.from_onnx(fastnn.onnx.to_onnx(net))
    np.testing.assert_array_equal(same.target_range, [[0.0], [np.float32(0.1)]])
    assert same.plan.layers[-1].activation == "identity"
    np.testing.assert_allclose(same.predict(X), net.predict(X), rtol=1e-6)


@pytest.mark.parametrize("loss", ["mse", GaussianNLL()])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_c_has_it(dtype, loss, tmp_path):
    net = fitted(dtype, loss, target_range="auto")
    net.to_c(tmp_path / "net.h", self_test=True, rows=9 * X)
    compiler = shutil.which("gcc") or "cc"
    warnings = ["-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wdouble-promotion"]
    done = subprocess.run(
        [compiler, "-std=c99", *warnings, "net_test.c", "-lm"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert not done.stderr
    run = subprocess.run(["./a.out"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize("limits", [None, "auto"])
@pytest.mark.parametrize("loss", ["mse", GaussianNLL(), Quantile((0.2, 0.8))])
def test_torch_has_it_both_ways(limits, loss):
    torch = pytest.importorskip("torch")
    net = fitted("float64", loss, target_range=limits)
    module = net.to_torch()
    values = module(torch.tensor(9 * X)).detach().numpy()
    np.testing.assert_allclose(values, net.predict(9 * X), rtol=1e-12)
    assert module.state_dict().keys() == net.state_dict().keys()
    same = Network.from_torch(module, loss=loss)  # the scale as weights
    np.testing.assert_allclose(same.predict(9 * X), values, rtol=1e-9)
    assert (same.target_range is None) == (limits is None)
    assert same.to_torch().target if limits else True


def test_a_range_that_is_not_one_of_targets_is_not_read():
    torch = pytest.importorskip("torch")
    scaling, linear = fastnn.torch.InputScaling, torch.nn.Linear(3, 2)

    def read(*modules, loss="mse"):
        Network.from_torch(torch.nn.Sequential(*modules), loss=loss)

    def limit(low, high):
        return scaling([1.0, 1.0], [0.0, 0.0], torch.float32, low, high)

    for modules, loss, error in (
        ([limit([0, 0], [1, 1]), linear], "mse", "a range is for the outputs of"),
        ([linear, limit([0, 0], [1, 1]), torch.nn.ReLU()], "mse", "follows a range"),
        ([linear, limit([0, 0], [1, 1])], "softmax_cross_entropy", "any numbers"),
        ([linear, limit([0, 0], np.inf)], "mse", "target_range is .*expected"),
        ([linear, limit([0, 0], [1, 2])], Quantile((0.2, 0.8)), "not one of the tar"),
    ):
        with pytest.raises(ValueError, match=error):
            read(*modules, loss=loss)


def test_scikit_learn_has_the_scale_and_no_range():
    pytest.importorskip("sklearn")
    net = fitted("float64")
    np.testing.assert_allclose(net.to_sklearn().predict(X), net.predict(X))
    with pytest.raises(ValueError, match="has a target_range; scikit-learn has none"):
        fitted(target_range="auto").to_sklearn()
