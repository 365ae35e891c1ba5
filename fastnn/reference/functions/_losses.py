"""Stateless losses, with their gradients, and the softmax."""

import numpy as np

from fastnn._base.types import Array
from fastnn._plan.functions import (
    check_binary_targets,
    check_floats,
    check_labels,
    check_sample_weight,
    check_shape,
    check_targets,
)
from fastnn.losses import (
    MAE,
    MSE,
    BinaryCrossEntropy,
    Huber,
    Loss,
    Poisson,
    SoftmaxCrossEntropy,
)
from fastnn.reference import _activations as reference_activations
from fastnn.reference._losses import LOSSES, weigh_rows

__all__ = [
    "binary_cross_entropy",
    "huber",
    "mae",
    "mse",
    "poisson",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
]


def softmax(z: Array) -> Array:
    """Probabilities from raw outputs, ``p_ij := exp(z_ij) / sum_j exp(z_ij)``.

    Each row's maximum is subtracted first, so that nothing overflows.

    Parameters
    ----------
    z : ndarray (m, n)
        float32 or float64.

    Returns
    -------
    p : ndarray (m, n)
        Of z's dtype; rows sum to 1.

    Raises
    ------
    TypeError, ValueError
        If z has another dtype or shape, or is empty.

    References
    ----------
    I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", 2016, sections 4.1 and
    6.2.2.3.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import softmax
    >>> softmax(np.array([[1000.0, 1000.0]]))
    array([[0.5, 0.5]])
    """
    check_floats(z=z)
    check_shape("z", z, ("m", "n"))
    with np.errstate(all="ignore"):
        return LOSSES["softmax_cross_entropy"].values(z)


def softmax_backward(dp: Array, p: Array) -> Array:
    """Gradient of the softmax, ``dz_ij := p_ij (dp_ij - sum_k dp_ik p_ik)``.

    Parameters
    ----------
    dp : ndarray (m, n)
        Gradient of the loss with respect to p, float32 or float64.
    p : ndarray (m, n)
        What `softmax` returned, of dp's dtype.

    Returns
    -------
    dz : ndarray (m, n)
        Of dp's dtype.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype or shape, or is empty.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import softmax_backward
    >>> softmax_backward(np.array([[4.0, 0.0]]), np.array([[0.5, 0.5]]))
    array([[ 1., -1.]])
    """
    check_floats(dp=dp, p=p)
    check_shape("dp", dp, ("m", "n"))
    check_shape("p", p, dp.shape)
    with np.errstate(all="ignore"):
        return reference_activations.softmax_backward(dp, p)


def softmax_cross_entropy(
    z: Array,
    labels: Array,
    sample_weight: Array | None = None,
    label_smoothing: float = 0.0,
) -> tuple[float, Array]:
    """Weighted mean of the rows' cross-entropies, and its gradient.

    ``loss := sum_i w_i l_i / sum_i w_i`` with ``l_i := -sum_j t_ij log softmax(z_i)_j``
    (natural logarithm) and ``t := (1 - s) t0 + s / n``, where t0 is the one-hot row of
    the label, or the soft targets, and s the label smoothing. Then
    ``dz_i := w_i / sum_i w_i (softmax(z_i) sum_j t_ij - t_i)``.

    Parameters
    ----------
    z : ndarray (m, n)
        Raw outputs, float32 or float64.
    labels : ndarray (m,) or (m, n)
        Classes 0 to n-1 of any integer dtype, or soft targets of z's dtype, usually
        with rows that sum to 1.
    sample_weight : ndarray (m,), optional
        Weights w >= 0 of z's dtype, not all 0; 1 if not given.
    label_smoothing : float, default 0.0
        0 to 1.

    Returns
    -------
    loss : float
    dz : ndarray (m, n)
        Of z's dtype.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype, shape or range, or is empty.

    References
    ----------
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
    check_floats(z=z)
    check_shape("z", z, ("m", "n"))
    check_labels(labels, z)
    return _loss(SoftmaxCrossEntropy(label_smoothing), z, labels, sample_weight)


def binary_cross_entropy(
    z: Array, targets: Array, sample_weight: Array | None = None
) -> tuple[float, Array]:
    """Weighted mean of the rows' binary cross-entropies, and its gradient.

    ``loss := sum_i w_i l_i / sum_i w_i`` with
    ``l_i := sum_j max(z_ij, 0) - t_ij z_ij + log(1 + exp(-|z_ij|))``, which is
    ``-sum_j t_ij log p_ij + (1 - t_ij) log(1 - p_ij)`` for ``p := 1 / (1 + exp(-z))``.
    Then ``dz_i := w_i / sum_i w_i (p_i - t_i)``.

    Parameters
    ----------
    z : ndarray (m, n)
        Raw outputs, float32 or float64.
    targets : ndarray (m, n) or (m,)
        t, of z's dtype, usually from 0 to 1; or if n is 1 labels 0 and 1 of any integer
        dtype.
    sample_weight : ndarray (m,), optional
        Weights w >= 0 of z's dtype, not all 0; 1 if not given.

    Returns
    -------
    loss : float
    dz : ndarray (m, n)
        Of z's dtype.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype, shape or range, or is empty.

    References
    ----------
    C. Bishop, "Pattern Recognition and Machine Learning", 2006, section 4.3.2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import binary_cross_entropy
    >>> loss, dz = binary_cross_entropy(np.zeros((1, 1)), np.array([1]))
    >>> round(loss, 6), dz
    (0.693147, array([[-0.5]]))
    """
    check_floats(z=z)
    check_shape("z", z, ("m", "n"))
    check_binary_targets(targets, z)
    return _loss(BinaryCrossEntropy(), z, targets, sample_weight)


def mse(
    z: Array, targets: Array, sample_weight: Array | None = None
) -> tuple[float, Array]:
    """Weighted mean of the rows' mean squared errors, and its gradient.

    ``loss := sum_i w_i l_i / sum_i w_i`` with ``l_i := 1 / n sum_j (z_ij - t_ij)^2``.
    Then ``dz_i := w_i / sum_i w_i 2 / n (z_i - t_i)``.

    Parameters
    ----------
    z : ndarray (m, n)
        Raw outputs, float32 or float64.
    targets : ndarray (m, n)
        t, of z's dtype.
    sample_weight : ndarray (m,), optional
        Weights w >= 0 of z's dtype, not all 0; 1 if not given.

    Returns
    -------
    loss : float
    dz : ndarray (m, n)
        Of z's dtype.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype, shape or range, or is empty.

    References
    ----------
    C. Bishop, "Pattern Recognition and Machine Learning", 2006, section 3.1.1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import mse
    >>> mse(np.array([[1.0, 2.0]]), np.array([[0.0, 0.0]]))
    (2.5, array([[1., 2.]]))
    """
    check_floats(z=z)
    check_shape("z", z, ("m", "n"))
    check_targets(targets, z)
    return _loss(MSE(), z, targets, sample_weight)


def mae(
    z: Array, targets: Array, sample_weight: Array | None = None
) -> tuple[float, Array]:
    """Weighted mean of the rows' mean absolute errors, and its gradient.

    ``loss := sum_i w_i l_i / sum_i w_i`` with ``l_i := 1 / n sum_j |z_ij - t_ij|``.
    Then ``dz_i := w_i / sum_i w_i 1 / n sign(z_i - t_i)``, 0 where they are equal.

    Parameters
    ----------
    z : ndarray (m, n)
        Raw outputs, float32 or float64.
    targets : ndarray (m, n)
        t, of z's dtype.
    sample_weight : ndarray (m,), optional
        Weights w >= 0 of z's dtype, not all 0; 1 if not given.

    Returns
    -------
    loss : float
    dz : ndarray (m, n)
        Of z's dtype.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype, shape or range, or is empty.

    References
    ----------
    C. Bishop, "Pattern Recognition and Machine Learning", 2006, section 1.5.5.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import mae
    >>> mae(np.array([[1.0, -2.0]]), np.array([[0.0, 0.0]]))
    (1.5, array([[ 0.5, -0.5]]))
    """
    check_floats(z=z)
    check_shape("z", z, ("m", "n"))
    check_targets(targets, z)
    return _loss(MAE(), z, targets, sample_weight)


def huber(
    z: Array, targets: Array, sample_weight: Array | None = None, delta: float = 1.0
) -> tuple[float, Array]:
    """Weighted mean of the rows' mean Huber losses, and its gradient.

    ``loss := sum_i w_i l_i / sum_i w_i`` with ``l_i := 1 / n sum_j h(z_ij - t_ij)`` and
    ``h(d) := d^2 / 2`` where ``|d| <= delta``, else ``delta (|d| - delta / 2)``. Then
    ``dz_i := w_i / sum_i w_i 1 / n d_i`` with the d cut to -delta..delta.

    Parameters
    ----------
    z : ndarray (m, n)
        Raw outputs, float32 or float64.
    targets : ndarray (m, n)
        t, of z's dtype.
    sample_weight : ndarray (m,), optional
        Weights w >= 0 of z's dtype, not all 0; 1 if not given.
    delta : float, default 1.0
        1e-30 to 1e30.

    Returns
    -------
    loss : float
    dz : ndarray (m, n)
        Of z's dtype.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype, shape or range, or is empty.

    References
    ----------
    P. Huber, "Robust Estimation of a Location Parameter", 1964.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import huber
    >>> huber(np.array([[0.5, 3.0]]), np.array([[0.0, 0.0]]))
    (1.3125, array([[0.25, 0.5 ]]))
    """
    check_floats(z=z)
    check_shape("z", z, ("m", "n"))
    check_targets(targets, z)
    return _loss(Huber(delta), z, targets, sample_weight)


def poisson(
    z: Array, targets: Array, sample_weight: Array | None = None
) -> tuple[float, Array]:
    """Weighted mean of the rows' Poisson losses, and its gradient.

    z is the logarithm of the rate: ``loss := sum_i w_i l_i / sum_i w_i`` with
    ``l_i := 1 / n sum_j exp(z_ij) - t_ij z_ij``, the negative log-likelihood but for a
    term of t. Then ``dz_i := w_i / sum_i w_i 1 / n (exp(z_i) - t_i)``.

    Parameters
    ----------
    z : ndarray (m, n)
        Raw outputs, float32 or float64.
    targets : ndarray (m, n)
        Counts t >= 0, of z's dtype.
    sample_weight : ndarray (m,), optional
        Weights w >= 0 of z's dtype, not all 0; 1 if not given.

    Returns
    -------
    loss : float
    dz : ndarray (m, n)
        Of z's dtype.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype, shape or range, or is empty.

    References
    ----------
    C. Cameron, P. Trivedi, "Regression Analysis of Count Data", 2nd ed., 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import poisson
    >>> poisson(np.array([[0.0, 0.0]]), np.array([[3.0, 1.0]]))
    (1.0, array([[-1.,  0.]]))
    """
    check_floats(z=z)
    check_shape("z", z, ("m", "n"))
    check_targets(targets, z)
    return _loss(Poisson(), z, targets, sample_weight)


def _loss(
    loss: Loss, z: Array, targets: Array, sample_weight: Array | None
) -> tuple[float, Array]:
    if sample_weight is not None:
        check_sample_weight(sample_weight, z)
    with np.errstate(all="ignore"):
        losses, gradients = LOSSES[loss.name].rows(loss, z, targets)
        total, weight, dz = weigh_rows(losses, gradients, sample_weight)
    return total / weight, dz
