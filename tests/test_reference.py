"""The reference against something else: hand-worked values, differences, PyTorch."""

import inspect
import math

import numpy as np
import pytest

from fastnn import reference
from fastnn.reference import (
    adam_update,
    adamw_update,
    dense_backward,
    dense_forward,
    momentum_update,
    nesterov_update,
    relu_backward,
    relu_forward,
    sgd_update,
    softmax,
    softmax_cross_entropy,
)

FLOATS = [np.float32, np.float64]
ACTIVATIONS = ["identity", "relu"]


def arrays(seed, *shapes, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def soft_targets(seed, m, n):
    t = np.random.default_rng(seed).random((m, n)) + 0.1
    return t / t.sum(axis=1, keepdims=True)


# Central differences: a float64 gradient is right if it is within 1e-6 of them, of the
# larger of the two, plus 1e-9 for their own rounding (epsilon 1e-5).


def differences(function, array, epsilon=1e-5):
    """Gradient of a function of no arguments wrt an array it reads."""
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + epsilon
        above = function()
        array[index] = value - epsilon
        below = function()
        array[index] = value
        gradient[index] = (above - below) / (2 * epsilon)
    return gradient


def is_gradient(analytic, numeric):
    allowed = 1e-6 * np.maximum(abs(analytic), abs(numeric)) + 1e-9
    return bool((abs(analytic - numeric) <= allowed).all())


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


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense_backward_against_differences(activation):
    x, w, b, dy = arrays(1, (3, 5), (5, 4), (4,), (3, 4))
    y = dense_forward(x, w, b, activation)
    assert abs(x @ w + b).min() > 1e-3

    def loss():
        return (dy * dense_forward(x, w, b, activation)).sum()

    gradients = dense_backward(dy, x, w, y, activation)
    for array, gradient in zip((x, w, b), gradients, strict=True):
        assert is_gradient(gradient, differences(loss, array))


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


def test_relu_by_hand():
    x = np.array([-2.0, 0.0, 3.0])
    assert relu_forward(x).tolist() == [0, 0, 3]
    assert relu_backward(np.array([5.0, 6.0, 7.0]), x).tolist() == [0, 0, 7]


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


def test_updates_by_hand():
    def start():
        return np.array([1.0, -2.0]), np.array([0.5, 4.0])

    w, g = start()
    sgd_update(w, g, learning_rate=0.5)
    assert w.tolist() == [0.75, -4]

    w, g = start()
    v = np.array([2.0, 0.0])
    momentum_update(w, g, v, learning_rate=0.5, momentum=0.25)
    assert v.tolist() == [1, 4]
    assert w.tolist() == [0.5, -4]

    w, g = start()
    v = np.array([2.0, 0.0])
    nesterov_update(w, g, v, learning_rate=0.5, momentum=0.25)
    assert v.tolist() == [1, 4]
    assert w.tolist() == [1 - 0.5 * 0.75, -2 - 0.5 * 5]


def test_adam_by_hand():
    # Step 2 with beta_1 = 0.5 and beta_2 = 0.75: the corrections are 3/4 and 7/16.
    w, g = np.array([1.0]), np.array([2.0])
    m, v = np.array([1.0]), np.array([4.0])
    adam_update(w, g, m, v, 2, 0.5, 0.5, 0.75, 1.0)
    assert m.tolist() == [1.5]
    assert v.tolist() == [4.0]
    root = math.sqrt(4 / (7 / 16))
    assert w[0] == pytest.approx(1 - 0.5 * (1.5 / 0.75) / (root + 1), rel=1e-15)


def test_adams_first_step_is_the_learning_rate():
    w, m, v = np.zeros(3), np.zeros(3), np.zeros(3)
    adam_update(w, np.array([5.0, -1e-3, 0.0]), m, v, 1)
    np.testing.assert_allclose(w, [-1e-3, 1e-3, 0], rtol=1e-4)


def test_adamw_decays_first_and_apart():
    (w, g, m, v) = arrays(5, 4, 4, 4, 4)
    v = abs(v)
    plain = [w * (1 - 0.1 * 0.5), g, m.copy(), v.copy()]
    decayed = [w.copy(), g, m.copy(), v.copy()]
    adam_update(*plain, 3, learning_rate=0.1)
    adamw_update(*decayed, 3, learning_rate=0.1, weight_decay=0.5)
    assert np.array_equal(plain[0], decayed[0])
    assert np.array_equal(plain[2], decayed[2])


# PyTorch.


def tensors(torch, *values):
    return [torch.tensor(value, requires_grad=True) for value in values]


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 4), (17, 33, 9), (64, 5, 31)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense_against_torch(shape, activation):
    torch = pytest.importorskip("torch")
    m, k, n = shape
    x, w, b, dy = arrays(6, (m, k), (k, n), (n,), (m, n))
    tx, tw, tb = tensors(torch, x, w, b)
    ty = tx @ tw + tb
    if activation == "relu":
        ty = ty.relu()
    ty.backward(torch.tensor(dy))
    y = dense_forward(x, w, b, activation)
    np.testing.assert_allclose(y, ty.detach().numpy(), rtol=1e-10, atol=1e-14)
    dx, dw, db = dense_backward(dy, x, w, y, activation)
    for ours, theirs in ((dx, tx), (dw, tw), (db, tb)):
        np.testing.assert_allclose(ours, theirs.grad.numpy(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("n", [1, 2, 10])
@pytest.mark.parametrize("kind", ["labels", "soft"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_softmax_cross_entropy_against_torch(n, kind, weighted, smoothing):
    torch = pytest.importorskip("torch")
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


def test_softmax_against_torch():
    torch = pytest.importorskip("torch")
    (z,) = arrays(10, (6, 9))
    expected = torch.tensor(z * 10).softmax(dim=1).numpy()
    np.testing.assert_allclose(softmax(z * 10), expected, rtol=1e-10)


def torch_optimizers(torch):
    optim = torch.optim
    return {
        "sgd": lambda w: optim.SGD([w], lr=0.1),
        "momentum": lambda w: optim.SGD([w], lr=0.1, momentum=0.8),
        "nesterov": lambda w: optim.SGD([w], lr=0.1, momentum=0.8, nesterov=True),
        "adam": lambda w: optim.Adam([w], lr=0.1, betas=(0.7, 0.95), eps=1e-6),
        "adamw": lambda w: optim.AdamW(
            [w], lr=0.1, betas=(0.7, 0.95), eps=1e-6, weight_decay=0.2
        ),
    }


ADAM = {"learning_rate": 0.1, "beta_1": 0.7, "beta_2": 0.95, "epsilon": 1e-6}
UPDATES = {
    "sgd": (sgd_update, 0, {"learning_rate": 0.1}),
    "momentum": (momentum_update, 1, {"learning_rate": 0.1, "momentum": 0.8}),
    "nesterov": (nesterov_update, 1, {"learning_rate": 0.1, "momentum": 0.8}),
    "adam": (adam_update, 2, ADAM),
    "adamw": (adamw_update, 2, {**ADAM, "weight_decay": 0.2}),
}


@pytest.mark.parametrize("name", UPDATES)
@pytest.mark.parametrize("steps", [1, 100])
def test_updates_against_torch(name, steps):
    torch = pytest.importorskip("torch")
    update, n_states, arguments = UPDATES[name]
    w, target = arrays(11, (3, 4), (3, 4))
    (tw,) = tensors(torch, w)
    optimizer = torch_optimizers(torch)[name](tw)
    states = [np.zeros_like(w) for _ in range(n_states)]
    for step in range(1, steps + 1):
        tw.grad = (tw - torch.tensor(target)).detach() ** 3
        optimizer.step()
        if n_states == 2:
            arguments = {**arguments, "step": step}
        update(w, (w - target) ** 3, *states, **arguments)
    np.testing.assert_allclose(w, tw.detach().numpy(), rtol=1e-10, atol=1e-12)


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


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", UPDATES)
@pytest.mark.parametrize("shape", [(), (1,), (3, 4), (2, 3, 4), (0,)])
def test_updates_of_any_shape_and_dtype(name, shape, dtype):
    update, n_states, arguments = UPDATES[name]
    w = np.ones(shape, dtype)
    states = [np.zeros(shape, dtype) for _ in range(n_states)]
    step = {"step": 1} if n_states == 2 else {}
    assert update(w, np.ones(shape, dtype), *states, **step, **arguments) is None
    assert w.dtype == dtype
    assert (w < 1).all()


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


@pytest.mark.parametrize("name", UPDATES)
def test_updates_leave_the_gradient_alone(name):
    update, n_states, arguments = UPDATES[name]
    w, dw = arrays(14, 5, 5)
    dw.flags.writeable = False
    step = {"step": 1} if n_states == 2 else {}
    update(w, dw, *np.zeros((n_states, 5)), **step, **arguments)


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
        (lambda: dense_forward(X, W, B, "softmax"), ValueError, "activation must be"),
        (lambda: dense_forward(X, W, B, None), TypeError, "activation must be"),
        (lambda: dense_backward(X, X, W), ValueError, r"w .*\(5, 5\), got \(5, 4\)"),
        (lambda: dense_backward(DY, X[:2], W), ValueError, r"x .*\(3, k\)"),
        (
            lambda: dense_backward(DY, X, W, None, "relu"),
            ValueError,
            "y must be the layer's output for activation 'relu', got None",
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


def read_only():
    w = np.ones(3)
    w.flags.writeable = False
    return w


def unaligned():
    return np.zeros(25, np.uint8)[1:].view(np.float64)


def overlapping(values=np.zeros(4)):  # noqa: B008
    return values[:3], values[1:]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: sgd_update([1.0], np.ones(1)), TypeError, "w must be a NumPy array"),
        (lambda: sgd_update(np.ones(3), np.ones(2)), ValueError, r"dw .*\(3,\) like w"),
        (lambda: sgd_update(np.ones(3), np.ones(3, "f4")), TypeError, "dw .*like w"),
        (
            lambda: sgd_update(read_only(), np.ones(3)),
            ValueError,
            "w .*writeable=False",
        ),
        (lambda: sgd_update(np.ones(6)[::2], np.ones(3)), ValueError, "w .*contiguous"),
        (lambda: sgd_update(unaligned(), np.ones(3)), ValueError, "w .*aligned=False"),
        (
            lambda: sgd_update(*overlapping()),
            ValueError,
            "dw must not share memory with w",
        ),
        (lambda: sgd_update(np.ones(3), np.ones(3), 0), ValueError, "learning_rate"),
        (
            lambda: momentum_update(np.ones(3), np.ones(3), read_only()),
            ValueError,
            "velocity must be C-contiguous, aligned and writable",
        ),
        (
            lambda: momentum_update(*arrays(0, 3, 3, 3), momentum=1),
            ValueError,
            "momentum must be a number >= 0 and < 1, got 1",
        ),
        (
            lambda: nesterov_update(*arrays(0, 3, 3, (1, 3))),
            ValueError,
            r"velocity must have shape \(3,\) like w, got \(1, 3\)",
        ),
        (
            lambda: adam_update(*arrays(0, 3, 3, 3, 3), 0),
            ValueError,
            "step must be an integer >= 1, got 0",
        ),
        (
            lambda: adam_update(*arrays(0, 3, 3, 3, 3), 1.0),
            TypeError,
            "step must be an",
        ),
        (
            lambda: adam_update(*arrays(0, 3, 3, 3, 3), 1, beta_2=1.0),
            ValueError,
            "beta_2 must be a number >= 0 and < 1",
        ),
        (
            lambda: adam_update(*arrays(0, 3, 3), *[np.zeros(3)] * 2, 1),
            ValueError,
            "second_moment must not share memory with first_moment",
        ),
        (
            lambda: adamw_update(*arrays(0, 3, 3, 3, 3), 1, weight_decay=-1),
            ValueError,
            "weight_decay must be a finite number >= 0",
        ),
    ],
)
def test_wrong_update_arguments_are_named(call, error, message):
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


def test_a_refused_update_changes_nothing():
    w, m, v = np.ones(3), np.zeros(3), np.zeros(3)
    with pytest.raises(ValueError, match="epsilon"):
        adam_update(w, np.ones(3), m, v, 1, epsilon=-1)
    assert w.tolist() == [1, 1, 1]
    assert not m.any()


@pytest.mark.parametrize("name", reference.__all__)
def test_public_names_are_documented_with_an_example(name):
    assert ">>> " in inspect.getdoc(getattr(reference, name))
