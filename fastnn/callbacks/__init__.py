"""Callbacks: code that runs at the start and end of epochs of `Network.fit`.

Python wakes about every 50 ms during an epoch, for signals and the progress bar, and
never per batch: a callback costs nothing per step.
"""

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
]
