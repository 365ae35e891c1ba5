"""`fastnn train` of a table without options of its own: a recipe chooses all."""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from fastnn._base.fields import POSITIVE, check_number
from fastnn._core.model.model import Model
from fastnn._core.model.seeds import parse_seed
from fastnn._core.training.recipe import Data as Rows
from fastnn._core.training.recipe import Job as Course
from fastnn._core.training.recipe import fit_models
from fastnn._core.training.scoring import make_metrics
from fastnn._plan.plan import make_plan
from fastnn._plan.recipes import RECIPES, RealMLP
from fastnn._plan.targets import TargetScaling
from fastnn.losses import MSE, SoftmaxCrossEntropy
from fastnn.network import network_of

from .job import Job, metrics_of
from .ranks import world
from .table import is_table

if TYPE_CHECKING:
    from fastnn._base.types import Array
    from fastnn._plan.recipes import Recipe

    from .checkpoint import Interrupts
    from .data_set import Data

__all__ = ["PLAIN", "RecipeJob", "recipe_of"]

PLAIN = "plain"
# Options that a recipe leaves no room for.
_CHOICES = (
    "layers", "activation", "epochs", "batch_size", "optimizer", "lr", "lr_schedule",
    "validation_split", "patience", "class_weight", "dropout", "l2", "resume",
)  # fmt: skip
_LOSSES = (None, "softmax_cross_entropy", "mse")


def recipe_of(options: argparse.Namespace) -> str | None:
    """Return the name of the recipe to train by; None for a plain network."""
    given = [name for name in _CHOICES if getattr(options, name) is not None]
    given += [] if options.loss in _LOSSES else ["loss"]
    # A recipe trains several networks, which ranks do not share.
    plain = bool(given or not is_table(options.dataset) or world() is not None)
    if options.recipe == PLAIN or (options.recipe is None and plain):
        if options.calibrate:
            raise ValueError("--calibrate is for a table that a --recipe is trained on")
        return None
    if options.recipe is None:
        return "default"
    if not is_table(options.dataset):
        raise ValueError(
            f"--recipe {options.recipe} is for tables such as FILE.csv, but "
            f"{options.dataset!r} is none"
        )
    if given:
        flag = f"--{given[0].replace('_', '-')}"
        raise ValueError(
            f"{flag} is for --recipe {PLAIN}; --recipe {options.recipe} chooses that"
        )
    return str(options.recipe)


def _tell(message: Warning | str, *where: Any, **more: Any) -> None:
    print(f"fastnn: {message}", file=sys.stderr)


class RecipeJob(Job):
    """Trains the best variant of a recipe."""

    def __init__(
        self, options: argparse.Namespace, data: Data, loss: str, name: str
    ) -> None:
        self.options, self.data, self.name = options, data, name
        self.path = ""  # there are no checkpoints
        self.train = data.train
        self.holds_out = isinstance(RECIPES[name][0], RealMLP)
        # What a recipe holds out is also what is drawn.
        self.validation = data.test if options.plot and not self.holds_out else None
        if options.calibrate and not data.class_names:
            raise ValueError("--calibrate is for classes, but the label is a quantity")
        # Now, not after the training.
        plan = make_plan([1, max(len(data.class_names), 1)], loss, "adam", "float32")
        make_metrics(metrics_of(options), plan)
        self.stop = None
        self.scaled = loss == "mse"
        self.limit = math.inf
        if options.time is not None:
            self.limit = check_number("time_limit", options.time, *POSITIVE)

    def show_start(self) -> None:
        self.show_data()
        does = (
            f"compares {len(RECIPES[self.name])} variants on a fifth of the training "
            "samples, then trains one on all"
        )
        if self.holds_out:
            does = "holds out a fifth of the training samples, to choose the epoch by"
        print(f"recipe {self.name}: {does}", flush=True)

    def _show_choice(self, recipe: Recipe) -> None:
        self.epochs = recipe.epochs
        layers, loss, optimizer = recipe.layers, recipe.loss, recipe.optimizer
        plan = make_plan(layers, loss, optimizer, self.options.dtype)
        if not self.options.quiet:
            self.show_network(plan, recipe.batch_size)

    def _fit(
        self, X: Array, y: Array, X_val: Any, y_val: Any, interrupts: Interrupts
    ) -> dict[str, list[float]]:
        options, schema = self.options, self.data.schema
        assert schema is not None
        course = Course(
            RECIPES[self.name],
            schema.n_numeric,
            len(self.data.class_names),
            self.limit,
            options.threads,
            network_of,
            dtype=options.dtype,
            backend=options.backend,
            calibrates=options.calibrate,
        )
        if self.scaled:
            targets = TargetScaling(MSE(), 1, "auto", "auto")
            course = replace(course, targets=targets.learnt(y.reshape(-1, 1), None))
        rows = Rows(X, y, None)
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = _tell
            outcome = fit_models(
                course,
                rows,
                [None],
                [parse_seed(options.seed)],
                self._show_choice,
                validation=(X_val, y_val, None),
                verbose=0 if options.quiet else 1,
            )
        self.most_epochs = course.recipe(outcome.variant, rows).epochs
        self.network = network_of(_as_used(outcome.models[0]))
        self.network.schema = schema
        self.variant, self.temperature = outcome.variant, outcome.temperature
        if options.calibrate:  # softmax(log(p) / t) is softmax(z / t)
            *others, (w, b) = self.network.get_weights()
            t = outcome.temperature
            self.network.set_weights([*others, (w / t, b / t)])
        return outcome.histories[0]

    def save(self, path: str) -> None:
        # The training is over, and so is its schedule: nothing goes on from there.
        self.network.save(path, include_optimizer=False)

    def show_end(self, seconds: float) -> None:
        chosen = self.variant
        told = ", ".join(
            f"{field.name.replace('_', ' ')} {getattr(chosen, field.name):g}"
            for field in fields(chosen)
            if len({getattr(each, field.name) for each in RECIPES[self.name]}) > 1
        )
        if told:
            print(f"recipe {self.name}, the variant of {told}")
        if self.options.calibrate:
            print(f"probabilities at the temperature {self.temperature:.3g}")
        if self.epochs < self.most_epochs:
            print(
                f"shortened to {self.epochs} of {self.most_epochs} epochs by --time "
                f"{self.options.time:g}"
            )
        print(f"training took {seconds:.2f} s ({self.network.epoch} epochs)")


def _as_used(model: Model) -> Model:
    """The model with the loss of its predictions: labels are smoothed to train."""
    if not model.plan.loss.is_classifier:
        return model
    state = model.state()
    state = replace(state, plan=replace(state.plan, loss=SoftmaxCrossEntropy()))
    return Model.from_state(state, model.backend, model.num_threads)
