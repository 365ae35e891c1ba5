"""State that a process has once: the instruction set, threads, forks, warnings."""

import os
import sys

from fastnn._base.fields import check_integer
from fastnn._base.version import __version__
from fastnn._base.warn import warn_user
from fastnn._core.native.threads import default_num_threads, spin_seconds

from libc.stdint cimport uintptr_t

cdef extern from "Python.h":
    # PyErr_CheckSignals, without a look at what it raised.
    int check_signals "PyErr_CheckSignals"() noexcept


def _select_isa():
    name = os.environ.get("FASTNN_ISA") or None
    encoded = name.encode() if name else None
    if fnn_select_isa(<const char *> encoded if name else NULL):
        return
    supported = [isa for isa in _built_isas() if fnn_select_isa(isa.encode())]
    raise ImportError(
        f"FASTNN_ISA is {name!r}; expected one that is built and that this CPU "
        f"supports: {', '.join(supported)}"
    )


def _built_isas():
    names = []
    cdef size_t i = 0
    while fnn_built_isa(i) != NULL:
        names.append(fnn_built_isa(i).decode())
        i += 1
    return names


cdef bint warned_of_bfloat16 = False


def _warn_of_bfloat16():
    """Once: bfloat16 is not faster than float32 here."""
    global warned_of_bfloat16
    single, pairs = fnn_multiply_add_rate(1), fnn_multiply_add_rate(2)
    if warned_of_bfloat16 or pairs > single:
        return
    warned_of_bfloat16 = True
    active = fnn_active_isa().decode()
    warn_user(
        "dtype 'bfloat16' is slower than 'float32' here: "
        + (
            f"this core does {single:.0f} multiply-adds of float32 a nanosecond, and "
            f"{pairs:.0f} of bfloat16"
            if pairs else
            f"the instruction set in use ({active}) has no products of bfloat16 "
            f"(AVX512-BF16 has), so float32 ones ({single:.0f} multiply-adds a "
            "nanosecond) take rounded operands"
        )
    )


_select_isa()
fnn_set_num_threads(default_num_threads())
fnn_set_spin(spin_seconds())


def build_info():
    """Return what was built and what is active: a dict of plain values.

    Keys: ``version``, ``compiler``, ``isa_built`` (best first), ``isa_active``,
    ``bfloat16`` (whether networks of that dtype are faster than of float32, if they are
    large: see ``multiply_adds_per_ns``), ``multiply_adds_per_ns`` (of one core on
    registers, measured once: of float32, and of bfloat16, 0.0 without AVX512-BF16),
    ``num_threads`` (the most a call may use) and ``threads_refused`` (how often the
    system would not start one).

    Examples
    --------
    >>> import fastnn
    >>> fastnn.build_info()["isa_active"] in fastnn.build_info()["isa_built"]
    True
    """
    return {
        "version": __version__,
        "compiler": fnn_compiler().decode(),
        "isa_built": _built_isas(),
        "isa_active": fnn_active_isa().decode(),
        "bfloat16": fnn_multiply_add_rate(2) > fnn_multiply_add_rate(1),
        "multiply_adds_per_ns": {
            "float32": round(fnn_multiply_add_rate(1), 1),
            "bfloat16": round(fnn_multiply_add_rate(2), 1),
        },
        "num_threads": fnn_get_num_threads(),
        "threads_refused": fnn_threads_refused(),
    }


def set_num_threads(n):
    """Set the most threads that a call may use; results do not depend on it.

    Parameters
    ----------
    n : int
        1 to 256.

    Examples
    --------
    >>> import fastnn
    >>> before = fastnn.get_num_threads()
    >>> fastnn.set_num_threads(2)
    >>> fastnn.get_num_threads()
    2
    >>> fastnn.set_num_threads(before)
    """
    fnn_set_num_threads(check_integer("n", n, 1, 256))


def get_num_threads():
    """Return the most threads that a call may use.

    At import it is the least of the CPUs this process may run on, the cgroup's CPU
    quota, ``FASTNN_NUM_THREADS`` and ``OMP_NUM_THREADS``.
    """
    return fnn_get_num_threads()


def _fail_allocation(n, forever=False):
    """For tests: let the n-th allocation from now fail (0: none)."""
    fnn_fail_allocation(n, forever)


def _refuse_thread(n, forever=False):
    """For tests: let the n-th thread start from now fail (0: none)."""
    fnn_refuse_thread(n, forever)


def _begin_on_all_threads(yes):
    """For tests: work begins on all threads that are allowed, on any machine."""
    fnn_begin_on_all_threads(yes)


cdef dict ROOFS = {
    "multiply_add": FNN_MULTIPLY_ADD, "read": FNN_READ, "copy": FNN_COPY
}


def _measure_roof(roof, dtype, num_threads, repeats, memory=None):
    """For the benchmark: flops or bytes a second of some threads (csrc/fastnn.h).

    memory: a contiguous array of uint8 that holds finite values of the dtype, at least
    2 kB a thread; None for "multiply_add".
    """
    cdef fnn_roof kind = ROOFS[roof]
    cdef fnn_dtype type = DTYPES[dtype]
    cdef int threads = check_integer("num_threads", num_threads, 1, 256)
    cdef size_t count = check_integer("repeats", repeats, 1)
    cdef void *data = NULL
    cdef size_t size = 0
    if kind != FNN_MULTIPLY_ADD:
        size = 0 if memory is None else memory.nbytes
        if size < 2048 * <size_t> threads:
            given = "None" if memory is None else f"{size} bytes"
            raise ValueError(
                f"memory must be an array of {2048 * threads} bytes at least, "
                f"got {given}"
            )
        data = address(memory, PyBUF_WRITABLE)
        if <uintptr_t> data % 8 != 0:
            raise ValueError("memory must be aligned to 8 bytes")
    cdef double seconds, work
    with nogil:
        seconds = fnn_measure_roof(kind, type, threads, data, size, count, &work)
    return work / seconds


# Who runs handlers of signals. In a long call the engine asks now and then; the
# exception that a handler has raised stays set until `Engine._check`.
cdef unsigned long main_thread = PyThread_get_thread_ident()
if "threading" in sys.modules:  # else there are no others; it takes 2 ms to import
    main_thread = sys.modules["threading"].main_thread().ident


cdef int has_been_interrupted() noexcept nogil:
    if PyThread_get_thread_ident() != main_thread:
        return 0
    with gil:
        return check_signals()


fnn_set_check(has_been_interrupted)

cdef int forks = 0  # how often this process came out of a fork


def _after_fork():
    global forks, main_thread
    forks += 1
    main_thread = PyThread_get_thread_ident()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)

cdef bint threads_warned = False


cdef int warn_refused_threads() except -1:
    global threads_warned
    if fnn_threads_refused() == 0 or threads_warned:
        return 0
    threads_warned = True
    warn_user(
        "the system refused to start a thread: fastnn continues with fewer",
        RuntimeWarning,
    )
    return 0
