"""`fastnn train`: from its options to a trained network, a report and a picture."""

from __future__ import annotations

import argparse
import math
import os
import shlex
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import plotting
from fastnn._base.fields import short_repr
from fastnn._core.native.engine import build_info
from fastnn.callbacks import EarlyStopping
from fastnn.datasets import train_test_split
from fastnn.losses import LOSSES
from fastnn.network import Network
from fastnn.plotting._axes import require_format

from .data import NAMES, load_data
from .data_set import Data
from .network import layers_of, n_outputs_of, optimizer_of
from .report import evaluation_of, network_sizes
from .table import is_table, load_table

if TYPE_CHECKING:
    from fastnn._base.types import Array

    from .report import Evaluation

    Rows = tuple[Array, Array]

__all__ = ["train"]

_SHARE_FOR_PATIENCE = 0.1


def train(options: argparse.Namespace) -> None:
    """Train as the options say, save the network, and show the result."""
    if options.plot is not None:
        require_format(options.plot)
    data, loss = _load(options)
    quantities = not LOSSES[loss].is_classifier
    if quantities != (not data.class_names):
        kind = "classes" if data.class_names else "a quantity"
        raise ValueError(f"{data.name} has {kind}: --loss {loss} is for another kind")
    path = options.save or f"fastnn-{data.name}.safetensors"
    for each in filter(None, (path, options.plot)):  # not after an hour of training
        _check_writable(each)
    job = _Job(options, data, loss)
    if not options.quiet:
        job.show_start()
    seconds = job.run()
    result = evaluation_of(job.network, data.test, data.class_names)
    job.save(path)
    if options.plot:
        job.plot(options.plot, result)
    if options.quiet:
        print(f"test {result.summary}, model saved to {path}")
        return
    print()
    print(result.text("test ", fresh=data.generated and data.name != "xor"))
    for line in _lesson(job.network, data):
        print(line)
    job.show_end(seconds)
    if options.plot:
        print(f"pictures drawn in {options.plot}")
    print(f"model saved to {path} ({os.path.getsize(path) / 1e3:,.0f} kB)")
    _show_next_commands(path, options, data)


def _load(options: argparse.Namespace) -> tuple[Data, str]:
    """Return the data, and the loss that suits it unless one is given."""
    loss = options.loss
    quantities = loss is not None and not LOSSES[loss].is_classifier
    if is_table(options.dataset):
        task = "values" if quantities else "classes"
        data = load_table(
            options.dataset,
            label=options.label,
            drop=options.drop,
            test=options.test,
            task=None if loss is None else task,
        )
        return data, loss or ("softmax_cross_entropy" if data.class_names else "mse")
    for name in ("drop", "test"):
        if getattr(options, name) is not None:
            raise ValueError(
                f"--{name} is for tables such as FILE.csv, but {options.dataset!r} is "
                "none"
            )
    if loss is None:
        loss = "mse" if options.dataset == "line" else "softmax_cross_entropy"
        quantities = loss == "mse"
    data = load_data(options.dataset, options.data, options.label, quantities)
    return data, loss


class _Job:
    """A network, its training data and the record of its training."""

    network: Network
    history: dict[str, list[float]]
    seconds: float

    def __init__(self, options: argparse.Namespace, data: Data, loss: str) -> None:
        self.options, self.data = options, data
        self.epochs = data.epochs if options.epochs is None else options.epochs
        self.batch_size = (
            data.batch_size if options.batch_size is None else options.batch_size
        )
        self.train, self.validation = self._split()
        self.stop = None
        if options.patience is not None:
            self.stop = EarlyStopping("val_loss", options.patience)
        updates = self.epochs * math.ceil(len(self.train[0]) / max(1, self.batch_size))
        self.network = Network(
            layers_of(
                options.layers, options.activation, data, n_outputs_of(loss, data)
            ),
            loss=loss,
            optimizer=optimizer_of(options, data, updates),
            dtype=options.dtype,
            seed=options.seed,
            backend=options.backend,
            num_threads=options.threads,
            input_scale=data.scale,
            input_shift=data.shift,
        )
        self.network.schema = data.schema
        # Targets that may be any numbers are brought to mean 0 and deviation 1 for the
        # training: a rate that suits one quantity then suits all.
        self.scaled = LOSSES[loss].target_range == (-math.inf, math.inf)

    def _split(self) -> tuple[Rows, Rows | None]:
        """Hold out a random share; without one, a picture shows curves of test data."""
        options, data = self.options, self.data
        share = options.validation_split
        if share is None:
            share = _SHARE_FOR_PATIENCE if options.patience is not None else 0.0
        if not 0 <= share < 1:
            raise ValueError(f"--validation-split must be >= 0 and < 1, got {share:g}")
        if share == 0.0:
            if options.patience is not None:
                raise ValueError("--patience needs a --validation-split > 0")
            return data.train, data.test if options.plot else None
        X, X_val, y, y_val = train_test_split(*data.train, share, options.seed)
        return (X, y), (X_val, y_val)

    def run(self) -> float:
        """Train; return the seconds it took."""
        network = self.network
        (X, y), (X_val, y_val) = self.train, self.validation or (None, None)
        mean: Any = 0.0
        deviation: Any = 1.0
        if self.scaled:
            mean, deviation = y.mean(axis=0), y.std(axis=0)
            deviation = np.where(deviation > 0, deviation, 1.0)
            y = (y - mean) / deviation
            y_val = None if y_val is None else (y_val - mean) / deviation
        start = time.perf_counter()
        try:
            self.history = network.fit(
                X,
                y,
                epochs=self.epochs,
                batch_size=self.batch_size,
                verbose=0 if self.options.quiet else 1,
                X_val=X_val,
                y_val=y_val,
                callbacks=() if self.stop is None else (self.stop,),
                time_limit=self.options.time,
            ).history
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_how_far(network, self.epochs)) from None
        self.seconds = time.perf_counter() - start
        if self.scaled:  # the last layer then gives the unscaled quantities
            *others, (w, b) = network.get_weights()
            network.set_weights([*others, (w * deviation, b * deviation + mean)])
        return self.seconds

    def save(self, path: str) -> None:
        # The optimizer's state is that of the weights before they were scaled back.
        self.network.save(path, include_optimizer=not self.scaled)

    def show_start(self) -> None:
        network, data = self.network, self.data
        for line in data.description:
            print(line)
        rate: Any = network.optimizer.learning_rate
        engine = "NumPy"
        if network.backend == "native":
            threads = network.num_threads
            engine = f"{build_info()['isa_active']}, up to {_count(threads, 'thread')}"
        if data.class_names:
            targets = f"{len(data.class_names)} classes"
        else:
            targets = _count(data.n_targets, "target")
            if self.scaled:
                targets += " (scaled to mean 0 and deviation 1 for the training)"
        held_out = ""
        if self.validation is not None and self.validation is not data.test:
            held_out = f" ({len(self.validation[0]):,} of them for validation)"
        print(
            f"{data.name}: {len(data.train[0]):,} training{held_out} and "
            f"{len(data.test[0]):,} test samples, {_count(data.n_inputs, 'input')}, "
            f"{targets}\n"
            f"network {network_sizes(network)}: {network.n_parameters:,} parameters, "
            f"{network.plan.dtype}, seed {network.seed}\n"
            f"{network.optimizer.name}, learning rate "
            f"{short_repr(rate) if callable(rate) else format(rate, 'g')}, "
            f"batches of {self.batch_size}\n"
            f"engine {engine}",
            flush=True,
        )

    def show_end(self, seconds: float) -> None:
        epochs = self.network.epoch
        samples = epochs * len(self.train[0]) + self.network.cursor
        rate = samples / seconds
        if epochs < self.epochs and self.options.time is not None:
            print(f"the time was over after {epochs} of {self.epochs} epochs")
        if self.stop is not None and self.stop.best_epoch is not None:
            stopped = self.stop.stopped_epoch is not None
            print(
                f"stopped after {epochs} of {self.epochs} epochs; " if stopped else "",
                f"the weights are those of epoch {self.stop.best_epoch + 1}",
                sep="",
            )
        print(f"training took {seconds:.2f} s ({epochs} epochs, {rate:,.0f} samples/s)")

    def plot(self, path: str, result: Evaluation) -> None:
        network, data = self.network, self.data
        figure = plotting.plot_report(
            network,
            self.history,
            *data.test,
            data.class_names or None,
            title=f"{data.name}: test {result.summary}",
            subtitle=(
                f"network {network_sizes(network)}, {network.n_parameters:,} "
                f"parameters; {len(self.train[0]):,} training and "
                f"{len(data.test[0]):,} test samples; "
                f"{_count(network.epoch, 'epoch')} with {network.optimizer.name} in "
                f"{self.seconds:.2f} s"
            ),
            validation_label="test" if self.validation is data.test else "validation",
        )
        figure.savefig(path, dpi=150)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _check_writable(path: str) -> None:
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"cannot write {path}: there is no folder {folder}")
    if os.path.isdir(path):
        raise IsADirectoryError(f"cannot write {path}: it is a folder")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"cannot write {path}: the folder is not writable")


def _lesson(network: Network, data: Data) -> list[str]:
    """Lines on what the network has learnt about a problem whose answer is known."""
    if data.name == "xor" and data.generated:
        return [
            f"{a:.0f} xor {b:.0f} = {label}   (probability of 1: {_of_one(p):.3f})"
            for (a, b), label, p in zip(
                data.test[0],
                network.predict(data.test[0]),
                network.predict_proba(data.test[0]),
                strict=True,
            )
        ]
    if data.name == "line" and data.generated:
        x = data.test[0][:, 0]
        slope, intercept = np.polyfit(x, network.predict(data.test[0])[:, 0], 1)
        return [
            f"learned y = {slope:.3f} x + {intercept:.3f}; "
            "the points are y = 3 x + 5 with noise of deviation 1"
        ]
    return []


def _of_one(p: Array) -> float:
    return float(p[-1])  # of two outputs, or the only one


def _show_next_commands(path: str, options: argparse.Namespace, data: Data) -> None:
    model, dataset = shlex.quote(path), shlex.quote(options.dataset)
    folder = f" --data {shlex.quote(options.data)}" if options.data else ""
    print(f"\nnext:\n  fastnn evaluate {model} {dataset}{folder}")
    if options.dataset not in NAMES:
        output = " --output predictions.csv" if data.schema else ""
        print(f"  fastnn predict {model} {dataset}{output}")
        return
    if data.generated:
        rows = data.test[0][:2].round(2).tolist()
    else:
        print(f"  fastnn predict {model} IMAGE.png")
    if (model, folder) == (path, f" --data {options.data}" if options.data else ""):
        load = f"datasets.{dataset}({repr(options.data) if folder else ''})"
        names, rows = (
            ("Network", rows)
            if data.generated
            else ("Network, datasets", f"{load}.X_test[:10]")
        )
        print(
            f'  python -c "from fastnn import {names}; '
            f"print(Network.load('{path}').predict({rows}))\""
        )


def _how_far(network: Network, epochs: int) -> str:
    text = f"interrupted after {network.epoch} of {epochs} epochs"
    if network.cursor:
        text += f" and {network.cursor:,} samples of the next"
    return f"{text}; nothing was saved"
