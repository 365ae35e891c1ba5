import itertools

import numpy as np
import pytest

from fastnn._core.model.seeds import (
    _SPAWN_KEYS,
    dropout_keys,
    initial_weights,
    row_order,
    shard_order,
)
from fastnn._plan.plan import make_plan
from fastnn.activations import ACTIVATIONS
from fastnn.initializers import (
    INITIALIZERS,
    Constant,
    Normal,
    Orthogonal,
    Uniform,
    VarianceScaling,
)
from fastnn.layers import BatchNorm, Dense, Dropout

VARIANCES = {
    "he_normal": lambda n_in, n_out: 2 / n_in,
    "he_uniform": lambda n_in, n_out: 2 / n_in,
    "glorot_normal": lambda n_in, n_out: 2 / (n_in + n_out),
    "glorot_uniform": lambda n_in, n_out: 2 / (n_in + n_out),
    "lecun_normal": lambda n_in, n_out: 1 / n_in,
    "lecun_uniform": lambda n_in, n_out: 1 / n_in,
    "normal": lambda n_in, n_out: 1,
    "uniform": lambda n_in, n_out: 0.05**2 / 3,
    "orthogonal": lambda n_in, n_out: 1 / max(n_in, n_out),
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


@pytest.mark.parametrize("name", VARIANCES)
@pytest.mark.parametrize("seed", range(5))
def test_mean_and_variance(name, seed):
    n_in, n_out = 200, 100
    W = first_weights(name, n_in, n_out, seed)
    variance = VARIANCES[name](n_in, n_out)
    # Standard errors of the mean and, for the normal distribution, of the variance (the
    # uniform one's is smaller); five of them happen once in two million draws.
    assert abs(W.mean()) <= 5 * np.sqrt(variance / W.size)
    assert abs(W.var() - variance) <= 5 * variance * np.sqrt(2 / W.size)


@pytest.mark.parametrize("name", [n for n in INITIALIZERS if "uniform" in n])
def test_uniform_fills_its_range(name):
    W = first_weights(name, 200, 100)
    limit = np.sqrt(3 * VARIANCES[name](200, 100))
    assert -limit <= W.min() < -0.999 * limit
    assert 0.999 * limit < W.max() < limit


def test_every_initializer_by_name_is_tested():
    assert set(VARIANCES) | {"ones"} == set(INITIALIZERS)


CHOSEN = dict.fromkeys(ACTIVATIONS, "glorot_normal")
CHOSEN |= dict.fromkeys(("relu", "leaky_relu", "elu", "gelu", "silu"), "he_normal")
CHOSEN |= {"gelu_tanh": "he_normal", "mish": "he_normal", "selu": "lecun_normal"}


@pytest.mark.parametrize(("activation", "chosen"), CHOSEN.items())
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


def test_auto_looks_through_a_normalisation():
    plan = make_plan([9, Dense(4), BatchNorm("relu"), 2], dtype="float64")
    assert np.array_equal(
        initial_weights(plan, 0)[0][0], first_weights("he_normal", 9, 4)
    )
    plan = make_plan([9, Dense(4), Dense(4, "relu"), 2], dtype="float64")
    assert np.array_equal(
        initial_weights(plan, 0)[0][0], first_weights("glorot_normal", 9, 4)
    )


def test_other_layers_leave_the_draws_alone():
    plain = initial_weights(make_plan([4, Dense(8, "relu"), 3]), 0)
    mixed = make_plan([4, Dense(8, "relu"), BatchNorm(), Dropout(), 3])
    first, norm, last = initial_weights(mixed, 0)
    assert np.array_equal(first[0], plain[0][0])
    assert np.array_equal(last[0], plain[1][0])
    assert norm[0].tolist() == [1] * 8
    assert norm[1].tolist() == [0] * 8


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)])
def test_orthogonal(shape):
    W = first_weights(Orthogonal(2.0), *shape)
    product = W.T @ W if shape[0] >= shape[1] else W @ W.T
    np.testing.assert_allclose(product, 4 * np.eye(min(shape)), atol=1e-14)


def test_parameters_are_used():
    W = first_weights(Normal(0.1, 5.0), 100, 100)
    assert abs(W.mean() - 5) < 0.01
    assert 0.095 < W.std() < 0.105
    W = first_weights(Uniform(2.0, 3.0), 100, 100)
    assert 2 <= W.min() < W.max() <= 3
    assert (first_weights(Constant(7.0), 2, 3) == 7).all()


def test_values_and_biases():
    layer = Dense(2, weight_init=[[1, 2], [3, 4]], bias_init=[5, 6])
    W, b = initial_weights(make_plan([2, layer], dtype="float64"), 0)[0]
    assert W.tolist() == [[1, 2], [3, 4]]
    assert b.tolist() == [5, 6]
    layer = Dense(200, use_bias=False)
    assert not initial_weights(make_plan([2, layer]), 0)[0][1].any()
    layer = Dense(200, bias_init="normal")
    assert initial_weights(make_plan([2, layer]), 0)[0][1].all()


def test_values_of_another_shape_name_the_layer():
    with pytest.raises(
        ValueError, match=r"layers\[2\]: .*shape \(3, 2\), got \(1, 2\)"
    ):
        initial_weights(make_plan([2, 3, Dense(2, weight_init=[[1, 2]])]), 0)


@pytest.mark.parametrize(
    "initializer",
    [Constant(1e39), Normal(1e39), Uniform(-1e39, 1e39), Orthogonal(1e40)],
)
def test_values_that_overflow_the_dtype_are_refused(initializer):
    layer = Dense(9, weight_init=initializer)
    with pytest.raises(ValueError, match=r"^layers\[2\]\.weight_init is .* in float32"):
        initial_weights(make_plan([2, 3, layer]), 0)
    initial_weights(make_plan([2, 3, layer], dtype="float64"), 0)


def test_biases_and_values_that_overflow_are_refused():
    for bias in (Constant(-1e300), np.full(9, 1e300)):
        plan = make_plan([2, Dense(9, bias_init=bias)])
        with pytest.raises(ValueError, match=r"^layers\[1\]\.bias_init is "):
            initial_weights(plan, 0)
    wide = Dense(9, weight_init=Uniform(-1.7e308, 1.7e308))
    with pytest.raises(ValueError, match=r"weight_init is .* in float64"):
        initial_weights(make_plan([2, wide], dtype="float64"), 0)


def test_layers_of_one_seed_start_alike():
    tied = make_plan([8, Dense(8, seed=3), Dense(8, seed=3), Dense(8)])
    (first, _), (second, _), (third, _) = initial_weights(tied, 0)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)
    again = initial_weights(tied, 1)
    assert np.array_equal(first, again[0][0])
    assert not np.array_equal(third, again[2][0])


def test_dropout_keys():
    plan = make_plan([2, 8, Dropout(), 8, Dropout(), Dropout(seed=7), 3])
    keys = dropout_keys(plan, 0)
    assert [key == 0 for key in keys] == [True, False, True, False, False, True]
    assert len(set(keys)) == 4
    other = dropout_keys(plan, 1)
    assert keys[1] != other[1]
    assert keys[4] == other[4]
    assert all(0 <= key < 2**64 for key in keys)


def test_a_dropout_with_the_seed_of_the_network_has_numbers_of_its_own():
    plan = make_plan([2, Dropout(seed=7), 8, Dropout(seed=7), 3])
    first, _, second, *_ = dropout_keys(plan, 7)
    assert first == second  # one seed, one mask
    others = [
        dropout_keys(plan, 8)[0],  # draws as the second dense layer of seed 7 does
        dropout_keys(make_plan([2, Dropout(), 3]), 7)[0],
        dropout_keys(make_plan([2, 8, Dropout(), 3]), 7)[1],
    ]
    assert first not in others
    weights = np.random.SeedSequence(7, spawn_key=(1,)).generate_state(1, np.uint64)[0]
    assert others[0] == weights != first


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Normal(-1), "std must be a finite number >= 0"),
        (lambda: Normal(1, np.nan), "mean must be a finite number"),
        (lambda: Uniform(1, 0), "high must be a finite number >= low"),
        (lambda: Orthogonal(0), "gain must be a finite number > 0"),
        (lambda: VarianceScaling(-1), "gain must be a finite number > 0"),
        (lambda: VarianceScaling(1, "out"), "fan must be one of"),
        (lambda: VarianceScaling(1, "in", "flat"), "distribution must be one of"),
        (lambda: Constant(np.inf), "value must be a finite number"),
    ],
)
def test_wrong_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_no_two_uses_of_a_seed_share_numbers():
    counts = {"weights": 1, "masks": 1, "order": 2, "shard order": 2, "embedding": 1,
              "start": 0,
              "own weights": 0, "own masks, shared seed": 0}  # fmt: skip
    assert _SPAWN_KEYS.keys() - counts.keys() == {"own masks"}  # of another seed
    keys = [
        (name, place)
        for name, count in counts.items()
        for n in ({1, count} if name == "order" else {count})
        for place in itertools.product(range(12), repeat=n)
    ]
    states = {
        tuple(
            np.random.SeedSequence(0, spawn_key=_SPAWN_KEYS[name](*place))
            .generate_state(4)
            .tolist()
        )
        for name, place in keys
    }
    assert len(states) == len(keys)


def test_the_order_of_rows_stays_what_it_was():
    # An interrupted epoch in a file goes on in the order in which it began.
    assert row_order(7, 10, 3).tolist() == [9, 1, 7, 3, 0, 2, 4, 6, 5, 8]
    assert row_order(7, 10, 3, 0).tolist() == [7, 8, 3, 0, 6, 9, 2, 1, 4, 5]
    assert shard_order(7, 10, 1, 3).tolist() == [7, 0, 2, 6, 1, 9, 5, 3, 8, 4]
