"""A model as data: all that a file holds, and where its training stands."""

from __future__ import annotations

import dataclasses
from dataclasses import field, replace
from typing import TYPE_CHECKING

import numpy as np

from fastnn._base.frozen import dataclass

if TYPE_CHECKING:
    from fastnn._base.types import Floats, Pair, Scaling
    from fastnn._plan.plan import Plan
    from fastnn._plan.schema import Schema
    from fastnn._plan.targets import TargetScaling

__all__ = ["ModelState", "Progress"]


@dataclasses.dataclass
class Progress:
    """Where training stands: with the engine's state, all that resuming needs."""

    epoch: int = 0  # completed, over the life of the network
    first_epoch: int = 0  # the first one of the running fit
    n_rows: int = 0  # of the running fit, like the next two
    batch_size: int = 1
    shuffle: bool = True
    # A list of one, because the interpreter raises KeyboardInterrupt between a call
    # and the assignment of its result: see `train_rows`.
    cursor: list[int] = field(default_factory=lambda: [0])  # rows done of this epoch
    # Sum of w * loss, of w, and of w * correct over those rows.
    totals: Floats = field(default_factory=lambda: np.zeros(3))
    accumulate: int = 1  # mini-batches per update

    @property
    def updates(self) -> int:
        """Those of an epoch."""
        return -(-self.n_rows // (self.batch_size * self.accumulate))

    def at_epoch(self, epoch: int) -> Progress:
        """The same fit at the start of an epoch."""
        return replace(self, epoch=epoch, cursor=[0], totals=np.zeros(3))


@dataclass(frozen=True)
class ModelState:
    """Everything that a model file holds."""

    plan: Plan
    seed: int
    step: int
    progress: Progress
    scaling: Scaling
    weights: list[Pair]  # of the layers with parameters
    statistics: list[Pair | None]  # of all layers
    optimizer_state: list[dict[str, Pair]] | None  # None: left out, to start afresh
    schema: Schema | None = None  # of the table it was trained on
    targets: TargetScaling | None = None  # their units
