"""`fastnn.sklearn`: what scikit-learn refuses, sparse data, and the tools around it."""

import copy
import pickle
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import joblib
import scipy.sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris, make_regression
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

import fastnn
from fastnn.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return scale(X), y


@pytest.fixture(scope="module")
def quantities():
    X, y = make_regression(250, 6, noise=1.0, random_state=0)
    return X, scale(y)


def make(kind=MLPClassifier, **parameters):
    return kind(**{"random_state": 0, "max_iter": 10} | parameters)


def assert_same_weights(one, other, rtol=0.0):
    for first, second in zip(
        one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True
    ):
        np.testing.assert_allclose(first, second, rtol=rtol, atol=rtol)


# dtypes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "weights", "predictions"),
    [
        ("float64", "float64", "float64"),
        ("float32", "float32", "float32"),
        ("float16", "float32", "float64"),
        ("uint8", "float32", "float64"),
        ("int16", "float32", "float64"),
        ("bool", "float32", "float64"),
        ("int32", "float64", "float64"),
        (">f8", "float64", "float64"),
        ("longdouble", "float64", "float64"),
        ("object", "float64", "float64"),
    ],
)
def test_dtypes(iris, given, weights, predictions):
    X = (load_iris().data * 10).astype(given)
    model = make(max_iter=2).fit(X, iris[1])
    assert {a.dtype.name for a in model.coefs_ + model.intercepts_} == {weights}
    assert model.predict_proba(X).dtype == predictions
    assert make(max_iter=2, dtype="float32").fit(X, iris[1]).coefs_[0].dtype == "f4"
    again = make(MLPRegressor, max_iter=2, dtype="float64").fit(X, iris[1])
    assert again.coefs_[0].dtype == np.float64
    assert again.predict(X).dtype == predictions


def test_probabilities_of_float32_sum_to_one_in_float64(iris):
    model = make(dtype="float32").fit(*iris)
    np.testing.assert_allclose(model.predict_proba(iris[0]).sum(axis=1), 1.0, 1e-15)


def test_float32_is_close(iris):
    exact, model = (make(dtype=dtype).fit(*iris) for dtype in ("float64", "float32"))
    assert_same_weights(exact, model, 1e-4)


def test_results_do_not_depend_on_threads(iris):
    one, two = (
        make(hidden_layer_sizes=(300, 200), n_threads=n).fit(*iris) for n in (1, 2)
    )
    assert_same_weights(one, two)


# Sparse data ------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("form", ["csr_matrix", "csc_array", "csr_array", "coo_array"])
def test_sparse_is_dense(iris, solver, form):
    X, y = iris
    X = np.where(X > 0.5, X, 0.0)
    weights = np.random.default_rng(0).uniform(0.1, 2.0, len(X))
    parameters = dict(
        solver=solver, batch_size=20, hidden_layer_sizes=9, activation="tanh"
    )
    dense = make(**parameters).fit(X, y, weights, X_val=X, y_val=y)
    rows = getattr(scipy.sparse, form)(X)
    sparse = make(**parameters).fit(rows, y, weights, X_val=rows, y_val=y)
    assert_same_weights(dense, sparse)
    assert sparse.validation_loss_curve_ == dense.validation_loss_curve_
    np.testing.assert_array_equal(sparse.predict_proba(rows), sparse.predict_proba(X))
    assert sparse.score(rows, y) == sparse.score(X, y)


def test_sparse_with_rows_held_out(quantities):
    X, y = quantities
    dense = make(MLPRegressor, early_stopping=True).fit(X, y)
    sparse = make(MLPRegressor, early_stopping=True).fit(scipy.sparse.csr_array(X), y)
    assert_same_weights(dense, sparse)
    assert sparse.validation_scores_ == dense.validation_scores_


@pytest.mark.parametrize("places", ["int32", "int64", "uint16"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_sparse_rows_of_any_type_in_any_order(places, dtype):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, (70, 40)).astype(dtype)
    y = np.arange(70) % 3
    rows = scipy.sparse.csr_array(X)
    # Columns in no order, and the first value of all in two parts.
    order = np.concatenate(
        [
            rng.permutation(np.arange(*ends))
            for ends in zip(rows.indptr[:-1], rows.indptr[1:], strict=True)
        ]
    )
    data, columns = rows.data[order], rows.indices[order]
    data = np.concatenate([[1, data[0] - 1], data[1:]]).astype(dtype)
    columns = np.concatenate([[columns[0]], columns]).astype(places)
    starts = rows.indptr + (np.arange(71) > 0)
    shuffled = scipy.sparse.csr_array((70, 40), dtype=dtype)
    shuffled.data, shuffled.indices = data, columns
    shuffled.indptr = starts.astype(places)
    model, twin = make(max_iter=3).fit(X, y), make(max_iter=3).fit(shuffled, y)
    assert_same_weights(model, twin)
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(shuffled))
    np.testing.assert_array_equal(shuffled.indices, columns)  # ours to read only


@pytest.mark.parametrize("problem", ["indices", "indptr"])
@pytest.mark.parametrize("value", [-1, 10**6, 2**31 - 1])
def test_sparse_rows_that_point_outside(problem, value):
    X = scipy.sparse.random(30, 40, 0.2, "csr", random_state=0)
    y = np.arange(30) % 2
    model = make(max_iter=2).fit(X, y)
    expected = model.predict_proba(X)
    hostile = X.copy()
    getattr(hostile, problem)[7] = value
    for call in (model.predict, model.partial_fit, make().fit):
        with pytest.raises(ValueError, match=problem):
            call(hostile, *[y][: call != model.predict])
    np.testing.assert_array_equal(model.predict_proba(X), expected)


def test_sparse_rows_are_never_dense(monkeypatch):
    X = scipy.sparse.random(500, 20000, 1e-4, "csr", random_state=0, dtype="f4")
    y = np.arange(500) % 2
    monkeypatch.setattr(scipy.sparse.csr_matrix, "toarray", lambda self: 1 / 0)
    model = make(max_iter=1, hidden_layer_sizes=2).fit(X, y)
    assert model.predict(X[:10]).shape == (10,)


# Class weights ----------------------------------------------------------------------


def test_class_weights_are_sample_weights(iris):
    X, y = iris
    names = np.array(["setosa", "versicolor", "virginica"], dtype=object)[y]
    factors = {"setosa": 3.0, "virginica": 0.5}
    weights = np.array([factors.get(name, 1.0) for name in names])
    own = np.random.default_rng(0).uniform(0.5, 2.0, len(y))
    by_class = make(class_weight=factors).fit(X, names, own)
    by_row = make().fit(X, names, own * weights)
    assert_same_weights(by_class, by_row)
    assert by_class.classes_.tolist() == sorted({*names})


def test_balanced_class_weights(iris):
    X, y = iris[0][:110], iris[1][:110]
    counts = np.bincount(y)
    balanced = make(class_weight="balanced").fit(X, y)
    assert_same_weights(balanced, make().fit(X, y, (110 / (3 * counts))[y]))


def test_class_weights_of_two_classes_and_partial_fit(iris):
    X, y = iris[0][:100], iris[1][:100]
    model = make(class_weight={1: 4.0}).partial_fit(X, y, classes=[0, 1])
    expected = make().partial_fit(X, y, np.where(y == 1, 4.0, 1.0), classes=[0, 1])
    assert_same_weights(model, expected)


@pytest.mark.parametrize("dtype", [int, float, bool, np.uint8, object])
@pytest.mark.parametrize("keys", [(0, 1), (0.0, 1.0), (False, True), (np.int8(0), 1.0)])
def test_keys_of_class_weight_are_classes_that_they_equal(iris, keys, dtype):
    X, y = iris[0][:100], iris[1][:100].astype(dtype)
    y = [*map(int, y)] if dtype is object else y
    model = make(class_weight=dict(zip(keys, (0.5, 4.0), strict=True))).fit(X, y)
    expected = make().fit(X, y, np.where(np.asarray(y) == 1, 4.0, 0.5))
    assert_same_weights(model, expected)


def test_a_row_at_a_time(iris):
    """partial_fit takes one row; warm_start one row with all of the classes."""
    X, y = iris
    model = make().partial_fit(X[:1], y[:1], classes=[0, 1, 2])
    model.partial_fit(X[149:], y[149:])
    assert model.t_ == 2
    model = make(warm_start=True, max_iter=2).fit(X, y)
    with pytest.raises(ValueError, match="same classes as in the previous call"):
        model.fit(X[:1], y[:1])
    same = make(warm_start=True, max_iter=2).fit(X[:1], y[:1]).fit(X[:1], y[:1])
    assert same.predict(X[:3]).tolist() == [0, 0, 0]


def test_scores_are_better_when_higher(iris):
    X, y = iris
    stop = fastnn.EarlyStopping("val_score", patience=3)
    model = make(callbacks=[stop], max_iter=30, early_stopping=True).fit(X, y)
    assert stop.best == max(model.validation_scores_)


def test_class_weights_that_do_not_fit(iris):
    X, y = iris
    with pytest.raises(ValueError, match=r"class_weight has a weight for 7"):
        make(class_weight={7: 2.0}).fit(X, y)
    with pytest.raises(ValueError, match="class_weight 'balanced' needs"):
        make(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="several labels per row"):
        make(class_weight={0: 2.0}).fit(X, np.eye(3, dtype=int)[y] | [1, 0, 0])


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_sample_weights_that_do_not_fit(iris, kind):
    X, y = iris
    weights = np.ones(len(y))
    weights[3] = -1.0
    with pytest.raises(ValueError, match=r"sample_weight\[3\] is -1.0; expected"):
        make(kind).fit(X, y, weights)
    with pytest.raises(ValueError, match=r"sample_weight_val\[3\] is -1.0"):
        make(kind).fit(X, y, X_val=X, y_val=y, sample_weight_val=weights)
    # Either the rows held out or the others weigh nothing.
    model = make(kind, early_stopping=True, validation_fraction=0.5)
    words = set()
    for row in range(10):
        with pytest.raises(ValueError, match="sample_weight is zero for every") as one:
            model.fit(X[:100], y[:100] % 2, np.eye(100)[row])
        words.add(str(one.value))
    assert len(words) == 2


def test_a_batch_may_weigh_nothing(iris):
    X, y = iris
    weights = np.repeat([0.0, 1.0], [50, 100])
    model = make(shuffle=False, batch_size=50, alpha=0).fit(X, y, weights)
    without = make(shuffle=False, batch_size=50, alpha=0)
    assert np.isfinite(model.loss_curve_).all()
    assert model.loss_curve_[0] == pytest.approx(
        without.partial_fit(X[50:], y[50:], classes=[0, 1, 2]).loss_, rel=0.05
    )


# Validation rows --------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_validation_of_classes(iris, solver):
    X, y = iris
    weights = np.random.default_rng(0).uniform(0.5, 2.0, 50)
    model = make(solver=solver).fit(
        X[::3], y[::3], X_val=X[1::3], y_val=y[1::3], sample_weight_val=weights
    )
    assert len(model.validation_scores_) == model.n_iter_
    expected = log_loss(y[1::3], model.predict_proba(X[1::3]), sample_weight=weights)
    assert model.validation_loss_curve_[-1] == pytest.approx(expected)
    assert model.validation_scores_[-1] == pytest.approx(
        model.score(X[1::3], y[1::3], weights)
    )
    assert_same_weights(model, make(solver=solver).fit(X[::3], y[::3]))


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_validation_of_quantities(quantities, loss):
    X, y = quantities
    Y = np.column_stack([y, y**2]) - y.min()
    model = make(MLPRegressor, loss=loss).fit(X, Y, X_val=X[:50], y_val=Y[:50])
    p, t = model.predict(X[:50]), Y[:50]
    expected = 0.5 * ((p - t) ** 2).mean()
    if loss == "poisson":
        safe = np.where(t > 0, t, 1.0)
        expected = (t * np.log(safe / p) - t + p).sum(axis=1).mean()
    assert model.validation_loss_curve_[-1] == pytest.approx(expected)
    assert model.validation_scores_[-1] == pytest.approx(r2_score(t, p))


def test_early_stopping_takes_the_rows_given(iris):
    X, y = iris
    model = make(early_stopping=True, max_iter=300).fit(
        X[::2], y[::2], X_val=X[1::2], y_val=y[1::2]
    )
    assert model.n_iter_ < 300
    assert model.t_ == model.n_iter_ * 75  # none of them held out
    assert model.score(X[1::2], y[1::2]) == model.best_validation_score_
    assert max(model.validation_scores_) == model.best_validation_score_
    assert make().fit(X, y).validation_loss_curve_ is None


def test_validation_rows_that_do_not_fit(iris):
    X, y = iris
    with pytest.raises(ValueError, match="X_val is given but y_val is None"):
        make().fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="sample_weight_val is given but X_val"):
        make().fit(X, y, sample_weight_val=y)
    with pytest.raises(ValueError, match="2 features"):
        make().fit(X, y, X_val=X[:, :2], y_val=y)
    with pytest.raises(ValueError, match=r"classes not in \[0 1 2\]"):
        make().fit(X, y, X_val=X, y_val=y + 1)


def test_targets_of_validation_that_do_not_fit(iris, quantities):
    X, y = iris
    some = X[:5]
    two, labels = y % 2, np.eye(3, dtype=int)[y]

    def refuse(match, y, y_val, kind=MLPClassifier, **parameters):
        X_train = X[: len(y)]
        model = make(kind, callbacks=[Failing()], **parameters)  # not one epoch
        with pytest.raises(ValueError, match=match):
            model.fit(X_train, y, X_val=some, y_val=y_val)

    refuse(r"y_val has classes not in \[0 1\]", two, [5, 6, 5, 6, 5])
    refuse(r"y_val has classes not in \[0 1\]", two, [0, 1, 2, 0, 1])
    refuse(
        r"y_val has classes not in \['a' 'b'\]", np.array(["a", "b"])[two], [*"abcab"]
    )
    refuse(r"y_val has classes not in \[0 1 2\]", y, [*"abcab"])
    refuse(r"y_val has shape \(5, 3\); expected one", y, labels[:5])
    refuse(r"y_val has shape \(5, 2\); .* 3 columns", labels, labels[:5, :2])
    refuse(r"y_val has shape \(5,\); .* 3 columns", labels, y[:5])
    refuse(r"y_val has shape \(5, 3\); .* 0 and 1", labels, labels[:5] * 5)
    both = np.transpose([quantities[1][:150]] * 2)
    refuse("y_val has 1 outputs; expected 2", both, both[:5, 0], MLPRegressor)
    refuse(
        "y_val has -1.0; expected numbers >= 0", y, [-1.0] * 5, MLPRegressor,
        loss="poisson",
    )  # fmt: skip
    refuse("y_val must have numbers", y, [*"abcab"], MLPRegressor)
    refuse("X_val and y_val as X and y: .* NaN", y, [np.nan] * 5, MLPRegressor)


def test_early_stopping_outlives_divergence(quantities):
    X, y = quantities
    parameters = dict(solver="sgd", early_stopping=True, learning_rate_init=5.0)
    model = make(MLPRegressor, **parameters, activation="identity")
    with pytest.warns(match="diverged in iteration") as record:
        model.fit(X, y)
    assert record[0].filename == __file__
    assert np.isnan(model.validation_scores_[-1])
    assert np.isfinite(model.predict(X)).all()


# Dropout, activations, callbacks ----------------------------------------------------


def test_dropout(iris):
    X, y = iris
    plain, one, other = (make(dropout=p).fit(X, y) for p in (0.0, 0.5, [0.5]))
    assert_same_weights(one, other)
    assert not np.array_equal(plain.coefs_[0], one.coefs_[0])
    assert_same_weights(plain, make(dropout=[0.0]).fit(X, y))
    # Another seed drops others: the first epoch begins with equal weights.
    assert make(dropout=0.5, random_state=1).fit(X, y).loss_ != one.loss_
    with pytest.raises(ValueError, match="dropout is 0.5 but solver is 'lbfgs'"):
        make(dropout=0.5, solver="lbfgs").fit(X, y)


def test_an_activation_per_layer(iris):
    X, y = iris
    model = make(
        hidden_layer_sizes=(7, 6, 5),
        activation=["logistic", fastnn.LeakyReLU(0.2), "gelu"],
    ).fit(X, y)
    layers = [4]
    names = ("sigmoid", fastnn.LeakyReLU(0.2), "gelu", "identity")
    for width, activation in zip((7, 6, 5, 3), names, strict=True):
        layers.append(fastnn.Dense(width, activation))
    twin = fastnn.Network(layers, dtype="float64", seed=0)
    twin.set_weights([*zip(model.coefs_, model.intercepts_, strict=True)])
    np.testing.assert_array_equal(model.predict_proba(X), twin.predict_proba(X))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks(iris, tmp_path, solver):
    X, y = iris
    file = tmp_path / "log.csv"
    seen = []
    watch = fastnn.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs))
    save = fastnn.ModelCheckpoint(tmp_path / "net-{epoch}")
    logger = fastnn.CSVLogger(file)
    model = make(callbacks=[watch, save, logger], solver=solver, max_iter=4)
    model.fit(X, y, X_val=X, y_val=y)
    assert [logs["val_score"] for logs in seen] == model.validation_scores_
    assert [logs["val_loss"] for logs in seen] == model.validation_loss_curve_
    assert seen[-1]["loss"] == model.loss_
    assert file.read_text().count("\n") == 5
    saved = fastnn.Network.load(tmp_path / "net-4")
    np.testing.assert_array_equal(saved.predict_proba(X), model.predict_proba(X))
    assert_same_weights(model, make(solver=solver, max_iter=4).fit(X, y))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_callback_ends_the_training(iris, solver):
    stop = fastnn.EarlyStopping("val_loss", patience=2, min_delta=10.0)
    model = make(callbacks=[stop], solver=solver).fit(
        *iris, X_val=iris[0], y_val=iris[1]
    )
    assert model.n_iter_ == 3
    first = make(solver=solver, max_iter=1).fit(*iris)
    assert_same_weights(model, first)  # the best epoch
    assert clone(model).callbacks[0] is not stop


@pytest.mark.parametrize("batch_size", [50, 100])
@pytest.mark.parametrize("learning_rate", ["constant", "invscaling", "adaptive"])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_callback_lowers_the_learning_rate(iris, solver, learning_rate, batch_size):
    parameters = dict(
        solver=solver,
        batch_size=batch_size,
        learning_rate=learning_rate,
        momentum=0.0,  # which would go on with steps of the old rate
        n_iter_no_change=1,  # with this tol, "adaptive" goes on to lower its rate
        tol=1.0,
    )
    lower = fastnn.ReduceOnPlateau("loss", 1e-12, patience=1, min_delta=10.0)
    model = make(callbacks=[lower], **parameters).fit(*iris)
    second = make(**parameters, max_iter=2).fit(*iris)
    assert model.n_iter_ > 2
    assert_same_weights(model, second, 1e-9)  # lowered after the second epoch


def test_callbacks_that_do_not_fit(iris):
    with pytest.raises(TypeError, match=r"callbacks\[0\] must be a fastnn.Callback"):
        make(callbacks=[1]).fit(*iris)
    with pytest.raises(ValueError, match="'callbacks' parameter .* Got 1 instead"):
        make(callbacks=1).fit(*iris)
    make(callbacks=fastnn.EarlyStopping("loss")).fit(*iris)
    with pytest.raises(ValueError, match="early_stopping of the estimators"):
        make(callbacks=[fastnn.EarlyStopping()]).fit(*iris)
    make(callbacks=np.array([fastnn.EarlyStopping("loss")])).fit(*iris)


@pytest.fixture
def watch():
    """A callback of scikit-learn's that keeps what it is told, and may stop."""
    callback = pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9")

    class Watch:
        max_propagation_depth = None
        last = 10**6

        def __init__(self):
            self.tasks, self.scores = [], []

        def setup(self, estimator, context):
            self.tasks.append("setup")

        def teardown(self, estimator, context):
            self.tasks.append("teardown")

        def on_fit_task_begin(self, estimator, context):
            self.tasks.append(f"begin {context.task_name} {context.task_id}")

        def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
            self.tasks.append(f"end {context.task_name} {context.task_id}")
            if hasattr(fitted_estimator, "score"):  # scalers have none
                self.scores.append(fitted_estimator.score(X, y))
            return context.task_id >= self.last

    assert isinstance(Watch(), callback.FitCallback)
    return Watch()


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks_of_scikit_learn(iris, watch, solver):
    model = make(solver=solver, max_iter=3).set_callbacks(watch).fit(*iris)
    assert watch.tasks == [
        *("setup", "begin fit 0"),
        *("begin iteration 0", "end iteration 0"),
        *("begin iteration 1", "end iteration 1"),
        *("begin iteration 2", "end iteration 2"),
        *("end fit 0", "teardown"),
    ]
    steps = [make(solver=solver, max_iter=n).fit(*iris) for n in (1, 2, 3, 3)]
    assert watch.scores == [step.score(*iris) for step in steps]
    assert_same_weights(model, steps[-1])
    watch.last = 1
    assert model.fit(*iris).n_iter_ == 2
    names = {name for name in vars(model) if "callback" in name}
    assert names == {"callbacks", "_skl_callbacks"}


def test_callbacks_of_scikit_learn_in_a_pipeline(iris, watch):
    pipeline = make_pipeline(StandardScaler(), make(max_iter=2)).set_callbacks(watch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the scaler supports none
        pipeline.fit(*iris)
    assert watch.tasks.count("end iteration 1") == 1
    assert watch.tasks.count("setup") == watch.tasks.count("teardown") == 1


# Copies -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "copied",
    [
        lambda model: pickle.loads(pickle.dumps(model)),
        copy.deepcopy,
    ],
    ids=["pickle", "deepcopy"],
)
@pytest.mark.parametrize(
    "parameters",
    [{}, dict(solver="sgd", learning_rate="invscaling"), dict(dropout=0.3)],
    ids=str,
)
def test_copies_go_on_to_the_bit(iris, copied, parameters):
    X, y = iris
    model = make(**parameters).fit(X, y)
    twin = copied(model)
    np.testing.assert_array_equal(twin.predict_proba(X), model.predict_proba(X))
    for _ in range(3):
        twin = copied(twin).partial_fit(X[:70], y[:70])
        model.partial_fit(X[:70], y[:70])
    assert_same_weights(twin, model)
    assert twin.loss_curve_ == model.loss_curve_


def test_joblib(iris, tmp_path):
    model = make().fit(*iris)
    joblib.dump(model, tmp_path / "model.joblib")
    for mode in (None, "r"):  # arrays that cannot be written to
        loaded = joblib.load(tmp_path / "model.joblib", mmap_mode=mode)
        np.testing.assert_array_equal(loaded.predict(iris[0]), model.predict(iris[0]))
        loaded.partial_fit(*iris)


def test_a_shallow_copy_stays_as_it_is(iris):
    X, y = iris
    model = make().fit(X, y)
    twin, before = copy.copy(model), model.predict_proba(X)
    model.partial_fit(X, y)
    np.testing.assert_array_equal(twin.predict_proba(X), before)
    assert not np.array_equal(model.predict_proba(X), before)


def test_clone_has_parameters_alone(iris):
    model = make(hidden_layer_sizes=(3,), dropout=0.1, class_weight={0: 2.0}).fit(*iris)
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        twin.predict(iris[0])


def test_predictions_follow_coefs(iris):
    X, y = iris
    model = make().fit(X, y)
    before = model.predict_proba(X)
    model.coefs_[0][1] = 0.0  # in place
    without = model.predict_proba(X)
    assert not np.array_equal(before, without)
    X_without = X.copy()
    X_without[:, 1] = 0.0
    np.testing.assert_allclose(without, model.predict_proba(X_without), rtol=1e-12)
    # Fewer units, and training goes on from them.
    model.coefs_ = [model.coefs_[0][:, :5], model.coefs_[1][:5].tolist()]
    model.intercepts_[0] = model.intercepts_[0][:5]
    model.coefs_[1] = np.array(model.coefs_[1], "float32")
    assert model.predict_proba(X).shape == (150, 3)
    model.partial_fit(X, y)
    assert model.coefs_[0].shape == (4, 5)


def test_changed_coefs_keep_the_state_of_training(iris):
    X, y = iris
    one, other = (make().fit(X, y) for _ in range(2))
    one.coefs_[0] += 1.0
    one.predict(X)  # makes another network
    one.coefs_[0] -= 1.0
    other.coefs_[0] += 1.0
    other.coefs_[0] -= 1.0
    for model in (one, other):
        model.partial_fit(X, y)
    assert_same_weights(one, other)


def test_many_threads_predict_with_one_model(iris):
    X, y = iris
    model = pickle.loads(pickle.dumps(make().fit(X, y)))
    expected = make().fit(X, y).predict_proba(X)
    barrier = threading.Barrier(8)

    def predict(_):
        barrier.wait()
        return model.predict_proba(X)

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(predict, range(8)):
            np.testing.assert_array_equal(found, expected)


# Tools around it --------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_grid_search(iris, backend):
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(
        StandardScaler(), make(max_iter=30, learning_rate_init=0.02)
    )
    grid = {
        "mlpclassifier__alpha": [1e-4, 10.0],
        "mlpclassifier__hidden_layer_sizes": [(5,), (20, 10)],
    }
    search = GridSearchCV(pipeline, grid, cv=3, n_jobs=2, error_score="raise")
    with joblib.parallel_backend(backend), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.fit(X, y)
    alone = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(X, y)
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"]
    )
    assert search.score(X, y) > 0.7


def test_ensembles_and_calibration(iris, quantities):
    X, y = iris
    base = make(max_iter=60, learning_rate_init=0.02)
    for model in (
        CalibratedClassifierCV(base, cv=3),
        BaggingClassifier(base, 3, random_state=0),
        AdaBoostClassifier(base, n_estimators=3, random_state=0),
    ):
        assert model.fit(X, y, sample_weight=np.ones(len(y))).score(X, y) > 0.9, model
    boosted = AdaBoostRegressor(make(MLPRegressor, max_iter=60), n_estimators=3)
    assert boosted.fit(*quantities).score(*quantities) > 0.5
    assert cross_val_predict(base, X, y, cv=3, method="predict_proba").shape == (150, 3)


def test_feature_names(iris):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    X = pandas.DataFrame(iris[0], columns=[*"abcd"])
    pipeline = make_pipeline(StandardScaler(), make(early_stopping=True))
    pipeline.set_output(transform="pandas").fit(X, iris[1])
    model = pipeline[-1]
    assert model.feature_names_in_.tolist() == [*"abcd"]
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(X.rename(columns={"a": "e"}))


# A fit that raises ------------------------------------------------------------------


class Failing(fastnn.Callback):
    """Raises after the epoch."""

    def on_epoch_end(self, epoch, logs):
        raise RuntimeError("failed")


def learnt(model):
    return {
        name: copy.deepcopy(value)
        for name, value in vars(model).items()
        if name.endswith("_") and not name.startswith("_")
    }


def assert_unchanged(model, before, predictions, X):
    assert {*learnt(model)} == {*before}
    for name, value in learnt(model).items():
        if name in ("coefs_", "intercepts_"):
            for mine, other in zip(value, before[name], strict=True):
                np.testing.assert_array_equal(mine, other)
        else:
            np.testing.assert_array_equal(value, before[name])
    np.testing.assert_array_equal(model.predict(X), predictions)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("problem", ["callback", "range"])
@pytest.mark.parametrize("seen", [True, False])
def test_a_partial_fit_that_raises_changes_nothing(quantities, solver, problem, seen):
    X, y = quantities
    parameters = dict(solver=solver, dtype="float32", batch_size=20)
    model, twin = (make(MLPRegressor, **parameters) for _ in range(2))
    for each in (model, twin):
        each.partial_fit(X, y).partial_fit(X, y)
    assert not seen or model.coefs_
    before, predictions = learnt(model), model.predict(X)
    if problem == "callback":
        with pytest.raises(RuntimeError, match="failed"):
            model.set_params(callbacks=[Failing()]).partial_fit(X, y)
    else:
        bad = X.copy()
        bad[200, 3] = 1e300
        with pytest.raises(ValueError, match=r"X\[200, 3\] is 1e\+300; .* of float32"):
            model.partial_fit(bad, y)
        with pytest.raises(ValueError, match=r"X\[200, 3\] is 1e\+300"):
            model.partial_fit(scipy.sparse.csr_array(bad), y)
    assert_unchanged(model, before, predictions, X)
    # The state of the optimizer is the old one too.
    model.set_params(callbacks=None).partial_fit(X, y)
    assert_same_weights(model, twin.partial_fit(X, y))


@pytest.mark.parametrize(
    "refused",
    [
        {"sample_weight": [-1.0] * 150},
        {"y_val": [0]},
        {"callbacks": [1]},
        {"callbacks": [Failing()]},
        {"n_threads": 500},
        {"dtype": "float32"},
        {"early_stopping": True, "validation_fraction": 0.001},
    ],
    ids=lambda given: next(iter(given)),
)
def test_a_fit_that_raises_changes_nothing(iris, refused):
    X, y = iris
    model = make().fit(X, y)
    before, predictions = learnt(model), model.predict(X)
    names = [name for name in refused if name in model.get_params()]
    data = {name: refused[name] for name in refused if name not in names}
    old = {name: getattr(model, name) for name in names}
    model.set_params(**{name: refused[name] for name in names})
    with pytest.raises((ValueError, TypeError, RuntimeError)):
        model.fit(
            X * 1e200 if "dtype" in refused else X,
            np.array(["a", "b"])[y % 2],
            **data,
        )
    model.set_params(**old)
    assert_unchanged(model, before, predictions, X)


def test_hidden_layers_of_the_weights_to_go_on_from(iris):
    model = make(hidden_layer_sizes=(7, 5), warm_start=True).fit(*iris)
    model.set_params(hidden_layer_sizes=[np.int64(7), 5]).fit(*iris)
    for sizes in (7, (7, 6), (7, 5, 5), ()):
        model.set_params(hidden_layer_sizes=sizes)
        with pytest.raises(ValueError, match=r"hidden_layer_sizes is .*\[7, 5\];"):
            model.fit(*iris)
    assert [*map(len, model.intercepts_)] == [7, 5, 3]
    model.set_params(warm_start=False, hidden_layer_sizes=3).fit(*iris)
    assert [*map(len, model.intercepts_)] == [3, 3]


def test_a_first_fit_that_raises_leaves_an_estimator_without_weights(iris):
    X, y = iris
    model = make(callbacks=[Failing()])
    with pytest.raises(RuntimeError, match="failed"):
        model.fit(X, y)
    with pytest.raises(NotFittedError):
        model.predict(X)
    with pytest.raises(RuntimeError, match="failed"):
        model.partial_fit(X, y, classes=[0, 1, 2])
    model.set_params(callbacks=None)
    with pytest.raises(ValueError, match="classes must be passed"):
        model.partial_fit(X, y)
