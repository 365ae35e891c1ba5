"""Random trainings: near those of the reference, and the same bits among themselves."""

import hashlib
import itertools
import os
import sys
import warnings
from contextlib import suppress
from dataclasses import replace

import numpy as np
from activations import ACTIVATIONS
from children import SUPPORTED_ISAS, run_python
from engines import arrays_of, data_for, losses_of, make_engine, snapshot, train
from helpers import same_bits, training_state
from samples import EXTRAS, LOSSES, NETWORKS, OPTIMIZERS, SCHEDULES

from fastnn import (
    MAE,
    SGD,
    BatchNorm,
    Callback,
    Dense,
    Dropout,
    Hinge,
    Huber,
    LayerNorm,
    Network,
    Quantile,
    Scale,
    TrainingDiverged,
)
from fastnn._core.native import engine as native
from fastnn._core.training import loop
from fastnn.schedules import Scaled
from tests.lanes.test_lanes import CURVES, STATES, distances

from . import Try, conftest, part


def random_layers(t, widest=70):
    """From one to six layers, of any kind with any activation."""
    layers = [int(t.rng.integers(1, 12))]
    for _ in range(t.rng.integers(0, 6)):
        width, activation = int(t.rng.integers(1, widest)), t.pick(ACTIVATIONS)
        layers.append(
            t.pick(
                [
                    Dense(width, activation),
                    Dense(width, "tanh", use_bias=bool(t.rng.integers(2))),
                    Dense(width, "gelu", trainable=bool(t.rng.integers(2))),
                    Dropout(float(t.rng.random() * 0.9)),
                    LayerNorm(activation),
                    BatchNorm(activation, momentum=0.2),
                    Scale(float(t.rng.random() + 0.5)),
                ]
            )
        )
    return layers


def random_case(t, widest=70):
    """Layers, loss, optimizer and dtype of a random training; and its data's kind."""
    name = t.pick([*LOSSES])
    loss, n_outputs = LOSSES[name]
    optimizer = replace(t.pick(OPTIMIZERS), **t.pick(EXTRAS))
    if t.rng.integers(2):
        schedule = Scaled(t.pick(SCHEDULES), 0.1)
        optimizer = replace(optimizer, learning_rate=schedule)
    if t.rng.integers(4):
        layers = [*random_layers(t, widest), Dense(n_outputs)]
    else:
        layers, name = t.pick(NETWORKS), "softmax_cross_entropy"
        loss = LOSSES[name][0]
    dtype = t.pick(["float32", "float64"])
    return name, dict(layers=layers, loss=loss, optimizer=optimizer, dtype=dtype)


def make(case, backend="native", threads=None, seed=0):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of squashed outputs
        return make_engine(backend, num_threads=threads, seed=seed, **case)


OF_SIGNS = (Hinge, Huber, MAE, Quantile)  # losses whose gradients are sums of them


@part(share=2)
def lanes(t: Try):
    """The engine against the reference, within the bounds that are documented."""
    _, case = random_case(t)
    case["layers"] = t.pick(NETWORKS)
    names = [name for name, (_, n) in LOSSES.items() if n == 3]
    if type(case["optimizer"]) is not SGD:
        # What divides by the size of a gradient makes steps of roundings where it is 0,
        # as sums of signs are, and where float32 is left with few of its digits.
        names = [name for name in names if type(LOSSES[name][0]) not in OF_SIGNS]
        case["dtype"] = "float64"
    name = t.pick(names)
    case["loss"] = LOSSES[name][0]
    dtype = case["dtype"]
    both = [make(case, backend, seed=t.seed) for backend in ("native", "numpy")]
    data = data_for(both[0], 70, name, weighted=bool(t.rng.integers(2)), seed=t.seed)
    curves = [losses_of(engine, data, 5) for engine in both]
    np.testing.assert_allclose(*curves, rtol=CURVES[dtype], atol=CURVES[dtype])
    assert max(distances(both)) <= STATES[dtype], (max(distances(both)), case)


@part(share=3)
def same_bits_always(t: Try):
    """Any threads, slices, stored gradients and batches of a prediction."""
    native._begin_on_all_threads(True)
    widest = int(t.rng.choice([20, 90, 400]))
    name, case = random_case(t, widest)
    n, batch = int(t.rng.integers(1, 200)), int(t.rng.integers(1, 120))
    options = dict(batch_size=batch, accumulate=int(t.rng.integers(1, 4)), epochs=2)
    first = make(case, threads=1, seed=t.seed)
    data = data_for(first, n, name, weighted=bool(t.rng.integers(2)), seed=t.seed)
    if data[2] is not None and not data[2].any():  # which is refused
        data = *data[:2], None
    order = t.rng.permutation(n)
    try:
        totals = train(first, *data, order, **options)
    except TrainingDiverged:  # so do all others, at the same update
        totals = None
    predicted = first.forward(data[0], "logits")
    for threads in t.rng.choice([1, 2, 3, 4, 5, 7, 16], 3, replace=False):
        other = make(case, threads=int(threads), seed=t.seed)
        other_options = dict(
            fused=bool(t.rng.integers(2)), max_seconds=float(t.rng.choice([0, 60]))
        )
        try:
            found = train(other, *data, order, **options, **other_options)
        except TrainingDiverged:
            found = None
        assert same_bits(snapshot(first), snapshot(other)), (threads, case, options)
        assert totals is found is None or same_bits(totals, found)
        cuts = np.sort(t.rng.integers(0, n + 1, 3))
        parts = [part for part in np.split(data[0], cuts) if len(part)]
        parts = [other.forward(part, "logits") for part in parts]
        assert same_bits(np.concatenate(parts), predicted)


class Stop(Callback):
    """Ctrl-C after that many updates."""

    def __init__(self, steps):
        self.steps = steps

    def on_progress(self, rows, logs):
        self.steps -= 1
        if self.steps == 0:
            raise KeyboardInterrupt


@part(share=2)
def resumed(t: Try):
    """Interrupted at random updates, saved, loaded, on other threads: the same bits."""
    loop.SLICE_SECONDS = 0.0
    native._begin_on_all_threads(True)
    name, case = random_case(t)
    n = int(t.rng.integers(2, 150))
    fits = dict(
        epochs=3,
        batch_size=int(t.rng.integers(1, 60)),
        shuffle=bool(t.rng.integers(2)),
        accumulate=int(t.rng.integers(1, 3)),
        verbose=0,
    )
    warnings.simplefilter("ignore", UserWarning)
    arguments = dict(seed=t.seed, **case)
    layers = arguments.pop("layers")
    whole, net = (Network(layers, **arguments) for _ in range(2))
    X, y, _ = data_for(whole._model.engine, n, name, seed=t.seed)
    try:
        whole.fit(X, y, **fits)
    except TrainingDiverged:
        return
    for _ in range(4):
        with suppress(KeyboardInterrupt):
            stop = Stop(int(t.rng.integers(1, 9)))
            net.fit(X, y, **fits, resume=True, callbacks=[stop])
        net.save(t.folder / "net")
        net = Network.load(t.folder / "net", num_threads=int(t.rng.integers(1, 5)))
    net.fit(X, y, **fits, resume=True)
    assert same_bits(training_state(net), training_state(whole)), (layers, fits)


def digests(seed, n):
    """What n random trainings leave behind, as one hash."""
    digest = hashlib.sha256()
    for each in range(seed, seed + n):
        t = Try(each, np.random.default_rng(each), None)
        name, case = random_case(t)
        engine = make(case, seed=each)
        data = data_for(engine, 50, name, weighted=True, seed=each)
        with suppress(TrainingDiverged):
            train(engine, *data, epochs=2)
        for array in [*arrays_of(snapshot(engine)), engine.forward(data[0])]:
            digest.update(array.tobytes())
    return digest.hexdigest()


@part()
def instruction_sets(t: Try):
    """Instruction sets with fused multiply-add, whole processes: the same bits."""
    isas = [isa for isa in SUPPORTED_ISAS if isa != "scalar"]
    runs = list(itertools.product(isas, [1, 2]))
    code = f"""
        from tests.campaign.configurations import digests
        print(digests({t.seed * 10}, 10))
    """
    path = os.pathsep.join([str(conftest.SOURCE), *sys.path])
    found = {
        run_python(
            code, PYTHONPATH=path, FASTNN_ISA=isa, FASTNN_NUM_THREADS=str(threads)
        ).stdout
        for isa, threads in runs
    }
    assert len(found) == 1, found
    return 10 * len(runs)
