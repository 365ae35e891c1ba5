"""The networks of `fastnn.sklearn`: scikit-learn's parameters in fastnn's terms."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._core.model.model import Model
from fastnn._plan.inputs import check_weights
from fastnn._plan.plan import Plan
from fastnn.activations import ACTIVATIONS, Activation
from fastnn.layers import Dense, Dropout
from fastnn.losses import LOSSES
from fastnn.optimizers import LBFGS, SGD, Adam

if TYPE_CHECKING:
    from fastnn._base.types import Array, Pair
    from fastnn.layers import Layer
    from fastnn.optimizers import Optimizer

    State = tuple[int, list[dict[str, Pair]]]  # the step, and the optimizer's arrays

__all__ = [
    "LossTerms",
    "Parameters",
    "Solver",
    "TrainedNetwork",
    "as_plain",
    "from_plain",
    "initial_parameters",
]


PARAMETERS = "coefs_", "intercepts_"


@dataclass(frozen=True)
class LossTerms:
    """The loss of fastnn that an output activation of scikit-learn stands for.

    scikit-learn sums some losses over the outputs where fastnn takes the mean, and
    halves the squares: ``their gradient = gradient_factor * ours``,
    ``their loss = value_factor * ours``. The two factors differ for "identity" with
    several outputs: scikit-learn reports the mean of the losses but descends the sum.
    """

    loss: str
    gradient_factor: float = 1.0
    value_factor: float = 1.0

    @classmethod
    def of(cls, out_activation: str, n_outputs: int) -> LossTerms:
        if out_activation == "softmax":
            return cls("softmax_cross_entropy")
        if out_activation == "logistic":
            return cls("binary_cross_entropy")
        if out_activation == "exp":
            return cls("poisson", n_outputs, n_outputs)
        return cls("mse", 0.5 * n_outputs, 0.5)


def initial_parameters(
    rng: np.random.RandomState,
    sizes: Sequence[int],
    activations: Sequence[str | Activation],
    dtype: str,
) -> tuple[list[Array], list[Array]]:
    """Return scikit-learn's initial coefs and intercepts, from the same draws.

    All are uniform between ``-a`` and ``a`` with ``a := sqrt(6 / (n_in + n_out))``, 2
    instead of 6 for the logistic function (X. Glorot, Y. Bengio, 2010). As there, the
    last layer counts as having the activation of the layer before.
    """
    coefs, intercepts = [], []
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        activation = activations[min(i, len(activations) - 1)]
        factor = 2.0 if activation in ("sigmoid", "logistic") else 6.0
        bound = np.sqrt(factor / (n_in + n_out))
        coef = rng.uniform(-bound, bound, (n_in, n_out))
        coefs.append(coef.astype(dtype, copy=False))
        intercepts.append(rng.uniform(-bound, bound, n_out).astype(dtype, copy=False))
    return coefs, intercepts


@dataclass
class Solver:
    """The parameters of a solver when its training began, and its learning rate."""

    name: str
    learning_rate_init: float
    learning_rate: float  # of the coming updates; of Adam's, without the corrections
    schedule: str
    power_t: float
    momentum: float
    nesterov: bool
    beta_1: float
    beta_2: float
    epsilon: float

    @classmethod
    def of(cls, estimator: Any) -> Solver:
        rate = float(estimator.learning_rate_init)
        return cls(
            name=estimator.solver,
            learning_rate_init=rate,
            learning_rate=rate,
            schedule=estimator.learning_rate,
            power_t=float(estimator.power_t),
            # scikit-learn allows 1, which rounds to the same.
            momentum=min(float(estimator.momentum), float(np.nextafter(1.0, 0.0))),
            nesterov=bool(estimator.nesterovs_momentum),
            beta_1=float(estimator.beta_1),
            beta_2=float(estimator.beta_2),
            epsilon=float(estimator.epsilon),
        )

    def optimizer(self, l2: float, factor: float) -> Optimizer:
        """The optimizer whose steps are theirs, for ``their gradient = factor * ours``.

        The same steps follow from a gradient divided by `factor`, if the penalty is
        divided too and the rate multiplied; of Adam, the epsilon divided instead.
        """
        l2 /= factor
        if self.name == "lbfgs":
            return LBFGS()  # none of its parameters is read here
        if self.name == "adam":
            return Adam(
                self.learning_rate_init,
                self.beta_1,
                self.beta_2,
                max(self.epsilon / factor, 1e-30),
                epsilon_hat=True,
                l2=l2,
            )
        # Their velocity includes the rate: see TrainedNetwork.rescale_velocity.
        nesterov = self.nesterov and self.momentum > 0
        return SGD(self.learning_rate * factor, self.momentum, nesterov, l2=l2)


class TrainedNetwork:
    """The network behind `coefs_`, and the state of its training; pickled without it.

    Users may change `coefs_` and `intercepts_`, also in place: from the first look at
    them on (see `Parameters`), `model` compares.

    Parameters
    ----------
    estimator : BaseMLP
        Its parameters; they may change afterwards.
    activations : sequence of str or Activation
        Those of the hidden layers, by fastnn's names; `from_sklearn` reads them.
    dropout : sequence of float
        Of the outputs of each hidden layer.
    dtype : {"float32", "float64"}
    seed : int
        Of the dropout.
    """

    def __init__(
        self,
        estimator: Any,
        activations: Sequence[str | Activation],
        dropout: Sequence[float],
        dtype: str,
        seed: int = 0,
    ) -> None:
        self.terms = LossTerms.of(estimator.out_activation_, estimator.n_outputs_)
        self.solver = Solver.of(estimator)
        self.activations = tuple(activations)
        self._dropout = tuple(dropout)
        self.dtype = dtype
        self._seed = seed
        self._num_threads = estimator.n_threads
        self._state: State | None = None  # when unpickled
        self._setup()

    def _setup(self) -> None:
        self._lock = threading.Lock()
        self.is_shared = False  # someone else may have coefs_ and intercepts_
        # The model, and copies of coefs_ and intercepts_ as they were for its weights;
        # None if they have not been made yet.
        self._current: tuple[Model, list[Pair] | None] | None = None

    @property
    def learning_rate(self) -> float:
        """Of the coming updates, without Adam's corrections."""
        return self.solver.learning_rate

    def optimizers(self, penalties: Sequence[float]) -> list[Optimizer]:
        """The optimizer whose steps are those of the solver, for each l2 penalty."""
        factor = self.terms.gradient_factor
        first = self.solver.optimizer(penalties[0], factor)
        return [first, *(replace(first, l2=l2 / factor) for l2 in penalties[1:])]

    def start(
        self,
        coefs: Sequence[Array],
        intercepts: Sequence[Array],
        optimizer: Optimizer | None,
    ) -> Model:
        """Return a new model with initial parameters of its shapes and dtype."""
        pairs = [*zip(coefs, intercepts, strict=True)]
        model = self._make(pairs, optimizer)
        model.engine.set_weights(pairs)
        self._current = model, pairs
        return model

    def model(self, estimator: Any) -> Model:
        """Return the model with the estimator's parameters, for any number of threads.

        The estimator is the one of this network, or is to get it.
        """
        own, current = vars(estimator), self._current
        is_own = own.get("_optimizer") is self
        has_made = "coefs_" in own
        if is_own and current is not None and not (self.is_shared and has_made):
            return current[0]
        if is_own and has_made:  # not by way of `Parameters`: nobody gets to see them
            coefs, intercepts = own["coefs_"], own["intercepts_"]
        else:
            coefs, intercepts = estimator.coefs_, estimator.intercepts_
        pairs = [*zip(coefs, intercepts, strict=True)]
        if current is None or not _are_equal(pairs, current[1] or []):
            with self._lock:
                model = self._make_again(pairs)
                current = model, [(w.copy(), b.copy()) for w, b in pairs]
                self._current = current
        return current[0]

    def for_prediction(self) -> TrainedNetwork:
        """The same without the state of training, for other weights."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, _state=None)
        other._setup()
        return other

    def keep(self, model: Model, estimator: Any) -> None:
        """Let the model be the estimator's, which has this network from here on."""
        self._current = model, None
        self.is_shared = False
        own = vars(estimator)
        own["_optimizer"] = self
        for name in PARAMETERS:
            own.pop(name, None)

    def make_parameters(self) -> tuple[list[Array], list[Array]] | None:
        """Return coefs and intercepts as the model has them, if there is one."""
        self.is_shared = True
        if self._current is None:
            return None
        model, _ = self._current
        pairs = model.engine.get_weights()
        self._current = model, pairs
        return [w.copy() for w, _ in pairs], [b.copy() for _, b in pairs]

    def rescale_velocity(self, factor: float) -> None:
        """Let the velocity v of ``w -= lr v`` survive a change of lr by 1 / factor."""
        assert self._current is not None
        engine = self._current[0].engine
        engine.set_optimizer_state(
            [
                {name: (w * factor, b * factor) for name, (w, b) in layer.items()}
                for layer in engine.get_optimizer_state()
            ]
        )

    def _make(self, pairs: Sequence[Pair], optimizer: Optimizer | None) -> Model:
        """A model for weights of these shapes."""
        if optimizer is None:
            (optimizer,) = self.optimizers([0.0])
        layers: list[Layer] = []
        hidden = zip(pairs[:-1], self.activations, self._dropout, strict=True)
        for (_, b), activation, rate in hidden:
            layers.append(Dense(len(b), activation))
            if rate:
                layers.append(Dropout(rate))
        layers.append(Dense(len(pairs[-1][1])))
        loss = LOSSES[self.terms.loss]()
        plan = Plan(len(pairs[0][0]), tuple(layers), loss, optimizer, self.dtype)
        return Model(plan, self._seed, num_threads=self._num_threads)

    def _make_again(self, pairs: list[Pair]) -> Model:
        """A model with these weights, and the state of training if it fits them."""
        model = self._make(pairs, None)
        model.engine.set_weights(check_weights(pairs, model.plan))
        state = self._training_state()
        if state is not None and _are_of(state[1], pairs):
            model.engine.step = state[0]
            model.engine.set_optimizer_state(state[1])
        return model

    def snapshot(self) -> tuple[State | None, Solver, list[Pair]]:
        """The state of training, for `restore`."""
        weights = [] if self._current is None else self._current[0].engine.get_weights()
        return self._training_state(), replace(self.solver), weights

    def restore(
        self, snapshot: tuple[State | None, Solver, list[Pair]], estimator: Any
    ) -> None:
        """Go back to a state: the model is made again, if need be from `coefs_`."""
        with self._lock:
            self._state, self.solver, weights = snapshot
            self._current = None
            if "coefs_" not in vars(estimator):
                self._current = self._make_again(weights), None

    def _training_state(self) -> State | None:
        if self._current is None:
            return self._state
        engine = self._current[0].engine
        return engine.step, engine.get_optimizer_state()

    def to_plain(self) -> dict[str, Any]:
        """Return all but the model as numbers, text, lists, dicts and arrays."""
        state = {**self.__dict__, "_state": self._training_state()}
        del state["_lock"], state["_current"], state["is_shared"]
        for name in ("terms", "solver"):
            state[name] = {**vars(state[name])}
        return {**state, "activations": as_plain(self.activations)}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> TrainedNetwork:
        """Return what `to_plain` described."""
        made = cls.__new__(cls)
        terms, solver = LossTerms(**plain["terms"]), Solver(**plain["solver"])
        activations = from_plain(plain["activations"])
        made.__setstate__(
            {**plain, "terms": terms, "solver": solver, "activations": activations}
        )
        return made

    def __setstate__(self, state: dict[str, Any]) -> None:  # of older pickles, too
        self.__dict__.update(state)
        self._setup()


def as_plain(activation: Any) -> Any:
    """Activations, or a sequence of them, with dicts for those that are objects."""
    if isinstance(activation, Activation) and type(activation) in ACTIVATIONS.values():
        return {"type": activation.name, **vars(activation)}
    if isinstance(activation, list | tuple):
        return type(activation)(map(as_plain, activation))
    return activation


def from_plain(plain: Any) -> Any:
    """Return what `as_plain` described."""
    if isinstance(plain, dict):
        return ACTIVATIONS[plain["type"]](
            **{k: v for k, v in plain.items() if k != "type"}
        )
    if isinstance(plain, list | tuple):
        return type(plain)(map(from_plain, plain))
    return plain


class Parameters:
    """`coefs_` or `intercepts_`: made from the network when they are first looked at.

    They lie in the estimator's ``__dict__``; before that, nobody can have changed them.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, estimator: Any, owner: type | None = None) -> Any:
        if estimator is None:
            return self
        own = vars(estimator)
        trained = own.get("_optimizer")
        if trained is not None and self._name not in own:
            made = trained.make_parameters() or ()
            own.update(zip(PARAMETERS, made, strict=False))
        elif trained is not None:
            trained.is_shared = True
        if self._name not in own:
            raise AttributeError(
                f"{type(estimator).__name__!r} object has no attribute {self._name!r}"
            )
        return own[self._name]

    def __set__(self, estimator: Any, value: Any) -> None:
        if "_optimizer" in vars(estimator):
            self.__get__(estimator)  # the other of the two as well
        vars(estimator)[self._name] = value

    def __delete__(self, estimator: Any) -> None:
        del vars(estimator)[self._name]


def _are_equal(pairs: list[Pair], others: list[Pair]) -> bool:
    return len(pairs) == len(others) and all(
        np.array_equal(mine, yours)
        for pair, other in zip(pairs, others, strict=True)
        for mine, yours in zip(pair, other, strict=True)
    )


def _are_of(state: list[dict[str, Pair]], pairs: list[Pair]) -> bool:
    """Whether each array of an optimizer's state has the shape of its parameters."""
    return len(state) == len(pairs) and all(
        (first.shape, second.shape) == (w.shape, b.shape)
        for layer, (w, b) in zip(state, pairs, strict=True)
        for first, second in layer.values()
    )
