"""Pictures of a classifier: its confusions, its mistakes, its decision boundary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._base.fields import check_integer
from fastnn.network import model_of

from ._axes import (
    axes_or_new,
    axes_points,
    class_colors,
    draw_tiles,
    dress,
    image_shape_of,
    names_of,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastnn.network import Network

__all__ = ["plot_confusion_matrix", "plot_decision_boundary", "plot_misclassified"]

_SIDE = 300  # of the picture of the plane, in points where the network is evaluated
_MOST_POINTS = 1000
_MOST_NUMBERED = 20  # classes; a larger matrix has shades only


def plot_confusion_matrix(
    matrix: ArrayLike, class_names: Sequence[str] | None = None, ax: Any = None
) -> Any:
    """Draw a confusion matrix: rows are the true classes, columns the predicted.

    The shade is the share within the row, so that classes of any size look alike.

    Parameters
    ----------
    matrix : array_like of int (n_classes, n_classes)
        As `fastnn.metrics.confusion_matrix` returns it.

    Raises
    ------
    ValueError
        If the matrix is not square, or there are too few names.

    Examples
    --------
    >>> from fastnn import metrics, plotting
    >>> matrix = metrics.confusion_matrix([0, 1, 1], [0, 1, 0])
    >>> ax = plotting.plot_confusion_matrix(matrix)  # doctest: +SKIP
    """
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise ValueError(
            f"matrix has shape {counts.shape}; expected (n_classes, n_classes)"
        )
    n = len(counts)
    names = [name[:12] for name in names_of(class_names, n)[:n]]
    ax = axes_or_new(ax)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
    dress(ax, "confusion matrix (counts)", "predicted", "true")
    if n > _MOST_NUMBERED:
        return ax
    slanted = max(map(len, names)) > 3
    ax.set_xticks(range(n), names, rotation=60 if slanted else 0)
    ax.set_yticks(range(n), names)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    cell = min(axes_points(ax)) / n
    size = min(14.0, 0.5 * cell, cell / (0.65 * len(str(counts.max()))))
    for i, j in np.argwhere(counts):
        color = "white" if share[i, j] > 0.5 else "black"
        ax.text(
            j, i, counts[i, j], ha="center", va="center", color=color, fontsize=size
        )
    return ax


def plot_misclassified(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    class_names: Sequence[str] | None = None,
    ax: Any = None,
    *,
    image_shape: tuple[int, int] | None = None,
    n_images: int = 18,
) -> Any:
    """Draw the images put into the wrong class, most confident first.

    Below each: the predicted class, with its probability, and the true one.

    Parameters
    ----------
    network : Network
        One whose loss has one class per row.
    X : array_like (n, n_inputs)
        Images, flattened row by row.
    y : array_like of int (n,)
        The true classes.
    image_shape : (int, int), optional
        Height and width; by default those of a square.
    n_images : int, default 18
        The most images to draw.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; if the inputs are not a square and
        `image_shape` is not given.

    Examples
    --------
    >>> from fastnn import Network, datasets, plotting
    >>> X_train, y_train, X_test, y_test = datasets.digits()
    >>> net = Network([64, 32, 10], input_scale=1 / 16, seed=0)
    >>> _ = net.fit(X_train, y_train, epochs=5, verbose=0)
    >>> ax = plotting.plot_misclassified(net, X_test, y_test)  # doctest: +SKIP
    """
    n_images = check_integer("n_images", n_images, 1)
    shape = image_shape_of(image_shape, network.plan.n_inputs)
    if shape is None:
        raise ValueError(
            f"image_shape is not given, and {network.plan.n_inputs} inputs are not "
            "a square image"
        )
    X, y = np.asarray(X), np.asarray(y)
    p = two_columns(network.predict_proba(X))
    if y.shape != (len(p),):
        raise ValueError(
            f"y has shape {y.shape}; expected ({len(p)},), a class per row"
        )
    predicted = p.argmax(axis=1)
    names = names_of(class_names, 1 + max(int(y.max()), int(predicted.max())))
    wrong = np.flatnonzero(predicted != y)
    shown = wrong[np.argsort(-p[wrong, predicted[wrong]], kind="stable")][:n_images]
    ax = axes_or_new(ax)
    texts = [
        f"predicted {names[predicted[i]][:12]} ({100 * p[i, predicted[i]]:.0f} %)\n"
        f"true {names[y[i]][:12]}"
        for i in shown
    ]
    images = X[shown].reshape(-1, *shape).astype(np.float64)
    draw_tiles(ax, images, texts)
    return dress(
        ax, f"{len(wrong):,} of {len(y):,} misclassified, most confident first"
    )


def plot_decision_boundary(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    class_names: Sequence[str] | None = None,
    ax: Any = None,
    *,
    hidden_units: bool = False,
) -> Any:
    """Draw points of the plane on top of the network's predictions for it.

    The background has the colour of the class that is probable there, and is pale
    where several are. Misclassified points are circled.

    Parameters
    ----------
    network : Network
        One with two inputs, whose loss has one class per row.
    X : array_like (n, 2)
        Points; the first thousand are drawn, all of them determine the part of the
        plane.
    y : array_like of int (n,)
        Their classes.
    hidden_units : bool, default False
        Also draw a line for each unit of the first layer, which must be dense: where
        its activation is given 0. The larger its weights, the darker.

    Raises
    ------
    ValueError
        If X does not have two columns, or y not as many classes.

    Examples
    --------
    >>> from fastnn import Network, datasets, plotting
    >>> X, y = datasets.moons(200, noise=0.1, seed=0)
    >>> net = Network([2, 16, 2], seed=0)
    >>> _ = net.fit(X, y, epochs=20, verbose=0)
    >>> ax = plotting.plot_decision_boundary(net, X, y)  # doctest: +SKIP
    """
    X, y = np.asarray(X, dtype=np.float64), np.asarray(y)
    if X.ndim != 2 or X.shape[1] != 2 or not len(X):
        raise ValueError(f"X has shape {X.shape}; expected (n, 2), points of the plane")
    if y.shape != (len(X),):
        raise ValueError(
            f"y has shape {y.shape}; expected ({len(X)},), a class per row"
        )
    low, high = X.min(axis=0), X.max(axis=0)
    margin = 0.12 * np.where(high > low, high - low, 1.0)
    (left, bottom), (right, top) = low - margin, high + margin
    x1, x2 = np.meshgrid(
        np.linspace(left, right, _SIDE), np.linspace(bottom, top, _SIDE)
    )
    p = two_columns(network.predict_proba(np.stack([x1.ravel(), x2.ravel()], axis=1)))
    if class_names is not None:
        p = p[:, : len(class_names)]
    names = names_of(class_names, max(p.shape[1], int(y.max()) + 1))
    colors = class_colors(len(names))
    ax = axes_or_new(ax)
    # Pale where classes are equally probable, and never as strong as the points.
    shades = (1 - 0.45 * p.sum(axis=1, keepdims=True)) + 0.45 * p @ colors[: p.shape[1]]
    ax.imshow(
        shades.reshape(_SIDE, _SIDE, 3).clip(0, 1),
        extent=(left, right, bottom, top),
        origin="lower",
        aspect="auto",
    )
    X, y = X[:_MOST_POINTS], y[:_MOST_POINTS]
    size = np.clip(2000 / len(X), 14, 90)
    ax.scatter(*X.T, c=colors[y], s=size, edgecolors="white", linewidths=0.4)
    wrong = two_columns(network.predict_proba(X)).argmax(axis=1) != y
    if wrong.any():
        ax.scatter(
            *X[wrong].T, s=3.5 * size, facecolors="none", edgecolors="black",
            linewidths=1.1, label="misclassified",
        )  # fmt: skip
    if hidden_units:
        _draw_units(ax, network, (left, right), (bottom, top))
    for name, color in zip(names, colors, strict=True):
        ax.scatter([], [], c=[color], s=40, label=name[:12])
    dress(ax, "decision boundary", "x0", "x1")
    if len(names) <= 10:
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    else:
        ax.get_legend().remove()
    return ax


def _draw_units(
    ax: Any, network: Network, x: tuple[float, float], y: tuple[float, float]
) -> None:
    """Draw the line of each unit of the first layer through a part of the plane."""
    if network.plan.layers[0].name != "dense":
        raise ValueError("hidden_units needs a network whose first layer is dense")
    W, b = (np.asarray(a, np.float64) for a in network.get_weights()[0])
    scale, shift = model_of(network).scaling
    if scale is not None and shift is not None:
        W, b = scale[:, np.newaxis] * W, b + shift @ W
    sizes = np.linalg.norm(W, axis=0)
    corners = np.stack(np.meshgrid(x, y), axis=-1) @ W + b
    for i, size in enumerate(sizes):
        alpha = 0.15 + 0.6 * size / (sizes.max() or 1.0)
        ax.contour(
            x, y, corners[..., i], [0.0], colors="black", alpha=alpha, linewidths=1
        )


def two_columns(p: NDArray[Any]) -> NDArray[Any]:
    """Return probabilities of both classes where a network gives only class 1's."""
    return p if p.shape[1] > 1 else np.concatenate([1 - p, p], axis=1)
