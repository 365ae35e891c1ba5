"""Many networks: `fastnn.fit_many` beside one after the other and joblib.

    python tests/bench/compare_many.py [small] [mnist] [mixed] [large] [grid]

Each way does the same work, in turns; printed are the median seconds, and the median
ratio to one network after the other, with all threads for each. "grid" is the grid
search of scikit-learn, of 24 settings and 5 folds. Needs scikit-learn, and for "mnist"
the data set.
"""

import os
import statistics
import sys
import time
import warnings
from functools import partial

import numpy as np
from joblib import Parallel, delayed
from sklearn.model_selection import GridSearchCV, KFold

import fastnn
from fastnn.sklearn import MLPClassifier

REPEATS = 5
RNG = np.random.default_rng(0)


def problem(n_rows, n_inputs, n_classes):
    X = RNG.standard_normal((n_rows, n_inputs), dtype=np.float32)
    return X, (X[:, :n_classes] + 0.5 * X[:, -n_classes:]).argmax(axis=1)


def specs(name):
    """X, y and for each network its layers and the arguments of fit."""
    if name == "small":
        data = problem(5000, 40, 5)
        fits = [([40, 64, 5], dict(epochs=20, batch_size=64))] * 64
    elif name == "mnist":
        X, y, _, _ = fastnn.datasets.mnist()
        data = X, y
        fits = [([784, 128, 10], dict(epochs=2, batch_size=64))] * 8
    elif name == "mixed":
        data = problem(5000, 40, 5)
        widths = [16, 512, 32, 64, 256, 24, 128, 48, 384, 64, 16, 96]
        fits = [
            (
                [40, width, width, 5],
                dict(epochs=4 + 3 * (i % 4), batch_size=32 << i % 3),
            )
            for i, width in enumerate(widths)
        ]
    else:  # more than a core's caches hold
        data = problem(2000, 784, 10)
        widths = [2500, 2000, 1500, 1000, 500]
        fits = [([784, *widths, 10], dict(epochs=1, batch_size=256))] * 4
    return *data, fits


def networks(fits, num_threads=None):
    return [
        fastnn.Network(
            layers,
            seed=i,
            optimizer=fastnn.Adam(1e-3 * 1.05**i),
            num_threads=num_threads,
            input_scale=1 / 255 if len(fits) == 8 else 1.0,
        )
        for i, (layers, _) in enumerate(fits)
    ]


def fit_one(network, X, y, options):
    network.fit(X, y, verbose=0, **options)
    return network


def ways(X, y, fits):
    each = [options for _, options in fits]

    def in_turn(made):
        for network, options in zip(made, each, strict=True):
            fit_one(network, X, y, options)

    def many(made):
        fastnn.fit_many(made, X, y, each, verbose=0)

    def joblib(backend, made):
        Parallel(n_jobs=fastnn.get_num_threads(), backend=backend)(
            delayed(fit_one)(network, X, y, options)
            for network, options in zip(made, each, strict=True)
        )

    def make(num_threads=None):
        return networks(fits, num_threads)

    return {
        "one after the other": (in_turn, make),
        "  one thread": (in_turn, partial(make, 1)),
        "fit_many": (many, make),
        "joblib threading": (partial(joblib, "threading"), make),
        "joblib loky": (partial(joblib, "loky"), make),
    }


def grid_ways():
    """24 settings x 5 folds of 5000 x 40: epochs and batches as small as above."""
    X, y = problem(5000, 40, 5)
    rates = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]
    widths = [32, 64, 96, 128]
    fixed = dict(max_iter=10, batch_size=64, n_iter_no_change=100, random_state=0)
    grid = {
        "learning_rate_init": rates,
        "hidden_layer_sizes": [(width,) for width in widths],
    }

    def search(n_jobs, _):
        model = MLPClassifier(dtype="float32", **fixed)
        GridSearchCV(model, grid, cv=KFold(5), n_jobs=n_jobs, refit=False).fit(X, y)

    def many(_):
        folds = [*KFold(5).split(X)]
        settings = [(rate, width) for rate in rates for width in widths]
        nets = [
            fastnn.Network([40, width, 5], optimizer=fastnn.Adam(rate), seed=0)
            for rate, width in settings
            for _ in folds
        ]
        each = [
            {"rows": train, "rows_val": test} for _ in settings for train, test in folds
        ]
        # Validated once, at the end, as the search is.
        fastnn.fit_many(
            nets, X, y, [{"rows": part["rows"]} for part in each], epochs=10, verbose=0
        )
        for network, part in zip(nets, each, strict=True):
            network.score(X[part["rows_val"]], y[part["rows_val"]])

    return {
        f"GridSearchCV, n_jobs={n}": (partial(search, n), int)
        for n in (1, os.cpu_count())
    } | {"fit_many": (many, int)}


def compare(name):
    runs = grid_ways() if name == "grid" else ways(*specs(name))
    seconds = {way: [] for way in runs}
    for repeat in range(REPEATS + 1):
        for way, (run, make) in runs.items():
            made = make()
            start = time.perf_counter()
            run(made)
            if repeat:  # the first starts processes and threads
                seconds[way].append(time.perf_counter() - start)
    print(f"{name}: seconds, times the first way; load {os.getloadavg()[0]:.1f}")
    (first, *_) = seconds.values()
    for way, each in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(first, each, strict=True))
        print(f"  {way:24} {statistics.median(each):7.3f}  {ratio:5.2f}", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # GridSearchCV: not converged
    for name in sys.argv[1:] or ["small", "mnist", "mixed", "large", "grid"]:
        compare(name)
