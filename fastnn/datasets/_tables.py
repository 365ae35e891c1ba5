"""Data sets from a user's CSV and NPZ files."""

from __future__ import annotations

import csv
import math
import os
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn._base.fields import MAX_DIMENSION

from ._dataset import Dataset

INFLATION = 1032  # the most that deflate makes of a byte
_LONGEST_HEADER = 1 << 16  # of a stored array of no bytes: generous
LABEL_NAMES = ("label", "class", "target", "y")


class Table(NamedTuple):
    """Samples, targets, and the names of the classes if the file had names.

    `X` is (n, n_features) and `y` (n,), ``int64`` if the targets are classes. With
    `class_names`, class ``i`` is ``class_names[i]``; otherwise it is None.
    """

    X: NDArray[Any]
    y: NDArray[Any]
    class_names: tuple[str, ...] | None = None


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _first_rows(path: Path) -> tuple[str, list[list[str]], list[int]]:
    """Return the delimiter, the first two rows that are not blank, and their lines."""
    with open(path, encoding="utf-8-sig", newline="") as stream:
        lines, numbers = [], []
        for number, text in enumerate(stream):
            if text.strip():
                lines.append(text)
                numbers.append(number)
            if len(lines) == 2:
                break
    if not lines:
        raise ValueError(f"{path} is empty")
    delimiter = max(",;\t", key=lines[0].count)
    rows = [
        [field.strip() for field in row]
        for row in csv.reader(lines, delimiter=delimiter)
    ]
    return delimiter, rows, numbers


def _has_header(rows: list[list[str]]) -> bool:
    """Whether the first of `rows` names the columns.

    It does if a column has text there and a number (or nothing) below. Text in both
    rows says nothing: it may be a class name. Only the last column may have a class
    such as "A" above a class "7", so there the text must be a usual name for a label
    column.
    """
    if len(rows) < 2:
        return not any(map(_is_number, rows[0]))
    columns = list(zip(*rows, strict=False))
    return any(
        not _is_number(first)
        and first != ""
        and (_is_number(second) or second == "")
        and (i < len(columns) - 1 or first.lower() in LABEL_NAMES[:3])
        for i, (first, second) in enumerate(columns)
    )


def _label_column(
    label: int | str | None, names: list[str] | None, n_columns: int, path: Path
) -> int:
    if isinstance(label, str):
        if names is None or label not in names:
            raise ValueError(
                f"label must be a column of {path}, got {label!r}; its columns are "
                f"{'not named' if names is None else ', '.join(names)}"
            )
        return names.index(label)
    if label is not None:
        if not -n_columns <= label < n_columns:
            raise ValueError(
                f"label must be a column of {path}, which has {n_columns}, got {label}"
            )
        return label % n_columns
    lowered = [name.lower() for name in names or ()]
    for name in LABEL_NAMES:
        if name in lowered:
            return lowered.index(name)
    return n_columns - 1


def load_csv(
    path: str | os.PathLike[str],
    label: int | str | None = None,
    header: bool | None = None,
) -> Table:
    r"""Read samples and labels from a CSV file: numbers, and one column of labels.

    The delimiter (comma, semicolon or tab) and the header are detected. The first row
    is taken for a header only if a column has text there and a number below, so a file
    without a header loses no row. (Column names that are numbers are not recognised:
    pass ``header=True``.)

    Parameters
    ----------
    path : path
        UTF-8 text, one sample per row.
    label : int or str, optional
        The label column: its index (negative: from the end) or its name. By default
        the column named "label", "class", "target" or "y", in any case; if there is
        none, the last column.
    header : bool, optional
        Whether the first row is a header, if it should not be detected.

    Returns
    -------
    Table
        `X` float64 (n, n_columns - 1). `y` (n,): int64 if all labels are whole numbers,
        float64 if all are numbers, otherwise classes 0..C-1 in the sorted order of
        their names, with `class_names`.

    Raises
    ------
    ValueError
        If a feature is not a number, a label is missing, rows differ in length, or the
        label column does not exist.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from fastnn import datasets
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "iris.csv")
    ...     _ = path.write_text("a,b,class\n1,2,setosa\n3,4,iris\n")
    ...     X, y, class_names = datasets.load_csv(path)
    >>> X.tolist(), y.tolist(), class_names
    ([[1.0, 2.0], [3.0, 4.0]], [1, 0], ('iris', 'setosa'))
    """
    path = Path(path)
    try:
        delimiter, rows, lines = _first_rows(path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a UTF-8 CSV file: {error}") from None
    n_columns = len(rows[0])
    if n_columns < 2:
        raise ValueError(f"{path}: expected at least 2 columns, found {n_columns}")
    if n_columns > MAX_DIMENSION:
        raise ValueError(f"{path}: expected at most 2**24 columns, found {n_columns}")
    if header is None:
        header = _has_header(rows)
    names = [name.lstrip("# ") for name in rows[0]] if header else None
    column = _label_column(label, names, n_columns, path)
    if header and len(rows) < 2:
        raise ValueError(f"{path} has a header and no rows")

    ids: dict[str, int] = {}  # label text -> number in order of appearance
    try:
        table = np.loadtxt(
            os.path.abspath(path),
            delimiter=delimiter,
            comments=None,
            quotechar='"',
            encoding="utf-8-sig",
            skiprows=lines[int(header)],
            ndmin=2,
            converters={column: lambda text: ids.setdefault(text.strip(), len(ids))},
        )
    except ValueError as error:
        raise ValueError(f"{path}, rows counted from 0: {error}") from None
    if table.shape[1] != n_columns:
        raise ValueError(
            f"{path}: the header has {n_columns} columns, the rows {table.shape[1]}"
        )
    order = table[:, column].astype(np.int64)
    X = np.delete(table, column, axis=1)
    if "" in ids:
        row = int(np.argmax(order == ids[""]))
        raise ValueError(f"{path}: row {row}, counted from 0, has no label")
    if all(map(_is_number, ids)):
        values = np.array([float(text) for text in ids])
        if not np.isfinite(values).all():
            row = int(np.argmax(~np.isfinite(values[order])))
            raise ValueError(
                f"{path}: row {row}, counted from 0, has label {values[order][row]}"
            )
        whole = (values == np.floor(values)).all() and (abs(values) < 2**53).all()
        return Table(X, values.astype(np.int64 if whole else np.float64)[order])
    class_names = tuple(sorted(ids))
    ranks = {name: rank for rank, name in enumerate(class_names)}
    rank = np.array([ranks[text] for text in ids])
    return Table(X, rank[order], class_names)


def _read_arrays(
    stream: BinaryIO,
) -> tuple[tuple[str, ...], dict[str, str], list[NDArray[Any]]]:
    """Return lower-case names, the names in the file, and the arrays."""
    archive = np.load(stream, allow_pickle=False)
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise ValueError("it holds one array without a name")
    keys = {key.lower(): key for key in archive.files}
    for wanted in (("x_train", "y_train", "x_test", "y_test"), ("x", "y")):
        if keys.keys() >= set(wanted):
            names = [keys[name] for name in wanted]
            size = os.fstat(stream.fileno()).st_size
            for name in names:
                _check_member(archive, name, size)
            return wanted, keys, [archive[name] for name in names]
    raise ValueError(
        f"it holds {', '.join(archive.files) or 'nothing'}; expected X_train, y_train, "
        "X_test, y_test or X, y"
    )


def _check_member(archive: Any, name: str, size: int) -> None:
    """Raise ValueError if an array takes more than a file of that size can hold.

    NumPy allocates what a header announces before it reads.
    """
    members = archive.zip
    file = name if name in members.namelist() else f"{name}.npy"
    info = members.getinfo(file)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is compressed by method {info.compress_type}")
    if info.compress_size > size:
        raise ValueError(f"{name} is said to be longer than the file")
    if info.file_size > INFLATION * info.compress_size + _LONGEST_HEADER:
        raise ValueError(f"{name} cannot have {info.file_size} bytes")
    with members.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        else:
            shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
        n_bytes = math.prod(shape) * dtype.itemsize  # Python's integers: no overflow
        if dtype.hasobject:  # which NumPy refuses
            return
        if min(shape, default=0) < 0 or stream.tell() + n_bytes != info.file_size:
            raise ValueError(
                f"{name} of shape {shape} and {dtype} does not fill {info.file_size} "
                "bytes"
            )
        columns = math.prod(shape[1:])
        if columns > MAX_DIMENSION:
            raise ValueError(f"{name} has {columns} columns; expected at most 2**24")


def load_npz(path: str | os.PathLike[str]) -> Dataset | Table:
    """Read a data set from an NPZ file, as `numpy.savez` writes it.

    Parameters
    ----------
    path : path
        Holds either ``X_train, y_train, X_test, y_test`` or ``X, y``; the case of the
        letters does not matter (Keras writes ``x_train``). Nothing is unpickled, and no
        more memory is taken than the file can fill: 1032 times its size, which is what
        its compression reaches. A row has up to 2**24 values.

    Returns
    -------
    Dataset or Table
        A `Dataset` if the file has a test part, else a `Table` without class names,
        for `train_test_split`. Samples keep their dtype and are flattened to two
        dimensions; integer labels become int64.

    Raises
    ------
    ValueError
        If the file is not an NPZ file, is damaged, needs pickle, lacks an array, or `X`
        and `y` differ in length.
    OSError
        If the file cannot be opened.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import numpy as np
    >>> from fastnn import datasets
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "images.npz")
    ...     np.savez(path, X=np.zeros((5, 8, 8), np.uint8), y=np.arange(5))
    ...     table = datasets.load_npz(path)
    >>> table.X.shape, table.X.dtype, table.y.tolist()
    ((5, 64), dtype('uint8'), [0, 1, 2, 3, 4])
    """
    path = Path(path)
    try:
        with open(path, "rb") as stream:
            wanted, keys, arrays = _read_arrays(stream)
    except MemoryError:
        raise
    except Exception as error:
        # zipfile, zlib and NumPy raise ten kinds for what is damaged.
        if isinstance(error, OSError) and error.filename is not None:
            raise  # it could not be opened
        why = str(error) or type(error).__name__
        raise ValueError(f"{path} is not a usable NPZ file: {why}") from None
    parts: list[NDArray[Any]] = []
    for name, X, y in zip(wanted[::2], arrays[::2], arrays[1::2], strict=True):
        if X.ndim < 2 or y.ndim == 0 or len(X) != len(y):
            raise ValueError(
                f"{path}: {keys[name]} must have one sample per row and as many rows "
                f"as its labels, got shapes {X.shape} and {y.shape}"
            )
        integers = y.dtype.kind in "iub"
        parts += [X.reshape(len(X), -1), y.astype(np.int64) if integers else y]
    return Dataset(*parts) if len(parts) == 4 else Table(parts[0], parts[1])
