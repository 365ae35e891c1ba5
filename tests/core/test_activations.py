import dataclasses

import pytest

from fastnn.activations import (
    ACTIVATIONS,
    ELU,
    LeakyReLU,
    ReLU,
    as_activation,
    short_form,
)


def test_table_lists_activations_by_their_names():
    assert all(activation.name == name for name, activation in ACTIVATIONS.items())


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_names_and_objects_mean_the_same(name):
    activation = ACTIVATIONS[name]()
    assert as_activation(name) == as_activation(activation) == activation
    assert short_form(name) == short_form(activation) == name


def test_parameters():
    assert LeakyReLU(0.2).parameter == 0.2
    assert ELU(2).parameter == 2.0
    assert ReLU().parameter == 0.0
    assert short_form(ELU(2)) == ELU(2.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        ELU().alpha = 3


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LeakyReLU(-0.1), ValueError, "slope must be a number >= 0"),
        (lambda: LeakyReLU(2**16), ValueError, "slope must be a number >= 0"),
        (lambda: LeakyReLU("0.1"), TypeError, "slope must be a number >= 0"),
        (lambda: ELU(0), ValueError, "alpha must be a number > 0"),
        (lambda: ELU(float("nan")), ValueError, "alpha must be a number > 0"),
        (lambda: as_activation("relo"), ValueError, "activation must be one of"),
        (lambda: as_activation(3), TypeError, "activation must be one of"),
        (lambda: as_activation(None), TypeError, "activation must be one of"),
    ],
)
def test_wrong_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
