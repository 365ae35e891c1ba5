"""A process per peer: each with its own libraries, threads and memory.

The parent asks for one thing at a time, so that one process works and the others sleep.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from fastnn._core.native.engine import set_num_threads

from ._roofs import Roofs
from ._timing import SHORT_SPIN_SECONDS, TIMED_SECONDS, block_seconds
from .peers import load
from .peers.fastnn import lane
from .peers.setup import Side
from .peers.tasks import Task

if TYPE_CHECKING:
    from fastnn._base.types import Array


__all__ = ["Child", "import_seconds", "peak_bytes", "without_kernel_settings"]

_SHARE_SECONDS = 0.01
# Of BLAS libraries and others: which kernels, and for which caches. Not their threads.
_KERNEL_SETTING = re.compile(
    r"(OPENBLAS|GOTO|MKL|BLIS|NVPL_BLAS|DNNL|ONEDNN|ATEN_CPU|NPY_(EN|DIS)ABLE_CPU)_"
    r"(?!.*THREAD).*"
)


@contextlib.contextmanager
def without_kernel_settings() -> Iterator[dict[str, str]]:
    """Take what slows peers down out of the environment of new processes; yield it."""
    dropped = {n: v for n, v in os.environ.items() if _KERNEL_SETTING.fullmatch(n)}
    for name in dropped:
        del os.environ[name]
    try:
        yield dropped
    finally:
        os.environ.update(dropped)


class Child:
    """The process of a peer, to be used in a `with` block.

    Errors in it are raised here as RuntimeError with the peer's name.
    """

    def __init__(self, peer: str) -> None:
        self.peer = peer
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, peer), daemon=True)
        self._process.start()
        other.close()

    def settings(self, task: Task) -> list[str]:
        """Return the settings that the peer can do a task with."""
        found: list[str] = self._ask("settings", task)
        return found

    def outputs(self, task: Task, setting: str) -> Array:
        """Set the task up, and return the probabilities that the peer computes."""
        found: Array = self._ask("outputs", task, setting)
        return found

    def block(self, pause: float = 0.0, timed: float = TIMED_SECONDS) -> float:
        """Run a block of what `outputs` set up last; return the seconds per task."""
        found: float = self._ask("block", pause, timed)
        return found

    def peak(self, dtype: str, threads: int) -> float:
        """Return the flops per second that are possible now."""
        found: float = self._ask("peak", dtype, threads)
        return found

    def peak_after(self, task: Task, setting: str) -> int:
        """Return the peak memory in bytes of the process, having done a task once."""
        found: int = self._ask("peak_after", task, setting)
        return found

    def threads_used(self, task: Task, allowed: int) -> int:
        """Return how many of the threads allowed fastnn keeps busy with a task."""
        found: int = self._ask("threads_used", task, allowed)
        return found

    def _ask(self, method: str, *arguments: object) -> Any:
        try:
            self._connection.send((method, arguments))
            error, answer = self._connection.recv()
        except (EOFError, ConnectionError):
            self._process.join(1)
            raise RuntimeError(
                f"the process of {self.peer} ended: {self._process.exitcode}"
            ) from None
        if error is not None:
            raise RuntimeError(f"{self.peer}: {error}")
        return answer

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()
        self._process.join(1)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()


class _Worker:
    """The other end: the methods are those of `Child`."""

    def __init__(self, peer: str) -> None:
        self._module = load(peer)
        self._side: Side | None = None

    def settings(self, task: Task) -> list[str]:
        return self._module.settings(task)

    def outputs(self, task: Task, setting: str) -> Array:
        self._side = None  # frees its memory before the next one takes its own
        self._side = self._module.side(task, setting)
        self._side.run()  # compiles, touches memory
        return self._side.outputs

    @cached_property
    def _roofs(self) -> Roofs:
        return Roofs()

    def block(self, pause: float, timed: float) -> float:
        assert self._side is not None
        return block_seconds(self._side.run, pause, timed) / self._side.times

    def peak(self, dtype: str, threads: int) -> float:
        return self._roofs.flops(dtype, threads)

    def peak_after(self, task: Task, setting: str) -> int:
        self.outputs(task, setting)
        return peak_bytes()

    def threads_used(self, task: Task, allowed: int) -> int:
        # Small tasks begin on one thread, until the rates with and without the team
        # are known.
        set_num_threads(allowed)
        run = lane(task, "native").run
        cpu_shares(run, 10)
        shares = []
        for _ in range(5):
            time.sleep(SHORT_SPIN_SECONDS)  # whatever slows the team down may pass
            shares += cpu_shares(run, 3)
        return min(allowed, max(1, round(max(shares))))


def _serve(connection: Connection, peer: str) -> None:
    # Ctrl-C reaches the parent as well, which then closes the connection.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, ConnectionError):
        worker = _attempt(lambda: _Worker(peer))  # imports while others do
        while True:
            method, arguments = connection.recv()
            answer = worker
            if worker[0] is None:
                answer = _attempt(partial(getattr(worker[1], method), *arguments))
            connection.send(answer)


def _attempt(function: Callable[[], Any]) -> tuple[str | None, Any]:
    """Return (None, the result), or (the error as text, None)."""
    try:
        return None, function()
    except Exception as error:
        return f"{type(error).__name__}: {error}", None


def cpu_shares(run: Callable[[], object], blocks: int) -> list[float]:
    """Return CPU time of this process / elapsed time, block by block."""
    shares = []
    for _ in range(blocks):
        start, work = time.perf_counter(), time.process_time()
        while (elapsed := time.perf_counter() - start) < _SHARE_SECONDS:
            run()
        shares.append((time.process_time() - work) / elapsed)
    return shares


def peak_bytes() -> int:
    """Return the peak resident memory of this process; 0 on Windows."""
    # getrusage() of a child begins with the peak of its parent on Linux.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    try:
        import resource
    except ImportError:  # on Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def import_seconds(module: str) -> float:
    """Return how long a new process takes to import a module."""
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "import time; start = time.perf_counter()\n"
        f"import {module}\n"
        "print(time.perf_counter() - start)"
    )
    # Bytecode is kept, as where pip installs.
    kept = {n: v for n, v in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"}
    run = partial(subprocess.run, capture_output=True, text=True, env=kept)
    child = run([sys.executable, "-c", code])
    if child.returncode != 0:
        last = child.stderr.strip().splitlines()[-1:]
        raise RuntimeError(f"cannot import {module}: {' '.join(last)}")
    return float(child.stdout.split()[-1])
