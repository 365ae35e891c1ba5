"""JAX: compiled steps whose weights are donated, so that they are updated in place.

A step is a call, or one of several in a compiled loop, whichever is faster; an epoch,
with its shuffling, is one call.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from .setup import Side
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
    flops,
    initial_weights,
    make_images,
    make_rows,
)

__all__ = ["settings", "side"]


def settings(task: Task) -> list[str]:
    """Return the forms of a step; the threads of XLA cannot be chosen in a process."""
    # Of steps that last, fewer will do, and a call takes less than a second or two.
    steps = 10 if flops(task) < 5e9 else 3
    return [f"scan of {steps} steps", "jit"] if task.kind == "step" else ["jit"]


def side(task: Task, setting: str) -> Side:
    """Set the task up, and compile it."""
    jax.config.update("jax_enable_x64", task.dtype == "float64")
    if task.kind == "epoch":
        return _epoch(task)
    X, y = map(jnp.asarray, make_rows(task))
    if task.kind == "predict":
        weights = _weights(task)
        outputs = jax.device_get(_probabilities(weights, X))
        return Side(outputs, lambda: jax.block_until_ready(_probabilities(weights, X)))
    times = 1 if setting == "jit" else int(setting.split()[2])
    checked = _steps(_state(task), X, y, check_rate(task), 1, times > 1)
    outputs = jax.device_get(_probabilities(checked[0], X))
    rate = ADAM_RATE if task.adam else RATE
    state = _state(task)

    def run() -> None:
        nonlocal state
        state = jax.block_until_ready(_steps(state, X, y, rate, times, times > 1))

    return Side(outputs, run, times)


def _epoch(task: Task) -> Side:
    pixels, labels = make_images(task)
    X, y = jnp.asarray(pixels), jnp.asarray(labels)
    state = _state(task)
    for start in range(0, CHECKED_ROWS, EPOCH_BATCH):
        rows = jnp.arange(start, min(start + EPOCH_BATCH, CHECKED_ROWS))
        state = _gathered(state, X, y, rows)
    outputs = jax.device_get(_probabilities(state[0], _pixels(state, X[:CHECKED_ROWS])))
    state = _state(task)
    key = jax.random.key(0)

    def run() -> None:
        nonlocal state, key
        key, drawn = jax.random.split(key)
        state = jax.block_until_ready(_whole_epoch(state, X, y, drawn))

    return Side(outputs, run)


def _weights(task: Task) -> Any:
    return [(jnp.array(W), jnp.array(b)) for W, b in initial_weights(task)]


def _state(task: Task) -> Any:
    """The weights, and for Adam both moments and the number of steps."""
    weights = _weights(task)
    if not task.adam:
        return (weights,)
    zeros = partial(jax.tree.map, jnp.zeros_like)
    return weights, zeros(weights), zeros(weights), jnp.zeros((), task.dtype)


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


def _update(state: Any, X: Any, y: Any, rate: float) -> Any:
    dw = jax.grad(_loss)(state[0], X, y)
    if len(state) == 1:
        return (jax.tree.map(lambda w, dw: w - rate * dw, state[0], dw),)
    weights, m, v, t = state
    t = t + 1
    m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, dw)
    v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, dw)
    rate = rate / (1 - BETA1**t)
    correction = jnp.sqrt(1 - BETA2**t)
    weights = jax.tree.map(
        lambda w, m, v: w - rate * m / (jnp.sqrt(v) / correction + EPSILON),
        weights, m, v,
    )  # fmt: skip
    return weights, m, v, t


@partial(jax.jit, donate_argnums=0, static_argnums=(3, 4, 5))
def _steps(state: Any, X: Any, y: Any, rate: float, times: int, scan: bool) -> Any:
    if not scan:
        return _update(state, X, y, rate)

    def body(state: Any, _: None) -> Any:
        return _update(state, X, y, rate), None

    return jax.lax.scan(body, state, length=times)[0]


def _pixels(state: Any, rows: Any) -> Any:
    return rows.astype(state[0][0][0].dtype) / 255


def _update_by_rows(state: Any, X: Any, y: Any, rows: Any) -> Any:
    return _update(state, _pixels(state, X[rows]), y[rows], ADAM_RATE)


_gathered = jax.jit(_update_by_rows, donate_argnums=0)


@partial(jax.jit, donate_argnums=0)
def _whole_epoch(state: Any, X: Any, y: Any, key: Any) -> Any:
    """All steps as one compiled loop; the last, smaller batch on its own."""
    order = jax.random.permutation(key, len(X))
    whole = len(X) // EPOCH_BATCH * EPOCH_BATCH
    batches = order[:whole].reshape(-1, EPOCH_BATCH)
    state, _ = jax.lax.scan(
        lambda state, rows: (_update_by_rows(state, X, y, rows), None), state, batches
    )
    return _update_by_rows(state, X, y, order[whole:]) if whole < len(X) else state
