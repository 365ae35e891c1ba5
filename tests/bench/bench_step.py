"""Training steps and predictions on the seven shapes: native against the reference."""

import pytest

from fastnn._bench_shapes import SHAPES, label, make_batch, make_network

LANES = [("native", 1), ("native", 2), ("numpy", None)]


def lane_name(lane):
    backend, threads = lane
    return backend if threads is None else f"{backend}-{threads}"


@pytest.mark.parametrize("lane", LANES, ids=lane_name)
@pytest.mark.parametrize("shape", SHAPES, ids=label)
def test_train_on_batch(benchmark, shape, lane):
    benchmark.group = f"train_on_batch {label(shape)}"
    X, y = make_batch(shape)
    net = make_network(shape, *lane)
    assert benchmark(net.train_on_batch, X, y) > 0


@pytest.mark.parametrize("lane", LANES, ids=lane_name)
@pytest.mark.parametrize("shape", SHAPES[:-1], ids=label)
def test_predict(benchmark, shape, lane):
    benchmark.group = f"predict {label(shape)}"
    X, _ = make_batch(shape)
    net = make_network(shape, *lane)
    assert benchmark(net.predict, X).shape == X.shape[:1]


@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[2], SHAPES[4]], ids=label)
def test_predict_one(benchmark, shape, backend):
    benchmark.group = f"predict_one {label(shape)}"
    X, _ = make_batch(shape)
    net = make_network(shape, backend)
    out = net.predict_one(X[0])
    assert benchmark(net.predict_one, X[0], out) is out
