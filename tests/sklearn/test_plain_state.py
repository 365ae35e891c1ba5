"""What is saved of an estimator: plain data, so that one type is to be trusted."""

import copy
import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.datasets import load_iris

from fastnn.activations import LeakyReLU
from fastnn.sklearn import (
    MLPClassifier,
    MLPRegressor,
    TabularClassifier,
    TabularRegressor,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
ESTIMATORS = [
    MLPClassifier((7, 5), activation=["gelu", LeakyReLU(0.3)], dropout=0.1, max_iter=4),
    MLPClassifier(7, activation=LeakyReLU(0.2), early_stopping=True, max_iter=4),
    MLPRegressor(hidden_layer_sizes=(7,), solver="sgd", max_iter=4),
    MLPRegressor(hidden_layer_sizes=(7,), solver="lbfgs", max_iter=4),
    TabularClassifier(n_folds=2, time_limit=0.2),
    TabularRegressor(loss="quantile", time_limit=0.2),
]


@pytest.fixture(params=ESTIMATORS, ids=lambda each: repr(each)[:40], scope="module")
def fitted(request):
    return copy.deepcopy(request.param).set_params(random_state=0).fit(X, Y)


@pytest.fixture
def model(fitted):
    return copy.deepcopy(fitted)


def classes_in(value):
    """Names of the classes of fastnn that pickle would have to import."""
    names = set()

    class Finder(pickle.Unpickler):
        def find_class(self, module, name):
            if module.startswith("fastnn"):
                names.add(f"{module}.{name}")
            return super().find_class(module, name)

    import io

    Finder(io.BytesIO(pickle.dumps(value))).load()
    return names


def test_a_pickle_has_one_class_of_fastnn(model):
    assert classes_in(model) == {f"fastnn.sklearn.{type(model).__name__}"} or (
        classes_in(model) == {f"{type(model).__module__}.{type(model).__name__}"}
    )


def test_copies_predict_and_train_the_same(model):
    copies = [copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    expected = model.predict(X)
    for again in copies:
        assert str(again.get_params()) == str(model.get_params())
        assert (again.predict(X) == expected).all()
    if hasattr(model, "partial_fit") and not model.early_stopping:
        for again in (model, *copies[1:]):  # a shallow copy has the same generator
            again.partial_fit(X, Y)
        for again in copies[1:]:
            assert (again.coefs_[0] == model.coefs_[0]).all()


def test_importances_are_kept():
    model = TabularClassifier(n_folds=2, time_limit=0.2, random_state=0).fit(X, Y)
    again = pickle.loads(pickle.dumps(model))
    assert (again.feature_importances_ == model.feature_importances_).all()


def test_skops_trusts_one_type(model, tmp_path):
    skops = pytest.importorskip("skops.io")
    path = tmp_path / "model.skops"
    skops.dump(model, path)
    unknown = skops.get_untrusted_types(file=path)
    assert len(unknown) == 1
    assert unknown[0].startswith("fastnn.sklearn")
    again = skops.load(path, trusted=unknown)
    assert (again.predict(X) == model.predict(X)).all()
    assert np.array_equal(model.predict(X), again.predict(X))
