"""L-BFGS on all data at once, by SciPy, with an engine's loss and gradients.

`Objective` turns an engine's loss and gradients into a function of one vector,
`minimize` searches, and `run_lbfgs` is the course of `Network.fit`.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._base.errors import TrainingDiverged
from fastnn._base.warn import warn_user
from fastnn._core.model.model import Model, mean_logs
from fastnn._plan.rows import Rows
from fastnn.layers import Dense
from fastnn.optimizers import LBFGS

from .fit import Fit
from .loop import begin_epoch, end_epoch

if TYPE_CHECKING:
    from fastnn._base.types import Array, Floats, Pair
    from fastnn._core.native.engine import Engine as NativeEngine
    from fastnn._plan.plan import Plan
    from fastnn.reference import Engine as NumpyEngine


__all__ = ["Objective", "minimize", "require_scipy", "run_lbfgs"]


def require_scipy() -> None:
    """Raise ImportError with the name of the package if SciPy is absent."""
    try:
        import scipy.optimize  # noqa: F401
    except ImportError:
        raise ImportError("L-BFGS needs the package scipy: pip install scipy") from None


def run_lbfgs(rows: Rows, model: Model, fit: Fit, deadline: float) -> bool:
    """Each iteration is an epoch; its loss is that after the iteration."""
    if model.epoch >= fit.last_epoch or model.stop_training:
        return True
    engine, optimizer = model.engine, model.plan.optimizer
    assert isinstance(optimizer, LBFGS)
    is_stopped = is_out_of_time = False

    def record() -> None:
        totals = np.array(engine.evaluate(*rows))
        logs = mean_logs(totals, model.plan)
        for callback in fit.settings.callbacks:
            callback.on_progress(len(rows.X), logs)
        end_epoch(model, fit, totals)

    def end_iteration(value: float) -> bool:
        nonlocal is_stopped, is_out_of_time
        engine.step += 1
        objective.show()
        record()
        done = model.epoch >= fit.last_epoch or model.stop_training
        is_out_of_time = not done and time.monotonic() >= deadline
        is_stopped = done or is_out_of_time
        if not is_stopped:
            begin_epoch(model, fit)
        return is_stopped

    def require_finite(value: float, gradient: Floats) -> None:
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            raise TrainingDiverged(
                f"a loss or gradient of iteration {engine.step + 1} is not finite; the "
                f"network keeps its weights after iteration {engine.step}"
            )

    begin_epoch(model, fit)
    objective = Objective(engine, rows, optimizer.l2, check=require_finite)
    problem = ""
    if objective.accepted.size:  # else all layers are frozen
        options = {
            "maxiter": sys.maxsize,  # end_iteration counts
            "maxfun": optimizer.max_evaluations,
            "maxcor": optimizer.history_size,
            "gtol": optimizer.tolerance,
            "ftol": 64 * np.finfo(np.float64).eps,  # scikit-learn's
        }
        result = minimize(objective, end_iteration, options)
        if not (is_stopped or result.success):
            problem = str(result.message).strip(" :")
            if result.status == 2:
                problem += " (the line search found no better point)"
    if model.epoch == fit.course.progress.first_epoch:
        record()  # there was nothing to gain, and that is the record
    if problem:
        warn_user(
            f"L-BFGS ended after epoch {model.epoch} of {fit.last_epoch} without "
            f"having converged: {problem}"
        )
    return not is_out_of_time


def minimize(
    objective: Objective,
    end_iteration: Callable[[float], bool],
    options: Mapping[str, Any],
) -> Any:
    """Minimise the objective from the present weights, and return SciPy's result.

    Afterwards the engine's weights are those of the last complete iteration, whatever
    ended the call. `end_iteration` is called after each iteration with the value that
    it reached, and returns whether to stop; if it looks at the engine, the weights are
    wanted first (`Objective.show`).
    """
    from scipy.optimize import minimize as scipy_minimize

    def iteration(intermediate_result: Any) -> None:
        objective.accepted = intermediate_result.x.copy()
        if end_iteration(float(intermediate_result.fun)):
            raise StopIteration

    try:
        return scipy_minimize(
            objective,
            objective.accepted,
            jac=True,
            method="L-BFGS-B",
            callback=iteration,
            options=dict(options),
        )
    finally:
        objective.show()


class Objective:
    """Loss of all rows plus ``0.5 l2 sum W^2``, and its gradient, of one vector.

    Parameters
    ----------
    engine : Engine
        Its weights become those of each vector that is asked for.
    rows : Rows
    l2 : float
    factor : float, default 1.0
        Multiplies the engine's loss.
    matrices_first : bool, default False
        Of dense layers: order the vector as scikit-learn does, rather than layer by
        layer, so that sums over it are rounded alike.
    check : callable, optional
        Called with each loss and gradient of the data, and may raise.

    Attributes
    ----------
    accepted : ndarray (n,)
        The last vector that was accepted, at first the engine's weights.
    """

    def __init__(
        self,
        engine: NativeEngine | NumpyEngine,
        rows: Rows,
        l2: float,
        factor: float = 1.0,
        matrices_first: bool = False,
        check: Callable[[float, Floats], None] | None = None,
    ) -> None:
        weights = engine.get_weights()
        self._engine, self._rows = engine, rows
        self._l2, self._factor, self._check = l2, factor, check
        self._initial = weights
        self._places = _trainable(engine.plan)
        if matrices_first:
            self._places.sort(key=lambda place: place[1])
        layers = [engine.plan.layers[i] for i in engine.plan.parametric_layers]
        sizes = [
            (weights[i][part].size, isinstance(layers[i], Dense) and part == 0)
            for i, part in self._places
        ]
        # Where the penalty applies.
        ends = [0, *accumulate(size for size, _ in sizes)]
        self._decayed = [
            slice(start, start + size)
            for start, (size, is_matrix) in zip(ends, sizes, strict=False)
            if is_matrix
        ]
        if matrices_first and self._decayed:
            self._decayed = [slice(0, self._decayed[-1].stop)]
        self.accepted = self._vector(weights)

    def __call__(self, x: Floats) -> tuple[float, Floats]:
        self._engine.set_weights(self._weights(x))
        loss, gradients = self._engine.loss_and_gradients(*self._rows)
        gradient = self._vector(gradients)
        if self._check is not None:
            self._check(loss, gradient)
        gradient *= self._factor
        for part in self._decayed:
            gradient[part] += self._l2 * x[part]
        return self._factor * loss + self._penalty(x), gradient

    def show(self) -> None:
        """Let the engine have the accepted weights."""
        self._engine.set_weights(self._weights(self.accepted))

    def accepted_penalty(self) -> float:
        """The part of the accepted value that is the penalty."""
        return self._penalty(self.accepted)

    def _penalty(self, x: Floats) -> float:
        # NumPy's own sum: a product would wake the threads of its BLAS.
        squares = [float(np.square(x[part]).sum()) for part in self._decayed]
        return 0.5 * self._l2 * math.fsum(squares)

    def _vector(self, pairs: list[Pair]) -> Floats:
        parts = [pairs[i][part].ravel() for i, part in self._places]
        return np.concatenate([np.zeros(0), *parts], dtype=np.float64)

    def _weights(self, vector: Floats) -> list[Pair]:
        pairs: list[list[Array]] = [list(pair) for pair in self._initial]
        at = 0
        for i, part in self._places:
            array = self._initial[i][part]
            values = vector[at : at + array.size]
            values = values.reshape(array.shape)
            pairs[i][part] = values.astype(array.dtype, copy=False)
            at += array.size
        return [(first, second) for first, second in pairs]


def _trainable(plan: Plan) -> list[tuple[int, int]]:
    """The arrays that are trained, as (index of the pair, 0 or 1 within it)."""
    places = []
    for i, index in enumerate(plan.parametric_layers):
        layer = plan.layers[index]
        if layer.trainable:
            places.append((i, 0))
            if getattr(layer, "use_bias", True):
                places.append((i, 1))
    return places
