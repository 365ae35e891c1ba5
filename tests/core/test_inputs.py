"""Argument validation: what is taken, what is refused, and how the error names it."""

import numpy as np
import pytest

from fastnn._core.model.model import Model
from fastnn._plan import inputs
from fastnn._plan.plan import make_plan

PLAN = make_plan([4, 8, 3])

DTYPES = [*"?bBhHiIqQefd", ">i2", ">u4", ">f2", ">f4", ">f8", "<f8"]


# --- X --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_X_is_taken_in_every_dtype_without_a_copy(dtype):
    X = np.ones((5, 4), dtype)
    assert inputs.check_X(X, 4) is X


def test_X_is_taken_in_every_layout_without_a_copy():
    base = np.zeros((10, 16), np.float32)
    unaligned = np.zeros(5 * 16 + 1, np.uint8)[1:].view(np.float32).reshape(5, 4)
    readonly = np.zeros((5, 4))
    readonly.setflags(write=False)
    for X in (base[::-2, ::4], base.T[:4].T, unaligned, readonly):
        assert inputs.check_X(X, 4) is X


def test_X_may_be_a_nested_list():
    assert inputs.check_X([[1, 2, 3, 4]], 4).shape == (1, 4)


@pytest.mark.parametrize(
    ("X", "error", "text"),
    [
        (np.ones((2, 4), complex), TypeError, "X has dtype complex128"),
        (np.ones((2, 4), object), TypeError, "X has dtype object"),
        (np.ones((2, 4), np.longdouble), TypeError, "X has dtype"),
        (np.full((2, 4), "1"), TypeError, "X has dtype <U1"),
        (np.zeros((2, 4), "M8[s]"), TypeError, "X has dtype datetime64"),
        (np.zeros(2, "f4,f4"), TypeError, "X has dtype"),
        (None, TypeError, "X has dtype object"),
        ([[1, 2], [3]], ValueError, "X cannot be read as an array"),
        (np.ones(4), ValueError, r"For one sample: X.reshape\(1, -1\)"),
        (np.ones(3), ValueError, r"expected \(n_samples, 4\)$"),
        (np.ones((6, 2, 2)), ValueError, r"For images: X.reshape\(len\(X\), -1\)"),
        (np.float64(1.0), ValueError, "X has 0 dimensions"),
        (np.ones((0, 4)), ValueError, "X has no rows"),
        (
            np.ones((2, 5)),
            ValueError,
            r"X has 5 columns \(shape \(2, 5\)\); expected 4",
        ),
        (np.ones((2, 0)), ValueError, "X has 0 columns"),
    ],
)
def test_X_is_refused(X, error, text):
    with pytest.raises(error, match=text):
        inputs.check_X(X, 4)


def test_X_is_named_as_the_caller_says():
    with pytest.raises(ValueError, match="X_val has no rows"):
        inputs.check_X(np.ones((0, 4)), 4, "X_val")


def test_masked_values_are_refused_and_a_mask_of_none_is_taken():
    X = np.ma.masked_array(np.ones((2, 4)))
    assert inputs.check_X(X, 4).shape == (2, 4)
    X[1, 2] = np.ma.masked
    with pytest.raises(ValueError, match="X has masked values"):
        inputs.check_X(X, 4)


def test_a_sparse_matrix_is_refused_with_the_way_out():
    class Sparse:  # what the check looks at, without the library
        def tocsr(self):
            return self

    with pytest.raises(TypeError, match=r"sparse.*X\.toarray\(\)"):
        inputs.check_X(Sparse(), 4)


# --- finite values --------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
def test_the_first_value_that_is_not_finite_is_named(value, dtype):
    X = np.zeros((100_000, 4), dtype)  # more than one chunk
    X[77_777, 2] = X[88_888, 0] = value
    with pytest.raises(ValueError, match=rf"X\[77777, 2\] is {value}"):
        Model(PLAN, 0, "numpy").require_finite(X, "X")


def test_a_double_beyond_the_range_of_float32_counts_as_infinite():
    X = np.full((2, 4), 1e39)
    with pytest.raises(ValueError, match=r"X\[0, 0\] is 1e\+39.*float32"):
        Model(PLAN, 0, "numpy").require_finite(X, "X")
    Model(make_plan([4, 3], dtype="float64"), 0).require_finite(X, "X")


# --- targets --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_labels_of_every_dtype_become_int64(dtype):
    y = np.array([0, 1, 1, 0], dtype)
    labels = inputs.check_targets(y, 4, PLAN)
    assert labels.dtype == np.int64
    assert labels.flags.c_contiguous
    assert labels.tolist() == [0, 1, 1, 0]


def test_int64_labels_are_not_copied_and_strided_ones_are():
    y = np.array([0, 1, 2, 0, 1, 2])
    assert inputs.check_targets(y, 6, PLAN) is y
    labels = inputs.check_targets(y[::-2], 3, PLAN)
    assert labels.flags.c_contiguous
    assert labels.tolist() == [2, 0, 1]


def test_a_column_of_labels_is_taken():
    assert inputs.check_targets([[0], [2]], 2, PLAN).tolist() == [0, 2]


def test_a_column_belongs_to_the_output_if_there_is_only_one():
    plan = make_plan([4, 1], "binary_cross_entropy")
    assert inputs.check_targets([[1.0], [1.0]], 2, plan).shape == (2, 1)
    assert inputs.check_targets([0, 0], 2, plan).tolist() == [0, 0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_soft_targets_take_the_dtype_of_the_network(dtype):
    plan = make_plan([4, 3], dtype=dtype)
    for given in ("?", "i4", "f2", ">f4", "f8"):
        onehot = np.eye(3, dtype=given)[[2, 0]]
        targets = inputs.check_targets(np.asfortranarray(onehot), 2, plan)
        assert targets.dtype == dtype
        assert targets.flags.c_contiguous
        assert targets.tolist() == [[0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize(
    ("y", "error", "text"),
    [
        ([0, 1, 3, 4], ValueError, r"y\[2\] is 3; expected integer labels 0\.\.2"),
        ([0, -1, 5, 0], ValueError, r"y\[1\] is -1"),
        ([0, 1, 1.5, 0], ValueError, r"y\[2\] is 1\.5"),
        ([0, np.nan, 0, 0], ValueError, r"y\[1\] is nan"),
        ([0, np.inf, 0, 0], ValueError, r"y\[1\] is inf"),
        (np.array([0, 2**31, 0, 0]), ValueError, r"y\[1\] is 2147483648"),
        (np.array([0, 2**63 - 1, 0, 0]), ValueError, r"y\[1\] is 9223372036854775807"),
        (np.array([0, 2**64 - 1, 0, 0], "u8"), ValueError, r"is 18446744073709551615"),
        ([0, 1, 2], ValueError, "y has 3 rows but X has 4"),
        (np.zeros((4, 2)), ValueError, r"y has shape \(4, 2\)"),
        (np.zeros((4, 3, 1)), ValueError, r"y has shape \(4, 3, 1\)"),
        (1, ValueError, r"y has shape \(\)"),
        (["a", "b", "a", "b"], TypeError, "np.unique"),
        (None, TypeError, "y has dtype object"),
        ([[0.5, 0.5, 0]] * 3 + [[0.5, 0, 0]], ValueError, r"y\[3\] sums to 0\.5"),
        ([[1, 0, 0]] * 3 + [[1.5, 0, -0.5]], ValueError, r"y\[3, 2\] is -0\.5"),
        ([[1, 0, 0]] * 3 + [[np.nan, 1, 0]], ValueError, r"y\[3, 0\] is nan"),
    ],
)
def test_targets_are_refused(y, error, text):
    with pytest.raises(error, match=text):
        inputs.check_targets(y, 4, PLAN)


def test_probabilities_of_one_output_are_asked_for_as_a_column():
    plan = make_plan([4, 1], "binary_cross_entropy")
    with pytest.raises(ValueError, match=r"y\[1\] is 0\.3;.*y\.reshape\(-1, 1\)"):
        inputs.check_targets([0, 0.3], 2, plan)
    assert inputs.check_targets([[0], [0.3]], 2, plan).shape == (2, 1)
    for y, given in [([0, 2], plan), ([0, 0.3], PLAN)]:
        with pytest.raises(ValueError, match=r"expected integer labels 0..[12]$"):
            inputs.check_targets(y, 2, given)


def test_rows_of_soft_targets_may_miss_one_by_a_thousandth():
    inputs.check_targets([[0.333, 0.333, 0.333 + 0.0003]], 1, PLAN)
    with pytest.raises(ValueError, match=r"y\[0\] sums to 0\.998"):
        inputs.check_targets([[0.333, 0.333, 0.332]], 1, PLAN)


# --- weights of samples ---------------------------------------------------------------


def test_sample_weight_becomes_contiguous_float64():
    weight = inputs.check_sample_weight(np.array([1, 0, 2, 0], "i2")[::2], 2)
    assert weight.dtype == np.float64
    assert weight.flags.c_contiguous
    assert weight.tolist() == [1.0, 2.0]
    assert inputs.check_sample_weight(None, 2) is None


@pytest.mark.parametrize(
    ("weight", "text"),
    [
        ([1, -1, -2], r"sample_weight\[1\] is -1\.0"),
        ([1, 1, np.nan], r"sample_weight\[2\] is nan"),
        ([np.inf, 1, 1], r"sample_weight\[0\] is inf"),
        ([0, 0, 0], r"sample_weight sums to 0\.0"),
        ([1e308, 1e308, 1e308], "sample_weight sums to inf"),
        ([1, 1], r"sample_weight has shape \(2,\); expected \(3,\)"),
        ([[1], [1], [1]], r"sample_weight has shape \(3, 1\)"),
        (1.0, r"sample_weight has shape \(\)"),
    ],
)
def test_sample_weight_is_refused(weight, text):
    with pytest.raises(ValueError, match=text):
        inputs.check_sample_weight(weight, 3)


def test_class_weight_of_a_dict_multiplies_and_defaults_to_one():
    y = np.array([0, 1, 2, 1])
    weight = inputs.combine_class_weight({1: 3, 2: 0.5}, y, None, 3)
    assert weight.tolist() == [1.0, 3.0, 0.5, 3.0]
    own = np.array([1.0, 2.0, 4.0, 0.0])
    weight = inputs.combine_class_weight({1: 3, 2: 0.5}, y, own, 3)
    assert weight.tolist() == [1.0, 6.0, 2.0, 0.0]
    assert own.tolist() == [1.0, 2.0, 4.0, 0.0]


def test_balanced_weights_are_n_over_classes_times_count():
    y = np.array([0, 0, 0, 2, 2, 0, 2, 0])  # class 1 does not occur
    weight = inputs.combine_class_weight("balanced", y, None, 3)
    np.testing.assert_allclose(weight[y == 0], 8 / (2 * 5))
    np.testing.assert_allclose(weight[y == 2], 8 / (2 * 3))


def test_balanced_classes_count_the_same_under_sample_weights():
    y = np.array([0, 0, 0, 1])
    own = np.array([1.0, 2.0, 3.0, 4.0])
    weight = inputs.combine_class_weight("balanced", y, own, 2)
    np.testing.assert_allclose(weight[:3].sum(), weight[3])
    np.testing.assert_allclose(weight.sum(), own.sum())


def test_class_weight_reads_one_hot_targets():
    y = np.eye(3, dtype=np.float32)[[2, 0]]
    assert inputs.combine_class_weight({2: 5.0}, y, None, 3).tolist() == [5.0, 1.0]
    y[1] = [0.5, 0.5, 0]
    with pytest.raises(ValueError, match=r"y\[1\] is not one-hot"):
        inputs.combine_class_weight({2: 5.0}, y, None, 3)


def test_class_weight_reads_a_column_of_zeros_and_ones():
    y = np.array([[0.0], [1.0], [0.0]], np.float32)
    assert inputs.combine_class_weight({1: 5.0}, y, None, 2).tolist() == [1, 5, 1]
    balanced = inputs.combine_class_weight("balanced", y, None, 2)
    assert balanced.tolist() == [0.75, 1.5, 0.75]
    y[1] = 0.5
    with pytest.raises(ValueError, match=r"y\[1\] is 0\.5; expected 0 or 1"):
        inputs.combine_class_weight({1: 5.0}, y, None, 2)


@pytest.mark.parametrize(
    ("class_weight", "error", "text"),
    [
        ("balance", ValueError, "class_weight is 'balance'"),
        ([1, 2, 3], TypeError, r"class_weight is \[1, 2, 3\]"),
        ({3: 1.0}, ValueError, "a key of class_weight must be .* 0 to 2, got 3"),
        ({"0": 1.0}, TypeError, "a key of class_weight"),
        ({0: -1.0}, ValueError, r"class_weight\[0\] must be .* >= 0, got -1\.0"),
        ({0: np.nan}, ValueError, r"class_weight\[0\]"),
        ({0: "x"}, TypeError, r"class_weight\[0\]"),
        ({0: 1e308, 1: 1e308}, ValueError, "class_weight times .* sums to inf"),
        ({0: 0, 1: 0, 2: 0}, ValueError, "class_weight times sample_weight sums to 0"),
    ],
)
def test_class_weight_is_refused(class_weight, error, text):
    with pytest.raises(error, match=text):
        inputs.combine_class_weight(class_weight, np.array([0, 1, 2]), None, 3)


# --- input scaling --------------------------------------------------------------------


def test_input_scaling_is_one_number_or_one_per_input():
    scale, shift = inputs.check_input_scaling(1 / 255, [0, 1, 2], 3)
    assert scale.dtype == shift.dtype == np.float64
    assert scale.tolist() == [1 / 255] * 3
    assert shift.tolist() == [0.0, 1.0, 2.0]


def test_no_scaling_is_none():
    assert inputs.check_input_scaling(1, 0, 3) == (None, None)
    assert inputs.check_input_scaling(np.ones(3), np.zeros(3), 3) == (None, None)


@pytest.mark.parametrize(
    ("scale", "shift", "error", "text"),
    [
        (np.inf, 0, ValueError, "input_scale is inf"),
        (1, [0, np.nan, 0], ValueError, r"input_shift\[1\] is nan"),
        ([1, 2], 0, ValueError, r"input_scale has shape \(2,\)"),
        ([[1, 2, 3]], 0, ValueError, r"input_scale has shape \(1, 3\)"),
        ("x", 0, TypeError, "input_scale has dtype"),
    ],
)
def test_input_scaling_is_refused(scale, shift, error, text):
    with pytest.raises(error, match=text):
        inputs.check_input_scaling(scale, shift, 3)


# --- weights of the network -----------------------------------------------------------


def good_weights():
    return [(np.ones((4, 8)), np.ones(8)), (np.ones((8, 3), ">f4"), [1, 2, 3])]


def test_weights_take_the_dtype_of_the_network():
    pairs = inputs.check_weights(good_weights(), PLAN)
    assert [(w.shape, b.shape) for w, b in pairs] == [((4, 8), (8,)), ((8, 3), (3,))]
    assert {array.dtype for pair in pairs for array in pair} == {np.dtype("float32")}


def test_weights_are_refused():
    w = good_weights()
    big = [w[0], (np.full((8, 3), 1e300), np.ones(3))]
    nan = [(np.ones((4, 8)), np.where(np.arange(8) == 5, np.nan, 1)), w[1]]
    for weights, error, text in [
        (w[:1], ValueError, "weights has 1 entries; expected 2"),
        ([w[0], w[1][:1]], TypeError, r"weights\[1\] must be a pair"),
        ([(w[0][0].T, w[0][1]), w[1]], ValueError, r"W of weights\[0\] has shape"),
        (
            [w[0], (w[1][0], np.ones((3, 1)))],
            ValueError,
            r"b of weights\[1\] has shape",
        ),
        (big, ValueError, r"W of weights\[1\] is 1e\+300 at \(0, 0\).*float32"),
        (nan, ValueError, r"b of weights\[0\] is nan at \(5,\)"),
        (7, TypeError, "weights must be a list"),
        ([(w[0][0] + 1j, w[0][1]), w[1]], TypeError, r"W of weights\[0\] has dtype"),
    ]:
        with pytest.raises(error, match=text):
            inputs.check_weights(weights, PLAN)
