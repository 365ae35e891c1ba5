"""`fastnn.sklearn` against scikit-learn: its checks, interface, results and records.

All in float64 with the same `random_state`, where the two are the same up to rounding.
"""

import inspect
import re
import warnings

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from children import run_pytest  # noqa: E402
from sklearn import neural_network as theirs  # noqa: E402
from sklearn.datasets import (  # noqa: E402
    load_breast_cancer,
    load_diabetes,
    load_iris,
    make_multilabel_classification,
    make_regression,
)
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.preprocessing import scale  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from fastnn import sklearn as ours  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

KINDS = ["MLPClassifier", "MLPRegressor"]


def both(kind, **parameters):
    """The two estimators with the same parameters."""
    parameters = {"random_state": 3, "max_iter": 12} | parameters
    return getattr(theirs, kind)(**parameters), getattr(ours, kind)(**parameters)


def fit_both(kind, data, *arguments, **parameters):
    return [model.fit(*data, *arguments) for model in both(kind, **parameters)]


def assert_same_weights(expected, model, rtol=1e-9):
    assert len(model.coefs_) == len(expected.coefs_)
    for name in ("coefs_", "intercepts_"):
        for theirs_, ours_ in zip(
            getattr(expected, name), getattr(model, name), strict=True
        ):
            assert ours_.shape == theirs_.shape
            assert ours_.dtype == theirs_.dtype
            np.testing.assert_allclose(
                ours_, theirs_, rtol=rtol, atol=rtol * np.abs(theirs_).max()
            )


def assert_same_record(expected, model, rtol=1e-6):
    """Every public attribute that scikit-learn's fit sets, and its value."""
    for name, value in vars(expected).items():
        if name.startswith("_") or not name.endswith("_"):
            continue
        found = getattr(model, name)
        if name in ("coefs_", "intercepts_"):
            continue
        if value is None or isinstance(value, str):
            assert found == value, name
        else:
            assert isinstance(found, list) == isinstance(value, list), name
            np.testing.assert_allclose(
                np.asarray(found, float), np.asarray(value, float), rtol, err_msg=name
            )


def classes():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), y


def several_classes():
    X, y = load_iris(return_X_y=True)
    return scale(X), y


def labels():
    return make_multilabel_classification(250, 12, n_classes=4, random_state=0)


def values():
    X, y = load_diabetes(return_X_y=True)
    return X, scale(y)


def several_values():
    X, Y = make_regression(250, 8, n_targets=3, random_state=0)
    return X, scale(Y)


def counts():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    return X, rng.poisson(np.exp(X @ [0.3, -0.2, 0.1, 0.4]))


DATA = {
    "classes": ("MLPClassifier", classes),
    "several classes": ("MLPClassifier", several_classes),
    "labels": ("MLPClassifier", labels),
    "values": ("MLPRegressor", values),
    "several values": ("MLPRegressor", several_values),
}

# scikit-learn's own checks ----------------------------------------------------------


def expected_failures(estimator):
    if estimator.dtype != "float32":
        return {}
    # Rows that are repeated are added up where a weight is multiplied: the two sums
    # differ in the last digit of float32, 6e-8, and the check compares to 1e-7.
    reason = "sums of float32 differ by more than the check's 1e-7"
    return {
        "check_sample_weight_equivalence_on_dense_data": reason,
        "check_sample_weight_equivalence_on_sparse_data": reason,
    }


@parametrize_with_checks(
    [
        getattr(ours, kind)(dtype=dtype)
        for kind in KINDS
        for dtype in ("float64", "float32")
    ]
    + [
        getattr(ours, kind)(solver="lbfgs", dtype="float64", max_iter=50)
        for kind in KINDS
    ],
    expected_failed_checks=expected_failures,
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_tests_of_scikit_learn(tmp_path):
    """Its own tests of the two estimators, with the import replaced."""
    tests = pytest.importorskip("sklearn.neural_network.tests.test_mlp")
    text, count = re.subn(
        r"^from sklearn\.neural_network import", "from fastnn.sklearn import",
        inspect.getsource(tests), flags=re.MULTILINE,
    )  # fmt: skip
    assert count == 1
    # This one tests functions that only scikit-learn's estimators have.
    assert "_loss_grad_lbfgs" in inspect.getsource(tests.test_gradient)
    file = tmp_path / "test_mlp.py"
    file.write_text(text.replace("def test_gradient(", "def private_gradient("))
    run_pytest(file, "-p", "sklearn.conftest", OMP_NUM_THREADS="1")


# Interface --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_have_the_same_order_and_defaults(kind):
    expected = inspect.signature(getattr(theirs, kind)).parameters
    found = inspect.signature(getattr(ours, kind)).parameters
    assert [*found][: len(expected)] == [*expected]
    for name, parameter in expected.items():
        assert found[name].default == parameter.default, name
        assert found[name].kind == parameter.kind, name
    assert all(
        found[name].kind == inspect.Parameter.KEYWORD_ONLY
        for name in [*found][len(expected) :]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_methods_have_the_same_arguments(kind):
    expected, found = getattr(theirs, kind), getattr(ours, kind)
    names = [name for name in dir(expected) if not name.startswith("_")]
    for name in names:
        if not name.startswith("set_"):  # those of metadata have our names too
            theirs_ = inspect.signature(getattr(expected, name)).parameters
            ours_ = inspect.signature(getattr(found, name)).parameters
            assert [*ours_][: len(theirs_)] == [*theirs_], name
        assert hasattr(found, name), name
    assert {"fit", "partial_fit", "predict", "score"} <= {*names}


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("alpha", -1), ("activation", "square"), ("activation", "softmax"),
        ("batch_size", 0), ("beta_1", 1.0), ("epsilon", 0.0), ("learning_rate", "x"),
        ("learning_rate_init", 0), ("max_fun", 0), ("max_iter", 0), ("momentum", 1.5),
        ("n_iter_no_change", 0), ("hidden_layer_sizes", (4, 0)), ("solver", "newton"),
        ("tol", -1.0), ("validation_fraction", 1.0), ("shuffle", "yes"),
        ("dropout", 1.0), ("dropout", (0.1, 0.2)), ("n_threads", 0), ("dtype", "int8"),
        ("activation", ["relu", "tanh"]), ("callbacks", 3),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_parameter_is_named(kind, parameter, value):
    model = getattr(ours, kind)(**{parameter: value})
    with pytest.raises((ValueError, TypeError), match=parameter):
        model.fit(np.eye(4), [0, 1, 0, 1])


@pytest.mark.parametrize("kind", KINDS)
def test_everything_a_fit_sets_is_there(kind):
    data = classes() if kind == "MLPClassifier" else values()
    for early_stopping in (False, True):
        expected, model = fit_both(kind, data, early_stopping=early_stopping)
        assert_same_record(expected, model)
        assert model.coefs_[-1].shape[1] == 1  # one output for two classes


# Results ----------------------------------------------------------------------------

SOLVERS = {
    "adam": {},
    "adam in batches": dict(batch_size=64),
    "adam early": dict(early_stopping=True, n_iter_no_change=2, max_iter=40),
    "adam constants": dict(beta_1=0.5, beta_2=0.9, epsilon=1e-3),
    "sgd": dict(solver="sgd", learning_rate_init=0.01),
    "sgd plain": dict(solver="sgd", momentum=0, learning_rate_init=0.01),
    "sgd momentum 1": dict(solver="sgd", momentum=1, learning_rate_init=1e-3),
    "sgd invscaling": dict(solver="sgd", learning_rate="invscaling", power_t=0.3),
    "sgd invscaling, momentum of the other kind": dict(
        solver="sgd", learning_rate="invscaling", nesterovs_momentum=False
    ),
    "sgd adaptive": dict(
        solver="sgd", learning_rate="adaptive", tol=0.3, n_iter_no_change=1, max_iter=40
    ),
    "sgd adaptive, momentum of the other kind": dict(
        solver="sgd", learning_rate="adaptive", tol=0.3, n_iter_no_change=1,
        max_iter=40, nesterovs_momentum=False,
    ),
    "sgd early, adaptive": dict(
        solver="sgd", learning_rate="adaptive", early_stopping=True, tol=0.05,
        n_iter_no_change=1, max_iter=40,
    ),
}  # fmt: skip


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("data", DATA)
def test_training_is_that_of_scikit_learn(data, solver, shuffle):
    kind, make = DATA[data]
    made = make()
    expected, model = fit_both(
        kind, made, hidden_layer_sizes=(20,), shuffle=shuffle, **SOLVERS[solver]
    )
    assert_same_weights(expected, model)
    assert_same_record(expected, model)
    np.testing.assert_allclose(
        model.predict(made[0]), expected.predict(made[0]), rtol=1e-9
    )
    if kind == "MLPClassifier":
        np.testing.assert_allclose(
            model.predict_proba(made[0]), expected.predict_proba(made[0]), rtol=1e-8
        )


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("sizes", [(), (7,), 7, [9, 5], np.array([4, 3, 2])], ids=str)
def test_activations_and_sizes(activation, sizes):
    data = several_classes()
    expected, model = fit_both(
        "MLPClassifier", data, activation=activation, hidden_layer_sizes=sizes
    )
    assert_same_weights(expected, model)
    assert_same_record(expected, model)
    np.testing.assert_array_equal(model.predict(data[0]), expected.predict(data[0]))


def test_poisson_loss():
    for parameters in ({}, dict(batch_size=70), dict(solver="lbfgs")):
        expected, model = fit_both(
            "MLPRegressor", counts(), loss="poisson", hidden_layer_sizes=8, **parameters
        )
        assert model.out_activation_ == "exp"
        assert_same_weights(expected, model, 1e-6)
        assert_same_record(expected, model)


@pytest.mark.parametrize("data", [*DATA][:-1])
def test_lbfgs(data):
    kind, make = DATA[data]
    expected, model = fit_both(
        kind, make(), solver="lbfgs", hidden_layer_sizes=8, activation="tanh", alpha=0.1
    )
    assert_same_weights(expected, model, 1e-5)
    assert_same_record(expected, model)


def test_lbfgs_of_several_values_finds_the_same_minimum():
    # scikit-learn's line search sees the mean over the outputs of what the gradient is
    # the sum of, so that the ways there differ; both end where SciPy sees no progress.
    expected, model = fit_both(
        "MLPRegressor", several_values(), solver="lbfgs", hidden_layer_sizes=(),
        alpha=1.0, max_iter=1000, tol=1e-9,
    )  # fmt: skip
    X = several_values()[0]
    np.testing.assert_allclose(model.predict(X), expected.predict(X), atol=1e-2)
    assert model.loss_ == pytest.approx(expected.loss_, rel=1e-3)


def test_sample_weights_of_one_batch():
    rng = np.random.default_rng(0)
    for kind, data in (
        ("MLPClassifier", several_classes()),
        ("MLPRegressor", values()),
    ):
        X, y = data[0][:180], data[1][:180]
        weights = rng.integers(0, 4, len(X)).astype(float)
        for solver in ("adam", "sgd", "lbfgs"):
            expected, model = fit_both(
                kind, (X, y), weights, solver=solver, hidden_layer_sizes=9, alpha=0.3
            )
            assert_same_weights(expected, model, 1e-6)
            assert_same_record(expected, model)


def test_sample_weights_of_several_batches():
    X, y = classes()
    weights = np.random.default_rng(0).uniform(0.5, 1.5, len(X))
    expected, model = fit_both(
        "MLPClassifier", (X, y), weights, batch_size=50, activation="tanh"
    )
    # The penalty, 1e-4 times weights, is divided by the mean weight of the batches.
    assert_same_weights(expected, model, 1e-4)
    np.testing.assert_allclose(model.loss_curve_, expected.loss_curve_, rtol=0.02)


def test_the_penalty_is_part_of_the_loss():
    for batch_size, rtol in ((150, 1e-9), (50, 1e-4)):  # see loss_curve_
        expected, model = fit_both(
            "MLPClassifier", several_classes(), batch_size=batch_size, alpha=5.0
        )
        assert_same_weights(expected, model)
        assert_same_record(expected, model, rtol)
        loss = model.loss_
        without = model.set_params(alpha=0.0).fit(*several_classes()).loss_
        assert loss > without + 0.1


def test_losses_have_a_cap_in_scikit_learn_alone():
    X = np.array([[1000.0], [-1000.0]])
    expected, model = fit_both("MLPClassifier", (X, [0, 1]), max_iter=1, random_state=5)
    assert_same_weights(expected, model)
    assert expected.loss_ < 37 < model.loss_


def test_predictions_with_weights_of_scikit_learn():
    for kind, make in DATA.values():
        X, y = make()
        expected, model = both(kind, hidden_layer_sizes=(11, 5))
        expected.fit(X, y)
        model.set_params(max_iter=1, random_state=8).fit(X, y)
        model.coefs_ = expected.coefs_
        model.intercepts_ = expected.intercepts_
        np.testing.assert_allclose(model.predict(X), expected.predict(X), rtol=1e-10)
        if kind == "MLPClassifier":
            for name in ("predict_proba", "predict_log_proba"):
                np.testing.assert_allclose(
                    getattr(model, name)(X), getattr(expected, name)(X), rtol=1e-9
                )
        assert model.score(X, y) == pytest.approx(expected.score(X, y), rel=1e-10)


def test_predictions_with_attributes_set_by_hand():
    X, y = values()
    expected, model = both("MLPRegressor", hidden_layer_sizes=(5, 4), activation="tanh")
    expected.fit(X, y)
    for name in ("coefs_", "intercepts_", "n_outputs_", "n_layers_", "out_activation_"):
        setattr(model, name, getattr(expected, name))
    before = dict(vars(model))
    np.testing.assert_allclose(model.predict(X), expected.predict(X), rtol=1e-10)
    assert vars(model) == before
    assert model.partial_fit(X, y).t_ == len(X)


# Going on ---------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_warm_start(solver):
    data = several_classes()
    models = both("MLPClassifier", warm_start=True, solver=solver)
    for model in models:
        model.set_params(random_state=np.random.RandomState(0))
        for _ in range(3):
            model.fit(*data)
    assert_same_weights(*models, 1e-6)
    assert_same_record(*models)


def test_warm_start_keeps_the_best_weights_of_all_fits():
    # In scikit-learn a second fit changes the arrays of the best weights in place.
    X, y = several_classes()
    _, model = both("MLPClassifier", warm_start=True, early_stopping=True)
    best = model.fit(X, y, X_val=X, y_val=y)
    for _ in range(3):
        model.set_params(learning_rate_init=0.5).fit(X, y, X_val=X, y_val=y)
        assert model.score(X, y) == model.best_validation_score_
        assert len(model.validation_scores_) == len(model.loss_curve_)
    assert max(best.validation_scores_) == model.best_validation_score_


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        dict(solver="sgd"),
        dict(solver="sgd", learning_rate="invscaling", nesterovs_momentum=False),
        dict(solver="sgd", learning_rate="adaptive", tol=0.1, n_iter_no_change=1),
    ],
    ids=str,
)
def test_partial_fit(parameters):
    X, y = several_classes()
    models = both("MLPClassifier", **parameters)
    for model in models:
        model.partial_fit(X[:40], y[:40], classes=[0, 1, 2])
        for first in (40, 0, 90, 20):
            model.partial_fit(X[first : first + 60], y[first : first + 60])
        model.alpha = 0.2  # which counts from here on
        model.partial_fit(X, y, np.arange(len(y)) % 3)
    assert_same_weights(*models)
    assert_same_record(*models)


def test_partial_fit_goes_on_after_fit():
    X, y = values()
    models = fit_both("MLPRegressor", (X, y), solver="adam")
    for model in models:
        model.partial_fit(X[:50], y[:50])
        model.partial_fit(X[50:], y[50:])
    assert_same_weights(*models)
    assert_same_record(*models)


def test_partial_fit_of_labels():
    X, Y = labels()
    models = both("MLPClassifier")
    for model in models:
        for _ in range(3):
            model.partial_fit(X, Y, classes=[0, 1, 2, 3])
    assert_same_weights(*models)
    np.testing.assert_array_equal(models[1].predict(X), models[0].predict(X))


def test_one_class():
    X = np.random.default_rng(0).normal(size=(20, 3))
    expected, model = fit_both("MLPClassifier", (X, ["a"] * 20))
    np.testing.assert_array_equal(model.predict(X), expected.predict(X))
    assert model.predict_proba(X).shape == expected.predict_proba(X).shape


@pytest.mark.parametrize("seed", range(3))
def test_one_class_with_early_stopping(seed):
    X = np.random.default_rng(seed).normal(size=(100, 3))
    for y in (["a"] * 100, [7] * 100, [True] * 100, [0] * 100):
        options = dict(early_stopping=True, random_state=seed)
        expected, model = fit_both("MLPClassifier", (X, y), **options)
        assert model.n_iter_ == expected.n_iter_ == 12
        assert model.validation_scores_ == expected.validation_scores_ == [1.0] * 12
        assert model.best_validation_score_ == 1.0


# Words ------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_warnings_are_the_same_and_point_here(solver):
    found = []
    for model in both("MLPClassifier", solver=solver, max_iter=2, batch_size=999):
        with warnings.catch_warnings(record=True) as record:
            warnings.simplefilter("always")
            model.fit(*several_classes())
        found.append(record)
    for theirs_, ours_ in zip(*found, strict=True):
        assert ours_.category is theirs_.category
        assert (
            str(ours_.message).split("\n")[:2] == str(theirs_.message).split("\n")[:2]
        )
        assert ours_.filename == __file__
    assert found[1][-1].category is ConvergenceWarning


@pytest.mark.parametrize(
    "parameters",
    [
        dict(max_iter=40, tol=0.3, n_iter_no_change=2),
        dict(early_stopping=True),
        dict(
            solver="sgd", learning_rate="adaptive", tol=0.9, n_iter_no_change=1,
            max_iter=80, learning_rate_init=1e-4,
        ),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_printed(parameters, capsys):
    texts = []
    for model in both("MLPClassifier", verbose=True, **parameters):
        model.fit(*several_classes())
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert "Iteration 1, loss = " in texts[0]


def test_ctrl_c_is_a_warning(monkeypatch):
    class Press:
        def __init__(self):
            self.left = 3

        def shuffle(self, indices):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    _, model = both("MLPClassifier")
    model.partial_fit(*several_classes(), classes=[0, 1, 2])
    model.set_params(warm_start=True)
    monkeypatch.setattr("fastnn.sklearn._base.check_random_state", lambda _: Press())
    with pytest.warns(UserWarning, match="interrupted by user") as record:
        model.fit(*several_classes())
    assert record[0].filename == __file__
    assert model.n_iter_ == 2
    assert model.predict(several_classes()[0]).shape == (150,)


def test_training_that_diverges():
    X, y = values()
    for dtype in ("float64", "float32"):
        model = ours.MLPRegressor(solver="sgd", learning_rate_init=1e8, dtype=dtype)
        with pytest.raises(ValueError, match="non-finite parameter weights"):
            model.fit(X * 1e4, y)
