"""The tabular estimators: scikit-learn's checks, tables, ensembles and errors."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.base import BaseEstimator, RegressorMixin, clone  # noqa: E402
from sklearn.datasets import load_breast_cancer, load_diabetes  # noqa: E402
from sklearn.model_selection import StratifiedKFold  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from fastnn._plan.recipes import RECIPES  # noqa: E402
from fastnn.sklearn import TabularClassifier, TabularRegressor  # noqa: E402

KINDS = [TabularClassifier, TabularRegressor]
# Medians and quartiles are those of the rows as they are, and repeated rows fall into
# other batches than a row of double weight.
NOT_EQUIVALENT = {
    "check_sample_weight_equivalence_on_dense_data": "batches and quantiles see rows"
}


@pytest.fixture(autouse=True)
def small_networks(request, monkeypatch):
    """The recipe with networks that train in a tenth of the time."""
    if "whole_recipe" not in request.fixturenames:
        small = [
            replace(each, width=64, depth=2, frequencies=4, batch_size=32)
            for each in RECIPES["default"]
        ]
        monkeypatch.setitem(RECIPES, "default", tuple(small))
        for name in ("realmlp-s", "realmlp"):
            (other,) = RECIPES[name]
            other = replace(other, width=32, depth=2, epochs=64, batch_size=64)
            monkeypatch.setitem(RECIPES, name, (other,))


@pytest.fixture
def whole_recipe():
    """The recipe as it is."""


@parametrize_with_checks(
    [kind(random_state=0) for kind in KINDS],
    expected_failed_checks=lambda estimator: NOT_EQUIVALENT,
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


def table(n=400, seed=0):
    """Columns of each kind with empty cells; what follows from them."""
    rng = np.random.default_rng(seed)
    size = rng.normal(size=n)
    city = rng.choice(["Rome", "Oslo", "Bonn"], n)
    sunny = rng.random(n) < 0.5
    day = np.datetime64("2024-01-01") + rng.integers(0, 700, n)
    value = size * (city == "Rome") - 2.0 * (city == "Oslo") * sunny
    columns = {
        "size": np.where(rng.random(n) < 0.1, np.nan, size),
        "city": np.where(rng.random(n) < 0.1, None, city.astype(object)),
        "sunny": sunny,
        "day": day,
    }
    return columns, value


def target(kind, value):
    return np.where(value < -0.5, "low", "high") if kind is TabularClassifier else value


@pytest.mark.parametrize("kind", KINDS)
def test_tables_are_taken_as_they_are(kind, whole_recipe):
    columns, value = table()
    y = target(kind, value)
    model = kind(random_state=0).fit(columns, y)
    assert model.score(columns, y) > 0.85
    assert [each.kind for each in model.schema_.columns] == [
        "numeric", "categorical", "boolean", "date",
    ]  # fmt: skip
    new = {name: column[:4] for name, column in columns.items()}
    new["city"] = ["Paris", None, "Rome", "Oslo"]
    assert model.predict(new).shape == (4,)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("parameters", [{}, {"n_folds": 2}, {"members": 2}], ids=str)
@pytest.mark.parametrize("recipe", ["realmlp-s", "realmlp"])
def test_the_recipes_of_realmlp(recipe, kind, parameters):
    columns, value = table()
    y = target(kind, value)
    first, again = (
        kind(recipe, random_state=0, n_threads=n, **parameters).fit(columns, y)
        for n in (1, 2)
    )
    assert first.score(columns, y) > 0.8
    names = [layer.name for layer in first.networks_[0].plan.layers]
    assert names[:2] == (["scale", "dense"] if recipe == "realmlp-s" else [
        "periodic_embedding", "scale",
    ])  # fmt: skip
    np.testing.assert_array_equal(first.predict(columns), again.predict(columns))
    if parameters == {}:  # with all rows in training, and the epoch by those of X_val
        other = kind(recipe, random_state=0).fit(columns, y, X_val=columns, y_val=y)
        assert other.validation_score_ == pytest.approx(other.score(columns, y))
        assert other.networks_[0].step > first.networks_[0].step


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames(library):
    frames = pytest.importorskip(library)
    columns, value = table()
    frame = frames.DataFrame(columns, strict=False) if library == "polars" else (
        frames.DataFrame(columns)
    )  # fmt: skip
    model = TabularRegressor(random_state=0).fit(frame, value)
    assert model.feature_names_in_.tolist() == ["size", "city", "sunny", "day"]
    expected = TabularRegressor(random_state=0).fit(columns, value).predict(columns)
    np.testing.assert_array_equal(model.predict(frame), expected)


@pytest.mark.parametrize("parameters", [{}, {"members": 3}, {"n_folds": 2}], ids=str)
def test_the_result_does_not_depend_on_threads(parameters):
    X, y = load_diabetes(return_X_y=True)
    predicted = [
        TabularRegressor(random_state=1, n_threads=n, **parameters).fit(X, y).predict(X)
        for n in (1, 2)
    ]
    np.testing.assert_array_equal(*predicted)


def test_members_are_averaged():
    X, y = load_breast_cancer(return_X_y=True)
    model = TabularClassifier(members=3, random_state=0).fit(X, y)
    assert len(model.networks_) == 3
    rows = model.schema_.encode(X)
    each = [network.predict_proba(rows).astype(float) for network in model.networks_]
    assert not np.array_equal(each[0], each[1])
    np.testing.assert_allclose(model.predict_proba(X), np.mean(each, axis=0))


def test_folds_score_rows_that_were_not_seen():
    X, y = load_breast_cancer(return_X_y=True)
    y = np.random.default_rng(0).permutation(y)  # nothing to be learnt
    model = TabularClassifier(n_folds=3, random_state=0).fit(X, y)
    folds = StratifiedKFold(3, shuffle=True, random_state=np.random.RandomState(0))
    rows = model.schema_.encode(X)
    right = 0
    for network, (_, held_out) in zip(model.networks_, folds.split(X, y), strict=True):
        right += (network.predict(rows[held_out]) == y[held_out]).sum()
    assert model.oof_score_ == pytest.approx(right / len(y))
    assert model.oof_score_ < model.score(X, y)
    assert model.temperature_ > 1.0


def test_the_variant_is_that_of_the_table():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(600, 3))
    exact, noise = np.sin(6 * X[:, 0]) * X[:, 1], rng.normal(size=600)
    decays = [
        TabularRegressor(random_state=0).fit(X, y).networks_[0].optimizer.weight_decay
        for y in (noise, exact)
    ]
    assert decays == [variant.weight_decay for variant in RECIPES["default"]]


def test_temperature_is_that_of_the_least_log_loss():
    X, y = load_breast_cancer(return_X_y=True)
    y = np.where(np.random.default_rng(0).random(len(y)) < 0.3, 1 - y, y)
    held_out, kept = slice(0, 200), slice(200, None)
    X_val, y_val = X[held_out], y[held_out]
    model = TabularClassifier(random_state=0).fit(X[kept], y[kept])
    plain = model.predict_proba(X_val)
    fitted = clone(model).fit(X[kept], y[kept], X_val=X_val, y_val=y_val)
    p = fitted.predict_proba(X_val)
    assert fitted.validation_score_ == model.score(X_val, y_val)

    def loss(p):
        return -np.log(p[np.arange(len(p)), y_val]).mean()

    assert loss(p) < loss(plain)
    for factor in (0.9, 1.1):
        fitted.temperature_ *= factor
        assert loss(p) < loss(fitted.predict_proba(X_val))
        fitted.temperature_ /= factor


def test_weights():
    X, y = load_breast_cancer(return_X_y=True)
    noise = np.random.default_rng(0).random(len(y)) < 0.4
    wrong = np.where(noise, 1 - y, y)
    weighted = TabularClassifier(random_state=0).fit(X, wrong, (~noise).astype(float))
    assert weighted.score(X[noise], y[noise]) > 0.9
    few = TabularClassifier(random_state=0).fit(X, wrong)
    many = TabularClassifier(random_state=0, class_weight={0: 50.0}).fit(X, wrong)
    assert (many.predict(X) == 0).mean() > (few.predict(X) == 0).mean() + 0.1


def test_values_stay_in_the_range_of_the_training():
    X = np.linspace(-1, 1, 200)[:, None]
    y = 1e6 + X[:, 0]
    model = TabularRegressor(random_state=0).fit(X, y)
    found = model.predict(np.array([[-1e9], [0.0], [1e9]]))
    assert found.min() >= y.min()
    assert found.max() <= y.max()
    assert model.score(X, y) > 0.95


def test_pickles_and_copies_predict_the_same():
    columns, value = table()
    y = target(TabularClassifier, value)
    model = TabularClassifier(members=2, random_state=0).fit(columns, y)
    again = pickle.loads(pickle.dumps(model))
    expected = model.predict_proba(columns)
    np.testing.assert_array_equal(again.predict_proba(columns), expected)
    refitted = clone(model).fit(columns, y)
    np.testing.assert_array_equal(refitted.predict_proba(columns), expected)


def test_time_limit_shortens_the_training():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 20))
    full = TabularRegressor(random_state=0).fit(X, X[:, 0] ** 2)
    short = TabularRegressor(random_state=0, time_limit=0.3).fit(X, X[:, 0] ** 2)
    assert 1 <= short.networks_[0].step < full.networks_[0].step
    schedule = short.networks_[0].optimizer.learning_rate
    assert schedule.steps < full.networks_[0].optimizer.learning_rate.steps


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("recipe", "best"), ("members", 0), ("n_folds", 1), ("time_limit", 0),
        ("n_threads", 0),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_named(kind, parameter, value):
    with pytest.raises(ValueError, match=parameter):
        kind(**{parameter: value}).fit(np.eye(4), [0, 1, 0, 1])


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_data_are_named(kind):
    X, y = np.eye(8), np.arange(8) % 2
    model = kind(random_state=0)
    for arguments, words in (
        (dict(X_val=X), "X_val is given but y_val is None"),
        (dict(y_val=y), "y_val is given but X_val is None"),
        (dict(sample_weight_val=y), "X_val is None"),
        (dict(X_val=X, y_val=y[:3]), "inconsistent numbers of samples"),
        (dict(sample_weight=-np.ones(8)), "sample_weight"),
    ):
        with pytest.raises(ValueError, match=words):
            model.fit(X, y, **arguments)


def test_wrong_classes_are_named():
    X, y = np.eye(8), np.arange(8) % 2
    with pytest.raises(ValueError, match=r"y_val has the classes \[2\]"):
        TabularClassifier().fit(X, y, X_val=X, y_val=y + 1)
    with pytest.raises(ValueError, match="class_weight has a weight for 'a'"):
        TabularClassifier(class_weight={"a": 2.0}).fit(X, y)
    with pytest.raises(ValueError, match="1 class"):
        TabularClassifier().fit(X, y * 0)


@pytest.mark.parametrize("options", [{}, {"n_folds": 2}, {"X_val": True}])
@pytest.mark.parametrize("kind", KINDS)
def test_importances_are_of_columns(kind, options):
    rng = np.random.default_rng(0)
    n = 300
    city = rng.choice(["Rome", "Oslo", "Bonn"], n).astype(object)
    strong, gaps, noise = rng.normal(size=(3, n))
    gaps[::5] = np.nan
    id_ = np.array([f"row {i}" for i in range(n)], dtype=object)
    value = 3 * strong + 2 * (city == "Oslo") + np.isnan(gaps)
    columns = {"id": id_, "noise": noise, "city": city, "gaps": gaps, "strong": strong}
    y = value > value.mean() if kind is TabularClassifier else value
    model = kind(random_state=0, n_folds=options.get("n_folds"))
    assert not hasattr(model, "feature_importances_")
    val = dict(X_val=columns, y_val=y) if "X_val" in options else {}
    model.fit(columns, y, **val)
    found = model.feature_importances_
    assert found.shape == (5,)
    assert found[0] == 0.0  # it is not used
    assert found.argmax() == 4
    assert found[2] > found[1]
    assert found[3] > found[1] - 0.02
    np.testing.assert_array_equal(found, model.feature_importances_)


# Quantiles, and a normal distribution of each row.


def noisy(n=400, seed=0):
    """y with a deviation of 1 or of 5, by the sign of x, around 100 + 10 x."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, n)
    return x[:, np.newaxis], 100 + 10 * x + np.where(x > 0, 5, 1) * rng.normal(size=n)


@pytest.mark.parametrize("members", [1, 2])
def test_quantiles_that_cross_are_sorted_by_all_methods(members):
    X, y = noisy(60)
    levels = 0.1, 0.2, 0.6
    model = TabularRegressor(
        loss="quantile", levels=levels, members=members, random_state=0
    ).fit(X, y)
    before = model.predict(X)
    for network in model.networks_:  # the outputs, the other way round
        *inner, (w, b) = network.get_weights()
        network.set_weights([*inner, (w[:, ::-1], b[::-1])])
        assert (np.diff(network.predict(X)) < 0).mean() > 0.9
    quantiles = model.predict_quantiles(X)
    assert (np.diff(quantiles) >= 0).all()
    assert (model.predict(X) == quantiles[:, 2]).all()
    np.testing.assert_allclose(model.predict(X), before, rtol=1e-6)


@pytest.mark.parametrize("members", [1, 2])
def test_quantiles(members):
    X, y = noisy()
    model = TabularRegressor(
        loss="quantile", levels=(0.1, 0.5, 0.9), members=members, random_state=0
    ).fit(X, y)
    low, middle, high = model.predict_quantiles(X).T
    assert (low <= middle).all()
    assert (middle <= high).all()
    assert 0.7 < ((low <= y) & (y <= high)).mean() < 0.9
    wide = (high - low)[X[:, 0] > 0.2].mean()
    assert wide > 2 * (high - low)[X[:, 0] < -0.2].mean()
    assert (model.predict_quantiles(X, [0.9])[:, 0] == high).all()
    assert model.score(X, y) > 0.6
    with pytest.raises(ValueError, match=r"levels must be some of \(0.1, 0.5, 0.9\)"):
        model.predict_quantiles(X, 0.3)
    with pytest.raises(AttributeError, match="predict_std needs the loss 'gaussian"):
        model.predict_std(X)


@pytest.mark.parametrize("options", [{}, {"members": 2}, {"n_folds": 2}])
def test_gaussian_likelihood(options):
    X, y = noisy()
    model = TabularRegressor(loss="gaussian_nll", random_state=0, **options).fit(X, y)
    deviation = model.predict_std(X)
    assert deviation.shape == (400,)
    assert 3 < deviation[X[:, 0] > 0.2].mean() < 7
    assert 0.5 < deviation[X[:, 0] < -0.2].mean() < 2
    assert model.score(X, y) > 0.6
    low, high = model.predict_quantiles(X, [0.16, 0.84]).T
    inside = (low > y.min()) & (high < y.max())
    np.testing.assert_allclose((high - low)[inside], 1.98892 * deviation[inside], 1e-4)


class OneQuantile(RegressorMixin, BaseEstimator):
    """One level of a fitted `TabularRegressor`, as MAPIE takes each."""

    def __init__(self, model, level):
        self.model, self.level, self.fitted_ = model, level, True

    def fit(self, X, y):
        raise AssertionError("it is fitted")

    def predict(self, X):
        return self.model.predict_quantiles(X, [self.level])[:, 0]


def test_intervals_of_mapie_have_their_coverage():
    regression = pytest.importorskip("mapie.regression")
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (2400, 3))
    noise = (1.5 + X[:, 1]) * rng.standard_normal(2400)
    noise[:400] *= 0.5  # quantiles that are learnt of it are too narrow
    y = X[:, 0] + noise
    train, rest, new = np.split(np.arange(2400), [400, 1400])
    levels = 0.1, 0.9, 0.5
    model = TabularRegressor(loss="quantile", levels=sorted(levels), random_state=0)
    model.fit(X[train], y[train])
    each = [OneQuantile(model, level) for level in levels]
    mapie = regression.ConformalizedQuantileRegressor(each, 0.8, prefit=True)
    point, intervals = mapie.conformalize(X[rest], y[rest]).predict_interval(X[new])
    np.testing.assert_allclose(point, each[2].predict(X[new]))

    def coverage(low, high):
        return ((y[new] >= low) & (y[new] <= high)).mean()

    low, high = intervals[:, :, 0].T
    # The deviation of a coverage of .8 by 1000 rows for each of both is .018.
    assert coverage(low, high) == pytest.approx(0.8, abs=0.05)
    assert coverage(*model.predict_quantiles(X[new], [0.1, 0.9]).T) < 0.7
    # Where the noise is larger, so are the intervals.
    wide = X[new, 1] > 0
    assert (high - low)[wide].mean() > 1.3 * (high - low)[~wide].mean()


def test_the_plain_loss_has_no_quantiles():
    X, y = noisy(50)
    model = TabularRegressor(random_state=0, time_limit=0.5).fit(X, y)
    with pytest.raises(AttributeError, match="predict_quantiles needs the loss"):
        model.predict_quantiles(X)


@pytest.mark.parametrize("options", [{"loss": "mse"}, {"levels": 2}])
def test_wrong_losses_and_levels(options):
    with pytest.raises(ValueError, match="The '(loss|levels)' parameter"):
        TabularRegressor(**options).fit(*noisy(50))


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_that_raises_leaves_the_estimator_as_it_was(kind):
    columns, value = table()
    y = target(kind, value)
    model = kind(random_state=0).fit(columns, y)
    before = model.predict(columns)
    learnt = {**vars(model)}
    other = (
        np.where(value < 0, "cat", "dog") if kind is TabularClassifier else 9 * value
    )
    few = {name: column[:4] for name, column in columns.items()}
    wrong = ["cow"] * 4 if kind is TabularClassifier else [np.nan] * 4
    with pytest.raises(ValueError):
        model.fit({**columns, "more": value}, other, X_val=few, y_val=wrong)
    assert vars(model).keys() == learnt.keys()
    assert all(vars(model)[name] is learnt[name] for name in learnt)
    assert (model.predict(columns) == before).all()
