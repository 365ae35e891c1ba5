"""Networks as safetensors files: one fixed schema, checked in full before it is used.

A file has the tensors ``layers.<i>.weight`` (n_in, n_out) and ``layers.<i>.bias`` of
dense layers, and likewise scale (n,) and shift of normalisation layers, of batch norms
also ``layers.<i>.running_mean`` and ``layers.<i>.running_var``; with the optimizer's
state ``optimizer.<name>.layers.<i>.weight`` and ``.bias``; with a
scaling that differs between inputs ``input.scale`` and ``input.shift``. Its metadata:

fastnn.format
    "1".
fastnn.network
    JSON: the plan, the seed, the step, where training stands, the scaling of inputs and
    targets, and the schema of the table if there is one.
fastnn.sha256
    SHA-256 over the JSON and every tensor's name, dtype, shape and bytes. It detects
    damage; it is no signature.

The safetensors library parses the tensors. The header has one canonical form: the same
network gives the same bytes, and a header in any other form is refused. Nothing in a
file is ever executed, or looked up outside the tables of `Plan.from_dict`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from fastnn._base.errors import ModelFormatError
from fastnn._core.model.state import ModelState
from fastnn._plan.inputs import check_input_scaling
from fastnn._plan.plan import Plan

from .files import open_regular, write_atomically
from .model_header import (
    Description,
    Header,
    canonical_header,
    header_end,
    read_header,
    require_room,
)

if TYPE_CHECKING:
    from fastnn._base.types import Array, Pair, Scaling


__all__ = ["from_bytes", "load", "save", "to_bytes"]


def save(state: ModelState, path: str | os.PathLike[str]) -> None:
    """Write a model file, atomically."""
    write_atomically(path, to_bytes(state))


def load(
    path: str | os.PathLike[str],
    sha256: str | None = None,
    allow_non_finite: bool = False,
) -> ModelState:
    """Read a model file; see `Network.load` for the arguments and errors."""
    if sha256 is not None and not (
        isinstance(sha256, str) and re.fullmatch(r"[0-9a-fA-F]{64}", sha256)
    ):
        raise ValueError(f"sha256 must be 64 hexadecimal digits, got {sha256!r}")
    try:
        data, header = _read(path)
        found = hashlib.sha256(data).hexdigest() if sha256 else None
        if sha256 is not None and found != sha256.lower():
            raise ModelFormatError(f"the file's SHA-256 is {found}; expected {sha256}")
        return _state_of(data, header, allow_non_finite)
    except ModelFormatError as error:
        raise ModelFormatError(f"{os.fspath(path)!s}: {error}") from None


def to_bytes(state: ModelState) -> bytes:
    """Return the content of a model file."""
    uniform = _uniform(state.scaling)
    network = Description(
        plan=state.plan,
        seed=state.seed,
        step=state.step,
        progress=state.progress,
        scaling=uniform,
        has_optimizer_state=state.optimizer_state is not None,
        schema=state.schema,
        targets=state.targets,
    ).to_json()
    tensors = dict(_tensors_of(state))
    # As the library orders them. Its own writer makes two more copies, and where one
    # finds no memory it panics, in old versions so that the process ends.
    ordered = sorted(tensors.items(), key=lambda each: (-each[1].itemsize, each[0]))
    entries, at = {}, 0
    for name, array in ordered:
        entries[name] = {
            "data_offsets": [at, at + array.nbytes],
            "dtype": f"F{8 * array.itemsize}",
            "shape": list(array.shape),
        }
        at += array.nbytes
    header = canonical_header(entries, network, _content_hash(network, tensors))
    require_room(len(header))
    start = len(header).to_bytes(8, "little") + header
    return b"".join([start, *(_bytes_of(array) for _, array in ordered)])


def from_bytes(data: bytes) -> ModelState:
    """Return what `to_bytes` was given; anything else raises ModelFormatError."""
    return _state_of(data, read_header(data, len(data)), allow_non_finite=False)


def _state_of(data: bytes, header: Header, allow_non_finite: bool) -> ModelState:
    model, tensors = header.description, _parse_tensors(data)
    if _content_hash(header.network, tensors) != header.sha256:
        raise ModelFormatError("the content does not match its SHA-256: damaged file")
    _check_values(tensors, model.plan, allow_non_finite)

    plan = model.plan
    if model.scaling is None:
        scale, shift = tensors["input.scale"], tensors["input.shift"]
    else:
        scale, shift = (np.array(value) for value in model.scaling)
    optimizer_state = [
        {
            name: _pair(tensors, f"optimizer.{name}.layers.{i}")
            for name in plan.optimizer.state_names
        }
        for i in plan.parametric_layers
        if model.has_optimizer_state
    ]
    return ModelState(
        plan=plan,
        seed=model.seed,
        step=model.step,
        progress=model.progress,
        scaling=check_input_scaling(scale, shift, plan.n_inputs),
        weights=[_pair(tensors, f"layers.{i}") for i in plan.parametric_layers],
        statistics=[
            _pair(tensors, f"layers.{i}", _STATISTICS)
            if layer.name == "batch_norm"
            else None
            for i, layer in enumerate(plan.layers)
        ],
        optimizer_state=optimizer_state or None,
        schema=model.schema,
        targets=model.targets,
    )


_DTYPES = {np.dtype(name): name for name in ("float32", "float64")}
_PARAMETERS = ("weight", "bias")
_STATISTICS = ("running_mean", "running_var")


def _uniform(scaling: Scaling) -> tuple[float, float] | None:
    """The scale and shift of all inputs; None if they differ and need tensors."""
    scale, shift = scaling
    if scale is None or shift is None:
        return 1.0, 0.0
    if (scale == scale[0]).all() and (shift == shift[0]).all():
        return float(scale[0]), float(shift[0])
    return None


def _tensors_of(state: ModelState) -> Iterator[tuple[str, Array]]:
    parametric = state.plan.parametric_layers
    for i, (w, b) in zip(parametric, state.weights, strict=True):
        yield f"layers.{i}.weight", w
        yield f"layers.{i}.bias", b
    for i, pair in enumerate(state.statistics):
        if pair is not None:
            yield f"layers.{i}.running_mean", pair[0]
            yield f"layers.{i}.running_var", pair[1]
    for i, slots in zip(parametric, state.optimizer_state or (), strict=False):
        for name, (w, b) in slots.items():
            yield f"optimizer.{name}.layers.{i}.weight", w
            yield f"optimizer.{name}.layers.{i}.bias", b
    scale, shift = state.scaling
    if scale is not None and shift is not None and _uniform(state.scaling) is None:
        yield "input.scale", scale
        yield "input.shift", shift


def _bytes_of(array: Array) -> memoryview:
    return np.ascontiguousarray(array).data.cast("B")


def _content_hash(network: str, tensors: dict[str, Array]) -> str:
    """SHA-256 over lengths and contents, so that no two networks read the same."""
    parts: list[bytes | memoryview] = [network.encode("utf-8", "surrogatepass")]
    for name in sorted(tensors):
        array = tensors[name]
        parts += (
            name.encode(),
            f"{_DTYPES[array.dtype]}{list(array.shape)}".encode(),
            _bytes_of(array),
        )
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def _read(path: str | os.PathLike[str]) -> tuple[bytes, Header]:
    """Read a regular file, once its header and its size make sense."""
    with open_regular(path) as (file, size):
        start = file.read(8)
        start += file.read(header_end(start, size) - 8)
        header = read_header(start, size)
        file.seek(0)  # rather than a second copy, to join two parts
        data = file.read(size)
    if len(data) != size or not data.startswith(start):
        raise ModelFormatError("the file changed while it was read")
    return data, header


def _parse_tensors(data: bytes) -> dict[str, Array]:
    from safetensors import SafetensorError
    from safetensors.numpy import load as deserialize

    try:
        return deserialize(data)
    except SafetensorError as error:
        raise ModelFormatError(f"not a safetensors file: {error}") from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Rust, and no Exception
            raise
        raise MemoryError("no memory for the tensors of the file") from None


def _check_values(
    tensors: dict[str, Array], plan: Plan, allow_non_finite: bool
) -> None:
    for name, array in tensors.items():
        always = name.startswith("input.")
        if (always or not allow_non_finite) and not np.isfinite(array).all():
            hint = "" if always else " (allow_non_finite=True takes them)"
            raise ModelFormatError(f"tensor {name!r} has non-finite values{hint}")
        squares = name.endswith(".running_var") or (
            name.startswith("optimizer.")
            and name.split(".")[1] in plan.optimizer.squares
        )
        if squares and (array < 0).any():
            raise ModelFormatError(f"tensor {name!r} has negative values")
    for i, layer in enumerate(plan.layers):
        if not getattr(layer, "use_bias", True):
            name = f"layers.{i}.bias"
            if tensors[name].any():
                raise ModelFormatError(f"tensor {name!r} of a layer without bias")


def _pair(
    tensors: dict[str, Array], prefix: str, names: tuple[str, str] = _PARAMETERS
) -> Pair:
    return tensors[f"{prefix}.{names[0]}"], tensors[f"{prefix}.{names[1]}"]
