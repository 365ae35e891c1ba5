"""`TabularRegressor`: the value of each row of a table."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy.special import ndtri
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold
from sklearn.utils import check_array, column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from fastnn._plan.targets import TargetScaling
from fastnn.losses import MSE, GaussianNLL, Quantile

from .base import BaseTabular

if TYPE_CHECKING:
    from fastnn._base.types import Array, Floats
    from fastnn._core.training.recipe import Data
    from fastnn.losses import Loss

__all__ = ["TabularRegressor"]


class TabularRegressor(RegressorMixin, BaseTabular):  # type: ignore[misc]
    """Predicts a number for the rows of a table, whose columns may be of any kind.

    Columns of numbers, text, truth values and dates, with empty cells, are encoded as
    `fastnn.Schema` describes; text that occurs in new rows alone counts as missing.
    Networks of a recipe are trained on all rows, to the least squared error of y in
    units of its standard deviation, or to another `loss`. The answer is the mean of
    what they predict, kept within the range of y in training.

    Parameters
    ----------
    recipe, members, n_folds, time_limit, random_state, n_threads
        As for `TabularClassifier`.
    loss : {"squared_error", "quantile", "gaussian_nll"}
        What is learnt: the mean of y; its quantiles, see `predict_quantiles`; or its
        mean and standard deviation, see `predict_std`, as of a normal distribution.
    levels : sequence of float, default (0.1, 0.5, 0.9)
        Of the loss "quantile", increasing, between 0 and 1; `predict` returns that
        nearest to 0.5.

    Attributes
    ----------
    networks_ : list of Network
        By fold, then by member. They predict y, from encoded columns.
    target_mean_, target_deviation_ : float
        Of y in training, weighted.
    oof_score_ : float
        With `n_folds`: R2 of the rows, each predicted by the networks that have not
        seen it.
    validation_score_ : float
        With `X_val`: R2 of its rows.
    schema_, feature_importances_, n_features_in_, feature_names_in_
        As of `TabularClassifier`.

    See Also
    --------
    MLPRegressor : Plain matrices, with scikit-learn's parameters.

    Notes
    -----
    How it compares with other methods is measured in docs/tables.md.

    Examples
    --------
    >>> from fastnn.sklearn import TabularRegressor
    >>> table = {"size": [1.0, 2.5, 3.0, 4.0] * 50, "city": ["Rome", "Oslo"] * 100}
    >>> y = [10.0, 5.0, 30.0, 8.0] * 50
    >>> model = TabularRegressor(random_state=0).fit(table, y)
    >>> model.score(table, y) > 0.99
    True
    """

    target_mean_: float
    target_deviation_: float

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseTabular._parameter_constraints,
        "loss": [StrOptions({"squared_error", "quantile", "gaussian_nll"})],
        "levels": ["array-like", Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(
        self,
        recipe: str = "default",
        *,
        loss: str = "squared_error",
        levels: Any = (0.1, 0.5, 0.9),
        members: int = 1,
        n_folds: int | None = None,
        time_limit: float | None = None,
        random_state: Any = None,
        n_threads: int | None = None,
    ) -> None:
        self.recipe = recipe
        self.loss = loss
        self.levels = levels
        self.members = members
        self.n_folds = n_folds
        self.time_limit = time_limit
        self.random_state = random_state
        self.n_threads = n_threads

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> TabularRegressor:
        """Train on the rows of a table.

        Parameters
        ----------
        y : array-like (n_samples,)
            Finite numbers.
        X, sample_weight, X_val, y_val, sample_weight_val
            As for `TabularClassifier.fit`.

        Returns
        -------
        self
        """
        self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val))
        return self

    def predict(self, X: Any) -> Floats:
        """Return the value of each row (n,).

        Parameters
        ----------
        X : DataFrame, mapping of arrays or array-like (n_samples, n_features)
            With the columns of the training, in the same order.
        """
        outputs = self._outputs(X)  # which says if this is not fitted
        return np.asarray(outputs[:, self._point])

    def predict_quantiles(self, X: Any, levels: Any = None) -> Floats:
        """Return quantiles of each row (n, n_levels), in the order of their levels.

        Of the loss "quantile" those that were learnt, sorted, so that they never cross;
        of "gaussian_nll" those of the normal distribution.

        Parameters
        ----------
        X : DataFrame, mapping of arrays or array-like (n_samples, n_features)
        levels : sequence of float, optional
            Between 0 and 1; by default the parameter. Of the loss "quantile", some of
            it.

        Raises
        ------
        AttributeError
            The loss is "squared_error".
        ValueError
            The levels are not as described.

        Examples
        --------
        >>> from fastnn.sklearn import TabularRegressor
        >>> table, y = {"x": [1.0, 2.0] * 50}, [1.0, 2.0] * 50
        >>> model = TabularRegressor(loss="quantile", random_state=0).fit(table, y)
        >>> model.predict_quantiles(table, [0.1, 0.9]).shape
        (100, 2)
        """
        self._require_loss("predict_quantiles", "quantile", "gaussian_nll")
        outputs = self._outputs(X)
        wanted = Quantile(self.levels if levels is None else levels).levels
        if self.loss == "gaussian_nll":
            return self._normal_quantiles(X, wanted)
        known = self.networks_[0].plan.loss.levels  # type: ignore[attr-defined]
        if not {*wanted} <= {*known}:
            raise ValueError(f"levels must be some of {known}, got {wanted}")
        return outputs[:, [known.index(level) for level in wanted]]

    def predict_std(self, X: Any) -> Floats:
        """Return the standard deviation of each row's value (n,), in the units of y.

        Of several networks, that of the mixture of their normal distributions.

        Parameters
        ----------
        X : DataFrame, mapping of arrays or array-like (n_samples, n_features)

        Raises
        ------
        AttributeError
            The loss is not "gaussian_nll".

        Examples
        --------
        >>> from fastnn.sklearn import TabularRegressor
        >>> table, y = {"x": [1.0, 2.0] * 50}, [1.0, 2.0] * 50
        >>> model = TabularRegressor(loss="gaussian_nll", random_state=0).fit(table, y)
        >>> model.predict_std(table).shape
        (100,)
        """
        self._require_loss("predict_std", "gaussian_nll")
        check_is_fitted(self, "networks_")
        table = self._check_table(X, "X", reset=False)
        encoded = self.schema_.encode(table, "float32", "X")
        each = [net(encoded).astype(np.float64) for net in self.networks_]
        outputs = np.stack(each)
        means = outputs[:, :, 0]
        variances = np.maximum(np.exp(outputs[:, :, 1]), GaussianNLL().epsilon)
        total = variances.mean(axis=0) + means.var(axis=0)
        return np.asarray(self.target_deviation_ * np.sqrt(total))

    def _normal_quantiles(self, X: Any, levels: tuple[float, ...]) -> Floats:
        means, deviations = self.predict(X), self.predict_std(X)
        values = means[:, np.newaxis] + np.outer(deviations, ndtri(levels))
        return np.asarray(np.clip(values, *self._target_range))

    def _require_loss(self, method: str, *losses: str) -> None:
        if self.loss not in losses:
            raise AttributeError(
                f"{method} needs the loss {' or '.join(map(repr, losses))}, not "
                f"{self.loss!r}"
            )

    @property
    def _n_classes(self) -> int:
        return 0

    @property
    def _loss(self) -> Loss | None:
        if self.loss == "quantile":
            return Quantile(self.levels)
        return GaussianNLL() if self.loss == "gaussian_nll" else None

    @property
    def _point(self) -> int:
        return self.networks_[0].plan.loss.point

    def _check_y(self, y: Any) -> Any:
        y = column_or_1d(y, warn=True)
        return check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")

    def _fit_targets(self, y: Any, weight: Floats | None) -> Array:
        asked = TargetScaling(self._loss or MSE(), 1, "auto", "auto")
        self._targets = asked.learnt(y[:, np.newaxis], weight)
        pairs = self._targets.scale, self._targets.range
        (mean, deviation), (low, high) = np.array(pairs)[:, :, 0].tolist()
        self.target_mean_, self.target_deviation_ = mean, deviation
        self._target_range = low, high
        return np.asarray(y)

    def _encode_targets(self, y: Any, name: str) -> Array:
        y = check_array(
            column_or_1d(y), dtype=np.float64, ensure_2d=False, input_name=name
        )
        return np.asarray(y)

    def _folds(self, y: Array, random_state: Any) -> list[tuple[Array, Array]]:
        folds = KFold(self.n_folds, shuffle=True, random_state=random_state)
        return [*folds.split(np.empty((len(y), 1)))]

    def _learn_from(self, held_out: Data, outputs: Floats) -> float:
        values = outputs[:, self._point]
        return float(r2_score(held_out.y, values, sample_weight=held_out.weight))
