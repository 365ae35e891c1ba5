import dataclasses

import numpy as np
import pytest

from fastnn import Network
from fastnn._core.model.seeds import initial_weights
from fastnn._plan.plan import Plan, make_plan
from fastnn.activations import ACTIVATIONS, LeakyReLU, ReLU
from fastnn.initializers import INITIALIZERS, Constant, Normal, Orthogonal
from fastnn.layers import (
    LAYERS,
    BatchNorm,
    Dense,
    Dropout,
    Embedding,
    LayerNorm,
    ParametricActivation,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    Scale,
)


def test_dense_defaults():
    layer = Dense(3)
    assert layer == Dense(3, "identity", "auto", "zeros")
    assert {
        each.name: each
        for each in (
            *(Dense, Dropout, BatchNorm, LayerNorm, Scale, PeriodicEmbedding),
            *(PiecewiseLinearEmbedding, Embedding, ParametricActivation),
        )
    } == LAYERS


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_accepted(activation):
    assert Dense(3, activation).activation == activation


@pytest.mark.parametrize("name", ["auto", *INITIALIZERS])
def test_every_initializer_is_accepted(name):
    assert Dense(3, weight_init=name).weight_init == name


def test_activations_are_names_where_a_name_says_it_all():
    assert Dense(3, ReLU()) == Dense(3, "relu")
    assert Dense(3, LeakyReLU()).activation == "leaky_relu"
    assert Dense(3, LeakyReLU(0.2)).activation == LeakyReLU(0.2)
    assert BatchNorm(ReLU()).activation == LayerNorm(ReLU()).activation == "relu"


def test_initializers_may_be_objects_or_arrays():
    assert Dense(3, weight_init=Normal(0.1)).weight_init == Normal(0.1)
    layer = Dense(2, weight_init=np.ones((1, 2)), bias_init=[1, 2])
    assert layer.weight_init.values == ((1.0, 1.0),)
    assert layer.bias_init.values == (1.0, 2.0)
    assert layer == Dense(2, weight_init=[[1, 1]], bias_init=(1, 2))


def test_factors_are_those_of_both_arrays_but_biases_do_not_decay():
    assert Dense(3).factors == ((1, 1, 1), (1, 1, 0))
    assert Scale().factors == BatchNorm().factors == ((1, 1, 0), (1, 1, 0))
    layer = Dense(3, rate_factors=2, epsilon_factors=[3, 4], decay_factors=0.5)
    assert layer.factors == ((2, 3, 0.5), (2, 4, 0))
    assert LayerNorm(decay_factors=(0.5, 2)).factors == ((1, 1, 0.5), (1, 1, 2))


def test_repr_leaves_defaults_out():
    assert repr(Dense(3)) == "Dense(units=3)"
    assert repr(Dense(3, "relu", use_bias=False)) == (
        "Dense(units=3, activation='relu', use_bias=False)"
    )
    assert repr(Dropout()) == "Dropout()"


def test_numpy_integers_become_ints():
    assert type(Dense(np.int64(3)).units) is int


def test_dense_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Dense(3).units = 4


def test_zeros_are_the_biases_of_a_layer_without():
    for zeros in ("zeros", Constant(0), [0, 0, 0]):
        Dense(3, bias_init=zeros, use_bias=False)
    for others in ("normal", Constant(1), [0, 0, 1]):
        with pytest.raises(ValueError, match="but use_bias is False"):
            Dense(3, bias_init=others, use_bias=False)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"units": 0}, ValueError, "units must be an integer from 1 to 16777216"),
        ({"units": -1}, ValueError, "units .* got -1"),
        ({"units": 2**24 + 1}, ValueError, "units .* got 16777217"),
        ({"units": 3.0}, TypeError, "units .* got 3.0"),
        ({"units": True}, TypeError, "units .* got True"),
        ({"units": "3"}, TypeError, "units .* got '3'"),
        ({"units": 3, "activation": "relo"}, ValueError, "activation .* got 'relo'"),
        ({"units": 3, "activation": None}, TypeError, "activation must be one of"),
        ({"units": 3, "weight_init": "one"}, ValueError, "weight_init must be one of"),
        ({"units": 3, "bias_init": "one"}, ValueError, "bias_init must be one of"),
        ({"units": 3, "bias_init": "auto"}, ValueError, "bias_init must be one of"),
        ({"units": 3, "bias_init": Orthogonal()}, ValueError, "is for weights"),
        ({"units": 3, "weight_init": [1, 2]}, ValueError, "must have 2 dimensions"),
        ({"units": 3, "bias_init": [[1]]}, ValueError, "must have 1 dimensions"),
        ({"units": 3, "weight_init": ["a"]}, TypeError, "weight_init must be a name"),
        ({"units": 3, "weight_init": [[np.nan]]}, ValueError, "must be finite"),
        (
            {"units": 3, "weight_init": Constant},
            TypeError,
            "weight_init must be a name",
        ),
        (
            {"units": 3, "bias_init": "ones", "use_bias": False},
            ValueError,
            "bias_init is 'ones' but use_bias is False; expected 'zeros'",
        ),
        ({"units": 3, "use_bias": 1}, TypeError, "use_bias must be True or False"),
        ({"units": 3, "trainable": 0}, TypeError, "trainable must be True or False"),
        ({"units": 3, "seed": -1}, ValueError, "seed must be an integer"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        Dense(**arguments)


@pytest.mark.parametrize(
    ("layer", "arguments", "error", "message"),
    [
        (Dropout, {"rate": 1}, ValueError, "rate must be a number >= 0 and < 1"),
        (Dropout, {"rate": -0.1}, ValueError, "rate must be a number >= 0 and < 1"),
        (Dropout, {"rate": "0.5"}, TypeError, "rate must be a number >= 0 and < 1"),
        (Dropout, {"seed": 2**64}, ValueError, "seed must be an integer"),
        (BatchNorm, {"momentum": 0}, ValueError, "momentum must be a number > 0"),
        (BatchNorm, {"momentum": 1.1}, ValueError, "momentum must be a number > 0"),
        (BatchNorm, {"epsilon": 0}, ValueError, "epsilon must be a finite number >="),
        (BatchNorm, {"trainable": None}, TypeError, "trainable must be True or False"),
        (BatchNorm, {"activation": "relo"}, ValueError, "activation must be one of"),
        (LayerNorm, {"epsilon": np.inf}, ValueError, "epsilon must be a finite number"),
        (Scale, {"init": np.inf}, ValueError, "init must be a finite number"),
        (Scale, {"init": "ones"}, TypeError, "init must be a finite number"),
        (Scale, {"trainable": 1}, TypeError, "trainable must be True or False"),
        (Scale, {"rate_factors": -1}, ValueError, "rate_factors must be a finite num"),
        (Scale, {"rate_factors": "1"}, TypeError, "rate_factors must be a finite num"),
        (LayerNorm, {"decay_factors": (0, -1)}, ValueError, r"decay_factors\[1\] must"),
        (BatchNorm, {"epsilon_factors": 0}, ValueError, "number > 0, got 0"),
        (Scale, {"rate_factors": (1, 2, 3)}, ValueError, "a number or a pair"),
        (LayerNorm, {"activation": 1}, TypeError, "activation must be one of"),
    ],
)
def test_wrong_arguments_of_other_layers(layer, arguments, error, message):
    with pytest.raises(error, match=message):
        layer(**arguments)


def test_ranges_hold_their_ends_that_they_include():
    assert BatchNorm(momentum=1).momentum == 1
    assert Dropout(0).rate == 0
    assert Dropout(0.5, seed=2**64 - 1).seed == 2**64 - 1
    assert Scale(init=0).init == 0


# Embeddings.


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"frequencies": 0},
            ValueError,
            "frequencies must be an integer from 1 to 256",
        ),
        ({"frequencies": 257}, ValueError, "frequencies must be an integer from 1 to"),
        ({"size": 1}, ValueError, "size must be an integer from 2 to 64"),
        ({"columns": 0}, ValueError, "columns must be an integer from 1 to"),
        ({"columns": 2.0}, TypeError, "columns must be an integer from 1 to"),
        ({"sigma": 0.0}, ValueError, "sigma must be a finite number > 0, got 0.0"),
        ({"trainable": 1}, TypeError, "trainable must be True or False, got 1"),
        ({"seed": -1}, ValueError, "seed must be an integer from 0 to"),
    ],
)
def test_parameters_of_periodic_embeddings(arguments, error, message):
    with pytest.raises(error, match=message):
        PeriodicEmbedding(**arguments)


def test_an_embedding_needs_its_columns():
    layer = PeriodicEmbedding(columns=3)
    assert make_plan([3, layer, 2]).widths == (3, 12, 2)
    with pytest.raises(ValueError, match=r"layers\[0\].*columns is 3; .* the 2 inputs"):
        make_plan([2, layer, 2])
    with pytest.raises(
        ValueError, match=r"layers\[0\].*the outputs must be .* 16777216"
    ):
        make_plan([2**22, PeriodicEmbedding(size=5), 2])


def test_a_periodic_embedding_in_a_plan():
    plan = make_plan([5, PeriodicEmbedding(6, 3, columns=4), Dense(7), 2])
    assert plan.widths == (5, 13, 7, 2)
    assert plan.shapes[0] == ((6, 3, 4), (8, 4))
    assert plan.parameter_counts == (6 * 3 * 4 + 8 * 4, 14 * 7, 8 * 2)


def test_how_a_periodic_embedding_starts():
    layer = PeriodicEmbedding(100, 4, sigma=0.2)
    pair, dense = initial_weights(make_plan([90, layer, 2]), seed=0)
    w, W, c, b = pair[0][:, 0], pair[0][:, 1:], pair[1][:100], pair[1][100:]
    assert w.std() == pytest.approx(0.2, rel=0.05)
    assert abs(w.mean()) < 0.01
    for array, bound in ((c, np.pi), (W, 0.1), (b, 0.1)):
        assert abs(array.mean()) < 0.1 * bound
        assert 0.95 * bound < abs(array).max() <= bound
        assert array.std() == pytest.approx(bound / 3**0.5, rel=0.1)
    other = initial_weights(make_plan([90, layer, 2], dtype="float64"), seed=0)
    assert np.array_equal(other[0][0].astype("float32"), pair[0])
    # The weights of dense layers are those of the network without it.
    plain = initial_weights(make_plan([90 * 4, 2]), seed=0)
    assert np.array_equal(plain[0][0], dense[0])
    seeds = [initial_weights(make_plan([90, layer, 2]), seed=1)]
    own = PeriodicEmbedding(100, 4, sigma=0.2, seed=5)
    seeds += [initial_weights(make_plan([90, own, 2]), seed=s) for s in (0, 1)]
    assert not np.array_equal(seeds[0][0][0], pair[0])
    assert np.array_equal(seeds[1][0][0], seeds[2][0][0])
    assert not np.array_equal(seeds[1][0][0], pair[0])


@pytest.mark.parametrize(
    ("bins", "error", "message"),
    [
        ("abc", TypeError, "bins must be the edges of each column, got 'abc'"),
        ([], ValueError, "the number of columns of bins must be an integer from 1"),
        ([1.0, 2.0], TypeError, r"bins\[0\] must be an array of numbers, got 1.0"),
        ([[0, 1], ["a"]], TypeError, r"bins\[1\] must be an array of numbers"),
        ([[0]], ValueError, r"bins\[0\] must be at least 2 finite edges that increase"),
        ([[0, 1, 1 + 1e-9]], ValueError, "edges that increase, also as float32"),
        ([[0, 0]], ValueError, "edges that increase, also as float32"),
        ([[1, 1 + 1e-9]], ValueError, "edges that increase, also as float32"),
        ([[0, np.inf]], ValueError, "2 finite edges"),
        ([[0, 1e39]], ValueError, "2 finite edges"),
    ],
)
def test_bins_are_edges(bins, error, message):
    with pytest.raises(error, match=message):
        PiecewiseLinearEmbedding(bins)


def test_bins_of_data_are_quantiles():
    X = np.stack([np.arange(101.0), np.full(101, 7.0), np.arange(101) // 60], axis=1)
    layer = PiecewiseLinearEmbedding.from_data(X, 4, 3, trainable=False)
    assert layer.bins == ((0, 25, 50, 75, 100), (7, 14), (0, 1))
    assert (layer.size, layer.trainable) == (3, False)
    assert PiecewiseLinearEmbedding.from_data(X, 4, columns=1).counts == (4,)
    with pytest.raises(ValueError, match=r"X must be finite and of shape \(n, n_inp"):
        PiecewiseLinearEmbedding.from_data(X[0])
    with pytest.raises(ValueError, match="columns must be an integer from 1 to 3"):
        PiecewiseLinearEmbedding.from_data(X, columns=4)


@pytest.mark.parametrize(
    ("categories", "error", "message"),
    [
        (3, TypeError, "categories must be the number of categories of each column"),
        ("3", TypeError, "categories must be the number of categories of each column"),
        ([], ValueError, "the number of columns of categories must be an integer"),
        ([0], ValueError, r"categories\[0\] must be an integer from 1"),
        ([2, 1.5], TypeError, r"categories\[1\] must be an integer from 1"),
    ],
)
def test_categories_are_numbers_of_them(categories, error, message):
    with pytest.raises(error, match=message):
        Embedding(categories)


def test_embeddings_in_a_plan():
    layers = [6, PeriodicEmbedding(3, 2, columns=2), Embedding([5, 3]), Dense(7), 2]
    plan = make_plan(layers)
    assert plan.widths == (6, 8, 22, 7, 2)
    assert plan.categories == (5, 3)
    assert plan.shapes[1] == ((8, 8), (8,))
    assert plan.parameter_counts[1] == 64
    layer = PiecewiseLinearEmbedding([[0, 1, 2], [0, 1]], 5)
    plan = make_plan([6, layer, 2])
    assert (plan.widths[1], plan.categories) == (14, ())
    assert plan.shapes[0] == ((3, 5), (2, 5))
    with pytest.raises(ValueError, match=r"layers\[0\].*columns of bins are 2; exp"):
        make_plan([1, layer, 2])
    with pytest.raises(ValueError, match=r"layers\[0\].*columns of categories are 2"):
        make_plan([1, Embedding([2, 2]), 2])


@pytest.mark.parametrize("below", [Dense(5), Dropout(), BatchNorm(), Embedding([3])])
def test_codes_must_reach_their_embedding_as_they_are(below):
    with pytest.raises(ValueError, match=r"layers\[1\].* below it may stand Periodic"):
        make_plan([5, below, Embedding([2]), 2])


def test_codes_are_not_numbers():
    with pytest.raises(ValueError, match=r"takes codes; expected 4 columns"):
        make_plan([5, PeriodicEmbedding(), Embedding([2]), 2])
    with pytest.raises(ValueError, match=r"must be 1 and 0 for .* the last 2 inputs"):
        Network([5, Embedding([2, 3]), 2], input_scale=0.5, seed=0)
    Network([5, Embedding([2, 3]), 2], input_scale=[0.5, 2, 3, 1, 1], seed=0)


@pytest.mark.parametrize("code", [-2, 3, 0.5, 1e9, np.nan, np.inf])
def test_wrong_codes_are_errors_that_name_them(make_net, code):
    net = make_net([3, PeriodicEmbedding(columns=1), Embedding([4, 3]), Dense(2)])
    X, y = np.zeros((50, 3)), np.zeros(50, int)
    X[:, 1] = np.arange(50) % 5 - 1
    net.fit(X, y, epochs=1, verbose=0)
    before = net.get_weights()
    X[31, 2] = code
    expected = (
        "finite values" if code - code != 0 else "a code from 0 to 2, of one of 3"
    )
    message = rf"\[31, 2\] is {code:.1f}; expected {expected}"
    for call in (
        lambda: net.predict(X),
        lambda: net.predict_proba(X),
        lambda: net.evaluate(X, y),
        lambda: net.fit(X, y, epochs=1, verbose=0),
        lambda: net.train_on_batch(X, y),
        lambda: net.loss_and_gradients(X, y),
        lambda: net.predict_one(X[31]),
    ):
        with pytest.raises(ValueError, match=message.replace("31", "(31|0)")):
            call()
    for pair, other in zip(before, net.get_weights(), strict=True):
        assert all(map(np.array_equal, pair, other))


def test_a_missing_category_has_zeros(make_net):
    net = make_net([2, Embedding([4], 3), Dense(2)], dtype="float64")
    (table, _), (W, b) = net.get_weights()
    z = net.decision_function([[0.5, -1.0], [0.5, 2.0]])
    np.testing.assert_allclose(z[0], 0.5 * W[0] + b)
    np.testing.assert_allclose(z[1], 0.5 * W[0] + table[2] @ W[1:] + b)


def test_how_the_other_embeddings_start():
    bins = [np.arange(401.0), np.arange(101.0)]
    layers = [5, PiecewiseLinearEmbedding(bins, 40), Embedding([90, 70], 50), 2]
    (W, b), (table, zeros), _ = initial_weights(make_plan(layers), seed=0)
    for array, bound in ((W[:400], 1 / 20), (W[400:], 1 / 10), (b[0], 1 / 20)):
        assert abs(array.mean()) < 0.2 * bound
        assert 0.9 * bound < abs(array).max() <= bound
    assert table.std() == pytest.approx(1, rel=0.05)
    assert not zeros.any()


def test_a_parametric_activation():
    with pytest.raises(ValueError, match="function must act on single values, got 'so"):
        ParametricActivation("softmax")
    layer = ParametricActivation(LeakyReLU(0.2))
    assert layer.function == LeakyReLU(0.2)
    plan = make_plan([4, Dense(7), layer, 2])
    assert Plan.from_dict(plan.to_dict()) == plan
    (W, _), (a, zeros), _ = initial_weights(make_plan([400, Dense(99), layer, 2]), 0)
    assert (a == 1).all()
    assert not zeros.any()
    assert W.std() == pytest.approx((2 / 400) ** 0.5, rel=0.05)  # as before ReLU
