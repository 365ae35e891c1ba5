"""The native kernels against the reference: the same names, results and errors."""

import inspect
import re
import threading

import numpy as np
import pytest
from activations import ACTIVATIONS, leaky_relu
from activations import ROWS as ACTIVATION_ROWS
from engines import ENGINES, make_engine
from helpers import same_bits

import fastnn
from fastnn import SGD, LeakyReLU, kernels, reference
from fastnn.reference._activations import SAVES_INPUT, activation_gradient
from fastnn.schedules import Constant

FLOATS = ["float32", "float64"]
LANES = {"native": kernels, "numpy": reference}

# Around the tiles and panels of every instruction set: MR is 4, 6 or 14 rows; NR is 2,
# 16 or 32 columns of float32 and 2, 8 or 16 of float64.
ROWS = [1, 3, 4, 5, 7, 13, 14, 15, 29]
COLUMNS = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65]
DEPTHS = [1, 2, 17, 40]

# A chain of k multiply-adds is within k u of the exact sum, where u is the unit
# roundoff and the error is measured against the sum of magnitudes; two more roundings
# are for the bias and for the reference, which is computed in float64.
UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}


def roundoff(dtype, length):
    """The bound of a sum of `length` products, relative to the sum of magnitudes."""
    # In float64 the reference itself is no more exact than the kernel.
    return (length + 2) * UNIT[dtype] * (1 if dtype == "float32" else 2)


# How much an activation may enlarge a difference of its input, at most, and units of
# roundoff for its own arithmetic, relative to 1 and to the result.
STEEPEST = 1.76  # SELU; all others have less
OWN_ROUNDINGS = {"identity": 0, "relu": 0}
OTHER_ROUNDINGS = 32
EACH = [*ACTIVATION_ROWS.values(), leaky_relu(LeakyReLU(0), 0.0)]
ELEMENTWISE = [name for name, spec in ACTIVATIONS.items() if spec == name != "softmax"]


def arrays(seed, *shapes, dtype="float64"):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def in_float64(*given):
    return [np.array(array, np.float64) for array in given]


def soft_targets(m, n, dtype):
    t = np.random.default_rng(m + n).random((m, n)) + 0.1
    return (t / t.sum(axis=1, keepdims=True)).astype(dtype)


# The mirror: what stands in one lane stands in the other.


def parameters(function):
    """Name, kind and default of each argument."""
    signature = inspect.signature(function)
    return [(p.name, p.kind, p.default) for p in signature.parameters.values()]


def test_both_lanes_have_the_same_functions():
    assert {*kernels.__all__} == {*reference.__all__} - {"Engine"}


@pytest.mark.parametrize("name", kernels.__all__)
def test_functions_have_the_same_arguments(name):
    native, numpy = getattr(kernels, name), getattr(reference, name)
    assert parameters(native) == parameters(numpy)


@pytest.mark.parametrize("name", kernels.__all__)
def test_functions_share_their_documentation(name):
    native, numpy = (inspect.getdoc(getattr(m, name)) for m in (kernels, reference))
    assert native == numpy.replace("fastnn.reference", "fastnn.kernels")
    assert "fastnn.kernels" in native


def public(engine):
    return {name for name in dir(engine) if not name.startswith("_")}


def test_both_engines_have_the_same_methods():
    native, numpy = make_engine("native"), make_engine("numpy")
    assert public(native) == public(numpy)
    for name in sorted(public(native)):
        both = [getattr(type(engine), name, None) for engine in (native, numpy)]
        if not callable(both[1]):  # a property or an attribute
            assert not callable(getattr(native, name)), name
            continue
        assert parameters(both[0]) == parameters(both[1]), name


@pytest.mark.parametrize("backend", ENGINES)
def test_engines_are_made_of_the_same_arguments(backend):
    # A C type has no signature to compare: it is called in every way instead.
    plan, engine = make_engine(backend).plan, ENGINES[backend]
    engine(plan)
    assert engine(plan, 1).num_threads == 1
    assert engine(plan=plan, num_threads=1, dropout_keys=(0, 0)).num_threads == 1
    assert engine(plan, num_threads=None).plan is plan
    with pytest.raises(TypeError):
        engine()
    with pytest.raises(TypeError):
        engine(plan, 1, (0, 0))


def train_step(backend, layers=(4, 8, 3), **arguments):
    """Tables may be looked into as late as here."""
    engine = make_engine(backend, layers, **arguments)
    engine.train_step(np.ones((2, layers[0])), np.eye(2, 3))


@pytest.mark.parametrize("backend", ENGINES)
def test_every_name_of_a_plan_is_known_to_both_lanes(backend):
    lane = LANES[backend]
    for activation in ACTIVATIONS.values():
        train_step(backend, [2, fastnn.Dense(3, activation), 3])
        lane.dense_forward(*arrays(0, (2, 3), (3, 4), (4,)), activation)
        lane.activation_forward(np.ones((2, 3)), activation)
    for name, optimizer in fastnn.optimizers.OPTIMIZERS.items():
        if optimizer is fastnn.LBFGS:  # which makes no updates
            make_engine(backend, optimizer=name)
        else:
            train_step(backend, optimizer=name)
            assert f"{name}_update" in kernels.__all__
    for rule in (SGD(0.1, 0.9), SGD(0.1, 0.9, True)):
        train_step(backend, optimizer=rule)
        assert f"{rule.rule}_update" in kernels.__all__
    for loss, kind in fastnn.losses.LOSSES.items():
        of_each = kind().outputs_per_target
        layers = (4, 8, 3 * of_each)
        train_step(backend, layers, loss=loss)
        assert loss in kernels.__all__
    for name, layer in fastnn.layers.LAYERS.items():
        if name not in ("dense", "dropout", "batch_norm", "layer_norm"):
            continue  # of networks only
        given = (4,) if name == "dense" else ()
        train_step(backend, [2, layer(*given), 3])
        if name == "scale":  # of networks only as well
            continue
        assert {*kernels.__all__} & {name, f"{name}_forward"}


# Values.


def own_roundings(activation, dtype):
    return OWN_ROUNDINGS.get(activation, OTHER_ROUNDINGS) * UNIT[dtype]


@pytest.mark.parametrize("activation", ELEMENTWISE)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("m", ROWS)
def test_dense_forward(m, dtype, activation):
    own = own_roundings(activation, dtype)
    steepest = STEEPEST if own else 1
    for k in DEPTHS:
        for n in COLUMNS:
            x, w, b = arrays(m + k + n, (m, k), (k, n), (n,), dtype=dtype)
            y = kernels.dense_forward(x, w, b, activation)
            expected = reference.dense_forward(*in_float64(x, w, b), activation)
            # ReLU does not increase a difference.
            scale = np.abs(in_float64(x)[0]) @ np.abs(w) + np.abs(b)
            assert y.dtype == dtype
            assert y.shape == (m, n)
            allowed = steepest * roundoff(dtype, k) * scale + own * (1 + abs(expected))
            assert (abs(y - expected) <= allowed).all(), (k, n)


@pytest.mark.parametrize("activation", ELEMENTWISE)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("m", ROWS)
def test_dense_backward(m, dtype, activation):
    own = own_roundings(activation, dtype)
    for k in COLUMNS if m in ROWS[::3] or not own else (17,):
        for n in (1, 8, 17, 33):
            shapes = (m, n), (m, k), (k, n), (m, n)
            dy, x, w, y = arrays(m + k + n, *shapes, dtype=dtype)
            if activation not in SAVES_INPUT and activation != "identity":
                y = reference.activation_forward(y, activation)
            found = kernels.dense_backward(dy, x, w, y, activation)
            wide = in_float64(dy, x, w, y)
            expected = reference.dense_backward(*wide, activation)
            dz = abs(activation_gradient(activation, wide[0], wide[3]))
            lengths = [n, m, m]
            allowed = [
                roundoff(dtype, length) * scale + own * slack
                for length, scale, slack in zip(
                    lengths, products(dz, x, w), products(abs(dy), x, w), strict=True
                )
            ]
            for f, e, limit in zip(found, expected, allowed, strict=True):
                assert f.dtype == dtype
                assert f.shape == e.shape
                assert (abs(f - e) <= limit).all(), (k, n)


def products(dz, x, w):
    """Sums of magnitudes: of the gradients wrt x, w and b."""
    return dz @ abs(w).T, abs(x).T @ dz, dz.sum(axis=0)


@pytest.mark.parametrize("dtype", FLOATS)
def test_dense_with_softmax_is_dense_and_softmax(dtype):
    for m, k, n in ((1, 1, 1), (7, 17, 33), (29, 3, 10)):
        x, w, b, dy = arrays(m, (m, k), (k, n), (n,), (m, n), dtype=dtype)
        p = kernels.softmax(kernels.dense_forward(x, w, b))
        assert same_bits(kernels.dense_forward(x, w, b, "softmax"), p)
        expected = kernels.dense_backward(kernels.softmax_backward(dy, p), x, w)
        assert same_bits(kernels.dense_backward(dy, x, w, p, "softmax"), expected)


def test_dense_backward_needs_no_output_of_the_identity():
    dy, x, w = arrays(0, (5, 9), (5, 7), (7, 9))
    with_output = kernels.dense_backward(dy, x, w, dy)
    assert same_bits(kernels.dense_backward(dy, x, w), with_output)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(0,), (1,), (15,), (17,), (3, 33), (2, 3, 4)])
def test_relu(shape, dtype):
    x, dy = arrays(1, shape, shape, dtype=dtype)
    x.ravel()[:1] = 0  # the derivative at 0 is 0
    y = kernels.relu_forward(x)
    assert same_bits(y, reference.relu_forward(x))
    assert same_bits(kernels.relu_backward(dy, y), reference.relu_backward(dy, y))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("row", EACH)
def test_activations(row, dtype):
    own = own_roundings(row.activation, dtype)
    for shape in [(), (0,), (1,), (15,), (17,), (3, 33), (2, 3, 4)]:
        x, dy = (np.asarray(a, dtype) for a in arrays(1, shape, shape))
        x.ravel()[:1] = 0
        results = row.both(kernels, x, dy), row.both(reference, *in_float64(x, dy))
        for found, expected in zip(*results, strict=True):
            assert found.dtype == dtype
            assert found.shape == shape
            allowed = own * (1 + abs(expected)) * max(1, row.parameter)
            assert (abs(found - expected) <= allowed).all(), shape


@pytest.mark.parametrize("dtype", FLOATS)
def test_softmax_is_an_activation_of_rows(dtype):
    z, dp = arrays(0, (7, 33), (7, 33), dtype=dtype)
    p = kernels.activation_forward(z, "softmax")
    assert same_bits(p, kernels.softmax(z))
    dz = kernels.activation_backward(dp, p, "softmax")
    assert same_bits(dz, kernels.softmax_backward(dp, p))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n", COLUMNS)
def test_softmax(n, dtype):
    for m in (1, 7, 33):
        (z,) = arrays(m + n, (m, n), dtype=dtype)
        z *= 5
        p = kernels.softmax(z)
        expected = reference.softmax(np.float64(z))
        # exp turns the rounding of z - max(z) into a relative error as large as itself.
        spread = z.max() - z.min()
        assert p.dtype == dtype
        np.testing.assert_allclose(p, expected, (spread + n + 8) * UNIT[dtype] * 2)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
def test_softmax_cross_entropy(dtype, soft, weighted, smoothing):
    for m in (1, 2, 65):  # the logarithms are taken 64 rows at a time
        for n in COLUMNS:
            rng = np.random.default_rng(m + n)
            z = (5 * rng.standard_normal((m, n))).astype(dtype)
            labels = soft_targets(m, n, dtype) if soft else rng.integers(n, size=m)
            weight = rng.random(m).astype(dtype) if weighted else None
            loss, dz = kernels.softmax_cross_entropy(z, labels, weight, smoothing)
            wide = np.float64(labels) if soft else labels
            wide_weight = np.float64(weight) if weighted else None
            expected, dz_expected = reference.softmax_cross_entropy(
                np.float64(z), wide, wide_weight, smoothing
            )
            # Both are differences of numbers as large as the logits, or as 1.
            unit = (n + 20) * UNIT[dtype]
            share = 1 if weight is None else weight / weight.sum() * m
            assert isinstance(loss, float)
            assert abs(loss - expected) <= unit * (abs(z).max() + 1), n
            allowed = unit * np.max(share) / m * (abs(z).max() + 1)
            assert abs(dz - dz_expected).max() <= allowed, n
            assert dz.dtype == dtype


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("factor", [1e-60, 1e-30, 1e30, 1e60])
def test_only_ratios_of_sample_weights_matter(factor, dtype, soft):
    if dtype == "float32":
        factor = factor**0.5  # what float32 holds
    rng = np.random.default_rng(0)
    z = rng.standard_normal((9, 5)).astype(dtype)
    labels = soft_targets(9, 5, dtype) if soft else rng.integers(5, size=9)
    weight = rng.random(9).astype(dtype)
    loss, dz = kernels.softmax_cross_entropy(z, labels, weight)
    scaled = (weight * np.dtype(dtype).type(factor)).astype(dtype)
    scaled_loss, scaled_dz = kernels.softmax_cross_entropy(z, labels, scaled)
    assert abs(scaled_loss / loss - 1) <= 20 * UNIT[dtype]
    np.testing.assert_allclose(scaled_dz, dz, 20 * UNIT[dtype])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("n", [1, 2, 10])
@pytest.mark.parametrize("top", [0.0, 1e4, -1e4, 88.0, 1e30])
@pytest.mark.parametrize("dtype", FLOATS)
def test_extreme_logits(dtype, top, n, smoothing):
    z = np.zeros((2, n), dtype)
    z[0, 0] = top  # and a row of equal logits
    p = kernels.softmax(z)
    assert abs(p.sum(axis=1, dtype=np.float64) - 1).max() <= n * UNIT[dtype]
    # What is below the smallest normal number is 0.
    tiny = np.finfo(dtype).tiny
    np.testing.assert_allclose(p, reference.softmax(np.float64(z)), 1e-5, tiny)
    for label in {0, n - 1}:
        labels = np.full(2, label)
        loss, dz = kernels.softmax_cross_entropy(z, labels, None, smoothing)
        expected, dz_expected = reference.softmax_cross_entropy(
            np.float64(z), labels, None, smoothing
        )
        assert np.isfinite(loss)
        np.testing.assert_allclose(loss, expected, 1e-6)
        # Differences of probabilities: as exact as those, and no more.
        np.testing.assert_allclose(dz, dz_expected, 1e-5, 4 * UNIT[dtype])


@pytest.mark.parametrize("dtype", FLOATS)
def test_not_finite_comes_out_as_it_went_in(dtype):
    x = np.array([[np.nan, 1.0], [np.inf, 1.0], [-np.inf, 1.0], [2.0, 1.0]], dtype)
    w, b = np.array([[1.0], [0.5]], dtype), np.zeros(1, dtype)
    for activation in ("identity", "relu"):
        y = kernels.dense_forward(x, w, b, activation)
        expected = reference.dense_forward(x, w, b, activation)
        np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(kernels.relu_forward(x), reference.relu_forward(x))
    np.testing.assert_allclose(kernels.softmax(x), reference.softmax(x), 1e-6)
    loss, dz = kernels.softmax_cross_entropy(x[:1], np.array([1]))
    assert np.isnan(loss)
    assert np.isnan(dz).all()


ADAM = dict(learning_rate=0.3, beta_1=0.8, beta_2=0.9, epsilon=1e-3)
UPDATES = [
    ("sgd_update", 0, dict(learning_rate=0.3)),
    ("momentum_update", 1, dict(learning_rate=0.3, momentum=0.8)),
    ("momentum_update", 1, dict(momentum=0.0)),
    ("nesterov_update", 1, dict(learning_rate=0.3, momentum=0.8)),
    ("rmsprop_update", 1, dict(learning_rate=0.03, rho=0.8, epsilon=1e-3)),
    ("adagrad_update", 1, dict(learning_rate=0.3, epsilon=1e-3)),
    ("adam_update", 2, ADAM),
    ("adamw_update", 2, dict(learning_rate=0.3, weight_decay=0.5)),
    ("nadam_update", 2, dict(**ADAM, momentum_decay=0.1)),
    ("nadam_update", 2, dict(beta_1=0.0)),
    ("lion_update", 1, dict(learning_rate=0.3, beta_1=0.8, beta_2=0.95)),
]
# A root is taken of their states, the last ones.
SQUARES = ("rmsprop", "adagrad", "adam", "adamw", "nadam")


def test_every_update_is_tested():
    tested = {name for name, _, _ in UPDATES}
    assert tested == {name for name in kernels.__all__ if name.endswith("_update")}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("name", "n_states", "options"), UPDATES)
def test_updates(name, n_states, options, dtype):
    for shape in [(0,), (1,), (15,), (16,), (17,), (3, 33), (7, 64)]:
        w, *state = arrays(2, shape, *[shape] * n_states, dtype=dtype)
        if name.removesuffix("_update") in SQUARES:
            state[-1] = abs(state[-1])
        native, numpy = [w.copy(), *state], in_float64(w, *state)
        for t in (1, 2, 30):
            (dw,) = arrays(t, shape, dtype=dtype)
            step = {"step": t} if n_states == 2 else {}
            before = dw.copy()
            for module, (first, *rest), gradient in (
                (kernels, native, dw),
                (reference, numpy, np.float64(dw)),
            ):
                update = getattr(module, name)
                assert update(first, gradient, *rest, **step, **options) is None
            assert same_bits(dw, before)
        for found, expected in zip(native, numpy, strict=True):
            # Three steps of fewer than ten roundings, of values of a few units.
            allowed = 60 * UNIT[dtype] * (1 + abs(expected))
            assert found.dtype == dtype
            assert (abs(found - expected) <= allowed).all(), shape


def test_updates_only_touch_their_arrays():
    room = np.full((7, 40), 7.0, "f4")
    w, m, v = (room[i, 5:22] for i in (1, 3, 5))
    for array in (w, m, v):
        array[:] = 0.5
    kernels.adam_update(w, np.ones(17, "f4"), m, v, 1)
    assert (w != 0.5).all()
    outside = np.ones(room.shape, bool)
    outside[1:6:2, 5:22] = False
    assert (room[outside] == 7).all()


# Arguments.


def layouts(array):
    """The same values in other places: strided, reversed, transposed, unaligned."""
    rows, columns = array.shape
    wide = np.zeros((2 * rows, 3 * columns), array.dtype)
    wide[::2, 1::3] = array
    yield wide[::2, 1::3]
    yield np.asfortranarray(array)
    yield array[::-1, ::-1].copy()[::-1, ::-1]
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:]
    raw[:] = np.frombuffer(array.tobytes(), np.uint8)
    yield raw.view(array.dtype).reshape(array.shape)
    read_only = array.copy()
    read_only.flags.writeable = False
    yield read_only


def calls(dtype):
    """Arguments for every function, and which of them it changes, by name."""
    x, w, dy = arrays(3, (9, 13), (13, 18), (9, 18), dtype=dtype)
    b, labels = np.ones(18, dtype), np.arange(9)
    scale, weight = np.linspace(1, 2, 18).astype(dtype), np.ones(9, dtype)
    soft = soft_targets(9, 18, dtype)
    y = kernels.dense_forward(x, w, b, "relu")
    found = {
        "dense_forward": (x, w, b, "relu"),
        "dense_backward": (dy, x, w, y, "relu"),
        "relu_forward": (dy,),
        "relu_backward": (dy, y),
        "dropout": (dy, 0.5, 1, 2),
        "batch_norm_forward": (dy, scale, b),
        "batch_norm_backward": (y, dy, scale),
        "layer_norm_forward": (dy, scale, b),
        "layer_norm_backward": (y, dy, scale),
        "softmax": (dy,),
        "softmax_backward": (dy, soft),
        "softmax_cross_entropy": (dy, labels, weight, 0.1),
        "binary_cross_entropy": (dy, soft, weight),
        "poisson": (dy, soft, weight),
        "quantile": (dy, y, weight, 0.3),
        "gaussian_nll": (np.hstack([dy, dy]), y, weight, 0.1),
        "focal": (dy, labels, weight, 1.5),
        "hinge": (dy, labels, weight),
        "round_to_bfloat16": (dy.astype("f4"),),
    }
    for name in ("mse", "mae", "huber"):
        found[name] = (dy, y, weight)
    for name, activation in ACTIVATIONS.items():
        found[f"activation_forward {name}"] = (dy, activation)
        # Values that all of them have.
        found[f"activation_backward {name}"] = (dy, soft, activation)
    for name, n_states, _ in UPDATES:
        step = (3,) if n_states == 2 else ()
        state = [abs(dy) * (i + 1) for i in range(n_states)]
        found[name] = (y, dy, *state, *step)
    return found


def run(name, arguments):
    """What a function returns and what it changes, as a list of arrays."""
    result = getattr(kernels, name.partition(" ")[0])(*arguments)
    if name.endswith("_update"):
        assert result is None
        return [arguments[0], *(a for a in arguments[2:] if isinstance(a, np.ndarray))]
    result = result if isinstance(result, tuple) else (result,)
    return [np.asarray(each) for each in result]


def copies(arguments):
    return [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]


CALLS = [*calls("float64")]


def test_every_function_is_called():
    assert {name.partition(" ")[0] for name in CALLS} == set(kernels.__all__)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", CALLS)
def test_any_memory_layout_gives_the_bits_of_its_copy(name, dtype):
    given = calls(dtype)[name]
    expected = run(name, copies(given))
    for at, array in enumerate(given):
        in_place = name.endswith("_update") and at != 1
        if not isinstance(array, np.ndarray) or in_place:
            continue
        if array.ndim == 2:
            others = list(layouts(array))
        else:
            others = [np.repeat(array, 3)[::3], array[::-1].copy()[::-1]]
        if array.dtype.kind == "i":
            others.append(array.astype(">i2"))
        for other in others:
            arguments = copies(given)
            arguments[at] = other
            assert same_bits(run(name, arguments), expected)


@pytest.mark.parametrize("name", CALLS)
def test_inputs_are_not_changed(name):
    given = calls("float64")[name]
    before = [a for a in copies(given) if isinstance(a, np.ndarray)]
    results = run(name, given)
    after = [a for a in given if isinstance(a, np.ndarray)]
    if name.endswith("_update"):
        assert same_bits(after[1], before[1])
        assert not any(map(same_bits, after[:1] + after[2:], before[:1] + before[2:]))
        return
    assert same_bits(after, before)
    for result in results:
        assert not any(np.shares_memory(result, array) for array in after)


X, W, B, DY = np.ones((3, 5)), np.ones((5, 4)), np.ones(4), np.ones((3, 4))
LABELS = np.array([0, 1, 3])
READ_ONLY = np.broadcast_to(1.0, 3)
UNALIGNED = np.zeros(25, np.uint8)[1:].view(np.float64)
SHARED = np.zeros(4)


def vectors(count):
    return [np.ones(3) for _ in range(count)]


# (function, arguments, the error, what its message names)
WRONG = [
    ("round_to_bfloat16", (X,), TypeError, "x"),
    ("round_to_bfloat16", (X.astype("f2"),), TypeError, "x"),
    ("dense_forward", (X.tolist(), W, B), TypeError, "x"),
    ("dense_forward", (X.astype(int), W, B), TypeError, "x"),
    ("dense_forward", (X.astype(">f8"), W, B), TypeError, "x"),
    ("dense_forward", (X.astype("f2"), W, B), TypeError, "x"),
    ("dense_forward", (X, W.astype("f4"), B), TypeError, "w"),
    ("dense_forward", (X, W, None), TypeError, "b"),
    ("dense_forward", (X[0], W, B), ValueError, "x"),
    ("dense_forward", (X[:0], W, B), ValueError, "x"),
    ("dense_forward", (X, W.T, B), ValueError, "w"),
    ("dense_forward", (X, W, B[:3]), ValueError, "b"),
    ("dense_forward", (X, W, B, "swoosh"), ValueError, "activation"),
    ("dense_forward", (X, W, B, None), TypeError, "activation"),
    ("dense_backward", (DY.astype("f4"), X, W), TypeError, "x"),
    ("dense_backward", (DY, X[:2], W), ValueError, "x"),
    ("dense_backward", (X, X, W), ValueError, "w"),
    ("dense_backward", (DY, X, W, None, "relu"), ValueError, "y"),
    ("dense_backward", (DY, X, W, X, "relu"), ValueError, "y"),
    ("relu_forward", ([1.0],), TypeError, "x"),
    ("relu_backward", (DY, X), ValueError, "y"),
    ("softmax", (B,), ValueError, "z"),
    ("softmax", (DY[:, :0],), ValueError, "z"),
    ("softmax_cross_entropy", (DY, LABELS + 1), ValueError, r"labels\[2\]"),
    ("softmax_cross_entropy", (DY, LABELS - 1), ValueError, r"labels\[0\]"),
    ("softmax_cross_entropy", (DY, LABELS + 2**31), ValueError, r"labels\[0\]"),
    ("softmax_cross_entropy", (DY, LABELS[:2]), ValueError, "labels"),
    ("softmax_cross_entropy", (DY, LABELS * 1.0), TypeError, "labels"),
    ("softmax_cross_entropy", (DY, LABELS > 0), TypeError, "labels"),
    ("softmax_cross_entropy", (DY, [0, 1, 2]), TypeError, "labels"),
    ("softmax_cross_entropy", (DY, X), ValueError, "labels"),
    ("softmax_cross_entropy", (DY, DY.astype("f4")), TypeError, "labels"),
    ("softmax_cross_entropy", (DY, LABELS, -np.ones(3)), ValueError, "sample_weight"),
    ("softmax_cross_entropy", (DY, LABELS, np.zeros(3)), ValueError, "sample_weight"),
    ("softmax_cross_entropy", (DY, LABELS, np.ones(2)), ValueError, "sample_weight"),
    ("softmax_cross_entropy", (DY, LABELS, [1, 1, 1]), TypeError, "sample_weight"),
    ("softmax_cross_entropy", (DY, LABELS, None, 1.5), ValueError, "label_smoothing"),
    ("relu_backward", (DY, DY.astype("f4")), TypeError, "y"),
    *[
        wrong
        for name in ACTIVATIONS.values()
        for wrong in (
            ("activation_forward", ([1.0], name), TypeError, "x"),
            ("activation_forward", (LABELS, name), TypeError, "x"),
            ("activation_backward", (DY, X, name), ValueError, "saved"),
            ("activation_backward", (DY, DY.astype("f4"), name), TypeError, "saved"),
        )
    ],
    ("activation_forward", (X, "swoosh"), ValueError, "activation"),
    ("activation_forward", (X, None), TypeError, "activation"),
    ("activation_forward", (B, "softmax"), ValueError, "x"),
    ("activation_backward", (X, X, "swoosh"), ValueError, "activation"),
    ("activation_backward", (B, B, "softmax"), ValueError, "dy"),
    ("softmax_backward", (DY, X), ValueError, "p"),
    ("softmax_backward", (B, B), ValueError, "dp"),
    ("binary_cross_entropy", (DY, LABELS), TypeError, "targets"),
    ("binary_cross_entropy", (DY[:, :1], LABELS), ValueError, r"targets\[2\]"),
    ("binary_cross_entropy", (DY[:, :1], LABELS > 0), TypeError, "targets"),
    ("binary_cross_entropy", (DY, DY.astype("f4")), TypeError, "targets"),
    ("binary_cross_entropy", (DY, X), ValueError, "targets"),
    ("binary_cross_entropy", (B, B), ValueError, "z"),
    ("binary_cross_entropy", ([1.0], DY), TypeError, "z"),
    ("binary_cross_entropy", (DY, DY, -np.ones(3)), ValueError, "sample_weight"),
    *[
        wrong
        for name in ("mse", "mae", "huber", "poisson")
        for wrong in (
            (name, (DY, LABELS), TypeError, "targets"),
            (name, ([1.0], DY), TypeError, "z"),
            (name, (DY, DY.tolist()), TypeError, "targets"),
            (name, (DY, DY.astype("f4")), TypeError, "targets"),
            (name, (DY, X), ValueError, "targets"),
            (name, (B, B), ValueError, "z"),
            (name, (DY, DY, np.zeros(3)), ValueError, "sample_weight"),
        )
    ],
    ("huber", (DY, DY, None, 0.0), ValueError, "delta"),
    ("quantile", (DY, DY, None, 0.0), ValueError, "levels"),
    ("quantile", (DY, DY, None, (0.1, 0.2, 0.3)), ValueError, "z must have a mul"),
    ("quantile", (DY, DY.astype("f4"), None, 0.5), TypeError, "targets"),
    ("gaussian_nll", (DY[:, :2], DY), ValueError, "targets"),
    ("gaussian_nll", (DY[:, :2], DY[:, :1], None, 0.0), ValueError, "epsilon"),
    ("focal", (DY, LABELS, None, -1.0), ValueError, "gamma"),
    ("focal", (DY[:, :1], LABELS), ValueError, r"labels\[2\]"),
    ("hinge", (DY[:, :1], LABELS), ValueError, r"labels\[2\]"),
    ("hinge", (DY, LABELS[:2]), ValueError, "labels"),
    ("dropout", (B, 0.5, 0, 0), ValueError, "x"),
    ("dropout", (X, 1.0, 0, 0), ValueError, "rate"),
    ("dropout", (X, "0.5", 0, 0), TypeError, "rate"),
    ("dropout", (X, 0.5, -1, 0), ValueError, "key"),
    ("dropout", (X, 0.5, 2**64, 0), ValueError, "key"),
    ("dropout", (X, 0.5, 0, 0.0), TypeError, "step"),
    *[
        wrong
        for norm in ("batch_norm", "layer_norm")
        for wrong in (
            (f"{norm}_forward", (B, B, B), ValueError, "x"),
            (f"{norm}_forward", (DY, X[0], B), ValueError, "scale"),
            (f"{norm}_forward", (DY, B, X[0]), ValueError, "shift"),
            (f"{norm}_forward", (DY, B.astype("f4"), B), TypeError, "scale"),
            (f"{norm}_forward", (DY, B, B, 0.0), ValueError, "epsilon"),
            (f"{norm}_backward", (DY, X, B), ValueError, "x"),
            (f"{norm}_backward", (DY, DY.astype("f4"), B), TypeError, "x"),
            (f"{norm}_backward", (DY, DY, X[0]), ValueError, "scale"),
            (f"{norm}_backward", (DY, DY, B, -1.0), ValueError, "epsilon"),
        )
    ],
    ("sgd_update", ([1.0], np.ones(1)), TypeError, "w"),
    ("sgd_update", (np.ones(3), np.ones(2)), ValueError, "dw"),
    ("sgd_update", (np.ones(3), np.ones(3, "f4")), TypeError, "dw"),
    ("sgd_update", (READ_ONLY, np.ones(3)), ValueError, "w"),
    ("sgd_update", (np.ones(6)[::2], np.ones(3)), ValueError, "w"),
    ("sgd_update", (UNALIGNED, np.ones(3)), ValueError, "w"),
    ("sgd_update", (SHARED[:3], SHARED[1:]), ValueError, "dw"),
    ("sgd_update", (*vectors(2), 0), ValueError, "learning_rate"),
    ("sgd_update", (*vectors(2), "0.1"), TypeError, "learning_rate"),
    ("momentum_update", (*vectors(2), READ_ONLY), ValueError, "velocity"),
    ("momentum_update", (*vectors(3), 0.1, 1), ValueError, "momentum"),
    ("nesterov_update", (*vectors(2), np.ones((1, 3))), ValueError, "velocity"),
    ("adam_update", (*vectors(3), UNALIGNED, 1), ValueError, "second_moment"),
    ("adam_update", (*vectors(4), 0), ValueError, "step"),
    ("adam_update", (*vectors(4), 1.0), TypeError, "step"),
    ("adam_update", (*vectors(4), 1, 0.1, 0.9, 1.0), ValueError, "beta_2"),
    ("adamw_update", (*vectors(4), 1, 0.1, 0.9, 0.9, 0.0), ValueError, "epsilon"),
    ("adamw_update", (*vectors(4), 1, 0.1, 0.9, 0.9, 1, -1), ValueError, "weight_"),
    ("nesterov_update", (*vectors(3), 0.1, -0.1), ValueError, "momentum"),
    ("rmsprop_update", (*vectors(3), 0.1, 1.0), ValueError, "rho"),
    ("rmsprop_update", (*vectors(2), np.ones(4)), ValueError, "mean_square"),
    ("adagrad_update", (*vectors(3), 0.1, 0.0), ValueError, "epsilon"),
    ("adagrad_update", (*vectors(2), READ_ONLY), ValueError, "sum_of_squares"),
    ("nadam_update", (*vectors(4), 0), ValueError, "step"),
    ("nadam_update", (*vectors(4), 1, 0.1, 0.9, 0.9, 1, -1), ValueError, "momentum_"),
    ("lion_update", (*vectors(3), 0.1, 1.0), ValueError, "beta_1"),
    ("lion_update", (*vectors(3), 0.1, 0.9, "0"), TypeError, "beta_2"),
    *[
        (name, (*vectors(2 + n), *[1] * (n == 2), Constant(0.1)), TypeError, "learning")
        for name, n, _ in UPDATES
    ],
]


@pytest.mark.parametrize(("name", "arguments", "error", "culprit"), WRONG)
def test_errors_are_the_same_in_both_lanes(name, arguments, error, culprit):
    arrays_before = [a.copy() for a in arguments if isinstance(a, np.ndarray)]
    messages = []
    for module in LANES.values():
        with pytest.raises(error) as caught:
            getattr(module, name)(*arguments)
        assert type(caught.value) is error
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert re.search(rf"\b{culprit}", messages[0])
    after = [a for a in arguments if isinstance(a, np.ndarray)]
    assert same_bits(after, arrays_before)


def test_every_function_has_an_error_tested():
    assert {name for name, *_ in WRONG} == set(kernels.__all__)


# Threads.


def test_two_threads_at_once():
    # Large enough to be split over the thread team, which only one of them gets.
    x, w, dy = arrays(5, (120, 150), (150, 100), (120, 100), dtype="float32")
    b = np.zeros(100, "f4")

    def compute():
        y = kernels.dense_forward(x, w, b, "relu")
        return [y, *kernels.dense_backward(dy, x, w, y, "relu"), kernels.softmax(y)]

    expected, wrong = compute(), []

    def work():
        for _ in range(20):
            if not same_bits(compute(), expected):
                wrong.append(True)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not wrong
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_the_number_of_threads_changes_no_bit(threads):
    x, w, dy = arrays(6, (130, 150), (150, 101), (130, 101), dtype="float32")
    b = np.zeros(101, "f4")
    before = fastnn.get_num_threads()
    try:
        results = []
        for count in (1, threads):
            fastnn.set_num_threads(count)
            y = kernels.dense_forward(x, w, b)
            results.append([y, *kernels.dense_backward(dy, x, w)])
    finally:
        fastnn.set_num_threads(before)
    assert same_bits(*results)
