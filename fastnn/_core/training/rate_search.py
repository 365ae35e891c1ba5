"""A search of the learning rate: a short training, in which it grows."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn._base.errors import TrainingDiverged
from fastnn._base.fields import POSITIVE, check_count, check_integer, check_number
from fastnn._core.model.model import Model
from fastnn.optimizers import LBFGS

if TYPE_CHECKING:
    from fastnn._base.types import Floats

__all__ = ["RateSearch", "search_rate"]

_SMOOTHING = 0.9
_WORSE = 4.0  # times the least loss: it ends


class RateSearch(NamedTuple):
    """What `Network.find_learning_rate` found."""

    rates: Floats  # of each update
    losses: Floats  # smoothed, before each
    suggestion: float

    def __repr__(self) -> str:
        return (
            f"RateSearch(suggestion={self.suggestion:.3g}, {len(self.rates)} rates "
            f"from {self.rates[0]:.3g} to {self.rates[-1]:.3g})"
        )

    def plot(self, ax: Any = None) -> Any:
        """Draw loss over rate: `fastnn.plotting.plot_rate_search`."""
        # By its name: pictures are above this.
        return import_module("fastnn.plotting").plot_rate_search(self, ax)


def search_rate(
    model: Model,
    X: Any,
    y: Any,
    sample_weight: Any,
    batch_size: int,
    steps: int,
    limits: tuple[float, float],
) -> RateSearch:
    """Train a copy; see `Network.find_learning_rate`."""
    if isinstance(model.plan.optimizer, LBFGS):
        raise ValueError("the optimizer LBFGS has no learning rate to find")
    batch_size = check_count("batch_size", batch_size)
    steps = check_integer("steps", steps, 10, 10_000)
    low = check_number("start", limits[0], *POSITIVE)
    high = check_number("stop", limits[1], f"a number > {low}", lambda x: x > low)
    rows = model.check_rows(X, y, sample_weight, learns=True)
    if model.targets is not None and not model.targets.is_known:
        targets = model.targets.learnt(rows.y, rows.sample_weight)
        rows = rows._replace(y=targets.scaled(rows.y, model.plan.array_dtype))
    copy = Model.from_state(model.state(), model.backend, model.num_threads)
    rng = np.random.default_rng(model.seed)
    order, at = rng.permutation(len(rows.X)), 0
    rates, losses, mean = np.geomspace(low, high, steps), [], 0.0
    for step, rate in enumerate(rates):
        if at >= len(order):
            order, at = rng.permutation(len(rows.X)), 0
        some = order[at : at + batch_size]
        at += batch_size
        copy.set_optimizer(replace(model.plan.optimizer, learning_rate=float(rate)))
        w = None if rows.sample_weight is None else rows.sample_weight[some]
        if w is not None and not w.any():
            w = None  # a batch of rows that do not count tells no less
        try:
            loss = copy.engine.train_step(rows.X[some], rows.y[some], w)
        except TrainingDiverged:
            break
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
        losses.append(mean / (1 - _SMOOTHING ** (step + 1)))
        if step > steps // 10 and losses[-1] > _WORSE * min(losses):
            break
    if not losses:
        raise TrainingDiverged(f"the training diverged at the first rate, {low}")
    best = int(np.argmin(losses))
    return RateSearch(rates[: len(losses)], np.array(losses), float(rates[best]) / 10)
