"""A model's knowledge of its table: made from any library, matched by name."""

import datetime
import json

import numpy as np
import pytest

import fastnn
from fastnn import ModelFormatError, Schema
from fastnn._plan.schema import Column, Statistics, Target
from fastnn._plan.tables import as_columns

ROWS = {
    "whole": [1, 2, 3],
    "number": [1.5, None, 2.5],
    "truth": [True, False, True],
    "maybe": [True, None, False],
    "text": ["a", None, "c"],
    "day": [datetime.date(2024, 1, 1), None, datetime.date(2024, 2, 3)],
    "time": [
        datetime.datetime(2024, 1, 1, 12, 30),
        None,
        datetime.datetime(2024, 2, 3),
    ],
}


def pandas(rows):
    return pytest.importorskip("pandas").DataFrame(rows)


def pandas_nullable(rows):
    return pandas(rows).convert_dtypes()


def pandas_arrow(rows):
    pytest.importorskip("pyarrow")
    return pandas(rows).convert_dtypes(dtype_backend="pyarrow")


def polars(rows):
    return pytest.importorskip("polars").DataFrame(rows)


def pyarrow(rows):
    return pytest.importorskip("pyarrow").table(rows)


class Stream:
    """A table of which nothing is known but the Arrow stream."""

    def __init__(self, rows):
        self._table = pyarrow(rows)

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


class Interchange:
    """A table of which nothing is known but the dataframe interchange protocol."""

    def __init__(self, rows):
        rows = {k: v for k, v in rows.items() if k not in ("maybe", "day")}
        self._table = pyarrow(rows)

    def __dataframe__(self, **options):
        return self._table.__dataframe__(**options)


def same(a, b):
    if a.dtype.kind == "O":
        return a.tolist() == b.tolist()
    return a.dtype.kind == b.dtype.kind and np.array_equal(
        a, b, equal_nan=a.dtype.kind in "fM"
    )


@pytest.mark.parametrize(
    "library",
    [pandas, pandas_nullable, pandas_arrow, polars, pyarrow, Stream, Interchange],
)
def test_a_table_of_any_library_is_the_same(library):
    expected = as_columns(ROWS)
    columns = as_columns(library(ROWS))
    assert {*columns} <= {*expected}
    assert len(columns) >= 5
    for name, column in columns.items():
        assert same(column, expected[name]), (name, column)
        assert len(column) == 3


def test_categories_of_the_libraries():
    pd = pytest.importorskip("pandas")
    pl = pytest.importorskip("polars")
    pa = pytest.importorskip("pyarrow")
    values = ["x", None, "y"]
    tables = [
        pd.DataFrame({"c": pd.Categorical(values)}),
        pl.DataFrame({"c": pl.Series(values, dtype=pl.Categorical)}),
        pl.DataFrame({"c": pl.Series(values, dtype=pl.Enum(["y", "x"]))}),
        pa.table({"c": pa.array(values).dictionary_encode()}),
    ]
    for table in tables:
        assert as_columns(table)["c"].tolist() == values
    # Numbers that are said to be categories are categories.
    table = pd.DataFrame({"c": pd.Categorical([3, None, 1])})
    assert as_columns(table)["c"].tolist() == ["3", None, "1"]
    zoned = pd.DataFrame(
        {"t": pd.to_datetime(["2024-01-01"]).tz_localize("Asia/Tokyo")}
    )
    assert as_columns(zoned)["t"][0] == np.datetime64("2023-12-31T15:00:00")


def test_numpy_tables():
    rows = np.array([(1, 2.5), (3, 4.5)], dtype=[("a", int), ("b", float)])
    assert [*as_columns(rows)] == ["a", "b"]
    matrix = as_columns(np.arange(6).reshape(3, 2))
    assert matrix["x1"].tolist() == [1, 3, 5]
    for bad in ("file.csv", np.zeros(3), np.zeros((2, 2, 2)), 7):
        with pytest.raises(TypeError, match="expected a table with named columns"):
            as_columns(bad)
    with pytest.raises(TypeError, match="column 'a' holds complex"):
        as_columns({"a": [1j, 2j]})
    with pytest.raises(ValueError, match=r"different lengths: \{'a': 1, 'b': 2\}"):
        as_columns({"a": [1], "b": [1, 2]})


def test_several_columns_of_one_name():
    pd = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match="several columns named 'a'"):
        Schema.from_table(pd.DataFrame(np.eye(2), columns=["a", "a"]))


def table_of(n=200, seed=0):
    rng = np.random.default_rng(seed)
    age = rng.normal(40, 12, n)
    age[:5] = np.nan
    days = np.datetime64("2020-01-01") + rng.integers(0, 2000, n)
    return {
        "city": np.array(["Rome", "Oslo", "Bonn"], dtype=object)[rng.integers(0, 3, n)],
        "age": age,
        "since": days.astype("datetime64[s]"),
        "vip": rng.random(n) < 0.5,
        "plan": np.array(["a", "b"], dtype=object)[rng.integers(0, 2, n)],
        "constant": np.full(n, 7),
        "y": np.array(["no", "yes"], dtype=object)[rng.integers(0, 2, n)],
    }


def test_the_encoding_by_hand():
    table = table_of()
    schema = Schema.from_table(table, label="y")
    assert schema.input_names == (
        "age", "since.days", "since.year", "since.month", "since.weekday", "constant",
        "city=Bonn", "city=Oslo", "city=Rome", "age is missing", "vip", "plan=a|b",
    )  # fmt: skip
    assert schema.n_numeric == 6
    assert schema.n_inputs == 12
    X = schema.encode(table, "float64")
    assert X.dtype == np.float64
    age = table["age"]
    q25, q50, q75 = np.nanquantile(age, [0.25, 0.5, 0.75])
    u = (age - q50) / (q75 - q25)
    expected = np.where(np.isnan(age), 0.0, u / np.sqrt(1 + (u / 3) ** 2))
    np.testing.assert_allclose(X[:, 0], expected, rtol=1e-14)
    assert X[:, 5].tolist() == [0.0] * 200
    for j, city in enumerate(["Bonn", "Oslo", "Rome"]):
        assert (X[:, 6 + j] == (table["city"] == city)).all()
    assert (X[:, 9] == np.isnan(age)).all()
    assert (X[:, 10] == np.where(table["vip"], 1, -1)).all()
    assert (X[:, 11] == np.where(table["plan"] == "a", 1, -1)).all()
    assert schema.encode(table).dtype == np.float32
    assert abs(schema.encode(table)).max() <= 3.0


def test_numbers_whose_quartiles_are_equal():
    schema = Schema.from_table({"a": [0.0] * 8 + [4.0]})
    u = np.array([0.0, 2.0, 4.0])  # 2 / (max - min) is 1/2
    expected = u / np.sqrt(1 + (u / 3) ** 2)
    found = schema.encode({"a": [0, 4, 8]}, "float64")[:, 0]
    np.testing.assert_allclose(found, expected)
    # As extreme as numbers are: the limit, not NaN.
    wide = Schema.from_table({"a": [-1.0, 0.0, 1.0, 2.0]})
    assert np.isfinite(wide.encode({"a": [1e308, -1e308]})).all()
    huge = Schema.from_table({"a": [-1.7e308, 0.0, 1.7e308]})
    assert np.isfinite(huge.encode({"a": [1.7e308]})).all()


def test_dates_are_taken_apart():
    table = {"t": ["2024-02-29 06:00", "1969-12-31", None, "29.02.2024"]}
    schema = Schema.from_table(table)
    (column,) = schema.columns
    assert column.kind == "date"
    assert column.missing == 0.25
    days, year, month, weekday, hour = column.statistics
    assert (days.min, days.max) == (-1, 19782.25)
    assert (year.min, year.max, month.min, month.max) == (1969, 2024, 2, 12)
    assert (weekday.min, weekday.max) == (2, 3)  # Wednesday and Thursday
    assert (hour.min, hour.max) == (0, 6)
    X = schema.encode({"t": ["2024/02/29 06:00:00", None]}, "float64")
    assert X.shape == (2, 6)
    assert X[1].tolist() == [0, 0, 0, 0, 0, 1]
    # Text that looks like dates but for one is text.
    assert Schema.from_table({"t": ["2024-02-30", "2024-02-28"]}).columns[0].kind == (
        "categorical"
    )
    with pytest.raises(
        ValueError, match=r"column 't', row 1 is 'soon'; expected a dat"
    ):
        schema.encode({"t": ["2024-01-01", "soon"]})
    with pytest.raises(ValueError, match=r"column 't', row 0 is 7; expected a date"):
        schema.encode({"t": [7]})


def test_columns_are_matched_by_name():
    table = table_of()
    schema = Schema.from_table(table, label="y")
    X = schema.encode(table)
    swapped = {name: table[name] for name in reversed(table)}
    assert (schema.encode(swapped) == X).all()
    pd = pytest.importorskip("pandas")
    assert (schema.encode(pd.DataFrame(swapped)) == X).all()
    del swapped["city"], swapped["age"]
    with pytest.raises(ValueError, match="X has no column 'city', 'age'; it has y, "):
        schema.encode(swapped, name="X")
    # The target may be there; what else is there is told.
    with pytest.warns(UserWarning, match="does not know, which are ignored: b, c"):
        more = schema.encode({"b": [1] * 200, **table, "c": [2] * 200})
    assert (more == X).all()


def test_unknown_categories_count_as_missing():
    schema = Schema.from_table({"a": ["u", "v", "w"], "b": ["x", "y", "x"]})
    X = schema.encode({"a": ["new", None, "v"], "b": ["y", "new", None]})
    assert X.tolist() == [[0, 0, 0, -1], [0, 0, 0, 0], [0, 1, 0, 0]]


def test_values_of_another_type_than_in_training():
    schema = Schema.from_table({"n": [1.0, 2.0], "c": ["1", "b"], "t": [True, False]})
    X = schema.encode({"n": ["2", None], "c": [1.0, 2.0], "t": ["FALSE", None]})
    same_rows = {"n": [2.0, np.nan], "c": ["1", None], "t": [False, None]}
    assert (X == schema.encode(same_rows)).all()
    assert X[0, 1] == 1.0
    with pytest.raises(
        ValueError, match=r"column 'n', row 1 is 'x'; expected a number"
    ):
        schema.encode({**same_rows, "n": ["2", "x"]})
    with pytest.raises(
        ValueError, match=r"column 'n', row 0 is inf; expected a finite"
    ):
        schema.encode({**same_rows, "n": [np.inf, 1]})
    with pytest.raises(ValueError, match=r"column 't', row 1 is 'x'; expected true or"):
        schema.encode({**same_rows, "t": ["true", "x"]})


def test_many_categories():
    letters = [*"abc" * 30, *map(str, range(30))]
    few = Schema.from_table({"a": letters}, max_categories=3)
    assert few.columns[0].categories == ("a", "b", "c")
    names = Schema.from_table({"a": [*map(str, range(30)), "1"], "b": range(31)})
    assert names.columns[0].categories == ()
    assert names.input_names == ("b",)
    assert names.encode({"b": [15]}).shape == (1, 1)  # "a" need not be there


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["yes", "no", "yes"], ("no", "yes")),
        ([True, False, True], (False, True)),
        ([-1, 1, 1], (-1, 1)),
        ([3.0, 5.0, 3.0], (3, 5)),
        (["10", "9", "9"], ("10", "9")),  # text is compared as text
        (["01", "1", "1"], ("01", "1")),
        ([*range(30)] * 100, tuple(range(30))),
    ],
)
def test_classes(values, classes):
    n = len(values)
    table = {"a": range(n), "y": values}
    schema = Schema.from_table(table, label="y")
    assert schema.target == Target("y", classes)
    labels = schema.encode_target(values)
    assert labels.dtype == np.int64
    assert [classes[label] for label in labels] == values
    assert (schema.encode_target(table) == labels).all()
    assert schema.decode(labels).tolist() == values
    p = np.eye(len(classes))[labels]
    assert schema.decode(p).tolist() == values


def test_numbers_as_targets():
    y = np.arange(50.0) ** 1.5
    schema = Schema.from_table({"a": range(50), "y": y}, label="y")
    target = schema.target
    assert target.classes == ()
    assert (target.mean, target.deviation) == (y.mean(), y.std())
    assert (target.min, target.max) == (0, y[-1])
    assert (schema.encode_target(y) == y).all()
    assert schema.decode(y[:, None]).shape == (50,)
    few = {"a": [1, 2, 3], "y": [3, 4, 3]}
    assert Schema.from_table(few, "y").target.classes == (3, 4)
    assert Schema.from_table(few, "y", task="values").target.max == 4
    halves = {"a": [1, 2], "y": [0.5, 1.5]}
    assert Schema.from_table(halves, "y").target.classes == ()
    assert Schema.from_table(halves, "y", task="classes").target.classes == (0.5, 1.5)


@pytest.mark.parametrize("largest", [2**53 - 1, 2**53, 2**60])
def test_classes_are_counted_only_where_float64_can_count(largest):
    # From 2**53 on it takes neighbours for one another.
    table = {"a": range(40), "y": [largest, 0] * 20}
    classes = (0, largest) if largest < 2**53 else ()
    assert Schema.from_table(table, "y").target.classes == classes


def test_errors_of_targets():
    table = {"a": [1, 2], "y": ["u", "v"]}
    schema = Schema.from_table(table, label="y")
    with pytest.raises(
        ValueError, match=r"y, row 1 is 'w'; expected one of the classes "
    ):
        schema.encode_target(["u", "w"])
    with pytest.raises(ValueError, match="y, row 0 is missing; expected one of the cl"):
        schema.encode_target([None, "v"])
    with pytest.raises(ValueError, match="y has no column 'y'; it has a"):
        schema.encode_target({"a": [1, 2]})
    with pytest.raises(ValueError, match="predicted has labels from 0 to 2; expected"):
        schema.decode([0, 2])
    with pytest.raises(ValueError, match="'y', row 1 is missing; expected a target"):
        Schema.from_table({"a": [1, 2], "y": ["u", None]}, label="y")
    with pytest.raises(ValueError, match="'y', row 0 is 'u'; expected a number"):
        Schema.from_table(table, label="y", task="values")
    with pytest.raises(ValueError, match="label is 'z'; expected one of the columns a"):
        Schema.from_table(table, label="z")
    with pytest.raises(ValueError, match="drop is 'z'; expected one of the columns a"):
        Schema.from_table(table, label="y", drop=["z"])
    with pytest.raises(ValueError, match="no columns that are inputs"):
        Schema.from_table(table, label="y", drop=["a"])
    with pytest.raises(ValueError, match="the schema has no target"):
        Schema.from_table(table).encode_target(["u"])


def test_inputs_as_they_are():
    table = {"a": np.array([1, 2], np.uint8), "b": np.array([True, False])}
    schema = Schema.from_table(table, encoding="none")
    assert schema.input_names == ("a", "b")
    assert schema.n_numeric == 2
    assert schema.encode({**table, "a": [5, 6]}).tolist() == [[5, 1], [6, 0]]
    with pytest.raises(ValueError, match="column 'c' is categorical; expected numbers"):
        Schema.from_table({"c": ["x", "y"]}, encoding="none")


def test_a_schema_is_data():
    schema = Schema.from_table(table_of(), label="y")
    data = json.loads(json.dumps(schema.to_dict()))
    assert Schema.from_dict(data) == schema
    assert hash(schema) == hash(Schema.from_dict(data))
    assert fastnn.datasets.Schema is Schema


def changed(data, *keys, to):
    copy = json.loads(json.dumps(data))
    place = copy
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = to
    return copy


@pytest.mark.parametrize(
    ("keys", "to"),
    [
        (["columns"], {}),
        (["columns"], []),
        (["columns", 0], 3),
        (["columns", 0, "name"], 3),
        (["columns", 0, "name"], "age"),  # twice
        (["columns", 0, "kind"], "numeric"),
        (["columns", 0, "kind"], "python"),
        (["columns", 0, "categories"], "abc"),
        (["columns", 0, "categories"], ["a", "a"]),
        (["columns", 0, "categories"], ["a", 1]),
        (["columns", 0, "missing"], 2.0),
        (["columns", 0, "missing"], "0"),
        (["columns", 1, "statistics"], []),
        (["columns", 1, "statistics", 0], [0.0] * 6),
        (["columns", 1, "statistics", 0], [0.0] * 8),
        (["columns", 1, "statistics", 0, 0], float("nan")),
        (["columns", 1, "statistics", 0, 0], 1e9),
        (["columns", 1, "more"], 1),
        (["target", "classes"], ["a", 1]),
        (["target", "classes"], [["a"]]),
        (["target", "classes"], ["a", "a"]),
        (["target", "deviation"], -1.0),
        (["target"], 3),
        (["split"], {"sha256": "a" * 63, "test_size": 0.2, "seed": 0}),
        (["split"], {"sha256": "a" * 64, "test_size": 1.0, "seed": 0}),
        (["split"], {"sha256": "a" * 64, "test_size": 0.2, "seed": -1}),
        (["split"], {"sha256": "a" * 64, "test_size": 0.2}),
        (["encoding"], "none"),
        (["encoding"], "own"),
        (["more"], 1),
    ],
)
def test_schemas_that_fastnn_does_not_write(keys, to):
    data = Schema.from_table(table_of(), label="y").to_dict()
    with pytest.raises(ModelFormatError, match="schema: "):
        Schema.from_dict(changed(data, *keys, to=to))


def test_specs_check_themselves():
    with pytest.raises(ValueError, match="must be in order"):
        Statistics(0, 1, 2, 3, 4, 5, 6)
    with pytest.raises(ValueError, match="numeric column 'a' has 0 statistics"):
        Column("a", "numeric")
    with pytest.raises(TypeError, match="must be a str, got 3"):
        Column(3, "boolean")
    with pytest.raises(TypeError, match="all of str, int, float or bool"):
        Target("y", (1, "a"))
