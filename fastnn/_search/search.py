"""`fastnn.search`: its arguments, checked, and the search."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._base.fields import POSITIVE, check_bool, check_integer, check_number
from fastnn._core.model.model import Model
from fastnn._plan.arrays import as_array
from fastnn._plan.inputs import standard_scaling
from fastnn._plan.plan import make_plan, parse_loss
from fastnn._plan.recipes import MAX_CATEGORIES, Size
from fastnn._plan.rows import check_numbers
from fastnn._plan.schema import Schema
from fastnn._plan.tables import column_names
from fastnn._plan.targets import TargetScaling
from fastnn.datasets import train_test_split
from fastnn.losses import OwnLoss, SoftmaxCrossEntropy

from .course import MOST_MEMBERS, Course, Problem
from .space import draw_settings, recipe_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

    from fastnn._base.types import Array
    from fastnn.losses import Loss

    from .result import SearchResult

__all__ = ["search"]

_HELD_OUT, _MOST_HELD_OUT, _FEWEST_ROWS = 0.2, 10_000, 10
_MOST_COLUMNS = 100  # of an array that may be embedded: more are pixels or the like


def search(
    X: ArrayLike,
    y: ArrayLike,
    space: Mapping[str, Any] | None = None,
    *,
    loss: str | Loss = "softmax_cross_entropy",
    n_settings: int = 27,
    ensemble: int = 1,
    refit: bool = True,
    time_limit: float | None = None,
    rows_val: ArrayLike | None = None,
    schema: Schema | None = None,
    dtype: DTypeLike = "float32",
    seed: int = 0,
    backend: str = "native",
    num_threads: int | None = None,
    state: str | os.PathLike[str] | None = None,
    resume: bool = False,
    verbose: int = 1,
) -> SearchResult:
    """Search the settings of a network, and return the best one that was trained.

    Successive halving: the best third of the settings is trained anew, three times as
    long, until three are left, whose training is whole (27 settings: for a ninth, a
    third, all of it), side by side as in `fit_many`. Their losses on rows held out are
    compared. Without a time limit, the result depends neither on time nor on the number
    of threads.

    Parameters
    ----------
    X : array_like (n, n_inputs), or a table
        As for `Network.fit`. Columns of an array are scaled: uint8 as pixels, others to
        mean 0 and deviation 1.
    y : array_like (n,)
        Labels 0, 1, ..., or numbers.
    space : dict, optional
        Settings of your own: "learning_rate", "weight_decay", "beta_2", "schedule"
        ("one_cycle" or "constant"), "dropout", "width", "depth", "activation",
        "batch_size", "epochs", "row_epochs" (the most rows that a training sees),
        "label_smoothing", "frequencies" and "sigma" of a `PeriodicEmbedding`. Each is a
        value, a list, or has ``rvs(random_state=)`` like the distributions of SciPy.
        None: the variants of the recipe for tables come first.
    loss : str or Loss
        Of numbers "mse", "mae", "huber", "quantile" or "gaussian_nll".
    n_settings : int, default 27
    ensemble : int, default 1
        The most networks that become one, with zeros between their weights. The best
        settings are trained again from other seeds; of networks of that depth and
        activation, those are taken whose mean raw output has the least loss (greedy
        selection with replacement).
    refit : bool, default True
        Train what was chosen again, on all rows, if there is time.
    time_limit : float, optional
        Seconds, those before a `resume` included. Trainings become shorter, then fewer.
    rows_val : array_like (k,), optional
        Numbers of the rows held out, or a mask (n,). None: a random fifth, at most
        10,000.
    schema : Schema, optional
        Of a table, or of what it encoded. None: learnt from X if that is a table.
    dtype, backend, num_threads
        As for `Network` and `fit_many`.
    seed : int, default 0
    state : str or path-like, optional
        A file that keeps finished trainings; a new one unless `resume` is True.
    resume : bool, default False
        Go on with the search in that file, if it exists, to the same bits.
    verbose : {0, 1}, default 1

    Raises
    ------
    TypeError, ValueError
        An argument is not as described, or the file is of another search.
    Exception
        All trainings failed: the error of one.

    References
    ----------
    K. Jamieson, A. Talwalkar, "Non-stochastic Best Arm Identification and
    Hyperparameter Optimization", AISTATS 2016; R. Caruana et al., "Ensemble Selection
    from Libraries of Models", ICML 2004.

    Examples
    --------
    >>> import fastnn
    >>> X, y, X_test, y_test = fastnn.datasets.digits()
    >>> space = {"width": [16, 32], "depth": 1, "epochs": 9}
    >>> result = fastnn.search(X, y, space, n_settings=6, verbose=0)
    >>> result.network.score(X_test, y_test) > 0.9
    True
    """
    n_settings = check_integer("n_settings", n_settings, 1)
    ensemble = check_integer("ensemble", ensemble, 1, MOST_MEMBERS)
    limit = math.inf
    if time_limit is not None:
        limit = check_number("time_limit", time_limit, *POSITIVE)
    if num_threads is not None:
        num_threads = check_integer("num_threads", num_threads, 1)
    seed = check_integer("seed", seed, 0, 2**63)
    check_bool("refit", refit)
    if check_bool("resume", resume) and state is None:
        raise ValueError("resume is True, but state is None; expected a file")
    if state is not None:
        if not isinstance(state, str | bytes | os.PathLike):
            raise TypeError(f"state must be a path, got {state!r:.80}")
        state = os.fspath(state)
        if not resume and os.path.exists(state):
            raise FileExistsError(
                f"state: {state} exists; resume=True goes on with it, and without the "
                "file a new search begins"
            )
    spec = parse_loss(loss)
    if isinstance(loss, SoftmaxCrossEntropy):
        raise ValueError(
            f"loss is {loss!r}; label smoothing is a setting of the search: "
            f"space={{'label_smoothing': {loss.label_smoothing}}}"
        )
    network = {"dtype": dtype, "backend": backend}
    problem = _make_problem(X, y, spec, rows_val, schema, seed, network)
    settings = draw_settings(space, n_settings, problem.size, seed)
    for each in settings:
        try:
            recipe = recipe_of(each, problem.size)
            make_plan(recipe.layers, recipe.loss, recipe.optimizer, dtype)
        except (TypeError, ValueError) as error:
            raise type(error)(f"of the settings {each}: {error}") from None
    course = Course(
        problem, settings, seed, ensemble, limit, num_threads, state, verbose
    )
    if resume:
        course.resume()
    return course.run(refit)


def _make_problem(
    X: Any,
    y: Any,
    loss: Loss,
    rows_val: Any,
    schema: Schema | None,
    seed: int,
    network: dict[str, Any],
) -> Problem:
    """Check the data as `Network.fit` does."""
    classes = loss.name == "softmax_cross_entropy"
    if isinstance(loss, OwnLoss) or not (classes or loss.target_range[0] == -np.inf):
        raise ValueError(
            f"loss is {loss.name!r}; expected 'softmax_cross_entropy' for classes, or "
            "mse, mae, huber, quantile or gaussian_nll for numbers"
        )
    if schema is None and column_names(X) is not None:
        schema = Schema.from_table(X, max_categories=MAX_CATEGORIES)
    if schema is None:
        X = as_array(X, "X")
    y = as_array(y, "y")
    n_inputs = schema.n_inputs if schema else X.shape[-1] if X.ndim > 1 else 1
    n_classes = 0
    if classes:
        n_classes = 2
        if schema is not None and schema.target is not None:
            n_classes = max(2, len(schema.target.classes))
        elif y.ndim == 1 and y.dtype.kind in "biuf" and len(y):
            n_classes = max(2, 1 + int(np.nan_to_num(y.max())))
        if n_classes > max(2, len(y)):
            raise ValueError(
                f"y has {y.max()} among {len(y)} rows; expected labels of classes 0, "
                "1, ..., or for numbers loss='mse'"
            )
    n_outputs = n_classes or loss.outputs_per_target
    plan = make_plan([n_inputs, n_outputs], loss, "sgd", network["dtype"])
    model = Model(plan, 0, network["backend"])
    X, targets, _ = model.check_rows(X, y, None, "", schema)
    if classes and targets.ndim > 1:
        raise ValueError(f"y has shape {y.shape}; expected labels ({len(X)},)")
    rows, held_out = _split(len(X), rows_val, seed)
    mean, deviation = 0.0, 1.0
    if not classes:
        targets = y.reshape(-1, 1).astype(np.float64)
        scaling = TargetScaling(loss, 1, "auto").learnt(targets[rows], None)
        targets = scaling.scaled(targets, "float64")
        mean, deviation = (float(each[0]) for each in scaling.scale)  # type: ignore
    if schema is not None and schema.encoding != "none":
        n_numeric = schema.n_numeric
    else:
        is_embedded = X.dtype.kind not in ("b", "u") and n_inputs <= _MOST_COLUMNS
        n_numeric = n_inputs if is_embedded else 0
        network["input_scale"], network["input_shift"] = standard_scaling(X)
    size = Size(len(rows), n_inputs, n_numeric, n_classes, None if classes else loss)
    target = None if classes else (mean, deviation)
    return Problem(X, targets, rows, held_out, size, loss, network, schema, target)


def _split(n: int, rows_val: Any, seed: int) -> tuple[Array, Array]:
    """Rows to train on, and rows to compare networks by."""
    every = np.arange(n)
    if rows_val is not None:
        held_out = check_numbers("rows_val", rows_val, n)
        rows = np.setdiff1d(every, held_out)
        if not len(rows):
            raise ValueError("rows_val has all rows of X; expected some to train on")
        return rows, held_out
    if n < _FEWEST_ROWS:
        raise ValueError(f"X has {n} rows; expected at least {_FEWEST_ROWS}")
    return train_test_split(every, every, min(_HELD_OUT, _MOST_HELD_OUT / n), seed)[:2]
