# cython: language_level=3, binding=True, embedsignature=False
"""The native engine: owns one C network (csrc/fastnn.h).

Validates what a fast path can validate, hands everything unusual to `fastnn.inputs`,
drops the GIL for the work and turns a status into an exception. Methods, arguments and
meaning are those of `fastnn.reference.Engine`.
"""

import operator
import os
import sys

import numpy as np

from fastnn._core.native.threads import default_num_threads, spin_seconds
from fastnn._base.fields import check_integer
from fastnn._base.version import __version__
from fastnn._base.warn import warn_user
from fastnn.activations import as_activation
from fastnn._base.errors import BusyError, TrainingDiverged
from fastnn.schedules import Schedule, rates

from cython cimport floating
from cpython.buffer cimport (
    PyBUF_FORMAT,
    PyBUF_STRIDES,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.stdint cimport int64_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastnn._core.native.fastnn cimport *

cdef extern from "pythread.h":
    unsigned long PyThread_get_thread_ident()


cdef const fnn_stateless *stateless() noexcept:
    return fnn_stateless_functions()


# Names of the plan to the engine's numbers.
cdef dict numbers(const char *(*name_of)(size_t) noexcept nogil):
    """Of the kinds that csrc/kinds.h lists, by their names."""
    cdef dict found = {}
    cdef size_t kind = 0
    while name_of(kind) != NULL:
        found[name_of(kind).decode()] = kind
        kind += 1
    return found


cdef dict ACTIVATIONS = numbers(fnn_activation_name)
cdef dict LOSSES = numbers(fnn_loss_name)
cdef dict OPTIMIZERS = numbers(fnn_optimizer_name)
OPTIMIZERS["lbfgs"] = OPTIMIZERS["sgd"]  # makes no steps here: see training/lbfgs.py
cdef dict LAYERS = {
    "dense": FNN_DENSE,
    "dropout": FNN_DROPOUT,
    "batch_norm": FNN_BATCH_NORM,
    "layer_norm": FNN_LAYER_NORM,
}
cdef dict DTYPES = {"float32": FNN_F32, "float64": FNN_F64, "bfloat16": FNN_BF16}
cdef dict OUTPUTS = {"logits": FNN_LOGITS, "values": FNN_VALUES, "labels": FNN_LABELS}

cdef fnn_activation describe_activation(object spec) except *:
    """The engine's form of the name of an activation, or of its object."""
    cdef fnn_activation activation
    resolved = as_activation(spec)
    activation.kind = ACTIVATIONS[resolved.name]
    activation.parameter = resolved.parameter
    if activation.kind == FNN_LEAKY_RELU and activation.parameter == 0.0:
        activation.kind = FNN_RELU  # which is faster
    return activation


cdef fnn_loss describe_loss(object spec) except *:
    cdef fnn_loss loss
    loss.kind = LOSSES[spec.name]
    loss.parameter = spec.parameter
    return loss


cdef fnn_optimizer describe_optimizer(object spec) except *:
    cdef fnn_optimizer optimizer
    optimizer.kind = OPTIMIZERS[spec.rule]
    # A schedule's rates are given with each call.
    optimizer.learning_rate = rates(spec.learning_rate, 0, 1)[0]
    optimizer.momentum = getattr(spec, "momentum", 0.0)
    optimizer.beta_1 = getattr(spec, "beta_1", 0.0)
    optimizer.beta_2 = getattr(spec, "beta_2", getattr(spec, "rho", 0.0))
    optimizer.epsilon = getattr(spec, "epsilon", 1.0)
    optimizer.momentum_decay = getattr(spec, "momentum_decay", 0.0)
    optimizer.weight_decay = spec.weight_decay
    optimizer.l1 = spec.l1
    optimizer.l2 = spec.l2
    optimizer.clip_value = spec.clip_value or 0.0
    optimizer.clip_norm = spec.clip_norm or 0.0
    optimizer.max_norm = spec.max_norm or 0.0
    return optimizer


cdef fnn_layer describe_layer(object spec, size_t units, uint64_t key) except *:
    cdef fnn_layer layer
    layer.kind = LAYERS[spec.name]
    layer.units = units
    layer.activation = describe_activation(spec.activation)
    layer.use_bias = getattr(spec, "use_bias", True)
    layer.trainable = spec.trainable
    layer.rate = getattr(spec, "rate", 0.0)
    layer.momentum = getattr(spec, "momentum", 0.0)
    layer.epsilon = getattr(spec, "epsilon", 0.0)
    layer.key = key
    return layer


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


def _why_no_bf16():
    active = fnn_active_isa().decode()
    if active == "avx512":
        return "this CPU has avx512 without it"
    if os.environ.get("FASTNN_ISA"):
        return f"FASTNN_ISA selects {active}"
    return f"the best that this CPU has is {active}"


_select_isa()
fnn_set_num_threads(default_num_threads())
fnn_set_spin(spin_seconds())


def build_info():
    """Return what was built and what is active: a dict of plain values.

    Keys: ``version``, ``compiler``, ``isa_built`` (best first), ``isa_active``,
    ``bfloat16`` (whether the native engine can compute in it, here), ``num_threads``
    (the most a call may use) and ``threads_refused`` (how often the system would not
    start one).

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
        "bfloat16": bool(fnn_has_bf16()),
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


cdef dict ROOFS = {
    "multiply_add": FNN_MULTIPLY_ADD, "read": FNN_READ, "copy": FNN_COPY
}


def _measure_roof(roof, dtype, num_threads, repeats, memory=None):
    """For the benchmark: flops or bytes a second of some threads (csrc/fastnn.h).

    memory: a contiguous array of uint8 that holds finite values of the dtype, at least
    2 kB a thread; None for "multiply_add".
    """
    cdef fnn_roof kind = ROOFS[roof]
    cdef fnn_dtype type = {"float32": FNN_F32, "float64": FNN_F64}[dtype]
    cdef int threads = _check_threads("num_threads", num_threads)
    cdef size_t count = check_integer("repeats", repeats, 1)
    cdef unsigned char[::1] view = memory
    cdef void *data = NULL
    cdef size_t size = 0
    if kind != FNN_MULTIPLY_ADD:
        if view is None or view.shape[0] < 2048 * threads:
            given = "None" if view is None else f"{view.shape[0]} bytes"
            raise ValueError(
                f"memory must be an array of {2048 * threads} bytes at least, "
                f"got {given}"
            )
        data, size = &view[0], view.shape[0]
        if <uintptr_t> data % 8 != 0:
            raise ValueError("memory must be aligned to 8 bytes")
    cdef double seconds, work
    with nogil:
        seconds = fnn_measure_roof(kind, type, threads, data, size, count, &work)
    return work / seconds


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
    warn_user(
        "the system refused to start a thread: fastnn works on with fewer",
        RuntimeWarning,
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


cdef bint finite_values(const floating *values, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i
    cdef int bad = 0
    for i in range(count):
        bad |= not values[i] - values[i] == 0
    return bad == 0


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
    cdef bint long_row  # one row takes much longer than giving the GIL away
    cdef int forks
    cdef bint prepared  # for prediction, since the parameters last changed
    cdef bint steps  # the optimizer makes steps on mini-batches
    cdef object schedule  # of the learning rate; None if it is constant
    cdef bint normalises  # has batch norms: parameters beside the weights
    cdef Py_ssize_t n_classes  # of integer labels; 0: targets are matrices
    cdef bint any_value  # the loss takes any finite targets
    cdef tuple weighted  # the layers that have parameters
    cdef tuple shapes  # of their pairs
    cdef object __weakref__

    def __cinit__(self):
        self.network = NULL

    def __init__(self, plan, num_threads=None, *, dropout_keys=()):
        if self.network != NULL:
            raise RuntimeError("an engine cannot be initialised twice")
        if plan.dtype == "bfloat16" and not fnn_has_bf16():
            raise RuntimeError(
                "dtype 'bfloat16' needs a CPU with AVX512-BF16 and the instruction set "
                f"avx512, but {_why_no_bf16()}; dtype 'float32' runs everywhere, and "
                "backend='numpy' computes bfloat16 slowly"
            )
        cdef Py_ssize_t count = len(plan.layers), i
        cdef fnn_layer *layers = <fnn_layer *> calloc(count, sizeof(fnn_layer))
        if layers == NULL:
            raise MemoryError("no memory for the network")
        cdef fnn_plan description
        keys = (*dropout_keys, *[0] * (count - len(dropout_keys)))
        widths = plan.widths
        try:
            for i in range(count):
                layers[i] = describe_layer(plan.layers[i], widths[i + 1], keys[i])
            description.dtype = DTYPES[plan.dtype]
            description.n_inputs = plan.n_inputs
            description.n_layers = <size_t> count
            description.layers = layers
            description.loss = describe_loss(plan.loss)
            self.network = fnn_network_new(&description)
        finally:
            free(layers)
        if self.network == NULL:
            raise MemoryError(f"no memory for a network of widths {widths}")
        self.plan = plan
        self.forks = forks
        self._dtype = np.dtype(plan.array_dtype)
        self.own_type = FNN_FLOAT64 if plan.dtype == "float64" else FNN_FLOAT32
        self.n_inputs = plan.n_inputs
        self.n_outputs = plan.n_outputs
        self.n_classes = plan.n_classes or 0
        # Some 10 us for a row, or a team of threads, whose barriers may wait.
        self.long_row = fnn_network_bytes(self.network) > 512 * 1024
        self.any_value = plan.loss.name in ("mse", "mae", "huber")
        self.weighted = plan.parametric_layers
        self.shapes = plan.shapes
        self.normalises = any(layer.name == "batch_norm" for layer in plan.layers)
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
        self.prepared = False
        return 0

    cdef inline bint is_owner(self) noexcept:
        return self.owned and self.owner == PyThread_get_thread_ident()

    cdef inline int require_owner(self) except -1:
        if not self.is_owner():
            raise RuntimeError("this thread has not acquired the network")
        return 0

    cdef inline int require_steps(self) except -1:
        if not self.steps:
            raise ValueError("the optimizer LBFGS takes all data at once: use fit")
        return 0

    cdef inline int read_begin(self) except -1:
        self.forget_lost_readers()
        if self.owned and self.owner != PyThread_get_thread_ident():
            raise BusyError("another thread is training this network")
        self.readers += 1
        return 0

    cdef inline int predict_begin(self) except -1:
        self.read_begin()
        if self.normalises and not self.prepared:
            # Nobody predicts yet: who does has come through here, with the GIL. Those
            # who only read copy the parameters, also with the GIL.
            if fnn_network_prepare(self.network) != FNN_OK:
                self.readers -= 1
                raise MemoryError("no memory to prepare the network for prediction")
            self.prepared = True
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

    cdef tuple _get(self, Py_ssize_t index, int part):
        first, second = (np.empty(shape, self._dtype) for shape in self.shapes[index])
        cdef char[::1] w_bytes = first.reshape(-1).view(np.int8)
        cdef char[::1] b_bytes = second.view(np.int8)
        cdef size_t layer = self.weighted[index]
        fnn_network_get(self.network, layer, part, &w_bytes[0], &b_bytes[0])
        return first, second

    cdef int _set(self, Py_ssize_t index, int part, object pair) except -1:
        first, second = (np.ascontiguousarray(each, self._dtype) for each in pair)
        if (first.shape, second.shape) != self.shapes[index]:
            raise ValueError(
                f"pair {index} must have the shapes {self.shapes[index]}, got "
                f"{(first.shape, second.shape)}"
            )
        cdef const char[::1] w_bytes = first.reshape(-1).view(np.int8)
        cdef const char[::1] b_bytes = second.view(np.int8)
        cdef size_t layer = self.weighted[index]
        fnn_network_set(self.network, layer, part, &w_bytes[0], &b_bytes[0])
        return 0

    def get_weights(self):
        """Return copies of the pair of arrays of each layer that has parameters."""
        self.read_begin()
        try:
            return [self._get(i, 0) for i in range(len(self.shapes))]
        finally:
            self.readers -= 1

    def set_weights(self, weights):
        """Replace all weights by copies of those given; optimizer and step stay."""
        cdef bint taken = self.write_begin()
        self.prepared = False
        try:
            for i, pair in enumerate(weights):
                self._set(i, 0, pair)
        finally:
            if taken:
                self.owned = False

    def get_statistics(self):
        """Return copies of (mean, variance) of each batch norm; None for other layers.
        """
        cdef char[::1] mean_bytes, variance_bytes
        found = []
        self.read_begin()
        try:
            for i, layer in enumerate(self.plan.layers):
                if layer.name != "batch_norm":
                    found.append(None)
                    continue
                width = self.plan.widths[i + 1]
                pair = np.empty(width, self._dtype), np.empty(width, self._dtype)
                mean_bytes = pair[0].view(np.int8)
                variance_bytes = pair[1].view(np.int8)
                fnn_network_get_statistics(
                    self.network, i, &mean_bytes[0], &variance_bytes[0]
                )
                found.append(pair)
        finally:
            self.readers -= 1
        return found

    def set_statistics(self, statistics):
        """Replace the statistics of batch norms by copies of those given."""
        cdef const char[::1] mean_bytes, variance_bytes
        cdef bint taken = self.write_begin()
        self.prepared = False
        try:
            for i, pair in enumerate(statistics):
                if pair is None:
                    continue
                width = self.plan.widths[i + 1]
                mean, variance = (
                    np.ascontiguousarray(each, self._dtype) for each in pair
                )
                if mean.shape != (width,) or variance.shape != (width,):
                    raise ValueError(
                        f"layer {i} must have statistics of shape ({width},), got "
                        f"{mean.shape} and {variance.shape}"
                    )
                mean_bytes, variance_bytes = mean.view(np.int8), variance.view(np.int8)
                fnn_network_set_statistics(
                    self.network, i, &mean_bytes[0], &variance_bytes[0]
                )
        finally:
            if taken:
                self.owned = False

    def get_optimizer_state(self):
        """Return copies of the optimizer's arrays, by layer with parameters and name.
        """
        self.read_begin()
        try:
            names = self.plan.optimizer.state_names
            return [
                {name: self._get(i, part) for part, name in enumerate(names, 1)}
                for i in range(len(self.shapes))
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
        rate = optimizer.learning_rate
        self.schedule = rate if isinstance(rate, Schedule) else None
        self.steps = optimizer.name != "lbfgs"
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
            from fastnn._plan import inputs

            X = inputs.check_X(X, self.n_inputs, name)
            if not open_matrix(X, self.n_inputs, &samples.x, &samples.data.x):
                raise TypeError(f"{name} of dtype {X.dtype} cannot be read as a buffer")
        samples.has_x = True
        samples.data.rows = samples.data.x.rows
        return X

    cdef bint _open_values(
        self, Samples *samples, object y, Py_ssize_t rows, bint checked
    ) except -1:
        """Hold a matrix of targets that needs no conversion; False if it is unusual."""
        cdef fnn_array *targets = &samples.data.targets
        cdef bint plain
        if not self.any_value or not open_matrix(
            y, self.n_outputs, &samples.y, targets
        ):
            return False
        plain = (
            samples.y.shape[0] == rows
            and targets.type == self.own_type
            and not targets.swapped
            and targets.col_stride == samples.y.itemsize
            and targets.row_stride == samples.y.itemsize * self.n_outputs
            and <uintptr_t> targets.data % <uintptr_t> samples.y.itemsize == 0
        )
        if plain and checked:
            pass
        elif plain and targets.type == FNN_FLOAT32:
            plain = finite_values(<const float *> targets.data, rows * self.n_outputs)
        elif plain:
            plain = finite_values(<const double *> targets.data, rows * self.n_outputs)
        if not plain:
            PyBuffer_Release(&samples.y)
        return plain

    cdef int _open_targets(
        self, Samples *samples, object y, object sample_weight, bint checked=False
    ) except -1:
        cdef Py_ssize_t rows = <Py_ssize_t> samples.data.x.rows, bad = -1
        if not self._open_values(samples, y, rows, checked) and (
            self.n_classes == 0 or not open_vector(y, rows, FNN_I64, 0, &samples.y)
        ):
            from fastnn._plan import inputs

            y = inputs.check_targets(y, rows, self.plan)
            if y.ndim == 1:
                y = np.require(y, np.int64, ["C", "A"])
                if not open_vector(y, rows, FNN_I64, 0, &samples.y):
                    raise TypeError("y cannot be read as int64")
            elif not open_matrix(
                y, self.n_outputs, &samples.y, &samples.data.targets
            ):
                raise TypeError("y cannot be read as a matrix of targets")
        samples.has_y = True
        if samples.y.ndim == 1:
            samples.data.labels = <const int64_t *> samples.y.buf
            if not checked:
                bad = first_outside(samples.data.labels, rows, self.n_classes)
            if bad >= 0:
                raise ValueError(
                    f"y[{bad}] is {samples.data.labels[bad]}; expected integer labels "
                    f"0..{self.n_classes - 1}"
                )
        if sample_weight is not None:
            if not checked:
                from fastnn._plan import inputs

                sample_weight = inputs.check_sample_weight(sample_weight, rows)
            sample_weight = np.require(sample_weight, np.float64, ["C", "A"])
            if not open_vector(
                sample_weight, rows, FNN_FLOAT64, 0, &samples.weights
            ):
                raise TypeError("sample_weight cannot be read as float64")
            samples.has_weights = True
            samples.data.weights = <const double *> samples.weights.buf
        return 0

    cdef int _open_order(
        self, Samples *samples, object order, bint checked=False
    ) except -1:
        cdef Py_ssize_t bad = -1
        if not open_vector(order, -1, FNN_I64, 0, &samples.order):
            raise TypeError("order must be a contiguous int64 array")
        samples.has_order = True
        samples.data.order = <const int64_t *> samples.order.buf
        samples.data.rows = <size_t> samples.order.shape[0]
        # Labels out of range are harmless, rows are not: X may have shrunk since.
        if not checked or samples.order.shape[0] != <Py_ssize_t> samples.data.x.rows:
            bad = first_outside(
                samples.data.order,
                samples.order.shape[0],
                <int64_t> samples.data.x.rows,
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
            from fastnn._plan import inputs

            X = inputs.check_X(X, self.n_inputs, name)
            raise inputs.not_finite(X, self._dtype, name)
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
        accumulate=1,
        checked=False,
    ):
        """Train on mini-batches from ``order[start:]`` and return the next start."""
        cdef Samples samples
        cdef size_t first = start, group
        cdef double[::1] sums = totals
        cdef double *sums_at = &sums[0]
        cdef const double[::1] rates_of_steps
        cdef fnn_steps steps
        cdef fnn_status status
        self.require_owner()
        self.require_steps()
        self.prepared = False
        steps.batch_size = batch_size
        steps.accumulate = accumulate
        steps.max_seconds = max_seconds
        steps.fused = bool(fused)
        steps.rates = NULL
        # Here and not after the work: a warning may be an error, and must not hide how
        # far the weights have come.
        warn_refused_threads()
        if len(sums) != 3 or steps.batch_size < 1 or steps.accumulate < 1:
            raise ValueError(
                "expected 3 totals, a batch_size and an accumulate of 1 at least"
            )
        memset(&samples, 0, sizeof(samples))
        try:
            X = self._open_x(&samples, X, "X")
            self._open_targets(&samples, y, sample_weight, checked)
            if order is not None:
                self._open_order(&samples, order, checked)
            if first > samples.data.rows:
                raise ValueError(f"start is {first}; expected 0..{samples.data.rows}")
            if self.schedule is not None and first < samples.data.rows:
                # The rows of an update, then the number of updates that are left.
                group = samples.data.rows - first
                if group / steps.batch_size >= steps.accumulate:
                    group = steps.batch_size * steps.accumulate
                group = (samples.data.rows - first - 1) // group + 1
                rates_of_steps = rates(self.schedule, self.step, group)
                steps.rates = &rates_of_steps[0]
            with nogil:
                status = fnn_train(
                    self.network, &samples.data, &steps, &first, sums_at
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
        cdef double rate
        cdef fnn_steps steps
        cdef bint taken
        cdef fnn_status status
        memset(&samples, 0, sizeof(samples))
        sums[0] = sums[1] = sums[2] = 0.0
        self.require_steps()
        warn_refused_threads()  # before the work, as in train
        taken = self.write_begin()
        self.prepared = False
        try:
            X = self._open_x(&samples, X, "X")
            self._open_targets(&samples, y, sample_weight)
            steps.batch_size = samples.data.rows
            steps.accumulate = 1
            steps.max_seconds = 1e300
            steps.fused = 1
            steps.rates = NULL
            if self.schedule is not None:
                rate = self.schedule(self.step)
                steps.rates = &rate
            with nogil:
                status = fnn_train(
                    self.network, &samples.data, &steps, &first, sums
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
            tuple(np.empty(shape, self._dtype) for shape in pair)
            for pair in self.shapes
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
            for i, (first, second) in zip(self.weighted, gradients):
                bytes_ = first.reshape(-1).view(np.int8)
                pointers[i] = &bytes_[0]
                bytes_ = second.view(np.int8)
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
        if kind == FNN_LABELS and not self.plan.loss.is_classifier:
            raise ValueError(f"the loss {self.plan.loss.name!r} has no labels")
        memset(&samples, 0, sizeof(samples))
        self.predict_begin()
        try:
            X = self._open_x(&samples, X, "X")
            if kind == FNN_LABELS:
                out = np.empty(samples.data.x.rows, np.int64)
                if self.n_classes == 0:  # multi-label
                    out = np.empty((samples.data.x.rows, self.n_outputs), np.int64)
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
        self.predict_begin()
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
            if self.long_row:
                with nogil:
                    status = fnn_predict_one(self.network, x_view.buf, out_view.buf)
            else:
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
        from fastnn._plan import inputs

        x = np.asanyarray(x)  # a masked array stays one, to be refused
        if x.shape != (self.n_inputs,):
            raise ValueError(f"x must have shape ({self.n_inputs},), got {x.shape}")
        row = inputs.check_X(x[np.newaxis], self.n_inputs, "x")
        if not self.all_finite(row):
            raise inputs.not_finite(row, self._dtype, "x")
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
        self.predict_begin()
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
