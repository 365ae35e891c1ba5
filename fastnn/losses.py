"""Losses as data: their names and parameters; each lane has the arithmetic.

To add a loss: a frozen dataclass here, listed in LOSSES, and one entry in the table of
each lane.
"""

from dataclasses import dataclass
from typing import ClassVar

from ._fields import check_number


class Loss:
    """What every loss states about itself.

    A batch's loss is ``sum_i w_i l_i / sum_i w_i`` over its rows, with sample weights
    ``w_i`` (1 when not given); a subclass defines the loss ``l_i`` of one row.

    Attributes
    ----------
    name : str
        The name users and model files call it by.
    is_classifier : bool
        True if the targets are classes, so that labels and an accuracy exist.
    output_activation : str
        The activation that turns the last layer's raw outputs into predicted values.
        The loss contains it: a last layer that names it again is not applied twice.
    """

    name: ClassVar[str]
    is_classifier: ClassVar[bool]
    output_activation: ClassVar[str]


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """Cross-entropy of the softmax of the raw outputs, for one class per row.

    ``l := -sum_j t_j log softmax(z)_j`` with natural logarithms, where the targets are
    ``t := (1 - s) t0 + s / n``: ``t0`` is 1 for the true class and 0 elsewhere, or the
    row of soft targets given, ``s`` the label smoothing and ``n`` the number of
    classes.

    Parameters
    ----------
    label_smoothing : float, default 0.0
        Share of the target spread evenly over all classes, 0 to 1.

    Raises
    ------
    TypeError, ValueError
        If ``label_smoothing`` is not a number from 0 to 1.

    References
    ----------
    C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
    CVPR 2016, section 7 (label smoothing).

    Examples
    --------
    >>> from fastnn.losses import SoftmaxCrossEntropy
    >>> SoftmaxCrossEntropy(label_smoothing=0.1)
    SoftmaxCrossEntropy(label_smoothing=0.1)
    """

    name: ClassVar[str] = "softmax_cross_entropy"
    is_classifier: ClassVar[bool] = True
    output_activation: ClassVar[str] = "softmax"

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        smoothing = check_number(
            "label_smoothing",
            self.label_smoothing,
            "a number from 0 to 1",
            lambda s: 0 <= s <= 1,
        )
        object.__setattr__(self, "label_smoothing", smoothing)


LOSSES: dict[str, type[Loss]] = {SoftmaxCrossEntropy.name: SoftmaxCrossEntropy}
