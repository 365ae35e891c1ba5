"""Arrays of real numbers, as users give them."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Real
from reprlib import repr as short
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastnn._base.types import Array


__all__ = ["as_array", "row_chunks"]

# Elements looked at in one go: 256 kB to 2 MB of temporaries, whatever the set's size.
_CHUNK = 1 << 18


def as_array(value: Any, name: str, hint: str = "") -> Array:
    """np.asarray without a copy, refused for dtypes that hold no real numbers."""
    if hasattr(value, "tocsr"):  # np.asarray would wrap it as one opaque object
        raise TypeError(
            f"{name} is a sparse matrix; expected a dense array ({name}.toarray())"
        )
    if np.ma.is_masked(value):
        raise ValueError(f"{name} has masked values; expected every value present")
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        # Ragged lists, and foreign tensors that refuse the conversion.
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name} cannot be read as an array: {error}") from error
    if array.dtype.kind == "O" and array.size:
        numbers = _numbers(array, name, hint)
        if not isinstance(value, np.ndarray):  # a DataFrame; an array says its own
            array = numbers
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        hint = f" ({hint})" if hint else ""
        raise TypeError(
            f"{name} has dtype {array.dtype}; expected bool, int8..64, uint8..64 or "
            f"float16/32/64{hint}"
        )
    return array


def _numbers(array: Array, name: str, hint: str) -> Array:
    """Return an array of objects as float64 if all are numbers; else name the first."""
    for index, each in np.ndenumerate(array):
        if not isinstance(each, Real | np.bool_):
            place = ", ".join(map(str, index))
            column = f" in column {index[1]}" if len(index) == 2 else ""
            where = f"{name}[{place}]" if index else name
            hint = hint or "a DataFrame with columns of text can be given as it is"
            raise TypeError(
                f"{name} has dtype object: {where} is {short(each)}{column}; expected "
                f"numbers ({hint})"
            )
    return array.astype(np.float64)


def row_chunks(array: Array) -> Iterator[tuple[int, Array]]:
    """(first row, rows) over the whole array, a bounded number of elements each."""
    rows = max(1, _CHUNK // max(1, array.shape[1]))
    for start in range(0, array.shape[0], rows):
        yield start, array[start : start + rows]
