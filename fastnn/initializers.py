"""Initial weights: a pure function of the plan and the seed.

Each dense layer draws from counter-based generators (Philox) of its own, keyed by
(seed, its number among the dense layers), so its weights depend neither on the other
layers nor on the order of the draws nor on threads. Numbers are drawn in float64 and
cast, so float32 and float64 networks of one seed start from the same weights, up to
rounding.

To add an initializer: a frozen dataclass here, and its names in INITIALIZERS.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from reprlib import repr as short
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ._base.fields import FINITE, NOT_NEGATIVE, POSITIVE, check_name, check_number
from ._base.frozen import dataclass

if TYPE_CHECKING:
    from ._base.types import Array
    from ._plan.plan import Plan


__all__ = [
    "INITIALIZERS",
    "Constant",
    "Initializer",
    "Normal",
    "Orthogonal",
    "Uniform",
    "Values",
    "VarianceScaling",
    "as_initializer",
    "dropout_keys",
    "initial_weights",
]


class Initializer:
    """What every initializer can do: ``draw(generator, n_in, shape)``.

    `shape` is (n_in, n_out) for weights and (n_out,) for biases.
    """

    name: ClassVar[str]

    def draw(
        self, generator: np.random.Generator, n_in: int, shape: tuple[int, ...]
    ) -> Array:
        raise NotImplementedError

    def _check(self, name: str, accept: tuple[str, Callable[[float], bool]]) -> None:
        object.__setattr__(self, name, check_number(name, getattr(self, name), *accept))


@dataclass(frozen=True)
class Constant(Initializer):
    """The same `value` everywhere."""

    name: ClassVar[str] = "constant"

    value: float = 0.0

    def __post_init__(self) -> None:
        self._check("value", FINITE)

    def draw(
        self, generator: np.random.Generator, n_in: int, shape: tuple[int, ...]
    ) -> Array:
        return np.full(shape, self.value)


@dataclass(frozen=True)
class Normal(Initializer):
    """``mean + std * N(0, 1)``, not truncated.

    Parameters
    ----------
    std : float, default 1.0
        At least 0.
    mean : float, default 0.0

    Examples
    --------
    >>> from fastnn import Dense
    >>> from fastnn.initializers import Normal
    >>> Dense(64, "relu", Normal(0.01)).weight_init
    Normal(std=0.01, mean=0.0)
    """

    name: ClassVar[str] = "normal"

    std: float = 1.0
    mean: float = 0.0

    def __post_init__(self) -> None:
        self._check("std", NOT_NEGATIVE)
        self._check("mean", FINITE)

    def draw(
        self, generator: np.random.Generator, n_in: int, shape: tuple[int, ...]
    ) -> Array:
        return self.mean + self.std * generator.standard_normal(shape)


@dataclass(frozen=True)
class Uniform(Initializer):
    """Uniform from `low` to `high`.

    Parameters
    ----------
    low, high : float, default -0.05 and 0.05
        ``low <= high``.
    """

    name: ClassVar[str] = "uniform"

    low: float = -0.05
    high: float = 0.05

    def __post_init__(self) -> None:
        self._check("low", FINITE)
        self._check("high", ("a finite number >= low", lambda x: x >= self.low))

    def draw(
        self, generator: np.random.Generator, n_in: int, shape: tuple[int, ...]
    ) -> Array:
        return self.low + (self.high - self.low) * generator.random(shape)


@dataclass(frozen=True)
class VarianceScaling(Initializer):
    """Mean 0 and variance ``gain / fan``: He, Glorot and LeCun are instances.

    Parameters
    ----------
    gain : float, default 1.0
        Greater than 0.
    fan : {"in", "mean"}, default "in"
        ``n_in``, or ``(n_in + n_out) / 2``.
    distribution : {"normal", "uniform"}, default "normal"
        Normal (not truncated), or uniform with that variance.
    """

    name: ClassVar[str] = "variance_scaling"

    gain: float = 1.0
    fan: str = "in"
    distribution: str = "normal"

    def __post_init__(self) -> None:
        self._check("gain", POSITIVE)
        check_name("fan", self.fan, ("in", "mean"))
        check_name("distribution", self.distribution, ("normal", "uniform"))

    def draw(
        self, generator: np.random.Generator, n_in: int, shape: tuple[int, ...]
    ) -> Array:
        fan = n_in if self.fan == "in" else (n_in + shape[-1]) / 2
        variance = self.gain / fan
        if self.distribution == "normal":
            return generator.standard_normal(shape) * math.sqrt(variance)
        limit = math.sqrt(3 * variance)  # its variance is limit^2 / 3
        return generator.random(shape) * (2 * limit) - limit


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """`gain` times a random matrix with orthonormal rows or columns, for weights only.

    Orthonormal rows if there are fewer inputs than outputs, else columns; uniformly
    distributed (Haar). The last bits depend on NumPy's LAPACK, as for no other
    initializer.

    A. Saxe, J. McClelland, S. Ganguli, "Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks", ICLR 2014.

    Parameters
    ----------
    gain : float, default 1.0
        Greater than 0.
    """

    name: ClassVar[str] = "orthogonal"

    gain: float = 1.0

    def __post_init__(self) -> None:
        self._check("gain", POSITIVE)

    def draw(
        self, generator: np.random.Generator, n_in: int, shape: tuple[int, ...]
    ) -> Array:
        if len(shape) != 2:
            raise ValueError("an orthogonal initializer is for weights, not biases")
        tall = max(shape), min(shape)
        # The signs of R's diagonal make the distribution uniform.
        q, r = np.linalg.qr(generator.standard_normal(tall))
        q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
        return self.gain * (q if shape == tall else q.T)


@dataclass(frozen=True, repr=False)
class Values(Initializer):
    """Given values, stored in the plan as nested tuples; what arrays become.

    Parameters
    ----------
    values : array_like
        (n_in, n_out) for weights, (n_out,) for biases; finite.
    """

    name: ClassVar[str] = "values"

    values: Any

    def __post_init__(self) -> None:
        array = np.asarray(self.values)
        if array.dtype.kind not in "biuf" or array.ndim not in (1, 2):
            raise TypeError(
                f"values must be a numeric array of 1 or 2 dimensions, got "
                f"{short(self.values)}"
            )
        array = array.astype(np.float64)
        if not array.size or not np.isfinite(array).all():
            raise ValueError(f"values must be finite, got {short(self.values)}")
        rows = array.tolist()
        nested = tuple(map(tuple, rows)) if array.ndim == 2 else tuple(rows)
        object.__setattr__(self, "values", nested)

    def __repr__(self) -> str:
        return f"Values({'x'.join(map(str, np.shape(self.values)))})"

    def draw(
        self, generator: np.random.Generator, n_in: int, shape: tuple[int, ...]
    ) -> Array:
        array = np.array(self.values)
        if array.shape != shape:
            raise ValueError(
                f"the initial values must have shape {shape}, got {array.shape}"
            )
        return array


# Names, also of the initializers with other parameters than their defaults.
INITIALIZERS: dict[str, Callable[..., Initializer]] = {
    "he_normal": partial(VarianceScaling, 2.0),
    "he_uniform": partial(VarianceScaling, 2.0, distribution="uniform"),
    "glorot_normal": partial(VarianceScaling, 1.0, "mean"),
    "glorot_uniform": partial(VarianceScaling, 1.0, "mean", "uniform"),
    "lecun_normal": partial(VarianceScaling, 1.0),
    "lecun_uniform": partial(VarianceScaling, 1.0, distribution="uniform"),
    "normal": Normal,
    "uniform": Uniform,
    "orthogonal": Orthogonal,
    "zeros": partial(Constant, 0.0),
    "ones": partial(Constant, 1.0),
}

# By the "type" of model files.
KINDS: dict[str, type[Initializer]] = {
    each.name: each
    for each in (Constant, Normal, Uniform, VarianceScaling, Orthogonal, Values)
}

# "auto": what keeps the variance of the signals through the layer's activation.
_AUTO = {
    **dict.fromkeys(
        ("relu", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "mish"), "he_normal"
    ),
    "selu": "lecun_normal",
}
_AUTO_OTHERWISE = "glorot_normal"


def as_initializer(name: str, value: Any, dimensions: int) -> str | Initializer:
    """Return a known name or an `Initializer`, which given arrays become."""
    if isinstance(value, Initializer):
        initializer: Initializer = value
    elif isinstance(value, str):
        return check_name(name, value, INITIALIZERS)
    else:
        try:
            initializer = Values(value)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"{name} must be a name, an Initializer or an array: {error}"
            ) from None
    if isinstance(initializer, Values) and np.ndim(initializer.values) != dimensions:
        raise ValueError(
            f"{name} must have {dimensions} dimensions, got shape "
            f"{np.shape(initializer.values)}"
        )
    if isinstance(initializer, Orthogonal) and dimensions == 1:
        raise ValueError(f"{name} must not be orthogonal, which is for weights")
    return initializer


def initial_weights(plan: Plan, seed: int) -> list[tuple[Array, Array]]:
    """Draw the initial parameters of every layer that has some.

    The weights of a dense layer with n_in inputs and n_out outputs have mean 0 and the
    variance 2 / n_in (He), 2 / (n_in + n_out) (Glorot) or 1 / n_in (LeCun), normal
    (not truncated) or uniform, or are as the layer says. Normalisation layers start
    with the scale 1 and the shift 0.

    Parameters
    ----------
    plan : Plan
        The network.
    seed : int
        At least 0. The same plan and seed give the same bits.

    Returns
    -------
    list of pairs
        One per layer with parameters: (W (n_in, n_out), b (n_out,)) of a dense layer,
        (scale (n,), shift (n,)) of a normalisation; of the plan's dtype.

    Raises
    ------
    ValueError
        If ``seed`` is negative, or given weights have another shape, or a value is not
        finite in the plan's dtype.

    References
    ----------
    K. He et al., "Delving Deep into Rectifiers", ICCV 2015; X. Glorot, Y. Bengio,
    "Understanding the difficulty of training deep feedforward neural networks",
    AISTATS 2010; Y. LeCun et al., "Efficient BackProp", 1998, section 4.6. The
    generator: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

    Examples
    --------
    >>> from fastnn.initializers import initial_weights
    >>> from fastnn._plan.plan import make_plan
    >>> weights = initial_weights(make_plan([4, 8, 3]), seed=0)
    >>> [(W.shape, b.shape) for W, b in weights]
    [((4, 8), (8,)), ((8, 3), (3,))]
    """
    from .layers import Dense

    pairs = []
    number = 0
    for index, (layer, n_in) in enumerate(zip(plan.layers, plan.widths, strict=False)):
        if isinstance(layer, Dense):
            where = f"layers[{index + 1}]"
            activation = _activation_after(plan, index)
            try:
                with np.errstate(all="ignore"):
                    W, b = _dense(layer, n_in, activation, seed, number)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
            W = _cast(f"{where}.weight_init", layer.weight_init, W, plan.array_dtype)
            b = _cast(f"{where}.bias_init", layer.bias_init, b, plan.array_dtype)
            pairs.append((W, b))
            number += 1
        elif layer.has_parameters:
            pairs.append(
                (np.ones(n_in, plan.array_dtype), np.zeros(n_in, plan.array_dtype))
            )
    return pairs


def _cast(name: str, initializer: Any, values: Array, dtype: str) -> Array:
    with np.errstate(all="ignore"):
        cast = values.astype(dtype)
    if not np.isfinite(cast).all():
        raise ValueError(
            f"{name} is {initializer!r}, which gives values that are infinite or NaN "
            f"in {dtype}; expected finite ones"
        )
    return cast


def _dense(
    layer: Any, n_in: int, activation: str, seed: int, number: int
) -> tuple[Array, Array]:
    # A spawn key, unlike a longer entropy list, cannot collide with a wider seed.
    key = (
        np.random.SeedSequence(seed, spawn_key=(number,))
        if layer.seed is None
        else np.random.SeedSequence(layer.seed)
    )
    generator = np.random.Generator(np.random.Philox(key))
    name = layer.weight_init
    if isinstance(name, str) and name == "auto":
        name = _AUTO.get(activation, _AUTO_OTHERWISE)
    W = _made(name).draw(generator, n_in, (n_in, layer.units))
    if not layer.use_bias:
        return W, np.zeros(layer.units)
    return W, _made(layer.bias_init).draw(generator, n_in, (layer.units,))


def _made(initializer: str | Initializer) -> Initializer:
    if isinstance(initializer, Initializer):
        return initializer
    return INITIALIZERS[initializer]()


def _activation_after(plan: Plan, index: int) -> str:
    """The name of the activation that a dense layer's outputs go through.

    It may be that of a normalisation above it.
    """
    from .activations import as_activation
    from .layers import Dense

    name = as_activation(plan.layers[index].activation).name
    for layer in plan.layers[index + 1 :]:
        if name != "identity" or isinstance(layer, Dense):
            break
        name = as_activation(layer.activation).name
    return name


def dropout_keys(plan: Plan, seed: int) -> tuple[int, ...]:
    """Return the 64-bit key of each layer's masks, 0 for layers that drop nothing."""
    from .layers import Dropout

    keys = []
    for index, layer in enumerate(plan.layers):
        if not isinstance(layer, Dropout):
            keys.append(0)
            continue
        if layer.seed is None:
            key = np.random.SeedSequence(seed, spawn_key=(1, index))
        else:
            key = np.random.SeedSequence(layer.seed, spawn_key=(1,))
        keys.append(int(key.generate_state(1, np.uint64)[0]))
    return tuple(keys)
