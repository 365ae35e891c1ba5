"""Layers as data: what a network is made of, without arrays.

To add an activation: its name goes in ACTIVATIONS here, its function and derivative in
the tables of each lane. To add a layer: a frozen dataclass here, listed in LAYERS.
"""

from dataclasses import dataclass
from typing import ClassVar

from ._fields import check_dimension, check_name
from .initializers import BIAS_INITIALIZERS, WEIGHT_INITIALIZERS

ACTIVATIONS = ("identity", "relu")

# Accepted on the last layer only, with the loss that contains them: make_plan replaces
# them by "identity", because the loss applies them, once, in a stable form.
OUTPUT_ACTIVATIONS = ("softmax",)


@dataclass(frozen=True)
class Dense:
    """Fully connected layer, ``y := activation(x @ W + b)``.

    ``x`` has shape (m, n_in), ``W`` (n_in, units), ``b`` (units,) and ``y`` (m, units),
    where n_in is the width of the layer before.

    Parameters
    ----------
    units : int
        Number of outputs, 1 to 2**24.
    activation : {"identity", "relu", "softmax"}, default "identity"
        Function applied to each output. "softmax" is for the last layer of a network
        with the loss "softmax_cross_entropy", where it means the same as "identity":
        the loss takes the softmax itself.
    weight_init : str, default "auto"
        Distribution of the initial weights: a name of
        `fastnn.initializers.WEIGHT_INITIALIZERS`, or "auto" for "he_normal" before a
        ReLU and "glorot_normal" otherwise.
    bias_init : {"zeros"}, default "zeros"
        Initial biases.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of range.

    Examples
    --------
    >>> from fastnn.layers import Dense
    >>> Dense(128, "relu")
    Dense(units=128, activation='relu', weight_init='auto', bias_init='zeros')
    """

    name: ClassVar[str] = "dense"

    units: int
    activation: str = "identity"
    weight_init: str = "auto"
    bias_init: str = "zeros"

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", check_dimension("units", self.units))
        check_name("activation", self.activation, ACTIVATIONS + OUTPUT_ACTIVATIONS)
        check_name("weight_init", self.weight_init, ("auto", *WEIGHT_INITIALIZERS))
        check_name("bias_init", self.bias_init, BIAS_INITIALIZERS)


LAYERS: dict[str, type[Dense]] = {Dense.name: Dense}
