"""The reference's optimizer updates against hand-worked values and PyTorch."""

import math

import numpy as np
import pytest
from differences import arrays, differences, is_gradient

from fastnn.optimizers import LBFGS, OPTIMIZERS, SGD
from fastnn.reference import (
    adagrad_update,
    adam_update,
    adamw_update,
    lion_update,
    momentum_update,
    nadam_update,
    nesterov_update,
    rmsprop_update,
    sgd_update,
)
from fastnn.reference._updates import UPDATES as RULES
from fastnn.reference._updates import (
    decay,
    limit_columns,
    norm_of_all,
    penalty_gradient,
)
from fastnn.schedules import Constant

FLOATS = [np.float32, np.float64]

MOMENTUM = {"learning_rate": 0.1, "momentum": 0.8}
ADAM = {"learning_rate": 0.1, "beta_1": 0.7, "beta_2": 0.95, "epsilon": 1e-6}
# By name: the function, the number of states, arguments.
UPDATES = {
    "sgd": (sgd_update, 0, {"learning_rate": 0.1}),
    "momentum": (momentum_update, 1, MOMENTUM),
    "nesterov": (nesterov_update, 1, MOMENTUM),
    "rmsprop": (rmsprop_update, 1, {"learning_rate": 0.1, "rho": 0.9, "epsilon": 1e-6}),
    "adagrad": (adagrad_update, 1, {"learning_rate": 0.1, "epsilon": 1e-6}),
    "adam": (adam_update, 2, ADAM),
    "adamw": (adamw_update, 2, {**ADAM, "weight_decay": 0.2}),
    "nadam": (nadam_update, 2, {**ADAM, "momentum_decay": 0.05}),
    "lion": (lion_update, 1, {"learning_rate": 0.1, "beta_1": 0.7, "beta_2": 0.95}),
}


def test_every_optimizer_has_its_arithmetic():
    rules = {each().rule for each in OPTIMIZERS.values() if each is not LBFGS}
    for nesterov in (False, True):
        rules.add(SGD(0.1, 0.9, nesterov).rule)
    assert RULES.keys() == rules


# Hand-worked values.


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


def test_a_momentum_of_zero_is_gradient_descent():
    for update in (momentum_update, nesterov_update):
        w, v = np.ones(1), np.zeros(1)
        update(w, np.array([2.0]), v, learning_rate=0.25, momentum=0)
        assert w.tolist() == [0.5]


def test_scaled_steps_by_hand():
    w, s = np.array([1.0]), np.array([8.0])
    rmsprop_update(w, np.array([4.0]), s, learning_rate=0.5, rho=0.75, epsilon=1.0)
    assert s.tolist() == [10.0]
    assert w[0] == pytest.approx(1 - 0.5 * 4 / (math.sqrt(10) + 1), rel=1e-15)
    w, s = np.array([1.0]), np.array([9.0])
    adagrad_update(w, np.array([4.0]), s, learning_rate=0.5, epsilon=1.0)
    assert s.tolist() == [25.0]
    assert w[0] == pytest.approx(1 - 0.5 * 4 / 6, rel=1e-15)


def test_nadam_by_hand():
    # Step 2 with psi = 0: mu is b1 / 2 throughout, P_2 = 1/16 and P_3 = 1/64.
    w, g = np.array([1.0]), np.array([2.0])
    m, v = np.array([1.0]), np.array([4.0])
    nadam_update(w, g, m, v, 2, 0.5, 0.5, 0.75, 1.0, momentum_decay=0)
    assert m.tolist() == [1.5]
    assert v.tolist() == [4.0]
    mean = 0.25 * 1.5 / (63 / 64) + 0.75 * 2 / (15 / 16)
    root = math.sqrt(4 / (7 / 16))
    assert w[0] == pytest.approx(1 - 0.5 * mean / (root + 1), rel=1e-15)


def test_lion_by_hand():
    w = np.array([1.0, 1.0, 1.0])
    m = np.array([1.0, -1.0, 2.0])
    lion_update(w, np.array([-2.0, 2.0, -2.0]), m, 0.25, beta_1=0.5, beta_2=0.75)
    assert w.tolist() == [1.25, 0.75, 1]  # the signs of -0.5, 0.5 and 0
    assert m.tolist() == [0.25, -0.25, 1]


# What is common to all.


def test_penalties():
    (w,) = arrays(22, (3, 4))

    def penalty():
        return 0.3 * abs(w).sum() + 0.5 * 0.7 * (w * w).sum()

    assert is_gradient(penalty_gradient(w, 0.3, 0.7), differences(penalty, w))
    assert penalty_gradient(np.array([-2.0, 0.0, 2.0]), 1, 0.5).tolist() == [-2, 0, 2]


def test_decay():
    w = np.array([2.0, -4.0])
    decay(w, 0.5, 0.25)
    assert w.tolist() == [1.75, -3.5]


@pytest.mark.parametrize("dtype", FLOATS)
def test_limit_columns(dtype):
    w = np.array([[3.0, 0.3, 0.0], [4.0, 0.4, 0.0]], dtype)
    limit_columns(w, 2.5)
    assert w.dtype == dtype
    np.testing.assert_allclose(w, [[1.5, 0.3, 0], [2, 0.4, 0]], rtol=1e-7)
    again = w.copy()
    limit_columns(w, 2.5 * (1 + 1e-6))
    assert np.array_equal(w, again)  # those within the limit keep their bits


def test_norm_of_all():
    assert norm_of_all([np.array([[1.0, 2.0]]), np.array([2.0])]) == 3.0
    big = np.full(4, 1e30, np.float32)  # whose squares overflow
    assert norm_of_all([big]) == pytest.approx(2e30)


# PyTorch.


def tensors(torch, *values):
    return [torch.tensor(value, requires_grad=True) for value in values]


def torch_optimizers(torch):
    optim, adam = torch.optim, {"lr": 0.1, "betas": (0.7, 0.95), "eps": 1e-6}
    return {
        "sgd": lambda w: optim.SGD([w], lr=0.1),
        "momentum": lambda w: optim.SGD([w], lr=0.1, momentum=0.8),
        "nesterov": lambda w: optim.SGD([w], lr=0.1, momentum=0.8, nesterov=True),
        "rmsprop": lambda w: optim.RMSprop([w], lr=0.1, alpha=0.9, eps=1e-6),
        "adagrad": lambda w: optim.Adagrad([w], lr=0.1, eps=1e-6),
        "adam": lambda w: optim.Adam([w], **adam),
        "adamw": lambda w: optim.AdamW([w], **adam, weight_decay=0.2),
        "nadam": lambda w: optim.NAdam([w], **adam, momentum_decay=0.05),
    }


@pytest.mark.parametrize("name", [name for name in UPDATES if name != "lion"])
@pytest.mark.parametrize("steps", [1, 100])
@pytest.mark.parametrize("dtype", FLOATS)
def test_updates_against_torch(torch, name, steps, dtype):
    update, n_states, arguments = UPDATES[name]
    w, target = arrays(11, (3, 4), (3, 4), dtype=dtype)
    (tw,) = tensors(torch, w)
    optimizer = torch_optimizers(torch)[name](tw)
    states = [np.zeros_like(w) for _ in range(n_states)]
    for step in range(1, steps + 1):
        tw.grad = (tw - torch.tensor(target)).detach() ** 3
        optimizer.step()
        if n_states == 2:
            arguments = {**arguments, "step": step}
        update(w, (w - target) ** 3, *states, **arguments)
    assert w.dtype == dtype
    rtol, atol = (1e-10, 1e-12) if dtype == np.float64 else (1e-4, 1e-5)
    np.testing.assert_allclose(w, tw.detach().numpy(), rtol, atol)


# Arguments.


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


@pytest.mark.parametrize("name", UPDATES)
def test_updates_leave_the_gradient_alone(name):
    update, n_states, arguments = UPDATES[name]
    w, dw = arrays(14, 5, 5)
    dw.flags.writeable = False
    step = {"step": 1} if n_states == 2 else {}
    update(w, dw, *np.zeros((n_states, 5)), **step, **arguments)


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
            lambda: nesterov_update(np.ones(3), np.ones(3), read_only()),
            ValueError,
            "velocity must be C-contiguous, aligned and writable",
        ),
        (
            lambda: rmsprop_update(*arrays(0, 3, 3, 3), rho=1),
            ValueError,
            "rho must be a number >= 0 and < 1, got 1",
        ),
        (
            lambda: rmsprop_update(np.ones(3), np.ones(3), np.ones(2)),
            ValueError,
            r"mean_square must have shape \(3,\) like w",
        ),
        (
            lambda: adagrad_update(*arrays(0, 3, 3, 3), epsilon=0),
            ValueError,
            "epsilon must be a finite number >= 1e-30",
        ),
        (
            lambda: adagrad_update(np.ones(3), np.ones(3), np.ones(3, "f4")),
            TypeError,
            "sum_of_squares must be float64 like w",
        ),
        (
            lambda: nadam_update(*arrays(0, 3, 3, 3, 3), 1, momentum_decay=-1),
            ValueError,
            "momentum_decay must be a finite number >= 0",
        ),
        (
            lambda: lion_update(*arrays(0, 3, 3, 3), beta_1=1.0),
            ValueError,
            "beta_1 must be a number >= 0 and < 1",
        ),
        (
            lambda: lion_update(np.ones(3), *[np.ones(3)] * 2),
            ValueError,
            "first_moment must not share memory with dw",
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


def test_a_schedule_is_not_a_rate():
    with pytest.raises(TypeError, match="learning_rate must be a finite number > 0"):
        sgd_update(np.ones(3), np.ones(3), Constant(0.1))


def test_a_refused_update_changes_nothing():
    w, m, v = np.ones(3), np.zeros(3), np.zeros(3)
    with pytest.raises(ValueError, match="epsilon"):
        adam_update(w, np.ones(3), m, v, 1, epsilon=-1)
    assert w.tolist() == [1, 1, 1]
    assert not m.any()
