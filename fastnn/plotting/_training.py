"""Pictures of how a training went: curves, and the learning rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._base.fields import check_integer

from ._axes import axes_or_new, dress

if TYPE_CHECKING:
    from fastnn._core.training.rate_search import RateSearch
    from fastnn.callbacks import History

__all__ = ["curves_of", "plot_history", "plot_rate_search", "plot_schedule"]

Curves = Mapping[str, Sequence[float]]


def plot_history(
    history: History | Curves,
    name: str = "loss",
    ax: Any = None,
    *,
    validation_label: str = "validation",
) -> Any:
    """Draw a quantity over the epochs of a training, with that of the validation.

    A loss that falls to less than a tenth has a logarithmic axis. A dashed line is at
    the epoch whose weights `EarlyStopping` restored.

    Parameters
    ----------
    history : History or dict
        What `Network.fit` returned, or its attribute ``history``.
    name : str, default "loss"
        "loss", "accuracy" or any other name of the history; if the history has it with
        "val_" before it, both are drawn.
    validation_label : str, default "validation"
        The name of the validation data in the legend.

    Raises
    ------
    ValueError
        If the history has no such name.

    Examples
    --------
    >>> from fastnn import plotting
    >>> ax = plotting.plot_history({"loss": [0.9, 0.4, 0.3]})  # doctest: +SKIP
    """
    curves = curves_of(history)
    if name not in curves:
        raise ValueError(
            f"name is {name!r}; expected one of the history: {', '.join(curves)}"
        )
    ax = axes_or_new(ax)
    from matplotlib.ticker import MaxNLocator

    for key, label in ((name, "training"), (f"val_{name}", validation_label)):
        if key in curves:
            epochs = np.arange(1, len(curves[key]) + 1)
            style = ".-" if len(epochs) <= 40 else "-"
            ax.plot(epochs, curves[key], style, label=label)
    low, high = ax.dataLim.intervaly
    if "loss" in name and 0 < 10 * low < high < np.inf:
        ax.set_yscale("log")
    best = getattr(history, "restored_epoch", None)
    if best is not None and best in history.epochs:  # type: ignore[union-attr]
        place = 1 + history.epochs.index(best)  # type: ignore[union-attr]
        ax.axvline(place, color="0.4", ls="--", lw=1.2, label=f"restored: {place}")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    return dress(ax, name, "epoch")


def plot_schedule(
    schedule: float | Callable[..., Any], steps: int, ax: Any = None
) -> Any:
    """Draw the learning rate of updates 0 to steps - 1.

    Parameters
    ----------
    schedule : Schedule or float
        One of `fastnn.schedules`, such as ``network.optimizer.learning_rate``; a number
        is a constant rate.
    steps : int
        Updates in all: epochs times the batches of an epoch.

    Raises
    ------
    TypeError, ValueError
        If `steps` is not an integer >= 1.

    Examples
    --------
    >>> from fastnn import plotting, schedules
    >>> cosine = schedules.Cosine(0.01, steps=900)
    >>> ax = plotting.plot_schedule(cosine, steps=900)  # doctest: +SKIP
    """
    steps = check_integer("steps", steps, 1)
    ax = axes_or_new(ax)
    t = np.unique(np.linspace(0, steps - 1, 2000).round().astype(np.int64))
    rates = schedule(t) if callable(schedule) else np.full(len(t), float(schedule))
    ax.plot(t, rates, "-" if len(t) > 1 else "o")
    ax.set_ylim(0, 1.08 * rates.max())
    return dress(ax, "learning rate", "update")


def plot_rate_search(search: RateSearch, ax: Any = None) -> Any:
    """Draw the loss over the learning rate, and the rate that is suggested.

    Examples
    --------
    >>> import fastnn
    >>> X, y = fastnn.datasets.digits()[:2]
    >>> net = fastnn.Network([64, 32, 10], input_scale=1 / 16, seed=0)
    >>> found = net.find_learning_rate(X, y)
    >>> ax = fastnn.plotting.plot_rate_search(found)  # doctest: +SKIP
    """
    ax = axes_or_new(ax)
    ax.plot(search.rates, search.losses)
    rate = search.suggestion
    ax.axvline(rate, color="C1", ls="--", label=f"suggested: {rate:.2g}")
    ax.set_xscale("log")
    return dress(ax, "rate search", "learning rate", "loss")


def curves_of(history: History | Curves) -> Curves:
    """Return the lists of a history by name, or the dict of them that is given."""
    return history if isinstance(history, Mapping) else history.history
