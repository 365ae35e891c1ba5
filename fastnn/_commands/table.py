"""Tables with named columns: read, described, trained on, evaluated and predicted."""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._core.exchange.files import write_atomically
from fastnn._core.exchange.model_header import require_room
from fastnn._plan.column import describe_column
from fastnn._plan.labels import describe_target, encode_target
from fastnn._plan.schema import MAX_CATEGORIES, Schema, Split, encode_columns
from fastnn.datasets import train_test_split
from fastnn.datasets._reader import SUFFIXES, label_of, read_file
from fastnn.network import Network

from .data_set import Data
from .report import evaluation_of, network_sizes

if TYPE_CHECKING:
    from fastnn._base.types import Array
    from fastnn._plan.column import Column
    from fastnn._plan.labels import Target

__all__ = [
    "describe_schema",
    "evaluate_table",
    "is_table",
    "load_table",
    "predict_table",
    "write_predictions",
]

_TEST_SIZE, _SEED = 0.2, 0
_LISTED = 24  # columns, so that they and the training fit on a screen
_WIDTH = 88
_FEW = 20  # classes, which need not repeat


def is_table(path: str) -> bool:
    """Whether the name is that of a file with a table."""
    return Path(path).suffix.lower() in SUFFIXES


def load_table(
    path: str,
    *,
    label: str | None = None,
    drop: str | None = None,
    test: str | None = None,
    task: str | None = None,
    max_categories: int = MAX_CATEGORIES,
) -> Data:
    """Read and encode a table; a random fifth of the rows is held out.

    Unless there is a `test` file. The task is "classes" or "values", None: what the
    label looks like. The schema describes the training rows, and knows all classes.
    """
    file = read_file(path, has_label=True, label=label)
    columns = file.columns
    label = label_of([*columns], label, path)
    dropped = [name for name in (drop or "").split(",") if name]
    for name in dropped:
        if name not in columns or name == label:
            raise ValueError(
                f"--drop must name columns of {path} other than the label, got "
                f"{name!r}; its columns are {', '.join(columns)}"
            )
        del columns[name]
    target, y = _target_of(path, columns.pop(label), label, task)
    n_rows = len(y)
    if len(target.classes) > max(_FEW, n_rows // 2):
        raise ValueError(
            f"{path}: column {label!r} has {len(target.classes):,} different labels in "
            f"{n_rows:,} rows; expected classes that repeat (--label names the column)"
        )
    if not columns:
        raise ValueError(f"{path} has no columns but the label, {label}")
    order, n_train = (None, n_rows) if test is not None else _order(n_rows)
    training: Any = slice(None) if order is None else order[:n_train]
    described = [
        _named(path, describe_column, name, column[training], max_categories)
        for name, column in columns.items()
    ]
    share = 0.0 if order is None else _TEST_SIZE
    split = Split(_sha256(path), share, _SEED)
    schema = Schema(tuple(described), target, split=split)
    if not schema.n_inputs:
        raise ValueError(f"{path} has no column that tells rows apart")
    require_room(len(json.dumps(schema.to_dict())))  # now, not after the training
    X = _named(path, encode_columns, schema, columns, np.float32, order)
    y = y if order is None else y[order]
    rows, held_out = (X[:n_train], y[:n_train]), (X[n_train:], y[n_train:])
    if test is not None:
        held_out = _rows_of(test, schema, with_target=True)
    left_out = [f"{name} (--drop)" for name in dropped]
    if file.row_numbers is not None:
        left_out.append(f"{file.row_numbers} (without a name, numbers the rows)")
    return Data(
        Path(path).stem,
        rows,
        held_out,
        tuple(map(str, schema.target.classes)) if schema.target else (),
        has_test_part=test is not None,
        schema=schema,
        description=_description(path, schema, left_out, y),
    )


def evaluate_table(
    options: argparse.Namespace, network: Network, schema: Schema
) -> None:
    """Print how good the predictions of a file's rows are."""
    path = options.dataset
    X, y = _rows_of(path, schema, with_target=True, label=options.label)
    part = f"{len(X):,} samples, all rows of the file"
    split = schema.split
    if split is not None and split.sha256 == _sha256(path):
        if split.test_size:
            order, n_train = _order(len(X))
            X, y = X[order[n_train:]], y[order[n_train:]]
            part = f"the {len(X):,} samples that were held out in the training"
        else:
            part += ", which are those of the training"
    names = tuple(map(str, schema.target.classes)) if schema.target else ()
    evaluation = evaluation_of(network, (X, y), names)
    sizes = network_sizes(network)
    print(f"{options.model}: {sizes} on {Path(path).stem}, {part}\n")
    print(evaluation.text())


def predict_table(path: str, network: Network, schema: Schema) -> Array:
    """Return the outputs of the network, (n, n_outputs), for the rows of a file."""
    X, _ = _rows_of(path, schema)
    return network.predict_proba(X)


def write_predictions(
    output: str | None, network: Network, values: Array, with_probabilities: bool
) -> None:
    """Write what is predicted as CSV, to a file or to stdout."""
    target = network.schema.target if network.schema else None
    header = [(target and target.name) or "prediction"]
    if network.plan.loss.is_classifier:
        names = [*target.classes] if target else [*range(values.shape[1])]
        rows = [[names[label]] for label in values.argmax(axis=1)]
        if with_probabilities:
            if network.plan.output_activation == "identity":
                raise ValueError(
                    f"--proba: the loss {network.plan.loss.name} gives no probabilities"
                )
            header += [f"p({name})" for name in names]
            rows = [
                [*row, *(f"{p:.6g}" for p in each)]
                for row, each in zip(rows, values.tolist(), strict=True)
            ]
    elif with_probabilities:
        raise ValueError("--proba needs a network of classes; this one has values")
    else:
        if values.shape[1] > 1:
            header = [f"{header[0]} {j}" for j in range(values.shape[1])]
        rows = [[f"{value:.9g}" for value in row] for row in values.tolist()]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    if output is None:
        print(text.getvalue(), end="")
    else:
        write_atomically(output, text.getvalue().encode())
        print(f"{output}: {len(rows):,} predictions")


def describe_schema(schema: Schema) -> list[str]:
    """Lines on what each column is."""
    listed = schema.columns
    if len(listed) > _LISTED:
        listed = listed[: _LISTED - 1]
    names = [each.name for each in listed]
    names += [schema.target.name or "?"] if schema.target is not None else []
    width = min(30, max(map(len, names)))
    lines = [_line(each.name, width, _what(each)) for each in listed]
    rest = Counter(each.kind for each in schema.columns[len(listed) :])
    if rest:
        kinds = ", ".join(f"{n} {kind}" for kind, n in rest.items())
        lines.append(f"  and {rest.total()} more: {kinds}")
    if schema.target is not None:
        name = schema.target.name or "?"
        lines.append(_line(name, width, f"label       {_target_text(schema.target)}"))
    return lines


def _description(
    path: str, schema: Schema, left_out: list[str], y: Array
) -> tuple[str, ...]:
    n_columns = len(schema.columns)
    lines = [
        f"{path}: {len(y):,} rows, {n_columns} columns that become {schema.n_inputs} "
        "inputs",
        *describe_schema(schema),
    ]
    if left_out:
        lines.append(f"left out: {', '.join(left_out)}")
    return tuple(lines)


def _line(name: str, width: int, text: str) -> str:
    line = f"  {name[:width]:{width}}  {text}"
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 4]} ..."


def _what(column: Column) -> str:
    text = f"{column.kind:11} "
    if column.missing:
        share = f"{column.missing:.1%}" if column.missing >= 0.001 else "< 0.1%"
        text += f"{share} missing, "
    if column.kind == "numeric":
        of = column.statistics[0]
        if column.missing == 1.0:
            return f"{column.kind:11} always missing"
        if of.min == of.max:
            return f"{text}always {of.min:g}"
        return f"{text}{of.min:g} to {of.max:g}, median {of.median:g}"
    if column.kind == "date":
        days = column.statistics[0]
        first, last = (
            np.datetime64(int(day // 1), "D") for day in (days.min, days.max)
        )
        return f"{text}{first} to {last}"
    if column.kind == "boolean":
        return f"{text}true or false"
    if not column.categories:
        return f"{text}hardly any text twice: not used"
    return f"{text}{len(column.categories)}: {', '.join(column.categories)}"


def _target_text(target: Target) -> str:
    if target.classes:
        names = ", ".join(map(str, target.classes))
        return f"{len(target.classes)} classes: {names}"
    return f"a quantity, {target.min:g} to {target.max:g}, mean {target.mean:g}"


def _target_of(
    path: str, values: Array, label: str, task: str | None
) -> tuple[Target, Array]:
    target = _named(path, describe_target, values, label, task)
    return target, _named(path, encode_target, target, values, f"column {label!r}")


def _rows_of(
    path: str, schema: Schema, with_target: bool = False, label: str | None = None
) -> tuple[Array, Array]:
    """The inputs and targets of a file whose columns have the names of the schema."""
    target = schema.target
    text = {each.name for each in schema.columns if each.kind == "categorical"}
    if target is not None:
        label = label or target.name
        if target.classes and isinstance(target.classes[0], str):
            text.add(label or "")
    columns = read_file(path, has_label=with_target, label=label, text=text).columns
    y = np.zeros(0)
    if with_target:
        name = label_of([*columns], label, path)
        y = _named(path, schema.encode_target, columns[name], f"column {name!r}")
        if target is not None and name != target.name:
            del columns[name]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        X: Array = _named(path, schema.encode, columns)
    for warning in caught:
        text_of_it = str(warning.message).removeprefix("table ")
        print(f"fastnn: {path} {text_of_it}", file=sys.stderr)
    return X, y


def _named(path: str, function: Any, *arguments: Any) -> Any:
    """Call a function; an error that it raises names the file."""
    try:
        return function(*arguments)
    except (TypeError, ValueError) as error:
        text = str(error).removeprefix("table: ").removeprefix("table ")
        raise type(error)(f"{path}: {text}") from None


def _order(n_rows: int) -> tuple[Array, int]:
    """The rows of the training, then those held out; and how many the first are."""
    if n_rows < 2:
        raise ValueError("the file has 1 row; expected some to train on and to test")
    rows = np.arange(n_rows)
    train, test, _, _ = train_test_split(rows, rows, _TEST_SIZE, _SEED)
    return np.concatenate([train, test]), len(train)


def _sha256(path: str | os.PathLike[str]) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
