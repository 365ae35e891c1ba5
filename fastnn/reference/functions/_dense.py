"""The stateless dense layer and its gradients.

x (m, k) are inputs, w (k, n) weights, b (n,) biases and dy (m, n) the gradient of the
loss with respect to the layer's output, after its activation: a name of
`fastnn.activations.ACTIVATIONS`, or an object such as LeakyReLU(0.1). Arrays are
float32 or float64, all of one call the same, with at least one element.

``TypeError`` or ``ValueError`` says which argument has another dtype or shape.
"""

import numpy as np

from fastnn._base.types import Array
from fastnn._plan.functions import check_floats, check_shape
from fastnn.activations import Activation, as_activation
from fastnn.reference._activations import activate, activation_gradient, saves_input

__all__ = ["dense_backward", "dense_forward"]


def dense_forward(
    x: Array, w: Array, b: Array, activation: str | Activation = "identity"
) -> Array:
    """Apply a dense layer, ``y := act(x @ w + b)``, and return y (m, n).

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
    activation = as_activation(activation)
    check_floats(x=x, w=w, b=b)
    check_shape("x", x, ("m", "k"))
    check_shape("w", w, (x.shape[1], "n"))
    check_shape("b", b, (w.shape[1],))
    with np.errstate(all="ignore"):
        return activate(activation, x @ w + b)


def dense_backward(
    dy: Array,
    x: Array,
    w: Array,
    y: Array | None = None,
    activation: str | Activation = "identity",
) -> tuple[Array, Array, Array]:
    """Gradients of a dense layer: ``dz := dy * act'``, then its three products.

    ``dx := dz @ w.T``, ``dw := x.T @ dz``, ``db := sum_i dz_i``; they are returned in
    this order. y (m, n) is what the activation's derivative is computed from: what
    `dense_forward` returned, but ``x @ w + b`` for "gelu", "gelu_tanh", "silu" and
    "mish". "identity" does not need it. I. Goodfellow, Y. Bengio, A. Courville, "Deep
    Learning", 2016, algorithm 6.4.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import dense_backward
    >>> x, w, dy = np.array([[1.0, 2.0]]), np.array([[3.0], [-4.0]]), np.array([[0.5]])
    >>> dx, dw, db = dense_backward(dy, x, w)
    >>> dx, dw.T, db
    (array([[ 1.5, -2. ]]), array([[0.5, 1. ]]), array([0.5]))
    """
    activation = as_activation(activation)
    check_floats(dy=dy, x=x, w=w)
    check_shape("dy", dy, ("m", "n"))
    check_shape("x", x, (dy.shape[0], "k"))
    check_shape("w", w, (x.shape[1], dy.shape[1]))
    if y is not None:
        check_floats(dy=dy, y=y)
        check_shape("y", y, dy.shape)
    elif activation.name != "identity":
        what = "x @ w + b" if saves_input(activation) else "the layer's output"
        raise ValueError(
            f"y must be {what} for activation {activation.name!r}, got None"
        )
    with np.errstate(all="ignore"):
        dz = dy if y is None else activation_gradient(activation, dy, y)
        return dz @ w.T, x.T @ dz, dz.sum(axis=0)
