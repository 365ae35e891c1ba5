"""The plan of a network: everything both lanes need to know, as data.

``network -> make_plan -> Plan -> Engine``. A Plan is immutable, comparable, and goes to
model files and back as plain JSON values.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from fastnn._base.errors import ModelFormatError
from fastnn._base.fields import check_dimension, check_name
from fastnn._base.frozen import dataclass
from fastnn._base.names import known_name
from fastnn._base.warn import warn_user
from fastnn.activations import (
    ACTIVATIONS,
    Activation,
    as_activation,
    short_form,
    storable,
)
from fastnn.initializers import KINDS, Initializer, Values
from fastnn.layers import (
    LAYERS,
    BatchNorm,
    Dense,
    Dropout,
    Embedding,
    Layer,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
)
from fastnn.losses import LOSSES, Loss, OwnLoss
from fastnn.optimizers import LBFGS, OPTIMIZERS, Optimizer
from fastnn.schedules import MAX_DEPTH, SCHEDULES, Schedule, rates

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from fastnn._base.types import Floats

DTYPES = ("float32", "float64", "bfloat16")

_Spec = TypeVar("_Spec")

# Parts of specs that may be specs themselves.
_INNER: dict[str, Mapping[str, type[Any]]] = {
    "activation": ACTIVATIONS,
    "function": ACTIVATIONS,
    "weight_init": KINDS,
    "bias_init": KINDS,
    "learning_rate": SCHEDULES,
    "weight_decay": SCHEDULES,
    "rate": SCHEDULES,
    "schedule": SCHEDULES,
}
_ARRAYS = ("bins", "categories", "levels")  # which check all that is in them
_PAIRS = ("rate_factors", "epsilon_factors", "decay_factors")  # or numbers
_LEAST_EPSILON = 1e-30  # as of the optimizers


@dataclass(frozen=True)
class Plan:
    """Layers, loss, optimizer and dtype of a network; see `make_plan`.

    Parameters
    ----------
    n_inputs : int
        Number of inputs of the first layer, 1 to 2**24.
    layers : tuple of Layer
        At least one dense.
    loss : Loss
    optimizer : Optimizer
    dtype : {"float32", "float64", "bfloat16"}
        Type of the weights and of all arithmetic; "bfloat16": float32, but the operands
        of the products of dense layers are rounded (`reference.round_to_bfloat16`).

    Examples
    --------
    >>> from fastnn._plan.plan import Plan, make_plan
    >>> plan = make_plan([784, 128, 10])
    >>> plan.sizes
    (784, 128, 10)
    >>> Plan.from_dict(plan.to_dict()) == plan
    True
    """

    n_inputs: int
    layers: tuple[Layer, ...]
    loss: Loss
    optimizer: Optimizer
    dtype: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_inputs", check_dimension("n_inputs", self.n_inputs))
        object.__setattr__(self, "layers", tuple(self.layers))
        for index, layer in enumerate(self.layers):
            _check_type(f"layers[{index}]", layer, "a layer", LAYERS)
        # A list: Ctrl-C in a generator that ends early would be lost.
        if not [layer for layer in self.layers if isinstance(layer, Dense)]:
            raise ValueError(
                f"layers must hold at least one Dense layer, got {list(self.layers)}"
            )
        width = self.n_inputs
        for index, layer in enumerate(self.layers):
            try:
                if isinstance(layer, Embedding):
                    self._check_codes(index, layer)
                width = check_dimension("the outputs", layer.n_outputs(width))
            except ValueError as error:
                raise ValueError(f"layers[{index}], {layer!r}: {error}") from None
        if not isinstance(self.loss, OwnLoss):
            _check_type("loss", self.loss, "a loss", LOSSES)
        _check_type("optimizer", self.optimizer, "an optimizer", OPTIMIZERS)
        check_name("dtype", self.dtype, DTYPES)
        if width % self.loss.outputs_per_target:
            raise ValueError(
                f"the network has {width} outputs; expected a multiple of "
                f"{self.loss.outputs_per_target}, which the loss {self.loss!r} has for "
                "each target"
            )
        for index, layer in enumerate(self.layers):
            _check_factors(index, layer, self.optimizer)
        if isinstance(self.optimizer, LBFGS):
            for index, layer in enumerate(self.layers):
                if isinstance(layer, Dropout) or (
                    isinstance(layer, BatchNorm) and layer.trainable
                ):
                    raise ValueError(
                        f"layers[{index}] is {layer!r}, but the optimizer LBFGS needs "
                        "a loss that is a function of the weights alone"
                    )
        last = as_activation(self.layers[-1].activation).name
        if last == self.output_activation != "identity":
            raise ValueError(
                f"layers[{len(self.layers) - 1}]: activation {last!r} is a part of "
                "the loss, expected 'identity'"
            )

    def _check_codes(self, index: int, layer: Embedding) -> None:
        """The inputs of an embedding of categories must be those of the network."""
        width = self.n_inputs
        n_numeric = width - layer.n_columns(width)
        for below in self.layers[:index]:
            if not isinstance(below, PeriodicEmbedding | PiecewiseLinearEmbedding):
                raise ValueError(
                    "below it may stand PeriodicEmbedding and PiecewiseLinearEmbedding "
                    f"alone, which leave codes as they are; got {below!r}"
                )
            if below.n_columns(width) > n_numeric:
                raise ValueError(f"{below!r} takes codes; expected {n_numeric} columns")
            width = below.n_outputs(width)
            n_numeric = width - layer.n_columns(width)

    @property
    def categories(self) -> tuple[int, ...]:
        """The number of categories of each of the last inputs, which are codes."""
        for layer in self.layers:
            if isinstance(layer, Embedding):
                return layer.counts
        return ()

    @property
    def array_dtype(self) -> str:
        """Type of all arrays: weights, state, outputs."""
        return "float32" if self.dtype == "bfloat16" else self.dtype

    @property
    def widths(self) -> tuple[int, ...]:
        """The number of inputs, and that of the outputs of each layer."""
        widths = [self.n_inputs]
        for layer in self.layers:
            widths.append(layer.n_outputs(widths[-1]))
        return tuple(widths)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of inputs, and that of the outputs of each dense layer."""
        dense = (layer for layer in self.layers if isinstance(layer, Dense))
        return (self.n_inputs, *(layer.units for layer in dense))

    @property
    def parametric_layers(self) -> tuple[int, ...]:
        """The indices of the layers that have parameters."""
        return tuple(i for i, each in enumerate(self.layers) if each.has_parameters)

    @property
    def shapes(self) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
        """The shapes of the pair of arrays of each layer that has parameters."""
        widths = self.widths
        return tuple(self.layers[i].shapes(widths[i]) for i in self.parametric_layers)

    @property
    def n_outputs(self) -> int:
        """Width of the last layer."""
        return self.widths[-1]

    @property
    def n_classes(self) -> int | None:
        """The number of classes of a row's label; None if it has no such label."""
        if not self.loss.is_classifier:
            return None
        if self.n_outputs == 1 and self.loss.name != "softmax_cross_entropy":
            return 2
        return self.n_outputs if self.loss.is_exclusive else None  # multi-label

    @property
    def output_activation(self) -> str:
        """What makes predictions of the raw outputs."""
        return self.loss.activation_of(self.n_outputs)

    @property
    def n_targets(self) -> int:
        """The columns of a matrix of targets."""
        return self.n_outputs // self.loss.outputs_per_target

    @property
    def point(self) -> slice:
        """The outputs that metrics compare with the targets."""
        return slice(self.loss.point, None, self.loss.outputs_per_target)

    @property
    def parameter_counts(self) -> tuple[int, ...]:
        """The number of parameters of each layer; an absent bias has none."""
        counts = [0] * len(self.layers)
        for i, (first, second) in zip(self.parametric_layers, self.shapes, strict=True):
            use_bias = getattr(self.layers[i], "use_bias", True)
            counts[i] = math.prod(first) + use_bias * math.prod(second)
        return tuple(counts)

    @property
    def n_parameters(self) -> int:
        """Number of weights, biases, scales and shifts, frozen ones included."""
        return sum(self.parameter_counts)

    @property
    def dropout_schedules(self) -> dict[int, Schedule]:
        """Those of the rates of dropout, by layer."""
        return {
            i: layer.rate
            for i, layer in enumerate(self.layers)
            if isinstance(layer, Dropout) and isinstance(layer.rate, Schedule)
        }

    def dropout_rates(self, first: int, count: int) -> Floats:
        """Return the rates of dropout of updates (count, n_layers), others 0.

        Raises
        ------
        ValueError
            A schedule gives a rate of 1 or more.
        """
        values = np.zeros((count, len(self.layers)))
        for i, layer in enumerate(self.layers):
            if isinstance(layer, Dropout):
                values[:, i] = rates(layer.rate, first, count)
        if (values >= 1).any():
            row, i = map(int, np.argwhere(values >= 1)[0])
            raise ValueError(
                f"layers[{i}]: {self.layers[i]!r} has the rate {values[row, i]} at "
                f"update {first + row}; expected a number >= 0 and < 1"
            )
        return values

    def with_trainable(self, trainable: Sequence[bool]) -> Plan:
        """Return the plan of which these layers with parameters are trained, alone."""
        layers = [
            replace(layer, trainable=each)  # type: ignore[type-var]
            if layer.has_parameters
            else layer
            for layer, each in zip(self.layers, trainable, strict=True)
        ]
        return replace(self, layers=tuple(layers))

    def without_values(self) -> Plan:
        """Return the plan with default initializers where arrays were given.

        They are for the beginning only, and as large as the weights.
        """

        def plain(layer: Layer) -> Layer:
            if isinstance(layer, Dense):
                if isinstance(layer.weight_init, Values):
                    layer = replace(layer, weight_init="auto")
                if isinstance(layer.bias_init, Values):
                    layer = replace(layer, bias_init="zeros")
            return layer

        return replace(self, layers=tuple(map(plain, self.layers)))

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values: specs are dicts with their name as "type"."""
        if isinstance(self.loss, OwnLoss):
            raise ValueError(
                f"the loss {self.loss.label} is a function, which cannot be stored; "
                "keep the weights (state_dict) and make the network anew"
            )
        return {
            "n_inputs": self.n_inputs,
            "layers": [_spec_to_dict(layer) for layer in self.layers],
            "loss": _spec_to_dict(self.loss),
            "optimizer": _spec_to_dict(self.optimizer),
            "dtype": self.dtype,
        }

    @classmethod
    def from_dict(cls, data: Any) -> Plan:
        """Return the plan that `to_dict` described.

        A spec's parameter that is missing takes its default, so a parameter may be
        added without making older files unreadable.

        Raises
        ------
        ModelFormatError
            For anything else: an unknown, missing or repeated part, a wrong type, a
            value out of range. Nothing large is computed or allocated before that.
        """
        known = [field.name for field in fields(cls)]
        _check_keys("network", data, known, required=known)
        if not isinstance(data["layers"], list):
            raise ModelFormatError(
                f"network: layers must be a list, got {type(data['layers']).__name__}"
            )
        layers = tuple(
            spec_from_dict(f"layers[{index}]", each, LAYERS)
            for index, each in enumerate(data["layers"])
        )
        loss = spec_from_dict("loss", data["loss"], LOSSES)
        optimizer = spec_from_dict("optimizer", data["optimizer"], OPTIMIZERS)
        try:
            return cls(data["n_inputs"], layers, loss, optimizer, data["dtype"])
        except (TypeError, ValueError) as error:
            raise ModelFormatError(f"network: {error}") from error


def make_plan(
    layers: Sequence[int | Layer],
    loss: str | Loss | Callable[..., Any] = "softmax_cross_entropy",
    optimizer: str | Optimizer = "adam",
    dtype: DTypeLike = "float32",
) -> Plan:
    """Build the plan of a network from the arguments of `Network`, which are checked.

    Warns if the last layer squashes the raw outputs that the loss expects: with ReLU
    before softmax, a row whose outputs are all negative gets no gradient.

    Examples
    --------
    >>> from fastnn.layers import Dense
    >>> from fastnn._plan.plan import make_plan
    >>> plan = make_plan([784, 256, Dense(10, "softmax")], optimizer="sgd")
    >>> [layer.activation for layer in plan.layers]
    ['relu', 'identity']
    """
    if isinstance(layers, str | bytes) or not isinstance(layers, Sequence):
        raise TypeError(f"layers must be a list of layers, got {layers!r}")
    if len(layers) < 2:
        raise ValueError(
            "layers must be the number of inputs and at least one layer, for example "
            f"[784, 128, 10], got {layers!r}"
        )
    n_inputs = check_dimension("layers[0] (the number of inputs)", layers[0])
    specs = [_parse_layer(layers, index) for index in range(1, len(layers))]
    loss = parse_loss(loss)
    optimizer = parse_optimizer(optimizer)
    specs[-1] = _without_output_activation(specs[-1], loss, len(specs))
    plan = Plan(n_inputs, tuple(specs), loss, optimizer, _parse_dtype(dtype))
    if plan.output_activation == "softmax" and plan.n_outputs == 1:
        raise ValueError(
            f"the network has one output, of which the loss {loss.name!r} makes the "
            "probability 1 whatever it is; expected one output per class, or the loss "
            "'binary_cross_entropy' for two classes or 'mse' for a quantity"
        )
    return plan


def parse_loss(loss: Any) -> Loss:
    if isinstance(loss, OwnLoss):
        return loss
    if callable(loss) and not isinstance(loss, type):
        return OwnLoss(loss)
    spec: Loss = _parse_spec("loss", loss, "a loss", LOSSES)
    return spec


def parse_optimizer(optimizer: str | Optimizer) -> Optimizer:
    """Return the optimizer of that name, or the object itself."""
    return _parse_spec("optimizer", optimizer, "an optimizer", OPTIMIZERS)


def _parse_layer(layers: Sequence[int | Layer], index: int) -> Layer:
    layer: Any = layers[index]
    if isinstance(layer, tuple(LAYERS.values())):
        return cast(Layer, layer)
    if isinstance(layer, bool) or not hasattr(layer, "__index__"):
        known = ", ".join(each.__name__ for each in LAYERS.values())
        hint = ""
        if isinstance(layer, type) and issubclass(layer, Activation):
            layer = layer()
        named = known_name(layer, ACTIVATIONS)
        if isinstance(layer, Activation) or (
            isinstance(named, str) and named in ACTIVATIONS
        ):
            activation = short_form(named)
            hint = f"; an activation belongs to a layer: Dense(n, {activation!r})"
        raise TypeError(
            f"layers[{index}] must be an int or one of {known}, got {layer!r}{hint}"
        )
    is_last = index == len(layers) - 1
    units = check_dimension(f"layers[{index}]", layer)
    return Dense(units, "identity" if is_last else "relu")


def _parse_spec(
    name: str, value: str | _Spec, kind: str, table: Mapping[str, type[_Spec]]
) -> _Spec:
    if isinstance(value, type) and value in table.values():
        value = cast(_Spec, value())
    if isinstance(value, str):
        return table[check_name(name, known_name(value, table), table)]()
    _check_type(name, value, kind, table)
    return value


def _without_output_activation(layer: Layer, loss: Loss, index: int) -> Layer:
    """Check the last layer's activation against the loss, which may contain it."""
    activation = as_activation(layer.activation)
    name = activation.name
    contained = loss.activation_of(layer.n_outputs(1))
    if name == contained:
        if name != "identity":
            layer = replace(layer, activation="identity")  # type: ignore[type-var]
        return layer
    if loss.is_classifier and activation.squashes:
        warn_user(
            f"layers[{index}], the last one, has activation {name!r}, but the loss "
            f"{loss.name!r} expects raw outputs, to which it applies "
            f"{contained!r} itself; 'identity' is the usual choice"
        )
    return layer


def _parse_dtype(dtype: DTypeLike) -> str:
    expected = f"{', '.join(DTYPES[:-1])} or {DTYPES[-1]}"
    if isinstance(dtype, str) and dtype in DTYPES:
        return dtype  # NumPy does not know bfloat16
    try:
        # NumPy reads None as float64; here it would hide a mistake
        name = None if dtype is None else np.dtype(dtype).name
    except TypeError:
        name = None
    if name not in DTYPES:
        raise ValueError(f"dtype must be {expected}, got {dtype!r}")
    return name


def _check_type(
    name: str, value: object, kind: str, table: Mapping[str, type[Any]]
) -> None:
    if not isinstance(value, tuple(table.values())):
        known = ", ".join(f"{each.__name__}()" for each in table.values())
        raise TypeError(f"{name} must be {kind} such as {known}, got {value!r}")


def _check_factors(index: int, layer: Layer, optimizer: Optimizer) -> None:
    """Raise ValueError for factors of what the optimizer does not have."""
    name = type(optimizer).__name__
    is_lbfgs = isinstance(optimizer, LBFGS)
    epsilon = getattr(optimizer, "epsilon", None)
    for each in layer.factors:
        for field, lacks, what in (
            ("rate_factors", is_lbfgs and each.rate != 1, "learning rate"),
            ("epsilon_factors", epsilon is None and each.epsilon != 1, "epsilon"),
        ):
            if lacks:
                raise ValueError(
                    f"layers[{index}]: {field} is {getattr(layer, field)!r}, but "
                    f"{name} has no {what}"
                )
        if epsilon is not None and epsilon * each.epsilon < _LEAST_EPSILON:
            raise ValueError(
                f"layers[{index}]: epsilon_factors is {layer.epsilon_factors!r}, which "
                f"makes {epsilon * each.epsilon:g} of the epsilon of {name}; expected "
                f"{_LEAST_EPSILON:g} or more"
            )


def _parameters(spec: Any) -> list[str]:
    return [field.name for field in fields(spec) if field.init]


def _spec_to_dict(spec: Any) -> dict[str, Any]:
    if isinstance(spec, Activation):
        storable(spec)
    values = {name: getattr(spec, name) for name in _parameters(spec)}
    if values.get("epochs", 0) is None:  # as in older files
        del values["epochs"]
    for name, value in values.items():
        if isinstance(value, Activation | Initializer | Schedule):
            values[name] = _spec_to_dict(value)
    return {"type": spec.name, **values}


def spec_from_dict(
    name: str, data: Any, table: Mapping[str, type[_Spec]], depth: int = 0
) -> _Spec:
    try:
        spec: Any = table[check_name("type", dict(data)["type"], table)]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFormatError(
            f"{name}: expected an object with a known type, got {reprlib.repr(data)}"
        ) from error
    known = ["type", *_parameters(spec)]
    _check_keys(name, data, known, required=["type"])
    if depth > MAX_DEPTH:
        raise ModelFormatError(f"{name}: nested more than {MAX_DEPTH} times")
    parameters = {key: value for key, value in data.items() if key != "type"}
    for key, value in parameters.items():
        if key in _INNER and isinstance(value, dict):
            parameters[key] = spec_from_dict(
                f"{name}.{key}", value, _INNER[key], depth + 1
            )
        elif isinstance(value, dict) or (
            isinstance(value, list) and key not in (*_PAIRS, *_ARRAYS)
        ):
            raise ModelFormatError(
                f"{name}: {key} must be a plain value, got {reprlib.repr(value)}"
            )
    try:
        return spec(**parameters)  # type: ignore[no-any-return]
    except (TypeError, ValueError) as error:
        raise ModelFormatError(f"{name}: {error}") from error


def _check_keys(
    name: str, data: Any, known: Sequence[str], required: Sequence[str]
) -> None:
    if not isinstance(data, dict):
        raise ModelFormatError(f"{name}: expected an object, got {type(data).__name__}")
    unknown = sorted(map(str, set(data) - set(known)))
    missing = sorted(set(required) - set(data))
    if unknown or missing:
        raise ModelFormatError(
            f"{name}: unknown keys {unknown}, missing keys {missing}, "
            f"expected {list(known)}"
        )
