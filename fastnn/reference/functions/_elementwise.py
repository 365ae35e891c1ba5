"""What the stateless activations share: checks, and NumPy's warnings silenced."""

import numpy as np

from fastnn._base.types import Array
from fastnn._plan.functions import check_floats, check_same_shape
from fastnn.activations import Activation
from fastnn.reference._activations import activate, activation_gradient


def elementwise_forward(activation: Activation, x: Array) -> Array:
    """Return ``y := act(x)`` of any shape."""
    check_floats(x=x)
    with np.errstate(all="ignore"):
        return np.asarray(activate(activation, x), x.dtype)


def elementwise_backward(activation: Activation, dy: Array, **saved: Array) -> Array:
    """Return ``dx := dy * act'``, from x or y, by that name."""
    (array,) = saved.values()
    check_floats(dy=dy, **saved)
    check_same_shape(dy=dy, **saved)
    with np.errstate(all="ignore"):
        return np.asarray(activation_gradient(activation, dy, array), dy.dtype)
