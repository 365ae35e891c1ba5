"""Argument validation: what the user gave, checked once, before anything changes.

Every function takes an argument of the public API, returns it in the form the
engines work with, and raises ``ValueError`` or ``TypeError`` with the argument's
name, what was given and what was expected. Data is never copied to be checked:
large arrays are looked at in chunks, and X is handed on in the dtype and layout it
lies in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._base.fields import NOT_NEGATIVE, check_integer, check_number

from .arrays import as_array, row_chunks
from .targets import check_targets

if TYPE_CHECKING:
    from fastnn._base.types import Array, Floats

    from .plan import Plan


__all__ = [
    "as_parameter",
    "bad_values",
    "check_X",
    "check_input_scaling",
    "check_sample_weight",
    "check_targets",
    "check_weights",
    "combine_class_weight",
    "not_finite",
    "standard_scaling",
    "wrong_code",
]


def check_X(X: Any, n_inputs: int, name: str = "X") -> Array:
    """Return X as a 2-D array (n >= 1, n_inputs) of a supported dtype, not copied.

    Supported are bool, (u)int8..64 and float16/32/64 in any byte order and memory
    layout. Values are not looked at: see `not_finite`.
    """
    array = as_array(X, name)
    if array.ndim != 2:
        raise ValueError(_wrong_ndim(array, n_inputs, name))
    if array.shape[0] == 0:
        raise ValueError(
            f"{name} has no rows (shape {array.shape}); expected at least one sample"
        )
    if array.shape[1] != n_inputs:
        raise ValueError(
            f"{name} has {array.shape[1]} columns (shape {array.shape}); expected "
            f"{n_inputs}, the number of inputs of the network"
        )
    return array


def standard_scaling(X: Array) -> tuple[Any, Any]:
    """Return scale and shift: of pixels by the largest; else to mean 0, deviation 1."""
    if X.dtype == np.uint8:
        return 1.0 / max(1, int(X.max())), 0.0
    mean, deviation = X.mean(axis=0, dtype=float), X.std(axis=0, dtype=float)
    scale = 1.0 / np.where(deviation > 0, deviation, 1.0)
    return scale, -mean * scale


def check_sample_weight(
    sample_weight: Any, n_samples: int, name: str = "sample_weight"
) -> Floats | None:
    """Return the weights as float64 (n,), C-contiguous, or None for None.

    There is one for each sample, finite and >= 0, and not all are 0.
    """
    if sample_weight is None:
        return None
    array = as_array(sample_weight, name)
    if array.shape != (n_samples,):
        raise ValueError(
            f"{name} has shape {array.shape}; expected ({n_samples},), "
            "one weight per sample"
        )
    weights = np.ascontiguousarray(array, dtype=np.float64)
    bad = ~(np.isfinite(weights) & (weights >= 0.0))
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"{name}[{row}] is {weights[row]}; expected finite weights >= 0"
        )
    # Subnormal ones count as 0, in arithmetic that flushes them and elsewhere.
    subnormal = (weights > 0.0) & (weights < np.finfo(np.float64).tiny)
    if subnormal.any():
        weights = np.where(subnormal, 0.0, weights)
    _require_positive_sum(weights, name)
    return weights


def combine_class_weight(
    class_weight: Any, y: Array, sample_weight: Floats | None, n_classes: int
) -> Floats | None:
    """Return one weight per sample: its own times the one of its class.

    With ``"balanced"``, class c weighs ``sum(w) / (C_present * sum(w[y == c]))``, so
    that every class that occurs counts the same (scikit-learn's definition). In a
    dict {class: weight}, classes that are left out weigh 1. Of y, which `check_targets`
    returned, one-hot rows count as labels, and so does a column of 0 and 1; other soft
    targets have no class.
    """
    if class_weight is None:
        return sample_weight
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(
                f"class_weight is {class_weight!r}; expected None, 'balanced' or a "
                "dict of weights by class"
            )
    elif not isinstance(class_weight, Mapping):
        raise TypeError(
            f"class_weight is {class_weight!r}; expected None, 'balanced' or a dict "
            "of weights by class"
        )
    labels = _hard_labels(y)
    own = np.ones(len(labels)) if sample_weight is None else sample_weight
    if isinstance(class_weight, Mapping):
        by_class = _class_weights_of_dict(class_weight, n_classes)
    else:
        count = np.bincount(labels, weights=own, minlength=n_classes)
        present = count > 0
        by_class = np.zeros(n_classes)
        with np.errstate(all="ignore"):
            by_class[present] = own.sum() / (present.sum() * count[present])
    with np.errstate(all="ignore"):
        weights: Floats = own * by_class[labels]
    _require_positive_sum(weights, "class_weight times sample_weight")
    return weights


def not_finite(X: Array, dtype: str, name: str = "X") -> ValueError:
    """Return the error with row, column and value of the NaN or infinity in X.

    An engine has found that there is one (`all_finite`). A float64 value that overflows
    the float32 of the network counts as infinite.
    """
    for start, chunk in row_chunks(X):
        with np.errstate(all="ignore"):
            bad = ~np.isfinite(chunk.astype(np.dtype(dtype)))
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            return ValueError(
                f"{name}[{start + row}, {column}] is {chunk[row, column]}; "
                f"expected finite values within the range of {dtype}"
            )
    return ValueError(f"{name} is not finite in {dtype} after the input scaling")


def wrong_code(X: Array, plan: Plan) -> tuple[int, int] | None:
    """Return row and column of the first code that no category has, if there is one."""
    counts = np.array(plan.categories)
    first = plan.n_inputs - len(counts)
    for start, chunk in row_chunks(X):
        codes = chunk[:, first:]
        wrong = (codes < -1) | (codes >= counts) | (codes != np.floor(codes))
        if wrong.any():
            row, column = (int(i) for i in np.argwhere(wrong)[0])
            return start + row, first + column
    return None


def bad_values(X: Array, plan: Plan, name: str = "X") -> ValueError:
    """Return the error about what an engine has found to be wrong in X."""
    with np.errstate(all="ignore"):
        place = wrong_code(X, plan) if plan.categories else None
    if place is None or not np.isfinite(X[place]):
        return not_finite(X, plan.array_dtype, name)
    row, column = place
    count = plan.categories[column - plan.n_inputs + len(plan.categories)]
    return ValueError(
        f"{name}[{row}, {column}] is {X[place]}; expected a code from 0 to "
        f"{count - 1}, of one of {count} categories, or -1"
    )


def check_input_scaling(
    scale: Any, shift: Any, n_inputs: int
) -> tuple[Floats, Floats] | tuple[None, None]:
    """Return scale and shift as float64 (n_inputs,), or (None, None) for 1 and 0.

    Each may be a number or one number per input: x := x * scale + shift.
    """
    scales = _per_input(scale, n_inputs, "input_scale")
    shifts = _per_input(shift, n_inputs, "input_shift")
    if (scales == 1.0).all() and (shifts == 0.0).all():
        return None, None
    return scales, shifts


def check_weights(
    weights: Any, plan: Plan, name: str = "weights"
) -> list[tuple[Array, Array]]:
    """Return a pair of arrays per layer with parameters, in the network's dtype.

    They are weights, or the gradients wrt them.
    """
    shapes = plan.shapes
    if not isinstance(weights, Sequence):
        raise TypeError(
            f"{name} must be a list of (W, b) pairs, got {type(weights).__name__}"
        )
    if len(weights) != len(shapes):
        raise ValueError(
            f"{name} has {len(weights)} entries; expected {len(shapes)} pairs (W, b), "
            "one per layer with parameters"
        )
    pairs = []
    for i, (pair, expected) in enumerate(zip(weights, shapes, strict=True)):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"{name}[{i}] must be a pair (W, b)")
        w = as_parameter(pair[0], expected[0], plan.array_dtype, f"W of {name}[{i}]")
        b = as_parameter(pair[1], expected[1], plan.array_dtype, f"b of {name}[{i}]")
        layer = plan.layers[plan.parametric_layers[i]]
        if not getattr(layer, "use_bias", True) and b.any():
            raise ValueError(
                f"b of {name}[{i}] has values other than 0; the layer has no bias"
            )
        pairs.append((w, b))
    return pairs


def as_parameter(value: Any, shape: tuple[int, ...], dtype: str, name: str) -> Array:
    """Return a parameter of this shape in the dtype, C-contiguous and finite."""
    array = as_array(value, name)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {shape}")
    with np.errstate(all="ignore"):
        parameter = np.ascontiguousarray(array, dtype=np.dtype(dtype))
    if not np.isfinite(parameter).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(parameter))[0])
        raise ValueError(
            f"{name} is {array[index]} at {index}; expected finite {dtype} values"
        )
    return parameter


def _wrong_ndim(array: Array, n_inputs: int, name: str) -> str:
    text = (
        f"{name} has {array.ndim} dimensions (shape {array.shape}); "
        f"expected (n_samples, {n_inputs})"
    )
    if array.shape == (n_inputs,):
        return f"{text}. For one sample: {name}.reshape(1, -1)"
    if array.ndim > 2 and array.size == array.shape[0] * n_inputs:
        return f"{text}. For images: {name}.reshape(len({name}), -1)"
    return text


def _require_positive_sum(weights: Floats, name: str) -> None:
    with np.errstate(all="ignore"):
        total = weights.sum()
    if not (total > 0.0 and np.isfinite(total)):
        raise ValueError(f"{name} sums to {total}; expected a finite sum > 0")


def _hard_labels(y: Array) -> Array:
    if y.ndim == 1:
        return y
    if y.shape[1] == 1:
        column = y[:, 0]
        soft = (column != 0.0) & (column != 1.0)
        if soft.any():
            row = int(soft.argmax())
            raise ValueError(
                f"class_weight needs labels, but y[{row}] is {column[row]}; expected 0 "
                "or 1"
            )
        return column.astype(np.int64)
    soft = y.max(axis=1) != 1.0
    if soft.any():
        raise ValueError(
            f"class_weight needs labels, but y[{int(soft.argmax())}] is not one-hot"
        )
    labels: Array = y.argmax(axis=1)
    return labels


def _class_weights_of_dict(weights: Mapping[Any, Any], n_classes: int) -> Floats:
    by_class = np.ones(n_classes)
    for label, weight in weights.items():
        if isinstance(label, bool | np.bool_ | float | np.floating):
            label = int(label) if label in range(n_classes) else label
        index = check_integer("a key of class_weight", label, 0, n_classes - 1)
        by_class[index] = check_number(f"class_weight[{index}]", weight, *NOT_NEGATIVE)
    return by_class


def _per_input(value: Any, n_inputs: int, name: str) -> Floats:
    array = as_array(value, name)
    if array.shape not in ((), (n_inputs,)):
        raise ValueError(
            f"{name} has shape {array.shape}; expected a number or ({n_inputs},), "
            "one per input"
        )
    values = np.array(np.broadcast_to(array, (n_inputs,)), dtype=np.float64)
    bad = ~np.isfinite(values)
    if bad.any():
        where = f"[{int(bad.argmax())}]" if array.ndim else ""
        raise ValueError(f"{name}{where} is {values[bad][0]}; expected finite numbers")
    return values
