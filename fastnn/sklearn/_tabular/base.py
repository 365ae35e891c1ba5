"""The base class of `TabularClassifier` and `TabularRegressor`.

``fit -> checks -> Schema and encoded targets -> fit_models -> what rows that a
network has not seen say: out-of-fold scores, temperature``.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_consistent_length, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from fastnn._core.exchange.c.export import write_c
from fastnn._core.exchange.c.table import require_numeric
from fastnn._core.exchange.files import write_atomically
from fastnn._core.exchange.onnx.model import make_onnx_of_table
from fastnn._core.exchange.pipeline import Pipeline
from fastnn._core.training.recipe import Data, Job, fit_models, outputs_of
from fastnn._plan.inputs import check_sample_weight
from fastnn._plan.recipes import MAX_CATEGORIES, RECIPES
from fastnn._plan.schema import Schema
from fastnn._plan.tables import column_names
from fastnn.metrics import r2
from fastnn.network import Network, model_of, network_of
from fastnn.sklearn._record import all_or_nothing

from .importance import Part, few_of, importances_of

if TYPE_CHECKING:
    from fastnn._base.types import Array, Floats
    from fastnn._core.model.model import Model
    from fastnn._plan.targets import TargetScaling
    from fastnn.losses import Loss

__all__ = ["BaseTabular"]

_SEEDS = 2**31 - 1


class BaseTabular(BaseEstimator, ABC):  # type: ignore[misc]
    """Parameters, checks and the course of a fit."""

    schema_: Schema
    networks_: list[Network]
    oof_score_: float
    _targets: TargetScaling | None = None  # of values

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "recipe": [StrOptions({*RECIPES})],
        "members": [Interval(Integral, 1, None, closed="left")],
        "n_folds": [Interval(Integral, 2, None, closed="left"), None],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "random_state": ["random_state"],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    }

    recipe: str
    members: int
    n_folds: int | None
    time_limit: float | None
    random_state: Any
    n_threads: int | None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.non_deterministic = False
        return tags

    # The kinds of estimators differ in these

    @abstractmethod
    def _fit_targets(self, y: Any, weight: Floats | None) -> Array:
        """Learn the classes or the scale of y; return labels or values."""

    @abstractmethod
    def _encode_targets(self, y: Any, name: str) -> Array:
        """Return other targets as labels or values."""

    @abstractmethod
    def _folds(self, y: Array, random_state: Any) -> list[tuple[Array, Array]]:
        """Training and held-out rows of each fold."""

    @abstractmethod
    def _learn_from(self, held_out: Data, outputs: Floats) -> float:
        """Calibrate by rows that the networks have not seen; return their score."""

    @property
    @abstractmethod
    def _n_classes(self) -> int:
        """0 for values."""

    @property
    def _loss(self) -> Loss | None:
        """That of values, if it is not the squared error."""
        return None

    # Fitting

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation: tuple[Any, Any, Any],
    ) -> None:
        with all_or_nothing(self):
            self._learn(X, y, sample_weight, validation)

    def _learn(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation: tuple[Any, Any, Any],
    ) -> None:
        table = self._check_table(X, "X", reset=True)
        y = self._check_y(y)
        schema = Schema.from_table(table, max_categories=MAX_CATEGORIES)
        encoded = schema.encode(table, "float32", "X")
        check_consistent_length(encoded, y)
        weight = self._check_weight(sample_weight, len(y), "sample_weight")
        rng = check_random_state(self.random_state)
        targets = self._fit_targets(y, weight)
        self.schema_ = schema
        data = Data(encoded, targets, self._weigh(targets, weight))
        held_out = self._check_validation(*validation)
        if data.weight is not None and not data.weight.all():
            data = data.take(np.flatnonzero(data.weight))
        job = Job(
            RECIPES[self.recipe],
            self.schema_.n_numeric,
            self._n_classes,
            np.inf if self.time_limit is None else float(self.time_limit),
            self.n_threads,
            network_of,
            loss=self._loss,
            targets=self._targets,
            held_out=held_out,
        )
        folds = self._folds(data.y, rng) if self.n_folds else []
        wholes: list[Array | None] = [rows for rows, _ in folds] or [None]
        parts = [rows for rows in wholes for _ in range(self.members)]
        seeds = [int(seed) for seed in rng.randint(_SEEDS, size=len(parts))]
        models = fit_models(job, data, parts, seeds).models
        self.networks_ = [*map(network_of, models)]
        self._seed = seeds[0]
        self._parts = [Part(few_of(data), slice(None))]
        if folds:
            self._score_folds(data, folds, models)
        if held_out is not None:
            self._parts = [Part(few_of(held_out), slice(None))]
            outputs = outputs_of(models, held_out.X)
            self.validation_score_ = self._learn_from(held_out, outputs)

    def _score_folds(
        self, data: Data, folds: list[tuple[Array, Array]], models: list[Model]
    ) -> None:
        k = self.members
        outputs = np.empty((len(data.y), models[0].plan.n_outputs))
        parts: list[Part] = []
        for number, (_, rows) in enumerate(folds):
            own = slice(number * k, (number + 1) * k)
            parts.append(Part(few_of(data.take(rows), len(folds)), own))
            members = models[own]
            outputs[rows] = outputs_of(members, data.X[rows])
        self._parts = parts
        self.oof_score_ = self._learn_from(data, outputs)

    def _check_table(self, X: Any, name: str, reset: bool) -> Any:
        """Return a table by column names; scikit-learn's checks, where it knows X."""
        if isinstance(X, Mapping) and not issparse(X):  # of SciPy, some are dicts
            if reset:
                self.feature_names_in_ = np.array([*X], dtype=object)
                self.n_features_in_ = len(X)
            return X
        if column_names(X) is None or issparse(X):
            X = check_array(
                X, dtype=None, ensure_all_finite="allow-nan", estimator=self,
                input_name=name,
            )  # fmt: skip
            if X.dtype.kind == "c":
                raise ValueError(f"Complex data not supported\n{name} is {X.dtype}")
        validate_data(self, X, reset=reset, skip_check_array=True)
        if column_names(X) is None:
            return {f"x{j}": X[:, j] for j in range(X.shape[1])}
        return X

    @abstractmethod
    def _check_y(self, y: Any) -> Any:
        """Return y as an array (n,), of classes or numbers."""

    def _check_weight(self, weight: Any, n_rows: int, name: str) -> Floats | None:
        if weight is None:
            return None
        weight = _check_sample_weight(weight, np.empty((n_rows, 1)), dtype=np.float64)
        return check_sample_weight(weight, n_rows, name)

    def _weigh(self, targets: Array, weight: Floats | None) -> Floats | None:
        """Sample weights with those of the classes."""
        return weight

    def _check_validation(self, X: Any, y: Any, weight: Any) -> Data | None:
        if X is None and y is None:
            if weight is not None:
                raise ValueError("sample_weight_val is given but X_val is None")
            return None
        if X is None or y is None:
            missing, given = ("X_val", "y_val") if X is None else ("y_val", "X_val")
            raise ValueError(f"{given} is given but {missing} is None; expected both")
        table = self._check_table(X, "X_val", reset=False)
        targets = self._encode_targets(y, "y_val")
        encoded = self.schema_.encode(table, "float32", "X_val")
        check_consistent_length(encoded, targets)
        weight = self._check_weight(weight, len(targets), "sample_weight_val")
        return Data(encoded, targets, weight)

    @property
    def feature_importances_(self) -> Floats:
        """By column, the accuracy or R2 that is lost when it is shuffled (n_features,).

        The mean of 3 shuffles of at most 1000 rows, evenly spread: of X_val; else, with
        `n_folds`, of rows that each network has not seen; else of the training, which
        shows what the model uses, not what helps with new rows. It is computed when it
        is asked for, the same for the same `random_state`.
        """
        check_is_fitted(self, "networks_")

        def score(outputs: Floats, data: Data) -> float:
            if self._n_classes:
                return float(
                    np.average(outputs.argmax(axis=1) == data.y, weights=data.weight)
                )
            values = outputs[:, self.networks_[0].plan.loss.point]
            return r2(data.y, values, sample_weight=data.weight)

        return importances_of(
            self.networks_, self._parts, self.schema_, score, self._seed
        )

    # Other software

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write all of it, from the columns to the answer, as an ONNX model.

        For each column that is used there is an input (rows, 1) of its name ("x0",
        "x1", ... if X had none): float64 for numbers, truth values (1 and 0) and dates
        (seconds since 1970, of UTC), string for text. NaN and text that is unknown,
        such as "", are missing. The outputs are "label" (rows,) and "probabilities"
        (rows, n_classes), or "values" (rows, 1): what `predict` and `predict_proba`
        return, to 1e-6. Needs the package onnx.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        ImportError, OSError
            The package onnx is absent, or the file cannot be written.
        """
        model = make_onnx_of_table(self._pipeline())
        write_atomically(path, model.SerializeToString(deterministic=True))

    def to_c(self, path: str | os.PathLike[str], *, name: str | None = None) -> None:
        """Write all of it as a C header, if all columns are numbers or truth values.

        ``NAME_predict_row(row, out)`` takes the columns of ``NAME_column_names`` as
        they are, double, NaN where they are missing, and writes what `predict_proba`
        or `predict` returns. See `Network.to_c`.

        Parameters
        ----------
        path : str or path-like
            Ends with ".h".
        name : str, optional
            What all names in the header begin with; by default that of the file.

        Raises
        ------
        OSError
            The file cannot be written.
        ValueError
            A column is text or a date, there are several networks, or an argument is
            not as described.
        """
        pipeline = self._pipeline()
        require_numeric(pipeline.schema)
        if len(pipeline.states) > 1:
            raise ValueError(
                f"there are {len(pipeline.states)} networks; expected one, of "
                "members=1 and n_folds=None"
            )
        state = replace(pipeline.states[0], schema=pipeline.schema)
        write_c(state, path, name, False, None, pipeline)

    def _pipeline(self) -> Pipeline:
        check_is_fitted(self, "networks_")
        networks = map(model_of, self.networks_)
        states = [each.state(include_optimizer=False) for each in networks]
        of: Any = self
        if self._n_classes:
            return Pipeline(states, self.schema_, of.classes_, of.temperature_)
        # In float64, once, after the mean.
        states = [replace(state, targets=None) for state in states]
        target = of.target_mean_, of.target_deviation_, *of._target_range
        point = states[0].plan.loss.point
        return Pipeline(states, self.schema_, None, target=target, point=point)

    # Plain data, for pickles and skops: no class of its own but this one

    def __getstate__(self) -> Any:
        state = {**super().__getstate__()}
        if "networks_" in state:
            state["networks_"] = [each.__getstate__() for each in self.networks_]
            state["schema_"] = self.schema_.to_dict()
            state["_parts"] = [
                [*data, which.start, which.stop] for data, which in self._parts
            ]
            state.pop("_targets", None)  # the networks have it
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state.get("schema_"), dict):  # else an older pickle's
            networks = [Network.__new__(Network) for _ in state["networks_"]]
            for network, of in zip(networks, state["networks_"], strict=True):
                network.__setstate__(of)
            parts = [Part(Data(*of[:3]), slice(*of[3:])) for of in state["_parts"]]
            schema = Schema.from_dict(state["schema_"])
            state = {**state, "networks_": networks, "schema_": schema, "_parts": parts}
        super().__setstate__(state)

    # Predicting

    def _outputs(self, X: Any) -> Floats:
        """The mean of the networks' outputs, float64 (n, n_outputs)."""
        check_is_fitted(self, "networks_")
        table = self._check_table(X, "X", reset=False)
        encoded = self.schema_.encode(table, "float32", "X")
        return outputs_of([*map(model_of, self.networks_)], encoded)
