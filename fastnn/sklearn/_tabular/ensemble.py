"""Several networks of one recipe: members of other seeds, and folds of the rows."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastnn._core.native.engine import get_num_threads
from fastnn._plan.recipes import Recipe, Size, Variant
from fastnn.network import Network

if TYPE_CHECKING:
    from fastnn._base.types import Array, Floats

__all__ = ["Data", "Job", "fit_networks", "outputs_of"]

# Of the time limit: what is left over is for what the first steps did not show.
_SHARE_TO_PLAN = 0.85
_TRIAL_ROWS = 1024
# Variants are compared after trainings of half the length without a fifth of the rows.
_TRIAL_LENGTH = 0.5
_HELD_OUT = 0.2
_FEWEST_ROWS = 50  # to compare variants by


class Data(NamedTuple):
    """Inputs float32 (n, k), labels int64 (n,) or standardised numbers, weights."""

    X: Array
    y: Array
    weight: Floats | None

    def take(self, rows: Array) -> Data:
        weight = None if self.weight is None else self.weight[rows]
        return Data(self.X[rows], self.y[rows], weight)


@dataclass(frozen=True)
class Job:
    """What all networks of a fit have in common."""

    variants: tuple[Variant, ...]
    n_numeric: int
    n_classes: int  # 0: numbers
    seconds: float  # that all of them may take together
    n_threads: int | None
    length: float = 1.0  # of each training, as a share of the recipe's

    def recipe(self, variant: Variant, data: Data) -> Recipe:
        n_rows, n_inputs = data.X.shape
        size = Size(n_rows, n_inputs, self.n_numeric, self.n_classes)
        return variant.of(size, self.length)


@dataclass(frozen=True)
class Task:
    """One network: the rows it is trained on (None: all), and its seed."""

    variant: Variant
    rows: Array | None
    seed: int


def fit_networks(
    job: Job, data: Data, parts: list[Array | None], seeds: list[int]
) -> list[Network]:
    """Fit a network to each part of the rows (None: to all), with its seed.

    The variant is that of the least loss on rows held out; then all rows train. The
    result does not depend on the number of threads.
    """
    deadline = time.perf_counter() + job.seconds
    variants = job.variants
    choose = len(variants) > 1 and len(data.y) >= _FEWEST_ROWS
    if math.isfinite(job.seconds):
        trials = len(variants) * _TRIAL_LENGTH * (1 - _HELD_OUT) if choose else 0.0
        job = replace(job, length=_affordable(job, data, trials + len(parts)))
    variant = variants[-1]
    if choose:
        variant = _choose(job, data, seeds[0], deadline)
    tasks = [Task(variant, *each) for each in zip(parts, seeds, strict=True)]
    return _fit_all(job, data, tasks, deadline)


def _choose(job: Job, data: Data, seed: int, deadline: float) -> Variant:
    order = np.random.default_rng(seed).permutation(len(data.y))
    n_held_out = int(len(order) * _HELD_OUT)
    held_out, kept = data.take(order[:n_held_out]), order[n_held_out:]
    half = replace(job, length=job.length * _TRIAL_LENGTH)
    tasks = [Task(variant, kept, seed) for variant in job.variants]
    networks = _fit_all(half, data, tasks, deadline)
    if held_out.weight is not None and not held_out.weight.any():
        held_out = held_out._replace(weight=None)
    losses = [network.evaluate(*held_out)["loss"] for network in networks]
    return job.variants[int(np.argmin(losses))]


def _fit_all(job: Job, data: Data, tasks: list[Task], deadline: float) -> list[Network]:
    """Fit networks, each on one thread if there are as many as threads.

    Threads then never wait for each other.
    """
    workers = min(len(tasks), _n_threads(job))
    each = replace(job, n_threads=max(1, _n_threads(job) // workers))

    def fit(number: int) -> Network:
        # Of the time that is left, what the networks still to come leave to this one.
        left = deadline - time.perf_counter()
        share = left / -(-(len(tasks) - number) // workers)
        return _fit(replace(each, seconds=share), data, tasks[number])

    if workers == 1:
        return [*map(fit, range(len(tasks)))]
    with ThreadPoolExecutor(workers) as pool:
        return [*pool.map(fit, range(len(tasks)))]


def _n_threads(job: Job) -> int:
    return get_num_threads() if job.n_threads is None else job.n_threads


def _fit(job: Job, data: Data, task: Task) -> Network:
    if task.rows is not None:
        data = data.take(task.rows)
    recipe = job.recipe(task.variant, data)
    network = Network(
        recipe.layers,
        loss=recipe.loss,
        optimizer=recipe.optimizer,
        seed=task.seed,
        num_threads=job.n_threads,
    )
    network.fit(
        data.X,
        data.y,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        sample_weight=data.weight,
        verbose=0,
        time_limit=max(job.seconds, 1e-3) if math.isfinite(job.seconds) else None,
    )
    return network


def _affordable(job: Job, data: Data, n_trainings: float) -> float:
    """The length of trainings that fit in the time, by one epoch of a few rows."""
    variant = job.variants[-1]
    few = data.take(np.arange(min(_TRIAL_ROWS, len(data.y))))
    trial = replace(job, seconds=math.inf, length=0.0)
    begin = time.perf_counter()
    _fit(trial, few, Task(variant, None, 0))
    spent = time.perf_counter() - begin
    rows = job.recipe(variant, data).epochs * len(data.y) * n_trainings
    needed = spent * rows / len(few.y)
    return min(1.0, max(0.0, (job.seconds * _SHARE_TO_PLAN - spent) / needed))


def outputs_of(networks: list[Network], X: Array) -> Floats:
    """The mean of what networks predict, float64 (n, n_outputs)."""
    total = networks[0].predict_proba(X).astype(np.float64)
    for other in networks[1:]:
        total += other.predict_proba(X)
    return np.asarray(total / len(networks))
