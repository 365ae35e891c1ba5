import numpy as np
import pytest

from fastnn.initializers import WEIGHT_INITIALIZERS, initial_weights
from fastnn.layers import Dense
from fastnn.plan import make_plan

VARIANCES = {
    "he_normal": lambda n_in, n_out: 2 / n_in,
    "he_uniform": lambda n_in, n_out: 2 / n_in,
    "glorot_normal": lambda n_in, n_out: 2 / (n_in + n_out),
    "glorot_uniform": lambda n_in, n_out: 2 / (n_in + n_out),
    "lecun_normal": lambda n_in, n_out: 1 / n_in,
    "lecun_uniform": lambda n_in, n_out: 1 / n_in,
    "zeros": lambda n_in, n_out: 0,
}


def first_weights(name, n_in, n_out, seed=0, activation="identity", dtype="float64"):
    layer = Dense(n_out, activation, weight_init=name)
    plan = make_plan([n_in, layer, 2], dtype=dtype)
    return initial_weights(plan, seed)[0][0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shapes_dtype_and_zero_biases(dtype):
    weights = initial_weights(make_plan([5, 7, 3], dtype=dtype), seed=1)
    assert [(W.shape, b.shape) for W, b in weights] == [((5, 7), (7,)), ((7, 3), (3,))]
    for W, b in weights:
        assert W.dtype == b.dtype == dtype
        assert W.any()
        assert not b.any()


@pytest.mark.parametrize("name", WEIGHT_INITIALIZERS)
@pytest.mark.parametrize("seed", range(5))
def test_mean_and_variance(name, seed):
    n_in, n_out = 200, 100
    W = first_weights(name, n_in, n_out, seed)
    variance = VARIANCES[name](n_in, n_out)
    # Standard errors of the mean and, for the normal distribution, of the variance (the
    # uniform one's is smaller); five of them happen once in two million draws.
    assert abs(W.mean()) <= 5 * np.sqrt(variance / W.size)
    assert abs(W.var() - variance) <= 5 * variance * np.sqrt(2 / W.size)


@pytest.mark.parametrize("name", [n for n in WEIGHT_INITIALIZERS if "uniform" in n])
def test_uniform_fills_its_range(name):
    W = first_weights(name, 200, 100)
    limit = np.sqrt(3 * VARIANCES[name](200, 100))
    assert -limit <= W.min() < -0.999 * limit
    assert 0.999 * limit < W.max() < limit


@pytest.mark.parametrize(
    ("activation", "chosen"), [("relu", "he_normal"), ("identity", "glorot_normal")]
)
def test_auto_depends_on_the_activation(activation, chosen):
    auto = first_weights("auto", 9, 4, activation=activation)
    assert np.array_equal(auto, first_weights(chosen, 9, 4))


def test_same_seed_same_bits_other_seed_other_weights():
    plan = make_plan([4, 8, 3])
    once, again, other = (initial_weights(plan, seed) for seed in (5, 5, 6))
    for (W, _), (W_again, _), (W_other, _) in zip(once, again, other, strict=True):
        assert np.array_equal(W, W_again)
        assert not np.array_equal(W, W_other)


def test_layers_are_independent_of_those_behind():
    short = initial_weights(make_plan([4, Dense(8, "relu"), 3]), 0)
    long = initial_weights(make_plan([4, Dense(8, "relu"), 5, 3]), 0)
    assert np.array_equal(short[0][0], long[0][0])


def test_layers_of_one_shape_differ():
    (first, _), (second, _), _ = initial_weights(make_plan([8, 8, 8, 2]), 0)
    assert not np.array_equal(first, second)


def test_a_wide_seed_does_not_collide_with_a_layer_index():
    # Words of the seed and of the index, put into one list, would be the same here.
    plan = make_plan([8, Dense(8), Dense(8)])
    narrow, wide = initial_weights(plan, 5), initial_weights(plan, 5 + 2**32)
    assert not np.array_equal(narrow[1][0], wide[0][0])


def test_float32_is_the_rounded_float64():
    single = first_weights("he_normal", 6, 5, dtype="float32")
    double = first_weights("he_normal", 6, 5, dtype="float64")
    assert np.array_equal(single, double.astype(np.float32))


PINNED_UNIFORM = [[0.5326404319142242, -1.5068168055585682, -0.2100964428931431]]
PINNED_NORMAL = [[0.35951336665948236, -1.1102655611053736, 0.7178465966400417]]


def test_values_stay_the_same_from_version_to_version():
    W = first_weights("lecun_uniform", 1, 3, seed=123)
    assert W.tolist() == PINNED_UNIFORM
    W = first_weights("lecun_normal", 1, 3, seed=123)
    assert W.tolist() == PINNED_NORMAL


def test_global_random_state_is_untouched():
    before = np.random.get_state()
    initial_weights(make_plan([4, 8, 3]), 0)
    after = np.random.get_state()
    assert before[2] == after[2]
    assert np.array_equal(before[1], after[1])


def test_negative_seed():
    with pytest.raises(ValueError, match="non-negative"):
        initial_weights(make_plan([4, 3]), -1)
