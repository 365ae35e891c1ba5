"""Saved, loaded and continued, in another process too, is the same to the bit."""

import contextlib

import numpy as np
import pytest
from children import run_python
from helpers import same_bits, training_state
from samples import OPTIMIZERS

import fastnn
from fastnn._core.training import loop as training

pytestmark = pytest.mark.usefixtures("on_all_threads")

LAYERS = [12, 30, 4]


def data(n=150, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 12)), rng.integers(4, size=n), rng.random(n)


ARGUMENTS = dict(epochs=3, batch_size=32, verbose=0)


class Stop(fastnn.Callback):
    """Ctrl-C after that many slices of an epoch, which are steps here."""

    def __init__(self, steps):
        self.steps = steps

    def on_progress(self, rows, logs):
        self.steps -= 1
        if self.steps == 0:
            raise KeyboardInterrupt


@pytest.fixture
def steps(monkeypatch):
    monkeypatch.setattr(training, "SLICE_SECONDS", 0.0)


def make(backend, **arguments):
    arguments.setdefault("seed", 5)
    return fastnn.Network(LAYERS, backend=backend, **arguments)


def through_file(net, path, **arguments):
    net.save(path)
    return fastnn.Network.load(path, backend=net.backend, **arguments)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_stopped_at_every_step(backend, name, dtype, tmp_path, steps):
    """The network is stopped, saved and loaded after every single step."""
    X, y, weight = data()
    scaling = dict(input_scale=np.linspace(0.5, 2, 12), input_shift=0.1)
    options = dict(optimizer=OPTIMIZERS[name], dtype=dtype, **scaling)
    whole, net = make(backend, **options), make(backend, **options)
    arguments = dict(**ARGUMENTS, sample_weight=weight, X_val=X[:20], y_val=y[:20])
    expected = whole.fit(X, y, **arguments).history
    epochs, seen = [], {key: [] for key in expected}
    for _ in range(3 * 5):
        record = fastnn.History()
        with contextlib.suppress(KeyboardInterrupt):
            net.fit(X, y, **arguments, resume=True, callbacks=[Stop(1), record])
        epochs += record.epochs
        for key, values in record.history.items():
            seen[key] += values
        net = through_file(net, tmp_path / "net")
    record = net.fit(X, y, **arguments, resume=True)
    epochs += record.epochs
    for key, values in record.history.items():
        seen[key] += values
    assert same_bits(training_state(net), training_state(whole))
    assert epochs == [0, 1, 2]
    assert seen == expected  # the losses of interrupted epochs as well


@pytest.mark.parametrize("threads", [(1, 2, 3), (7, 1, 4)])
def test_threads_and_places_do_not_matter(threads, tmp_path, steps):
    X, y, _ = data(300)
    whole = make("native", num_threads=2)
    whole.fit(X, y, **ARGUMENTS)
    net = make("native", num_threads=threads[0])
    for stop, n in zip((3, 4, 9), threads, strict=True):
        with pytest.raises(KeyboardInterrupt):
            net.fit(X, y, **ARGUMENTS, resume=True, callbacks=[Stop(stop)])
        net = through_file(net, tmp_path / "net", num_threads=n)
        # Layout and dtype of the data are not part of the state either.
        X = np.asfortranarray(X)
    net.fit(X, y, **ARGUMENTS, resume=True)
    assert same_bits(training_state(net), training_state(whole))


@pytest.mark.parametrize("new_optimizer", [False, True])
@pytest.mark.parametrize("first", [1, 2, 3])
def test_single_calls_go_on_as_well(backend, first, new_optimizer, tmp_path):
    # Steps by hand and epochs, with a file in between.
    X, y, weight = data(40)
    nets = [make(backend), make(backend)]
    for i in range(4):
        for n in range(2):
            net = nets[n]
            net.train_on_batch(X[i : i + 8], y[i : i + 8], weight[i : i + 8])
            net.partial_fit(X, y, batch_size=16)
            if new_optimizer and i == 1:
                net.optimizer = fastnn.Adam(3e-3)
            if n and i == first:
                nets[1] = through_file(net, tmp_path / "net")
    assert same_bits(training_state(nets[0]), training_state(nets[1]))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_in_another_process(optimizer, tmp_path):
    """Each process trains a little, is interrupted, and leaves a file for the next."""
    code = f"""
        import sys
        import numpy as np
        import fastnn
        from fastnn._core.training import loop

        class Stop(fastnn.Callback):
            steps = abs(int(sys.argv[2]))

            def on_progress(self, rows, logs):
                self.steps -= 1
                if self.steps == 0:
                    raise KeyboardInterrupt

        loop.SLICE_SECONDS = 0.0
        path, is_first, optimizer = sys.argv[1], sys.argv[2][0] == "-", sys.argv[3]
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(150, 12)), rng.integers(4, size=150)
        if is_first:
            net = fastnn.Network({LAYERS}, optimizer=optimizer, seed=5)
        else:
            net = fastnn.Network.load(path)
        try:
            net.fit(X, y, **{ARGUMENTS}, sample_weight=rng.random(150), resume=True,
                    callbacks=[Stop()])
            print("complete")
        except KeyboardInterrupt:
            print("interrupted")
        net.save(path)
    """
    path = tmp_path / "net"
    said = [run_python(code, path, stop, optimizer).stdout for stop in (-2, 5, 1, 99)]
    assert said == ["interrupted"] * 3 + ["complete"]
    X, y, weight = data()
    whole = make("native", optimizer=optimizer)
    whole.fit(X, y, **ARGUMENTS, sample_weight=weight)
    loaded = fastnn.Network.load(path)
    assert same_bits(training_state(loaded), training_state(whole))
    whole.save(tmp_path / "whole")
    assert (tmp_path / "whole").read_bytes() == path.read_bytes()


def test_without_the_optimizer_it_is_another_run(backend, tmp_path):
    # The control: what is left out is missed.
    X, y, _ = data()
    whole, net = make(backend), make(backend)
    whole.fit(X, y, **ARGUMENTS)
    net.fit(X, y, **{**ARGUMENTS, "epochs": 2})
    net.save(tmp_path / "net", include_optimizer=False)
    net = fastnn.Network.load(tmp_path / "net", backend=backend)
    net.fit(X, y, **{**ARGUMENTS, "epochs": 2})
    assert not same_bits(net.get_weights(), whole.get_weights())
