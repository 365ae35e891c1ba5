"""Losses as data: their names and parameters; each lane has the arithmetic.

To add a loss: a frozen dataclass here, listed in LOSSES; its function in the table of
`fastnn/reference/_losses.py`; a row in `csrc/kinds.h` and a case of KERNEL(point) in
`csrc/kernels/ops/losses.inc.h`, where KERNEL(predict_values) has one too if what is
predicted are not the outputs. One that is no sum over outputs is in
`csrc/kernels/row_losses.c`.
"""

from collections.abc import Callable, Iterable
from math import inf
from typing import Any, ClassVar

from ._base.fields import check_number
from ._base.frozen import dataclass

__all__ = [
    "LOSSES",
    "MAE",
    "MSE",
    "BinaryCrossEntropy",
    "Focal",
    "GaussianNLL",
    "Hinge",
    "Huber",
    "Loss",
    "OwnLoss",
    "Poisson",
    "Quantile",
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
    is_exclusive : bool
        True if a row of several outputs has one class, not one of each output.
    target_range : pair of float
        The least and the greatest value of a target that is no label.
    output_activation : str
        The activation that turns the last layer's raw outputs into predicted values.
        The loss contains it: if the last layer names it too, it is not applied twice.
    outputs_per_target : int
        Those of target j are next to one another: the outputs j k .. (j + 1) k - 1.
    point : int
        Which of them is the predicted value that metrics compare with the target.
    """

    name: ClassVar[str]
    is_classifier: ClassVar[bool] = False
    is_exclusive: ClassVar[bool] = False
    target_range: ClassVar[tuple[float, float]] = (-inf, inf)
    output_activation: ClassVar[str] = "identity"

    @property
    def parameter(self) -> float:
        """The parameter of those that have one, else 0."""
        return 0.0

    @classmethod
    def activation_of(cls, n_outputs: int) -> str:
        """`output_activation` of a network with that number of outputs."""
        return cls.output_activation

    @property
    def outputs_per_target(self) -> int:
        return 1

    @property
    def point(self) -> int:
        return 0


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
    is_exclusive: ClassVar[bool] = True
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


@dataclass(frozen=True)
class Quantile(Loss):
    """Pinball loss: outputs become quantiles of the target, one for each level.

    ``l := 1 / n sum_jk max(q_k d_jk, (q_k - 1) d_jk)`` with ``d_jk := t_j - z_jk``,
    where z_jk is output ``j K + k`` of n: the K levels of a target are next to one
    another, ``predict(X).reshape(len(X), -1, K)``. Nothing keeps them in order: sort
    them where that matters. Metrics compare the target with the level nearest to 0.5.

    Parameters
    ----------
    levels : sequence of float, default (0.1, 0.5, 0.9)
        Increasing, between 0 and 1. One alone may be a number.

    References
    ----------
    R. Koenker, G. Bassett, "Regression Quantiles", Econometrica 46, 1978.

    Examples
    --------
    >>> from fastnn import Network
    >>> from fastnn.losses import Quantile
    >>> net = Network([4, 8, 3], loss=Quantile((0.05, 0.5, 0.95)), seed=0)
    >>> net.predict([[1, 2, 3, 4]]).shape
    (1, 3)
    """

    name: ClassVar[str] = "quantile"

    levels: tuple[float, ...] = (0.1, 0.5, 0.9)

    def __post_init__(self) -> None:
        given: Any = self.levels
        if isinstance(given, str) or not isinstance(given, Iterable):
            given = [given]
        levels = tuple(
            check_number(
                f"levels[{i}]", each, "a number > 0 and < 1", lambda q: 0 < q < 1
            )
            for i, each in enumerate(given)
        )
        if not levels or levels != tuple(sorted({*levels})):
            raise ValueError(f"levels must be increasing numbers, got {levels!r}")
        object.__setattr__(self, "levels", levels)

    @property
    def parameter(self) -> float:
        return float(len(self.levels))

    @property
    def outputs_per_target(self) -> int:
        return len(self.levels)

    @property
    def point(self) -> int:
        return min(range(len(self.levels)), key=lambda k: abs(self.levels[k] - 0.5))


@dataclass(frozen=True)
class GaussianNLL(Loss):
    """Negative log-likelihood of a normal distribution, but for a constant.

    ``l := 1 / n sum_j log v_j + (t_j - m_j)^2 / v_j`` with ``v_j := max(exp(s_j),
    epsilon)``: the outputs 2 j and 2 j + 1 of n are the mean m_j of target j and the
    natural logarithm s_j of its variance, ``np.exp(predict(X)[:, 1::2] / 2)`` is the
    standard deviation. As in PyTorch, the limit takes nothing from the gradient:
    ``dl / ds_j = 1 / n exp(s_j) (1 / v_j - (t_j - m_j)^2 / v_j^2)``. Metrics compare
    the target with the mean.

    Parameters
    ----------
    epsilon : float, default 1e-6
        The least variance, at least 1e-30: a row whose mean is exact would have an
        infinite likelihood.

    References
    ----------
    D. Nix, A. Weigend, "Estimating the Mean and Variance of the Target Probability
    Distribution", ICNN 1994.

    Examples
    --------
    >>> from fastnn import Network
    >>> net = Network([4, 8, 2], loss="gaussian_nll", seed=0)
    >>> net.predict([[1, 2, 3, 4]]).shape
    (1, 2)
    """

    name: ClassVar[str] = "gaussian_nll"

    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        epsilon = check_number(
            "epsilon",
            self.epsilon,
            "a number >= 1e-30 and <= 1",
            lambda e: 1e-30 <= e <= 1,
        )
        object.__setattr__(self, "epsilon", epsilon)

    @property
    def parameter(self) -> float:
        return self.epsilon

    @property
    def outputs_per_target(self) -> int:
        return 2


@dataclass(frozen=True)
class Focal(Loss):
    """Cross-entropy that counts rows the less the better they are predicted.

    ``l := (1 - exp(-c))^gamma c``, where c is the cross-entropy of the row: that of
    `SoftmaxCrossEntropy`, or of `BinaryCrossEntropy` if there is one output. For a
    label, ``exp(-c)`` is the probability p of the true class, ``l = -(1 - p)^gamma
    log p``.

    Parameters
    ----------
    gamma : float, default 2.0
        0 (plain cross-entropy) to 100.

    References
    ----------
    T.-Y. Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.

    Examples
    --------
    >>> from fastnn import Network
    >>> from fastnn.losses import Focal
    >>> Network([4, 8, 1], loss=Focal(1.5), seed=0).predict_proba([[1, 2, 3, 4]]).shape
    (1, 1)
    """

    name: ClassVar[str] = "focal"
    is_classifier: ClassVar[bool] = True
    is_exclusive: ClassVar[bool] = True
    target_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    output_activation: ClassVar[str] = "softmax"

    gamma: float = 2.0

    def __post_init__(self) -> None:
        gamma = check_number(
            "gamma", self.gamma, "a number >= 0 and <= 100", lambda g: 0 <= g <= 100
        )
        object.__setattr__(self, "gamma", gamma)

    @property
    def parameter(self) -> float:
        return self.gamma

    @classmethod
    def activation_of(cls, n_outputs: int) -> str:
        return "sigmoid" if n_outputs == 1 else "softmax"


@dataclass(frozen=True)
class Hinge(Loss):
    """Hinge loss, of which margins are made and no probabilities.

    Of one output and labels 0 and 1, ``l := max(0, 1 - s z)`` with ``s := 2 t - 1``.
    Of several, with class y, ``l := 1 / n sum_{j != y} max(0, 1 - z_y + z_j)``, as
    PyTorch's ``MultiMarginLoss``. The derivative at a kink is 0. Of one-hot targets, y
    is the greatest. The raw outputs take the place of probabilities.

    References
    ----------
    J. Weston, C. Watkins, "Support Vector Machines for Multi-Class Pattern
    Recognition", ESANN 1999.

    Examples
    --------
    >>> from fastnn import Network
    >>> Network([4, 8, 3], loss="hinge", seed=0).predict([[1, 2, 3, 4]]).shape
    (1,)
    """

    name: ClassVar[str] = "hinge"
    is_classifier: ClassVar[bool] = True
    is_exclusive: ClassVar[bool] = True
    target_range: ClassVar[tuple[float, float]] = (0.0, 1.0)


@dataclass(frozen=True)
class OwnLoss(Loss):
    """A loss of your own, as a function: what ``Network(loss=function)`` makes of it.

    It is called in Python for every batch: a slow way, beside the losses above. Fit,
    evaluation, weights, callbacks and all optimizers work as ever. The gradient is
    compared with differences when it is first used: ValueError says where it is wrong.

    Parameters
    ----------
    function : callable
        Of the raw outputs and the targets, float arrays (m, n_outputs), whose rows have
        nothing to do with each other. Returns (the loss of each row (m,), its gradient
        by the outputs (m, n_outputs)).

    Notes
    -----
    `predict` returns the outputs as they are. A function cannot be stored, so `save`
    and pickle refuse such a network: keep its weights (`Network.state_dict`). With
    ``fit(accumulate=k)`` the rows of k mini-batches are one.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> def log_cosh(outputs, targets):
    ...     error = outputs - targets
    ...     return np.log(np.cosh(error)).sum(axis=1), np.tanh(error)
    >>> X = np.linspace(-1, 1, 64)[:, np.newaxis]
    >>> net = fastnn.Network([1, 16, 1], loss=log_cosh, seed=0)
    >>> history = net.fit(X, X**2, epochs=50, batch_size=16, verbose=0)
    >>> history.history["loss"][-1] < history.history["loss"][0]
    True
    """

    name: ClassVar[str] = "own"
    checked: ClassVar[bool] = False  # of an object, once its gradient is

    function: Callable[[Any, Any], tuple[Any, Any]]

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(f"function must be callable, got {self.function!r}")

    @property
    def label(self) -> str:
        """What the function is called."""
        return getattr(self.function, "__name__", type(self.function).__name__)


LOSSES: dict[str, type[Loss]] = {
    each.name: each
    for each in (
        SoftmaxCrossEntropy, BinaryCrossEntropy, MSE, MAE, Huber, Poisson, Quantile,
        GaussianNLL, Focal, Hinge,
    )
}  # fmt: skip
