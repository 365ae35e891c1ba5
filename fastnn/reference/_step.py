"""One update as pure functions: the state goes in, a new one comes out.

An update goes: for each mini-batch forward -> loss -> all input gradients -> weight
gradients; then the optimizer. Everything is computed in the network's dtype, except the
sums of losses and sample weights, the statistics of normalisations and norms, which are
in float64.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fastnn._base.errors import TrainingDiverged
from fastnn._base.types import Array, Pair
from fastnn._plan.plan import Plan
from fastnn.layers import Dense, Layer
from fastnn.optimizers import Optimizer
from fastnn.schedules import rates

from ._losses import LOSSES, is_correct, sum_in_order, weigh_rows
from ._passes import Mode, backward_pass, forward_pass, new_statistics
from ._state import State, copy_pair
from ._updates import UPDATES, decay, limit_columns, norm_of_all, penalty_gradient

Sums = tuple[float, float, float]  # sum w * loss, sum w, sum w * correct


class Batch(NamedTuple):
    """A mini-batch."""

    x: Array  # (m, n_inputs)
    targets: Array  # labels (m,), or (m, n_outputs)
    weight: Array | None  # (m,)
    first_row: int = 0  # number of its first row among those of the update


def loss_sums(
    plan: Plan, z: Array, batch: Batch, total: float | None = None
) -> tuple[Sums, Array]:
    """Return the rows' three sums, and the gradient wrt z (m, n) of sum w l / sum w.

    `total` is the weight sum of all mini-batches of the update, if there are others.
    """
    losses, gradients = LOSSES[plan.loss.name].rows(plan.loss, z, batch.targets)
    loss_sum, weight_sum, dz = weigh_rows(losses, gradients, batch.weight, total)
    correct = is_correct(plan.loss, z, batch.targets)
    if batch.weight is not None:
        correct = batch.weight * correct
    return (loss_sum, weight_sum, sum_in_order(correct)), dz


def training_step(
    plan: Plan,
    keys: Sequence[int],
    state: State,
    batches: Sequence[Batch],
    fused: bool = True,
) -> tuple[State, Sums]:
    """Return the state after one update, and the three sums before it.

    The gradient is that of one mini-batch of all their rows, but for the statistics of
    batch norms. Raises TrainingDiverged if anything new is not finite: loss, gradients,
    state.
    """
    with np.errstate(all="ignore"):
        sums, gradients, statistics = all_gradients(plan, keys, state, batches)
        if not np.isfinite(sums[0] / sums[1]):
            raise _diverged("loss", state)
        if not fused:
            gradients = list(gradients)
        return update_by(plan, state, gradients, statistics), sums


def update_by(
    plan: Plan,
    state: State,
    gradients: Iterable[Pair],
    statistics: list[Pair | None],
) -> State:
    """Return the state after an update by these gradients, with new statistics."""
    for pair in statistics:
        if pair is not None and not _finite(pair):
            raise _diverged("running statistic", state)
    new = _update(plan, state, _clipped(plan.optimizer, state, gradients))
    return replace(new, statistics=statistics)


def all_gradients(
    plan: Plan,
    keys: Sequence[int],
    state: State,
    batches: Sequence[Batch],
    total: float | None = None,
) -> tuple[Sums, Iterable[Pair], list[Pair | None]]:
    """Return the sums, the gradients and the new running statistics of an update.

    `total` is the sum of all its weights, if these are not all mini-batches.
    """
    if total is None:
        total = sum(map(_weight_sum, batches))
    sums = (0.0, 0.0, 0.0)
    gradients: Iterable[Pair] = ()
    statistics = state.statistics
    for batch in batches:
        mode = Mode(True, keys, state.step, batch.first_row)
        z, caches = forward_pass(plan, state.weights, statistics, batch.x, mode)
        of_batch, dz = loss_sums(plan, z, batch, total)
        of_batch_gradients = backward_pass(plan, caches, dz)
        if len(batches) == 1:
            return of_batch, of_batch_gradients, new_statistics(caches)
        sums = (sums[0] + of_batch[0], sums[1] + of_batch[1], sums[2] + of_batch[2])
        gradients = _sum_of_pairs(gradients, of_batch_gradients)
        statistics = new_statistics(caches)
    return sums, gradients, statistics


def _weight_sum(batch: Batch) -> float:
    return len(batch.x) if batch.weight is None else sum_in_order(batch.weight)


def _sum_of_pairs(pairs: Iterable[Pair], others: Iterable[Pair]) -> list[Pair]:
    pairs, others = list(pairs), list(others)
    if not pairs:
        return others
    return [(a + c, b + d) for (a, b), (c, d) in zip(pairs, others, strict=True)]


def _clipped(
    optimizer: Optimizer, state: State, gradients: Iterable[Pair]
) -> Iterable[Pair]:
    """Clip the values of all gradients, then the norm of all together."""
    gradients = _clipped_values(optimizer.clip_value, state, gradients)
    if optimizer.clip_norm is None:
        return gradients
    pairs = list(gradients)
    norm = norm_of_all([array for pair in pairs for array in pair])
    if not np.isfinite(norm):
        raise _diverged("gradient", state)
    if norm > optimizer.clip_norm:
        factor = optimizer.clip_norm / norm
        pairs = [(factor * dW, factor * db) for dW, db in pairs]
    return pairs


def _clipped_values(
    limit: float | None, state: State, gradients: Iterable[Pair]
) -> Iterator[Pair]:
    for dW, db in gradients:
        if not _finite((dW, db)):
            raise _diverged("gradient", state)
        if limit is None:
            yield dW, db
        else:
            yield np.clip(dW, -limit, limit), np.clip(db, -limit, limit)


def _update(plan: Plan, state: State, gradients: Iterable[Pair]) -> State:
    """Return the state that the optimizer makes of these gradients."""
    new_weights = []
    new_states = []
    rate = float(rates(plan.optimizer.learning_rate, state.step, 1)[0])
    weight_decay = float(rates(plan.optimizer.weight_decay, state.step, 1)[0])
    for index, pair, states, gradient in zip(
        plan.parametric_layers, state.weights, state.optimizer, gradients, strict=True
    ):
        layer = plan.layers[index]
        if layer.trainable:
            pair = copy_pair(pair)
            states = {name: copy_pair(each) for name, each in states.items()}
            step = state.step + 1
            _update_layer(
                plan.optimizer, layer, rate, weight_decay, step, pair, states, gradient
            )
            if not _finite(pair):
                raise _diverged("new weight", state)
            # An infinite second moment would silently stop all later updates.
            if not all(map(_finite, states.values())):
                raise _diverged("new optimizer state", state)
        new_weights.append(pair)
        new_states.append(states)
    return State(new_weights, new_states, state.statistics, state.step + 1)


def _update_layer(
    optimizer: Optimizer,
    layer: Layer,
    rate: float,
    weight_decay: float,
    step: int,
    pair: Pair,
    states: dict[str, Pair],
    gradient: Pair,
) -> None:
    """Update the two arrays of a layer and their state in place, with its factors.

    Penalties and the limit of norms are for the weights of dense layers alone.
    """
    rule = UPDATES[optimizer.rule]
    for i, (array, factors) in enumerate(zip(pair, layer.factors, strict=True)):
        own_rate = rate * factors.rate
        values = {**vars(optimizer), "learning_rate": own_rate, "step": step}
        if "epsilon" in values:
            values["epsilon"] *= factors.epsilon
        arguments = {name: values[name] for name in rule.arguments if name in values}
        of_array = gradient[i]
        is_weights = isinstance(layer, Dense) and i == 0
        if is_weights and (optimizer.l1 or optimizer.l2):
            of_array = of_array + penalty_gradient(array, optimizer.l1, optimizer.l2)
        if weight_decay and factors.decay:
            decay(array, own_rate, weight_decay * factors.decay)
        own_states = (each[i] for each in states.values())
        rule.function(array, of_array, *own_states, **arguments)
        if is_weights and optimizer.max_norm is not None and factors.rate:
            limit_columns(array, optimizer.max_norm)


def _finite(pair: Pair) -> bool:
    return all(bool(np.isfinite(array).all()) for array in pair)


def _diverged(what: str, state: State) -> TrainingDiverged:
    return TrainingDiverged(
        f"a {what} of step {state.step + 1} is not finite; the network keeps its state "
        f"after step {state.step}. A smaller learning rate or scaled inputs may help."
    )
