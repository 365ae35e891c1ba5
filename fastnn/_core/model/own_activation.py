"""The native engine with activations in Python, which are called between its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice, pairwise
from threading import RLock
from typing import Any

import numpy as np

from fastnn._base.errors import TrainingDiverged
from fastnn._base.types import Array, Pair
from fastnn._core.native.engine import Engine
from fastnn._plan.own_activation import has_own_activation
from fastnn._plan.plan import Plan
from fastnn.losses import MSE
from fastnn.reference._activations import activate, activation_gradient
from fastnn.reference._losses import LOSSES
from fastnn.reference._step import Batch, loss_sums

from .own_loss import OwnLossEngine

__all__ = ["OwnActivationEngine"]


class OwnActivationEngine(OwnLossEngine):
    """As `Engine`, whose C is told of the identity instead.

    It keeps weights, statistics and the optimizer's state, and makes the updates. What
    the layers compute comes from engines of the parts that end with such an activation,
    which have copies of the weights.
    """

    def __init__(
        self,
        plan: Plan,
        num_threads: int | None = None,
        *,
        dropout_keys: Sequence[int] = (),
    ) -> None:
        within = replace(plan, layers=tuple(map(_without, plan.layers)))
        super().__init__(within, num_threads, dropout_keys=dropout_keys)
        self._whole, self._keys = (super().plan, plan), dropout_keys
        self._lock = RLock()
        self._scaling: tuple[Any, Any] = (None, None)
        self._pending: list[Pair | None] | None = None
        self._made_of: Plan | None = None
        self._ready()

    @property
    def plan(self) -> Plan:
        within, plan = self._whole
        if super().plan is not within:  # another optimizer, or others are frozen
            within = super().plan
            pairs = zip(within.layers, plan.layers, strict=True)
            layers = tuple(_like(new, old) for new, old in pairs)
            plan = replace(within, layers=layers)
            self._whole = within, plan
        return plan

    def _ready(self) -> list[tuple[Engine, Any]]:
        """Return the parts and their activations, with the weights of now."""
        plan, statistics = self.plan, iter(self.get_statistics())  # or BusyError
        if self._made_of is not plan:
            ends = [
                i + 1 for i, each in enumerate(plan.layers) if has_own_activation(each)
            ]
            self._parts: list[tuple[Engine, Any]] = []
            for start, stop in pairwise(sorted({0, *ends, len(plan.layers)})):
                layers = plan.layers[start:stop]
                layers, last = (*layers[:-1], _without(layers[-1])), layers[-1]
                within = replace(
                    plan, n_inputs=plan.widths[start], layers=layers, loss=MSE()
                )
                part = Engine(within, dropout_keys=self._keys[start:stop])
                activation = last.activation if stop in ends else "identity"
                self._parts.append((part, activation))
            self._made_of, self._is_stale = plan, True
        if self._is_stale:
            weights = iter(self.get_weights())
            for part, _ in self._parts:
                part.set_weights([*islice(weights, len(part.plan.shapes))])
                part.set_statistics([*islice(statistics, len(part.plan.layers))])
            self._parts[0][0].set_input_scaling(*self._scaling)
            self._is_stale = False
        for part, _ in self._parts:
            part.step, part.num_threads = self.step, self.num_threads
        return self._parts

    def _pass(self, X: Any, first_row: int | None) -> tuple[list[Array], list[Array]]:
        """Return the inputs of each part, then the outputs; and what each gives.

        In training if there is a `first_row`.
        """
        inputs, raw = [X], []
        for part, activation in self._ready():
            x = inputs[-1]
            if first_row is None:
                z = part.forward(x, "logits")
            else:
                z = part.training_outputs(x, first_row)
            with np.errstate(all="ignore"):
                y = activate(activation, z)
            if first_row is not None and not np.isfinite(y).all():
                raise TrainingDiverged(
                    "an activation is not finite; the last finite weights are kept"
                )
            raw.append(z)
            inputs.append(y)
        return inputs, raw

    def training_outputs(self, X: Any, first_row: int = 0) -> Array:
        with self._lock:
            return self._pass(X, first_row)[0][-1]

    def backward(
        self, X: Any, d_outputs: Array, first_row: int = 0
    ) -> tuple[list[Pair], Array]:
        with self._lock:
            inputs, raw = self._pass(X, first_row)
            gradients: list[Pair] = []
            pending: list[Pair | None] = []
            d = d_outputs
            for (part, last), x, z in reversed(
                [*zip(self._parts, inputs[:-1], raw, strict=True)]
            ):
                with np.errstate(all="ignore"):
                    d = activation_gradient(last, d, z)
                found, d = part.backward(x, np.ascontiguousarray(d), first_row)
                gradients[:0] = found
                pending[:0] = part.get_statistics(pending=True)
            self._pending = pending
            return gradients, d

    def apply_gradients(self, gradients: Any, statistics: Any = None) -> None:
        with self._lock:
            super().apply_gradients(gradients, statistics or self._pending)
            self._pending, self._is_stale = None, True

    def set_weights(self, weights: Any) -> None:
        super().set_weights(weights)
        self._is_stale = True

    def get_statistics(self, pending: bool = False) -> list[Pair | None]:
        return (pending and self._pending) or super().get_statistics()

    def set_statistics(self, statistics: Any) -> None:
        super().set_statistics(statistics)
        self._pending, self._is_stale = None, True

    def set_input_scaling(self, scale: Any, shift: Any) -> None:
        super().set_input_scaling(scale, shift)
        self._scaling, self._is_stale = (scale, shift), True

    def forward(self, X: Any, output: str = "values") -> Array:
        loss = LOSSES[self.plan.loss.name]
        with self._lock:
            z = self._pass(X, None)[0][-1]
        functions = {"values": loss.values, "labels": loss.labels}
        function = functions.get(output)
        with np.errstate(all="ignore"):
            return z if function is None else np.asarray(function(z))

    def predict_one(self, x: Any, out: Array | None = None) -> Array:
        out = super().predict_one(x, out)  # which checks both
        out[:] = self.forward(np.asarray(x)[np.newaxis])[0]
        return out

    def _weighed(
        self, z: Array, y: Array, weight: Array | None, total: float | None = None
    ) -> tuple[Array, Array]:
        targets = y if y.ndim == 1 else y.astype(z.dtype)
        with np.errstate(all="ignore"):
            sums, dz = loss_sums(self.plan, z, Batch(z, targets, weight), total)
        return np.array(sums), dz


def _without(layer: Any) -> Any:
    own = has_own_activation(layer)
    return replace(layer, activation="identity") if own else layer


def _like(new: Any, old: Any) -> Any:
    own = has_own_activation(old)
    return replace(new, activation=old.activation) if own else new
