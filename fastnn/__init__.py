"""Fast multilayer perceptrons on CPUs: train and predict in a few megabytes.

>>> import fastnn
>>> digits = fastnn.datasets.digits()
>>> net = fastnn.Network([64, 32, 10], input_scale=1 / 16, seed=0)
>>> history = net.fit(digits.X_train, digits.y_train, epochs=20, verbose=0)
>>> net.score(digits.X_test, digits.y_test) > 0.9
True
"""

from typing import TYPE_CHECKING, Any

from ._base.version import __version__

try:
    from ._core.native.engine import build_info, get_num_threads, set_num_threads
except ModuleNotFoundError as error:
    if error.name != f"{__name__}._core.native.engine":
        raise
    raise ImportError(
        f"fastnn is not built in {__path__[0]!r}. Run `pip install -e .` in the source "
        "folder; or, if fastnn is installed, start Python from another folder."
    ) from None

from . import activations
from ._base.errors import BusyError, ModelFormatError, TrainingDiverged
from ._plan.rows import rows_of_rank
from ._plan.schema import Schema
from .activations import *  # noqa: F403
from .layers import (
    BatchNorm,
    Dense,
    Dropout,
    Embedding,
    LayerNorm,
    ParametricActivation,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    Scale,
)
from .losses import (
    MAE,
    MSE,
    BinaryCrossEntropy,
    Focal,
    GaussianNLL,
    Hinge,
    Huber,
    Poisson,
    Quantile,
    SoftmaxCrossEntropy,
)
from .network import Network, fit_many
from .optimizers import LBFGS, SGD, AdaGrad, Adam, AdamW, Lion, NAdam, RMSprop

if TYPE_CHECKING:
    from . import bench as bench
    from . import (
        callbacks,
        datasets,
        initializers,
        kernels,
        layers,
        losses,
        metrics,
        optimizers,
        plotting,
        reference,
        schedules,
    )
    from . import cli as cli
    from . import demo as demo
    from . import onnx as onnx
    from . import sklearn as sklearn
    from . import torch as torch
    from ._search.search import search
    from .callbacks import (
        Callback,
        CSVLogger,
        EarlyStopping,
        History,
        LambdaCallback,
        LossBelow,
        LossTolerance,
        ModelCheckpoint,
        ProgressBar,
        ReduceOnPlateau,
        WeightAverage,
    )

__all__ = [
    "LBFGS",
    "MAE",
    "MSE",
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "BatchNorm",
    "BinaryCrossEntropy",
    "BusyError",
    "CSVLogger",
    "Callback",
    "Dense",
    "Dropout",
    "EarlyStopping",
    "Embedding",
    "Focal",
    "GaussianNLL",
    "Hinge",
    "History",
    "Huber",
    "LambdaCallback",
    "LayerNorm",
    "Lion",
    "LossBelow",
    "LossTolerance",
    "ModelCheckpoint",
    "ModelFormatError",
    "NAdam",
    "Network",
    "ParametricActivation",
    "PeriodicEmbedding",
    "PiecewiseLinearEmbedding",
    "Poisson",
    "ProgressBar",
    "Quantile",
    "RMSprop",
    "ReduceOnPlateau",
    "Scale",
    "Schema",
    "SoftmaxCrossEntropy",
    "TrainingDiverged",
    "WeightAverage",
    "__version__",
    "activations",
    "build_info",
    "callbacks",
    "datasets",
    "fit_many",
    "get_num_threads",
    "initializers",
    "kernels",
    "layers",
    "losses",
    "metrics",
    "optimizers",
    "plotting",
    "reference",
    "rows_of_rank",
    "schedules",
    "search",
    "set_num_threads",
]
__all__ += activations.__all__

# Imported on first use, so that `import fastnn` stays light. In `__all__` are those
# that a program uses next to `Network`: not the commands (bench, cli, demo), nor those
# whose names a star import would take from other packages (onnx, sklearn, torch).
_LAZY_MODULES = frozenset(
    {
        *("activations", "bench", "callbacks", "cli", "datasets", "demo"),
        *("initializers", "kernels", "layers", "losses", "metrics", "onnx"),
        *("optimizers", "plotting", "reference", "schedules", "sklearn", "torch"),
    }
)


def __getattr__(name: str) -> Any:
    if name in _LAZY_MODULES:
        import importlib

        return importlib.import_module(f".{name}", __name__)
    if name == "search":
        from ._search.search import search

        return search
    if name in __all__:
        from . import callbacks

        return getattr(callbacks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_LAZY_MODULES})
