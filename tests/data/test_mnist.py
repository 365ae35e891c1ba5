"""MNIST's cache: bad bytes never come back, and every failure says what to do."""

import gzip
import hashlib
import http.server
import os
import socket
import sys
import threading
import time
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastnn import datasets
from fastnn.datasets import _mnist

FOLDER = os.environ.get("FASTNN_DATA")  # the fixture below unsets it
needs_data = pytest.mark.skipif(
    not FOLDER,
    reason="set FASTNN_DATA to a folder that holds MNIST (see datasets.mnist)",
)


def idx(array, magic=None):
    header = np.array([magic or 0x0800 + array.ndim, *array.shape], ">u4")
    return header.tobytes() + array.astype(np.uint8).tobytes()


RNG = np.random.default_rng(0)
ARRAYS = {
    "train-images-idx3-ubyte": RNG.integers(0, 256, (50, 8, 9)),
    "train-labels-idx1-ubyte": np.arange(50) % 10,
    "t10k-images-idx3-ubyte": RNG.integers(0, 256, (20, 8, 9)),
    "t10k-labels-idx1-ubyte": np.arange(20)[::-1] % 10,
}
PAYLOADS = {name: idx(array) for name, array in ARRAYS.items()}
PACKED = {name: gzip.compress(payload) for name, payload in PAYLOADS.items()}
IMAGES = "train-images-idx3-ubyte"


def make_source(mirrors=(), payloads=PAYLOADS):
    files = [
        _mnist.IdxFile(name, ARRAYS[name].shape, hashlib.sha256(payload).hexdigest())
        for name, payload in payloads.items()
    ]
    return _mnist.Source("tiny", tuple(mirrors), tuple(files))


def is_right(data):
    images, labels, test_images, test_labels = ARRAYS.values()
    return (
        np.array_equal(data.X_train, images.reshape(50, 72))
        and np.array_equal(data.y_train, labels)
        and np.array_equal(data.X_test, test_images.reshape(20, 72))
        and np.array_equal(data.y_test, test_labels)
        and data.X_train.dtype == np.uint8
        and data.y_train.dtype == np.int64
    )


def fill(folder, files=PACKED, suffix=".gz"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}{suffix}").write_bytes(content)
    return folder


def flip(content, position):
    changed = bytearray(content)
    changed[position] ^= 4
    return bytes(changed)


def bomb():
    """64 MB of zeros in 64 kB: below the limit on the size of the file itself."""
    packer = zlib.compressobj(9, wbits=31)
    block = bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(64)) + packer.flush()


GOOD = PACKED[IMAGES]
BAD_FILES = {
    "empty": b"",
    "truncated": GOOD[: len(GOOD) // 2],
    "last byte missing": GOOD[:-1],
    "flipped bit in the gzip header": flip(GOOD, 2),
    "flipped bit in the data": flip(GOOD, len(GOOD) // 2),
    "flipped bit in the gzip checksum": flip(GOOD, -6),
    "another file": gzip.compress(flip(PAYLOADS[IMAGES], 100)),
    "short payload": gzip.compress(PAYLOADS[IMAGES][:-1]),
    "long payload": gzip.compress(PAYLOADS[IMAGES] + b"\0"),
    "not compressed, flipped bit": flip(PAYLOADS[IMAGES], 200),
    "not compressed, truncated": PAYLOADS[IMAGES][:500],
    "gzip bomb": bomb(),
    "huge": bytes(1 << 20),
    "web page": b"<html>Please log in</html>",
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own, not created yet; no FASTNN_DATA, no proxy."""
    monkeypatch.delenv("FASTNN_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "cache" / "tiny"
    monkeypatch.setattr(_mnist, "_cache_folder", lambda name: folder.with_name(name))
    return folder


class Mirror(http.server.ThreadingHTTPServer):
    """Serves `files` under /good/, and what `bad` says under /bad/."""

    daemon_threads = False
    bad = staticmethod(lambda handler, name: handler.send_error(404))

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = []
        self.client_left = threading.Event()  # before the end
        url = f"http://127.0.0.1:{self.server_port}"
        self.good_url, self.bad_url = f"{url}/good/", f"{url}/bad/"


class Handler(http.server.BaseHTTPRequestHandler):
    timeout = 5  # so that a client that neither reads nor leaves cannot hang the tests

    def do_GET(self):
        self.server.requests.append(self.path)
        _, kind, name = self.path.split("/")
        if kind == "good":
            self.send_bytes(PACKED[name.removesuffix(".gz")])
        else:
            self.server.bad(self, name)

    def send_bytes(self, content, length=None):
        self.send_response(200)
        self.send_header("Content-Length", str(length or len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def mirror():
    pytest.importorskip("pooch", reason="downloads need pooch (extra: data)")
    with Mirror() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def dead_url():
    """An address where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return f"http://127.0.0.1:{port}/"


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


ALL_CACHED = sorted(f"{name}.gz" for name in PACKED)


# --- a folder of the user -------------------------------------------------------------


@pytest.mark.parametrize("sub", ["", "tiny", "MNIST/raw"])
@pytest.mark.parametrize("setting", ["folder", "FASTNN_DATA"])
@pytest.mark.parametrize("kind", ["gz", "plain", "mixed"])
def test_folder(tmp_path, monkeypatch, sub, setting, kind):
    folder = tmp_path / "user"
    if kind != "gz":
        fill(folder / sub, PAYLOADS, "")
    if kind != "plain":
        fill(folder / sub)
    if kind == "mixed":
        (folder / sub / IMAGES).unlink()
    if setting == "folder":
        monkeypatch.setenv("FASTNN_DATA", str(tmp_path / "ignored"))
        assert is_right(_mnist.load(make_source(), str(folder)))
    else:
        monkeypatch.setenv("FASTNN_DATA", str(folder))
        assert is_right(_mnist.load(make_source()))


@pytest.mark.parametrize("setting", ["folder", "FASTNN_DATA"])
def test_folder_without_the_set_is_an_error(
    tmp_path, cache, mirror, monkeypatch, setting
):
    fill(cache)  # neither the cache nor a mirror is tried instead
    folder = fill(tmp_path / "user")
    (folder / f"{IMAGES}.gz").unlink()
    argument = folder if setting == "folder" else None
    if argument is None:
        monkeypatch.setenv("FASTNN_DATA", str(folder))
    with pytest.raises(FileNotFoundError) as info:
        _mnist.load(make_source([mirror.good_url]), argument)
    for text in (setting, f"{IMAGES}[.gz]", str(folder), str(folder / "tiny")):
        assert text in str(info.value)
    assert mirror.requests == []


def test_empty_fastnn_data_is_not_set(cache, monkeypatch):
    monkeypatch.setenv("FASTNN_DATA", "")
    fill(cache)
    assert is_right(_mnist.load(make_source()))


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_file_in_a_folder_is_named_and_kept(tmp_path, case):
    folder = fill(tmp_path / "user")
    path = folder / f"{IMAGES}.gz"
    path.write_bytes(BAD_FILES[case])
    source = make_source()
    with pytest.raises(ValueError, match="is not the expected file") as info:
        _mnist.load(source, folder)
    assert str(path) in str(info.value)
    assert source.files[0].sha256 in str(info.value)
    assert path.read_bytes() == BAD_FILES[case]


@pytest.mark.parametrize(
    ("case", "found"),
    [
        ("empty", "found 0 bytes"),
        ("truncated", "found a damaged gzip file"),
        ("short payload", f"found {len(PAYLOADS[IMAGES]) - 1} bytes"),
        ("gzip bomb", "found more bytes"),
        ("huge", "found a file of 1048576 bytes"),
        ("another file", "found sha256 [0-9a-f]{64}$"),
    ],
)
def test_what_was_found_is_told(tmp_path, case, found):
    path = tmp_path / "images.gz"
    path.write_bytes(BAD_FILES[case])
    with pytest.raises(ValueError, match=found):
        _mnist.read_payload(path, make_source().files[0])


def test_every_flipped_bit_of_a_file_is_found(tmp_path):
    """Or does no harm, as in the time stamp of the gzip header."""
    file = make_source().files[1]
    path = tmp_path / "labels.gz"
    good = PACKED[file.name]
    n_found = 0
    for position in range(len(good)):
        for bit in range(8):
            changed = bytearray(good)
            changed[position] ^= 1 << bit
            path.write_bytes(changed)
            try:
                payload = _mnist.read_payload(path, file)
            except ValueError:
                n_found += 1
            else:
                assert payload.tobytes() == PAYLOADS[file.name]
    assert n_found > 0.8 * 8 * len(good)


def test_gzip_bomb_costs_no_memory(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(bomb())
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more bytes"):
            _mnist.read_payload(path, make_source().files[0])
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


LABELS = "train-labels-idx1-ubyte"


@pytest.mark.parametrize(
    ("name", "array", "magic", "message"),
    [
        (IMAGES, ARRAYS[IMAGES], 0x0D03, "expected magic number .*2051, 50, 8, 9"),
        (LABELS, ARRAYS[LABELS], 0x0803, "expected magic number .*2049, 50"),
        (IMAGES, ARRAYS[IMAGES].reshape(50, 9, 8), None, "found .*2051, 50, 9, 8"),
        (LABELS, np.full(50, 10), None, "expected labels below 10, found 10"),
    ],
)
def test_contents_are_checked_besides_the_hash(tmp_path, name, array, magic, message):
    payloads = PAYLOADS | {name: idx(array, magic)}
    folder = fill(tmp_path / "user", payloads, "")
    with pytest.raises(ValueError, match=message):
        _mnist.load(make_source(payloads=payloads), folder)


# --- the cache ------------------------------------------------------------------------


def test_cold_start_downloads_and_then_no_more(cache, mirror, dead_url):
    assert is_right(_mnist.load(make_source([mirror.good_url])))
    assert sorted(mirror.requests) == [f"/good/{name}" for name in ALL_CACHED]
    assert names_in(cache) == ALL_CACHED
    assert is_right(_mnist.load(make_source([dead_url])))


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_file_in_the_cache_heals(cache, mirror, case):
    fill(cache)
    path = cache / f"{IMAGES}.gz"
    path.write_bytes(BAD_FILES[case])
    assert is_right(_mnist.load(make_source([mirror.good_url])))
    assert mirror.requests == [f"/good/{IMAGES}.gz"]  # that file, once
    assert path.read_bytes() == GOOD
    assert names_in(cache) == ALL_CACHED


def bad_mirrors():
    def endless(handler, name):
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(500):  # 32 MB would end a test that waits for the end
                handler.wfile.write(bytes(1 << 16))
        except ConnectionError:
            handler.server.client_left.set()

    def cut_short(handler, name):
        handler.send_bytes(GOOD[:99], length=len(GOOD))

    yield "not found", lambda handler, name: handler.send_error(404)
    yield "server error", lambda handler, name: handler.send_error(503)
    yield "no answer", lambda handler, name: None
    yield "connection cut", cut_short
    yield "endless", endless
    for case, content in BAD_FILES.items():
        yield case, lambda handler, name, content=content: handler.send_bytes(content)


BAD_MIRRORS = dict(bad_mirrors())


@pytest.mark.parametrize("case", BAD_MIRRORS)
def test_second_mirror_replaces_a_bad_one(cache, mirror, case):
    mirror.bad = BAD_MIRRORS[case]
    source = make_source([mirror.bad_url, mirror.good_url])
    assert is_right(_mnist.load(source))
    assert mirror.requests[:2] == [f"/bad/{IMAGES}.gz", f"/good/{IMAGES}.gz"]
    assert names_in(cache) == ALL_CACHED
    assert case != "endless" or mirror.client_left.wait(5)


@pytest.mark.parametrize("case", ["not found", "another file", "gzip bomb", "endless"])
def test_bad_mirrors_only(cache, mirror, case):
    mirror.bad = BAD_MIRRORS[case]
    source = make_source([mirror.bad_url, mirror.bad_url])
    with pytest.raises(ConnectionError) as info:
        _mnist.load(source)
    assert str(info.value).count(f"{mirror.bad_url}{IMAGES}.gz: ") == 2
    assert "FASTNN_DATA" in str(info.value)
    assert not cache.exists()


def test_offline(cache, dead_url):
    pytest.importorskip("pooch", reason="downloads need pooch (extra: data)")
    source = make_source([dead_url])
    with pytest.raises(ConnectionError, match="set FASTNN_DATA to a folder that holds"):
        _mnist.load(source)
    fill(cache)
    (cache / f"{IMAGES}.gz").write_bytes(b"")  # and what is damaged is not returned
    with pytest.raises(ConnectionError, match=IMAGES):
        _mnist.load(source)


def test_mirror_that_hangs(mirror, monkeypatch):
    monkeypatch.setattr(_mnist, "_TIMEOUT", (1.0, 1.0))  # also of the good one
    done = threading.Event()
    mirror.bad = lambda handler, name: done.wait(60)
    start = time.monotonic()
    try:
        _mnist.load(make_source([mirror.bad_url, mirror.good_url]))
        assert time.monotonic() - start < 40  # takes 4 s; without a limit, 60 or more
    finally:
        done.set()


def test_sixteen_cold_starts_at_once(cache, mirror):
    """And a first mirror whose every third answer is damaged."""
    counter = iter(range(10**6))

    def unreliable(handler, name):
        content = PACKED[name.removesuffix(".gz")]
        damaged = next(counter) % 3 == 0
        handler.send_bytes(flip(content, len(content) // 2) if damaged else content)

    mirror.bad = unreliable
    source = make_source([mirror.bad_url, mirror.good_url])
    barrier = threading.Barrier(16)

    def start(_):
        barrier.wait()
        return is_right(_mnist.load(source))

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(start, range(16))) == [True] * 16
    assert names_in(cache) == ALL_CACHED  # one good cache, nothing left over
    assert is_right(_mnist.load(make_source()))


def test_cache_folder_that_cannot_be_made(tmp_path, monkeypatch, mirror):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setattr(_mnist, "_cache_folder", lambda name: blocked / name)
    with pytest.raises(OSError, match="set FASTNN_DATA to a folder"):
        _mnist.load(make_source([mirror.good_url]))


def test_read_only_cache(cache, mirror, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(_mnist, "write_atomically", refuse)
    source = make_source([mirror.good_url])
    with pytest.raises(
        OSError, match=r"cannot write .* cache .*Permission denied.*XDG"
    ):
        _mnist.load(source)
    fill(cache)
    assert is_right(_mnist.load(source))  # reading needs no permission to write


def test_interrupted_download_leaves_nothing(cache, mirror, monkeypatch):
    def interrupt(self, data):
        raise KeyboardInterrupt

    monkeypatch.setattr(_mnist._Download, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        _mnist.load(make_source([mirror.good_url]))
    assert not cache.exists()


def test_without_pooch(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match="pip install pooch") as info:
        _mnist.load(make_source())
    assert "fastnn[" not in str(info.value)
    assert "\n" not in str(info.value)
    fill(cache)
    assert is_right(_mnist.load(make_source()))


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.undo()  # of the fixture: the real function
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    assert _mnist._cache_folder("mnist") == tmp_path / "fastnn" / "mnist"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert _mnist._cache_folder("mnist") == tmp_path / ".cache" / "fastnn" / "mnist"


def test_cache_folder_with_platformdirs(monkeypatch):
    monkeypatch.undo()
    platformdirs = pytest.importorskip("platformdirs", reason="not installed")
    folder = _mnist._cache_folder("mnist")
    assert folder.name == "mnist"
    assert str(folder.parent) == platformdirs.user_cache_dir("fastnn", appauthor=False)


# --- the real sets --------------------------------------------------------------------


@pytest.mark.parametrize("source", [_mnist.MNIST, _mnist.FASHION_MNIST])
def test_sources(source):
    assert [file.n_bytes for file in source.files] == [47040016, 60008, 7840016, 10008]
    assert len({file.sha256 for file in source.files}) == 4
    assert len(source.mirrors) == 2
    assert all(m.startswith("https://") and m.endswith("/") for m in source.mirrors)


def test_public_functions_load_their_source(tmp_path, monkeypatch):
    folder = fill(tmp_path)
    monkeypatch.setattr(_mnist, "MNIST", make_source())
    assert is_right(datasets.mnist(folder))
    with pytest.raises(FileNotFoundError, match="fashion_mnist is not in folder="):
        datasets.fashion_mnist(tmp_path / "none")
    assert len(datasets.FASHION_MNIST_CLASSES) == 10


@needs_data
def test_mnist():
    X_train, y_train, X_test, y_test = datasets.mnist(FOLDER)
    assert X_train.shape == (60000, 784)
    assert X_test.shape == (10000, 784)
    assert X_train.dtype == X_test.dtype == np.uint8
    assert y_train.dtype == y_test.dtype == np.int64
    assert y_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert y_test[:5].tolist() == [7, 2, 1, 0, 4]
    # Class counts as published; mean pixel 0.1307 of 255.
    expected = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(y_train).tolist() == expected
    assert X_train.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    # Upright and row by row: the first image, a 5, is blank in its top rows.
    assert not X_train[0, : 5 * 28].any()
    assert X_train[0, 5 * 28 + 12 : 5 * 28 + 24].all()
