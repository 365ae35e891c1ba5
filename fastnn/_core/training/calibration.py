"""Temperature calibration of probabilities.

The temperature t of probabilities p is that of ``softmax(log(p) / t)``: above 1 for
models that are too sure. It leaves the order of the classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn._base.warn import warn_user

if TYPE_CHECKING:
    from fastnn._base.types import Array, Floats

__all__ = ["LEAST", "at_temperature", "fit_temperature"]

_LOG_RANGE = 3.0  # of the temperature: 0.05 to 20
_HALVINGS = 40
_FEWEST_ROWS = 50
LEAST = 1e-7  # a probability: what float32 tells from 0 near 1


def at_temperature(p: Floats, temperature: float) -> Floats:
    """Return probabilities (n, n_classes) at a temperature."""
    if temperature == 1.0:
        return p
    return _softmax(np.log(np.maximum(p, LEAST)) / temperature)


def fit_temperature(p: Floats, labels: Array, weight: Floats | None) -> float:
    """Return the temperature of the least weighted log-loss; warn of few rows."""
    if len(labels) < _FEWEST_ROWS:
        warn_user(
            f"the temperature of the probabilities is that of {len(labels)} rows, too "
            f"few to rely on; expected {_FEWEST_ROWS} or more"
        )
    if not len(labels):
        return 1.0
    z = np.log(np.maximum(p, LEAST))
    right = np.average(z[np.arange(len(labels)), labels], weights=weight)
    low, high = -_LOG_RANGE, _LOG_RANGE
    for _ in range(_HALVINGS):
        log_t = 0.5 * (low + high)
        # The loss is convex in 1 / t: this is its derivative.
        expected = (_softmax(z * np.exp(-log_t)) * z).sum(axis=1)
        if np.average(expected, weights=weight) > right:
            low = log_t
        else:
            high = log_t
    return float(np.exp(0.5 * (low + high)))


def _softmax(z: Floats) -> Floats:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))
