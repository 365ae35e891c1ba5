"""Tensors that lie in files beside a model, as PyTorch writes them.

A file must be in the folder of the model or below it, also once links are followed, and
regular. No more is read of it than a tensor has.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from reprlib import repr as short
from typing import Any

from fastnn._core.exchange.files import open_regular

from .recipes import MAX_BYTES

__all__ = ["ExternalFiles"]


class ExternalFiles:
    """The files of a model in this folder; None if the model is no file."""

    def __init__(self, folder: str | None) -> None:
        self._folder = None if folder is None else Path(folder)
        self._sizes: dict[Path, int] = {}

    def read(self, entries: Iterable[Any], n_bytes: int) -> tuple[bytes, int]:
        """Return the bytes of a tensor, and the size of the file if it is new."""
        if self._folder is None:
            raise ValueError(
                "is in another file; expected the path of the model beside it, or all "
                "in one (onnx.save(model, path, save_as_external_data=False))"
            )
        of = {each.key: each.value for each in entries}
        path = self._path(of.get("location", ""))
        start = _number(of, "offset", 0)
        length = _number(of, "length", n_bytes)
        if length != n_bytes:
            raise ValueError(f"has {length} bytes in its file; expected {n_bytes}")
        with open_regular(path) as (file, size):
            n_new = 0 if path in self._sizes else size
            self._sizes[path] = size
            if sum(self._sizes.values()) > MAX_BYTES:
                raise ValueError(f"is in files of more than {MAX_BYTES} bytes")
            file.seek(start)
            data = file.read(n_bytes) if start + n_bytes <= size else b""
        if len(data) != n_bytes:
            raise ValueError(
                f"is {n_bytes} bytes from byte {start} on of {path.name!r}, which has "
                f"{size}"
            )
        return data, n_new

    def _path(self, location: str) -> Path:
        assert self._folder is not None
        parts = re.split(r"[/\\]", location)
        if "" in parts or ".." in parts or "\0" in location or os.path.isabs(location):
            raise ValueError(
                f"is in {short(location)}; expected a file in the folder of the model, "
                "by its relative path"
            )
        path = Path(os.path.realpath(self._folder / location))
        if not path.is_relative_to(os.path.realpath(self._folder)):
            raise ValueError(
                f"is in {short(location)}, a link that leads out of the folder of the "
                "model"
            )
        return path


def _number(of: dict[str, str], key: str, default: int) -> int:
    if key not in of:
        return default
    if not re.fullmatch("[0-9]{1,15}", of[key]):
        raise ValueError(f"has the {key} {short(of[key])}; expected a number")
    return int(of[key])
