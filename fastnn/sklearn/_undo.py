"""What a fit of `fastnn.sklearn` that raises leaves: the estimator as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastnn._base.errors import TrainingDiverged

__all__ = ["all_or_nothing"]

_PRIVATE = {
    "_best_parameters",
    "_label_binarizer",
    "_no_improvement_count",
    "_optimizer",
    "_random_state",
}


@contextmanager
def all_or_nothing(estimator: Any, incremental: bool = False) -> Iterator[None]:
    """Give the estimator back what it had learnt if the body raises.

    But for a divergence, which leaves the last finite weights, as in scikit-learn.
    """
    before = _learnt(estimator)
    lists = [
        (value, value.copy()) for value in before.values() if isinstance(value, list)
    ]
    trained = before.get("_optimizer") if incremental else None
    state = None if trained is None else trained.snapshot()
    try:
        yield
    except BaseException as error:
        if isinstance(error.__cause__, TrainingDiverged):
            raise
        for name in _learnt(estimator):
            delattr(estimator, name)
        vars(estimator).update(before)
        for value, content in lists:
            value[:] = content
        if trained is not None:
            trained.restore(state)
        raise


def _learnt(estimator: Any) -> dict[str, Any]:
    """The attributes that a fit sets, by scikit-learn's rule for names."""
    return {
        name: value
        for name, value in vars(estimator).items()
        if name in _PRIVATE or (name.endswith("_") and not name.startswith("_"))
    }
