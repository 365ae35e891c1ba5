"""Class weights of `fastnn.sklearn`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._plan.inputs import combine_class_weight

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastnn._base.types import Array


__all__ = ["weigh_classes"]


def weigh_classes(
    class_weight: Mapping[Any, float] | str | None,
    classes: Array,
    y: Array,
    sample_weight: NDArray[np.float64] | None,
    incremental: bool,
) -> NDArray[np.float64] | None:
    """Return the sample weights times those of the classes; y are places in classes."""
    if class_weight is None:
        return sample_weight
    if y.ndim == 2:
        raise ValueError(
            f"class_weight is {class_weight!r} but y has several labels per row; "
            "expected None: use sample_weight"
        )
    if isinstance(class_weight, str):
        if incremental:
            raise ValueError(
                "class_weight 'balanced' needs the classes of all rows, which "
                "partial_fit does not know; expected a dict of weights by class"
            )
        return combine_class_weight(class_weight, y, sample_weight, len(classes))
    places = {label: place for place, label in enumerate(np.asarray(classes).tolist())}
    for label in class_weight:
        if label not in places:
            raise ValueError(
                f"class_weight has a weight for {label!r}; expected classes of "
                f"{[*places]}"
            )
    by_place = {places[label]: weight for label, weight in class_weight.items()}
    return combine_class_weight(by_place, y, sample_weight, len(classes))
