"""IDX files of any name: `load_idx`."""

import gzip
import tracemalloc

import numpy as np
import pytest

from fastnn import datasets

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def idx(array):
    code = CODES[array.dtype.str[1:]]
    header = np.array([code << 8 | array.ndim, *array.shape], ">u4").tobytes()
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


IMAGES = np.random.default_rng(0).integers(0, 256, (7, 5, 4)).astype("u1")


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("shape", [(7,), (7, 5), (7, 5, 4), (0, 5, 4)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_every_type(dtype, shape, pack, tmp_path):
    array = np.random.default_rng(0).normal(size=shape) * 50
    array = array.astype(dtype) if dtype != "u1" else np.abs(array).astype("u1")
    path = tmp_path / "emnist-letters.anything"
    path.write_bytes(pack(idx(array)))
    found = datasets.load_idx(path)
    assert found.dtype == array.dtype
    assert found.dtype.isnative
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array)
    np.testing.assert_array_equal(datasets.load_idx(str(path)), array)


def header(*shape, code=8):
    return np.array([code << 8 | len(shape), *shape], ">u4").tobytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no IDX file: begins with b''"),
        (b"PK\3\4", "is no IDX file: begins with"),
        (header(3, code=10) + b"abc", "is no IDX file"),
        (idx(IMAGES)[:-1], "has 139 bytes of values; expected 140, of shape .7, 5, 4."),
        (idx(IMAGES) + b"1", "has more bytes of values; expected 140"),
        (idx(IMAGES)[:10], "has 0 bytes of values; expected 7"),
        (gzip.compress(idx(IMAGES))[:-9], "is damaged"),
        (header(*[2**32 - 1] * 3), ".* expected 7922816"),
        (gzip.compress(header(2**31, 2**31) + bytes(10**5)), ".* expected 46116860"),
    ],
    ids=range(9),
)
def test_damaged_files(content, message, tmp_path):
    path = tmp_path / "some-file"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=rf"some-file {message}"):
            datasets.load_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()


def test_a_network_learns_from_such_files(tmp_path):
    from fastnn import Network

    (tmp_path / "x").write_bytes(idx(IMAGES))
    (tmp_path / "y").write_bytes(idx(np.arange(7).astype("u1") % 3))
    X, y = (datasets.load_idx(tmp_path / name) for name in "xy")
    net = Network([20, 8, 3], input_scale=1 / 255, seed=0)
    net.fit(X.reshape(7, -1), y, epochs=2, verbose=0)


def test_a_file_that_promises_much_takes_little(tmp_path):
    path = tmp_path / "images"
    path.write_bytes(bytes([0, 0, 8, 1, 0x30, 0, 0, 0]) + bytes(1000))
    tracemalloc.start()
    with pytest.raises(ValueError, match="has 1000 bytes of values"):
        datasets.load_idx(path)
    assert tracemalloc.get_traced_memory()[1] < 200_000
    tracemalloc.stop()
