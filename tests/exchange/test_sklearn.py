"""Networks to scikit-learn's estimators and back."""

import numpy as np
import pytest
from engines import relative_distance
from interchange import make_net, make_rows

from fastnn import BatchNorm, Dense, Dropout, LayerNorm, Network

neural_network = pytest.importorskip("sklearn.neural_network")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

LOSSES = [
    ("softmax_cross_entropy", 3),
    ("softmax_cross_entropy", 2),
    ("binary_cross_entropy", 1),
    ("binary_cross_entropy", 3),
    ("mse", 1),
    ("mse", 3),
    ("poisson", 2),
]


def both_probabilities(net, X):
    p = net.predict_proba(X)
    is_single = net.plan.loss.is_classifier and p.shape[1] == 1
    return np.hstack([1 - p, p]) if is_single else p


@pytest.mark.parametrize(("loss", "n_outputs"), LOSSES)
@pytest.mark.parametrize("activation", ["identity", "sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_to_sklearn_predicts_the_same_and_comes_back(
    activation, loss, n_outputs, dtype
):
    for layers in (
        [6, Dense(19, activation), Dense(n_outputs)],
        [6, Dense(9), BatchNorm(activation), Dropout(0.3), Dense(8, activation),
         BatchNorm(), Dense(n_outputs, use_bias=False)],
        [6, n_outputs],
    ):  # fmt: skip
        net = make_net(
            layers, loss=loss, dtype=dtype, input_scale=0.5, input_shift=0.25
        )
        X = make_rows(net)
        estimator = net.to_sklearn()
        assert {each.dtype for each in estimator.coefs_} == {np.dtype(dtype)}
        expected = both_probabilities(net, X)
        if net.plan.loss.is_classifier:
            assert relative_distance(estimator.predict_proba(X), expected) <= 1e-6
            assert (estimator.predict(X) == net.predict(X)).all()
        else:
            found = estimator.predict(X).reshape(expected.shape)
            assert relative_distance(found, expected) <= 1e-6
        same = Network.from_sklearn(estimator)
        assert same.dtype == net.dtype
        assert relative_distance(both_probabilities(same, X), expected) <= 1e-6
        estimator.partial_fit(X[:8], estimator.predict(X[:8]))  # it trains on


@pytest.mark.parametrize("n_outputs", [1, 2, 3])
def test_classes_have_the_names_given(n_outputs):
    loss = "binary_cross_entropy" if n_outputs == 1 else "softmax_cross_entropy"
    net = make_net([6, 8, n_outputs], loss=loss)
    X = make_rows(net)
    classes = np.array(["pear", "apple", "fig"][: max(2, n_outputs)])
    estimator = net.to_sklearn(classes)
    assert estimator.classes_.tolist() == sorted(classes)
    assert (estimator.predict(X) == classes[net.predict(X)]).all()
    with pytest.raises(ValueError, match="different labels"):
        net.to_sklearn(["a"] * len(classes))


def estimators():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 6)).astype("float32")
    three = np.arange(90) % 3
    classifier, regressor = neural_network.MLPClassifier, neural_network.MLPRegressor
    for estimator, y in (
        (classifier((7, 5), activation="tanh"), three),
        (classifier(7, activation="logistic"), np.array(["no", "yes"])[three // 2]),
        (classifier(7), np.eye(3, dtype=int)[three]),
        (regressor(hidden_layer_sizes=(7, 5)), X[:, 0]),
        (regressor(hidden_layer_sizes=7, activation="identity"), X[:, :2]),
    ):
        estimator.set_params(max_iter=5, random_state=0)
        yield estimator.fit(X, y), X
        yield estimator.fit(X.astype("float64"), y), X.astype("float64")


def test_from_sklearn():
    for estimator, X in estimators():
        net = Network.from_sklearn(estimator, seed=0)
        assert net.dtype == X.dtype
        found = both_probabilities(net, X)
        if net.plan.loss.is_classifier:
            assert relative_distance(found, estimator.predict_proba(X)) <= 1e-6
            if estimator.classes_.dtype.kind == "U":
                predicted = estimator.classes_[net.predict(X)]
                assert (predicted == estimator.predict(X)).all()
        else:
            assert (
                relative_distance(found, estimator.predict(X).reshape(found.shape))
                <= 1e-6
            )


def test_numpys_generator_is_left_alone():
    net = make_net([6, 8, 3])
    before = np.random.get_state()[1].tolist()
    net.to_sklearn()
    assert np.random.get_state()[1].tolist() == before


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([6, Dense(8, "gelu"), 3], "activations .'gelu'.; scikit-learn has one of"),
        ([6, Dense(8, "relu"), Dense(8, "tanh"), 3], "'relu', 'tanh'"),
        ([6, Dense(8), LayerNorm("relu"), 3], "the network has a LayerNorm"),
        ([6, Dense(8), Dense(3, "selu")], "'identity', 'selu'"),
    ],
)
def test_other_networks_are_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        make_net(layers).to_sklearn()


def test_a_shift_that_cannot_be_folded_is_refused():
    with pytest.raises(ValueError, match="cannot be folded"):
        make_net([6, 8, 3], input_shift=-2000.0).to_sklearn()


def test_other_estimators_are_refused():
    with pytest.raises(TypeError, match="fitted MLPClassifier or MLPRegressor"):
        Network.from_sklearn(neural_network.MLPClassifier())
    with pytest.raises(ValueError, match="classes is given, but 'mse' has no classes"):
        make_net([6, 1], loss="mse").to_sklearn(classes=[0, 1])


@pytest.mark.parametrize(("loss", "n_outputs"), LOSSES)
def test_networks_of_bfloat16_have_their_float32_weights(loss, n_outputs):
    layers = [6, Dense(9, "tanh"), Dense(n_outputs)]
    net = make_net(layers, loss=loss, dtype="bfloat16", backend="numpy")
    same = make_net(layers, loss=loss)
    estimators = [each.to_sklearn() for each in (net, same)]
    for found, expected in zip(*(each.coefs_ for each in estimators), strict=True):
        assert found.dtype == np.float32
        assert (found == expected).all()


def test_fastnns_own_estimators_with_their_activations():
    from fastnn import LeakyReLU
    from fastnn.sklearn import MLPClassifier, MLPRegressor

    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 6))
    for activation, sizes in (
        (["relu"], (7,)),
        (["logistic", "gelu"], (7, 5)),
        ("gelu", (7, 5)),
        ("sigmoid", (7,)),
        ("logistic", (7,)),
        (LeakyReLU(0.1), (7,)),
    ):
        options = dict(activation=activation, max_iter=3, random_state=0)
        classifier = MLPClassifier(sizes, **options).fit(X, np.arange(90) % 3)
        net = Network.from_sklearn(classifier)
        expected = classifier.predict_proba(X)
        assert relative_distance(net.predict_proba(X), expected) <= 1e-12
        regressor = MLPRegressor(hidden_layer_sizes=sizes, **options).fit(X, X[:, 0])
        found = Network.from_sklearn(regressor).predict(X)[:, 0]
        assert relative_distance(found, regressor.predict(X)) <= 1e-12


def test_classes_of_several_labels_are_refused():
    net = make_net([6, 3], loss="binary_cross_entropy")
    with pytest.raises(ValueError, match="3 outputs are labels of their own"):
        net.to_sklearn(classes=["a", "b", "c"])


@pytest.mark.parametrize(("loss", "n_outputs"), LOSSES)
def test_the_estimator_tells_of_no_training(loss, n_outputs):
    net = make_net([6, 8, n_outputs], loss=loss)
    estimator = net.to_sklearn()
    assert (estimator.n_iter_, estimator.t_, estimator.loss_curve_) == (0, 0, [])
    assert estimator.best_loss_ == np.inf
    assert not hasattr(estimator, "loss_")
    X = make_rows(net)
    estimator.partial_fit(X, estimator.predict(X))
    assert (estimator.n_iter_, estimator.t_) == (1, len(X))
    assert estimator.loss_curve_ == [estimator.loss_]


def test_poisson_needs_a_scikit_learn_that_has_it(monkeypatch):
    class Older:
        def __init__(self, hidden_layer_sizes=(100,), activation="relu"):
            pass

        def get_params(self):
            return {"activation": "relu"}

    monkeypatch.setattr(neural_network, "MLPRegressor", Older)
    with pytest.raises(ImportError, match="'poisson' needs scikit-learn 1.7"):
        make_net([6, 3], loss="poisson").to_sklearn()
