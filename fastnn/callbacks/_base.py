"""The base class of callbacks, and a callback made of functions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from fastnn._base.names import forgiving

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike

    from fastnn._base.types import Array, Pair
    from fastnn._core.model.model import Model
    from fastnn._plan.plan import Plan
    from fastnn.optimizers import Optimizer

__all__ = [
    "Callback",
    "LambdaCallback",
    "Logs",
    "NetworkInTraining",
    "Prospect",
    "check_callbacks",
]

Logs = dict[str, float]


class NetworkInTraining(Protocol):
    """The part of `Network` that a callback may use; see there for each."""

    stop_training: bool
    _model: Model  # for the callbacks of fastnn

    @property
    def plan(self) -> Plan: ...
    @property
    def seed(self) -> int: ...
    @property
    def step(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    @property
    def cursor(self) -> int: ...
    @property
    def optimizer(self) -> Optimizer: ...
    @optimizer.setter
    def optimizer(self, value: str | Optimizer) -> None: ...

    def predict(self, X: ArrayLike) -> Array: ...
    def predict_proba(self, X: ArrayLike) -> Array: ...
    def decision_function(self, X: ArrayLike) -> Array: ...
    def evaluate(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> dict[str, float]: ...
    def score(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float: ...
    def get_weights(self) -> list[Pair]: ...
    def set_weights(self, weights: Sequence[tuple[ArrayLike, ArrayLike]]) -> None: ...
    def state_dict(self) -> dict[str, Array]: ...
    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None: ...
    def save(
        self, path: str | os.PathLike[str], *, include_optimizer: bool = True
    ) -> None: ...


class Prospect(NamedTuple):
    """All that a callback can know of a fit before it begins."""

    network: NetworkInTraining
    logs: Sequence[str]  # the names that `on_epoch_end` will be given
    is_complete: bool  # False: a callback of the user may add others
    starts_afresh: bool  # rather than going on with an interrupted fit


class Callback:
    """Base class: override the hooks you need.

    Attributes
    ----------
    network : Network
        The network in training. Within a hook it may predict, evaluate and be saved;
        ``self.network.stop_training = True`` ends the training after this epoch.
    params : dict
        "n_samples" (None with `Network.fit_chunks`), "batch_size", "first_epoch" and
        "last_epoch" (exclusive) of the running fit.

    Notes
    -----
    Epochs are counted from 0 over the life of the network, so a second `fit` goes on
    where the first one ended. `on_train_end` is called in any case, also when the
    training was interrupted or raised: it is the place to close things.

    A fit that goes on (``resume=True``) with the same callback objects calls
    `on_train_begin` again; the callbacks of fastnn then go on too. What they remember,
    such as the best value so far, is not part of the network and not saved with it.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> class StopWhenGood(fastnn.Callback):
    ...     def on_epoch_end(self, epoch, logs):
    ...         if logs["loss"] < 0.1:
    ...             self.network.stop_training = True
    >>> X = np.array([[0.0], [1.0]]); y = np.array([0, 1])
    >>> net = fastnn.Network([1, 8, 2], optimizer=fastnn.Adam(0.1), seed=0)
    >>> history = net.fit(X, y, epochs=500, callbacks=[StopWhenGood()], verbose=0)
    >>> len(history.epochs) < 500
    True
    """

    network: NetworkInTraining
    params: dict[str, Any]

    _adds: ClassVar[tuple[str, ...]] = ()  # to the logs, if it is one of fastnn's
    _on_every_rank: ClassVar = True  # of a communicator; else on the first one alone
    _given: Mapping[str, Any] = {}  # to __init__
    _has_finished = False  # the fit came to its end: no interrupt, no time limit

    def on_train_begin(self) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """Before an epoch; `logs` is empty."""

    def on_progress(self, rows: int, logs: Logs) -> None:
        """About every 50 ms: the epoch went on by `rows` samples.

        `logs` has the loss of the running epoch so far, and the accuracy if the targets
        are classes.
        """

    def on_batch_end(self, step: int, logs: Logs) -> None:
        """After an update, the number `step` of all; logs as for `on_progress`.

        A callback that has this hook makes Python wake up for every update: training
        small networks then takes several times as long. `LBFGS` and `fit_many` do not
        call it.
        """

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """After an epoch and its validation.

        `logs` has "loss", with validation data also "val_loss" and "val_" with each
        metric; if the targets are classes, "accuracy" and "val_accuracy". What a
        callback adds is seen by those after it and recorded in the `History`.
        """

    def on_train_end(self) -> None:
        """After the last epoch, or after what ended the training early."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        ours = cls.__module__.startswith(f"{__name__.partition('.')[0]}.")
        if ours and "__init__" in vars(cls):
            cls.__init__ = _recorded(forgiving(cls.__init__))  # type: ignore[method-assign]

    def __repr__(self) -> str:
        given = ", ".join(f"{k}={v!r}" for k, v in self._given.items())
        return f"{type(self).__name__}({given})"

    def _check(self, prospect: Prospect) -> None:
        """Raise if the callback cannot do with this fit; nothing has changed."""

    def _starts_afresh(self) -> bool:
        """Whether the fit begins, rather than goes on with an interrupted one."""
        network = self.network
        return network.epoch == self.params["first_epoch"] and network.cursor == 0


def _recorded(init: Callable[..., None]) -> Callable[..., None]:
    """The same, which also keeps what was given, for the repr."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def called(self: Callback, *args: Any, **given: Any) -> None:
        init(self, *args, **given)
        positional = list(signature.parameters)[1 : 1 + len(args)]
        self._given = {**dict(zip(positional, args, strict=False)), **given}

    return called


class LambdaCallback(Callback):
    """A callback made of functions, given by the name of the hook.

    Parameters
    ----------
    **hooks : callable
        `on_train_begin` and `on_train_end` are called without arguments,
        `on_epoch_begin` and `on_epoch_end` with (epoch, logs), `on_progress` with
        (rows, logs), `on_batch_end` with (step, logs). All are optional.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> seen = []
    >>> watch = fastnn.LambdaCallback(
    ...     on_epoch_end=lambda epoch, logs: seen.append(epoch)
    ... )
    >>> net = fastnn.Network([2, 4, 2], seed=0)
    >>> _ = net.fit(np.eye(2), np.array([0, 1]), epochs=2, callbacks=[watch], verbose=0)
    >>> seen
    [0, 1]
    """

    _HOOKS: ClassVar = (
        "on_train_begin",
        "on_epoch_begin",
        "on_progress",
        "on_batch_end",
        "on_epoch_end",
        "on_train_end",
    )

    def __init__(self, **hooks: Callable[..., object]) -> None:
        for name, function in hooks.items():
            if name not in self._HOOKS:
                raise TypeError(f"{name!r} is no hook; expected {self._HOOKS}")
            if not callable(function):
                raise TypeError(f"{name} must be callable, got {function!r}")
            setattr(self, name, function)


def check_callbacks(
    callbacks: Iterable[Callback] | Callback | None,
) -> tuple[Callback, ...]:
    """Check the argument `callbacks` of `Network.fit`: several, one, or none."""
    if isinstance(callbacks, Callback):
        return (callbacks,)
    try:
        hooks = tuple(callbacks or ())
    except TypeError:
        raise TypeError(
            f"callbacks must be a sequence of fastnn.Callback, got {callbacks!r}"
        ) from None
    for i, hook in enumerate(hooks):
        if not isinstance(hook, Callback):
            raise TypeError(f"callbacks[{i}] must be a fastnn.Callback, got {hook!r}")
    return hooks
