import dataclasses

import numpy as np
import pytest

from fastnn.losses import LOSSES, Huber, SoftmaxCrossEntropy


def test_table_lists_losses_by_their_names():
    classifiers = [loss.name for loss in LOSSES.values() if loss.is_classifier]
    assert classifiers == ["softmax_cross_entropy", "binary_cross_entropy"]
    assert list(LOSSES) == [*classifiers, "mse", "mae", "huber", "poisson"]
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


def test_the_one_parameter():
    assert SoftmaxCrossEntropy(0.1).parameter == 0.1
    assert Huber(2).parameter == 2.0
    assert LOSSES["mse"]().parameter == 0.0
