"""Stateless updates of Adam and its relatives.

``w`` and its state are C-contiguous and writable, and no two arrays share memory; a
call that raises has changed nothing.
"""

from fastnn._base.types import Array
from fastnn.optimizers import Adam, AdamW, Lion, NAdam

from ._update import update

__all__ = [
    "adam_update",
    "adamw_update",
    "lion_update",
    "nadam_update",
]


def adam_update(
    w: Array,
    dw: Array,
    first_moment: Array,
    second_moment: Array,
    step: int,
    learning_rate: float = 1e-3,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
) -> None:
    """Adam in place.

    ``m := b1 m + (1 - b1) dw``, ``v := b2 v + (1 - b2) dw^2``,
    ``w := w - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + epsilon)``.

    Parameters
    ----------
    w : ndarray
        Weights, float32 or float64, C-contiguous and writable, of any shape; changed.
    dw : ndarray
        Gradient, of w's shape and dtype.
    first_moment, second_moment : ndarray
        m and v, like w, first zero; changed.
    step : int
        t, which is 1 for the first update.
    learning_rate : float, default 1e-3
        Greater than 0.
    beta_1, beta_2 : float, default 0.9 and 0.999
        0 up to, not including, 1.
    epsilon : float, default 1e-8
        At least 1e-30.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype, shape, layout or range, or arrays overlap.

    References
    ----------
    D. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015,
    algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import adam_update
    >>> w, m, v = np.ones(1), np.zeros(1), np.zeros(1)
    >>> adam_update(w, np.array([4.0]), m, v, step=1, learning_rate=0.25)
    >>> w.round(6), m.round(6), v.round(6)
    (array([0.75]), array([0.4]), array([0.016]))
    """
    update(
        "adam",
        Adam(learning_rate, beta_1, beta_2, epsilon),
        w,
        dw,
        step,
        first_moment=first_moment,
        second_moment=second_moment,
    )


def adamw_update(
    w: Array,
    dw: Array,
    first_moment: Array,
    second_moment: Array,
    step: int,
    learning_rate: float = 1e-3,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.01,
) -> None:
    """Adam with decoupled weight decay, in place.

    ``w := (1 - lr * weight_decay) w``, then `adam_update`.

    Parameters
    ----------
    w : ndarray
        Weights, float32 or float64, C-contiguous and writable, of any shape; changed.
    dw : ndarray
        Gradient, of w's shape and dtype.
    first_moment, second_moment : ndarray
        m and v, like w, first zero; changed.
    step : int
        t, which is 1 for the first update.
    learning_rate : float, default 1e-3
        Greater than 0.
    beta_1, beta_2 : float, default 0.9 and 0.999
        0 up to, not including, 1.
    epsilon : float, default 1e-8
        At least 1e-30.
    weight_decay : float, default 0.01
        At least 0.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype, shape, layout or range, or arrays overlap.

    References
    ----------
    I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019,
    algorithm 2, in PyTorch's form.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import adamw_update
    >>> w, m, v = np.ones(1), np.zeros(1), np.zeros(1)
    >>> adamw_update(w, np.zeros(1), m, v, 1, learning_rate=0.5, weight_decay=0.5)
    >>> w
    array([0.75])
    """
    update(
        "adam",
        AdamW(learning_rate, beta_1, beta_2, epsilon, weight_decay=weight_decay),
        w,
        dw,
        step,
        first_moment=first_moment,
        second_moment=second_moment,
    )


def nadam_update(
    w: Array,
    dw: Array,
    first_moment: Array,
    second_moment: Array,
    step: int,
    learning_rate: float = 2e-3,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    momentum_decay: float = 4e-3,
) -> None:
    """Adam with Nesterov's momentum, in place.

    With ``mu_t := b1 (1 - 0.96^(t psi) / 2)``, ``P_t := mu_1 ... mu_t``, and m and v as
    in `adam_update`: ``w := w - lr (mu_(t+1) m / (1 - P_(t+1))
    + (1 - mu_t) dw / (1 - P_t)) / (sqrt(v) / sqrt(1 - b2^t) + epsilon)``.

    Parameters
    ----------
    w : ndarray
        Weights, float32 or float64, C-contiguous and writable, of any shape; changed.
    dw : ndarray
        Gradient, of w's shape and dtype.
    first_moment, second_moment : ndarray
        m and v, like w, first zero; changed.
    step : int
        t, which is 1 for the first update.
    learning_rate : float, default 2e-3
        Greater than 0.
    beta_1, beta_2 : float, default 0.9 and 0.999
        0 up to, not including, 1.
    epsilon : float, default 1e-8
        At least 1e-30.
    momentum_decay : float, default 4e-3
        psi, at least 0.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype, shape, layout or range, or arrays overlap.

    References
    ----------
    T. Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016; in
    PyTorch's form.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import nadam_update
    >>> w, m, v = np.ones(1), np.zeros(1), np.zeros(1)
    >>> nadam_update(w, np.array([4.0]), m, v, step=1, learning_rate=0.25)
    >>> w.round(6), m.round(6), v.round(6)
    (array([0.735887]), array([0.4]), array([0.016]))
    """
    update(
        "nadam",
        NAdam(learning_rate, beta_1, beta_2, epsilon, momentum_decay),
        w,
        dw,
        step,
        first_moment=first_moment,
        second_moment=second_moment,
    )


def lion_update(
    w: Array,
    dw: Array,
    first_moment: Array,
    learning_rate: float = 1e-4,
    beta_1: float = 0.9,
    beta_2: float = 0.99,
) -> None:
    """The sign of an interpolated momentum, in place.

    ``w := w - lr sign(b1 m + (1 - b1) dw); m := b2 m + (1 - b2) dw``.

    Parameters
    ----------
    w : ndarray
        Weights, float32 or float64, C-contiguous and writable, of any shape; changed.
    dw : ndarray
        Gradient, of w's shape and dtype.
    first_moment : ndarray
        m, like w, first zero; changed.
    learning_rate : float, default 1e-4
        Greater than 0.
    beta_1, beta_2 : float, default 0.9 and 0.99
        0 up to, not including, 1.

    Raises
    ------
    TypeError, ValueError
        If an argument has another dtype, shape, layout or range, or arrays overlap.

    References
    ----------
    X. Chen et al., "Symbolic Discovery of Optimization Algorithms", NeurIPS 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference import lion_update
    >>> w, m = np.array([1.0]), np.array([-2.0])
    >>> lion_update(w, np.array([1.0]), m, learning_rate=0.5, beta_2=0.5)
    >>> w, m
    (array([1.5]), array([-0.5]))
    """
    update(
        "lion", Lion(learning_rate, beta_1, beta_2), w, dw, first_moment=first_moment
    )
