"""Networks, rates, data and figures of the experiments.

The gradients of fastnn are means over the mini-batch, and its `mse` is the mean over
the outputs. Some experiments were stated for half the sum of squares of a sample
("half-MSE"): `half_mse_rate` gives the rate that makes the same steps.
"""

import numpy as np

from fastnn import Dense, Network, datasets
from fastnn.initializers import Normal, VarianceScaling

SEEDS = range(10)

HE = "he_normal"
UNIT = Normal(1.0)
TENTH = Normal(0.1)
HUNDREDTH = Normal(0.01)
# The default of torch.nn.Linear: uniform between +-1 / sqrt(n_in).
TORCH = VarianceScaling(1 / 3, distribution="uniform")


def half_mse_rate(rate, n_outputs=1):
    """The rate for `mse` whose steps are those of `rate` for half-MSE."""
    return rate * n_outputs / 2


def dense_layers(
    sizes, hidden, output="identity", *, weights=HE, biases="zeros", use_bias=True
):
    """The number of inputs, and dense layers that all start in the same way."""
    activations = [hidden] * (len(sizes) - 2) + [output]
    return [
        sizes[0],
        *(
            Dense(units, activation, weights, biases, use_bias=use_bias)
            for units, activation in zip(sizes[1:], activations, strict=True)
        ),
    ]


def regressor(layers, optimizer, seed, dtype="float64"):
    return Network(layers, loss="mse", optimizer=optimizer, dtype=dtype, seed=seed)


def one_hot(labels, n_classes, dtype="float64"):
    return np.eye(n_classes, dtype=dtype)[labels]


def largest_error(net, X, y):
    return float(np.abs(net.predict(X) - y).max())


def class_accuracy(net, X, labels):
    """The share of rows whose largest output is that of their class."""
    return float((net.predict(X).argmax(axis=1) == labels).mean())


def fit_per_sample(net, X, y, epochs):
    net.fit(X, y, epochs=epochs, batch_size=1, verbose=0)
    return net


def fit_full_batch(net, X, y, steps):
    """One update per epoch; the order of the rows has no meaning then."""
    return net.fit(X, y, epochs=steps, batch_size=len(X), shuffle=False, verbose=0)


def fresh_spirals(seed, n_per_class=1000):
    """3000 points from the distribution of ``spirals(seed=seed)``, not among them."""
    return datasets.spirals(n_per_class, seed=seed + 1000)


def count(conditions):
    return int(np.sum(list(conditions)))
