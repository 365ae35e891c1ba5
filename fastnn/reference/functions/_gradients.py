"""Stateless updates of gradient descent and its scaled forms.

``w`` and its state are C-contiguous and writable, and no two arrays share memory; a
call that raises has changed nothing.
"""

from fastnn._base.types import Array
from fastnn.optimizers import SGD, AdaGrad, RMSprop

from ._update import update

__all__ = [
    "adagrad_update",
    "lookahead_update",
    "momentum_update",
    "nesterov_update",
    "rmsprop_update",
    "sgd_update",
]


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
    update("sgd", SGD(learning_rate), w, dw)


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
    update("momentum", SGD(learning_rate, momentum), w, dw, velocity=velocity)


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
    update("nesterov", SGD(learning_rate, momentum), w, dw, velocity=velocity)


def lookahead_update(
    w: Array,
    dw: Array,
    velocity: Array,
    learning_rate: float = 0.01,
    momentum: float = 0.9,
) -> None:
    """Gradient descent with Nesterov's momentum in the look-ahead form, in place.

    ``v := mu v - lr dw; w := w + mu v - lr dw``: w is the point ``W + mu v`` at which
    Nesterov takes the gradient.

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
    Y. Nesterov, "A method of solving a convex programming problem with convergence rate
    O(1/k^2)", 1983.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import lookahead_update
    >>> w, v = np.array([1.0]), np.array([2.0])
    >>> lookahead_update(w, np.array([1.0]), v, learning_rate=0.5, momentum=0.5)
    >>> w, v
    (array([0.75]), array([0.5]))
    """
    update("lookahead", SGD(learning_rate, momentum), w, dw, velocity=velocity)


def rmsprop_update(
    w: Array,
    dw: Array,
    mean_square: Array,
    learning_rate: float = 0.01,
    rho: float = 0.99,
    epsilon: float = 1e-8,
) -> None:
    """A step scaled by a running mean of the gradient's square, in place.

    ``s := rho s + (1 - rho) dw^2; w := w - lr dw / (sqrt(s) + epsilon)``.

    Parameters
    ----------
    w : ndarray
        Weights, float32 or float64, C-contiguous and writable, of any shape; changed.
    dw : ndarray
        Gradient, of w's shape and dtype.
    mean_square : ndarray
        s, like w, first zero; changed.
    learning_rate : float, default 0.01
        Greater than 0.
    rho : float, default 0.99
        0 up to, not including, 1.
    epsilon : float, default 1e-8
        At least 1e-30.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype, shape, layout or range, or arrays overlap.

    References
    ----------
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
    update(
        "rmsprop", RMSprop(learning_rate, rho, epsilon), w, dw, mean_square=mean_square
    )


def adagrad_update(
    w: Array,
    dw: Array,
    sum_of_squares: Array,
    learning_rate: float = 0.01,
    epsilon: float = 1e-10,
) -> None:
    """A step scaled by the sum of the squares of all gradients so far, in place.

    ``s := s + dw^2; w := w - lr dw / (sqrt(s) + epsilon)``.

    Parameters
    ----------
    w : ndarray
        Weights, float32 or float64, C-contiguous and writable, of any shape; changed.
    dw : ndarray
        Gradient, of w's shape and dtype.
    sum_of_squares : ndarray
        s, like w, first zero; changed.
    learning_rate : float, default 0.01
        Greater than 0.
    epsilon : float, default 1e-10
        At least 1e-30.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype, shape, layout or range, or arrays overlap.

    References
    ----------
    J. Duchi, E. Hazan, Y. Singer, "Adaptive Subgradient Methods for Online Learning and
    Stochastic Optimization", JMLR 12, 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import adagrad_update
    >>> w, s = np.array([1.0]), np.array([9.0])
    >>> adagrad_update(w, np.array([4.0]), s, learning_rate=0.5)
    >>> w.round(6), s
    (array([0.6]), array([25.]))
    """
    update(
        "adagrad", AdaGrad(learning_rate, epsilon), w, dw, sum_of_squares=sum_of_squares
    )
