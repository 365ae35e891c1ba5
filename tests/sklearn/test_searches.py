"""Searches of scikit-learn, Dask, Ray and Optuna over fastnn, on real local clusters.

Wherever fits run, their results are those of one after the other, and each uses the
threads that are left to it.
"""

import textwrap

import numpy as np
import pytest
from children import run_python

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import fastnn

pytestmark = pytest.mark.timeout(600)

# `searches()` runs all of them and returns arrays; each part is small.
SEARCHES = """
import warnings
import joblib
import numpy as np
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier
from sklearn.experimental import enable_halving_search_cv
from sklearn.model_selection import (
    GridSearchCV, HalvingGridSearchCV, RandomizedSearchCV, cross_validate
)
from sklearn.preprocessing import scale
import fastnn
from fastnn.sklearn import MLPClassifier

X, y = load_iris(return_X_y=True)
X = scale(X)
model = MLPClassifier((8,), max_iter=4, learning_rate_init=0.02, random_state=0)
grid = {"alpha": [1e-4, 10.0], "hidden_layer_sizes": [(4,), (16, 8)]}
every = dict(cv=3, n_jobs=2, error_score="raise")

def searches():
    found = []
    for search in (
        GridSearchCV(model, grid, **every),
        RandomizedSearchCV(model, grid, n_iter=3, random_state=0, **every),
        HalvingGridSearchCV(model, grid, random_state=0, **every),
    ):
        search.fit(X, y)
        found += [search.cv_results_["mean_test_score"], search.predict_proba(X)]
    found.append(cross_validate(model, X, y, **every)["test_score"])
    bag = BaggingClassifier(model, 4, n_jobs=2, random_state=0).fit(X, y)
    # Not of the bag: what it adds up, and how, depends on n_jobs.
    return found + [each.predict_proba(X) for each in bag.estimators_]

def threads_of_a_fit(_):
    return fastnn.get_num_threads()

def assert_same(backend):
    with joblib.parallel_config("sequential"):
        expected = searches()
    with joblib.parallel_config(backend):
        found = searches()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)

def assert_threads(backend, most, **options):
    with joblib.parallel_config(backend, **options):
        limits = joblib.Parallel(n_jobs=2)(
            joblib.delayed(threads_of_a_fit)(i) for i in range(8)
        )
    assert set(limits) == {most}, limits
"""


def run(code, **variables):
    # The warnings of others are not ours to judge, nor those of trainings of 4 epochs.
    code = f"import warnings; warnings.simplefilter('ignore')\n{SEARCHES}\n" + (
        textwrap.dedent(code)
    )
    variables = {"PYTHONWARNINGS": "ignore", **variables}
    return run_python(code, timeout=500, **variables)


def test_threads():
    """They are threads of this process, and share its limit (see threads.c)."""
    run("assert_same('threading')")


def test_loky():
    run(
        """
        assert_same("loky")
        assert_threads("loky", max(1, joblib.cpu_count() // 2))
        joblib.externals.loky.get_reusable_executor().shutdown(wait=True)
        """
    )


@pytest.mark.parametrize(
    ("variables", "most"), [({}, 3), ({"FASTNN_NUM_THREADS": "1"}, 1)]
)
def test_the_user_limits_workers(variables, most):
    run(
        f"""
        import os
        if hasattr(os, "sched_getaffinity"):  # never more than there are CPUs
            most = min({most}, len(os.sched_getaffinity(0)))
        assert_threads("loky", most, inner_max_num_threads=3)
        joblib.externals.loky.get_reusable_executor().shutdown(wait=True)
        """,
        **variables,
    )


def test_dask():
    pytest.importorskip("distributed", reason="dask[distributed] is not installed")
    run(
        """
        from distributed import Client, LocalCluster
        with (
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
            as cluster,
            Client(cluster) as client,
        ):
            assert len(client.scheduler_info()["workers"]) == 2
            assert_same("dask")
            assert_threads("dask", 1)
        """
    )


DASK_ML = """
import dask.array as da
from dask_ml.model_selection import HyperbandSearchCV, IncrementalSearchCV
from dask_ml.wrappers import Incremental
from distributed import Client, LocalCluster

def local(use):
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
        as cluster,
        Client(cluster),
    ):
        use(da.from_array(X, chunks=(50, 4)), da.from_array(y, chunks=50))

def incremental(Z, t):
    one = Incremental(model, shuffle_blocks=False).fit(Z, t, classes=[0, 1, 2])
    by_hand = MLPClassifier(**model.get_params())
    for k in range(3):
        part = slice(50 * k, 50 * k + 50)
        by_hand.partial_fit(X[part], y[part], classes=[0, 1, 2])
    np.testing.assert_array_equal(
        one.estimator_.predict_proba(X), by_hand.predict_proba(X)
    )

# NumPy makes no array of tuples of different lengths, which dask-ml wants.
wide = {**grid, "hidden_layer_sizes": [(4,), (16,)]}

def searched(search, Z, t):
    search.fit(Z, t, classes=[0, 1, 2])
    # The best one is one that partial_fit has trained, as often as it says.
    calls = search.cv_results_["partial_fit_calls"]
    assert search.best_estimator_.t_ == 40 * calls[search.best_index_]  # rows
    assert search.best_score_ > 0.5
    assert (search.best_estimator_.predict(X) == y).mean() > 0.5

def searches_by_chunks(Z, t):
    searched(IncrementalSearchCV(
        model, wide, n_initial_parameters=4, max_iter=8, random_state=0), Z, t)
    searched(HyperbandSearchCV(model, wide, max_iter=9, random_state=0), Z, t)
"""


@pytest.mark.parametrize("use", ["incremental", "searches_by_chunks"])
def test_dask_ml(use):
    """By partial_fit on the chunks of Dask arrays."""
    dask = pytest.importorskip("distributed", reason="distributed is not installed")
    pytest.importorskip("dask_ml.model_selection", reason="dask-ml is not installed")
    if use != "incremental" and dask.__version__ >= "2025.3":
        pytest.skip("the searches of dask-ml 2025.1 need a Dask before 2025.3")
    run(f"{DASK_ML}\nlocal({use})")


def test_ray():
    pytest.importorskip("ray", reason="ray is not installed")
    run(
        """
        import ray
        from ray.util.joblib import register_ray
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        register_ray()
        assert_same("ray")
        assert_threads("ray", 1)
        ray.shutdown()
        """,
        RAY_AUTH_MODE="disabled",  # leaves no token in the user's home
    )


@pytest.fixture
def study():
    optuna = pytest.importorskip("optuna", reason="optuna is not installed")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=1),
    )


class Pruning(fastnn.Callback):
    """As in docs/how-to/many.md."""

    def __init__(self, trial):
        self.trial = trial

    def on_epoch_end(self, epoch, logs):
        import optuna

        self.trial.report(logs["val_accuracy"], epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned


def network_of(trial):
    width = trial.suggest_int("width", 2, 32)
    rate = trial.suggest_float("rate", 1e-5, 1e-1, log=True)
    return fastnn.Network(
        [64, width, 10], optimizer=fastnn.Adam(rate), input_scale=1 / 16, seed=0
    )


def options_of(trial, data):
    return {
        "X_val": data.X_test,
        "y_val": data.y_test,
        "callbacks": [Pruning(trial)],
        "epochs": 6,
        "verbose": 0,
    }


def check(study, networks):
    """Some trials were pruned, and the best is what its network says."""
    states = [trial.state.name for trial in study.trials]
    assert set(states) == {"COMPLETE", "PRUNED"}
    epochs = [networks[trial.number].epoch for trial in study.trials]
    assert [len(trial.intermediate_values) for trial in study.trials] == epochs
    assert min(epochs) < 6
    data = fastnn.datasets.digits()
    best = networks[study.best_trial.number].score(data.X_test, data.y_test)
    assert study.best_value == best > 0.5


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_optuna_prunes(study, n_jobs):
    data, networks = fastnn.datasets.digits(), {}

    def objective(trial):
        network = networks[trial.number] = network_of(trial)
        history = network.fit(data.X_train, data.y_train, **options_of(trial, data))
        return history.history["val_accuracy"][-1]

    study.optimize(objective, n_trials=10, n_jobs=n_jobs)
    check(study, networks)


@pytest.mark.filterwarnings("ignore:.*networks failed.*TrialPruned:RuntimeWarning")
def test_optuna_prunes_networks_of_fit_many(study):
    import optuna

    data, networks = fastnn.datasets.digits(), {}
    for _ in range(2):
        trials = [study.ask() for _ in range(6)]
        networks |= {trial.number: network_of(trial) for trial in trials}
        each = [options_of(trial, data) for trial in trials]
        for options in each:
            del options["verbose"]
        histories = fastnn.fit_many(
            [networks[trial.number] for trial in trials],
            data.X_train,
            data.y_train,
            each,
            verbose=0,
        )
        for trial, history in zip(trials, histories, strict=True):
            if isinstance(history.error, optuna.TrialPruned):
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                study.tell(trial, history.history["val_accuracy"][-1])
    check(study, networks)
    assert np.isfinite(study.best_value)
