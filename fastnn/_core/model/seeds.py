"""Everything that is a function of a seed: initial weights, masks, the order of rows.

Each use of a seed has numbers of its own: `_SPAWN_KEYS` has them all. A spawn key,
unlike a longer entropy list, cannot collide with a wider seed.

Each dense layer draws from counter-based generators (Philox), keyed by the seed and its
number among the dense layers, so its weights depend neither on the other layers nor on
the order of the draws nor on threads. Numbers are drawn in float64 and cast, so float32
and float64 networks of one seed start from the same weights, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._base.fields import check_integer
from fastnn.activations import Activation, as_activation
from fastnn.initializers import INITIALIZERS, Initializer
from fastnn.layers import (
    Dense,
    Dropout,
    Embedding,
    Layer,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastnn._base.types import Array, Pair
    from fastnn._plan.plan import Plan

__all__ = [
    "dropout_keys",
    "initial_weights",
    "parse_seed",
    "row_order",
    "shard_order",
    "start_generator",
]

_SPAWN_KEYS: dict[str, Callable[..., tuple[int, ...]]] = {
    # From the network's seed.
    "weights": lambda number: (number,),  # among the dense layers
    "masks": lambda index: (1, index),  # among all layers
    "order": lambda *place: (2, *place),  # epoch, and chunk where there are chunks
    "shard order": lambda shard, epoch: (5, shard, epoch),
    "embedding": lambda index: (4, index),  # among all layers
    "start": lambda: (6, 0),
    # From the seed of a layer itself.
    "own weights": lambda: (),
    "own masks": lambda: (1,),
    # Of a Dropout whose own seed is the network's: (1,) has drawn weights from that.
    "own masks, shared seed": lambda: (3, 0),
}


def parse_seed(seed: int | None) -> int:
    """Check a seed; None is drawn from the system's entropy."""
    if seed is None:
        seed = int(np.random.SeedSequence().generate_state(1)[0])
    return check_integer("seed", seed, 0, 2**64 - 1)


def initial_weights(plan: Plan, seed: int) -> list[Pair]:
    """Draw the initial parameters of every layer that has some.

    The weights of a dense layer with n_in inputs and n_out outputs have mean 0 and the
    variance 2 / n_in (He), 2 / (n_in + n_out) (Glorot) or 1 / n_in (LeCun), normal
    (not truncated) or uniform, or are as the layer says. Normalisation layers start
    with the scale 1 and the shift 0, a `Scale` with its `init`, embeddings as their
    description says. The same plan and seed give the same bits.

    Raises
    ------
    ValueError
        If given weights have another shape, or a value is not finite in the plan's
        dtype.

    References
    ----------
    K. He et al., "Delving Deep into Rectifiers", ICCV 2015; X. Glorot, Y. Bengio,
    "Understanding the difficulty of training deep feedforward neural networks",
    AISTATS 2010; Y. LeCun et al., "Efficient BackProp", 1998, section 4.6. The
    generator: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

    Examples
    --------
    >>> from fastnn._core.model.seeds import initial_weights
    >>> from fastnn._plan.plan import make_plan
    >>> weights = initial_weights(make_plan([4, 8, 3]), seed=0)
    >>> [(W.shape, b.shape) for W, b in weights]
    [((4, 8), (8,)), ((8, 3), (3,))]
    """
    pairs = []
    number = 0
    for index, (layer, n_in) in enumerate(zip(plan.layers, plan.widths, strict=False)):
        if isinstance(layer, Dense):
            where = f"layers[{index + 1}]"
            activation = _activation_after(plan, index)
            try:
                with np.errstate(all="ignore"):
                    W, b = _draw_dense(layer, n_in, activation, seed, number)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
            W = _cast(f"{where}.weight_init", layer.weight_init, W, plan.array_dtype)
            b = _cast(f"{where}.bias_init", layer.bias_init, b, plan.array_dtype)
            pairs.append((W, b))
            number += 1
        elif isinstance(layer, tuple(_EMBEDDINGS)):
            own = getattr(layer, "seed", None)
            generator = _generator(own, seed, "embedding", index)
            first, second = _EMBEDDINGS[type(layer)](layer, n_in, generator)
            dtype = plan.array_dtype
            pairs.append((first.astype(dtype), second.astype(dtype)))
        elif layer.has_parameters:
            start = getattr(layer, "init", 1.0)
            where = f"layers[{index + 1}].init"
            scale = _cast(where, start, np.full(n_in, start), plan.array_dtype)
            pairs.append((scale, np.zeros(n_in, plan.array_dtype)))
    return pairs


def dropout_keys(plan: Plan, seed: int) -> tuple[int, ...]:
    """Return the 64-bit key of each layer's masks, 0 for layers that drop nothing."""
    keys = []
    for index, layer in enumerate(plan.layers):
        if not isinstance(layer, Dropout):
            keys.append(0)
            continue
        if layer.seed is None:
            sequence = _sequence(seed, "masks", index)
        elif layer.seed == seed:
            sequence = _sequence(seed, "own masks, shared seed")
        else:
            sequence = _sequence(layer.seed, "own masks")
        keys.append(int(sequence.generate_state(1, np.uint64)[0]))
    return tuple(keys)


def row_order(seed: int, n_rows: int, *place: int) -> NDArray[np.int64]:
    """The order of rows: a function of seed and epoch (and chunk), so not saved."""
    return _permutation(_sequence(seed, "order", *place), n_rows)


def shard_order(seed: int, n_rows: int, shard: int, epoch: int) -> NDArray[np.int64]:
    """The order of the rows of a shard, whatever rank has it."""
    return _permutation(_sequence(seed, "shard order", shard, epoch), n_rows)


def start_generator(seed: int) -> np.random.Generator:
    """Of what fits initial weights to rows."""
    return np.random.Generator(np.random.PCG64(_sequence(seed, "start")))


def _permutation(sequence: np.random.SeedSequence, n: int) -> NDArray[np.int64]:
    return np.random.Generator(np.random.PCG64(sequence)).permutation(n)


def _sequence(seed: int, use: str, *place: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=_SPAWN_KEYS[use](*place))


def _draw_dense(
    layer: Dense, n_in: int, activation: Activation, seed: int, number: int
) -> Pair:
    generator = _generator(layer.seed, seed, "weights", number)
    start: Any = layer.weight_init
    if isinstance(start, str) and start == "auto":
        start = activation.initializer
    W = _made(start).draw(generator, n_in, (n_in, layer.units))
    if not layer.use_bias:
        return W, np.zeros(layer.units)
    start = layer.bias_init
    return W, _made(start).draw(generator, n_in, (layer.units,))


def _draw_periodic(
    layer: PeriodicEmbedding, n_in: int, generator: np.random.Generator
) -> Pair:
    first, second = map(np.empty, layer.shapes(n_in))
    n_terms, bound = layer.frequencies, layer.frequencies**-0.5
    first[:, 0] = layer.sigma * generator.standard_normal(first[:, 0].shape)
    first[:, 1:] = generator.uniform(-bound, bound, first[:, 1:].shape)
    second[:n_terms] = generator.uniform(-np.pi, np.pi, second[:n_terms].shape)
    second[n_terms:] = generator.uniform(-bound, bound, second[n_terms:].shape)
    return first, second


def _draw_piecewise_linear(
    layer: PiecewiseLinearEmbedding, n_in: int, generator: np.random.Generator
) -> Pair:
    bounds = np.array(layer.counts)[:, np.newaxis] ** -0.5
    first, second = (generator.uniform(-1, 1, shape) for shape in layer.shapes(n_in))
    return first * np.repeat(bounds, layer.counts, axis=0), second * bounds


def _draw_table(layer: Embedding, n_in: int, generator: np.random.Generator) -> Pair:
    first, second = layer.shapes(n_in)
    return generator.standard_normal(first), np.zeros(second)


_EMBEDDINGS: dict[type[Layer], Callable[..., Pair]] = {
    PeriodicEmbedding: _draw_periodic,
    PiecewiseLinearEmbedding: _draw_piecewise_linear,
    Embedding: _draw_table,
}


def _generator(
    own_seed: int | None, seed: int, use: str, *place: int
) -> np.random.Generator:
    """Of a layer that may have a seed of its own."""
    sequence = (
        _sequence(seed, use, *place)
        if own_seed is None
        else _sequence(own_seed, "own weights")
    )
    return np.random.Generator(np.random.Philox(sequence))


def _made(initializer: str | Initializer) -> Initializer:
    if isinstance(initializer, Initializer):
        return initializer
    return INITIALIZERS[initializer]()


def _cast(name: str, initializer: Any, values: Array, dtype: str) -> Array:
    with np.errstate(all="ignore"):
        cast = values.astype(dtype)
    if not np.isfinite(cast).all():
        raise ValueError(
            f"{name} is {initializer!r}, which gives values that are infinite or NaN "
            f"in {dtype}; expected finite ones"
        )
    return cast


def _activation_after(plan: Plan, index: int) -> Activation:
    """The activation that a dense layer's outputs go through.

    It may be that of a normalisation above it, or parametric.
    """
    activation = as_activation(plan.layers[index].activation)
    for layer in plan.layers[index + 1 :]:
        if activation.name != "identity" or isinstance(layer, Dense):
            break
        activation = as_activation(getattr(layer, "function", layer.activation))
    return activation
