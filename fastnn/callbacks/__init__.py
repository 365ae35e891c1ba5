"""Callbacks: code that runs at the start and end of epochs of `Network.fit`.

Python wakes about every 50 ms during an epoch, for signals and the progress bar, and
never per batch: a callback costs nothing per step.

What a callback watches, `monitor`, is a name of the logs, or a function of (network,
logs) that returns a number. `mode` says whether lower ("min") or higher ("max") values
are better; "auto" knows the losses and metrics of fastnn. An improvement is one by more
than `min_delta`, at least 0. TypeError or ValueError names a parameter that is of the
wrong type or out of range; a name that is not in the logs is found by `Network.fit`
before the first epoch, unless a callback listed before may add it.
"""

from ._average import WeightAverage
from ._base import Callback, LambdaCallback
from ._display import EpochPrinter, ProgressBar
from ._plateau import ReduceOnPlateau
from ._recording import CSVLogger, History, ModelCheckpoint
from ._stopping import EarlyStopping, LossBelow, LossTolerance

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "EpochPrinter",
    "History",
    "LambdaCallback",
    "LossBelow",
    "LossTolerance",
    "ModelCheckpoint",
    "ProgressBar",
    "ReduceOnPlateau",
    "WeightAverage",
]
