"""Pipelines of scikit-learn with skl2onnx: fastnn's estimators to it, all from it."""

import numpy as np
import pytest
from engines import relative_distance

from fastnn import ELU, LeakyReLU, Network
from fastnn.activations import ACTIVATIONS

pytest.importorskip("sklearn")

from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)

import fastnn.onnx
import fastnn.sklearn as ours

pytestmark = pytest.mark.filterwarnings(
    f"ignore::{ConvergenceWarning.__module__}.ConvergenceWarning"
)

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(90, 6)) * [1, 2, 3, 0.1, 5, 1] + [0, 1, 50, 0, -300, 2]).astype(
    "f4"
)
THREE = np.arange(90) % 3
OPTIONS = {"max_iter": 3, "random_state": 0}
SCALERS = [
    StandardScaler(),
    StandardScaler(with_mean=False),
    StandardScaler(with_std=False),
    MinMaxScaler((-1, 1)),
    MaxAbsScaler(),
    RobustScaler(),
    RobustScaler(with_centering=False, with_scaling=False),
    "passthrough",
]


def probabilities_of(net, rows):
    p = net.predict_proba(rows)
    return np.hstack([1 - p, p]) if p.shape[1] == 1 and net.plan.n_classes else p


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("scaler", SCALERS, ids=str)
def test_pipelines_are_networks(scaler, dtype):
    rows = X.astype(dtype)
    for estimator, y in (
        (MLPClassifier(7, **OPTIONS), THREE),
        (ours.MLPClassifier(7, activation="gelu", **OPTIONS), THREE // 2),
        (MLPRegressor(hidden_layer_sizes=7, **OPTIONS), X[:, 0]),
    ):
        pipeline = make_pipeline(scaler, estimator).fit(rows, y)
        net = Network.from_sklearn(pipeline)
        if hasattr(estimator, "classes_"):
            expected = pipeline.predict_proba(rows)
            found = probabilities_of(net, rows)
        else:
            expected, found = pipeline.predict(rows), net.predict(rows)[:, 0]
        assert relative_distance(found, expected) < (2e-6 if dtype == "f4" else 1e-12)


def test_other_steps_are_named():
    for step, message in (
        (Normalizer(), "the step 'normalizer' of the pipeline is Normalizer; expected"),
        (MinMaxScaler(clip=True), "the step 'minmaxscaler' of the pipeline clips"),
    ):
        pipeline = make_pipeline(step, MLPClassifier(7, **OPTIONS)).fit(X, THREE)
        with pytest.raises((TypeError, ValueError), match=message):
            Network.from_sklearn(pipeline)
    with pytest.raises(TypeError, match="the step 'standardscaler' .* is not fitted"):
        Network.from_sklearn(make_pipeline(StandardScaler(), MLPClassifier()))
    with pytest.raises(TypeError, match="or a pipeline that ends with one, got Stand"):
        Network.from_sklearn(make_pipeline(MinMaxScaler(), StandardScaler()).fit(X))


@pytest.fixture
def skl2onnx():
    pytest.importorskip("onnxruntime")
    package = pytest.importorskip("skl2onnx")
    fastnn.onnx.register_skl2onnx()
    return package


def check(model):
    pytest.importorskip("onnx").checker.check_model(model, full_check=True)


def run(model, rows):
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {session.get_inputs()[0].name: rows})


@pytest.mark.parametrize("scaler", SCALERS[:-1], ids=str)
def test_files_of_skl2onnx_are_read(scaler, skl2onnx):
    for estimator, y in (
        (MLPClassifier((9, 7), activation="tanh", **OPTIONS), THREE),
        (MLPClassifier(7, **OPTIONS), THREE // 2),
        (MLPRegressor(hidden_layer_sizes=7, **OPTIONS), X[:, 0]),
    ):
        pipeline = make_pipeline(scaler, estimator).fit(X, y)
        options = {"zipmap": False} if hasattr(estimator, "classes_") else None
        model = skl2onnx.to_onnx(pipeline, X[:1], options=options)
        net = Network.from_onnx(model)
        found = probabilities_of(net, X)
        assert relative_distance(found, run(model, X)[-1]) < 1e-6


FEW = [(["relu", LeakyReLU(0.1), "mish"], (7, 5, 6)), ("relu", ())]
EACH = [
    *((name, (7,)) for name in ["logistic", *ACTIVATIONS] if name != "softmax"),
    (LeakyReLU(0.3), (7,)),
    (ELU(1.7), (7,)),
    *FEW,
]


@pytest.mark.parametrize(
    ("y", "dtype", "layers"),
    [
        (THREE, "f4", EACH),
        (THREE * 10 + 5, "f8", EACH),
        (np.array(["no", "yes"])[THREE // 2], "f8", FEW),
        (np.eye(3, dtype=int)[THREE], "f4", FEW),
    ],
    ids=["three", "other", "text", "indicators"],
)
def test_classifiers_of_fastnn_are_converted(y, dtype, layers, skl2onnx):
    rows = X.astype(dtype)
    for activation, sizes in layers:
        estimator = ours.MLPClassifier(sizes, activation=activation, **OPTIONS)
        pipeline = make_pipeline(StandardScaler(), estimator).fit(rows, y)
        model = skl2onnx.to_onnx(pipeline, rows[:1], options={"zipmap": False})
        check(model)
        label, probabilities = run(model, rows)
        assert (label == pipeline.predict(rows)).all()
        expected = pipeline.predict_proba(rows)
        assert probabilities.dtype == expected.dtype
        assert relative_distance(probabilities, expected) < 1e-6


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_regressors_of_fastnn_are_converted(loss, n_outputs, skl2onnx):
    y = np.abs(X[:, :n_outputs]).squeeze()
    for activation in ("gelu", ["silu"]):
        model = ours.MLPRegressor(loss, (7,), activation=activation, **OPTIONS)
        rows = StandardScaler().fit_transform(X)
        model.fit(rows, y)
        converted = skl2onnx.to_onnx(model, rows[:1])
        check(converted)
        (found,) = run(converted, rows)
        expected = model.predict(rows).reshape(found.shape)
        assert relative_distance(found, expected) < 1e-6


def test_zipmap_and_the_opset(skl2onnx):
    model = ours.MLPClassifier(7, **OPTIONS).fit(X, THREE)
    _, dicts = run(skl2onnx.to_onnx(model, X[:1]), X)
    expected = model.predict_proba(X[:1])[0]
    assert [*dicts[0]] == [0, 1, 2]
    assert np.allclose([*dicts[0].values()], expected, atol=1e-6)
    with pytest.raises(ValueError, match="target_opset is 12; expected 13 or later"):
        skl2onnx.to_onnx(model, X[:1], target_opset=12)


def test_numbers_of_classes_instead_of_names(skl2onnx):
    y = np.array(["no", "yes"])[THREE // 2]
    model = ours.MLPClassifier(7, **OPTIONS).fit(X, y)
    options = {id(model): {"zipmap": False, "nocl": True}}
    converted = skl2onnx.to_onnx(model, X[:1], options=options)
    check(converted)
    label, probabilities = run(converted, X)
    assert (model.classes_[label] == model.predict(X)).all()
    assert relative_distance(probabilities, model.predict_proba(X)) < 1e-6
