"""Training and prediction of whole networks in NumPy: the reference for `_engine`.

The engine gathers batches, keeps the state and guards it; the arithmetic is in
`reference_step`. The state (weights, optimizer state, step) is never changed in place:
a step returns a new one, and one assignment at the end of a call puts it in force. So a
step that diverges, or a Ctrl-C anywhere in the middle, leaves a state that was complete
once.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ._access import Access
from ._arguments import Array
from ._fields import check_integer
from .errors import TrainingDiverged
from .optimizers import Optimizer
from .plan import Plan
from .reference_step import (
    Pair,
    State,
    Sums,
    backward_pass,
    forward_pass,
    loss_sums,
    training_step,
)
from .reference_tables import LOSSES

_CHUNK = 4096  # rows held at a time by a pass over a whole set


class Engine:
    """One network: weights, optimizer state, and what is done with them.

    Any number of threads may call `forward`, `predict_one`, `evaluate` and
    `loss_and_gradients` and the getters at the same time. Training and the setters need
    the network for themselves; whatever is not possible at once raises BusyError.

    Parameters
    ----------
    plan : Plan
        The network. Weights and optimizer state are zero at first.
    num_threads : int, optional
        Ignored: NumPy's BLAS chooses its threads by itself.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.plan import make_plan
    >>> from fastnn.reference import Engine
    >>> engine = Engine(make_plan([2, 2], optimizer="sgd", dtype="float64"))
    >>> engine.set_weights([(np.array([[1.0, 0.0], [0.0, 1.0]]), np.zeros(2))])
    >>> engine.forward(np.array([[3.0, 5.0]]), output="labels")
    array([1])
    """

    def __init__(self, plan: Plan, num_threads: int | None = None) -> None:
        self.plan = plan
        self._dtype = np.dtype(plan.dtype)
        self._access = Access()
        self._scaling: Pair | None = None  # scale and shift (n_inputs,)
        sizes = plan.sizes
        zeros = [
            (np.zeros((n_in, n_out), self._dtype), np.zeros(n_out, self._dtype))
            for n_in, n_out in itertools.pairwise(sizes)
        ]
        self._state = State(zeros, _zero_state(plan.optimizer, zeros), step=0)

    @property
    def step(self) -> int:
        """Number of updates done."""
        return self._state.step

    @step.setter
    def step(self, value: int) -> None:
        step = check_integer("step", value, 0)
        with self._access.exclusive():
            self._state = replace(self._state, step=step)

    @property
    def num_threads(self) -> int:
        """Always 1."""
        return 1

    @num_threads.setter
    def num_threads(self, value: int) -> None:
        check_integer("num_threads", value, 1)

    def get_weights(self) -> list[Pair]:
        """Return copies of all (W (n_in, n_out), b (n_out,))."""
        with self._access.reading():
            return [_copy(pair, self._dtype) for pair in self._state.weights]

    def set_weights(self, weights: Sequence[Pair]) -> None:
        """Replace all weights by copies of those given; optimizer and step stay."""
        copies = [_copy(pair, self._dtype) for pair in weights]
        with self._access.exclusive():
            self._state = replace(self._state, weights=copies)

    def get_optimizer_state(self) -> list[dict[str, Pair]]:
        """Return copies of the optimizer's arrays, per layer, by name."""
        with self._access.reading():
            return _copy_state(self._state.optimizer, self._dtype)

    def set_optimizer_state(self, state: Sequence[dict[str, Pair]]) -> None:
        """Replace the optimizer's arrays by copies of those given."""
        copies = _copy_state(state, self._dtype)
        with self._access.exclusive():
            self._state = replace(self._state, optimizer=copies)

    def set_optimizer(self, optimizer: Optimizer) -> None:
        """Change the optimizer; its state starts again unless it has the same names."""
        with self._access.exclusive():
            if optimizer.state_names != self.plan.optimizer.state_names:
                zeros = _zero_state(optimizer, self._state.weights)
                self._state = replace(self._state, optimizer=zeros, step=0)
            self.plan = replace(self.plan, optimizer=optimizer)

    def set_input_scaling(self, scale: Array | None, shift: Array | None) -> None:
        """Use ``x * scale + shift``, each (n_inputs,), as inputs; None for x itself."""
        scaling = None
        if scale is not None and shift is not None:
            scaling = _copy((scale, shift), self._dtype)
        with self._access.exclusive():
            self._scaling = scaling

    def acquire(self) -> None:
        """Take the network for this thread, or raise BusyError."""
        self._access.acquire()

    def release(self) -> None:
        """Give back what `acquire` took."""
        self._access.release()

    def train(
        self,
        X: Array,
        y: Array,
        sample_weight: Array | None,
        order: Array | None,
        batch_size: int,
        start: int,
        totals: Array,
        max_seconds: float = 0.05,
        fused: bool = True,
    ) -> int:
        """Train on mini-batches from ``order[start:]`` and return the next start.

        Arguments are trusted. All steps of a call take effect together at its end: an
        exception leaves the state and the totals of its beginning, except that
        divergence keeps the steps before it.

        Parameters
        ----------
        X : ndarray (n, n_inputs)
        y : int64 ndarray (n,), or soft targets (n, n_outputs)
        sample_weight : float64 ndarray (n,) or None
            A batch whose weights are all 0 is skipped: no update, not counted.
        order : int64 ndarray (rows,) or None
            The rows in the order of training; None for 0 to n-1.
        batch_size : int
            The last batch may have fewer rows.
        start : int
            First index into order.
        totals : float64 ndarray (3,)
            The sums of w * loss, w and w * correct are added to it.
        max_seconds : float, default 0.05
            Stop after the first step that ends later than that.
        fused : bool, default True
            Update each layer as soon as its gradient is known; otherwise compute all
            gradients first. The results are the same.

        Returns
        -------
        int
            The number of rows when the epoch is complete.

        Raises
        ------
        TrainingDiverged
            If a loss, gradient, new weight or optimizer state is not finite.
        RuntimeError
            Without `acquire`.
        """
        self._access.require_owner()
        deadline = time.perf_counter() + max_seconds
        n = len(X) if order is None else len(order)
        state, sums = self._state, totals.copy()
        try:
            while start < n:
                stop = min(start + batch_size, n)
                rows = slice(start, stop) if order is None else order[start:stop]
                weight = None if sample_weight is None else sample_weight[rows]
                if weight is None or weight.any():
                    x, targets = self._gather(X[rows]), self._gather_targets(y[rows])
                    state, batch_sums = training_step(
                        self.plan, state, x, targets, weight, fused
                    )
                    sums += batch_sums
                start = stop
                if time.perf_counter() >= deadline:
                    break
        except TrainingDiverged:
            self._state, totals[:] = state, sums
            raise
        self._state, totals[:] = state, sums
        return start

    def train_step(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Update once on all rows and return the loss before the update."""
        X, y, sample_weight = self._check(X, y, sample_weight)
        with self._access.exclusive():
            x, targets = self._gather(X), self._gather_targets(y)
            state, sums = training_step(
                self.plan, self._state, x, targets, sample_weight
            )
            self._state = state
        return sums[0] / sums[1]

    def loss_and_gradients(
        self, X: Any, y: Any, sample_weight: Any = None
    ) -> tuple[float, list[Pair]]:
        """Return the loss of all rows and its gradients [(dW, db), ...]; no update."""
        X, y, sample_weight = self._check(X, y, sample_weight)
        with self._access.reading(), np.errstate(all="ignore"):
            weights = self._state.weights
            x, targets = self._gather(X), self._gather_targets(y)
            z, caches = forward_pass(self.plan, weights, x)
            sums, dz = loss_sums(self.plan, z, targets, sample_weight)
            return sums[0] / sums[1], list(
                backward_pass(self.plan, weights, caches, dz)
            )

    def forward(self, X: Any, output: str = "values") -> Array:
        """Return the network's outputs for all rows of X.

        ``output`` is "logits" for the raw outputs (n, n_outputs) of the last layer,
        "values" for what they predict, probabilities for a classification loss, or
        "labels" for the classes, int64 (n,).
        """
        return self._outputs(self._check_X(X), output)

    def predict_one(self, x: Any, out: Array | None = None) -> Array:
        """Return the "values" (n_outputs,) of one row x (n_inputs,), in out if given.

        ``out`` must be a writable C-contiguous array of the network's dtype that shares
        no memory with x.
        """
        x = np.asanyarray(x)  # a masked array stays one, to be refused
        if x.shape != (self.plan.n_inputs,):
            raise ValueError(
                f"x must have shape ({self.plan.n_inputs},), got {x.shape}"
            )
        if out is not None:
            self._check_out(out, x)
        values = self._outputs(self._check_X(x[np.newaxis], "x"), "values")[0]
        if out is None:
            return np.asarray(values)
        out[:] = values
        return out

    def evaluate(self, X: Any, y: Any, sample_weight: Any = None) -> Sums:
        """Return the sums over all rows of w * loss, w and w * correct."""
        X, y, sample_weight = self._check(X, y, sample_weight)
        totals = np.zeros(3)
        with self._access.reading(), np.errstate(all="ignore"):
            weights = self._state.weights
            for rows in _chunks(len(X)):
                x, targets = self._gather(X[rows]), self._gather_targets(y[rows])
                weight = None if sample_weight is None else sample_weight[rows]
                z, _ = forward_pass(self.plan, weights, x)
                totals += loss_sums(self.plan, z, targets, weight)[0]
        loss, weight_sum, correct = totals.tolist()
        return loss, weight_sum, correct

    def all_finite(self, X: Array) -> bool:
        """Return whether X is finite in the network's dtype, also after the scaling."""
        if X.dtype.kind != "f":
            return True
        with np.errstate(all="ignore"):
            return all(
                bool(np.isfinite(self._gather(X[rows])).all())
                for rows in _chunks(len(X))
            )

    def _outputs(self, X: Array, output: str) -> Array:
        loss = LOSSES[self.plan.loss.name]
        convert: dict[str, Callable[[Array], Array]] = {
            "logits": np.asarray,
            "values": loss.values,
            "labels": loss.labels,
        }
        if output not in convert:
            raise ValueError(f"output must be one of {[*convert]}, got {output!r}")
        with self._access.reading(), np.errstate(all="ignore"):
            weights = self._state.weights
            chunks = [
                convert[output](
                    forward_pass(self.plan, weights, self._gather(X[rows]))[0]
                )
                for rows in _chunks(len(X))
            ]
        return np.concatenate(chunks)

    def _gather(self, rows: Array) -> Array:
        # C order always: BLAS may round differently for another layout.
        with np.errstate(all="ignore"):
            x = np.array(rows, dtype=self._dtype, order="C")
            if self._scaling is not None:
                scale, shift = self._scaling
                x *= scale
                x += shift
        return x

    def _gather_targets(self, targets: Array) -> Array:
        return targets if targets.ndim == 1 else targets.astype(self._dtype)

    def _check_X(self, X: Any, name: str = "X") -> Array:
        from . import inputs

        array: Array = inputs.check_X(X, self.plan.n_inputs, name)
        inputs.require_finite(self, array, name)
        return array

    def _check(
        self, X: Any, y: Any, sample_weight: Any
    ) -> tuple[Array, Array, Array | None]:
        from . import inputs

        X = self._check_X(X)
        y = inputs.check_targets(y, len(X), self.plan)
        return X, y, inputs.check_sample_weight(sample_weight, len(X))

    def _check_out(self, out: Array, x: Array) -> None:
        expected = f"a {self._dtype} array of shape ({self.plan.n_outputs},)"
        if not isinstance(out, np.ndarray):
            raise TypeError(f"out must be {expected}, got {type(out).__name__}")
        if out.dtype != self._dtype:
            raise TypeError(f"out must be {expected}, got {out.dtype}")
        if out.shape != (self.plan.n_outputs,):
            raise ValueError(f"out must be {expected}, got shape {out.shape}")
        if not (out.flags.c_contiguous and out.flags.writeable):
            raise ValueError("out must be C-contiguous and writable")
        if np.may_share_memory(out, x):
            raise ValueError("out must not share memory with x")


def _chunks(n: int) -> Iterator[slice]:
    return (slice(start, start + _CHUNK) for start in range(0, n, _CHUNK))


def _copy(pair: Pair, dtype: np.dtype[Any]) -> Pair:
    W, b = pair
    return np.array(W, dtype, order="C"), np.array(b, dtype, order="C")


def _copy_state(
    state: Sequence[dict[str, Pair]], dtype: np.dtype[Any]
) -> list[dict[str, Pair]]:
    return [
        {name: _copy(pair, dtype) for name, pair in layer.items()} for layer in state
    ]


def _zero_state(optimizer: Optimizer, weights: Sequence[Pair]) -> list[dict[str, Pair]]:
    return [
        {name: (np.zeros_like(W), np.zeros_like(b)) for name in optimizer.state_names}
        for W, b in weights
    ]
