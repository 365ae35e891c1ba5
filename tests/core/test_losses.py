import dataclasses
import json
import re

import numpy as np
import pytest

from fastnn import Dense
from fastnn._plan.plan import Plan, make_plan
from fastnn.losses import (
    LOSSES,
    Focal,
    GaussianNLL,
    Huber,
    Quantile,
    SoftmaxCrossEntropy,
)


def test_table_lists_losses_by_their_names():
    classifiers = [loss.name for loss in LOSSES.values() if loss.is_classifier]
    assert classifiers == [
        "softmax_cross_entropy", "binary_cross_entropy", "focal", "hinge"
    ]  # fmt: skip
    assert [*LOSSES][2:8] == [
        "mse", "mae", "huber", "poisson", "quantile", "gaussian_nll"
    ]  # fmt: skip
    assert all(loss.name == name for name, loss in LOSSES.items())


def test_softmax_cross_entropy_describes_itself():
    loss = SoftmaxCrossEntropy()
    assert loss.label_smoothing == 0.0
    assert loss.is_classifier
    assert loss.output_activation == "softmax"


@pytest.mark.parametrize("smoothing", [0, 0.1, 1, np.float32(0.5)])
def test_smoothing_becomes_a_float(smoothing):
    value = SoftmaxCrossEntropy(smoothing).label_smoothing
    assert type(value) is float
    assert value == smoothing


def test_loss_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SoftmaxCrossEntropy().label_smoothing = 0.5


@pytest.mark.parametrize(
    ("smoothing", "error"),
    [
        (-0.1, ValueError),
        (1.1, ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        ("0.1", TypeError),
        (None, TypeError),
        (True, TypeError),
    ],
)
def test_wrong_smoothing_is_named(smoothing, error):
    with pytest.raises(error, match="label_smoothing must be a number from 0 to 1"):
        SoftmaxCrossEntropy(smoothing)


@pytest.mark.parametrize(
    ("delta", "error"),
    [(0, ValueError), (-1, ValueError), (float("inf"), ValueError), ("1", TypeError)],
)
def test_wrong_delta_is_named(delta, error):
    with pytest.raises(error, match="delta must be a number"):
        Huber(delta)


@pytest.mark.parametrize(
    ("levels", "error", "message"),
    [
        ((), ValueError, "levels must be increasing numbers, got ()"),
        ((0.5, 0.5), ValueError, "levels must be increasing numbers, got (0.5, 0.5)"),
        ((0.9, 0.1), ValueError, "levels must be increasing"),
        ((0.5, 1), ValueError, "levels[1] must be a number > 0 and < 1, got 1"),
        (0, ValueError, "levels[0] must be a number > 0 and < 1, got 0"),
        ("0.5", TypeError, "levels[0] must be a number > 0 and < 1, got '0.5'"),
        (None, TypeError, "levels[0] must be"),
    ],
)
def test_wrong_levels_are_named(levels, error, message):
    with pytest.raises(error, match=re.escape(message)):
        Quantile(levels)


def test_levels_become_a_tuple_of_floats():
    assert Quantile(np.array([0.25, 0.5])).levels == (0.25, 0.5)
    assert Quantile(0.5) == Quantile([0.5])
    assert Quantile((0.1, 0.4, 0.9)).point == 1
    assert Quantile((0.6, 0.9)).point == 0


@pytest.mark.parametrize("make", [GaussianNLL, Focal])
@pytest.mark.parametrize("value", [-1, 1e6, float("nan"), "1", None])
def test_wrong_parameters_are_named(make, value):
    with pytest.raises((TypeError, ValueError), match=r"(epsilon|gamma) must be a n"):
        make(value)


def test_outputs_must_be_a_multiple_of_those_of_a_target():
    with pytest.raises(ValueError, match=r"has 4 outputs; expected a multiple of 3"):
        make_plan([2, 4], loss="quantile")
    plan = make_plan([2, 6], loss="quantile")
    assert (plan.n_targets, plan.point) == (2, slice(1, None, 3))
    plan = make_plan([2, 2], loss="gaussian_nll")
    assert (plan.n_targets, plan.point) == (1, slice(0, None, 2))


def test_the_one_class_of_a_row_by_the_number_of_outputs():
    for name, activations in (
        ("focal", ("sigmoid", "softmax")),
        ("hinge", ("identity",) * 2),
    ):
        for n, n_classes, activation in zip((1, 3), (2, 3), activations, strict=True):
            plan = make_plan([2, n], loss=name)
            assert plan.n_classes == n_classes
            assert plan.output_activation == activation
    layers = [2, Dense(1, "sigmoid")]
    assert make_plan(layers, "focal").layers[0].activation == "identity"


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_goes_to_a_file_and_back(loss):
    plan = make_plan([2, 6], loss=loss)
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_the_one_parameter():
    assert Quantile((0.1, 0.9)).parameter == 2.0
    assert GaussianNLL(1e-3).parameter == 1e-3
    assert Focal(3).parameter == 3.0
    assert SoftmaxCrossEntropy(0.1).parameter == 0.1
    assert Huber(2).parameter == 2.0
    assert LOSSES["mse"]().parameter == 0.0
