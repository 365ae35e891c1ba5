"""Checks of the arguments of `Network.fit` and `Network.fit_chunks`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn._base.fields import check_bool, check_count, check_number

from . import inputs
from .arrays import as_array

if TYPE_CHECKING:
    from fastnn._base.types import Array, Floats, Scaling

    from .plan import Plan


class Rows(NamedTuple):
    """A checked data set."""

    X: Array
    y: Array
    sample_weight: Floats | None


def rows_of_rank(n_rows: int, communicator: Any) -> slice:
    """Return which of all rows are this rank's, for `Network.fit` on its communicator.

    Of n rows, rank r of R has ``[r * n // R, (r + 1) * n // R)``.

    Parameters
    ----------
    n_rows : int
        Of all ranks together.
    communicator : mpi4py.MPI.Intracomm

    Raises
    ------
    TypeError, ValueError
        `n_rows` is not an integer >= 1.

    Examples
    --------
    >>> import fastnn
    >>> class SecondOfFour:
    ...     def Get_rank(self): return 1
    ...     def Get_size(self): return 4
    >>> fastnn.rows_of_rank(10, SecondOfFour())
    slice(2, 5, None)
    """
    n_rows = check_count("n_rows", n_rows)
    rank, size = communicator.Get_rank(), communicator.Get_size()
    return slice(rank * n_rows // size, (rank + 1) * n_rows // size)


def check_rows(
    plan: Plan,
    X: Any,
    y: Any,
    sample_weight: Any,
    suffix: str = "",
    dtype: str | None = None,
) -> Rows:
    """Check a data set but for the values of X; `suffix` names it, `dtype` is of y."""
    X = inputs.check_X(X, plan.n_inputs, f"X{suffix}")
    y = inputs.check_targets(y, len(X), plan, f"y{suffix}", dtype)
    weight = inputs.check_sample_weight(sample_weight, len(X), f"sample_weight{suffix}")
    return Rows(X, y, weight)


def check_steps(
    batch_size: int, accumulate: int, shuffle: bool
) -> tuple[int, int, bool]:
    return (
        check_count("batch_size", batch_size),
        check_count("accumulate", accumulate),
        check_bool("shuffle", shuffle),
    )


def check_numbers(name: str, numbers: Any, n_rows: int) -> Array:
    """Return numbers of rows as int64 (k,); also of a mask (n_rows,)."""
    array = as_array(numbers, name)
    if array.dtype == bool and array.shape == (n_rows,):
        array = np.flatnonzero(array)
    if array.ndim != 1 or len(array) == 0 or array.dtype.kind not in "iu":
        raise ValueError(
            f"{name} has dtype {array.dtype} and shape {array.shape}; expected the "
            f"numbers of one row at least, or a mask of {n_rows} bools"
        )
    wrong = (array < 0) | (array >= n_rows)
    if wrong.any():
        i = int(wrong.argmax())
        raise ValueError(
            f"{name}[{i}] is {array[i]}; expected a row of X, 0..{n_rows - 1}"
        )
    return np.ascontiguousarray(array, np.int64)


def take_numbers(rows: Rows, numbers: Array, what: str) -> Rows:
    """Take some rows; as a view if they follow each other."""
    first, last = int(numbers[0]), int(numbers[-1])
    if last - first + 1 == len(numbers) and (np.diff(numbers) == 1).all():
        return _take(rows, slice(first, last + 1), what)
    return _take(rows, numbers, what)


def weigh_classes(
    plan: Plan, class_weight: Any, rows: Rows, numbers: Array | None = None
) -> Floats | None:
    """The sample weights times those of the classes, both of the rows in use."""
    if numbers is not None:
        own = rows.sample_weight
        part = Rows(rows.X, rows.y[numbers], None if own is None else own[numbers])
        if part.sample_weight is not None and part.sample_weight.sum() == 0.0:
            raise ValueError("sample_weight is zero for every row of rows")
        if class_weight is None:
            return own
        weights = np.zeros(len(rows.y))
        weights[numbers] = weigh_classes(plan, class_weight, part)
        return weights
    if class_weight is None:
        return rows.sample_weight
    if plan.n_classes is None:
        raise ValueError(
            "class_weight needs integer class labels, one per row; with the loss "
            f"{plan.loss.name!r} and {plan.n_outputs} outputs, use sample_weight"
        )
    return inputs.combine_class_weight(
        class_weight, rows.y, rows.sample_weight, plan.n_classes
    )


def hold_out(rows: Rows, fraction: Any) -> tuple[Rows, Rows | None]:
    """Take the last rows for validation, as Keras does."""
    share = check_number(
        "validation_split", fraction, "a number >= 0 and < 1", lambda s: 0 <= s < 1
    )
    if share == 0.0:
        return rows, None
    n = len(rows.X)
    at = int(np.floor(n * (1.0 - share)))
    if not 0 < at < n:
        raise ValueError(
            f"validation_split={fraction} of {n} samples leaves {at} for training and "
            f"{n - at} for validation; expected at least one of each"
        )
    first, last = slice(None, at), slice(at, None)
    return _take(rows, first, "training"), _take(rows, last, "validation")


def _take(rows: Rows, part: slice | Array, what: str) -> Rows:
    weight = rows.sample_weight
    if weight is not None:
        weight = weight[part]
        if weight.sum() == 0.0:
            raise ValueError(f"sample_weight is zero for every {what} sample")
    return Rows(rows.X[part], rows.y[part], weight)


def new_scaling(old: Scaling, scale: Any, shift: Any, n_inputs: int) -> Scaling:
    """The scaling with another scale or shift, where they are not None."""
    old_scale, old_shift = old
    if scale is None:
        scale = 1.0 if old_scale is None else old_scale
    if shift is None:
        shift = 0.0 if old_shift is None else old_shift
    return inputs.check_input_scaling(scale, shift, n_inputs)
