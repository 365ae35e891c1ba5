"""A training by the options of `fastnn train`: its network, its course and pictures."""

from __future__ import annotations

import argparse
import math
import shlex
import time
from typing import TYPE_CHECKING, Any

from fastnn import plotting
from fastnn._base.fields import check_integer, short_repr
from fastnn._core.model.model import Model
from fastnn._core.native.engine import build_info, get_num_threads
from fastnn._core.training.scoring import make_metrics
from fastnn._plan.rows import rows_of_rank
from fastnn._plan.targets import mean_and_deviation
from fastnn.callbacks import EarlyStopping, History
from fastnn.datasets import train_test_split
from fastnn.losses import LOSSES
from fastnn.network import Network, model_of, network_of

from .checkpoint import Checkpoint, Interrupts, digest_of
from .data import same_scaling
from .network import class_weight_of, layers_of, n_outputs_of, optimizer_of
from .ranks import world
from .report import network_sizes

if TYPE_CHECKING:
    from fastnn._base.types import Array
    from fastnn._plan.plan import Plan

    from .data_set import Data
    from .report import Evaluation

    Rows = tuple[Array, Array]

__all__ = ["Job", "metrics_of"]

_SHARE_FOR_PATIENCE = 0.1


class Job:
    """A network, its training data and the record of its training."""

    network: Network
    history: dict[str, list[float]]
    seconds = 0.0  # of training, also before a resume

    def __init__(
        self,
        options: argparse.Namespace,
        data: Data,
        loss: str,
        path: str,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.options, self.data, self.path = options, data, path
        self.epochs = data.epochs if options.epochs is None else options.epochs
        self.batch_size = (
            data.batch_size if options.batch_size is None else options.batch_size
        )
        for name, value in (("epochs", self.epochs), ("batch_size", self.batch_size)):
            check_integer(name, value, 1)
        self.train, self.validation = self._split()
        # Targets that may be any numbers are brought to mean 0 and deviation 1 for the
        # training: a rate that suits one quantity then suits all.
        self.scaled = LOSSES[loss].target_range == (-math.inf, math.inf)
        self.stop = None
        if options.patience is not None:
            self.stop = EarlyStopping("val_loss", options.patience)
        updates = self.epochs * math.ceil(len(self.train[0]) / self.batch_size)
        self.network = Network(
            layers_of(options, data, n_outputs_of(loss, data)),
            loss=loss,
            optimizer=optimizer_of(options, data, updates),
            dtype=options.dtype,
            seed=options.seed,
            backend=options.backend,
            num_threads=options.threads,
            input_scale=data.scale,
            input_shift=data.shift,
            target_scale=self._target_scale(),
        )
        self.network.schema = data.schema
        self.class_weight = class_weight_of(options.class_weight, data)
        make_metrics(metrics_of(options), self.network.plan)
        self.record = History()
        if checkpoint is not None:
            self._go_on(checkpoint)

    def _go_on(self, checkpoint: Checkpoint) -> None:
        """Take the network of an interrupted training, if it is the same training."""
        new, state, options = self.network, checkpoint.state, self.options
        model = Model.from_state(state, options.backend, options.threads)
        same = (
            (state.plan, state.seed, state.schema) == (new.plan, new.seed, new.schema)
            and state.progress.n_rows in (0, len(self.train[0]))  # 0: before it began
            and same_scaling(model, *model_of(new).scaling)
            and checkpoint.data == digest_of(self.train)
        )
        if not same:
            raise ValueError(
                f"the data or fastnn are not those that {options.resume} was made with"
            )
        self.network = network_of(model)
        checkpoint.restore(self)

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

    def _target_scale(self) -> tuple[Array, Array] | None:
        """Of all ranks: each has all rows here."""
        if not self.scaled:
            return None
        return mean_and_deviation(self.train[1])

    def run(self) -> float:
        """Train; return the seconds it took."""
        self._start = time.perf_counter() - self.seconds
        with Interrupts() as interrupts:
            X_val, y_val = self.validation or (None, None)
            self.history = self._fit(*self.train, X_val, y_val, interrupts)
        self.seconds = time.perf_counter() - self._start
        return self.seconds

    def _fit(
        self, X: Array, y: Array, X_val: Any, y_val: Any, interrupts: Interrupts
    ) -> dict[str, list[float]]:
        """Train; return the history."""
        communicator, shards = world(), 8
        if communicator is not None:
            own = rows_of_rank(len(X), communicator)
            X, y = X[own], y[own]
            if X_val is not None:
                own = rows_of_rank(len(X_val), communicator)
                X_val, y_val = X_val[own], y_val[own]
            shards = max(shards, communicator.Get_size())
        stop = () if self.stop is None else (self.stop,)
        metrics = () if X_val is None else metrics_of(self.options)
        try:
            self.network.fit(
                X,
                y,
                epochs=self.epochs,
                batch_size=self.batch_size,
                verbose=0 if self.options.quiet else 1,
                X_val=X_val,
                y_val=y_val,
                class_weight=self.class_weight,
                metrics=metrics,
                callbacks=interrupts.around(*stop, self.record),
                resume=self.options.resume is not None,
                time_limit=self.options.time,
                communicator=communicator,
                shards=shards,
            )
        except KeyboardInterrupt as interrupt:
            interrupts.hold()
            text = _how_far(self.network, self.epochs)
            if communicator is None:
                text += f"; {self._save_checkpoint()}"
            raise type(interrupt)(text) from None
        n = len(self.record.epochs)
        # Not what was measured before an interrupt alone.
        return {k: v for k, v in self.record.history.items() if len(v) == n}

    def _save_checkpoint(self) -> str:
        """Return how to go on from it."""
        path = f"{self.path.removesuffix('.safetensors')}.checkpoint"
        self.seconds = time.perf_counter() - self._start
        Checkpoint.save(path, self)
        command = ["fastnn", "train", "--resume", path]
        for name in ("save", "plot"):
            if value := getattr(self.options, name):
                command += [f"--{name}", value]
        return f"go on with: {shlex.join(command)}"

    def save(self, path: str) -> None:
        self.network.save(path)

    def show_start(self) -> None:
        self.show_data()
        self.show_network(self.network.plan, self.batch_size)

    def show_data(self) -> None:
        data = self.data
        for line in data.description:
            print(line)
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
            f"{targets}",
            flush=True,
        )

    def show_network(self, plan: Plan, batch_size: int) -> None:
        rate: Any = plan.optimizer.learning_rate
        how = (
            f"learning rate {short_repr(rate) if callable(rate) else format(rate, 'g')}"
        )
        how += f", batches of {batch_size}"
        if plan.optimizer.name == "lbfgs":
            how = "all samples at once"
        engine = "NumPy"
        if self.options.backend == "native":
            threads = self.options.threads or get_num_threads()
            engine = f"{build_info()['isa_active']}, up to {_count(threads, 'thread')}"
        communicator = world()
        if communicator is not None:
            engine += f", on {communicator.Get_size()} ranks"
        print(
            f"network {'-'.join(map(str, plan.sizes))}: {plan.n_parameters:,} "
            f"parameters, {plan.dtype}, seed {self.options.seed}\n"
            f"{plan.optimizer.name}, {how}\n"
            f"engine {engine}",
            flush=True,
        )

    def show_end(self, seconds: float) -> None:
        epochs = self.network.epoch
        rate = (epochs * len(self.train[0]) + self.network.cursor) / seconds
        if epochs < self.epochs and self.options.time is not None:
            print(f"the time was over after {epochs} of {self.epochs} epochs")
        if self.stop is not None and self.stop._restored_epoch() is not None:
            assert self.stop.best_epoch is not None
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


def _how_far(network: Network, epochs: int) -> str:
    text = f"interrupted after {network.epoch} of {epochs} epochs"
    if network.cursor:
        text += f" and {network.cursor:,} samples of the next"
    return text


def metrics_of(options: argparse.Namespace) -> list[str]:
    return [name for name in (options.metrics or "").split(",") if name]
