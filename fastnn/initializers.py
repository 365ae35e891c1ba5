"""Initial weights as data; see `Dense` for where they are given.

By default ("auto") the activation says which start suits it: `Activation.initializer`.
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
    from numpy.random import Generator

    from ._base.types import Array

    Shape = tuple[int, ...]

__all__ = [
    "INITIALIZERS",
    "Constant",
    "Initializer",
    "Normal",
    "Orthogonal",
    "Uniform",
    "Values",
    "VarianceScaling",
]


class Initializer:
    """The base of initializers: ``draw(generator, n_in, shape)``.

    `shape` is (n_in, n_out) for weights and (n_out,) for biases.
    """

    name: ClassVar[str]

    def draw(self, generator: Generator, n_in: int, shape: Shape) -> Array:
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

    def draw(self, generator: Generator, n_in: int, shape: Shape) -> Array:
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

    def draw(self, generator: Generator, n_in: int, shape: Shape) -> Array:
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

    def draw(self, generator: Generator, n_in: int, shape: Shape) -> Array:
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

    def draw(self, generator: Generator, n_in: int, shape: Shape) -> Array:
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

    def draw(self, generator: Generator, n_in: int, shape: Shape) -> Array:
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

    def draw(self, generator: Generator, n_in: int, shape: Shape) -> Array:
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
