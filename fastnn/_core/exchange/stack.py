"""A network built from what other software has: layer by layer, then at once.

What is no layer of fastnn's becomes part of one: an activation that of the layer before
it, a factor or a summand the weights of that layer. Where there is no such layer, a
`BatchNorm` stands in whose statistics change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._core.model.seeds import parse_seed
from fastnn._core.model.state import ModelState, Progress
from fastnn._plan.inputs import as_parameter, check_input_scaling, check_weights
from fastnn._plan.plan import make_plan, parse_optimizer
from fastnn._plan.targets import TargetScaling, parse_target_scaling
from fastnn.activations import Activation, as_activation, short_form
from fastnn.layers import BatchNorm, Dense, Dropout, Layer, LayerNorm, Scale
from fastnn.losses import LOSSES, Loss

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from fastnn._base.types import Array
    from fastnn._plan.plan import Plan
    from fastnn.optimizers import Optimizer


__all__ = ["LayerStack", "Options", "loss_of_ending", "loss_problem"]

# A sum before a product is not taken for one after it if that would be larger, where it
# would cancel what the product makes: (x - 2000) * 0.1.
_LARGEST_SHIFT = 2.0
_NEUTRAL = 1e-12  # the smallest epsilon; 1 / sqrt(1 + it) is made up for by the scale


@dataclass
class _Entry:
    """A layer and its arrays; those of a dense layer may still have no bias."""

    layer: Any
    first: Array | None = None
    second: Array | None = None
    statistics: tuple[Array, Array] | None = None

    def can_take(self, kinds: tuple[type[Layer], ...]) -> bool:
        return isinstance(self.layer, kinds) and self.layer.activation == "identity"


class Options:
    """The settings of a network besides its layers and loss, checked."""

    def __init__(
        self, optimizer: str | Optimizer, dtype: DTypeLike | None, seed: int | None
    ) -> None:
        self.optimizer = parse_optimizer(optimizer)
        self.dtype = dtype
        if dtype is not None:
            make_plan([1, 1], "mse", "sgd", dtype)
        self.seed = parse_seed(seed)


class LayerStack:
    """Takes layers in their order; `state` has the network of them.

    Methods raise ValueError for arrays that do not fit, without a name: callers know
    what they are called.
    """

    def __init__(
        self,
        n_inputs: int | None = None,
        charge: Callable[[int], None] = lambda n_bytes: None,
    ) -> None:
        """`charge` is told of memory before it is taken, and may raise."""
        self.n_inputs = n_inputs
        self._charge = charge
        self.dtype = "float32"  # or float64, if a product has that
        self.width = n_inputs  # columns of what has been added; None: not known
        self._scaling: tuple[Array, Array] | None = None
        self.limits: tuple[Array, Array] | None = None
        self._entries: list[_Entry] = []

    @property
    def last_activation(self) -> str:
        """The name of the activation that ends it."""
        layer = self._entries[-1].layer if self._entries else None
        return as_activation(getattr(layer, "activation", "identity")).name

    def dense(self, weights: Array, biases: Array | None) -> None:
        """``x @ weights + biases``, (n_in, n_out) and (n_out,)."""
        if weights.ndim != 2:
            raise ValueError(f"weights of shape {weights.shape}; expected 2 dimensions")
        self.expect(weights.shape[0])
        self.width = weights.shape[1]
        if biases is not None:
            biases = self._vector(biases)
        if weights.dtype == np.float64:
            self.dtype = "float64"
        layer = Dense(weights.shape[1], use_bias=biases is not None)
        self._entries.append(_Entry(layer, weights, biases))

    def scale(self, scale: Array, shift: Array) -> None:
        """``x * scale + shift``, each (n,), or one number for all."""
        for array in (scale, shift):
            if array.size > 1:
                self.expect(array.size)
        if self.width is None:
            raise ValueError("the number of columns is not known")
        scale, shift = self._vector(scale), self._vector(shift)
        last = self._entries[-1] if self._entries else None
        if last is None:
            self._scale_first(scale, shift)
        elif last.can_take((Dense,)):
            assert last.first is not None
            if (scale != 1).any():
                last.first = last.first * scale
            if last.second is not None:
                last.second = last.second * scale + shift
            elif shift.any():
                last.second = shift
                last.layer = replace(last.layer, use_bias=True)
        elif last.can_take((BatchNorm, LayerNorm)):
            assert last.first is not None
            assert last.second is not None
            last.first, last.second = last.first * scale, last.second * scale + shift
        else:
            self._add_neutral(scale, shift)

    def scale_inputs(self, scale: Array, shift: Array) -> None:
        """Make it the network's input scaling; nothing may have been added before."""
        self.expect(scale.size)
        if self._entries or self._scaling is not None:
            raise ValueError("it must be the first")
        self._scaling = self._vector(scale), self._vector(shift)

    def normalize(self, layer: BatchNorm | LayerNorm, *arrays: Array | None) -> None:
        """Add a norm with its scale and shift, and, of a batch norm, the statistics."""
        for array in arrays:
            if array is not None:
                self.expect(array.size)
        if self.width is None:
            raise ValueError("the number of columns is not known")
        n = self.width
        self._charge(32 * n)
        defaults = np.ones(n), np.zeros(n), np.zeros(n), np.ones(n)
        first, second, *statistics = (
            default if array is None else self._vector(array)
            for array, default in zip(arrays, defaults, strict=False)
        )
        entry = _Entry(layer, first, second)
        if statistics:
            entry.statistics = statistics[0], statistics[1]
        self._entries.append(entry)

    def multiply(self, factors: Array) -> None:
        """Add a `Scale` with a factor for each column, (n,)."""
        self.expect(factors.size)
        self._entries.append(_Entry(Scale(), self._vector(factors)))

    def freeze(self) -> None:
        """Let training leave the last layer as it is."""
        last = self._entries[-1]
        last.layer = replace(last.layer, trainable=False)

    def drop(self, rate: float) -> None:
        """Add dropout."""
        self._entries.append(_Entry(Dropout(rate)))

    def activate(self, activation: str | Activation) -> None:
        """Apply an activation."""
        kinds = Dense, BatchNorm, LayerNorm
        if not (self._entries and self._entries[-1].can_take(kinds)):
            if self.width is None:
                raise ValueError("the number of columns is not known")
            one, zero = np.ones(1), np.zeros(1)
            self._add_neutral(self._vector(one), self._vector(zero))
        last = self._entries[-1]
        last.layer = replace(last.layer, activation=short_form(activation))

    def limit(self, low: Array, high: Array) -> None:
        """Keep the outputs from low to high, (n,) each; nothing may follow."""
        if not self._entries or self.last_activation != "identity" or self.limits:
            raise ValueError("a range is for the outputs of a layer without activation")
        self.limits = self._vector(low), self._vector(high)

    def state(self, loss: str | Loss, options: Options) -> ModelState:
        """Return the state of the network, which nothing has trained yet."""
        dense = [entry for entry in self._entries if isinstance(entry.layer, Dense)]
        if self.n_inputs is None or not dense:
            raise ValueError("there is no dense layer")
        layers = [self.n_inputs, *(entry.layer for entry in self._entries)]
        dtype = self.dtype if options.dtype is None else options.dtype
        plan = make_plan(layers, loss, options.optimizer, dtype)
        weights = [
            (entry.first, np.zeros(1) if entry.second is None else entry.second)
            for entry in self._entries
            if entry.first is not None
        ]
        scale, shift = self._scaling or (1.0, 0.0)
        return ModelState(
            plan=plan,
            seed=options.seed,
            step=0,
            progress=Progress(),
            scaling=check_input_scaling(scale, shift, plan.n_inputs),
            weights=check_weights(
                [(w, np.broadcast_to(b, w.shape[-1:])) for w, b in weights], plan
            ),
            statistics=[
                entry.statistics and _check_statistics(entry, plan.array_dtype)
                for entry in self._entries
            ],
            optimizer_state=None,
            targets=None if self.limits is None else _targets(self.limits, plan),
        )

    def expect(self, n: int) -> None:
        """Raise ValueError if what has been added has another number of columns."""
        if self.n_inputs is None:
            self.n_inputs = n
        if self.width is None:
            self.width = n
        if self.width != n:
            raise ValueError(f"expects {n} columns, but is given {self.width}")

    def _vector(self, array: Array) -> Array:
        """Return an array of one value per column, or for all, as float64 (n,)."""
        if array.size > 1:
            self.expect(array.size)
        if array.shape[-1:] != (array.size,) and array.size != 1:
            raise ValueError(f"shape {array.shape}; expected one value per column")
        assert self.width is not None
        self._charge(8 * self.width)
        return np.broadcast_to(array.astype(np.float64).ravel(), self.width)

    def _scale_first(self, scale: Array, shift: Array) -> None:
        before = self._scaling or (np.ones(1), np.zeros(1))
        both = before[0] * scale, before[1] * scale + shift
        if (scale == 1).all() or np.abs(both[1]).max() <= _LARGEST_SHIFT:
            self._scaling = both
        elif (before[0] == 1).all():
            self._scaling = None
            self._add_neutral(scale, shift, -before[1])
        else:
            self._add_neutral(scale, shift)

    def _add_neutral(
        self, scale: Array, shift: Array, center: Array | None = None
    ) -> None:
        n = len(scale)
        self._charge(32 * n)
        layer = BatchNorm(epsilon=_NEUTRAL, trainable=False)
        factor = math.sqrt(1 + _NEUTRAL)
        statistics = np.zeros(n) if center is None else center, np.ones(n)
        self._entries.append(_Entry(layer, scale * factor, shift, statistics))


def _targets(limits: tuple[Array, Array], plan: Plan) -> TargetScaling | None:
    of_targets = [each[:: plan.loss.outputs_per_target] for each in limits]
    targets = parse_target_scaling(None, of_targets, plan)
    if targets and not np.array_equal(targets.of_outputs[2:], limits):
        raise ValueError(f"the range {limits} is not one of the targets")
    return targets


def _check_statistics(entry: _Entry, dtype: str) -> tuple[Array, Array]:
    assert entry.statistics is not None
    mean, variance = entry.statistics
    pair = (
        as_parameter(mean, mean.shape, dtype, "the running mean"),
        as_parameter(variance, variance.shape, dtype, "the running variance"),
    )
    if (pair[1] < 0).any():
        raise ValueError("the running variance has negative values")
    return pair


def loss_of_ending(ending: str) -> str:
    """Return the loss with which a network predicts what the ending makes of z."""
    for loss in LOSSES.values():
        if loss.output_activation == ending != "identity":
            return loss.name
    return "mse"


def endings_of(loss: Loss | type[Loss]) -> set[str]:
    """Return what makes predictions of one output, or of several."""
    return {loss.activation_of(1), loss.activation_of(2)}


def loss_problem(loss: str | Loss, ending: str) -> str:
    """Return what is wrong with a loss for what a model ends with, "" if nothing.

    The ending is one that is no activation of a layer, or "" for none.
    """
    spec = loss if isinstance(loss, Loss) else LOSSES.get(str(loss))
    if not ending or spec is None or ending in endings_of(spec):
        return ""
    return (
        f"which the loss {spec.name!r} does not have; expected "
        f"{loss_of_ending(ending)!r}"
    )
