"""Stateless dropout and normalisations, and their gradients.

x and y are (m, n), scale and shift (n,), and dy (m, n) is the gradient of the loss with
respect to y. Arrays are float32 or float64, all of one call the same, with at least one
element; epsilon is at least 1e-12.

``TypeError`` or ``ValueError`` says which argument has another dtype, shape or range.
"""

import numpy as np

from fastnn._base.fields import BELOW_1, check_integer, check_number
from fastnn._base.types import Array
from fastnn._plan.functions import check_floats, check_norm, check_shape
from fastnn.reference._layers import dropout_factor, normalize, normalize_backward

__all__ = [
    "batch_norm_backward",
    "batch_norm_forward",
    "dropout",
    "layer_norm_backward",
    "layer_norm_forward",
]


def dropout(x: Array, rate: float, key: int, step: int) -> Array:
    """Set a random share of the values to 0, ``y := x * mask / (1 - rate)``.

    The mask is a hash of the key, the step, the row and the column, and keeps a value
    with the probability 1 - rate; rate is 0 up to, not including, 1. Each key has masks
    of its own, and one for each step, the number of updates done before; both are 0 to
    2**64 - 1. Dropout is its own gradient: ``dx := dropout(dy, ...)``.

    N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting", JMLR 15, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import dropout
    >>> dropout(np.ones((2, 4)), 0.5, key=1, step=0)
    array([[2., 0., 2., 0.],
           [2., 2., 2., 0.]])
    """
    check_floats(x=x)
    check_shape("x", x, ("m", "n"))
    rate = check_number("rate", rate, *BELOW_1)
    key = check_integer("key", key, 0, 2**64 - 1)
    step = check_integer("step", step, 0, 2**64 - 1)
    m, n = x.shape
    with np.errstate(all="ignore"):
        return x * dropout_factor((m, n), x.dtype, rate, key, step)


def batch_norm_forward(
    x: Array, scale: Array, shift: Array, epsilon: float = 1e-5
) -> tuple[Array, Array, Array]:
    """Normalise each column over the rows, and give it a new scale and shift.

    ``y := scale * (x - mean) / sqrt(variance + epsilon) + shift``. Returns y, mean and
    variance (n,); the variance is the biased one.

    S. Ioffe, C. Szegedy, "Batch Normalization: Accelerating Deep Network Training by
    Reducing Internal Covariate Shift", ICML 2015, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import batch_norm_forward
    >>> x = np.array([[1.0, 2.0], [3.0, 6.0]])
    >>> y, mean, variance = batch_norm_forward(x, np.ones(2), np.zeros(2))
    >>> y.round(3), mean, variance
    (array([[-1., -1.],
           [ 1.,  1.]]), array([2., 4.]), array([1., 4.]))
    """
    epsilon = check_norm(epsilon, x=x, scale=scale, shift=shift)
    with np.errstate(all="ignore"):
        normal = normalize(x, 0, epsilon)
        y = scale * normal.values + shift
        return y, normal.mean[0].astype(x.dtype), normal.variance[0].astype(x.dtype)


def batch_norm_backward(
    dy: Array, x: Array, scale: Array, epsilon: float = 1e-5
) -> tuple[Array, Array, Array]:
    """Gradients of `batch_norm_forward`, through mean and variance as well.

    With ``N := (x - mean) / s``, ``s := sqrt(variance + epsilon)``, ``dN := dy scale``
    and means over the rows: ``dx := (dN - mean(dN) - N mean(dN N)) / s``,
    ``dscale := sum_i dy_i N_i``, ``dshift := sum_i dy_i``, returned in this order.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import batch_norm_backward
    >>> dy, x = np.array([[1.0], [0.0]]), np.array([[1.0], [3.0]])
    >>> dx, dscale, dshift = batch_norm_backward(dy, x, np.ones(1))
    >>> dscale.round(3), dshift
    (array([-1.]), array([1.]))
    """
    return _norm_backward(dy, x, scale, epsilon, 0)


def layer_norm_forward(
    x: Array, scale: Array, shift: Array, epsilon: float = 1e-5
) -> Array:
    """Normalise each row over its columns, and give columns a scale and shift.

    ``y := scale * (x - mean) / sqrt(variance + epsilon) + shift``.

    J. Ba, J. Kiros, G. Hinton, "Layer Normalization", arXiv 1607.06450.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import layer_norm_forward
    >>> x = np.array([[1.0, 3.0], [2.0, 6.0]])
    >>> layer_norm_forward(x, np.ones(2), np.zeros(2)).round(3)
    array([[-1.,  1.],
           [-1.,  1.]])
    """
    epsilon = check_norm(epsilon, x=x, scale=scale, shift=shift)
    with np.errstate(all="ignore"):
        return scale * normalize(x, 1, epsilon).values + shift


def layer_norm_backward(
    dy: Array, x: Array, scale: Array, epsilon: float = 1e-5
) -> tuple[Array, Array, Array]:
    """Gradients of `layer_norm_forward`, through mean and variance as well.

    As for `batch_norm_backward`, but with means over the row.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import layer_norm_backward
    >>> dy, x = np.array([[1.0, 0.0]]), np.array([[1.0, 3.0]])
    >>> dx, dscale, dshift = layer_norm_backward(dy, x, np.ones(2))
    >>> dscale.round(3), dshift
    (array([-1.,  0.]), array([1., 0.]))
    """
    return _norm_backward(dy, x, scale, epsilon, 1)


def _norm_backward(
    dy: Array, x: Array, scale: Array, epsilon: float, axis: int
) -> tuple[Array, Array, Array]:
    epsilon = check_norm(epsilon, dy=dy, x=x, scale=scale)
    with np.errstate(all="ignore"):
        normal = normalize(x, axis, epsilon)
        dx = normalize_backward(dy * scale, normal, axis)
        return dx, (dy * normal.values).sum(axis=0), dy.sum(axis=0)
