"""Arrays of every kind, and arrays that change while they are read."""

import threading
from contextlib import suppress
from dataclasses import replace
from functools import cache

import hypothesis
import numpy as np
from helpers import same_bits, training_state
from samples import EXTRAS, OPTIMIZERS

from fastnn import Network, TrainingDiverged
from tests.reliability.test_arrays_hypothesis import CHECKS, LONG

from . import Try, part

EXAMPLES = 300


@cache
def check(name):
    quiet = hypothesis.Verbosity.quiet
    settings = hypothesis.settings(LONG, max_examples=EXAMPLES, verbosity=quiet)
    return settings(CHECKS[name])


@part(share=3)
def odd_arrays(t: Try):
    """Hypothesis's arrays of any layout, dtype and shape: the bits of a clean copy."""
    name = [*CHECKS][t.seed % len(CHECKS)]
    hypothesis.seed(t.seed)(check(name))()
    return EXAMPLES


@part()
def changed_arrays(t: Try):
    """Another thread writes into data, labels and weights while they are read."""
    n = int(t.rng.integers(50, 5000))
    X = t.rng.normal(size=(n, 20)).astype(t.pick(["f4", "f8", "f2"]))
    y, weight = t.rng.integers(5, size=n), t.rng.random(n)
    out, stop = np.empty(5, "f4"), threading.Event()
    # Whatever can be written, also what would be refused at first.
    numbers, counts = [0, 1, -1, np.nan, np.inf, 1e30], [0, 1, -1, 9, 2**62, -(2**62)]

    def write():
        rng = np.random.default_rng(t.seed)
        with np.errstate(all="ignore"):
            while not stop.is_set():
                for array in (X, y, weight, out):
                    values = counts if array is y else numbers
                    value = values[rng.integers(len(values))]
                    array.reshape(-1)[rng.integers(array.size)] = value
                X[rng.integers(n)] = 0.5
                y[rng.integers(n, size=20)] = 2
                np.clip(weight, 0, 1, out=weight)

    thread = threading.Thread(target=write)
    thread.start()
    net = Network([20, 30, 5], seed=t.seed, num_threads=2)
    try:
        for _ in range(10):
            for call in (
                lambda: net.fit(X, y, 1, 32, sample_weight=weight, verbose=0),
                lambda: net.train_on_batch(X, y, weight),
                lambda: net.loss_and_gradients(X, y),
                lambda: net.predict(X),
                lambda: net.predict_one(X[0], out),
                lambda: net.evaluate(X, y, weight),
            ):
                with suppress(ValueError, TrainingDiverged):
                    call()
        assert thread.is_alive()
    finally:
        stop.set()
        thread.join()
    # What was read twice and differed may have ruined the weights, and nothing else.
    net.set_weights(Network([20, 30, 5], seed=0).get_weights())
    net.predict(np.zeros((3, 20)))
    return 60


@part()
def extreme_values(t: Try):
    """Weights, rates and data near the ends of the numbers: what trains is saved."""
    dtype = t.pick(["float32", "float64"])
    top = np.finfo(dtype).max
    sizes = [top, top / 1e3, top**0.5, 1e10, 1, 1e-10, top**-0.5, 1e-37]
    net = Network([4, 7, 3], dtype=dtype, seed=t.seed)
    layers = []
    for W, b in net.get_weights():
        W, b = (a.copy() for a in (W, b))
        for a in (W, b):
            hit = t.rng.random(a.shape) < t.rng.random() * 0.3
            size = t.pick(sizes)
            signs = t.rng.choice([-1, 1], a.shape)
            a[hit] = (signs * size)[hit]
        layers.append((W, b))
    net.set_weights(layers)
    rate = float(t.pick([1e-300, 1e-30, 1e-3, 1, 1e10, 1e30, 1e300]))
    net.optimizer = replace(t.pick(OPTIMIZERS), **t.pick(EXTRAS), learning_rate=rate)
    X = (t.rng.normal(size=(9, 4)) * min(t.pick(sizes), top / 10)).astype(dtype)
    y = t.rng.integers(3, size=9)
    for _ in range(3):
        before = training_state(net)
        try:
            net.train_on_batch(X, y)
        except TrainingDiverged:
            assert same_bits(training_state(net), before)
        except ValueError:  # weights, data or rate that no step can have
            assert same_bits(training_state(net), before)
        net.save(t.folder / "net")
        loaded = Network.load(t.folder / "net")
        assert same_bits(training_state(loaded), training_state(net))
