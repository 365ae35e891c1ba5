"""The NumPy reference."""

from __future__ import annotations

from ._bench_peer_fastnn import lane
from ._bench_peers import Side
from ._bench_tasks import Task
from ._bench_threads import set_blas_threads, thread_settings

__all__ = ["settings", "side"]


def settings(task: Task) -> list[str]:
    """Return the thread counts of its BLAS."""
    return thread_settings()


def side(task: Task, setting: str) -> Side:
    """Set the task up on the reference engine."""
    set_blas_threads(setting)
    return lane(task, "numpy")
