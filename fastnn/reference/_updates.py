"""Optimizer updates in NumPy, by rule: in place on w and its state.

To add an optimizer: an entry in UPDATES for its rule. Nothing is checked here, and
callers silence NumPy's warnings. The optimizers' common parts follow the rules: what
happens to a gradient before, and to weights around, the update.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from fastnn._base.types import Array


class UpdateRule(NamedTuple):
    """The arithmetic of an optimizer: ``function(w, dw, *state, **arguments)``."""

    function: Callable[..., None]
    # "step" t = 1, 2, ..., and fields of the optimizer, if it has them
    arguments: tuple[str, ...]


def _sgd(w: Array, dw: Array, learning_rate: float) -> None:
    w -= learning_rate * dw


def _momentum(
    w: Array, dw: Array, velocity: Array, learning_rate: float, momentum: float
) -> None:
    velocity *= momentum
    velocity += dw
    w -= learning_rate * velocity


def _nesterov(
    w: Array, dw: Array, velocity: Array, learning_rate: float, momentum: float
) -> None:
    velocity *= momentum
    velocity += dw
    w -= learning_rate * (dw + momentum * velocity)


def _rmsprop(
    w: Array,
    dw: Array,
    mean_square: Array,
    learning_rate: float,
    rho: float,
    epsilon: float,
) -> None:
    mean_square *= rho
    mean_square += (1 - rho) * (dw * dw)
    w -= learning_rate * (dw / (np.sqrt(mean_square) + epsilon))


def _adagrad(
    w: Array, dw: Array, sum_of_squares: Array, learning_rate: float, epsilon: float
) -> None:
    sum_of_squares += dw * dw
    w -= learning_rate * (dw / (np.sqrt(sum_of_squares) + epsilon))


def _adam(
    w: Array,
    dw: Array,
    first_moment: Array,
    second_moment: Array,
    step: int,
    learning_rate: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    epsilon_hat: bool = False,
) -> None:
    _advance_moments(dw, first_moment, second_moment, beta_1, beta_2)
    size = learning_rate / (1 - beta_1**step)
    root = (1 - beta_2**step) ** 0.5
    if epsilon_hat:
        epsilon /= root
    w -= size * first_moment / (np.sqrt(second_moment) / root + epsilon)


def _nadam(
    w: Array,
    dw: Array,
    first_moment: Array,
    second_moment: Array,
    step: int,
    learning_rate: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    momentum_decay: float,
) -> None:
    _advance_moments(dw, first_moment, second_moment, beta_1, beta_2)
    now, product = _nadam_momenta(step, beta_1, momentum_decay)
    then, next_product = _nadam_momenta(step + 1, beta_1, momentum_decay)
    of_gradient = learning_rate * (1 - now) / (1 - product)
    of_moment = learning_rate * then / (1 - next_product)
    root = (1 - beta_2**step) ** 0.5
    w -= (of_moment * first_moment + of_gradient * dw) / (
        np.sqrt(second_moment) / root + epsilon
    )


def _advance_moments(
    dw: Array, first_moment: Array, second_moment: Array, beta_1: float, beta_2: float
) -> None:
    first_moment *= beta_1
    first_moment += (1 - beta_1) * dw
    second_moment *= beta_2
    second_moment += (1 - beta_2) * (dw * dw)


def _nadam_momenta(step: int, beta_1: float, decay: float) -> tuple[float, float]:
    """Return ``mu_t := b1 (1 - 0.96^(t psi) / 2)``, and ``mu_1 ... mu_t``."""

    def mu(t: int) -> float:
        return float(beta_1 * (1 - 0.5 * 0.96 ** (t * decay)))

    product = 1.0
    for t in range(1, step + 1):
        product *= mu(t)
        if product < 2**-60:  # 1 less that is 1, and so with all that follow
            break
    return mu(step), product


def _lion(
    w: Array,
    dw: Array,
    first_moment: Array,
    learning_rate: float,
    beta_1: float,
    beta_2: float,
) -> None:
    w -= learning_rate * np.sign(beta_1 * first_moment + (1 - beta_1) * dw)
    first_moment *= beta_2
    first_moment += (1 - beta_2) * dw


_ADAM = ("step", "learning_rate", "beta_1", "beta_2", "epsilon")
_MOMENTUM = ("learning_rate", "momentum")

UPDATES: dict[str, UpdateRule] = {
    "sgd": UpdateRule(_sgd, ("learning_rate",)),
    "momentum": UpdateRule(_momentum, _MOMENTUM),
    "nesterov": UpdateRule(_nesterov, _MOMENTUM),
    "rmsprop": UpdateRule(_rmsprop, ("learning_rate", "rho", "epsilon")),
    "adagrad": UpdateRule(_adagrad, ("learning_rate", "epsilon")),
    "adam": UpdateRule(_adam, (*_ADAM, "epsilon_hat")),
    "nadam": UpdateRule(_nadam, (*_ADAM, "momentum_decay")),
    "lion": UpdateRule(_lion, ("learning_rate", "beta_1", "beta_2")),
}


# What optimizers have in common, in the order of an update.


def norm_of_all(arrays: Sequence[Array]) -> float:
    """Return the Euclidean norm of all elements together; the sum is in float64."""
    squares = (np.square(array, dtype=np.float64).sum() for array in arrays)
    return math.sqrt(sum(map(float, squares)))


def penalty_gradient(w: Array, l1: float, l2: float) -> Array:
    """Return the gradient of ``l1 sum |w| + l2 / 2 sum w^2``."""
    return l1 * np.sign(w) + l2 * w


def decay(w: Array, learning_rate: float, weight_decay: float) -> None:
    """Decoupled weight decay, ``w := (1 - lr weight_decay) w``."""
    w *= 1 - learning_rate * weight_decay


def limit_columns(w: Array, max_norm: float) -> None:
    """Scale each column of w (k, n) with a norm above max_norm to that norm."""
    norms = np.sqrt(np.square(w, dtype=np.float64).sum(axis=0))
    if not np.isfinite(norms).all():  # the squares overflow
        largest = np.abs(w).max(axis=0).astype(np.float64)
        norms = largest * np.sqrt(np.square(w / largest).sum(axis=0))
    w *= (max_norm / np.maximum(norms, max_norm)).astype(w.dtype)
