"""What holds at the ends of ranges, and on ways that few inputs take.

Each of these a small mistake in the sources once broke without a test that noticed:
see tests/campaign/mutants.
"""

import threading
from dataclasses import fields

import numpy as np
import pytest

import fastnn
from fastnn import (
    SGD,
    LambdaCallback,
    Network,
    ReduceOnPlateau,
    datasets,
    metrics,
    reference,
    schedules,
)
from fastnn._core.exchange.model_header import _parse_header
from fastnn._core.training.recipe import Data, Job, fit_models
from fastnn._plan import arrays
from fastnn._plan.labels import Target
from fastnn._plan.recipes import RealMLP, Size
from fastnn.layers import BatchNorm, Dense, PiecewiseLinearEmbedding
from fastnn.network import network_of
from fastnn.reference import _products


def test_no_split_leaves_nothing_for_validation(make_net, blobs):
    with pytest.raises(ValueError, match="leaves 60 for training and 0 for validation"):
        make_net().fit(*blobs, validation_split=1e-20, verbose=0)


def test_the_key_behind_the_last_class_is_none(make_net, blobs):
    with pytest.raises(ValueError, match="class_weight must be an integer from 0 to 2"):
        make_net().fit(*blobs, class_weight={3: 2.0}, verbose=0)


def test_one_row_is_evaluated(make_net, blobs):
    X, y = blobs
    net = make_net()
    loss = -np.log(net.predict_proba(X[:1])[0, y[0]])
    assert net.evaluate(X[:1], y[:1])["loss"] == pytest.approx(loss, rel=1e-5)


def test_two_categories_are_one_input_that_is_encoded(blobs):
    table = {"size": blobs[0][:, 0], "kind": np.array(["u", "v"] * 30)}
    net = Network([2, 8, 3], seed=0)
    net.fit(table, blobs[1], epochs=2, verbose=0)
    assert net.schema.encoding != "none"
    p = net.predict_proba(table)
    assert (p == net.predict_proba(net.schema.encode(table))).all()


@pytest.mark.parametrize("rate", [0.1, schedules.Constant(0.1)])
def test_at_the_least_rate_nothing_is_changed(make_net, blobs, rate):
    net = make_net(optimizer=SGD(rate))
    never = ReduceOnPlateau("loss", patience=1, min_delta=1e9, min_rate=0.1)
    net.fit(*blobs, epochs=12, callbacks=[never], verbose=0)
    assert net.optimizer == SGD(rate)


@pytest.mark.parametrize("each", [b"[]", b"{}"])
def test_a_header_of_many_small_things_is_not_even_parsed(each):
    text = b'{"a":[' + b",".join([each] * 5000) + b"]}"
    with pytest.raises(fastnn.ModelFormatError, match="more lists and objects"):
        _parse_header(text)


def test_chunks_of_wide_rows_are_no_larger():
    wide = np.broadcast_to(0.0, (3, arrays._CHUNK))
    assert [len(rows) for _, rows in arrays.row_chunks(wide)] == [1, 1, 1]


@pytest.mark.parametrize("last", [2**63, -(2**63), 2.0**63, float("inf")])
def test_classes_that_no_file_holds_are_refused(last):
    assert Target("y", (0, 2**63 - 1)).classes == (0, 2**63 - 1)
    with pytest.raises(ValueError, match="classes must be finite"):
        Target("y", (type(last)(0), last))


@pytest.mark.parametrize(
    ("X", "bins", "message"),
    [
        (np.zeros((3, 2)), 2**20 + 1, "bins must be an integer from 1 to 1048576"),
        (np.zeros((3, 2, 2)), 8, "X must be finite and of shape"),
        (np.zeros((0, 2)), 8, "X must be finite and of shape"),
        (np.full((3, 2), np.nan), 8, "X must be finite and of shape"),
    ],
)
def test_where_edges_cannot_come_from(X, bins, message):
    with pytest.raises(ValueError, match=message):
        PiecewiseLinearEmbedding.from_data(X, bins=bins)


def test_activations_without_a_parameter_say_0():
    specs = [each() for each in fastnn.activations.ACTIVATIONS.values()]
    plain = [spec for spec in specs if not fields(spec)]
    assert len(plain) > 5
    assert {spec.parameter for spec in plain} == {0.0}


@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_a_share_is_neither_nothing_nor_all(warmup):
    with pytest.raises(ValueError, match="warmup must be a number > 0 and < 1"):
        schedules.OneCycle(0.1, 100, warmup=warmup)


def test_an_onnx_file_is_as_large_as_protocol_buffers_hold(tmp_path):
    pytest.importorskip("onnx")
    with open(tmp_path / "large.onnx", "wb") as file:
        file.truncate(2**31)  # of no blocks
    with pytest.raises(
        fastnn.ModelFormatError, match="2147483648 bytes long; expected"
    ):
        Network.from_onnx(tmp_path / "large.onnx")


@pytest.mark.parametrize("what", ["location", "entries"])
def test_each_sign_of_a_tensor_in_another_file_needs_the_other(what):
    onnx = pytest.importorskip("onnx")
    from fastnn.onnx import from_onnx, to_onnx

    model = to_onnx(Network([4, 3], seed=0))
    tensor = model.graph.initializer[0]
    if what == "location":
        tensor.data_location = onnx.TensorProto.EXTERNAL
    else:
        tensor.external_data.add(key="location", value="elsewhere")
    with pytest.raises(fastnn.ModelFormatError, match="in two places, or in none"):
        from_onnx(model)


def test_what_deflate_makes_small_is_read(tmp_path):
    for n in (1, 1000, *range(30_000, 120_000, 10_000), 10**6):
        np.savez_compressed(tmp_path / "a.npz", X=np.zeros((n, 1), "u1"), y=np.zeros(n))
        assert len(datasets.load_npz(tmp_path / "a.npz").X) == n


@pytest.mark.parametrize("n_rows", [*range(300, 1000, 37), 5000])
def test_no_batch_of_a_recipe_is_short(n_rows):
    recipe = RealMLP().of(Size(n_rows, 4, 4, 2))
    trained = n_rows - int(n_rows * recipe.held_out)
    n_batches = -(-trained // recipe.batch_size)
    assert n_batches == max(1, trained // RealMLP().batch_size)
    assert trained - (n_batches - 1) * recipe.batch_size > recipe.batch_size - n_batches


def test_functions_of_ones_own_refuse_two_batches_an_update():
    def square(outputs, targets):
        error = outputs - targets
        return (error**2).mean(axis=1), 2 * error / error.shape[1]

    net = Network([4, Dense(8), BatchNorm(), Dense(1)], loss=square)
    X, y = np.eye(4), np.arange(4.0)[:, np.newaxis]
    with pytest.raises(ValueError, match="accumulate is 2, but with functions of your"):
        net.fit(X, y, batch_size=2, accumulate=2, verbose=0)


def test_a_search_of_the_rate_goes_through_the_rows_again(make_net, blobs):
    found = make_net().find_learning_rate(*blobs, batch_size=20, steps=10, stop=1e-3)
    assert len(found.losses) == 10  # of three batches
    assert np.isfinite(found.losses).all()


def test_layers_of_one_shape_start_differently(make_net):
    *hidden, _ = (W for W, _ in make_net([8, 8, 8, 8, 8]).get_weights())
    for i, W in enumerate(hidden):
        assert not any(np.array_equal(W, other) for other in hidden[:i])


def test_a_column_is_a_vector():
    assert metrics.accuracy([[0], [1], [1]], [0, 1, 0]) == pytest.approx(2 / 3)
    assert metrics.accuracy([0, 1, 1], [[0], [1], [0]]) == pytest.approx(2 / 3)


def test_the_log_loss_of_one_probability_a_row():
    p = np.array([0.1, 0.6])
    expected = -(np.log(0.9) + np.log(0.6)) / 2
    assert metrics.log_loss([0, 1], p) == pytest.approx(expected)


def test_the_reference_offers_its_engine():
    assert "Engine" in reference.__all__
    assert all(hasattr(reference, name) for name in reference.__all__)


def test_products_of_many_rows_are_sums_of_blocks():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(300, 5)), rng.normal(size=(300, 3))
    before, _products._BLOCK = _products._BLOCK, 0
    try:
        assert len([*_products._blocks(300, 15)]) == 3
        np.testing.assert_allclose(_products.multiply_transposed(a, b), a.T @ b)
        np.testing.assert_allclose(_products.multiply(a, b[:5]), a @ b[:5])
    finally:
        _products._BLOCK = before


@pytest.mark.parametrize("n", [1, 2])
def test_as_many_models_are_fitted_at_once_as_there_are_threads(blobs, n):
    together, seen = threading.Barrier(n), set()

    def begin():
        seen.add(threading.get_ident())
        together.wait(60)

    variant = RealMLP(epochs=2, batch_size=32, width=8, depth=1)
    job = Job((variant,), 4, 3, np.inf, n, network_of)
    watch = LambdaCallback(on_train_begin=begin)
    fit_models(job, Data(*blobs, None), [None] * n, [*range(n)], callbacks=[watch])
    assert len(seen) == n
    assert n > 1 or seen == {threading.get_ident()}


def test_epochs_of_chunks_have_no_known_length(make_net, blobs):
    net = make_net(optimizer=SGD(schedules.Step(0.1, epochs=2)))
    with pytest.raises(
        ValueError, match="the updates of an epoch of chunks are not kn"
    ):
        net.fit_chunks(lambda: [blobs], epochs=2, verbose=0)
