"""Stateless rectifiers and their relatives, and their gradients.

Each ``<name>_forward`` takes x of any shape, float32 or float64, and returns y of its
shape and dtype; ``<name>_backward`` takes dy, the gradient of the loss wrt y, and what
the derivative is computed from, y or x, and returns the gradient wrt x.
"""

from fastnn._base.types import Array
from fastnn.activations import ELU, SELU, LeakyReLU, ReLU, Softplus

from ._elementwise import elementwise_backward, elementwise_forward

__all__ = [
    "elu_backward",
    "elu_forward",
    "leaky_relu_backward",
    "leaky_relu_forward",
    "relu_backward",
    "relu_forward",
    "selu_backward",
    "selu_forward",
    "softplus_backward",
    "softplus_forward",
]


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
    return elementwise_forward(ReLU(), x)


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

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import relu_backward
    >>> relu_backward(np.array([5.0, 5.0]), np.array([0.0, 2.0]))
    array([0., 5.])
    """
    return elementwise_backward(ReLU(), dy, y=y)


def leaky_relu_forward(x: Array, slope: float = 0.01) -> Array:
    """Leaky rectified unit, ``y := x if x > 0 else slope * x``.

    Parameters
    ----------
    x : ndarray
        float32 or float64, of any shape.
    slope : float, default 0.01
        0 up to, not including, 2**16.

    Returns
    -------
    y : ndarray
        Of x's shape and dtype.

    Raises
    ------
    TypeError, ValueError
        If x is not a float32 or float64 array, or slope is out of range.

    References
    ----------
    A. Maas, A. Hannun, A. Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic
    Models", ICML 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import leaky_relu_forward
    >>> leaky_relu_forward(np.array([-1.0, 2.0]), slope=0.5)
    array([-0.5,  2. ])
    """
    return elementwise_forward(LeakyReLU(slope), x)


def leaky_relu_backward(dy: Array, y: Array, slope: float = 0.01) -> Array:
    """Gradient of the leaky unit, ``dx := dy if y > 0 else slope * dy``.

    The derivative at 0 is the slope.

    Parameters
    ----------
    dy : ndarray
        Gradient of the loss with respect to y, float32 or float64, of any shape.
    y : ndarray
        What `leaky_relu_forward` returned (its input gives the same), of dy's shape and
        dtype.
    slope : float, default 0.01
        0 up to, not including, 2**16.

    Returns
    -------
    dx : ndarray
        Of dy's shape and dtype.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype, shape or range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import leaky_relu_backward
    >>> leaky_relu_backward(np.array([5.0, 5.0]), np.array([0.0, 2.0]), slope=0.5)
    array([2.5, 5. ])
    """
    return elementwise_backward(LeakyReLU(slope), dy, y=y)


def elu_forward(x: Array, alpha: float = 1.0) -> Array:
    """Exponential linear unit, ``y := x if x > 0 else alpha * (exp(x) - 1)``.

    Parameters
    ----------
    x : ndarray
        float32 or float64, of any shape.
    alpha : float, default 1.0
        Greater than 0, less than 2**16.

    Returns
    -------
    y : ndarray
        Of x's shape and dtype.

    Raises
    ------
    TypeError, ValueError
        If x is not a float32 or float64 array, or alpha is out of range.

    References
    ----------
    D. Clevert, T. Unterthiner, S. Hochreiter, "Fast and Accurate Deep Network Learning
    by Exponential Linear Units", ICLR 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import elu_forward
    >>> elu_forward(np.array([-np.inf, 0.0, 2.0]))
    array([-1.,  0.,  2.])
    """
    return elementwise_forward(ELU(alpha), x)


def elu_backward(dy: Array, y: Array, alpha: float = 1.0) -> Array:
    """Gradient of the exponential unit, ``dx := dy if y > 0 else dy (y + alpha)``.

    Parameters
    ----------
    dy : ndarray
        Gradient of the loss with respect to y, float32 or float64, of any shape.
    y : ndarray
        What `elu_forward` returned, of dy's shape and dtype.
    alpha : float, default 1.0
        Greater than 0, less than 2**16.

    Returns
    -------
    dx : ndarray
        Of dy's shape and dtype.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype, shape or range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import elu_backward
    >>> elu_backward(np.array([5.0, 5.0]), np.array([-0.5, 2.0]))
    array([2.5, 5. ])
    """
    return elementwise_backward(ELU(alpha), dy, y=y)


def selu_forward(x: Array) -> Array:
    """Self-normalising unit, ``y := s x if x > 0 else s a (exp(x) - 1)``.

    s = 1.0507009873554805 and a = 1.6732632423543772.

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
    G. Klambauer et al., "Self-Normalizing Neural Networks", NIPS 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import selu_forward
    >>> selu_forward(np.array([-1.0, 2.0])).round(4)
    array([-1.1113,  2.1014])
    """
    return elementwise_forward(SELU(), x)


def selu_backward(dy: Array, y: Array) -> Array:
    """Gradient of the self-normalising unit, ``dx := dy s if y > 0 else dy (y + s a)``.

    s = 1.0507009873554805 and a = 1.6732632423543772.

    Parameters
    ----------
    dy : ndarray
        Gradient of the loss with respect to y, float32 or float64, of any shape.
    y : ndarray
        What `selu_forward` returned, of dy's shape and dtype.

    Returns
    -------
    dx : ndarray
        Of dy's shape and dtype.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype or shape.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import selu_backward
    >>> selu_backward(np.array([1.0, 1.0]), np.array([-1.0, 2.0])).round(4)
    array([0.7581, 1.0507])
    """
    return elementwise_backward(SELU(), dy, y=y)


def softplus_forward(x: Array) -> Array:
    """Smooth rectifier, ``y := log(1 + exp(x))``.

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
    I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", 2016, section 3.10.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import softplus_forward
    >>> softplus_forward(np.array([-1e4, 0.0, 100.0])).round(4)
    array([  0.    ,   0.6931, 100.    ])
    """
    return elementwise_forward(Softplus(), x)


def softplus_backward(dy: Array, y: Array) -> Array:
    """Gradient of the smooth rectifier, ``dx := dy (1 - exp(-y))``, the logistic of x.

    Parameters
    ----------
    dy : ndarray
        Gradient of the loss with respect to y, float32 or float64, of any shape.
    y : ndarray
        What `softplus_forward` returned, of dy's shape and dtype.

    Returns
    -------
    dx : ndarray
        Of dy's shape and dtype.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype or shape.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import softplus_backward
    >>> softplus_backward(np.array([4.0]), np.log(np.array([2.0])))
    array([2.])
    """
    return elementwise_backward(Softplus(), dy, y=y)
