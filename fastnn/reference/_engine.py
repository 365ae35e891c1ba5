"""Training and prediction of whole networks in NumPy: the twin of the native engine.

The engine gathers batches, keeps the state and guards it; the arithmetic is in
`_step` and what it calls. The state (weights, optimizer state, statistics and
step) is never changed in place: a step returns a new one, and one assignment at the end
of a call puts it in force. So a step that diverges, or a Ctrl-C anywhere in the middle,
leaves a state that was complete once.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn._base.errors import TrainingDiverged
from fastnn._base.fields import check_integer
from fastnn._base.types import Array, Pair
from fastnn._plan import inputs
from fastnn._plan.plan import Plan
from fastnn.layers import Dense, Layer
from fastnn.optimizers import Optimizer

from ._access import Access
from ._losses import LOSSES
from ._passes import (
    Cached,
    Mode,
    forward_pass,
    input_gradients,
    new_statistics,
    parameter_gradients,
)
from ._products import TooLateError, until
from ._state import (
    State,
    copy_optimizer_state,
    copy_pair,
    copy_statistics,
    initial_state,
    zero_optimizer_state,
)
from ._step import Batch, Sums, all_gradients, loss_sums, training_step, update_by
from ._updates import UPDATES

_CHUNK = 4096  # rows held at a time by a pass over a whole set


class Engine:
    """One network: weights, optimizer state, and what is done with them.

    Any number of threads may call `forward`, `predict_one`, `evaluate` and
    `loss_and_gradients` and the getters at the same time. Training and the setters need
    the network for themselves; whatever is not possible at once raises BusyError.

    Parameters
    ----------
    plan : Plan
        The network. Weights and optimizer state are zero at first; running means are 0
        and running variances 1.
    num_threads : int, optional
        Ignored: NumPy's BLAS chooses its threads by itself.
    dropout_keys : sequence of int, default ()
        One for each layer, 64 bits that determine the masks of dropout; () for zeros.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn._plan.plan import make_plan
    >>> from fastnn.reference import Engine
    >>> engine = Engine(make_plan([2, 2], optimizer="sgd", dtype="float64"))
    >>> engine.set_weights([(np.array([[1.0, 0.0], [0.0, 1.0]]), np.zeros(2))])
    >>> engine.forward(np.array([[3.0, 5.0]]), output="labels")
    array([1])
    """

    def __init__(
        self,
        plan: Plan,
        num_threads: int | None = None,
        *,
        dropout_keys: Sequence[int] = (),
    ) -> None:
        self.plan = plan
        self._keys = tuple(dropout_keys)
        self._dtype = np.dtype(plan.array_dtype)
        self._access = Access()
        self._scaling: Pair | None = None  # scale and shift (n_inputs,)
        self._state = initial_state(plan)
        self._pending = self._state, self._state.statistics

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
    def num_threads(self, value: int | None) -> None:
        if value is not None:
            check_integer("num_threads", value, 1)

    def get_weights(self) -> list[Pair]:
        """Return copies of the pair of arrays of each layer that has parameters.

        (W (n_in, n_out), b (n_out,)) of dense layers, (scale, shift), each (n,), of
        norms; those of embeddings are described there.
        """
        with self._access.reading():
            return [copy_pair(pair, self._dtype) for pair in self._state.weights]

    def weight_squares(self) -> float:
        """Return the sum of the squares of all weights of dense layers, no biases."""
        layers = [self.plan.layers[i] for i in self.plan.parametric_layers]
        matrices = [
            w
            for layer, (w, _) in zip(layers, self.get_weights(), strict=True)
            if isinstance(layer, Dense)
        ]
        return sum(float(np.square(w, dtype=np.float64).sum()) for w in matrices)

    def set_weights(self, weights: Sequence[Pair]) -> None:
        """Replace all weights by copies of those given; optimizer and step stay."""
        copies = [copy_pair(pair, self._dtype) for pair in weights]
        with self._access.exclusive():
            self._state = replace(self._state, weights=copies)

    def get_statistics(self, pending: bool = False) -> list[Pair | None]:
        """Return copies of (mean, variance) by layer; None for all but batch norms.

        With `pending` what they become with the gradients that were worked out last.
        """
        with self._access.reading():
            found = self._pending[1] if pending else self._state.statistics
            return copy_statistics(found, self._dtype)

    def set_statistics(self, statistics: Sequence[Pair | None]) -> None:
        """Replace the statistics of batch norms by copies of those given."""
        copies = copy_statistics(statistics, self._dtype)
        with self._access.exclusive():
            self._state = replace(self._state, statistics=copies)

    def get_optimizer_state(self) -> list[dict[str, Pair]]:
        """Return copies of the optimizer's arrays, by name, as `get_weights`."""
        with self._access.reading():
            return copy_optimizer_state(self._state.optimizer, self._dtype)

    def set_optimizer_state(self, state: Sequence[dict[str, Pair]]) -> None:
        """Replace the optimizer's arrays by copies of those given."""
        copies = copy_optimizer_state(state, self._dtype)
        with self._access.exclusive():
            self._state = replace(self._state, optimizer=copies)

    def set_optimizer(
        self, optimizer: Optimizer, layers: Sequence[Layer] | None = None
    ) -> None:
        """Change the optimizer; its state starts again unless it has the same names.

        And layers, if given, which differ in the schedules of their rates alone.
        """
        with self._access.exclusive():
            layers = tuple(layers or self.plan.layers)
            # Which may refuse it.
            plan = replace(self.plan, optimizer=optimizer, layers=layers)
            if optimizer.state_names != self.plan.optimizer.state_names:
                zeros = zero_optimizer_state(optimizer, self._state.weights)
                self._state = replace(self._state, optimizer=zeros, step=0)
            self.plan = plan

    def set_trainable(self, trainable: Sequence[bool]) -> None:
        """Train the layers for which `trainable`, of one bool each, is True, alone."""
        with self._access.exclusive():
            self.plan = self.plan.with_trainable(trainable)

    def set_input_scaling(self, scale: Array | None, shift: Array | None) -> None:
        """Use ``x * scale + shift``, each (n_inputs,), as inputs; None for x itself."""
        scaling = None
        if scale is not None and shift is not None:
            scaling = copy_pair((scale, shift), self._dtype)
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
        accumulate: int = 1,
        checked: bool = False,
        limit: float = math.inf,
    ) -> int:
        """Train on mini-batches from ``order[start:]`` and return the next start.

        Arguments are trusted. All steps of a call take effect together at its end: an
        exception leaves the state and the totals of its beginning, except that
        divergence keeps the steps before it.

        Parameters
        ----------
        X : ndarray (n, n_inputs)
        y : int64 ndarray (n,) of labels, or ndarray (n, n_outputs)
        sample_weight : float64 ndarray (n,) or None
            An update whose rows all have the weight 0 is skipped, and not counted.
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
        accumulate : int, default 1
            Mini-batches to an update: the gradient is that of one mini-batch of all
            their rows. Only the statistics of batch norms are those of each.
        checked : bool, default False
            y, sample_weight and order are those of a call before, for as many rows of
            X. The native engine does not read all of them again then.
        limit : float, default inf
            Seconds, not less than max_seconds: an update that takes long is left then,
            as if it had not been begun.

        Returns
        -------
        int
            The number of rows when the epoch is complete.

        Raises
        ------
        TrainingDiverged
            If a loss, gradient, or new weight, statistic or optimizer state is not
            finite.
        RuntimeError
            Without `acquire`.
        """
        self._access.require_owner()
        self._require_steps()
        now = time.perf_counter()
        deadline = now + max_seconds
        n = len(X) if order is None else len(order)
        state, sums = self._state, totals.copy()
        try:
            while start < n:
                stop = min(start + batch_size * accumulate, n)
                batches = []
                for first in range(start, stop, batch_size):
                    part = slice(first, min(first + batch_size, stop))
                    rows = part if order is None else order[part]
                    batch = self._gather_batch(X, y, sample_weight, rows)
                    batches.append(batch._replace(first_row=first - start))
                if any(batch.weight is None or batch.weight.any() for batch in batches):
                    with until(now + limit):
                        state, sums_of_step = training_step(
                            self.plan, self._keys, state, batches, fused
                        )
                    sums += sums_of_step
                start = stop
                if time.perf_counter() >= deadline:
                    break
        except TooLateError:
            pass
        except TrainingDiverged:
            self._state, totals[:] = state, sums
            raise
        self._state, totals[:] = state, sums
        return start

    def train_step(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Update once on all rows and return the loss before the update."""
        self._require_steps()
        X, y, sample_weight = self._check(X, y, sample_weight)
        with self._access.exclusive():
            batch = self._gather_batch(X, y, sample_weight)
            self._state, sums = training_step(
                self.plan, self._keys, self._state, [batch]
            )
        return sums[0] / sums[1]

    def loss_and_gradients(
        self, X: Any, y: Any, sample_weight: Any = None
    ) -> tuple[float, list[Pair]]:
        """Return the loss of all rows and its gradients [(dW, db), ...]; no update.

        They are those of the next update: with its masks of dropout, and the statistics
        of these rows in batch norms. What is not trained has a gradient of zeros.
        """
        X, y, sample_weight = self._check(X, y, sample_weight)
        with self._access.reading(), np.errstate(all="ignore"):
            batch = self._gather_batch(X, y, sample_weight)
            state = self._state
            sums, gradients, statistics = all_gradients(
                self.plan, self._keys, state, [batch]
            )
            self._pending = state, statistics
            return sums[0] / sums[1], list(gradients)

    def training_outputs(self, X: Any, first_row: int = 0) -> Array:
        """Return the raw outputs of the next update's forward pass; no update.

        Of its rows from `first_row` on.
        """
        X = self._check_X(X)
        with self._access.reading(), np.errstate(all="ignore"):
            state = self._state
            self._pending = state, state.statistics
            return self._training_pass(state, X, first_row)[0]

    def backward(
        self, X: Any, d_outputs: Array, first_row: int = 0
    ) -> tuple[list[Pair], Array]:
        """Return the gradients of sum(training_outputs(X) * d_outputs); no update.

        Those of the parameters as `loss_and_gradients` does, and that of the scaled
        inputs. ``d_outputs`` is finite and of the network's dtype.
        """
        X = self._check_X(X)
        if d_outputs.shape != (len(X), self.plan.n_outputs):
            raise ValueError("d_outputs must have a row for each of X")
        with self._access.reading(), np.errstate(all="ignore"):
            state = self._state
            _, caches = self._training_pass(state, X, first_row)
            deltas, d_inputs = input_gradients(caches, d_outputs)
            gradients = list(parameter_gradients(self.plan, caches, deltas))
            self._pending = state, new_statistics(caches)
            return gradients, d_inputs

    def _training_pass(
        self, state: State, X: Array, first_row: int
    ) -> tuple[Array, list[Cached]]:
        mode = Mode(True, self._keys, state.step, first_row)
        x = self._gather(X)
        return forward_pass(self.plan, state.weights, state.statistics, x, mode)

    def partial_gradients(
        self,
        X: Array,
        y: Array,
        sample_weight: Array | None,
        order: Array,
        first_row: int,
        weight_sum: float,
        gradients: Sequence[Pair],
    ) -> tuple[float, float]:
        """Write the gradients of some of an update's rows; return two of their sums.

        The sums over the parts are the gradients of ``sum w l / sum w`` of the update.
        Arguments are trusted.

        Parameters
        ----------
        X, y, sample_weight
            As for `train`.
        order : int64 ndarray (rows,)
            The part.
        first_row : int
            The number of its first row among all of the update, for dropout.
        weight_sum : float
            The sum of all their weights, > 0.
        gradients : list of (dW, db)
            Written to.

        Returns
        -------
        tuple of float
            The sums of w * loss and w * correct over the part.
        """
        with self._access.reading(), np.errstate(all="ignore"):
            batch = self._gather_batch(X, y, sample_weight, order)
            state = self._state
            sums, found, statistics = all_gradients(
                self.plan,
                self._keys,
                state,
                [batch._replace(first_row=first_row)],
                weight_sum,
            )
            for pair, own in zip(gradients, found, strict=True):
                pair[0][:], pair[1][:] = own
            self._pending = state, statistics
            return sums[0], sums[2]

    def apply_gradients(
        self,
        gradients: Sequence[Pair],
        statistics: Sequence[Pair | None] | None = None,
    ) -> None:
        """Update once by gradients as `loss_and_gradients` returns them.

        The statistics of batch norms become those given, else those that it found, if
        nothing has set or trained them since.
        """
        self._require_steps()
        with self._access.exclusive(), np.errstate(all="ignore"):
            state, found = self._pending
            if statistics is not None:
                found = copy_statistics(statistics, self._dtype)
            elif state.statistics is not self._state.statistics:
                found = self._state.statistics
            self._state = update_by(self.plan, self._state, gradients, found)

    def forward(self, X: Any, output: str = "values") -> Array:
        """Return the network's outputs for all rows of X.

        ``output`` is "logits" for the raw outputs (n, n_outputs) of the last layer,
        "values" for what they predict, probabilities for a classification loss, or
        "labels" for the classes, int64 (n,), or (n, n_outputs) if each output has its
        own. Nothing is dropped, and batch norms use their running statistics.
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
            state = self._state
            for rows in _chunks(len(X)):
                batch = self._gather_batch(X, y, sample_weight, rows)
                totals += loss_sums(self.plan, self._forward(state, batch.x), batch)[0]
        loss, weight_sum, correct = totals.tolist()
        return loss, weight_sum, correct

    def all_finite(self, X: Array) -> bool:
        """Return whether X is finite in the network's dtype, also after the scaling.

        And whether the codes of categories, if there are any, are such.
        """
        if self.plan.categories and inputs.wrong_code(X, self.plan) is not None:
            return False
        if X.dtype.kind != "f":
            return True
        with np.errstate(all="ignore"):
            return all(
                bool(np.isfinite(self._gather(X[rows])).all())
                for rows in _chunks(len(X))
            )

    def _require_steps(self) -> None:
        if self.plan.optimizer.rule not in UPDATES:
            raise ValueError("the optimizer LBFGS takes all data at once: use fit")

    def _outputs(self, X: Array, output: str) -> Array:
        loss = LOSSES[self.plan.loss.name]
        convert: dict[str, Callable[[Array], Array] | None] = {
            "logits": np.asarray,
            "values": loss.values,
            "labels": loss.labels,
        }
        if output not in convert:
            raise ValueError(f"output must be one of {[*convert]}, got {output!r}")
        function = convert[output]
        if function is None:
            raise ValueError(f"the loss {self.plan.loss.name!r} has no labels")
        with self._access.reading(), np.errstate(all="ignore"):
            state = self._state
            chunks = [
                function(self._forward(state, self._gather(X[rows])))
                for rows in _chunks(len(X))
            ]
        return np.concatenate(chunks)

    def _forward(self, state: State, x: Array) -> Array:
        return forward_pass(self.plan, state.weights, state.statistics, x)[0]

    def _gather_batch(
        self, X: Array, y: Array, weight: Array | None, rows: Any = slice(None)
    ) -> Batch:
        return Batch(
            self._gather(X[rows]),
            y[rows] if y.ndim == 1 else y[rows].astype(self._dtype),
            None if weight is None else weight[rows],
        )

    def _gather(self, rows: Array) -> Array:
        # C order always: BLAS may round differently for another layout.
        with np.errstate(all="ignore"):
            x = np.array(rows, dtype=self._dtype, order="C")
            if self._scaling is not None:
                scale, shift = self._scaling
                x *= scale
                x += shift
        return x

    def _check_X(self, X: Any, name: str = "X") -> Array:
        array: Array = inputs.check_X(X, self.plan.n_inputs, name)
        if not self.all_finite(array):
            raise inputs.bad_values(array, self.plan, name)
        return array

    def _check(
        self, X: Any, y: Any, sample_weight: Any
    ) -> tuple[Array, Array, Array | None]:
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
