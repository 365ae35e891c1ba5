"""Compares scores and fit times of `fastnn.sklearn` with scikit-learn's, on ten sets.

    python tests/bench/compare_sklearn.py              all, five seeds: a few minutes
    python tests/bench/compare_sklearn.py --dtype float32 --seeds 2 --only iris wine

Default parameters. Each seed splits the data, 25 % for the score, and is the
`random_state`; the two sides fit in turns. Ends with an error unless on every data set
the mean score is at most 0.01 below scikit-learn's and the time is lower.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings

import numpy as np
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor

import fastnn.sklearn

ESTIMATORS = {
    "classes": (MLPClassifier, fastnn.sklearn.MLPClassifier),
    "values": (MLPRegressor, fastnn.sklearn.MLPRegressor),
}
DATA = {
    "iris": ("classes", lambda: datasets.load_iris(return_X_y=True)),
    "wine": ("classes", lambda: datasets.load_wine(return_X_y=True)),
    "breast_cancer": ("classes", lambda: datasets.load_breast_cancer(return_X_y=True)),
    "digits": ("classes", lambda: datasets.load_digits(return_X_y=True)),
    "diabetes": ("values", lambda: datasets.load_diabetes(return_X_y=True)),
    "classification": (
        "classes",
        lambda: datasets.make_classification(
            5000, 40, n_informative=20, n_classes=5, random_state=0
        ),
    ),
    "moons": ("classes", lambda: datasets.make_moons(1000, noise=0.2, random_state=0)),
    "circles": (
        "classes",
        lambda: datasets.make_circles(1000, noise=0.1, factor=0.5, random_state=0),
    ),
    "regression": (
        "values",
        lambda: datasets.make_regression(2000, 20, noise=5.0, random_state=0),
    ),
    "friedman1": ("values", lambda: datasets.make_friedman1(2000, random_state=0)),
}
LOSS_OF_SCORE = 0.01
ROW = "{:15} {:>6} {:>4} {:>10} {:>10} {:>8} {:>10} {:>10} {:>6}"


def compare(
    kind: str, X: np.ndarray, y: np.ndarray, seeds: int, dtype: str
) -> np.ndarray:
    """Scores and seconds (2, 2, seeds): of scikit-learn, then of fastnn."""
    results = np.empty((2, 2, seeds))
    theirs, ours = ESTIMATORS[kind]
    for seed in range(seeds):
        X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=seed)
        sides = [
            (0, theirs(random_state=seed)),
            (1, ours(random_state=seed, dtype=dtype)),
        ]
        if seed % 2:
            sides.reverse()
        for side, model in sides:
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(X_train, y_train)
            results[1, side, seed] = time.perf_counter() - start
            results[0, side, seed] = model.score(X_test, y_test)
    return results


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--only", nargs="+", choices=DATA, default=[*DATA])
    options = parser.parse_args(arguments)
    print(f"{options.seeds} seeds, dtype {options.dtype}; mean score, median seconds")
    print(
        ROW.format(
            "", "rows", "cols", "score", "fastnn", "gain", "seconds", "fastnn", "ratio"
        )
    )
    failed = []
    for name in options.only:
        kind, load = DATA[name]
        X, y = load()
        scores, seconds = compare(kind, X, y, options.seeds, options.dtype)
        before, after = scores.mean(axis=1)
        slow, fast = np.median(seconds, axis=1)
        row = (before, after, after - before, slow, fast)
        cells = [f"{value:.4f}" for value in row]
        print(ROW.format(name, *X.shape, *cells, f"{slow / fast:.1f}"), flush=True)
        if after < before - LOSS_OF_SCORE or fast >= slow:
            failed.append(name)
    if failed:
        print("below scikit-learn:", ", ".join(failed))
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
