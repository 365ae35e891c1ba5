"""The base class of `MLPClassifier` and `MLPRegressor` of `fastnn.sklearn`.

``fit -> checks (scikit-learn's, then what fastnn adds) -> TrainedNetwork -> fit_epochs
or fit_lbfgs -> coefs_, intercepts_``. The public classes say what targets and
predictions are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

try:
    from sklearn.base import BaseEstimator, is_classifier
    from sklearn.model_selection import train_test_split
    from sklearn.utils import check_random_state
    from sklearn.utils._param_validation import Interval, Options, StrOptions
    from sklearn.utils.validation import check_is_fitted
except ImportError as error:
    raise ImportError(
        "fastnn.sklearn needs the package scikit-learn, 1.6 or later (the extra "
        "'sklearn' of fastnn): pip install scikit-learn"
    ) from error

from fastnn._base.errors import TrainingDiverged
from fastnn._base.warn import warn_user
from fastnn.activations import ACTIVATIONS, Activation
from fastnn.callbacks._base import Callback, check_callbacks

from ._callbacks import CallbackSupport, Tasks
from ._checks import (
    check_hidden_sizes,
    check_layers,
    check_same_sizes,
    check_X,
    check_X_y,
    choose_dtype,
    make_rows,
    require_range,
    validate_params,
    weigh_rows,
)
from ._lbfgs import fit_lbfgs
from ._network import (
    Parameters,
    TrainedNetwork,
    as_plain,
    from_plain,
    initial_parameters,
)
from ._record import begin_record, record_divergence
from ._rows import DataSet, readable
from ._training import Epochs, fit_epochs

if TYPE_CHECKING:
    from fastnn._base.types import Array


__all__ = ["BaseMLP"]

_NAMES = {"logistic", *ACTIVATIONS} - {"softmax"}


class BaseMLP(CallbackSupport, BaseEstimator, ABC):  # type: ignore[misc]
    """Parameters, checks and the course of a fit."""

    class_weight: Any = None  # a parameter of the classifier
    classes_: Array  # of the classifier
    coefs_ = Parameters()
    intercepts_ = Parameters()
    loss_: float
    loss_curve_: list[float]
    best_loss_: float | None
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    validation_loss_curve_: list[float] | None
    _best_parameters: list[tuple[Array, Array]]

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "activation": [StrOptions(_NAMES), "array-like", Activation],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        # Of a single one, `check_callbacks` says more.
        "callbacks": ["array-like", Callback, None],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "dtype": [StrOptions({"auto", "float32", "float64"})],
    }

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _set_parameters(self, arguments: dict[str, Any]) -> None:
        """Store the arguments of `__init__`, given as its ``locals()``."""
        self.__dict__.update(arguments)
        del self.__dict__["self"]

    def _validate_params(self) -> None:
        validate_params(self)

    # The kinds of estimators differ in these

    @abstractmethod
    def _check_targets(self, X: Any, y: Any, incremental: bool, reset: bool) -> Any:
        """Check X and y together; return X, and y encoded."""

    @abstractmethod
    def _encode(self, y: Any, name: str) -> Array:
        """Return y as labels int64 (n,) or a matrix (n, n_outputs)."""

    @abstractmethod
    def _output(self) -> tuple[int, str]:
        """The number of outputs, if y are labels, and their activation."""

    # Fitting

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        incremental: bool = False,
        validation: tuple[Any, Any, Any] = (None, None, None),
    ) -> None:
        hidden = check_hidden_sizes(self)
        callbacks = [] if self.callbacks is None else [*check_callbacks(self.callbacks)]
        has_weights = not {"coefs_", "_optimizer"}.isdisjoint(vars(self))
        first_pass = not has_weights or (not self.warm_start and not incremental)
        if not first_pass and not incremental:  # partial_fit takes whatever there is
            check_same_sizes(self, hidden)
        checked_X, y_encoded = self._check_targets(X, y, incremental, first_pass)
        rows = make_rows(checked_X, y_encoded, sample_weight, "sample_weight")
        if self.class_weight is not None:
            rows = weigh_rows(rows, self.class_weight, self.classes_, incremental)
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        activations, dropout = check_layers(self, len(hidden))
        n_labels, out_activation = self._output()
        self.n_outputs_ = rows.y.shape[1] if rows.y.ndim == 2 else n_labels
        held_out = self._check_validation(*validation)
        if held_out is not None and held_out.y.shape[1:] != rows.y.shape[1:]:
            raise ValueError(
                f"y_val has {held_out.y.shape[1]} outputs; expected "
                f"{self.n_outputs_}, as y has"
            )
        self._random_state = check_random_state(self.random_state)
        dtype = choose_dtype(self, rows.X, first_pass)
        require_range(rows, dtype)
        if held_out is not None:
            require_range(held_out, dtype, "_val")
        if first_pass:
            self.out_activation_ = out_activation
            sizes = [self.n_features_in_, *hidden, self.n_outputs_]
            # Without hidden layers, `activation` still matters for the initial weights.
            self._initialize(sizes, activations or [self.activation], dtype)
        trained = getattr(self, "_optimizer", None)
        if not incremental or trained is None or trained.solver.name != self.solver:
            seed = self._random_state.randint(2**31 - 1) if any(dropout) else 0
            trained = TrainedNetwork(self, activations, dropout, dtype, seed)
        if not incremental and Tasks.are_wanted(self):
            callbacks.insert(0, Tasks(self, trained, X, y, sample_weight))
        self._train(trained, rows, held_out, incremental, first_pass, callbacks)

    def _train(
        self,
        trained: TrainedNetwork,
        rows: DataSet,
        held_out: DataSet | None,
        incremental: bool,
        first_pass: bool,
        callbacks: list[Callback],
    ) -> None:
        epochs = None
        order = np.arange(len(rows))
        if self.early_stopping and held_out is None and self.solver != "lbfgs":
            order, held_out = self._hold_out(rows, order)
        rows = rows.prepared(trained.dtype)
        if held_out is not None:
            held_out = held_out.prepared(trained.dtype)
        if self.solver != "lbfgs":
            batch_size = self._batch_rows(len(order))
            epochs = Epochs(
                self, trained, rows, order, batch_size, held_out, incremental
            )
        begin_record(self, held_out is not None)
        if first_pass:
            optimizer = None if epochs is None else epochs.groups[0].optimizer
            model = trained.start(self.coefs_, self.intercepts_, optimizer)
        else:
            model = trained.model(self)
        diverged = None
        try:
            if epochs is None:
                fit_lbfgs(self, trained, model, rows, held_out, callbacks)
            else:
                max_iter = 1 if incremental else int(self.max_iter)
                fit_epochs(epochs, model, max_iter, callbacks)
        except TrainingDiverged as error:
            diverged = error
        except KeyboardInterrupt:
            warn_user("Training interrupted by user.")
        trained.keep(model, self)
        if epochs is not None and self.early_stopping:
            if diverged is not None:
                record_divergence(self)
            model.engine.set_weights(self._best_parameters)
        elif diverged is not None:
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may"
                " contain large values and need to be preprocessed."
            ) from diverged

    def _initialize(self, sizes: list[int], activations: list[Any], dtype: str) -> None:
        self.n_iter_ = 0
        self.t_ = 0
        self.n_layers_ = len(sizes)
        self.coefs_, self.intercepts_ = initial_parameters(
            self._random_state, sizes, activations, dtype
        )
        self.__dict__.pop("_best_parameters", None)
        self.validation_loss_curve_ = None
        if self.solver != "lbfgs":
            self.loss_curve_ = []
            self._no_improvement_count = 0
            self.validation_scores_ = None
            self.best_validation_score_ = None
            self.best_loss_ = None if self.early_stopping else np.inf

    def _hold_out(self, rows: DataSet, order: Array) -> tuple[Array, DataSet]:
        """The rows to train on, and those to validate with."""
        # Multi-class and multi-label targets are not stratified, as in scikit-learn.
        is_binary = is_classifier(self) and self.n_outputs_ == 1
        order, rest = train_test_split(
            order,
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=rows.y.astype(bool).reshape(-1, 1) if is_binary else None,
        )
        if len(rest) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or "
                "the size of your dataset."
            )
        held_out = rows.take(rest)
        if held_out.weight == 0.0:
            raise ValueError("sample_weight is zero for every validation sample")
        return order, held_out

    def _batch_rows(self, n_samples: int) -> int:
        if self.batch_size == "auto":
            return min(200, n_samples)
        if self.batch_size > n_samples:
            warn_user(
                "Got `batch_size` less than 1 or larger than sample size. It is going "
                "to be clipped"
            )
        return min(int(self.batch_size), n_samples)

    def _check_validation(self, X: Any, y: Any, sample_weight: Any) -> DataSet | None:
        if X is None and y is None:
            if sample_weight is not None:
                raise ValueError("sample_weight_val is given but X_val is None")
            return None
        if X is None or y is None:
            missing, given = ("X_val", "y_val") if X is None else ("y_val", "X_val")
            raise ValueError(f"{given} is given but {missing} is None; expected both")
        try:
            X, y = check_X_y(self, X, y, reset=False)
        except (TypeError, ValueError) as error:  # which says X and y
            kind = ValueError if isinstance(error, ValueError) else TypeError
            raise kind(f"X_val and y_val as X and y: {error}") from error
        y = self._encode(y, "y_val")
        return make_rows(X, y, sample_weight, "sample_weight_val")

    # Prediction

    def _forward(self, X: Any, output: str) -> Array:
        """The outputs of the network for the X that a user gave."""
        check_is_fitted(self)
        X = check_X(self, X)
        trained = getattr(self, "_optimizer", None)
        if trained is None:  # all attributes were set by hand
            layers = check_layers(self, len(self.coefs_) - 1)
            trained = TrainedNetwork(self, *layers, choose_dtype(self, X, False))
        model = trained.model(self)
        values = model.engine.forward(readable(X, trained.dtype), output)
        if output == "labels":
            return values
        dtype = np.float32 if X.dtype == np.float32 else np.float64
        if values.dtype == dtype:
            return values
        values = values.astype(dtype)
        if self.out_activation_ == "softmax":
            values /= values.sum(axis=1, keepdims=True)  # to the digits of the type
        return values

    # Plain data: of what is pickled or saved by skops, no other class is fastnn's.

    def __getstate__(self) -> Any:
        if "_optimizer" in vars(self):
            _ = self.coefs_  # if nobody has looked at them
        state = {**super().__getstate__()}
        if "_optimizer" in state:
            state["_optimizer"] = state["_optimizer"].to_plain()
        return {**state, "activation": as_plain(self.activation)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = {**state, "activation": from_plain(state["activation"])}
        if isinstance(state.get("_optimizer"), dict):  # else an older pickle's
            state["_optimizer"] = TrainedNetwork.from_plain(state["_optimizer"])
        super().__setstate__(state)
