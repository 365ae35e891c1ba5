"""The NumPy reference of fastnn: what it computes, written to be read."""

from __future__ import annotations

from .fastnn import lane
from .setup import Side, set_blas_threads, thread_settings
from .tasks import Task

__all__ = ["settings", "side"]


def settings(task: Task) -> list[str]:
    """Return the thread counts of its BLAS."""
    return thread_settings()


def side(task: Task, setting: str) -> Side:
    """Set the task up on the reference engine."""
    set_blas_threads(setting)
    return lane(task, "numpy")
