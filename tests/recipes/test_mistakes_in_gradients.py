"""Mistakes of five networks from scratch, in their gradients: none of them here.

Each test is named after the mistake; R1 to R31 are its numbers in the list of recipes.
The figure that the mistake gave is shown to fail where that is cheap.
"""

import numpy as np
import pytest
from worked import (
    DTYPES,
    KERNELS,
    central_differences,
    gradients_of,
    largest_error,
    layer,
    line,
    random_biases,
    slopes,
)

from fastnn import SGD, LeakyReLU, Network


def small_net(backend, activation="tanh", loss="softmax_cross_entropy"):
    """4-5-3 in float64, with 7 rows and their labels."""
    rng = np.random.default_rng(3)
    net = Network(
        [4, layer(rng.standard_normal((4, 5)), activation), 3],
        loss=loss,
        dtype="float64",
        backend=backend,
        seed=0,
    )
    return random_biases(net), rng.standard_normal((7, 4)), rng.integers(3, size=7)


@pytest.mark.parametrize("dtype", DTYPES)
def test_inputs_get_their_gradient_from_the_weights_before_the_update(backend, dtype):
    """R1: w = 2, x = 1, g = 4, lr = 0.1: dx is 8; from the updated w = 1.6, 6.4."""
    dx, dw, db = KERNELS[backend].dense_backward(
        np.array([[4]], dtype), np.array([[1]], dtype), np.array([[2]], dtype)
    )
    assert (dx.item(), dw.item(), db.item()) == (8.0, 4.0, 4.0)

    # A layer below takes its step with that dx: 1 - 0.1 * 8, not 1 - 0.1 * 6.4.
    net = Network(
        [1, layer([[1]], use_bias=False), layer([[2]], use_bias=False)],
        loss="mse",
        optimizer=SGD(0.1),
        dtype=dtype,
        backend=backend,
        seed=0,
    )
    net.train_on_batch([[1]], [[0]])  # z = 2, so the derivative 2 (z - t) is 4
    (below, _), (above, _) = net.get_weights()
    assert above.item() == pytest.approx(1.6, rel=1e-6)
    assert below.item() == pytest.approx(0.2, rel=1e-6)

    deep, X, y = small_net(backend)
    expected = central_differences(deep, X, y)
    assert largest_error(gradients_of(deep, X, y), expected) <= 1e-7


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_derivative_of_the_sigmoid_is_not_one_minus_s_over_s(backend, dtype):
    """R3: s (1 - s) = 0.1875 for s = 0.25; the mistake gave 3."""
    dy, y = np.ones(1, dtype), np.full(1, 0.25, dtype)
    dx = KERNELS[backend].activation_backward(dy, y, "sigmoid")
    assert dx.item() == 0.1875
    z = [-np.log(3), 0.0, np.log(3)]  # s = 1/4, 1/2, 3/4
    np.testing.assert_allclose(
        slopes(backend, "sigmoid", z, dtype), [0.1875, 0.25, 0.1875], rtol=1e-6
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_relu_passes_no_gradient_where_its_input_was_not_positive(backend, dtype):
    """R4: [0, 0, 1] at [-2, 0, 3]; a test of the output for < 0 gave 1 everywhere."""
    kernels, x = KERNELS[backend], np.array([-2, 0, 3], dtype)
    dy, wanted = np.ones(3, dtype), [0.0, 0.0, 1.0]
    assert kernels.relu_backward(dy, kernels.relu_forward(x)).tolist() == wanted
    assert slopes(backend, "relu", x, dtype).tolist() == wanted
    leaky = slopes(backend, LeakyReLU(0.25), x, dtype)
    assert leaky.tolist() == [0.25, 0.25, 1.0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_gradient_of_relu_is_not_multiplied_by_its_input(backend, dtype):
    """R5: 1 at 3, and not 3; 1 at 0.5, and not 0.5."""
    kernels, x = KERNELS[backend], np.array([-2, 0, 0.5, 3], dtype)
    wanted = [0.0, 0.0, 1.0, 1.0]
    dx = kernels.relu_backward(np.ones(4, dtype), kernels.relu_forward(x))
    assert dx.tolist() == wanted
    assert slopes(backend, "relu", x, dtype).tolist() == wanted


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_unit_has_a_bias_of_its_own(backend, dtype):
    """R9: d = [1, -1] gives db = [1, -1]; one bias for the layer had their sum, 0."""
    kernels = KERNELS[backend]
    x, w = np.ones((1, 1), dtype), np.zeros((1, 2), dtype)
    _, _, db = kernels.dense_backward(np.array([[1, -1]], dtype), x, w)
    assert db.shape == (2,)
    assert db.tolist() == [1.0, -1.0]

    net = Network(
        [1, layer(np.zeros((1, 2)))],
        loss="mse",
        optimizer=SGD(0.25),
        dtype=dtype,
        backend=backend,
        seed=0,
    )
    rows = [[1]], [[-1, 1]]  # z - t is [1, -1], and so is its mean square's gradient
    assert net.loss_and_gradients(*rows)[1][0][1].tolist() == [1.0, -1.0]
    net.train_on_batch(*rows)
    assert net.get_weights()[0][1].tolist() == [-0.25, 0.25]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_delta_of_softmax_and_cross_entropy_is_p_minus_the_one_hot_row(
    backend, dtype
):
    """R10: not the scalar loss, nor softmax of the targets, nor a same-layer product.

    The output has no ReLU, and the gradient of all weights is that of the loss.
    """
    kernels = KERNELS[backend]
    z = np.array([[0.5, -1.5, 2.0, -0.25]], dtype)
    loss, dz = kernels.softmax_cross_entropy(z, np.array([1]))
    p = np.exp(np.float64(z))
    p /= p.sum()
    one_hot = np.array([[0, 1, 0, 0]])
    few = 4 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(dz, p - one_hot, rtol=0, atol=few)
    assert loss == pytest.approx(-np.log(p[0, 1]), rel=few)
    softmax_of_targets = np.exp(one_hot) / np.exp(one_hot).sum()
    assert np.abs(dz - (p - softmax_of_targets)).max() > 0.1

    net, X, y = small_net(backend, "relu")
    assert (net.decision_function(X) < 0).any()
    expected = central_differences(net, X, y)
    assert largest_error(gradients_of(net, X, y), expected) <= 1e-7


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mse"])
def test_the_mean_is_over_the_rows_and_not_over_a_constant_or_the_classes(
    backend, loss
):
    """R11: 1 / 0.2 made the gradient 5 times as large, 1 / classes a tenth."""
    net, X, y = small_net(backend, loss=loss)
    targets = y if loss == "softmax_cross_entropy" else np.eye(3)[y]
    once = gradients_of(net, X, targets)
    twice = gradients_of(net, np.repeat(X, 2, axis=0), np.repeat(targets, 2, axis=0))
    assert largest_error(twice, once) <= 1e-15

    # A batch of one row has that row's gradient: x (p - t)^T, whatever the classes.
    head = Network(
        [2, layer(np.zeros((2, 10)))], dtype="float64", backend=backend, seed=0
    )
    _, [(dW, db)] = head.loss_and_gradients([[2.0, -1.0]], [7])
    delta = 0.1 - np.eye(10)[7]
    np.testing.assert_allclose(dW, np.outer([2.0, -1.0], delta), rtol=1e-14)
    np.testing.assert_allclose(db, delta, rtol=1e-14)


def test_each_row_is_propagated_back_through_its_own_values(backend):
    """R12: x = [1, 3], g = [2, -1]: dW = (1 * 2 - 3 * 1) / 2 = -0.5.

    The mean of g through the last row's x gave 0.5 * 3 = 1.5.
    """
    net = line(backend, 0.0)
    rows = np.array([[1.0], [3.0]]), np.array([[-1.0], [0.5]])  # 2 (z - t) = [2, -1]
    assert net.loss_and_gradients(*rows)[1][0][0].item() == -0.5

    deep, X, y = small_net(backend)
    of_batch = gradients_of(deep, X, y)
    of_rows = [gradients_of(deep, X[i : i + 1], y[i : i + 1]) for i in range(len(X))]
    for gradient, each in zip(of_batch, zip(*of_rows, strict=True), strict=True):
        mean = np.mean(each, axis=0)
        assert np.linalg.norm(gradient - mean) <= 1e-12 * np.linalg.norm(mean)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_step_of_a_row_does_not_depend_on_how_many_rows_there_are(backend, dtype):
    """R13: gradients were also divided by the length of the whole data set."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((6, 2)), rng.integers(3, size=6)

    def trained(rows, labels, epochs):
        net = Network(
            [2, 4, 3], optimizer=SGD(0.1), dtype=dtype, backend=backend, seed=0
        )
        net.fit(rows, labels, epochs, batch_size=1, shuffle=False, verbose=0)
        return net.get_weights()

    once = trained(X, y, epochs=2)
    doubled = trained(np.tile(X, (2, 1)), np.tile(y, 2), epochs=1)
    for (W, b), (same_W, same_b) in zip(once, doubled, strict=True):
        assert np.array_equal(W, same_W)
        assert np.array_equal(b, same_b)

    net = line(backend, 0.0, optimizer=SGD(0.125), dtype=dtype)
    net.fit([[1]] * 4, [[-1], [-1], [-1], [-1]], 1, 1, verbose=0)
    # Each step takes a quarter of the way to -1; divided by 4 rows, a sixteenth.
    assert net.get_weights()[0][0].item() == -1 + 0.75**4


def test_softmax_before_a_squared_loss_has_its_full_jacobian(backend):
    """R23: the backward pass of softmax was the identity, right for one loss only."""
    kernels = KERNELS[backend]
    p = kernels.softmax(np.array([[1.0, -0.5, 0.25]]))
    dp = np.array([[0.3, -1.0, 2.0]])
    jacobian = np.diag(p[0]) - np.outer(p[0], p[0])
    dz = kernels.softmax_backward(dp, p)
    np.testing.assert_allclose(dz[0], jacobian @ dp[0], rtol=1e-14)
    assert np.abs(dz - dp).max() > 1  # what the identity would be off

    rng = np.random.default_rng(5)
    net = Network(
        [4, layer(rng.standard_normal((4, 3)), "softmax")],
        loss="mse",
        dtype="float64",
        backend=backend,
        seed=0,
    )
    X, y = rng.standard_normal((6, 4)), np.eye(3)[rng.integers(3, size=6)]
    np.testing.assert_allclose(net.predict(X).sum(axis=1), 1.0)
    expected = central_differences(net, X, y)
    assert largest_error(gradients_of(net, X, y), expected) <= 1e-7
