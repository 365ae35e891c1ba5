"""ONNX models to and from states of networks, once the package onnx is there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from fastnn._base.errors import ModelFormatError
from fastnn._core.exchange.files import open_regular
from fastnn._core.exchange.pipeline import Pipeline, pipeline_of
from fastnn._plan.plan import make_plan

from .recipes import MAX_BYTES

if TYPE_CHECKING:
    from fastnn._core.exchange.stack import Options
    from fastnn._core.model.state import ModelState
    from fastnn.losses import Loss

__all__ = ["make_onnx", "make_onnx_of_table", "read_onnx", "require_onnx"]


def require_onnx() -> None:
    """Raise ImportError with the name of the package if onnx is absent."""
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise ImportError("ONNX needs the package onnx: pip install onnx") from None


def make_onnx(state: ModelState, columns: bool = False) -> Any:
    """Return the ``onnx.ModelProto``; see `Network.to_onnx`."""
    if columns:
        return make_onnx_of_table(pipeline_of(state))
    require_onnx()
    from .export import make_model

    return make_model(state)


def make_onnx_of_table(pipeline: Pipeline) -> Any:
    """Return the ``onnx.ModelProto`` that takes the columns of a table by name."""
    require_onnx()
    from .table import make_pipeline

    return make_pipeline(pipeline)


def read_onnx(
    model: str | os.PathLike[str] | bytes | Any,
    output: str | None,
    loss: str | Loss | None,
    options: Options,
) -> ModelState:
    """Return the network of a model; see `Network.from_onnx`."""
    require_onnx()
    from .reader import read_model

    if loss is not None:
        make_plan([1, 2], loss)  # checks it
    name, folder = "", None
    if isinstance(model, str | os.PathLike):
        name, folder = f"{os.fspath(model)!s}: ", os.path.dirname(os.fsdecode(model))
    try:
        return read_model(*_read(model), output, loss, options, folder)
    except ModelFormatError as error:
        raise ModelFormatError(f"{name}{error}") from None


def _read(model: Any) -> tuple[Any, int]:
    """Return the ModelProto, and the number of its bytes."""
    import onnx
    from google.protobuf.message import DecodeError

    if isinstance(model, onnx.ModelProto):
        return model, model.ByteSize()
    if not isinstance(model, bytes):
        with open_regular(os.fspath(model)) as (file, size):
            if size > MAX_BYTES:
                raise ModelFormatError(
                    f"{size} bytes long; expected at most {MAX_BYTES}"
                )
            model = file.read(size)
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(model)
    except (DecodeError, RuntimeError) as error:
        raise ModelFormatError(f"no ONNX model: {error}") from None
    return proto, len(model)
