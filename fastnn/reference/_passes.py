"""Forward and backward through whole networks, as pure functions.

Each kind of layer has three functions in LAYERS: its raw outputs z from its inputs x,
the gradient wrt x from that wrt z, and the gradients of its pair of parameters. The
activation comes after them, the same way for all. To add a layer: an entry in LAYERS.
Letters in shapes are m rows, n_in inputs and n_out outputs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastnn._base.types import Array, Pair
from fastnn._plan.plan import Plan
from fastnn.layers import (
    BatchNorm,
    Dense,
    Dropout,
    Embedding,
    LayerNorm,
    ParametricActivation,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    Scale,
)

from ._activations import activate, activation_gradient, saves_input
from ._embeddings import Periodic, PiecewiseLinear, Table
from ._layers import (
    Normal,
    dropout_factor,
    normalize,
    normalize_backward,
    normalize_with,
    running_statistics,
)
from ._products import multiply, multiply_transposed
from ._rounding import round_to_bfloat16


@dataclass(frozen=True)
class Mode:
    """How the layers compute: as in prediction, or as in an update."""

    training: bool = False
    keys: Sequence[int] = ()  # of the masks of dropout, by layer
    step: int = 0  # updates done before
    first_row: int = 0  # number of the first row among those of the update


PREDICTION = Mode()


class Inputs(NamedTuple):
    """What a layer computes from."""

    layer: Any  # its description
    parameters: Pair | None
    statistics: Pair | None  # running mean and variance
    x: Array  # (m, n_in)
    mode: Mode
    key: int
    rate: float  # of dropout
    rounds: bool  # the operands of products, to bfloat16


@dataclass(frozen=True)
class Cached:
    """What the forward pass of a layer keeps for the backward pass."""

    inputs: Inputs
    kept: Any  # by the kind of layer
    saved: Array  # (m, n_out) what the derivative of the activation is computed from


def forward_pass(
    plan: Plan,
    weights: Sequence[Pair],
    statistics: Sequence[Pair | None],
    x: Array,
    mode: Mode = PREDICTION,
) -> tuple[Array, list[Cached]]:
    """Return the last layer's output and what each layer keeps for backward."""
    parameters: dict[int, Pair] = dict(
        zip(plan.parametric_layers, weights, strict=True)
    )
    caches = []
    rounds = plan.dtype == "bfloat16"
    dropout = plan.dropout_rates(mode.step, 1)[0].tolist()
    for index, layer in enumerate(plan.layers):
        key = mode.keys[index] if mode.keys else 0
        rate = dropout[index]
        pair, running = parameters.get(index), statistics[index]
        inputs = Inputs(layer, pair, running, x, mode, key, rate, rounds)
        z, kept = LAYERS[layer.name].forward(inputs)
        x = activate(layer.activation, z)
        caches.append(Cached(inputs, kept, z if saves_input(layer.activation) else x))
    return x, caches


def backward_pass(plan: Plan, caches: Sequence[Cached], dy: Array) -> Iterator[Pair]:
    """Yield the gradients of each layer's parameters, from the first to the last.

    Each is computed when asked for; all input gradients are computed before the first.
    Those of frozen layers are zeros, and so are those of biases that do not exist.
    """
    trained = [i for i in plan.parametric_layers if plan.layers[i].trainable]
    lowest = min(trained, default=len(caches))
    yield from parameter_gradients(plan, caches, input_gradients(caches, dy, lowest)[0])


def input_gradients(
    caches: Sequence[Cached], dy: Array, lowest: int = -1
) -> tuple[dict[int, Array], Array]:
    """Return the gradients wrt z of the layers from `lowest` on, and wrt its outputs.

    Or, if it is -1, those of all layers and the one wrt the inputs.
    """
    deltas: dict[int, Array] = {}
    for index in reversed(range(max(lowest, 0), len(caches))):
        cache = caches[index]
        layer = cache.inputs.layer
        deltas[index] = activation_gradient(layer.activation, dy, cache.saved)
        if index > lowest:
            dy = LAYERS[layer.name].input_gradient(cache, deltas[index])
    return deltas, dy


def parameter_gradients(
    plan: Plan, caches: Sequence[Cached], deltas: dict[int, Array]
) -> Iterator[Pair]:
    """Yield the gradients of each layer's parameters from those wrt z."""
    for index in plan.parametric_layers:
        cache = caches[index]
        if plan.layers[index].trainable:
            gradients = LAYERS[plan.layers[index].name].parameter_gradients
            yield gradients(cache, deltas.pop(index))
        else:
            first, second = _parameters(cache)
            yield np.zeros_like(first), np.zeros_like(second)


def new_statistics(caches: Sequence[Cached]) -> list[Pair | None]:
    """Return the running statistics after a training pass, by layer."""
    statistics = []
    for cache in caches:
        layer, running = cache.inputs.layer, cache.inputs.statistics
        if running is not None and layer.trainable:
            m = len(cache.inputs.x)
            running = running_statistics(running, cache.kept, m, layer.momentum)
        statistics.append(running)
    return statistics


def _parameters(cache: Cached) -> Pair:
    assert cache.inputs.parameters is not None
    return cache.inputs.parameters


# Dense: z := x @ W + b


def _dense(inputs: Inputs) -> tuple[Array, None]:
    assert inputs.parameters is not None
    W, b = inputs.parameters
    z = multiply(_operand(inputs, inputs.x), _operand(inputs, W))
    z += b
    return z, None


def _dense_input(cache: Cached, dz: Array) -> Array:
    inputs = cache.inputs
    return multiply(_operand(inputs, dz), _operand(inputs, _parameters(cache)[0]).T)


def _dense_parameters(cache: Cached, dz: Array) -> Pair:
    db = dz.sum(axis=0)
    if not cache.inputs.layer.use_bias:
        db = np.zeros_like(db)
    inputs = cache.inputs
    return multiply_transposed(_operand(inputs, inputs.x), _operand(inputs, dz)), db


def _operand(inputs: Inputs, array: Array) -> Array:
    return round_to_bfloat16(array) if inputs.rounds else array


# Dropout: z := x * factor, in training


def _dropout(inputs: Inputs) -> tuple[Array, Array | None]:
    x, mode = inputs.x, inputs.mode
    if not mode.training:
        return x, None
    m, n = x.shape
    factor = dropout_factor(
        (m, n), x.dtype, inputs.rate, inputs.key, mode.step, mode.first_row
    )
    return x * factor, factor


def _dropout_input(cache: Cached, dz: Array) -> Array:
    return dz if cache.kept is None else dz * cache.kept


def _no_parameters(cache: Cached, dz: Array) -> Pair:
    raise AssertionError("dropout has no parameters")


# Norms: z := scale * normal + shift


def _batch_norm(inputs: Inputs) -> tuple[Array, Normal]:
    if _uses_batch(inputs):
        normal = normalize(inputs.x, 0, inputs.layer.epsilon)
    else:
        assert inputs.statistics is not None
        normal = normalize_with(inputs.x, *inputs.statistics, inputs.layer.epsilon)
    return _scaled(inputs, normal), normal


def _batch_norm_input(cache: Cached, dz: Array) -> Array:
    dvalues = dz * _parameters(cache)[0]
    if _uses_batch(cache.inputs):
        return normalize_backward(dvalues, cache.kept, 0)
    return np.asarray(dvalues * cache.kept.inverse)


def _uses_batch(inputs: Inputs) -> bool:
    """Whether the statistics are those of the mini-batch, and not the running ones."""
    return bool(inputs.mode.training and inputs.layer.trainable)


def _layer_norm(inputs: Inputs) -> tuple[Array, Normal]:
    normal = normalize(inputs.x, 1, inputs.layer.epsilon)
    return _scaled(inputs, normal), normal


def _layer_norm_input(cache: Cached, dz: Array) -> Array:
    return normalize_backward(dz * _parameters(cache)[0], cache.kept, 1)


def _scaled(inputs: Inputs, normal: Normal) -> Array:
    assert inputs.parameters is not None
    scale, shift = inputs.parameters
    return scale * normal.values + shift


def _norm_parameters(cache: Cached, dz: Array) -> Pair:
    return (dz * cache.kept.values).sum(axis=0), dz.sum(axis=0)


# Scale: z := x * scale


def _scale(inputs: Inputs) -> tuple[Array, None]:
    assert inputs.parameters is not None
    return inputs.x * inputs.parameters[0], None


def _scale_input(cache: Cached, dz: Array) -> Array:
    return np.asarray(dz * _parameters(cache)[0])


def _scale_parameters(cache: Cached, dz: Array) -> Pair:
    second = _parameters(cache)[1]
    return (dz * cache.inputs.x).sum(axis=0), np.zeros_like(second)


# Embeddings: z := the values of the first inputs, then the other inputs


def _embedding_input(cache: Cached, dz: Array) -> Array:
    dx: Array = cache.kept.input_gradient(dz)
    return dx


def _embedding_parameters(cache: Cached, dz: Array) -> Pair:
    gradients: Pair = cache.kept.parameter_gradients(dz)
    return gradients


def _periodic(inputs: Inputs) -> tuple[Array, Periodic]:
    assert inputs.parameters is not None
    kept = Periodic.of(inputs.x, inputs.parameters)
    return kept.values(), kept


def _piecewise_linear(inputs: Inputs) -> tuple[Array, PiecewiseLinear]:
    assert inputs.parameters is not None
    kept = PiecewiseLinear.of(inputs.x, inputs.layer.bins, inputs.parameters)
    return kept.values(), kept


def _table(inputs: Inputs) -> tuple[Array, Table]:
    assert inputs.parameters is not None
    kept = Table.of(inputs.x, inputs.layer.counts, inputs.parameters[0])
    return kept.values(), kept


# Parametric activation: z := x + a (f(x) - x)


def _parametric(inputs: Inputs) -> tuple[Array, Array]:
    assert inputs.parameters is not None
    values = activate(inputs.layer.function, inputs.x)
    return inputs.x + inputs.parameters[0] * (values - inputs.x), values


def _parametric_input(cache: Cached, dz: Array) -> Array:
    function, x = cache.inputs.layer.function, cache.inputs.x
    saved = x if saves_input(function) else cache.kept
    change = activation_gradient(function, dz, saved) - dz
    return np.asarray(dz + _parameters(cache)[0] * change)


def _parametric_parameters(cache: Cached, dz: Array) -> Pair:
    second = _parameters(cache)[1]
    return (dz * (cache.kept - cache.inputs.x)).sum(axis=0), np.zeros_like(second)


class LayerFunctions(NamedTuple):
    """The arithmetic of a kind of layer."""

    # inputs -> z (m, n_out), what is kept for the others
    forward: Callable[[Inputs], tuple[Array, Any]]
    # (cache, dz (m, n_out)) -> dx (m, n_in)
    input_gradient: Callable[[Cached, Array], Array]
    # (cache, dz) -> the gradients of the pair of parameters
    parameter_gradients: Callable[[Cached, Array], Pair]


LAYERS: dict[str, LayerFunctions] = {
    Dense.name: LayerFunctions(_dense, _dense_input, _dense_parameters),
    Dropout.name: LayerFunctions(_dropout, _dropout_input, _no_parameters),
    BatchNorm.name: LayerFunctions(_batch_norm, _batch_norm_input, _norm_parameters),
    LayerNorm.name: LayerFunctions(_layer_norm, _layer_norm_input, _norm_parameters),
    Scale.name: LayerFunctions(_scale, _scale_input, _scale_parameters),
    PeriodicEmbedding.name: LayerFunctions(
        _periodic, _embedding_input, _embedding_parameters
    ),
    PiecewiseLinearEmbedding.name: LayerFunctions(
        _piecewise_linear, _embedding_input, _embedding_parameters
    ),
    Embedding.name: LayerFunctions(_table, _embedding_input, _embedding_parameters),
    ParametricActivation.name: LayerFunctions(
        _parametric, _parametric_input, _parametric_parameters
    ),
}
