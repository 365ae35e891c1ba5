"""Who may use a network: one thread that trains, or any number that predict.

Nobody waits: what cannot be had at once raises BusyError, so that a mistake shows where
it is made instead of as a deadlock. The thread that trains may also predict, because
callbacks do.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fastnn._base.errors import BusyError


class Access:
    """A reader-writer lock that raises instead of waiting."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._owner: int | None = None  # the thread that trains
        self._readers: set[object] = set()  # one token per call that reads

    def acquire(self) -> None:
        """Take exclusive access for this thread."""
        self._forget_other_process()
        with self._lock:
            if self._owner is not None:
                who = "this" if self._owner == threading.get_ident() else "another"
                raise BusyError(f"{who} thread is already training this network")
            if self._readers:
                raise BusyError("another thread is predicting with this network")
            self._owner = threading.get_ident()

    def release(self) -> None:
        """Give back what `acquire` took."""
        self.require_owner()
        self._owner = None

    def require_owner(self) -> None:
        """Raise RuntimeError unless this thread has exclusive access."""
        self._forget_other_process()
        if self._owner != threading.get_ident():
            raise RuntimeError("this thread has not acquired the network")

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Exclusive access for a block, also inside `acquire` ... `release`."""
        if self._owner == threading.get_ident():
            yield
            return
        self.acquire()
        try:
            yield
        finally:
            self.release()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Shared access for a block, also inside `acquire` ... `release`."""
        self._forget_other_process()
        token = object()
        try:
            with self._lock:
                if self._owner not in (None, threading.get_ident()):
                    raise BusyError("another thread is training this network")
                # Inside the try, so that Ctrl-C cannot leave a token behind.
                self._readers.add(token)
            yield
        finally:
            self._readers.discard(token)

    def _forget_other_process(self) -> None:
        # A forked child has only the thread that forked: the others do not train or
        # predict in it, and would never let go.
        if self._pid != os.getpid():
            self._lock = threading.Lock()
            self._readers = set()
            if self._owner != threading.get_ident():
                self._owner = None
            self._pid = os.getpid()
