"""Losses as data: their names and parameters; each lane has the arithmetic.

To add a loss: a frozen dataclass here, listed in LOSSES; its function in the table of
`fastnn/reference/_losses.py`; a row in `csrc/kinds.h` and a case of KERNEL(point) in
`csrc/kernels/ops/losses.inc.h`, where KERNEL(predict_values) has one too if what is
predicted are not the outputs.
"""

from math import inf
from typing import ClassVar

from ._base.fields import check_number
from ._base.frozen import dataclass

__all__ = [
    "LOSSES",
    "MAE",
    "MSE",
    "BinaryCrossEntropy",
    "Huber",
    "Loss",
    "Poisson",
    "SoftmaxCrossEntropy",
]


class Loss:
    """The base class of losses: the attributes that all of them have.

    A batch's loss is ``sum_i w_i l_i / sum_i w_i`` over its rows, with sample weights
    ``w_i`` (1 when not given); a subclass defines the loss ``l_i`` of one row, from the
    raw outputs ``z`` of the last layer and the targets ``t``.

    Attributes
    ----------
    name : str
        The name that users and model files use.
    is_classifier : bool
        True if the targets are classes, so that labels and an accuracy exist.
    target_range : pair of float
        The least and the greatest value of a target that is no label.
    output_activation : str
        The activation that turns the last layer's raw outputs into predicted values.
        The loss contains it: if the last layer names it too, it is not applied twice.
    """

    name: ClassVar[str]
    is_classifier: ClassVar[bool] = False
    target_range: ClassVar[tuple[float, float]] = (-inf, inf)
    output_activation: ClassVar[str] = "identity"

    @property
    def parameter(self) -> float:
        """The parameter of those that have one, else 0."""
        return 0.0


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
    target_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
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

    @property
    def parameter(self) -> float:
        return self.label_smoothing


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """Cross-entropy of the sigmoids of the raw outputs, summed over the outputs.

    ``l := sum_j max(z_j, 0) - t_j z_j + log(1 + exp(-|z_j|))``, which is
    ``-sum_j t_j log p_j + (1 - t_j) log(1 - p_j)`` with ``p := sigmoid(z)``. With one
    output the targets may be labels 0 and 1; with several, each target is 0 or 1 on its
    own (multi-label), or a probability.

    References
    ----------
    C. Bishop, "Pattern Recognition and Machine Learning", 2006, section 4.3.2.

    Examples
    --------
    >>> from fastnn import Network
    >>> net = Network([4, 8, 1], loss="binary_cross_entropy", seed=0)
    >>> net.predict_proba([[1, 2, 3, 4]]).shape
    (1, 1)
    """

    name: ClassVar[str] = "binary_cross_entropy"
    is_classifier: ClassVar[bool] = True
    target_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    output_activation: ClassVar[str] = "sigmoid"


@dataclass(frozen=True)
class MSE(Loss):
    """Mean squared error, ``l := 1 / n sum_j (z_j - t_j)^2``."""

    name: ClassVar[str] = "mse"


@dataclass(frozen=True)
class MAE(Loss):
    """Mean absolute error, ``l := 1 / n sum_j |z_j - t_j|``.

    The derivative at 0 is 0.
    """

    name: ClassVar[str] = "mae"


@dataclass(frozen=True)
class Huber(Loss):
    """Squared near the target and linear far from it.

    ``l := 1 / n sum_j h(z_j - t_j)`` with ``h(d) := d^2 / 2`` where ``|d| <= delta``,
    else ``delta (|d| - delta / 2)``.

    Parameters
    ----------
    delta : float, default 1.0
        Greater than 0.

    References
    ----------
    P. Huber, "Robust Estimation of a Location Parameter", 1964.

    Examples
    --------
    >>> from fastnn.losses import Huber
    >>> Huber(0.5)
    Huber(delta=0.5)
    """

    name: ClassVar[str] = "huber"

    delta: float = 1.0

    def __post_init__(self) -> None:
        delta = check_number(
            "delta",
            self.delta,
            "a number >= 1e-30 and <= 1e30",
            lambda d: 1e-30 <= d <= 1e30,
        )
        object.__setattr__(self, "delta", delta)

    @property
    def parameter(self) -> float:
        return self.delta


@dataclass(frozen=True)
class Poisson(Loss):
    """Negative log-likelihood of counts, without the term of the targets alone.

    ``l := 1 / n sum_j exp(z_j) - t_j z_j``: the raw outputs are the logarithms of the
    rates, and the predictions are ``exp(z)``. The targets are numbers >= 0.

    References
    ----------
    C. Cameron, P. Trivedi, "Regression Analysis of Count Data", 2nd ed., 2013.
    """

    name: ClassVar[str] = "poisson"
    target_range: ClassVar[tuple[float, float]] = (0.0, inf)
    output_activation: ClassVar[str] = "exponential"


LOSSES: dict[str, type[Loss]] = {
    each.name: each
    for each in (SoftmaxCrossEntropy, BinaryCrossEntropy, MSE, MAE, Huber, Poisson)
}
