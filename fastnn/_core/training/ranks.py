"""The ranks of an MPI communicator as one: they agree, add up, and fail together.

No rank waits for one that has failed. All that a rank sends begins with `Ranks.agree`,
of one size whatever it is for, and a rank that fails takes part in the next one to say
so; the others then raise, too. Ctrl-C waits for it as well, so that all ranks stop at
the same point.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._base.fields import check_count

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from fastnn._base.types import Array, Floats

__all__ = ["Ranks"]

_FAILED, _PURPOSE, _FLAGS, _DIGEST, _SUMS = range(5)  # what a rank says, in float64
_INTERRUPTED = 2**20  # a flag, besides those of the caller


class Ranks:
    """This rank among the others, each of which has as many shards of all data.

    Parameters
    ----------
    communicator : mpi4py.MPI.Intracomm
    shards : int
        Of all ranks together: a power of two, and a multiple of their number.

    Attributes
    ----------
    rank, size, shards : int
    own : range
        The numbers of this rank's shards.
    """

    def __init__(self, communicator: Any, shards: Any) -> None:
        try:
            from mpi4py import MPI
        except ImportError:
            raise ImportError(
                "training on several ranks needs the package mpi4py: pip install mpi4py"
            ) from None
        if not isinstance(communicator, MPI.Intracomm):
            raise TypeError(
                "communicator must be one of mpi4py, such as MPI.COMM_WORLD, got "
                f"{communicator!r}"
            )
        self.rank, self.size = communicator.Get_rank(), communicator.Get_size()
        # Of all, so that all refuse what one has wrong.
        values = communicator.allgather(shards)
        for rank, value in enumerate(values):
            count = check_count(f"shards of rank {rank}", value)
            if count & (count - 1) or count % self.size or value != values[0]:
                raise ValueError(
                    f"shards of rank {rank} is {value}; expected the same power of two "
                    f"on all {self.size} ranks, and a multiple of their number"
                )
        self.shards = int(shards)
        each = self.shards // self.size
        self.own = range(self.rank * each, (self.rank + 1) * each)
        self._communicator = communicator.Dup()
        self._mine = np.zeros(_SUMS + 3 * each)
        self._all = np.zeros((self.size, len(self._mine)))
        self._room = np.empty(0)
        self._is_talking = False  # an exception now leaves the others in the dark
        self._is_settled = False  # all know that one has failed
        self._is_interrupted = self._has_handler = False

    def __enter__(self) -> Ranks:
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            self._has_handler = True
            signal.signal(signal.SIGINT, self._interrupt)
        return self

    def _interrupt(self, number: int, frame: object) -> None:
        self._is_interrupted = True
        self._restore()  # a second Ctrl-C does not wait

    def _restore(self) -> None:
        if self._has_handler:
            self._has_handler = False
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def __exit__(
        self, kind: object, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not self._is_settled:
            self._tell(error)
        self._communicator.Free()
        self._restore()
        if error is None and self._is_interrupted:
            raise KeyboardInterrupt

    def cut(self, n_rows: int) -> Array:
        """The first row of each shard of this many, and their number."""
        return np.arange(self.shards + 1) * n_rows // self.shards

    def num_threads(self) -> int:
        """The threads for this rank, so that those of a machine do not get in each
        other's way: where they may run on the same cores, they divide them."""
        from mpi4py import MPI

        from fastnn._core.native.engine import get_num_threads

        if hasattr(os, "sched_getaffinity"):
            cores = sorted(os.sched_getaffinity(0))
        else:
            cores = list(range(os.cpu_count() or 1))
        here = self._communicator.Split_type(MPI.COMM_TYPE_SHARED)
        users = Counter(core for each in here.allgather(cores) for core in each)
        here.Free()
        share = sum(1.0 / users[core] for core in cores) / len(cores)
        return max(1, int(get_num_threads() * share + 1e-6))

    def agree(
        self, purpose: int, sums: Floats | None = None, flags: int = 0, digest: int = 0
    ) -> tuple[Floats, int]:
        """Return the sums (shards, 3) of all shards, and the flags of all ranks.

        `purpose` and `digest` must be the same on all.
        """
        mine = self._mine
        flags |= _INTERRUPTED * self._is_interrupted
        mine[:_SUMS] = 0.0, purpose, flags, digest
        mine[_SUMS:] = 0.0 if sums is None else sums.reshape(-1)
        said = self._exchange()
        for column, what in ((_PURPOSE, "do different things"), (_DIGEST, "differ")):
            others = np.flatnonzero(said[:, column] != said[0, column])
            if others.size:
                self._is_settled = True
                raise RuntimeError(
                    f"the networks of ranks 0 and {others[0]} {what}; expected the "
                    "same calls and callbacks, with the same effects, on all ranks"
                )
        all_flags = int(np.bitwise_or.reduce(said[:, _FLAGS].astype(np.int64)))
        if all_flags & _INTERRUPTED:
            self._is_settled = True
            raise KeyboardInterrupt
        return said[:, _SUMS:].reshape(self.shards, 3), all_flags

    def gather(self, purpose: int, value: Any) -> list[Any]:
        """Return the values of all ranks, once all have one."""
        self.agree(purpose)
        return list(self._talk(self._communicator.allgather, value))

    def require_same(self, purpose: int, facts: Mapping[str, object]) -> None:
        """Raise ValueError, on all ranks, if a fact is not the same on all."""
        everyone = self.gather(purpose, dict(facts))
        for rank, others in enumerate(everyone):
            for name, value in everyone[0].items():
                if others[name] != value:
                    self._is_settled = True
                    raise ValueError(
                        f"{name} of rank {rank} is {others[name]}; expected {value}, "
                        "as on rank 0"
                    )

    def add_up(self, values: Array) -> None:
        """Replace the values by their sums over all ranks.

        Neighbours are added, then pairs of neighbours, and so on, whatever the number
        of ranks: the tree of the shards goes on. Each rank adds a part of the values
        (recursive halving), and then gets the others.

        R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of collective communication
        operations in MPICH", 2005, section 4.5.
        """
        if self._room.shape != values.shape or self._room.dtype != values.dtype:
            self._room = np.empty_like(values)
        self._talk(self._add_up, values, self._room)

    def _add_up(self, values: Array, room: Array) -> None:
        begin, end, distance = 0, len(values), 1
        done: list[tuple[int, slice, slice]] = []
        exchange = self._communicator.Sendrecv
        while distance < self.size:
            partner, middle = self.rank ^ distance, (begin + end) // 2
            keep, give = slice(begin, middle), slice(middle, end)
            if self.rank & distance:
                keep, give = give, keep
            exchange(values[give], partner, 0, room[keep], partner)
            values[keep] += room[keep]
            done.append((partner, keep, give))
            begin, end, distance = keep.start, keep.stop, 2 * distance
        for partner, keep, give in reversed(done):
            exchange(values[keep], partner, 0, values[give], partner)

    def _exchange(self) -> Floats:
        """Return what all ranks say, or raise if one of them has failed."""
        self._talk(self._communicator.Allgather, self._mine, self._all)
        if self._all[:, _FAILED].any():
            self._fail("")
        return self._all

    def _fail(self, own: str) -> None:
        texts = self._talk(self._communicator.allgather, own)
        self._is_settled = True
        rank, text = next((i, text) for i, text in enumerate(texts) if text)
        if not own:
            raise RuntimeError(f"rank {rank} has failed: {text}")

    def _tell(self, error: BaseException) -> None:
        """Let the others know, with whatever they do next."""
        if self._is_talking and self.size > 1:
            # What the others wait for is not known: end them as well.
            traceback.print_exception(error)
            sys.stderr.flush()
            self._communicator.Abort(1)
        self._mine[:] = 0.0
        self._mine[_FAILED] = 1.0
        self._talk(self._communicator.Allgather, self._mine, self._all)
        self._fail(f"{type(error).__name__}: {error}")

    def _talk(self, function: Any, *arguments: Any) -> Any:
        self._is_talking = True
        result = function(*arguments)
        self._is_talking = False
        return result
