"""`Model`: a network that can be trained, saved and used, without a public face.

The arithmetic is in an engine, native or NumPy, which owns weights and optimizer state.
A model adds what engines do not have: the seed, the input scaling, and where training
stands.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._base.errors import BusyError
from fastnn._base.fields import check_integer, check_name
from fastnn._core.model.threadpools import show_threads
from fastnn._plan import inputs
from fastnn._plan.own_activation import has_own_activation
from fastnn._plan.plan import parse_optimizer
from fastnn._plan.rows import Rows, check_rows
from fastnn._plan.schema import Schema, check_schema

from .seeds import dropout_keys, initial_weights
from .state import ModelState, Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastnn._base.types import Array, Pair, Scaling
    from fastnn._core.native.engine import Engine as NativeEngine
    from fastnn._plan.plan import Plan
    from fastnn._plan.targets import TargetScaling
    from fastnn.optimizers import Optimizer
    from fastnn.reference import Engine as NumpyEngine

    Engine = NativeEngine | NumpyEngine
    Parameters = tuple[list[Pair], list[Pair | None]]

__all__ = ["Model", "mean_logs"]

show_threads()


class Model:
    """An engine, and the state of training that it does not have.

    Parameters
    ----------
    plan, seed, backend, num_threads
        As for `Network`, checked but for the last two. All weights are 0: see
        `initial` and `from_state`.

    Attributes
    ----------
    engine : Engine
        Weights, statistics, optimizer state and `step` are its own.
    seed : int
    scaling : Scaling
        Of the inputs; see `set_scaling`.
    progress : Progress
    schema : Schema or None
        Of the tables it is given; see `set_schema`.
    targets : TargetScaling or None
    backend : {"native", "numpy"}
    num_threads : int or None
        As asked for; the engine has as many as there are.
    stop_training : bool
        Ends a fit after the epoch.
    """

    def __init__(
        self,
        plan: Plan,
        seed: int,
        backend: str = "native",
        num_threads: int | None = None,
    ) -> None:
        show_threads()
        if num_threads is not None:
            num_threads = check_integer("num_threads", num_threads, 1)
        keys = dropout_keys(plan, seed)
        self.engine: Engine = _engine_class(backend, plan)(
            plan, num_threads, dropout_keys=keys
        )
        self.seed = seed
        self.scaling: Scaling = (None, None)
        self.progress = Progress()
        self.schema: Schema | None = None
        self.targets: TargetScaling | None = None
        self.backend = backend
        self.num_threads = num_threads
        self.stop_training = False

    @classmethod
    def initial(
        cls,
        plan: Plan,
        seed: int,
        scaling: Scaling,
        backend: str,
        num_threads: int | None,
        targets: TargetScaling | None = None,
    ) -> Model:
        """Return a model with the weights that plan and seed determine."""
        weights = initial_weights(plan, seed)
        model = cls(plan.without_values(), seed, backend, num_threads)
        model.set_scaling(scaling)
        model.targets = targets
        model.engine.set_weights(weights)
        return model

    @classmethod
    def from_state(
        cls, state: ModelState, backend: str = "native", num_threads: int | None = None
    ) -> Model:
        """Return the model that `state` described."""
        model = cls(state.plan, state.seed, backend, num_threads)
        model.set_scaling(state.scaling)
        model.set_parameters((state.weights, state.statistics))
        if state.optimizer_state is not None:
            model.engine.set_optimizer_state(state.optimizer_state)
        model.engine.step = state.step
        model.progress = state.progress
        model.set_schema(state.schema)
        model.targets = state.targets
        return model

    def state(self, include_optimizer: bool = True) -> ModelState:
        """Return copies of all that a file holds.

        Raises
        ------
        BusyError
            Another thread trained the model meanwhile.
        """
        engine, step = self.engine, self.engine.step
        state = ModelState(
            plan=engine.plan,
            seed=self.seed,
            step=step if include_optimizer else 0,
            progress=self.progress,
            scaling=self.scaling,
            weights=engine.get_weights(),
            statistics=engine.get_statistics(),
            optimizer_state=engine.get_optimizer_state() if include_optimizer else None,
            schema=self.schema,
            targets=self.targets,
        )
        if engine.step != step:
            raise BusyError("another thread trained the network while it was saved")
        if not include_optimizer:  # what is left of an epoch cannot be exact
            state = replace(state, progress=state.progress.at_epoch(self.epoch))
        return state

    @property
    def plan(self) -> Plan:
        """Layers, loss, optimizer and dtype, as data."""
        return self.engine.plan

    @property
    def epoch(self) -> int:
        """The number of epochs completed."""
        return self.progress.epoch

    def set_scaling(self, scaling: Scaling) -> None:
        """Scale the inputs so from here on."""
        codes = slice(self.plan.n_inputs - len(self.plan.categories), None)
        scale, shift = scaling
        if (scale is not None and (scale[codes] != 1).any()) or (
            shift is not None and (shift[codes] != 0).any()
        ):
            raise ValueError(
                "input_scale and input_shift must be 1 and 0 for the codes of "
                f"categories, the last {len(self.plan.categories)} inputs"
            )
        self.engine.set_input_scaling(*scaling)
        self.scaling = scaling

    def set_schema(self, schema: Schema | None) -> None:
        """Match the columns of tables by it from here on."""
        check_schema(schema, self.plan)
        self.schema = schema

    def set_num_threads(self, num_threads: int) -> None:
        """Let the engine use at most this number of threads."""
        num_threads = check_integer("num_threads", num_threads, 1)
        self.engine.num_threads = num_threads
        self.num_threads = num_threads

    def set_optimizer(self, optimizer: str | Optimizer) -> None:
        """Train with another optimizer; see `Network.optimizer`."""
        self.engine.set_optimizer(parse_optimizer(optimizer))

    def set_trainable(self, layers: Sequence[int], trainable: bool) -> None:
        """Train these layers, or freeze them; none stands for all with parameters."""
        plan = self.plan
        flags = [layer.trainable for layer in plan.layers]
        if not layers:
            layers = plan.parametric_layers
        for i, each in enumerate(layers):
            name, n = f"layers[{i}]", len(flags)
            index = check_integer(name, each, -n, n - 1)
            if not plan.layers[index].has_parameters:
                raise ValueError(
                    f"{name} is {index}, but layer {index % n} is "
                    f"{plan.layers[index]!r}, which has no parameters"
                )
            flags[index] = trainable
        self.engine.set_trainable(flags)

    def get_parameters(self) -> Parameters:
        """Return weights and statistics: what a prediction depends on, copied."""
        return self.engine.get_weights(), self.engine.get_statistics()

    def set_parameters(self, parameters: Parameters) -> None:
        """Set weights and statistics, copied."""
        weights, statistics = parameters
        self.engine.set_weights(weights)
        self.engine.set_statistics(statistics)

    def rows_of(self, X: Any, schema: Schema | None = None, name: str = "X") -> Any:
        """Return the inputs that a table is, by the schema; else X as it is."""
        schema = schema or self.schema
        if schema is None:
            return X
        return schema.rows_of(X, self.plan.array_dtype, name)

    def check_rows(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        suffix: str = "",
        schema: Schema | None = None,
        targets: TargetScaling | None = None,
        learns: bool = False,
    ) -> Rows:
        """Check a data set, values included, and scale y; `suffix` names it."""
        targets = targets or self.targets
        if targets is not None and not (learns or targets.is_known):
            raise ValueError(
                "target_scale or target_range is 'auto', and no fit has learnt it yet"
            )
        X = self.rows_of(X, schema, f"X{suffix}")
        dtype = None if targets is None else "float64"
        rows = check_rows(self.plan, X, y, sample_weight, suffix, dtype)
        self.require_finite(rows.X, f"X{suffix}")
        if targets is None:
            return rows
        y = targets.scaled(rows.y, self.plan.array_dtype, f"y{suffix}")
        return rows._replace(y=y)

    def outputs(self, X: Array, output: str = "values") -> Array:
        """Return "labels", or "values" in the units of y."""
        y = self.engine.forward(X, output)
        return self.in_units(y) if output == "values" else y

    def in_units(self, y: Array) -> Array:
        """Scale values that an engine has predicted, in place."""
        if self.targets is not None:
            y[...] = self.targets.predicted(y)
        return y

    def unscaled(self, y: Array) -> Array:
        """Return the targets of checked rows in their own units."""
        return y if self.targets is None else self.targets.unscaled(y)

    def require_finite(self, X: Array, name: str) -> None:
        """Raise ValueError with row, column and value if X holds NaN or infinity."""
        if not self.engine.all_finite(X):
            raise inputs.bad_values(X, self.plan, name)

    def backward(self, X: Any, d_outputs: Any) -> tuple[list[Pair], Array]:
        """Return the gradients of parameters and X; see `Network.backward`."""
        n = inputs.check_X(X, self.plan.n_inputs).shape[0]
        shape = (n, self.plan.n_outputs)
        dtype = self.plan.array_dtype
        dy = inputs.as_parameter(d_outputs, shape, dtype, "d_outputs")
        gradients, d_inputs = self.engine.backward(X, dy)
        if self.scaling[0] is not None:
            d_inputs *= self.scaling[0].astype(d_inputs.dtype)
        return gradients, d_inputs

    def evaluate(self, rows: Rows) -> dict[str, float]:
        """Return the mean loss and, of classes, the accuracy."""
        return mean_logs(np.array(self.engine.evaluate(*rows)), self.plan)


def mean_logs(totals: Array, plan: Plan) -> dict[str, float]:
    """Loss, and accuracy of classes, from sums of w * loss, w, and w * correct."""
    loss, weight, correct = map(float, totals)
    if weight == 0.0:
        return {}
    logs = {"loss": loss / weight}
    if plan.loss.is_classifier:
        logs["accuracy"] = correct / weight
    return logs


def _engine_class(backend: str, plan: Plan) -> type[NativeEngine] | type[NumpyEngine]:
    if check_name("backend", backend, ("native", "numpy")) == "native":
        if any(has_own_activation(layer) for layer in plan.layers):
            from .own_activation import OwnActivationEngine

            return OwnActivationEngine
        if plan.loss.name == "own":
            from .own_loss import OwnLossEngine

            return OwnLossEngine
        from fastnn._core.native.engine import Engine as NativeEngine

        return NativeEngine
    from fastnn.reference import Engine as NumpyEngine

    return NumpyEngine
