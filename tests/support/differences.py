"""Random arrays, and gradients by central differences to check analytic ones with."""

import numpy as np


def arrays(seed, *shapes, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def soft_targets(seed, m, n):
    t = np.random.default_rng(seed).random((m, n)) + 0.1
    return t / t.sum(axis=1, keepdims=True)


# Central differences: a float64 gradient is right if it is within 1e-6 of them, of the
# larger of the two, plus 1e-9 for their own rounding (epsilon 1e-5).


def differences(function, array, epsilon=1e-5):
    """Gradient of a function of no arguments wrt an array it reads."""
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + epsilon
        above = function()
        array[index] = value - epsilon
        below = function()
        array[index] = value
        gradient[index] = (above - below) / (2 * epsilon)
    return gradient


def parameter_differences(model, loss, epsilon=1e-5):
    """Gradients of loss() wrt all parameters of a network or an engine, as a list."""
    weights = model.get_weights()

    def moved():
        model.set_weights(weights)
        return loss()

    found = [differences(moved, array, epsilon) for pair in weights for array in pair]
    model.set_weights(weights)
    return found


def error(analytic, numeric):
    """The largest difference, in units of what is allowed."""
    allowed = 1e-6 * np.maximum(abs(analytic), abs(numeric)) + 1e-9
    return (abs(analytic - numeric) / allowed).max()


def is_gradient(analytic, numeric):
    return bool(error(analytic, numeric) <= 1)
