"""scikit-learn's own callbacks (`set_callbacks`, from 1.9 on) for `fastnn.sklearn`.

Their tasks are a fit and, within it, each of its iterations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupport
except ImportError:  # scikit-learn before 1.9

    class CallbackSupport:  # type: ignore[no-redef]
        """Nothing: this scikit-learn has no callbacks."""


from fastnn.callbacks._base import Callback, Logs

if TYPE_CHECKING:
    from ._network import TrainedNetwork

__all__ = ["CallbackSupport", "Tasks"]


class Tasks(Callback):
    """Tells the estimator's callbacks of each iteration, and stops if one asks for it.

    A callback that takes a `fitted_estimator` gets one with the weights so far.
    """

    def __init__(
        self, estimator: Any, trained: TrainedNetwork, X: Any, y: Any, weight: Any
    ) -> None:
        self._trained = trained
        self._arguments = {
            "estimator": estimator,
            "X": X,
            "y": y,
            "metadata": None if weight is None else {"sample_weight": weight},
            "reconstruction_attributes": self._attributes,
        }
        self._fit = estimator._init_callback_context(
            max_subtasks=int(estimator.max_iter)
        )
        self._iteration: Any = None

    @staticmethod
    def are_wanted(estimator: Any) -> bool:
        """Whether callbacks were set, or those of a meta-estimator may follow."""
        return hasattr(estimator, "_skl_callbacks") or hasattr(
            estimator, "_parent_callback_ctx"
        )

    def on_train_begin(self) -> None:
        self._fit.call_on_fit_task_begin(**self._arguments)

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        self._iteration = self._fit.subcontext(task_name="iteration")
        self._iteration.call_on_fit_task_begin(**self._arguments)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        iteration, self._iteration = self._iteration, None
        if iteration.call_on_fit_task_end(**self._arguments):
            self.network.stop_training = True

    def on_train_end(self) -> None:
        if self._iteration is not None:  # begun, but interrupted or not needed
            self._iteration.call_on_fit_task_end(**self._arguments)
        self._fit.call_on_fit_task_end(**self._arguments)

    def _attributes(self) -> dict[str, Any]:
        pairs = self.network.get_weights()
        return {
            "coefs_": [w for w, _ in pairs],
            "intercepts_": [b for _, b in pairs],
            "_optimizer": self._trained.for_prediction(),
        }
