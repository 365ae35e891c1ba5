"""Functions far from 0: right limits, no warnings, NaN stays NaN."""

import warnings
from functools import partial

import numpy as np
import pytest
from activations import ROWS
from helpers import same_bits

from fastnn import kernels, reference
from fastnn.activations import ACTIVATIONS as NAMES
from fastnn.activations import as_activation

mpmath = pytest.importorskip("mpmath")

LANES = {"native": kernels, "numpy": reference}
FLOATS = ["float32", "float64"]
INF = np.inf


@pytest.fixture(params=LANES, autouse=True)
def lane(request):
    """Both, and NumPy's warnings are errors in either."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield LANES[request.param]


@pytest.fixture(params=ROWS.values(), ids=ROWS)
def row(request):
    return request.param


def test_every_activation_has_a_row():
    assert {as_activation(row.activation).name for row in ROWS.values()} == {*NAMES} - {
        "softmax"
    }


def at(lane, row, x):
    """The activation and its derivative, as one would get it in training."""
    y, slope = row.both(lane, x, np.ones_like(x))
    assert y.dtype == slope.dtype == x.dtype
    return y, slope


@pytest.mark.parametrize("dtype", FLOATS)
def test_limits(lane, row, dtype):
    (low, high), slopes = row.limits, row.slopes
    for x in (INF, 1e4, 1e30):
        # What goes to infinity is on the line that it goes along.
        expected = [
            -x * slopes[0] if low == -INF else low,
            x * slopes[1] if high == INF else high,
        ]
        y, slope = at(lane, row, np.array([-x, x] * 9, dtype))  # vectors and a rest
        unit = float(np.finfo(dtype).eps)
        np.testing.assert_allclose(np.float64(y), expected * 9, 2 * unit)
        np.testing.assert_allclose(np.float64(slope), slopes * 9, 2 * unit)


POINTS = np.array(
    [
        *(0.0, 1e-30, 1e-8, 1e-3, 0.1, 0.5, 1.0, 1.2, 2.0, 3.0, 4.5, 6.0, 8.0, 9.5),
        *(12.0, 16.0, 20.0, 37.0, 50.0, 80.0, 88.5, 100.0, 700.0, 740.0, 1e4, 1e30),
    ]
)
POINTS = np.concatenate([-POINTS[::-1], POINTS, np.linspace(-9, 9, 50)])


@pytest.mark.parametrize("dtype", FLOATS)
def test_values(lane, row, dtype):
    x = POINTS.astype(dtype)
    with mpmath.workdps(60):
        exact = [row.exact(mpmath, mpmath.mpf(float(each))) for each in x]
    y, slope = np.float64(exact).T
    found, found_slope = map(np.float64, at(lane, row, x))
    # A few roundings of the result, or of what it is a difference of; below the
    # smallest normal number it may be 0.
    unit, tiny = float(np.finfo(dtype).eps), float(np.finfo(dtype).tiny)
    steep = max(1, row.parameter)
    allowed = 16 * unit * (np.minimum(1, abs(np.float64(x))) + abs(y)) * steep + tiny
    assert (abs(found - y) <= allowed).all()
    assert (abs(found_slope - slope) <= 16 * unit * steep).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_stays_nan(lane, row, dtype):
    x = np.linspace(-2, 2, 37).astype(dtype)
    clean, slope = at(lane, row, x)
    for place in (0, 5, 20, 36):  # in a vector and in the rest
        spoilt = x.copy()
        spoilt[place] = np.nan
        y = lane.activation_forward(spoilt, row.activation)
        assert np.isnan(y[place])
        others = np.arange(37) != place
        assert same_bits(y[others], clean[others])
        dy = np.ones_like(x)
        dy[place] = np.nan
        _, dx = row.both(lane, x, dy)
        if slope[place] != 0:
            assert np.isnan(dx[place])
        assert same_bits(dx[others], slope[others])


# Softmax and its Jacobian.


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("top", [0.0, 88.0, 1e4, -1e4, 1e30])
def test_softmax(lane, top, dtype):
    z = np.zeros((2, 19), dtype)
    z[0, 3] = top
    p = lane.softmax(z)
    assert abs(p.sum(axis=1, dtype=np.float64) - 1).max() <= 19 * np.finfo(dtype).eps
    dp = np.random.default_rng(0).normal(size=z.shape).astype(dtype)
    dz = lane.softmax_backward(dp, p)
    assert np.isfinite(dz).all()
    assert abs(dz.sum(axis=1)).max() <= 19 * np.finfo(dtype).eps
    if abs(top) >= 1e4:
        expected = np.full(19, 1 / 18)
        expected[3] = 0
        if top > 0:
            expected = np.eye(19)[3]
            assert abs(dz[0]).max() == 0
        np.testing.assert_allclose(p[0], expected, 19 * np.finfo(dtype).eps)


# Losses: (z, target) to the loss and its derivative, of one output.

LOSSES = {
    "binary_cross_entropy": [
        (0.0, 0.5, np.log(2), 0.0),
        (1e4, 1.0, 0.0, 0.0),
        (1e4, 0.0, 1e4, 1.0),
        (-1e4, 1.0, 1e4, -1.0),
        (-1e4, 0.0, 0.0, 0.0),
        (1e4, 0.25, 7.5e3, 0.75),
        (1e30, 0.0, 1e30, 1.0),
        (INF, 0.0, INF, 1.0),
        (-INF, 1.0, INF, -1.0),
    ],
    "mse": [
        (0.0, 0.0, 0.0, 0.0),
        (1e4, 0.0, 1e8, 2e4),
        (-1e4, 1e4, 4e8, -4e4),
        (INF, 0.0, INF, INF),
        (-INF, 0.0, INF, -INF),
    ],
    "mae": [
        (0.0, 0.0, 0.0, 0.0),
        (-0.0, 0.0, 0.0, 0.0),
        (1e4, 0.0, 1e4, 1.0),
        (-1e4, 0.0, 1e4, -1.0),
        (INF, 0.0, INF, 1.0),
        (-INF, 0.0, INF, -1.0),
    ],
    "huber": [
        (0.0, 0.0, 0.0, 0.0),
        (1.0, 0.0, 0.5, 1.0),
        (1e4, 0.0, 1e4 - 0.5, 1.0),
        (-1e4, 0.0, 1e4 - 0.5, -1.0),
        (1e30, 0.0, 1e30, 1.0),
        (INF, 0.0, INF, 1.0),
        (-INF, 0.0, INF, -1.0),
    ],
    "quantile": [
        (0.0, 0.0, 0.0, 0.0),
        (1e4, 0.0, 5e3, 0.5),
        (-1e4, 1.0, 5000.5, -0.5),
        (INF, 0.0, INF, 0.5),
        (-INF, 0.0, INF, -0.5),
    ],
    "poisson": [
        (0.0, 0.0, 1.0, 1.0),
        (0.0, 3.0, 1.0, -2.0),
        (-1e4, 0.0, 0.0, 0.0),
        (-1e4, 2.0, 2e4, -2.0),
        (1e4, 2.0, INF, INF),
        (INF, 2.0, INF, INF),
        (-INF, 2.0, INF, -2.0),
    ],
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", LOSSES)
def test_losses(lane, name, dtype):
    # In the last column of a vector and a rest, whose other losses are those of 0.
    loss_of = getattr(lane, name)
    if name == "quantile":
        loss_of = partial(loss_of, levels=0.5)
    for z, target, total, total_slope in LOSSES[name]:
        for n in (1, 3, 17):
            loss, slope = total, total_slope
            row = np.zeros((1, n), dtype)
            targets = np.zeros((1, n), dtype)
            rest, _ = loss_of(row, targets)
            row[0, -1], targets[0, -1] = z, target
            found, dz = loss_of(row, targets)
            if name != "binary_cross_entropy":  # the others are means
                loss, slope = loss / n, slope / n
            unit = float(np.finfo(dtype).eps)
            if np.isinf(loss):  # or NaN, of two infinities: training diverges
                assert not np.isfinite(found)
            else:
                expected = loss + rest * (n - 1) / n
                assert found == pytest.approx(expected, rel=n * unit, abs=1e-30)
            assert dz[0, -1] == pytest.approx(slope, rel=4 * unit, abs=1e-30)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", [*LOSSES, "softmax_cross_entropy"])
def test_nan_is_not_lost(lane, name, dtype):
    targets = np.full((3, 19), 1 / 19, dtype)
    z = np.zeros((3, 19), dtype)
    options = {"levels": 0.5} if name == "quantile" else {}
    _, clean = getattr(lane, name)(z, targets, **options)
    for place in (0, 15, 16, 18):
        spoilt = z.copy()
        spoilt[1, place] = np.nan
        loss, dz = getattr(lane, name)(spoilt, targets, **options)
        assert np.isnan(loss)
        assert np.isnan(dz[1, place])
        assert same_bits(dz[::2], clean[::2])


@pytest.mark.parametrize("dtype", FLOATS)
def test_labels_of_extreme_logits(lane, dtype):
    for z, label, loss in (
        (1e4, 1, 0.0),
        (1e4, 0, 1e4),
        (-1e4, 1, 1e4),
        (-1e4, 0, 0.0),
    ):
        found, _ = lane.binary_cross_entropy(
            np.full((5, 1), z, dtype), np.full(5, label)
        )
        assert found == pytest.approx(loss, rel=1e-6)


# Normalisation.


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ["batch", "layer"])
def test_a_constant_is_normalised_to_0(lane, kind, dtype):
    scale, shift = np.full(17, 2, dtype), np.full(17, 0.5, dtype)
    for value in (0.0, 1.0, 1e4, -1e4, 1e15):
        x = np.full((17, 17), value, dtype)
        result = getattr(lane, f"{kind}_norm_forward")(x, scale, shift)
        y = result[0] if kind == "batch" else result
        np.testing.assert_allclose(y, 0.5)
        gradients = getattr(lane, f"{kind}_norm_backward")(x * 0 + 1, x, scale)
        assert all(np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ["batch", "layer"])
def test_a_large_mean_costs_no_more_than_its_roundings(lane, kind, dtype):
    rng = np.random.default_rng(0)
    offset = 1e3 if dtype == "float32" else 1e9
    x = (rng.normal(size=(33, 33)) + offset).astype(dtype)
    ones, zeros = np.ones(33, dtype), np.zeros(33, dtype)
    result = getattr(lane, f"{kind}_norm_forward")(x, ones, zeros)
    y = result[0] if kind == "batch" else result
    axis = 0 if kind == "batch" else 1
    wide = np.longdouble(x) - np.longdouble(x).mean(axis=axis, keepdims=True)
    expected = wide / np.sqrt((wide**2).mean(axis=axis, keepdims=True) + 1e-5)
    # x is a multiple of its own last place: what is lost is what the mean rounds.
    assert abs(y - expected).max() <= 4 * offset * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ["batch", "layer"])
def test_nan_spoils_its_own_row_or_column(lane, kind, dtype):
    x = np.random.default_rng(0).normal(size=(7, 19)).astype(dtype)
    x[4, 17] = np.nan
    ones, zeros = np.ones(19, dtype), np.zeros(19, dtype)
    result = getattr(lane, f"{kind}_norm_forward")(x, ones, zeros)
    y = result[0] if kind == "batch" else result
    expected = np.zeros((7, 19), bool)
    expected[(slice(None), 17) if kind == "batch" else 4] = True
    assert (np.isnan(y) == expected).all()
