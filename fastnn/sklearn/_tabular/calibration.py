"""Temperature calibration of probabilities.

The temperature t of probabilities p is that of ``softmax(log(p) / t)``: above 1 for
models that are too sure. It leaves the order of the classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

if TYPE_CHECKING:
    from fastnn._base.types import Array, Floats

__all__ = ["at_temperature", "fit_temperature"]

_LOG_RANGE = 3.0  # of the temperature: 0.05 to 20
_LEAST = 1e-7  # a probability: what float32 tells from 0 near 1


def at_temperature(p: Floats, temperature: float) -> Floats:
    """Return probabilities (n, n_classes) at a temperature."""
    if temperature == 1.0:
        return p
    log_p = np.log(np.maximum(p, _LEAST))
    return np.asarray(np.exp(log_softmax(log_p / temperature, axis=1)))


def fit_temperature(p: Floats, labels: Array, weight: Floats | None) -> float:
    """Return the temperature of the least weighted log-loss."""
    log_p = np.log(np.maximum(p, _LEAST))
    rows = np.arange(len(labels))

    def loss(log_t: float) -> float:
        found = log_softmax(log_p * np.exp(-log_t), axis=1)[rows, labels]
        return -float(np.average(found, weights=weight))

    bounds = (-_LOG_RANGE, _LOG_RANGE)
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))
