"""How much columns matter: the score that is lost when one of them is shuffled."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastnn._core.training.recipe import outputs_of
from fastnn.network import model_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastnn._base.types import Floats
    from fastnn._core.training.recipe import Data
    from fastnn._plan.schema import Schema
    from fastnn.network import Network

__all__ = ["Part", "few_of", "importances_of"]

_MOST_ROWS = 1000
_REPEATS = 3


class Part(NamedTuple):
    """Rows, and which networks predict them."""

    data: Data
    networks: slice


def importances_of(
    networks: list[Network],
    parts: list[Part],
    schema: Schema,
    score: Callable[[Floats, Data], float],
    seed: int,
) -> Floats:
    """Return the mean loss of score by column (n_columns,), in the order of X."""
    total = np.zeros(len(schema.columns))
    rng = np.random.default_rng(seed)
    n_rows = sum(len(part.data.y) for part in parts)
    for data, which in parts:
        models = [*map(model_of, networks[which])]
        share = len(data.y) / n_rows
        whole = score(outputs_of(models, data.X), data)
        for j, inputs in enumerate(_inputs_of(schema)):
            for _ in range(_REPEATS if inputs else 0):
                X = data.X.copy()
                X[:, inputs] = X[rng.permutation(len(X))][:, inputs]
                lost = whole - score(outputs_of(models, X), data)
                total[j] += share * lost / _REPEATS
    return total


def _inputs_of(schema: Schema) -> Iterator[list[int]]:
    """The numbers of the inputs that each column becomes."""
    number, flag = 0, schema.n_numeric
    for each in schema.columns:
        numbers, flags = len(each.number_names), len(each.flag_names)
        yield [*range(number, number + numbers), *range(flag, flag + flags)]
        number, flag = number + numbers, flag + flags


def few_of(data: Data, n_parts: int = 1) -> Data:
    """Return some of the rows, evenly spread."""
    n_rows = len(data.y)
    n = min(max(1, _MOST_ROWS // n_parts), n_rows)
    return data.take(np.arange(n) * n_rows // n)
