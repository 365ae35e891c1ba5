"""The reference's activations against exact values, differences and PyTorch."""

import math

import numpy as np
import pytest
from differences import arrays, differences, is_gradient

from fastnn import reference
from fastnn.activations import ACTIVATIONS, ELU, LeakyReLU
from fastnn.reference._activations import ACTIVATIONS as FORWARD
from fastnn.reference._activations import (
    DERIVATIVES,
    SAVES_INPUT,
    activate,
    activation_gradient,
    saves_input,
)
from fastnn.reference._erfc import erfc

FLOATS = [np.float32, np.float64]
ELEMENTWISE = [name for name in ACTIVATIONS if name not in ("identity", "softmax")]

# By name, the parameter that the stateless functions take, other than the default.
PARAMETER = {"leaky_relu": 0.2, "elu": 1.7}

SELU = 1.0507009873554805, 1.6732632423543772


def gradient(activation, dy, z):
    """The gradient wrt z, given what the derivative is computed from."""
    saved = z if saves_input(activation) else activate(activation, z)
    return activation_gradient(activation, dy, saved)


def stateless(name):
    """The two public functions, with the parameter if there is one."""
    options = (PARAMETER[name],) if name in PARAMETER else ()

    def forward(x):
        return getattr(reference, f"{name}_forward")(x, *options)

    def backward(dy, saved):
        return getattr(reference, f"{name}_backward")(dy, saved, *options)

    return forward, backward


def test_every_activation_has_its_arithmetic():
    assert FORWARD.keys() == DERIVATIVES.keys() == ACTIVATIONS.keys()
    assert SAVES_INPUT == {"gelu", "gelu_tanh", "silu", "mish"}


# erfc


def test_erfc_against_the_standard_library():
    x = np.concatenate(
        [
            np.linspace(-7, 27, 20_001),
            np.geomspace(1e-300, 1, 500),
            [0.0, 0.25, -0.25, 0.84375, -0.84375, 1.25, -1.25, 1 / 0.35, 6, 26, 100],
        ]
    )
    exact = np.array([math.erfc(each) for each in x])
    assert (abs(erfc(x) - exact) <= 4 * np.spacing(np.maximum(exact, 1e-300))).all()


def test_erfc_of_no_number_and_of_infinity():
    x = np.array([-np.inf, np.inf, np.nan])
    np.testing.assert_array_equal(erfc(x), [2, 0, np.nan])


# Values, from the definitions in the standard library.


def normal(x):
    return math.erfc(-x / math.sqrt(2)) / 2


def logistic(x):
    return math.exp(x) / (1 + math.exp(x))


EXACT = {
    "relu": lambda x: x if x > 0 else 0,
    "leaky_relu": lambda x: x if x > 0 else 0.2 * x,
    "sigmoid": logistic,
    "tanh": math.tanh,
    "elu": lambda x: x if x > 0 else 1.7 * math.expm1(x),
    "selu": lambda x: SELU[0] * (x if x > 0 else SELU[1] * math.expm1(x)),
    "gelu": lambda x: x * normal(x),
    "gelu_tanh": lambda x: (
        x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    ),
    "silu": lambda x: x * logistic(x),
    "mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
    "softplus": lambda x: math.log1p(math.exp(x)),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_values(name, dtype):
    x = np.linspace(-20, 20, 801).astype(dtype)
    y = stateless(name)[0](x)
    assert y.dtype == dtype
    exact = [EXACT[name](float(each)) for each in x]
    unit = np.finfo(dtype).eps
    np.testing.assert_allclose(y, exact, rtol=16 * unit, atol=8 * unit)


def test_tails_are_exact():
    x = np.array([-20.0, -8.5])
    y = reference.gelu_forward(x)
    np.testing.assert_allclose(y, [each * normal(each) for each in x], rtol=1e-13)
    y = reference.gelu_tanh_forward(np.array([-8.5]))
    u = math.sqrt(2 / math.pi) * (8.5 + 0.044715 * 8.5**3)
    np.testing.assert_allclose(y, [-8.5 * math.exp(-2 * u)], rtol=1e-13)


def test_values_by_hand():
    x = np.array([-2.0, 0.0, 3.0])
    assert reference.relu_forward(x).tolist() == [0, 0, 3]
    assert reference.leaky_relu_forward(x, 0.5).tolist() == [-1, 0, 3]
    assert reference.leaky_relu_forward(x, 2.0).tolist() == [-4, 0, 3]
    assert reference.leaky_relu_forward(x).tolist() == [-0.02, 0, 3]
    assert reference.elu_forward(x)[0] == math.expm1(-2)
    assert reference.sigmoid_forward(x)[1] == 0.5


def test_gradients_by_hand():
    dy, y = np.array([5.0, 6.0, 7.0]), np.array([-2.0, 0.0, 3.0])
    assert reference.relu_backward(dy, y).tolist() == [0, 0, 7]
    assert reference.leaky_relu_backward(dy, y, 0.5).tolist() == [2.5, 3, 7]
    dy, y = np.array([5.0, 6.0]), np.array([-0.5, 0.0])
    assert reference.elu_backward(dy, y).tolist() == [2.5, 6]
    assert reference.elu_backward(dy, y, 2.0).tolist() == [7.5, 12]
    assert reference.sigmoid_backward(dy, np.array([0.5, 0.25])).tolist() == [
        1.25,
        1.125,
    ]
    assert reference.tanh_backward(dy, np.array([0.5, -0.5])).tolist() == [3.75, 4.5]


def test_a_slope_of_zero_is_relu():
    z, dy = np.array([-np.inf, -1.0, 2.0]), np.array([np.inf, 1.0, 2.0])
    leaky = LeakyReLU(0.0)
    assert activate(leaky, z).tolist() == [0, 0, 2]
    assert activation_gradient(leaky, dy, z).tolist() == [0, 0, 2]


# Derivatives.


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_gradients_against_differences(name):
    forward, backward = stateless(name)
    x, dy = arrays(1, (5, 40), (5, 40))
    x *= 3
    x[abs(x) < 1e-3] = 1  # differences across a kink mean nothing
    saved = x if name in SAVES_INPUT else forward(x)
    numeric = differences(lambda: (dy * forward(x)).sum(), x)
    assert is_gradient(backward(dy, saved), numeric)


@pytest.mark.parametrize("activation", ["softmax", "identity"])
def test_gradients_of_rows_against_differences(activation):
    z, dy = arrays(2, (4, 6), (4, 6))
    numeric = differences(lambda: (dy * activate(activation, z)).sum(), z)
    assert is_gradient(gradient(activation, dy, z), numeric)


# PyTorch.


def in_torch(torch, name):
    f = torch.nn.functional
    return {
        "leaky_relu": lambda z: f.leaky_relu(z, 0.2),
        "elu": lambda z: f.elu(z, 1.7),
        "gelu_tanh": lambda z: f.gelu(z, approximate="tanh"),
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
    }.get(name) or getattr(f, name)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_activations_against_torch(torch, name, dtype):
    forward, backward = stateless(name)
    x, dy = arrays(3, (7, 31), (7, 31), dtype=dtype)
    x *= 4
    x[0, 0] = 0
    tx = torch.tensor(x, requires_grad=True)
    ty = in_torch(torch, name)(tx)
    ty.backward(torch.tensor(dy))
    y = forward(x)
    dx = backward(dy, x if name in SAVES_INPUT else y)
    assert y.dtype == dx.dtype == dtype
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    for ours, theirs in ((y, ty.detach()), (dx, tx.grad)):
        np.testing.assert_allclose(ours, theirs.numpy(), tolerance, tolerance)


# Extremes: no warnings (the suite makes errors of them), the right limits.

AT_INFINITY = {  # name: y and y' at -inf, at inf
    "relu": (0, 0, np.inf, 1),
    "leaky_relu": (-np.inf, 0.2, np.inf, 1),
    "sigmoid": (0, 0, 1, 0),
    "tanh": (-1, 0, 1, 0),
    "elu": (-1.7, 0, np.inf, 1),
    "selu": (-SELU[0] * SELU[1], 0, np.inf, SELU[0]),
    "gelu": (0, 0, np.inf, 1),
    "gelu_tanh": (0, 0, np.inf, 1),
    "silu": (0, 0, np.inf, 1),
    "mish": (0, 0, np.inf, 1),
    "softplus": (0, 0, np.inf, 1),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_limits(name, dtype):
    forward, backward = stateless(name)
    x = np.array([-np.inf, np.inf, -1e30, 1e30, -1e4, 1e4, np.nan], dtype)
    y = forward(x)
    slope = backward(np.ones_like(x), x if name in SAVES_INPUT else y)
    low, low_slope, high, high_slope = AT_INFINITY[name]
    rtol = 2 * np.finfo(dtype).eps
    np.testing.assert_allclose(y[:2], [low, high], rtol)
    np.testing.assert_allclose(slope[:6], [low_slope, high_slope] * 3, rtol, rtol)
    for at in (2, 3, 4, 5):
        limit = low if at % 2 == 0 else high
        linear = {"leaky_relu": 0.2}.get(name, 0) if at % 2 == 0 else high_slope
        expected = linear * x[at] if np.isinf(limit) else limit
        np.testing.assert_allclose(y[at], expected, rtol)
    assert np.isnan(y[6])


# Arguments.


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("shape", [(), (1,), (3, 4), (2, 3, 4), (0,)])
def test_any_shape_and_dtype(name, shape, dtype):
    forward, backward = stateless(name)
    x = np.full(shape, 0.5, dtype)
    x.flags.writeable = False
    y = forward(x)
    dx = backward(x, x)
    for result in (y, dx):
        assert isinstance(result, np.ndarray)
        assert result.shape == shape
        assert result.dtype == dtype
        assert not np.shares_memory(result, x)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_arguments_are_checked(name):
    forward, backward = stateless(name)
    saved = "x" if name in SAVES_INPUT else "y"
    with pytest.raises(TypeError, match="x must be a NumPy array, got list"):
        forward([1.0])
    with pytest.raises(TypeError, match="x must be float32 or float64, got int64"):
        forward(np.ones(3, int))
    with pytest.raises(TypeError, match=f"{saved} must be float64 like dy, got float3"):
        backward(np.ones(3), np.ones(3, "f4"))
    with pytest.raises(ValueError, match=rf"{saved} must have shape \(3,\) like dy"):
        backward(np.ones(3), np.ones(4))


def test_parameters_are_checked():
    with pytest.raises(ValueError, match="slope must be"):
        reference.leaky_relu_forward(np.ones(1), -0.1)
    with pytest.raises(ValueError, match="slope must be"):
        reference.leaky_relu_backward(np.ones(1), np.ones(1), slope=-0.1)
    with pytest.raises(ValueError, match="alpha must be"):
        reference.elu_forward(np.ones(1), alpha=0)
    with pytest.raises(ValueError, match="alpha must be"):
        reference.elu_backward(np.ones(1), np.ones(1), 0.0)


def test_objects_and_names():
    z = np.array([[-1.0, 1.0]])
    assert np.array_equal(activate("elu", z), activate(ELU(), z))
    assert not np.array_equal(activate("elu", z), activate(ELU(2.0), z))
