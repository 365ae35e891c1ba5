"""The common parts of the pictures: matplotlib if installed, axes, colours, tiles."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "axes_or_new",
    "axes_points",
    "class_colors",
    "draw_tiles",
    "dress",
    "image_shape_of",
    "names_of",
    "require_format",
    "require_matplotlib",
    "square_side",
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
    """Raise ValueError if matplotlib cannot write pictures with this suffix."""
    require_matplotlib()
    from matplotlib.backend_bases import FigureCanvasBase

    known = FigureCanvasBase.get_supported_filetypes()
    if os.path.splitext(path)[1][1:].lower() not in known:
        raise ValueError(
            f"cannot draw {path}: expected one of the suffixes "
            f"{', '.join(f'.{name}' for name in sorted(known))}"
        )


def axes_or_new(ax: Any) -> Any:
    """Return the axes, or for None those of a new pyplot figure."""
    require_matplotlib()
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(layout="constrained")[1]


def dress(ax: Any, title: str, xlabel: str = "", ylabel: str = "") -> Any:
    """Give axes the style of all pictures, and a legend if anything has a label."""
    ax.set_title(title, loc="left", fontsize="large", fontweight="bold")
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.spines[["right", "top"]].set_visible(False)
    ax.set_axisbelow(True)
    for axis in (ax.xaxis, ax.yaxis):
        if axis.get_scale() == "linear" and abs(axis.get_view_interval()).max() >= 1e4:
            axis.set_major_formatter(_thousands)
    if not ax.images:
        ax.grid(alpha=0.3)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False)
    return ax


def _thousands(value: float, _: Any = None) -> str:
    """Return 200k for 200,000."""
    size = abs(value)
    name = "M" if size >= 1e6 else "k" if size >= 1e3 else ""
    return f"{value / {'M': 1e6, 'k': 1e3, '': 1.0}[name]:g}{name}"


def axes_points(ax: Any) -> tuple[float, float]:
    """Return width and height in points, roughly: labels may yet take some of it."""
    to_points = 72 / ax.figure.dpi
    return to_points * ax.bbox.width, to_points * ax.bbox.height


def class_colors(n: int) -> NDArray[np.float64]:
    """Return one colour (red, green, blue) per class."""
    from matplotlib import colormaps

    few = colormaps["tab10"].colors  # type: ignore[attr-defined]
    if n <= len(few):
        return np.array(few[:n])
    return np.array(colormaps["hsv"](np.arange(n) / n))[:, :3]


def names_of(class_names: Sequence[str] | None, n_classes: int) -> list[str]:
    """Return a name for each class; without names, the numbers."""
    if class_names is None:
        return [str(i) for i in range(n_classes)]
    if len(class_names) < n_classes:
        raise ValueError(
            f"class_names has {len(class_names)} names; expected {n_classes}"
        )
    return [str(name) for name in class_names]


def image_shape_of(
    image_shape: tuple[int, int] | None, n_inputs: int
) -> tuple[int, int] | None:
    """Return the shape given, checked, or that of a square; None if it is not one."""
    if image_shape is None:
        side = square_side(n_inputs)
        return None if side is None else (side, side)
    height, width = image_shape
    if height * width != n_inputs:
        raise ValueError(
            f"image_shape is {height} x {width}; expected a product of {n_inputs}, the "
            "inputs"
        )
    return height, width


def square_side(n_inputs: int) -> int | None:
    """Return the side of a square image of `n_inputs` pixels, if there is one."""
    side = math.isqrt(n_inputs)
    return side if side * side == n_inputs else None


def draw_tiles(
    ax: Any,
    images: NDArray[Any],
    texts: Sequence[str] = (),
    cmap: str = "gray_r",
    limits: tuple[float, float] | None = None,
) -> None:
    """Draw images (n, height, width) as a table, each with a text below it."""
    ax.axis("off")
    n, height, width = images.shape
    if n == 0:
        return
    below = 0.5 * height if texts else 0.0
    step_x, step_y = 1.12 * width, 1.12 * height + below
    points_x, points_y = axes_points(ax)

    def scale(columns: int) -> float:  # points of the page per pixel of an image
        rows = math.ceil(n / columns)
        return float(min(points_x / (columns * step_x), points_y / (rows * step_y)))

    columns = max(range(1, n + 1), key=scale)
    if texts:  # which may take the width that is left
        room = points_x / (columns * scale(columns))
        step_x = min(max(step_x, room), 2.2 * width)
    longest = max((len(line) for text in texts for line in text.split("\n")), default=1)
    size = min(
        10.0,
        scale(columns) * below / 2.6,  # two lines
        scale(columns) * step_x / (0.62 * longest),
    )
    low, high = limits or (images.min(), images.max())
    for i, image in enumerate(images):
        x, y = i % columns * step_x + (step_x - width) / 2, i // columns * step_y
        ax.imshow(
            image,
            cmap=cmap,
            vmin=low,
            vmax=high,
            extent=(x, x + width, y + height, y),
            interpolation="nearest",
        )
        if texts:
            ax.text(
                x + width / 2, y + 1.04 * height, texts[i], ha="center", va="top",
                fontsize=size,
            )  # fmt: skip
    rows = math.ceil(n / columns)
    edge = 0.03 * width
    ax.set(
        xlim=(0, columns * step_x),
        ylim=(rows * step_y - 0.12 * height + edge, -edge),
        aspect="equal",
        anchor="NW",
    )
