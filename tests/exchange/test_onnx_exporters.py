"""ONNX files as today's exporters write them: data beside the file, shapes."""

import os
from pathlib import Path

import numpy as np
import pytest
from engines import relative_distance

from fastnn import ModelFormatError, Network

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, numpy_helper, parser  # noqa: E402

from fastnn.onnx import from_onnx  # noqa: E402

RNG = np.random.default_rng(0)
ARRAYS = {
    "W": RNG.normal(size=(6, 3)).astype("f4"),
    "b": RNG.normal(size=3).astype("f4"),
    "V": RNG.normal(size=(3, 1)).astype("f4"),
}
ROWS = RNG.normal(size=(20, 6)).astype("f4")
Z = ROWS @ ARRAYS["W"] + ARRAYS["b"]


def make(nodes, shape="[N,6]", **arrays):
    """A model of nodes in the notation of `onnx.parser`, from x to y."""
    text = f"""<ir_version: 8, opset_import: ["" : 18, "ai.onnx.ml" : 1]>
    g (float{shape} x) => (float[] y) {{ {nodes} }}"""
    model = parser.parse_model(text)
    for name, array in {**ARRAYS, **arrays}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(array), name))
    return model


def assert_predicts(model, expected):
    net = from_onnx(model)
    assert relative_distance(net.predict_proba(ROWS), expected) < 1e-6
    return net


# --- shapes ---------------------------------------------------------------------------

DENSE = " y = Gemm (r, W, b)"
SHAPE_OF_ROWS = """
    s = Shape (x)
    zero = Constant <value = int64 {0}> ()
    n = Gather <axis = 0> (s, zero)
    axes = Constant <value_ints = [0]> ()
    u = Unsqueeze (n, axes)
"""


@pytest.mark.parametrize(
    ("shape", "nodes", "to"),
    [
        ("[1,2,3]", f"r = Reshape (x, to) {DENSE}", [1, 6]),
        ("[1,2,3]", f"r = Reshape <allowzero = 1> (x, to) {DENSE}", [1, -1]),
        ("[4,2,3]", f"r = Reshape (x, to) {DENSE}", [4, 6]),
        ("[4,2,3]", f"r = Reshape (x, to) {DENSE}", [-1, 6]),
        ("[1,6]", f"r = Identity (x) {DENSE}", [0]),
        ("[1,6]", f"q = Reshape (x, to) r = Flatten (q) {DENSE}", [1, 1, 2, 3]),
        ("[N,6]", f"q = Reshape (x, to) r = Flatten (q) {DENSE}", [0, 2, -1]),
        ("[N,1,6]", f"q = Reshape (x, to) r = Flatten (q) {DENSE}", [0, 3, 2]),
        ("[N,2,3]", f"{SHAPE_OF_ROWS} c = Concat <axis = 0> (u, to)"
         f" r = Reshape (x, c) {DENSE}", [-1]),
        ("[N,2,3]", "s = Shape <start = 0, end = 1> (x) c = Concat <axis = 0> (s, to)"
         f" r = Reshape (x, c) {DENSE}", [6]),
    ],
)  # fmt: skip
def test_rows_are_made_flat_in_many_ways(shape, nodes, to):
    model = make(nodes, shape, to=np.array(to))
    net = assert_predicts(model, Z)
    assert net.plan.n_inputs == 6


def test_the_shape_may_be_asked_for_before_other_layers():
    nodes = f"""{SHAPE_OF_ROWS} r = Flatten (x) h = Gemm (r, W, b)
        c = Concat <axis = 0> (u, to) y = Reshape (h, c)"""
    assert_predicts(make(nodes, "[N,2,3]", to=np.array([3])), Z)


@pytest.mark.parametrize(
    "end",
    [
        "y = Squeeze (k, to)",
        "y = Reshape (k, to)",
    ],
)
def test_a_single_column_may_be_squeezed_at_the_end(end):
    nodes = f"h = Gemm (x, W, b) k = MatMul (h, V) {end}"
    net = assert_predicts(make(nodes, to=np.array([-1])), Z @ ARRAYS["V"])
    assert net.plan.n_outputs == 1


@pytest.mark.parametrize(
    ("shape", "nodes", "to", "message"),
    [
        ("[1,2,3]", f"r = Reshape (x, to) {DENSE}", [2, 3], r"reshapes to \[2, 3\]"),
        ("[4,6]", f"r = Reshape (x, to) {DENSE}", [-1, 12], r"reshapes to \[-1, 12\]"),
        ("[N,6]", f"r = Reshape (x, to) {DENSE}", [1, 6], r"reshapes to \[1, 6\]"),
        ("[N,6]", f"q = Reshape (x, to) r = Flatten (q) {DENSE}", [0, 4, 2], "rows of"),
        ("[N,6]", f"q = Reshape (x, to) r = Softmax (q) {DENSE}", [0, 2, 3],
         "3 dimensions; expected 2"),
        ("[N,6]", "k = MatMul (x, W) y = Squeeze (k, to)", [1], "a single column"),
        ("[N,2,3]", f"s = Shape (x) t = Mul (s, to) r = Reshape (x, t) {DENSE}", [1],
         "its shape is made by"),
        ("[N,2,3]", f"s = Shape (x) t = Gather (s, to) r = Reshape (x, t) {DENSE}", [7],
         "out of range"),
        ("[N,a,3]", f"s = Shape (x) r = Reshape (x, s) {DENSE}", [1], "expected rows"),
        ("[N,6]", f"r = Add (x, s) s = Shape (x) {DENSE}", [1], "nothing makes"),
        ("[N,6]", f"s = Shape (x) f = Cast <to = 1> (s) r = Add (x, f) {DENSE}", [1],
         "makes a constant"),
    ],
)  # fmt: skip
def test_other_shapes_are_refused(shape, nodes, to, message):
    with pytest.raises(ModelFormatError, match=message):
        from_onnx(make(nodes, shape, to=np.array(to)))


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("n", "step"), [(60, "Concat <axis=0> (s{0}, s{0})"), (2000, "Identity (s{0})")]
)
def test_shapes_that_grow_are_refused(n, step):
    steps = " ".join(f"s{i + 1} = {step.format(i)}" for i in range(n))
    nodes = f"s0 = Shape <start = 2> (x) {steps} r = Reshape (x, s{n}) {DENSE}"
    with pytest.raises(ModelFormatError, match="made of too many others"):
        from_onnx(make(nodes))


# --- scalers of ai.onnx.ml ------------------------------------------------------------


@pytest.mark.parametrize("offset", [[0.5] * 6, [*range(0, 6000, 1000)], [0.25]])
@pytest.mark.parametrize("scale", [[0.5, 1, 2, 0.5, 3, 1], [0.5]])
def test_scalers(offset, scale):
    nodes = f"""i = ai.onnx.ml.Imputer <imputed_value_floats = [1.0],
                replaced_value_float = %s> (x)
        r = ai.onnx.ml.Scaler <offset = {[*map(float, offset)]},
                               scale = {[*map(float, scale)]}> (i) {DENSE}"""
    model = make(nodes % "0.5")
    model.graph.node[0].attribute[1].f = np.nan
    X = np.float64(ROWS + np.float32(offset))
    expected = (X - offset) * scale @ ARRAYS["W"] + ARRAYS["b"]
    found = from_onnx(model).predict_proba(X.astype("f4"))
    assert relative_distance(found, expected) < 1e-6
    with pytest.raises(ModelFormatError, match=r"Imputer.: replaces a number"):
        from_onnx(make(nodes % "0.5"))


def test_operators_of_other_domains_are_others():
    model = make(f"r = Scaler <offset = [0.0], scale = [1.0]> (x) {DENSE}")
    with pytest.raises(ModelFormatError, match=r"Scaler.: not supported"):
        from_onnx(model)


@pytest.mark.parametrize("end", [
    "m = Max (r, low, high) y = Min (m, high)",
    "m = Max (r, low) y = Min (r, high, m)",
    "m = foo.Max (r, low) y = Min (m, high)",
])  # fmt: skip
def test_other_ends_than_a_range_are_refused(end):
    low, high = np.zeros(3, "f4"), np.ones(3, "f4")
    nodes = f"r = Gemm (x, W, b) {end}"
    with pytest.raises(ModelFormatError):
        from_onnx(make(nodes, low=low, high=high))
    net = from_onnx(
        make(
            "r = Gemm (x, W, b) m = Max (r, low) y = Min (m, high)", low=low, high=high
        )
    )
    assert relative_distance(net.predict(ROWS), Z.clip(0, 1)) < 1e-6


@pytest.mark.parametrize("to", [[-2, 6], [-1.0, 6.0], [-1.0, np.inf]])
def test_shapes_of_other_numbers_are_refused(to):
    with pytest.raises(ModelFormatError, match="its shape 'to' is"):
        from_onnx(make(f"r = Reshape (x, to) {DENSE}", to=np.array(to)))


# --- data beside the file -------------------------------------------------------------


def save(folder, **entries):
    """A model whose W is in "m.data", from byte 8 on; entries replace what is said."""
    model = make("y = Gemm (x, W, b)")
    tensor = model.graph.initializer[0]
    data, tensor.raw_data = tensor.raw_data, b""
    tensor.ClearField("raw_data")
    (folder / "m.data").write_bytes(b"12345678" + data)
    tensor.data_location = TensorProto.EXTERNAL
    said = {"location": "m.data", "offset": "8", "length": str(len(data)), **entries}
    for key, value in said.items():
        if value is not None:
            tensor.external_data.add(key=key, value=value)
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_tensors_beside_the_file_are_read(tmp_path, monkeypatch):
    for entries in ({}, {"length": None}):
        path = save(tmp_path, **entries)
        assert_predicts(path, Z)
        assert_predicts(str(path), Z)
    monkeypatch.chdir(tmp_path)
    assert_predicts("m.onnx", Z)
    (tmp_path / "below").mkdir()
    os.replace("m.data", "below/w.bin")
    path = save(tmp_path, location="below/w.bin")
    (tmp_path / "m.data").unlink()
    assert_predicts(path, Z)
    (tmp_path / "link").symlink_to("below/w.bin")  # which stays within
    assert_predicts(save(tmp_path, location="link"), Z)
    path = save(tmp_path)
    assert_predicts(onnx.load(path), Z)  # onnx reads both
    alone = onnx.load(path, load_external_data=False)
    for model in (alone, path.read_bytes()):
        with pytest.raises(ModelFormatError, match="expected the path of the model"):
            from_onnx(model)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "/etc/passwd"}, "'/etc/passwd'; expected a file in the folder"),
        ({"location": "../m.data"}, "expected a file in the folder"),
        ({"location": "below/../m.data"}, "expected a file in the folder"),
        ({"location": "..\\m.data"}, "expected a file in the folder"),
        ({"location": "m.data\0"}, "expected a file in the folder"),
        ({"location": ""}, "expected a file in the folder"),
        ({"location": None}, "expected a file in the folder"),
        ({"location": "out"}, "a link that leads out of the folder"),
        ({"location": "outside/secret"}, "a link that leads out of the folder"),
        ({"location": "pipe"}, "not a regular file"),
        ({"location": "."}, "not a regular file"),
        ({"offset": "9"}, "is 72 bytes from byte 9 on of 'm.data', which has 80"),
        ({"offset": "-8"}, "has the offset '-8'; expected a number"),
        ({"offset": "9" * 30}, "has the offset .*; expected a number"),
        ({"length": "71"}, "has 71 bytes in its file; expected 72"),
        ({"length": "all"}, "has the length 'all'"),
    ],
)
@pytest.mark.timeout(60)
def test_files_that_are_none_of_the_models_are_refused(entries, message, tmp_path):
    folder, outside = tmp_path / "in", tmp_path / "secrets"
    folder.mkdir()
    outside.mkdir()
    (outside / "secret").write_bytes(b"0" * 100)
    (folder / "out").symlink_to(outside / "secret")
    (folder / "outside").symlink_to(outside)
    os.mkfifo(folder / "pipe")
    path = save(folder, **entries)
    (tmp_path / "m.data").write_bytes(b"0" * 100)
    with pytest.raises(ModelFormatError, match=rf"m\.onnx: tensor 'W' .*{message}"):
        from_onnx(path)


@pytest.mark.parametrize("location", [TensorProto.DEFAULT, TensorProto.EXTERNAL])
def test_data_in_two_places_are_refused(location, tmp_path):
    path = save(tmp_path)
    model = onnx.load(path, load_external_data=False)
    tensor = model.graph.initializer[0]
    tensor.raw_data, tensor.data_location = b"12345678" * 6, location
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFormatError, match="in two places, or in none"):
        from_onnx(path)


def test_a_length_is_not_needed_and_a_huge_tensor_is_refused(tmp_path):
    assert from_onnx(save(tmp_path, length=None)).layers
    path = save(tmp_path, length=None)
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].dims[:] = [2**24, 2**24, 2**24]
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFormatError):
        from_onnx(path)


def test_a_file_that_is_absent_is_named(tmp_path):
    path = save(tmp_path)
    (tmp_path / "m.data").unlink()
    with pytest.raises(FileNotFoundError, match=r"m\.data"):
        from_onnx(path)


def test_one_file_used_by_very_many_tensors_is_refused(tmp_path):
    path = save(tmp_path)
    model = onnx.load(path, load_external_data=False)
    (tmp_path / "m.data").write_bytes(bytes(4 * 1000 * 1000))
    del model.graph.node[:]
    names = ["x", *(f"z{i}" for i in range(30)), "y"]
    for i in range(len(names) - 1):
        node = onnx.helper.make_node("MatMul", [names[i], f"W{i}"], [names[i + 1]])
        model.graph.node.append(node)
        tensor = model.graph.initializer.add()
        tensor.CopyFrom(model.graph.initializer[0])
        tensor.name, tensor.dims[:] = f"W{i}", [1000, 1000]
        tensor.external_data[1].value, tensor.external_data[2].value = "0", "4000000"
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1000
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFormatError, match="uses its tensors too many times"):
        from_onnx(path)


# --- PyTorch --------------------------------------------------------------------------


def modules(torch):
    """Modules, the shape of a row, and whether the batch is to be of any size."""
    nn = torch.nn
    yield (
        nn.Sequential(
            nn.Flatten(),
            nn.Linear(6, 40),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(40, 7),
            nn.BatchNorm1d(7),
            nn.Tanh(),
            nn.Linear(7, 3, bias=False),
            nn.Softmax(dim=-1),
        ),
        (2, 3),
        False,
    )
    layers = [nn.Linear(6, 9)]
    for activation in (
        nn.GELU(),
        nn.GELU(approximate="tanh"),
        nn.SiLU(),
        nn.Mish(),
        nn.Softplus(),
        nn.ELU(1.5),
        nn.SELU(),
        nn.LeakyReLU(0.2),
        nn.LayerNorm(9),
    ):
        layers += [activation, nn.Linear(9, 9)]
    yield nn.Sequential(*layers, nn.Sigmoid()), (6,), True

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(6, 9), nn.Linear(9, 3)
            self.weight = nn.Parameter(self.first.weight.detach().T.clone())

        def forward(self, x):
            x = x.view(x.size(0), -1)
            h = (x @ self.weight + self.first.bias).relu()
            return self.last(h).log_softmax(dim=1).view(-1, 3)

    yield Own(), (3, 2), True


@pytest.mark.timeout(600)  # its first export takes half a minute of CPU time
@pytest.mark.filterwarnings("ignore")
def test_what_todays_pytorch_exports(torch, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript", reason="torch.onnx.export needs onnxscript")
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    path = tmp_path / "m.onnx"
    for module, shape, dynamic in modules(torch):
        options = {"dynamic_shapes": ({0: torch.export.Dim("n")},)} if dynamic else {}
        example = torch.zeros(1 + dynamic, *shape)
        torch.onnx.export(module.eval(), (example,), path, verbose=False, **options)
        assert Path(f"{path}.data").exists()
        net = from_onnx(path)
        X = torch.randn(50, *shape).numpy()
        session = runtime.InferenceSession(path)
        name = session.get_inputs()[0].name
        expected = np.concatenate(
            [
                session.run(None, {name: each})[0]
                for each in np.split(X, 25 if dynamic else 50)
            ]
        )
        found = net.predict_proba(X.reshape(50, -1))
        if expected.min() < 0:  # it ends with LogSoftmax
            found = np.log(found)
        assert relative_distance(found, expected) < 1e-6, module


def test_a_network_of_pytorch_is_classified(tmp_path):
    net = Network.from_onnx(save(tmp_path), loss="softmax_cross_entropy")
    assert (net.predict(ROWS) == Z.argmax(axis=1)).all()


# --- Keras ----------------------------------------------------------------------------


def test_what_keras_exports():
    """By `keras.Model.export` of 3.15, which is tf2onnx 1.17: all layers but dropout.

    Flatten, dense layers of relu, silu, elu, softplus and softmax, a batch norm.
    """
    runtime = pytest.importorskip("onnxruntime")
    path = Path(__file__).with_name("keras.onnx")
    X = RNG.normal(size=(50, 2, 3)).astype("f4")
    session = runtime.InferenceSession(path)
    expected = session.run(None, {session.get_inputs()[0].name: X})[0]
    net = from_onnx(path)
    assert net.plan.loss.name == "softmax_cross_entropy"
    assert relative_distance(net.predict_proba(X.reshape(50, 6)), expected) < 1e-6
