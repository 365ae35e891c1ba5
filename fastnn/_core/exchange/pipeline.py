"""All that turns the columns of a table into an answer, as data for exporters.

``columns -> Schema -> networks -> their mean -> temperature or scale of the target``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fastnn._base.types import Array
    from fastnn._core.model.state import ModelState
    from fastnn._plan.schema import Schema

__all__ = ["Pipeline", "pipeline_of"]


@dataclass(frozen=True, eq=False)
class Pipeline:
    """What a prediction is made of.

    Probabilities p are at a temperature t, ``softmax(log(p) / t)``; numbers y become
    ``deviation y + mean``, kept from low to high.
    """

    states: list[ModelState]
    schema: Schema
    classes: Array | None  # the names of labels 0, 1, ..., if they have any
    temperature: float = 1.0
    # mean, deviation, low, high
    target: tuple[float, float, float, float] | None = None
    point: int = 0  # of several outputs, the one that is y


def pipeline_of(state: ModelState) -> Pipeline:
    """Return the pipeline of one network that knows its table."""
    schema = state.schema
    if schema is None:
        raise ValueError(
            "the network knows no table, whose columns a model could take; expected "
            "one that has a schema"
        )
    classes = schema.target.classes if schema.target else ()
    return Pipeline([state], schema, np.array(classes) if classes else None)
