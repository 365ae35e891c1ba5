import dataclasses

import numpy as np
import pytest

from fastnn.optimizers import OPTIMIZERS, SGD, Adam, AdamW

MOMENTS = ("first_moment", "second_moment")


def test_table_lists_optimizers_by_their_names():
    assert OPTIMIZERS == {"sgd": SGD, "adam": Adam, "adamw": AdamW}
    assert all(optimizer.name == name for name, optimizer in OPTIMIZERS.items())


def test_defaults():
    assert SGD() == SGD(0.01, 0.0, False)
    assert Adam() == Adam(1e-3, 0.9, 0.999, 1e-8)
    assert AdamW() == AdamW(1e-3, 0.9, 0.999, 1e-8, 0.01)


@pytest.mark.parametrize(
    ("optimizer", "rule", "state_names"),
    [
        (SGD(), "sgd", ()),
        (SGD(momentum=0.9), "momentum", ("velocity",)),
        (SGD(momentum=0.9, nesterov=True), "nesterov", ("velocity",)),
        (Adam(), "adam", MOMENTS),
        (AdamW(), "adamw", MOMENTS),
    ],
)
def test_rule_and_state(optimizer, rule, state_names):
    assert optimizer.rule == rule
    assert optimizer.state_names == state_names


def test_numbers_become_floats():
    optimizer = AdamW(1, np.float32(0.5), 0, np.float64(1e-6), np.int64(2))
    values = dataclasses.astuple(optimizer)
    assert values == (1.0, 0.5, 0.0, 1e-6, 2.0)
    assert all(type(value) is float for value in values)


def test_optimizer_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SGD().learning_rate = 1.0


@pytest.mark.parametrize("optimizer", [SGD, Adam, AdamW])
@pytest.mark.parametrize("rate", [0, -1e-3, float("nan"), float("inf"), 10**400])
def test_learning_rate_out_of_range(optimizer, rate):
    with pytest.raises(ValueError, match="learning_rate must be a finite number > 0"):
        optimizer(rate)


@pytest.mark.parametrize("rate", ["0.1", None, True, [0.1], 1j])
def test_learning_rate_of_wrong_type(rate):
    with pytest.raises(TypeError, match="learning_rate must be a finite number > 0"):
        SGD(rate)


@pytest.mark.parametrize(
    ("optimizer", "name"),
    [
        (SGD, "momentum"),
        (Adam, "beta_1"),
        (Adam, "beta_2"),
        (AdamW, "beta_1"),
        (AdamW, "beta_2"),
    ],
)
@pytest.mark.parametrize("rate", [-0.1, 1, 1.5, float("nan")])
def test_decay_rate_out_of_range(optimizer, name, rate):
    with pytest.raises(ValueError, match=f"{name} must be a number >= 0 and < 1"):
        optimizer(**{name: rate})


@pytest.mark.parametrize("optimizer", [Adam, AdamW])
@pytest.mark.parametrize("epsilon", [0, -1, 1e-40])
def test_epsilon_that_vanishes_in_float32(optimizer, epsilon):
    with pytest.raises(ValueError, match="epsilon must be a finite number >= 1e-30"):
        optimizer(epsilon=epsilon)


def test_negative_weight_decay():
    with pytest.raises(ValueError, match="weight_decay must be a finite number >= 0"):
        AdamW(weight_decay=-0.1)


def test_nesterov_needs_momentum():
    with pytest.raises(ValueError, match="nesterov=True needs momentum > 0"):
        SGD(nesterov=True)


def test_nesterov_is_a_bool():
    with pytest.raises(TypeError, match="nesterov must be True or False, got 1"):
        SGD(momentum=0.9, nesterov=1)
