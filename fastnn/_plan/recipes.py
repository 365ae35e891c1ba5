"""Recipes for tables: which network, optimizer and length of training suit one.

A recipe is data and trains nothing: `_core/training/recipe.py` does, for the tabular
estimators of `fastnn.sklearn` and for the command line. Its inputs are those of
`Schema.encode` with the encoding "robust", its targets classes 0, 1, ... or numbers of
mean 0 and deviation 1. The figures behind each choice are in docs/tables.md.
"""

from __future__ import annotations

from typing import Any

from fastnn._base.frozen import dataclass
from fastnn.initializers import Normal
from fastnn.layers import (
    Dense,
    Dropout,
    Layer,
    ParametricActivation,
    PeriodicEmbedding,
    Scale,
)
from fastnn.losses import MSE, Loss, SoftmaxCrossEntropy
from fastnn.optimizers import Adam, AdamW, Optimizer
from fastnn.schedules import Constant, CosLog, FlatCosine, OneCycle, Schedule

__all__ = ["MAX_CATEGORIES", "RECIPES", "RealMLP", "Recipe", "Size", "Variant"]

MAX_CATEGORIES = 256  # of a column: of 142 countries, those left out by 100 cost .04


@dataclass(frozen=True)
class Size:
    """What a recipe depends on."""

    n_rows: int  # of the training
    n_inputs: int
    n_numeric: int  # the first inputs are numbers
    n_classes: int = 0  # 0: the target is a number
    loss: Loss | None = None  # of a number, instead of the squared error


@dataclass(frozen=True)
class Recipe:
    """The arguments of `Network`, the epochs and the batch size of `Network.fit`."""

    layers: tuple[int | Layer, ...]
    loss: Loss
    optimizer: Optimizer  # its schedule is as long as the training
    epochs: int
    batch_size: int
    # Of the rows, to choose the best epoch by; None: the last one is taken.
    held_out: float | None = None
    fits_start: bool = False  # initial dense weights are fitted to the rows


@dataclass(frozen=True)
class Variant:
    """A multilayer perceptron, and how to train it."""

    weight_decay: float = 0.0
    dropout: float = 0.0
    # Of the initial frequencies of the periodic embedding of numbers: how fast the
    # answer may change with one column.
    sigma: float = 0.1
    frequencies: int = 16  # 0: no embedding
    learning_rate: float = 2e-3  # the largest of the schedule
    beta_2: float = 0.95
    schedule: str = "one_cycle"  # or constant
    label_smoothing: float = 0.1
    width: int = 256
    depth: int = 3
    activations: tuple[str, str] = ("selu", "mish")  # for classes, for numbers
    batch_size: int = 128
    epochs: int = 64  # but no more than see this number of rows:
    row_epochs: int = 240_000

    def of(self, size: Size, length: float = 1.0) -> Recipe:
        """Return the recipe for a table, its training as long as a share of it."""
        layers: list[Any] = [size.n_inputs]
        if self.frequencies and size.n_numeric:
            layers.append(
                PeriodicEmbedding(
                    self.frequencies, columns=size.n_numeric, sigma=self.sigma
                )
            )
        activation = self.activations[0 if size.n_classes else 1]
        for _ in range(self.depth):
            layers.append(Dense(self.width, activation))
            if self.dropout:
                layers.append(Dropout(self.dropout))
        loss = self._loss(size)
        layers.append(Dense(size.n_classes or loss.outputs_per_target))
        batch_size = min(self.batch_size, size.n_rows)
        epochs = min(self.epochs, self.row_epochs / size.n_rows) * length
        epochs = max(1, round(epochs))
        schedule: Schedule = Constant(self.learning_rate)
        if self.schedule not in ("one_cycle", "constant"):
            raise ValueError(
                f"schedule is {self.schedule!r}; expected 'one_cycle' or 'constant'"
            )
        if self.schedule == "one_cycle":
            steps = epochs * -(-size.n_rows // batch_size)
            schedule = OneCycle(self.learning_rate, steps)
        optimizer = AdamW(schedule, beta_2=self.beta_2, weight_decay=self.weight_decay)
        return Recipe(tuple(layers), loss, optimizer, epochs, batch_size)

    def _loss(self, size: Size) -> Loss:
        if size.n_classes:
            return SoftmaxCrossEntropy(self.label_smoothing)
        return size.loss or MSE()


@dataclass(frozen=True)
class RealMLP(Variant):
    """RealMLP-TD-S of Holzmüller et al., "Better by Default", NeurIPS 2024.

    Its layer ``x W / sqrt(n) + b`` of W ~ N(0, 1) is dense with weights
    ``V = W / sqrt(n)``, for which Adam's rate is / sqrt(n), and epsilon * sqrt(n).
    With `is_whole`, and what goes with it, RealMLP-TD.
    """

    is_whole: bool = False  # parametric activations, and a start fitted to the rows
    rates: tuple[float, float] = (0.04, 0.07)  # for classes, for numbers
    frequencies: int = 0
    held_out: float = 0.2
    batch_size: int = 256
    epochs: int = 256

    def of(self, size: Size, length: float = 1.0) -> Recipe:
        """Return the recipe for a table; no batch is short."""
        loss, of_values = self._loss(size), not size.n_classes
        n_rows = size.n_rows - int(size.n_rows * self.held_out)
        batch_size = -(-n_rows // max(1, n_rows // self.batch_size))
        epochs = max(1, round(self.epochs * length))
        steps = epochs * -(-n_rows // batch_size)

        n = size.n_inputs
        layers: list[Any] = [n]
        if self.frequencies and size.n_numeric:
            embedding = PeriodicEmbedding(
                self.frequencies,
                columns=size.n_numeric,
                sigma=self.sigma,
                **self._paced(0.1),
            )
            layers.append(embedding)
            n = embedding.n_outputs(n)
        layers.append(Scale(**self._paced(6.0)))
        activation = self.activations[of_values]
        inside = "identity" if self.is_whole else activation
        biases: Any = "zeros" if self.is_whole else Normal()
        for _ in range(self.depth):
            layers.append(self._dense(n, self.width, inside, "lecun_normal", biases))
            if self.is_whole:
                layers.append(ParametricActivation(activation, **self._paced(0.1)))
            if self.dropout:
                layers.append(Dropout(FlatCosine(self.dropout, steps)))
            n = self.width
        n_outputs = size.n_classes or loss.outputs_per_target
        last = "lecun_normal" if self.is_whole else "zeros"
        layers.append(self._dense(n, n_outputs, "identity", last, "zeros"))
        decay = FlatCosine(self.weight_decay, steps) if self.weight_decay else 0.0
        optimizer = Adam(
            CosLog(self.rates[of_values], steps), beta_2=self.beta_2, weight_decay=decay
        )
        return Recipe(
            tuple(layers), loss, optimizer, epochs, batch_size, self.held_out,
            self.is_whole,
        )  # fmt: skip

    def _dense(self, n: int, units: int, *how: Any) -> Dense:
        return Dense(
            units,
            *how,
            rate_factors=(n**-0.5, 0.1),
            epsilon_factors=(n**0.5, 1.0),
            decay_factors=n**0.5 if self.weight_decay else 1.0,
        )

    def _paced(self, factor: float) -> dict[str, Any]:
        """The factor of the rate; the authors' code takes it for the decay, too."""
        decay: Any = (factor, factor) if self.weight_decay else 0.0
        return {"rate_factors": factor, "decay_factors": decay}


# Each recipe has variants, of which the table decides: a strict one, for tables that
# are mostly noise, comes first, then a free one, for those that can be learnt exactly.
RECIPES: dict[str, tuple[Variant, ...]] = {
    "default": (
        Variant(weight_decay=1.0, dropout=0.2, sigma=0.1),
        Variant(weight_decay=0.3, dropout=0.0, sigma=0.3, learning_rate=4e-3),
    ),
    "realmlp-s": (RealMLP(),),
    "realmlp": (
        RealMLP(
            weight_decay=0.02,
            dropout=0.15,
            is_whole=True,
            rates=(0.04, 0.2),
            frequencies=16,
        ),
    ),
}
