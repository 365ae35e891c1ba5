"""A data set as the command line sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastnn._base.types import Array
    from fastnn._plan.schema import Schema


__all__ = ["Data"]


@dataclass(frozen=True)
class Data:
    """A data set, with the settings of a good first network for it."""

    name: str
    train: tuple[Array, Array]
    test: tuple[Array, Array]
    class_names: tuple[str, ...]  # none: the targets are quantities
    has_test_part: bool = True  # False: test is a random fifth of the rows
    generated: bool = False
    scale: Any = 1.0
    shift: Any = 0.0
    hidden: tuple[int, ...] = (64,)
    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 1e-3  # of Adam
    schema: Schema | None = None  # of a table
    description: tuple[str, ...] = ()  # of it, in lines

    @property
    def n_inputs(self) -> int:
        return int(self.train[0].shape[1])

    @property
    def n_targets(self) -> int:
        """The number of quantities per row; 1 for labels."""
        y = self.train[1]
        return int(y.shape[1]) if y.ndim == 2 else 1

    @property
    def all_rows(self) -> tuple[Array, Array]:
        X, y = zip(self.train, self.test, strict=True)
        return np.concatenate(X), np.concatenate(y)
