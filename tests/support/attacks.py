"""Hostile model files, each made from a good one by the edit that its name tells.

An attacker can write any bytes, the hash included: `forge` makes files in which all is
consistent but the one thing under attack. Each attack has to end in ModelFormatError,
quickly and without much memory.
"""

import hashlib
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

Header = dict[str, Any]
Network = dict[str, Any]


def take_apart(data: bytes) -> tuple[Header, Network, bytes]:
    """The header, its description of the network, and the bytes of the tensors."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    return header, json.loads(header["__metadata__"]["fastnn.network"]), data[end:]


def dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def pack(header: str | bytes, tensors: bytes, length: int | None = None) -> bytes:
    """A file from its parts, with the header's length or a wrong one."""
    if isinstance(header, str):
        header = header.encode()
    header = header.ljust(-(-len(header) // 8) * 8)
    length = len(header) if length is None else length
    return length.to_bytes(8, "little") + header + tensors


def forge(header: Header, network: Network | str, tensors: bytes) -> bytes:
    """A file whose hash is right, whatever it says."""
    text = network if isinstance(network, str) else dump(network)
    digest = hashlib.sha256()

    def add(data: bytes) -> None:
        digest.update(len(data).to_bytes(8, "little") + data)

    add(text.encode("utf-8", "surrogatepass"))
    names = {"F32": "float32", "F64": "float64"}
    for name, entry in sorted(header.items()):
        if name != "__metadata__" and isinstance(entry, dict):
            begin, end = entry.get("data_offsets", (0, 0))
            add(name.encode())
            dtype = str(entry.get("dtype"))
            add(f"{names.get(dtype, dtype)}{entry.get('shape')}".encode())
            add(tensors[begin:end])
    header["__metadata__"]["fastnn.network"] = text
    header["__metadata__"]["fastnn.sha256"] = digest.hexdigest()
    return pack(dump(header), tensors)


def attacks(good: bytes) -> Iterator[tuple[str, bytes]]:
    """(name, file) of every attack on a good file with Adam's state."""
    yield from _broken_containers(good)
    yield from _edited_headers(good)
    yield from _edited_networks(good)
    yield from _edited_values(good)


def _broken_containers(good: bytes) -> Iterator[tuple[str, bytes]]:
    header, _, tensors = take_apart(good)
    end = len(good) - len(tensors)
    text = good[8:end]
    yield "empty", b""
    yield "seven bytes", b"\0" * 7
    yield "zero header", b"\0" * 64
    yield "pickle", b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94."
    yield "zip archive", b"PK\x03\x04" + b"\0" * 100
    yield "gzip bomb's head", b"\x1f\x8b\x08" + b"\0" * 100
    yield "text", b"loss,accuracy\n0.1,0.9\n" * 10
    yield "header of 2**63 bytes", struct.pack("<Q", 2**63) + good[8:]
    yield "header beyond the end", pack(text, tensors, len(good))
    yield "header of a gigabyte", pack(b"{}", b"", 2**30)
    yield "header over the cap", pack(b" " * (2**20 + 8), tensors)
    yield "header cut", pack(text, tensors, len(text) - 8)
    yield "header of spaces", pack(b" " * 64, tensors)
    yield "header is a list", pack(b"[]      ", tensors)
    yield "header is not UTF-8", pack(b'{"\xff\xfe":1}', tensors)
    yield "header in UTF-16", pack(text.decode().encode("utf-16"), tensors)
    yield "nested lists", pack(b"[" * 100_000, tensors)
    yield "nested lists, closed", pack(b"[" * 900 + b"]" * 900, tensors)
    yield "nested objects", pack(b'{"a":' * 100_000, tensors)
    yield "endless number", pack(b'{"a":' + b"9" * 1_000_000 + b"}", tensors)
    yield "many empty lists", pack(b"[" + b"[]," * 340_000 + b"[]]", tensors)
    yield "many empty objects", pack(b'{"a":[' + b"{}," * 340_000 + b"{}]}", tensors)
    yield "NaN in the header", pack(dump({**header, "x": float("nan")}), tensors)
    yield "a space in the header", pack(text.replace(b",", b", ", 1), tensors)
    yield "padding of tabs", pack(text.strip() + b"\t" * 8, tensors)
    turned = dict(reversed(header.items()))
    yield "unsorted keys", pack(json.dumps(turned, separators=(",", ":")), tensors)
    yield "escaped letters", pack(text.replace(b"layers.0", b"\\u006cayers.0"), tensors)
    twice = b'{"layers.0.bias":{"data_offsets":[0,1],"dtype":"F32","shape":[1]},'
    yield "a tensor twice", pack(twice + text[1:], tensors)
    yield "bytes after the end", good + b"\0"
    yield "no tensors", good[:end]


def _edited_headers(good: bytes) -> Iterator[tuple[str, bytes]]:
    def edited(edit: Callable[[Header], object]) -> bytes:
        header, network, tensors = take_apart(good)
        edit(header)
        return forge(header, network, tensors)

    def entry(**changes: Any) -> bytes:
        return edited(lambda header: header["layers.0.weight"].update(changes))

    def metadata(**changes: Any) -> bytes:
        header, _, tensors = take_apart(good)
        new = {f"fastnn.{name}": value for name, value in changes.items()}
        header["__metadata__"].update(new)
        return pack(dump(header), tensors)

    def without_metadata() -> bytes:
        header, _, tensors = take_apart(good)
        del header["__metadata__"]
        return pack(dump(header), tensors)

    yield "no metadata", without_metadata()
    yield "metadata is a list", pack(dump({"__metadata__": []}), b"")
    yield "metadata of others", metadata(pickle="gASV")
    yield "format 2", metadata(format="2")
    yield "format is a number", metadata(format=1)
    yield "network is a number", metadata(network=1)
    yield "network is not JSON", metadata(network="import os")
    yield "hash of zeros", metadata(sha256="0" * 64)
    yield "hash is null", metadata(sha256=None)
    yield (
        "a tensor more",
        edited(
            lambda h: h.update(
                extra={"data_offsets": [0, 4], "dtype": "F32", "shape": [1]}
            )
        ),
    )
    yield "a tensor less", edited(lambda h: h.pop("layers.1.bias"))
    yield (
        "a tensor renamed",
        edited(lambda h: h.update({"layers.1.bias_": h.pop("layers.1.bias")})),
    )
    yield (
        "a name with a path",
        edited(lambda h: h.update({"../../etc/passwd": h.pop("layers.1.bias")})),
    )
    yield "a tensor is a number", edited(lambda h: h.update({"layers.0.weight": 1}))
    yield "dtype F16", entry(dtype="F16")
    yield "dtype F64", entry(dtype="F64")
    yield "dtype unknown", entry(dtype="O")
    yield "dtype is a list", entry(dtype=["F32"])
    yield "shape transposed", entry(shape=[8, 4])
    yield "shape flat", entry(shape=[32])
    yield "shape of floats", entry(shape=[4.0, 8.0])
    yield "shape negative", entry(shape=[-4, -8])
    yield "shape that overflows", entry(shape=[2**32, 2**32 + 1])
    yield "offsets beyond the end", entry(data_offsets=[0, 2**40])
    yield "offsets reversed", entry(data_offsets=[128, 0])
    yield "offsets that overlap", entry(data_offsets=[0, 128])
    yield "offsets negative", entry(data_offsets=[-128, 0])
    yield "offsets missing", edited(lambda h: h["layers.0.weight"].pop("data_offsets"))
    yield "a key more in an entry", entry(url="http://example.org")


def _edited_networks(good: bytes) -> Iterator[tuple[str, bytes]]:
    def edited(edit: Callable[[Network], object]) -> bytes:
        header, network, tensors = take_apart(good)
        edit(network)
        return forge(header, network, tensors)

    def top(**changes: Any) -> bytes:
        return edited(lambda network: network.update(changes))

    def plan(**changes: Any) -> bytes:
        return edited(lambda network: network["plan"].update(changes))

    def layer(**changes: Any) -> bytes:
        return edited(lambda network: network["plan"]["layers"][0].update(changes))

    def progress(**changes: Any) -> bytes:
        return edited(lambda network: network["progress"].update(changes))

    for key in ("plan", "seed", "step", "progress", "input_scaling", "optimizer_state"):
        yield f"no {key}", edited(lambda network, key=key: network.pop(key))
        yield f"{key} is null", top(**{key: None})
        yield f"{key} is a string", top(**{key: "1"})
    header, network, tensors = take_apart(good)
    yield "network is a list", forge(header, "[]", tensors)
    yield "network with a lone surrogate", forge(header, '{"\ud800":1}', tensors)
    yield (
        "network twice in one",
        forge(header, dump(network)[:-1] + ',"step":"x"}', tensors),
    )
    yield "a key more", top(code="print(1)")
    yield "seed negative", top(seed=-1)
    yield "seed of 65 bits", top(seed=2**64)
    yield "seed is a bool", top(seed=True)
    yield "step negative", top(step=-1)
    yield "step of 64 bits", top(step=2**63)
    yield "step is a float", top(step=1.0)
    yield "scaling of three", top(input_scaling=[1.0, 0.0, 0.0])
    yield "scaling of integers", top(input_scaling=[1, 0])
    yield "scaling of NaN", top(input_scaling=[float("nan"), 0.0])
    yield "scaling of infinity", top(input_scaling=[1.0, float("inf")])
    yield "scaling in tensors that are missing", top(input_scaling=[])
    yield "no optimizer state, but tensors", top(optimizer_state=False)
    yield "a key more in the plan", plan(hook="os.system")
    yield "no layers", plan(layers=[])
    yield "layers is a number", plan(layers=3)
    yield "n_inputs of zero", plan(n_inputs=0)
    yield "n_inputs of 2**24", plan(n_inputs=2**24)
    yield "n_inputs beyond 2**24", plan(n_inputs=2**24 + 1)
    yield "n_inputs of 10**4000", plan(n_inputs=10**4000)
    yield "n_inputs is true", plan(n_inputs=True)
    yield "dtype float16", plan(dtype="float16")
    yield "dtype object", plan(dtype="object")
    yield "dtype float64", plan(dtype="float64")
    yield "loss unknown", plan(loss={"type": "__import__"})
    yield "loss is a string", plan(loss="softmax_cross_entropy")
    yield "optimizer unknown", plan(optimizer={"type": "eval"})
    yield "optimizer with other state", plan(optimizer={"type": "sgd"})
    yield (
        "learning rate NaN",
        plan(optimizer={"type": "adam", "learning_rate": float("nan")}),
    )
    yield "layer unknown", layer(type="lambda")
    yield "layer is nested", plan(layers=[[[[[[[]]]]]]])
    yield (
        "an activation with code",
        layer(activation={"type": "leaky_relu", "slope": "__import__('os')"}),
    )
    yield "units of a million", layer(units=10**6)
    yield "units negative", layer(units=-8)
    yield "activation unknown", layer(activation="exec")
    yield "initializer unknown", layer(weight_init="file:///etc/passwd")
    yield "epoch negative", progress(epoch=-1)
    yield "first epoch after the epoch", progress(first_epoch=10**6)
    yield "cursor beyond the rows", progress(cursor=10**6)
    yield "cursor within a step", progress(cursor=1, n_rows=60, batch_size=16)
    yield "batch of no rows", progress(batch_size=0, n_rows=60, cursor=10)
    yield "shuffle is a number", progress(shuffle=1)
    yield "totals of two", progress(totals=[0.0, 0.0])
    yield "totals of infinity", progress(totals=[0.0, float("inf"), 0.0])
    yield "totals negative", progress(totals=[0.0, -1.0, 0.0])
    yield "totals are strings", progress(totals=["0", "0", "0"])
    yield "a key more in progress", progress(rng="state")


def _edited_values(good: bytes) -> Iterator[tuple[str, bytes]]:
    def edited(tensor: str, value: float) -> bytes:
        header, network, tensors = take_apart(good)
        at = header[tensor]["data_offsets"][0]
        new = tensors[:at] + struct.pack("<f", value) + tensors[at + 4 :]
        return forge(header, network, new)

    nan, inf = float("nan"), float("inf")
    yield "a weight is NaN", edited("layers.0.weight", nan)
    yield "a bias is infinite", edited("layers.1.bias", -inf)
    yield "a moment is NaN", edited("optimizer.first_moment.layers.0.bias", nan)
    yield (
        "a second moment is negative",
        edited("optimizer.second_moment.layers.0.weight", -1.0),
    )
