"""Optimizers as data: hyper-parameters and the names of what is kept per weight.

In the equations ``w`` are weights, ``g`` is their gradient and ``lr`` the learning rate
of the update. Parameters of one name mean the same in all optimizers: `learning_rate`
is greater than 0, or a `Schedule`; the decay rates of means, `momentum`, `rho`,
`beta_1` and `beta_2` (b1 and b2), are 0 up to, not including, 1; `epsilon` is at least
1e-30; `Optimizer` has those that all share. TypeError or ValueError names a parameter
of the wrong type or out of range.

To add an optimizer: a frozen dataclass here, listed in OPTIMIZERS; for its `rule` an
entry in the table of `fastnn/reference/_updates.py`, a row in `csrc/kinds.h`, a case of
KERNEL(rule) in `csrc/kernels/ops/optimizers.inc.h` and one of the bounds in
`csrc/engine/bounds.c`; constants that change with the step go to
`csrc/engine/update.c`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, fields
from typing import ClassVar

from ._base.fields import (
    BELOW_1,
    NOT_NEGATIVE,
    POSITIVE,
    check_bool,
    check_count,
    check_number,
    short_repr,
)
from ._base.frozen import dataclass
from .schedules import Schedule

__all__ = [
    "LBFGS",
    "OPTIMIZERS",
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Lion",
    "NAdam",
    "Optimizer",
    "RMSprop",
]

# expected text and test of each kind of hyper-parameter
# Smaller values vanish in float32 and would divide 0 by 0 where a gradient is 0.
_EPSILON = ("a finite number >= 1e-30", lambda x: x >= 1e-30)

_RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "learning_rate": POSITIVE,
    "momentum": BELOW_1,
    "rho": BELOW_1,
    "beta_1": BELOW_1,
    "beta_2": BELOW_1,
    "epsilon": _EPSILON,
    "momentum_decay": NOT_NEGATIVE,
    "weight_decay": NOT_NEGATIVE,
    "l1": NOT_NEGATIVE,
    "l2": NOT_NEGATIVE,
    "clip_value": POSITIVE,
    "clip_norm": POSITIVE,
    "max_norm": POSITIVE,
}
_SWITCHES = ("nesterov", "epsilon_hat")
_SCHEDULED = ("learning_rate", "weight_decay")
_MAY_BE_NONE = ("clip_value", "clip_norm", "max_norm")


def _arguments(spec: Optimizer) -> list[str]:
    return [each.name for each in fields(spec) if each.init]


@dataclass(frozen=True, repr=False)
class Optimizer:
    """What every optimizer states about itself, and what all have in common.

    An update takes the gradient of the data's loss, clips its elements to
    ``[-clip_value, clip_value]``, scales all gradients together so that their Euclidean
    norm is at most ``clip_norm``, adds ``l1 sign(W) + l2 W`` to those of weight
    matrices (the gradient of ``l1 sum |W| + 0.5 l2 sum W^2``), and then makes the step
    of the subclass with the learning rate of this update. Before that step, weight
    matrices are multiplied by ``1 - learning_rate * weight_decay`` (decoupled decay);
    after it, the incoming weights of each unit are scaled so that their norm is at most
    ``max_norm``. Biases, and the scale and shift of normalisation layers, are clipped
    with the rest but neither penalised nor decayed nor bounded. The loss that training
    reports is that of the data.

    Parameters
    ----------
    weight_decay : float or Schedule, default 0.0
        At least 0; a schedule gives that of each update.
    l1, l2 : float, default 0.0
        At least 0.
    clip_value, clip_norm, max_norm : float, optional
        Greater than 0; None for none.

    Attributes
    ----------
    name : str
        The name users and model files call it by.
    rule : str
        The name of the update of one array, which has one entry in each lane's table.
    state_names : tuple of str
        The arrays kept for each weight and bias array, of its shape, first zero.
    squares : tuple of str
        Those of them that are sums or means of squares, and so never negative.

    References
    ----------
    R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural
    networks", ICML 2013 (clipping by norm); N. Srivastava et al., "Dropout", JMLR 2014,
    section 5.1 (max-norm); I. Loshchilov, F. Hutter, "Decoupled Weight Decay
    Regularization", ICLR 2019.

    Examples
    --------
    >>> from fastnn import SGD
    >>> SGD(0.1, l2=1e-4, clip_norm=1.0).clip_norm
    1.0
    """

    name: ClassVar[str]
    squares: ClassVar[tuple[str, ...]] = ()

    learning_rate: float | Schedule
    weight_decay: float | Schedule = field(default=0.0, kw_only=True)
    l1: float = field(default=0.0, kw_only=True)
    l2: float = field(default=0.0, kw_only=True)
    clip_value: float | None = field(default=None, kw_only=True)
    clip_norm: float | None = field(default=None, kw_only=True)
    max_norm: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name in [each.name for each in fields(self)]:
            value = getattr(self, name)
            if name in _SWITCHES:
                check_bool(name, value)
            if name not in _RANGES or (value is None and name in _MAY_BE_NONE):
                continue
            if name in _SCHEDULED and isinstance(value, Schedule):
                continue
            number = check_number(name, value, *_RANGES[name])
            object.__setattr__(self, name, number)

    def __repr__(self) -> str:
        text: str = short_repr(self)
        rate = f"learning_rate={self.learning_rate!r}"
        if rate in text or "learning_rate" not in _arguments(self):
            return text
        name, others = text.removesuffix(")").split("(", 1)
        return f"{name}({rate}{', ' if others else ''}{others})"

    @property
    def rule(self) -> str:
        return self.name

    @property
    def state_names(self) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True, repr=False)
class SGD(Optimizer):
    """Stochastic gradient descent, plain, with momentum, or with Nesterov's momentum.

    With the momentum ``mu``: ``w := w - lr g``, or ``v := mu v + g; w := w - lr v``, or
    Nesterov's ``v := mu v + g; w := w - lr (g + mu v)``.

    Parameters
    ----------
    momentum : float, default 0.0
        With 0, no state is kept.
    nesterov : bool, default False
        Needs ``momentum > 0``.

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

    learning_rate: float | Schedule = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov=True needs momentum > 0, got momentum=0.0")

    @property
    def rule(self) -> str:
        if self.nesterov:
            return "nesterov"
        return "momentum" if self.momentum else "sgd"

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()


@dataclass(frozen=True, repr=False)
class RMSprop(Optimizer):
    """A step scaled by a running mean of the gradient's square.

    ``s := rho s + (1 - rho) g^2``, ``w := w - lr g / (sqrt(s) + epsilon)``.

    References
    ----------
    T. Tieleman, G. Hinton, "Lecture 6.5: rmsprop", Coursera, 2012; in PyTorch's form.

    Examples
    --------
    >>> from fastnn.optimizers import RMSprop
    >>> RMSprop(1e-3).state_names
    ('mean_square',)
    """

    name: ClassVar[str] = "rmsprop"
    squares: ClassVar[tuple[str, ...]] = ("mean_square",)

    learning_rate: float | Schedule = 0.01
    rho: float = 0.99
    epsilon: float = 1e-8

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("mean_square",)


@dataclass(frozen=True, repr=False)
class AdaGrad(Optimizer):
    """A step scaled by the sum of the squares of all gradients so far.

    ``s := s + g^2``, ``w := w - lr g / (sqrt(s) + epsilon)``.

    References
    ----------
    J. Duchi, E. Hazan, Y. Singer, "Adaptive Subgradient Methods for Online Learning and
    Stochastic Optimization", JMLR 12, 2011.

    Examples
    --------
    >>> from fastnn.optimizers import AdaGrad
    >>> AdaGrad(0.1).state_names
    ('sum_of_squares',)
    """

    name: ClassVar[str] = "adagrad"
    squares: ClassVar[tuple[str, ...]] = ("sum_of_squares",)

    learning_rate: float | Schedule = 0.01
    epsilon: float = 1e-10

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("sum_of_squares",)


@dataclass(frozen=True, repr=False)
class _TwoMoments(Optimizer):
    """The parameters that the relatives of Adam share."""

    squares: ClassVar[tuple[str, ...]] = ("second_moment",)

    learning_rate: float | Schedule = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("first_moment", "second_moment")


@dataclass(frozen=True, repr=False)
class Adam(_TwoMoments):
    """Adam: a step scaled by running means of the gradient and of its square.

    For the step ``t`` = 1, 2, ...:
    ``m := b1 m + (1 - b1) g``, ``v := b2 v + (1 - b2) g^2``,
    ``w := w - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + epsilon)``.
    With epsilon_hat, epsilon is added to the root of v as it is, before the correction:
    ``w := w - lr sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + epsilon)``.

    Parameters
    ----------
    epsilon_hat : bool, default False
        Take epsilon for the "epsilon hat" of the paper, as scikit-learn does.

    References
    ----------
    D. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015,
    algorithm 1; epsilon hat: section 2, last paragraph.

    Examples
    --------
    >>> from fastnn.optimizers import Adam
    >>> Adam(3e-4, beta_1=0.95).beta_1
    0.95
    """

    name: ClassVar[str] = "adam"

    epsilon_hat: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, repr=False)
class AdamW(_TwoMoments):
    """Adam with decoupled weight decay.

    ``w := (1 - lr * weight_decay) w``, then Adam's update. Biases do not decay.

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

    weight_decay: float | Schedule = field(default=0.01, kw_only=True)

    @property
    def rule(self) -> str:
        return "adam"


@dataclass(frozen=True, repr=False)
class NAdam(_TwoMoments):
    """Adam with Nesterov's momentum.

    For the step ``t`` = 1, 2, ... with ``mu_t := b1 (1 - 0.96^(t psi) / 2)`` and
    ``P_t := mu_1 ... mu_t``: ``m`` and ``v`` as in Adam, and
    ``w := w - lr (mu_(t+1) m / (1 - P_(t+1)) + (1 - mu_t) g / (1 - P_t))
    / (sqrt(v / (1 - b2^t)) + epsilon)``.

    Parameters
    ----------
    momentum_decay : float, default 4e-3
        psi, at least 0.

    References
    ----------
    T. Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016; in
    PyTorch's form.

    Examples
    --------
    >>> from fastnn.optimizers import NAdam
    >>> NAdam().learning_rate
    0.002
    """

    name: ClassVar[str] = "nadam"

    learning_rate: float | Schedule = 2e-3
    momentum_decay: float = 4e-3


@dataclass(frozen=True, repr=False)
class Lion(Optimizer):
    """The sign of an interpolated momentum.

    ``c := b1 m + (1 - b1) g``, ``w := w - lr sign(c)``, ``m := b2 m + (1 - b2) g``.

    References
    ----------
    X. Chen et al., "Symbolic Discovery of Optimization Algorithms", NeurIPS 2023.

    Examples
    --------
    >>> from fastnn.optimizers import Lion
    >>> Lion(weight_decay=0.1).state_names
    ('first_moment',)
    """

    name: ClassVar[str] = "lion"

    learning_rate: float | Schedule = 1e-4
    beta_1: float = 0.9
    beta_2: float = 0.99

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("first_moment",)


@dataclass(frozen=True, repr=False)
class LBFGS(Optimizer):
    """Limited-memory BFGS on all data at once, for small data (needs SciPy).

    ``fit(..., epochs=k)`` makes up to k iterations, each with a line search of its own:
    there are neither mini-batches nor a learning rate. Of the common parameters only
    `l2` applies: the loss minimised is that of the data plus ``0.5 l2 sum W^2``.
    Networks with `Dropout`, or a `BatchNorm` that is trained, are refused: their
    loss is no function of the weights alone. An interrupted training goes on from the
    weights, without the memory of its past.

    Parameters
    ----------
    history_size : int, default 10
        Number of past steps that the curvature is estimated from.
    tolerance : float, default 1e-5
        Training ends when no element of the projected gradient is larger.
    max_evaluations : int, default 15000
        Of the loss and its gradient.

    Warns
    -----
    UserWarning
        By `Network.fit`: the search ended before it converged, because it found no
        better point (the arithmetic of float32 may be too coarse for `tolerance`) or
        had all its evaluations. The weights are those of the last iteration.

    References
    ----------
    J. Nocedal, S. Wright, "Numerical Optimization", 2nd ed., 2006, section 7.2;
    C. Zhu et al., "Algorithm 778: L-BFGS-B", 1997.

    Examples
    --------
    >>> from fastnn.optimizers import LBFGS
    >>> LBFGS(l2=1e-4)
    LBFGS(l2=0.0001)
    """

    name: ClassVar[str] = "lbfgs"

    learning_rate: float | Schedule = field(default=1.0, init=False)
    history_size: int = 10
    tolerance: float = 1e-5
    max_evaluations: int = 15000

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("history_size", "max_evaluations"):
            count = check_count(name, getattr(self, name))
            object.__setattr__(self, name, count)
        tolerance = check_number("tolerance", self.tolerance, *NOT_NEGATIVE)
        object.__setattr__(self, "tolerance", tolerance)
        for name in ("weight_decay", "l1", "clip_value", "clip_norm", "max_norm"):
            if getattr(self, name):
                raise ValueError(
                    f"{name} has no meaning for LBFGS, got {getattr(self, name)!r}"
                )


OPTIMIZERS: dict[str, type[Optimizer]] = {
    each.name: each for each in (SGD, RMSprop, AdaGrad, Adam, AdamW, NAdam, Lion, LBFGS)
}
