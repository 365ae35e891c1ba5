"""Scores and seconds of fastnn and of other methods on 32 real tables.

    python tests/bench/tabular.py run --methods linear hgb --tables development
    python tests/bench/tabular.py table --write docs/tables.md

Each cell (method, table, seed) is one fit on one thread; its score is the accuracy or
R2 of the test rows. Cells are appended to a file of JSON lines, those that are there
already are left out. The tables are in `tabular_data.py`; a method needs the package
that it is named after.
"""

# ruff: noqa: E402  the threads are set before NumPy is imported
from __future__ import annotations

import os

for _name in ("OMP", "OPENBLAS", "MKL", "FASTNN"):
    os.environ.setdefault(f"{_name}_NUM_THREADS", "1")

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from tabular_data import DEVELOPMENT, SET_ASIDE, TABLES, Split, split

RESULTS = Path(__file__).with_name("tabular.jsonl")

# Methods ----------------------------------------------------------------------------
# A method takes a split and a seed, and returns a fitted model with `predict` and, of
# classes, `predict_proba`, and the rows to predict as it takes them.

Fitted = tuple[Any, Any]


def _encoded(s: Split) -> Any:
    """Imputed, standardised and one-hot columns, for methods without their own."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    text = [c for c in s.X if s.X[c].dtype == object]
    numbers = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True), StandardScaler()
    )
    return make_column_transformer(
        (numbers, [c for c in s.X if c not in text]),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), text),
    )


def _categories(s: Split) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Text as pandas' categories, those that only test rows have as missing."""
    X, X_test = s.X.copy(), s.X_test.copy()
    for column in X:
        if X[column].dtype == object:
            X[column] = X[column].astype("category")
            X_test[column] = X_test[column].astype(X[column].dtype)
    return X, X_test


def _linear(s: Split, seed: int) -> Fitted:
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.pipeline import make_pipeline

    model = (
        LogisticRegression(max_iter=1000)
        if s.is_classes
        else RidgeCV(np.logspace(-2, 3, 11))
    )
    return make_pipeline(_encoded(s), model).fit(s.X, s.y), s.X_test


def _sklearn_mlp(s: Split, seed: int) -> Fitted:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model: Any = MLPClassifier(random_state=seed)
    if not s.is_classes:
        model = TransformedTargetRegressor(
            MLPRegressor(random_state=seed), transformer=StandardScaler()
        )
    return make_pipeline(_encoded(s), model).fit(s.X, s.y), s.X_test


def _hgb(s: Split, seed: int) -> Fitted:
    from sklearn import ensemble

    kind = "Classifier" if s.is_classes else "Regressor"
    model = getattr(ensemble, f"HistGradientBoosting{kind}")(random_state=seed)
    X, X_test = _categories(s)
    return model.fit(X, s.y), X_test


def _lightgbm(s: Split, seed: int) -> Fitted:
    import lightgbm

    model = lightgbm.LGBMClassifier if s.is_classes else lightgbm.LGBMRegressor
    X, X_test = _categories(s)
    return model(random_state=seed, n_jobs=1, verbose=-1).fit(X, s.y), X_test


def _xgboost(s: Split, seed: int) -> Fitted:
    import xgboost

    model = xgboost.XGBClassifier if s.is_classes else xgboost.XGBRegressor
    X, X_test = _categories(s)
    fitted = model(random_state=seed, n_jobs=1, enable_categorical=True).fit(X, s.y)
    return fitted, X_test


def _catboost(s: Split, seed: int) -> Fitted:
    import catboost

    model = catboost.CatBoostClassifier if s.is_classes else catboost.CatBoostRegressor
    text = [c for c in s.X if s.X[c].dtype == object]
    X, X_test = s.X.copy(), s.X_test.copy()
    for frame in (X, X_test):
        frame[text] = frame[text].fillna("missing").astype(str)
    fitted = model(
        random_seed=seed, thread_count=1, verbose=0, allow_writing_files=False
    ).fit(X, s.y, cat_features=text)
    return fitted, X_test


def _pytabkit(name: str) -> Callable[[Split, int], Fitted]:
    def fit(s: Split, seed: int) -> Fitted:
        import pytabkit
        import torch

        torch.set_num_threads(1)
        kind = "Classifier" if s.is_classes else "Regressor"
        model = getattr(pytabkit, f"{name}_{kind}")(
            random_state=seed, device="cpu", n_threads=1, verbosity=0
        )
        X, X_test = _categories(s)
        return model.fit(X, s.y), X_test

    return fit


def _fastnn(
    changes: dict[str, Any] | None = None, keep: int | None = None, **parameters: Any
) -> Any:
    """Our estimators; `changes` of the default recipe, or one variant that is kept."""

    def fit(s: Split, seed: int) -> Fitted:
        from fastnn import sklearn
        from fastnn._plan.recipes import RECIPES

        kind = "Classifier" if s.is_classes else "Regressor"
        model = getattr(sklearn, f"Tabular{kind}")(
            random_state=seed, n_threads=1, **parameters
        )
        variants = RECIPES["default"]
        kept = variants if keep is None else variants[keep : keep + 1]
        recipe = tuple(replace(variant, **(changes or {})) for variant in kept)
        with patch.dict(RECIPES, default=recipe):
            return model.fit(s.X, s.y), s.X_test

    return fit


METHODS: dict[str, Callable[[Split, int], Fitted]] = {
    "linear": _linear,
    "fastnn": _fastnn(),
    "fastnn, recipe=realmlp-s": _fastnn(recipe="realmlp-s"),
    "fastnn, recipe=realmlp": _fastnn(recipe="realmlp"),
    "fastnn, members=4": _fastnn(members=4),
    "fastnn, members=8": _fastnn(members=8),
    "fastnn, n_folds=5": _fastnn(n_folds=5),
    "sklearn-mlp": _sklearn_mlp,
    "hgb": _hgb,
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "catboost": _catboost,
    "realmlp-td-s": _pytabkit("RealMLP_TD_S"),
    "realmlp-td": _pytabkit("RealMLP_TD"),
    "tabm": _pytabkit("TabM_D"),
}
# The default recipe with one part changed, of both variants.
ABLATION: dict[str, dict[str, Any]] = {
    "strict variant alone": {"keep": 0},
    "free variant alone": {"keep": 1},
    "no periodic embedding": {"frequencies": 0},
    "depth 2": {"depth": 2},
    "ReLU": {"activations": ("relu", "relu")},
    "no dropout": {"dropout": 0.0},
    "no label smoothing": {"label_smoothing": 0.0},
    "constant rate": {"schedule": "constant"},
    "beta_2 = .999": {"beta_2": 0.999},
}
METHODS |= {
    name: _fastnn(
        {k: v for k, v in changes.items() if k != "keep"}, changes.get("keep")
    )
    for name, changes in ABLATION.items()
}


# Cells ------------------------------------------------------------------------------


@cache
def _warm_up(method: str) -> None:
    """Fit a few rows, so that imports do not count."""
    s = split("concrete", 0)
    METHODS[method](replace(s, X=s.X[:60], y=s.y[:60]), 0)


def measure(method: str, table: str, seed: int) -> dict[str, Any]:
    """Fit and score one cell."""
    s = split(table, seed)
    warnings.simplefilter("ignore")
    _warm_up(method)
    wall, cpu = time.perf_counter(), time.process_time()
    model, X_test = METHODS[method](s, seed)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    predicted = np.asarray(model.predict(X_test)).reshape(len(s.y_test))
    cell: dict[str, Any] = {"method": method, "table": table, "seed": seed}
    if s.is_classes:
        p = np.asarray(model.predict_proba(X_test), dtype=np.float64)
        p = np.clip(p[np.arange(len(p)), s.y_test], 1e-7, 1.0)
        cell["score"] = float((predicted == s.y_test).mean())
        cell["log_loss"] = float(-np.log(p).mean())
    else:
        error = ((predicted - s.y_test) ** 2).mean()
        cell["score"] = float(1.0 - error / s.y_test.var())
    cell |= {"seconds": round(wall, 3), "cpu_seconds": round(cpu, 3)}
    return cell | {"rows": len(s.X), "columns": s.X.shape[1]}


def read(path: Path) -> list[dict[str, Any]]:
    """Return all cells of a file, the last of each kind."""
    lines = path.read_text().splitlines() if path.exists() else []
    cells = map(json.loads, lines)
    return [*{(c["method"], c["table"], c["seed"]): c for c in cells}.values()]


def run(path: Path, methods: Iterable[str], tables: Iterable[str], seeds: int) -> None:
    """Measure the cells that the file lacks."""
    done = {(c["method"], c["table"], c["seed"]) for c in read(path)}
    for seed in range(seeds):
        for method in methods:
            for table in tables:
                if (method, table, seed) in done:
                    continue
                cell = measure(method, table, seed)
                with path.open("a") as file:
                    file.write(json.dumps(cell) + "\n")
                print(
                    f"{method:20} {table:14} {seed} {cell['score']:8.4f} "
                    f"{cell['cpu_seconds']:9.2f} s",
                    flush=True,
                )


# Markdown ---------------------------------------------------------------------------


def normalised(cells: list[dict[str, Any]]) -> dict[tuple[str, str, int], float]:
    """0 for the linear model and 1 for the best method, by (method, table, seed).

    Scores are at least -1, and a gap of less than .01 between the two counts as .01: on
    such tables there is nothing to be won. Changed recipes are no methods.
    """
    scores: dict[tuple[str, int], dict[str, float]] = {}
    for c in cells:
        scores.setdefault((c["table"], c["seed"]), {})[c["method"]] = c["score"]
    found = {}
    for (table, seed), by_method in scores.items():
        if "linear" not in by_method:
            continue
        low = by_method["linear"]
        best = max(v for name, v in by_method.items() if name not in ABLATION)
        for method, score in by_method.items():
            value = (score - low) / max(best - low, 0.01)
            found[method, table, seed] = max(value, -1.0)
    return found


def _duels(cells: list[dict[str, Any]], method: str, other: str) -> str:
    """Wins and losses over (table, seed), as 20-12."""
    scores = {(c["method"], c["table"], c["seed"]): c["score"] for c in cells}
    pairs = [
        (score, scores[other, table, seed])
        for (name, table, seed), score in scores.items()
        if name == method and (other, table, seed) in scores
    ]
    wins, losses = sum(a > b for a, b in pairs), sum(a < b for a, b in pairs)
    return f"{wins}-{losses}" if method != other else ""


def _row(*fields: Any) -> str:
    return "| " + " | ".join(map(str, fields)) + " |"


def _summary(
    cells: list[dict[str, Any]], group: Iterable[str], title: str
) -> list[str]:
    """One line for each method that has cells of these tables."""
    cells = [c for c in cells if c["table"] in {*group}]
    scores = normalised(cells)
    lines = [
        f"\n### {title}\n",
        _row("Method", "normalised score", "classes", "values", "against LightGBM",
             "against HistGradientBoosting", "CPU seconds a fit", "fits",
             "fastnn on these"),
        _row(*["---"] * 9),
    ]  # fmt: skip
    means = {}
    for method in METHODS:
        own = {k: v for k, v in scores.items() if k[0] == method}
        if method not in ABLATION and own:
            means[method] = np.mean([*own.values()])
    for method in sorted(means, key=means.__getitem__, reverse=True):
        own = {k: v for k, v in scores.items() if k[0] == method}
        kinds = [
            [v for k, v in own.items() if TABLES[k[1]].is_classes == is_classes]
            for is_classes in (True, False)
        ]
        seconds = np.mean([c["cpu_seconds"] for c in cells if c["method"] == method])
        lines.append(
            _row(
                method,
                f"{means[method]:.2f}",
                *(f"{np.mean(k):.2f}" if k else "" for k in kinds),
                _duels(cells, method, "lightgbm"),
                _duels(cells, method, "hgb"),
                f"{seconds:.1f}",
                len(own),
                f"{np.mean([scores['fastnn', t, seed] for _, t, seed in own]):.2f}",
            )
        )
    return lines


def _by_seed(cells: list[dict[str, Any]], seeds: int = 3) -> list[str]:
    """The normalised score of each seed, on the tables that fastnn has all seeds of."""
    ours = {(c["table"], c["seed"]) for c in cells if c["method"] == "fastnn"}
    known = [name for name in TABLES if all((name, s) in ours for s in range(seeds))]
    cells = [c for c in cells if c["table"] in known and c["seed"] < seeds]
    lines = [
        "\n### Three seeds\n",
        f"The {len(known)} tables that fastnn was measured on with {seeds} seeds: "
        f"{', '.join(known)}. The normalised score by seed, and its mean; wins and "
        "losses against LightGBM and HistGradientBoosting by seed and table.\n",
        _row("Method", "tables", *(f"seed {seed}" for seed in range(seeds)), "mean",
             "against LightGBM", "against HistGradientBoosting"),
        _row(*["---"] * (seeds + 5)),
    ]  # fmt: skip
    for name, group in (("all", known), ("set aside", {*known} & {*SET_ASIDE})):
        some = [c for c in cells if c["table"] in group]
        scores = normalised(some)
        for method in METHODS:
            own = {k: v for k, v in scores.items() if k[0] == method}
            if len(own) < seeds * len(group) or method == "linear":
                continue
            means = [
                np.mean([v for k, v in own.items() if k[2] == seed])
                for seed in range(seeds)
            ]
            shown = (f"{mean:.2f}" for mean in (*means, np.mean(means)))
            duels = (_duels(some, method, other) for other in ("lightgbm", "hgb"))
            lines.append(_row(method, f"{len(group)}, {name}", *shown, *duels))
    return lines if known else []


def _scores(cells: list[dict[str, Any]]) -> list[str]:
    """The mean score of each method on each table."""
    methods = [m for m in METHODS if m not in ABLATION]
    methods = [m for m in methods if any(c["method"] == m for c in cells)]
    lines = [
        "\n### Every table\n",
        _row("Table", "rows", "columns", *methods),
        _row(*["---"] * (len(methods) + 3)),
    ]
    for table, spec in TABLES.items():
        own = [c for c in cells if c["table"] == table]
        if not own:
            continue
        means = {}
        for method in methods:
            found = [c["score"] for c in own if c["method"] == method]
            means[method] = np.mean(found) if found else -np.inf
        best = max(means.values())
        shown = [
            "" if m == -np.inf else f"**{m:.3f}**" if m == best else f"{m:.3f}"
            for m in means.values()
        ]
        name = f"{table}{'' if spec.is_classes else ' (values)'}"
        lines.append(_row(name, own[0]["rows"], own[0]["columns"], *shown))
    return lines


def _ablation(cells: list[dict[str, Any]]) -> list[str]:
    """What each change of the default recipe does to the error, on the same cells."""
    errors = {(c["method"], c["table"], c["seed"]): 1.0 - c["score"] for c in cells}
    names = {table for method, table, _ in errors if method in ABLATION}
    lines = [
        "\n### Each part of the default recipe\n",
        "The mean change of the error, which is 1 - score, in percent of that of the "
        f"whole recipe, on {', '.join(sorted(names))}.\n",
        _row("Change", "error", "classes", "values", "wins-losses", "fits"),
        _row(*["---"] * 6),
    ]
    for change in ABLATION:
        pairs = [
            (TABLES[table].is_classes, 100.0 * (e / errors["fastnn", table, seed] - 1))
            for (method, table, seed), e in errors.items()
            if method == change
        ]
        if not pairs:
            continue
        kinds = [[v for k, v in pairs if k == kind] for kind in (True, False)]
        lines.append(
            _row(
                change,
                f"{np.mean([v for _, v in pairs]):+.0f} %",
                *(f"{np.mean(k):+.0f} %" if k else "" for k in kinds),
                _duels(cells, change, "fastnn"),
                len(pairs),
            )
        )
    return lines if names else []


def table(cells: list[dict[str, Any]], all_cells: list[dict[str, Any]]) -> str:
    """Return all results as Markdown."""
    lines = [
        *_summary(cells, TABLES, "All tables"),
        *_summary(cells, SET_ASIDE, "The half that no choice was made on"),
        *_by_seed(all_cells),
        *_ablation(cells),
        *_scores(cells),
    ]
    return "\n".join(lines).strip() + "\n"


def write(path: Path, text: str) -> None:
    """Put a text between the marks of a page."""
    page = path.read_text()
    begin, end = "<!-- results -->\n", "<!-- end of results -->\n"
    head, tail = page.partition(begin)[0], page.partition(end)[2]
    path.write_text(f"{head}{begin}\n{text}\n{end}{tail}")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("command", choices=["run", "table"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*METHODS])
    groups = {"all": TABLES, "development": DEVELOPMENT, "set-aside": SET_ASIDE}
    parser.add_argument("--tables", nargs="+", choices=[*groups, *TABLES])
    parser.add_argument("--seeds", type=int, default=1, help="seeds 0 to SEEDS - 1")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--write", type=Path, help="the page for the table")
    options = parser.parse_args(arguments)
    tables: list[str] = []
    for name in options.tables or ["all"]:
        tables += groups.get(name, [name])
    if options.command == "run":
        run(options.results, options.methods, dict.fromkeys(tables), options.seeds)
        return 0
    cells = [c for c in read(options.results) if c["method"] in options.methods]
    ours = {(c["table"], c["seed"]) for c in cells if c["method"] == "fastnn"}
    # Seeds that are measured in part would count some tables twice.
    whole = [s for s in range(99) if all((name, s) in ours for name in TABLES)]
    text = table([c for c in cells if c["seed"] in whole], cells)
    if options.write is None:
        print(text)
    else:
        write(options.write, text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
