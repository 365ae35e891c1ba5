"""Inside a network: what its layers pass on, and parts of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._base.fields import check_integer
from fastnn._plan import inputs
from fastnn.losses import MSE

from .model import Model

if TYPE_CHECKING:
    from fastnn._base.types import Array

__all__ = ["activations", "part_of"]


def activations(model: Model, X: Any, layer: int | None = None) -> Any:
    """Return the outputs of all layers, or of one; see `Network.activations`."""
    # By the reference, whatever the backend: it keeps what each layer was given.
    from fastnn.reference._passes import forward_pass

    plan = model.plan
    if layer is not None:
        n = len(plan.layers)
        layer = check_integer("layer", layer, -n, n - 1) % n
    X = inputs.check_X(model.rows_of(X), plan.n_inputs)
    model.require_finite(X, "X")
    x = np.array(X, plan.array_dtype, order="C")
    scale, shift = model.scaling
    if scale is not None and shift is not None:
        x = x * scale.astype(x.dtype) + shift.astype(x.dtype)
    with np.errstate(all="ignore"):
        out, caches = forward_pass(plan, *model.get_parameters(), x)
    outputs: list[Array] = [cache.inputs.x for cache in caches[1:]] + [out]
    return outputs if layer is None else outputs[layer]


def part_of(model: Model, layers: slice) -> Model:
    """Return a model of some of the layers, with copies of their parameters."""
    plan = model.plan
    start, stop, step = layers.indices(len(plan.layers))
    if step != 1 or start >= stop:
        raise ValueError(
            f"layers {layers.start}:{layers.stop}:{layers.step} of "
            f"{len(plan.layers)} are not one or more in a row"
        )
    is_end = stop == len(plan.layers)
    part = replace(
        plan,
        n_inputs=plan.widths[start],
        layers=plan.layers[start:stop],
        loss=plan.loss if is_end else MSE(),
    )
    made = Model(part, model.seed, model.backend, model.num_threads)
    if start == 0:
        made.set_scaling(model.scaling)
        made.set_schema(model.schema)
    if is_end:
        made.targets = model.targets
    weights, statistics = model.get_parameters()
    numbers = [i for i in plan.parametric_layers if start <= i < stop]
    of = dict(zip(plan.parametric_layers, weights, strict=True))
    made.set_parameters(([of[i] for i in numbers], statistics[start:stop]))
    return made
