"""Stateless activations and their gradients.

``<name>_forward`` takes x and returns y, a new array of x's shape and dtype;
``<name>_backward`` takes dy, the gradient of the loss with respect to y, and what the
derivative is computed from, of dy's shape and dtype, and returns the gradient with
respect to x, like dy. Arrays are float32 or float64, of any shape; those of the softmax
are matrices (m, n) with at least one element, because it is a function of a row. The
equations and sources of the activations are those of `fastnn.activations`.

``TypeError`` or ``ValueError`` says which argument has another dtype or shape.
"""

import numpy as np

from fastnn._base.types import Array
from fastnn._plan.functions import check_floats, check_same_shape, check_shape
from fastnn.activations import Activation, as_activation
from fastnn.reference import _activations as tables

__all__ = [
    "activation_backward",
    "activation_forward",
    "relu_backward",
    "relu_forward",
    "softmax",
    "softmax_backward",
]


def activation_forward(x: Array, activation: str | Activation) -> Array:
    """Apply an activation, ``y := act(x)``.

    The activation is a name of `fastnn.activations.ACTIVATIONS`, or an object such as
    LeakyReLU(0.1).

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import LeakyReLU
    >>> from fastnn.reference import activation_forward
    >>> activation_forward(np.array([-1e4, 0.0, 1e4]), "sigmoid")
    array([0. , 0.5, 1. ])
    >>> activation_forward(np.array([-1.0, 2.0]), LeakyReLU(0.5))
    array([-0.5,  2. ])
    """
    spec = as_activation(activation)
    check_floats(x=x)
    if spec.name == "softmax":
        check_shape("x", x, ("m", "n"))
    with np.errstate(all="ignore"):
        return np.array(tables.activate(spec, x), x.dtype)


def activation_backward(dy: Array, saved: Array, activation: str | Activation) -> Array:
    """Gradient of an activation, ``dx := dy act'``; of the softmax, that of its rows.

    The array saved is what `activation_forward` returned, but what it was given for
    "gelu", "gelu_tanh", "silu" and "mish". At a kink the derivative is that of the
    negative side.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import LeakyReLU
    >>> from fastnn.reference import activation_backward
    >>> activation_backward(np.array([4.0]), np.array([0.5]), "sigmoid")
    array([1.])
    >>> dy, y = np.array([5.0, 5.0]), np.array([0.0, 2.0])
    >>> activation_backward(dy, y, LeakyReLU(0.5))
    array([2.5, 5. ])
    """
    return _backward(activation, dy, saved=saved)


def relu_forward(x: Array) -> Array:
    """Rectified linear unit, ``y := max(x, 0)``.

    V. Nair, G. Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines",
    ICML 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import relu_forward
    >>> relu_forward(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    return activation_forward(x, "relu")


def relu_backward(dy: Array, y: Array) -> Array:
    """Gradient of the rectified linear unit, ``dx := dy if y > 0 else 0``.

    The input in place of the output y gives the same. The derivative at 0 is 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import relu_backward
    >>> relu_backward(np.array([5.0, 5.0]), np.array([0.0, 2.0]))
    array([0., 5.])
    """
    return _backward("relu", dy, y=y)


def softmax(z: Array) -> Array:
    """Probabilities from raw outputs, ``p_ij := exp(z_ij) / sum_j exp(z_ij)``.

    Each row's maximum is subtracted first, so that nothing overflows. I. Goodfellow,
    Y. Bengio, A. Courville, "Deep Learning", 2016, sections 4.1 and 6.2.2.3.

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
        return tables.softmax(z)


def softmax_backward(dp: Array, p: Array) -> Array:
    """Gradient of the softmax, ``dz_ij := p_ij (dp_ij - sum_k dp_ik p_ik)``.

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
        return tables.softmax_backward(dp, p)


def _backward(activation: str | Activation, dy: Array, **saved: Array) -> Array:
    """The gradient, from an array that errors call by its keyword."""
    spec = as_activation(activation)
    (array,) = saved.values()
    check_floats(dy=dy, **saved)
    check_same_shape(dy=dy, **saved)
    if spec.name == "softmax":
        check_shape("dy", dy, ("m", "n"))
    with np.errstate(all="ignore"):
        return np.array(tables.activation_gradient(spec, dy, array), dy.dtype)
