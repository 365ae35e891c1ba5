"""Losses and normalisations of `fastnn.kernels` against the reference in float64."""

import numpy as np
import pytest

from fastnn import kernels, reference

FLOATS = ["float32", "float64"]
UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}
ROWS = [1, 2, 7, 65]  # the logarithms are taken 64 rows at a time
COLUMNS = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 65]  # around the vectors

LOSSES = {
    "binary_cross_entropy": [{}],
    "mse": [{}],
    "mae": [{}],
    "huber": [{}, dict(delta=0.1), dict(delta=7.0)],
    "poisson": [{}],
    "quantile": [dict(levels=0.5), dict(levels=0.05)],
}


def targets_of(name, rng, m, n):
    if name == "binary_cross_entropy":
        return rng.random((m, n))
    return (
        rng.poisson(2.0, (m, n)) * 1.0 if name == "poisson" else rng.normal(size=(m, n))
    )


def sizes_of(name, z, t):
    """What the loss of an element and its derivative are sums of."""
    reach = abs(z) + abs(t) + 1
    values = {"mse": reach**2, "poisson": np.exp(z) + reach * (abs(t) + 1)}
    slopes = {"poisson": np.exp(z) * reach + abs(t)}
    return values.get(name, reach * (1 + abs(t))), slopes.get(name, reach)


def in_float64(*given):
    return [None if a is None else np.float64(a) for a in given]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, dtype, weighted):
    for m in ROWS:
        for n in COLUMNS:
            rng = np.random.default_rng(m * n)
            z = (2 * rng.normal(size=(m, n))).astype(dtype)
            t = targets_of(name, rng, m, n).astype(dtype)
            weight = rng.random(m).astype(dtype) if weighted else None
            for options in LOSSES[name]:
                loss, dz = getattr(kernels, name)(z, t, weight, **options)
                expected, dz_expected = getattr(reference, name)(
                    *in_float64(z, t, weight), **options
                )
                assert isinstance(loss, float)
                assert dz.dtype == dtype
                value, slope = (
                    each.max() for each in sizes_of(name, *in_float64(z, t))
                )
                outputs = n if name == "binary_cross_entropy" else 1  # or their mean
                delta = max(1, options.get("delta", 1))
                allowed = (n + 20) * UNIT[dtype] * delta
                assert abs(loss - expected) <= allowed * value * outputs
                share = 1 / m if weight is None else weight.max() / weight.sum()
                share = share * outputs / n
                assert abs(dz - dz_expected).max() <= 20 * UNIT[dtype] * share * slope


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["quantile", "gaussian_nll", "focal", "hinge"])
def test_losses_of_rows(name, dtype, weighted):
    unit = UNIT[dtype]
    for m in ROWS:
        for n in (1, 2, 3, 4, 9, 16, 34, 66):
            if name == "gaussian_nll" and n % 2:
                continue
            rng = np.random.default_rng(m * n)
            z = (2 * rng.normal(size=(m, n))).astype(dtype)
            options = [{}]
            if name == "quantile":
                options = [dict(levels=[0.3] if n % 2 else [0.1, 0.7])]
                t = rng.normal(size=(m, n if n % 2 else n // 2)).astype(dtype)
            elif name == "gaussian_nll":
                options = [{}, dict(epsilon=0.5)]
                t = rng.normal(size=(m, n // 2)).astype(dtype)
            else:
                t = rng.integers(max(2, n), size=m)
                options = [{}, dict(gamma=0), dict(gamma=0.5), dict(gamma=1)]
                options = options if name == "focal" else [{}]
            weight = rng.random(m).astype(dtype) if weighted else None
            for each in options:
                loss, dz = getattr(kernels, name)(z, t, weight, **each)
                exact = in_float64(z, weight)
                if t.dtype.kind == "f":
                    t = t.astype("float64")
                expected, dz_expected = getattr(reference, name)(
                    exact[0], t, exact[1], **each
                )
                assert dz.dtype == dtype
                reach = 60 * np.exp(abs(exact[0]).max()) if "nll" in name else 20
                assert abs(loss - expected) <= reach * unit * (1 + abs(expected))
                assert abs(dz - dz_expected).max() <= reach * unit
                t = t.astype(dtype) if t.dtype.kind == "f" else t


@pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("dtype", FLOATS)
def test_soft_targets_may_miss_a_sum_of_1(dtype, smoothing):
    # Rounded probabilities do; here by much, so that it shows.
    rng = np.random.default_rng(0)
    for n in COLUMNS:
        z = rng.normal(size=(7, n)).astype(dtype)
        t = (rng.random((7, n)) * rng.random((7, 1)) * 3 / n).astype(dtype)
        loss, dz = kernels.softmax_cross_entropy(z, t, None, smoothing)
        expected, dz_expected = reference.softmax_cross_entropy(
            *in_float64(z, t, None), smoothing
        )
        unit = 2 * (n + 20) * UNIT[dtype]
        assert abs(loss - expected) <= unit * (1 + abs(z).max())
        assert abs(dz - dz_expected).max() <= unit


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
def test_labels_are_targets_of_0_and_1(dtype, weighted):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(65, 1)).astype(dtype)
    labels = rng.integers(2, size=65)
    weight = rng.random(65).astype(dtype) if weighted else None
    for lane in (kernels, reference):
        loss, dz = lane.binary_cross_entropy(z, labels, weight)
        targets = labels[:, np.newaxis].astype(dtype)
        expected, dz_expected = lane.binary_cross_entropy(z, targets, weight)
        assert loss == pytest.approx(expected, rel=1e-15)
        np.testing.assert_array_equal(dz, dz_expected)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("factor", [1e-60, 1e-30, 1e30, 1e60])
def test_only_ratios_of_sample_weights_matter(name, factor, dtype):
    if dtype == "float32":
        factor = factor**0.5  # what float32 holds
    rng = np.random.default_rng(0)
    z = rng.standard_normal((9, 5)).astype(dtype)
    t = targets_of(name, rng, 9, 5).astype(dtype)
    weight = rng.random(9).astype(dtype)
    options = LOSSES[name][0]
    loss, dz = getattr(kernels, name)(z, t, weight, **options)
    scaled = (weight * np.dtype(dtype).type(factor)).astype(dtype)
    scaled_loss, scaled_dz = getattr(kernels, name)(z, t, scaled, **options)
    assert scaled_loss == pytest.approx(loss, rel=20 * UNIT[dtype])
    np.testing.assert_allclose(scaled_dz, dz, 20 * UNIT[dtype])


# Normalisation: the difference from the mean is as exact as x, and is then multiplied
# by the inverse of the deviation; that and two sums are all there is.


def norm_data(dtype, m, n):
    rng = np.random.default_rng(m * 100 + n)
    x = (rng.normal(size=(m, n)) * 3 + rng.normal(size=n)).astype(dtype)
    dy = rng.normal(size=(m, n)).astype(dtype)
    scale, shift = (rng.normal(size=n).astype(dtype) for _ in range(2))
    return x, dy, scale, shift


def amplification(kind, x, epsilon):
    variance = np.float64(x).var(axis=0 if kind == "batch" else 1)
    return 1 + abs(x).max() / np.sqrt(variance.min() + epsilon)


@pytest.mark.parametrize("epsilon", [1e-5, 0.1])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ["batch", "layer"])
def test_norms(kind, dtype, epsilon):
    for m in ROWS:
        for n in COLUMNS:
            x, dy, scale, shift = norm_data(dtype, m, n)
            given = (x, scale, shift)
            name = f"{kind}_norm_forward"
            found = getattr(kernels, name)(*given, epsilon)
            expected = getattr(reference, name)(*in_float64(*given), epsilon)
            if kind == "batch":
                (found, *statistics), (expected, *others) = found, expected
                for statistic, other in zip(statistics, others, strict=True):
                    assert statistic.dtype == dtype
                    size = UNIT[dtype] * (m + 4) * (1 + abs(np.float64(x)).max()) ** 2
                    assert (abs(statistic - other) <= size).all()
            unit = (
                4 * UNIT[dtype] * (m + n + 4) ** 0.5 * amplification(kind, x, epsilon)
            )
            assert found.dtype == dtype
            size = abs(scale).max() + abs(shift).max()
            assert (abs(found - expected) <= unit * size).all(), (m, n)

            name = f"{kind}_norm_backward"
            found = getattr(kernels, name)(dy, x, scale, epsilon)
            expected = getattr(reference, name)(*in_float64(dy, x, scale), epsilon)
            inverse = amplification(kind, x, epsilon)
            size = abs(dy).max() * max(1, abs(scale).max())
            limits = [16 * unit * size * inverse**2, unit * size * m, unit * size * m]
            for f, e, limit in zip(found, expected, limits, strict=True):
                assert f.dtype == dtype
                assert f.shape == e.shape
                assert abs(f - e).max() <= limit, (m, n)


@pytest.mark.parametrize("lane", [kernels, reference], ids=["native", "numpy"])
@pytest.mark.parametrize("kind", ["batch", "layer"])
def test_norms_by_hand(lane, kind):
    x = np.array([[1.0, 4.0], [3.0, 0.0]])
    scale, shift = np.array([2.0, 10.0]), np.array([0.5, -1.0])
    result = getattr(lane, f"{kind}_norm_forward")(x, scale, shift, 1e-12)
    if kind == "batch":
        y, mean, variance = result
        np.testing.assert_allclose(mean, [2, 2])
        np.testing.assert_allclose(variance, [1, 4])
        np.testing.assert_allclose(y, [[-1.5, 9], [2.5, -11]], rtol=1e-11)
    else:
        np.testing.assert_allclose(result, [[-1.5, 9], [2.5, -11]], rtol=1e-11)
    # Of two values the normalised ones are -1 and 1, whatever they are.
    dy = np.array([[1.0, 2.0], [3.0, 5.0]])
    dx, dscale, dshift = getattr(lane, f"{kind}_norm_backward")(dy, x, scale, 1e-12)
    np.testing.assert_allclose(dx, np.zeros((2, 2)), atol=1e-10)
    np.testing.assert_allclose(dscale, [2.0, -3.0])
    np.testing.assert_allclose(dshift, [4.0, 7.0])
