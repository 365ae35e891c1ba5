"""The arithmetic of the reference in NumPy, by name, in four tables.

ACTIVATIONS, DERIVATIVES, LOSSES and UPDATES are all that `reference` (the functions,
with checks and documentation) and `reference_engine` (whole networks) know of formulas:
to add an activation, a loss or an optimizer, add its entry here. Nothing is checked
here. Letters in shapes are m rows, k inputs and n outputs.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ._arguments import Array
from .losses import SoftmaxCrossEntropy

# Activations: y := act(z), dz := dy * act'(z).


def _identity(z: Array) -> Array:
    return z


def _identity_backward(dy: Array, saved: Array) -> Array:
    return dy


def _relu(z: Array) -> Array:
    return np.maximum(z, 0)


def _relu_backward(dy: Array, saved: Array) -> Array:
    return np.where(saved > 0, dy, 0)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "identity": _identity,
    "relu": _relu,
}

# (dy, saved) -> dz. What the forward pass saves is the activation's output y, because
# it is at hand as the next layer's input; names in SAVES_INPUT have their input z saved
# instead, because their derivative cannot be had from y.
DERIVATIVES: dict[str, Callable[[Array, Array], Array]] = {
    "identity": _identity_backward,
    "relu": _relu_backward,
}
SAVES_INPUT: frozenset[str] = frozenset()


# Losses: of each row, before sample weights.


def _softmax(z: Array) -> Array:
    exp = np.exp(z - z.max(axis=1, keepdims=True))  # the largest is exp(0)
    return np.asarray(exp / exp.sum(axis=1, keepdims=True))


def _softmax_cross_entropy_rows(
    loss: SoftmaxCrossEntropy, z: Array, targets: Array
) -> tuple[Array, Array]:
    m, n = z.shape
    if targets.ndim == 1:
        t = np.zeros_like(z)
        t[np.arange(m), targets] = 1
    else:
        t = targets
    if loss.label_smoothing:
        t = (1 - loss.label_smoothing) * t + loss.label_smoothing / n
    shifted = z - z.max(axis=1, keepdims=True)
    exp = np.exp(shifted)
    total = exp.sum(axis=1, keepdims=True)
    cost = np.log(total) - shifted  # -log p
    # A class with target 0 costs nothing, even if its cost overflowed.
    losses = np.where(t != 0, t * cost, 0).sum(axis=1)
    # d(-sum_j t_j log p_j)/dz = p sum_j t_j - t; soft targets may miss a sum of 1
    dz = exp / total * t.sum(axis=1, keepdims=True) - t
    return losses, dz


def _largest(z: Array) -> Array:
    return np.asarray(z.argmax(axis=1), np.int64)  # the first one of equals


class LossFunctions(NamedTuple):
    """The arithmetic of a loss."""

    # (loss, z (m, n), targets) -> losses (m,), each row's gradient wrt z (m, n)
    rows: Callable[[Any, Array, Array], tuple[Array, Array]]
    # raw outputs z (m, n) -> predicted values: probabilities
    values: Callable[[Array], Array]
    # raw outputs z, or soft targets (m, n) -> class labels (m,)
    labels: Callable[[Array], Array]


LOSSES: dict[str, LossFunctions] = {
    SoftmaxCrossEntropy.name: LossFunctions(
        _softmax_cross_entropy_rows, _softmax, _largest
    ),
}


def weigh_rows(
    losses: Array, gradients: Array, weight: Array | None
) -> tuple[float, float, Array]:
    """Return sum_i w_i l_i, sum_i w_i, and the gradient of their quotient.

    The sums are in float64 and in the order of the rows, whatever the dtype.
    """
    if weight is None:
        weight = np.ones(len(losses))
    weight = weight.astype(np.float64, copy=False)
    total = sum_in_order(weight)
    share = (weight / total).astype(gradients.dtype)
    return sum_in_order(weight * losses), total, gradients * share[:, np.newaxis]


def sum_in_order(values: Array) -> float:
    """Return the sum from first to last; np.sum would add pairwise."""
    return float(np.add.accumulate(values, dtype=np.float64)[-1])


# Updates: in place on w and its state; t = step counts from 1.


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
) -> None:
    first_moment *= beta_1
    first_moment += (1 - beta_1) * dw
    second_moment *= beta_2
    second_moment += (1 - beta_2) * (dw * dw)
    size = learning_rate / (1 - beta_1**step)
    root = (1 - beta_2**step) ** 0.5
    w -= size * first_moment / (np.sqrt(second_moment) / root + epsilon)


def _adamw(
    w: Array,
    dw: Array,
    first_moment: Array,
    second_moment: Array,
    step: int,
    learning_rate: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    weight_decay: float,
) -> None:
    w *= 1 - learning_rate * weight_decay
    _adam(
        w, dw, first_moment, second_moment, step, learning_rate, beta_1, beta_2, epsilon
    )


class UpdateRule(NamedTuple):
    """The arithmetic of an optimizer: ``function(w, dw, *state, **arguments)``."""

    function: Callable[..., None]
    arguments: tuple[str, ...]  # "step", and fields of the optimizer


_ADAM = ("step", "learning_rate", "beta_1", "beta_2", "epsilon")

UPDATES: dict[str, UpdateRule] = {
    "sgd": UpdateRule(_sgd, ("learning_rate",)),
    "momentum": UpdateRule(_momentum, ("learning_rate", "momentum")),
    "nesterov": UpdateRule(_nesterov, ("learning_rate", "momentum")),
    "adam": UpdateRule(_adam, _ADAM),
    "adamw": UpdateRule(_adamw, (*_ADAM, "weight_decay")),
}
