"""The text that the command line shows: evaluations, and bars of probabilities."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import metrics
from fastnn._core.training.scoring import make_metrics, score
from fastnn.network import model_of

if TYPE_CHECKING:
    from fastnn._base.types import Array
    from fastnn.network import Network


__all__ = ["Evaluation", "bar", "confusion_text", "evaluation_of", "network_sizes"]

_WIDEST = 26  # classes in a matrix; beyond it, the most frequent confusions are listed
_LISTED = 10


@dataclass(frozen=True)
class Evaluation:
    """How good the predictions of labelled rows are."""

    class_names: tuple[str, ...]  # empty for quantities
    n_rows: int
    loss: float
    score: float  # accuracy or R2
    error: float  # mean absolute error of quantities
    matrix: Array  # of confusions, for classes
    more: Mapping[str, float] = field(default_factory=dict)  # metrics by name

    @property
    def summary(self) -> str:
        """The accuracy or R2, with its name."""
        return f"{'accuracy' if self.class_names else 'R2'} {self.score:.4f}"

    @property
    def others(self) -> str:
        """The metrics that were asked for, each after a comma."""
        return "".join(f", {name} {value:.4g}" for name, value in self.more.items())

    def text(self, part: str = "", fresh: bool = False) -> str:
        """The confusion matrix of classes, and a line of numbers."""
        of = f"{part}{self.summary}"
        where = " on fresh points" if fresh else ""
        more = self.others
        if not self.class_names:
            return f"{of}{where}, mean absolute error {self.error:.4g}{more}"
        right, n = np.trace(self.matrix), self.matrix.sum()
        return (
            f"{confusion_text(self.matrix, self.class_names)}\n\n"
            f"{of} ({right:,} of {n:,}){where}, loss {self.loss:.4f}{more}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        values: dict[str, Any] = {"samples": self.n_rows, "loss": self.loss}
        if self.class_names:
            values |= {
                "accuracy": self.score,
                "classes": self.class_names,
                "confusion_matrix": self.matrix.tolist(),
            }
        else:
            values |= {"r2": self.score, "mean_absolute_error": self.error}
        return {**values, **self.more}


def evaluation_of(
    network: Network,
    rows: tuple[Array, Array],
    class_names: Sequence[str],
    names: Sequence[str] = (),
) -> Evaluation:
    """Predict the rows and compare, also by the metrics of these names."""
    X, y = rows
    result = network.evaluate(X, y)
    predicted = network.predict(X)
    made, forward = make_metrics(names, network.plan), model_of(network).engine.forward
    more = score(made, network.plan, y, None, partial(forward, X))
    if not class_names:
        predicted = predicted[:, network.plan.point]
        return Evaluation(
            (), len(X), result["loss"], metrics.r2(y, predicted),
            metrics.mean_absolute_error(y, predicted), np.zeros((0, 0), np.int64), more,
        )  # fmt: skip
    matrix = metrics.confusion_matrix(y, predicted, labels=range(len(class_names)))
    accuracy = result["accuracy"]
    return Evaluation(
        tuple(class_names), len(X), result["loss"], accuracy, 1.0 - accuracy, matrix,
        more,
    )  # fmt: skip


def network_sizes(network: Network) -> str:
    """Return the widths, as in 784-128-10."""
    return "-".join(map(str, network.plan.sizes))


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
    # A terminal without Unicode must not cause an error.
    block = "█" if (sys.stdout.encoding or "").lower().startswith("utf") else "#"
    return (block * full).ljust(width)
