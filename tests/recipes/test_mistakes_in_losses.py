"""Mistakes of five networks from scratch, in their losses: none of them here.

Each test is named after the mistake; R1 to R31 are its numbers in the list of recipes.
The figure that the mistake gave is shown to fail where that is cheap.
"""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from worked import DTYPES, KERNELS, central_differences, layer, line

from fastnn import SGD, Dense, Network


@pytest.mark.parametrize("dtype", DTYPES)
def test_binary_cross_entropy_has_its_minus_its_sign_and_the_natural_logarithm(
    backend, dtype
):
    """R2: p = 0.8, y = 1: loss 0.223144, dloss/dp -1.25, dloss/dz -0.2."""
    z, label = np.log([[4.0]]), np.array([1])
    loss, dz = KERNELS[backend].binary_cross_entropy(z.astype(dtype), label)
    assert loss == pytest.approx(0.22314355, rel=1e-6)  # log2 would give 0.3219
    assert dz.item() == pytest.approx(-0.2, rel=1e-6)
    p = 0.8
    assert dz.item() / (p * (1 - p)) == pytest.approx(-1.25, rel=1e-6)

    net = line(
        backend,
        0.0,
        bias=0.0,
        loss="binary_cross_entropy",
        optimizer=SGD(0.1),
        dtype=dtype,
    )
    rows = [[-2], [-1], [1], [2]], [0, 0, 1, 1]
    losses = [net.train_on_batch(*rows) for _ in range(11)]
    assert losses[0] == pytest.approx(np.log(2), rel=1e-6)
    assert all(after < before for before, after in pairwise(losses))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_reported_loss_is_the_one_minimised_and_weighs_every_row_the_same(
    backend, dtype
):
    """R15: batches of 200 zeros and of 10 ones have the mean 10 / 210 = 0.047619.

    The mean of the batches' means was 0.5.
    """
    net = line(backend, 1.0, optimizer=SGD(0.1), dtype=dtype)
    targets = np.repeat([[0.0], [1.0]], [200, 10], axis=0)
    history = net.fit(np.zeros((210, 1)), targets, 1, 200, shuffle=False, verbose=0)
    assert history.history["loss"] == [pytest.approx(10 / 210, rel=1e-6)]

    # The step is the derivative of the reported loss, for each loss.
    rng = np.random.default_rng(2)
    X = rng.standard_normal((5, 3))
    for loss in ("mse", "mae", "huber", "poisson", "binary_cross_entropy"):
        net = Network(
            [3, Dense(2, "tanh"), Dense(2)],
            loss=loss,
            optimizer=SGD(1.0),
            dtype="float64",
            backend=backend,
            seed=0,
        )
        y = rng.random((5, 2))
        before = net.get_weights()
        expected = central_differences(net, X, y)
        net.train_on_batch(X, y)
        steps = [
            old - new
            for pair, moved in zip(before, net.get_weights(), strict=True)
            for old, new in zip(pair, moved, strict=True)
        ]
        for step, gradient in zip(steps, expected, strict=True):
            np.testing.assert_allclose(step, gradient, rtol=0, atol=1e-7)


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "binary_cross_entropy"])
def test_relu_on_the_logits_is_warned_of(backend, loss):
    """R20: rows whose logits are all negative then get no gradient at all."""
    with pytest.warns(UserWarning, match=r"layers\[2\].*'relu'.*expects raw outputs"):
        Network([4, 8, Dense(3, "relu")], loss=loss, backend=backend, seed=0)

    # An output that is cut off learns nothing.
    head = -np.ones((1, 3))
    with pytest.warns(UserWarning, match="'relu'"):
        cut = Network([1, layer(head, "relu")], loss=loss, backend=backend, seed=0)
    y = [[1, 0, 0]]
    _, [(dW, _)] = cut.loss_and_gradients([[1]], y)
    assert not dW.any()

    # The head that contains the activation takes raw outputs, of both signs.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        raw = Network([1, layer(head)], loss=loss, backend=backend, seed=0)
        name = raw.plan.loss.output_activation
        named = Network([1, layer(head, name)], loss=loss, backend=backend, seed=0)
    for net in (raw, named):
        assert net.decision_function([[1]]).tolist() == [[-1.0, -1.0, -1.0]]
        _, [(dW, _)] = net.loss_and_gradients([[1]], y)
        assert dW.all()


@pytest.mark.parametrize(("classes", "floor"), [(10, 1.46115), (3, 0.55144)])
def test_sigmoid_before_softmax_is_warned_of(backend, classes, floor):
    """R21: outputs from 0 to 1 cannot say more than log((e + n - 1) / e)."""
    W = np.where(np.eye(classes) == 1, 1000.0, -1000.0)
    X, y = np.eye(classes), np.arange(classes)
    with pytest.warns(UserWarning, match="'sigmoid'.*expects raw outputs"):
        squashed = Network([classes, layer(W, "sigmoid")], backend=backend, seed=0)
    # These weights are as sure and as right as weights can be.
    assert squashed.score(X, y) == 1.0
    assert squashed.evaluate(X, y)["loss"] == pytest.approx(floor, abs=1e-5)
    raw = Network([classes, layer(W)], backend=backend, seed=0)
    assert raw.evaluate(X, y)["loss"] == 0.0


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_logits_overflow_nothing(backend, dtype):
    """R22: softmax without its shift, 0 log 0, and exp of a large number.

    Warnings are errors in these tests.
    """
    kernels = KERNELS[backend]
    z = np.array([[1000, 0]], dtype)
    assert kernels.softmax(z).tolist() == [[1.0, 0.0]]
    loss, dz = kernels.softmax_cross_entropy(z, np.array([1]))
    assert (loss, dz.tolist()) == (1000.0, [[1.0, -1.0]])
    loss, dz = kernels.softmax_cross_entropy(z, np.array([0]))
    assert (loss, dz.tolist()) == (0.0, [[0.0, 0.0]])

    both = np.array([[1000], [-1000]], dtype)
    assert kernels.activation_forward(both, "sigmoid").tolist() == [[1.0], [0.0]]
    for labels, wanted in (([0, 1], 1000.0), ([1, 0], 0.0)):
        loss, dz = kernels.binary_cross_entropy(both, np.array(labels))
        assert loss == wanted
        assert np.isfinite(dz).all()

    net = Network([2, layer(np.eye(2))], dtype=dtype, backend=backend, seed=0)
    assert net.predict_proba(z).tolist() == [[1.0, 0.0]]
    assert net.evaluate(z, [1])["loss"] == 1000.0
    gate = line(backend, 1.0, loss="binary_cross_entropy", dtype=dtype)
    assert gate.predict_proba(both).tolist() == [[1.0], [0.0]]
    assert gate.evaluate(both, [0, 1])["loss"] == 1000.0


def test_labels_may_leave_out_a_class(backend):
    """R27: one-hot rows from the labels that occur had no column for the third one."""
    X, y = np.eye(4), np.array([0, 2, 2, 0])
    net = Network([4, 8, 3], optimizer=SGD(0.5), backend=backend, seed=0)
    net.fit(X, y, epochs=100, class_weight="balanced", verbose=0)
    assert net.predict(X).tolist() == [0, 2, 2, 0]
    assert net.predict_proba(X).shape == (4, 3)
    assert net.evaluate(X, y)["accuracy"] == 1.0


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_true_class_without_any_probability_has_a_finite_loss(backend, dtype):
    """R28: its p is 0 in any precision, log p is not asked for."""
    z = np.array([[0, -2000]], dtype)
    loss, dz = KERNELS[backend].softmax_cross_entropy(z, np.array([1]))
    assert (loss, dz.tolist()) == (2000.0, [[1.0, -1.0]])

    W = np.array([[0.0, -2000.0]])
    net = Network(
        [1, layer(W)], optimizer=SGD(1.0), dtype=dtype, backend=backend, seed=0
    )
    assert net.predict_proba([[1]]).tolist() == [[1.0, 0.0]]
    assert net.train_on_batch([[1]], [1]) == 2000.0
    [(W, b)] = net.get_weights()
    assert (W.tolist(), b.tolist()) == ([[-1.0, -1999.0]], [-1.0, 1.0])
