"""Stateless losses, with their gradients.

Each takes raw outputs z (m, n) and targets t, and returns the mean of the rows' losses
``loss := sum_i w_i l_i / sum_i w_i``, a float, and its gradient with respect to z,
``dz_i := w_i / sum_i w_i dl_i / dz_i``, like z. A docstring says what l_i is, and its
gradient. Arrays are float32 or float64, all of one call the same, with at least one
element; `sample_weight` (m,) are weights w >= 0, not all 0, each 1 if none are given.

``TypeError`` or ``ValueError`` says which argument has another dtype, shape or range.
"""

import numpy as np

from fastnn._base.types import Array
from fastnn._plan.functions import check_loss
from fastnn.losses import (
    MAE,
    MSE,
    BinaryCrossEntropy,
    Huber,
    Loss,
    Poisson,
    SoftmaxCrossEntropy,
)
from fastnn.reference._losses import LOSSES, weigh_rows

__all__ = [
    "binary_cross_entropy",
    "huber",
    "mae",
    "mse",
    "poisson",
    "softmax_cross_entropy",
]


def softmax_cross_entropy(
    z: Array,
    labels: Array,
    sample_weight: Array | None = None,
    label_smoothing: float = 0.0,
) -> tuple[float, Array]:
    """Cross-entropy, ``l_i := -sum_j t_ij log softmax(z_i)_j``, natural logarithm.

    The labels are classes 0 to n-1 (m,) of any integer dtype, or soft targets (m, n) of
    z's dtype, usually with rows that sum to 1. ``t := (1 - s) t0 + s / n``, where t0 is
    the one-hot row of the label, or the soft targets, and s the label smoothing, 0 to
    1. ``dl_i / dz_i = softmax(z_i) sum_j t_ij - t_i``.

    I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", 2016, section 6.2.2.3;
    C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
    CVPR 2016, section 7 (label smoothing).

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import softmax_cross_entropy
    >>> loss, dz = softmax_cross_entropy(np.zeros((1, 2)), np.array([1]))
    >>> round(loss, 6), dz
    (0.693147, array([[ 0.5, -0.5]]))
    """
    return _loss(SoftmaxCrossEntropy(label_smoothing), z, labels, sample_weight)


def binary_cross_entropy(
    z: Array, targets: Array, sample_weight: Array | None = None
) -> tuple[float, Array]:
    """Binary cross-entropy of ``p := 1 / (1 + exp(-z))``.

    ``l_i := sum_j max(z_ij, 0) - t_ij z_ij + log(1 + exp(-|z_ij|))``, which is
    ``-sum_j t_ij log p_ij + (1 - t_ij) log(1 - p_ij)``; ``dl_i / dz_i = p_i - t_i``.
    The targets are (m, n), usually from 0 to 1, or if n is 1 labels 0 and 1 (m,) of any
    integer dtype.

    C. Bishop, "Pattern Recognition and Machine Learning", 2006, section 4.3.2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import binary_cross_entropy
    >>> loss, dz = binary_cross_entropy(np.zeros((1, 1)), np.array([1]))
    >>> round(loss, 6), dz
    (0.693147, array([[-0.5]]))
    """
    return _loss(BinaryCrossEntropy(), z, targets, sample_weight)


def mse(
    z: Array, targets: Array, sample_weight: Array | None = None
) -> tuple[float, Array]:
    """Mean squared error, ``l_i := 1 / n sum_j (z_ij - t_ij)^2``.

    ``dl_i / dz_i = 2 / n (z_i - t_i)``; the targets are (m, n). C. Bishop, "Pattern
    Recognition and Machine Learning", 2006, section 3.1.1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import mse
    >>> mse(np.array([[1.0, 2.0]]), np.array([[0.0, 0.0]]))
    (2.5, array([[1., 2.]]))
    """
    return _loss(MSE(), z, targets, sample_weight)


def mae(
    z: Array, targets: Array, sample_weight: Array | None = None
) -> tuple[float, Array]:
    """Mean absolute error, ``l_i := 1 / n sum_j |z_ij - t_ij|``.

    ``dl_i / dz_i = 1 / n sign(z_i - t_i)``, 0 where they are equal; the targets are
    (m, n). C. Bishop, "Pattern Recognition and Machine Learning", 2006, section 1.5.5.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import mae
    >>> mae(np.array([[1.0, -2.0]]), np.array([[0.0, 0.0]]))
    (1.5, array([[ 0.5, -0.5]]))
    """
    return _loss(MAE(), z, targets, sample_weight)


def huber(
    z: Array, targets: Array, sample_weight: Array | None = None, delta: float = 1.0
) -> tuple[float, Array]:
    """Huber's loss, ``l_i := 1 / n sum_j h(z_ij - t_ij)``.

    ``h(d) := d^2 / 2`` where ``|d| <= delta``, else ``delta (|d| - delta / 2)``, so
    ``dl_i / dz_i = 1 / n d_i`` with the d cut to -delta..delta. The targets are (m, n),
    delta is 1e-30 to 1e30. P. Huber, "Robust Estimation of a Location Parameter", 1964.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import huber
    >>> huber(np.array([[0.5, 3.0]]), np.array([[0.0, 0.0]]))
    (1.3125, array([[0.25, 0.5 ]]))
    """
    return _loss(Huber(delta), z, targets, sample_weight)


def poisson(
    z: Array, targets: Array, sample_weight: Array | None = None
) -> tuple[float, Array]:
    """Poisson loss, ``l_i := 1 / n sum_j exp(z_ij) - t_ij z_ij``.

    z is the logarithm of the rate, and the loss the negative log-likelihood but for a
    term of t: ``dl_i / dz_i = 1 / n (exp(z_i) - t_i)``. The targets are counts >= 0
    (m, n). C. Cameron, P. Trivedi, "Regression Analysis of Count Data", 2nd ed., 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import poisson
    >>> poisson(np.array([[0.0, 0.0]]), np.array([[3.0, 1.0]]))
    (1.0, array([[-1.,  0.]]))
    """
    return _loss(Poisson(), z, targets, sample_weight)


def _loss(
    loss: Loss, z: Array, targets: Array, sample_weight: Array | None
) -> tuple[float, Array]:
    check_loss(loss, z, targets, sample_weight)
    with np.errstate(all="ignore"):
        losses, gradients = LOSSES[loss.name].rows(loss, z, targets)
        total, weight, dz = weigh_rows(losses, gradients, sample_weight)
    return total / weight, dz
