"""The computation of a prediction in the fewest stages, for exporters.

``ModelState -> stages_of -> [stage]``: dropout is gone, batch norms and the scaling
of the inputs may be folded into the weights of a neighbour, in float64, and one stage
does one thing. What follows the raw outputs is the loss's to say: `output_activation`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.activations import Activation, as_activation, storable
from fastnn.layers import (
    Embedding,
    ParametricActivation,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
)

if TYPE_CHECKING:
    from fastnn._base.types import Array
    from fastnn._core.model.state import ModelState


__all__ = [
    "EMBEDDINGS",
    "Activate",
    "Affine",
    "Clamp",
    "Lookup",
    "Normalize",
    "Parametric",
    "Periodic",
    "PiecewiseLinear",
    "Scale",
    "Stage",
    "stages_of",
    "width_after",
]


@dataclass(frozen=True, eq=False)
class Affine:
    """``y := x @ weights + biases``, (n_in, n_out) and (n_out,) or None.

    They are in the network's dtype.
    """

    weights: Array
    biases: Array | None


@dataclass(frozen=True, eq=False)
class Scale:
    """``y := (x - center) * scale + shift``, each (n,), in float64.

    To be computed in the network's dtype and in this order, where terms may nearly
    cancel. The engines round the product on its own where there is no center (None: it
    is a `Scale`, or the scaling of the inputs), and with the sum where there is one.
    """

    center: Array | None
    scale: Array
    shift: Array


@dataclass(frozen=True, eq=False)
class Normalize:
    """``y := scale * (x - mean) / sqrt(variance + epsilon) + shift`` of each row.

    The variance is the biased one; scale and shift, each (n,), are in the network's
    dtype.
    """

    scale: Array
    shift: Array
    epsilon: float


@dataclass(frozen=True, eq=False)
class Activate:
    """``y := activation(x)``."""

    activation: Activation


@dataclass(frozen=True, eq=False)
class Periodic:
    """``y := [cos(2 pi w_j x_j + c_j) @ W_j + b_j, x_j]`` of each of the first inputs.

    The other inputs follow. w and c are (F, columns), W is (F, size - 1, columns) and b
    (size - 1, columns), in the network's dtype.
    """

    frequencies: Array
    phases: Array
    weights: Array
    biases: Array


@dataclass(frozen=True, eq=False)
class PiecewiseLinear:
    """``y := shares of the bins of x_j @ W_j + b_j`` of each of the first inputs.

    The other inputs follow. See `PiecewiseLinearEmbedding`; `edges`, an array for each
    column, weights (all bins, size) and biases (columns, size) are in the network's
    dtype.
    """

    edges: list[Array]
    weights: Array
    biases: Array


@dataclass(frozen=True, eq=False)
class Lookup:
    """The rows (size,) of the codes, which are the last inputs; the others before them.

    The first counts[0] rows of weights (all categories, size) are those of the first
    code, and so on; -1 has zeros.
    """

    counts: tuple[int, ...]
    weights: Array


@dataclass(frozen=True, eq=False)
class Parametric:
    """``y := x + factors (function(x) - x)``, factors (n,) in the network's dtype."""

    function: Activation
    factors: Array


@dataclass(frozen=True, eq=False)
class Clamp:
    """``y := min(max(x, low), high)``, (n,) in the network's dtype."""

    low: Array
    high: Array


Stage = (
    Affine
    | Clamp
    | Scale
    | Normalize
    | Activate
    | Periodic
    | PiecewiseLinear
    | Lookup
    | Parametric
)
# Those of another number of outputs, which are not computed in place.
EMBEDDINGS = (Periodic, PiecewiseLinear, Lookup)

# A scaling of x to values of about 1 is folded into the product that follows while its
# shift, times eps, is a rounding of values about that large.
_LARGEST_FOLDED = 2.0**-22


def stages_of(state: ModelState, *, fold: bool = True) -> list[Stage]:
    """Return the stages from the rows as they are given to what is predicted.

    Without `fold` they are those of the native engine, which folds no more than a batch
    norm into the dense layer just before it: any other folding changes the values by
    roundings, as another order of a sum would.

    Examples
    --------
    >>> from fastnn import BatchNorm, Dense, Dropout
    >>> from fastnn._core.exchange.stages import stages_of
    >>> from fastnn._core.model.model import Model
    >>> from fastnn._plan.plan import make_plan
    >>> layers = [4, Dense(8), BatchNorm("relu"), Dropout(0.5), Dense(3)]
    >>> model = Model(make_plan(layers), seed=0)
    >>> [type(stage).__name__ for stage in stages_of(model.state())]
    ['Affine', 'Activate', 'Affine']
    """
    dtype = np.dtype(state.plan.array_dtype)
    stages: list[Stage] = []
    is_adjacent = False
    for stage in _all_stages(state):
        if stage is None:
            is_adjacent = False
            continue
        is_norm = isinstance(stage, Scale) and stage.center is not None
        may_fold = fold or (is_norm and is_adjacent)
        while stages and may_fold:
            folded = _fold(stages[-1], stage, dtype)
            if folded is None:
                break
            stages.pop()
            stage = folded
            may_fold = fold
        stages.append(stage)
        is_adjacent = True
    return stages


def width_after(stage: Stage, n: int) -> int:
    """Return the number of outputs of a stage of n inputs."""
    if isinstance(stage, Affine):
        return int(stage.weights.shape[1])
    if isinstance(stage, Periodic):
        return n + int(stage.biases.size)
    if isinstance(stage, PiecewiseLinear):
        return n + int(stage.biases.size) - len(stage.biases)
    if isinstance(stage, Lookup):
        return n + len(stage.counts) * (int(stage.weights.shape[1]) - 1)
    return n


def _all_stages(state: ModelState) -> Iterator[Stage | None]:
    """Yield the stages of each layer, None for dropout."""
    plan, (scale, shift) = state.plan, state.scaling
    if scale is not None and shift is not None:
        yield Scale(
            None,
            scale.astype(plan.array_dtype).astype(np.float64),  # as the engines have it
            shift,
        )
    pairs = dict(zip(plan.parametric_layers, state.weights, strict=True))
    for i, layer in enumerate(plan.layers):
        if i not in pairs:
            yield None
            continue
        first, second = pairs[i]
        if layer.name == "dense":
            use_bias = layer.use_bias  # type: ignore[attr-defined]
            yield Affine(first, second if use_bias else None)
        elif layer.name == "scale":
            yield Scale(None, first.astype(np.float64), second.astype(np.float64))
        elif isinstance(layer, PeriodicEmbedding):
            n_terms = layer.frequencies
            w, W = first[:, 0], first[:, 1:]
            yield Periodic(w, second[:n_terms], W, second[n_terms:])
        elif isinstance(layer, PiecewiseLinearEmbedding):
            edges = [np.array(each, first.dtype) for each in layer.bins]
            yield PiecewiseLinear(edges, first, second)
        elif isinstance(layer, Embedding):
            yield Lookup(layer.counts, first)
        elif isinstance(layer, ParametricActivation):
            yield Parametric(as_activation(layer.function), first)
        elif layer.name == "layer_norm":
            yield Normalize(first, second, layer.epsilon)  # type: ignore[attr-defined]
        else:
            statistics = state.statistics[i]
            assert statistics is not None
            mean, variance = (each.astype(np.float64) for each in statistics)
            root = np.sqrt(variance + layer.epsilon)  # type: ignore[attr-defined]
            factor = first * (1 / root).astype(first.dtype)  # rounded as in the engines
            yield Scale(mean, factor.astype(np.float64), second.astype(np.float64))
        activation = storable(layer.activation)
        if activation.name != "identity":
            yield Activate(activation)
    if state.targets is not None:
        factor, shift, low, high = state.targets.of_outputs
        yield Scale(None, factor, shift)
        if low[0] > -np.inf:
            yield Clamp(*np.nan_to_num(np.array([low, high], plan.array_dtype)))


def _fold(first: Stage, second: Stage, dtype: np.dtype[Any]) -> Stage | None:
    """Return one stage for two, None if there is none that is as exact."""
    if isinstance(first, Affine) and isinstance(second, Scale):
        # With the roundings of the engine: the sum of the biases is rounded once.
        biases = np.zeros(len(second.shift), dtype)
        if first.biases is not None:
            biases = first.biases
        if second.center is not None:
            biases = biases - second.center.astype(dtype)
        return _affine(
            first.weights * second.scale.astype(dtype),
            biases * second.scale + second.shift,
            dtype,
        )
    if isinstance(first, Scale) and isinstance(second, Affine):
        shift = first.shift
        if first.center is not None:
            shift = shift - first.center * first.scale
        if np.abs(shift).max() * np.finfo(dtype).eps > _LARGEST_FOLDED:
            return None
        weights = first.scale[:, np.newaxis] * second.weights
        biases = shift @ second.weights.astype(np.float64)
        if second.biases is not None:
            biases = biases + second.biases
        return _affine(weights, biases, dtype)
    return None


def _affine(weights: Array, biases: Array, dtype: np.dtype[Any]) -> Affine | None:
    """Round to the dtype; None if something does not fit into it."""
    with np.errstate(over="ignore"):
        weights, biases = weights.astype(dtype), biases.astype(dtype)
    if not (np.isfinite(weights).all() and np.isfinite(biases).all()):
        return None
    return Affine(weights, biases)
