"""fastnn as a user calls it, with its defaults; and its lanes for other peers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fastnn.network import Network
from fastnn.optimizers import SGD, Adam, Optimizer

from .setup import Side, threads_of
from .tasks import (
    ADAM_RATE,
    CHECKED_ROWS,
    EPOCH_BATCH,
    RATE,
    Task,
    check_rate,
    initial_weights,
    make_images,
    make_rows,
)

__all__ = ["lane", "settings", "side"]


def settings(task: Task) -> list[str]:
    """Return the only one: fastnn chooses its threads itself, call by call."""
    return ["defaults"]


def side(task: Task, setting: str) -> Side:
    """Set the task up on the native engine; a setting may be a number of threads."""
    threads = None if setting == "defaults" else threads_of(setting)
    return lane(task, "native", threads)


def lane(task: Task, backend: str, num_threads: int | None = None) -> Side:
    """Set the task up on one of the engines, with at most `num_threads` threads."""
    make = partial(_network, task, backend, num_threads)
    if task.kind == "epoch":
        return _epoch(task, make)
    X, y = make_rows(task)
    if task.kind == "predict":
        net = make(SGD(RATE))
        outputs = net.predict_proba(X)
        if task.rows > 1:
            return Side(outputs, lambda: net.predict_proba(X))
        x, out = X[0], net.predict_one(X[0])
        return Side(outputs, lambda: net.predict_one(x, out))
    kind, rate = (Adam, ADAM_RATE) if task.optimizer == "adam" else (SGD, RATE)
    checked = make(kind(check_rate(task)))
    checked.train_on_batch(X, y)
    net = make(kind(rate))
    return Side(checked.predict_proba(X), lambda: net.train_on_batch(X, y))


def _epoch(task: Task, make: Callable[..., Network]) -> Side:
    X, y = make_images(task)
    few, labels = X[:CHECKED_ROWS], y[:CHECKED_ROWS]
    checked = make(Adam(ADAM_RATE), 1 / 255)
    checked.fit(few, labels, epochs=1, batch_size=EPOCH_BATCH, shuffle=False, verbose=0)
    net = make(Adam(ADAM_RATE), 1 / 255)
    return Side(
        checked.predict_proba(few),
        lambda: net.fit(X, y, epochs=1, batch_size=EPOCH_BATCH, verbose=0),
    )


def _network(
    task: Task,
    backend: str,
    num_threads: int | None,
    optimizer: Optimizer,
    input_scale: float = 1.0,
) -> Network:
    net = Network(
        list(task.sizes),
        optimizer=optimizer,
        seed=0,
        dtype=task.dtype,
        backend=backend,
        num_threads=num_threads,
        input_scale=input_scale,
    )
    net.set_weights(initial_weights(task))
    return net
