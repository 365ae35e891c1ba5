"""Tables from files: CSV and its relatives by the standard library, Parquet by pyarrow.

A CSV file is read in chunks of rows, to save memory. A column is numbers until a field
is none; the file is then read again, with that column as text.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import numpy as np

from fastnn._plan.tables import as_columns, as_dates

if TYPE_CHECKING:
    from fastnn._base.types import Array
    from fastnn._plan.tables import Columns

__all__ = ["SUFFIXES", "TableFile", "label_of", "read_file", "read_table"]

LABEL_NAMES = ("label", "class", "target", "y")
SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".parquet")

_MISSING = frozenset(
    {"", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "?"}
)
_CHUNK = 8192  # rows
_SAMPLE = 100  # rows, which tell the delimiter and the header
_TRUTH = {"true": True, "false": False}
# Digits that are a name: they would not come back from a number.
_NAME = re.compile("\0 *0[0-9]")
_DECIMAL_COMMA = re.compile(
    r"[-+]?(?:\d+|\d{1,3}(?:\.\d{3})+)?(?:,\d*)?(?:[eE][-+]?\d+)?"
)


class TableFile(NamedTuple):
    """What a file holds, and what was left out of it."""

    columns: Columns
    row_numbers: str | None = None  # the column without a name that was dropped


def read_table(path: str | os.PathLike[str]) -> dict[str, Any]:
    r"""Read a table with named columns from a CSV, TSV or Parquet file.

    Of text files the delimiter (comma, semicolon, tab or bar) and the header are found;
    without a header, columns are named "0", "1", ... Fields may be quoted, and hold
    line breaks. Empty fields and ``NA``, ``N/A``, ``NaN``, ``null``, ``None`` and ``?``
    are missing. A column is numbers if all others are (with a comma for the point where
    commas delimit nothing; ``007`` is text), truth values if all are ``true`` or
    ``false``, dates if all are (as ``2026-11-28``, ``2026/11/28`` or ``28.11.2026``,
    with or without a time), else text. A first column without a name that numbers the
    rows is left out.

    Parameters
    ----------
    path : path
        UTF-8 text, with or without byte order mark; or Parquet, which needs pyarrow.

    Returns
    -------
    dict
        The columns by name, for `Schema.from_table` and `Network.fit`: bool, integer or
        float64 (n,), NaN where it is missing; datetime64[s], NaT; or object with str,
        None.

    Raises
    ------
    ValueError
        The file is empty or no such text, or rows differ in length.
    ImportError
        pyarrow is absent, for a Parquet file.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastnn import datasets
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "people.csv")
    ...     _ = path.write_text("name;height;since\nAda;1,68;2026-11-28\nBob;;\n")
    ...     table = datasets.read_table(path)
    >>> table["height"].tolist(), table["name"].tolist(), table["since"].dtype
    ([1.68, nan], ['Ada', 'Bob'], dtype('<M8[s]'))
    """
    return read_file(path).columns


def read_file(
    path: str | os.PathLike[str],
    has_label: bool = False,
    label: str | None = None,
    text: Collection[str] = (),
) -> TableFile:
    """Read a table; columns of `text` are text whatever they look like.

    Of the label (see `label_of`), only an empty field is missing, unless it is numbers.
    """
    path = Path(path)
    if path.suffix.lower() == ".parquet":
        return TableFile(_read_parquet(path))
    try:
        return _read_text(path, has_label, label, text)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a UTF-8 CSV file: {error}") from None


def label_of(names: Sequence[str], label: str | None, path: Any) -> str:
    """The label column: by its name, its number, its usual name, or the last one."""
    if label is None:
        lowered = {name.lower(): name for name in reversed(names)}
        usual = (lowered[each] for each in LABEL_NAMES if each in lowered)
        return next(usual, names[-1])
    if label in names:
        return label
    if not re.fullmatch(r"-?\d+", label):
        raise ValueError(
            f"label must be a column of {path}, got {label!r}; its columns are "
            f"{', '.join(names)}"
        )
    if not -len(names) <= int(label) < len(names):
        raise ValueError(
            f"label must be a column of {path}, which has {len(names)}, got {label}"
        )
    return names[int(label)]


def _read_parquet(path: Path) -> Columns:
    try:
        from pyarrow import parquet
    except ImportError:
        raise ImportError(
            f"{path} needs the package pyarrow: pip install pyarrow"
        ) from None
    with open(path, "rb"):  # says so if it cannot be read
        pass
    try:
        table = parquet.read_table(path)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is not a usable Parquet file: {error}") from None
    return as_columns(table, str(path))


def _read_text(
    path: Path, has_label: bool, label: str | None, text: Collection[str]
) -> TableFile:
    with _open(path) as stream:
        delimiter, sample = _sniff(stream, path)
    names = _header(sample)
    n_header = int(names is not None)
    if len(sample) <= n_header:
        raise ValueError(f"{path} has a header and no rows")
    names = names or [*map(str, range(len(sample[0])))]
    label = label_of(names, label, path) if has_label else None
    styles = dict.fromkeys(names, "number") | dict.fromkeys(text, "text")
    n_rows = _estimate(path.stat().st_size, sample)
    while True:
        columns = [
            _Column(styles[name], name == label, delimiter != ",", n_rows)
            for name in names
        ]
        with _open(path) as stream:
            rows = itertools.islice(_rows(stream, delimiter), n_header, None)
            _read_rows(rows, columns, path)
        redo = {
            name: column.redo
            for name, column in zip(names, columns, strict=True)
            if column.redo
        }
        if not redo:
            break
        styles |= redo
    found = {name: columns.pop(0).finish(name in text) for name in names}
    row_numbers = None
    if n_header and sample[0][0].strip() == "" and _counts(found[names[0]]):
        row_numbers = names[0]
        del found[row_numbers]
    return TableFile(found, row_numbers)


def _read_rows(rows: Iterator[list[str]], columns: list[_Column], path: Path) -> None:
    n_rows = 0
    while chunk := [*itertools.islice(rows, _CHUNK)]:
        if {*map(len, chunk)} != {len(columns)}:
            row = next(i for i, each in enumerate(chunk) if len(each) != len(columns))
            raise ValueError(
                f"{path}: row {n_rows + row}, counted from 0 below the header, has "
                f"{len(chunk[row])} fields; expected {len(columns)}"
            )
        for column, fields in zip(columns, zip(*chunk, strict=True), strict=True):
            column.add(fields)
        n_rows += len(chunk)


def _estimate(size: int, sample: list[list[str]]) -> int:
    """About how many rows a file has, rather more than fewer."""
    n_bytes = sum(len(field) + 1 for row in sample for field in row)
    return int(1.1 * size * len(sample) / max(1, n_bytes)) + len(sample)


def _open(path: Path) -> TextIO:
    return open(path, encoding="utf-8-sig", newline="")


def _rows(stream: TextIO, delimiter: str) -> Iterator[list[str]]:
    """The rows that are not blank."""
    reader = csv.reader(stream, delimiter=delimiter, skipinitialspace=True)
    return filter(_is_row, reader)


def _is_row(fields: list[str]) -> bool:
    return len(fields) > 1 or (len(fields) == 1 and fields[0].strip() != "")


def _sniff(stream: TextIO, path: Path) -> tuple[str, list[list[str]]]:
    """Return the delimiter, and the first rows."""
    samples = {}
    for delimiter in "\t;|,":
        stream.seek(0)
        rows = [*itertools.islice(_rows(stream, delimiter), _SAMPLE)]
        if not rows:
            raise ValueError(f"{path} is empty")
        samples[delimiter] = rows
        # A comma that is in every row may yet be the point of numbers.
        if len(rows[0]) > 1 and len({*map(len, rows)}) == 1:
            return delimiter, rows
    return max(samples.items(), key=lambda item: len(item[1][0]))


def _header(sample: list[list[str]]) -> list[str] | None:
    """The names of the columns, if the first row is of names."""
    if not _is_header(sample):
        return None
    names: list[str] = []
    for number, field in enumerate(sample[0]):
        name = base = field.strip().lstrip("# ") or f"column {number}"
        repeats = itertools.count(1)
        while name in names:
            name = f"{base}.{next(repeats)}"
        names.append(name)
    return names


def _is_header(sample: list[list[str]]) -> bool:
    """Whether the first row is of names.

    It is if a column has text there and numbers, dates (or nothing) below. Text in both
    says nothing, unless no column has its first field again, and some other repeats.
    The last column may have a class "A" above a class "7": there, the text must be a
    usual name for labels, or have several below.
    """
    first, *rest = ([field.strip() for field in row] for row in sample)
    if not rest:
        return not any(map(_is_value, first))
    fresh, repeats = True, False
    for j, (name, *below) in enumerate(zip(first, *rest, strict=False)):
        values = [_is_value(field) for field in below]
        if name and not _is_value(name) and name not in _MISSING:
            is_last = j == len(first) - 1 and len(below) < 3
            if all(
                value or field in _MISSING
                for value, field in zip(values, below, strict=True)
            ) and (not is_last or name.lower() in LABEL_NAMES[:3]):
                return True
        else:
            fresh = fresh and name == ""
        fresh = fresh and name not in below
        repeats = repeats or len({*below}) < len(below)
    return fresh and repeats and len({*first}) == len(first)


def _is_value(field: str) -> bool:
    """Whether a field is a number, a date or a truth value, but no name."""
    if field in _MISSING:
        return False
    for read in (float, _comma_number):
        with contextlib.suppress(ValueError):
            read(field)
            return True
    field_alone = np.array([field], dtype=object)
    return field.lower() in _TRUTH or as_dates(field_alone) is not None


class _Column:
    """A column in the making: arrays of numbers or text, chunk by chunk.

    `style` is how its fields are read: as a "number", one with a "comma" for the point,
    or "text". Where that turns out wrong after the first chunk, `redo` says what is
    right.
    """

    def __init__(
        self, style: str, is_label: bool, may_have_comma: bool, n_rows: int
    ) -> None:
        self.redo = ""
        self._style = style
        self._may_have_comma = may_have_comma
        # Memory of rows that do not come is never touched.
        self._n_rows, self._n = n_rows, 0
        self._values = np.zeros(0)
        # Each text once in memory. A class may have the name "None".
        self._seen: dict[str, Any] = {"": None}
        if not is_label:
            self._seen |= dict.fromkeys(_MISSING)

    def add(self, fields: tuple[str, ...]) -> None:
        if self.redo:
            return
        part = self._texts(fields) if self._style == "text" else self._numbers(fields)
        if part is not None:
            self._append(part)
            return
        new = "text"
        if self._style == "number" and self._may_have_comma:
            new = "comma"  # until that is wrong, too
        if self._n:
            self.redo = new
        else:
            self._style = new
            self.add(fields)

    def finish(self, is_text: bool) -> Array:
        """Return the whole column, in one of the forms of `as_columns`."""
        column: Array = self._values[: self._n]
        if is_text or column.dtype.kind != "O":
            return column
        there = {text for text in self._seen.values() if text is not None}
        if {text.lower() for text in there} <= _TRUTH.keys():
            truths = [None if v is None else _TRUTH[v.lower()] for v in column]
            return as_columns({"": truths})[""]
        dates = as_dates(column)
        return column if dates is None else dates

    def _append(self, part: Array) -> None:
        end = self._n + len(part)
        if end > len(self._values):
            n_rows = max(end, self._n_rows, len(self._values) * 5 // 4)
            old, self._values = self._values, np.empty(n_rows, dtype=part.dtype)
            self._values[: self._n] = old[: self._n]
        self._values[self._n : end] = part
        self._n = end

    def _texts(self, fields: tuple[str, ...]) -> Array:
        seen = self._seen
        part = np.empty(len(fields), dtype=object)
        part[:] = [
            seen[field] if field in seen else self._new_text(field) for field in fields
        ]
        return part

    def _new_text(self, field: str) -> Any:
        text = field.strip()
        self._seen[field] = self._seen.setdefault(text, text)
        return self._seen[field]

    def _numbers(self, fields: tuple[str, ...]) -> Array | None:
        joined = "\0".join(("", *fields))
        if "_" in joined or _NAME.search(joined):
            return None
        read = _comma_number if self._style == "comma" else float
        with contextlib.suppress(ValueError):
            return np.fromiter(map(read, fields), float, len(fields))
        try:
            return np.array(
                [np.nan if v.strip() in _MISSING else read(v) for v in fields]
            )
        except ValueError:
            return None


def _comma_number(field: str) -> float:
    field = field.strip()
    if not _DECIMAL_COMMA.fullmatch(field):
        raise ValueError(f"no number: {field!r}")
    return float(field.replace(".", "").replace(",", "."))


def _counts(column: Array) -> bool:
    """Whether a column numbers the rows, in whatever order."""
    if column.dtype.kind != "f" or not (column == np.floor(column)).all():
        return False
    return len(np.unique(column)) == len(column)
