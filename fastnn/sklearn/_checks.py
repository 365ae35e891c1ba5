"""Checks of the parameters and data of `fastnn.sklearn` that scikit-learn lacks."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import validate_parameter_constraints
from sklearn.utils.validation import _check_sample_weight, validate_data

from fastnn._base.fields import check_number
from fastnn._plan.inputs import check_sample_weight, combine_class_weight
from fastnn.activations import as_activation

from ._rows import DataSet

if TYPE_CHECKING:
    from fastnn._base.types import Array
    from fastnn.activations import Activation

__all__ = [
    "check_X",
    "check_X_y",
    "check_hidden_sizes",
    "check_layers",
    "check_same_sizes",
    "choose_dtype",
    "fit_labels",
    "make_rows",
    "require_range",
    "validate_params",
    "weigh_rows",
]


def check_X(estimator: Any, X: Any) -> Any:
    """Return X for prediction, as scikit-learn's `validate_data` does."""
    if _is_known(estimator, X) and _is_plain(X):
        return X
    return validate_data(estimator, X, accept_sparse="csr", reset=False)


def check_X_y(estimator: Any, X: Any, y: Any, reset: bool, **options: Any) -> Any:
    """Return X and y for training, as scikit-learn's `validate_data` does."""
    is_usual = _is_known(estimator, X, reset) and y.__class__ is np.ndarray
    if is_usual and y.shape == (len(X),) and _is_plain(X) and _is_plain(y):
        estimator.n_features_in_ = X.shape[1]
        return X, y
    return validate_data(
        estimator, X, y, accept_sparse="csr", multi_output=True, reset=reset, **options
    )


def _is_known(estimator: Any, X: Any, reset: bool = False) -> bool:
    """Whether X is a matrix of nameless features, as many as in the training."""
    if X.__class__ is not np.ndarray or X.ndim != 2:
        return False
    own = vars(estimator)
    if "feature_names_in_" in own:
        return False
    return reset or X.shape[1] == own.get("n_features_in_")


def _is_plain(array: Array) -> bool:
    """Whether scikit-learn's `check_array` would return the array as it is.

    That takes a tenth of a millisecond, much of a short fit, or of a prediction.
    """
    if array.dtype.kind in "biu":
        return array.size > 0
    if array.dtype.kind != "f" or not 0 < array.size * array.itemsize <= 8 * array.size:
        return False
    with np.errstate(all="ignore"):
        return bool(np.isfinite(array.sum()))


def fit_labels(y: Any) -> LabelBinarizer:
    """Return a binarizer with the classes of y, which has been checked."""
    binarizer = LabelBinarizer()
    if y.ndim != 1 or y.dtype.kind not in "biu":
        return binarizer.fit(y)
    # What `fit` finds in half a millisecond.
    binarizer.classes_ = np.unique(y)
    binarizer.y_type_ = "binary" if len(binarizer.classes_) <= 2 else "multiclass"
    binarizer.sparse_input_ = False
    return binarizer


def validate_params(estimator: Any) -> None:
    """Check the parameters that are not the defaults: most are, and it takes long."""
    defaults = _defaults(estimator.__class__)
    changed = {
        name: value
        for name in defaults
        if (value := getattr(estimator, name)) is not defaults[name]
    }
    validate_parameter_constraints(
        estimator._parameter_constraints, changed, caller_name=type(estimator).__name__
    )


@cache
def _defaults(kind: type) -> dict[str, Any]:
    parameters = inspect.signature(kind.__init__).parameters.values()  # type: ignore[misc]
    return {p.name: p.default for p in parameters if p.name != "self"}


def check_hidden_sizes(estimator: Any) -> list[int]:
    """Return `hidden_layer_sizes` as a list."""
    sizes = estimator.hidden_layer_sizes
    sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
    if any(size <= 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    return sizes


def check_same_sizes(estimator: Any, hidden: Sequence[Any]) -> None:
    """Raise ValueError if the existing weights have other hidden layers."""
    sizes = [len(b) for b in estimator.intercepts_[:-1]]
    if sizes != hidden:
        raise ValueError(
            f"hidden_layer_sizes is {estimator.hidden_layer_sizes!r} but warm_start is "
            f"True and the weights to go on from have hidden layers of {sizes}; "
            "expected the same, or warm_start=False"
        )


def check_layers(
    estimator: Any, n_hidden: int
) -> tuple[list[str | Activation], list[float]]:
    """Return the activation, by fastnn's name, and the dropout of each hidden layer."""
    activations = [
        "sigmoid" if each == "logistic" else each
        for each in _per_layer("activation", estimator.activation, n_hidden)
    ]
    for activation in activations:
        if as_activation(activation).name == "softmax":
            raise ValueError("activation is 'softmax', which hidden layers cannot have")
    rates = _per_layer("dropout", estimator.dropout, n_hidden)
    if not isinstance(estimator.dropout, Real):  # a number has been checked
        expected = "a number >= 0 and < 1"
        rates = [
            check_number("dropout", rate, expected, lambda p: 0 <= p < 1)
            for rate in rates
        ]
    if estimator.solver == "lbfgs" and any(rates):
        raise ValueError(
            f"dropout is {estimator.dropout!r} but solver is 'lbfgs', which needs a "
            "loss that is a function of the weights alone; expected 'adam' or 'sgd'"
        )
    return activations, rates


def _per_layer(name: str, value: Any, n_hidden: int) -> list[Any]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        return [value] * n_hidden
    values = list(value)
    if len(values) != n_hidden:
        raise ValueError(
            f"{name} has {len(values)} values, but hidden_layer_sizes has {n_hidden}; "
            "expected one per hidden layer"
        )
    return values


def choose_dtype(estimator: Any, X: Any, first_pass: bool) -> str:
    """The dtype of the network: that of existing weights if training continues."""
    if estimator.dtype != "auto":
        return str(estimator.dtype)
    if not first_pass:
        trained, coefs = (vars(estimator).get(n) for n in ("_optimizer", "coefs_"))
        own = str(np.asarray(coefs[0]).dtype) if coefs else trained.dtype
        if own in ("float32", "float64"):
            return own
    # Holds all values of X exactly, but those of longer floats.
    return "float32" if np.result_type(X.dtype, np.float32) == "f4" else "float64"


def make_rows(X: Any, y: Array, sample_weight: Any, name: str) -> DataSet:
    """Return a data set, with its sample weights checked; `name` is their argument.

    X and y have been checked.
    """
    if sample_weight is not None:
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
        sample_weight = check_sample_weight(weights, X.shape[0], name)
    return DataSet(X, y, sample_weight)


def weigh_rows(
    rows: DataSet,
    class_weight: Mapping[Any, float] | str,
    classes: Array,
    incremental: bool,
) -> DataSet:
    """Multiply sample weights by those of the classes; y are places in `classes`."""
    if rows.y.ndim == 2:
        raise ValueError(
            f"class_weight is {class_weight!r} but y has several labels per row; "
            "expected None: use sample_weight"
        )
    if isinstance(class_weight, str):
        if incremental:
            raise ValueError(
                "class_weight 'balanced' needs the classes of all rows, which "
                "partial_fit does not know; expected a dict of weights by class"
            )
        by_place: Any = class_weight
    else:
        by_place = _by_place(class_weight, classes)
    weights = combine_class_weight(by_place, rows.y, rows.sample_weight, len(classes))
    return replace(rows, sample_weight=weights)


def _by_place(class_weight: Mapping[Any, float], classes: Array) -> dict[int, float]:
    places = {label: place for place, label in enumerate(np.asarray(classes).tolist())}
    for label in class_weight:
        if label not in places:
            raise ValueError(
                f"class_weight has a weight for {label!r}; expected classes of "
                f"{[*places]}"
            )
    return {places[label]: weight for label, weight in class_weight.items()}


def require_range(rows: DataSet, dtype: str, suffix: str = "") -> None:
    """Raise ValueError if a float, finite in its own dtype, overflows this one."""
    _require_range(f"X{suffix}", rows.X, dtype)
    _require_range(f"y{suffix}", rows.y, dtype)


def _require_range(name: str, array: Any, dtype: str) -> None:
    if array.dtype.kind != "f" or array.dtype.itemsize <= np.dtype(dtype).itemsize:
        return
    if hasattr(array, "toarray"):
        array = array.tocoo()
        values, places = array.data, np.transpose([array.row, array.col])
    else:
        values, places = array, None
    if values.size == 0:
        return
    low, high = values.min(), values.max()
    with np.errstate(over="ignore"):
        if np.isfinite(np.array([low, high]).astype(dtype)).all():
            return
    at = (values == (high if high > -low else low)).argmax()
    place = np.unravel_index(at, values.shape) if places is None else places[at]
    raise ValueError(
        f"{name}[{', '.join(str(int(i)) for i in place)}] is {values.flat[at]}; "
        f"expected finite values within the range of {dtype}"
    )
