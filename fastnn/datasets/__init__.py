"""Data sets: embedded, downloaded, generated, or read from a user's file.

| function | what | where |
| --- | --- | --- |
| `digits` | 1797 images of 8 x 8 | comes with fastnn |
| `mnist`, `fashion_mnist` | 70,000 images of 28 x 28 | a folder, or downloaded |
| `line`, `xor`, `spirals`, `blobs`, `moons`, `circles` | small problems | generated |
| `read_table` | named columns: numbers, text, dates, gaps | a CSV or Parquet file |
| `load_csv`, `load_npz` | numbers and a label | a file |
| `load_idx` | images or labels, as of EMNIST | a file |
| `train_test_split` | a random split | |

The small problems are generated from a `seed`, at least 0: samples (n, n_features) in
float64, and labels (n,) in int64. Their rows come in random order, so that a part taken
from the end (``validation_split``) holds every class. `noise` is a standard deviation,
and N are standard normal numbers.

Functions here return NumPy arrays and know nothing of models.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fastnn._plan.schema import Schema

from ._dataset import Dataset, train_test_split
from ._generators import blobs, circles, line, moons, spirals, xor
from ._mnist import FASHION_MNIST_CLASSES, fashion_mnist, load_idx, mnist
from ._reader import read_table
from ._tables import Table, load_csv, load_npz

__all__ = [
    "FASHION_MNIST_CLASSES",
    "Dataset",
    "Schema",
    "Table",
    "blobs",
    "circles",
    "digits",
    "fashion_mnist",
    "line",
    "load_csv",
    "load_idx",
    "load_npz",
    "mnist",
    "moons",
    "read_table",
    "spirals",
    "train_test_split",
    "xor",
]

_N_TRAIN = 1437


def digits() -> Dataset:
    """Handwritten digits: 1437 training and 360 test images of 8 x 8 pixels.

    Comes with fastnn: no download, no other package. The split is fixed: the 1797
    images were shuffled once, over all classes, and are stored in that order; the last
    360 are the test set. As in scikit-learn's `load_digits`, which has the same images,
    the writers of the two parts are the same people.

    Returns
    -------
    Dataset
        Images ``uint8`` (n, 64), 0 (background) to **16**, flattened row by row; labels
        ``int64`` (n,), 0 to 9. Scale with ``input_scale=1/16``.

    References
    ----------
    E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository, 1998, CC BY 4.0. See ``datasets/README.md``.

    Examples
    --------
    >>> from fastnn import datasets
    >>> X_train, y_train, X_test, y_test = datasets.digits()
    >>> X_train.shape, X_test.shape, X_train.max()
    ((1437, 64), (360, 64), np.uint8(16))
    """
    path = Path(__file__).with_name("digits.npz")
    with np.load(path, allow_pickle=False) as archive:
        X, y = archive["X"], archive["y"].astype(np.int64)
    # Copies, so that neither part keeps the whole alive or shares its memory.
    parts = X[:_N_TRAIN], y[:_N_TRAIN], X[_N_TRAIN:], y[_N_TRAIN:]
    return Dataset(*(part.copy() for part in parts))
