"""Training has the same bits on any number of threads, whatever else differs."""

import numpy as np
import pytest
from children import run_python
from engines import make_data, make_engine, snapshot, train
from helpers import same_bits, training_state
from samples import OPTIMIZERS

import fastnn

pytestmark = pytest.mark.usefixtures("on_all_threads")

THREADS = [1, 2, 3, 4, 7, 16]
# Layers that are split by panels and layers that are split by rows, ragged panels, and
# enough work to begin on several threads.
LAYERS = (150, 300, 90, 10)
BATCH = 96


def threads_used(n):
    """How many threads a process has after one step with num_threads=n."""
    code = f"""
        import os, sys
        from engines import make_data, make_engine
        from fastnn._core.native import engine as native
        native._begin_on_all_threads(True)
        def count():
            return len(os.listdir("/proc/self/task"))
        engine = make_engine("native", {LAYERS}, dtype="float32", num_threads={n})
        X, y, _ = make_data({BATCH}, {LAYERS[0]}, {LAYERS[-1]}, dtype="float32")
        before = count()
        engine.train_step(X, y)
        print(1 + count() - before)
    """
    return int(run_python(code).stdout)


@pytest.mark.parametrize("n", [1, 2, 7, 16])
def test_the_threads_are_really_used(n):
    # The promise means little if the network below is trained by one thread anyway.
    assert threads_used(n) == n


def weights_after(threads, seed, dtype, optimizer, fused=True):
    engine = make_engine(
        "native", LAYERS, seed, threads, dtype=dtype, optimizer=OPTIMIZERS[optimizer]
    )
    X, y, weight = make_data(
        2 * BATCH + 17, LAYERS[0], LAYERS[-1], "weighted", seed, dtype
    )
    order = np.random.default_rng(seed).permutation(len(X))
    totals = train(engine, X, y, weight, order, batch_size=BATCH, epochs=3, fused=fused)
    return [*snapshot(engine), totals, engine.forward(X), engine.evaluate(X, y, weight)]


def check(seed, dtype, optimizer):
    one = weights_after(1, seed, dtype, optimizer)
    evaluated = one.pop()
    for threads in THREADS:
        for fused in (True, False):
            if (threads, fused) == (1, True):
                continue
            other = weights_after(threads, seed, dtype, optimizer, fused)
            assert other.pop() == evaluated
            assert same_bits(other, one), (threads, fused)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_threads_gives_the_same_bits(dtype, optimizer):
    for seed in (0, 1):
        check(seed, dtype, optimizer)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_threads_gives_the_same_bits_at_length(dtype, seed):
    for optimizer in OPTIMIZERS:
        check(seed, dtype, optimizer)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_saved_loaded_and_continued_on_another_number_of_threads(dtype, tmp_path):
    X, y, weight = make_data(200, LAYERS[0], LAYERS[-1], "weighted", dtype=dtype)
    arguments = dict(batch_size=BATCH, sample_weight=weight, verbose=0)
    straight = fastnn.Network([*LAYERS], dtype=dtype, seed=3, num_threads=1)
    straight.fit(X, y, epochs=3, **arguments)
    net = fastnn.Network([*LAYERS], dtype=dtype, seed=3, num_threads=2)
    for threads in (3, 7, 1):
        net.fit(X, y, epochs=1, **arguments)
        net.save(tmp_path / "net")
        net = fastnn.Network.load(tmp_path / "net", num_threads=threads)
    assert same_bits(training_state(net), training_state(straight))


def test_a_change_of_threads_within_a_training_changes_no_bit():
    X, y, _ = make_data(BATCH, LAYERS[0], LAYERS[-1], dtype="float32")
    engines = [make_engine("native", LAYERS, dtype="float32") for _ in range(2)]
    for threads in (1, 5, 2, 3):
        engines[0].num_threads = threads
        for engine in engines:
            engine.train_step(X, y)
    assert same_bits(*map(snapshot, engines))


def test_two_processes_give_the_same_bits():
    # Addresses, hash seeds and the time must not matter.
    code = f"""
        import hashlib
        from engines import make_data, make_engine, train
        engine = make_engine("native", {LAYERS}, dtype="float32", optimizer="adam")
        train(engine, *make_data(200, {LAYERS[0]}, {LAYERS[-1]}, dtype="float32"))
        data = b"".join(W.tobytes() + b.tobytes() for W, b in engine.get_weights())
        print(hashlib.sha256(data).hexdigest())
    """
    digests = {
        run_python(code, PYTHONHASHSEED=str(seed), FASTNN_NUM_THREADS=str(seed)).stdout
        for seed in (1, 2)
    }
    assert len(digests) == 1
