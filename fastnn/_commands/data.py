"""The data that the command line trains on and predicts from: by name, and files."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from fastnn import datasets
from fastnn._base.names import close_to
from fastnn._plan.inputs import standard_scaling
from fastnn.network import Network, model_of
from fastnn.plotting._axes import square_side

from .data_set import Data
from .images import center_digit, read_grey, shrink
from .problems import PROBLEMS

if TYPE_CHECKING:
    from fastnn._base.types import Array
    from fastnn._core.model.model import Model


__all__ = [
    "NAMES",
    "is_image",
    "load_data",
    "load_image",
    "load_rows",
    "same_scaling",
    "unscaled",
]

NAMES = ("digits", "mnist", "fashion_mnist", *PROBLEMS)
_EXPECTED = f"{', '.join(NAMES)}, FILE.npz, FILE.csv, FILE.tsv or FILE.parquet"
_IMAGES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
_MAX_CLASSES = 1000  # more are most likely a quantity


def load_data(
    name: str,
    folder: str | None = None,
    label: str | None = None,
    quantities: bool = False,
) -> Data:
    """Load a data set by its name, or from an .npz or .csv file.

    `label` is the column of a CSV file, by name or number; the targets of a file are
    `quantities` or classes.
    """
    suffix = Path(name).suffix.lower()
    if label is not None and suffix != ".csv":
        raise ValueError(f"--label is a column of a CSV file, but {name!r} is not one")
    if name in NAMES:
        return _load_named(name, folder)
    if suffix not in (".npz", ".csv"):
        hint = close_to(name, NAMES)
        raise ValueError(f"unknown data set {name!r}; expected {_EXPECTED}{hint}")
    table = datasets.load_npz(name) if suffix == ".npz" else _load_csv(name, label)
    has_test_part = isinstance(table, datasets.Dataset)
    if isinstance(table, datasets.Dataset):
        d, class_names = table, None
    else:
        X, X_test, y, y_test = datasets.train_test_split(table.X, table.y)
        d, class_names = datasets.Dataset(X, y, X_test, y_test), table.class_names
    names: tuple[str, ...] = ()
    if quantities:
        d = _check_quantities(name, d, class_names)
    else:
        names = _check_classes(name, d, class_names)
    scale, shift = _scaling(name, d)
    return _data(
        Path(name).stem, d, names, has_test_part=has_test_part, scale=scale, shift=shift
    )


def _load_named(name: str, folder: str | None) -> Data:
    if name in PROBLEMS:
        return PROBLEMS[name]()
    if name == "digits":
        return _data(name, datasets.digits(), _numbers(10), scale=1 / 16, epochs=60)
    load = datasets.mnist if name == "mnist" else datasets.fashion_mnist
    names = _numbers(10) if name == "mnist" else datasets.FASHION_MNIST_CLASSES
    return _data(
        name, load(folder), names, scale=1 / 255, hidden=(128,), epochs=10,
        batch_size=64,
    )  # fmt: skip


def load_rows(path: str, network: Network, label: str | None = None) -> Array:
    """Read samples without labels from .npy, .npz or .csv, for one network."""
    n_inputs = network.plan.n_inputs
    suffix = Path(path).suffix.lower()
    if suffix == ".csv":
        return _csv_rows(path, n_inputs, label)
    if suffix not in (".npy", ".npz"):
        raise ValueError(f"{path}: expected an image, or an .npy, .npz or .csv file")
    try:
        with open(path, "rb") as stream:
            content = np.load(stream, allow_pickle=False)
            rows = content if suffix == ".npy" else _samples_of(content)
    except (ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a usable {suffix} file: {error}") from None
    rows = rows.reshape(1, -1) if rows.ndim < 2 else rows.reshape(len(rows), -1)
    if rows.shape[1] != n_inputs:
        raise ValueError(
            f"{path} has samples of {rows.shape[1]} numbers; expected {n_inputs}"
        )
    return rows


def is_image(path: str) -> bool:
    """Whether the name is that of an image file."""
    return Path(path).suffix.lower() in _IMAGES


def load_image(path: str, network: Network, as_is: bool = False) -> Array:
    """Read an image as one row (1, n_inputs), a digit as MNIST has it.

    With `as_is`, it is neither cropped nor centred.
    """
    side = square_side(network.plan.n_inputs)
    if side is None:
        raise ValueError(
            f"{path}: the network has {network.plan.n_inputs} inputs, which are not "
            "a square image"
        )
    grey = read_grey(path)
    pixels = shrink(grey, side) if as_is else center_digit(grey, side)
    return unscaled(pixels.reshape(1, -1), network)


def same_scaling(model: Model, scale: Any, shift: Any) -> bool:
    """Whether the inputs are scaled so, which tells one file from another."""
    found = zip(model.scaling, (scale, shift), strict=True)
    return all(np.array_equal(a, b) for a, b in found)  # type: ignore[arg-type]


def _numbers(n: int) -> tuple[str, ...]:
    return tuple(map(str, range(n)))


def _load_csv(path: str, label: str | None) -> datasets.Table:
    try:
        return datasets.load_csv(path, label=label)
    except ValueError:
        if label is None or not re.fullmatch(r"-?\d+", label):
            raise
    return datasets.load_csv(path, label=int(label))


def _data(
    name: str, d: datasets.Dataset, class_names: tuple[str, ...], **settings: Any
) -> Data:
    train, test = (d.X_train, d.y_train), (d.X_test, d.y_test)
    return Data(name, train, test, class_names, **settings)


def _check_classes(
    name: str, d: datasets.Dataset, class_names: tuple[str, ...] | None
) -> tuple[str, ...]:
    if class_names is not None:
        return class_names
    y = np.concatenate([d.y_train, d.y_test])
    if y.ndim != 1 or y.dtype.kind != "i":
        raise ValueError(
            f"{name}: the labels are not whole numbers; expected classes, or --loss "
            "mse for a quantity"
        )
    if y.min() < 0 or y.max() >= _MAX_CLASSES:
        raise ValueError(
            f"{name}: the labels are {y.min()} to {y.max()}; expected classes from 0 "
            f"to at most {_MAX_CLASSES - 1}, or --loss mse for a quantity"
        )
    return _numbers(int(y.max()) + 1)


def _check_quantities(
    name: str, d: datasets.Dataset, class_names: tuple[str, ...] | None
) -> datasets.Dataset:
    if class_names is not None:
        raise ValueError(
            f"{name}: the targets are text such as {class_names[0]!r}; expected numbers"
        )
    y, y_test = (
        each.astype(np.float64).reshape(len(each), -1) for each in (d.y_train, d.y_test)
    )
    if not (np.isfinite(y).all() and np.isfinite(y_test).all()):
        raise ValueError(f"{name}: a target is not a finite number")
    return d._replace(y_train=y, y_test=y_test)


def _scaling(name: str, d: datasets.Dataset) -> tuple[Any, Any]:
    X = d.X_train
    if X.dtype.kind not in "biuf":
        raise ValueError(f"{name}: the samples are {X.dtype}; expected numbers")
    for part, values in (("training", X), ("test", d.X_test)):
        bad = ~np.isfinite(values)
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            raise ValueError(
                f"{name}: {values[row, column]} in column {column} of a {part} sample; "
                "expected finite numbers"
            )
    return standard_scaling(X)


def _samples_of(archive: Any) -> Array:
    for name in ("X", "X_test", "x_test"):
        if name in archive:
            array: Array = archive[name]
            return array
    raise ValueError(f"it holds {', '.join(archive)}; expected X or X_test")


def unscaled(x: Array, network: Network) -> Array:
    """Return the inputs that the network's own scaling turns into x."""
    scale, shift = model_of(network).scaling
    if scale is None or shift is None:
        return x
    if np.ptp(scale) or np.ptp(shift) or scale[0] == 0.0:
        raise ValueError(
            "the network scales each input on its own: it was not trained on images"
        )
    return np.asarray((x - shift) / scale)


def _csv_rows(path: str, n_inputs: int, label: str | None) -> Array:
    table = _load_csv(path, label or "-1")
    n_columns = table.X.shape[1] + 1
    if label is None and n_columns == n_inputs and table.class_names is None:
        return np.column_stack([table.X, table.y])
    if n_columns == n_inputs + 1:  # a label column, wherever it is
        return _load_csv(path, label).X
    raise ValueError(
        f"{path} has {n_columns} columns; expected {n_inputs} numbers, and at most one "
        "column of labels"
    )
