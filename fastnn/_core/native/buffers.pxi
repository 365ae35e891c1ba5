"""Arrays of users as the engine reads them: held buffers, no copies."""

import sys

import numpy as np

from cpython.buffer cimport (
    PyBUF_FORMAT,
    PyBUF_SIMPLE,
    PyBUF_STRIDES,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cython cimport floating
from libc.stdint cimport int64_t, uintptr_t

cdef bint LITTLE_ENDIAN = sys.byteorder == "little"

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
    """Hold a 2-D array with that many columns; False, nothing held, if unusual."""
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


cdef void *address(object array, int flags=PyBUF_SIMPLE) except? NULL:
    """Where a C-contiguous array of at least one element lies; it must stay alive."""
    cdef Py_buffer view
    if array is None:
        return NULL
    PyObject_GetBuffer(array, &view, flags)
    PyBuffer_Release(&view)
    return view.buf


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

cdef inline bint overlap(const Py_buffer *a, const Py_buffer *b) noexcept:
    cdef const char *a_at = <const char *> a.buf
    cdef const char *b_at = <const char *> b.buf
    return a_at < b_at + b.len and b_at < a_at + a.len
