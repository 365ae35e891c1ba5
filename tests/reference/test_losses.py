"""The reference's losses against hand-worked values, differences and PyTorch."""

import math
from functools import partial

import numpy as np
import pytest
from differences import arrays, differences, is_gradient, soft_targets

from fastnn import reference
from fastnn.losses import LOSSES
from fastnn.reference import (
    binary_cross_entropy,
    focal,
    gaussian_nll,
    hinge,
    huber,
    mae,
    mse,
    poisson,
    quantile,
    softmax,
    softmax_backward,
    softmax_cross_entropy,
)
from fastnn.reference._losses import LOSSES as FUNCTIONS
from fastnn.reference._losses import is_correct

FLOATS = [np.float32, np.float64]

# Losses of a matrix of targets, and their options.
OPTIONS = {
    "binary_cross_entropy": {},
    "mse": {},
    "mae": {},
    "huber": {"delta": 0.7},
    "poisson": {},
    "quantile": {"levels": (0.3,)},
}


def test_every_loss_has_its_arithmetic():
    assert FUNCTIONS.keys() == {*LOSSES, "own"}
    for name in LOSSES:
        assert callable(getattr(reference, name))


def data(name, m=7, n=3, seed=0):
    """z, and targets that the loss can have."""
    z, t = arrays(seed, (m, n), (m, n))
    if name == "binary_cross_entropy":
        return z, 1 / (1 + np.exp(-t))
    return z, abs(t) if name == "poisson" else t


# Central differences.


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [1, 4])
def test_gradients_against_differences(name, weighted, n):
    z, t = data(name, 5, n)
    assert abs(abs(z - t) - 0.7).min() > 1e-3  # the kinks of mae and huber
    assert abs(z - t).min() > 1e-3
    weight = np.array([1.0, 2.0, 0.0, 0.5, 3.0]) if weighted else None
    function = getattr(reference, name)
    _, dz = function(z, t, weight, **OPTIONS[name])

    def loss():
        return function(z, t, weight, **OPTIONS[name])[0]

    assert is_gradient(dz, differences(loss, z))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("kind", ["labels", "soft targets", "not normalised"])
def test_softmax_cross_entropy_against_differences(kind, smoothing):
    (z,) = arrays(2, (4, 3))
    labels = np.array([2, 0, 1, 1]) if kind == "labels" else soft_targets(3, 4, 3)
    if kind == "not normalised":
        labels *= 1.001
    weight = np.array([1.0, 2.0, 0.0, 0.5])
    _, dz = softmax_cross_entropy(z, labels, weight, smoothing)

    def loss():
        return softmax_cross_entropy(z, labels, weight, smoothing)[0]

    assert is_gradient(dz, differences(loss, z))


# Hand-worked values.


def test_softmax_by_hand():
    p = softmax(np.log(np.array([[1.0, 2.0, 5.0], [1.0, 1.0, 2.0]])))
    np.testing.assert_allclose(p, [[0.125, 0.25, 0.625], [0.25, 0.25, 0.5]], 1e-15)


def test_softmax_cross_entropy_by_hand():
    z = np.log(np.array([[1.0, 2.0, 5.0], [1.0, 1.0, 2.0]]))
    labels = np.array([1, 2])
    loss, dz = softmax_cross_entropy(z, labels)
    assert type(loss) is float
    assert loss == pytest.approx((math.log(4) + math.log(2)) / 2, rel=1e-15)
    expected = np.array([[0.125, -0.75, 0.625], [0.25, 0.25, -0.5]])
    np.testing.assert_allclose(dz, expected / 2, rtol=1e-14)
    # weights 3 and 1: three and one quarters of the two rows
    loss, dz = softmax_cross_entropy(z, labels, np.array([3.0, 1.0]))
    assert loss == pytest.approx(0.75 * math.log(4) + 0.25 * math.log(2), rel=1e-15)
    np.testing.assert_allclose(dz, expected * [[0.75], [0.25]], rtol=1e-14)
    # smoothing 0.3: targets 0.1, 0.8, 0.1 in the first row
    loss, dz = softmax_cross_entropy(z[:1], labels[:1], None, 0.3)
    cost = 0.1 * math.log(8) + 0.8 * math.log(4) + 0.1 * math.log(1.6)
    assert loss == pytest.approx(cost, rel=1e-14)
    np.testing.assert_allclose(dz, [[0.025, -0.55, 0.525]], rtol=1e-14)


def test_one_hot_targets_are_labels():
    (z,) = arrays(4, (5, 3))
    labels = np.array([0, 2, 2, 1, 0])
    for smoothing in (0.0, 0.2):
        loss, dz = softmax_cross_entropy(z, labels, None, smoothing)
        soft_loss, soft_dz = softmax_cross_entropy(
            z, np.eye(3)[labels], None, smoothing
        )
        assert loss == soft_loss
        assert np.array_equal(dz, soft_dz)


def test_softmax_backward_by_hand():
    p, dp = np.array([[0.5, 0.25, 0.25]]), np.array([[4.0, 0.0, 8.0]])
    assert softmax_backward(dp, p).tolist() == [[0, -1, 1]]  # p (dp - 4)


def test_softmax_backward_against_differences():
    z, dp = arrays(18, (4, 5), (4, 5))
    dz = softmax_backward(dp, softmax(z))
    assert is_gradient(dz, differences(lambda: (dp * softmax(z)).sum(), z))


def test_binary_cross_entropy_by_hand():
    z = np.log(np.array([[3.0, 1.0], [1 / 3, 7.0]]))  # p = 3/4, 1/2; 1/4, 7/8
    t = np.array([[1.0, 0.5], [0.0, 1.0]])
    loss, dz = binary_cross_entropy(z, t)
    costs = math.log(4 / 3) + math.log(2), math.log(4 / 3) + math.log(8 / 7)
    assert type(loss) is float
    assert loss == pytest.approx(sum(costs) / 2, rel=1e-14)
    np.testing.assert_allclose(
        dz, np.array([[-0.25, 0], [0.25, -0.125]]) / 2, rtol=1e-14, atol=1e-17
    )
    loss, dz = binary_cross_entropy(z, t, np.array([3.0, 1.0]))
    assert loss == pytest.approx((3 * costs[0] + costs[1]) / 4, rel=1e-14)
    np.testing.assert_allclose(dz[0], [-0.1875, 0], rtol=1e-14, atol=1e-17)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, ">i4"])
def test_binary_labels_are_their_column(dtype):
    (z,) = arrays(19, (4, 1))
    labels = np.array([1, 0, 0, 1])
    expected = binary_cross_entropy(z, labels[:, np.newaxis].astype(float))
    loss, dz = binary_cross_entropy(z, labels.astype(dtype))
    assert loss == expected[0]
    assert np.array_equal(dz, expected[1])
    assert dz.shape == (4, 1)


def test_regressions_by_hand():
    z, t = np.array([[1.0, 5.0], [0.0, 0.0]]), np.array([[3.0, 4.5], [0.0, 1.0]])
    loss, dz = mse(z, t)  # differences -2, 0.5; 0, -1
    assert loss == (4.25 / 2 + 1 / 2) / 2
    assert dz.tolist() == [[-1, 0.25], [0, -0.5]]
    loss, dz = mae(z, t)
    assert loss == (2.5 / 2 + 1 / 2) / 2
    assert dz.tolist() == [[-0.25, 0.25], [0, -0.25]]
    loss, dz = huber(z, t)
    assert loss == ((1.5 + 0.125) / 2 + 0.5 / 2) / 2
    assert dz.tolist() == [[-0.25, 0.125], [0, -0.25]]
    loss, dz = huber(z, t, np.array([1.0, 3.0]), delta=0.5)
    assert loss == ((0.875 + 0.125) / 2 + 3 * 0.375 / 2) / 4
    assert dz.tolist() == [[-0.0625, 0.0625], [0, -0.1875]]
    loss, dz = poisson(np.log(np.array([[2.0, 1.0]])), np.array([[3.0, 5.0]]))
    assert loss == pytest.approx((2 - 3 * math.log(2) + 1) / 2, rel=1e-15)
    np.testing.assert_allclose(dz, [[-0.5, -2]], rtol=1e-15)


def test_quantiles_by_hand():
    z, t = np.array([[1.0, 4.0, 0.5, 2.0], [0, 0, 0, 0]]), np.array([[3.0, 2], [0, 0]])
    loss, dz = quantile(z, t, levels=(0.25, 0.75))  # differences 2, -1; 1.5, 0
    assert loss == (0.5 + 0.25 + 0.375) / 4 / 2
    assert dz.tolist() == [[-0.03125, 0.03125, -0.03125, 0], [0, 0, 0, 0]]
    loss, _ = quantile(z, t, np.array([3.0, 0.0]), levels=[0.25, 0.75])
    assert loss == (0.5 + 0.25 + 0.375) / 4


def test_gaussian_nll_by_hand():
    z = np.array([[1.0, 0.0, 5.0, math.log(4)], [0, -50, 0, -50]])
    t = np.array([[3.0, 5.0], [0.0, 1.0]])
    loss, dz = gaussian_nll(z, t, np.array([1.0, 0.0]))
    assert loss == pytest.approx((0 + 4 + math.log(4)) / 4, rel=1e-15)
    np.testing.assert_allclose(dz[0], [-1, -0.75, 0, 0.25], 1e-15)
    loss, dz = gaussian_nll(z, t, np.array([0.0, 1.0]), epsilon=0.5)  # limited
    assert loss == pytest.approx((2 * math.log(0.5) + 2) / 4, rel=1e-15)
    small = math.exp(-50) / 0.5 / 4
    np.testing.assert_allclose(dz[1], [0, small, -1, -small], 1e-15)


def test_focal_by_hand():
    z, labels = np.log(np.array([[1.0, 3.0]])), np.array([0])
    loss, dz = focal(z, labels, gamma=3)  # p = 1/4, of the gradient p - 1, 3/4
    assert loss == pytest.approx(0.75**3 * math.log(4), rel=1e-14)
    factor = 0.75**2 * (0.75 + 3 / 4 * math.log(4))
    np.testing.assert_allclose(dz, [[-0.75 * factor, 0.75 * factor]], 1e-14)
    assert focal(z[:, :1] - z[:, 1:], np.array([1]), gamma=3)[0] == pytest.approx(loss)
    assert focal(z, labels, gamma=0)[0] == softmax_cross_entropy(z, labels)[0]


def test_hinge_by_hand():
    z, labels = np.array([[1.0, 1.5, -3.0], [0.0, 2.0, 1.0]]), np.array([0, 1])
    loss, dz = hinge(z, labels)  # margins 1.5, -3; -1, 0
    assert loss == 0.25
    np.testing.assert_allclose(dz, [[-1 / 6, 1 / 6, 0], [0, 0, 0]], 1e-15)
    z = np.array([[0.25], [2.0], [-0.5], [-1.0]])
    loss, dz = hinge(z, np.array([1, 1, 0, 0]))
    assert loss == (0.75 + 0 + 0.5 + 0) / 4
    assert dz.tolist() == [[-0.25], [0], [0.25], [0]]
    one_hot = np.array([[0.9], [0.6], [0.5], [0]])
    assert hinge(z, one_hot)[0] == loss


# What is predicted, and what is right.


def test_values():
    (z,) = arrays(20, (3, 2))
    for name in ("mse", "mae", "huber"):
        assert np.array_equal(FUNCTIONS[name].values(z), z)
    np.testing.assert_allclose(FUNCTIONS["poisson"].values(z), np.exp(z), 1e-15)
    p = FUNCTIONS["binary_cross_entropy"].values(z)
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-z)), 1e-14)
    np.testing.assert_allclose(
        FUNCTIONS["softmax_cross_entropy"].values(z), softmax(z), 1e-15
    )


def test_labels_and_correct_rows():
    loss = LOSSES["binary_cross_entropy"]()
    labels = FUNCTIONS["binary_cross_entropy"].labels
    z = np.array([[-1.0], [0.0], [1e-30]])
    assert labels(z).tolist() == [0, 0, 1]
    assert labels(z).dtype == np.int64
    assert is_correct(loss, z, np.array([0, 1, 1])).tolist() == [1, 0, 1]
    assert is_correct(loss, z, np.array([[0.5], [0.4], [0.6]])).tolist() == [1, 1, 1]
    z = np.array([[1.0, -1.0], [1.0, 1.0]])
    assert labels(z).tolist() == [[1, 0], [1, 1]]
    t = np.array([[0.9, 0.5], [1.0, 0.0]])
    assert is_correct(loss, z, t).tolist() == [1, 0]
    loss = LOSSES["softmax_cross_entropy"]()
    assert is_correct(loss, z, np.array([0, 1])).tolist() == [1, 0]  # ties: the first
    assert is_correct(loss, z, np.array([[0.3, 0.7], [0.5, 0.5]])).tolist() == [0, 1]
    for name in ("mse", "mae", "huber", "poisson"):
        assert FUNCTIONS[name].labels is None
        assert is_correct(LOSSES[name](), z, z).tolist() == [0, 0]


# PyTorch.


def tensors(torch, *values):
    return [torch.tensor(value, requires_grad=True) for value in values]


@pytest.mark.parametrize("n", [1, 2, 10])
@pytest.mark.parametrize("kind", ["labels", "soft"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_softmax_cross_entropy_against_torch(torch, n, kind, weighted, smoothing):
    m = 7
    rng = np.random.default_rng(7)
    (z,) = arrays(8, (m, n))
    labels = rng.integers(n, size=m) if kind == "labels" else soft_targets(9, m, n)
    weight = rng.random(m) if weighted else None
    (tz,) = tensors(torch, z)
    losses = torch.nn.functional.cross_entropy(
        tz, torch.tensor(labels), reduction="none", label_smoothing=smoothing
    )
    tw = torch.tensor(np.ones(m) if weight is None else weight)
    expected = (losses * tw).sum() / tw.sum()
    expected.backward()
    loss, dz = softmax_cross_entropy(z, labels, weight, smoothing)
    assert loss == pytest.approx(expected.item(), rel=1e-10, abs=1e-15)
    np.testing.assert_allclose(dz, tz.grad.numpy(), rtol=1e-10, atol=1e-15)


def test_softmax_against_torch(torch):
    (z,) = arrays(10, (6, 9))
    expected = torch.tensor(z * 10).softmax(dim=1).numpy()
    np.testing.assert_allclose(softmax(z * 10), expected, rtol=1e-10)


def torch_losses(torch, name):
    """The losses of rows."""
    f = torch.nn.functional
    return {
        "binary_cross_entropy": lambda z, t: f.binary_cross_entropy_with_logits(
            z, t, reduction="none"
        ).sum(1),
        "mse": lambda z, t: f.mse_loss(z, t, reduction="none").mean(1),
        "mae": lambda z, t: f.l1_loss(z, t, reduction="none").mean(1),
        "huber": lambda z, t: f.huber_loss(z, t, reduction="none", delta=0.7).mean(1),
        "poisson": lambda z, t: f.poisson_nll_loss(z, t, reduction="none").mean(1),
        "quantile": lambda z, t: torch.maximum(0.3 * (t - z), -0.7 * (t - z)).mean(1),
    }[name]


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [1, 9])
@pytest.mark.parametrize("dtype", FLOATS)
def test_losses_against_torch(torch, name, weighted, n, dtype):
    z, t = (array.astype(dtype) for array in data(name, 7, n, 21))
    weight = np.random.default_rng(7).random(7).astype(dtype) if weighted else None
    (tz,) = tensors(torch, z)
    tw = torch.tensor(np.ones(7, dtype) if weight is None else weight)
    expected = (torch_losses(torch, name)(tz, torch.tensor(t)) * tw).sum() / tw.sum()
    expected.backward()
    loss, dz = getattr(reference, name)(z, t, weight, **OPTIONS[name])
    rtol = 1e-10 if dtype == np.float64 else 1e-5
    assert loss == pytest.approx(expected.item(), rel=rtol)
    assert dz.dtype == dtype
    np.testing.assert_allclose(dz, tz.grad.numpy(), rtol=rtol, atol=rtol / 100)


# Extremes: no warnings (the suite makes errors of them), no overflow.


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("top", [0, 1e4, -1e4, 1e38, -1e38])
def test_softmax_of_extreme_logits(dtype, top):
    z = np.array([[top, 0, 0, 0], [top] * 4], dtype)
    p = softmax(z)
    assert np.isfinite(p).all()
    assert (abs(p.sum(axis=1) - 1) <= 4 * np.finfo(dtype).eps).all()
    assert p[1].tolist() == [0.25] * 4
    loss, dz = softmax_cross_entropy(z, np.array([1, 1]))
    assert loss == pytest.approx(expected_cost(float(dtype(top))), rel=1e-6)
    assert np.isfinite(dz).all()


def expected_cost(top):
    """Mean of -log softmax([top, 0, 0, 0])[1] and log 4, without overflow."""
    highest = max(top, 0)
    total = math.exp(top - highest) + 3 * math.exp(-highest)
    return (highest + math.log(total) + math.log(4)) / 2


def test_a_certain_and_right_prediction_costs_plus_zero():
    for z in ([[1e4, 0.0]], [[5.0]]):
        loss, dz = softmax_cross_entropy(np.array(z), np.array([0]))
        assert loss == 0
        assert math.copysign(1, loss) == 1
        assert not dz.any()


def test_target_zero_costs_nothing_even_if_its_cost_overflows():
    z = np.array([[3e38, -3e38]], np.float32)
    assert softmax_cross_entropy(z, np.array([[1, 0]], np.float32))[0] == 0
    assert softmax_cross_entropy(z, np.array([1]))[0] == math.inf


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("top", [1e4, 1e30])
def test_binary_cross_entropy_of_extreme_logits(dtype, top):
    z = np.array([[top, -top, top, -top]], dtype)
    t = np.array([[1, 0, 0.5, 0.25]], dtype)
    loss, dz = binary_cross_entropy(z, t)
    assert loss == pytest.approx(top * 0.75, rel=1e-6)
    assert dz.tolist() == [[0, 0, 0.5, -0.25]]


def test_not_finite_losses_do_not_warn():
    z = np.array([[np.inf, 1e300]])
    for name in OPTIONS:
        loss, _ = getattr(reference, name)(z, np.zeros((1, 2)), **OPTIONS[name])
        assert not np.isfinite(loss)


@pytest.mark.parametrize("name", OPTIONS)
def test_targets_are_checked(name):
    function = partial(getattr(reference, name), **OPTIONS[name])
    z = np.ones((3, 2))
    for targets, error, message in (
        (z[:2], ValueError, r"targets must have shape \(3, 2\), got \(2, 2\)"),
        (z.astype("f4"), TypeError, "targets must be float64 like z, got float32"),
        (z.tolist(), TypeError, "targets must be a NumPy array, got list"),
        (np.ones(3), ValueError, r"targets must have shape \(3, 2\), got \(3,\)"),
    ):
        with pytest.raises(error, match=message):
            function(z, targets)
    with pytest.raises(ValueError, match="sample_weight must have a positive sum"):
        function(z, z, np.zeros(3))


def test_binary_labels_are_checked():
    z = np.ones((3, 1))
    with pytest.raises(ValueError, match=r"from 0 to 1, got targets\[1\] = 2"):
        binary_cross_entropy(z, np.array([0, 2, 1]))
    with pytest.raises(TypeError, match=r"integers or a matrix \(3, 1\), got float64"):
        binary_cross_entropy(z, np.ones(3))
    with pytest.raises(ValueError, match=r"targets must have shape \(3,\)"):
        binary_cross_entropy(z, np.ones(2, int))


def test_delta_is_checked():
    with pytest.raises(ValueError, match="delta must be"):
        huber(np.ones((1, 1)), np.ones((1, 1)), delta=0)
