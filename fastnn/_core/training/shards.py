"""`Network.fit` on the ranks of a communicator: one network, data in shards.

Data are cut into a fixed number of shards. Each gives a part of every update, and their
gradients are summed in one fixed tree, inside a rank and across ranks: any number of
ranks gives the same bits.
"""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._base.errors import TrainingDiverged
from fastnn._base.fields import check_bool
from fastnn._core.model.model import Model, mean_logs
from fastnn._core.model.seeds import shard_order
from fastnn._core.model.state import Progress
from fastnn._plan.rows import Rows, check_steps, new_scaling, weigh_classes
from fastnn._plan.schema import schema_for
from fastnn.layers import BatchNorm
from fastnn.optimizers import LBFGS

from .fit import Course, Fit, check_settings, check_validation, make_fit
from .loop import SLICE_SECONDS, begin_epoch, end_epoch, train
from .ranks import Ranks
from .rows import resumed
from .scoring import Metric, score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastnn._base.types import Array, Floats, Pair
    from fastnn.callbacks import History
    from fastnn.callbacks._base import NetworkInTraining

__all__ = ["fit_on_ranks"]

# What the ranks talk about.
_CHECKS, _WEIGHTS, _UPDATE, _EVALUATION, _PREDICTIONS, _EPOCH, _END = range(7)
_STOP, _LATE = 1, 2  # flags


def fit_on_ranks(
    communicator: Any,
    shards: Any,
    model: Model,
    network: NetworkInTraining,
    X: Any,
    y: Any,
    **arguments: Any,
) -> History:
    """Prepare a fit on these ranks and run it; an error of one is one of all."""
    with Ranks(communicator, shards) as ranks:
        history = train(
            model, partial(_prepare, ranks, model, network, X, y, **arguments)
        )
        ranks.agree(_END, digest=_digest(model))
        return history


def _prepare(
    ranks: Ranks,
    model: Model,
    network: NetworkInTraining,
    X: Any,
    y: Any,
    *,
    batch_size: int,
    accumulate: int,
    shuffle: bool,
    sample_weight: Any,
    class_weight: Any,
    validation: tuple[Any, Any, Any],
    validation_split: float,
    scaling: tuple[Any, Any],
    resume: bool,
    verbose: int,
    rows: Any,
    rows_val: Any,
    **settings: Any,
) -> Fit:
    """Check every argument of `Network.fit`; nothing is changed."""
    for name, value in (("rows", rows), ("rows_val", rows_val)):
        if value is not None:
            raise ValueError(
                f"{name} is given with a communicator; expected a rank's own rows as X"
            )
    plan = model.plan
    batch_size, accumulate, shuffle = check_steps(batch_size, accumulate, shuffle)
    check_bool("resume", resume)
    _require_possible(ranks, model, X, batch_size, accumulate, validation_split)
    if isinstance(class_weight, str):
        raise ValueError(
            f"class_weight is {class_weight!r}; expected a dict of weights by class, "
            "because no rank has the classes of all"
        )
    own = model.check_rows(X, y, sample_weight)
    own = own._replace(sample_weight=weigh_classes(plan, class_weight, own))
    checked = check_settings(
        model,
        check_validation(model, validation),
        verbose=verbose if ranks.rank == 0 else 0,
        **settings,
    )
    if ranks.rank:
        callbacks = (each for each in checked.callbacks if each._on_every_rank)
        checked = replace(checked, callbacks=tuple(callbacks))
    held = checked.validation
    n_rows = _count(ranks, "X", own)
    n_held = 0 if held is None else _count(ranks, "X_val", held)
    progress = Progress(
        model.epoch, model.epoch, n_rows, batch_size // ranks.shards, shuffle,
        accumulate=ranks.shards,
    )  # fmt: skip
    if resume:
        progress = resumed(model.progress, progress)
    scaling = new_scaling(model.scaling, *scaling, plan.n_inputs)
    ranks.require_same(
        _CHECKS,
        {
            "the network": re.sub(" at 0x[0-9a-f]+", "", repr(plan)),
            "the number of epochs": checked.epochs,
            "batch_size": batch_size,
            "shuffle": shuffle,
            "the position in the training": repr(progress),
            "the seed": model.seed,
            "the input scaling": repr(scaling),
            "the scaling of targets": repr(model.targets),
            "the digest of weights and optimizer state": _digest(model),
            "whether there are weights": own.sample_weight is not None,
            "whether there are weights of X_val": held and held.sample_weight is None,
            "the metrics": [metric.name for metric in checked.metrics],
        },
    )
    course = Course(
        partial(_run, ranks, own),
        progress,
        scaling,
        n_rows,
        model.schema,
        model.targets,
        partial(_evaluate, ranks, n_held),
    )
    return make_fit(model, network, course, checked)


def _require_possible(
    ranks: Ranks,
    model: Model,
    X: Any,
    batch_size: int,
    accumulate: int,
    validation_split: float,
) -> None:
    if batch_size % ranks.shards:
        raise ValueError(
            f"batch_size is {batch_size}; expected a multiple of the number of shards, "
            f"{ranks.shards}"
        )
    if accumulate != 1:
        raise ValueError(
            f"accumulate is {accumulate} although there is a communicator; expected "
            "only one of them: the shards of a mini-batch are accumulated"
        )
    if validation_split:
        raise ValueError(
            f"validation_split is {validation_split} although there is a communicator; "
            "expected X_val and y_val, which are this rank's rows as well"
        )
    if isinstance(model.plan.optimizer, LBFGS):
        raise ValueError(
            "the optimizer LBFGS takes all data at once: use fit without a communicator"
        )
    if model.schema is None and schema_for(X, model.plan.n_inputs) is not None:
        raise ValueError(
            "X is a table although there is a communicator; expected an array, or a "
            "network with a schema, because no rank has the categories of all"
        )
    if not (model.targets is None or model.targets.is_known):
        raise ValueError(
            "target_scale or target_range is 'auto' although there is a communicator; "
            "expected numbers, because no rank has the targets of all"
        )
    if hasattr(X, "tocsr"):
        raise TypeError("X is sparse although there is a communicator; expected dense")


def _count(ranks: Ranks, name: str, rows: Rows) -> int:
    """Return the number of rows of all ranks; each must have those of its shards."""
    counts = ranks.gather(_CHECKS, len(rows.X))
    bounds = ranks.cut(sum(counts))
    expected = np.diff(bounds[:: len(ranks.own)])
    for rank, count in enumerate(counts):
        if count != expected[rank]:
            raise ValueError(
                f"{name} of rank {rank} has {count} rows; expected {expected[rank]} of "
                f"the {sum(counts)} rows of all ranks: see fastnn.rows_of_rank"
            )
    return int(sum(counts))


def _own_shards(ranks: Ranks, n_rows: int) -> list[tuple[int, int]]:
    """The first row of each shard of this rank, counted among its own, and the end."""
    bounds = ranks.cut(n_rows)[ranks.own.start : ranks.own.stop + 1]
    bounds -= bounds[0]
    return list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))


def _digest(model: Model) -> int:
    """Of all that updates change, in 52 bits, which float64 holds."""
    engine = model.engine
    digest = hashlib.blake2b(engine.step.to_bytes(8, "little"), digest_size=8)
    pairs: list[Pair | None] = [*engine.get_weights(), *engine.get_statistics()]
    for state in engine.get_optimizer_state():
        pairs += state.values()
    for array in (array for pair in pairs if pair is not None for array in pair):
        digest.update(array.tobytes())
    return int.from_bytes(digest.digest(), "little") >> 12


def _evaluate(
    ranks: Ranks, n_rows: int, model: Model, rows: Rows, metrics: Sequence[Metric]
) -> dict[str, float]:
    """The means over the validation rows of all ranks."""
    sums = np.zeros((len(ranks.own), 3))
    for i, (start, stop) in enumerate(_own_shards(ranks, n_rows)):
        if start < stop:
            part = slice(start, stop)
            weight = rows.sample_weight
            weight = None if weight is None else weight[part]
            sums[i] = model.engine.evaluate(rows.X[part], rows.y[part], weight)
    totals = ranks.agree(_EVALUATION, sums)[0].sum(axis=0)
    values = mean_logs(totals, model.plan)
    if metrics:

        def gathered(array: Array | None) -> Any:
            if array is None:
                return None
            return np.concatenate(ranks.gather(_PREDICTIONS, array))

        y, weight = gathered(model.unscaled(rows.y)), gathered(rows.sample_weight)
        forward = partial(model.outputs, rows.X)
        values |= score(
            metrics, model.plan, y, weight, lambda output: gathered(forward(output))
        )
    return values


def _run(ranks: Ranks, rows: Rows, model: Model, fit: Fit, deadline: float) -> bool:
    """Return whether the fit came to its end, rather than to its time limit."""
    if model.num_threads is None:
        model.engine.num_threads = ranks.num_threads()
    try:
        updates = _Updates(ranks, rows, model)
        while model.progress.epoch < fit.last_epoch and not model.stop_training:
            begin_epoch(model, fit)
            if not updates.run_epoch(fit, deadline):
                return False
            end_epoch(model, fit, model.progress.totals)
            flags = _STOP * model.stop_training
            flags |= _LATE * (time.monotonic() >= deadline)
            flags = ranks.agree(_EPOCH, flags=flags, digest=_digest(model))[1]
            model.stop_training = bool(flags & _STOP)
            if flags & _LATE:
                break
        return model.progress.epoch >= fit.last_epoch or model.stop_training
    finally:
        if model.num_threads is None:
            model.engine.num_threads = None


class _Updates:
    """The updates of a fit, this rank's part of them."""

    def __init__(self, ranks: Ranks, rows: Rows, model: Model) -> None:
        self.ranks, self.rows, self.model = ranks, rows, model
        self.each = model.progress.batch_size  # rows of a shard in an update
        self.own = _own_shards(ranks, model.progress.n_rows)
        self.sizes = np.diff(ranks.cut(model.progress.n_rows))
        self.steps = -(-int(self.sizes.max()) // self.each)
        self.sums = np.zeros((len(self.own), 3))
        plan = model.plan
        self.norms = [
            i
            for i, layer in enumerate(plan.layers)
            if isinstance(layer, BatchNorm) and layer.trainable
        ]
        shapes = [*plan.shapes, *(((plan.widths[i + 1],),) * 2 for i in self.norms)]
        # Gradients and statistics of a sum of the tree, one for each of its levels.
        self.room = [
            _flat(shapes, plan.array_dtype) for _ in range(len(self.own).bit_length())
        ]
        self.n_pairs = len(plan.shapes)

    def run_epoch(self, fit: Fit, deadline: float) -> bool:
        """Go on to the end of the epoch; return whether it was reached in time."""
        progress = self.model.progress
        self.order = [
            start
            + (
                shard_order(self.model.seed, stop - start, k, progress.epoch)
                if progress.shuffle
                else np.arange(stop - start)
            )
            for k, (start, stop) in zip(self.ranks.own, self.own, strict=True)
        ]
        self.weights = self._weights()
        seen, shown = progress.cursor[0], time.monotonic()
        while progress.cursor[0] < progress.n_rows:
            is_over = self._update(progress, deadline)
            now = time.monotonic()
            is_end = is_over or progress.cursor[0] >= progress.n_rows
            if is_end or now >= shown + SLICE_SECONDS:
                logs = mean_logs(progress.totals, self.model.plan)
                for callback in fit.settings.callbacks:
                    callback.on_progress(progress.cursor[0] - seen, logs)
                seen, shown = progress.cursor[0], now
            if is_over:
                break
        return progress.cursor[0] >= progress.n_rows

    def _weights(self) -> Floats:
        """The sum of the weights of each update of the epoch, of all ranks."""
        starts = np.arange(self.steps) * self.each
        if self.rows.sample_weight is None:
            rows = np.clip(self.sizes[:, np.newaxis] - starts, 0, self.each)
            counts: Floats = rows.sum(axis=0).astype(np.float64)
            return counts
        own = np.zeros((len(self.own), self.steps))
        for sums, order in zip(own, self.order, strict=True):
            if len(order):
                firsts = starts[starts < len(order)]
                weights = self.rows.sample_weight[order]
                sums[: len(firsts)] = np.add.reduceat(weights, firsts)
        all_sums = np.concatenate(self.ranks.gather(_WEIGHTS, own))
        total: Floats = all_sums.sum(axis=0)
        return total

    def _update(self, progress: Progress, deadline: float) -> bool:
        """Make the update at the cursor; return whether time is over on any rank."""
        ranks = self.ranks
        number = progress.cursor[0] // (self.each * ranks.shards)
        cursor = min((number + 1) * self.each * ranks.shards, progress.n_rows)
        total = float(self.weights[number])
        try:
            self.sums[:] = 0.0
            if total > 0.0:
                self._sum(0, len(self.own), 0, number)
            is_late = time.monotonic() >= deadline
            sums, flags = ranks.agree(_UPDATE, self.sums, _LATE * is_late)
            loss, _, correct = sums.sum(axis=0).tolist()
            if total > 0.0:
                values, pairs = self.room[0]
                ranks.add_up(values)
                self._apply(loss, pairs)
        except TrainingDiverged:
            # As without ranks: an epoch that cannot be finished does not count.
            self.model.progress = progress.at_epoch(progress.epoch)
            raise
        progress.totals += loss, total, correct
        progress.cursor[0] = cursor
        return bool(flags & _LATE)

    def _apply(self, loss: float, pairs: list[Pair]) -> None:
        """Update by gradients and statistics that all ranks have: all, or none."""
        own = pairs[self.n_pairs :]
        if not (np.isfinite(loss) and all(np.isfinite(pair).all() for pair in own)):
            raise TrainingDiverged(
                "a loss or statistic is not finite; the last finite weights are kept. "
                "Try a smaller learning rate or scale the inputs"
            )
        statistics = None
        if own:
            statistics = self.model.engine.get_statistics()
            for i, pair in zip(self.norms, own, strict=True):
                statistics[i] = pair
        self.model.engine.apply_gradients(pairs[: self.n_pairs], statistics)

    def _sum(self, first: int, count: int, level: int, number: int) -> Array:
        """The sum over some of this rank's shards: halves first, then both."""
        if count == 1:
            return self._shard(first, level, number)
        values = self._sum(first, count // 2, level, number)
        values += self._sum(first + count // 2, count // 2, level + 1, number)
        return values

    def _shard(self, i: int, level: int, number: int) -> Array:
        values, pairs = self.room[level]
        start = number * self.each
        order = self.order[i][start : start + self.each]
        if not len(order):
            values[:] = 0.0
            return values
        engine = self.model.engine
        loss, correct = engine.partial_gradients(
            *self.rows,
            order,
            self.ranks.own[i] * self.each,
            float(self.weights[number]),
            pairs[: self.n_pairs],
        )
        self.sums[i] = loss, 0.0, correct
        if self.norms:
            rows = np.clip(self.sizes - start, 0, self.each).sum()
            found = engine.get_statistics(pending=True)
            for k, pair in zip(self.norms, pairs[self.n_pairs :], strict=True):
                for array, statistic in zip(pair, found[k] or (), strict=True):
                    np.multiply(statistic, len(order) / rows, out=array)
        return values


def _flat(shapes: Sequence[Any], dtype: str) -> tuple[Array, list[Pair]]:
    """Pairs of arrays of these shapes, as views of one."""
    sizes = [int(np.prod(shape)) for pair in shapes for shape in pair]
    values = np.zeros(sum(sizes), dtype)
    parts = iter(np.split(values, np.cumsum(sizes)[:-1]))
    pairs = [tuple(next(parts).reshape(shape) for shape in pair) for pair in shapes]
    return values, pairs  # type: ignore[return-value]
