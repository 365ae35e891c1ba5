"""The peers of fastnn: a module each, imported only in the process of that peer.

Whatever knows the package of a peer lives here; how it is timed does not. To add a
peer: a line in `PEERS`, and a module `<name>.py` here with

- ``settings(task)``: the ways it might do the task best, none if it cannot do it;
- ``side(task, setting)``: one of them, set up.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from .setup import Side
    from .tasks import Task


__all__ = [
    "PEERS",
    "PeerModule",
    "absent",
    "choose",
    "load",
]

# The modules that each needs. fastnn is the first: ratios are relative to it.
PEERS: dict[str, tuple[str, ...]] = {
    "fastnn": (),
    "reference": (),
    "numpy": (),
    "torch": ("torch",),
    "jax": ("jax",),
    "scikit-learn": ("sklearn",),
    "onnxruntime": ("onnxruntime", "onnx"),
}


class PeerModule(Protocol):
    """The two functions of a peer's module."""

    def settings(self, task: Task) -> list[str]:
        """Return the names of the settings to choose from."""

    def side(self, task: Task, setting: str) -> Side:
        """Set the task up; the setting holds for the process until the next call."""


def absent(name: str) -> bool:
    """Whether a module that the peer needs is not installed."""
    return any(importlib.util.find_spec(module) is None for module in PEERS[name])


def choose(names: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Return (present, absent) peers of those named; None for all.

    fastnn and its NumPy reference are always among them.

    Raises
    ------
    ValueError
        A name is not one of `PEERS`.
    """
    for name in names or ():
        if name not in PEERS:
            raise ValueError(
                f"there is no peer {name!r}; expected some of {', '.join(PEERS)}"
            )
    wanted = [
        name
        for name in PEERS
        if names is None or name in names or name in ("fastnn", "reference")
    ]
    missing = [name for name in wanted if absent(name)]
    return [name for name in wanted if name not in missing], missing


def load(name: str) -> PeerModule:
    """Import the module of a peer, and the peer with it."""
    module = f".{name.replace('-', '_')}"
    return cast(PeerModule, importlib.import_module(module, __package__))
