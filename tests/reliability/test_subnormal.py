"""Subnormal numbers cost a hundred cycles each on many CPUs: training leaves none."""

import numpy as np
import pytest
from engines import make_data, make_engine, train
from helpers import same_bits
from samples import OPTIMIZERS

import fastnn
from fastnn import Adam


def subnormals(arrays, dtype):
    tiny = np.finfo(dtype).tiny
    return sum(int(((a != 0) & (abs(a) < tiny)).sum()) for a in arrays)


def all_arrays(engine):
    state = engine.get_optimizer_state()
    pairs = engine.get_weights() + [pair for layer in state for pair in layer.values()]
    return [array for pair in pairs for array in pair]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if n != "sgd"])
def test_no_subnormals_after_a_run_of_tiny_gradients(name, dtype, threads):
    # Inputs so small that the moments decay to and through the end of the range.
    size = {"float32": 1e-18, "float64": 1e-153}[dtype]
    X, y, _ = make_data(160, 200, 10, dtype=dtype)
    X[:, ::2] = 0  # moments of those only decay
    engine = make_engine(
        "native",
        (200, 128, 10),
        dtype=dtype,
        optimizer=OPTIMIZERS[name],
        num_threads=threads,
    )
    rng = np.random.default_rng(0)
    first = [
        {
            state: tuple(rng.random(a.shape).astype(dtype) * size**2 for a in pair)
            for state, pair in layer.items()
        }
        for layer in engine.get_optimizer_state()
    ]
    engine.set_optimizer_state(first)
    train(engine, X * np.dtype(dtype).type(size), y, batch_size=32, epochs=20)
    assert engine.step == 100
    assert subnormals(all_arrays(engine), dtype) == 0


def test_the_same_run_makes_subnormals_without_flushing():
    # The NumPy lane does not flush: this is what the test above is about.
    X, y, _ = make_data(160, 200, 10, dtype="float32")
    X[:, ::2] = 0
    engine = make_engine("numpy", (200, 128, 10), dtype="float32", optimizer="adam")
    train(engine, X * np.float32(1e-18), y, batch_size=32, epochs=1)
    assert subnormals(all_arrays(engine), "float32") > 1000


def test_second_moments_of_tiny_gradients_are_no_trouble():
    # g^2 is 0 where g is not: the step is then lr m / epsilon, and finite.
    X, y, _ = make_data(64, 8, 3, dtype="float32")
    net = fastnn.Network([8, 16, 3], optimizer=Adam(1e-3), seed=0)
    net.fit(X * np.float32(1e-25), y, epochs=20, batch_size=16, verbose=0)
    assert np.isfinite(net.evaluate(X, y)["loss"])
    second = net._model.engine.get_optimizer_state()[0]["second_moment"][0]
    assert subnormals([second], "float32") == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_subnormal_inputs_and_weights_count_as_zero(dtype):
    # In every lane of a tile and every way in, so that bits do not depend on the way.
    X, y, _ = make_data(50, 33, 7, dtype=dtype)
    tiny = np.finfo(dtype).smallest_subnormal
    dirty = np.where(np.random.default_rng(1).random(X.shape) < 0.3, tiny * 5, X)
    dirty = dirty.astype(dtype)
    clean = np.where(abs(dirty) < np.finfo(dtype).tiny, 0, dirty).astype(dtype)
    one, other = (make_engine("native", (33, 40, 7), dtype=dtype) for _ in range(2))
    for engine, rows in ((one, dirty), (other, clean)):
        train(engine, rows, y)
        train(engine, rows, y, order=np.arange(50))  # gathered, not in place
    assert same_bits(one.get_weights(), other.get_weights())
    results = [
        [e.forward(rows), np.array([e.predict_one(x) for x in rows])]
        for e, rows in ((one, dirty), (one, clean), (one, np.asfortranarray(dirty)))
    ]
    assert same_bits(results[0], results[1])
    assert same_bits(results[0], results[2])
    assert same_bits(results[0][0], results[0][1])
