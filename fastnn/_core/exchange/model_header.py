"""The header of a model file: what it says, in one form only, and what must match it.

``start`` is always the beginning of a file: 8 bytes with the header's length, and the
header, a JSON object with the metadata and the dtype, shape and place of each tensor.
"""

from __future__ import annotations

import contextlib
import json
import math
from reprlib import repr as short
from typing import Any, NamedTuple

from fastnn._base.errors import ModelFormatError
from fastnn._base.frozen import dataclass
from fastnn._core.model.state import Progress
from fastnn._plan.plan import Plan
from fastnn._plan.schema import Schema, check_schema
from fastnn._plan.targets import TargetScaling, parse_target_scaling

__all__ = [
    "MAX_HEADER",
    "Description",
    "Header",
    "canonical_header",
    "header_end",
    "read_header",
    "require_room",
]

_FORMAT = "1"
_ENTRY_KEYS = {"data_offsets", "dtype", "shape"}
_ITEMSIZE = {"F32": 4, "F64": 8}
_METADATA_KEYS = {"fastnn.format", "fastnn.network", "fastnn.sha256"}
# A layer takes up to 800 bytes: room for more than a thousand layers, while a hostile
# header cannot make the JSON parser eat the memory.
MAX_HEADER = 1 << 20
# Bytes of a header for each list or object in it, those of fastnn.network included:
# fastnn writes more than 30. Empty lists by the hundred thousand keep a parser busy.
_MIN_BYTES_EACH = 8
_MAX_COUNT = 2**63 - 1


@dataclass(frozen=True)
class Description:
    """Everything about a network that is not in tensors."""

    plan: Plan
    seed: int
    step: int
    progress: Progress
    scaling: tuple[float, float] | None  # of all inputs; None: it is in tensors
    has_optimizer_state: bool
    schema: Schema | None = None
    targets: TargetScaling | None = None

    def to_json(self) -> str:
        """Return the text of fastnn.network."""
        progress = self.progress
        # Left out if there is none, as before there were any.
        extra: dict[str, Any] = {}
        if self.schema is not None:
            extra["schema"] = self.schema.to_dict()
        if self.targets is not None:
            extra["targets"] = [
                [array.tolist() for array in each] if isinstance(each, tuple) else each
                for each in (self.targets.scale, self.targets.range)
            ]
        return _canonical_json(
            {
                "plan": self.plan.to_dict(),
                "seed": self.seed,
                "step": int(self.step),
                "progress": {
                    "epoch": progress.epoch,
                    "first_epoch": progress.first_epoch,
                    "n_rows": progress.n_rows,
                    "batch_size": progress.batch_size,
                    "accumulate": progress.accumulate,
                    "shuffle": progress.shuffle,
                    "cursor": progress.cursor[0],
                    "totals": progress.totals.tolist(),
                },
                "input_scaling": list(self.scaling or ()),
                "optimizer_state": self.has_optimizer_state,
                **extra,
            }
        )

    @classmethod
    def from_json(cls, text: Any) -> Description:
        """Return what `to_json` described; else raise ModelFormatError."""
        if not isinstance(text, str):
            raise ModelFormatError("fastnn.network is not a string")
        reader = _Reader("fastnn.network", _parse_json(text))
        plan = Plan.from_dict(reader.take("plan", dict))
        description = cls(
            plan=plan,
            seed=reader.take_int("seed", 2**64 - 1),
            step=reader.take_int("step"),
            progress=_progress_from_dict(reader.take("progress", dict)),
            scaling=_scaling_from_list(reader.take("input_scaling", list)),
            has_optimizer_state=reader.take("optimizer_state", bool),
            schema=reader.take_schema(),
            targets=reader.take_targets(plan),
        )
        reader.finish()
        try:
            check_schema(description.schema, description.plan)
        except ValueError as error:
            raise ModelFormatError(f"schema: {error}") from None
        return description

    def tensors(self) -> dict[str, tuple[str, list[int]]]:
        """Return dtype and shape of every tensor of the file, by name."""
        plan, widths = self.plan, self.plan.widths
        dtype = {"float32": "F32", "float64": "F64"}[plan.array_dtype]
        tensors = {}
        prefixes = [""]
        if self.has_optimizer_state:
            prefixes += [f"optimizer.{name}." for name in plan.optimizer.state_names]
        for i, shapes in zip(plan.parametric_layers, plan.shapes, strict=True):
            for prefix in prefixes:
                tensors[f"{prefix}layers.{i}.weight"] = dtype, [*shapes[0]]
                tensors[f"{prefix}layers.{i}.bias"] = dtype, [*shapes[1]]
        for i, layer in enumerate(plan.layers):
            if layer.name == "batch_norm":
                tensors[f"layers.{i}.running_mean"] = dtype, [widths[i + 1]]
                tensors[f"layers.{i}.running_var"] = dtype, [widths[i + 1]]
        if self.scaling is None:
            tensors["input.scale"] = "F64", [plan.n_inputs]
            tensors["input.shift"] = "F64", [plan.n_inputs]
        return tensors


class Header(NamedTuple):
    """The content of a header that was checked against the size of its file."""

    network: str  # fastnn.network as it stands there
    sha256: str
    description: Description


def canonical_header(
    tensors: dict[str, Any], network: str | None = None, sha256: str | None = None
) -> bytes:
    """Sorted, without spaces, padded to a multiple of 8 to keep the tensors aligned."""
    if network is not None:
        metadata = {
            "fastnn.format": _FORMAT,
            "fastnn.network": network,
            "fastnn.sha256": sha256,
        }
        tensors = {**tensors, "__metadata__": metadata}
    text = _canonical_json(tensors).encode()
    return text.ljust(-(-len(text) // 8) * 8)


def header_end(start: bytes, size: int) -> int:
    """Return where the header ends, from the first 8 bytes of `size`."""
    length = int.from_bytes(start[:8], "little")
    if size < 8 or not 2 <= length <= min(size - 8, MAX_HEADER):
        raise ModelFormatError("not a safetensors file, or a truncated one")
    return 8 + length


def require_room(n_bytes: int) -> None:
    """Raise ValueError if a header of this length would be refused when loaded."""
    if n_bytes > MAX_HEADER:
        raise ValueError(
            f"the names of layers, columns and classes take {n_bytes:,} bytes; a model "
            f"file holds {MAX_HEADER:,}"
        )


def read_header(start: bytes, size: int) -> Header:
    """Return what the header says.

    Everything is checked but the values of the tensors: their names, dtypes and shapes
    are those of the network, and make up a file of `size` bytes.
    """
    end = header_end(start, size)
    header = _parse_header(start[8:end])
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or set(metadata) != _METADATA_KEYS:
        raise ModelFormatError("not a fastnn model: the metadata of fastnn is missing")
    if metadata["fastnn.format"] != _FORMAT:
        raise ModelFormatError(
            f"format {short(metadata['fastnn.format'])} is unknown; expected {_FORMAT}"
        )
    network = metadata["fastnn.network"]
    description = Description.from_json(network)
    tensors = description.tensors()
    _check_tensors(header, tensors)
    # Python's integers do not overflow.
    n_bytes = 0
    for dtype, shape in tensors.values():
        n_bytes += math.prod(shape) * _ITEMSIZE[dtype]
    if size != end + n_bytes:
        raise ModelFormatError(f"{size} bytes long; expected {end + n_bytes}")
    return Header(network, metadata["fastnn.sha256"], description)


def _canonical_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _parse_json(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFormatError(f"invalid JSON: {error}") from None


def _parse_header(text: bytes) -> dict[str, Any]:
    if (text.count(b"[") + text.count(b"{")) * _MIN_BYTES_EACH > len(text):
        raise ModelFormatError(
            "more lists and objects in the header than fastnn writes"
        )
    header = _parse_json(text)
    # One form only: a damaged byte, a repeated key or a stray space shows.
    with contextlib.suppress(ValueError, RecursionError):
        if isinstance(header, dict) and canonical_header(header) == text:
            return header
    raise ModelFormatError("the header is not in the form that fastnn writes")


def _check_tensors(header: dict[str, Any], tensors: dict[str, Any]) -> None:
    """Compare the tensors that the header announces with those of the network."""
    for name in sorted(header.keys() | tensors.keys()):
        given = header.get(name, {})
        if isinstance(given, dict) and given.keys() == _ENTRY_KEYS:
            given = given["dtype"], given["shape"]
        if name not in tensors or given != tensors[name]:
            expected = tensors.get(name, "no such tensor")
            raise ModelFormatError(
                f"tensor {name[:80]!r} is {short(given or 'missing')}; "
                f"expected {expected}"
            )


def _scaling_from_list(values: list[Any]) -> tuple[float, float] | None:
    if not values:
        return None
    if len(values) != 2 or not _are_finite(values):
        raise ModelFormatError("input_scaling must be two finite numbers")
    return values[0], values[1]


def _progress_from_dict(data: dict[str, Any]) -> Progress:
    reader = _Reader("progress", data)
    epoch, n_rows = reader.take_int("epoch"), reader.take_int("n_rows")
    totals = reader.take("totals", list)
    progress = Progress(
        epoch=epoch,
        first_epoch=reader.take_int("first_epoch", epoch),
        n_rows=n_rows,
        batch_size=reader.take_int("batch_size"),
        accumulate=reader.take_int("accumulate"),
        shuffle=reader.take("shuffle", bool),
        cursor=[reader.take_int("cursor", n_rows)],
    )
    reader.finish()
    cursor, update_rows = progress.cursor[0], progress.batch_size * progress.accumulate
    if update_rows < 1 or (cursor % update_rows and cursor != n_rows):
        raise ModelFormatError("progress: cursor is not on the boundary of an update")
    # The first is a sum of losses, and Poisson's may be negative.
    if len(totals) != 3 or not _are_finite(totals) or min(totals[1:]) < 0.0:
        raise ModelFormatError(
            "progress: totals must be three finite numbers, the last two >= 0"
        )
    progress.totals[:] = totals
    return progress


def _are_finite(values: list[Any]) -> bool:
    return all(isinstance(value, float) and math.isfinite(value) for value in values)


class _Reader:
    """Takes values of known types out of a JSON object, and nothing else."""

    def __init__(self, name: str, data: Any) -> None:
        if not isinstance(data, dict):
            raise ModelFormatError(f"{name} is not a JSON object")
        self._name = name
        self._data = dict(data)

    def take(self, key: str, kind: type) -> Any:
        if key not in self._data:
            raise ModelFormatError(f"{self._name}: {key} is missing")
        value = self._data.pop(key)
        if type(value) is not kind:  # elsewhere, a bool is an int
            raise ModelFormatError(
                f"{self._name}: {key} is {short(value)}; expected {kind.__name__}"
            )
        return value

    def take_int(self, key: str, maximum: int = _MAX_COUNT) -> int:
        value: int = self.take(key, int)
        if not 0 <= value <= maximum:
            raise ModelFormatError(
                f"{self._name}: {key} is {short(value)}; expected 0..{maximum}"
            )
        return value

    def take_schema(self) -> Schema | None:
        if "schema" not in self._data:
            return None
        return Schema.from_dict(self._data.pop("schema"))

    def take_targets(self, plan: Plan) -> TargetScaling | None:
        if "targets" not in self._data:
            return None
        try:
            scale, limits = self.take("targets", list)
            return parse_target_scaling(scale, limits, plan)
        except (TypeError, ValueError) as error:
            raise ModelFormatError(f"targets: {error}") from None

    def finish(self) -> None:
        if self._data:
            raise ModelFormatError(
                f"{self._name}: unknown key {short(min(self._data))}"
            )
