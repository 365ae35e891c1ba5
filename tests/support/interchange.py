"""Networks of every activation, loss, dtype and layer, for what exchanges them."""

import numpy as np

from fastnn import (
    ELU,
    BatchNorm,
    Dense,
    Dropout,
    Focal,
    Huber,
    LayerNorm,
    LeakyReLU,
    Network,
    Quantile,
    Scale,
)
from fastnn.activations import ACTIVATIONS

# With other parameters than the default: one that is ignored would not be missed.
EACH_ACTIVATION = [*ACTIVATIONS, LeakyReLU(0.3), ELU(1.7)]

# (loss, number of outputs)
EACH_LOSS = [
    ("softmax_cross_entropy", 3),
    ("binary_cross_entropy", 1),
    ("binary_cross_entropy", 3),
    ("mse", 3),
    ("mae", 1),
    (Huber(0.3), 2),
    ("poisson", 3),
    (Quantile((0.2, 0.9)), 4),
    ("gaussian_nll", 2),
    (Focal(1.5), 3),
    ("focal", 1),
    ("hinge", 3),
    ("hinge", 1),
]

# Inputs as they are, scaled little, and shifted by so much that folding would not do.
EACH_SCALING = [(1, 0), (0.7, 0.2), (0.5, 100.0)]

N_INPUTS = 6


def plain_layers(activation, n_outputs):
    return [N_INPUTS, Dense(19, activation), Dense(n_outputs)]


def all_layers(activation, n_outputs):
    return [
        N_INPUTS,
        BatchNorm(),
        Dense(19),
        BatchNorm(activation),
        Dropout(0.3),
        Dense(17, activation, use_bias=False),
        BatchNorm(epsilon=1e-3),
        LayerNorm(activation, epsilon=1e-3),
        Scale(),
        Dense(n_outputs),
    ]


def make_net(layers, seed=0, **arguments):
    """A network of which no array is 0 or 1."""
    net = Network(layers, seed=seed, **arguments)
    rng = np.random.default_rng(seed)
    weights, statistics = net._model.get_parameters()
    pairs = []
    for i, (first, second) in zip(net.plan.parametric_layers, weights, strict=True):
        if first.ndim == 1:
            first = 1 + rng.normal(size=first.shape) / 4
        use_bias = getattr(net.plan.layers[i], "use_bias", True)
        pairs.append((first, rng.normal(size=second.shape) / 4 * use_bias))
    net.set_weights(pairs)
    net._model.engine.set_statistics(
        [
            pair
            and (
                (rng.normal(size=pair[0].shape) / 3).astype(net.dtype),
                (0.5 + rng.random(pair[0].shape)).astype(net.dtype),
            )
            for pair in statistics
        ]
    )
    return net


def make_rows(net, n=100, seed=1):
    """Rows that are about standard normal once they are scaled."""
    X = np.random.default_rng(seed).normal(size=(n, net.plan.n_inputs))
    scale, shift = net._model.scaling
    if scale is not None:
        X = (X - shift) / scale
    return X.astype(net.dtype)


def all_nets(layers, scalings=EACH_SCALING, dtypes=("float32", "float64")):
    """Every activation with every loss, and each scaling and dtype in turn."""
    for i, activation in enumerate(EACH_ACTIVATION):
        for j, (loss, n_outputs) in enumerate(EACH_LOSS):
            for dtype in dtypes:
                scale, shift = scalings[(i + j) % len(scalings)]
                yield make_net(
                    layers(activation, n_outputs),
                    loss=loss,
                    dtype=dtype,
                    input_scale=scale,
                    input_shift=shift,
                )
