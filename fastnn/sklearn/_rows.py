"""Data sets of `fastnn.sklearn`: dense, or CSR, which is multiplied as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._core.native.engine import SparseRows
from fastnn._plan.rows import Rows
from fastnn.metrics import r2

if TYPE_CHECKING:
    from fastnn._base.types import Array, Floats
    from fastnn._core.model.model import Model


__all__ = ["DataSet", "readable"]


def readable(X: Any, dtype: str) -> Any:
    """Return X, an array or CSR, as an engine of this dtype reads it.

    Engines read all dtypes of arrays but floats that are longer than float64.
    """
    if not hasattr(X, "toarray"):
        is_long = X.dtype.kind == "f" and X.dtype.itemsize > 8
        return X.astype(np.float64) if is_long else X
    rows = SparseRows(X.data, X.indices, X.indptr, X.shape, dtype)
    if rows.ordered:
        return rows
    X = X.copy()
    X.sum_duplicates()
    return SparseRows(X.data, X.indices, X.indptr, X.shape, dtype)


@dataclass(frozen=True)
class DataSet:
    """Rows that passed every check: X an array or CSR, y as an engine takes it.

    Sample weights are float64 (n,) or None; y are labels int64 (n,) or a matrix
    (n, n_outputs), of the network's dtype once the rows are `prepared`.
    """

    X: Any
    y: Array
    sample_weight: Floats | None

    def __len__(self) -> int:
        return len(self.y)

    @property
    def weight(self) -> float:
        """The sum of the sample weights."""
        weights = self.sample_weight
        return float(len(self.y) if weights is None else weights.sum())

    def prepared(self, dtype: str) -> DataSet:
        """The same rows, for a network of this dtype, quick to read again and again."""
        X, y = readable(self.X, dtype), self.y
        if isinstance(X, np.ndarray) and not isinstance(X, np.memmap):
            X = np.ascontiguousarray(X)  # rows are gathered
        if y.ndim == 2:
            y = np.ascontiguousarray(y, dtype=dtype)
        return DataSet(X, y, self.sample_weight)

    def take(self, rows: Array) -> DataSet:
        weights = self.sample_weight
        weights = None if weights is None else weights[rows]
        return DataSet(self.X[rows], self.y[rows], weights)

    @property
    def rows(self) -> Rows:
        return Rows(self.X, self.y, self.sample_weight)

    def evaluate(self, model: Model) -> tuple[float, float]:
        """The mean loss, in fastnn's terms, and the score: accuracy or R2.

        The score is NaN if there are predictions that are not finite.
        """
        totals = model.engine.evaluate(*self.rows)
        loss = float(totals[0] / totals[1])
        if model.plan.loss.is_classifier:
            return loss, float(totals[2] / totals[1])
        values = model.engine.forward(self.X)
        if not np.isfinite(values).all():
            return loss, float("nan")
        return loss, r2(self.y, values, sample_weight=self.sample_weight)
