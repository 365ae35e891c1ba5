"""MNIST and Fashion-MNIST: from a folder, the cache or a mirror, and always checked.

A file is accepted only if its decompressed bytes have the expected SHA-256, and this is
checked on every open: a download cut short or a disk that lost a bit would otherwise be
trained on for ever. Mirrors compress the same bytes differently, so the hash of the
``.gz`` says nothing. Reading stops one byte after the expected size, so a file that
inflates to gigabytes costs nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import os
import sys
import zlib
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._core.exchange.files import write_atomically

from ._dataset import Dataset
from ._tables import INFLATION

Bytes = NDArray[np.uint8]

_CHUNK = 1 << 20
# A .gz is smaller than its content, except for the header and a few bytes per block.
_GZIP_OVERHEAD = 1 << 16
_TIMEOUT = (10.0, 30.0)  # seconds to connect, and between two reads
_WHAT_TO_DO = "pass folder= or set FASTNN_DATA to a folder that holds the four files"


class CorruptFileError(ValueError):
    """A file is not, byte for byte, the one expected."""


@dataclass(frozen=True)
class IdxFile:
    """One IDX file of unsigned bytes: magic number, dimensions, values."""

    name: str
    shape: tuple[int, ...]
    sha256: str  # of the decompressed file

    @property
    def n_header(self) -> int:
        return 4 + 4 * len(self.shape)

    @property
    def n_bytes(self) -> int:
        return self.n_header + math.prod(self.shape)


@dataclass(frozen=True)
class Source:
    """A data set of four IDX files and where to download it, best mirror first."""

    name: str
    mirrors: tuple[str, ...]
    files: tuple[IdxFile, ...]  # in the order of Dataset
    n_classes: int = 10
    torchvision: str = "MNIST"  # its folder there


def _source(
    name: str,
    mirrors: tuple[str, ...],
    hashes: tuple[str, ...],
    torchvision: str = "MNIST",
) -> Source:
    names = (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    )
    shapes = ((60000, 28, 28), (60000,), (10000, 28, 28), (10000,))
    files = tuple(map(IdxFile, names, shapes, hashes))
    return Source(name, mirrors, files, torchvision=torchvision)


MNIST = _source(
    "mnist",
    (
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
    (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)

# The authors' bucket (its better-known "s3-website" address has no https) and their
# repository.
FASHION_MNIST = _source(
    "fashion_mnist",
    (
        "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/"
        "data/fashion/",
    ),
    (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    "FashionMNIST",
)

FASHION_MNIST_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
    "Bag", "Ankle boot",
)  # fmt: skip


def read_payload(path: Path, file: IdxFile) -> Bytes:
    """Return the decompressed bytes of `path`, or raise `CorruptFileError`.

    The file may be compressed or not, whatever its name.
    """
    with open(path, "rb") as stream:
        return _unpack(stream, os.fstat(stream.fileno()).st_size, path, file)


def _unpack(raw: BufferedIOBase, size: int, where: object, file: IdxFile) -> Bytes:
    def corrupt(found: str) -> CorruptFileError:
        return CorruptFileError(
            f"{where} is not the expected file: expected {file.n_bytes} bytes with "
            f"sha256 {file.sha256}, found {found}"
        )

    if size > file.n_bytes + _GZIP_OVERHEAD:
        raise corrupt(f"a file of {size} bytes")
    buffer = bytearray(file.n_bytes + 1)
    view = memoryview(buffer)
    try:
        n = _fill(view, _unpacked(raw))
    except _DAMAGE as error:
        raise corrupt(f"a damaged gzip file ({error})") from None
    if n > file.n_bytes:
        raise corrupt("more bytes")
    if n < file.n_bytes:
        raise corrupt(f"{n} bytes")
    sha256 = hashlib.sha256(view[: file.n_bytes]).hexdigest()
    if sha256 != file.sha256:
        raise corrupt(f"sha256 {sha256}")
    return np.frombuffer(buffer, np.uint8, file.n_bytes)


_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile)


def _unpacked(raw: BufferedIOBase) -> BufferedIOBase:
    packed = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    return gzip.GzipFile(fileobj=raw) if packed else raw


def _fill(view: memoryview, stream: BufferedIOBase) -> int:
    """Read until the view is full or the stream ends; return how many bytes."""
    n = 0
    while got := stream.readinto(view[n : n + _CHUNK]):
        n += got
    return n


# By the third byte of a file.
_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def load_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read an IDX file, such as those of EMNIST, KMNIST or QMNIST, whatever its name.

    Parameters
    ----------
    path : path
        Compressed with gzip, or not. Nothing tells whether it is the expected one:
        `mnist` and `fashion_mnist` verify their files.

    Returns
    -------
    array
        Of the file's type and shape: images ``uint8`` (n, 28, 28), labels ``uint8``
        (n,). ``X.reshape(len(X), -1)`` has one image per row. Those of EMNIST lie on
        their side: ``X.swapaxes(1, 2)``.

    Raises
    ------
    ValueError
        If it is no IDX file, is damaged, or has more or fewer values than it says.
    OSError
        If it cannot be opened.

    References
    ----------
    Y. LeCun, C. Cortes, C. Burges, "The MNIST database", which describes the format.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastnn import datasets
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "some-labels")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 9]))
    ...     datasets.load_idx(path)
    array([7, 0, 9], dtype=uint8)
    """
    with open(path, "rb") as raw:
        stream = _unpacked(raw)
        most = os.fstat(raw.fileno()).st_size * (INFLATION if stream is not raw else 1)
        try:
            head = stream.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES:
                raise CorruptFileError(f"{path} is no IDX file: begins with {head!r}")
            sizes = stream.read(4 * head[3])
            shape = np.frombuffer(sizes[: len(sizes) // 4 * 4], ">u4").tolist()
            dtype = np.dtype(_TYPES[head[2]])
            n_bytes = math.prod(shape) * dtype.itemsize
            buffer = bytearray(min(n_bytes, most) + 1)
            n = _fill(memoryview(buffer), stream)
        except _DAMAGE as error:
            raise CorruptFileError(f"{path} is damaged: {error}") from None
    if len(shape) != head[3] or n != n_bytes:
        raise CorruptFileError(
            f"{path} has {'more' if n > n_bytes else n} bytes of values; expected "
            f"{n_bytes}, of shape {tuple(shape)}"
        )
    array = np.frombuffer(buffer, dtype, math.prod(shape)).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def parse_idx(payload: Bytes, file: IdxFile) -> Bytes:
    """Return the array of an IDX file, a view of `payload`; its header must match."""
    expected = np.array([0x0800 + len(file.shape), *file.shape], ">u4")
    header = payload[: file.n_header].view(">u4")
    if not np.array_equal(header, expected):
        raise CorruptFileError(
            f"{file.name}: expected magic number and dimensions "
            f"{expected.tolist()}, found {header.tolist()}"
        )
    return payload[file.n_header :].reshape(file.shape)


def _cache_folder(name: str) -> Path:
    try:
        from platformdirs import user_cache_dir
    except ImportError:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(base) / "fastnn" / name
    return Path(user_cache_dir("fastnn", appauthor=False)) / name


def _find(source: Source, folder: Path, setting: str) -> list[Path]:
    """Return the four files in `folder` or in its subfolder named after the set."""
    places = (folder / source.name, folder, folder / source.torchvision / "raw")
    for place in places:
        paths = []
        for file in source.files:
            candidates = (place / file.name, place / f"{file.name}.gz")
            paths += [path for path in candidates if path.is_file()][:1]
        if len(paths) == len(source.files):
            return paths
    names = ", ".join(f"{file.name}[.gz]" for file in source.files)
    raise FileNotFoundError(
        f"{source.name} is not in {setting}: expected the files {names} in "
        f"{places[0]}, in {places[1]} or in {places[2]}"
    )


class _Download(io.BytesIO):
    """The answer of a mirror, kept in memory up to `limit` bytes."""

    limit = 0

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self.limit:
            raise CorruptFileError("the mirror sends more bytes than the file has")
        return super().write(data)


def _download(source: Source, file: IdxFile, path: Path) -> Bytes:
    """Download `file` to `path` from the first mirror that has it; return its bytes."""
    try:
        import pooch
    except ImportError:
        raise ImportError(
            f"{file.name} is not in {path.parent} and pooch, which would download it, "
            f"is not installed: pip install pooch, or {_WHAT_TO_DO}"
        ) from None
    fetch: Any = pooch.HTTPDownloader(
        timeout=_TIMEOUT, chunk_size=1 << 16, progressbar=sys.stderr.isatty()
    )
    failures = []
    for mirror in source.mirrors:
        url = f"{mirror}{file.name}.gz"
        download = _Download()
        download.limit = file.n_bytes + _GZIP_OVERHEAD
        try:
            fetch(url, download, None)
            download.seek(0)
            payload = _unpack(download, len(download.getbuffer()), "the answer", file)
        except (OSError, CorruptFileError) as error:  # network errors are OSErrors
            failures.append(f"{url}: {_reason(error)}")
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, download.getvalue())
        except OSError as error:
            raise OSError(
                f"cannot write {file.name} to the cache ({error}): set XDG_CACHE_HOME "
                f"to a writable folder, or {_WHAT_TO_DO}"
            ) from error
        return payload
    raise ConnectionError(
        f"could not download {file.name} ({'; '.join(failures)}):\n{_WHAT_TO_DO}"
    )


def _reason(error: BaseException) -> str:
    """The innermost cause: Requests and urllib3 wrap it in several others."""
    inner: Any = error
    while isinstance(inner, BaseException):
        error = inner
        inner = getattr(error, "reason", None) or (*error.args, None)[0]
    text = str(error)
    return text[max(0, text.find("Failed to ")) :]


def _cached(source: Source, file: IdxFile, folder: Path) -> Bytes:
    path = folder / f"{file.name}.gz"
    try:
        return read_payload(path, file)
    except (FileNotFoundError, NotADirectoryError, CorruptFileError):
        # A corrupt file stays until a good one replaces it: to remove it first could
        # remove the good one that another process has just put there.
        return _download(source, file, path)


def load(source: Source, folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Load from `folder`, else from FASTNN_DATA, else from the cache or a mirror."""
    setting = "folder"
    if folder is None:
        folder, setting = os.environ.get("FASTNN_DATA") or None, "FASTNN_DATA"
    if folder is not None:
        setting += f"={os.fspath(folder)!r}"
        paths = _find(source, Path(folder).expanduser(), setting)
        pairs = zip(paths, source.files, strict=True)
        payloads = [read_payload(path, file) for path, file in pairs]
    else:
        cache = _cache_folder(source.name)
        payloads = [_cached(source, file, cache) for file in source.files]
    arrays = [parse_idx(p, f) for p, f in zip(payloads, source.files, strict=True)]
    for i in (1, 3):
        if arrays[i].max() >= source.n_classes:
            raise CorruptFileError(
                f"{source.files[i].name}: expected labels below {source.n_classes}, "
                f"found {arrays[i].max()}"
            )
    X, y, X_test, y_test = arrays
    X, X_test = X.reshape(len(X), -1), X_test.reshape(len(X_test), -1)
    return Dataset(X, y.astype(np.int64), X_test, y_test.astype(np.int64))


def mnist(folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Handwritten digits: 60,000 training and 10,000 test images of 28 x 28 pixels.

    Looked for in `folder`; else in the folder that the environment variable
    FASTNN_DATA names; else in the user's cache folder, where it is downloaded to on
    first use (11 MB, needs pooch). `folder` and FASTNN_DATA name a folder that holds
    the four IDX files, compressed or not, in its subfolder ``mnist`` or itself, or in
    ``MNIST/raw``, where torchvision has them; if they are not there, nothing else is
    tried. Every file is verified with its SHA-256 on
    every call.

    Parameters
    ----------
    folder : path, optional
        Where the four files are.

    Returns
    -------
    Dataset
        Images ``uint8`` (n, 784), 0 (background) to 255, flattened row by row; labels
        ``int64`` (n,), 0 to 9.

    Raises
    ------
    FileNotFoundError
        If `folder` or FASTNN_DATA is given and does not hold the four files.
    ValueError
        If a file there is not the expected one. (A bad file in the cache is downloaded
        again.)
    ImportError
        If a download is needed and pooch is not installed.
    OSError
        If the download fails, or the cache folder cannot be written.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to
    document recognition", Proceedings of the IEEE 86(11), 1998.

    Examples
    --------
    >>> from fastnn import datasets
    >>> X_train, y_train, X_test, y_test = datasets.mnist()  # doctest: +SKIP
    >>> X_train.shape  # doctest: +SKIP
    (60000, 784)
    """
    return load(MNIST, folder)


def fashion_mnist(folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Pictures of clothes: 60,000 training and 10,000 test images of 28 x 28 pixels.

    Looked for, returned and refused as `mnist` is, in the subfolder ``fashion_mnist``;
    the download is 31 MB. ``datasets.FASHION_MNIST_CLASSES`` has the names of the
    classes.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for
    benchmarking machine learning algorithms", arXiv:1708.07747, 2017. MIT licence.

    Examples
    --------
    >>> from fastnn import datasets
    >>> X_train, y_train, X_test, y_test = datasets.fashion_mnist()  # doctest: +SKIP
    >>> datasets.FASHION_MNIST_CLASSES[9]
    'Ankle boot'
    """
    return load(FASHION_MNIST, folder)
