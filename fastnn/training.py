"""The epoch loop of `Network.fit`, and what it needs to be resumed to the bit.

A fit is prepared first (`prepare`: every check, nothing changed) and then run
(`run`). All state that training leaves behind, beside the engine's, is one `Progress`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import inputs
from ._fields import check_bool, check_integer, check_number
from .callbacks import Callback, EpochPrinter, History, ProgressBar
from .errors import TrainingDiverged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .network import Network

    Array = NDArray[Any]
    Scaling = tuple[NDArray[np.float64], NDArray[np.float64]] | tuple[None, None]

__all__ = ["Fit", "Progress", "Rows", "check_rows", "prepare", "run"]


# How long the interpreter waits for the engine: Ctrl-C acts within this time, and the
# progress bar moves. It costs nothing: a slice starts in microseconds.
SLICE_SECONDS = 0.05


class Rows(NamedTuple):
    """A checked data set."""

    X: Array
    y: Array
    sample_weight: NDArray[np.float64] | None


@dataclass
class Progress:
    """Where training stands: with the engine's state, all that resuming needs."""

    epoch: int = 0  # completed, over the life of the network
    first_epoch: int = 0  # the first one of the running fit
    n_rows: int = 0  # of the running fit, like the next two
    batch_size: int = 1
    shuffle: bool = True
    # A list of one, because the interpreter raises KeyboardInterrupt between a call
    # and the assignment of its result: see _train_epoch.
    cursor: list[int] = field(default_factory=lambda: [0])  # rows done of this epoch
    # Sum of w * loss, of w, and of w * correct over those rows.
    totals: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))

    def means(self) -> dict[str, float]:
        """Loss and accuracy of the rows so far; empty while they weigh nothing."""
        loss, weight, correct = self.totals.tolist()
        if weight == 0.0:
            return {}
        return {"loss": loss / weight, "accuracy": correct / weight}

    def at_epoch(self, epoch: int) -> Progress:
        """The same fit at the start of an epoch."""
        return replace(self, epoch=epoch, cursor=[0], totals=np.zeros(3))


@dataclass(frozen=True)
class Fit:
    """A fit that passed every check."""

    train: Rows
    validation: Rows | None
    scaling: Scaling
    progress: Progress
    last_epoch: int
    callbacks: tuple[Callback, ...]
    history: History


def check_rows(
    network: Network, X: Any, y: Any, sample_weight: Any, suffix: str = ""
) -> Rows:
    """Check a data set against a network, values included; `suffix` names it."""
    plan = network.plan
    X = inputs.check_X(X, plan.n_inputs, f"X{suffix}")
    y = inputs.check_targets(y, len(X), plan, f"y{suffix}")
    weight = inputs.check_sample_weight(sample_weight, len(X), f"sample_weight{suffix}")
    inputs.require_finite(network._engine, X, f"X{suffix}")
    return Rows(X, y, weight)


def prepare(
    network: Network,
    X: Any,
    y: Any,
    *,
    epochs: int,
    batch_size: int,
    shuffle: bool,
    sample_weight: Any,
    class_weight: Any,
    X_val: Any,
    y_val: Any,
    sample_weight_val: Any,
    validation_split: float,
    callbacks: Iterable[Callback],
    verbose: int,
    input_scale: Any,
    input_shift: Any,
    resume: bool,
) -> Fit:
    """Check every argument of `Network.fit`; nothing is changed."""
    epochs = check_integer("epochs", epochs, 1)
    batch_size = check_integer("batch_size", batch_size, 1)
    verbose = check_integer("verbose", verbose, 0, 2)
    shuffle, resume = check_bool("shuffle", shuffle), check_bool("resume", resume)
    history = History()
    # The history comes last: it records what other callbacks add to the logs.
    extra = {0: (), 1: (ProgressBar(),), 2: (EpochPrinter(),)}[verbose]
    hooks = (*_check_callbacks(callbacks), *extra, history)

    rows = check_rows(network, X, y, sample_weight)
    train, validation = _split(rows, validation_split)
    if X_val is not None or y_val is not None:
        if X_val is None or y_val is None:
            missing, given = ("X_val", "y_val") if X_val is None else ("y_val", "X_val")
            raise ValueError(f"{given} is given but {missing} is None; expected both")
        if validation is not None:
            raise ValueError(
                f"validation_split is {validation_split} although X_val is given; "
                "expected one of them"
            )
        validation = check_rows(network, X_val, y_val, sample_weight_val, "_val")
    elif sample_weight_val is not None:
        raise ValueError("sample_weight_val is given but X_val is None")
    weight = inputs.combine_class_weight(
        class_weight, train.y, train.sample_weight, network.plan.sizes[-1]
    )
    train = train._replace(sample_weight=weight)

    progress = _starting_point(network, len(train.X), batch_size, shuffle, resume)
    return Fit(
        train=train,
        validation=validation,
        scaling=_new_scaling(network, input_scale, input_shift),
        progress=progress,
        last_epoch=progress.first_epoch + epochs,
        callbacks=hooks,
        history=history,
    )


def run(network: Network, fit: Fit) -> History:
    """Train; whatever ends it, the network stands on a step boundary.

    The caller has acquired the engine.
    """
    network._set_scaling(fit.scaling)
    network._progress = fit.progress
    network.stop_training = False
    for callback in fit.callbacks:
        callback.network = network
        callback.params = {
            "n_samples": fit.progress.n_rows,
            "batch_size": fit.progress.batch_size,
            "first_epoch": fit.progress.first_epoch,
            "last_epoch": fit.last_epoch,
        }
    try:
        for callback in fit.callbacks:
            callback.on_train_begin()
        while network.epoch < fit.last_epoch and not network.stop_training:
            _train_epoch(network, fit)
    finally:
        for callback in fit.callbacks:
            callback.on_train_end()
    return fit.history


def _train_epoch(network: Network, fit: Fit) -> None:
    progress = network._progress
    epoch = progress.epoch
    order = None
    if progress.shuffle:
        order = _permutation(network.seed, epoch, progress.n_rows)
    train = partial(
        network._engine.train,
        *fit.train,
        order,
        progress.batch_size,
        totals=progress.totals,
        max_seconds=SLICE_SECONDS,
    )
    for callback in fit.callbacks:
        callback.on_epoch_begin(epoch, {})
    while (start := progress.cursor[0]) < progress.n_rows:
        try:
            # cursor = train(cursor), as one operation of the interpreter: after a
            # Ctrl-C the cursor says exactly which rows the weights have seen.
            progress.cursor[:] = map(train, progress.cursor)
        except TrainingDiverged:
            # The weights are the last finite ones; the rows of an epoch that cannot
            # be finished do not count.
            network._progress = progress.at_epoch(epoch)
            raise
        for callback in fit.callbacks:
            callback.on_progress(progress.cursor[0] - start, progress.means())
    logs = progress.means()
    if fit.validation is not None:
        for name, value in network._evaluate(fit.validation).items():
            logs[f"val_{name}"] = value
    # One assignment, so that an interrupt finds the epoch running or counted; before
    # the hooks, so that a network saved by one of them goes on with the next epoch.
    network._progress = progress.at_epoch(epoch + 1)
    for callback in fit.callbacks:
        callback.on_epoch_end(epoch, logs)


def _permutation(seed: int, epoch: int, n_rows: int) -> NDArray[np.int64]:
    """The order of an epoch: a function of seed and epoch, so nothing to be saved."""
    bits = np.random.PCG64(np.random.SeedSequence([seed, epoch]))
    return np.random.Generator(bits).permutation(n_rows)


def _check_callbacks(callbacks: Iterable[Callback]) -> tuple[Callback, ...]:
    try:
        hooks = tuple(callbacks)
    except TypeError:
        raise TypeError(
            f"callbacks must be a sequence of fastnn.Callback, got {callbacks!r}"
        ) from None
    for i, hook in enumerate(hooks):
        if not isinstance(hook, Callback):
            raise TypeError(f"callbacks[{i}] must be a fastnn.Callback, got {hook!r}")
    return hooks


def _split(rows: Rows, fraction: Any) -> tuple[Rows, Rows | None]:
    """Take the last rows for validation, as Keras does."""
    share = check_number(
        "validation_split", fraction, "a number >= 0 and < 1", lambda s: 0 <= s < 1
    )
    if share == 0.0:
        return rows, None
    n = len(rows.X)
    at = int(np.floor(n * (1.0 - share)))
    if not 0 < at < n:
        raise ValueError(
            f"validation_split={fraction} of {n} samples leaves {at} for training and "
            f"{n - at} for validation; expected at least one of each"
        )
    first, last = slice(None, at), slice(at, None)
    return _take(rows, first, "training"), _take(rows, last, "validation")


def _take(rows: Rows, part: slice, what: str) -> Rows:
    weight = rows.sample_weight
    if weight is not None:
        weight = weight[part]
        if weight.sum() == 0.0:
            raise ValueError(f"sample_weight is zero for every {what} sample")
    return Rows(rows.X[part], rows.y[part], weight)


def _starting_point(
    network: Network, n_rows: int, batch_size: int, shuffle: bool, resume: bool
) -> Progress:
    epoch = network.epoch
    fresh = Progress(epoch, epoch, n_rows, batch_size, shuffle)
    if not resume:
        return fresh
    old = network._progress
    if old.cursor[0] == 0:
        return replace(fresh, first_epoch=old.first_epoch)
    for name, given, expected in (
        ("the number of training samples", n_rows, old.n_rows),
        ("batch_size", batch_size, old.batch_size),
        ("shuffle", shuffle, old.shuffle),
    ):
        if given != expected:
            raise ValueError(
                f"resume=True but {name} is {given}; expected {expected}, as in the "
                "interrupted epoch"
            )
    return old


def _new_scaling(network: Network, scale: Any, shift: Any) -> Scaling:
    old_scale, old_shift = network._scaling
    if scale is None:
        scale = 1.0 if old_scale is None else old_scale
    if shift is None:
        shift = 0.0 if old_shift is None else old_shift
    return inputs.check_input_scaling(scale, shift, network.plan.n_inputs)
