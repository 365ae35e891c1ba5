"""Initial weights that are fitted to the rows, as RealMLP-TD has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._core.model.model import Model
from fastnn._core.model.seeds import start_generator
from fastnn._plan.plan import make_plan
from fastnn.layers import Dense

if TYPE_CHECKING:
    from fastnn._base.types import Array

__all__ = ["fit_start"]

_MOST_ROWS = 10_000
_CORNERS = 5


def fit_start(model: Model, X: Array) -> None:
    """Fit the dense layers of a model that starts, one after the other, to rows.

    A unit's weights are divided by the deviation of ``x @ w``; its bias is then minus a
    random mean of ``x @ w`` of 5 random rows, so that it is 0 amid the data.
    """
    plan, rng = model.plan, start_generator(model.seed)
    X = X[rng.permutation(len(X))[:_MOST_ROWS]]
    weights = model.engine.get_weights()
    for place, index in enumerate(plan.parametric_layers):
        layer = plan.layers[index]
        if not isinstance(layer, Dense):
            continue
        layers: list[Any] = [plan.n_inputs, *plan.layers[: index + 1]]
        part = make_plan(layers, "mse", plan.optimizer, plan.dtype)
        before = Model(part, model.seed, model.backend, model.num_threads)
        w, b = weights[place]
        before.engine.set_weights([*weights[:place], (w, 0 * b)])
        z = before.engine.forward(X).astype(np.float64)
        deviation = z.std(axis=0)
        deviation[deviation < 1e-6] = 1.0
        rows = rng.integers(len(z), size=(_CORNERS, layer.units))
        shares = rng.exponential(size=rows.shape)
        corners = z[rows, np.arange(layer.units)] / deviation
        means = (corners * shares).sum(axis=0) / shares.sum(axis=0)
        weights[place] = (w / deviation).astype(w.dtype), -means.astype(b.dtype)
    model.engine.set_weights(weights)
