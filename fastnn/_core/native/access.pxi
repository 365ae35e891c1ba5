"""Who may use a network at a moment."""

from fastnn._base.errors import BusyError

cdef extern from "pythread.h":
    unsigned long PyThread_get_thread_ident() noexcept nogil


cdef class _Access:
    """Many threads that predict, or one that trains; never both."""

    # All of this is read and written with the GIL held.
    cdef unsigned long owner  # the thread that trains
    cdef bint owned
    cdef int readers
    cdef int forks
    cdef bint prepared  # for prediction, since the parameters last changed

    def __cinit__(self):
        self.forks = forks

    def __reduce__(self):
        raise TypeError("an Engine cannot be pickled; pickle or save the Network")

    cdef inline void forget_lost_readers(self) noexcept:
        # A forked child has only the thread that forked: the others never finish. A
        # network that one of them was training stays busy, it may be half updated.
        if self.forks != forks:
            self.forks = forks
            self.readers = 0

    cdef int take(self) except -1:
        self.forget_lost_readers()
        if self.owned:
            who = "this" if self.owner == PyThread_get_thread_ident() else "another"
            raise BusyError(f"{who} thread is already training this network")
        if self.readers:
            raise BusyError("another thread is predicting with this network")
        self.owned = True
        self.owner = PyThread_get_thread_ident()
        self.prepared = False
        return 0

    cdef inline bint is_owner(self) noexcept:
        return self.owned and self.owner == PyThread_get_thread_ident()

    cdef inline int require_owner(self) except -1:
        if not self.is_owner():
            raise RuntimeError("this thread has not acquired the network")
        return 0

    cdef inline int read_begin(self) except -1:
        self.forget_lost_readers()
        if self.owned and self.owner != PyThread_get_thread_ident():
            raise BusyError("another thread is training this network")
        self.readers += 1
        return 0

    cdef bint write_begin(self) except -1:
        """Exclusive access for one call, also inside acquire; True if taken here."""
        if self.is_owner():
            return False
        self.take()
        return True

    cdef inline void write_end(self, bint taken) noexcept:
        if taken:
            self.owned = False

    def acquire(self):
        """Take the network for this thread, or raise BusyError."""
        self.take()

    def release(self):
        """Give back what `acquire` took."""
        self.require_owner()
        self.owned = False
