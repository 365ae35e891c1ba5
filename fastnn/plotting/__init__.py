"""Pictures of networks and their training (needs matplotlib).

Each function draws on the axes ``ax``, or on those of a new figure, and returns them:

| function | picture |
| --- | --- |
| `plot_history` | loss, accuracy or another quantity, by epoch |
| `plot_schedule` | the learning rate, by update |
| `plot_confusion_matrix` | which classes are taken for which |
| `plot_misclassified` | images that the network puts into the wrong class |
| `plot_decision_boundary` | the plane, coloured by class |
| `plot_weights` | the weights of the first layer |
| `plot_fit` | a quantity over one input |
| `plot_predictions` | predicted over true quantities |

`plot_report` lays out all that fit on a page, and returns the figure.

Nothing here computes or changes a network; matplotlib is imported in the functions.
"""

from __future__ import annotations

from ._axes import require_format, require_matplotlib
from ._classes import plot_confusion_matrix, plot_decision_boundary, plot_misclassified
from ._report import plot_report
from ._training import plot_history, plot_schedule
from ._values import plot_fit, plot_predictions, plot_weights

__all__ = [
    "plot_confusion_matrix",
    "plot_decision_boundary",
    "plot_fit",
    "plot_history",
    "plot_misclassified",
    "plot_predictions",
    "plot_report",
    "plot_schedule",
    "plot_weights",
    "require_format",
    "require_matplotlib",
]
