"""The peers of fastnn: a module each, imported only in the process of that peer.

Whatever knows the package of a peer lives here; how it is timed does not. To add a
peer: a line in `PEERS`, and a module `<name>.py` here with

- ``settings(task)``: the ways it might do the task best, none if it cannot do it;
- ``side(task, setting)``: one of them, set up.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from fastnn._core.native.threads import default_num_threads

if TYPE_CHECKING:
    from fastnn._base.types import Array
    from fastnn.bench._tasks import Task


__all__ = [
    "PEERS",
    "PeerModule",
    "Side",
    "absent",
    "choose",
    "load",
    "require_threadpoolctl",
    "set_blas_threads",
    "thread_settings",
    "threads_of",
]

# The modules that each needs. fastnn is the first: ratios are relative to it.
PEERS: dict[str, tuple[str, ...]] = {
    "fastnn": (),
    "numpy": (),
    "torch": ("torch",),
    "jax": ("jax",),
    "scikit-learn": ("sklearn",),
    "onnxruntime": ("onnxruntime", "onnx"),
}


@dataclass(frozen=True)
class Side:
    """A peer with a task set up.

    Parameters
    ----------
    outputs : ndarray
        Probabilities that this code computed, to be compared: of training, those after
        one step or a small epoch.
    run : callable
        Does the task once.
    """

    outputs: Array
    run: Callable[[], object]


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
        if names is None or name in names or name in ("fastnn", "numpy")
    ]
    missing = [name for name in wanted if absent(name)]
    return [name for name in wanted if name not in missing], missing


def load(name: str) -> PeerModule:
    """Import the module of a peer, and the peer with it."""
    module = f".{name.replace('-', '_')}"
    return cast(PeerModule, importlib.import_module(module, __package__))


def thread_settings() -> list[str]:
    """Return "1 thread" and, where there are more, as many as fastnn may use."""
    most = default_num_threads()
    return ["1 thread", f"{most} threads"] if most > 1 else ["1 thread"]


def threads_of(setting: str) -> int:
    """Return the number in a setting.

    Examples
    --------
    >>> threads_of("fused, 2 threads")
    2
    """
    found = re.search(r"(\d+) thread", setting)
    if found is None:
        raise ValueError(f"no number of threads in {setting!r}")
    return int(found[1])


def require_threadpoolctl() -> None:
    """Raise ImportError with the name of the package if threadpoolctl is absent.

    NumPy on all CPUs can be a hundred times slower than on one while other processes
    use them too: without the choice the comparison would be unfair.
    """
    if importlib.util.find_spec("threadpoolctl") is None:
        raise ImportError(
            "the benchmark needs the package threadpoolctl: pip install threadpoolctl"
        )


def set_blas_threads(setting: str) -> None:
    """Give NumPy's BLAS the threads of a setting of `thread_settings`."""
    import threadpoolctl

    threadpoolctl.threadpool_limits(threads_of(setting), user_api="blas")
