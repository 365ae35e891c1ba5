"""Any array gives the bits of its clean copy, or a typed error with its name.

A clean copy is aligned, C-contiguous, in native byte order and writable, of the same
dtype. The arrays that Hypothesis makes differ from theirs in all of that.
"""

import numpy as np
import pytest
from helpers import same_bits, training_state
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastnn

INPUTS, CLASSES = 3, 4

# 1000 examples in a default run, the same ones every time; ten times as many, and other
# ones every time, with `-m slow`.
SHARED = dict(
    deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
QUICK = settings(max_examples=250, derandomize=True, **SHARED)
LONG = settings(max_examples=2500, **SHARED)

BYTE_ORDERS = st.sampled_from("<>")
INTEGERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]
FLOATS = ["f2", "f4", "f8"]
METHODS = ["train_on_batch", "fit", "partial_fit", "evaluate", "loss_and_gradients"]


# Layouts: the values of an array in another place.


def c_contiguous(array, draw):
    return array.copy(order="C")


def f_contiguous(array, draw):
    return np.asfortranarray(array)


def strided(array, draw):
    """Every a-th element, possibly backwards, of a larger array of other values."""
    steps = [draw(st.sampled_from([-3, -2, -1, 1, 2, 3])) for _ in array.shape]
    sizes = [abs(step) * n for step, n in zip(steps, array.shape, strict=True)]
    room = np.full(sizes, 77, array.dtype)
    view = room[tuple(slice(None, None, step) for step in steps)]
    view[...] = array
    return view


def unaligned(array, draw):
    """At an address that is no multiple of the item size."""
    offset = draw(st.integers(1, 7))
    room = np.zeros(array.nbytes + offset, np.uint8)
    room[offset:] = np.frombuffer(array.tobytes(), np.uint8)
    return room[offset:].view(array.dtype).reshape(array.shape)


def read_only(array, draw):
    array = array.copy()
    array.flags.writeable = False
    return array


def field(array, draw):
    """A field of packed records: unaligned rows, an odd distance apart."""
    row = (array.dtype, array.shape[1:])
    records = np.zeros(len(array), np.dtype([("a", "u1"), ("x", *row), ("b", "u2")]))
    records["x"] = array
    return records["x"]


def subclass(array, draw):
    return array.copy().view(type("Subclass", (np.ndarray,), {}))


def from_buffer(array, draw):
    """On memory that belongs to a bytes object."""
    return np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape)


LAYOUTS = [
    c_contiguous,
    f_contiguous,
    strided,
    unaligned,
    read_only,
    field,
    subclass,
    from_buffer,
]


@st.composite
def laid_out(draw, arrays):
    """(an array as a user may have it, its clean copy)."""
    clean = draw(arrays)
    swapped = clean.astype(clean.dtype.newbyteorder(draw(BYTE_ORDERS)))
    array = draw(st.sampled_from(LAYOUTS))(swapped, draw)
    assert same_bits(np.array(array, clean.dtype, order="C", subok=False), clean)
    return array, clean


def numbers(dtype):
    if dtype[0] == "f":
        # Also what float32 cannot hold, which must be refused.
        return hnp.from_dtype(np.dtype(dtype), allow_nan=False, allow_infinity=False)
    return hnp.from_dtype(np.dtype(dtype))


@st.composite
def matrices(draw):
    """X of one to six rows, of a supported dtype."""
    dtype = draw(st.sampled_from(["?", *INTEGERS, *FLOATS]))
    shape = draw(st.integers(1, 6)), INPUTS
    elements = numbers(dtype)
    if draw(st.booleans()) and dtype[0] == "f":
        elements = st.floats(-10, 10, width=int(dtype[1]) * 8)
    return draw(hnp.arrays(dtype, shape, elements=elements))


def labels(n):
    dtypes = st.sampled_from([*INTEGERS, *FLOATS, "?"])
    return dtypes.flatmap(
        lambda dtype: hnp.arrays(
            dtype, n, elements=st.integers(0, 1 if dtype == "?" else CLASSES - 1)
        )
    )


@st.composite
def soft_targets(draw, n):
    """Rows of quarters that sum to 1, which every float dtype holds."""
    classes = draw(hnp.arrays("i8", (n, 4), elements=st.integers(0, CLASSES - 1)))
    quarters = (classes[:, :, None] == np.arange(CLASSES)).sum(axis=1)
    return (quarters / 4).astype(draw(st.sampled_from(FLOATS)))


def targets(n):
    return st.one_of(labels(n), soft_targets(n))


def sample_weights(n):
    elements = {
        "f": st.floats(0, 1e3, width=16),
        "i": st.integers(0, 100),
        "u": st.integers(0, 100),
    }
    dtypes = st.sampled_from([*INTEGERS, *FLOATS])
    arrays = dtypes.flatmap(
        lambda dtype: hnp.arrays(dtype, n, elements=elements[dtype[0]])
    )
    return arrays.filter(lambda weight: weight.sum(dtype="f8") > 0)


# Outcomes.


def call(network, method, X, y, weight):
    if method in ("fit", "partial_fit"):
        options = dict(verbose=0) if method == "fit" else {}
        getattr(network, method)(X, y, batch_size=2, sample_weight=weight, **options)
        return None
    return getattr(network, method)(X, y, weight)


def outcome(network, method, X, y, weight):
    """The result and all state, as bytes to be compared; or the error."""
    try:
        with np.errstate(all="raise"):  # nothing is computed in the caller's name
            result = call(network, method, X, y, weight)
    except (ValueError, fastnn.TrainingDiverged) as error:
        result = f"{type(error).__name__}: {error}"
    return repr(result) if method != "loss_and_gradients" else as_bytes(result)


def as_bytes(result):
    if isinstance(result, str):
        return result
    loss, gradients = result
    return loss, b"".join(W.tobytes() + b.tobytes() for W, b in gradients)


def network(backend, dtype):
    return fastnn.Network([INPUTS, 6, CLASSES], backend=backend, dtype=dtype, seed=0)


def assert_same_outcome(backend, dtype, method, dirty, clean):
    nets = [network(backend, dtype) for _ in range(2)]
    results = [
        outcome(net, method, *arguments)
        for net, arguments in zip(nets, (dirty, clean), strict=True)
    ]
    assert results[0] == results[1]
    assert same_bits(*map(training_state, nets))


backends = st.sampled_from(["native", "native", "native", "numpy"])
dtypes = st.sampled_from(["float32", "float64"])


@st.composite
def inputs(draw):
    """X in a strange layout, and clean targets and weights."""
    X, clean = draw(laid_out(matrices()))
    n = len(X)
    y = draw(hnp.arrays("i8", n, elements=st.integers(0, CLASSES - 1)))
    return X, clean, y


def check_inputs(backend, dtype, method, case):
    X, clean, y = case
    assert_same_outcome(backend, dtype, method, (X, y, None), (clean, y, None))


def check_predictions(backend, dtype, case):
    X, clean, _ = case
    net = network(backend, dtype)
    for method in ("predict_proba", "decision_function", "predict"):
        results = []
        for array in (X, clean):
            try:
                with np.errstate(all="raise"):
                    results.append(getattr(net, method)(array).tobytes())
            except ValueError as error:
                results.append(str(error))
        assert results[0] == results[1]


@st.composite
def rows(draw):
    """Clean X; y and sample_weight in strange layouts and dtypes."""
    n = draw(st.integers(1, 6))
    X = draw(hnp.arrays("f4", (n, INPUTS), elements=st.floats(-10, 10, width=32)))
    y, clean_y = draw(laid_out(targets(n)))
    weight = clean_weight = None
    if draw(st.booleans()):
        weight, clean_weight = draw(laid_out(sample_weights(n)))
    return (X, y, weight), (X, clean_y, clean_weight)


def check_rows(backend, dtype, method, case):
    assert_same_outcome(backend, dtype, method, *case)


# What is no data: the dtype or shape is wrong.

WRONG_DTYPES = ["O", "U1", "S1", "c8", "c16", "M8[s]", "m8[s]", "V4", "g", "i4,f4"]
RIGHT = {
    "X": np.ones((4, INPUTS)),
    "y": np.array([0, 1, 2, 3]),
    "sample_weight": np.ones(4),
}


@st.composite
def wrong_arguments(draw):
    """(name, an argument that is none)."""
    name = draw(st.sampled_from([*RIGHT]))
    right = RIGHT[name]
    if draw(st.booleans()):
        dtype = np.dtype(draw(st.sampled_from(WRONG_DTYPES)))
        wrong = np.zeros(right.shape, dtype)
        # NumPy makes no array of objects from bytes.
        layouts = LAYOUTS if dtype.kind != "O" else [c_contiguous, strided, subclass]
        return name, draw(st.sampled_from(layouts))(wrong, draw)
    shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
    allowed = {
        "X": [(4, INPUTS)],
        "y": [(4,), (4, 1), (4, CLASSES)],
        "sample_weight": [(4,)],
    }[name]
    shape = draw(shapes.filter(lambda shape: shape not in allowed))
    return name, np.zeros(shape, draw(st.sampled_from(["?", *INTEGERS, *FLOATS])))


def check_wrong(backend, method, case):
    name, wrong = case
    net = network(backend, "float32")
    before = training_state(net)
    arguments = {**RIGHT, name: wrong}
    # If X is right but for its number of rows, it is y that does not fit.
    rows_differ = name == "X" and wrong.ndim == 2 and wrong.shape[1] == INPUTS
    rows_differ = rows_differ and len(wrong) not in (0, 4)
    with pytest.raises((TypeError, ValueError)) as caught:
        call(net, method, *arguments.values())
    assert type(caught.value) in (TypeError, ValueError)
    assert str(caught.value).startswith("y " if rows_differ else f"{name} ")
    assert same_bits(training_state(net), before)


methods = st.sampled_from(METHODS)
CHECKS = {
    "inputs": given(backends, dtypes, methods, inputs())(check_inputs),
    "predictions": given(backends, dtypes, inputs())(check_predictions),
    "rows": given(backends, dtypes, methods, rows())(check_rows),
    "wrong": given(backends, methods, wrong_arguments())(check_wrong),
}


@pytest.mark.parametrize("name", CHECKS)
def test_any_array(name):
    QUICK(CHECKS[name])()


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
def test_any_array_at_length(name):
    LONG(CHECKS[name])()


def test_lists_and_memory_without_numpy_are_read_like_arrays(backend):
    rng = np.random.default_rng(0)
    X = rng.integers(-5, 5, (6, INPUTS)).astype("f4")
    y, weight = rng.integers(0, CLASSES, 6), np.arange(6.0)
    clean = network(backend, "float32")
    loss = clean.train_on_batch(X, y, weight)
    for convert in (np.ndarray.tolist, memoryview):
        net = network(backend, "float32")
        vectors = [convert(v) for v in (y, weight)]
        assert net.train_on_batch(convert(X), *vectors) == loss
        assert same_bits(training_state(net), training_state(clean))
        assert same_bits(net.predict_proba(convert(X)), clean.predict_proba(X))


@pytest.mark.parametrize("wrong", [None, "text", {}, [[1, 2], [3]], object()])
def test_what_is_no_array_is_refused(backend, wrong):
    net = network(backend, "float32")
    for method in METHODS:
        for name in ("X", "y"):
            with pytest.raises((TypeError, ValueError), match=f"^{name} "):
                call(net, method, *{**RIGHT, name: wrong}.values())
    for method in ("predict", "predict_proba", "decision_function"):
        with pytest.raises((TypeError, ValueError), match="^X "):
            getattr(net, method)(wrong)
