"""JAX: compiled steps whose weights are donated, so that they are updated in place."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from .setup import Side
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

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


def settings(task: Task) -> list[str]:
    """Return the only one: the threads of XLA cannot be chosen in a process."""
    return ["jit"]


def side(task: Task, setting: str) -> Side:
    """Set the task up, and compile it."""
    if task.kind == "epoch":
        return _epoch(task)
    X, y = map(jnp.asarray, make_rows(task))
    weights = _weights(task)
    if task.kind == "predict":
        outputs = jax.device_get(_probabilities(weights, X))
        return Side(outputs, lambda: jax.block_until_ready(_probabilities(weights, X)))
    if task.optimizer == "adam":
        checked, *_ = _adam_step(_adam_state(task), X, y)
        state = _adam_state(task)
    else:
        checked = _sgd(_weights(task), X, y, check_rate(task))
    outputs = jax.device_get(_probabilities(checked, X))

    def run() -> None:
        nonlocal weights
        weights = jax.block_until_ready(_sgd(weights, X, y, RATE))

    def run_adam() -> None:
        nonlocal state
        state = jax.block_until_ready(_adam_step(state, X, y))

    return Side(outputs, run_adam if task.optimizer == "adam" else run)


def _epoch(task: Task) -> Side:
    pixels, labels = make_images(task)
    X, y = jnp.asarray(pixels), jnp.asarray(labels)
    state = _adam_state(task)
    for start in range(0, CHECKED_ROWS, EPOCH_BATCH):
        rows = jnp.arange(start, min(start + EPOCH_BATCH, CHECKED_ROWS))
        state = _adam_gathered(state, X, y, rows)
    outputs = jax.device_get(_probabilities(state[0], X[:CHECKED_ROWS] / 255.0))
    state = _adam_state(task)
    key = jax.random.key(0)

    def run() -> None:
        nonlocal state, key
        key, drawn = jax.random.split(key)
        state = jax.block_until_ready(_adam_epoch(state, X, y, drawn))

    return Side(outputs, run)


def _weights(task: Task) -> Any:
    return [(jnp.array(W), jnp.array(b)) for W, b in initial_weights(task)]


def _adam_state(task: Task) -> Any:
    weights = _weights(task)
    zeros = partial(jax.tree.map, jnp.zeros_like)
    return weights, zeros(weights), zeros(weights), jnp.float32(0)


def _logits(weights: Any, X: Any) -> Any:
    *hidden, (W, b) = weights
    for hidden_W, hidden_b in hidden:
        X = jax.nn.relu(X @ hidden_W + hidden_b)
    return X @ W + b


def _loss(weights: Any, X: Any, y: Any) -> Any:
    logs = jax.nn.log_softmax(_logits(weights, X))
    return -jnp.take_along_axis(logs, y[:, None], axis=1).mean()


@partial(jax.jit)
def _probabilities(weights: Any, X: Any) -> Any:
    return jax.nn.softmax(_logits(weights, X))


@partial(jax.jit, donate_argnums=0, static_argnums=3)
def _sgd(weights: Any, X: Any, y: Any, rate: float) -> Any:
    gradients = jax.grad(_loss)(weights, X, y)
    return jax.tree.map(lambda w, dw: w - rate * dw, weights, gradients)


def _adam(state: Any, X: Any, y: Any) -> Any:
    weights, m, v, t = state
    dw = jax.grad(_loss)(weights, X, y)
    t = t + 1
    m = jax.tree.map(lambda m, g: _BETA1 * m + (1 - _BETA1) * g, m, dw)
    v = jax.tree.map(lambda v, g: _BETA2 * v + (1 - _BETA2) * g * g, v, dw)
    rate = ADAM_RATE / (1 - _BETA1**t)
    correction = jnp.sqrt(1 - _BETA2**t)
    weights = jax.tree.map(
        lambda w, m, v: w - rate * m / (jnp.sqrt(v) / correction + _EPSILON),
        weights, m, v,
    )  # fmt: skip
    return weights, m, v, t


def _adam_rows(state: Any, X: Any, y: Any, rows: Any) -> Any:
    return _adam(state, X[rows].astype(jnp.float32) / 255.0, y[rows])


_adam_step = jax.jit(_adam, donate_argnums=0)
_adam_gathered = jax.jit(_adam_rows, donate_argnums=0)


@partial(jax.jit, donate_argnums=0)
def _adam_epoch(state: Any, X: Any, y: Any, key: Any) -> Any:
    """All steps as one compiled loop; the last, smaller batch on its own."""
    order = jax.random.permutation(key, len(X))
    whole = len(X) // EPOCH_BATCH * EPOCH_BATCH
    batches = order[:whole].reshape(-1, EPOCH_BATCH)
    state, _ = jax.lax.scan(
        lambda state, rows: (_adam_rows(state, X, y, rows), None), state, batches
    )
    return _adam_rows(state, X, y, order[whole:]) if whole < len(X) else state
