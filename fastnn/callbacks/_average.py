"""A callback that averages the weights of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn._base.fields import check_number

from ._base import Callback, Logs

if TYPE_CHECKING:
    from fastnn._base.types import Pair
    from fastnn._core.model.model import Parameters

__all__ = ["WeightAverage"]


class WeightAverage(Callback):
    """Keep an exponential moving average of the weights, and end with it.

    After each update ``a := decay a + (1 - decay) w``, from the weights after the first
    one on; the statistics of batch norms likewise. When the fit comes to its end, the
    network is given the average. The validation after each epoch is of the weights as
    they are. A fit that is interrupted, or runs into its time limit, keeps the weights
    it has; `apply` sets the average.

    Parameters
    ----------
    decay : float, default 0.999
        At least 0, less than 1: roughly the last ``1 / (1 - decay)`` updates count.

    Examples
    --------
    >>> import fastnn
    >>> X_train, y_train, X_test, y_test = fastnn.datasets.digits()
    >>> net = fastnn.Network([64, 32, 10], input_scale=1 / 16, seed=0)
    >>> average = fastnn.WeightAverage(0.99)
    >>> _ = net.fit(X_train, y_train, epochs=20, callbacks=average, verbose=0)
    >>> net.score(X_test, y_test) > 0.9
    True
    """

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = check_number(
            "decay", decay, "a number >= 0 and < 1", lambda x: 0 <= x < 1
        )
        self._average: Parameters | None = None

    def on_train_begin(self) -> None:
        if self._starts_afresh():
            self._average = None

    def on_batch_end(self, step: int, logs: Logs) -> None:
        new = self.network._model.get_parameters()
        if self._average is None:
            self._average = new
            return
        share = 1 - self.decay
        for old, pair in zip(self._average[0], new[0], strict=True):
            _move(old, pair, share)
        for before, after in zip(self._average[1], new[1], strict=True):
            if before is not None and after is not None:
                _move(before, after, share)

    def apply(self) -> None:
        """Give the network the average so far, if there is one yet."""
        if self._average is not None:
            self.network._model.set_parameters(self._average)

    def on_train_end(self) -> None:
        if self._has_finished:
            self.apply()


def _move(old: Pair, new: Pair, share: float) -> None:
    for a, w in zip(old, new, strict=True):
        a += share * (w - a)
