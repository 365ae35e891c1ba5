"""Stateless sigmoids and what they gate, and their gradients.

Each ``<name>_forward`` takes x of any shape, float32 or float64, and returns y of its
shape and dtype; ``<name>_backward`` takes dy, the gradient of the loss wrt y, and what
the derivative is computed from, y or x, and returns the gradient wrt x.
"""

from fastnn._base.types import Array
from fastnn.activations import GELU, GELUTanh, Mish, Sigmoid, SiLU, Tanh

from ._elementwise import elementwise_backward, elementwise_forward

__all__ = [
    "gelu_backward",
    "gelu_forward",
    "gelu_tanh_backward",
    "gelu_tanh_forward",
    "mish_backward",
    "mish_forward",
    "sigmoid_backward",
    "sigmoid_forward",
    "silu_backward",
    "silu_forward",
    "tanh_backward",
    "tanh_forward",
]


def sigmoid_forward(x: Array) -> Array:
    """Logistic function, ``y := 1 / (1 + exp(-x))``.

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
    >>> from fastnn.reference import sigmoid_forward
    >>> sigmoid_forward(np.array([-1e4, 0.0, 1e4]))
    array([0. , 0.5, 1. ])
    """
    return elementwise_forward(Sigmoid(), x)


def sigmoid_backward(dy: Array, y: Array) -> Array:
    """Gradient of the logistic function, ``dx := dy y (1 - y)``.

    Parameters
    ----------
    dy : ndarray
        Gradient of the loss with respect to y, float32 or float64, of any shape.
    y : ndarray
        What `sigmoid_forward` returned, of dy's shape and dtype.

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
    >>> from fastnn.reference import sigmoid_backward
    >>> sigmoid_backward(np.array([4.0]), np.array([0.5]))
    array([1.])
    """
    return elementwise_backward(Sigmoid(), dy, y=y)


def tanh_forward(x: Array) -> Array:
    """Hyperbolic tangent, ``y := tanh(x)``.

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
    I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", 2016, section 6.3.2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import tanh_forward
    >>> tanh_forward(np.array([-1e4, 0.0, 1e4]))
    array([-1.,  0.,  1.])
    """
    return elementwise_forward(Tanh(), x)


def tanh_backward(dy: Array, y: Array) -> Array:
    """Gradient of the hyperbolic tangent, ``dx := dy (1 - y^2)``.

    Parameters
    ----------
    dy : ndarray
        Gradient of the loss with respect to y, float32 or float64, of any shape.
    y : ndarray
        What `tanh_forward` returned, of dy's shape and dtype.

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
    >>> from fastnn.reference import tanh_backward
    >>> tanh_backward(np.array([4.0]), np.array([0.5]))
    array([3.])
    """
    return elementwise_backward(Tanh(), dy, y=y)


def gelu_forward(x: Array) -> Array:
    """Gaussian error linear unit, ``y := x P(x)``.

    ``P(x) := (1 + erf(x / sqrt(2))) / 2`` is the standard normal distribution.

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
    D. Hendrycks, K. Gimpel, "Gaussian Error Linear Units", arXiv 1606.08415.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import gelu_forward
    >>> gelu_forward(np.array([-1.0, 0.0, 2.0])).round(4)
    array([-0.1587,  0.    ,  1.9545])
    """
    return elementwise_forward(GELU(), x)


def gelu_backward(dy: Array, x: Array) -> Array:
    """Gradient of the Gaussian error linear unit, ``dx := dy (P(x) + x P'(x))``.

    ``P(x) := (1 + erf(x / sqrt(2))) / 2``, ``P'(x) = exp(-x^2 / 2) / sqrt(2 pi)``.

    Parameters
    ----------
    dy : ndarray
        Gradient of the loss with respect to y, float32 or float64, of any shape.
    x : ndarray
        What `gelu_forward` was given, of dy's shape and dtype.

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
    >>> from fastnn.reference import gelu_backward
    >>> gelu_backward(np.array([4.0]), np.array([0.0]))
    array([2.])
    """
    return elementwise_backward(GELU(), dy, x=x)


def gelu_tanh_forward(x: Array) -> Array:
    """GELU's approximation, ``y := x (1 + tanh(u)) / 2``.

    ``u := sqrt(2 / pi) (x + 0.044715 x^3)``.

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
    D. Hendrycks, K. Gimpel, "Gaussian Error Linear Units", arXiv 1606.08415.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import gelu_tanh_forward
    >>> gelu_tanh_forward(np.array([-1.0, 0.0, 2.0])).round(4)
    array([-0.1588,  0.    ,  1.9546])
    """
    return elementwise_forward(GELUTanh(), x)


def gelu_tanh_backward(dy: Array, x: Array) -> Array:
    """Gradient of GELU's approximation, ``dx := dy g (1 + 2 x (1 - g) u')``.

    ``g := (1 + tanh(u)) / 2``, ``u := sqrt(2 / pi) (x + 0.044715 x^3)``.

    Parameters
    ----------
    dy : ndarray
        Gradient of the loss with respect to y, float32 or float64, of any shape.
    x : ndarray
        What `gelu_tanh_forward` was given, of dy's shape and dtype.

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
    >>> from fastnn.reference import gelu_tanh_backward
    >>> gelu_tanh_backward(np.array([4.0]), np.array([0.0]))
    array([2.])
    """
    return elementwise_backward(GELUTanh(), dy, x=x)


def silu_forward(x: Array) -> Array:
    """Sigmoid linear unit or swish, ``y := x / (1 + exp(-x))``.

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
    S. Elfwing, E. Uchibe, K. Doya, "Sigmoid-weighted linear units for neural network
    function approximation in reinforcement learning", Neural Networks 107, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import silu_forward
    >>> silu_forward(np.array([-1.0, 0.0, 2.0])).round(4)
    array([-0.2689,  0.    ,  1.7616])
    """
    return elementwise_forward(SiLU(), x)


def silu_backward(dy: Array, x: Array) -> Array:
    """Gradient of the sigmoid linear unit, ``dx := dy g (1 + x (1 - g))``.

    ``g := 1 / (1 + exp(-x))``.

    Parameters
    ----------
    dy : ndarray
        Gradient of the loss with respect to y, float32 or float64, of any shape.
    x : ndarray
        What `silu_forward` was given, of dy's shape and dtype.

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
    >>> from fastnn.reference import silu_backward
    >>> silu_backward(np.array([4.0]), np.array([0.0]))
    array([2.])
    """
    return elementwise_backward(SiLU(), dy, x=x)


def mish_forward(x: Array) -> Array:
    """Mish, ``y := x tanh(log(1 + exp(x)))``.

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
    D. Misra, "Mish: A Self Regularized Non-Monotonic Activation Function", BMVC 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import mish_forward
    >>> mish_forward(np.array([-1.0, 0.0, 2.0])).round(4)
    array([-0.3034,  0.    ,  1.944 ])
    """
    return elementwise_forward(Mish(), x)


def mish_backward(dy: Array, x: Array) -> Array:
    """Gradient of mish, ``dx := dy (t + x (1 - t^2) / (1 + exp(-x)))``.

    ``t := tanh(log(1 + exp(x)))``.

    Parameters
    ----------
    dy : ndarray
        Gradient of the loss with respect to y, float32 or float64, of any shape.
    x : ndarray
        What `mish_forward` was given, of dy's shape and dtype.

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
    >>> from fastnn.reference import mish_backward
    >>> mish_backward(np.array([5.0]), np.array([0.0]))
    array([3.])
    """
    return elementwise_backward(Mish(), dy, x=x)
