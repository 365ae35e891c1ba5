"""Models of a recipe for tables: members of other seeds, and folds of the rows.

``fit_models -> _choose a variant on rows held out -> _fit_all``. The estimators of
`fastnn.sklearn` and the command line both train so.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn._core.model.model import Model
from fastnn._core.native.engine import get_num_threads
from fastnn._plan.plan import make_plan
from fastnn._plan.recipes import RealMLP, Recipe, Size, Variant
from fastnn.callbacks import EarlyStopping

from .calibration import fit_temperature
from .loop import train
from .many import Crew, Member
from .rows import prepare_rows
from .start import fit_start

if TYPE_CHECKING:
    from fastnn._base.types import Array, Floats, Pair
    from fastnn._plan.targets import TargetScaling
    from fastnn.callbacks._base import NetworkInTraining
    from fastnn.losses import Loss

__all__ = ["Data", "Job", "Outcome", "fit_models", "outputs_of", "split_rows"]

# Of the time limit: what is left over is for what the first steps did not show.
_SHARE_TO_PLAN = 0.85
_TRIAL_ROWS = 1024
# Variants are compared after trainings of a quarter of the length on four fifths of the
# rows: of nine tables, half the length chose the same.
_TRIAL_LENGTH = 0.25
_HELD_OUT = 0.2
_MOST_HELD_OUT, _MOST_KEPT = 10_000, 50_000  # copies are small beside a large table
_FEWEST_ROWS = 50  # to compare variants by


class Data(NamedTuple):
    """Inputs float32 (n, k), labels int64 (n,) or numbers, weights."""

    X: Array
    y: Array
    weight: Floats | None

    def take(self, rows: Array) -> Data:
        weight = None if self.weight is None else self.weight[rows]
        if weight is not None and not weight.any():
            weight = None  # rows that do not count tell no less
        return Data(self.X[rows], self.y[rows], weight)


@dataclass(frozen=True)
class Job:
    """What all models of a fit have in common."""

    variants: tuple[Variant, ...]
    n_numeric: int
    n_classes: int  # 0: numbers
    seconds: float  # that all of them may take together
    n_threads: int | None
    network_of: Callable[[Model], NetworkInTraining]  # the face that callbacks see
    length: float = 1.0  # of each training, as a share of the recipe's
    dtype: str = "float32"
    backend: str = "native"
    loss: Loss | None = None  # of numbers, instead of the squared error
    targets: TargetScaling | None = None  # of numbers
    held_out: Data | None = None  # of which recipes that need some choose the epoch
    calibrates: bool = False  # the temperature of classes, by rows held out

    def recipe(self, variant: Variant, data: Data) -> Recipe:
        n_rows, n_inputs = data.X.shape
        size = Size(n_rows, n_inputs, self.n_numeric, self.n_classes, self.loss)
        if self.held_out is not None and isinstance(variant, RealMLP):
            variant = replace(variant, held_out=0.0)
        return variant.of(size, self.length)


class Outcome(NamedTuple):
    """Models, by part; the recipe that was chosen; of each, the loss by epoch."""

    models: list[Model]
    variant: Variant
    histories: list[dict[str, list[float]]]
    temperature: float = 1.0


@dataclass(frozen=True)
class _Task:
    """One model: the rows it is trained on (None: all), and its seed."""

    variant: Variant
    rows: Array | None
    seed: int


def fit_models(
    job: Job,
    data: Data,
    parts: list[Array | None],
    seeds: list[int],
    told: Callable[[Recipe], None] = lambda recipe: None,
    **settings: Any,
) -> Outcome:
    """Fit a model to each part of the rows (None: to all), with its seed.

    The variant is that of the least loss on rows held out; then all rows train, with
    further settings of `Network.fit`. The result does not depend on the number of
    threads. `told` is given the recipe before that training. The temperature is that
    of the first model, or, if it has seen all rows, of one like it that has not.
    """
    deadline = time.perf_counter() + job.seconds
    variants = job.variants
    choose = len(variants) > 1 and len(data.y) >= _FEWEST_ROWS
    if math.isfinite(job.seconds):
        trials = len(variants) * _TRIAL_LENGTH * (1 - _HELD_OUT) if choose else 0.0
        trials += job.calibrates and not isinstance(variants[0], RealMLP)
        job = replace(job, length=_affordable(job, data, trials + len(parts)))
    variant: Variant = variants[-1]
    if choose:
        variant = _choose(job, data, seeds[0], deadline)
    tasks = [_Task(variant, *each) for each in zip(parts, seeds, strict=True)]
    aside, rest = split_rows(len(data.y), _HELD_OUT, seeds[0])
    model: Model | None = None
    if job.calibrates and not isinstance(variant, RealMLP):
        task = _Task(variant, rest, seeds[0])
        (model, _), *_ = _fit_all(job, data, [task], deadline, {})
    told(job.recipe(variant, data))
    fitted = _fit_all(job, data, tasks, deadline, settings)
    temperature = 1.0
    if job.calibrates:
        model, unseen = model or fitted[0][0], data.take(aside)
        p = outputs_of([model], unseen.X) if len(aside) else np.zeros((0, 1))
        temperature = fit_temperature(p, unseen.y, unseen.weight)
    histories = [history for _, history in fitted]
    return Outcome([each for each, _ in fitted], variant, histories, temperature)


def split_rows(n: int, share: float, seed: int, most: int = 2**62) -> Pair:
    """The numbers of rows that are held out, at random, and of the others."""
    order = np.random.default_rng(seed).permutation(n)
    n_held_out = min(int(n * share), most)
    return order[:n_held_out], order[n_held_out:]


def _choose(job: Job, data: Data, seed: int, deadline: float) -> Variant:
    some, kept = split_rows(len(data.y), _HELD_OUT, seed, _MOST_HELD_OUT)
    held_out, kept = data.take(some), kept[:_MOST_KEPT]
    short = replace(job, length=job.length * _TRIAL_LENGTH)
    tasks = [_Task(variant, kept, seed) for variant in job.variants]
    fitted = _fit_all(short, data, tasks, deadline, {})
    rows = fitted[0][0].check_rows(*held_out)
    losses = [model.evaluate(rows)["loss"] for model, _ in fitted]
    return job.variants[int(np.argmin(losses))]


_Fitted = tuple[Model, dict[str, list[float]]]


def _fit_all(
    job: Job,
    data: Data,
    tasks: list[_Task],
    deadline: float,
    settings: dict[str, Any],
) -> list[_Fitted]:
    """Fit models side by side; the first error of one ends all."""
    n_threads = get_num_threads() if job.n_threads is None else job.n_threads
    # Those of NumPy are fitted one after the other.
    workers = 1 if job.backend == "numpy" else min(len(tasks), n_threads)

    def fit(number: int, member: _Member) -> _Fitted:
        # Of the time that is left, what the models still to come leave to this one.
        left = deadline - time.perf_counter()
        own = replace(job, seconds=left / -(-(len(tasks) - number) // workers))
        callbacks = (*settings.get("callbacks", ()), member)
        changed = {**settings, "callbacks": callbacks}
        return _fit(own, data, tasks[number], changed, member)

    members = [_Member(partial(fit, i), job.backend) for i in range(len(tasks))]
    Crew(members, n_threads, None).run()
    return [member.fitted for member in members]


class _Member(Member):
    """A task; its model is made in the thread that trains it."""

    fitted: _Fitted

    def __init__(self, fit: Callable[[_Member], _Fitted], backend: str) -> None:
        self._fit, self.backend, self.work = fit, backend, 0.0  # all alike

    def run(self, crew: Crew) -> None:
        self._crew = crew
        self.fitted = self._fit(self)
        crew.has_ended(0)


_SETTINGS: dict[str, Any] = {
    "shuffle": True,
    "class_weight": None,
    "validation": (None, None, None),
    "validation_split": 0.0,
    "callbacks": (),
    "verbose": 0,
    "scaling": (None, None),
    "resume": False,
    "metrics": (),
    "accumulate": 1,
    "rows": None,
    "rows_val": None,
}


def _fit(
    job: Job,
    data: Data,
    task: _Task,
    settings: dict[str, Any],
    member: Member | None = None,
) -> _Fitted:
    if task.rows is not None:
        data = data.take(task.rows)
    recipe = job.recipe(task.variant, data)
    best: EarlyStopping | None = None
    if recipe.held_out is not None:
        held_out = job.held_out
        some, rest = split_rows(len(data.y), recipe.held_out, task.seed)
        if len(some):
            held_out, data = data.take(some), data.take(rest)
        if held_out is not None:
            monitor = "val_accuracy" if job.n_classes else "val_loss"
            best = EarlyStopping(monitor, patience=None, ties="last")
            callbacks = (best, *settings.get("callbacks", ()))
            settings = {**settings, "validation": held_out, "callbacks": callbacks}
    plan = make_plan(recipe.layers, recipe.loss, recipe.optimizer, job.dtype)
    model = Model.initial(
        plan, task.seed, (None, None), job.backend, job.n_threads, job.targets
    )
    if recipe.fits_start:
        fit_start(model, data.X)
    prepare = partial(
        prepare_rows,
        model,
        job.network_of(model),
        data.X,
        data.y,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        sample_weight=data.weight,
        time_limit=max(job.seconds, 1e-3) if math.isfinite(job.seconds) else None,
        **{**_SETTINGS, **settings},
    )
    if member is not None:
        member.model = model
    history = train(model, prepare).history
    if best is not None:
        best.restore()  # also where the time was over
    return model, history


def _affordable(job: Job, data: Data, n_trainings: float) -> float:
    """The length of trainings that fit in the time, by one epoch of a few rows."""
    variant = job.variants[-1]
    few = data.take(np.arange(min(_TRIAL_ROWS, len(data.y))))
    trial = replace(job, seconds=math.inf, length=0.0)
    begin = time.perf_counter()
    _fit(trial, few, _Task(variant, None, 0), {})
    spent = time.perf_counter() - begin
    rows = job.recipe(variant, data).epochs * len(data.y) * n_trainings
    needed = spent * rows / len(few.y)
    return min(1.0, max(0.0, (job.seconds * _SHARE_TO_PLAN - spent) / needed))


def outputs_of(models: list[Model], X: Array) -> Floats:
    """What the mean of the models predicts, float64 (n, n_outputs); quantiles rise."""
    total = models[0].engine.forward(X, "values").astype(np.float64)
    for other in models[1:]:
        total += other.engine.forward(X, "values")
    mean, targets = np.asarray(total / len(models)), models[0].targets
    if models[0].plan.loss.name == "quantile":
        mean.sort(axis=1)
    return mean if targets is None else targets.predicted(mean)
