"""fastnn as a user calls it, with its defaults; and its lanes for other peers."""

from __future__ import annotations

from ._bench_peers import Side
from ._bench_tasks import (
    CHECKED_ROWS,
    EPOCH_BATCH,
    EPOCH_RATE,
    RATE,
    Task,
    check_rate,
    initial_weights,
    make_images,
    make_rows,
)
from .network import Network
from .optimizers import SGD, Adam, Optimizer

__all__ = ["lane", "settings", "side"]


def settings(task: Task) -> list[str]:
    """Return the only one: fastnn chooses its threads itself, call by call."""
    return ["defaults"]


def side(task: Task, setting: str) -> Side:
    """Set the task up on the native engine."""
    return lane(task, "native")


def lane(task: Task, backend: str) -> Side:
    """Set the task up on one of the engines."""
    if task.kind == "epoch":
        return _epoch(task, backend)
    X, y = make_rows(task)
    if task.kind == "predict":
        net = _network(task, backend, SGD(RATE))
        outputs = net.predict_proba(X)
        if task.rows > 1:
            return Side(outputs, lambda: net.predict_proba(X))
        x, out = X[0], net.predict_one(X[0])
        return Side(outputs, lambda: net.predict_one(x, out))
    checked = _network(task, backend, SGD(check_rate(task)))
    checked.train_on_batch(X, y)
    net = _network(task, backend, SGD(RATE))
    return Side(checked.predict_proba(X), lambda: net.train_on_batch(X, y))


def _epoch(task: Task, backend: str) -> Side:
    X, y = make_images(task)
    few, labels = X[:CHECKED_ROWS], y[:CHECKED_ROWS]
    checked = _network(task, backend, Adam(EPOCH_RATE), 1 / 255)
    checked.fit(few, labels, epochs=1, batch_size=EPOCH_BATCH, shuffle=False, verbose=0)
    net = _network(task, backend, Adam(EPOCH_RATE), 1 / 255)
    return Side(
        checked.predict_proba(few),
        lambda: net.fit(X, y, epochs=1, batch_size=EPOCH_BATCH, verbose=0),
    )


def _network(
    task: Task, backend: str, optimizer: Optimizer, input_scale: float = 1.0
) -> Network:
    net = Network(
        list(task.sizes),
        optimizer=optimizer,
        seed=0,
        backend=backend,
        input_scale=input_scale,
    )
    net.set_weights(initial_weights(task))
    return net
