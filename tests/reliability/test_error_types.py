"""Damaged input to every public entry point: only the documented kinds of errors."""

import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from fastnn import Network, datasets, kernels, schedules
from fastnn._base.errors import ModelFormatError
from fastnn._commands.images import read_grey
from fastnn.callbacks import ReduceOnPlateau
from fastnn.optimizers import LBFGS, SGD

X = np.arange(12, dtype=np.float32).reshape(6, 2) / 12
Y = np.array([0, 1, 0, 1, 0, 1])
TRIES = 150


def npz_bytes(save=np.savez):
    file = io.BytesIO()
    save(file, X=X, y=Y)
    return file.getvalue()


def model_bytes(tmp_path):
    path = tmp_path / "sound.safetensors"
    Network([2, 3, 2], seed=0).save(path)
    return path.read_bytes()


def onnx_bytes(tmp_path):
    pytest.importorskip("onnx")
    path = tmp_path / "sound.onnx"
    Network([2, 3, 2], seed=0).to_onnx(path)
    return path.read_bytes()


def image_bytes(kind):
    image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    grey = np.random.default_rng(0).integers(0, 256, (9, 9), np.uint8)
    image.fromarray(grey).save(file, kind)
    return file.getvalue()


CSV = b"a;b;class\n1;2.5;x\n3;4;y\n5;6;x\n"
FORMATS = {
    "npz": (datasets.load_npz, lambda _: npz_bytes(), {ValueError}),
    "deflated npz": (
        datasets.load_npz,
        lambda _: npz_bytes(np.savez_compressed),
        {ValueError},
    ),
    "csv": (datasets.load_csv, lambda _: CSV, {ValueError}),
    "table": (datasets.read_table, lambda _: CSV, {ValueError}),
    "model": (Network.load, model_bytes, {ModelFormatError}),
    "onnx": (Network.from_onnx, onnx_bytes, {ModelFormatError}),
    "png": (read_grey, lambda _: image_bytes("PNG"), {ValueError}),
    "gif": (read_grey, lambda _: image_bytes("GIF"), {ValueError}),
    "jpeg": (read_grey, lambda _: image_bytes("JPEG"), {ValueError}),
    "tiff": (read_grey, lambda _: image_bytes("TIFF"), {ValueError}),
    "webp": (read_grey, lambda _: image_bytes("WEBP"), {ValueError}),
}
SUFFIXES = {"table": ".csv", "onnx": ".onnx", "model": ".safetensors"}


def damaged(data, rng):
    """Some bytes changed, cut out, doubled or lost at the end."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(data)))
        match rng.integers(5):
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                data[at : at + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\x7f" * 4])
            case 2:
                del data[at : at + int(rng.integers(1, 9))]
            case 3:
                data[at:at] = data[at : at + int(rng.integers(1, 99))]
            case 4:
                del data[max(1, at) :]
        data = data or bytearray(b"\0")
    return bytes(data)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files(name, tmp_path):
    read, make, expected = FORMATS[name]
    sound = make(tmp_path)
    path = tmp_path / f"file{SUFFIXES.get(name, '')}"
    rng = np.random.default_rng(0)
    found = {}
    for _ in range(TRIES):
        path.write_bytes(damaged(sound, rng))
        try:
            read(path)
        except Exception as error:
            found.setdefault(type(error), str(error))
    assert {*found} <= expected, found
    assert found or name == "jpeg"  # damage is seen at all


def zip_field(data, offsets, value, form):
    """The NPZ with a field of its headers set: local ones, central ones."""
    data = bytearray(data)
    for magic, offset in zip((b"PK\3\4", b"PK\1\2"), offsets, strict=True):
        at = data.find(magic)
        while at >= 0:
            struct.pack_into(form, data, at + offset, value)
            at = data.find(magic, at + 4)
    return bytes(data)


def npz_of(header, content=b""):
    """An NPZ whose arrays have this header."""
    file = io.BytesIO()
    text = header.encode().ljust(117) + b"\n"
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("X.npy", array)
        archive.writestr("y.npy", array)
    return file.getvalue()


def bz2_npz():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_BZIP2) as archive:
        for name in "X.npy", "y.npy":
            with archive.open(name, "w") as stream:
                np.lib.format.write_array(stream, np.zeros((4, 2)))
    return file.getvalue()


def huge(shape):
    return npz_of(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: zip_field(npz_bytes(), (8, 10), 99, "<H"), "method"),
        (lambda: zip_field(npz_bytes(), (6, 8), 1, "<H"), "encrypted"),
        (lambda: zip_field(npz_bytes(), (4, 6), 255, "<H"), "zip file version"),
        (lambda: huge("(1000000000000, 2)"), "does not fill"),
        (lambda: huge("(1125899906842624, 1125899906842624)"), "does not fill"),
        (lambda: huge("(-1, 2)"), "does not fill"),
        (lambda: huge("(0, 33554432)"), "33554432 columns; expected at most 2"),
        (bz2_npz, "compressed by method 12"),
        (lambda: npz_of("{'descr': '<f8', 'shape': ("), "EOF"),
    ],
)
def test_damaged_npz(make, match, tmp_path):
    path = tmp_path / "data.npz"
    path.write_bytes(make())
    with pytest.raises(ValueError, match=rf"not a usable NPZ file: .*{match}"):
        datasets.load_npz(path)


@pytest.mark.parametrize("read", [datasets.load_npz, datasets.load_csv, Network.load])
def test_files_that_are_not_there(read, tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")
    with pytest.raises((IsADirectoryError, ModelFormatError)):
        read(tmp_path)


@pytest.mark.parametrize("length", [1, 100, 101, 226, 227, 255])
def test_every_name_that_the_file_system_has(length, tmp_path):
    path = tmp_path / ("n" * length)
    net = Network([2, 2], seed=0)
    net.save(path)
    net.save(path)
    assert [*tmp_path.iterdir()] == [path]
    Network.load(path)


@pytest.mark.parametrize("length", [6, 255])
def test_leftovers_of_long_names_are_removed(length, tmp_path):
    from fastnn._core.exchange import files

    path = tmp_path / ("n" * length)
    left, fd = files._create_temporary(
        str(tmp_path), files._temporary_prefix(path.name)
    )
    os.close(fd)
    Network([2, 2], seed=0).save(path)
    assert not os.path.exists(left)


def test_paths_of_bytes(tmp_path):
    path = os.fsencode(tmp_path / "net\udce9")  # not UTF-8
    Network([2, 2], seed=0).save(path)
    assert Network.load(path).n_parameters == 6


@pytest.mark.parametrize("path", [None, 1.5, ["a"], "a\0b"])
def test_paths_that_are_none(path):
    with pytest.raises((TypeError, ValueError)):
        Network([2, 2], seed=0).save(path)
    with pytest.raises((TypeError, ValueError)):
        Network.load(path)


@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("name", ["batch_size", "accumulate"])
@pytest.mark.parametrize("value", [2**53, 2**53 + 1, 2**63, 2**64, 10**30])
def test_steps_are_saved_or_refused_before_training(backend, name, value, tmp_path):
    net = Network([2, 3, 2], seed=0, backend=backend)
    before = net.get_weights()[0][0]
    if value <= 2**53:
        net.fit(X, Y, epochs=1, verbose=0, **{name: value})
        net.save(tmp_path / "net")
        Network.load(tmp_path / "net")
        return
    with pytest.raises(ValueError, match=rf"{name} must be at most 2\*\*53, got "):
        net.fit(X, Y, epochs=1, verbose=0, **{name: value})
    assert (net.get_weights()[0][0] == before).all()
    with pytest.raises(ValueError, match=rf"{name} must be at most 2\*\*53, got "):
        net.fit_chunks([(X, Y)], 1, verbose=0, **{name: value})


def test_counts_of_specs_are_saved_or_refused():
    for make, name in [
        (lambda n: schedules.Step(0.1, n), "interval"),
        (lambda n: schedules.Cosine(0.1, n), "steps"),
        (lambda n: schedules.Warmup(schedules.Constant(0.1), n), "steps"),
        (lambda n: LBFGS(history_size=n), "history_size"),
        (lambda n: LBFGS(max_evaluations=n), "max_evaluations"),
    ]:
        make(2**53)
        for value in 2**53 + 1, 10**400:
            with pytest.raises(ValueError, match=rf"{name} must be at most 2\*\*53"):
                make(value)


def nested(depth):
    schedule = schedules.Constant(0.1)
    for _ in range(depth - 1):
        schedule = schedules.Warmup(schedule, 1)
    return schedule


def test_schedules_that_can_be_made_can_be_saved(tmp_path):
    net = Network([2, 2], optimizer=SGD(nested(8)), seed=0)
    net.fit(X, Y, epochs=1, verbose=0)
    net.save(tmp_path / "net")
    assert Network.load(tmp_path / "net").optimizer == net.optimizer
    with pytest.raises(ValueError, match="at most 7 schedules within one another"):
        nested(9)
    with pytest.raises(ValueError, match="at most 7 schedules within one another"):
        net.fit(X, Y, 1, verbose=0, callbacks=[ReduceOnPlateau("loss")])


def test_python_without_docstrings():
    code = "import fastnn.kernels as k, fastnn; assert k.relu_forward.__doc__ is None"
    subprocess.run([sys.executable, "-OO", "-c", f"{code}; print(1)"], check=True)
    assert kernels.relu_forward.__doc__


@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_damaged_pickles(backend):
    data = pickle.dumps(Network([2, 3, 2], seed=0, backend=backend))
    at = data.index(b"layers.0.weight")
    with pytest.raises(ModelFormatError):
        pickle.loads(data[:at] + b"L" + data[at + 1 :])
