"""Activations as data: their names and parameters; each lane has the arithmetic.

To add an activation: a frozen dataclass here, listed in ACTIVATIONS, and one entry in
the table of each lane.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, ClassVar

from ._base.fields import check_name, check_number
from ._base.frozen import dataclass
from ._base.names import known_name

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "Activation",
    "GELUTanh",
    "Identity",
    "LeakyReLU",
    "Mish",
    "OwnActivation",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
]


class Activation:
    """The base class of activations: the attributes that all of them have.

    Attributes
    ----------
    name : str
        The name that users and model files use.
    initializer : str
        The weights of a layer before it with "auto": what keeps the variance of the
        signals, a name of `fastnn.initializers.INITIALIZERS`.
    squashes : bool
        Whether its values, as the raw outputs of a classifier, would hide from the loss
        how sure the network is: such a last layer is warned about.
    """

    name: ClassVar[str]
    initializer: ClassVar[str] = "glorot_normal"
    squashes: ClassVar[bool] = False

    @property
    def parameter(self) -> Any:
        """The parameter of those that have one, else 0."""
        return 0.0


@dataclass(frozen=True)
class Identity(Activation):
    """``y := x``"""

    name: ClassVar[str] = "identity"


@dataclass(frozen=True)
class ReLU(Activation):
    """Rectified linear unit, ``y := max(x, 0)``, with the derivative 0 at 0.

    V. Nair, G. Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines",
    ICML 2010.
    """

    name: ClassVar[str] = "relu"
    initializer: ClassVar[str] = "he_normal"
    squashes: ClassVar[bool] = True


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """``y := x if x > 0 else slope * x``, with the derivative `slope` at 0.

    A. Maas, A. Hannun, A. Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic
    Models", ICML 2013.

    Parameters
    ----------
    slope : float, default 0.01
        From 0 up to but not including 2**16.

    Examples
    --------
    >>> from fastnn import Dense, LeakyReLU
    >>> Dense(8, LeakyReLU(0.1)).activation
    LeakyReLU(slope=0.1)
    """

    name: ClassVar[str] = "leaky_relu"
    initializer: ClassVar[str] = "he_normal"

    slope: float = 0.01

    def __post_init__(self) -> None:
        slope = check_number(
            "slope", self.slope, "a number >= 0 and < 65536", lambda s: 0 <= s < 2**16
        )
        object.__setattr__(self, "slope", slope)

    @property
    def parameter(self) -> float:
        return self.slope


@dataclass(frozen=True)
class Sigmoid(Activation):
    """Logistic function, ``y := 1 / (1 + exp(-x))``"""

    name: ClassVar[str] = "sigmoid"
    squashes: ClassVar[bool] = True


@dataclass(frozen=True)
class Tanh(Activation):
    """Hyperbolic tangent, ``y := tanh(x)``"""

    name: ClassVar[str] = "tanh"
    squashes: ClassVar[bool] = True


@dataclass(frozen=True)
class ELU(Activation):
    """Exponential linear unit, ``y := x if x > 0 else alpha * (exp(x) - 1)``.

    D. Clevert, T. Unterthiner, S. Hochreiter, "Fast and Accurate Deep Network Learning
    by Exponential Linear Units", ICLR 2016.

    Parameters
    ----------
    alpha : float, default 1.0
        Greater than 0, less than 2**16.
    """

    name: ClassVar[str] = "elu"
    initializer: ClassVar[str] = "he_normal"

    alpha: float = 1.0

    def __post_init__(self) -> None:
        alpha = check_number(
            "alpha", self.alpha, "a number > 0 and < 65536", lambda a: 0 < a < 2**16
        )
        object.__setattr__(self, "alpha", alpha)

    @property
    def parameter(self) -> float:
        return self.alpha


@dataclass(frozen=True)
class SELU(Activation):
    """Self-normalising ELU, ``y := s x if x > 0 else s a (exp(x) - 1)``.

    s = 1.0507009873554805 and a = 1.6732632423543772: G. Klambauer et al.,
    "Self-Normalizing Neural Networks", NIPS 2017.
    """

    name: ClassVar[str] = "selu"
    initializer: ClassVar[str] = "lecun_normal"


@dataclass(frozen=True)
class GELU(Activation):
    """Gaussian error linear unit, ``y := x / 2 (1 + erf(x / sqrt(2)))``.

    D. Hendrycks, K. Gimpel, "Gaussian Error Linear Units", arXiv 1606.08415.
    """

    name: ClassVar[str] = "gelu"
    initializer: ClassVar[str] = "he_normal"


@dataclass(frozen=True)
class GELUTanh(Activation):
    """GELU's approximation, ``x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))``.

    D. Hendrycks, K. Gimpel, "Gaussian Error Linear Units", arXiv 1606.08415.
    """

    name: ClassVar[str] = "gelu_tanh"
    initializer: ClassVar[str] = "he_normal"


@dataclass(frozen=True)
class SiLU(Activation):
    """Sigmoid linear unit or swish, ``y := x / (1 + exp(-x))``.

    S. Elfwing, E. Uchibe, K. Doya, "Sigmoid-weighted linear units for neural network
    function approximation in reinforcement learning", Neural Networks 107, 2018.
    """

    name: ClassVar[str] = "silu"
    initializer: ClassVar[str] = "he_normal"


@dataclass(frozen=True)
class Mish(Activation):
    """``y := x tanh(log(1 + exp(x)))``.

    D. Misra, "Mish: A Self Regularized Non-Monotonic Activation Function", BMVC 2020.
    """

    name: ClassVar[str] = "mish"
    initializer: ClassVar[str] = "he_normal"


@dataclass(frozen=True)
class Softplus(Activation):
    """``y := log(1 + exp(x))``"""

    name: ClassVar[str] = "softplus"
    squashes: ClassVar[bool] = True


@dataclass(frozen=True)
class Softmax(Activation):
    """``y_j := exp(x_j) / sum_k exp(x_k)`` over the outputs of a row."""

    name: ClassVar[str] = "softmax"
    squashes: ClassVar[bool] = True


@dataclass(frozen=True)
class OwnActivation(Activation):
    """An activation of your own, ``y := function(x)``, in Python: the slow way.

    The functions are called for every mini-batch, and the native engine works layer by
    layer. A network with one is fitted and used as ever, but neither stored nor
    exported: keep its weights (`Network.state_dict`). The gradient is compared with
    differences when it is first used: ValueError says where it is wrong.

    Parameters
    ----------
    function : callable
        Of an array (m, n); returns another, each number of one number.
    gradient : callable
        Of x and y, (m, n); returns the derivatives dy / dx (m, n).

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> from fastnn.activations import OwnActivation
    >>> sine = OwnActivation(np.sin, lambda x, y: np.cos(x))
    >>> net = fastnn.Network([2, fastnn.Dense(8, sine), 3], seed=0)
    >>> net.predict(np.eye(2)).shape
    (2,)
    """

    name: ClassVar[str] = "own"
    initializer: ClassVar[str] = "he_normal"
    checked: ClassVar[bool] = False  # of an object, once its gradient is

    function: Callable[[Any], Any]
    gradient: Callable[[Any, Any], Any]

    def __post_init__(self) -> None:
        for name in ("function", "gradient"):
            if not callable(getattr(self, name)):
                raise TypeError(f"{name} must be callable, got {getattr(self, name)!r}")

    @property
    def parameter(self) -> Any:
        return self

    @property
    def label(self) -> str:
        """What the function is called."""
        return getattr(self.function, "__name__", type(self.function).__name__)


ACTIVATIONS: dict[str, type[Activation]] = {
    each.name: each
    for each in (
        Identity,
        ReLU,
        LeakyReLU,
        Sigmoid,
        Tanh,
        ELU,
        SELU,
        GELU,
        GELUTanh,
        SiLU,
        Mish,
        Softplus,
        Softmax,
    )
}


_KNOWN = {*ACTIVATIONS, OwnActivation.name}


def as_activation(activation: str | Activation) -> Activation:
    """Return the activation of a name, or the object itself."""
    if isinstance(activation, Activation) and type(activation).name in _KNOWN:
        return activation
    if isinstance(activation, type) and activation in ACTIVATIONS.values():
        return activation()  # type: ignore[no-any-return]
    name = known_name(activation, ACTIVATIONS)
    return ACTIVATIONS[check_name("activation", name, ACTIVATIONS)]()


def short_form(activation: str | Activation) -> str | Activation:
    """Return the name if it says all, else the object; raise for anything else."""
    given = as_activation(activation)
    if isinstance(given, OwnActivation):
        return given
    return given.name if not fields(given) or given == type(given)() else given  # type: ignore[arg-type]


def storable(activation: str | Activation) -> Activation:
    """Return `as_activation`; ValueError for one that a file cannot hold."""
    given = as_activation(activation)
    if isinstance(given, OwnActivation):
        raise ValueError(
            f"the activation {given.label} is a function, which cannot be stored or "
            "exported; keep the weights (state_dict) and make the network anew"
        )
    return given
