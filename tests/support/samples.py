"""What tests train: every loss, optimizer, schedule and kind of layer.

The activations are in `activations`.
"""

from fastnn import (
    MAE,
    MSE,
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    BatchNorm,
    BinaryCrossEntropy,
    Dense,
    Dropout,
    Embedding,
    Focal,
    GaussianNLL,
    Hinge,
    Huber,
    LayerNorm,
    Lion,
    NAdam,
    ParametricActivation,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    Poisson,
    Quantile,
    RMSprop,
    Scale,
    SoftmaxCrossEntropy,
)
from fastnn.schedules import (
    Constant,
    Cosine,
    CosLog,
    Exponential,
    FlatCosine,
    InverseTime,
    OneCycle,
    Polynomial,
    Scaled,
    Step,
    Warmup,
)

# Name: the loss, and its number of outputs.
LOSSES = {
    "softmax_cross_entropy": (SoftmaxCrossEntropy(), 3),
    "softmax_cross_entropy, smooth and soft": (SoftmaxCrossEntropy(0.1), 3),
    "binary_cross_entropy, labels": (BinaryCrossEntropy(), 1),
    "binary_cross_entropy, many": (BinaryCrossEntropy(), 3),
    "mse": (MSE(), 3),
    "mae": (MAE(), 3),
    "huber": (Huber(0.4), 3),
    "poisson": (Poisson(), 3),
    "quantile": (Quantile((0.2, 0.5, 0.9)), 6),
    "gaussian_nll": (GaussianNLL(0.1), 4),
    "focal": (Focal(1.5), 3),
    "focal, labels 0 and 1": (Focal(0.5), 1),
    "hinge": (Hinge(), 3),
    "hinge, labels 0 and 1": (Hinge(), 1),
}

# Every update rule.
OPTIMIZERS = {
    "sgd": SGD(0.1),
    "momentum": SGD(0.05, 0.9),
    "nesterov": SGD(0.05, 0.9, nesterov=True),
    "rmsprop": RMSprop(3e-3, 0.9, 1e-6),
    "adagrad": AdaGrad(0.05),
    "adam": Adam(1e-2, 0.8, 0.99, 1e-6),
    "adam, epsilon hat": Adam(1e-2, 0.8, 0.99, 1e-4, epsilon_hat=True),
    "adamw": AdamW(1e-2),
    "nadam": NAdam(1e-2, 0.8, 0.99, 1e-6, momentum_decay=0.01),
    "lion": Lion(1e-3, 0.8, 0.95),
}

# What any of them may have besides its rule. The limits are such that they are reached
# in some updates, and in others not: `test_lanes` looks.
EXTRAS = {
    "plain": {},
    "weight_decay": dict(weight_decay=0.1),
    "l1": dict(l1=1e-2),
    "l2": dict(l2=1e-1),
    "clip_value": dict(clip_value=2e-2),
    "clip_norm": dict(clip_norm=0.2),
    "max_norm": dict(max_norm=0.9),
    "all": dict(
        weight_decay=0.1, l1=1e-3, l2=1e-2, clip_value=0.1, clip_norm=0.3, max_norm=1.0
    ),
}

SCHEDULES = {
    "constant": Constant(0.05),
    "step": Step(0.1, 7, 0.8),
    "exponential": Exponential(0.1, 9, 0.7),
    "inverse_time": InverseTime(0.1, 0.05),
    "polynomial": Polynomial(0.1, 90, 2.0, 1e-3),
    "cosine": Cosine(0.1, 13, 1e-3, 1.5),
    "one_cycle": OneCycle(0.1, 95),
    "cos_log": CosLog(0.1, 95, 3),
    "flat_cosine": FlatCosine(0.1, 80, 0.3, 1e-3),
    "warmup": Warmup(Step(0.1, 20, 0.5), 15, 0.1),
    "scaled": Scaled(Exponential(0.1, 9, 0.7), 0.5),
}

# Edges of three columns, one of them with a single bin.
BINS = ([-1.0, -0.3, 0.2, 1.1], [-0.5, 0.5], [-2.0, 0.0, 1.0])

# A dense layer below a batch norm has no bias, whose gradient would be 0 but for
# roundings: an optimizer that divides by its size would make steps of noise.
NETWORKS = {
    "flat": [4, Dense(3)],
    "deep": [3, Dense(7, "tanh"), Dense(1, "tanh"), Dense(6, "tanh"), Dense(3)],
    "no bias": [5, Dense(19, "tanh", use_bias=False), Dense(3, use_bias=False)],
    "dropout": [5, Dropout(0.2), Dense(19, "relu"), Dropout(0.5), Dense(3)],
    "batch norm": [5, Dense(19, use_bias=False), BatchNorm("relu"), Dense(3)],
    "batch norm first": [5, BatchNorm(momentum=0.3), Dense(19, "relu"), Dense(3)],
    "layer norm": [5, Dense(19), LayerNorm("gelu"), Dense(3)],
    "layer norm last": [5, Dense(19, "tanh"), Dense(3), LayerNorm(epsilon=1e-3)],
    "frozen dense": [5, Dense(19, "tanh", trainable=False), Dense(7, "relu"), 3],
    "frozen above": [5, Dense(19, "tanh"), Dense(7, "relu", trainable=False), 3],
    "frozen norms": [
        5,
        Dense(19),
        BatchNorm("relu", trainable=False),
        LayerNorm(trainable=False),
        Dense(3),
    ],
    "scale first": [5, Scale(), Dense(19, "tanh"), Dense(3)],
    "scales": [5, Dropout(0.1), Scale(0.7), Dense(19, "gelu"), Scale(1.3), Scale(), 3],
    "frozen scale": [5, Dense(19, "tanh"), Scale(0.7, trainable=False), Dense(3)],
    "scale last": [5, Dense(19, "tanh"), Dense(3), Scale(1.5)],
    "dropout by schedule": [
        5,
        Dropout(FlatCosine(0.4, 60)),
        Dense(19, "tanh"),
        Dropout(0.1),
        Dense(3),
        Dropout(CosLog(0.3, 90, 2)),
    ],
    "dropout last": [5, Dense(19, "tanh"), Dense(3), Dropout(0.3)],
    "dropout twice": [5, Dense(19, "gelu"), Dropout(0.3), Dropout(0.2), Dense(3)],
    "norm on norm": [5, Dense(9, "tanh"), BatchNorm(), LayerNorm("softmax"), Dense(3)],
    "narrow": [5, Dense(1, use_bias=False), BatchNorm("tanh"), Dense(2, "gelu"), 3],
    "frozen all": [5, Dense(7, "tanh", trainable=False), Dense(3, trainable=False)],
    "factors": [
        5,
        Scale(rate_factors=2.0, decay_factors=0.5),
        Dense(19, "tanh", rate_factors=(0.5, 0.1), decay_factors=(0.5, 2)),
        LayerNorm(rate_factors=(0, 2), decay_factors=(1, 1)),
        Dense(7, "gelu", rate_factors=0),
        Dense(3, rate_factors=0.7, decay_factors=0),
    ],
    "periodic": [5, PeriodicEmbedding(4, 3, columns=3), Dense(9, "tanh"), Dense(3)],
    "periodic above": [5, Dense(7, "tanh"), PeriodicEmbedding(3), Dense(6, "tanh"), 3],
    "piecewise linear": [5, PiecewiseLinearEmbedding(BINS, 3), Dense(9, "tanh"), 3],
    "piecewise linear above": [
        5,
        Dense(7, "tanh"),
        PiecewiseLinearEmbedding(BINS, 17),
        Dense(6, "tanh"),
        Dense(3),
    ],
    "categories": [5, Embedding([4, 1, 2], 3), Dense(9, "tanh"), Dense(3)],
    "columns of all kinds": [
        6,
        PeriodicEmbedding(3, 2, columns=2),
        PiecewiseLinearEmbedding(BINS, 2),
        Embedding([5, 3]),
        Dense(9),
        ParametricActivation("tanh"),
        Dense(3),
    ],
    "parametric": [
        5,
        Dense(19),
        ParametricActivation("mish"),
        Dense(7, "tanh"),
        ParametricActivation("sigmoid"),
        Dense(3),
    ],
    "frozen embeddings": [
        5,
        PiecewiseLinearEmbedding(BINS, 3, trainable=False),
        Embedding([4, 2], 2, trainable=False),
        Dense(9),
        ParametricActivation("gelu", trainable=False),
        Dense(3),
    ],
    "periodic frozen": [
        5,
        Dense(6, "relu"),
        PeriodicEmbedding(2, 2, 3, trainable=False),
        Dense(3),
    ],
    "everything": [
        5,
        Dense(17, use_bias=False),
        BatchNorm("gelu", momentum=0.2),
        Dropout(0.3),
        Dense(9, "softplus"),
        LayerNorm("mish"),
        Scale(0.9),
        Dense(7, "tanh", trainable=False),
        Dropout(0.1, seed=7),
        Dense(8, "softmax"),
        Dense(3),
    ],
}
