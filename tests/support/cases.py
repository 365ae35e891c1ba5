"""Short trainings, one for each part of the vocabulary, that must have the same bits.

Also run in processes of other instruction sets: see `test_same_bits`.
"""

import hashlib
import sys
import warnings
from dataclasses import replace

import numpy as np
from activations import ACTIVATIONS
from engines import arrays_of, data_for, make_engine, snapshot, train
from samples import EXTRAS, LOSSES, OPTIMIZERS, SCHEDULES

from fastnn import (
    BatchNorm,
    Dense,
    Dropout,
    Embedding,
    LayerNorm,
    ParametricActivation,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    Scale,
)

# Layers that are split by panels and layers that are split by rows, ragged panels, and
# enough work that the cost model uses many threads: as in test_determinism.py.
LARGE = (150, 300, 90, 33)
SMALL = (21, 37, 18, 11)  # for instruction sets, one of which is slow
ROWS = {LARGE: (96, 2 * 96 + 17), SMALL: (32, 2 * 32 + 17)}  # of a batch, of all


def dense(activation, sizes, n_outputs=3):
    n_inputs, first, second, _ = sizes
    return [n_inputs, Dense(first, activation), Dense(second, activation), n_outputs]


def everything(sizes):
    """Every kind of layer; no bias below the batch norm, see samples.py."""
    n_inputs, first, second, third = sizes
    return [
        n_inputs,
        Dense(first, use_bias=False),
        BatchNorm("gelu", momentum=0.2),
        Dropout(0.3),
        Dense(second, "softplus"),
        LayerNorm("mish"),
        Scale(0.9),
        Dense(third, "tanh", trainable=False),
        BatchNorm("leaky_relu", trainable=False),
        Dropout(0.1, seed=7),
        Dense(second, "softmax"),
        Dense(3),
    ]


def factors(sizes, optimizer):
    """Of what the optimizer has, different for weights and biases."""
    n_inputs, first, second, _ = sizes
    epsilons = (3.0, 0.2) if hasattr(optimizer, "epsilon") else 1.0
    return [
        n_inputs,
        Scale(rate_factors=2.0, decay_factors=0.5),
        Dense(first, "tanh", rate_factors=(0.5, 0.1), epsilon_factors=epsilons),
        LayerNorm("gelu", rate_factors=(0, 2), decay_factors=(0.3, 1)),
        Dense(second, "tanh", rate_factors=0, epsilon_factors=epsilons),
        Dense(3, rate_factors=0.7, decay_factors=(0.5, 2)),
    ]


# More columns than a panel has, and inputs behind them.
EMBEDDED = {
    "periodic": lambda sizes: [
        sizes[0],
        PeriodicEmbedding(5, 4, columns=sizes[0] - 2),
        Dense(sizes[2], "tanh"),
        Dense(3),
    ],
    "piecewise linear": lambda sizes: [
        sizes[0],
        PiecewiseLinearEmbedding([[-1, 0, 0.1, 2], [-1, 1]] * (sizes[0] // 2 - 1), 5),
        Dense(sizes[2]),
        ParametricActivation("gelu"),
        Dense(3),
    ],
    "categories": lambda sizes: [
        sizes[0],
        Embedding([7, 2, 30], 19),
        Dense(sizes[2]),
        ParametricActivation("selu"),
        Dense(3),
    ],
}


def cases():
    """Name: a function of the sizes to layers, loss and optimizer."""
    momentum, some = OPTIMIZERS["momentum"], "softmax_cross_entropy"
    found = {}
    for name, activation in ACTIVATIONS.items():
        found[f"activation {name}"] = (
            lambda sizes, a=activation: dense(a, sizes), some, momentum
        )  # fmt: skip
    for name, (_, n_outputs) in LOSSES.items():
        found[f"loss {name}"] = (
            lambda sizes, n=n_outputs: dense("tanh", sizes, n), name, momentum
        )  # fmt: skip
    for name, optimizer in OPTIMIZERS.items():
        found[f"optimizer {name}"] = (lambda s: dense("tanh", s), some, optimizer)
        found[f"layers and optimizer {name}"] = (
            everything,
            some,
            replace(optimizer, **EXTRAS["all"]),
        )
        found[f"factors and optimizer {name}"] = (
            lambda sizes, o=optimizer: factors(sizes, o),
            some,
            replace(optimizer, weight_decay=0.1),
        )
    for name, build in EMBEDDED.items():
        found[f"embedding {name}"] = (build, some, OPTIMIZERS["adam"])
    found["schedules of decay and dropout"] = (
        lambda sizes: [
            *dense("tanh", sizes)[:2],
            Dropout(SCHEDULES["flat_cosine"]),
            Dense(sizes[2], "gelu"),
            Dropout(0.1),
            3,
        ],
        some,
        replace(OPTIMIZERS["adamw"], weight_decay=SCHEDULES["exponential"]),
    )
    for name in ("cosine", "warmup"):
        optimizer = replace(momentum, learning_rate=SCHEDULES[name])
        found[f"schedule {name}"] = (everything, some, optimizer)
    return found


CASES = cases()


def engine_of(case, sizes, dtype, threads=None):
    layers, name, optimizer = CASES[case]
    engine = make_engine(
        "native",
        layers(sizes),
        num_threads=threads,
        dtype=dtype,
        loss=LOSSES[name][0],
        optimizer=optimizer,
    )
    return engine, data_for(engine, ROWS[sizes][1], name, weighted=True)


def results(case, sizes, dtype, threads=None, epochs=1, **options):
    """All that a training leaves behind, as arrays."""
    engine, data = engine_of(case, sizes, dtype, threads)
    order = np.random.default_rng(1).permutation(len(data[0]))
    batch_size = ROWS[sizes][0]
    totals = train(engine, *data, order, batch_size, epochs, **options)
    return [
        *arrays_of(snapshot(engine)),
        totals,
        engine.forward(data[0]),
        np.array(engine.evaluate(*data)),
    ]


if __name__ == "__main__":  # python cases.py dtype file: digests, and the arrays
    warnings.simplefilter("error")
    dtype, file = sys.argv[1:]
    arrays = {}
    for case in CASES:
        for accumulate in (1, 2):
            found = results(case, SMALL, dtype, accumulate=accumulate)
            digest = hashlib.sha256(b"".join(a.tobytes() for a in found)).hexdigest()
            print(f"{digest} {case} {accumulate}")
            for i, array in enumerate(found):
                arrays[f"{case} {accumulate} {i}"] = array
    np.savez(file, **arrays)
