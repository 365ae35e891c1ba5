"""Checks of the parameters and data of `fastnn.sklearn` that scikit-learn lacks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._base.fields import check_number
from fastnn._plan.inputs import check_sample_weight
from fastnn.activations import as_activation

from ._network import Objective, Solver, TrainedNetwork, engine_activation

if TYPE_CHECKING:
    from fastnn.activations import Activation

__all__ = [
    "check_activations",
    "check_dropout",
    "check_hidden_sizes",
    "check_same_sizes",
    "check_weights",
    "choose_dtype",
    "make_trained",
    "readable",
    "require_range",
]


def check_hidden_sizes(estimator: Any) -> list[int]:
    """Return `hidden_layer_sizes` as a list."""
    sizes = estimator.hidden_layer_sizes
    sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
    if any(size <= 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    return sizes


def check_same_sizes(estimator: Any, hidden: Sequence[Any]) -> None:
    """Raise ValueError if the weights to go on from have other hidden layers."""
    sizes = [len(b) for b in estimator.intercepts_[:-1]]
    if sizes != hidden:
        raise ValueError(
            f"hidden_layer_sizes is {estimator.hidden_layer_sizes!r} but warm_start is "
            f"True and the weights to go on from have hidden layers of {sizes}; "
            "expected the same, or warm_start=False"
        )


def check_activations(estimator: Any, hidden: Sequence[Any]) -> list[str | Activation]:
    """Return the activation of each hidden layer."""
    activations = _per_layer("activation", estimator.activation, len(hidden))
    for each in activations:
        if as_activation(engine_activation(each)).name == "softmax":
            raise ValueError("activation is 'softmax', which hidden layers cannot have")
    return activations


def check_dropout(estimator: Any, hidden: Sequence[Any]) -> list[float]:
    """Return the share of each hidden layer's outputs that is dropped."""
    rates = [
        check_number("dropout", rate, "a number >= 0 and < 1", lambda p: 0 <= p < 1)
        for rate in _per_layer("dropout", estimator.dropout, len(hidden))
    ]
    if estimator.solver == "lbfgs" and any(rates):
        raise ValueError(
            f"dropout is {estimator.dropout!r} but solver is 'lbfgs', which needs a "
            "loss that is a function of the weights alone; expected 'adam' or 'sgd'"
        )
    return rates


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
    """The dtype of the network; that of the weights, if there are weights to go on."""
    if estimator.dtype != "auto":
        return str(estimator.dtype)
    if not first_pass:
        own = str(np.asarray(estimator.coefs_[0]).dtype)
        if own in ("float32", "float64"):
            return own
    return str(np.result_type(X.dtype, np.float32))  # which has all values of X exactly


def make_trained(estimator: Any, dtype: str, seed: int = 0) -> TrainedNetwork:
    """The network that the parameters and `coefs_` describe, with no training yet."""
    hidden = estimator.coefs_[1:]
    return TrainedNetwork(
        Objective.of(estimator.out_activation_, estimator.n_outputs_),
        check_activations(estimator, hidden),
        check_dropout(estimator, hidden),
        dtype,
        Solver.of(estimator),
        seed,
        estimator.n_threads,
    )


def check_weights(sample_weight: Any, X: Any, name: str) -> Any:
    """scikit-learn's check, which takes one number for all too, then fastnn's."""
    from sklearn.utils.validation import _check_sample_weight

    if sample_weight is None:
        return None
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
    return check_sample_weight(weights, X.shape[0], name)


def require_range(name: str, array: Any, dtype: str) -> None:
    """Raise ValueError if a float, finite in its own dtype, overflows this one."""
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


def readable(X: Any) -> Any:
    """X in a dtype that engines read: all numbers but the longest floats."""
    if X.dtype.kind == "f" and X.dtype.itemsize > 8:
        return X.astype(np.float64)
    return X
