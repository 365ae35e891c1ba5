"""What fits and predictions of the estimators do, and what they do not do."""

import pickle
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from children import run_python

from fastnn.sklearn import MLPClassifier, _network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

OTHER_THREADS = """
    import os
    import sys
    import warnings
    from pathlib import Path

    import numpy as np
    from fastnn.sklearn import MLPClassifier, MLPRegressor

    def others():
        "Nanoseconds that all other threads have run."
        tasks = Path("/proc/self/task")
        times = [
            int((tasks / task / "schedstat").read_text().split()[0])
            for task in os.listdir(tasks)
            if int(task) != os.getpid()
        ]
        return len(times), sum(times)

    def work():
        for solver in "adam", "sgd", "lbfgs":
            model = MLPClassifier((256,), solver=solver, max_iter=2, n_threads=1)
            model.fit(X, y, X_val=X, y_val=y)
            model.predict_proba(X)
            model.predict(X[:1])
            if solver != "lbfgs":
                model.partial_fit(X[:1], y[:1])
        model = MLPRegressor(early_stopping=True, max_iter=2, n_threads=1)
        model.fit(X, y)

    warnings.simplefilter("ignore")
    X = np.random.default_rng(0).standard_normal((300, 500))
    y = np.arange(300) % 3
    work()
    before = others()
    work()
    print(before[0], others()[1] - before[1])
    X @ X.T
    print(others()[1] - before[1])
"""


@pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="no times of threads"
)
def test_no_thread_of_a_blas_wakes():
    """With one thread of fastnn, no other thread of the process runs."""
    child = run_python(OTHER_THREADS, OPENBLAS_NUM_THREADS="2")
    (threads, idle), (busy,) = (
        map(int, line.split()) for line in child.stdout.splitlines()
    )
    if threads == 0 or busy == idle:
        pytest.skip("NumPy's BLAS has one thread")
    assert idle == 0


@pytest.fixture
def compared(monkeypatch):
    """How often predictions compared all weights."""
    calls = []
    are_equal = _network._are_equal

    def counted(*arguments):
        calls.append(arguments)
        return are_equal(*arguments)

    monkeypatch.setattr(_network, "_are_equal", counted)
    return calls


def test_predictions_compare_weights_only_when_somebody_has_them(compared):
    X = np.random.default_rng(0).standard_normal((60, 4))
    y = np.arange(60) % 3
    model = MLPClassifier(5, max_iter=3, random_state=0, batch_size=20).fit(X, y)
    before = model.predict_proba(X)
    model.partial_fit(X, y)
    model.predict(X)
    twin = pickle.loads(pickle.dumps(model.fit(X, y).partial_fit(X, y)))
    for _ in range(2):
        twin.predict(X)
    assert not compared
    coefs = model.coefs_
    assert coefs is model.coefs_
    after = model.predict_proba(X)
    assert len(compared) == 1
    assert not np.array_equal(after, before)
    coefs[0][:] = 0.0
    assert not np.array_equal(model.predict_proba(X), after)
    # What the user has is no longer the estimator's.
    model.partial_fit(X, y)
    assert model.coefs_ is not coefs
    assert model.coefs_[0].any()


@pytest.mark.parametrize("name", ["coefs_", "intercepts_"])
def test_weights_can_be_assigned_before_anybody_looked_at_them(name):
    X = np.random.default_rng(0).standard_normal((60, 4))
    y = np.arange(60) % 3
    parameters = dict(max_iter=3, random_state=0, batch_size=20)
    model, twin = (MLPClassifier(5, **parameters).fit(X, y) for _ in range(2))
    changed = [array + 1.0 for array in getattr(twin, name)]
    setattr(model, name, changed)
    for array in getattr(twin, name):
        array += 1.0
    np.testing.assert_array_equal(model.predict_proba(X), twin.predict_proba(X))
    other = {"coefs_": "intercepts_", "intercepts_": "coefs_"}[name]
    for mine, theirs in zip(getattr(model, other), getattr(twin, other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_weights_of_an_estimator_without_a_fit():
    model = MLPClassifier()
    assert not hasattr(model, "coefs_")
    with pytest.raises(AttributeError, match="'MLPClassifier' object has no .*coefs_"):
        _ = model.coefs_


@pytest.mark.parametrize(
    "y",
    [
        np.array([3, 1, 2, 1], "uint8"),
        np.array([-3, 1, 1, -3], "int16"),
        np.array([True, False, True, True]),
        np.array([7, 7, 7, 7]),
        np.array([2**63, 1, 5, 1], "uint64"),
    ],
)
def test_labels_are_those_of_scikit_learn(y):
    from sklearn.preprocessing import LabelBinarizer

    from fastnn.sklearn._checks import fit_labels

    found, expected = vars(fit_labels(y)), vars(LabelBinarizer().fit(y))
    assert {*found} == {*expected}
    assert found.pop("classes_").dtype == expected["classes_"].dtype
    np.testing.assert_array_equal(fit_labels(y).classes_, expected.pop("classes_"))
    assert found == expected
