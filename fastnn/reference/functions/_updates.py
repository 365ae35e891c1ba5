"""Stateless updates of optimizers, in place.

``w``, the weights, and their state are changed; dw is the gradient. They are float32 or
float64 of one shape, C-contiguous and writable but for dw, and no two share memory. The
state is 0 at first, and `step` is t, 1 for the first update. learning_rate, lr in the
equations, is greater than 0; momentum, rho and betas are 0 up to, not including, 1;
epsilon is at least 1e-30; weight_decay and momentum_decay are at least 0.

``TypeError`` or ``ValueError`` says which argument has another dtype, shape, layout or
range, or which arrays overlap; nothing has been changed then.
"""

from dataclasses import asdict

import numpy as np

from fastnn._base.fields import (
    NOT_NEGATIVE,
    POSITIVE,
    check_integer,
    check_number,
)
from fastnn._base.types import Array
from fastnn._plan.functions import check_update
from fastnn.optimizers import SGD, AdaGrad, Adam, AdamW, Lion, NAdam, Optimizer, RMSprop
from fastnn.reference._updates import UPDATES, decay

__all__ = [
    "adagrad_update",
    "adam_update",
    "adamw_update",
    "lion_update",
    "momentum_update",
    "nadam_update",
    "nesterov_update",
    "rmsprop_update",
    "sgd_update",
]


def sgd_update(w: Array, dw: Array, learning_rate: float = 0.01) -> None:
    """Gradient descent, ``w := w - lr dw``.

    H. Robbins, S. Monro, "A Stochastic Approximation Method", 1951.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import sgd_update
    >>> w = np.array([1.0, 2.0])
    >>> sgd_update(w, np.array([1.0, -1.0]), learning_rate=0.5)
    >>> w
    array([0.5, 2.5])
    """
    _update(SGD(learning_rate), w, dw)


def momentum_update(
    w: Array,
    dw: Array,
    velocity: Array,
    learning_rate: float = 0.01,
    momentum: float = 0.9,
) -> None:
    """Gradient descent with momentum mu, ``v := mu v + dw; w := w - lr v``.

    B. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964;
    in PyTorch's form.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import momentum_update
    >>> w, v = np.array([1.0]), np.array([2.0])
    >>> momentum_update(w, np.array([1.0]), v, learning_rate=0.5, momentum=0.5)
    >>> w, v
    (array([0.]), array([2.]))
    """
    _update(SGD(learning_rate, momentum), w, dw, rule="momentum", velocity=velocity)


def nesterov_update(
    w: Array,
    dw: Array,
    velocity: Array,
    learning_rate: float = 0.01,
    momentum: float = 0.9,
) -> None:
    """With Nesterov's momentum mu, ``v := mu v + dw; w := w - lr (dw + mu v)``.

    I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of initialization
    and momentum in deep learning", ICML 2013; in PyTorch's form.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import nesterov_update
    >>> w, v = np.array([1.0]), np.array([2.0])
    >>> nesterov_update(w, np.array([1.0]), v, learning_rate=0.5, momentum=0.5)
    >>> w, v
    (array([0.]), array([2.]))
    """
    _update(SGD(learning_rate, momentum), w, dw, rule="nesterov", velocity=velocity)


def rmsprop_update(
    w: Array,
    dw: Array,
    mean_square: Array,
    learning_rate: float = 0.01,
    rho: float = 0.99,
    epsilon: float = 1e-8,
) -> None:
    """A step scaled by a running mean of the gradient's square.

    ``s := rho s + (1 - rho) dw^2; w := w - lr dw / (sqrt(s) + epsilon)``.
    T. Tieleman, G. Hinton, "Lecture 6.5: rmsprop", Coursera, 2012; in PyTorch's form.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import rmsprop_update
    >>> w, s = np.array([1.0]), np.array([16.0])
    >>> rmsprop_update(w, np.array([4.0]), s, learning_rate=0.5, rho=0.5)
    >>> w.round(6), s
    (array([0.5]), array([16.]))
    """
    _update(RMSprop(learning_rate, rho, epsilon), w, dw, mean_square=mean_square)


def adagrad_update(
    w: Array,
    dw: Array,
    sum_of_squares: Array,
    learning_rate: float = 0.01,
    epsilon: float = 1e-10,
) -> None:
    """A step scaled by the sum of the squares of all gradients so far.

    ``s := s + dw^2; w := w - lr dw / (sqrt(s) + epsilon)``. J. Duchi, E. Hazan,
    Y. Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
    Optimization", JMLR 12, 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import adagrad_update
    >>> w, s = np.array([1.0]), np.array([9.0])
    >>> adagrad_update(w, np.array([4.0]), s, learning_rate=0.5)
    >>> w.round(6), s
    (array([0.6]), array([25.]))
    """
    _update(AdaGrad(learning_rate, epsilon), w, dw, sum_of_squares=sum_of_squares)


def adam_update(
    w: Array,
    dw: Array,
    first_moment: Array,
    second_moment: Array,
    step: int,
    learning_rate: float = 1e-3,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
) -> None:
    """Adam, a momentum scaled by a running mean of the gradient's square.

    ``m := b1 m + (1 - b1) dw``, ``v := b2 v + (1 - b2) dw^2``,
    ``w := w - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + epsilon)``.

    D. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015,
    algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import adam_update
    >>> w, m, v = np.ones(1), np.zeros(1), np.zeros(1)
    >>> adam_update(w, np.array([4.0]), m, v, step=1, learning_rate=0.25)
    >>> w.round(6), m.round(6), v.round(6)
    (array([0.75]), array([0.4]), array([0.016]))
    """
    spec = Adam(learning_rate, beta_1, beta_2, epsilon)
    _update(spec, w, dw, step, first_moment=first_moment, second_moment=second_moment)


def adamw_update(
    w: Array,
    dw: Array,
    first_moment: Array,
    second_moment: Array,
    step: int,
    learning_rate: float = 1e-3,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.01,
) -> None:
    """Adam with decoupled weight decay.

    ``w := (1 - lr weight_decay) w``, then `adam_update`. I. Loshchilov, F. Hutter,
    "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2, in PyTorch's form.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import adamw_update
    >>> w, m, v = np.ones(1), np.zeros(1), np.zeros(1)
    >>> adamw_update(w, np.zeros(1), m, v, 1, learning_rate=0.5, weight_decay=0.5)
    >>> w
    array([0.75])
    """
    spec = AdamW(learning_rate, beta_1, beta_2, epsilon, weight_decay=weight_decay)
    _update(spec, w, dw, step, first_moment=first_moment, second_moment=second_moment)


def nadam_update(
    w: Array,
    dw: Array,
    first_moment: Array,
    second_moment: Array,
    step: int,
    learning_rate: float = 2e-3,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    momentum_decay: float = 4e-3,
) -> None:
    """Adam with Nesterov's momentum, where psi is momentum_decay.

    With ``mu_t := b1 (1 - 0.96^(t psi) / 2)``, ``P_t := mu_1 ... mu_t``, and m and v as
    in `adam_update`: ``w := w - lr (mu_(t+1) m / (1 - P_(t+1))
    + (1 - mu_t) dw / (1 - P_t)) / (sqrt(v) / sqrt(1 - b2^t) + epsilon)``.

    T. Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016; in
    PyTorch's form.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import nadam_update
    >>> w, m, v = np.ones(1), np.zeros(1), np.zeros(1)
    >>> nadam_update(w, np.array([4.0]), m, v, step=1, learning_rate=0.25)
    >>> w.round(6), m.round(6), v.round(6)
    (array([0.735887]), array([0.4]), array([0.016]))
    """
    spec = NAdam(learning_rate, beta_1, beta_2, epsilon, momentum_decay)
    _update(spec, w, dw, step, first_moment=first_moment, second_moment=second_moment)


def lion_update(
    w: Array,
    dw: Array,
    first_moment: Array,
    learning_rate: float = 1e-4,
    beta_1: float = 0.9,
    beta_2: float = 0.99,
) -> None:
    """The sign of an interpolated momentum.

    ``w := w - lr sign(b1 m + (1 - b1) dw); m := b2 m + (1 - b2) dw``. X. Chen et al.,
    "Symbolic Discovery of Optimization Algorithms", NeurIPS 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import lion_update
    >>> w, m = np.array([1.0]), np.array([-2.0])
    >>> lion_update(w, np.array([1.0]), m, learning_rate=0.5, beta_2=0.5)
    >>> w, m
    (array([1.5]), array([-0.5]))
    """
    _update(Lion(learning_rate, beta_1, beta_2), w, dw, first_moment=first_moment)


def _update(
    optimizer: Optimizer,
    w: Array,
    dw: Array,
    step: int = 1,
    rule: str | None = None,
    **state: Array,
) -> None:
    """Decay w, and update it and its state in place by a rule of UPDATES."""
    check_update(w, dw, **state)
    step = check_integer("step", step, 1)
    rate = check_number("learning_rate", optimizer.learning_rate, *POSITIVE)
    function, names = UPDATES[rule or optimizer.rule]
    values = {**asdict(optimizer), "step": step}
    named = {name: values[name] for name in names if name in values}
    weight_decay = check_number("weight_decay", optimizer.weight_decay, *NOT_NEGATIVE)
    with np.errstate(all="ignore"):
        if weight_decay:
            decay(w, rate, weight_decay)
        function(w, dw, *state.values(), **named)
