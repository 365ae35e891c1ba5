"""`TabularRegressor`: the value of each row of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold
from sklearn.utils import check_array, column_or_1d

from .base import BaseTabular

if TYPE_CHECKING:
    from fastnn._base.types import Array, Floats
    from fastnn._core.training.recipe import Data

__all__ = ["TabularRegressor"]


class TabularRegressor(RegressorMixin, BaseTabular):  # type: ignore[misc]
    """Predicts a number for the rows of a table, whose columns may be of any kind.

    Columns of numbers, text, truth values and dates, with empty cells, are encoded as
    `fastnn.Schema` describes; text that occurs in new rows alone counts as missing.
    Networks of a recipe are trained on all rows, to the least squared error of y in
    units of its standard deviation. The answer is the mean of what they predict, kept
    within the range of y in training.

    Parameters
    ----------
    recipe : {"default"}
        Network, optimizer and length of training, by the size of the table. It has a
        strict and a free variant, of which the loss on a fifth of the rows decides,
        after trainings of half the length; the networks then train on all rows.
    members : int, default 1
        Networks with other initial weights and orders of the rows, whose mean is taken:
        more accurate, in as many times the time.
    n_folds : int, optional
        At least 2. `members` networks for each fold of the rows, trained on those of
        the other folds: the rows that they have not seen give `oof_score_`.
    time_limit : float, optional
        Seconds that all networks may take together. Where the recipe would take longer,
        its training is shortened by a measurement of the first steps, so that the
        result is no longer the same for the same `random_state`.
    random_state : int, RandomState or None
        Of folds, initial weights, orders of the rows and dropout.
    n_threads : int, optional
        The most threads to use; the result does not depend on it.

    Attributes
    ----------
    networks_ : list of Network
        By fold, then by member. They predict y in units of `target_deviation_` from
        `target_mean_`.
    target_mean_, target_deviation_ : float
        Of y in training, weighted.
    schema_ : fastnn.Schema
        The columns, and how they are encoded.
    oof_score_ : float
        With `n_folds`: R2 of the rows, each predicted by the networks that have not
        seen it.
    validation_score_ : float
        With `X_val`: R2 of its rows.
    feature_importances_ : ndarray of float64 (n_features_in_,)
        By column, the score that is lost when it is shuffled, worked out when asked
        for: of rows of X_val, else of those out of fold, else of the training.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        If X has names.

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

    def __init__(
        self,
        recipe: str = "default",
        *,
        members: int = 1,
        n_folds: int | None = None,
        time_limit: float | None = None,
        random_state: Any = None,
        n_threads: int | None = None,
    ) -> None:
        self.recipe = recipe
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
        X : DataFrame, mapping of arrays or array-like (n_samples, n_features)
            Of pandas, polars or pyarrow, as it is.
        y : array-like (n_samples,)
            Finite numbers.
        sample_weight : array-like (n_samples,), optional
            At least 0; rows of weight 0 are left out.
        X_val, y_val, sample_weight_val : array-like, optional
            Validation rows, for `validation_score_`.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            An argument is not as described.
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
        values = self._outputs(X)[:, 0] * self.target_deviation_ + self.target_mean_
        return np.clip(values, *self._target_range)

    @property
    def _n_classes(self) -> int:
        return 0

    def _check_y(self, y: Any) -> Any:
        y = column_or_1d(y, warn=True)
        return check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")

    def _fit_targets(self, y: Any, weight: Floats | None) -> Array:
        self.target_mean_ = float(np.average(y, weights=weight))
        variance = float(np.average((y - self.target_mean_) ** 2, weights=weight))
        self.target_deviation_ = variance**0.5 or 1.0
        self._target_range = float(y.min()), float(y.max())
        return self._standardised(y)

    def _standardised(self, y: Any) -> Floats:
        return np.asarray((y - self.target_mean_) / self.target_deviation_)

    def _encode_targets(self, y: Any, name: str) -> Array:
        y = check_array(
            column_or_1d(y), dtype=np.float64, ensure_2d=False, input_name=name
        )
        return self._standardised(y)

    def _folds(self, y: Array, random_state: Any) -> list[tuple[Array, Array]]:
        folds = KFold(self.n_folds, shuffle=True, random_state=random_state)
        return [*folds.split(np.empty((len(y), 1)))]

    def _learn_from(self, held_out: Data, outputs: Floats) -> float:
        return float(r2_score(held_out.y, outputs[:, 0], sample_weight=held_out.weight))
