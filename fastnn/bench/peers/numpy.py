"""NumPy as an expert writes it: in place, into buffers that are made once.

All parameters lie in one array, and so do their gradients, so that an update is a few
calls for all of them. The rate of SGD is multiplied into the few gradients of the
loss, the constants of Adam into its moments. Logits and probabilities lie class by
class: a maximum or a sum over classes is then whole vectors, not ten numbers a row.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from .setup import Side, set_blas_threads, thread_settings
from .tasks import (
    ADAM_RATE,
    BETA1,
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

if TYPE_CHECKING:
    from fastnn._base.types import Array

__all__ = ["settings", "side"]


def settings(task: Task) -> list[str]:
    """Return the thread counts of its BLAS."""
    return thread_settings()


def side(task: Task, setting: str) -> Side:
    """Set the task up."""
    set_blas_threads(setting)
    if task.kind == "epoch":
        return _epoch(task)
    X, y = make_rows(task)
    if task.kind == "predict":
        predict = _Network(task).predict(X)
        return Side(predict().copy(), predict)
    checked = _Network(task)
    checked.step(X, y, check_rate(task))()
    rate = ADAM_RATE if task.optimizer == "adam" else RATE
    return Side(checked.predict(X)(), _Network(task).step(X, y, rate))


def _epoch(task: Task) -> Side:
    pixels, y = make_images(task)
    X = pixels.astype(task.dtype)
    del pixels
    X /= 255
    checked = _Network(task)
    checked.epoch(X[:CHECKED_ROWS], y[:CHECKED_ROWS])(np.arange(CHECKED_ROWS))
    run = _Network(task).epoch(X, y)
    rng = np.random.default_rng(0)
    return Side(
        checked.predict(X[:CHECKED_ROWS])(), lambda: run(rng.permutation(len(X)))
    )


class _Network:
    """Parameters, gradients and moments of the network of a task.

    Its methods make the buffers for some rows, and return what is called again and
    again.
    """

    def __init__(self, task: Task) -> None:
        self._sizes = task.sizes
        initial = initial_weights(task)
        self._values = np.concatenate([each.ravel() for Wb in initial for each in Wb])
        self._gradients = np.empty_like(self._values)
        self._layers = self._split(self._values)
        self._adam = task.optimizer == "adam" or task.kind == "epoch"
        if self._adam:
            self._moments = np.zeros((2, self._values.size), task.dtype)
            self._scratch = np.empty_like(self._values)
            self._steps = 0

    def _split(self, flat: Array) -> list[tuple[Array, Array]]:
        """The weights and biases of each layer, in place."""
        layers, at = [], 0
        for k, n in pairwise(self._sizes):
            W, b = flat[at : at + k * n], flat[at + k * n : at + k * n + n]
            layers.append((W.reshape(k, n), b))
            at += k * n + n
        return layers

    def _forward(self, rows: int) -> tuple[list[Array], Array, Callable[[Array], None]]:
        """The outputs of hidden layers (rows, n), and probabilities (classes, rows)."""
        *hidden, (W, b) = self._layers
        dtype = W.dtype
        outputs = [np.empty((rows, n), dtype) for n in self._sizes[1:-1]]
        P, row = np.empty((self._sizes[-1], rows), dtype), np.empty(rows, dtype)

        def run(X: Array) -> None:
            for (hidden_W, hidden_b), H in zip(hidden, outputs, strict=True):
                np.dot(X, hidden_W, out=H)
                np.add(H, hidden_b, out=H)
                X = np.maximum(H, 0, out=H)
            np.dot(W.T, X.T, out=P)
            np.add(P, b[:, None], out=P)
            np.subtract(P, np.maximum.reduce(P, axis=0, out=row), out=P)
            np.exp(P, out=P)
            np.divide(P, np.add.reduce(P, axis=0, out=row), out=P)

        return outputs, P, run

    def predict(self, X: Array) -> Callable[[], Array]:
        _, P, forward = self._forward(len(X))

        def run() -> Array:
            forward(X)
            return P.T

        return run

    def step(self, X: Array, y: Array, rate: float) -> Callable[[], None]:
        run = self._any_step(len(X), rate)
        return lambda: run(X, y)

    def epoch(self, X: Array, y: Array) -> Callable[[Array], None]:
        """What trains on all rows, in the order given."""
        batch = np.empty((EPOCH_BATCH, X.shape[1]), X.dtype)
        labels = np.empty(EPOCH_BATCH, y.dtype)
        rest = len(X) % EPOCH_BATCH
        steps = {n: self._any_step(n, ADAM_RATE) for n in {EPOCH_BATCH, rest} - {0}}

        def run(order: Array) -> None:
            for start in range(0, len(order), EPOCH_BATCH):
                rows = order[start : start + EPOCH_BATCH]
                n = len(rows)
                # Without a mode, the result passes through another array.
                np.take(X, rows, axis=0, out=batch[:n], mode="clip")
                np.take(y, rows, out=labels[:n], mode="clip")
                steps[n](batch[:n], labels[:n])

        return run

    def _any_step(self, rows: int, rate: float) -> Callable[[Array, Array], None]:
        outputs, P, forward = self._forward(rows)
        gradients = [np.empty_like(H) for H in outputs]
        masks = [np.empty(H.shape, bool) for H in outputs]
        layers = [*zip(self._layers, self._split(self._gradients), strict=True)]
        scale = P.dtype.type((1.0 if self._adam else rate) / rows)
        at, probabilities = np.arange(rows), P.reshape(-1)

        def run(X: Array, y: Array) -> None:
            forward(X)
            probabilities[y * rows + at] -= 1
            dY = np.multiply(P, scale, out=P).T
            for i in range(len(layers) - 1, -1, -1):
                (W, _), (dW, db) = layers[i]
                np.dot((outputs[i - 1] if i else X).T, dY, out=dW)
                np.add.reduce(dY, axis=0, out=db)
                if i:
                    np.greater(outputs[i - 1], 0, out=masks[i - 1])
                    dX = np.dot(dY, W.T, out=gradients[i - 1])
                    dY = np.multiply(dX, masks[i - 1], out=dX)
            if self._adam:
                self._update(rate)
            else:
                np.subtract(self._values, self._gradients, out=self._values)

        return run

    def _update(self, rate: float) -> None:
        """Adam with moments m / (1 - beta1) and v / (1 - beta2): two products fewer."""
        self._steps += 1
        second = ((1 - BETA2**self._steps) / (1 - BETA2)) ** 0.5
        rate *= (1 - BETA1) / (1 - BETA1**self._steps) * second
        w, g, (m, v), t = self._values, self._gradients, self._moments, self._scratch
        np.add(np.multiply(m, BETA1, out=m), g, out=m)
        np.add(np.multiply(v, BETA2, out=v), np.multiply(g, g, out=g), out=v)
        np.add(np.sqrt(v, out=t), EPSILON * second, out=t)
        np.multiply(np.divide(m, t, out=t), rate, out=t)
        np.subtract(w, t, out=w)
