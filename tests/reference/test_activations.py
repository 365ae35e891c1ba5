"""The reference's activations against values by hand, differences and PyTorch.

Their limits and exact values are tested for both lanes: see `lanes/test_extremes.py`.
"""

import math

import numpy as np
import pytest
from activations import ACTIVATIONS as CASES
from activations import ROWS
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

each_row = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)


def test_every_activation_has_its_arithmetic():
    assert FORWARD.keys() == DERIVATIVES.keys() == {*ACTIVATIONS, "own"}
    assert SAVES_INPUT == {"gelu", "gelu_tanh", "silu", "mish", "own"}


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


# Values.


@each_row
def test_values_and_derivatives_by_hand(row):
    x = np.array([*row.values], float)
    y = reference.activation_forward(x, row.activation)
    assert y.tolist() == [*row.values.values()]
    saved, slopes = np.array([*row.derivatives], float), [*row.derivatives.values()]
    dx = reference.activation_backward(np.full_like(saved, 4), saved, row.activation)
    np.testing.assert_allclose(dx, 4 * np.array(slopes), rtol=1e-15)


def test_tails_are_exact():
    x = np.array([-20.0, -8.5])
    y = reference.activation_forward(x, "gelu")
    exact = [each * math.erfc(-each / math.sqrt(2)) / 2 for each in x]
    np.testing.assert_allclose(y, exact, rtol=1e-13)
    y = reference.activation_forward(np.array([-8.5]), "gelu_tanh")
    u = math.sqrt(2 / math.pi) * (8.5 + 0.044715 * 8.5**3)
    np.testing.assert_allclose(y, [-8.5 * math.exp(-2 * u)], rtol=1e-13)


def test_a_slope_of_zero_is_relu():
    z, dy = np.array([-np.inf, -1.0, 2.0]), np.array([np.inf, 1.0, 2.0])
    leaky = LeakyReLU(0.0)
    assert activate(leaky, z).tolist() == [0, 0, 2]
    assert activation_gradient(leaky, dy, z).tolist() == [0, 0, 2]


# Derivatives.


@pytest.mark.parametrize("activation", CASES.values(), ids=CASES)
def test_gradients_against_differences(activation):
    x, dy = arrays(1, (5, 40), (5, 40))
    x *= 3
    x[abs(x) < 1e-3] = 1  # differences across a kink mean nothing
    saved = x if saves_input(activation) else activate(activation, x)
    dx = reference.activation_backward(dy, saved, activation)
    numeric = differences(lambda: (dy * activate(activation, x)).sum(), x)
    assert is_gradient(dx, numeric)


@pytest.mark.parametrize("dtype", FLOATS)
@each_row
def test_activations_against_torch(torch, row, dtype):
    x, dy = arrays(3, (7, 31), (7, 31), dtype=dtype)
    x *= 4
    x[0, 0] = 0
    tx = torch.tensor(x, requires_grad=True)
    ty = row.torch(torch.nn.functional, tx)
    ty.backward(torch.tensor(dy))
    y, dx = row.both(reference, x, dy)
    assert y.dtype == dx.dtype == dtype
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    for ours, theirs in ((y, ty.detach()), (dx, tx.grad)):
        np.testing.assert_allclose(ours, theirs.numpy(), tolerance, tolerance)


# Arguments.


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(), (1,), (3, 4), (2, 3, 4), (0,)])
@each_row
def test_any_shape_and_dtype(row, shape, dtype):
    x = np.full(shape, 0.5, dtype)
    x.flags.writeable = False
    for result in row.both(reference, x, x):
        assert isinstance(result, np.ndarray)
        assert result.shape == shape
        assert result.dtype == dtype
        assert not np.shares_memory(result, x)


@pytest.mark.parametrize("activation", CASES.values(), ids=CASES)
def test_arguments_are_checked(activation):
    def backward(saved):
        reference.activation_backward(np.ones((3, 2)), saved, activation)

    with pytest.raises(TypeError, match="x must be a NumPy array, got list"):
        reference.activation_forward([1.0], activation)
    with pytest.raises(TypeError, match="x must be float32 or float64, got int64"):
        reference.activation_forward(np.ones((3, 2), int), activation)
    with pytest.raises(TypeError, match="saved must be float64 like dy, got float3"):
        backward(np.ones((3, 2), "f4"))
    with pytest.raises(ValueError, match=r"saved must have shape \(3, 2\) like dy"):
        backward(np.ones((4, 2)))


def test_softmax_is_of_rows():
    z = np.ones(3)
    with pytest.raises(ValueError, match=r"x must have shape \(m, n\), got \(3,\)"):
        reference.activation_forward(z, "softmax")
    with pytest.raises(ValueError, match=r"dy must have shape \(m, n\), got \(3,\)"):
        reference.activation_backward(z, z, "softmax")


def test_objects_and_names():
    z = np.array([[-1.0, 1.0]])
    assert np.array_equal(activate("elu", z), activate(ELU(), z))
    assert not np.array_equal(activate("elu", z), activate(ELU(2.0), z))
