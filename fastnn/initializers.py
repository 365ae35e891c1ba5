"""Initial weights: a pure function of the plan and the seed.

Layer i draws from its own counter-based generator (Philox) keyed by (seed, i), so its
weights depend neither on the other layers nor on the order of the draws nor on threads.
Numbers are drawn in float64 and cast, so float32 and float64 networks of one seed start
from the same weights, up to rounding.

To add an initializer: one entry in the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .plan import Plan

Array = NDArray[Any]
Draw = Callable[[np.random.Generator, int, int], Array]  # (generator, n_in, n_out)


def _normal(variance: Callable[[int, int], float]) -> Draw:
    def draw(generator: np.random.Generator, n_in: int, n_out: int) -> Array:
        std = math.sqrt(variance(n_in, n_out))
        return generator.standard_normal((n_in, n_out)) * std

    return draw


def _uniform(variance: Callable[[int, int], float]) -> Draw:
    def draw(generator: np.random.Generator, n_in: int, n_out: int) -> Array:
        limit = math.sqrt(3 * variance(n_in, n_out))  # its variance is limit^2 / 3
        return generator.random((n_in, n_out)) * (2 * limit) - limit

    return draw


def _he(n_in: int, n_out: int) -> float:
    return 2 / n_in


def _glorot(n_in: int, n_out: int) -> float:
    return 2 / (n_in + n_out)


def _lecun(n_in: int, n_out: int) -> float:
    return 1 / n_in


def _zeros(generator: np.random.Generator, n_in: int, n_out: int) -> Array:
    return np.zeros((n_in, n_out))


WEIGHT_INITIALIZERS: dict[str, Draw] = {
    "he_normal": _normal(_he),
    "he_uniform": _uniform(_he),
    "glorot_normal": _normal(_glorot),
    "glorot_uniform": _uniform(_glorot),
    "lecun_normal": _normal(_lecun),
    "lecun_uniform": _uniform(_lecun),
    "zeros": _zeros,
}

BIAS_INITIALIZERS: dict[str, Callable[[int], Array]] = {"zeros": np.zeros}

# "auto": what keeps the variance of the signals through the layer's activation.
_AUTO = {"relu": "he_normal"}
_AUTO_OTHERWISE = "glorot_normal"


def initial_weights(plan: Plan, seed: int) -> list[tuple[Array, Array]]:
    """Draw the initial weights and biases of every layer.

    The weights of a layer with n_in inputs and n_out outputs have mean 0 and the
    variance 2 / n_in (He), 2 / (n_in + n_out) (Glorot) or 1 / n_in (LeCun), normal
    (not truncated) or uniform.

    Parameters
    ----------
    plan : Plan
        The network.
    seed : int
        At least 0. The same plan and seed give the same bits.

    Returns
    -------
    list of (W, b)
        One pair per layer, shapes (n_in, n_out) and (n_out,), of the plan's dtype.

    Raises
    ------
    ValueError
        If ``seed`` is negative.

    References
    ----------
    K. He et al., "Delving Deep into Rectifiers", ICCV 2015; X. Glorot, Y. Bengio,
    "Understanding the difficulty of training deep feedforward neural networks",
    AISTATS 2010; Y. LeCun et al., "Efficient BackProp", 1998, section 4.6. The
    generator: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

    Examples
    --------
    >>> from fastnn.initializers import initial_weights
    >>> from fastnn.plan import make_plan
    >>> weights = initial_weights(make_plan([4, 8, 3]), seed=0)
    >>> [(W.shape, b.shape) for W, b in weights]
    [((4, 8), (8,)), ((8, 3), (3,))]
    """
    weights = []
    n_in = plan.n_inputs
    for index, layer in enumerate(plan.layers):
        # A spawn key, unlike a longer entropy list, cannot collide with a wider seed.
        key = np.random.SeedSequence(seed, spawn_key=(index,))
        generator = np.random.Generator(np.random.Philox(key))
        name = layer.weight_init
        if name == "auto":
            name = _AUTO.get(layer.activation, _AUTO_OTHERWISE)
        W = WEIGHT_INITIALIZERS[name](generator, n_in, layer.units)
        b = BIAS_INITIALIZERS[layer.bias_init](layer.units)
        weights.append((W.astype(plan.dtype), b.astype(plan.dtype)))
        n_in = layer.units
    return weights
