"""The rows of a call, held and checked: inputs, targets, weights and their order."""

import numpy as np

cimport cython


cdef struct Format:
    # What arrays a network takes.
    fnn_type own_type
    Py_ssize_t n_inputs
    Py_ssize_t n_outputs
    Py_ssize_t n_targets
    Py_ssize_t n_classes  # of integer labels; 0: targets are matrices
    bint any_value  # the loss takes any finite targets
    bint takes_sparse  # rows


@cython.final
@cython.freelist(4)
cdef class _Samples:
    """Buffers, held for as long as this lives.

    The arrays are not freed, and NumPy refuses to resize them. Except with
    ``resize(refcheck=False)``, by which its caller promises that nobody else reads the
    array: while the engine does, that frees memory in use, as in all code on NumPy.
    """

    cdef Py_buffer x, y, weights, order
    cdef object sparse
    cdef fnn_data data

    def __dealloc__(self):
        PyBuffer_Release(&self.x)
        PyBuffer_Release(&self.y)
        PyBuffer_Release(&self.weights)
        PyBuffer_Release(&self.order)


cdef _Samples open_x(const Format *format, object X, str name="X"):
    """X is held as it is, if possible."""
    cdef _Samples samples = _Samples.__new__(_Samples)
    cdef Py_ssize_t n_inputs = format.n_inputs
    if type(X) is SparseRows:
        samples.sparse = X
        samples.data.x = (<SparseRows> X).array
        samples.data.rows = samples.data.x.rows
        if (
            not format.takes_sparse
            or samples.data.x.type != format.own_type
            or <Py_ssize_t> samples.data.x.cols != n_inputs
        ):
            raise ValueError(
                f"{name} is sparse, of shape {X.shape}; expected the dtype of a "
                f"network with {n_inputs} inputs, not scaled, and a dense first layer"
            )
        return samples
    if not open_matrix(X, n_inputs, &samples.x, &samples.data.x):
        from fastnn._plan import inputs

        X = inputs.check_X(X, n_inputs, name)
        if not open_matrix(X, n_inputs, &samples.x, &samples.data.x):
            raise TypeError(f"{name} of dtype {X.dtype} cannot be read as a buffer")
    samples.data.rows = samples.data.x.rows
    return samples


cdef bint open_values(
    _Samples samples, const Format *format, object y, Py_ssize_t rows, bint checked
) except -1:
    """Hold a matrix of targets that needs no conversion; False if it is unusual."""
    cdef fnn_array *targets = &samples.data.targets
    cdef bint plain
    if not format.any_value or not open_matrix(
        y, format.n_targets, &samples.y, targets
    ):
        return False
    plain = (
        samples.y.shape[0] == rows
        and targets.type == format.own_type
        and not targets.swapped
        and targets.col_stride == samples.y.itemsize
        and targets.row_stride == samples.y.itemsize * format.n_targets
        and <uintptr_t> targets.data % <uintptr_t> samples.y.itemsize == 0
    )
    if plain and not checked:
        if targets.type == FNN_FLOAT32:
            plain = finite_values(<const float *> targets.data, rows * targets.cols)
        else:
            plain = finite_values(<const double *> targets.data, rows * targets.cols)
    if not plain:
        PyBuffer_Release(&samples.y)
    return plain


cdef _Samples open_rows(
    const Format *format,
    object plan,
    object X,
    object y,
    object sample_weight,
    bint checked=False,
):
    """X, its targets, and their weights if there are any."""
    cdef _Samples samples = open_x(format, X)
    cdef Py_ssize_t rows = <Py_ssize_t> samples.data.x.rows, bad = -1
    if not open_values(samples, format, y, rows, checked) and (
        format.n_classes == 0 or not open_vector(y, rows, FNN_I64, 0, &samples.y)
    ):
        from fastnn._plan import inputs

        y = inputs.check_targets(y, rows, plan)
        if y.ndim == 1:
            y = np.require(y, np.int64, ["C", "A"])
            if not open_vector(y, rows, FNN_I64, 0, &samples.y):
                raise TypeError("y cannot be read as int64")
        elif not open_matrix(y, format.n_targets, &samples.y, &samples.data.targets):
            raise TypeError("y cannot be read as a matrix of targets")
    if samples.y.ndim == 1:
        samples.data.labels = <const int64_t *> samples.y.buf
        if not checked:
            bad = first_outside(samples.data.labels, rows, format.n_classes)
        if bad >= 0:
            raise ValueError(
                f"y[{bad}] is {samples.data.labels[bad]}; expected integer labels "
                f"0..{format.n_classes - 1}"
            )
    if sample_weight is not None:
        if not checked:
            from fastnn._plan import inputs

            sample_weight = inputs.check_sample_weight(sample_weight, rows)
        sample_weight = np.require(sample_weight, np.float64, ["C", "A"])
        if not open_vector(sample_weight, rows, FNN_FLOAT64, 0, &samples.weights):
            raise TypeError("sample_weight cannot be read as float64")
        samples.data.weights = <const double *> samples.weights.buf
    return samples


cdef int open_order(_Samples samples, object order, bint checked=False) except -1:
    cdef Py_ssize_t bad = -1
    if not open_vector(order, -1, FNN_I64, 0, &samples.order):
        raise TypeError("order must be a contiguous int64 array")
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
