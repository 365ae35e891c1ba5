"""The native engine with a loss in Python, which is called between its two passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn._base.errors import TrainingDiverged
from fastnn._base.types import Array, Pair
from fastnn._core.native.engine import Engine
from fastnn._plan import inputs
from fastnn._plan.own_loss import own_rows
from fastnn._plan.plan import Plan
from fastnn.layers import BatchNorm
from fastnn.losses import MSE

__all__ = ["OwnLossEngine"]


class OwnLossEngine(Engine):
    """As `Engine`, whose C is told of another loss: outputs are values."""

    def __init__(
        self,
        plan: Plan,
        num_threads: int | None = None,
        *,
        dropout_keys: Sequence[int] = (),
    ) -> None:
        within = replace(plan, loss=MSE())
        super().__init__(within, num_threads, dropout_keys=dropout_keys)
        self._plans = within, plan

    @property
    def plan(self) -> Plan:
        within, plan = self._plans
        if super().plan is not within:  # another optimizer, or others are frozen
            within = super().plan
            plan = replace(within, loss=plan.loss)
            self._plans = within, plan
        return plan

    def train(
        self,
        X: Any,
        y: Any,
        sample_weight: Array | None,
        order: Array | None,
        batch_size: int,
        start: int,
        totals: Array,
        max_seconds: float = 0.05,
        fused: bool = True,
        accumulate: int = 1,
        checked: bool = False,
        limit: float = np.inf,
    ) -> int:
        """Make one update, so that an interrupt finds it done or not begun.

        However long it takes: no limit leaves it.
        """
        if accumulate > 1:
            for index, layer in enumerate(self.plan.layers):
                if isinstance(layer, BatchNorm) and layer.trainable:
                    raise ValueError(
                        f"accumulate is {accumulate}, but with functions of your own "
                        "all these mini-batches are one, and the statistics of "
                        f"layers[{index}], {layer!r}, are of each; expected 1"
                    )
        n = len(X) if order is None else len(order)
        stop = min(start + batch_size * accumulate, n)
        rows: Any = slice(start, stop) if order is None else order[start:stop]
        weight = None if sample_weight is None else sample_weight[rows]
        if stop > start and (weight is None or weight.any()):
            totals += self._update(X[rows], y[rows], weight)
        return stop

    def train_step(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        loss, weight, _ = self._update(*self._check_rows(X, y, sample_weight))
        return float(loss / weight)

    def loss_and_gradients(
        self, X: Any, y: Any, sample_weight: Any = None
    ) -> tuple[float, list[Pair]]:
        sums, gradients = self._gradients_of(*self._check_rows(X, y, sample_weight))
        return float(sums[0] / sums[1]), gradients

    def partial_gradients(
        self,
        X: Any,
        y: Any,
        sample_weight: Array | None,
        order: Array,
        first_row: int,
        weight_sum: float,
        gradients: Sequence[Pair],
    ) -> tuple[float, float]:
        weight = None if sample_weight is None else sample_weight[order]
        sums, found = self._gradients_of(
            X[order], y[order], weight, first_row, weight_sum
        )
        for pair, own in zip(gradients, found, strict=True):
            pair[0][:], pair[1][:] = own
        return float(sums[0]), float(sums[2])

    def evaluate(
        self, X: Any, y: Any, sample_weight: Any = None
    ) -> tuple[float, float, float]:
        X, y, weight = self._check_rows(X, y, sample_weight)
        sums = self._weighed(self.forward(X, "logits"), y, weight)[0]
        return float(sums[0]), float(sums[1]), float(sums[2])

    def _check_rows(self, X: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
        X = inputs.check_X(X, self.plan.n_inputs)
        y = inputs.check_targets(y, len(X), self.plan)
        return X, y, inputs.check_sample_weight(sample_weight, len(X))

    def _update(self, X: Array, y: Array, weight: Array | None) -> Array:
        sums, gradients = self._gradients_of(X, y, weight)
        arrays = [array for pair in gradients for array in pair]
        if not np.isfinite(sums[0]) or not all(np.isfinite(a).all() for a in arrays):
            raise TrainingDiverged(
                "a loss or gradient is not finite; the last finite weights are kept. "
                "Try a smaller learning rate or scale the inputs"
            )
        self.apply_gradients(gradients)
        return sums

    def _gradients_of(
        self,
        X: Array,
        y: Array,
        weight: Array | None,
        first_row: int = 0,
        total: float | None = None,
    ) -> tuple[Array, list[Pair]]:
        z = self.training_outputs(X, first_row)
        sums, dz = self._weighed(z, y, weight, total)
        return sums, self.backward(X, np.ascontiguousarray(dz), first_row)[0]

    def _weighed(
        self, z: Array, y: Array, weight: Array | None, total: float | None = None
    ) -> tuple[Array, Array]:
        """The sums of w * loss, w and 0, and the gradient of the mean.

        `total`: the sum of all w, if there are others.
        """
        with np.errstate(all="ignore"):
            losses, gradients = own_rows(self.plan.loss, z, y)
            w = np.ones(len(z)) if weight is None else weight
            sums = np.array([w @ np.where(w > 0, losses, 0), w.sum(), 0.0])
            share = (w / (total or sums[1]))[:, np.newaxis]
            dz = np.where(share > 0, gradients * share, 0).astype(z.dtype)
        return sums, dz
