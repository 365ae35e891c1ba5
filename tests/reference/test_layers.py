"""The reference's layers against hand-worked values, differences and PyTorch."""

import math

import numpy as np
import pytest
from differences import arrays, differences, is_gradient

from fastnn.activations import ACTIVATIONS, ELU, LeakyReLU
from fastnn.layers import LAYERS
from fastnn.reference import (
    batch_norm_backward,
    batch_norm_forward,
    dense_backward,
    dense_forward,
    dropout,
    layer_norm_backward,
    layer_norm_forward,
)
from fastnn.reference._activations import SAVES_INPUT
from fastnn.reference._layers import dropout_factor
from fastnn.reference._passes import LAYERS as FUNCTIONS

FLOATS = [np.float32, np.float64]


def test_every_layer_has_its_arithmetic():
    assert FUNCTIONS.keys() == LAYERS.keys()


# Dense.


def test_dense_forward_by_hand():
    x = np.array([[1.0, 2.0], [-1.0, 0.5]])
    w = np.array([[1.0, 0.0, 2.0], [3.0, -1.0, 0.0]])
    b = np.array([0.5, 0.0, -3.0])
    y = [[7.5, -2.0, -1.0], [1.0, -0.5, -5.0]]
    assert dense_forward(x, w, b).tolist() == y
    assert dense_forward(x, w, b, "relu").tolist() == [[7.5, 0, 0], [1, 0, 0]]


def test_dense_backward_by_hand():
    x = np.array([[1.0, 2.0], [-1.0, 0.5]])
    w = np.array([[1.0, 2.0], [3.0, -1.0]])
    dy = np.array([[1.0, 10.0], [2.0, 4.0]])
    dx, dw, db = dense_backward(dy, x, w)
    assert dx.tolist() == [[21, -7], [10, 2]]
    assert dw.tolist() == [[-1, 6], [3, 22]]
    assert db.tolist() == [3, 14]
    y = np.array([[5.0, 0.0], [0.0, 3.0]])  # the second and third do not pass
    dx, dw, db = dense_backward(dy, x, w, y, "relu")
    assert dx.tolist() == [[1, 3], [8, -4]]
    assert dw.tolist() == [[1, -4], [2, 2]]
    assert db.tolist() == [1, 4]


@pytest.mark.parametrize("activation", [*ACTIVATIONS, LeakyReLU(0.3), ELU(0.5)])
def test_dense_backward_against_differences(activation):
    x, w, b, dy = arrays(1, (3, 5), (5, 4), (4,), (3, 4))
    assert abs(x @ w + b).min() > 1e-3
    from_input = isinstance(activation, str) and activation in SAVES_INPUT
    y = dense_forward(x, w, b, "identity" if from_input else activation)

    def loss():
        return (dy * dense_forward(x, w, b, activation)).sum()

    gradients = dense_backward(dy, x, w, y, activation)
    for array, gradient in zip((x, w, b), gradients, strict=True):
        assert is_gradient(gradient, differences(loss, array))


def test_dense_takes_an_activation_by_name_or_object():
    x, w, b, dy = arrays(2, (3, 5), (5, 4), (4,), (3, 4))
    y = dense_forward(x, w, b, "leaky_relu")
    assert np.array_equal(y, dense_forward(x, w, b, LeakyReLU()))
    z = dense_forward(x, w, b)
    np.testing.assert_allclose(y, np.where(z > 0, z, 0.01 * z), rtol=1e-15)
    y = dense_forward(x, w, b, LeakyReLU(0.5))
    np.testing.assert_allclose(y, np.where(z > 0, z, 0.5 * z), rtol=1e-15)
    by_hand = dense_backward(np.where(z > 0, dy, 0.5 * dy), x, w)
    for ours, theirs in zip(
        dense_backward(dy, x, w, y, LeakyReLU(0.5)), by_hand, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)


# Dropout.


def expected_mask(rate, key, step, m, n):
    """What is kept, by the definition, one value at a time."""

    def triple32(x):
        for shift, factor in ((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB)):
            x ^= x >> shift
            x = x * factor & 0xFFFFFFFF
        return x ^ x >> 14

    base = (key + 0x9E3779B97F4A7C15 * (step + 1)) & (2**64 - 1)
    base ^= base >> 30
    base = base * 0xBF58476D1CE4E5B9 & (2**64 - 1)
    base ^= base >> 27
    base = base * 0x94D049BB133111EB & (2**64 - 1)
    base ^= base >> 31
    threshold = math.floor(rate * 2**32)
    mask = []
    for place in range(m * n):
        h = triple32(place ^ (base & 0xFFFFFFFF)) ^ (base >> 32)
        mask.append(triple32(h) >= threshold)
    return np.reshape(mask, (m, n))


@pytest.mark.parametrize("key", [0, 1, 2**63 + 12345, 2**64 - 1])
@pytest.mark.parametrize("step", [0, 1, 10**6, 2**64 - 1])
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.999])
def test_mask_of_dropout(key, step, rate):
    y = dropout(np.ones((6, 7)), rate, key, step)
    kept = expected_mask(rate, key, step, 6, 7)
    assert np.array_equal(y, np.where(kept, 1 / (1 - rate), 0))


# Of the scalar code above; the native kernels must have the same.
GOLDEN = ["1010", "1110", "0110", "0111"]


def test_golden_mask_of_dropout():
    y = dropout(np.ones((4, 4), np.float32), 0.5, key=1, step=0)
    assert [("".join(str(int(each > 0)) for each in row)) for row in y] == GOLDEN


def test_rows_of_an_update_are_numbered_through():
    whole = dropout_factor((9, 5), np.dtype(float), 0.3, 7, 3)
    part = dropout_factor((4, 5), np.dtype(float), 0.3, 7, 3, first_row=5)
    assert np.array_equal(part, whole[5:])
    far = dropout_factor((3, 2**20), np.dtype("f4"), 0.5, 7, 3, first_row=4095)
    again = dropout_factor((2, 2**20), np.dtype("f4"), 0.5, 7, 3)
    assert np.array_equal(far[1:], again)  # places are modulo 2^32


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_share_of_dropout(rate):
    n = 200_000
    y = dropout(np.ones((1000, n // 1000), np.float32), rate, 99, 5)
    kept = np.count_nonzero(y)
    assert abs(kept - n * (1 - rate)) < 4 * math.sqrt(n * rate * (1 - rate))
    assert y.mean() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("dtype", FLOATS)
def test_dropout_is_its_own_gradient(dtype):
    x, dy = arrays(3, (5, 6), (5, 6), dtype=dtype)
    y = dropout(x, 0.4, 11, 2)
    assert y.dtype == dtype
    factor = np.where(y != 0, dtype(1 / 0.6), 0).astype(dtype)
    assert np.array_equal(y, x * factor)
    assert np.array_equal(dropout(dy, 0.4, 11, 2), dy * factor)


# Norms.


def test_batch_norm_by_hand():
    x = np.array([[1.0, 2.0], [3.0, 8.0]])
    y, mean, variance = batch_norm_forward(
        x, np.array([2.0, 1.0]), np.array([0.5, 0.0]), epsilon=3.0
    )
    assert mean.tolist() == [2, 5]
    assert variance.tolist() == [1, 9]
    root = math.sqrt(12)
    expected = [[0.5 - 1, -3 / root], [0.5 + 1, 3 / root]]
    np.testing.assert_allclose(y, expected, rtol=1e-15)
    dy = np.array([[1.0, 0.0], [0.0, 2.0]])
    dx, dscale, dshift = batch_norm_backward(dy, x, np.array([2.0, 1.0]), epsilon=3.0)
    np.testing.assert_allclose(dscale, [-0.5, 6 / root], rtol=1e-15)
    assert dshift.tolist() == [1, 2]
    # N = -1/2, 1/2; dN = 2, 0; its mean is 1 and that of N dN -1/2
    np.testing.assert_allclose(dx[:, 0], [(1 - 0.25) / 2, (-1 + 0.25) / 2], rtol=1e-15)


def test_layer_norm_by_hand():
    x = np.array([[1.0, 3.0], [2.0, 8.0]])
    y = layer_norm_forward(x, np.array([2.0, 1.0]), np.array([0.5, 0.0]), epsilon=3.0)
    root = math.sqrt(12)
    expected = [[0.5 - 1, 0.5], [0.5 - 6 / root, 3 / root]]
    np.testing.assert_allclose(y, expected, rtol=1e-15)


@pytest.mark.parametrize("norm", ["batch_norm", "layer_norm"])
@pytest.mark.parametrize("shape", [(5, 4), (2, 3), (1, 6), (7, 1)])
def test_norms_against_differences(norm, shape):
    x, scale, shift, dy = arrays(4, shape, shape[1:], shape[1:], shape)
    epsilon = 0.1  # so that one row or column alone is not all cancellation

    def forward():
        if norm == "layer_norm":
            return layer_norm_forward(x, scale, shift, epsilon)
        return batch_norm_forward(x, scale, shift, epsilon)[0]

    backward = layer_norm_backward if norm == "layer_norm" else batch_norm_backward
    gradients = backward(dy, x, scale, epsilon)
    for array, gradient in zip((x, scale, shift), gradients, strict=True):
        numeric = differences(lambda: (dy * forward()).sum(), array)
        assert is_gradient(gradient, numeric)


@pytest.mark.parametrize("norm", ["batch_norm", "layer_norm"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_norms_against_torch(torch, norm, dtype):
    x, scale, shift, dy = arrays(5, (16, 9), (9,), (9,), (16, 9), dtype=dtype)
    tx, tscale, tshift = (
        torch.tensor(a, requires_grad=True) for a in (x, scale, shift)
    )
    f = torch.nn.functional
    if norm == "batch_norm":
        ty = f.batch_norm(tx, None, None, tscale, tshift, training=True, eps=1e-3)
        y = batch_norm_forward(x, scale, shift, 1e-3)[0]
        gradients = batch_norm_backward(dy, x, scale, 1e-3)
    else:
        ty = f.layer_norm(tx, (9,), tscale, tshift, eps=1e-3)
        y = layer_norm_forward(x, scale, shift, 1e-3)
        gradients = layer_norm_backward(dy, x, scale, 1e-3)
    ty.backward(torch.tensor(dy))
    tolerance = 1e-11 if dtype == np.float64 else 2e-5
    theirs = [ty.detach(), tx.grad, tscale.grad, tshift.grad]
    for one, other in zip((y, *gradients), theirs, strict=True):
        assert one.dtype == dtype
        np.testing.assert_allclose(one, other.numpy(), tolerance, tolerance)


def test_a_far_mean_does_not_spoil_the_variance():
    (x,) = arrays(6, (50, 3))
    far = (x + 1e4).astype(np.float32)
    exact = np.float64(far)
    exact = (exact - exact.mean(axis=0)) / np.sqrt(exact.var(axis=0) + 1e-5)
    y, _, variance = batch_norm_forward(far, np.ones(3, "f4"), np.zeros(3, "f4"))
    np.testing.assert_allclose(variance, np.float64(far).var(axis=0), rtol=1e-6)
    np.testing.assert_allclose(y, exact, atol=2e-3)


# PyTorch.


def tensors(torch, *values):
    return [torch.tensor(value, requires_grad=True) for value in values]


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 4), (17, 33, 9), (64, 5, 31)])
@pytest.mark.parametrize("activation", ["identity", "relu", "gelu", "softmax"])
def test_dense_against_torch(torch, shape, activation):
    m, k, n = shape
    x, w, b, dy = arrays(6, (m, k), (k, n), (n,), (m, n))
    tx, tw, tb = tensors(torch, x, w, b)
    ty = tx @ tw + tb
    if activation == "softmax":
        ty = ty.softmax(dim=1)
    elif activation != "identity":
        ty = getattr(torch.nn.functional, activation)(ty)
    ty.backward(torch.tensor(dy))
    y = dense_forward(x, w, b, activation)
    np.testing.assert_allclose(y, ty.detach().numpy(), rtol=1e-10, atol=1e-14)
    saved = dense_forward(x, w, b) if activation == "gelu" else y
    dx, dw, db = dense_backward(dy, x, w, saved, activation)
    for ours, theirs in ((dx, tx), (dw, tw), (db, tb)):
        np.testing.assert_allclose(ours, theirs.grad.numpy(), rtol=1e-10, atol=1e-13)


# Arguments.


X, SCALE = np.ones((3, 4)), np.ones(4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: dropout(X[0], 0.5, 0, 0), ValueError, r"x must have shape \(m, n\)"),
        (lambda: dropout(X, 1.0, 0, 0), ValueError, "rate must be a number >= 0 and <"),
        (lambda: dropout(X, 0.5, -1, 0), ValueError, "key must be an integer from 0"),
        (lambda: dropout(X, 0.5, 2**64, 0), ValueError, "key must be an integer"),
        (lambda: dropout(X, 0.5, 0, -1), ValueError, "step must be an integer from 0"),
        (lambda: dropout(X, 0.5, 0.0, 1), TypeError, "key must be an integer"),
        (
            lambda: batch_norm_forward(X, SCALE[1:], SCALE),
            ValueError,
            r"scale must have shape \(4,\), got \(3,\)",
        ),
        (
            lambda: batch_norm_forward(X, SCALE, SCALE, epsilon=0),
            ValueError,
            "epsilon must be a finite number >= 1e-12",
        ),
        (
            lambda: batch_norm_backward(X, X[1:], SCALE),
            ValueError,
            r"x must have shape \(3, 4\), got \(2, 4\)",
        ),
        (
            lambda: layer_norm_forward(X, SCALE, SCALE.astype("f4")),
            TypeError,
            "shift must be float64 like x, got float32",
        ),
        (
            lambda: layer_norm_backward(X, X, X),
            ValueError,
            r"scale must have shape \(4,\), got \(3, 4\)",
        ),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
