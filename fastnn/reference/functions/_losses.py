"""Stateless losses, with their gradients.

Each takes raw outputs z (m, n) and targets t, and returns the mean of the rows' losses
``loss := sum_i w_i l_i / sum_i w_i``, a float, and its gradient with respect to z,
``dz_i := w_i / sum_i w_i dl_i / dz_i``, like z. A docstring says what l_i is, and its
gradient. Arrays are float32 or float64, all of one call the same, with at least one
element; `sample_weight` (m,) are weights w >= 0, not all 0, each 1 if none are given.

``TypeError`` or ``ValueError`` says which argument has another dtype, shape or range.
"""

from collections.abc import Iterable

import numpy as np

from fastnn._base.types import Array
from fastnn._plan.functions import check_loss
from fastnn.losses import (
    MAE,
    MSE,
    BinaryCrossEntropy,
    Focal,
    GaussianNLL,
    Hinge,
    Huber,
    Loss,
    Poisson,
    Quantile,
    SoftmaxCrossEntropy,
)
from fastnn.reference._losses import LOSSES, weigh_rows

__all__ = [
    "binary_cross_entropy",
    "focal",
    "gaussian_nll",
    "hinge",
    "huber",
    "mae",
    "mse",
    "poisson",
    "quantile",
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


def quantile(
    z: Array,
    targets: Array,
    sample_weight: Array | None = None,
    levels: Iterable[float] | float = (0.1, 0.5, 0.9),
) -> tuple[float, Array]:
    """Pinball loss, ``l_i := 1 / n sum_jk max(q_k d_ijk, (q_k - 1) d_ijk)``.

    ``d_ijk := t_ij - z_ijk``, where z_ijk is column ``j K + k`` of z (m, n), for the K
    levels q; the targets are (m, n / K). ``dl_i / dz_ijk`` is ``-q_k / n`` where d > 0,
    ``(1 - q_k) / n`` where d < 0, else 0. R. Koenker, G. Bassett, "Regression
    Quantiles", 1978.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import quantile
    >>> quantile(np.array([[1.0, 4.0]]), np.array([[3.0]]), levels=(0.25, 0.5))
    (0.5, array([[-0.125,  0.25 ]]))
    """
    return _loss(Quantile(levels), z, targets, sample_weight)  # type: ignore[arg-type]


def gaussian_nll(
    z: Array, targets: Array, sample_weight: Array | None = None, epsilon: float = 1e-6
) -> tuple[float, Array]:
    """Of a normal distribution, ``l_i := 1 / n sum_j log v_ij + d_ij^2 / v_ij``.

    ``d := z_i,2j - t_ij`` and ``v := max(exp(s), epsilon)`` with ``s := z_i,2j+1``: the
    negative log-likelihood but for a constant, of targets (m, n / 2). ``dl / dz`` is
    ``2 d / (n v)`` for the mean and, limited or not, ``exp(s) (1 - d^2 / v) / (n v)``
    for s. D. Nix, A. Weigend, "Estimating the Mean and Variance of the Target
    Probability Distribution", 1994.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import gaussian_nll
    >>> gaussian_nll(np.array([[3.0, 0.0]]), np.array([[1.0]]))
    (2.0, array([[ 2. , -1.5]]))
    """
    return _loss(GaussianNLL(epsilon), z, targets, sample_weight)


def focal(
    z: Array, labels: Array, sample_weight: Array | None = None, gamma: float = 2.0
) -> tuple[float, Array]:
    """Focal loss, ``l_i := (1 - exp(-c_i))^gamma c_i`` of the cross-entropies c.

    Those of softmax_cross_entropy, or of binary_cross_entropy if n is 1, of the same
    labels or targets. With ``p := exp(-c)``, the probability of the label, ``dl_i /
    dc_i = (1 - p)^(gamma - 1) (1 - p + gamma p c)``. T.-Y. Lin et al., "Focal Loss for
    Dense Object Detection", 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import focal
    >>> loss, dz = focal(np.zeros((1, 2)), np.array([1]))
    >>> round(loss, 6), dz.round(6)
    (0.173287, array([[ 0.298287, -0.298287]]))
    """
    return _loss(Focal(gamma), z, labels, sample_weight)


def hinge(
    z: Array, labels: Array, sample_weight: Array | None = None
) -> tuple[float, Array]:
    """Hinge loss, ``l_i := 1 / n sum_{j != y} max(0, 1 - z_iy + z_ij)`` of class y.

    If n is 1, ``max(0, 1 - s z)`` with s -1 for label 0 and 1 for label 1. Labels are
    as for `focal`, of targets (m, n) the greatest counts. ``dl_i / dz_ij`` is ``1 / n``
    where the maximum is not 0, that of z_iy minus their sum. J. Weston, C. Watkins,
    "Support Vector Machines for Multi-Class Pattern Recognition", 1999.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import hinge
    >>> hinge(np.array([[1.0, 1.5, 0.25, 0.5]]), np.array([0]))
    (0.5625, array([[-0.75,  0.25,  0.25,  0.25]]))
    """
    return _loss(Hinge(), z, labels, sample_weight)


def _loss(
    loss: Loss, z: Array, targets: Array, sample_weight: Array | None
) -> tuple[float, Array]:
    check_loss(loss, z, targets, sample_weight)
    with np.errstate(all="ignore"):
        losses, gradients = LOSSES[loss.name].rows(loss, z, targets)
        total, weight, dz = weigh_rows(losses, gradients, sample_weight)
    return total / weight, dz
