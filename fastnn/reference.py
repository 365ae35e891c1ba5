"""The numeric core in NumPy: what the native kernels compute, written to be read.

The functions have the names, arguments, defaults and results of `fastnn.kernels`, up to
rounding, and are what the tests compare those with. They are themselves tested against
hand-worked values, central differences and PyTorch. `Engine` is the native engine's
counterpart.

Each function checks its arguments and leaves the arithmetic to the tables of
`fastnn.reference_tables`. Arrays are float32 or float64, all of one call the same, in
any memory layout unless they are changed in place; letters in shapes are m rows, k
inputs and n outputs. Infinities and NaN pass through without warnings.
"""

from dataclasses import asdict

import numpy as np

from ._arguments import (
    Array,
    check_floats,
    check_labels,
    check_same_shape,
    check_sample_weight,
    check_shape,
    check_update,
)
from ._fields import check_integer, check_name
from .losses import SoftmaxCrossEntropy
from .optimizers import SGD, Adam, AdamW
from .reference_engine import Engine
from .reference_tables import ACTIVATIONS, DERIVATIVES, LOSSES, UPDATES, weigh_rows

__all__ = [
    "Engine",
    "adam_update",
    "adamw_update",
    "dense_backward",
    "dense_forward",
    "momentum_update",
    "nesterov_update",
    "relu_backward",
    "relu_forward",
    "sgd_update",
    "softmax",
    "softmax_cross_entropy",
]


def dense_forward(x: Array, w: Array, b: Array, activation: str = "identity") -> Array:
    """Apply a dense layer, ``y := act(x @ w + b)``.

    Parameters
    ----------
    x : ndarray (m, k)
        Inputs, float32 or float64.
    w : ndarray (k, n)
        Weights, of x's dtype.
    b : ndarray (n,)
        Biases, of x's dtype.
    activation : {"identity", "relu"}, default "identity"

    Returns
    -------
    y : ndarray (m, n)
        Of x's dtype.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype or shape, or is empty.

    References
    ----------
    I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", 2016, algorithm 6.3.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import dense_forward
    >>> x, w, b = np.array([[1.0, 2.0]]), np.array([[3.0], [-4.0]]), np.array([1.0])
    >>> dense_forward(x, w, b)
    array([[-4.]])
    >>> dense_forward(x, w, b, "relu")
    array([[0.]])
    """
    check_name("activation", activation, ACTIVATIONS)
    check_floats(x=x, w=w, b=b)
    check_shape("x", x, ("m", "k"))
    check_shape("w", w, (x.shape[1], "n"))
    check_shape("b", b, (w.shape[1],))
    with np.errstate(all="ignore"):
        return ACTIVATIONS[activation](x @ w + b)


def dense_backward(
    dy: Array,
    x: Array,
    w: Array,
    y: Array | None = None,
    activation: str = "identity",
) -> tuple[Array, Array, Array]:
    """Gradients of a dense layer: ``dz := dy * act'``, then its three products.

    ``dx := dz @ w.T``, ``dw := x.T @ dz``, ``db := sum_i dz_i``.

    Parameters
    ----------
    dy : ndarray (m, n)
        Gradient of the loss with respect to the layer's output, after its activation.
    x : ndarray (m, k)
        Inputs that `dense_forward` had, of dy's dtype.
    w : ndarray (k, n)
        Weights that `dense_forward` had, of dy's dtype.
    y : ndarray (m, n), optional
        What `dense_forward` returned; needed unless the activation is "identity".
    activation : {"identity", "relu"}, default "identity"

    Returns
    -------
    dx : ndarray (m, k)
    dw : ndarray (k, n)
    db : ndarray (n,)
        Of dy's dtype.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype or shape, or is empty, or y is missing.

    References
    ----------
    I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", 2016, algorithm 6.4.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import dense_backward
    >>> x, w, dy = np.array([[1.0, 2.0]]), np.array([[3.0], [-4.0]]), np.array([[0.5]])
    >>> dx, dw, db = dense_backward(dy, x, w)
    >>> dx, dw.T, db
    (array([[ 1.5, -2. ]]), array([[0.5, 1. ]]), array([0.5]))
    """
    check_name("activation", activation, ACTIVATIONS)
    check_floats(dy=dy, x=x, w=w)
    check_shape("dy", dy, ("m", "n"))
    check_shape("x", x, (dy.shape[0], "k"))
    check_shape("w", w, (x.shape[1], dy.shape[1]))
    if y is not None:
        check_floats(dy=dy, y=y)
        check_shape("y", y, dy.shape)
    elif activation != "identity":
        raise ValueError(
            f"y must be the layer's output for activation {activation!r}, got None"
        )
    with np.errstate(all="ignore"):
        dz = dy if y is None else DERIVATIVES[activation](dy, y)
        return dz @ w.T, x.T @ dz, dz.sum(axis=0)


def relu_forward(x: Array) -> Array:
    """Rectified linear unit, ``y := max(x, 0)``.

    Parameters
    ----------
    x : ndarray
        float32 or float64, of any shape.

    Returns
    -------
    y : ndarray
        Of x's shape and dtype.

    Raises
    ------
    TypeError
        If x is not a float32 or float64 array.

    References
    ----------
    V. Nair, G. Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines",
    ICML 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import relu_forward
    >>> relu_forward(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    check_floats(x=x)
    return ACTIVATIONS["relu"](x)


def relu_backward(dy: Array, y: Array) -> Array:
    """Gradient of the rectified linear unit, ``dx := dy if y > 0 else 0``.

    The derivative at 0 is 0.

    Parameters
    ----------
    dy : ndarray
        Gradient of the loss with respect to y, float32 or float64, of any shape.
    y : ndarray
        What `relu_forward` returned (its input gives the same), of dy's shape and
        dtype.

    Returns
    -------
    dx : ndarray
        Of dy's shape and dtype.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype or shape.

    References
    ----------
    V. Nair, G. Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines",
    ICML 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import relu_backward
    >>> relu_backward(np.array([5.0, 5.0]), np.array([0.0, 2.0]))
    array([0., 5.])
    """
    check_floats(dy=dy, y=y)
    check_same_shape(dy=dy, y=y)
    return DERIVATIVES["relu"](dy, y)


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
    if sample_weight is not None:
        check_sample_weight(sample_weight, z)
    spec = SoftmaxCrossEntropy(label_smoothing)
    with np.errstate(all="ignore"):
        losses, gradients = LOSSES[spec.name].rows(spec, z, labels)
        total, weight, dz = weigh_rows(losses, gradients, sample_weight)
    return total / weight, dz


def sgd_update(w: Array, dw: Array, learning_rate: float = 0.01) -> None:
    """Gradient descent in place, ``w := w - lr dw``.

    Parameters
    ----------
    w : ndarray
        Weights, float32 or float64, C-contiguous and writable, of any shape; changed.
    dw : ndarray
        Gradient, of w's shape and dtype.
    learning_rate : float, default 0.01
        Greater than 0.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype, shape, layout or range, or arrays overlap.

    References
    ----------
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
    check_update(w, dw)
    spec = SGD(learning_rate)
    with np.errstate(all="ignore"):
        UPDATES["sgd"].function(w, dw, spec.learning_rate)


def momentum_update(
    w: Array,
    dw: Array,
    velocity: Array,
    learning_rate: float = 0.01,
    momentum: float = 0.9,
) -> None:
    """Gradient descent with momentum, in place.

    ``v := mu v + dw; w := w - lr v``.

    Parameters
    ----------
    w : ndarray
        Weights, float32 or float64, C-contiguous and writable, of any shape; changed.
    dw : ndarray
        Gradient, of w's shape and dtype.
    velocity : ndarray
        v, like w, first zero; changed.
    learning_rate : float, default 0.01
        Greater than 0.
    momentum : float, default 0.9
        mu, 0 up to, not including, 1.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype, shape, layout or range, or arrays overlap.

    References
    ----------
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
    check_update(w, dw, velocity=velocity)
    spec = SGD(learning_rate, momentum)
    with np.errstate(all="ignore"):
        UPDATES["momentum"].function(w, dw, velocity, spec.learning_rate, spec.momentum)


def nesterov_update(
    w: Array,
    dw: Array,
    velocity: Array,
    learning_rate: float = 0.01,
    momentum: float = 0.9,
) -> None:
    """Gradient descent with Nesterov's momentum, in place.

    ``v := mu v + dw; w := w - lr (dw + mu v)``.

    Parameters
    ----------
    w : ndarray
        Weights, float32 or float64, C-contiguous and writable, of any shape; changed.
    dw : ndarray
        Gradient, of w's shape and dtype.
    velocity : ndarray
        v, like w, first zero; changed.
    learning_rate : float, default 0.01
        Greater than 0.
    momentum : float, default 0.9
        mu, 0 up to, not including, 1.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype, shape, layout or range, or arrays overlap.

    References
    ----------
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
    check_update(w, dw, velocity=velocity)
    spec = SGD(learning_rate, momentum)
    with np.errstate(all="ignore"):
        UPDATES["nesterov"].function(w, dw, velocity, spec.learning_rate, spec.momentum)


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
    """Adam in place.

    ``m := b1 m + (1 - b1) dw``, ``v := b2 v + (1 - b2) dw^2``,
    ``w := w - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + epsilon)``.

    Parameters
    ----------
    w : ndarray
        Weights, float32 or float64, C-contiguous and writable, of any shape; changed.
    dw : ndarray
        Gradient, of w's shape and dtype.
    first_moment, second_moment : ndarray
        m and v, like w, first zero; changed.
    step : int
        t, which is 1 for the first update.
    learning_rate : float, default 1e-3
        Greater than 0.
    beta_1, beta_2 : float, default 0.9 and 0.999
        0 up to, not including, 1.
    epsilon : float, default 1e-8
        At least 1e-30.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype, shape, layout or range, or arrays overlap.

    References
    ----------
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
    check_update(w, dw, first_moment=first_moment, second_moment=second_moment)
    step = check_integer("step", step, 1)
    spec = Adam(learning_rate, beta_1, beta_2, epsilon)
    with np.errstate(all="ignore"):
        UPDATES["adam"].function(
            w, dw, first_moment, second_moment, step, **asdict(spec)
        )


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
    """Adam with decoupled weight decay, in place.

    ``w := (1 - lr * weight_decay) w``, then `adam_update`.

    Parameters
    ----------
    w : ndarray
        Weights, float32 or float64, C-contiguous and writable, of any shape; changed.
    dw : ndarray
        Gradient, of w's shape and dtype.
    first_moment, second_moment : ndarray
        m and v, like w, first zero; changed.
    step : int
        t, which is 1 for the first update.
    learning_rate : float, default 1e-3
        Greater than 0.
    beta_1, beta_2 : float, default 0.9 and 0.999
        0 up to, not including, 1.
    epsilon : float, default 1e-8
        At least 1e-30.
    weight_decay : float, default 0.01
        At least 0.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype, shape, layout or range, or arrays overlap.

    References
    ----------
    I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019,
    algorithm 2, in PyTorch's form.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import adamw_update
    >>> w, m, v = np.ones(1), np.zeros(1), np.zeros(1)
    >>> adamw_update(w, np.zeros(1), m, v, 1, learning_rate=0.5, weight_decay=0.5)
    >>> w
    array([0.75])
    """
    check_update(w, dw, first_moment=first_moment, second_moment=second_moment)
    step = check_integer("step", step, 1)
    spec = AdamW(learning_rate, beta_1, beta_2, epsilon, weight_decay)
    with np.errstate(all="ignore"):
        UPDATES["adamw"].function(
            w, dw, first_moment, second_moment, step, **asdict(spec)
        )
