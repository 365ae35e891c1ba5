"""The plan of a network: everything both lanes need to know, as data.

``network -> make_plan -> Plan -> Engine``. A Plan is immutable, comparable, and goes to
model files and back as plain JSON values.
"""

import itertools
import reprlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import DTypeLike

from ._fields import check_dimension, check_name
from .errors import ModelFormatError
from .layers import LAYERS, OUTPUT_ACTIVATIONS, Dense
from .losses import LOSSES, Loss
from .optimizers import OPTIMIZERS, Optimizer

DTYPES = ("float32", "float64")

_Spec = TypeVar("_Spec")


@dataclass(frozen=True)
class Plan:
    """Layers, loss, optimizer and dtype of a network; see `make_plan`.

    Parameters
    ----------
    n_inputs : int
        Number of inputs of the first layer, 1 to 2**24.
    layers : tuple of Dense
        At least one.
    loss : Loss
    optimizer : Optimizer
    dtype : {"float32", "float64"}
        Type of the weights and of all arithmetic.

    Raises
    ------
    TypeError, ValueError
        If a field is of the wrong type or out of range.

    Examples
    --------
    >>> from fastnn.plan import Plan, make_plan
    >>> plan = make_plan([784, 128, 10])
    >>> plan.sizes
    (784, 128, 10)
    >>> Plan.from_dict(plan.to_dict()) == plan
    True
    """

    n_inputs: int
    layers: tuple[Dense, ...]
    loss: Loss
    optimizer: Optimizer
    dtype: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_inputs", check_dimension("n_inputs", self.n_inputs))
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise ValueError("layers must hold at least one layer, got none")
        for index, layer in enumerate(self.layers):
            _check_type(f"layers[{index}]", layer, "a layer", LAYERS)
            if layer.activation in OUTPUT_ACTIVATIONS:
                raise ValueError(
                    f"layers[{index}]: activation {layer.activation!r} is a part of "
                    "the loss, expected 'identity'"
                )
        _check_type("loss", self.loss, "a loss", LOSSES)
        _check_type("optimizer", self.optimizer, "an optimizer", OPTIMIZERS)
        check_name("dtype", self.dtype, DTYPES)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Widths from the inputs to the outputs: (n_inputs, n1, ..., n_out)."""
        return (self.n_inputs, *(layer.units for layer in self.layers))

    @property
    def n_outputs(self) -> int:
        """Width of the last layer."""
        return self.layers[-1].units

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        sizes = self.sizes
        return sum((n_in + 1) * n_out for n_in, n_out in itertools.pairwise(sizes))

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values: specs are dicts with their name as "type"."""
        return {
            "n_inputs": self.n_inputs,
            "layers": [_spec_to_dict(layer) for layer in self.layers],
            "loss": _spec_to_dict(self.loss),
            "optimizer": _spec_to_dict(self.optimizer),
            "dtype": self.dtype,
        }

    @classmethod
    def from_dict(cls, data: Any) -> "Plan":
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
            _spec_from_dict(f"layers[{index}]", each, LAYERS)
            for index, each in enumerate(data["layers"])
        )
        loss = _spec_from_dict("loss", data["loss"], LOSSES)
        optimizer = _spec_from_dict("optimizer", data["optimizer"], OPTIMIZERS)
        try:
            return cls(data["n_inputs"], layers, loss, optimizer, data["dtype"])
        except (TypeError, ValueError) as error:
            raise ModelFormatError(f"network: {error}") from error


def make_plan(
    layers: Sequence[int | Dense],
    loss: str | Loss = "softmax_cross_entropy",
    optimizer: str | Optimizer = "adam",
    dtype: DTypeLike = "float32",
) -> Plan:
    """Build the plan of a network from the arguments of `Network`.

    Parameters
    ----------
    layers : sequence
        The number of inputs, then at least one layer: a `Dense`, or an int for a Dense
        layer with ReLU, without activation if it is the last one.
    loss : str or Loss
        A name of `fastnn.losses.LOSSES`, or an object.
    optimizer : str or Optimizer
        A name of `fastnn.optimizers.OPTIMIZERS`, or an object.
    dtype : dtype-like
        float32 or float64.

    Returns
    -------
    Plan

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong; the message names the layer.

    Warns
    -----
    UserWarning
        If the last layer has an activation although the loss expects raw outputs: with
        ReLU, a row whose outputs are all negative gets no gradient.

    Examples
    --------
    >>> from fastnn.layers import Dense
    >>> from fastnn.plan import make_plan
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
    loss = _parse_spec("loss", loss, "a loss", LOSSES)
    optimizer = _parse_spec("optimizer", optimizer, "an optimizer", OPTIMIZERS)
    specs[-1] = _without_output_activation(specs[-1], loss, len(specs))
    for index, spec in enumerate(specs[:-1], start=1):
        if spec.activation in OUTPUT_ACTIVATIONS:
            raise ValueError(
                f"layers[{index}]: activation {spec.activation!r} is for the last layer"
            )
    return Plan(n_inputs, tuple(specs), loss, optimizer, _parse_dtype(dtype))


def _parse_layer(layers: Sequence[int | Dense], index: int) -> Dense:
    layer: Any = layers[index]
    if isinstance(layer, tuple(LAYERS.values())):
        return cast(Dense, layer)
    if isinstance(layer, bool) or not hasattr(layer, "__index__"):
        known = " or ".join(each.__name__ for each in LAYERS.values())
        raise TypeError(f"layers[{index}] must be an int or {known}, got {layer!r}")
    is_last = index == len(layers) - 1
    units = check_dimension(f"layers[{index}]", layer)
    return Dense(units, "identity" if is_last else "relu")


def _parse_spec(
    name: str, value: str | _Spec, kind: str, table: Mapping[str, type[_Spec]]
) -> _Spec:
    if isinstance(value, str):
        return table[check_name(name, value, table)]()
    _check_type(name, value, kind, table)
    return value


def _without_output_activation(layer: Dense, loss: Loss, index: int) -> Dense:
    """Check the last layer's activation against the loss, which may contain it."""
    if layer.activation == loss.output_activation:
        return replace(layer, activation="identity")
    if layer.activation in OUTPUT_ACTIVATIONS:
        raise ValueError(
            f"layers[{index}]: activation {layer.activation!r} does not belong to the "
            f"loss {loss.name!r}, expected 'identity'"
        )
    if layer.activation != "identity":
        warnings.warn(
            f"the last layer has activation {layer.activation!r}, but the loss "
            f"{loss.name!r} expects raw outputs; 'identity' is the usual choice",
            UserWarning,
            stacklevel=4,  # the line that makes the Network
        )
    return layer


def _parse_dtype(dtype: DTypeLike) -> str:
    expected = " or ".join(DTYPES)
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


def _spec_to_dict(spec: Any) -> dict[str, Any]:
    values = {field.name: getattr(spec, field.name) for field in fields(spec)}
    return {"type": spec.name, **values}


def _spec_from_dict(name: str, data: Any, table: Mapping[str, type[_Spec]]) -> _Spec:
    try:
        spec: Any = table[check_name("type", dict(data)["type"], table)]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFormatError(
            f"{name}: expected an object with a known type, got {reprlib.repr(data)}"
        ) from error
    known = ["type", *(field.name for field in fields(spec))]
    _check_keys(name, data, known, required=["type"])
    try:
        parameters = {key: value for key, value in data.items() if key != "type"}
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
