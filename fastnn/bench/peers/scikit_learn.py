"""scikit-learn's MLPClassifier: one call of partial_fit is one epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier

from .setup import Side, set_blas_threads, thread_settings
from .tasks import (
    ADAM_RATE,
    BETA2,
    CHECKED_ROWS,
    EPOCH_BATCH,
    EPSILON,
    RATE,
    Task,
    check_rate,
    initial_weights,
    make_images,
    make_rows,
)

__all__ = ["settings", "side"]

# Its Adam adds epsilon before the correction for the first steps, the others after it:
# this is theirs in its first step, and about that in the next ones.
_EPSILON = EPSILON * (1 - BETA2) ** 0.5


def settings(task: Task) -> list[str]:
    """Return the thread counts of its BLAS; none for two classes, where it differs."""
    return thread_settings() if task.sizes[-1] > 2 else []


def side(task: Task, setting: str) -> Side:
    """Set the task up."""
    set_blas_threads(setting)
    if task.kind == "epoch":
        pixels, y = make_images(task)
        X = pixels.astype(task.dtype)
        del pixels
        X /= 255
        few = X[:CHECKED_ROWS]
        checked = _network(task, "adam", ADAM_RATE, EPOCH_BATCH, shuffle=False)
        checked.partial_fit(few, y[:CHECKED_ROWS])
        net = _network(task, "adam", ADAM_RATE, EPOCH_BATCH, shuffle=True)
        return Side(checked.predict_proba(few), lambda: net.partial_fit(X, y))
    X, y = make_rows(task)
    solver, rate = task.optimizer, ADAM_RATE if task.optimizer == "adam" else RATE
    net = _network(task, solver, rate, task.rows, shuffle=False)
    if task.kind == "predict":
        return Side(net.predict_proba(X), lambda: net.predict_proba(X))
    checked = _network(task, solver, check_rate(task), task.rows, shuffle=False)
    checked.partial_fit(X, y)
    return Side(checked.predict_proba(X), lambda: net.partial_fit(X, y))


def _network(task: Task, solver: str, rate: float, batch: int, shuffle: bool) -> Any:
    net = MLPClassifier(
        task.sizes[1:-1],
        solver=solver,
        learning_rate_init=rate,
        momentum=0.0,
        alpha=0.0,
        batch_size=batch,
        epsilon=_EPSILON,
        shuffle=shuffle,
    )
    # It has weights only once it has seen rows, so here are some of every class.
    n_classes = task.sizes[-1]
    rows = np.zeros((max(batch, n_classes), task.sizes[0]), task.dtype)
    net.partial_fit(rows, np.arange(len(rows)) % n_classes, classes=range(n_classes))
    for W, b, (initial_W, initial_b) in zip(
        net.coefs_, net.intercepts_, initial_weights(task), strict=True
    ):
        W[...], b[...] = initial_W, initial_b
    del net._optimizer  # the next call makes a fresh one
    return net
