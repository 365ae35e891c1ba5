"""L-BFGS on all data at once, by SciPy, with an engine's loss and gradients."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from fastnn._base.errors import TrainingDiverged
from fastnn._base.warn import warn_user
from fastnn._core.model.model import Model, mean_logs
from fastnn._plan.rows import Rows
from fastnn.optimizers import LBFGS

from .fit import Fit
from .loop import begin_epoch, end_epoch

if TYPE_CHECKING:
    from fastnn._base.types import Array, Pair
    from fastnn._core.native.engine import Engine as NativeEngine
    from fastnn._plan.plan import Plan
    from fastnn.reference import Engine as NumpyEngine


__all__ = ["minimize", "require_scipy", "run_lbfgs"]


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
    is_out_of_time = False

    def record() -> None:
        totals = np.array(model.engine.evaluate(*rows))
        logs = mean_logs(totals, model.plan)
        for callback in fit.callbacks:
            callback.on_progress(len(rows.X), logs)
        end_epoch(model, fit, totals)

    def end_iteration() -> bool:
        nonlocal is_out_of_time
        record()
        done = model.epoch >= fit.last_epoch or model.stop_training
        is_out_of_time = not done and time.monotonic() >= deadline
        if not done and not is_out_of_time:
            begin_epoch(model, fit)
        return done or is_out_of_time

    begin_epoch(model, fit)
    problem = minimize(model.engine, rows, end_iteration)
    if model.epoch == fit.course.progress.first_epoch:
        record()  # there was nothing to gain, and that is the record
    if problem:
        warn_user(
            f"L-BFGS ended after epoch {model.epoch} of {fit.last_epoch} without "
            f"having converged: {problem}"
        )
    return not is_out_of_time


def minimize(
    engine: NativeEngine | NumpyEngine,
    rows: Rows,
    end_iteration: Callable[[], bool],
) -> str | None:
    """Minimise the loss of all rows plus ``0.5 l2 sum W^2``, from the present weights.

    The engine's weights are those of the last complete iteration, whatever ends the
    call; `end_iteration` is called after each and returns whether to stop.

    Returns
    -------
    str or None
        Why the search ended without a minimum, in SciPy's words; None if it found one,
        or was stopped.

    Raises
    ------
    TrainingDiverged
        The loss or a gradient became infinite or NaN.
    """
    from scipy.optimize import minimize as scipy_minimize

    plan = engine.plan
    optimizer = plan.optimizer
    assert isinstance(optimizer, LBFGS)
    pack = _Packing(plan, engine.get_weights())
    if pack.is_empty:
        return None
    accepted = pack.vector(engine.get_weights())
    is_stopped = False

    def objective(x: Array) -> tuple[float, Array]:
        engine.set_weights(pack.weights(x))
        loss, gradients = engine.loss_and_gradients(*rows)
        gradient = pack.vector(gradients)
        if not (np.isfinite(loss) and np.isfinite(gradient).all()):
            raise TrainingDiverged(
                f"a loss or gradient of iteration {engine.step + 1} is not finite; the "
                f"network keeps its weights after iteration {engine.step}"
            )
        decayed = x * pack.is_weight
        penalty = 0.5 * optimizer.l2 * float(decayed @ decayed)
        return loss + penalty, gradient + optimizer.l2 * decayed

    def iteration(x: Array) -> None:
        nonlocal accepted, is_stopped
        accepted = x.copy()
        engine.set_weights(pack.weights(accepted))
        engine.step += 1
        is_stopped = end_iteration()
        if is_stopped:
            raise StopIteration

    try:
        result = scipy_minimize(
            objective,
            accepted,
            jac=True,
            method="L-BFGS-B",
            callback=iteration,
            options={
                "maxiter": sys.maxsize,  # end_iteration counts
                "maxfun": optimizer.max_evaluations,
                "maxcor": optimizer.history_size,
                "gtol": optimizer.tolerance,
                "ftol": 64 * np.finfo(np.float64).eps,  # scikit-learn's
            },
        )
    finally:
        engine.set_weights(pack.weights(accepted))
    if is_stopped or result.success:
        return None
    why = " (the line search found no better point)" if result.status == 2 else ""
    return str(result.message).strip(" :") + why


class _Packing:
    """The trainable values of a network as one float64 vector, and back."""

    def __init__(self, plan: Plan, weights: list[Pair]) -> None:
        self._initial = weights
        self._places: list[tuple[int, int]] = []  # pair, which of its two arrays
        masks = []
        for i, index in enumerate(plan.parametric_layers):
            layer = plan.layers[index]
            for part in (0, 1):
                absent = part == 1 and not getattr(layer, "use_bias", True)
                if layer.trainable and not absent:
                    self._places.append((i, part))
                    is_matrix = weights[i][part].ndim == 2
                    masks.append(np.full(weights[i][part].size, float(is_matrix)))
        self.is_empty = not masks  # all layers are frozen
        # 1.0 where penalties apply.
        self.is_weight = np.concatenate([np.zeros(0), *masks])

    def vector(self, pairs: list[Pair]) -> Array:
        parts = [pairs[i][part].ravel() for i, part in self._places]
        return np.concatenate(parts).astype(np.float64)

    def weights(self, vector: Array) -> list[Pair]:
        pairs = [list(pair) for pair in self._initial]
        at = 0
        for i, part in self._places:
            array = self._initial[i][part]
            values = vector[at : at + array.size]
            pairs[i][part] = values.reshape(array.shape).astype(array.dtype)
            at += array.size
        return [(first, second) for first, second in pairs]
