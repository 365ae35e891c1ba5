"""What the command line shows: the confusion matrix, and bars of probabilities."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["bar", "confusion_matrix", "confusion_text"]

_WIDEST = 26  # classes in a matrix; beyond it, the most frequent confusions are listed
_LISTED = 10


def confusion_matrix(y: Array, predicted: Array, n_classes: int) -> Array:
    """Return counts (n_classes, n_classes): row true class, column predicted."""
    flat = np.bincount(y * n_classes + predicted, minlength=n_classes**2)
    return flat.reshape(n_classes, n_classes)


def confusion_text(matrix: Array, class_names: Sequence[str]) -> str:
    """Return the matrix as an aligned table, with a dot for zero."""
    n = len(matrix)
    if n > _WIDEST:
        return _worst_confusions(matrix, class_names)
    numbers = [str(i) for i in range(n)]
    # Long names would make wide columns: columns are then numbered.
    labels = [
        name if name == number else f"{number} {name[:16]}"
        for number, name in zip(numbers, class_names, strict=True)
    ]
    left = max(map(len, labels))
    width = max(len(str(matrix.max())), len(numbers[-1])) + 2
    lines = ["confusion matrix (row: true class, column: predicted)"]
    lines.append(" " * left + "".join(number.rjust(width) for number in numbers))
    for label, row in zip(labels, matrix, strict=True):
        cells = (str(count) if count else "." for count in row)
        lines.append(label.rjust(left) + "".join(cell.rjust(width) for cell in cells))
    return "\n".join(lines)


def _worst_confusions(matrix: Array, class_names: Sequence[str]) -> str:
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    lines = ["most frequent confusions"]
    for flat in np.argsort(-wrong, axis=None, kind="stable")[:_LISTED]:
        true, predicted = divmod(int(flat), len(matrix))
        if wrong[true, predicted]:
            lines.append(
                f"{wrong[true, predicted]:6} x {class_names[true]} "
                f"predicted as {class_names[predicted]}"
            )
    return "\n".join(lines) if len(lines) > 1 else "no confusions"


def bar(share: float, width: int = 30) -> str:
    """Return a bar of a share in 0..1, padded to the width."""
    full = round(share * width)
    # A terminal without Unicode must not end in an error.
    block = "█" if (sys.stdout.encoding or "").lower().startswith("utf") else "#"
    return (block * full).ljust(width)
