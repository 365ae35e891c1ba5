"""Networks small enough to be worked by hand, and gradients by central differences."""

import numpy as np
from differences import parameter_differences

import fastnn
from fastnn import Dense, Network

# The same functions of both lanes.
KERNELS = {"native": fastnn.kernels, "numpy": fastnn.reference}

DTYPES = ["float32", "float64"]


def layer(weights, activation="identity", biases=None, **options):
    """A dense layer that starts with these weights (n_in, n_out)."""
    weights = np.atleast_2d(np.asarray(weights, dtype=float))
    units = weights.shape[1]
    biases = np.zeros(units) if biases is None else biases
    return Dense(units, activation, weights, biases, **options)


def line(backend, weight, bias=None, *, loss="mse", dtype="float64", **options):
    """z = weight * x, plus a bias if one is given."""
    one = layer([[weight]], biases=[bias or 0.0], use_bias=bias is not None)
    return Network([1, one], loss=loss, dtype=dtype, backend=backend, seed=0, **options)


def slopes(backend, activation, z, dtype="float64"):
    """The derivatives of an activation at z (n,), from a whole network's gradient.

    The inputs are z itself, and the one output is the sum of the activations. Its
    derivative of mean squared error is made 1, so that each bias has the derivative of
    its unit.
    """
    n = len(z)
    net = Network(
        [n, layer(np.eye(n), activation), layer(np.ones((n, 1)))],
        loss="mse",
        dtype=dtype,
        backend=backend,
        seed=0,
    )
    output = float(net.predict([z])[0, 0])
    _, gradients = net.loss_and_gradients([z], [[output - 0.5]])
    return gradients[0][1]


def random_biases(net, seed=1):
    """Give a network biases that are not 0, which would hide mistakes."""
    rng = np.random.default_rng(seed)
    net.set_weights(
        [(W, 0.3 * rng.standard_normal(b.shape)) for W, b in net.get_weights()]
    )
    return net


def central_differences(net, X, y):
    """The gradient of the reported loss."""
    return parameter_differences(net, lambda: net.evaluate(X, y)["loss"], 1e-6)


def gradients_of(net, X, y):
    """The gradients of a network as one list of arrays."""
    return [array for pair in net.loss_and_gradients(X, y)[1] for array in pair]


def largest_error(arrays, expected):
    """The largest absolute difference of two lists of arrays."""
    return max(
        float(np.abs(np.float64(a) - np.float64(b)).max())
        for a, b in zip(arrays, expected, strict=True)
    )
