"""Pictures of predicted quantities, and of the weights of the first layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._base.fields import check_integer

from ._axes import axes_or_new, draw_tiles, dress, image_shape_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastnn.network import Network

__all__ = ["plot_fit", "plot_predictions", "plot_weights"]

_FEWEST_PIXELS = 16  # a square of fewer inputs is more likely a coincidence


def plot_fit(network: Network, X: ArrayLike, y: ArrayLike, ax: Any = None) -> Any:
    """Draw points of a quantity over one input, and the curve the network makes of it.

    Parameters
    ----------
    network : Network
        With one input and one output.
    X, y : array_like (n, 1)
        The points.

    Raises
    ------
    ValueError
        If X and y are not both (n, 1).

    Examples
    --------
    >>> from fastnn import Network, datasets, plotting
    >>> X, y = datasets.line(20, noise=1.0, seed=0)
    >>> net = Network([1, 1], loss="mse", seed=0)
    >>> ax = plotting.plot_fit(net, X, y)  # doctest: +SKIP
    """
    X, y = np.asarray(X), np.asarray(y)
    if X.ndim != 2 or X.shape[1] != 1 or not len(X) or y.shape != X.shape:
        raise ValueError(
            f"X and y have shapes {X.shape} and {y.shape}; expected (n, 1)"
        )
    ax = axes_or_new(ax)
    left, right = float(X.min()), float(X.max())
    margin = 0.05 * (right - left)
    x = np.linspace(left - margin, right + margin, 300)
    ax.scatter(X[:, 0], y[:, 0], s=14, color="tab:blue", label="test points")
    ax.plot(x, network.predict(x[:, np.newaxis])[:, 0], "tab:red", label="network")
    return dress(ax, "fit", "x", "y")


def plot_predictions(y_true: ArrayLike, y_pred: ArrayLike, ax: Any = None) -> Any:
    """Draw predicted over true quantities: the nearer to the diagonal, the better.

    Parameters
    ----------
    y_true, y_pred : array_like (n, n_targets) or (n,)

    Raises
    ------
    ValueError
        If the two have different shapes, or no rows.

    Examples
    --------
    >>> from fastnn import plotting
    >>> ax = plotting.plot_predictions([1.0, 2.0], [1.1, 1.8])  # doctest: +SKIP
    """
    true, predicted = np.asarray(y_true), np.asarray(y_pred)
    if true.shape != predicted.shape or true.ndim not in (1, 2) or not true.size:
        raise ValueError(
            f"y_true and y_pred have shapes {true.shape} and {predicted.shape}; "
            "expected the same, (n, n_targets)"
        )
    true, predicted = (each.reshape(len(each), -1) for each in (true, predicted))
    ax = axes_or_new(ax)
    low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
    ax.plot([low, high], [low, high], color="grey", linewidth=1)
    for i, (given, values) in enumerate(zip(true.T, predicted.T, strict=True)):
        label = f"target {i}" if true.shape[1] > 1 else None
        ax.scatter(given, values, s=10, alpha=0.6, label=label)
    return dress(ax, "test rows", "true", "predicted")


def plot_weights(
    network: Network,
    ax: Any = None,
    *,
    image_shape: tuple[int, int] | None = None,
    n_units: int = 48,
) -> Any:
    """Draw the weights of the first layer: an image per unit, or one table.

    Blue is negative, white zero, red positive; all images have the same scale. Units
    are ordered by the length of their weights, the longest first.

    Parameters
    ----------
    network : Network
    image_shape : (int, int), optional
        Height and width of the inputs; by default a square, if they are one of at least
        16 pixels. Inputs that are not an image give a table, a row per unit and a
        column per input.
    n_units : int, default 48
        The most units to draw.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> from fastnn import Network, plotting
    >>> net = Network([64, 32, 10], seed=0)
    >>> ax = plotting.plot_weights(net)  # doctest: +SKIP
    """
    n_units = check_integer("n_units", n_units, 1)
    W = np.asarray(network.get_weights()[0][0], dtype=np.float64)
    shape = image_shape_of(image_shape, len(W))
    order = np.argsort(-np.linalg.norm(W, axis=0), kind="stable")[:n_units]
    of = "" if len(order) == W.shape[1] else f", {len(order)} of {W.shape[1]} units"
    ax = axes_or_new(ax)
    shown = W.T[order]
    limit = max(float(np.quantile(np.abs(shown), 0.995)), 1e-30)
    if shape is not None and (image_shape is not None or len(W) >= _FEWEST_PIXELS):
        images = shown.reshape(-1, *shape)
        draw_tiles(ax, images, cmap="RdBu_r", limits=(-limit, limit))
        labels: tuple[str, ...] = ()
    else:
        ax.imshow(
            shown, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto",
            interpolation="nearest",
        )  # fmt: skip
        ax.locator_params(integer=True)
        labels = ("input", "unit, strongest first")
    bar = ax.figure.colorbar(ax.images[0], ax=ax, shrink=0.9, aspect=25, pad=0.02)
    bar.outline.set_visible(False)
    return dress(ax, f"first-layer weights{of}", *labels)
