"""Every activation, a row each with all that the tests know of it.

A new activation is a new row: the tests of both lanes, of the exporters and PyTorch's
twins of networks take them from here. `softmax`, a function of a row, has tests of its
own.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from fastnn import ELU, LeakyReLU
from fastnn.activations import Activation, as_activation
from fastnn.reference._activations import saves_input

INF = math.inf
SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772  # of SELU


class Row(NamedTuple):
    activation: str | Activation
    limits: tuple[float, float]  # of y, at -inf and at inf
    slopes: tuple[float, float]  # of y' there
    # (torch.nn.functional, z) -> y
    torch: Callable[[Any, Any], Any]
    # (mpmath, x) -> y and y', by definition
    exact: Callable[[Any, Any], tuple[Any, Any]]
    # x and y at points, and y and y' at points, worked by hand
    values: Mapping[float, float] = MappingProxyType({})
    derivatives: Mapping[float, float] = MappingProxyType({})

    @property
    def saves_input(self) -> bool:
        return saves_input(self.activation)

    @property
    def parameter(self) -> float:
        return as_activation(self.activation).parameter

    def both(self, lane, x, dy):
        """y and dx of a lane, with saved what training would save."""
        y = lane.activation_forward(x, self.activation)
        saved = x if self.saves_input else y
        return y, lane.activation_backward(dy, saved, self.activation)


def leaky_relu(activation, slope):
    return Row(
        activation, (-INF, INF), (slope, 1),
        lambda f, z: f.leaky_relu(z, slope),
        lambda m, x: (slope * x, slope) if x <= 0 else (x, 1),
        values={-2: -2 * slope, 0: 0, 3: 3},
        derivatives={-2: slope, 0: slope, 3: 1},
    )  # fmt: skip


def elu(activation, alpha):
    return Row(
        activation, (-alpha, INF), (0, 1),
        lambda f, z: f.elu(z, alpha),
        lambda m, x: (alpha * m.expm1(x), alpha * m.exp(x)) if x <= 0 else (x, 1),
        values={0: 0, 3: 3},
        derivatives={-0.5: alpha - 0.5, 0: alpha, 3: 1},
    )  # fmt: skip


def sigmoid(m, x):
    return 1 / (1 + m.exp(-x))


def gelu_tanh(m, x):
    u, du = (m.sqrt(2 / m.pi) * w for w in (
        x + m.mpf(0.044715) * x**3, 1 + 3 * m.mpf(0.044715) * x**2
    ))  # fmt: skip
    gate = sigmoid(m, 2 * u)  # (1 + tanh(u)) / 2, also where that cancels
    return x * gate, gate + 2 * x * du * gate / (1 + m.exp(2 * u))


def mish(m, x):
    softplus = m.log1p(m.exp(x))
    t = m.tanh(softplus)
    return x * t, t + x * sigmoid(m, x) * m.sech(softplus) ** 2


ROWS = {
    "identity": Row(
        "identity", (-INF, INF), (1, 1), lambda f, z: z, lambda m, x: (x, 1)
    ),
    "relu": Row(
        "relu", (0, INF), (0, 1),
        lambda f, z: f.relu(z),
        lambda m, x: (0, 0) if x <= 0 else (x, 1),
        values={-2: 0, 0: 0, 3: 3},
        derivatives={-2: 0, 0: 0, 3: 1},
    ),
    "leaky_relu": leaky_relu("leaky_relu", 0.01),
    "leaky_relu 0.3": leaky_relu(LeakyReLU(0.3), 0.3),
    "sigmoid": Row(
        "sigmoid", (0, 1), (0, 0),
        lambda f, z: f.sigmoid(z),
        lambda m, x: (sigmoid(m, x), sigmoid(m, x) / (1 + m.exp(x))),
        values={0: 0.5},
        derivatives={0.5: 0.25, 0.25: 0.1875},
    ),
    "tanh": Row(
        "tanh", (-1, 1), (0, 0),
        lambda f, z: f.tanh(z),
        lambda m, x: (m.tanh(x), m.sech(x) ** 2),
        values={0: 0},
        derivatives={0.5: 0.75, -0.5: 0.75},
    ),
    "elu": elu("elu", 1.0),
    "elu 1.7": elu(ELU(1.7), 1.7),
    "selu": Row(
        "selu", (-SCALE * ALPHA, INF), (0, SCALE),
        lambda f, z: f.selu(z),
        lambda m, x: (SCALE * ALPHA * m.expm1(x), SCALE * ALPHA * m.exp(x))
        if x <= 0 else (SCALE * x, SCALE),
    ),
    "gelu": Row(
        "gelu", (0, INF), (0, 1),
        lambda f, z: f.gelu(z),
        lambda m, x: (x * m.ncdf(x), m.ncdf(x) + x * m.npdf(x)),
        derivatives={0: 0.5},
    ),
    "gelu_tanh": Row(
        "gelu_tanh", (0, INF), (0, 1),
        lambda f, z: f.gelu(z, approximate="tanh"),
        gelu_tanh,
        derivatives={0: 0.5},
    ),
    "silu": Row(
        "silu", (0, INF), (0, 1),
        lambda f, z: f.silu(z),
        lambda m, x: (x * sigmoid(m, x), sigmoid(m, x) * (1 + x / (1 + m.exp(x)))),
        derivatives={0: 0.5},
    ),
    "mish": Row("mish", (0, INF), (0, 1), lambda f, z: f.mish(z), mish),
    "softplus": Row(
        "softplus", (0, INF), (0, 1),
        # PyTorch takes softplus for the identity above a threshold, which is 20.
        lambda f, z: f.softplus(z, threshold=700),
        lambda m, x: (m.log1p(m.exp(x)), sigmoid(m, x)),
        derivatives={math.log(2): 0.5},
    ),
}  # fmt: skip

# All that a layer may have. With other parameters than the default as well: one that is
# ignored would not be missed.
ACTIVATIONS = {name: row.activation for name, row in ROWS.items()}
ACTIVATIONS["softmax"] = "softmax"
