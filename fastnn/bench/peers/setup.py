"""How a peer is set up: its side of a comparison, and its threads."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastnn._core.native.threads import default_num_threads

if TYPE_CHECKING:
    from fastnn._base.types import Array

__all__ = [
    "Side",
    "require_threadpoolctl",
    "set_blas_threads",
    "thread_settings",
    "threads_of",
]


@dataclass(frozen=True)
class Side:
    """A peer with a task set up.

    Parameters
    ----------
    outputs : ndarray
        Probabilities that this code computed, to be compared: of training, those after
        one step or a small epoch.
    run : callable
        Does the task once, or `times` times.
    """

    outputs: Array
    run: Callable[[], object]
    times: int = 1


def thread_settings() -> list[str]:
    """Return "1 thread" and, on a machine with more, the most."""
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

    NumPy on as many threads as there are CPUs can be a hundred times as slow as on one
    while others use them too: not to have the choice would be an unfair comparison.
    """
    if importlib.util.find_spec("threadpoolctl") is None:
        raise ImportError(
            "the benchmark needs the package threadpoolctl: pip install threadpoolctl"
        )


def set_blas_threads(setting: str) -> None:
    """Give NumPy's BLAS the threads of a setting of `thread_settings`."""
    import threadpoolctl

    threadpoolctl.threadpool_limits(threads_of(setting), user_api="blas")
