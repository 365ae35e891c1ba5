"""The stateless kernels on layers of six shapes, native against the reference.

They pack their operands in every call, as a network does not: the speed of training is
in bench_tasks.py.
"""

from itertools import pairwise

import numpy as np
import pytest

from fastnn import kernels, reference
from fastnn.bench.peers.tasks import SHAPES

# (m, k, n), each once
LAYERS = sorted(
    {(rows, k, n) for sizes, rows in SHAPES[:6] for k, n in pairwise(sizes)}
)
LANES = {"native": kernels, "numpy": reference}


def layer_name(layer):
    return "x".join(map(str, layer))


@pytest.fixture(params=LANES)
def lane(request):
    return LANES[request.param]


def arrays(*shapes, dtype="float32"):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape, dtype) for shape in shapes]


@pytest.mark.parametrize("layer", LAYERS, ids=layer_name)
def test_dense_forward(benchmark, lane, layer):
    m, k, n = layer
    benchmark.group = f"dense_forward {layer_name(layer)}"
    x, w, b = arrays((m, k), (k, n), n)
    y = benchmark(lane.dense_forward, x, w, b, "relu")
    assert y.shape == (m, n)


@pytest.mark.parametrize("layer", LAYERS, ids=layer_name)
def test_dense_backward(benchmark, lane, layer):
    m, k, n = layer
    benchmark.group = f"dense_backward {layer_name(layer)}"
    dy, x, w, y = arrays((m, n), (m, k), (k, n), (m, n))
    dx, dw, db = benchmark(lane.dense_backward, dy, x, w, y, "relu")
    assert (dx.shape, dw.shape, db.shape) == ((m, k), (k, n), (n,))


@pytest.mark.parametrize("size", [(32, 50), (1024, 512)], ids=layer_name)
def test_relu_forward(benchmark, lane, size):
    benchmark.group = f"relu_forward {layer_name(size)}"
    (x,) = arrays(size)
    assert benchmark(lane.relu_forward, x).min() == 0


@pytest.mark.parametrize("size", [(32, 50), (1024, 512)], ids=layer_name)
def test_relu_backward(benchmark, lane, size):
    benchmark.group = f"relu_backward {layer_name(size)}"
    dy, y = arrays(size, size)
    assert benchmark(lane.relu_backward, dy, y).shape == size


@pytest.mark.parametrize("size", [(32, 10), (1024, 10), (256, 1000)], ids=layer_name)
def test_softmax_cross_entropy(benchmark, lane, size):
    benchmark.group = f"softmax_cross_entropy {layer_name(size)}"
    (z,) = arrays(size)
    labels = np.arange(size[0]) % size[1]
    loss, dz = benchmark(lane.softmax_cross_entropy, z, labels)
    assert loss > 0
    assert dz.shape == size


@pytest.mark.parametrize("size", [(784, 50), (784, 512)], ids=layer_name)
def test_adam_update(benchmark, lane, size):
    benchmark.group = f"adam_update {layer_name(size)}"
    w, dw, m = arrays(size, size, size)
    v = np.square(m)
    benchmark(lane.adam_update, w, dw, m, v, 1)
    assert np.isfinite(w).all()


@pytest.mark.parametrize("size", [(784, 50), (784, 512)], ids=layer_name)
def test_sgd_update(benchmark, lane, size):
    benchmark.group = f"sgd_update {layer_name(size)}"
    w, dw = arrays(size, size)
    benchmark(lane.sgd_update, w, dw, 1e-6)
    assert np.isfinite(w).all()
