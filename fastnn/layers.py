"""Layers as data: what a network is made of, without arrays.

TypeError or ValueError names a parameter that is of the wrong type or out of range.

To add a layer: a frozen dataclass here, listed in LAYERS, and its arithmetic in each
lane.
"""

from __future__ import annotations

from dataclasses import field, replace
from reprlib import repr as short
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ._base.fields import (
    BELOW_1,
    FINITE,
    NOT_NEGATIVE,
    POSITIVE,
    check_bool,
    check_dimension,
    check_integer,
    check_number,
    short_repr,
)
from ._base.frozen import dataclass
from .activations import Activation, short_form
from .initializers import Constant, Initializer, Values, as_initializer
from .schedules import Schedule, first_rate

__all__ = [
    "LAYERS",
    "BatchNorm",
    "Dense",
    "Dropout",
    "Embedding",
    "Layer",
    "LayerNorm",
    "ParametricActivation",
    "PeriodicEmbedding",
    "PiecewiseLinearEmbedding",
    "Scale",
]

Shape = tuple[int, ...]
Factors = tuple[float, float]  # of the first array and of the second


class ArrayFactors(NamedTuple):
    """What the update of one array multiplies the optimizer's parameters with."""

    rate: float = 1.0
    epsilon: float = 1.0
    decay: float = 0.0


class Layer:
    """The base class of layers: the attributes that all of them have.

    The first and the second of a layer's pair of arrays, such as weights and biases,
    are updated with the ``learning_rate``, ``epsilon`` and ``weight_decay`` of the
    optimizer, each times a factor: ``rate_factors``, ``epsilon_factors`` and
    ``decay_factors``, at least 0 and finite, and more than 0 for epsilon. They are
    pairs, or one number: for both arrays, but only the first decays. An array whose
    rate has the factor 0 stays as it is, while its optimizer state goes on. A `Network`
    refuses factors of what its optimizer does not have.

    Attributes
    ----------
    name : str
        The name that model files use.
    activation : str or Activation
        Applied to each of its outputs.
    trainable : bool
        False if training leaves its parameters, and statistics, as they are.
    has_parameters : bool
        Whether it has a pair of arrays that can be trained.
    rate_factors, epsilon_factors, decay_factors : float or pair of float
        See above.
    """

    name: ClassVar[str]
    has_parameters: ClassVar[bool] = True
    activation: str | Activation = "identity"
    trainable: bool = True
    rate_factors: float | Factors = 1.0
    epsilon_factors: float | Factors = 1.0
    decay_factors: float | Factors = 0.0

    __repr__ = short_repr

    @property
    def factors(self) -> tuple[ArrayFactors, ArrayFactors]:
        """Those of the first array, and of the second."""
        rates, epsilons = _pair(self.rate_factors), _pair(self.epsilon_factors)
        decays = self.decay_factors
        decays = decays if isinstance(decays, tuple) else (decays, 0.0)
        first, second = map(ArrayFactors, rates, epsilons, decays)
        return first, second

    def n_outputs(self, n_inputs: int) -> int:
        """Return the number of its outputs; ValueError if it needs more inputs."""
        return n_inputs

    def shapes(self, n_inputs: int) -> tuple[Shape, Shape]:
        """Return the shapes of its pair of arrays."""
        return (n_inputs,), (n_inputs,)


@dataclass(frozen=True, repr=False)
class Dense(Layer):
    """Fully connected layer, ``y := activation(x @ W + b)``.

    ``x`` has shape (m, n_in), ``W`` (n_in, units), ``b`` (units,) and ``y`` (m, units),
    where n_in is the width of the layer before.

    Parameters
    ----------
    units : int
        Number of outputs, 1 to 2**24.
    activation : str or Activation, default "identity"
        Function applied to the outputs: a name of `fastnn.activations.ACTIVATIONS`, or
        an object such as ``LeakyReLU(0.1)``. "softmax" or "sigmoid" on the last layer
        of a network whose loss contains it means the same as "identity".
    weight_init : str, Initializer or array_like (n_in, units), default "auto"
        Initial weights: a name of `fastnn.initializers.INITIALIZERS`, or an object such
        as ``Normal(0.01)``, or the weights themselves. "auto" is "he_normal" before
        ReLU and its relatives, "lecun_normal" before SELU, else "glorot_normal".
    bias_init : str, Initializer or array_like (units,), default "zeros"
        Initial biases, likewise; zeros if there is no bias.
    use_bias : bool, default True
        False: b stays 0 and is not a parameter.
    trainable : bool, default True
        False: training leaves W and b as they are.
    seed : int, optional
        Draw the initial weights from this seed rather than the network's: layers of the
        same shape and seed start from the same weights.
    rate_factors, epsilon_factors, decay_factors : float or pair of float, default 1.0
        What the optimizer's learning rate, epsilon and weight decay are multiplied by
        for W and b, or for both; a number leaves b without decay. See `Layer`.

    Examples
    --------
    >>> from fastnn.layers import Dense
    >>> Dense(128, "relu").use_bias
    True
    """

    name: ClassVar[str] = "dense"

    units: int
    activation: str | Activation = "identity"
    weight_init: str | Initializer = "auto"
    bias_init: str | Initializer = "zeros"
    use_bias: bool = field(default=True, kw_only=True)
    trainable: bool = field(default=True, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    rate_factors: float | Factors = field(default=1.0, kw_only=True)
    epsilon_factors: float | Factors = field(default=1.0, kw_only=True)
    decay_factors: float | Factors = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", check_dimension("units", self.units))
        object.__setattr__(self, "activation", short_form(self.activation))
        if not (isinstance(self.weight_init, str) and self.weight_init == "auto"):
            weights = as_initializer("weight_init", self.weight_init, 2)
            object.__setattr__(self, "weight_init", weights)
        biases = as_initializer("bias_init", self.bias_init, 1)
        object.__setattr__(self, "bias_init", biases)
        check_bool("use_bias", self.use_bias)
        if not self.use_bias and not _are_zeros(biases):
            raise ValueError(
                f"bias_init is {biases!r} but use_bias is False; expected 'zeros'"
            )
        check_bool("trainable", self.trainable)
        _check_seed(self)
        _check_factors(self)

    def n_outputs(self, n_inputs: int) -> int:
        """Return the units."""
        return self.units

    def shapes(self, n_inputs: int) -> tuple[Shape, Shape]:
        """Return the shapes of W and b."""
        return (n_inputs, self.units), (self.units,)


@dataclass(frozen=True, repr=False)
class Dropout(Layer):
    """Sets a random share of the values to 0 in training, ``y := x * mask / (1 - p)``.

    Each value is kept with the probability ``1 - p``, independently; prediction and
    evaluation use ``y := x``. The mask is a function of the seed, the number of the
    update, the row of the mini-batch and the column: it depends neither on threads nor
    on the backend.

    Parameters
    ----------
    rate : float or Schedule, default 0.5
        p, from 0 up to but not including 1; a schedule gives that of each update.
    seed : int, optional
        Of the masks; None for one derived from the network's, different for each layer.

    References
    ----------
    N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting", JMLR 15, 2014; inverted: the values kept are scaled in training.

    Examples
    --------
    >>> from fastnn import Dense, Dropout, Network
    >>> net = Network([784, Dense(256, "relu"), Dropout(0.2), Dense(10)], seed=0)
    >>> net.plan.widths
    (784, 256, 256, 10)
    """

    name: ClassVar[str] = "dropout"
    has_parameters: ClassVar[bool] = False

    rate: float | Schedule = 0.5
    seed: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        is_schedule = isinstance(self.rate, Schedule)
        rate = check_number(
            "rate of update 0" if is_schedule else "rate",
            first_rate(self.rate) if is_schedule else self.rate,
            *BELOW_1,
        )
        if not is_schedule:
            object.__setattr__(self, "rate", rate)
        _check_seed(self)


@dataclass(frozen=True, repr=False)
class BatchNorm(Layer):
    """Normalises each column over the mini-batch, and gives it a new scale and shift.

    ``y := activation(scale * (x - mean) / sqrt(variance + epsilon) + shift)``. In
    training, mean and (biased) variance are those of the mini-batch, not weighted by
    sample weights, and update the running ones: ``running := (1 - momentum) running +
    momentum * batch``, the variance with its unbiased estimate. Prediction and
    evaluation use the running ones; so does training, which then leaves them alone, if
    the layer is frozen. `scale` starts at 1, `shift` at 0.

    Parameters
    ----------
    activation : str or Activation, default "identity"
        As for `Dense`.
    momentum : float, default 0.1
        Greater than 0, up to 1.
    epsilon : float, default 1e-5
        At least 1e-12.
    trainable : bool, default True
        False: scale, shift and the running statistics stay as they are.
    rate_factors, epsilon_factors : float or pair of float, default 1.0
    decay_factors : float or pair of float, default 0.0
        Of scale and shift; see `Layer`.

    References
    ----------
    S. Ioffe, C. Szegedy, "Batch Normalization: Accelerating Deep Network Training by
    Reducing Internal Covariate Shift", ICML 2015; running statistics as in PyTorch.

    Examples
    --------
    >>> from fastnn import BatchNorm, Dense, Network
    >>> net = Network([784, Dense(50), BatchNorm("relu"), Dense(10)], seed=0)
    >>> [first.shape for first, second in net.get_weights()]
    [(784, 50), (50,), (50, 10)]
    """

    name: ClassVar[str] = "batch_norm"

    activation: str | Activation = "identity"
    momentum: float = 0.1
    epsilon: float = 1e-5
    trainable: bool = True
    rate_factors: float | Factors = field(default=1.0, kw_only=True)
    epsilon_factors: float | Factors = field(default=1.0, kw_only=True)
    decay_factors: float | Factors = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        momentum = check_number(
            "momentum", self.momentum, "a number > 0 and <= 1", lambda m: 0 < m <= 1
        )
        object.__setattr__(self, "momentum", momentum)
        _check_norm(self)


@dataclass(frozen=True, repr=False)
class LayerNorm(Layer):
    """Normalises each row over its values, and gives each column a scale and shift.

    ``y := activation(scale * (x - mean) / sqrt(variance + epsilon) + shift)`` with the
    mean and the (biased) variance of the row. `scale` starts at 1, `shift` at 0.

    Parameters
    ----------
    activation : str or Activation, default "identity"
        As for `Dense`.
    epsilon : float, default 1e-5
        At least 1e-12.
    trainable : bool, default True
        False: scale and shift stay as they are.
    rate_factors, epsilon_factors : float or pair of float, default 1.0
    decay_factors : float or pair of float, default 0.0
        Of scale and shift; see `Layer`.

    References
    ----------
    J. Ba, J. Kiros, G. Hinton, "Layer Normalization", arXiv 1607.06450.

    Examples
    --------
    >>> from fastnn import LayerNorm
    >>> LayerNorm("gelu").epsilon
    1e-05
    """

    name: ClassVar[str] = "layer_norm"

    activation: str | Activation = "identity"
    epsilon: float = 1e-5
    trainable: bool = True
    rate_factors: float | Factors = field(default=1.0, kw_only=True)
    epsilon_factors: float | Factors = field(default=1.0, kw_only=True)
    decay_factors: float | Factors = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        _check_norm(self)


@dataclass(frozen=True, repr=False)
class Scale(Layer):
    """Multiplies each column by a number that is learnt, ``y := x * scale``.

    ``x`` and ``y`` have shape (m, n), ``scale`` (n,). As the first layer it learns how
    much each input counts. `Network.get_weights` has the pair (scale, zeros): there is
    no shift.

    Parameters
    ----------
    init : float, default 1.0
        What `scale` starts at, in every column; finite.
    trainable : bool, default True
        False: scale stays as it is.
    rate_factors, epsilon_factors : float, default 1.0
    decay_factors : float, default 0.0
        Of scale; see `Layer`.

    References
    ----------
    D. Holzmueller, L. Grinsztajn, I. Steinwart, "Better by Default: Strong Pre-Tuned
    MLPs and Boosted Trees on Tabular Data", NeurIPS 2024, arXiv 2407.04491.

    Examples
    --------
    >>> from fastnn import Dense, Network, Scale
    >>> net = Network([4, Scale(), Dense(8, "selu"), Dense(3)], seed=0)
    >>> net.get_weights()[0][0]
    array([1., 1., 1., 1.], dtype=float32)
    """

    name: ClassVar[str] = "scale"
    use_bias: ClassVar[bool] = False

    init: float = 1.0
    trainable: bool = field(default=True, kw_only=True)
    rate_factors: float | Factors = field(default=1.0, kw_only=True)
    epsilon_factors: float | Factors = field(default=1.0, kw_only=True)
    decay_factors: float | Factors = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "init", check_number("init", self.init, *FINITE))
        check_bool("trainable", self.trainable)
        _check_factors(self)


@dataclass(frozen=True, repr=False)
class PeriodicEmbedding(Layer):
    """Gives each numeric input several values, of cosines of learnt frequencies.

    Input j becomes the `size` values ``[cos(2 pi w_j x_j + c_j) @ W_j + b_j, x_j]``
    with `frequencies` cosines; the outputs of input 0 come first. With their help a
    network learns steps and humps of single columns that it hardly finds otherwise. The
    inputs should be scaled, to a deviation of about 1.

    `Network.get_weights` has the pair of the arrays (frequencies, size, columns), with
    w at ``[:, 0]`` and W at ``[:, 1:]``, and (frequencies + size - 1, columns), with c
    and then b. Penalties leave them alone, and so does decay by default.

    Parameters
    ----------
    frequencies : int, default 16
        Cosines of an input, 1 to 256.
    size : int, default 4
        Values that an input becomes, 2 to 64.
    columns : int, optional
        The number of inputs, the first ones, to which this is done; the others follow
        behind as they are. None: all.
    sigma : float, default 0.1
        w starts normal with mean 0 and this deviation; c uniform in +-pi, W and b in
        +-1 / sqrt(frequencies).
    trainable : bool, default True
        False: training leaves all of them as they are.
    seed : int, optional
        Draw them from this seed rather than the network's.
    rate_factors, epsilon_factors : float or pair of float, default 1.0
    decay_factors : float or pair of float, default 0.0
        Of the two arrays; see `Layer`.

    References
    ----------
    Y. Gorishniy, I. Rubachev, A. Babenko, "On Embeddings for Numerical Features in
    Tabular Deep Learning", NeurIPS 2022; in this form ("PBLD") D. Holzmueller, L.
    Grinsztajn, I. Steinwart, "Better by Default", NeurIPS 2024, arXiv 2407.04491.

    Examples
    --------
    >>> from fastnn import Dense, Network, PeriodicEmbedding
    >>> net = Network([10, PeriodicEmbedding(columns=8), Dense(64, "selu"), 3], seed=0)
    >>> net.plan.widths
    (10, 34, 64, 3)
    """

    name: ClassVar[str] = "periodic_embedding"

    frequencies: int = 16
    size: int = 4
    columns: int | None = None
    sigma: float = field(default=0.1, kw_only=True)
    trainable: bool = field(default=True, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    rate_factors: float | Factors = field(default=1.0, kw_only=True)
    epsilon_factors: float | Factors = field(default=1.0, kw_only=True)
    decay_factors: float | Factors = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        frequencies = check_integer("frequencies", self.frequencies, 1, 256)
        object.__setattr__(self, "frequencies", frequencies)
        object.__setattr__(self, "size", check_integer("size", self.size, 2, 64))
        if self.columns is not None:
            columns = check_dimension("columns", self.columns)
            object.__setattr__(self, "columns", columns)
        object.__setattr__(self, "sigma", check_number("sigma", self.sigma, *POSITIVE))
        check_bool("trainable", self.trainable)
        _check_seed(self)
        _check_factors(self)

    def n_columns(self, n_inputs: int) -> int:
        """Return how many of the inputs are embedded."""
        return _check_columns("columns is", self.columns or n_inputs, n_inputs)

    def n_outputs(self, n_inputs: int) -> int:
        """Return the values of the embedded inputs, and the number of the others."""
        return n_inputs + self.n_columns(n_inputs) * (self.size - 1)

    def shapes(self, n_inputs: int) -> tuple[Shape, Shape]:
        """Return the shapes of (w, W) and (c, b)."""
        columns, n_terms = self.n_columns(n_inputs), self.frequencies
        return (n_terms, self.size, columns), (n_terms + self.size - 1, columns)


@dataclass(frozen=True, repr=False)
class PiecewiseLinearEmbedding(Layer):
    """Gives each numeric input several values, piecewise linear functions of it.

    The bins of input j lie between its edges e_0 < e_1 < ... < e_T, and with the share
    of bin t that lies below x, ``s_t = (x_j - e_t) / (e_(t + 1) - e_t)`` clipped to 0
    and 1, where the first bin is open below and the last one above, it becomes the
    `size` values ``s @ W_j + b_j``; those of input 0 come first, and the inputs behind
    them follow as they are. A network learns steps and humps of single columns by them.

    `Network.get_weights` has the pair of the arrays (all bins, size), the W_j one after
    the other, and (columns, size). Penalties leave them alone, and so does decay by
    default.

    Parameters
    ----------
    bins : sequence of array_like
        The edges of each column, at least two, increasing (in float32 too), finite.
        `from_data` finds them.
    size : int, default 16
        Values that an input becomes, 1 to 64.
    trainable : bool, default True
        False: training leaves W and b as they are.
    seed : int, optional
        Draw W and b, uniform in +-1 / sqrt(T), from this seed rather than the
        network's.
    rate_factors, epsilon_factors : float or pair of float, default 1.0
    decay_factors : float or pair of float, default 0.0
        Of the two arrays; see `Layer`.

    References
    ----------
    Y. Gorishniy, I. Rubachev, A. Babenko, "On Embeddings for Numerical Features in
    Tabular Deep Learning", NeurIPS 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import Dense, Network, PiecewiseLinearEmbedding
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> layer = PiecewiseLinearEmbedding.from_data(X, bins=8, columns=2)
    >>> layer
    PiecewiseLinearEmbedding(bins=<of 2 columns: 8, 8>)
    >>> Network([3, layer, Dense(64, "relu"), Dense(2)], seed=0).plan.widths
    (3, 33, 64, 2)
    """

    name: ClassVar[str] = "piecewise_linear_embedding"

    bins: Any
    size: int = 16
    trainable: bool = field(default=True, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    rate_factors: float | Factors = field(default=1.0, kw_only=True)
    epsilon_factors: float | Factors = field(default=1.0, kw_only=True)
    decay_factors: float | Factors = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        if isinstance(self.bins, str | bytes) or not hasattr(self.bins, "__len__"):
            raise TypeError(
                f"bins must be the edges of each column, got {short(self.bins)}"
            )
        edges = tuple(_check_edges(j, each) for j, each in enumerate(self.bins))
        check_dimension("the number of columns of bins", len(edges))
        object.__setattr__(self, "bins", edges)
        object.__setattr__(self, "size", check_integer("size", self.size, 1, 64))
        check_bool("trainable", self.trainable)
        _check_seed(self)
        _check_factors(self)

    @classmethod
    def from_data(
        cls,
        X: Any,
        bins: int = 48,
        size: int = 16,
        columns: int | None = None,
        **rest: Any,
    ) -> PiecewiseLinearEmbedding:
        """Return the layer whose edges are quantiles of the first columns of X.

        Parameters
        ----------
        X : array_like (n, n_inputs)
            As the layer will get them: scaled, if they are. Finite.
        bins : int, default 48
            The most bins of a column; equal quantiles count once, and a column of one
            value has one bin.
        size : int, default 16
        columns : int, optional
            None: all.
        **rest
            The other parameters.
        """
        bins = check_integer("bins", bins, 1, 2**20)
        array = np.asarray(X, np.float64)
        if array.ndim != 2 or not array.size or not np.isfinite(array).all():
            raise ValueError(
                f"X must be finite and of shape (n, n_inputs), got {short(X)}"
            )
        if columns is not None:
            columns = check_integer("columns", columns, 1, array.shape[1])
        edges = []
        for column in array[:, :columns].T:
            quantiles = np.quantile(column, np.linspace(0, 1, bins + 1))
            unique = np.unique(quantiles.astype(np.float32)).astype(np.float64)
            if len(unique) == 1:
                unique = unique[0] + np.array([0.0, max(1.0, abs(unique[0]))])
            edges.append(unique)
        return cls(edges, size, **rest)

    def __repr__(self) -> str:
        rest = short_repr(replace(self, bins=((0.0, 1.0),))).partition("),)")[2]
        counts = ", ".join(map(str, self.counts[:4])) + ", ..." * (len(self.bins) > 4)
        return (
            f"{type(self).__name__}(bins=<of {len(self.bins)} columns: {counts}>{rest}"
        )

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of bins of each column."""
        return tuple(len(edges) - 1 for edges in self.bins)

    def n_columns(self, n_inputs: int) -> int:
        """Return how many of the inputs are embedded."""
        return _check_columns("the columns of bins are", len(self.bins), n_inputs)

    def n_outputs(self, n_inputs: int) -> int:
        """Return the values of the embedded inputs, and the number of the others."""
        return n_inputs + self.n_columns(n_inputs) * (self.size - 1)

    def shapes(self, n_inputs: int) -> tuple[Shape, Shape]:
        """Return the shapes of W and b."""
        return (sum(self.counts), self.size), (len(self.bins), self.size)


@dataclass(frozen=True, repr=False)
class Embedding(Layer):
    """Gives each category a vector that is learnt, as `torch.nn.Embedding` does.

    The last inputs hold codes, 0 to K - 1 for a column of K categories, and -1 for a
    value that is missing or unknown, which has zeros. Each becomes the `size` values of
    its category's row; the inputs in front of them come first, as they are. Only
    numeric embeddings may stand before it in a network, and the input scaling must
    leave the codes alone. Other codes are a ValueError that names row and column.

    `Network.get_weights` has the pair of the arrays (all categories, size), those of
    the first column first, and (size,) of zeros, which is no parameter.

    Parameters
    ----------
    categories : sequence of int
        The number of categories of each of the last inputs.
    size : int, default 8
        Values that a code becomes, 1 to 64.
    trainable : bool, default True
        False: training leaves the vectors as they are.
    seed : int, optional
        Draw them, normal with mean 0 and deviation 1, from this seed rather than the
        network's.
    rate_factors, epsilon_factors : float, default 1.0
    decay_factors : float, default 0.0
        Of the vectors; see `Layer`.

    Examples
    --------
    >>> from fastnn import Dense, Embedding, Network, PeriodicEmbedding
    >>> numeric = PeriodicEmbedding(columns=2)
    >>> net = Network([4, numeric, Embedding([10, 3]), Dense(16, "relu"), 2], seed=0)
    >>> net.plan.widths  # 2 * 4 + 2, then 2 * 4 + 2 * 8
    (4, 10, 24, 16, 2)
    """

    name: ClassVar[str] = "embedding"
    use_bias: ClassVar[bool] = False

    categories: Any
    size: int = 8
    trainable: bool = field(default=True, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    rate_factors: float | Factors = field(default=1.0, kw_only=True)
    epsilon_factors: float | Factors = field(default=1.0, kw_only=True)
    decay_factors: float | Factors = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        given = self.categories
        if isinstance(given, str | bytes) or not hasattr(given, "__len__"):
            raise TypeError(
                "categories must be the number of categories of each column, got "
                f"{short(given)}"
            )
        counts = tuple(
            check_dimension(f"categories[{j}]", each) for j, each in enumerate(given)
        )
        check_dimension("the number of columns of categories", len(counts))
        object.__setattr__(self, "categories", counts)
        object.__setattr__(self, "size", check_integer("size", self.size, 1, 64))
        check_bool("trainable", self.trainable)
        _check_seed(self)
        _check_factors(self)

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of categories of each column."""
        counts: tuple[int, ...] = self.categories
        return counts

    def n_columns(self, n_inputs: int) -> int:
        """Return how many of the inputs are codes."""
        return _check_columns(
            "the columns of categories are", len(self.counts), n_inputs
        )

    def n_outputs(self, n_inputs: int) -> int:
        """Return the values of the categories, and the number of the other inputs."""
        return n_inputs + self.n_columns(n_inputs) * (self.size - 1)

    def shapes(self, n_inputs: int) -> tuple[Shape, Shape]:
        """Return the shapes of the vectors, and of zeros."""
        return (sum(self.counts), self.size), (self.size,)


@dataclass(frozen=True, repr=False)
class ParametricActivation(Layer):
    """An activation whose strength each unit learns, ``y := x + a (f(x) - x)``.

    ``x`` and ``y`` have shape (m, n), ``a`` (n,); it starts at 1, where y is f(x), and
    at 0 y is x. Stands behind a dense layer without an activation of its own.
    `Network.get_weights` has the pair (a, zeros).

    Parameters
    ----------
    function : str or Activation, default "mish"
        f, as the activation of `Dense`; not "softmax".
    trainable : bool, default True
        False: a stays as it is.
    rate_factors, epsilon_factors : float, default 1.0
    decay_factors : float, default 0.0
        Of a; see `Layer`.

    References
    ----------
    D. Holzmueller, L. Grinsztajn, I. Steinwart, "Better by Default: Strong Pre-Tuned
    MLPs and Boosted Trees on Tabular Data", NeurIPS 2024, arXiv 2407.04491.

    Examples
    --------
    >>> from fastnn import Dense, Network, ParametricActivation
    >>> net = Network([4, Dense(8), ParametricActivation("selu"), Dense(3)], seed=0)
    >>> net.plan.parameter_counts
    (40, 8, 27)
    """

    name: ClassVar[str] = "parametric_activation"
    use_bias: ClassVar[bool] = False

    function: str | Activation = "mish"
    trainable: bool = field(default=True, kw_only=True)
    rate_factors: float | Factors = field(default=1.0, kw_only=True)
    epsilon_factors: float | Factors = field(default=1.0, kw_only=True)
    decay_factors: float | Factors = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "function", short_form(self.function))
        if self.function == "softmax":
            raise ValueError("function must act on single values, got 'softmax'")
        check_bool("trainable", self.trainable)
        _check_factors(self)


def _check_edges(j: int, edges: Any) -> tuple[float, ...]:
    """Return the edges of column j."""
    name = f"bins[{j}]"
    array = np.asarray(edges)
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be an array of numbers, got {short(edges)}")
    array = array.astype(np.float64)
    with np.errstate(over="ignore"):
        rounded = array.astype(np.float32)
    if len(array) < 2 or not (
        np.isfinite(rounded).all() and (np.diff(rounded) > 0).all()
    ):
        raise ValueError(
            f"{name} must be at least 2 finite edges that increase, also as float32, "
            f"got {short(edges)}"
        )
    return tuple(array.tolist())


def _check_columns(what: str, count: int, n_inputs: int) -> int:
    if count > n_inputs:
        raise ValueError(f"{what} {count}; expected at most the {n_inputs} inputs")
    return count


def _are_zeros(biases: str | Initializer) -> bool:
    if isinstance(biases, Values):
        return not any(biases.values)
    return biases in ("zeros", Constant(0.0))


def _check_seed(layer: Any) -> None:
    if layer.seed is not None:
        seed = check_integer("seed", layer.seed, 0, 2**64 - 1)
        object.__setattr__(layer, "seed", seed)


def _check_norm(layer: BatchNorm | LayerNorm) -> None:
    object.__setattr__(layer, "activation", short_form(layer.activation))
    epsilon = check_number(
        "epsilon", layer.epsilon, "a finite number >= 1e-12", lambda e: e >= 1e-12
    )
    object.__setattr__(layer, "epsilon", epsilon)
    check_bool("trainable", layer.trainable)
    _check_factors(layer)


def _check_factors(layer: Layer) -> None:
    for name in ("rate_factors", "epsilon_factors", "decay_factors"):
        value = getattr(layer, name)
        accept = POSITIVE if name == "epsilon_factors" else NOT_NEGATIVE
        if isinstance(value, tuple | list):
            if len(value) != 2:
                raise ValueError(
                    f"{name} must be a number or a pair of numbers, got {value!r}"
                )
            value = tuple(
                check_number(f"{name}[{i}]", each, *accept)
                for i, each in enumerate(value)
            )
        else:
            value = check_number(name, value, *accept)
        object.__setattr__(layer, name, value)


def _pair(factors: float | Factors) -> Factors:
    return factors if isinstance(factors, tuple) else (factors, factors)


LAYERS: dict[str, type[Layer]] = {
    each.name: each
    for each in (
        Dense,
        Dropout,
        BatchNorm,
        LayerNorm,
        Scale,
        PeriodicEmbedding,
        PiecewiseLinearEmbedding,
        Embedding,
        ParametricActivation,
    )
}
