"""One step of training as pure functions: the state goes in, a new one comes out.

A step goes: forward -> loss -> all input gradients -> all weight gradients and updates.
Everything is computed in the network's dtype, except the sums of losses and sample
weights, which are in float64 and in the order of the rows.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ._arguments import Array
from .errors import TrainingDiverged
from .plan import Plan
from .reference_tables import (
    ACTIVATIONS,
    DERIVATIVES,
    LOSSES,
    SAVES_INPUT,
    UPDATES,
    sum_in_order,
    weigh_rows,
)

Pair = tuple[Array, Array]  # W (n_in, n_out) and b (n_out,), or two arrays like them
Sums = tuple[float, float, float]  # sum w * loss, sum w, sum w * correct

# Hyper-parameters that are different for biases, which do not decay.
_FOR_BIASES = {"weight_decay": 0.0}


@dataclass(frozen=True)
class State:
    """What training changes; a step makes a new one and leaves the old as it was."""

    weights: list[Pair]
    optimizer: list[dict[str, Pair]]  # per layer, by name
    step: int  # updates done


@dataclass(frozen=True)
class Cached:
    """What the forward pass of a layer keeps for the backward pass."""

    x: Array  # (m, n_in)
    saved: Array  # (m, n_out) what the derivative of the activation is computed from


def forward_pass(
    plan: Plan, weights: list[Pair], x: Array
) -> tuple[Array, list[Cached]]:
    """Return the last layer's output and what each layer keeps for backward."""
    caches = []
    for layer, (W, b) in zip(plan.layers, weights, strict=True):
        z = x @ W
        z += b
        y = ACTIVATIONS[layer.activation](z)
        saved = z if layer.activation in SAVES_INPUT else y
        caches.append(Cached(x, saved))
        x = y
    return x, caches


def loss_sums(
    plan: Plan, z: Array, targets: Array, weight: Array | None
) -> tuple[Sums, Array]:
    """Return the rows' three sums, and the gradient wrt z (m, n) of sum w l / sum w."""
    loss = LOSSES[plan.loss.name]
    losses, gradients = loss.rows(plan.loss, z, targets)
    loss_sum, weight_sum, dz = weigh_rows(losses, gradients, weight)
    truth = targets if targets.ndim == 1 else loss.labels(targets)
    correct = (loss.labels(z) == truth).astype(np.float64)
    correct_sum = sum_in_order(correct if weight is None else weight * correct)
    return (loss_sum, weight_sum, correct_sum), dz


def backward_pass(
    plan: Plan, weights: list[Pair], caches: list[Cached], dy: Array
) -> Iterator[Pair]:
    """Yield (dW, db) from the first layer to the last, each computed when asked for.

    All input gradients are computed before the first pair.
    """
    deltas = []  # gradients wrt the layers' z, from the last layer to the first
    for index in reversed(range(len(caches))):
        derivative = DERIVATIVES[plan.layers[index].activation]
        deltas.append(derivative(dy, caches[index].saved))
        if index:
            dy = deltas[-1] @ weights[index][0].T
    for cache in caches:
        dz = deltas.pop()
        yield cache.x.T @ dz, dz.sum(axis=0)


def training_step(
    plan: Plan,
    state: State,
    x: Array,
    targets: Array,
    weight: Array | None,
    fused: bool = True,
) -> tuple[State, Sums]:
    """Return the state after one update, and the three sums before it.

    Raises TrainingDiverged if anything new is not finite: loss, gradients, state.
    """
    with np.errstate(all="ignore"):
        z, caches = forward_pass(plan, state.weights, x)
        sums, dz = loss_sums(plan, z, targets, weight)
        if not np.isfinite(sums[0] / sums[1]):
            raise _diverged("loss", state)
        gradients: Iterable[Pair] = backward_pass(plan, state.weights, caches, dz)
        if not fused:
            gradients = list(gradients)
        return _update(plan, state, gradients), sums


def _update(plan: Plan, state: State, gradients: Iterable[Pair]) -> State:
    """Return the state that the optimizer makes of these gradients."""
    rule = UPDATES[plan.optimizer.rule]
    step = state.step + 1
    values = {**vars(plan.optimizer), "step": step}
    for_weights = {name: values[name] for name in rule.arguments}
    for_biases = {
        name: _FOR_BIASES.get(name, value) for name, value in for_weights.items()
    }
    new_weights = []
    new_states = []
    for pair, states, (dW, db) in zip(
        state.weights, state.optimizer, gradients, strict=True
    ):
        if not _finite((dW, db)):
            raise _diverged("gradient", state)
        W, b = _copy(pair)
        states = {name: _copy(each) for name, each in states.items()}
        rule.function(W, dW, *(each[0] for each in states.values()), **for_weights)
        rule.function(b, db, *(each[1] for each in states.values()), **for_biases)
        if not _finite((W, b)):
            raise _diverged("new weight", state)
        # An infinite second moment would silently stop all later updates.
        if not all(map(_finite, states.values())):
            raise _diverged("new optimizer state", state)
        new_weights.append((W, b))
        new_states.append(states)
    return State(new_weights, new_states, step)


def _copy(pair: Pair) -> Pair:
    return pair[0].copy(), pair[1].copy()


def _finite(pair: Pair) -> bool:
    return all(bool(np.isfinite(array).all()) for array in pair)


def _diverged(what: str, state: State) -> TrainingDiverged:
    return TrainingDiverged(
        f"a {what} of step {state.step + 1} is not finite; the network keeps its state "
        f"after step {state.step}. A smaller learning rate or scaled inputs may help."
    )
