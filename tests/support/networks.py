"""Networks of every kind of layer on the NumPy engine, and data for them."""

import numpy as np

from fastnn._core.model.seeds import initial_weights
from fastnn._plan.plan import make_plan
from fastnn.activations import LeakyReLU
from fastnn.layers import BatchNorm, Dense, Dropout, LayerNorm
from fastnn.optimizers import SGD, AdaGrad, Adam, AdamW, Lion, NAdam, RMSprop
from fastnn.reference import Engine

OPTIMIZERS = [
    SGD(0.1),
    SGD(0.1, 0.9),
    SGD(0.1, 0.9, nesterov=True),
    SGD(0.1, 0.9, nesterov="lookahead"),
    RMSprop(1e-2),
    AdaGrad(0.1),
    Adam(1e-2),
    AdamW(1e-2, weight_decay=0.1),
    NAdam(1e-2),
    Lion(1e-2),
]

# Every kind of layer, with activations of every kind: saved input, saved output, rows.
ALL = (
    Dense(6, "tanh"),
    BatchNorm("gelu", momentum=0.3, epsilon=1e-3),
    Dropout(0.4),
    Dense(5, LeakyReLU(0.2), use_bias=False),
    LayerNorm("silu", epsilon=1e-3),
    Dropout(0.2),
    BatchNorm(),
    Dense(4, "softmax"),
    Dense(3),
)
KEYS = (0, 0, 2**63 + 5, 0, 0, 17, 0, 0, 0)


def make_engine(layers=ALL, seed=0, keys=None, n_inputs=4, **arguments):
    arguments.setdefault("dtype", "float64")
    plan = make_plan([n_inputs, *layers], **arguments)
    if keys is None:
        keys = KEYS if layers == ALL else range(1, len(layers) + 1)
    engine = Engine(plan, dropout_keys=keys)
    rng = np.random.default_rng(seed)
    pairs = []
    for index, (W, b) in zip(
        plan.parametric_layers, initial_weights(plan, seed), strict=True
    ):
        layer = plan.layers[index]
        if isinstance(layer, Dense):
            b = rng.normal(size=b.shape) / 10 * layer.use_bias
        else:
            W, b = 1 + rng.normal(size=b.shape) / 5, rng.normal(size=b.shape) / 5
        pairs.append((W, b))
    engine.set_weights(pairs)
    engine.set_statistics(
        [
            pair and (rng.normal(size=pair[0].shape), 1 + rng.random(pair[0].shape))
            for pair in engine.get_statistics()
        ]
    )
    return engine


def make_data(engine, n=20, seed=0, labels=False):
    """X, and targets that the loss can have."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, engine.plan.n_inputs))
    shape = (n, engine.plan.n_outputs)
    if labels:
        return X, rng.integers(engine.plan.n_classes, size=n)
    y = rng.random(shape)
    if engine.plan.loss.name == "softmax_cross_entropy":
        y /= y.sum(axis=1, keepdims=True)
    return X, y


def snapshot(engine):
    """All state of an engine, that of batch norms too."""
    statistics = [pair for pair in engine.get_statistics() if pair is not None]
    state = engine.get_optimizer_state()
    return [engine.get_weights(), state, statistics, np.array(engine.step)]
