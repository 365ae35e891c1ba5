"""A page of all pictures that fit a network and its data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.metrics import confusion_matrix

from ._axes import image_shape_of, require_matplotlib
from ._classes import plot_confusion_matrix, plot_decision_boundary, plot_misclassified
from ._training import curves_of, plot_history, plot_schedule
from ._values import plot_fit, plot_predictions, plot_weights

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastnn.callbacks import History
    from fastnn.network import Network

    from ._training import Curves

__all__ = ["plot_report"]

_SIZE = (40 / 3, 7.5)  # inches: a slide of 16:9

# Letters are panels in the order of `_panels`. Images come last and need more width
# than a matrix; the decision boundary, where there is one, comes first and needs most.
_ROWS = {
    1: ["A"],
    2: ["AB"],
    3: ["ABC"],
    4: ["AB", "CD"],
    5: ["AABBCC", "DDDEEE"],
    6: ["AAAABBBBCCCC", "DDDEEEEEFFFF"],
}
_WITH_PLANE = {2: ["BAA"], 3: ["BAA", "CAA"], 4: ["BCAA", "DDAA"], 5: ["BCAA", "DEAA"]}


def plot_report(
    network: Network,
    history: History | Curves,
    X: ArrayLike,
    y: ArrayLike,
    class_names: Sequence[str] | None = None,
    *,
    title: str = "",
    subtitle: str = "",
    image_shape: tuple[int, int] | None = None,
    validation_label: str = "validation",
) -> Any:
    """Return a figure of the shape of a slide with all pictures that fit.

    Curves of loss and accuracy and, if it changes, the learning rate; for classes the
    decision boundary (two inputs) or the confusion matrix, and for images those that
    are misclassified and the weights of the first layer; for quantities the fit (one
    input) or predicted over true values.

    Parameters
    ----------
    network : Network
        After its training.
    history : History or dict
        What `Network.fit` returned, or its attribute ``history``.
    X, y : array_like (n, n_inputs), (n,) or (n, n_targets)
        Test data: one class per row, or quantities.
    title, subtitle : str
        Text above the pictures.
    image_shape : (int, int), optional
        Height and width, if X are images. By default squares of ``uint8`` are taken for
        images.
    validation_label : str, default "validation"
        The name of the validation data in the legend.

    Returns
    -------
    matplotlib Figure
        Not one of pyplot's: ``figure.savefig("report.png")`` writes it.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> from fastnn import Network, datasets, plotting
    >>> X, y = datasets.moons(200, noise=0.1, seed=0)
    >>> net = Network([2, 16, 2], seed=0)
    >>> history = net.fit(X, y, epochs=20, verbose=0)
    >>> figure = plotting.plot_report(net, history, X, y)  # doctest: +SKIP
    """
    require_matplotlib()
    import matplotlib

    # Figure, not pyplot: no window system, no state shared with the user's figures.
    from matplotlib.figure import Figure

    X, y = np.asarray(X), np.asarray(y)
    if image_shape is None and X.dtype == np.uint8 and X.ndim == 2:
        image_shape = image_shape_of(None, X.shape[1])
    panels = _panels(network, history, X, y, class_names, image_shape, validation_label)
    has_plane = panels[0][0] == "plane"
    rows = (_WITH_PLANE if has_plane else _ROWS)[len(panels)]
    with matplotlib.rc_context({"lines.linewidth": 2}):
        figure = Figure(figsize=_SIZE, layout="constrained")
        layout: Any = figure.get_layout_engine()
        layout.set(w_pad=0.12, h_pad=0.12, wspace=0.03, hspace=0.04)
        if title or subtitle:
            # The only text that the layout makes room for: a blank one as high.
            figure.suptitle("\n" if subtitle else " ", fontsize=18)
        axes = figure.subplot_mosaic("\n".join(rows))
        for letter, (_, draw) in zip("ABCDEF", panels, strict=False):
            draw(axes[letter])
        figure.text(0.012, 0.985, title, va="top", fontsize=20, fontweight="bold")
        figure.text(0.012, 0.925, subtitle, va="top", fontsize=12, color="0.35")
    return figure


def _panels(
    network: Network,
    history: History | Curves,
    X: Any,
    y: Any,
    class_names: Sequence[str] | None,
    image_shape: tuple[int, int] | None,
    validation_label: str,
) -> list[tuple[str, Callable[[Any], Any]]]:
    """Return (kind, function that draws on axes) of all that fit, in page order."""
    plan = network.plan
    curves = curves_of(history)
    has_errors = False
    has_classes = plan.loss.is_classifier and y.ndim == 1
    panels: list[tuple[str, Callable[[Any], Any]]] = []

    def add(kind: str, draw: Callable[..., Any], *args: Any, **named: Any) -> None:
        panels.append((kind, lambda ax: draw(*args, ax=ax, **named)))

    if has_classes and plan.n_inputs == 2:
        add("plane", plot_decision_boundary, network, X, y, class_names)
    for name in ("loss", "accuracy"):
        if name in curves:
            add("curve", plot_history, history, name, validation_label=validation_label)
    rate: Any = network.optimizer.learning_rate
    if callable(rate):
        add("curve", plot_schedule, rate, max(1, network.step))
    if has_classes:
        labels = range(max(plan.n_outputs, 2))
        matrix = confusion_matrix(y, network.predict(X), labels=labels)
        has_errors = matrix.trace() < len(y)
        add("matrix", plot_confusion_matrix, matrix, class_names)
    elif not plan.loss.is_classifier and plan.n_inputs == plan.n_outputs == 1:
        add("fit", plot_fit, network, X, y.reshape(len(y), -1))
    elif not plan.loss.is_classifier:
        values = network.predict(X)[:, plan.point]
        add("predictions", plot_predictions, y.reshape(values.shape), values)
    if image_shape is not None:
        if has_errors:
            add(
                "images", plot_misclassified, network, X, y, class_names,
                image_shape=image_shape,
            )  # fmt: skip
        add("images", plot_weights, network, image_shape=image_shape)
    return panels
