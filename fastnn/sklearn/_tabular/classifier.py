"""`TabularClassifier`: the class of each row of a table, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from fastnn._core.training.calibration import at_temperature, fit_temperature

from .base import BaseTabular

if TYPE_CHECKING:
    from fastnn._base.types import Array, Floats
    from fastnn._core.training.recipe import Data

__all__ = ["TabularClassifier"]


class TabularClassifier(ClassifierMixin, BaseTabular):  # type: ignore[misc]
    """Classifies the rows of a table, whose columns may be of any kind.

    Columns of numbers, text, truth values and dates, with empty cells, are encoded as
    `fastnn.Schema` describes; text that occurs in new rows alone counts as missing.
    Networks of a recipe, with a softmax, are trained on all rows. The answer is the
    mean of their probabilities p, at a temperature t if one was fitted:
    ``softmax(log(p) / t)``.

    Parameters
    ----------
    recipe : {"default", "realmlp-s", "realmlp"}
        Network, optimizer and length of training, by the size of the table. "default"
        has a strict and a free variant, of which the loss on a fifth of the rows
        decides, after trainings of a quarter of the length; the networks then train on
        all rows. "realmlp-s" is RealMLP-TD-S of Holzmüller et al., "Better by Default",
        NeurIPS 2024: a fifth of the rows, or X_val, choose the best of 256 epochs;
        "realmlp" is their RealMLP-TD, larger and slower.
    members : int, default 1
        Networks with other initial weights and orders of the rows, whose mean is taken:
        more accurate, in as many times the time.
    n_folds : int, optional
        At least 2. `members` networks for each fold of the rows, trained on those of
        the other folds: the rows that they have not seen give `oof_score_` and the
        temperature.
    time_limit : float, optional
        Seconds that all networks may take together. Where the recipe would take longer,
        its training is shortened by a measurement of the first steps, so that the
        result is no longer the same for the same `random_state`.
    class_weight : dict, "balanced" or None
        A factor of the sample weights by class, 1 for classes left out; "balanced" lets
        all classes count the same.
    random_state : int, RandomState or None
        Of folds, initial weights, orders of the rows and dropout.
    n_threads : int, optional
        The most threads to use; the result does not depend on it.

    Attributes
    ----------
    classes_ : ndarray
    networks_ : list of Network
        By fold, then by member.
    schema_ : fastnn.Schema
        The columns, and how they are encoded.
    temperature_ : float
        1 without folds and validation rows.
    oof_score_ : float
        With `n_folds`: the accuracy of the rows, each predicted by the networks that
        have not seen it.
    validation_score_ : float
        With `X_val`: the accuracy of its rows.
    feature_importances_ : ndarray of float64 (n_features_in_,)
        By column, the score that is lost when it is shuffled.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        If X has names.

    See Also
    --------
    MLPClassifier : Plain matrices, with scikit-learn's parameters.

    Notes
    -----
    How it compares with other methods is measured in docs/tables.md. Out-of-fold rows,
    and validation rows, fit the temperature, which leaves the predicted classes as they
    are; "realmlp-s" and "realmlp" also choose the epoch by validation rows.

    Examples
    --------
    >>> from fastnn.sklearn import TabularClassifier
    >>> table = {"size": [1.0, 2.5, None, 4.0] * 50, "city": ["Rome", "Oslo"] * 100}
    >>> y = ["small", "small", "large", "large"] * 50
    >>> model = TabularClassifier(random_state=0).fit(table, y)
    >>> model.predict({"size": [1.1, 3.9], "city": ["Rome", "Oslo"]}).tolist()
    ['small', 'large']
    """

    classes_: Array
    temperature_: float

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseTabular._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        recipe: str = "default",
        *,
        members: int = 1,
        n_folds: int | None = None,
        time_limit: float | None = None,
        class_weight: Mapping[Any, float] | str | None = None,
        random_state: Any = None,
        n_threads: int | None = None,
    ) -> None:
        self.recipe = recipe
        self.members = members
        self.n_folds = n_folds
        self.time_limit = time_limit
        self.class_weight = class_weight
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
    ) -> TabularClassifier:
        """Train on the rows of a table.

        Parameters
        ----------
        X : DataFrame, mapping of arrays or array-like (n_samples, n_features)
            Of pandas, polars or pyarrow, as it is.
        y : array-like (n_samples,)
            Labels of any type.
        sample_weight : array-like (n_samples,), optional
            At least 0; rows of weight 0 are left out.
        X_val, y_val, sample_weight_val : array-like, optional
            Validation rows, for `validation_score_` and the temperature.

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

    def predict_proba(self, X: Any) -> Floats:
        """Return the probability of each class (n, n_classes), in their order.

        Parameters
        ----------
        X : DataFrame, mapping of arrays or array-like (n_samples, n_features)
            With the columns of the training, in the same order.
        """
        outputs = self._outputs(X)
        return at_temperature(outputs, self.temperature_)

    def predict_log_proba(self, X: Any) -> Floats:
        """Return the logarithms of `predict_proba`.

        Parameters
        ----------
        X : DataFrame, mapping of arrays or array-like (n_samples, n_features)
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def predict(self, X: Any) -> Array:
        """Return the most probable class of each row (n,).

        Parameters
        ----------
        X : DataFrame, mapping of arrays or array-like (n_samples, n_features)
        """
        p = self._outputs(X)
        return np.asarray(self.classes_[p.argmax(axis=1)])

    @property
    def _n_classes(self) -> int:
        return len(self.classes_)

    def _check_y(self, y: Any) -> Any:
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        return y

    def _fit_targets(self, y: Any, weight: Floats | None) -> Array:
        classes, labels = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"y has 1 class, {classes[0]!r}; expected two or more")
        self.classes_, self.temperature_ = classes, 1.0
        return np.asarray(labels, dtype=np.int64)

    def _encode_targets(self, y: Any, name: str) -> Array:
        y = column_or_1d(y)
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(
                f"{name} has the classes {unknown.tolist()}, which y has not; expected "
                f"those of {self.classes_.tolist()}"
            )
        return np.asarray(np.searchsorted(self.classes_, y), dtype=np.int64)

    def _weigh(self, targets: Array, weight: Floats | None) -> Floats | None:
        if self.class_weight is None:
            return weight
        places = np.arange(len(self.classes_))
        by_class: Any = self.class_weight
        if not isinstance(by_class, str):
            known = dict(zip(self.classes_.tolist(), places.tolist(), strict=True))
            for label in by_class:
                if label not in known:
                    raise ValueError(
                        f"class_weight has a weight for {label!r}; expected classes of "
                        f"{self.classes_.tolist()}"
                    )
            by_class = {known[label]: each for label, each in by_class.items()}
        factors = compute_class_weight(
            by_class, classes=places, y=targets, sample_weight=weight
        )[targets]
        return np.asarray(factors if weight is None else factors * weight)

    def _folds(self, y: Array, random_state: Any) -> list[tuple[Array, Array]]:
        folds = StratifiedKFold(self.n_folds, shuffle=True, random_state=random_state)
        return [*folds.split(np.empty((len(y), 1)), y)]

    def _learn_from(self, held_out: Data, outputs: Floats) -> float:
        self.temperature_ = fit_temperature(outputs, held_out.y, held_out.weight)
        is_right = outputs.argmax(axis=1) == held_out.y
        return float(np.average(is_right, weights=held_out.weight))
