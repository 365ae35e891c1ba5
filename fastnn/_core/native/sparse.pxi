"""Compressed sparse rows as the engine reads them."""

import numpy as np

cimport cython
from libc.stdint cimport int32_t

ctypedef fused place:
    int32_t
    int64_t


cdef object check_places(
    const place *columns, Py_ssize_t count, const int64_t *starts, Py_ssize_t rows,
    Py_ssize_t width,
):
    """Whether the columns of every row are in order and differ, all being valid."""
    cdef Py_ssize_t row, at
    cdef bint ordered = True
    if starts[0] != 0:
        raise ValueError(f"indptr[0] is {starts[0]}; expected 0")
    for row in range(rows):
        if not starts[row] <= starts[row + 1] <= count:
            raise ValueError(
                f"indptr[{row + 1}] is {starts[row + 1]}; expected {starts[row]}.."
                f"{count}"
            )
        for at in range(starts[row], starts[row + 1]):
            if not 0 <= columns[at] < width:
                raise ValueError(
                    f"indices[{at}] is {columns[at]}; expected a column, 0..{width - 1}"
                )
            ordered &= at == starts[row] or columns[at - 1] < columns[at]
    return ordered


@cython.final
cdef class SparseRows:
    """Compressed sparse rows (n, k) of a dtype, copied and checked.

    Those of an engine of that dtype without input scaling, whose first layer is dense:
    what it computes is, up to the sign of zeros, what it computes from the dense rows,
    if `ordered`.

    Parameters
    ----------
    data, indices, indptr : ndarray
        As SciPy has them; of integers the last two.
    shape : tuple (n, k)
    dtype : {"float32", "float64"}

    Attributes
    ----------
    shape : tuple
    ordered : bool
        The columns of every row are ascending, none twice.

    Raises
    ------
    ValueError
        There is no row or column, a value is not finite, or a place does not exist.
    """

    cdef readonly tuple shape
    cdef readonly bint ordered
    cdef fnn_array array
    cdef object held  # the arrays

    def __init__(self, data, indices, indptr, shape, dtype):
        rows, width = shape
        # Copies, which nobody can change after they have been checked.
        starts = np.array(indptr, np.int64, order="C")
        columns = np.array(indices, order="C")
        if columns.dtype not in (np.int32, np.int64):
            columns = columns.astype(np.int64)
        if not 0 < rows == len(starts) - 1 or not 0 < width < 2**31:
            raise ValueError(
                f"X has shape {tuple(shape)} and {len(starts)} values of indptr"
            )
        if not columns.ndim == starts.ndim == np.ndim(data) == 1 or (
            len(columns) != len(data)
        ):
            raise ValueError("data and indices must be vectors of one length")
        cdef const int64_t *starts_at = <const int64_t *> address(starts)
        if columns.dtype == np.int32:
            self.ordered = check_places[int32_t](
                <const int32_t *> address(columns), len(columns), starts_at, rows, width
            )
        else:
            self.ordered = check_places[int64_t](
                <const int64_t *> address(columns), len(columns), starts_at, rows, width
            )
        # One more than there are, so that there is always a first.
        places = np.zeros(len(columns) + 1, np.int32)
        places[:-1] = columns
        values = np.zeros(len(columns) + 1, dtype)
        values[:-1] = data
        cdef bint finite
        cdef const void *at = address(values)
        if values.dtype == np.float32:
            self.array.type = FNN_FLOAT32
            finite = finite_values(<const float *> at, len(values))
        else:
            self.array.type = FNN_FLOAT64
            finite = finite_values(<const double *> at, len(values))
        if not finite:
            raise ValueError(f"X has a value that is not finite in {values.dtype}")
        self.array.data = at
        self.array.rows = rows
        self.array.cols = width
        self.array.starts = starts_at
        self.array.columns = <const int32_t *> address(places)
        self.held = (values, places, starts)
        self.shape = (rows, width)

    def __len__(self):
        return self.shape[0]

    def __reduce__(self):
        raise TypeError("SparseRows cannot be pickled; pickle what they were made of")
