import dataclasses

import numpy as np
import pytest

from fastnn.optimizers import (
    LBFGS,
    OPTIMIZERS,
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    Lion,
    NAdam,
    RMSprop,
)
from fastnn.schedules import Constant

STEPPING = [each for each in OPTIMIZERS.values() if each is not LBFGS]
MOMENTS = ("first_moment", "second_moment")


def test_table_lists_optimizers_by_their_names():
    assert list(OPTIMIZERS) == [
        "sgd",
        "rmsprop",
        "adagrad",
        "adam",
        "adamw",
        "nadam",
        "lion",
        "lbfgs",
    ]
    assert all(optimizer.name == name for name, optimizer in OPTIMIZERS.items())


def test_defaults():
    assert SGD() == SGD(0.01, 0.0, False)
    assert Adam() == Adam(1e-3, 0.9, 0.999, 1e-8)
    assert AdamW() == AdamW(1e-3, 0.9, 0.999, 1e-8, weight_decay=0.01)
    assert RMSprop() == RMSprop(0.01, 0.99, 1e-8)
    assert AdaGrad() == AdaGrad(0.01, 1e-10)
    assert NAdam() == NAdam(2e-3, 0.9, 0.999, 1e-8, 4e-3)
    assert Lion() == Lion(1e-4, 0.9, 0.99)


@pytest.mark.parametrize(
    ("optimizer", "rule", "state_names"),
    [
        (SGD(), "sgd", ()),
        (SGD(momentum=0.9), "momentum", ("velocity",)),
        (SGD(momentum=0.9, nesterov=True), "nesterov", ("velocity",)),
        (Adam(), "adam", MOMENTS),
        (RMSprop(), "rmsprop", ("mean_square",)),
        (AdaGrad(), "adagrad", ("sum_of_squares",)),
        (AdamW(), "adam", MOMENTS),
        (NAdam(), "nadam", MOMENTS),
        (Lion(), "lion", ("first_moment",)),
    ],
)
def test_rule_and_state(optimizer, rule, state_names):
    assert optimizer.rule == rule
    assert optimizer.state_names == state_names


def test_numbers_become_floats():
    optimizer = AdamW(1, np.float32(0.5), 0, np.float64(1e-6), weight_decay=np.int64(2))
    values = [
        optimizer.learning_rate,
        optimizer.beta_1,
        optimizer.beta_2,
        optimizer.epsilon,
        optimizer.weight_decay,
    ]
    assert values == [1.0, 0.5, 0.0, 1e-6, 2.0]
    assert all(type(value) is float for value in values)


def test_a_schedule_is_kept():
    assert SGD(Constant(0.1)).learning_rate == Constant(0.1)


@pytest.mark.parametrize("optimizer", STEPPING)
@pytest.mark.parametrize("name", ["weight_decay", "l1", "l2"])
def test_penalties_out_of_range(optimizer, name):
    assert getattr(optimizer(**{name: 1}), name) == 1.0
    with pytest.raises(ValueError, match=f"{name} must be a finite number >= 0"):
        optimizer(**{name: -1e-9})
    with pytest.raises(TypeError, match=f"{name} must be a finite number >= 0"):
        optimizer(**{name: None})


@pytest.mark.parametrize("optimizer", STEPPING)
@pytest.mark.parametrize("name", ["clip_value", "clip_norm", "max_norm"])
def test_limits_out_of_range(optimizer, name):
    assert getattr(optimizer(), name) is None
    assert getattr(optimizer(**{name: 1}), name) == 1.0
    for limit in (0, -1.0, float("inf")):
        with pytest.raises(ValueError, match=f"{name} must be a finite number > 0"):
            optimizer(**{name: limit})


def test_repr_leaves_defaults_out():
    assert repr(Adam(3e-4)) == "Adam(learning_rate=0.0003)"
    assert repr(SGD(0.01, l2=0.1)) == "SGD(learning_rate=0.01, l2=0.1)"


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


@pytest.mark.parametrize("nesterov", [1, "lookahead", None])
def test_switches_are_bools(nesterov):
    with pytest.raises(TypeError, match="nesterov must be"):
        SGD(momentum=0.9, nesterov=nesterov)
    with pytest.raises(TypeError, match="epsilon_hat must be"):
        Adam(epsilon_hat=nesterov)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"history_size": 0}, ValueError, "history_size must be an integer >= 1"),
        ({"max_evaluations": 1.5}, TypeError, "max_evaluations must be an integer"),
        ({"tolerance": -1}, ValueError, "tolerance must be a finite number >= 0"),
        ({"l1": 0.1}, ValueError, "l1 has no meaning for LBFGS, got 0.1"),
        ({"clip_norm": 1.0}, ValueError, "clip_norm has no meaning for LBFGS"),
        ({"learning_rate": 0.1}, TypeError, "learning_rate"),
    ],
)
def test_wrong_parameters_of_lbfgs(arguments, error, message):
    with pytest.raises(error, match=message):
        LBFGS(**arguments)
