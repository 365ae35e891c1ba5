import dataclasses

import numpy as np
import pytest

from fastnn.initializers import WEIGHT_INITIALIZERS
from fastnn.layers import ACTIVATIONS, LAYERS, OUTPUT_ACTIVATIONS, Dense


def test_dense_defaults():
    layer = Dense(3)
    assert layer == Dense(3, "identity", "auto", "zeros")
    assert LAYERS == {"dense": Dense}


@pytest.mark.parametrize("activation", ACTIVATIONS + OUTPUT_ACTIVATIONS)
def test_every_activation_is_accepted(activation):
    assert Dense(3, activation).activation == activation


@pytest.mark.parametrize("name", ["auto", *WEIGHT_INITIALIZERS])
def test_every_initializer_is_accepted(name):
    assert Dense(3, weight_init=name).weight_init == name


def test_numpy_integers_become_ints():
    assert type(Dense(np.int64(3)).units) is int


def test_dense_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Dense(3).units = 4


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"units": 0}, ValueError, "units must be an integer from 1 to 16777216"),
        ({"units": -1}, ValueError, "units .* got -1"),
        ({"units": 2**24 + 1}, ValueError, "units .* got 16777217"),
        ({"units": 3.0}, TypeError, "units .* got 3.0"),
        ({"units": True}, TypeError, "units .* got True"),
        ({"units": "3"}, TypeError, "units .* got '3'"),
        ({"units": 3, "activation": "relo"}, ValueError, "activation .* got 'relo'"),
        ({"units": 3, "activation": None}, TypeError, "activation must be one of"),
        ({"units": 3, "weight_init": "ones"}, ValueError, "weight_init must be one of"),
        ({"units": 3, "bias_init": "ones"}, ValueError, "bias_init must be one of"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        Dense(**arguments)
