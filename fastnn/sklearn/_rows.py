"""Data sets of `fastnn.sklearn`: dense, or CSR that is made dense part by part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._plan.rows import Rows
from fastnn.metrics import r2

if TYPE_CHECKING:
    from fastnn._base.types import Array, Floats
    from fastnn._core.model.model import Model


__all__ = ["DataSet"]

# Sparse rows whose dense form fits into this are made dense once, others in parts.
_DENSE_BYTES = 2**25


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
        X, y = self.X, self.y
        if y.ndim == 2:
            y = np.ascontiguousarray(y, dtype=dtype)
        if not hasattr(X, "toarray"):
            if not (X.flags.c_contiguous or isinstance(X, np.memmap)):
                X = np.ascontiguousarray(X)  # rows are gathered
        elif X.shape[0] * X.shape[1] * np.dtype(dtype).itemsize <= _DENSE_BYTES:
            X = X.astype(dtype).toarray()
        else:
            X = X.tocsr().astype(dtype)
        return DataSet(X, y, self.sample_weight)

    def take(self, rows: Array) -> DataSet:
        weights = self.sample_weight
        weights = None if weights is None else weights[rows]
        return DataSet(self.X[rows], self.y[rows], weights)

    def parts(
        self, order: Array | None = None, batch_size: int = 1
    ) -> Iterable[tuple[Rows, Array | None]]:
        """Return all rows, or those of `order`, as parts with the order in each.

        A part of sparse rows is dense, in order, and of whole batches except the last.
        """
        if hasattr(self.X, "toarray"):
            return self._dense_parts(order, batch_size)
        return [(Rows(self.X, self.y, self.sample_weight), order)]

    def _dense_parts(
        self, order: Array | None, batch_size: int
    ) -> Iterator[tuple[Rows, Array | None]]:
        row_bytes = self.X.shape[1] * max(self.X.dtype.itemsize, 4)
        size = max(_DENSE_BYTES // row_bytes // batch_size, 1) * batch_size
        n = len(self) if order is None else len(order)
        for start in range(0, n, size):
            rows = slice(start, start + size)
            part = self.take(order[rows] if order is not None else rows)  # type: ignore[arg-type]
            yield Rows(part.X.toarray(), part.y, part.sample_weight), None

    def forward(self, model: Model, output: str) -> Array:
        """The outputs of all rows; y is not looked at."""
        parts = [model.engine.forward(rows.X, output) for rows, _ in self.parts()]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def evaluate(self, model: Model) -> tuple[float, float]:
        """The mean loss, in fastnn's terms, and the score: accuracy or R2.

        The score is NaN if there are predictions that are not finite.
        """
        totals = np.zeros(3)
        for rows, _ in self.parts():
            totals += model.engine.evaluate(*rows)
        loss = float(totals[0] / totals[1])
        if model.plan.loss.is_classifier:
            return loss, float(totals[2] / totals[1])
        values = self.forward(model, "values")
        if not np.isfinite(values).all():
            return loss, float("nan")
        return loss, r2(self.y, values, sample_weight=self.sample_weight)
