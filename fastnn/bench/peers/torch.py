"""PyTorch: the loop of its tutorials, without a DataLoader, made fast.

Data lies ready as tensors of floats, which costs memory but no time; rows are gathered
into one buffer; the loss is not read back; the optimizer is fused or works on lists of
tensors, whichever is faster. There is no call for a whole epoch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cross_entropy

from .setup import Side, thread_settings, threads_of
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

__all__ = ["settings", "side"]


def settings(task: Task) -> list[str]:
    """Return thread counts, and for training the kinds of optimizer as well."""
    if task.kind == "predict":
        return thread_settings()
    return [
        f"{kind}, {threads}"
        for kind in ("foreach", "fused")
        for threads in thread_settings()
    ]


def side(task: Task, setting: str) -> Side:
    """Set the task up."""
    torch.set_num_threads(threads_of(setting))
    kind = setting.split(",")[0]
    if task.kind == "epoch":
        return _epoch(task, kind)
    X, y = map(torch.from_numpy, make_rows(task))
    if task.kind == "predict":
        model = _model(task)
        return Side(_probabilities(model, X).numpy(), lambda: _probabilities(model, X))
    make, rate = (_adam, ADAM_RATE) if task.optimizer == "adam" else (_sgd, RATE)
    model = _model(task)
    _step(model, make(model, check_rate(task), kind), X, y)
    outputs = _probabilities(model, X).numpy()
    model = _model(task)
    optimizer = make(model, rate, kind)
    return Side(outputs, lambda: _step(model, optimizer, X, y))


def _epoch(task: Task, kind: str) -> Side:
    pixels, labels = make_images(task)
    X, y = torch.from_numpy(pixels.astype(task.dtype)), torch.from_numpy(labels)
    X /= 255
    del pixels
    few = X[:CHECKED_ROWS]
    model = _model(task)
    optimizer = _adam(model, ADAM_RATE, kind)
    for start in range(0, CHECKED_ROWS, EPOCH_BATCH):
        rows = slice(start, start + EPOCH_BATCH)
        _step(model, optimizer, few[rows], y[:CHECKED_ROWS][rows])
    outputs = _probabilities(model, few).numpy()
    model = _model(task)
    optimizer = _adam(model, ADAM_RATE, kind)

    batch = torch.empty(EPOCH_BATCH, X.shape[1], dtype=X.dtype)

    def run() -> None:
        for rows in torch.randperm(len(X)).split(EPOCH_BATCH):
            gathered = torch.index_select(X, 0, rows, out=batch[: len(rows)])
            _step(model, optimizer, gathered, y[rows])

    return Side(outputs, run)


def _model(task: Task) -> Any:
    layers: list[Any] = []
    for W, b in initial_weights(task):
        layer = torch.nn.Linear(*W.shape, dtype=getattr(torch, task.dtype))
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(W.T))
            layer.bias.copy_(torch.from_numpy(b))
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def _sgd(model: Any, rate: float, kind: str) -> Any:
    return torch.optim.SGD(model.parameters(), rate, **{kind: True})


def _adam(model: Any, rate: float, kind: str) -> Any:
    return torch.optim.Adam(model.parameters(), rate, **{kind: True})


def _step(model: Any, optimizer: Any, X: Any, y: Any) -> None:
    optimizer.zero_grad()
    cross_entropy(model(X), y).backward()
    optimizer.step()


def _probabilities(model: Any, X: Any) -> Any:
    with torch.inference_mode():
        return model(X).softmax(1)
