"""Tables from text files as people have them."""

import numpy as np
import pytest

from fastnn import datasets
from fastnn.datasets import _reader
from fastnn.datasets._reader import read_file


@pytest.fixture
def read(tmp_path):
    def read(content, name="data.csv", encoding="utf-8", **options):
        path = tmp_path / name
        path.write_bytes(content.encode(encoding))
        return read_file(path, **options)

    return read


def lists(file):
    return {name: column.tolist() for name, column in file.columns.items()}


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("a,b\n1,x\n2,y\n", {"a": [1, 2], "b": ["x", "y"]}),
        ("\ufeffa,b\r\n1,x\r\n\r\n2,y", {"a": [1, 2], "b": ["x", "y"]}),
        ("a;b\n1,5;x,y\n1.234,25;z\n", {"a": [1.5, 1234.25], "b": ["x,y", "z"]}),
        ("a\tb\n1.5\tx\n-2e3\ty\n", {"a": [1.5, -2000], "b": ["x", "y"]}),
        ('a,b\n1,"x\ny"\n2,"u, ""v"""\n', {"a": [1, 2], "b": ["x\ny", 'u, "v"']}),
        ("a, b\n 1 , x \n2,x\n", {"a": [1, 2], "b": ["x", "x"]}),
        ("# a,b\n1,2\n3,4\n", {"a": [1, 3], "b": [2, 4]}),
        ("a,a,\n1,2,3\n3,4,1\n", {"a": [1, 3], "a.1": [2, 4], "column 2": [3, 1]}),
        ('a,b\n1, "x, y"\n2,x\n', {"a": [1, 2], "b": ["x, y", "x"]}),
        ("a,b\n+1,1e400\n 2,inf\n", {"a": [1, 2], "b": [np.inf, np.inf]}),
        # no header
        ("1,x\n2,y\n", {"0": [1, 2], "1": ["x", "y"]}),
        ("1,2\n", {"0": [1], "1": [2]}),
        ("u,x\nv,y\nu,y\n", {"0": ["u", "v", "u"], "1": ["x", "y", "y"]}),
        # a header of text above text: no name is a value
        ("s,t\nv,y\nv,y\nu,y\n", {"s": ["v", "v", "u"], "t": ["y", "y", "y"]}),
        # digits that are names, and dates
        ("a,b\n007,1_0\n7,2\n", {"a": ["007", "7"], "b": ["1_0", "2"]}),
        ("a,b\n0.5,0\n-0.25,00.5\n", {"a": [0.5, -0.25], "b": ["0", "00.5"]}),
        # truth
        ("a,b\ntrue,TRUE\nFalse,\n", {"a": [True, False], "b": [True, None]}),
        ("a,b\ntrue,1\nmay,2\nmay,2\n", {"a": ["true", "may", "may"], "b": [1, 2, 2]}),
    ],
)
def test_texts(read, text, columns):
    assert lists(read(text)) == columns


def test_missing_fields(read):
    file = read("a,b,c\n1,NA,x\n,2,?\nnull,3,\n4,n/a,None\n")
    assert np.isnan(file.columns["a"]).tolist() == [False, True, True, False]
    assert np.isnan(file.columns["b"]).tolist() == [True, False, False, True]
    assert file.columns["c"].tolist() == ["x", None, None, None]
    # "None" may be the name of a class.
    file = read("a,y\n1,None\n2,\n3,some\n", has_label=True)
    assert file.columns["y"].tolist() == ["None", None, "some"]
    file = read("a,b\n1,\n2,\n")
    assert np.isnan(file.columns["b"]).all()


def test_dates(read):
    file = read("a,b,c\n2026-11-28,28.11.2026 6:05,2026-11-28\n,1.2.2026,soon\n")
    assert file.columns["a"].dtype == "datetime64[s]"
    assert np.isnat(file.columns["a"]).tolist() == [False, True]
    assert file.columns["b"].astype(str).tolist() == [
        "2026-11-28T06:05:00",
        "2026-02-01T00:00:00",
    ]
    assert file.columns["c"].tolist() == ["2026-11-28", "soon"]


def test_a_column_that_turns_out_otherwise_after_many_rows(read, monkeypatch):
    monkeypatch.setattr(_reader, "_CHUNK", 3)
    rows = [f"{i};{i};{i};{i};0" for i in range(10)]
    rows[8] = "8;x;8,5;007;1"
    file = read("a;b;c;d;y\n" + "\n".join(rows))
    numbers = [*map(str, range(10))]
    assert file.columns["a"].tolist() == [*range(10)]
    assert file.columns["b"].tolist() == [*numbers[:8], "x", "9"]
    assert file.columns["c"].tolist() == [*range(8), 8.5, 9]
    assert file.columns["d"].tolist() == [*numbers[:8], "007", "9"]


def test_row_numbers_without_a_name_are_dropped(read):
    file = read(",a,y\n0,5,u\n1,6,v\n2,5,u\n")
    assert (file.row_numbers, [*file.columns]) == ("column 0", ["a", "y"])
    file = read(",a,y\n0,5,u\n0,6,v\n")
    assert (file.row_numbers, [*file.columns]) == (None, ["column 0", "a", "y"])


def test_columns_that_are_told_to_be_text(read):
    file = read("a,b\n1,2026-01-01\n2,\n", text=["a", "b"])
    assert lists(file) == {"a": ["1", "2"], "b": ["2026-01-01", None]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("a,b\n", "has a header and no rows"),
        ("a,b\n1,2\n3,4,5\n", "row 1, counted from 0 below the header, has 3 fields"),
        ("a,b\n" + "1,2\n" * 200 + "3\n", "row 200, counted .* has 1 fields; expected"),
    ],
)
def test_errors(read, text, message):
    with pytest.raises(ValueError, match=message) as info:
        read(text)
    assert "data.csv" in str(info.value)


def test_what_is_not_text(read, tmp_path):
    with pytest.raises(ValueError, match=r"data\.csv is not a UTF-8 CSV file"):
        read("ä,ö\n1,2\n", encoding="latin-1")
    with pytest.raises(
        ValueError, match=r"data\.csv is not a UTF-8 CSV file: field lar"
    ):
        read(f"a,b\n{'x' * 200_000},2\n")
    with pytest.raises(FileNotFoundError):
        datasets.read_table(tmp_path / "none.csv")
    with pytest.raises(
        ValueError, match="label must be a column of .* 'z'; .* are a, b"
    ):
        read("a,b\n1,2\n3,4\n", has_label=True, label="z")
    with pytest.raises(ValueError, match=r"which has 2, got 2"):
        read("a,b\n1,2\n3,4\n", has_label=True, label="2")


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"a": [1, 2], "b": ["x", None]}), path)
    table = datasets.read_table(path)
    assert {k: v.tolist() for k, v in table.items()} == {"a": [1, 2], "b": ["x", None]}
    path.write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"t\.parquet is not a usable Parquet file"):
        datasets.read_table(path)
    with pytest.raises(FileNotFoundError):
        datasets.read_table(tmp_path / "none.parquet")
