"""Pictures of a training (needs matplotlib)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["require_matplotlib", "save_training_plot"]


def require_matplotlib() -> None:
    """Raise ImportError with the name of the package if matplotlib is absent."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ImportError(
            "plotting needs the package matplotlib: pip install matplotlib"
        ) from None


def save_training_plot(
    path: str,
    history: dict[str, list[float]],
    matrix: NDArray[Any],
    class_names: Sequence[str],
    title: str,
) -> None:
    """Write a picture with the curves of loss and accuracy and the confusion matrix.

    Parameters
    ----------
    path : str
        Its suffix says the format: .png, .pdf, .svg, ...
    history : dict
        "loss" and "accuracy", and with "val_" before them the same of test data.
    matrix : ndarray (n_classes, n_classes)
        Counts: row of the true class, column of the predicted one.
    class_names : sequence of str
        One per class.
    title : str
        Stands above the picture.
    """
    require_matplotlib()
    # Figure, not pyplot: no window system, no state shared with the user's figures.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(14, 4.5), layout="constrained")
    figure.suptitle(title)
    loss, accuracy, confusion = figure.subplots(1, 3)
    epochs = np.arange(1, len(history["loss"]) + 1)
    for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
        axes.plot(epochs, history[name], ".-", label="training")
        if f"val_{name}" in history:
            axes.plot(epochs, history[f"val_{name}"], ".-", label="test")
        axes.set(xlabel="epoch", title=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    _draw_matrix(confusion, matrix, class_names)
    figure.savefig(path, dpi=120)


def _draw_matrix(axes: Any, matrix: NDArray[Any], class_names: Sequence[str]) -> None:
    n = len(matrix)
    # Shades of the share within a row: classes of any size look alike.
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
    axes.set(xlabel="predicted", ylabel="true", title="confusion matrix (counts)")
    if n > 20:
        return
    short = [name[:12] for name in class_names]
    slanted = max(map(len, short)) > 3
    axes.set_xticks(range(n), short, rotation=60 if slanted else 0)
    axes.set_yticks(range(n), short)
    for i, j in np.argwhere(matrix):
        color = "white" if share[i, j] > 0.5 else "black"
        axes.text(j, i, matrix[i, j], ha="center", va="center", color=color, fontsize=7)
