"""bfloat16: what is rounded and how, the same bits always, and where it does not pay.

The native engine must have the bits of the float32 kernels on operands that the
reference rounded: every output is one chain of multiply-adds, in either mode. The
reference engine agrees with it up to the rounding of float32 sums.
"""

import os
import pickle
import re

import numpy as np
import pytest
from children import SUPPORTED_ISAS, run_python

import fastnn
from fastnn import (
    SGD,
    Adam,
    AdamW,
    BatchNorm,
    Dense,
    Dropout,
    LayerNorm,
    Lion,
    Network,
    kernels,
    reference,
)
from fastnn.reference import round_to_bfloat16

pytestmark = [
    pytest.mark.usefixtures("on_all_threads"),
    pytest.mark.filterwarnings("ignore:dtype 'bfloat16' is slower"),
]

needs_data = pytest.mark.skipif(
    not os.environ.get("FASTNN_DATA"),
    reason="set FASTNN_DATA to a folder that holds MNIST (see datasets.mnist)",
)
LANES = {"native": kernels, "numpy": reference}
each_lane = pytest.mark.parametrize("lane", LANES)


def bits(x):
    return np.ascontiguousarray(x).view(np.uint32)


def same_bits(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and (bits(a) == bits(b)).all()


def same_weights(a, b):
    pairs = zip(a.get_weights(), b.get_weights(), strict=True)
    return all(same_bits(p, q) for x, y in pairs for p, q in zip(x, y, strict=True))


def floats_of_every_kind():
    """Every bfloat16 value with what lies between it and the next, and any floats."""
    upper = np.arange(2**16, dtype=np.uint32) << np.uint32(16)
    lower = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    any_bits = np.random.default_rng(0).integers(0, 2**32, 10**6, np.uint32)
    return np.concatenate([(upper[:, None] | lower).ravel(), any_bits]).view(np.float32)


# The rounding.


@each_lane
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (1.0, 1.0),
        (1 + 2**-8, 1.0),  # a tie, to the even one
        (1 + 3 * 2**-8, 1 + 2**-6),  # and up
        (1 + 2**-8 + 2**-23, 1 + 2**-7),
        (-3.1415927, -3.140625),
        (np.float32(2) ** 127 * 1.9961, np.inf),  # more than half past the largest
        (np.float32(2) ** 127 * 1.996, 2.0**127 * 1.9921875),
        (2.0**-126, 2.0**-126),
        (2.0**-126 - 2.0**-149, 0.0),  # subnormal
        (-np.inf, -np.inf),
    ],
)
def test_known_values(lane, given, expected):
    y = LANES[lane].round_to_bfloat16(np.array([given], "float32"))
    assert same_bits(y, np.array([expected], "float32"))


@each_lane
def test_signs_of_zeros_and_nan_stay(lane):
    x = np.array([0.0, -0.0, -1e-45, np.nan, -np.nan], "float32")
    y = LANES[lane].round_to_bfloat16(x)
    assert (np.signbit(y) == np.signbit(x)).all()
    assert np.isnan(y[3:]).all()
    assert (y[:3] == 0).all()
    hidden = np.array([0x7F800001], np.uint32).view(np.float32)  # NaN in the lower half
    assert np.isnan(LANES[lane].round_to_bfloat16(hidden)).all()


def test_both_lanes_round_to_the_same_bits():
    x = floats_of_every_kind()
    assert same_bits(kernels.round_to_bfloat16(x), round_to_bfloat16(x))


@each_lane
def test_pytorch_rounds_to_the_same_bits(lane):
    torch = pytest.importorskip("torch")
    x = floats_of_every_kind()
    x = x[(np.abs(x) >= 2.0**-126) | (x == 0)]  # it keeps subnormals; NaN is apart
    expected = torch.from_numpy(x).bfloat16().float().numpy()
    assert same_bits(LANES[lane].round_to_bfloat16(x), expected)


@each_lane
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0), (2, 3, 4)])
def test_shapes_and_layouts(lane, shape):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    function = LANES[lane].round_to_bfloat16
    y = function(x)
    assert y.shape == shape
    assert y.dtype == np.float32
    before = x.copy()
    assert same_bits(function(x.T), y.T.copy())
    assert same_bits(x, before)


@each_lane
@pytest.mark.parametrize("given", [[1.0], np.ones(2), np.ones(2, np.float16), 1.0])
def test_other_types_are_refused(lane, given):
    with pytest.raises(TypeError, match=r"^x must be "):
        LANES[lane].round_to_bfloat16(given)


def test_rounding_twice_is_rounding_once():
    once = round_to_bfloat16(floats_of_every_kind())
    assert same_bits(round_to_bfloat16(once), once)


# The products.

SIZES = [
    ((2, 64, 3), 300),
    ((5, 7, 3), 1),
    ((1, 1, 2), 2),
    ((33, 17, 65, 9), 3),
    ((784, 50, 10), 32),
    ((129, 131, 133, 10), 37),
    ((300, 257, 10), 129),
]


def problem(sizes, rows, activation="relu", seed=0, **arguments):
    rng = np.random.default_rng(seed)
    layers = [sizes[0], *(Dense(n, activation) for n in sizes[1:-1]), sizes[-1]]
    arguments.setdefault("optimizer", SGD(0.1))
    net = Network(layers, dtype="bfloat16", seed=seed, **arguments)
    X = rng.normal(size=(rows, sizes[0])).astype("float32")
    return net, X, rng.integers(0, sizes[-1], rows)


def with_float32_kernels(weights, X, y, activation):
    """Raw outputs and gradients of a network, of the float32 kernels."""
    saves_input = activation == "gelu"
    inputs, saved = [X], []
    for i, (W, b) in enumerate(weights):
        z = kernels.dense_forward(round_to_bfloat16(inputs[i]), round_to_bfloat16(W), b)
        inputs.append(
            z if i + 1 == len(weights) else kernels.activation_forward(z, activation)
        )
        saved.append(z if saves_input else inputs[-1])
    _, dz = kernels.softmax_cross_entropy(inputs[-1], y)
    gradients = []
    for i in reversed(range(len(weights))):
        operands = map(round_to_bfloat16, (dz, inputs[i], weights[i][0]))
        dx, dW, _ = kernels.dense_backward(*operands)
        _, _, db = kernels.dense_backward(dz, inputs[i], weights[i][0])
        gradients.insert(0, (dW, db))
        if i:
            dz = kernels.activation_backward(dx, saved[i - 1], activation)
    return inputs[-1], gradients


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize(("sizes", "rows"), SIZES)
def test_the_bits_are_those_of_float32_on_rounded_operands(sizes, rows, activation):
    net, X, y = problem(sizes, rows, activation)
    weights = net.get_weights()
    outputs, gradients = with_float32_kernels(weights, X, y, activation)
    assert same_bits(net.decision_function(X), outputs)
    found = net.loss_and_gradients(X, y)[1]
    for pair, expected in zip(found, gradients, strict=True):
        assert same_bits(pair[0], expected[0])
        assert same_bits(pair[1], expected[1])
    net.train_on_batch(X, y)  # fused: w - rate * dw, rounded once
    for (W, _), (W0, _), (dW, _) in zip(
        net.get_weights(), weights, gradients, strict=True
    ):
        kernels.sgd_update(W0, dW, 0.1)
        assert same_bits(W, W0)


@pytest.mark.parametrize(("sizes", "rows"), [((784, 10), 32), ((7, 3), 129)])
def test_the_lanes_agree_up_to_the_rounding_of_sums(sizes, rows):
    native, X, y = problem(sizes, rows)
    numpy, *_ = problem(sizes, rows, backend="numpy")
    x, W = (
        np.abs(round_to_bfloat16(X)),
        np.abs(round_to_bfloat16(native.get_weights()[0][0])),
    )
    # Both sum k products in float32, in any order: k + 1 roundings each.
    bound = 2 * (sizes[0] + 2) * 2.0**-24 * (np.float64(x) @ W)
    difference = native.decision_function(X) - np.float64(numpy.decision_function(X))
    assert (np.abs(difference) <= bound).all()
    # The loss's gradient differs as the outputs do; both are rounded, some otherwise.
    (dW, db), (dW2, db2) = (
        net.loss_and_gradients(X, y)[1][0] for net in (native, numpy)
    )
    assert np.linalg.norm(dW - dW2) <= 1e-4 * np.linalg.norm(dW2)
    assert np.linalg.norm(db - db2) <= 1e-5 * np.linalg.norm(db2)


EVERYTHING = [
    129,
    Dense(65, "relu"),
    BatchNorm("tanh"),
    Dropout(0.3),
    Dense(33),
    LayerNorm("gelu"),
    Dense(12, "softmax"),
    9,
]


def test_the_lanes_agree_with_every_layer():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(37, 129)), np.arange(37) % 9
    native, numpy = (
        Network(EVERYTHING, dtype="bfloat16", seed=3, backend=each)
        for each in ("native", "numpy")
    )
    loss, gradients = native.loss_and_gradients(X, y)
    expected_loss, expected = numpy.loss_and_gradients(X, y)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for pair, expected_pair in zip(gradients, expected, strict=True):
        for array, other in zip(pair, expected_pair, strict=True):
            # A value near a tie may be rounded either way, by 2**-8: one in 1000 of
            # them is 1e-4 in all. Without rounding, the norm is off by 2e-3.
            assert np.linalg.norm(array - other) <= 2e-4 * np.linalg.norm(other) + 1e-7
    for _ in range(3):
        native.train_on_batch(X, y)
        numpy.train_on_batch(X, y)
    np.testing.assert_allclose(
        native.predict_proba(X), numpy.predict_proba(X), rtol=0.02, atol=1e-3
    )


@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_operands_are_rounded_and_nothing_else(backend):
    net = Network([2, 2], dtype="bfloat16", backend=backend, loss="mse", seed=0)
    fine = 1 + 2**-9  # rounds to 1
    net.set_weights([(np.array([[fine, 0], [0, 1]]), np.array([2**-12, 0]))])
    assert net.get_weights()[0][0][0, 0] == fine
    z = net.decision_function([[1, 0], [fine, 0], [3 * 2**-8 + 1, 1]])
    assert z[:, 0].tolist() == [1 + 2**-12, 1 + 2**-12, 1 + 2**-6 + 2**-12]


# The same bits, whatever.


def train(net, X, y, batch_size, **arguments):
    net.fit(X, y, epochs=2, batch_size=batch_size, verbose=0, **arguments)
    return net


@pytest.mark.parametrize("optimizer", [SGD(0.05), SGD(0.05, clip_norm=0.5), Adam(1e-3)])
@pytest.mark.parametrize(
    ("sizes", "rows", "batch"),
    [((301, 257, 129, 10), 259, 130), ((784, 50, 10), 65, 33)],
)
def test_any_number_of_threads(sizes, rows, batch, optimizer):
    def trained(threads):
        net, X, y = problem(sizes, rows, optimizer=optimizer, num_threads=threads)
        return train(net, X, y, batch)

    expected = trained(1)
    assert all(same_weights(trained(threads), expected) for threads in (2, 3, 4, 7))


@pytest.mark.parametrize(("batch", "parts"), [(21, 3), (5, 13), (1, 65)])
def test_a_batch_in_parts(batch, parts):
    def trained(batch_size, accumulate):
        net, X, y = problem((31, 70, 10), 130)
        return train(net, X, y, batch_size, accumulate=accumulate)

    assert same_weights(trained(batch, parts), trained(batch * parts, 1))


def test_a_row_has_the_same_bits_in_any_company():
    net, X, _ = problem((301, 257, 129, 10), 259)
    expected = net.predict_proba(X)
    for rows in (
        slice(0, 1),
        slice(1, 4),
        slice(2, 7),
        slice(100, 213),
        slice(258, 259),
    ):
        assert same_bits(net.predict_proba(X[rows]), expected[rows])
        assert same_bits(net.predict_proba(np.asfortranarray(X[rows])), expected[rows])
        assert same_bits(net.predict_one(X[rows][0]), expected[rows][0])
    for threads in (1, 3):
        net._model.engine.num_threads = threads
        assert same_bits(net.predict_proba(X), expected)


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(0.05),
        SGD(0.05, momentum=0.9, max_norm=0.8),
        SGD(0.05, max_norm=0.8),
        SGD(0.05, clip_norm=0.1),
        SGD(0.05, weight_decay=0.1),
        AdamW(1e-2),
        Lion(1e-3, l1=1e-4),
        fastnn.LBFGS(),
    ],
)
def test_what_is_predicted_with_are_the_weights(optimizer):
    net, X, y = problem((33, 65, 31, 4), 50, "gelu", optimizer=optimizer)
    train(net, X, y, 50 if optimizer.name == "lbfgs" else 17)
    twin = Network([33, *net.plan.layers], dtype="bfloat16", seed=1)
    twin.set_weights(net.get_weights())
    assert same_bits(net.predict_proba(X), twin.predict_proba(X))


def test_divergence_keeps_the_last_finite_step():
    net, X, y = problem((33, 65, 4), 50, optimizer=SGD(1e30))
    with pytest.raises(fastnn.TrainingDiverged):
        net.fit(X, y, epochs=20, batch_size=50, verbose=0)
    assert all(np.isfinite(each).all() for pair in net.get_weights() for each in pair)
    twin = Network([33, Dense(65, "relu"), 4], dtype="bfloat16", seed=1)
    twin.set_weights(net.get_weights())
    np.testing.assert_array_equal(net.decision_function(X), twin.decision_function(X))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_inputs_that_are_not_finite_change_nothing(value):
    net, X, y = problem((33, 65, 4), 50)
    before = net.get_weights()
    X[17, 5] = value
    calls = [
        lambda: net.train_on_batch(X, y),
        lambda: net.predict(X),
        lambda: net.predict_one(X[17]),
        lambda: net.loss_and_gradients(X, y),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="finite"):
            call()
    for pair, pair_before in zip(net.get_weights(), before, strict=True):
        assert all(map(same_bits, pair, pair_before))


# Networks and their files.


@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_arrays_are_float32(backend):
    net = Network([4, 8, 3], dtype="bfloat16", seed=0, backend=backend)
    assert net.plan.dtype == "bfloat16"
    assert net.dtype == np.float32
    assert "dtype='bfloat16'" in repr(net)
    assert "(bfloat16, 0.00 MB)" in net.summary()
    assert {each.dtype for pair in net.get_weights() for each in pair} == {net.dtype}
    assert {each.dtype for each in net.state_dict().values()} == {net.dtype}
    twin = Network([4, 8, 3], seed=0)
    assert same_weights(net, twin)  # the seed's weights do not depend on the mode
    twin.load_state_dict(net.state_dict())
    X = np.ones((2, 4))
    assert net.predict_proba(X).dtype == np.float32
    assert net.predict_one(X[0]).dtype == np.float32


def test_the_dtype_of_ml_dtypes_is_taken():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    net = Network([2, 2], dtype=ml_dtypes.bfloat16, backend="numpy")
    assert net.plan.dtype == "bfloat16"


def test_files_and_pickles_keep_the_mode(tmp_path):
    net, X, y = problem((33, 65, 4), 50, optimizer=Adam(1e-2))
    train(net, X, y, 16)
    path = tmp_path / "model.safetensors"
    net.save(path)
    assert b'"dtype":"F32"' in path.read_bytes()
    for same in (Network.load(path), pickle.loads(pickle.dumps(net))):
        assert same.plan == net.plan
        assert same_bits(same.predict_proba(X), net.predict_proba(X))
    on_numpy = Network.load(path, backend="numpy")
    np.testing.assert_allclose(
        on_numpy.predict_proba(X), net.predict_proba(X), rtol=0.02, atol=1e-3
    )


def test_resuming_gives_the_bits_of_an_uninterrupted_fit(tmp_path):
    whole, X, y = problem((33, 65, 4), 50, optimizer=Adam(1e-2))
    whole.fit(X, y, epochs=4, batch_size=16, verbose=0)
    net, *_ = problem((33, 65, 4), 50, optimizer=Adam(1e-2))
    net.fit(X, y, epochs=2, batch_size=16, verbose=0)
    net.save(tmp_path / "model.safetensors")
    net = Network.load(tmp_path / "model.safetensors")
    net.fit(X, y, epochs=4, batch_size=16, verbose=0, resume=True)
    assert same_weights(net, whole)


# Where it does not pay.

CREATE = """
    import warnings, fastnn
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            fastnn.Network([4, 3], dtype="bfloat16")
    for each in caught:
        print(each.message)
    info = fastnn.build_info()
    rates = info["multiply_adds_per_ns"]
    print(info["bfloat16"], rates["float32"] > 0, rates["bfloat16"])
"""


@pytest.mark.parametrize("isa", [isa for isa in SUPPORTED_ISAS if isa != "avx512"])
def test_an_instruction_set_without_it_warns_once_with_the_rate(isa):
    warning, info = run_python(CREATE, FASTNN_ISA=isa).stdout.splitlines()
    assert warning.startswith("dtype 'bfloat16' is slower than 'float32' here: ")
    assert f"({isa}) has no products of bfloat16" in warning
    assert re.search(r"\(\d+ multiply-adds a nanosecond\)", warning)
    assert info == "False True 0.0"


# What it is for.


def test_it_learns_the_digits():
    X, y, X_test, y_test = fastnn.datasets.digits()
    scores = []
    for dtype in ("float32", "bfloat16"):
        net = Network([64, 64, 10], input_scale=1 / 16, seed=0, dtype=dtype)
        net.fit(X, y, epochs=30, verbose=0)
        scores.append(net.score(X_test, y_test))
    assert scores[1] >= scores[0] - 0.01


@needs_data
def test_accuracy_on_mnist_is_that_of_float32():
    X, y, X_test, y_test = fastnn.datasets.mnist(os.environ["FASTNN_DATA"])
    means = {}
    for dtype in ("float32", "bfloat16"):
        scores = []
        for seed in range(3):
            net = Network([784, 128, 10], input_scale=1 / 255, seed=seed, dtype=dtype)
            net.fit(X, y, epochs=3, batch_size=128, verbose=0)
            scores.append(net.score(X_test, y_test))
        means[dtype] = np.mean(scores)
    assert means["float32"] > 0.965
    assert abs(means["bfloat16"] - means["float32"]) <= 0.002


@pytest.mark.parametrize("module", ["kernels", "reference"])
@pytest.mark.parametrize("dtype", [">f4", "float64", "int32"])
def test_other_types_are_refused_as_what_they_are(module, dtype):
    import importlib

    module = importlib.import_module(f"fastnn.{module}")
    with pytest.raises(TypeError, match=f"x must be float32, got {np.dtype(dtype)}$"):
        module.round_to_bfloat16(np.ones(3, dtype))
