"""What the environment says about threads."""

import math
import os

_CGROUP = "/sys/fs/cgroup"


def default_num_threads(cgroup: str | os.PathLike[str] = _CGROUP) -> int:
    """Return the most threads that this process should use.

    The least of the CPUs it may run on, the CPU quota of its control group (rounded
    up), ``FASTNN_NUM_THREADS`` and ``OMP_NUM_THREADS``.

    Raises
    ------
    ImportError
        If ``FASTNN_NUM_THREADS`` is not a positive integer.
    """
    limits = [_cpus(), _cgroup_quota(cgroup), _own_variable(), _openmp_variable()]
    return max(1, min(limit for limit in limits if limit is not None))


def spin_seconds() -> float:
    """Return how long a thread without work spins before it sleeps: ``FASTNN_SPIN_US``.

    Inside a region, one that waits for the others spins ten times as long.

    Raises
    ------
    ImportError
        If the variable is not a number of microseconds from 0 to 1 000 000.
    """
    text = os.environ.get("FASTNN_SPIN_US", "50")
    try:
        microseconds = float(text)
    except ValueError:
        microseconds = -1.0
    if not 0 <= microseconds <= 1e6:
        raise ImportError(
            f"FASTNN_SPIN_US is {text!r}; expected microseconds, 0 to 1000000"
        )
    return microseconds * 1e-6


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cgroup_quota(cgroup: str | os.PathLike[str]) -> int | None:
    """CPU quota of a container: version 2 has one file, version 1 two."""

    def text_of(*names: str) -> str:
        # Not pathlib, which is slow to import.
        with open(os.path.join(cgroup, *names), encoding="utf-8") as file:
            return file.read()

    try:
        quota, period = text_of("cpu.max").split()
    except (OSError, ValueError):
        try:
            quota = text_of("cpu", "cpu.cfs_quota_us")
            period = text_of("cpu", "cpu.cfs_period_us")
        except OSError:
            return None
    try:
        share = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max": no limit
        return None
    return max(1, math.ceil(share)) if share > 0 else None  # -1: no limit


def _own_variable() -> int | None:
    text = os.environ.get("FASTNN_NUM_THREADS")
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ImportError(f"FASTNN_NUM_THREADS is {text!r}; expected an integer >= 1")
    return int(text)


def _openmp_variable() -> int | None:
    # A list "4,2" holds a number per nesting level; anything else is not ours to judge.
    text = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(text) if text.isdecimal() and int(text) >= 1 else None
