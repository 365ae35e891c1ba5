"""Pictures of a network itself: its diagram, and what its layers hold and pass on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ._axes import axes_or_new, dress

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastnn._base.types import Array
    from fastnn.network import Network

__all__ = [
    "plot_activation_histogram",
    "plot_gradient_histogram",
    "plot_network",
    "plot_weight_histogram",
]

_MOST_UNITS = 12  # shown of a layer


def plot_weight_histogram(network: Network, ax: Any = None) -> Any:
    """Draw how the weights of each layer are distributed, without biases.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([4, 8, 3], seed=0)
    >>> ax = fastnn.plotting.plot_weight_histogram(net)  # doctest: +SKIP
    """
    pairs = zip(_parametric(network), network.get_weights(), strict=True)
    arrays = ((name, pair[0]) for name, pair in pairs)
    return _histograms(arrays, "weights", "weight", ax)


def plot_activation_histogram(network: Network, X: ArrayLike, ax: Any = None) -> Any:
    """Draw how the outputs of each layer are distributed for these rows.

    Values that pile up where an activation is flat say that a layer learns little.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> net = fastnn.Network([4, 8, 3], seed=0)
    >>> ax = fastnn.plotting.plot_activation_histogram(
    ...     net, np.eye(4)
    ... )  # doctest: +SKIP
    """
    outputs = network.activations(X)
    layers = network.layers
    names = (f"{i}: {layer.name}" for i, layer in enumerate(layers))
    return _histograms(zip(names, outputs, strict=True), "activations", "output", ax)


def plot_gradient_histogram(
    network: Network, X: ArrayLike, y: ArrayLike, ax: Any = None
) -> Any:
    """Draw the sizes of the loss's gradients by the weights of each layer.

    On a logarithmic scale: layers that are orders of magnitude apart learn at different
    speeds. Gradients of 0 are left out.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> net = fastnn.Network([4, 8, 3], seed=0)
    >>> ax = fastnn.plotting.plot_gradient_histogram(
    ...     net, np.eye(4), [0, 1, 2, 0]
    ... )  # doctest: +SKIP
    """
    _, gradients = network.loss_and_gradients(X, y)
    sizes = []
    for name, (dW, _) in zip(_parametric(network), gradients, strict=True):
        size = abs(np.asarray(dW, np.float64))
        sizes.append((name, np.log10(size[size > 0])))
    ax = _histograms(sizes, "gradients by the weights", "size", ax)
    low, high = ax.get_xlim()
    # A tick a power of ten, or every other.
    step = max(1, int(np.ceil((high - low) / 8)))
    ticks = np.arange(np.ceil(low), np.floor(high) + 1, step)
    ax.set_xticks(ticks, [f"$10^{{{tick:.0f}}}$" for tick in ticks])
    return ax


def _parametric(network: Network) -> list[str]:
    return [f"{i}: {network.layers[i].name}" for i in network.plan.parametric_layers]


def _histograms(
    arrays: Iterable[tuple[str, Array]], title: str, quantity: str, ax: Any
) -> Any:
    """Outlines, one a layer, each of the area 1."""
    ax = axes_or_new(ax)
    given = [(name, np.asarray(a, np.float64).ravel()) for name, a in arrays]
    given = [(name, values) for name, values in given if values.size]
    if given:
        low = min(values.min() for _, values in given)
        high = max(values.max() for _, values in given)
        room = 0.02 * (high - low) or 0.5
        bins = np.linspace(low - room, high + room, 61)
        for i, (name, values) in enumerate(given):
            density, _ = np.histogram(values, bins, density=True)
            ax.stairs(density, bins, fill=True, alpha=0.12, color=f"C{i % 10}")
            ax.stairs(density, bins, label=name, color=f"C{i % 10}")
    return dress(ax, title, quantity, "density")


def plot_network(network: Network, ax: Any = None) -> Any:
    """Draw the layers as columns of units, and the weights between them as lines.

    Red lines are positive weights, blue ones negative; the larger, the darker. Of a
    layer with more than 12 units, the first and the last ones are drawn.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([4, 8, 3], seed=0)
    >>> ax = fastnn.plotting.plot_network(net)  # doctest: +SKIP
    """
    ax = axes_or_new(ax)
    plan = network.plan
    weights = dict(zip(plan.parametric_layers, network.get_weights(), strict=True))
    columns = [_units(width) for width in plan.widths]
    for i, layer in enumerate(plan.layers):
        W = weights[i][0] if layer.name == "dense" else None
        _draw_lines(ax, i, columns[i], columns[i + 1], W)
    bottom = min(y.min() for _, y in columns)
    for i, (units, y) in enumerate(columns):
        ax.scatter(np.full(len(y), i), y, s=90, c="white", edgecolors="0.25", zorder=3)
        if len(units) < plan.widths[i]:
            ax.text(i, 0, "⋮", ha="center", va="center", fontsize=14)
        text = f"inputs\n{plan.widths[i]}"
        if i:
            layer = plan.layers[i - 1]
            act = getattr(layer.activation, "name", layer.activation)
            act = "" if act == "identity" else f"\n{act}"
            text = f"{layer.name.replace('_', ' ')}\n{plan.widths[i]}{act}"
        ax.text(i, bottom - 0.8, text, ha="center", va="top", fontsize=9)
    ax.set(xlim=(-0.6, len(columns) - 0.4), ylim=(bottom - 3.2, -bottom + 0.8))
    ax.axis("off")
    return ax


def _units(width: int) -> tuple[Array, Array]:
    """Numbers of the units that are drawn, and their heights."""
    if width <= _MOST_UNITS:
        return np.arange(width), (width - 1) / 2 - np.arange(width)
    half = _MOST_UNITS // 2
    units = np.r_[0:half, width - half : width]
    y = np.r_[half + 0.5 : 0.5 : -1, -1.5 : -half - 1.5 : -1]
    return units, y


def _draw_lines(
    ax: Any,
    i: int,
    below: tuple[Array, Array],
    above: tuple[Array, Array],
    W: Array | None,
) -> None:
    from matplotlib.collections import LineCollection

    if W is None:  # unit by unit
        of = {int(unit): y for unit, y in zip(*above, strict=True)}
        ends = [(y, of[unit]) for unit, y in zip(*below, strict=True) if unit in of]
        segments = [[(i, a), (i + 1, b)] for a, b in ends]
        ax.add_collection(LineCollection(segments, colors="0.7", lw=0.8))
        return
    shown = np.asarray(W[np.ix_(below[0], above[0])], np.float64)
    sizes = abs(shown) / (abs(shown).max() or 1.0)
    colors = np.empty((*shown.shape, 4))
    red, blue = (0.75, 0.1, 0.17, 1.0), (0.13, 0.4, 0.68, 1.0)  # as of plot_weights
    colors[:] = np.where((shown > 0)[..., None], red, blue)
    colors[..., 3] = 0.08 + 0.92 * sizes
    segments = [[(i, a), (i + 1, b)] for a in below[1] for b in above[1]]
    lines = LineCollection(
        segments, colors=colors.reshape(-1, 4), lw=0.4 + 1.4 * sizes.ravel()
    )
    ax.add_collection(lines)
