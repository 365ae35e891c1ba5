"""Networks with embeddings: model files, resumption, ONNX, C; and who refuses them."""

import re
import shutil
import subprocess

import numpy as np
import pytest

import fastnn
from fastnn import (
    Dense,
    Dropout,
    Embedding,
    LeakyReLU,
    Network,
    ParametricActivation,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
)

ALLOWED = {"float32": 1e-6, "float64": 2e-13}

BINS = [[-1.0, -0.3, 0.2, 1.1], [-0.5, 0.5], [-2.0, 0.0, 0.1]]
# Inputs behind the embedded ones, a stage of another kind before it, and none of both.
NETWORKS = {
    "periodic": [6, PeriodicEmbedding(7, 4, columns=4), Dense(9, "mish"), 3],
    "periodic of all": [3, PeriodicEmbedding(2, 2), Dense(5, "tanh"), Dropout(0.5), 3],
    "piecewise linear": [6, PiecewiseLinearEmbedding(BINS, 5), Dense(9, "mish"), 3],
    "piecewise linear of all": [3, PiecewiseLinearEmbedding(BINS), Dense(3)],
    "categories": [5, Embedding([4, 1, 30], 3), Dense(9), ParametricActivation(), 3],
    "categories alone": [2, Embedding([4, 3]), Dense(9, "tanh"), Dense(3)],
    "all": [
        7,
        PeriodicEmbedding(3, 3, columns=2),
        PiecewiseLinearEmbedding(BINS[:1], 2),
        Embedding([5, 3], 2),
        Dense(9),
        ParametricActivation(LeakyReLU(0.3)),
        Dense(3),
    ],
    "parametric": [4, Dense(6), ParametricActivation("gelu"), Dense(3)],
    "parametric alone": [4, ParametricActivation("selu"), Dense(3)],
    "periodic above": [4, Dense(6, "selu"), PeriodicEmbedding(5, 3, 2), Dense(3)],
}


@pytest.fixture(params=NETWORKS)
def layers(request):
    return NETWORKS[request.param]


@pytest.fixture(params=["float32", "float64"])
def net(request, layers):
    scaling = {"input_scale": 0.7, "input_shift": 0.2}
    if any(isinstance(layer, Embedding) for layer in layers):
        scaling = {}
    return trained(layers, dtype=request.param, **scaling)


def rows(layers, n=50):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(n, layers[0]))
    for layer in layers[1:]:
        if isinstance(layer, Embedding):
            counts = layer.counts
            X[:, -len(counts) :] = rng.integers(-1, counts, (n, len(counts)))
    return X, rng.integers(3, size=n)


def trained(layers, **arguments):
    net = Network(layers, optimizer=fastnn.Adam(0.01), seed=2, **arguments)
    net.fit(*rows(layers), epochs=2, batch_size=8, verbose=0)
    return net


def distance(found, expected):
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_a_training_goes_on_from_a_file_to_the_bit(backend, layers, tmp_path):
    whole = trained(layers, backend=backend)
    whole.save(tmp_path / "net.safetensors")
    resumed = Network.load(tmp_path / "net.safetensors", backend=backend)
    for net in (whole, resumed):
        net.fit(*rows(layers), epochs=1, batch_size=8, verbose=0)
    assert resumed.plan == whole.plan
    for pair, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        assert all(map(np.array_equal, pair, other))


def test_onnx_runtime_agrees(net, tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    net.to_onnx(tmp_path / "net.onnx")
    session = runtime.InferenceSession(tmp_path / "net.onnx")
    X = rows([net.plan.n_inputs, *net.plan.layers])[0].astype(net.dtype)
    found = session.run(["probabilities"], {"X": X})[0]
    assert distance(found, net.predict_proba(X)) <= ALLOWED[net.dtype.name]


COMPILERS = list(filter(shutil.which, ["cc", "c++"]))


@pytest.mark.skipif(not COMPILERS, reason="no C compiler")
def test_c_agrees(net, tmp_path):
    net.to_c(tmp_path / "net.h", self_test=True)
    flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wdouble-promotion"]
    for compiler in COMPILERS:
        file, program = tmp_path / "net_test.c", tmp_path / "net_test"
        subprocess.run([compiler, *flags, file, "-o", program, "-lm"], check=True)
        done = subprocess.run([program], capture_output=True, text=True)
        assert re.fullmatch(r"net: 16 rows, differences up to .*: ok\n", done.stdout)


def test_other_formats_refuse_them(net):
    own = (e for e in net.plan.layers if e.name not in ("dense", "dropout"))
    layer = re.escape(repr(next(own)))
    with pytest.raises(ValueError, match=f"{layer}, which no module of torch.nn"):
        net.state_dict()
    with pytest.raises(ValueError, match=f"{layer}, which no module of torch.nn"):
        net.load_state_dict({})
    if pytest.importorskip("torch"):
        with pytest.raises(ValueError, match=f"{layer}, which no module of torch.nn"):
            net.to_torch()
    if pytest.importorskip("sklearn"):
        with pytest.raises(ValueError, match="has an? .*; scikit-learn has"):
            Network([net.plan.n_inputs, *net.plan.layers], seed=0).to_sklearn()
