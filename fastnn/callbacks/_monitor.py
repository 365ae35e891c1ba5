"""A quantity that callbacks watch: its value after an epoch, and which is better."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from fastnn._base.fields import NOT_NEGATIVE, check_name, check_number, is_number
from fastnn._base.names import close_to

if TYPE_CHECKING:
    from ._base import NetworkInTraining, Prospect

    Monitored = str | Callable[[Any, Mapping[str, float]], float]

__all__ = ["Monitor"]

_HIGHER = re.compile(r"accuracy|top_\d+_accuracy|precision|recall|f1|roc_auc|r2|score")
_LOWER = re.compile(r"loss|log_loss|mean_squared_error|mean_absolute_error")


class Monitor:
    """A name of the logs or a function, with the direction that is better.

    Attributes
    ----------
    name : str
    worst : float
        Infinity, or minus infinity: every finite value is better.
    """

    def __init__(
        self, owner: str, monitor: Monitored, mode: str, min_delta: float = 0.0
    ) -> None:
        check_name("mode", mode, ("auto", "min", "max"))
        if callable(monitor):
            self.name = getattr(monitor, "__name__", type(monitor).__name__)
            self._function = monitor
        elif isinstance(monitor, str):
            self.name = monitor
            self._function = self._from_logs
        else:
            raise TypeError(
                "monitor must be a name of the logs or a function of (network, logs), "
                f"got {monitor!r}"
            )
        self._is_logged = not callable(monitor)
        self._owner = owner
        self._higher = self._is_higher_better(mode)
        self._min_delta = check_number("min_delta", min_delta, *NOT_NEGATIVE)
        self.worst = -math.inf if self._higher else math.inf

    def check(self, prospect: Prospect) -> None:
        """Raise if the name will not be in the logs."""
        known = not self._is_logged or self.name in prospect.logs
        if known or not prospect.is_complete:
            return
        validated = any(name.startswith("val_") for name in prospect.logs)
        if not validated and self.name.startswith("val_"):
            raise ValueError(
                f"{self._owner} monitors {self.name!r} but there is no validation "
                "data; expected X_val and y_val, or rows held out (validation_split of "
                "Network.fit, early_stopping of the estimators)"
            )
        self._require_logged(prospect.logs)

    def value(self, network: NetworkInTraining, logs: Mapping[str, float]) -> float:
        """Return the value after an epoch."""
        value: object = self._function(network, logs)
        if not is_number(value):
            raise TypeError(
                f"the function {self.name!r} that {self._owner} monitors returned "
                f"{value!r}; expected a number"
            )
        return float(value)  # type: ignore[arg-type]

    def is_better(self, value: float, best: float) -> bool:
        """Whether a value improves on the best by more than min_delta; NaN never."""
        gain = value - best if self._higher else best - value
        return gain > self._min_delta

    def _from_logs(
        self, network: NetworkInTraining, logs: Mapping[str, float]
    ) -> float:
        self._require_logged(logs)
        return logs[self.name]

    def _require_logged(self, logs: Collection[str]) -> None:
        if self.name not in logs:
            raise ValueError(
                f"{self._owner} monitors {self.name!r}, which is not logged; expected "
                f"one of {', '.join(logs)}{close_to(self.name, logs)}"
            )

    def _is_higher_better(self, mode: str) -> bool:
        if mode != "auto":
            return mode == "max"
        name = self.name.removeprefix("val_")
        if self._is_logged and _HIGHER.fullmatch(name):
            return True
        if self._is_logged and _LOWER.fullmatch(name):
            return False
        raise ValueError(
            f"mode is 'auto' but whether higher or lower values of {self.name!r} are "
            "better is not known; expected 'max' or 'min'"
            + close_to(self.name, ("accuracy", "loss", "val_accuracy", "val_loss"))
        )
