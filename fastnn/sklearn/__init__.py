"""scikit-learn's MLP estimators on fastnn's engine, and estimators for tables.

Needs the package scikit-learn (the extra ``sklearn``). `MLPClassifier` and
`MLPRegressor` replace those of `sklearn.neural_network` 1.9: parameters, attributes,
methods and warnings are the same and mean the same. With the same `random_state` the
initial weights, the order of the rows and the rows held out are those that scikit-learn
draws, so that in float64 the model is the same up to rounding. The notes of
`MLPClassifier` list the differences.

`TabularClassifier` and `TabularRegressor` are for tables with columns of any kind, and
are trained by a recipe, without parameters to tune.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ._base import BaseMLP  # the first, to say which package is missing

# isort: split
from sklearn.base import ClassifierMixin, RegressorMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    type_of_target,
    unique_labels,
)

from fastnn._core.model.threadpools import show_threads

from ._checks import check_X_y, fit_labels
from ._record import all_or_nothing
from ._tabular.classifier import TabularClassifier
from ._tabular.regressor import TabularRegressor

if TYPE_CHECKING:
    from fastnn._base.types import Array


__all__ = ["MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor"]

show_threads()  # scikit-learn has imported threadpoolctl


def _is_stochastic(estimator: BaseMLP) -> bool:
    if estimator.solver == "lbfgs":
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. "
            f"{estimator.solver} is not stochastic."
        )
    return True


class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]
    """Multilayer perceptron that classifies, with scikit-learn's interface.

    Minimises the log-loss, ``sum_i w_i l_i / sum_i w_i`` over the rows of a batch, plus
    ``0.5 alpha ||W||^2 / sum_i w_i`` over all weight matrices. The output is a softmax
    of several classes, a logistic function of two, or one of each label if y is an
    indicator matrix (multi-label).

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default (100,)
        Units of the hidden layers; () for none.
    activation : str, Activation or list of them, default "relu"
        Of the hidden layers: "identity", "logistic", "tanh", "relu", another name of
        `fastnn.activations.ACTIVATIONS` but "softmax", or an object such as
        ``LeakyReLU(0.1)``; a list has one per hidden layer.
    solver : {"adam", "sgd", "lbfgs"}, default "adam"
    alpha : float, default 1e-4
        Strength of the L2 penalty, which is divided by the sample weight of the batch
        (of several batches in a weighted fit, by their mean).
    batch_size : int or "auto", default "auto"
        Rows per update; "auto" is ``min(200, n_samples)``. Not for "lbfgs".
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        Of "sgd": "invscaling" is ``learning_rate_init / (t_ + 1) ** power_t`` from the
        second epoch on; "adaptive" divides by 5 where the training would end, down to
        1e-6.
    learning_rate_init : float, default 1e-3
    power_t : float, default 0.5
    max_iter : int, default 200
        Epochs at most; of "lbfgs", iterations.
    shuffle : bool, default True
        Take the rows in another order in each epoch.
    random_state : int, RandomState or None
        Of initial weights, order of rows, rows held out and dropout.
    tol : float, default 1e-4
        See `n_iter_no_change`. Of "lbfgs", the training ends when no element of the
        projected gradient is larger.
    verbose : bool or int, default False
        Print the loss of each epoch.
    warm_start : bool, default False
        Let `fit` continue from the weights of the last one.
    momentum : float, default 0.9
    nesterovs_momentum : bool, default True
        Of "sgd".
    early_stopping : bool, default False
        Hold out `validation_fraction` of the rows, stratified if there are two classes,
        unless `fit` is given `X_val`; end by their score instead of the training loss,
        and keep the weights of the best epoch.
    validation_fraction : float, default 0.1
    beta_1, beta_2, epsilon : float, default 0.9, 0.999 and 1e-8
        Of "adam".
    n_iter_no_change : int, default 10
        The training ends after more than this number of consecutive epochs whose loss
        (score) did not improve on the best before by at least `tol`.
    max_fun : int, default 15000
        Evaluations of the loss at most. Of "lbfgs".
    class_weight : dict, "balanced" or None
        A factor of the sample weights by class, 1 for classes left out; "balanced" lets
        all classes count the same. Not in scikit-learn, like all that follow.
    dropout : float or list of float, default 0.0
        The share of each hidden layer's outputs, or of each of its own, that is dropped
        in training.
    callbacks : sequence of fastnn.Callback, optional
        Their logs have "loss" as in `loss_curve_` and, with validation rows, "val_loss"
        and "val_score". The network that they see is the one in training. Those of
        scikit-learn are given to `set_callbacks`, from its version 1.9 on.
    n_threads : int, optional
        The most threads to use; the result does not depend on it.
    dtype : {"auto", "float32", "float64"}
        Of the weights and of all arithmetic. "auto" is that of X, as in scikit-learn,
        and float32 for types whose values it holds exactly: float16, bool and integers
        of up to 16 bits, which are not copied either. "float32" is up to twice as fast.

    Attributes
    ----------
    classes_ : ndarray or list of ndarray
    coefs_, intercepts_ : list of ndarray (n_in, n_out) and (n_out,)
        Of each layer. They may be changed: predictions follow. They are made when they
        are first asked for, and from then on each prediction compares them.
    loss_, best_loss_ : float
        Of the last epoch, and the least; `best_loss_` is None with early stopping.
    loss_curve_ : list of float
        By epoch, with the penalty: the mean over the batches. With several batches, the
        penalty is taken to change linearly within the epoch.
    validation_scores_ : list of float or None
        By epoch; None without validation rows.
    best_validation_score_ : float or None
        None without early stopping.
    validation_loss_curve_ : list of float or None
        The loss of the validation rows by epoch, without the penalty.
    n_iter_, t_ : int
        Epochs of the last fit, and rows seen in all fits.
    n_features_in_, n_layers_, n_outputs_ : int
    feature_names_in_ : ndarray of str
        If X has names.
    out_activation_ : str

    Raises
    ------
    ValueError
        An argument is out of range, or the training diverged.

    Warns
    -----
    ConvergenceWarning
        The training reached `max_iter`, or "lbfgs" ended without a minimum.

    Notes
    -----
    Besides its additions, this differs from `sklearn.neural_network.MLPClassifier` as
    follows. Negative sample weights are refused. In a weighted fit of several batches,
    penalty and loss are weighted by all rows, where scikit-learn weights them by the
    rows of each batch. Losses are not capped, where scikit-learn caps them at that of a
    probability of 2.2e-16. Predictions are float32 if X is, else float64.

    Integers of up to 16 bits, bool and float16 are trained on in float32, where
    scikit-learn takes float64: give ``dtype="float64"`` for its results. `partial_fit`
    after ``set_params(solver=...)`` continues with the new solver, where scikit-learn
    keeps the first; after ``set_params(activation=...)`` predictions still use the
    activation of the training, where scikit-learn takes the new one. `fit` with
    `warm_start` refuses `hidden_layer_sizes` other than those of the weights. If one
    thread calls `partial_fit` while another predicts with the same estimator, whichever
    comes second raises `BusyError`. A fit that raises leaves the estimator as it was,
    unless the training diverged.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from fastnn.sklearn import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> model = MLPClassifier(max_iter=1000, random_state=0).fit(X_train, y_train)
    >>> model.score(X_test, y_test) > 0.9
    True
    >>> model.predict_proba(X_test[:2]).shape
    (2, 3)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMLP._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        class_weight: Mapping[Any, float] | str | None = None,
        dropout: Any = 0.0,
        callbacks: Any = None,
        n_threads: int | None = None,
        dtype: str = "auto",
    ) -> None:
        self._set_parameters(locals())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> MLPClassifier:
        """Train on X and y.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
            Numbers of any dtype.
        y : array-like (n_samples,) or (n_samples, n_outputs)
            Labels of any type, or a matrix of 0 and 1.
        sample_weight : array-like (n_samples,), optional
            At least 0.
        X_val, y_val, sample_weight_val : array-like, optional
            Validation rows: scored after each epoch, for `validation_scores_` and
            `validation_loss_curve_`; `early_stopping` uses them as the rows held out.

        Returns
        -------
        self
        """
        with all_or_nothing(self):
            self._fit(X, y, sample_weight, validation=(X_val, y_val, sample_weight_val))
        return self

    @available_if(_is_stochastic)  # type: ignore[untyped-decorator]
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None
    ) -> MLPClassifier:
        """Train for one epoch, continuing from the state of the last call.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array-like (n_classes,), optional
            All classes, including those that y lacks: needed in the first call.

        Returns
        -------
        self
        """
        with all_or_nothing(self, incremental=True):
            if _check_partial_fit_first_call(self, classes):
                self._label_binarizer = LabelBinarizer()
                is_indicator = type_of_target(y).startswith("multilabel")
                self._label_binarizer.fit(y if is_indicator else classes)
            self._fit(X, y, sample_weight, incremental=True)
        return self

    def predict(self, X: Any) -> Array:
        """Return the most probable class of each row (n,); of labels a matrix.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
        """
        labels = self._forward(X, "labels")
        binarizer = self._label_binarizer
        if binarizer.y_type_.startswith("multilabel"):
            found: Array = binarizer.inverse_transform(labels)  # sparse if y was
        else:
            classes = np.asarray(binarizer.classes_)
            found = classes[np.minimum(labels, len(classes) - 1)]
        return found

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class (n, n_classes), in their order.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
        """
        p = self._forward(X, "values")
        if self.n_outputs_ == 1:
            return np.hstack([1 - p, p])
        return p

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithms of `predict_proba`.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
        """
        p = self.predict_proba(X)
        return np.log(p, out=p)

    def _check_targets(self, X: Any, y: Any, incremental: bool, reset: bool) -> Any:
        X, y = check_X_y(self, X, y, reset)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = fit_labels(y)
            self.classes_ = self._label_binarizer.classes_
            return X, self._encode(y, "y")
        if y.ndim == 1 and y.dtype.kind in "biu" and not self.warm_start:
            places = self._places(y)
            if places is not None:
                return X, places
        classes = unique_labels(y)
        if self.warm_start:
            if {*classes} != {*self.classes_}:
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in "
                    f"the previous call to fit. Previously got {self.classes_}, "
                    f"`y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                "`y` has classes not in `self.classes_`. `self.classes_` has "
                f"{self.classes_}. 'y' has {classes}."
            )
        return X, self._encode(y, "y")

    def _encode(self, y: Any, name: str) -> Array:
        binarizer = self._label_binarizer
        classes = np.asarray(binarizer.classes_)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not binarizer.y_type_.startswith("multilabel"):
            if y.ndim != 1:
                raise ValueError(
                    f"{name} has shape {y.shape}; expected one of the classes "
                    f"{classes} per row"
                )
            places = self._places(y)
            if places is None:
                raise ValueError(
                    f"{name} has classes not in {classes}, those of the training"
                )
            return places
        values = y.data if hasattr(y, "toarray") else y
        if y.shape[1:] != classes.shape or not np.isin(values, (0, 1)).all():
            raise ValueError(
                f"{name} has shape {y.shape}; expected a matrix of 0 and 1 with "
                f"{len(classes)} columns"
            )
        return np.asarray(binarizer.transform(y))

    def _places(self, y: Array) -> Array | None:
        """The place of each class in `classes_`; None if one is not there."""
        # Without the matrix that transform makes, which takes unknown classes.
        classes = np.asarray(self._label_binarizer.classes_)
        labels = np.searchsorted(classes, y)
        at = np.minimum(labels, len(classes) - 1)
        return None if (classes[at] != y).any() else labels.astype(np.int64)

    def _output(self) -> tuple[int, str]:
        binarizer = self._label_binarizer
        if binarizer.y_type_ == "multiclass":
            return len(binarizer.classes_), "softmax"
        return 1, "logistic"


class MLPRegressor(RegressorMixin, BaseMLP):  # type: ignore[misc]
    """Multilayer perceptron that predicts quantities, with scikit-learn's interface.

    Minimises half the squared error, or half the Poisson deviance,
    ``sum_i w_i l_i / sum_i w_i`` over the rows of a batch, plus
    ``0.5 alpha ||W||^2 / sum_i w_i`` over all weight matrices.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}, default "squared_error"
        "poisson" predicts ``exp`` of the output and needs ``y >= 0``.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate
    learning_rate_init, power_t, max_iter, shuffle, random_state, tol, verbose
    warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction
    beta_1, beta_2, epsilon, n_iter_no_change, max_fun, dropout, callbacks, n_threads
    dtype
        As for `MLPClassifier`. The validation score is R2.

    Attributes
    ----------
    coefs_, intercepts_, loss_, best_loss_, loss_curve_, validation_scores_
    best_validation_score_, validation_loss_curve_, n_iter_, t_, n_features_in_
    n_layers_, n_outputs_, feature_names_in_, out_activation_
        As for `MLPClassifier`.

    Raises
    ------
    ValueError
        An argument is out of range, or the training diverged.

    Warns
    -----
    ConvergenceWarning
        The training reached `max_iter`, or "lbfgs" ended without a minimum.

    Notes
    -----
    `MLPClassifier` lists the differences from scikit-learn's estimators. With several
    outputs, both descend the sum of the squared errors and report their mean; here the
    line searches of "lbfgs" use the sum too.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from fastnn.sklearn import MLPRegressor
    >>> X, y = make_regression(200, 20, random_state=1)
    >>> model = MLPRegressor(solver="lbfgs", random_state=1).fit(X[:150], y[:150])
    >>> model.score(X[150:], y[150:]) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: Any = 0.0,
        callbacks: Any = None,
        n_threads: int | None = None,
        dtype: str = "auto",
    ) -> None:
        self._set_parameters(locals())

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> MLPRegressor:
        """Train on X and y.

        Parameters
        ----------
        X, sample_weight, X_val, y_val, sample_weight_val
            As for `MLPClassifier.fit`.
        y : array-like (n_samples,) or (n_samples, n_outputs)

        Returns
        -------
        self
        """
        with all_or_nothing(self):
            self._fit(X, y, sample_weight, validation=(X_val, y_val, sample_weight_val))
        return self

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Train for one epoch, continuing from the state of the last call.

        "lbfgs" continues from the weights and searches for a minimum.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        self
        """
        with all_or_nothing(self, incremental=True):
            self._fit(X, y, sample_weight, incremental=True)
        return self

    def predict(self, X: Any) -> Array:
        """Return the values (n,), of several outputs (n, n_outputs).

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
        """
        values = self._forward(X, "values")
        return values.ravel() if values.shape[1] == 1 else values

    def _check_targets(self, X: Any, y: Any, incremental: bool, reset: bool) -> Any:
        X, y = check_X_y(self, X, y, reset, y_numeric=True)
        return X, self._encode(y, "y")

    def _encode(self, y: Any, name: str) -> Array:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        values = np.asarray(y.toarray() if hasattr(y, "toarray") else y)
        if values.dtype.kind not in "biuf":
            try:
                values = values.astype(np.float64)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name} must have numbers: {error}") from error
        if self.loss == "poisson" and (values < 0).any():
            raise ValueError(
                f"{name} has {values.min()}; expected numbers >= 0 for the loss "
                "'poisson'"
            )
        return values.reshape(len(values), -1)

    def _output(self) -> tuple[int, str]:
        return 1, "exp" if self.loss == "poisson" else "identity"
