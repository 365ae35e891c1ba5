"""Pictures of a training (needs matplotlib)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .network import Network

__all__ = [
    "draw_boundary",
    "draw_fit",
    "draw_matrix",
    "draw_predictions",
    "require_format",
    "require_matplotlib",
    "save_training_plot",
]


def require_matplotlib() -> None:
    """Raise ImportError with the name of the package if matplotlib is absent."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ImportError(
            "plotting needs the package matplotlib: pip install matplotlib"
        ) from None


def require_format(path: str) -> None:
    """Raise ValueError if the suffix is that of no picture matplotlib can write."""
    require_matplotlib()
    from matplotlib.backend_bases import FigureCanvasBase

    known = FigureCanvasBase.get_supported_filetypes()
    if os.path.splitext(path)[1][1:].lower() not in known:
        raise ValueError(
            f"cannot draw {path}: expected one of the suffixes "
            f"{', '.join(f'.{name}' for name in sorted(known))}"
        )


def save_training_plot(
    path: str,
    history: dict[str, list[float]],
    title: str,
    draw: Callable[[Any], None],
    validation: str = "test",
) -> None:
    """Write a picture with the curves of a training, and one thing more.

    Parameters
    ----------
    path : str
        Its suffix says the format: .png, .pdf, .svg, ...
    history : dict
        "loss" and, of classes, "accuracy"; with "val_" before them the same of other
        data.
    title : str
        Stands above the picture.
    draw : callable
        Called with the axes of the last part, such as one of the functions here.
    validation : str, default "test"
        What the other data is called.
    """
    require_matplotlib()
    # Figure, not pyplot: no window system, no state shared with the user's figures.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = [name for name in ("loss", "accuracy") if name in history]
    figure = Figure(figsize=(14 / 3 * (len(names) + 1), 4.5), layout="constrained")
    figure.suptitle(title)
    *curves, last = figure.subplots(1, len(names) + 1)
    epochs = np.arange(1, len(history["loss"]) + 1)
    style = ".-" if len(epochs) <= 40 else "-"
    for axes, name in zip(curves, names, strict=True):
        axes.plot(epochs, history[name], style, label="training")
        if f"val_{name}" in history:
            axes.plot(epochs, history[f"val_{name}"], style, label=validation)
        axes.set(xlabel="epoch", title=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    draw(last)
    figure.savefig(path, dpi=120)


def draw_matrix(axes: Any, matrix: NDArray[Any], class_names: Sequence[str]) -> None:
    """Draw the confusion matrix (n_classes, n_classes): row true, column predicted."""
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


def draw_boundary(
    axes: Any,
    network: Network,
    X: NDArray[Any],
    y: NDArray[Any],
    class_names: Sequence[str],
) -> None:
    """Draw points X (n, 2) with labels y over what the network says of the plane."""
    colors = _class_colors(len(class_names))
    low, high = X.min(axis=0), X.max(axis=0)
    margin = 0.12 * np.where(high > low, high - low, 1.0)
    (left, bottom), (right, top) = low - margin, high + margin
    x1, x2 = np.meshgrid(np.linspace(left, right, 300), np.linspace(bottom, top, 300))
    p = network.predict_proba(np.stack([x1.ravel(), x2.ravel()], axis=1))
    if p.shape[1] == 1:
        p = np.concatenate([1 - p, p], axis=1)
    p = p[:, : len(colors)]
    # Pale where classes are equally probable, and never as strong as the points.
    shades = (1 - 0.45 * p.sum(axis=1, keepdims=True)) + 0.45 * p @ colors
    axes.imshow(
        shades.reshape(300, 300, 3).clip(0, 1),
        extent=(left, right, bottom, top),
        origin="lower",
        aspect="auto",
    )
    X, y = X[:1000], y[:1000]
    size = np.clip(2000 / len(X), 14, 90)
    axes.scatter(*X.T, c=colors[y], s=size, edgecolors="white", linewidths=0.4)
    for name, color in zip(class_names, colors, strict=True):
        axes.scatter([], [], c=[color], s=14, label=name[:12])
    axes.set(title="decisions, and test points by class", xlabel="x0", ylabel="x1")
    if len(class_names) <= 10:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def draw_fit(axes: Any, network: Network, X: NDArray[Any], y: NDArray[Any]) -> None:
    """Draw points of a quantity y (n, 1) over x (n, 1), and what the network says."""
    left, right = X.min(), X.max()
    margin = 0.05 * (right - left)
    x = np.linspace(left - margin, right + margin, 300)
    axes.scatter(X[:, 0], y[:, 0], s=14, color="tab:blue", label="test points")
    axes.plot(x, network.predict(x[:, np.newaxis])[:, 0], "tab:red", label="network")
    axes.set(title="fit", xlabel="x", ylabel="y")
    axes.grid(alpha=0.3)
    axes.legend()


def draw_predictions(axes: Any, y: NDArray[Any], predicted: NDArray[Any]) -> None:
    """Draw predicted over true quantities, both (n, n_targets)."""
    low, high = min(y.min(), predicted.min()), max(y.max(), predicted.max())
    axes.plot([low, high], [low, high], color="grey", linewidth=1)
    for i, (true, values) in enumerate(zip(y.T, predicted.T, strict=True)):
        axes.scatter(true, values, s=10, alpha=0.6, label=f"target {i}")
    axes.set(title="test rows", xlabel="true", ylabel="predicted")
    axes.grid(alpha=0.3)
    if len(y.T) > 1:
        axes.legend()


def _class_colors(n: int) -> NDArray[np.float64]:
    """One color (red, green, blue) per class."""
    from matplotlib import colormaps

    few = colormaps["tab10"].colors  # type: ignore[attr-defined]
    if n <= len(few):
        return np.array(few[:n])
    return np.array(colormaps["hsv"](np.arange(n) / n))[:, :3]
