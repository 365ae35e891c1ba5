# cython: language_level=3, binding=True, embedsignature=False
"""The native engine: owns one C network (csrc/fastnn.h).

Validates what a fast path can validate, hands everything unusual to `fastnn.inputs`,
drops the GIL for the work and turns a status into an exception. Methods, arguments and
meaning are those of `fastnn.reference.Engine`.
"""

import operator
import os
import sys
import warnings

import numpy as np

from ._environment import default_num_threads, spin_seconds
from ._fields import check_integer
from ._version import __version__
from .errors import BusyError, TrainingDiverged

from cpython.buffer cimport (
    PyBUF_FORMAT,
    PyBUF_STRIDES,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.stdint cimport int64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastnn._fastnn cimport *

cdef extern from "pythread.h":
    unsigned long PyThread_get_thread_ident()


cdef const fnn_stateless *stateless() noexcept:
    return fnn_stateless_functions()


# Names of the plan to the engine's numbers.
cdef dict ACTIVATIONS = {"identity": FNN_IDENTITY, "relu": FNN_RELU}
cdef dict LOSSES = {"softmax_cross_entropy": FNN_SOFTMAX_CROSS_ENTROPY}
cdef dict OPTIMIZERS = {
    "sgd": FNN_SGD,
    "momentum": FNN_MOMENTUM,
    "nesterov": FNN_NESTEROV,
    "adam": FNN_ADAM,
    "adamw": FNN_ADAM,
}
cdef dict OUTPUTS = {"logits": FNN_LOGITS, "values": FNN_VALUES, "labels": FNN_LABELS}

cdef fnn_optimizer describe_optimizer(object spec) except *:
    cdef fnn_optimizer optimizer
    optimizer.kind = OPTIMIZERS[spec.rule]
    optimizer.learning_rate = spec.learning_rate
    optimizer.momentum = getattr(spec, "momentum", 0.0)
    optimizer.beta_1 = getattr(spec, "beta_1", 0.0)
    optimizer.beta_2 = getattr(spec, "beta_2", 0.0)
    optimizer.epsilon = getattr(spec, "epsilon", 1.0)
    optimizer.weight_decay = getattr(spec, "weight_decay", 0.0)
    return optimizer


cdef bint LITTLE_ENDIAN = sys.byteorder == "little"
# A call that predicts comes up for Ctrl-C this often.
cdef double SLICE_SECONDS = 0.05


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


_select_isa()
fnn_set_num_threads(default_num_threads())
fnn_set_spin(spin_seconds())


def build_info():
    """Return what was built and what is active: a dict of plain values.

    Keys: ``version``, ``compiler``, ``isa_built`` (best first), ``isa_active``,
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
    fnn_set_num_threads(_check_threads("n", n))


def get_num_threads():
    """Return the most threads that a call may use.

    At import it is the least of the CPUs this process may run on, the cgroup's CPU
    quota, ``FASTNN_NUM_THREADS`` and ``OMP_NUM_THREADS``.
    """
    return fnn_get_num_threads()


def _check_threads(name, value):
    try:
        threads = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name} must be an int of 1..256, got {type(value).__name__}"
        ) from None
    if not 1 <= threads <= 256:
        raise ValueError(f"{name} must be an int of 1..256, got {threads}")
    return threads


def _fail_allocation(n, forever=False):
    """For tests: let the n-th allocation from now fail (0: none)."""
    fnn_fail_allocation(n, forever)


def _refuse_thread(n, forever=False):
    """For tests: let the n-th thread start from now fail (0: none)."""
    fnn_refuse_thread(n, forever)


cdef int forks = 0  # how often this process came out of a fork


def _after_fork():
    global forks
    forks += 1


os.register_at_fork(after_in_child=_after_fork)

cdef bint threads_warned = False


cdef int warn_refused_threads() except -1:
    global threads_warned
    if fnn_threads_refused() == 0 or threads_warned:
        return 0
    threads_warned = True
    warnings.warn(
        "the system refused to start a thread: fastnn works on with fewer",
        RuntimeWarning,
        stacklevel=3,
    )
    return 0


cdef int element_type(const Py_buffer *view, fnn_type *out, int *swapped) noexcept:
    """The element type of a buffer; 0 if it is none that the engine reads."""
    cdef const char *text = view.format
    cdef Py_ssize_t size = view.itemsize
    swapped[0] = 0
    if text == NULL:
        return 0
    if text[0] == b">" or text[0] == b"!":
        swapped[0] = LITTLE_ENDIAN and size > 1
        text += 1
    elif text[0] == b"<":
        swapped[0] = not LITTLE_ENDIAN and size > 1
        text += 1
    elif text[0] == b"=" or text[0] == b"@" or text[0] == b"^":
        text += 1
    if text[0] == 0 or text[1] != 0:
        return 0
    cdef char code = text[0]
    if code == b"f" and size == 4:
        out[0] = FNN_FLOAT32
    elif code == b"d" and size == 8:
        out[0] = FNN_FLOAT64
    elif code == b"e" and size == 2:
        out[0] = FNN_FLOAT16
    elif code == b"?" and size == 1:
        out[0] = FNN_U8
    elif code in (b"b", b"h", b"i", b"l", b"q"):
        if size == 1:
            out[0] = FNN_I8
        elif size == 2:
            out[0] = FNN_I16
        elif size == 4:
            out[0] = FNN_I32
        else:
            out[0] = FNN_I64
    elif code in (b"B", b"H", b"I", b"L", b"Q"):
        if size == 1:
            out[0] = FNN_U8
        elif size == 2:
            out[0] = FNN_U16
        elif size == 4:
            out[0] = FNN_U32
        else:
            out[0] = FNN_U64
    else:
        return 0
    return 1


# What is opened is an array itself, no subclass: the buffer of a masked array holds
# numbers that do not count. `inputs` knows what others mean.
cdef object ndarray = np.ndarray


cdef bint open_matrix(
    object array, Py_ssize_t columns, Py_buffer *view, fnn_array *out
) except -1:
    """Hold a 2-D array with so many columns; False, nothing held, if it is unusual."""
    if type(array) is not ndarray:
        return False
    try:
        PyObject_GetBuffer(array, view, PyBUF_STRIDES | PyBUF_FORMAT)
    except (BufferError, ValueError, TypeError):
        return False
    if (
        view.ndim != 2
        or view.shape[0] < 1
        or view.shape[1] != columns
        or not element_type(view, &out.type, &out.swapped)
    ):
        PyBuffer_Release(view)
        return False
    out.data = view.buf
    out.rows = <size_t> view.shape[0]
    out.cols = <size_t> view.shape[1]
    out.row_stride = view.strides[0]
    out.col_stride = view.strides[1]
    return True


cdef bint open_vector(
    object array, Py_ssize_t length, fnn_type wanted, int flags, Py_buffer *view
) except -1:
    """Hold a contiguous, aligned 1-D array of one type; False if it is unusual."""
    cdef fnn_type found
    cdef int swapped
    if type(array) is not ndarray:
        return False
    try:
        PyObject_GetBuffer(array, view, PyBUF_STRIDES | PyBUF_FORMAT | flags)
    except (BufferError, ValueError, TypeError):
        return False
    if (
        view.ndim != 1
        or (length >= 0 and view.shape[0] != length)
        or not element_type(view, &found, &swapped)
        or found != wanted
        or swapped
        or (view.strides[0] != view.itemsize and view.shape[0] > 1)
        or <uintptr_t> view.buf % <uintptr_t> view.itemsize != 0
    ):
        PyBuffer_Release(view)
        return False
    return True


cdef struct Samples:
    # Buffers are held for the whole call: nobody can free or resize the arrays.
    Py_buffer x
    Py_buffer y
    Py_buffer weights
    Py_buffer order
    bint has_x
    bint has_y
    bint has_weights
    bint has_order
    fnn_data data


cdef void close_samples(Samples *samples) noexcept:
    if samples.has_x:
        PyBuffer_Release(&samples.x)
    if samples.has_y:
        PyBuffer_Release(&samples.y)
    if samples.has_weights:
        PyBuffer_Release(&samples.weights)
    if samples.has_order:
        PyBuffer_Release(&samples.order)


cdef Py_ssize_t first_outside(
    const int64_t *values, Py_ssize_t count, int64_t end
) noexcept nogil:
    """The first index whose value is not in [0, end), or -1."""
    cdef Py_ssize_t i
    cdef int64_t outside = 0
    for i in range(count):  # without a branch, so that it is vectorised
        outside |= (values[i] < 0) | (values[i] >= end)
    if not outside:
        return -1
    for i in range(count):
        if values[i] < 0 or values[i] >= end:
            return i
    return -1


cdef class Engine:
    """The native engine of one network; see `fastnn.reference.Engine`."""

    cdef fnn_network *network
    cdef readonly object plan
    cdef readonly object _dtype
    cdef Py_ssize_t n_inputs, n_outputs
    cdef fnn_type own_type
    cdef int _num_threads  # 0: the maximum
    # Who uses the network: all of it is read and written with the GIL held.
    cdef unsigned long owner  # the thread that trains
    cdef bint owned
    cdef int readers
    cdef int forks
    cdef object __weakref__

    def __cinit__(self):
        self.network = NULL

    def __init__(self, plan, num_threads=None):
        if self.network != NULL:
            raise RuntimeError("an engine cannot be initialised twice")
        cdef Py_ssize_t count = len(plan.layers), i
        cdef fnn_layer *layers = <fnn_layer *> calloc(count, sizeof(fnn_layer))
        if layers == NULL:
            raise MemoryError("no memory for the network")
        cdef fnn_plan description
        try:
            for i in range(count):
                layers[i].units = plan.layers[i].units
                layers[i].activation = ACTIVATIONS[plan.layers[i].activation]
            description.dtype = FNN_F64 if plan.dtype == "float64" else FNN_F32
            description.n_inputs = plan.n_inputs
            description.n_layers = <size_t> count
            description.layers = layers
            description.loss = LOSSES[plan.loss.name]
            description.label_smoothing = plan.loss.label_smoothing
            self.network = fnn_network_new(&description)
        finally:
            free(layers)
        if self.network == NULL:
            raise MemoryError(f"no memory for a network of sizes {plan.sizes}")
        self.plan = plan
        self.forks = forks
        self._dtype = np.dtype(plan.dtype)
        self.own_type = FNN_FLOAT64 if plan.dtype == "float64" else FNN_FLOAT32
        self.n_inputs = plan.sizes[0]
        self.n_outputs = plan.sizes[-1]
        self._set_optimizer(plan.optimizer)
        if num_threads is not None:
            self.num_threads = num_threads

    def __dealloc__(self):
        fnn_network_free(self.network)

    def __reduce__(self):
        raise TypeError("an Engine cannot be pickled; pickle or save the Network")

    # Access ---------------------------------------------------------------------------

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

    def acquire(self):
        """Take the network for this thread, or raise BusyError."""
        self.take()

    def release(self):
        """Give back what `acquire` took."""
        self.require_owner()
        self.owned = False

    # State ----------------------------------------------------------------------------

    @property
    def step(self):
        """Number of updates done."""
        return fnn_network_get_step(self.network)

    @step.setter
    def step(self, value):
        cdef unsigned long long step = check_integer("step", value, 0)
        cdef bint taken = self.write_begin()
        fnn_network_set_step(self.network, step)
        if taken:
            self.owned = False

    @property
    def num_threads(self):
        """The most threads a call may use; None resets it to the process's."""
        return self._num_threads or fnn_get_num_threads()

    @num_threads.setter
    def num_threads(self, value):
        self._num_threads = 0 if value is None else _check_threads("num_threads", value)
        fnn_network_set_threads(self.network, self._num_threads)

    cdef tuple _get(self, Py_ssize_t layer, int part):
        sizes = self.plan.sizes
        W = np.empty((sizes[layer], sizes[layer + 1]), self._dtype)
        b = np.empty(sizes[layer + 1], self._dtype)
        cdef char[::1] w_bytes = W.reshape(-1).view(np.int8)
        cdef char[::1] b_bytes = b.view(np.int8)
        fnn_network_get(self.network, <size_t> layer, part, &w_bytes[0], &b_bytes[0])
        return W, b

    cdef int _set(self, Py_ssize_t layer, int part, object pair) except -1:
        sizes = self.plan.sizes
        W, b = (np.ascontiguousarray(each, self._dtype) for each in pair)
        if W.shape != (sizes[layer], sizes[layer + 1]) or b.shape != W.shape[1:]:
            raise ValueError(
                f"layer {layer} has W {(sizes[layer], sizes[layer + 1])} and b "
                f"{(sizes[layer + 1],)}, got {W.shape} and {b.shape}"
            )
        cdef const char[::1] w_bytes = W.reshape(-1).view(np.int8)
        cdef const char[::1] b_bytes = b.view(np.int8)
        fnn_network_set(self.network, <size_t> layer, part, &w_bytes[0], &b_bytes[0])
        return 0

    def get_weights(self):
        """Return copies of all (W (n_in, n_out), b (n_out,))."""
        self.read_begin()
        try:
            return [self._get(i, 0) for i in range(len(self.plan.layers))]
        finally:
            self.readers -= 1

    def set_weights(self, weights):
        """Replace all weights by copies of those given; optimizer and step stay."""
        cdef bint taken = self.write_begin()
        try:
            for i, pair in enumerate(weights):
                self._set(i, 0, pair)
        finally:
            if taken:
                self.owned = False

    def get_optimizer_state(self):
        """Return copies of the optimizer's arrays, per layer, by name."""
        self.read_begin()
        try:
            names = self.plan.optimizer.state_names
            return [
                {name: self._get(i, part) for part, name in enumerate(names, 1)}
                for i in range(len(self.plan.layers))
            ]
        finally:
            self.readers -= 1

    def set_optimizer_state(self, state):
        """Replace the optimizer's arrays by copies of those given."""
        cdef bint taken = self.write_begin()
        try:
            for i, layer in enumerate(state):
                for part, name in enumerate(self.plan.optimizer.state_names, 1):
                    self._set(i, part, layer[name])
        finally:
            if taken:
                self.owned = False

    def set_optimizer(self, optimizer):
        """Change the optimizer; its state starts again unless it has the same names."""
        from dataclasses import replace

        cdef bint taken = self.write_begin()
        try:
            plan = replace(self.plan, optimizer=optimizer)
            self._set_optimizer(optimizer)
            self.plan = plan
        finally:
            if taken:
                self.owned = False

    cdef int _set_optimizer(self, optimizer) except -1:
        cdef fnn_optimizer description = describe_optimizer(optimizer)
        if fnn_network_set_optimizer(self.network, &description) != FNN_OK:
            raise MemoryError("no memory for the optimizer's state")
        return 0

    def set_input_scaling(self, scale, shift):
        """Use ``x * scale + shift``, each (n_inputs,), as inputs; None for x itself."""
        cdef const double[::1] factors, offsets
        cdef bint taken = self.write_begin()
        cdef fnn_status status
        try:
            if scale is None or shift is None:
                status = fnn_network_set_scaling(self.network, NULL, NULL)
            else:
                factors = np.ascontiguousarray(scale, np.float64)
                offsets = np.ascontiguousarray(shift, np.float64)
                if len(factors) != self.n_inputs or len(offsets) != self.n_inputs:
                    raise ValueError(
                        f"scale and shift must have shape ({self.n_inputs},), got "
                        f"({len(factors)},) and ({len(offsets)},)"
                    )
                status = fnn_network_set_scaling(
                    self.network, &factors[0], &offsets[0]
                )
        finally:
            if taken:
                self.owned = False
        if status != FNN_OK:
            raise MemoryError("no memory for the input scaling")

    # Samples --------------------------------------------------------------------------

    cdef object _open_x(self, Samples *samples, object X, str name):
        """Hold X, as it is if possible; returns what is held."""
        if not open_matrix(X, self.n_inputs, &samples.x, &samples.data.x):
            from . import inputs

            X = inputs.check_X(X, self.n_inputs, name)
            if not open_matrix(X, self.n_inputs, &samples.x, &samples.data.x):
                raise TypeError(f"{name} of dtype {X.dtype} cannot be read as a buffer")
        samples.has_x = True
        samples.data.rows = samples.data.x.rows
        return X

    cdef int _open_targets(
        self, Samples *samples, object y, object sample_weight
    ) except -1:
        cdef Py_ssize_t rows = <Py_ssize_t> samples.data.x.rows, bad
        if not open_vector(y, rows, FNN_I64, 0, &samples.y):
            from . import inputs

            y = inputs.check_targets(y, rows, self.plan)
            if y.ndim == 1:
                y = np.require(y, np.int64, ["C", "A"])
                if not open_vector(y, rows, FNN_I64, 0, &samples.y):
                    raise TypeError("y cannot be read as int64")
            elif not open_matrix(
                y, self.n_outputs, &samples.y, &samples.data.targets
            ):
                raise TypeError("y cannot be read as soft targets")
        samples.has_y = True
        if samples.y.ndim == 1:
            samples.data.labels = <const int64_t *> samples.y.buf
            bad = first_outside(samples.data.labels, rows, self.n_outputs)
            if bad >= 0:
                raise ValueError(
                    f"y[{bad}] is {samples.data.labels[bad]}; expected integer labels "
                    f"0..{self.n_outputs - 1}"
                )
        if sample_weight is not None:
            from . import inputs

            sample_weight = inputs.check_sample_weight(sample_weight, rows)
            sample_weight = np.require(sample_weight, np.float64, ["C", "A"])
            if not open_vector(
                sample_weight, rows, FNN_FLOAT64, 0, &samples.weights
            ):
                raise TypeError("sample_weight cannot be read as float64")
            samples.has_weights = True
            samples.data.weights = <const double *> samples.weights.buf
        return 0

    cdef int _open_order(self, Samples *samples, object order) except -1:
        cdef Py_ssize_t bad
        if not open_vector(order, -1, FNN_I64, 0, &samples.order):
            raise TypeError("order must be a contiguous int64 array")
        samples.has_order = True
        samples.data.order = <const int64_t *> samples.order.buf
        samples.data.rows = <size_t> samples.order.shape[0]
        bad = first_outside(
            samples.data.order, samples.order.shape[0], <int64_t> samples.data.x.rows
        )
        if bad >= 0:
            raise ValueError(
                f"order[{bad}] is {samples.data.order[bad]}; expected a row of X, "
                f"0..{samples.data.x.rows - 1}"
            )
        return 0

    cdef int _raise(self, fnn_status status, object X, str name="X") except -1:
        if status == FNN_NO_MEMORY:
            raise MemoryError("no memory for the workspace; nothing was changed")
        if status == FNN_BAD_INPUT:
            from . import inputs

            inputs.require_finite(self, inputs.check_X(X, self.n_inputs, name), name)
            raise ValueError(f"{name} is not finite")
        if status == FNN_DIVERGED:
            raise TrainingDiverged(
                "a loss, gradient or new weight is not finite; the last finite weights "
                "are kept. Try a smaller learning rate or scale the inputs"
            )
        return 0

    # Training -------------------------------------------------------------------------

    def train(
        self,
        X,
        y,
        sample_weight,
        order,
        batch_size,
        start,
        totals,
        max_seconds=0.05,
        fused=True,
    ):
        """Train on mini-batches from ``order[start:]`` and return the next start."""
        cdef Samples samples
        cdef size_t rows = batch_size, first = start
        cdef double seconds = max_seconds
        cdef double[::1] sums = totals
        cdef double *sums_at = &sums[0]
        cdef int in_place = bool(fused)
        cdef fnn_status status
        self.require_owner()
        # Here and not after the work: a warning may be an error, and must not hide how
        # far the weights have come.
        warn_refused_threads()
        if len(sums) != 3 or rows < 1:
            raise ValueError("expected 3 totals and a batch_size of 1 at least")
        memset(&samples, 0, sizeof(samples))
        try:
            X = self._open_x(&samples, X, "X")
            self._open_targets(&samples, y, sample_weight)
            if order is not None:
                self._open_order(&samples, order)
            if first > samples.data.rows:
                raise ValueError(f"start is {first}; expected 0..{samples.data.rows}")
            with nogil:
                status = fnn_train(
                    self.network, &samples.data, rows, &first, sums_at, seconds,
                    in_place,
                )
            # Memory that ran out after some steps is for the next call to report.
            if status != FNN_OK and not (status == FNN_NO_MEMORY and first > start):
                self._raise(status, X)
        finally:
            close_samples(&samples)
        return first

    def train_step(self, X, y, sample_weight=None):
        """Update once on all rows and return the loss before the update."""
        cdef Samples samples
        cdef size_t first = 0
        cdef double[3] sums
        cdef bint taken
        cdef fnn_status status
        memset(&samples, 0, sizeof(samples))
        sums[0] = sums[1] = sums[2] = 0.0
        warn_refused_threads()  # before the work, as in train
        taken = self.write_begin()
        try:
            X = self._open_x(&samples, X, "X")
            self._open_targets(&samples, y, sample_weight)
            with nogil:
                status = fnn_train(
                    self.network, &samples.data, samples.data.rows, &first, sums,
                    1e300, 1,
                )
            if status != FNN_OK:
                self._raise(status, X)
        finally:
            close_samples(&samples)
            if taken:
                self.owned = False
        return sums[0] / sums[1]

    def loss_and_gradients(self, X, y, sample_weight=None):
        """Return the loss of all rows and its gradients [(dW, db), ...]; no update."""
        cdef Samples samples
        cdef double[3] sums
        cdef bint taken
        cdef fnn_status status
        cdef Py_ssize_t count = len(self.plan.layers), i
        cdef char[::1] bytes_
        cdef void **pointers = NULL
        gradients = [
            (np.empty((n_in, n_out), self._dtype), np.empty(n_out, self._dtype))
            for n_in, n_out in zip(self.plan.sizes, self.plan.sizes[1:])
        ]
        memset(&samples, 0, sizeof(samples))
        sums[0] = sums[1] = sums[2] = 0.0
        # The workspace is the network's own, so this excludes other callers.
        taken = self.write_begin()
        try:
            X = self._open_x(&samples, X, "X")
            self._open_targets(&samples, y, sample_weight)
            # Training sees an infinity in its sums of magnitudes; ReLU may hide it.
            if not self.all_finite(X):
                self._raise(FNN_BAD_INPUT, X)
            pointers = <void **> calloc(2 * count, sizeof(void *))
            if pointers == NULL:
                raise MemoryError("no memory for the gradients")
            for i in range(count):
                bytes_ = gradients[i][0].reshape(-1).view(np.int8)
                pointers[i] = &bytes_[0]
                bytes_ = gradients[i][1].view(np.int8)
                pointers[count + i] = &bytes_[0]
            with nogil:
                status = fnn_gradients(
                    self.network, &samples.data, sums, pointers, pointers + count
                )
            warn_refused_threads()
            if status != FNN_OK:
                self._raise(status, X)
        finally:
            free(pointers)
            close_samples(&samples)
            if taken:
                self.owned = False
        return sums[0] / sums[1], gradients

    # Prediction -----------------------------------------------------------------------

    def forward(self, X, output="values"):
        """Return the network's outputs for all rows of X."""
        cdef Samples samples
        cdef size_t start = 0
        cdef fnn_status status = FNN_OK
        cdef fnn_output kind
        cdef char[::1] room
        cdef char *at
        if output not in OUTPUTS:
            raise ValueError(f"output must be one of {[*OUTPUTS]}, got {output!r}")
        kind = OUTPUTS[output]
        memset(&samples, 0, sizeof(samples))
        self.read_begin()
        try:
            X = self._open_x(&samples, X, "X")
            if kind == FNN_LABELS:
                out = np.empty(samples.data.x.rows, np.int64)
            else:
                out = np.empty((samples.data.x.rows, self.n_outputs), self._dtype)
            room = out.reshape(-1).view(np.int8)
            at = &room[0]
            while status == FNN_OK and start < samples.data.x.rows:
                with nogil:
                    status = fnn_predict(
                        self.network, &samples.data.x, kind, at, &start, SLICE_SECONDS
                    )
                check_signals()
            warn_refused_threads()
            if status != FNN_OK:
                self._raise(status, X)
        finally:
            close_samples(&samples)
            self.readers -= 1
        return out

    def predict_one(self, x, out=None):
        """Return the "values" (n_outputs,) of one row x (n_inputs,), in out if given"""
        cdef Py_buffer x_view, out_view
        cdef bint has_x = False, has_out = False
        cdef fnn_status status
        self.read_begin()
        try:
            has_x = open_vector(x, self.n_inputs, self.own_type, 0, &x_view)
            if not has_x:
                x = self._one_row(x)
                has_x = open_vector(x, self.n_inputs, self.own_type, 0, &x_view)
            if out is None:
                out = np.empty(self.n_outputs, self._dtype)
            has_out = open_vector(
                out if type(out) is ndarray or not isinstance(out, ndarray)
                else out.view(ndarray),
                self.n_outputs, self.own_type, PyBUF_WRITABLE, &out_view
            )
            if not has_out:
                raise self._bad_out(out)
            if overlap(&x_view, &out_view):
                raise ValueError("out must not share memory with x")
            # A few microseconds: not worth giving the GIL away for.
            status = fnn_predict_one(self.network, x_view.buf, out_view.buf)
            if status != FNN_OK:
                self._raise(status, np.asarray(x)[np.newaxis], "x")
        finally:
            if has_x:
                PyBuffer_Release(&x_view)
            if has_out:
                PyBuffer_Release(&out_view)
            self.readers -= 1
        return out

    cdef object _one_row(self, object x):
        from . import inputs

        x = np.asanyarray(x)  # a masked array stays one, to be refused
        if x.shape != (self.n_inputs,):
            raise ValueError(f"x must have shape ({self.n_inputs},), got {x.shape}")
        row = inputs.check_X(x[np.newaxis], self.n_inputs, "x")
        inputs.require_finite(self, row, "x")
        return np.array(row[0], self._dtype, order="C")

    cdef object _bad_out(self, object out):
        expected = f"a {self._dtype} array of shape ({self.n_outputs},)"
        if not isinstance(out, np.ndarray):
            return TypeError(f"out must be {expected}, got {type(out).__name__}")
        if out.dtype != self._dtype:
            return TypeError(f"out must be {expected}, got {out.dtype}")
        if out.shape != (self.n_outputs,):
            return ValueError(f"out must be {expected}, got shape {out.shape}")
        return ValueError("out must be C-contiguous, aligned and writable")

    def evaluate(self, X, y, sample_weight=None):
        """Return the sums over all rows of w * loss, w and w * correct."""
        cdef Samples samples
        cdef size_t start = 0
        cdef double[3] sums
        cdef fnn_status status = FNN_OK
        memset(&samples, 0, sizeof(samples))
        sums[0] = sums[1] = sums[2] = 0.0
        self.read_begin()
        try:
            X = self._open_x(&samples, X, "X")
            self._open_targets(&samples, y, sample_weight)
            while status == FNN_OK and start < samples.data.x.rows:
                with nogil:
                    status = fnn_evaluate(
                        self.network, &samples.data, &start, sums, SLICE_SECONDS
                    )
                check_signals()
            warn_refused_threads()
            if status != FNN_OK:
                self._raise(status, X)
        finally:
            close_samples(&samples)
            self.readers -= 1
        return sums[0], sums[1], sums[2]

    def all_finite(self, X):
        """Return whether X is finite in the network's dtype, also after the scaling."""
        cdef Samples samples
        cdef int finite = 0
        cdef fnn_status status
        memset(&samples, 0, sizeof(samples))
        try:
            X = self._open_x(&samples, X, "X")
            with nogil:
                status = fnn_all_finite(self.network, &samples.data.x, &finite)
            warn_refused_threads()
            if status != FNN_OK:
                self._raise(status, X)
        finally:
            close_samples(&samples)
        return bool(finite)


cdef extern from "Python.h":
    int PyErr_CheckSignals() except -1


cdef inline int check_signals() except -1:
    return PyErr_CheckSignals()


cdef inline bint overlap(const Py_buffer *a, const Py_buffer *b) noexcept:
    cdef const char *a_at = <const char *> a.buf
    cdef const char *b_at = <const char *> b.buf
    return a_at < b_at + b.len and b_at < a_at + a.len
