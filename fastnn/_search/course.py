"""The course of a search: rungs of trainings, each longer than those before.

``run -> _length -> fit_all -> the best third -> ... -> _select -> merge``. A training
begins anew on each rung, with a schedule of its own length, so that its network can be
judged as it is.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import metrics
from fastnn._base.errors import TrainingDiverged
from fastnn._base.warn import warn_user
from fastnn._core.exchange.files import write_atomically
from fastnn._core.exchange.model_file import from_bytes, to_bytes
from fastnn._core.model.merge import merge
from fastnn._core.model.model import Model
from fastnn._core.native.engine import get_num_threads
from fastnn._core.training.many import Crew, Member, fit_all, work_of
from fastnn._plan.recipes import RECIPES
from fastnn._plan.targets import parse_target_scaling
from fastnn.losses import SoftmaxCrossEntropy
from fastnn.network import Network, network_of
from fastnn.reference._losses import LOSSES

from .result import SearchResult, Trial
from .space import Settings, recipe_of

if TYPE_CHECKING:
    from fastnn._base.types import Array, Floats
    from fastnn._plan.recipes import Recipe, Size
    from fastnn._plan.schema import Schema
    from fastnn.losses import Loss

__all__ = ["MOST_MEMBERS", "Course", "Problem"]

_PARTS = 3.0  # of which one goes on
_SHARE_TO_PLAN = 0.85  # of the time: the rest is for what the estimate did not know
_TRIAL_ROWS = 1024
_MOST_FREQUENCIES, MOST_MEMBERS, _ROUNDS = 256, 21, 20  # of an ensemble
SECONDS_BETWEEN, PAUSE = 1.0, 20.0  # writes: at least; and times as long as one

_Key = tuple[int, int]  # rung and setting


@dataclass(frozen=True, eq=False)
class Problem:
    """What a search is given, checked: labels or standardised numbers."""

    X: Array
    y: Array
    rows: Array
    held_out: Array
    size: Size
    loss: Loss
    network: dict[str, Any]  # arguments of each
    schema: Schema | None
    target: tuple[float, float] | None  # mean and deviation of numbers

    def make(self, recipe: Recipe, seed: int) -> Network:
        return Network(
            recipe.layers, loss=recipe.loss, optimizer=recipe.optimizer, seed=seed,
            **self.network,
        )  # fmt: skip

    def outputs_of(self, model: Model) -> Floats:
        """Raw outputs of the rows held out."""
        rows = self.X[self.held_out]
        return model.engine.forward(rows, "logits").astype(np.float64)

    def loss_of(self, outputs: Floats) -> float:
        loss = self.loss if self.target else SoftmaxCrossEntropy()
        with np.errstate(all="ignore"):
            losses, _ = LOSSES[loss.name].rows(loss, outputs, self.y[self.held_out])
        return float(losses.mean())

    def score_of(self, outputs: Floats) -> float:
        y = self.y[self.held_out]
        if self.target is None:
            return metrics.accuracy(y, outputs.argmax(axis=1))
        return metrics.r2(y[:, 0], outputs[:, self.loss.point])


class Course:
    """A search under way."""

    def __init__(
        self,
        problem: Problem,
        settings: list[Settings],
        seed: int,
        ensemble: int,
        time_limit: float,
        num_threads: int | None,
        path: Any,
        verbose: int,
    ) -> None:
        self.problem, self._settings, self.seed = problem, settings, seed
        self._time_limit, self._num_threads = time_limit, num_threads
        self._ensemble = ensemble
        self._path, self._verbose = path, verbose
        self.trials: dict[_Key, Trial] = {}
        self._models: dict[_Key, bytes] = {}  # of this rung and the one before
        self._rungs: list[tuple[float, list[int]]] = []  # length, settings
        self._begin, self._next_write = time.monotonic(), 0.0
        self._work = self._busy = 0.0  # of trainings, and their seconds
        self._lock = threading.Lock()
        self._failure: Exception | None = None
        self._of: dict[str, Any] = {"seed": seed, "loss": problem.loss}
        self._of |= {"ensemble": ensemble, "settings": settings}
        self._of |= {name: problem.network[name] for name in ("dtype", "backend")}
        self._of["recipe"] = asdict(RECIPES["default"][-1])  # what settings leave open
        if path is not None:
            digest = hashlib.sha256()
            for array in (problem.X, problem.y, problem.held_out):
                digest.update(f"{array.dtype}{array.shape}".encode())
                for start in range(0, len(array), 4096):
                    digest.update(array[start : start + 4096].tobytes())
            self._of["data"] = digest.hexdigest()

    def resume(self) -> None:
        """Take over what a file has."""
        try:
            with np.load(self._path, allow_pickle=False) as archive:
                models = {name: archive[name].tobytes() for name in archive}
            record = json.loads(models.pop("record"))
            found, seconds, rungs = record["of"], record["seconds"], record["rungs"]
            trials = [Trial(**each) for each in record["trials"]]
            of_models = {(int(k[0]), int(k[2:])): data for k, data in models.items()}
        except FileNotFoundError:
            return
        except OSError:
            raise
        except Exception as error:  # of a damaged archive, almost any
            text = f"{self._path} is no state of a search: {error}"
            raise ValueError(text) from None
        for name, value in json.loads(_json(self._of)).items():
            if found.get(name) != value:
                raise ValueError(
                    f"{self._path} is the state of a search with other {name}; "
                    "expected the same, or resume=False"
                )
        self._begin -= seconds
        self._rungs, self._models = rungs, of_models
        self.trials = {(trial.rung, trial.setting): trial for trial in trials}

    @property
    def time_left(self) -> float:
        return self._time_limit - (time.monotonic() - self._begin)

    def run(self, refit: bool) -> SearchResult:
        if self._path is not None and not os.path.exists(self._path):
            self._write()  # where that is not possible, it is known at once
        ensemble = self._ensemble
        order, rung = [*range(len(self._settings))], 0
        try:
            while order and (rung == 0 or self.time_left > 0):
                if rung == len(self._rungs):
                    self._rungs.append(self._plan_rung(order))
                order = self._run_rung(rung, rung - 1)
                rung += 1
                if len(self._rungs[rung - 1][1]) <= _PARTS:
                    break
                order = order[: _next(len(self._rungs[rung - 1][1]))]
            if order and ensemble > 1 and self.time_left > 0:
                # Members that certainly fit: the best settings again, other seeds.
                n, length = len(self._settings), self._rungs[rung - 1][0]
                again = [self._settings[order[0]]] * (ensemble - 1)
                self._settings = self._settings + again
                if rung == len(self._rungs):
                    self._rungs.append((length, [*range(n, len(self._settings))]))
                self._run_rung(rung, rung - 2)
        finally:
            self._write()
        if not self._models:
            told = next(trial.error for trial in self.trials.values())
            raise self._failure or RuntimeError(told)
        return self._result(refit)

    def _plan_rung(self, order: list[int]) -> tuple[float, list[int]]:
        """Return the length of trainings, and the settings there is time for."""
        problem, sizes = self.problem, [len(order)]
        while sizes[-1] > _PARTS:
            sizes.append(_next(sizes[-1]))
        shares = [_PARTS ** (i + 1 - len(sizes)) for i in range(len(sizes))]
        n = self._ensemble
        sizes, shares = [*sizes, n - 1, n], [*shares, 1.0, 1.25]
        if math.isinf(self._time_limit):
            return shares[0], order
        recipes = [recipe_of(self._settings[i], problem.size) for i in order]
        epochs = np.array([recipe.epochs for recipe in recipes])
        works = np.array([self._work_of(recipe, problem.rows) for recipe in recipes])
        if not self._busy:  # nothing was trained: take the time of a few rows
            network, few = problem.make(recipes[0], self.seed), problem.rows
            few = few[:_TRIAL_ROWS]
            network.num_threads = 1
            begin = time.monotonic()
            with suppress(TrainingDiverged):  # it has taken its time all the same
                network.fit(
                    problem.X, problem.y, rows=few, epochs=1, verbose=0,
                    batch_size=recipes[0].batch_size,
                    time_limit=max(self.time_left, 1e-3),
                )  # fmt: skip
            self._busy = time.monotonic() - begin
            self._work = self._work_of(recipes[0], few)
        spare = _SHARE_TO_PLAN * self.time_left * self._work / self._busy
        n_threads = self._num_threads or get_num_threads()

        def needed(factor: float) -> float:
            """Work on the thread with most of it."""
            return sum(
                math.ceil(n / n_threads)
                * float((np.maximum(epochs * factor * share, 1) * works).mean())
                for n, share in zip(sizes, shares, strict=True)
            )

        factor = min(1.0, max(0.0, spare / needed(1.0)))
        if not self._rungs and needed(factor) > spare and len(order) > 1:
            # Not even for an epoch each.
            n = min(int(len(order) * spare / needed(factor)), len(order) - 1)
            return self._plan_rung(order[: max(1, n)])
        return shares[0] * factor, order

    def _work_of(self, recipe: Recipe, rows: Array) -> float:
        """The work of an epoch."""
        size = self.problem.make(recipe, 0).n_parameters
        return work_of(size, len(rows), 1, recipe.batch_size)

    def _run_rung(self, rung: int, oldest: int) -> list[int]:
        """Train what is not trained yet; return the settings, the best first."""
        length, chosen = self._rungs[rung]
        self._models = {k: data for k, data in self._models.items() if k[0] >= oldest}
        fits: list[Member] = [
            _Fit(
                self, (rung, i), recipe_of(self._settings[i], self.problem.size, length)
            )
            for i in chosen
            if (rung, i) not in self.trials
        ]
        if fits:
            fit_all(fits, self._num_threads, self._verbose)
        done = [
            t for t in self.trials.values() if t.rung == rung and t.loss is not None
        ]
        return [t.setting for t in sorted(done, key=lambda t: (t.loss, t.setting))]

    def has_ended(self, fit: _Fit, seconds: float) -> None:
        """Judge a network that has been trained; called in the thread that did it."""
        problem, model, error = self.problem, fit.model, fit.error
        loss: float | None = None
        score: float | None = None
        if error is None:
            model.engine.num_threads = 1  # the others are at work
            outputs = problem.outputs_of(model)
            loss, score = problem.loss_of(outputs), problem.score_of(outputs)
            if not math.isfinite(loss):
                error = TrainingDiverged(f"the loss of rows held out is {loss}")
                loss = score = None
        told = None if error is None else f"{type(error).__name__}: {error}"
        data = to_bytes(model.state(include_optimizer=False))
        with self._lock:
            self._failure = self._failure or error
            self.trials[fit.key] = Trial(
                *fit.key,
                model.epoch,
                loss,
                score,
                seconds,
                told,
                fit.is_whole or error is not None,
            )
            if error is None:
                self._models[fit.key] = data
                if fit.is_whole:
                    self._work, self._busy = self._work + fit.work, self._busy + seconds
            if time.monotonic() > self._next_write:
                self._write()

    def _write(self) -> None:
        """Write what is finished: what the time limit cut short is done again."""
        if self._path is None:
            return
        begin = time.monotonic()
        done = {key: trial for key, trial in self.trials.items() if trial.is_whole}
        record = {
            "of": self._of,
            "seconds": time.monotonic() - self._begin,
            "rungs": self._rungs,
            "trials": [*map(asdict, done.values())],
        }
        texts = {f"{k[0]}.{k[1]}": m for k, m in self._models.items() if k in done}
        texts["record"] = _json(record).encode()
        arrays: dict[str, Any] = {k: np.frombuffer(v, "u1") for k, v in texts.items()}
        content = io.BytesIO()
        np.savez(content, **arrays)
        write_atomically(self._path, content.getvalue())
        now = time.monotonic()
        self._next_write = now + max(SECONDS_BETWEEN, PAUSE * (now - begin))

    def _refit(self, models: dict[_Key, Model]) -> dict[_Key, Model]:
        """Train models again, on all rows; or return them, if there is no time."""
        problem, fits = self.problem, []
        size = replace(problem.size, n_rows=len(problem.X))
        for key in models:
            recipe = recipe_of(self._settings[key[1]], size, self._rungs[key[0]][0])
            fits.append(_Fit(self, key, recipe, is_refit=True))
        seconds = sum(self.trials[key].seconds for key in models)
        if seconds * size.n_rows / problem.size.n_rows > self.time_left:
            return models
        members: list[Member] = [*fits]
        fit_all(members, self._num_threads, self._verbose)
        if error := next((fit.error for fit in fits if fit.error), None):
            warn_user(f"what was chosen failed when trained again on all rows: {error}")
        if not all(fit.is_whole for fit in fits):
            return models
        return {fit.key: fit.model for fit in fits}

    def _result(self, refit: bool) -> SearchResult:
        problem, trials = self.problem, self.trials
        keys = sorted(self._models, key=lambda k: (trials[k].loss, -k[0], k[1]))
        models = {
            key: Model.from_state(from_bytes(data), problem.network["backend"])
            for key, data in self._models.items()
        }
        shares = {keys[0]: 1.0}
        if self._ensemble > 1:
            shares = self._select(keys, models, self._ensemble)
        chosen = {key: models[key] for key in shares}
        model = _mean_of(chosen, shares)
        outputs = problem.outputs_of(model)
        if refit:
            again = self._refit(chosen)
            refit, model = again is not chosen, _mean_of(again, shares)
        model.set_schema(problem.schema)
        if problem.target is not None:
            model.targets = parse_target_scaling(problem.target, None, model.plan)
        members: Counter[int] = Counter()
        for (_, setting), share in shares.items():
            members[setting] += share  # type: ignore[assignment]
        return SearchResult(
            network_of(model), self._settings, [trials[key] for key in sorted(trials)],
            dict(members), problem.loss_of(outputs), problem.score_of(outputs),
            time.monotonic() - self._begin, "R2" if problem.target else "accuracy",
            refit,
        )  # fmt: skip

    def _select(
        self, keys: list[_Key], models: dict[_Key, Model], most: int
    ) -> dict[_Key, float]:
        """Add what makes the loss of the mean least, as long as that helps."""
        settings = {key: self._settings[key[1]] for key in keys}
        kinds = {
            key: (own["depth"], own["activation"]) for key, own in settings.items()
        }
        keys = [key for key in keys if kinds[key] == kinds[keys[0]]]
        widest = max(settings[key].get("frequencies", 0) for key in keys)
        most = min(most, MOST_MEMBERS, _MOST_FREQUENCIES // max(1, widest))
        outputs = {key: self.problem.outputs_of(models[key]) for key in keys}
        chosen, total = Counter(keys[:1]), outputs[keys[0]]
        best = self.problem.loss_of(total)
        for n in range(2, _ROUNDS + 2):
            allowed = [key for key in keys if key in chosen or len(chosen) < most]
            means = ((total + outputs[key]) / n for key in allowed)
            losses = [*map(self.problem.loss_of, means)]
            if min(losses) >= best:
                break
            best = min(losses)
            key = allowed[losses.index(best)]
            chosen[key] += 1
            total = total + outputs[key]
        return {key: count / chosen.total() for key, count in chosen.items()}


class _Fit(Member):
    """A training that the time limit of the search may cut short, or leave out."""

    def __init__(
        self, course: Course, key: _Key, recipe: Recipe, is_refit: bool = False
    ) -> None:
        problem = course.problem
        options = {
            "rows": np.arange(len(problem.X)) if is_refit else problem.rows,
            "epochs": recipe.epochs,
            "batch_size": recipe.batch_size, "callbacks": (),
        }  # fmt: skip
        network = problem.make(recipe, course.seed + key[1])
        super().__init__(network, problem.X, problem.y, options)
        self._course, self.key, self._is_refit = course, key, is_refit
        self.error: Exception | None = None
        self.is_whole = False

    def run(self, crew: Crew) -> None:
        left = self._course.time_left
        if left <= 0 and self._course.trials:
            crew.has_ended(self.n_samples)
            return
        if left < math.inf:
            self.options["time_limit"] = max(left, 1e-3)
        begin = time.monotonic()
        super().run(crew)
        # One that fails is no failure of the search.
        self.error, self.history.error = self.history.error, None
        self.is_whole = (
            self.error is None and self.model.epoch == self.options["epochs"]
        )
        if not self._is_refit:
            self._course.has_ended(self, time.monotonic() - begin)


def _mean_of(models: dict[_Key, Model], shares: dict[_Key, float]) -> Model:
    if len(models) == 1:
        return next(iter(models.values()))
    return merge([*models.values()], [*shares.values()])


def _next(n: int) -> int:
    return math.ceil(n / _PARTS)


def _json(value: Any) -> str:
    return json.dumps(value, default=repr)  # settings may be any objects
