"""Optimizers as data: hyper-parameters and the names of what is kept per weight.

To add an optimizer: a frozen dataclass here, listed in OPTIMIZERS, and one entry for
its `rule` in the table of each lane.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from ._fields import check_bool, check_number

# expected text and test of each kind of hyper-parameter
_POSITIVE = ("a finite number > 0", lambda x: x > 0)
_NOT_NEGATIVE = ("a finite number >= 0", lambda x: x >= 0)
_DECAY_RATE = ("a number >= 0 and < 1", lambda x: 0 <= x < 1)
# Smaller values vanish in float32 and would divide 0 by 0 where a gradient is 0.
_EPSILON = ("a finite number >= 1e-30", lambda x: x >= 1e-30)

_RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "learning_rate": _POSITIVE,
    "momentum": _DECAY_RATE,
    "beta_1": _DECAY_RATE,
    "beta_2": _DECAY_RATE,
    "epsilon": _EPSILON,
    "weight_decay": _NOT_NEGATIVE,
}


class Optimizer:
    """What every optimizer states about itself.

    Attributes
    ----------
    name : str
        The name users and model files call it by.
    rule : str
        The name of the update of one array, which has one entry in each lane's table.
    state_names : tuple of str
        The arrays kept for each weight and bias array, of its shape, first zero.
    """

    name: ClassVar[str]

    @property
    def rule(self) -> str:
        return self.name

    @property
    def state_names(self) -> tuple[str, ...]:
        return ()

    def _check(self, *names: str) -> None:
        for name in names:
            value = check_number(name, getattr(self, name), *_RANGES[name])
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, plain, with momentum, or with Nesterov's momentum.

    With the gradient ``g``, learning rate ``lr`` and momentum ``mu``:
    ``w := w - lr g``, or ``v := mu v + g; w := w - lr v``, or Nesterov's
    ``v := mu v + g; w := w - lr (g + mu v)``.

    Parameters
    ----------
    learning_rate : float, default 0.01
        Greater than 0.
    momentum : float, default 0.0
        0 (no state is kept) up to, not including, 1.
    nesterov : bool, default False
        Needs ``momentum > 0``.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of range.

    References
    ----------
    I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of initialization
    and momentum in deep learning", ICML 2013; in the form in which the learning rate
    multiplies the velocity, as PyTorch has it.

    Examples
    --------
    >>> from fastnn.optimizers import SGD
    >>> SGD(0.1, momentum=0.9).state_names
    ('velocity',)
    """

    name: ClassVar[str] = "sgd"

    learning_rate: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        self._check("learning_rate", "momentum")
        if check_bool("nesterov", self.nesterov) and self.momentum == 0:
            raise ValueError("nesterov=True needs momentum > 0, got momentum=0.0")

    @property
    def rule(self) -> str:
        if self.nesterov:
            return "nesterov"
        return "momentum" if self.momentum else "sgd"

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()


@dataclass(frozen=True)
class _TwoMoments(Optimizer):
    """The parameters that Adam and AdamW share."""

    learning_rate: float = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        self._check("learning_rate", "beta_1", "beta_2", "epsilon")

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("first_moment", "second_moment")


@dataclass(frozen=True)
class Adam(_TwoMoments):
    """Adam: a step scaled by running means of the gradient and of its square.

    For the step ``t`` = 1, 2, ... with the gradient ``g``:
    ``m := b1 m + (1 - b1) g``, ``v := b2 v + (1 - b2) g^2``,
    ``w := w - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + epsilon)``.

    Parameters
    ----------
    learning_rate : float, default 1e-3
        Greater than 0.
    beta_1, beta_2 : float, default 0.9 and 0.999
        Decay rates of the two means, 0 up to, not including, 1.
    epsilon : float, default 1e-8
        At least 1e-30.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of range.

    References
    ----------
    D. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015,
    algorithm 1.

    Examples
    --------
    >>> from fastnn.optimizers import Adam
    >>> Adam(3e-4)
    Adam(learning_rate=0.0003, beta_1=0.9, beta_2=0.999, epsilon=1e-08)
    """

    name: ClassVar[str] = "adam"


@dataclass(frozen=True)
class AdamW(_TwoMoments):
    """Adam with decoupled weight decay.

    ``w := (1 - lr * weight_decay) w``, then Adam's update. Biases do not decay.

    Parameters
    ----------
    learning_rate : float, default 1e-3
        Greater than 0.
    beta_1, beta_2 : float, default 0.9 and 0.999
        Decay rates of the two means, 0 up to, not including, 1.
    epsilon : float, default 1e-8
        At least 1e-30.
    weight_decay : float, default 0.01
        At least 0.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of range.

    References
    ----------
    I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019,
    algorithm 2, in PyTorch's form: the learning rate multiplies the decay.

    Examples
    --------
    >>> from fastnn.optimizers import AdamW
    >>> AdamW(weight_decay=0.05).weight_decay
    0.05
    """

    name: ClassVar[str] = "adamw"

    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("weight_decay")


OPTIMIZERS: dict[str, type[Optimizer]] = {
    each.name: each for each in (SGD, Adam, AdamW)
}
