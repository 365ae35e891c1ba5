"""Tables of any library as named columns in NumPy, without importing the library.

A table becomes a dict of arrays (n,), one for each column, in one of five forms:

| dtype | holds | missing |
| --- | --- | --- |
| bool | truth values | - |
| integers, floats | numbers | NaN |
| datetime64[s] | dates, with or without time | NaT |
| object | text: ``str`` | None |
| object | truth values of which some are missing | None |

Columns are handed on as they lie where NumPy can show them, else copied one by one.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from numbers import Number
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._base.fields import is_number

if TYPE_CHECKING:
    from fastnn._base.types import Array

__all__ = [
    "Columns",
    "as_column",
    "as_columns",
    "as_dates",
    "as_text",
    "column_names",
    "is_missing",
    "text_of",
]

Columns = dict[str, "Array"]

_DATE = r"(\d{4})[-/](\d\d?)[-/](\d\d?)"
_DOTTED = r"(\d\d?)\.(\d\d?)\.(\d{4})"
_TIME = r"(?:[T ](\d\d?:\d\d(?::\d\d)?)(?:\.\d+)?(?:Z|\+00:00)?)?"
_DATES = re.compile(rf"(?:{_DATE}|{_DOTTED}){_TIME}", re.ASCII)


def column_names(table: Any) -> list[str] | None:
    """The names of the columns of a table; None if it is none, or has no names.

    A table is a mapping, a structured array (n,), or has ``columns`` or
    ``column_names`` (pandas, polars, pyarrow, and what speaks their protocols). A
    DataFrame whose columns are numbered is an array.
    """
    names: Any = None
    if isinstance(table, np.ndarray):
        names = table.dtype.names if table.ndim == 1 else None
    elif isinstance(table, Mapping):
        names = table.keys()
    elif hasattr(table, "__getitem__"):
        # pyarrow's `columns` are the columns themselves.
        names = getattr(table, "column_names", getattr(table, "columns", None))
    given = [] if names is None else [*names]
    if given and all(isinstance(name, str) for name in given):
        return [str(name) for name in given]
    return None


def as_columns(
    table: Any, name: str = "table", only: Sequence[str] | None = None
) -> Columns:
    """Return the columns of a table by name, in the forms above.

    A plain matrix (n, k) has the columns ``x0, x1, ...``. With `only`, just these are
    returned, in this order.

    Raises
    ------
    TypeError
        The table is none, or a column holds something else.
    ValueError
        Two columns have the same name, or columns differ in length.
    """
    names = column_names(table)
    if names is None:
        table = _from_protocol(table)
        names = column_names(table)
    if names is None:
        table = _matrix(table, name)
        names = [*table]
    twice = sorted({each for each in names if names.count(each) > 1})
    if twice:
        raise ValueError(f"{name} has several columns named {twice[0]!r}")
    columns = {
        each: as_column(table[each], f"{name}: column {each!r}")
        for each in (names if only is None else only)
    }
    lengths = {each: len(column) for each, column in columns.items()}
    if len({*lengths.values()}) > 1:
        raise ValueError(f"{name} has columns of different lengths: {lengths}")
    return columns


def as_column(values: Any, name: str) -> Array:
    """Return the values of one column (n,) in one of the forms above."""
    try:
        return _in_form(_to_numpy(values))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} {error}") from None


def is_missing(column: Array) -> Array:
    """Whether each value of a column in one of the forms is missing, bool (n,)."""
    if column.dtype.kind in "fM":
        missing: Array = (
            np.isnan(column) if column.dtype.kind == "f" else np.isnat(column)
        )
        return missing
    if column.dtype.kind == "O":
        nothing: Any = None
        return np.asarray(np.equal(column, nothing), dtype=bool)
    return np.zeros(len(column), bool)


def text_of(value: Any) -> str:
    """How a value reads as text: whole numbers without a point, as 3 for 3.0."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, np.datetime64):
        return str(value).removesuffix("T00:00:00").replace("T", " ")
    if is_number(value):
        number = float(value)
        return str(int(value)) if number.is_integer() else repr(number)
    return str(value)


def as_text(column: Array) -> Array:
    """Return a column of any form as text, object (n,), None where it is missing."""
    if column.dtype.kind == "O":
        first = next((v for v in column if v is not None), "")
        if isinstance(first, str):  # and so are all others
            return column
    if column.dtype.kind != "O":
        values, codes = np.unique(column, return_inverse=True)
        known = _objects([*map(text_of, values), None])
        return np.asarray(known[np.where(is_missing(column), len(values), codes)])
    return _objects([None if v is None else text_of(v) for v in column])


def as_dates(column: Array) -> Array | None:
    """Return text as datetime64[s] (n,), or None if a value is no date.

    Dates are ``2026-11-28``, ``2026/11/28`` and ``28.11.2026``, with or without a time
    (``12:30``, ``12:30:59``, of UTC).
    """
    iso: dict[Any, str] = {None: "NaT"}
    for text in column:
        if text not in iso:
            match = _DATES.fullmatch(text.strip()) if isinstance(text, str) else None
            if match is None:
                return None
            a, b, c, f, e, d, time = match.groups()
            year, month, day = (a, b, c) if a else (d, e, f)
            iso[text] = f"{year}-{int(month):02}-{int(day):02}"
            if time:
                iso[text] += f"T{time.zfill(len(time) + (time[1] == ':'))}"
    try:
        return np.array([iso[text] for text in column], dtype="datetime64[s]")
    except ValueError:  # the 31st of February
        return None


def _objects(values: list[Any]) -> Array:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _from_protocol(table: Any) -> Any:
    """A table that only speaks a protocol, as pyarrow or pandas read it."""
    for protocol, read in _PROTOCOLS:
        if hasattr(table, protocol):
            try:
                return read(table)
            except ImportError:
                continue
    return table


def _from_stream(table: Any) -> Any:
    import pyarrow

    return pyarrow.table(table)


def _from_interchange(table: Any) -> Any:
    try:
        from pyarrow.interchange import from_dataframe
    except ImportError:
        from pandas.api.interchange import from_dataframe
    return from_dataframe(table)


_PROTOCOLS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("__arrow_c_stream__", _from_stream),
    ("__dataframe__", _from_interchange),
)


def _matrix(table: Any, name: str) -> Columns:
    array = np.asarray(table)
    if array.ndim != 2 or array.dtype.kind not in "biufO":
        what = f"shape {array.shape} and dtype {array.dtype}"
        if array.ndim == 0:
            what = f"type {type(table).__name__}"
        raise TypeError(
            f"{name} is of {what}; expected a table with named columns (of pandas, "
            "polars or pyarrow, a dict of arrays, or what fastnn.datasets.read_table "
            "reads) or a matrix of numbers"
        )
    return {f"x{j}": array[:, j] for j in range(array.shape[1])}


def _to_numpy(column: Any) -> Any:
    """A column of a library as NumPy, or nearly: what `_in_form` takes."""
    if isinstance(column, np.ndarray | list | tuple):
        return column
    if hasattr(column, "combine_chunks") or hasattr(column, "dictionary_encode"):
        return _arrow(column)
    if hasattr(column, "get_chunks"):
        return _polars(column)
    return _pandas(column)


def _pandas(column: Any) -> Any:
    dtype: Any = getattr(column, "dtype", None)
    if hasattr(dtype, "categories"):
        known = _objects([*map(text_of, dtype.categories), None])
        return known[np.asarray(column.cat.codes)]
    if getattr(dtype, "tz", None) is not None:
        column = column.dt.tz_convert(None)
    kind = getattr(dtype, "kind", "O")
    if not isinstance(dtype, np.dtype) and kind in "iufb" and hasattr(column, "isna"):
        # Integers, floats and booleans that may be missing.
        if not column.isna().any():
            return column.to_numpy(dtype=f"{kind}{max(1, dtype.itemsize)}")
        if kind != "b":
            return column.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(column)


def _polars(column: Any) -> Any:
    name = str(column.dtype)
    if name.startswith(("Datetime", "Date")):
        return column.to_numpy().astype("datetime64[s]")
    if column.dtype.is_numeric() and not name.startswith("Decimal"):
        return column.to_numpy()
    return column.to_list()


def _arrow(column: Any) -> Any:
    name = str(column.type)
    if name.startswith("dictionary"):
        column = column.cast(column.type.value_type)
        name = str(column.type)
    if name.startswith(("timestamp", "date")):
        return column.to_numpy().astype("datetime64[s]")
    if name.startswith(("bool", "string", "large_string", "decimal", "null")):
        return column.to_pylist()
    return column.to_numpy()


def _own(value: Any) -> Any:
    """A value as one of Python's own types, None if it is missing."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    # NaN, NaT and pandas.NA do not equal themselves; the last says so in its own way.
    if type(value).__name__ in ("NAType", "NaTType") or value != value:
        return None
    return value


def _in_form(column: Any) -> Array:
    """Return the values in one of the forms of this module."""
    array = column if isinstance(column, np.ndarray) else _objects([*column])
    if array.ndim != 1:
        raise TypeError(f"has shape {array.shape}; expected one value per row")
    kind = array.dtype.kind
    if kind in "biu" or (kind == "f" and array.dtype.itemsize <= 8):
        return array
    if kind == "f":
        return array.astype(np.float64)
    if kind == "M":
        return array.astype("datetime64[s]")
    if kind not in "OUT":
        raise TypeError(
            f"has dtype {array.dtype}; expected numbers, truth values, text or dates"
        )
    values = array.tolist()
    types = {*map(type, values)} - {type(None)}
    if types == {str} and kind == "O":
        return array
    values = [*map(_own, values)]
    types = {*map(type, values)} - {type(None)}
    if types <= {str} or types == {bool}:
        if types == {bool} and None not in values:
            return np.array(values, dtype=bool)
        seen: dict[Any, Any] = {}  # each text once in memory
        return _objects([seen.setdefault(v, v) for v in values])
    if all(issubclass(each, datetime.date) for each in types):
        return np.array([*map(_utc, values)], dtype="datetime64[s]")
    if all(
        issubclass(each, Number) and not issubclass(each, complex) for each in types
    ):
        if types == {int} and None not in values and max(map(abs, values)) < 2**63:
            return np.array(values, dtype=np.int64)
        return np.array([np.nan if v is None else float(v) for v in values])
    if types <= {str, bool, int, float}:
        return _objects([None if v is None else text_of(v) for v in values])
    raise TypeError(
        f"holds {', '.join(sorted(each.__name__ for each in types))}; expected "
        "numbers, truth values, text or dates"
    )


def _utc(value: Any) -> Any:
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    return value
