"""What a model knows of the table it was trained on: `Schema`, as frozen data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from reprlib import repr as short
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._base.errors import ModelFormatError
from fastnn._base.fields import check_integer, check_name, check_number
from fastnn._base.frozen import dataclass
from fastnn._base.warn import warn_user

from .column import Column, Statistics, describe_column
from .labels import Target, describe_target, encode_target
from .tables import as_column, as_columns, column_names

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from fastnn._base.types import Array

    from .plan import Plan
    from .tables import Columns

__all__ = [
    "Column",
    "Schema",
    "Split",
    "Statistics",
    "Target",
    "check_schema",
    "encode_columns",
    "schema_for",
]

ENCODINGS = ("robust", "none")
MAX_CATEGORIES = 100
_BLOCK = 1 << 14  # rows
_LARGEST = 3.001  # of what is encoded, rounded to any dtype


@dataclass(frozen=True)
class Split:
    """Which rows of a file were held out in the training.

    Parameters
    ----------
    sha256 : str
        Of the file.
    test_size : float
        The share that `datasets.train_test_split` held out; 0 for none.
    seed : int
        Of the split.
    """

    sha256: str
    test_size: float
    seed: int

    def __post_init__(self) -> None:
        if not isinstance(self.sha256, str) or not re.fullmatch(
            "[0-9a-f]{64}", self.sha256
        ):
            raise ValueError(f"sha256 must be 64 digits, got {self.sha256!r:.80}")
        share = ("a number >= 0 and < 1", lambda x: 0 <= x < 1)
        test_size = check_number("test_size", self.test_size, *share)
        object.__setattr__(self, "test_size", test_size)
        object.__setattr__(self, "seed", check_integer("seed", self.seed, 0))


@dataclass(frozen=True)
class Schema:
    """The columns of a table by name, and how they become the inputs of a network.

    With the encoding "robust", a number x becomes ``u / sqrt(1 + (u / 3)^2)`` of
    ``u := (x - median) f``, where ``f := 1 / (q75 - q25)``, or ``2 / (max - min)`` if
    the quartiles are equal, or 0 if all numbers are; a missing one becomes 0, and has
    an input of its own that is 1 if any was missing in training. A date becomes such
    numbers: days, year, month, weekday, and hour if there is one. A truth value becomes
    1 or -1, a missing one 0. A category becomes one-hot; of two categories, one input
    that is 1 for the first and -1 for the second; of a missing or unknown one, all are
    0. With the encoding "none", numbers and truth values are taken as they are.

    The inputs are the numbers in the order of the columns, then all others in the order
    of the columns: what suits numbers alone applies to the first `n_numeric`.

    Schemas are made by `from_table`, and stored in model files.

    Parameters
    ----------
    columns : tuple of Column
        Of the inputs, with different names.
    target : Target, optional
    encoding : {"robust", "none"}
    split : Split, optional
        Of the file that `fastnn train` was given.

    References
    ----------
    D. Holzmüller, L. Grinsztajn, I. Steinwart, "Better by Default: Strong Pre-Tuned
    MLPs and Boosted Trees on Tabular Data", NeurIPS 2024 (the encoding).

    Examples
    --------
    >>> import fastnn
    >>> table = {"age": [20, 30, 40], "city": ["Rome", "Oslo", "Rome"], "y": [0, 1, 1]}
    >>> schema = fastnn.Schema.from_table(table, label="y")
    >>> schema.input_names
    ('age', 'city=Oslo|Rome')
    >>> rows = {"city": ["Oslo", "Bonn"], "age": [40, 30]}
    >>> schema.encode(rows, "float64").round(4).tolist()
    [[0.9487, 1.0], [0.0, 0.0]]
    >>> schema.target.classes, schema.encode_target([1, 0]).tolist()
    ((0, 1), [1, 0])
    """

    columns: tuple[Column, ...]
    target: Target | None = None
    encoding: str = "robust"
    split: Split | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))
        if not all(isinstance(each, Column) for each in self.columns):
            raise TypeError(f"columns must be of Column, got {self.columns!r:.80}")
        names = self.column_names
        if not names or len({*names}) != len(names):
            raise ValueError(f"columns must have different names, got {names!r:.80}")
        if not isinstance(self.target, Target | None):
            raise TypeError(f"target must be a Target or None, got {self.target!r}")
        check_name("encoding", self.encoding, ENCODINGS)
        if not isinstance(self.split, Split | None):
            raise TypeError(f"split must be a Split or None, got {self.split!r:.80}")
        if self.encoding == "none":
            for each in self.columns:
                if each.kind not in ("numeric", "boolean"):
                    raise ValueError(
                        f"column {each.name!r} is {each.kind}; expected numbers or "
                        "truth values with the encoding 'none'"
                    )

    @classmethod
    def from_table(
        cls,
        table: Any,
        label: str | None = None,
        *,
        drop: Sequence[str] = (),
        task: str | None = None,
        encoding: str = "robust",
        max_categories: int = MAX_CATEGORIES,
    ) -> Schema:
        """Describe the rows of a table.

        Parameters
        ----------
        table : DataFrame, mapping of arrays, structured array or matrix
            Of pandas, polars, pyarrow, or what speaks the Arrow stream or dataframe
            interchange protocol (by pyarrow or pandas); at least one row.
        label : str, optional
            The column that is the target.
        drop : sequence of str, default ()
            Columns to leave out.
        task : {"classes", "values"}, optional
            Of the target. By default text and truth values are classes, and so are
            whole numbers if there are at most 20 different ones, or all of 0, 1, ... up
            to a hundredth of the number of rows.
        encoding : {"robust", "none"}
        max_categories : int, default 100
            Of a column; of more, the most frequent ones. A column of text that hardly
            ever repeats has none.

        Raises
        ------
        TypeError, ValueError
            The table is not as described, the label or a dropped column is not in it,
            no column is left, a number is infinite, or the target is missing in a row.
        """
        check_integer("max_categories", max_categories, 2)
        check_name("encoding", encoding, ENCODINGS)
        columns = as_columns(table)
        target = None
        for name in (*drop, *([] if label is None else [label])):
            if name not in columns:
                what = "label" if name == label else "drop"
                raise ValueError(
                    f"{what} is {name!r}; expected one of the columns "
                    f"{', '.join(columns)}"
                )
        if label is not None:
            target = describe_target(columns[label], label, task)
        left_out = {*drop, label}
        inputs = {k: v for k, v in columns.items() if k not in left_out}
        if not inputs or not len(next(iter(inputs.values()))):
            raise ValueError("table has no rows or no columns that are inputs")
        described = (describe_column(k, v, max_categories) for k, v in inputs.items())
        return cls(tuple(described), target, encoding)

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of the columns that `encode` looks for."""
        return tuple(each.name for each in self.columns)

    @property
    def n_numeric(self) -> int:
        """The number of inputs that are numbers; they are the first ones."""
        return len(self._number_names)

    @property
    def n_inputs(self) -> int:
        """The number of inputs that the columns become."""
        return len(self.input_names)

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs, in order."""
        if self.encoding == "none":
            return self.column_names
        flags = (name for each in self.columns for name in each.flag_names)
        return (*self._number_names, *flags)

    @property
    def _number_names(self) -> tuple[str, ...]:
        if self.encoding == "none":
            return self.column_names
        return tuple(name for each in self.columns for name in each.number_names)

    def encode(
        self, table: Any, dtype: DTypeLike = "float32", name: str = "table"
    ) -> Array:
        """Return the inputs (n, n_inputs), from the columns of these names.

        The columns may come in any order; others are ignored, with a warning unless it
        is the target.

        Parameters
        ----------
        table : DataFrame, mapping of arrays or structured array
            As for `from_table`.
        dtype : {"float32", "float64"}
        name : str, default "table"
            Of the argument, in errors.

        Raises
        ------
        TypeError, ValueError
            A column is missing, or holds something else than in training.
        """
        if self.encoding == "none":
            return self._as_they_are(table, name).astype(dtype, copy=False)
        return encode_columns(self, self._matched(table, name), dtype)

    def rows_of(self, X: Any, dtype: DTypeLike, name: str) -> Any:
        """Return the inputs that a table is; what is no table, as it is.

        Numbers that nothing scales keep their type. ValueError for an array of raw
        numbers where encoded ones are expected.
        """
        names = column_names(X)
        if names is None:
            if self.encoding != "none":
                self._refuse_raw(X, name)
            return X
        if self.encoding != "none":
            return self.encode(X, dtype, name)
        if names == [*self.column_names] and hasattr(X, "__array__"):
            array = np.asarray(X)
            if array.dtype.kind in "biuf":  # neither records nor numbers as objects
                return array
        return self._as_they_are(X, name)

    def _refuse_raw(self, X: Any, name: str) -> None:
        array = np.asarray(X)
        if array.shape[1:] != (self.n_inputs,) or array.dtype.kind not in "biuf":
            return  # which is an error of its own
        raw = np.abs(array) > _LARGEST
        if not raw.any():
            return
        row, column = (int(i) for i in np.argwhere(raw)[0])
        raise ValueError(
            f"{name} is an array whose column {column} holds {array[row, column]}, but "
            f"this network takes a table with named columns, or what its schema makes "
            f"of one, where {self.input_names[column]!r} is between -3 and 3; expected "
            f"such a table (a DataFrame or a dict of columns), or schema.encode(table)"
        )

    def _as_they_are(self, table: Any, name: str) -> Array:
        columns = self._matched(table, name)
        return np.column_stack(
            [each.numbers(columns[each.name]) for each in self.columns]
        )

    def encode_target(self, y: Any, name: str = "y") -> Array:
        """Return labels 0..C-1, int64 (n,), or the numbers, float64 (n,).

        Parameters
        ----------
        y : array_like (n,), or a table
            Class names or numbers; of a table, the column that has the target's name.
        name : str, default "y"
            Of the argument, in errors.

        Raises
        ------
        ValueError
            A row has none, a class is unknown, or a number is not finite.
        """
        target = self._require_target()
        names = column_names(y)
        if names is not None:
            if target.name not in names:
                raise ValueError(
                    f"{name} has no column {target.name!r}; it has {', '.join(names)}"
                )
            name = f"{name}: column {target.name!r}"
            return encode_target(
                target, as_columns(y, name, [target.name])[target.name], name
            )
        return encode_target(target, as_column(y, name), name)

    def decode(self, predicted: Any) -> Array:
        """Return the class names of labels 0..C-1 (n,); of numbers, themselves (n,).

        Of probabilities (n, C), the name of the most probable class.

        Raises
        ------
        ValueError
            A label is out of range.
        """
        target = self._require_target()
        values = np.asarray(predicted)
        if not target.classes:
            return values.reshape(len(values)) if values.ndim == 2 else values
        if values.ndim == 2:
            if values.shape[1] == 1:
                values = np.column_stack([1.0 - values, values])
            values = values.argmax(axis=1)
        if values.size and not 0 <= values.min() <= values.max() < len(target.classes):
            raise ValueError(
                f"predicted has labels from {values.min()} to {values.max()}; expected "
                f"0 to {len(target.classes) - 1}"
            )
        decoded: Array = np.array(target.classes)[values.astype(np.int64)]
        return decoded

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as JSON values."""
        return {
            "columns": [
                {
                    "name": each.name,
                    "kind": each.kind,
                    "categories": [*each.categories],
                    "statistics": [[*vars(of).values()] for of in each.statistics],
                    "missing": each.missing,
                }
                for each in self.columns
            ],
            "target": None
            if self.target is None
            else {**vars(self.target), "classes": [*self.target.classes]},
            "encoding": self.encoding,
            "split": None if self.split is None else {**vars(self.split)},
        }

    @classmethod
    def from_dict(cls, data: Any) -> Schema:
        """Return the schema that `to_dict` described.

        Raises
        ------
        ModelFormatError
            The data is something else.
        """
        try:
            given = _fields(cls, data)
            given["columns"] = [_column_from(each) for each in _list(given["columns"])]
            if given["target"] is not None:
                target = _fields(Target, given["target"])
                target["classes"] = _list(target["classes"])
                given["target"] = Target(**target)
            if given["split"] is not None:
                given["split"] = Split(**_fields(Split, given["split"]))
            return cls(**given)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFormatError(f"schema: {error}") from None

    def _require_target(self) -> Target:
        if self.target is None:
            raise ValueError("the schema has no target; make it with label=")
        return self.target

    def _matched(self, table: Any, name: str) -> Columns:
        """The columns of the schema, from a table that has them in any order."""
        names = column_names(table)
        if names is None:
            table = as_columns(table, name)
            names = [*table]
        used = [each.name for each in self.columns if each.n_inputs]
        absent = [each for each in used if each not in names]
        if absent:
            raise ValueError(
                f"{name} has no column {', '.join(map(repr, absent))}; it has "
                f"{', '.join(names)}"
            )
        known = {*self.column_names}
        if self.target is not None:
            known.add(self.target.name or "")
        extra = [each for each in names if each not in known]
        if extra:
            warn_user(
                f"{name} has columns that the model does not know, which are ignored: "
                f"{', '.join(extra)}"
            )
        return as_columns(table, name, used)


def encode_columns(
    schema: Schema, columns: Columns, dtype: DTypeLike, order: Array | None = None
) -> Array:
    """Encode the columns of a schema, each of which is dropped when it is done.

    The rows come in their order or another one. Memory is taken as the columns give
    theirs back: blocks of rows are filled column by column, and then joined.
    """
    used = [each for each in schema.columns if each.n_inputs]
    n_rows = len(next(iter(columns.values()))) if columns else 0
    starts = range(0, n_rows, _BLOCK)
    shapes = [(min(_BLOCK, n_rows - start), schema.n_inputs) for start in starts]
    blocks = [np.empty(shape, dtype, order="F") for shape in shapes]

    def fill(at: int, part: Array) -> int:
        end: int = at + part.shape[1]
        for start, block in zip(starts, blocks, strict=True):
            rows: Any = slice(start, start + _BLOCK)
            block[:, at:end] = part[rows if order is None else order[rows]]
        return end

    number, flag = 0, schema.n_numeric
    for each in used:
        values = columns.pop(each.name)
        part = np.empty((n_rows, each.n_inputs), dtype)
        n = len(each.number_names)
        each.write_numbers(values, part[:, :n])
        each.write_flags(values, part[:, n:])
        number, flag = fill(number, part[:, :n]), fill(flag, part[:, n:])
        del values, part
    out = np.empty((n_rows, schema.n_inputs), dtype)
    for start in starts:
        out[start : start + _BLOCK] = blocks.pop(0)
    return out


def check_schema(schema: Any, plan: Plan) -> None:
    """Raise an error unless the schema is None or fits the network."""
    if schema is None:
        return
    if not isinstance(schema, Schema):
        raise TypeError(f"schema must be a Schema or None, got {schema!r:.80}")
    if schema.n_inputs != plan.n_inputs:
        raise ValueError(
            f"schema has {schema.n_inputs} inputs; expected {plan.n_inputs}, those of "
            "the network"
        )
    n_classes = len(schema.target.classes) if schema.target else 0
    if n_classes and plan.n_classes != n_classes:
        raise ValueError(
            f"schema has {n_classes} classes, but the network tells "
            f"{plan.n_classes or 'none'} apart"
        )


def schema_for(X: Any, n_inputs: int) -> Schema | None:
    """Return the schema of a table that a network is fitted on; None for an array.

    Numbers are taken as they are, one input each; what else a table holds is encoded.
    """
    names = column_names(X)
    if names is None:
        return None
    columns = as_columns(X, "X")
    plain = all(column.dtype.kind in "biuf" for column in columns.values())
    if plain and len(names) == n_inputs:
        return Schema.from_table(columns, encoding="none")
    schema = Schema.from_table(columns)
    if schema.n_inputs == n_inputs:
        return schema
    if plain and not isinstance(X, Mapping):
        return None  # the wrong number of columns
    raise ValueError(
        f"X has {len(names)} columns that make {schema.n_inputs} inputs (see "
        f"fastnn.Schema.from_table); expected {n_inputs}, those of the network"
    )


def _column_from(data: Any) -> Column:
    given = _fields(Column, data)
    given["categories"] = _list(given["categories"])
    given["statistics"] = [Statistics(*_list(each)) for each in given["statistics"]]
    return Column(**given)


def _fields(cls: type[Any], data: Any) -> dict[str, Any]:
    """The values of all fields of a dataclass, and no others."""
    names = {field.name for field in fields(cls)}
    if not isinstance(data, dict) or data.keys() != names:
        raise TypeError(f"expected an object with {', '.join(sorted(names))}")
    return dict(data)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, got {short(value)}")
    return value
