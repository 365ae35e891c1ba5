"""ONNX models that others made: what is understood, and what is said about the rest."""

import contextlib
import io
import tracemalloc
import warnings

import numpy as np
import pytest
from engines import relative_distance

from fastnn import ELU, LeakyReLU, ModelFormatError

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from fastnn.onnx import from_onnx  # noqa: E402

RNG = np.random.default_rng(0)
W = RNG.normal(size=(4, 3)).astype("float32")
B = RNG.normal(size=3).astype("float32")
X = RNG.normal(size=(50, 4)).astype("float32") * 3


def node(op_type, inputs, output="y", **attributes):
    return helper.make_node(op_type, inputs.split(), [output], output, **attributes)


def make(nodes, constants=(), outputs=("y",), n_inputs=4, opset=13, kinds=None):
    """A model of nodes and constants: {name: array}."""
    kinds = kinds or [TensorProto.FLOAT] * len(outputs)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", n_inputs])],
        [
            helper.make_tensor_value_info(name, kind, None)
            for name, kind in zip(outputs, kinds, strict=True)
        ],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in dict(constants).items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


DENSE = node("Gemm", "x W b", "z")
ARRAYS = {"W": W, "b": B}
Z = X @ W + B


def after_dense(*nodes, opset=13, **constants):
    return make([DENSE, *nodes], {**ARRAYS, **constants}, opset=opset)


def assert_predicts(model, expected, **arguments):
    net = from_onnx(model, **arguments)
    assert relative_distance(net.predict_proba(X), expected) < 1e-6
    return net


def scalar(value):
    return np.array(value, "float32")


# --- products -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "constants", "expected"),
    [
        ([node("MatMul", "x W")], {}, X @ W),
        ([node("MatMul", "x W", "z"), node("Add", "b z")], {}, Z),
        ([node("MatMul", "x W", "z"), node("Add", "z row")], {"row": B[None]}, Z),
        ([node("Gemm", "x V b", transB=1)], {"V": W.T.copy()}, Z),
        ([node("Gemm", "x W b", alpha=0.5, beta=2.0)], {}, X @ W / 2 + 2 * B),
        ([node("Gemm", "x W")], {}, X @ W),
        (
            [node("Transpose", "V", "T"), node("MatMul", "x T")],
            {"V": W.T.copy()},
            X @ W,
        ),
        (
            [node("Cast", "H", "F", to=1), node("MatMul", "x F")],
            {"H": W.astype("f2")},
            X @ W.astype("f2").astype("f4"),
        ),
        ([DENSE, node("Sub", "z c")], {"c": B}, Z - B),
        ([DENSE, node("Sub", "c z")], {"c": B}, B - Z),
        ([DENSE, node("Mul", "c z")], {"c": B}, B * Z),
        ([DENSE, node("Div", "z c")], {"c": B}, Z / B),
        (
            [node("Mul", "x s", "u"), node("Gemm", "u W b")],
            {"s": scalar(3)},
            3 * X @ W + B,
        ),
        (
            [node("Sub", "x m", "u"), node("Div", "u s", "v"), node("Gemm", "v W b")],
            {"m": X.mean(0), "s": X.std(0)},
            (X - X.mean(0)) / X.std(0) @ W + B,
        ),
    ],
)
def test_products_and_sums(nodes, constants, expected):
    assert_predicts(make(nodes, {**ARRAYS, **constants}), expected)


def test_scaled_columns_become_the_input_scaling():
    nodes = [node("Mul", "x s", "u"), node("Gemm", "u W b")]
    net = from_onnx(make(nodes, {**ARRAYS, "s": np.full(4, 0.5, "f4")}))
    assert net.plan.layers[0].units == 3
    assert net._model.scaling[0].tolist() == [0.5] * 4
    assert (net.get_weights()[0][0] == W).all()


# --- activations ----------------------------------------------------------------------


def sigmoid(z):
    return 1 / (1 + np.exp(-np.float64(z)))


def softplus(z):
    return np.logaddexp(0, np.float64(z))


@pytest.mark.parametrize(
    ("name", "nodes", "constants", "expected"),
    [
        ("relu", [node("Clip", "z zero")], {"zero": scalar(0)}, np.maximum(Z, 0)),
        ("relu", [node("Max", "z zero")], {"zero": scalar(0)}, np.maximum(Z, 0)),
        (
            LeakyReLU(0.25),
            [node("PRelu", "z p")],
            {"p": scalar([0.25])},
            np.where(Z > 0, Z, Z / 4),
        ),
        (LeakyReLU(), [node("LeakyRelu", "z")], {}, np.where(Z > 0, Z, 0.01 * Z)),
        (
            ELU(0.5),
            [node("Elu", "z", alpha=0.5)],
            {},
            np.where(Z > 0, Z, np.expm1(Z) / 2),
        ),
        ("silu", [node("Sigmoid", "z", "s"), node("Mul", "s z")], {}, Z * sigmoid(Z)),
        (
            "silu",
            [
                node("Neg", "z", "n"),
                node("Exp", "n", "e"),
                node("Add", "one e", "d"),
                node("Div", "z d"),
            ],
            {"one": scalar(1)},
            Z * sigmoid(Z),
        ),
        (
            "mish",
            [
                node("Exp", "z", "e"),
                node("Add", "e one", "a"),
                node("Log", "a", "l"),
                node("Tanh", "l", "t"),
                node("Mul", "t z"),
            ],
            {"one": scalar(1)},
            Z * np.tanh(softplus(Z)),
        ),
        (
            "softplus",
            [node("Exp", "z", "e"), node("Add", "e one", "a"), node("Log", "a")],
            {"one": scalar(1)},
            softplus(Z),
        ),
        ("tanh", [node("Dropout", "z", "d"), node("Tanh", "d")], {}, np.tanh(Z)),
        (
            "softplus",
            [
                node("Softplus", "z", "s"),
                node("Greater", "z t", "g"),
                node("Where", "g z s"),
            ],
            {"t": scalar(20)},
            softplus(Z),
        ),
    ],
)
def test_activations(name, nodes, constants, expected):
    net = assert_predicts(after_dense(*nodes, **constants), expected, loss="mse")
    assert net.plan.layers[-1].activation == (
        name if name != LeakyReLU() else "leaky_relu"
    )


def test_gelu_tanh_with_x_factored_out():
    nodes = [
        node("Mul", "z z", "q"),
        node("Mul", "k q", "c"),
        node("Add", "c one", "a"),
        node("Mul", "z a", "p"),
        node("Mul", "p r", "u"),
        node("Tanh", "u", "t"),
        node("Add", "one t", "g"),
        node("Mul", "g half", "h"),
        node("Mul", "h z"),
    ]
    constants = {"r": scalar(0.7978845608), "one": scalar(1), "half": scalar(0.5)}
    u = 0.7978845608 * np.float64(Z) * (1 + 0.044715 * np.float64(Z) ** 2)
    model = after_dense(*nodes, k=scalar(0.044715), **constants)
    net = assert_predicts(model, Z / 2 * (1 + np.tanh(u)))
    assert net.plan.layers[0].activation == "gelu_tanh"


@pytest.mark.parametrize("order", ["half first", "half last", "twice", "erf first"])
def test_gelu_in_any_order(order):
    from math import erf

    first = [node("Div", "z r", "u"), node("Erf", "u", "e"), node("Add", "one e", "a")]
    rest = {
        "half first": [node("Mul", "z half", "h"), node("Mul", "h a")],
        "half last": [node("Mul", "a z", "h"), node("Mul", "h half")],
        "twice": [node("Mul", "a z")],
        "erf first": [node("Mul", "a half", "h"), node("Mul", "h z")],
    }[order]
    constants = {"r": scalar(2**0.5), "half": scalar(0.5), "one": scalar(1)}
    expected = Z / 2 * (1 + np.vectorize(erf)(np.float64(Z) / 2**0.5))
    factor = 2 if order == "twice" else 1
    net = assert_predicts(after_dense(*first, *rest, **constants), factor * expected)
    assert net.plan.layers[0].activation == "gelu"


def test_almost_gelu_is_refused():
    """Other constants make another function."""
    nodes = [
        node("Mul", "z z", "q"),
        node("Mul", "q z", "c"),
        node("Mul", "c k", "k3"),
        node("Add", "z k3", "a"),
        node("Mul", "a r", "u"),
        node("Tanh", "u", "t"),
        node("Add", "t one", "g"),
        node("Mul", "z g", "h"),
        node("Mul", "h half"),
    ]
    constants = {"r": scalar(0.7978845608), "one": scalar(1), "half": scalar(0.5)}
    net = from_onnx(after_dense(*nodes, k=scalar(0.044715), **constants))
    assert net.plan.layers[0].activation == "gelu_tanh"
    with pytest.raises(ModelFormatError, match="not supported"):
        from_onnx(after_dense(*nodes, k=scalar(0.0448), **constants))
    nodes = [node("Mul", "z c", "u"), node("Sigmoid", "u", "s"), node("Mul", "z s")]
    with pytest.raises(
        ModelFormatError, match=r"node 'u' \(Mul\), node 's' \(Sigmoid\)"
    ):
        from_onnx(after_dense(*nodes, c=scalar(1.702)))


@pytest.mark.parametrize("axes", ["attribute", "input"])
def test_layer_norm(axes):
    scale, shift = RNG.normal(size=(2, 3)).astype("float32")
    mean, deviation = Z.mean(1, keepdims=True), Z.std(1, keepdims=True)
    expected = scale * (Z - mean) / np.sqrt(deviation**2 + 1e-3) + shift
    extra, options, opset = (
        (" axes", {}, 18) if axes == "input" else ("", {"axes": [-1]}, 13)
    )
    nodes = [
        node("ReduceMean", f"z{extra}", "m", **options),
        node("Sub", "z m", "d"),
        node("Pow", "d two", "q"),
        node("ReduceMean", f"q{extra}", "v", **options),
        node("Add", "v eps", "w"),
        node("Sqrt", "w", "r"),
        node("Div", "d r", "n"),
        node("Mul", "n scale", "s"),
        node("Add", "s shift"),
    ]
    constants = {"two": scalar(2), "eps": scalar(1e-3), "scale": scale, "shift": shift}
    if extra:
        constants["axes"] = np.array([-1])
    net = assert_predicts(after_dense(*nodes, opset=opset, **constants), expected)
    assert net.plan.layers[1].epsilon == pytest.approx(1e-3)
    operator = node("LayerNormalization", "z scale shift", epsilon=1e-3)
    assert_predicts(after_dense(operator, opset=17, **constants), expected)


def test_batch_norm():
    scale, shift, mean = RNG.normal(size=(3, 3)).astype("float32")
    variance = RNG.random(3).astype("float32")
    nodes = [node("BatchNormalization", "z s t m v", epsilon=1e-3, momentum=0.8)]
    net = assert_predicts(
        after_dense(*nodes, s=scale, t=shift, m=mean, v=variance),
        scale * (Z - mean) / np.sqrt(variance + 1e-3) + shift,
    )
    layer = net.plan.layers[1]
    assert (layer.name, layer.epsilon) == ("batch_norm", 1e-3)
    assert layer.momentum == pytest.approx(0.2)


# --- endings --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op_type", "loss", "values"),
    [
        (
            "Softmax",
            "softmax_cross_entropy",
            np.exp(Z) / np.exp(Z).sum(1, keepdims=True),
        ),
        ("Sigmoid", "binary_cross_entropy", sigmoid(Z)),
        ("Exp", "poisson", np.exp(Z)),
        ("Tanh", "mse", np.tanh(Z)),
    ],
)
def test_endings(op_type, loss, values):
    net = assert_predicts(after_dense(node(op_type, "z")), values)
    assert net.plan.loss.name == loss


def test_log_softmax_and_raw_outputs():
    net = from_onnx(after_dense(node("LogSoftmax", "z", axis=1)))
    assert net.plan.loss.name == "softmax_cross_entropy"
    assert relative_distance(net.decision_function(X), Z) < 1e-6
    raw = make([node("Gemm", "x W b")], ARRAYS)
    assert from_onnx(raw).plan.loss.name == "mse"
    net = from_onnx(raw, loss="softmax_cross_entropy")
    assert relative_distance(net.decision_function(X), Z) < 1e-6


def test_the_output_of_values_is_taken():
    nodes = [DENSE, node("Softmax", "z", "p"), node("ArgMax", "p", "label", axis=1)]
    kinds = [TensorProto.INT64, TensorProto.FLOAT]
    model = make(nodes, ARRAYS, ("label", "p"), kinds=kinds)
    assert from_onnx(model).plan.loss.name == "softmax_cross_entropy"
    both = make([DENSE, node("Softmax", "z", "p")], ARRAYS, ("z", "p"))
    with pytest.raises(ModelFormatError, match=r"outputs \['z', 'p'\]; expected one"):
        from_onnx(both)
    assert from_onnx(both, output="z").plan.loss.name == "mse"


@pytest.mark.parametrize("zipmap", [False, True])
def test_two_classes_as_skl2onnx_writes_them(zipmap):
    """Cast, MatMul + Add, the columns 1 - p and p, labels looked up, dicts."""
    nodes = [
        node("Cast", "x", "c", to=1),
        node("MatMul", "c W", "m"),
        node("Add", "m b", "z"),
        node("Relu", "z", "r"),
        node("MatMul", "r V", "k"),
        node("Add", "k a", "o"),
        node("Sigmoid", "o", "p"),
        node("Sub", "one p", "q"),
        node("Concat", "q p", "both", axis=1),
        node("ArgMax", "both", "i", axis=1),
        node("ArrayFeatureExtractor", "classes i", "e", domain="ai.onnx.ml"),
        node("Cast", "e", "label", to=7),
        node("ZipMap", "both", "dicts", domain="ai.onnx.ml", classlabels_int64s=[3, 7]),
    ]
    V = RNG.normal(size=(3, 1)).astype("float32")
    arrays = {
        **ARRAYS,
        "b": B[None],
        "V": V,
        "a": scalar([[0.5]]),
        "one": scalar(1),
        "classes": np.array([3, 7]),
    }
    name = "dicts" if zipmap else "both"
    model = make(nodes, arrays, ("label", name), kinds=[TensorProto.INT64, 0])
    if not zipmap:
        model.graph.output[1].type.tensor_type.elem_type = TensorProto.FLOAT
    net = assert_predicts(model, sigmoid(np.maximum(Z, 0) @ V + 0.5))
    assert net.plan.loss.name == "binary_cross_entropy"


# --- what cannot be taken -------------------------------------------------------------


def broken(edit):
    model = make([node("Gemm", "x W b")], ARRAYS)
    edit(model)
    return model


def external(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def huge(model):
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([2**24, 2**24])


def negative(model):
    model.graph.initializer[0].dims[0] = -1


def short_data(model):
    model.graph.initializer[0].raw_data = b"1234"


def infinite(model):
    model.graph.initializer[0].raw_data = np.full((4, 3), np.inf, "f4").tobytes()


def text(model):
    model.graph.initializer[0].CopyFrom(
        helper.make_tensor("W", TensorProto.STRING, [1], [b"a"])
    )


def sparse(model):
    model.graph.sparse_initializer.add()


def functions(model):
    model.functions.add(name="Gemm")


def old(model):
    model.opset_import[0].version = 6


def no_opset(model):
    del model.opset_import[:]


def two_inputs(model):
    model.graph.input.add().CopyFrom(model.graph.input[0])
    model.graph.input[1].name = "x2"


def other_domain(model):
    model.graph.node[0].domain = "com.example"


def undefined(model):
    model.graph.node[0].input[0] = "nothing"


def weights_from_nowhere(model):
    model.graph.node[0].input[1] = "x"


def no_output(model):
    model.graph.output[0].name = "W"


def twice(model):
    model.graph.node.add().CopyFrom(model.graph.node[0])


def too_wide(model):
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 5


def many_nodes(model):
    for _ in range(100_001):
        model.graph.node.add()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (external, "tensor 'W' is in another file"),
        (huge, "tensor 'W' of shape .16777216, 16777216. has 48 bytes"),
        (negative, "tensor 'W' has shape"),
        (short_data, r"tensor 'W' of shape \[4, 3\] has 4 bytes; expected 48"),
        (infinite, "W of weights.0. is inf"),
        (text, "tensor 'W' has data type 8"),
        (sparse, "sparse tensors"),
        (functions, "defines functions"),
        (old, r"opset \[6\]; expected 7 or later"),
        (no_opset, "opset unknown"),
        (two_inputs, r"inputs \['x', 'x2'\]; expected one"),
        (other_domain, r"node 'y' \(Gemm\): not supported"),
        (undefined, r"node 'y' \(Gemm\) uses 'nothing', which nothing makes"),
        (weights_from_nowhere, r"node 'y' \(Gemm\): not supported"),
        (no_output, "output 'W' does not depend on the input"),
        (twice, "makes 'y', which exists"),
        (too_wide, "expects 4 columns, but is given 5"),
        (many_nodes, "100002 nodes; expected at most 100000"),
    ],
)
def test_damaged_and_hostile_models(edit, message):
    with pytest.raises(ModelFormatError, match=message):
        from_onnx(broken(edit))


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        ([node("Conv", "z k")], {"k": W}, r"node 'y' \(Conv\): not supported, .* Gemm"),
        ([node("MatMul", "V z")], {"V": W.T.copy()}, r"node 'y' \(MatMul\): not supp"),
        ([node("PRelu", "b z")], {}, r"node 'y' \(PRelu\): not supported"),
        ([node("Gemm", "z V", transA=1)], {"V": W.T.copy()}, "transA is set"),
        (
            [helper.make_node("Dropout", ["z"], ["d", "mask"]), node("Relu", "mask")],
            {},
            r"node 'y' \(Relu\) uses 'mask', which nothing makes",
        ),
        ([node("HardSigmoid", "z")], {}, r"node 'y' \(HardSigmoid\): not supported"),
        ([node("Add", "z z")], {}, r"node 'y' \(Add\): not supported"),
        (
            [
                node("Softplus", "z", "s"),
                node("Greater", "z t", "g"),
                node("Where", "g z s"),
            ],
            {"t": scalar(1)},
            r"'y' \(Where\): not supported",
        ),
        (
            [node("Clip", "z zero six")],
            {"zero": scalar(0), "six": scalar(6)},
            "clips to",
        ),
        ([node("PRelu", "z p")], {"p": B}, "one number for all columns"),
        ([node("Softmax", "z", axis=0)], {}, "axis is 0; expected 1 or -1"),
        ([node("Selu", "z", alpha=1.0)], {}, "alpha is not 1.67"),
        ([node("Elu", "z", alpha=-1.0)], {}, "alpha must be"),
        ([node("Cast", "z", to=7)], {}, "casts to other than floating-point"),
        ([node("Flatten", "z", axis=0)], {}, "axis is 0; expected 1"),
        ([node("Reshape", "z s")], {"s": np.array([-1, 1])}, r"reshapes to \[-1, 1\]"),
        (
            [node("Add", "z c")],
            {"c": RNG.normal(size=4).astype("f4")},
            "expects 4 columns",
        ),
        (
            [node("Add", "z c")],
            {"c": RNG.normal(size=(3, 1)).astype("f4")},
            "one value per",
        ),
        (
            [node("LogSoftmax", "z", "l"), node("Relu", "l")],
            {},
            r"node 'y' .Relu.: not supported",
        ),
        (
            [node("BatchNormalization", "z b b b b", training_mode=1)],
            {},
            "training mode",
        ),
        (
            [node("BatchNormalization", "z b b b n")],
            {"n": -np.ones(3, "f4")},
            "negative",
        ),
        (
            [node("ReduceMean", "z", "m", axes=[1]), node("Sub", "z m")],
            {},
            r"node 'm' .ReduceMean., node 'y' .Sub.: not",
        ),
        (
            [node("Exp", "z", "e"), node("Gemm", "e V")],
            {"V": W.T.copy()},
            r"node 'e' .Exp.: not supp",
        ),
    ],
)
def test_unsupported_nodes_are_named(nodes, constants, message):
    with pytest.raises(ModelFormatError, match=message):
        from_onnx(after_dense(*nodes, **constants))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("n", [30, 300])
def test_what_grows_exponentially_is_refused_at_once(n):
    """Two nodes double the size of the expression, written out."""
    nodes = [node("Exp", "z", "e0")]
    for i in range(n):
        a, b = f"a{i}", f"e{i + 1}"
        nodes += [node("Exp", f"e{i}", a), node("Add", f"e{i} {a}", b)]
    nodes += [node("Mul", f"e{n} z")]
    with pytest.raises(ModelFormatError, match="not supported, alone or together"):
        from_onnx(after_dense(*nodes))


def test_one_tensor_used_by_very_many_layers_is_refused():
    big = np.zeros((500, 500), "f4")
    nodes = [
        node("Gemm", f"{'x' if not i else f'z{i}'} W", f"z{i + 1}") for i in range(300)
    ]
    nodes += [node("Identity", "z300")]
    with pytest.raises(ModelFormatError, match="too many times"):
        from_onnx(make(nodes, {"W": big}, n_inputs=500))


def test_no_bit_flip_or_truncation_gets_out_of_hand():
    """ModelFormatError or a network, and nothing else."""
    scale = np.ones(3, "f4")
    nodes = [
        DENSE,
        node("BatchNormalization", "z s s s s", "n"),
        node("LeakyRelu", "n", "a", alpha=0.1),
        node("Gemm", "a V", transB=1),
    ]
    V = np.ascontiguousarray(W[:2])
    data = make(nodes, {**ARRAYS, "s": scale, "V": V}).SerializeToString()
    taken = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for bit in range(8 * len(data)):
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            try:
                from_onnx(bytes(damaged))
                taken += 1
            except ModelFormatError:
                pass
        for n in range(len(data)):
            with contextlib.suppress(ModelFormatError):
                from_onnx(data[:n])
    assert 0 < taken < 8 * len(data)
    with pytest.raises(ModelFormatError):
        from_onnx(b"no model at all")


# --- PyTorch's exporter ---------------------------------------------------------------


@pytest.mark.parametrize("opset", [11, 13, 17, 20])
def test_what_pytorch_exports(opset, torch):
    nn = torch.nn
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Flatten(),
        nn.Linear(6, 5),
        nn.GELU(),
        nn.Linear(5, 7),
        nn.GELU(approximate="tanh"),
        nn.BatchNorm1d(7),
        nn.SiLU(),
        nn.Dropout(0.2),
        nn.Linear(7, 5),
        nn.LayerNorm(5),
        nn.Mish(),
        nn.Linear(5, 5, bias=False),
        nn.Softplus(),
        nn.Linear(5, 5),
        nn.ELU(1.5),
        nn.SELU(),
        nn.LeakyReLU(0.2),
        nn.Linear(5, 3),
        nn.Softmax(dim=1),
    ).eval()
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no other package
        torch.onnx.export(
            module,
            (torch.zeros(1, 2, 3),),
            file,
            dynamo=False,
            opset_version=opset,
            input_names=["x"],
            dynamic_axes={"x": {0: "rows"}},
        )
    net = from_onnx(file.getvalue())
    X = torch.randn(100, 2, 3)
    expected = module(X).detach().numpy()
    found = net.predict_proba(X.reshape(100, 6).numpy())
    assert relative_distance(found, expected) < 1e-6
    assert net.plan.loss.name == "softmax_cross_entropy"


# --- rows that are not flat -----------------------------------------------------------

W6 = RNG.normal(size=(6, 3)).astype("float32")


def of_shape(shape, nodes, constants=()):
    model = make(nodes, {"W": W6, "b": B, **dict(constants)}, opset=17)
    del model.graph.input[0].type.tensor_type.shape.dim[:]
    for each in shape:
        dim = model.graph.input[0].type.tensor_type.shape.dim.add()
        if isinstance(each, int):
            dim.dim_value = each
        else:
            dim.dim_param = each
    return model


FLATTEN = [node("Flatten", "f", "r"), node("Gemm", "r W b")]


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Softmax", "x", "f", axis=-1)],
        [node("Softmax", "x", "f", axis=1)],
        [node("LogSoftmax", "x", "f", axis=-1)],
        [node("LayerNormalization", "x l", "f")],
        [node("ReduceMean", "x", "m", axes=[1]), node("Sub", "x m", "f")],
        [node("BatchNormalization", "x s s s s", "f")],
        [node("MatMul", "x E", "f")],
        [node("Mul", "x l", "f")],
        [node("Add", "x five", "f")],
        [node("Relu", "x", "e"), node("Softmax", "e", "f", axis=-1)],
    ],
)
def test_what_sees_rows_that_are_not_flat_is_refused(nodes):
    arrays = {
        "l": np.ones(3, "f4"),
        "s": np.ones(2, "f4"),
        "E": np.eye(3, dtype="f4"),
        "five": np.ones((1, 1, 1, 1, 1), "f4"),
    }
    for shape in (["n", 2, 3], ["n", "a", "b"]):
        model = of_shape(shape, [*nodes, *FLATTEN], arrays)
        with pytest.raises(
            ModelFormatError, match="3 dimensions; expected 2|not known"
        ):
            from_onnx(model)


def test_single_values_of_rows_that_are_not_flat():
    rows = X[:, :3].repeat(2, axis=1)
    nodes = [
        node("Sub", "x half", "c"),
        node("Cast", "c", "d", to=1),
        node("Tanh", "d", "f"),
    ]
    flat = FLATTEN, [node("Reshape", "f shape", "r"), FLATTEN[1]]
    for end, shape in zip(flat, ([0], [-1, 6]), strict=True):
        arrays = {"half": scalar([[[0.5]]]), "shape": np.array(shape)}
        model = of_shape(["n", 2, 3], [*nodes, *end], arrays)
        found = from_onnx(model).predict(rows)
        assert relative_distance(found, np.tanh(rows - 0.5) @ W6 + B) < 1e-6
    flat[1][0].input[0] = "x"
    arrays = {"shape": np.array([-1, 6])}
    with pytest.raises(ModelFormatError, match=r"reshapes to \[-1, 6\]; expected 0"):
        from_onnx(of_shape(["n", "a", "b"], flat[1], arrays))


# --- small files that ask for much ----------------------------------------------------


@pytest.mark.parametrize(
    ("n_inputs", "message"),
    [
        (2**24, "more columns than its weights let expect"),
        (2**28, "268435456 columns; expected at most 16777216"),
        (2**40, "1099511627776 columns"),
    ],
)
@pytest.mark.parametrize("op_type", ["Relu", "Add"])
def test_a_small_file_takes_little_memory(n_inputs, message, op_type):
    names = {"Relu": "x", "Add": "x one"}
    nodes = [node(op_type, names[op_type], "u"), node("Relu", "u")]
    model = make(nodes, {"one": scalar(3)}, n_inputs=n_inputs, opset=17)
    tracemalloc.start()
    try:
        with pytest.raises(ModelFormatError, match=message):
            from_onnx(model)
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


def test_very_many_stand_ins_for_layers_are_refused():
    nodes = [node("Relu", f"r{i - 1}" if i else "z", f"r{i}") for i in range(2000)]
    model = make(
        [DENSE, *nodes, node("Identity", "r1999")],
        {"W": np.ones((4, 1000), "f4"), "b": np.ones(1000, "f4")},
    )
    with pytest.raises(ModelFormatError, match="too many times, or has more columns"):
        from_onnx(model)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("n", [40, 900])
def test_shapes_made_of_shapes_are_refused(n):
    nodes = [node("Reshape", f"r{i} r{i}", f"r{i + 1}") for i in range(n)]
    nodes += [node("Reshape", f"W r{n}", "V"), node("Gemm", "x V b")]
    with pytest.raises(ModelFormatError, match="its shape 'r.*' is no given constant"):
        from_onnx(make(nodes, {**ARRAYS, "r0": np.array([1])}))
    given = helper.make_node(
        "Constant", [], ["s"], value=numpy_helper.from_array(np.array([4, 3]))
    )
    nodes = [given, node("Reshape", "W s", "V"), node("Gemm", "x V b")]
    assert_predicts(make(nodes, {**ARRAYS, "W": W.ravel()}), Z)


def test_a_first_input_that_is_left_out_is_refused():
    left_out = helper.make_node("Transpose", [""], ["V"])
    with pytest.raises(ModelFormatError, match=r"'V' \(Transpose\): its first input"):
        from_onnx(make([left_out, node("Gemm", "x V b")], ARRAYS))


def test_dropout_of_training_and_reshapes_to_nothing_are_refused():
    for training, is_refused in ((True, True), (False, False)):
        nodes = [node("Dropout", "z ratio training", "d"), node("Relu", "d")]
        constants = {"ratio": scalar(0.5), "training": np.array(training)}
        model = after_dense(*nodes, **constants)
        if is_refused:
            with pytest.raises(ModelFormatError, match="Dropout.: it is in training"):
                from_onnx(model)
        else:
            assert_predicts(model, np.maximum(Z, 0))
    reshape = node("Reshape", "z s", "r", allowzero=1)
    with pytest.raises(ModelFormatError, match="expected allowzero=0"):
        from_onnx(after_dense(reshape, node("Relu", "r"), s=np.array([0, -1])))
    nodes = [node("Reshape", "W s", "V", allowzero=1), node("Gemm", "x V b")]
    with pytest.raises(ModelFormatError, match="without values"):
        from_onnx(make(nodes, {**ARRAYS, "s": np.array([0, 3])}))


def test_a_reshape_to_very_many_columns_takes_little_memory():
    model = make([node("Reshape", "x s", "r"), node("Relu", "r")], {"s": [-1, 2**40]})
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ModelFormatError, match="more columns than its weights let"):
        from_onnx(model)
