"""The networks of `fastnn.sklearn`: scikit-learn's parameters in fastnn's terms."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.layers import Dense, Dropout
from fastnn.losses import LOSSES
from fastnn.network import Network, model_of
from fastnn.optimizers import LBFGS, SGD, Adam

if TYPE_CHECKING:
    from fastnn._base.types import Array, Pair
    from fastnn.activations import Activation
    from fastnn.layers import Layer
    from fastnn.optimizers import Optimizer

    State = tuple[int, list[dict[str, Pair]]]  # the step, and the optimizer's arrays

__all__ = ["Objective", "Solver", "TrainedNetwork", "initial_parameters"]


@dataclass(frozen=True)
class Objective:
    """Which loss of fastnn's an output activation of scikit-learn's stands for.

    Theirs sums some losses over the outputs where fastnn takes the mean, and halves
    the squares: ``their gradient = gradient_factor * ours``,
    ``their loss = value_factor * ours``. The two factors differ for "identity" with
    several outputs, of whose loss theirs reports the mean but descends the sum.
    """

    loss: str
    gradient_factor: float = 1.0
    value_factor: float = 1.0

    @classmethod
    def of(cls, out_activation: str, n_outputs: int) -> Objective:
        if out_activation == "softmax":
            return cls("softmax_cross_entropy")
        if out_activation == "logistic":
            return cls("binary_cross_entropy")
        if out_activation == "exp":
            return cls("poisson", n_outputs, n_outputs)
        return cls("mse", 0.5 * n_outputs, 0.5)


def engine_activation(activation: str | Activation) -> str | Activation:
    """fastnn's name of an activation, which may be called by scikit-learn's."""
    return "sigmoid" if activation == "logistic" else activation


def initial_parameters(
    rng: np.random.RandomState,
    sizes: Sequence[int],
    activations: Sequence[str | Activation],
    dtype: str,
) -> tuple[list[Array], list[Array]]:
    """Return scikit-learn's initial coefs and intercepts, from the same draws.

    All uniform between ``-a`` and ``a`` with ``a := sqrt(6 / (n_in + n_out))``, 2
    instead of 6 for the logistic function (X. Glorot, Y. Bengio, 2010). Like theirs,
    the last layer counts as one with the activation of the layer before.
    """
    coefs, intercepts = [], []
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        activation = activations[min(i, len(activations) - 1)]
        factor = 2.0 if engine_activation(activation) == "sigmoid" else 6.0
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
            # Theirs may be 1, which rounds to the same.
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
            return LBFGS()  # which reads none of its parameters here
        if self.name == "adam":
            return Adam(
                self.learning_rate_init,
                self.beta_1,
                self.beta_2,
                max(self.epsilon / factor, 1e-30),
                epsilon_hat=True,
                l2=l2,
            )
        # Theirs has the rate in the velocity: see TrainedNetwork.rescale_velocity.
        nesterov = self.nesterov and self.momentum > 0
        return SGD(self.learning_rate * factor, self.momentum, nesterov, l2=l2)


class TrainedNetwork:
    """The network behind `coefs_`, and the state of its training; pickled without it.

    Users may change `coefs_` and `intercepts_`, also in place: `network` compares.

    Attributes
    ----------
    learning_rate : float
        Of the coming updates, without Adam's corrections.
    """

    def __init__(
        self,
        objective: Objective,
        activations: Sequence[str | Activation],
        dropout: Sequence[float],
        dtype: str,
        solver: Solver,
        seed: int,
        num_threads: int | None,
    ) -> None:
        self.objective = objective
        self.solver = solver
        self._activations = tuple(activations)
        self._dropout = tuple(dropout)
        self._dtype = dtype
        self._seed = seed
        self._num_threads = num_threads
        self._state: State | None = None  # when unpickled
        self._setup()

    def _setup(self) -> None:
        self._lock = threading.Lock()
        # The network, and copies of what coefs_ and intercepts_ had for its weights.
        self._current: tuple[Network, list[Pair]] | None = None

    @property
    def activations(self) -> list[str | Activation]:
        """Those of the hidden layers, by fastnn's names; `from_sklearn` reads them."""
        return [*map(engine_activation, self._activations)]

    @property
    def learning_rate(self) -> float:
        return self.solver.learning_rate

    def network(self, coefs: Sequence[Array], intercepts: Sequence[Array]) -> Network:
        """Return the network with these parameters, for any number of threads."""
        pairs = [*zip(coefs, intercepts, strict=True)]
        current = self._current
        if current is None or not _are_equal(pairs, current[1]):
            with self._lock:
                current = self._make(pairs)
                self._current = current
        return current[0]

    def for_prediction(self) -> TrainedNetwork:
        """The same without the state of training, for other weights."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, _state=None)
        other._setup()
        return other

    def keep(self, network: Network) -> tuple[list[Array], list[Array]]:
        """Return coefs and intercepts as the network, ours from here on, has them."""
        pairs = network.get_weights()
        self._current = network, pairs
        return [w.copy() for w, _ in pairs], [b.copy() for _, b in pairs]

    def rescale_velocity(self, factor: float) -> None:
        """Let the velocity v of ``w -= lr v`` survive a change of lr by 1 / factor."""
        assert self._current is not None
        engine = model_of(self._current[0]).engine
        engine.set_optimizer_state(
            [
                {name: (w * factor, b * factor) for name, (w, b) in layer.items()}
                for layer in engine.get_optimizer_state()
            ]
        )

    def _make(self, pairs: list[Pair]) -> tuple[Network, list[Pair]]:
        layers: list[int | Layer] = [len(pairs[0][0])]
        for i, (_, b) in enumerate(pairs):
            if i == len(pairs) - 1:
                layers.append(Dense(len(b), weight_init="zeros"))
                break
            activation = engine_activation(self._activations[i])
            layers.append(Dense(len(b), activation, weight_init="zeros"))
            if self._dropout[i]:
                layers.append(Dropout(self._dropout[i]))
        network = Network(
            layers,
            loss=LOSSES[self.objective.loss](),
            optimizer=self.solver.optimizer(0.0, self.objective.gradient_factor),
            dtype=self._dtype,
            seed=self._seed,
            num_threads=self._num_threads,
        )
        network.set_weights(pairs)
        engine = model_of(network).engine
        state = self._training_state()
        if state is not None and _are_of(state[1], pairs):
            engine.step = state[0]
            engine.set_optimizer_state(state[1])
        return network, [(w.copy(), b.copy()) for w, b in pairs]

    def snapshot(self) -> tuple[State | None, Solver]:
        """The state of training, for `restore`."""
        return self._training_state(), replace(self.solver)

    def restore(self, snapshot: tuple[State | None, Solver]) -> None:
        """Go back to a state: the network is made again, from `coefs_`."""
        with self._lock:
            self._state, self.solver = snapshot
            self._current = None

    def _training_state(self) -> State | None:
        if self._current is None:
            return self._state
        engine = model_of(self._current[0]).engine
        return engine.step, engine.get_optimizer_state()

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "_state": self._training_state()}
        state["solver"] = replace(self.solver)
        del state["_lock"], state["_current"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._setup()


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
