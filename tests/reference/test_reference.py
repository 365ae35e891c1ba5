"""What all functions of the reference have in common, and how they go together."""

import inspect
import math

import numpy as np
import pytest
from differences import arrays, differences, is_gradient

from fastnn import reference
from fastnn.reference import (
    dense_backward,
    dense_forward,
    relu_backward,
    relu_forward,
    sgd_update,
    softmax,
    softmax_cross_entropy,
)

FLOATS = [np.float32, np.float64]


# Gradients through several functions, and gradients that are wrong.


def two_layers(seed):
    """A small net's loss, its gradients, and the arrays they belong to."""
    x, w1, b1, w2, b2 = arrays(seed, (5, 4), (4, 6), (6,), (6, 3), (3,))
    while abs(x @ w1 + b1).min() < 1e-3:  # differences across the kink mean nothing
        b1 += 0.01
    labels = np.array([0, 2, 1, 2, 2])
    weight = np.array([1.0, 0.5, 2.0, 0.0, 3.0])

    def loss():
        h = dense_forward(x, w1, b1, "relu")
        return softmax_cross_entropy(dense_forward(h, w2, b2), labels, weight, 0.1)[0]

    h = dense_forward(x, w1, b1, "relu")
    _, dz = softmax_cross_entropy(dense_forward(h, w2, b2), labels, weight, 0.1)
    dh, dw2, db2 = dense_backward(dz, h, w2)
    dx, dw1, db1 = dense_backward(dh, x, w1, h, "relu")
    return loss, [x, w1, b1, w2, b2], [dx, dw1, db1, dw2, db2]


@pytest.mark.parametrize("seed", range(3))
def test_gradients_of_two_layers(seed):
    loss, inputs, gradients = two_layers(seed)
    for array, gradient in zip(inputs, gradients, strict=True):
        assert is_gradient(gradient, differences(loss, array))


def sign(g, rng):
    g *= -1


def one_sign(g, rng):
    g.flat[rng.integers(g.size)] *= -1


def scaled(g, rng):
    g *= 1 + 1e-5


def one_scaled(g, rng):
    g[np.unravel_index(abs(g).argmax(), g.shape)] *= 1 + 1e-4


def mean_for_sum(g, rng):
    g /= len(g)


def swapped_rows(g, rng):
    g[[0, 1]] = g[[1, 0]]


def reversed_columns(g, rng):
    g[...] = g[..., ::-1].copy()


def lost_row(g, rng):
    g[rng.integers(len(g))] = 0


def offset(g, rng):
    g += 1e-7


def single_precision(g, rng):
    g[...] = (g * 1.1).astype(np.float16) / 1.1


WRONG = [
    sign,
    one_sign,
    scaled,
    one_scaled,
    mean_for_sum,
    swapped_rows,
    reversed_columns,
    lost_row,
    offset,
    single_precision,
]


@pytest.mark.parametrize("seed", range(len(WRONG)))
def test_wrong_gradients_are_caught(seed):
    loss, inputs, gradients = two_layers(seed)
    rng = np.random.default_rng(seed)
    for which in (1, 3):  # dw1, dw2
        numeric = differences(loss, inputs[which])
        assert is_gradient(gradients[which], numeric)
        WRONG[seed](gradients[which], rng)
        assert not is_gradient(gradients[which], numeric)


# Infinities and NaN.


def test_not_finite_comes_out_as_it_went_in():
    x = np.array([[np.nan, np.inf]])
    w, b = np.eye(2), np.zeros(2)
    assert np.isnan(dense_forward(x, w, b)).all()
    assert np.isnan(softmax(x)).all()
    assert np.isnan(relu_forward(np.array([np.nan]))).all()
    assert math.isnan(softmax_cross_entropy(x, np.array([0]))[0])
    assert np.isnan(dense_backward(x, x, w)[0]).all()
    w = np.array([1.0])
    sgd_update(w, np.array([np.inf]))
    assert w.tolist() == [-np.inf]
    big = np.array([[1e200]])
    assert dense_forward(big, big, np.zeros(1)).tolist() == [[np.inf]]


# Arguments.


@pytest.mark.parametrize("dtype", FLOATS)
def test_results_have_the_dtype_of_the_arguments(dtype):
    x, w, b, dy = arrays(12, (3, 5), (5, 4), (4,), (3, 4), dtype=dtype)
    y = dense_forward(x, w, b, "relu")
    results = [y, *dense_backward(dy, x, w, y, "relu"), softmax(dy), relu_forward(dy)]
    results += [relu_backward(dy, y), softmax_cross_entropy(dy, np.arange(3))[1]]
    weight = np.ones(3, dtype)
    results += [softmax_cross_entropy(dy, softmax(dy), weight, 0.1)[1]]
    assert {result.dtype for result in results} == {np.dtype(dtype)}
    assert type(softmax_cross_entropy(dy, np.arange(3), weight)[0]) is float


def test_inputs_are_not_changed():
    given = arrays(13, (3, 5), (5, 4), (4,), (3, 4), (3, 4), (3,))
    given[5] = abs(given[5])
    for array in given:
        array.flags.writeable = False  # a write would raise
    x, w, b, dy, y, weight = given
    dense_forward(x, w, b, "relu")
    dense_backward(dy, x, w, y, "relu")
    dense_backward(dy, x, w)
    softmax(dy)
    softmax_cross_entropy(dy, np.arange(3), weight, 0.1)
    softmax_cross_entropy(dy, y, weight)
    relu_forward(x)
    relu_backward(dy, y)


def test_results_are_not_views_of_inputs():
    x, w, y = arrays(15, (3, 4), (4, 4), (3, 4))
    assert not np.shares_memory(relu_forward(x), x)
    assert not np.shares_memory(relu_backward(y, x), y)
    assert not np.shares_memory(dense_forward(x, w, np.zeros(4)), x)


@pytest.mark.parametrize("layout", ["F", "strided", "reversed"])
def test_any_memory_layout_gives_the_values_of_its_copy(layout):
    x, w, b = arrays(16, (6, 8), (4, 3), (3,))
    x = {
        "F": np.asfortranarray(x[:, :4]),
        "strided": x[:, ::2],
        "reversed": x[:, 3::-1],
    }[layout]
    expected = dense_forward(x.copy(order="C"), w, b)
    np.testing.assert_allclose(dense_forward(x, w, b), expected, rtol=1e-14)


X, W, B = np.ones((3, 5)), np.ones((5, 4)), np.ones(4)
DY = np.ones((3, 4))
LABELS = np.array([0, 1, 3])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: dense_forward(X.tolist(), W, B), TypeError, "x must be a NumPy array"),
        (lambda: dense_forward(X.astype(int), W, B), TypeError, "x .* got int64"),
        (lambda: dense_forward(X.astype(">f8"), W, B), TypeError, "x must be float32"),
        (
            lambda: dense_forward(X, W.astype("f4"), B),
            TypeError,
            "w must be float64 like x, got float32",
        ),
        (lambda: dense_forward(X[0], W, B), ValueError, r"x .*\(m, k\), got \(5,\)"),
        (lambda: dense_forward(X, W.T, B), ValueError, r"w .*\(5, n\), got \(4, 5\)"),
        (lambda: dense_forward(X, W, B[:3]), ValueError, r"b .*\(4,\), got \(3,\)"),
        (lambda: dense_forward(X[:0], W, B), ValueError, r"x .*sizes >= 1, got \(0, 5"),
        (lambda: dense_forward(X, W, B, "sofmax"), ValueError, "activation must be"),
        (lambda: dense_forward(X, W, B, None), TypeError, "activation must be"),
        (lambda: dense_backward(X, X, W), ValueError, r"w .*\(5, 5\), got \(5, 4\)"),
        (lambda: dense_backward(DY, X[:2], W), ValueError, r"x .*\(3, k\)"),
        (
            lambda: dense_backward(DY, X, W, None, "relu"),
            ValueError,
            "y must be the layer's output for activation 'relu', got None",
        ),
        (
            lambda: dense_backward(DY, X, W, None, "gelu"),
            ValueError,
            r"y must be x @ w \+ b for activation 'gelu', got None",
        ),
        (lambda: dense_backward(DY, X, W, X, "relu"), ValueError, r"y .*\(3, 4\)"),
        (lambda: relu_forward([1.0]), TypeError, "x must be a NumPy array, got list"),
        (lambda: relu_backward(DY, X), ValueError, r"y must .*\(3, 4\) like dy"),
        (lambda: softmax(B), ValueError, r"z must have shape \(m, n\), got \(4,\)"),
        (lambda: softmax(DY[:, :0]), ValueError, r"z .*sizes >= 1, got \(3, 0\)"),
        (
            lambda: softmax_cross_entropy(DY, LABELS + 1),
            ValueError,
            r"labels must be from 0 to 3, got labels\[2\] = 4",
        ),
        (
            lambda: softmax_cross_entropy(DY, LABELS - 1),
            ValueError,
            r"got labels\[0\] = -1",
        ),
        (
            lambda: softmax_cross_entropy(DY, LABELS[:2]),
            ValueError,
            r"labels must have shape \(3,\), got \(2,\)",
        ),
        (
            lambda: softmax_cross_entropy(DY, LABELS.astype(float)),
            TypeError,
            r"labels must be integers or soft targets \(3, 4\), got float64",
        ),
        (
            lambda: softmax_cross_entropy(DY, LABELS > 0),
            TypeError,
            "labels .* got bool",
        ),
        (lambda: softmax_cross_entropy(DY, [0, 1, 2]), TypeError, "labels .* got list"),
        (lambda: softmax_cross_entropy(DY, X), ValueError, r"labels .*\(3, 4\), got"),
        (
            lambda: softmax_cross_entropy(DY, DY.astype("f4")),
            TypeError,
            "labels must be float64 like z, got float32",
        ),
        (
            lambda: softmax_cross_entropy(DY, LABELS, np.array([1, -1, np.nan])),
            ValueError,
            r"sample_weight must be finite and >= 0, got sample_weight\[1\] = -1.0",
        ),
        (
            lambda: softmax_cross_entropy(DY, LABELS, np.array([1, np.inf, 1])),
            ValueError,
            r"sample_weight\[1\] = inf",
        ),
        (
            lambda: softmax_cross_entropy(DY, LABELS, np.zeros(3)),
            ValueError,
            "sample_weight must have a positive sum",
        ),
        (
            lambda: softmax_cross_entropy(DY, LABELS, np.ones(2)),
            ValueError,
            r"sample_weight must have shape \(3,\), got \(2,\)",
        ),
        (
            lambda: softmax_cross_entropy(DY, LABELS, np.ones(3, "f4")),
            TypeError,
            "sample_weight must be float64 like z, got float32",
        ),
        (
            lambda: softmax_cross_entropy(DY, LABELS, None, 1.5),
            ValueError,
            "label_smoothing must be a number from 0 to 1, got 1.5",
        ),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64, ">i8"])
def test_labels_of_any_integer_dtype(dtype):
    labels = LABELS.astype(dtype)
    assert softmax_cross_entropy(DY, labels)[0] == softmax_cross_entropy(DY, LABELS)[0]


def test_uint64_label_beyond_int64():
    labels = np.array([0, 1, 2**63], np.uint64)
    with pytest.raises(ValueError, match=r"labels\[2\] = 9223372036854775808"):
        softmax_cross_entropy(DY, labels)


@pytest.mark.parametrize("name", reference.__all__)
def test_public_names_are_documented_with_an_example(name):
    assert ">>> " in inspect.getdoc(getattr(reference, name))
