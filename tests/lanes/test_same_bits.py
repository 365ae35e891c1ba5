"""Same bits: whatever threads, batches, files, interrupts and instruction sets do."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from cases import CASES, LARGE, SMALL, engine_of, everything, results
from children import SUPPORTED_ISAS, needs_isa, run_python
from engines import data_for, make_engine, relative_distance, snapshot, train
from helpers import same_bits, training_state
from samples import EXTRAS, LOSSES, NETWORKS, OPTIMIZERS, SCHEDULES

import fastnn
from fastnn._core.training import loop as training

pytestmark = pytest.mark.usefixtures("on_all_threads")

FLOATS = ["float32", "float64"]
THREADS = [1, 2, 3, 4, 7, 16]


# Threads, and whether gradients are stored.


def check_threads(case, dtype, accumulate=1):
    one = results(case, LARGE, dtype, 1, accumulate=accumulate)
    for threads in THREADS:
        for fused in (True, False):
            if (threads, fused) != (1, True):
                other = results(
                    case, LARGE, dtype, threads, accumulate=accumulate, fused=fused
                )
                assert same_bits(other, one), (threads, fused)


@pytest.mark.parametrize("case", CASES)
def test_any_number_of_threads(case):
    check_threads(case, "float32")


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("dtype", FLOATS)
def test_any_number_of_threads_with_every_layer(dtype, accumulate):
    check_threads("layers and optimizer adam", dtype, accumulate)


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("case", CASES)
def test_any_number_of_threads_at_length(case, dtype, accumulate):
    check_threads(case, dtype, accumulate)


def test_the_threads_are_really_used():
    code = """
        import os, sys
        from cases import LARGE, engine_of
        from fastnn._core.native import engine as native
        native._begin_on_all_threads(True)
        engine, data = engine_of("layers and optimizer adam", LARGE, "float32", 7)
        before = len(os.listdir("/proc/self/task"))
        engine.train_step(*data)
        print(len(os.listdir("/proc/self/task")) - before)
    """
    assert int(run_python(code).stdout) >= 5


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_slices_and_stored_gradients(backend, layers, fused, accumulate):
    # A slice of no time is one update.
    optimizer = replace(OPTIMIZERS["nadam"], learning_rate=SCHEDULES["one_cycle"])
    whole, parts = (make_engine(backend, layers, optimizer=optimizer) for _ in range(2))
    data = data_for(whole, 53, weighted=True)
    order = np.random.default_rng(1).permutation(53)
    options = dict(epochs=2, accumulate=accumulate)
    totals = train(whole, *data, order, max_seconds=60.0, **options)
    others = train(parts, *data, order, max_seconds=0.0, fused=fused, **options)
    assert same_bits(snapshot(whole), snapshot(parts))
    assert same_bits(totals, others)


# Prediction.


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("case", CASES)
def test_any_batch_gives_the_same_predictions(case, dtype):
    engine, data = engine_of(case, SMALL, dtype)
    train(engine, *data)
    X, y, weight = data
    outputs = {
        kind: engine.forward(X, kind)
        for kind in ("logits", "values", "labels")
        if kind != "labels" or engine.plan.loss.is_classifier
    }
    rng = np.random.default_rng(0)
    for size in (1, 2, 3, 5, 8, 13, 14, 15, 31, 64, len(X)):
        at = int(rng.integers(0, len(X) - size + 1))
        for kind, whole in outputs.items():
            assert same_bits(
                engine.forward(X[at : at + size], kind), whole[at : at + size]
            )
    order = rng.permutation(len(X))
    assert same_bits(engine.forward(X[order]), outputs["values"][order])
    for row, values in zip(X[:20], outputs["values"], strict=False):
        assert same_bits(engine.predict_one(row), values)
    # The sums are those of the rows, one at a time, in their order.
    sums = np.zeros(3)
    for i in range(len(X)):
        sums += weight[i] * np.array(engine.evaluate(X[i : i + 1], y[i : i + 1]))
    assert same_bits(sums, np.array(engine.evaluate(*data)))


@pytest.mark.parametrize("threads", THREADS)
def test_threads_predict_the_same(threads):
    X = np.random.default_rng(0).normal(size=(3000, LARGE[0])).astype("float32")
    y = np.arange(3000) % 3
    engine, data = engine_of("layers and optimizer adam", LARGE, "float32", 1)
    train(engine, *data)
    one = [engine.forward(X), engine.forward(X, "labels"), engine.evaluate(X, y)]
    engine.num_threads = threads
    other = [engine.forward(X), engine.forward(X, "labels"), engine.evaluate(X, y)]
    assert same_bits(one[:2], other[:2])
    assert one[2] == other[2]


# Files and interrupts.


class Stop(fastnn.Callback):
    """Ctrl-C after that many slices of an epoch, which are updates here."""

    def __init__(self, updates):
        self.updates = updates

    def on_progress(self, rows, logs):
        self.updates -= 1
        if self.updates == 0:
            raise KeyboardInterrupt


def state_of(net):
    statistics = [p for p in net._model.engine.get_statistics() if p is not None]
    return [*training_state(net), statistics]


def small_network(backend, dtype, optimizer, loss="softmax_cross_entropy"):
    return fastnn.Network(
        everything((5, 19, 9, 7)),
        optimizer=optimizer,
        loss=LOSSES[loss][0],
        dtype=dtype,
        seed=3,
        backend=backend,
    )


INTERRUPTED = {
    **OPTIMIZERS,
    **{f"{name}, all": replace(o, **EXTRAS["all"]) for name, o in OPTIMIZERS.items()},
    **{
        f"schedule {name}": replace(OPTIMIZERS["adam"], learning_rate=schedule)
        for name, schedule in SCHEDULES.items()
    },
}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, "float64") for name in INTERRUPTED] + [(n, "float32") for n in OPTIMIZERS],
)
def test_stopped_saved_and_loaded_at_every_update(
    backend, name, dtype, tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "SLICE_SECONDS", 0.0)
    whole, net = (small_network(backend, dtype, INTERRUPTED[name]) for _ in range(2))
    X, y, weight = data_for(whole._model.engine, 53, weighted=True)
    arguments = dict(epochs=2, batch_size=16, sample_weight=weight, verbose=0)
    whole.fit(X, y, **arguments)
    for _ in range(8):
        with contextlib.suppress(KeyboardInterrupt):
            net.fit(X, y, **arguments, resume=True, callbacks=[Stop(1)])
        net.save(tmp_path / "net")
        net = fastnn.Network.load(tmp_path / "net", backend=backend)
    net.fit(X, y, **arguments, resume=True)
    assert same_bits(state_of(net), state_of(whole))
    assert same_bits(net._model.engine.forward(X), whole._model.engine.forward(X))


@pytest.mark.parametrize("name", LOSSES)
def test_saved_and_loaded_with_every_loss(backend, name, tmp_path):
    layers = [5, fastnn.Dense(7, "silu"), fastnn.Dense(LOSSES[name][1])]
    straight, net = (
        fastnn.Network(layers, loss=LOSSES[name][0], seed=0, backend=backend)
        for _ in range(2)
    )
    X, y, weight = data_for(net._model.engine, 40, name, weighted=True)
    straight.fit(X, y, epochs=2, sample_weight=weight, verbose=0)
    net.fit(X, y, epochs=1, sample_weight=weight, verbose=0)
    net.save(tmp_path / "net")
    net = fastnn.Network.load(tmp_path / "net", backend=backend)
    net.fit(X, y, epochs=1, sample_weight=weight, verbose=0)
    assert same_bits(state_of(net), state_of(straight))


# Instruction sets.


def run_cases(isa, dtype, folder):
    """The digests of all cases by one instruction set, and where their arrays are."""
    file = folder / f"{isa}-{dtype}.npz"
    code = """
        import runpy, sys
        runpy.run_path("cases.py", run_name="__main__")
    """
    child = run_python(code, dtype, file, FASTNN_ISA=isa, timeout=200)
    return child.stdout.splitlines(), file


@pytest.fixture(scope="module")
def of_the_best(tmp_path_factory):
    """The same in a process of the best instruction set, by dtype."""
    folder = tmp_path_factory.mktemp("isa")
    return {dtype: run_cases(SUPPORTED_ISAS[0], dtype, folder) for dtype in FLOATS}


@needs_isa("avx512")
@pytest.mark.parametrize("dtype", FLOATS)
def test_avx2_has_the_bits_of_avx512(of_the_best, dtype, tmp_path):
    assert SUPPORTED_ISAS[0] == "avx512"
    expected, _ = of_the_best[dtype]
    found, _ = run_cases("avx2", dtype, tmp_path)
    assert len(found) == 2 * len(CASES)
    assert found == expected


# Without fused multiply-adds the bits differ, by the roundings of a short training.
SCALAR = {"float32": 1e-4, "float64": 1e-10}


@pytest.mark.skipif(len(SUPPORTED_ISAS) < 2, reason="this CPU has one instruction set")
@pytest.mark.parametrize("dtype", FLOATS)
def test_scalar_is_close_to_the_best(of_the_best, dtype, tmp_path):
    digests, best = of_the_best[dtype]
    others, scalar = run_cases("scalar", dtype, tmp_path)
    assert not set(digests) & set(others)
    with np.load(best) as expected, np.load(scalar) as found:
        assert expected.files == found.files
        for name in expected.files:
            distance = relative_distance(found[name], expected[name])
            assert distance <= SCALAR[dtype], name
