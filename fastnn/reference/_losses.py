"""Losses in NumPy, by name: value and gradient of each row, and what is predicted.

To add a loss: an entry in LOSSES. Nothing is checked here, and callers silence NumPy's
warnings. Letters in shapes are m rows and n outputs.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastnn._base.types import Array
from fastnn._plan.own_loss import own_rows
from fastnn.losses import (
    MAE,
    MSE,
    BinaryCrossEntropy,
    Focal,
    GaussianNLL,
    Hinge,
    Huber,
    Loss,
    OwnLoss,
    Poisson,
    Quantile,
    SoftmaxCrossEntropy,
)

from ._activations import activate, softmax


class LossFunctions(NamedTuple):
    """The arithmetic of a loss."""

    # (loss, z (m, n), targets) -> losses (m,), each row's gradient wrt z (m, n)
    rows: Callable[[Any, Array, Array], tuple[Array, Array]]
    # raw outputs z (m, n) -> predicted values
    values: Callable[[Array], Array]
    # raw outputs z (m, n) -> class labels (m,), or (m, n) if each output has its own;
    # None for a regression
    labels: Callable[[Array], Array] | None = None
    # targets (m, n) -> labels, as above
    true_labels: Callable[[Array], Array] | None = None


def is_correct(loss: Loss, z: Array, targets: Array) -> Array:
    """Return 1 for the rows whose labels are all right, else 0 (m,), float64.

    For a regression it is 0.
    """
    functions = LOSSES[loss.name]
    if functions.labels is None or functions.true_labels is None:
        return np.zeros(len(z))
    truth = targets if targets.ndim == 1 else functions.true_labels(targets)
    right = functions.labels(z) == truth
    if right.ndim == 2:
        right = right.all(axis=1)
    return np.asarray(right, np.float64)


def weigh_rows(
    losses: Array, gradients: Array, weight: Array | None, total: float | None = None
) -> tuple[float, float, Array]:
    """Return sum_i w_i l_i, sum_i w_i, and the gradient of their quotient.

    The sums are in float64 and in the order of the rows, whatever the dtype. `total`
    takes the place of the second in the gradient if the rows are part of a group.
    """
    if weight is None:
        weight = np.ones(len(losses))
    else:  # a row that does not count may be infinite
        losses = np.where(weight > 0, losses, 0)
        gradients = np.where(weight[:, np.newaxis] > 0, gradients, 0)
    weight = weight.astype(np.float64, copy=False)
    weight_sum = sum_in_order(weight)
    share = weight / (weight_sum if total is None else total)
    dz = gradients * share.astype(gradients.dtype)[:, np.newaxis]
    return sum_in_order(weight * losses), weight_sum, dz


def sum_in_order(values: Array) -> float:
    """Return the sum from first to last; np.sum would add pairwise."""
    return float(np.add.accumulate(values, dtype=np.float64)[-1])


# One class per row.


def _softmax_cross_entropy(
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


def _largest(values: Array) -> Array:
    return np.asarray(values.argmax(axis=1), np.int64)  # the first one of equals


# A yes or no per output, from z = log(p / (1 - p)).


def _binary_cross_entropy(
    loss: BinaryCrossEntropy, z: Array, targets: Array
) -> tuple[Array, Array]:
    t = targets.astype(z.dtype, copy=False).reshape(z.shape)
    losses = np.maximum(z, 0) - t * z + np.log1p(np.exp(-np.abs(z)))
    return losses.sum(axis=1), _sigmoid(z) - t


def _sigmoid(z: Array) -> Array:
    return activate("sigmoid", z)


def _above(values: Array, threshold: float) -> Array:
    labels = (values > threshold).astype(np.int64)
    return labels[:, 0] if labels.shape[1] == 1 else labels


# Regressions: means over the outputs.


def _mse(loss: MSE, z: Array, targets: Array) -> tuple[Array, Array]:
    d = z - targets
    return (d * d).mean(axis=1), 2 * d / z.shape[1]


def _mae(loss: MAE, z: Array, targets: Array) -> tuple[Array, Array]:
    d = z - targets
    return np.abs(d).mean(axis=1), np.sign(d) / z.shape[1]


def _huber(loss: Huber, z: Array, targets: Array) -> tuple[Array, Array]:
    d = z - targets
    near = np.clip(d, -loss.delta, loss.delta)
    return (near * (d - near / 2)).mean(axis=1), near / z.shape[1]


def _poisson(loss: Poisson, z: Array, targets: Array) -> tuple[Array, Array]:
    rate = np.exp(z)
    return (rate - targets * z).mean(axis=1), (rate - targets) / z.shape[1]


# Regressions with several outputs of a target, next to one another.


def _quantile(loss: Quantile, z: Array, targets: Array) -> tuple[Array, Array]:
    n = z.shape[1]
    levels = np.tile(np.asarray(loss.levels, z.dtype), n // len(loss.levels))
    d = np.repeat(targets, len(loss.levels), axis=1) - z
    slope = np.where(d > 0, levels, np.where(d < 0, levels - 1, d))  # 0 and NaN stay
    return (slope * d).sum(axis=1) / n, -slope / n


def _gaussian_nll(loss: GaussianNLL, z: Array, targets: Array) -> tuple[Array, Array]:
    mean, log_variance = z[:, ::2], z[:, 1::2]
    low = np.log(np.asarray(loss.epsilon, z.dtype))
    limited = log_variance < low
    exp = np.exp(log_variance)
    variance = np.where(limited, np.asarray(loss.epsilon, z.dtype), exp)
    d = mean - targets
    share = d * d / variance
    costs = np.where(limited, low, log_variance) + share + 0 * log_variance  # inf: NaN
    dz = np.empty_like(z)
    dz[:, ::2] = 2 * d / variance
    dz[:, 1::2] = (1 - share) * np.where(limited, exp / variance, 1)
    return costs.sum(axis=1) / z.shape[1], dz / z.shape[1]


# Of classes, made from the cross-entropies, or from margins.


def _focal(loss: Focal, z: Array, targets: Array) -> tuple[Array, Array]:
    if z.shape[1] == 1:
        c, dz = _binary_cross_entropy(BinaryCrossEntropy(), z, targets)
    else:
        c, dz = _softmax_cross_entropy(SoftmaxCrossEntropy(), z, targets)
    rest = np.maximum(-np.expm1(-c), np.asarray(2.0**-100, z.dtype))  # 1 - p
    power = rest ** (loss.gamma - 1)
    factor = power * (rest + loss.gamma * np.exp(-c) * c)
    return power * rest * c, dz * factor[:, np.newaxis]


def _hinge(loss: Hinge, z: Array, targets: Array) -> tuple[Array, Array]:
    m, n = z.shape
    if n == 1:
        sign = np.where(targets.reshape(z.shape) > 0.5, 1, -1).astype(z.dtype)
        margin = 1 - sign * z
        margins, slopes = _positive(margin, z), np.where(margin <= 0, 0 * z, -sign)
        return margins[:, 0], slopes + 0 * z
    y = targets if targets.ndim == 1 else targets.argmax(axis=1)
    own = np.arange(m), y
    margin = 1 - z[own][:, np.newaxis] + z
    margins, slopes = _positive(margin, z), np.where(margin <= 0, 0, 1) + 0 * z
    margins[own] = slopes[own] = 0 * z[own]
    slopes[own] -= slopes.sum(axis=1)
    return margins.sum(axis=1) / n, (slopes / n).astype(z.dtype)


def _positive(margin: Array, z: Array) -> Array:
    """The margins that are > 0, else 0; NaN for infinite outputs."""
    return np.asarray(np.where(margin <= 0, 0, margin) + 0 * z)


def _softmax_or_sigmoid(z: Array) -> Array:
    return _sigmoid(z) if z.shape[1] == 1 else softmax(z)


def _class_of(values: Array, threshold: float = 0.0) -> Array:
    return _above(values, threshold) if values.shape[1] == 1 else _largest(values)


def _class_of_target(targets: Array) -> Array:
    return _class_of(targets, 0.5)


LOSSES: dict[str, LossFunctions] = {
    SoftmaxCrossEntropy.name: LossFunctions(
        _softmax_cross_entropy, softmax, _largest, _largest
    ),
    BinaryCrossEntropy.name: LossFunctions(
        _binary_cross_entropy,
        _sigmoid,
        labels=lambda z: _above(z, 0),
        true_labels=lambda targets: _above(targets, 0.5),
    ),
    MSE.name: LossFunctions(_mse, np.asarray),
    MAE.name: LossFunctions(_mae, np.asarray),
    Huber.name: LossFunctions(_huber, np.asarray),
    Poisson.name: LossFunctions(_poisson, np.exp),
    Quantile.name: LossFunctions(_quantile, np.asarray),
    GaussianNLL.name: LossFunctions(_gaussian_nll, np.asarray),
    Focal.name: LossFunctions(_focal, _softmax_or_sigmoid, _class_of, _class_of_target),
    Hinge.name: LossFunctions(_hinge, np.asarray, _class_of, _class_of_target),
    OwnLoss.name: LossFunctions(own_rows, np.asarray),
}
