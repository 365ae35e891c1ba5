"""Pictures of networks and their training (needs matplotlib).

Each function draws on the matplotlib axes ``ax``, by default those of a new figure, and
returns them. ``class_names`` are by default the numbers of the classes. ImportError is
raised if matplotlib is not installed.

| function | picture |
| --- | --- |
| `plot_history` | loss, accuracy or another quantity, by epoch |
| `plot_schedule` | the learning rate, by update |
| `plot_rate_search` | the loss at growing learning rates |
| `plot_confusion_matrix` | which classes are taken for which |
| `plot_misclassified` | images that the network puts into the wrong class |
| `plot_decision_boundary` | the plane, coloured by class |
| `plot_weights` | the weights of the first layer |
| `plot_fit` | a quantity over one input |
| `plot_predictions` | predicted over true quantities |
| `plot_network` | its units, and the weights between them |
| `plot_weight_histogram` | distributions of the weights of each layer |
| `plot_activation_histogram` | of what each passes on |
| `plot_gradient_histogram` | of what each learns by |

`plot_report` lays out all that fit on a page, and returns the figure. Nothing here
changes a network.
"""

from __future__ import annotations

from ._classes import plot_confusion_matrix, plot_decision_boundary, plot_misclassified
from ._network import (
    plot_activation_histogram,
    plot_gradient_histogram,
    plot_network,
    plot_weight_histogram,
)
from ._report import plot_report
from ._training import plot_history, plot_rate_search, plot_schedule
from ._values import plot_fit, plot_predictions, plot_weights

__all__ = [
    "plot_activation_histogram",
    "plot_confusion_matrix",
    "plot_decision_boundary",
    "plot_fit",
    "plot_gradient_histogram",
    "plot_history",
    "plot_misclassified",
    "plot_network",
    "plot_predictions",
    "plot_rate_search",
    "plot_report",
    "plot_schedule",
    "plot_weight_histogram",
    "plot_weights",
]
