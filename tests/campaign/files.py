"""Files of every format, damaged, cut or crafted: the documented errors only."""

import gzip
import hashlib
import json
import struct
import time
import tracemalloc
import warnings
from importlib.util import find_spec

import numpy as np
from attacks import attacks, forge, take_apart
from samples import NETWORKS, OPTIMIZERS

from fastnn import ModelFormatError, Network
from fastnn._core.exchange.model_file import from_bytes, to_bytes
from fastnn.datasets import _mnist
from tests.reliability.test_error_types import FORMATS, damaged, model_bytes

from . import Try, part
from .crashes import Y, rows_for


def random_network(t):
    net = Network(t.pick(NETWORKS), optimizer=t.pick(OPTIMIZERS), seed=t.seed)
    net.train_on_batch(rows_for(net), Y)
    return net


# --- model files whose hash is right --------------------------------------------------

ODD_VALUES = [
    *(None, True, False, "", "adam", "\0", [], {}, [[]], {"type": "sgd"}),
    *(0, -1, 1, 2, 3, 7, 2**24, 2**24 + 1, 2**31, 2**53, 2**63, 2**64, 10**40),
    *(0.0, -0.0, 0.5, 1.0, 1e-320, 1e-30, 1e30, 1e308, -1.0),
]


def places(value, path=()):
    """The path to every value within JSON."""
    yield path
    children = value.items() if isinstance(value, dict) else ()
    children = enumerate(value) if isinstance(value, list) else children
    for key, child in children:
        yield from places(child, (*path, key))


def changed(t, value, others):
    """JSON with a value replaced, removed, doubled, or taken from another network."""
    value = json.loads(json.dumps(value))
    paths = [path for path in places(value) if path]
    *above, key = paths[t.rng.integers(len(paths))]
    place = value
    for step in above:
        place = place[step]
    match t.rng.integers(5):
        case 0 | 1:
            place[key] = t.pick(ODD_VALUES)
        case 2:
            place[key] = t.pick(others)
        case 3 if isinstance(place, dict):
            del place[key]
        case 3:
            place.insert(key, place[key])
        case 4 if isinstance(place[key], int | float):
            place[key] = -place[key] + t.pick([0, 1, -1])
    return value


@part(share=2)
def crafted_models(t: Try):
    """Model files of a wrong content and the right hash: refused, or of full use."""
    good = to_bytes(random_network(t)._model.state())
    header, network, tensors = take_apart(good)
    other = take_apart(to_bytes(random_network(t)._model.state()))[1]
    others = []
    for path in places(other):
        value = other
        for key in path:
            value = value[key]
        others.append(value)
    path, n = t.folder / "net", 100
    for _ in range(n):
        crafted = network
        for _ in range(t.rng.integers(1, 3)):
            crafted = changed(t, crafted, others)
        path.write_bytes(forge(json.loads(json.dumps(header)), crafted, tensors))
        start = time.process_time()
        try:
            loaded = Network.load(path)
        except ModelFormatError:
            continue
        finally:
            assert time.process_time() - start < 1
        loaded.save(path)
        assert to_bytes(Network.load(path)._model.state()) == path.read_bytes()
        X = np.zeros((2, loaded.plan.n_inputs), "f4")
        assert loaded.predict(X).shape[0] == 2
    return n


@part(share=0.5)
def known_attacks(t: Try):
    """Every attack of the corpus, on a random network: time and memory are bounded."""
    good = to_bytes(Network([4, 8, 3], seed=t.seed)._model.state())
    path, n = t.folder / "net", 0
    for name, data in attacks(good):
        path.write_bytes(data)
        tracemalloc.start()
        start = time.process_time()
        try:
            Network.load(path)
        except ModelFormatError:
            pass
        else:
            raise AssertionError(name)
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert time.process_time() - start < 1, name
        assert peak <= 2 * len(data) + (64 << 20), name
        n += 1
    return n


# --- damage ---------------------------------------------------------------------------


@part(share=2)
def flipped_bits(t: Try):
    """Single bits of model files, and where they are cut: all of it is noticed."""
    good = to_bytes(random_network(t)._model.state())
    bits, ends = (
        t.rng.integers(8 * len(good), size=400),
        t.rng.integers(len(good), size=100),
    )
    for bit in bits:
        data = bytearray(good)
        data[bit // 8] ^= 1 << bit % 8
        must_fail(bytes(data), f"bit {bit}")
    for end in ends:
        must_fail(good[:end], f"end {end}")
    return len(bits) + len(ends)


def must_fail(data, case):
    try:
        from_bytes(data)
    except ModelFormatError:
        return
    raise AssertionError(f"{case} was not noticed")


IDX_BYTES = struct.pack(">4I", 0x803, 3, 4, 4) + bytes(range(48))
IDX = _mnist.IdxFile("images", (3, 4, 4), hashlib.sha256(IDX_BYTES).hexdigest())


def state_dict_of(path):
    """A state dict is arrays: its bytes here become the values of one."""
    net = Network([2, 3, 2], seed=0)
    state = net.state_dict()
    data = path.read_bytes().ljust(3, b"\0")
    names = [*state, data[:8].decode("latin-1")]
    dtypes = ["f4", "f8", "f2", "i4", ">f4", "O", "c8", "S4"]
    name, dtype = names[data[0] % len(names)], np.dtype(dtypes[data[1] % len(dtypes)])
    if dtype.hasobject:
        state[name] = [*data]
    else:
        usable = len(data) // dtype.itemsize * dtype.itemsize
        array = np.frombuffer(data[:usable], dtype)
        in_pairs = data[2] % 2 and array.size % 2 == 0
        state[name] = array.reshape(-1, 2) if in_pairs else array
    net.load_state_dict(state)


def read_idx(path):
    _mnist.parse_idx(_mnist.read_payload(path, IDX), IDX)


def set_state(path):
    """What pickle gives a network to be made of; pickle itself runs anything."""
    net = Network.__new__(Network)
    net.__setstate__(
        {"model": path.read_bytes(), "backend": "native", "num_threads": 1}
    )


MORE = {
    "state_dict": (state_dict_of, lambda _: bytes(range(64)), {ValueError, TypeError}),
    "idx": (read_idx, lambda _: gzip.compress(IDX_BYTES), {_mnist.CorruptFileError}),
    "pickled state": (set_state, model_bytes, {ModelFormatError}),
}
SUFFIXES = {"table": ".csv", "onnx": ".onnx", "model": ".safetensors"}


@part(share=3)
def damaged_files(t: Try):
    """Random damage to NPZ, CSV, model, images, state dicts; ONNX if it is there."""
    formats = {**FORMATS, **MORE}
    if not find_spec("onnx"):
        del formats["onnx"]
    name = [*formats][t.seed % len(formats)]
    read, make, expected = formats[name]
    sound = make(t.folder)
    path, n = t.folder / f"file{SUFFIXES.get(name, '')}", 200
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(n):
            data = damaged(sound, t.rng)
            path.write_bytes(data)
            try:
                read(path)
            except Exception as error:
                if type(error) not in expected:
                    raise AssertionError(f"{name}: {data!r}") from error
    return n
