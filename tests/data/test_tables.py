"""CSV and NPZ files of the user."""

import numpy as np
import pytest

from fastnn import datasets


@pytest.fixture
def csv_file(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "data.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


@pytest.mark.parametrize("label", [2**53 - 1, 2**53, -(2**53), 10**30])
def test_labels_are_whole_numbers_only_where_float64_can_count(csv_file, label):
    y = datasets.load_csv(csv_file(f"1,2,{label}\n3,4,7\n")).y
    assert y.dtype == (np.int64 if abs(label) < 2**53 else np.float64)
    assert y.tolist() == [float(label), 7]


@pytest.mark.parametrize("header", ["", "a,b,c\n"])
def test_csv_never_loses_a_row(csv_file, header):
    """A reader that takes the first row for a header trains on 59,999 images."""
    n = 60000
    body = "\n".join(f"{i},{i % 7}.5,{i % 10}" for i in range(n))
    X, y, class_names = datasets.load_csv(csv_file(header + body))
    assert X.shape == (n, 2)
    assert X[:, 0].tolist() == list(range(n))
    assert X[6, 1] == 6.5
    assert y.dtype == np.int64
    assert y.tolist() == [i % 10 for i in range(n)]
    assert class_names is None


@pytest.mark.parametrize(
    ("text", "X", "y", "names"),
    [
        # header, class names in the last column
        ("a,b,kind\n1,2,rose\n3,4,lily\n", [[1, 2], [3, 4]], [1, 0], ("lily", "rose")),
        # no header, class names: the first row is data
        ("1,2,rose\n3,4,lily\n", [[1, 2], [3, 4]], [1, 0], ("lily", "rose")),
        # no header, a class "A" above a class "7"
        ("1,2,A\n3,4,7\n", [[1, 2], [3, 4]], [1, 0], ("7", "A")),
        # no header, y is a class
        ("1,2,y\n3,4,n\n", [[1, 2], [3, 4]], [1, 0], ("n", "y")),
        ("1,2,y\n3,4,0\n", [[1, 2], [3, 4]], [1, 0], ("0", "y")),
        # the label column is named, in any case
        ("Label,p0,p1\n5,1,2\n6,3,4\n", [[1, 2], [3, 4]], [5, 6], None),
        ("a,CLASS,b\n1,5,2\n3,6,4\n", [[1, 2], [3, 4]], [5, 6], None),
        ("a,target,b\n1,5,2\n3,6,4\n", [[1, 2], [3, 4]], [5, 6], None),
        ("a,y,b\n1,5,2\n3,6,4\n", [[1, 2], [3, 4]], [5, 6], None),
        ("y,label,b\n1,5,2\n3,6,4\n", [[1, 2], [3, 4]], [5, 6], None),
        # features named by numbers, the label by a word
        ("0,1,label\n1,2,5\n3,4,6\n", [[1, 2], [3, 4]], [5, 6], None),
        # what np.savetxt(header=...) writes
        ("# label,a,b\n5,1,2\n6,3,4\n", [[1, 2], [3, 4]], [5, 6], None),
        # one row
        ("1,2,3\n", [[1, 2]], [3], None),
        ("1,2,cat\n", [[1, 2]], [0], ("cat",)),
        # blank lines, carriage returns, no newline at the end, spaces, quotes
        ("\n1,2,3\r\n\r\n4,5,6", [[1, 2], [4, 5]], [3, 6], None),
        ("\na, b ,c\n\n1, 2 , 3\n4,5,6", [[1, 2], [4, 5]], [3, 6], None),
        (
            '"a","b","c"\n"1","2","x, y"\n3,4,z\n',
            [[1, 2], [3, 4]],
            [0, 1],
            ("x, y", "z"),
        ),
        # other delimiters
        ("a;b;c\n1;2;3\n", [[1, 2]], [3], None),
        ("1\t2\t3\n", [[1, 2]], [3], None),
        # labels that are whole numbers, and that are not
        ("1,2.0\n3,-4\n", [[1], [3]], [2, -4], None),
        ("1,2.5\n3,4\n", [[1], [3]], [2.5, 4.0], None),
    ],
)
def test_csv(csv_file, text, X, y, names):
    table = datasets.load_csv(csv_file(text))
    assert table.X.tolist() == X
    assert table.y.tolist() == y
    assert table.class_names == names
    assert table.X.dtype == np.float64
    assert table.y.dtype == (np.float64 if 2.5 in y else np.int64)


def test_csv_options(csv_file):
    path = csv_file("0,1,2\n5,6,7\n")  # column names that are numbers, or a row?
    assert datasets.load_csv(path).X.tolist() == [[0, 1], [5, 6]]
    assert datasets.load_csv(path, header=True).X.tolist() == [[5, 6]]
    assert datasets.load_csv(path, header=True, label="0").y.tolist() == [5]
    assert datasets.load_csv(path, label=0).y.tolist() == [0, 5]
    assert datasets.load_csv(path, label=-2).X.tolist() == [[0, 2], [5, 7]]
    path = csv_file("\ufeffcat,label\n1,2\n")  # a byte order mark, as Excel writes
    assert datasets.load_csv(path, label="cat").y.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "is empty"),
        ("\n \n", {}, "is empty"),
        ("a,b\n", {}, "has a header and no rows"),
        ("1\n2\n", {}, "expected at least 2 columns, found 1"),
        ("1,2,3\n4,5\n", {}, "columns changed from 3 to 2"),
        ("1,2,3\n4,5,6,7\n", {}, "columns changed from 3 to 4"),
        ("a,b\n1,2,3\n", {}, "the header has 2 columns, the rows 3"),
        ("1,2,3\n4,x,6\n", {}, "'x'"),
        ("red,2,3\nblue,5,6\n", {}, "'red'"),  # not mistaken for a header
        ("a,b,c\n1,,3\n", {}, "could not convert"),
        ("1,2\n3,\n", {}, "row 1, counted from 0, has no label"),
        ("1,2\n3,nan\n", {}, "row 1, counted from 0, has label nan"),
        ("1,2\n3,4\n", {"label": 2}, "label must be a column of .* got 2"),
        ("1,2\n3,4\n", {"label": "a"}, "got 'a'; its columns are not named"),
        ("a,b\n3,4\n", {"label": "c"}, "got 'c'; its columns are a, b"),
    ],
)
def test_csv_errors(csv_file, text, options, message):
    with pytest.raises(ValueError, match=message) as info:
        datasets.load_csv(csv_file(text), **options)
    assert "data.csv" in str(info.value)


def test_csv_that_is_not_text(csv_file, tmp_path):
    with pytest.raises(ValueError, match=r"data\.csv is not a UTF-8 CSV file"):
        datasets.load_csv(csv_file("ä,ö\n", "latin-1"))
    with pytest.raises(FileNotFoundError):
        datasets.load_csv(tmp_path / "none.csv")
    with pytest.raises(FileNotFoundError):  # and nothing is fetched
        datasets.load_csv("http://127.0.0.1:9/data.csv")


# --- load_npz -------------------------------------------------------------------------


@pytest.mark.parametrize("upper", [True, False])
def test_npz_with_a_test_part(tmp_path, upper):
    x = "X" if upper else "x"
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (7, 4, 5), np.uint8)
    labels = np.arange(7, dtype=np.uint8)
    arrays = {f"{x}_train": images[:5], "y_train": labels[:5]}
    arrays |= {f"{x}_test": images[5:], "y_test": labels[5:], "extra": labels}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    data = datasets.load_npz(tmp_path / "a.npz")
    assert isinstance(data, datasets.Dataset)
    assert np.array_equal(data.X_train, images[:5].reshape(5, 20))
    assert np.array_equal(data.X_test, images[5:].reshape(2, 20))
    assert data.X_train.dtype == np.uint8
    assert data.y_train.dtype == np.int64
    assert data.y_test.tolist() == [5, 6]


def test_npz_without_a_test_part(tmp_path):
    X, y = np.ones((3, 2), np.float32), np.array([0.5, 1.0, 2.0])
    np.savez(tmp_path / "a.npz", X=X, y=y)
    table = datasets.load_npz(str(tmp_path / "a.npz"))
    assert isinstance(table, datasets.Table)
    assert table.X.dtype == np.float32
    assert table.y.tolist() == [0.5, 1.0, 2.0]
    assert table.class_names is None


def test_npz_errors(tmp_path):
    path = tmp_path / "a.npz"

    def fails(message):
        with pytest.raises(ValueError, match=message) as info:
            datasets.load_npz(path)
        assert "a.npz" in str(info.value)

    np.savez(path, X=np.zeros((3, 2)), target=np.zeros(3))
    fails("it holds X, target; expected X_train, y_train, X_test, y_test or X, y")
    np.savez(path, X=np.zeros((3, 2)), y=np.zeros(2))
    fails(r"X must have one sample per row .* got shapes \(3, 2\) and \(2,\)")
    np.savez(path, X=np.zeros(3), y=np.zeros(3))
    fails("X must have one sample per row")
    np.savez(path, X=np.array([[{}]], object), y=np.zeros(1))
    fails("allow_pickle=False")
    with open(path, "wb") as stream:
        np.save(stream, np.zeros(3))
    fails("it holds one array without a name")
    np.savez(path, X=np.zeros((300, 2)), y=np.zeros(300))
    path.write_bytes(path.read_bytes()[:-30])
    fails("not a usable NPZ file")
    for content in (b"", b"PK\x03\x04", b"nonsense"):
        path.write_bytes(content)
        fails("not a usable NPZ file")
    with pytest.raises(FileNotFoundError):
        datasets.load_npz(tmp_path / "none.npz")


def test_npz_with_a_flipped_bit(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, X=np.zeros((300, 2)), y=np.zeros(300))
    content = bytearray(path.read_bytes())
    content[2000] ^= 1  # within the values of X
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a usable NPZ file"):
        datasets.load_npz(path)
