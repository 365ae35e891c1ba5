"""`mpiexec -n 4 fastnn train`: the ranks that an MPI has started, if there are some."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["world"]


def world() -> Any:
    """MPI.COMM_WORLD if this process is one of several ranks, else None."""
    sizes = (os.environ.get(name) for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE"))
    if all(size in (None, "1") for size in sizes):
        return None
    try:
        from mpi4py import MPI
    except ImportError:
        raise ImportError(
            "training on several ranks needs the package mpi4py: pip install mpi4py"
        ) from None
    return MPI.COMM_WORLD
