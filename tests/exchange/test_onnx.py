"""Networks to ONNX and back, with ONNX Runtime as the oracle."""

import numpy as np
import pytest
from engines import relative_distance
from interchange import (
    EACH_ACTIVATION,
    all_layers,
    all_nets,
    make_net,
    make_rows,
    plain_layers,
)

import fastnn
from fastnn import BatchNorm, Dense, Dropout, LayerNorm, ModelFormatError, Network

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

from fastnn.onnx import from_onnx, to_onnx  # noqa: E402

# ||found - expected|| / ||expected|| of all rows: single values that nearly cancel have
# the same rounding as the others, whatever computes them.
# In float64 too, ONNX Runtime makes one operator of the six of LayerNorm, and rounds
# its epsilon to float32.
ALLOWED = {np.dtype("float32"): 1e-6, np.dtype("float64"): 2.0**-24}


def run(model, X):
    """The outputs by name."""
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"X": X}), strict=True))


def assert_agrees(net, X=None):
    X = make_rows(net) if X is None else X
    model = to_onnx(net)
    onnx.checker.check_model(model, full_check=True)
    outputs = run(model, X)
    expected = net.predict_proba(X)
    is_probable = net.plan.output_activation in ("softmax", "sigmoid")
    values = outputs.pop("probabilities" if is_probable else "values")
    assert (values.shape, values.dtype) == (expected.shape, expected.dtype)
    assert relative_distance(values, expected) <= ALLOWED[net.dtype], net
    if net.plan.loss.is_classifier:
        labels, expected = outputs.pop("label"), net.predict(X)
        assert (labels.shape, labels.dtype) == (expected.shape, expected.dtype)
        assert (labels == expected).all()
    assert not outputs
    return model


def assert_comes_back(net, model, X=None):
    X = make_rows(net) if X is None else X
    same = from_onnx(model)
    assert (same.plan.loss, same.dtype) == (net.plan.loss, net.dtype)
    expected = net.predict_proba(X)
    assert relative_distance(same.predict_proba(X), expected) <= ALLOWED[net.dtype], net
    assert (same.predict(X).shape, same.predict(X).dtype) == (
        net.predict(X).shape,
        net.predict(X).dtype,
    )
    return same


@pytest.mark.parametrize("layers", [plain_layers, all_layers])
def test_every_network_agrees_and_comes_back(layers):
    for net in all_nets(layers):
        assert_comes_back(net, assert_agrees(net))


@pytest.mark.parametrize("activation", EACH_ACTIVATION)
def test_activations_in_float64_have_its_digits(activation):
    """Those that ONNX Runtime has for float32 only are composed of others."""
    net = make_net([1, Dense(1, activation), Dense(1)], loss="mse", dtype="float64")
    net.set_weights([(np.ones((1, 1)), np.zeros(1))] * 2)
    X = np.concatenate([np.linspace(-40, 40, 4001), [-700, 700, 0.0, 1e-12, -1e-12]])
    X = X[:, np.newaxis]
    found, expected = run(to_onnx(net), X)["values"], net.predict(X)
    assert np.abs(found - expected).max() <= 1e-12 * np.maximum(np.abs(X), 1).max()
    near = np.abs(X) <= 10
    assert np.abs(found - expected)[near].max() <= 2e-13


def test_plain_networks_come_back_to_the_bit():
    net = make_net([6, Dense(8, "tanh"), Dense(7, "gelu"), 3])
    same = from_onnx(to_onnx(net))
    X = make_rows(net)
    assert same.plan.layers == net.plan.layers
    assert (same.predict_proba(X) == net.predict_proba(X)).all()


def test_the_graph_is_of_opset_13_and_takes_any_number_of_rows():
    model = to_onnx(make_net([6, 8, 3]))
    assert [each.version for each in model.opset_import] == [13]
    assert [node.op_type for node in model.graph.node] == [
        "Gemm",
        "Relu",
        "Gemm",
        "Softmax",
        "ArgMax",
    ]
    for n in (1, 2, 257):
        outputs = run(model, np.zeros((n, 6), "float32"))
        assert outputs["label"].shape == (n,)
        assert outputs["probabilities"].shape == (n, 3)


def test_batch_norm_and_scaling_are_folded():
    layers = [6, Dense(8), BatchNorm("relu"), Dropout(0.5), BatchNorm(), Dense(3)]
    net = make_net(layers, input_scale=1 / 255, input_shift=-0.4)
    operators = [node.op_type for node in to_onnx(net).graph.node]
    assert operators == ["Gemm", "Relu", "Gemm", "Softmax", "ArgMax"]
    assert_agrees(net, np.random.default_rng(0).uniform(0, 255, (99, 6)).astype("f4"))


def test_what_would_lose_digits_is_not_folded():
    # Columns such as a year: 2000 +- 1.
    scale, shift = np.full(6, 1.0), np.full(6, -2000.0)
    scaled = make_net([6, 8, 3], input_scale=scale, input_shift=shift)
    model = assert_agrees(scaled)
    assert "Add" in [node.op_type for node in model.graph.node]
    assert (assert_comes_back(scaled, model)._model.scaling[1] == -2000).all()

    net = make_net([6, BatchNorm(), Dense(8, "tanh"), Dense(3)])
    mean, variance = np.full(6, 2000, "float32"), np.ones(6, "float32")
    net._model.engine.set_statistics([(mean, variance), None, None])
    X = (2000 + np.random.default_rng(0).normal(size=(99, 6))).astype("float32")
    assert_comes_back(net, assert_agrees(net, X), X)


def test_scalings_by_column():
    rng = np.random.default_rng(0)
    for size in (0.5, 50):
        scale, shift = rng.uniform(0.5, 2, 6), rng.normal(size=6) * size
        net = make_net([6, 8, 3], input_scale=scale, input_shift=shift)
        assert_comes_back(net, assert_agrees(net))
        net = make_net([6, LayerNorm(), 3], input_scale=scale, input_shift=shift)
        assert_comes_back(net, assert_agrees(net))


def test_labels_of_equals_and_of_zero():
    net = Network([1, Dense(3)], seed=0)
    net.set_weights([(np.zeros((1, 3)), np.zeros(3))])
    assert run(to_onnx(net), np.ones((1, 1), "float32"))["label"].tolist() == [0]
    net = Network([1, Dense(1)], loss="binary_cross_entropy", seed=0)
    net.set_weights([(np.ones((1, 1)), np.zeros(1))])
    labels = run(to_onnx(net), np.array([[0], [1e-30], [-1]], "float32"))["label"]
    assert labels.tolist() == [0, 1, 0]


def test_a_loss_with_options_comes_back_and_a_last_activation_is_kept():
    smooth = fastnn.SoftmaxCrossEntropy(0.1)
    assert from_onnx(to_onnx(make_net([6, 3], loss=smooth))).plan.loss == smooth
    net = make_net([6, Dense(3, "sigmoid")], loss="mse")
    same = assert_comes_back(net, assert_agrees(net))
    assert same.plan.layers[0].activation == "sigmoid"


def test_the_loss_may_be_named():
    model = to_onnx(make_net([6, 8, 3], loss="mse"))
    net = from_onnx(model, loss="softmax_cross_entropy", dtype="float64", seed=3)
    assert (net.plan.loss.name, net.dtype, net.seed) == (
        "softmax_cross_entropy",
        np.float64,
        3,
    )
    X = make_rows(net)
    assert (
        relative_distance(
            net.decision_function(X), run(model, X.astype("f4"))["values"]
        )
        < 1e-6
    )
    poisson = to_onnx(make_net([6, 3], loss="poisson"))
    with pytest.raises(
        ModelFormatError, match="'mse' does not have; expected 'poisson'"
    ):
        from_onnx(poisson, loss="mse")


def test_an_imported_network_trains():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 6)), rng.integers(3, size=200)
    net = from_onnx(to_onnx(make_net(all_layers("gelu", 3))), seed=0)
    before = net.evaluate(X, y)["loss"]
    net.fit(X, y, epochs=20, verbose=0)
    assert net.evaluate(X, y)["loss"] < before


def test_files(tmp_path):
    net = make_net([6, 8, 3])
    path = tmp_path / "net.onnx"
    net.to_onnx(path)
    first = path.read_bytes()
    net.to_onnx(path)
    assert path.read_bytes() == first  # the same network gives the same bytes
    X = make_rows(net)
    for source in (path, str(path), first, onnx.load(path)):
        assert (from_onnx(source).predict_proba(X) == net.predict_proba(X)).all()
    assert (Network.from_onnx(path).predict_proba(X) == net.predict_proba(X)).all()
    with pytest.raises(FileNotFoundError):
        Network.from_onnx(tmp_path / "absent.onnx")
    with pytest.raises(ModelFormatError, match="not a regular file"):
        Network.from_onnx(tmp_path)


def test_arguments_are_checked():
    model = to_onnx(make_net([6, 8, 3]))
    for arguments, message in (
        (dict(optimizer="sdg"), "optimizer"),
        (dict(loss="cross"), "loss"),
        (dict(dtype="float16"), "dtype"),
        (dict(seed=-1), "seed"),
        (dict(backend="gpu"), "backend"),
        (dict(output="logits"), "output is 'logits'; expected one of"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            from_onnx(model, **arguments)
        assert type(error.value) is ValueError, message


@pytest.mark.slow
def test_mnist():
    X, y, X_test, _ = fastnn.datasets.mnist()
    layers = [784, Dense(128), BatchNorm("relu"), Dropout(0.2), Dense(10)]
    net = Network(layers, input_scale=1 / 255, seed=0)
    net.fit(X, y, epochs=2, verbose=0)
    assert_comes_back(net, assert_agrees(net, X_test.astype("f4")), X_test)


def test_networks_of_bfloat16_have_their_float32_weights():
    net = make_net(all_layers("gelu", 3), dtype="bfloat16", backend="numpy")
    assert to_onnx(net) == to_onnx(make_net(all_layers("gelu", 3)))
    same = from_onnx(to_onnx(net), dtype="bfloat16", backend="numpy")
    assert same.plan.dtype == "bfloat16"
