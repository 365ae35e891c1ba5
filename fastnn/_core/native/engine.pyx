# cython: language_level=3, binding=True, embedsignature=False
"""The native engine: trains and predicts with one C network (csrc/fastnn.h).

Validates what a fast path can validate, hands everything unusual to `_plan.inputs`,
drops the GIL for the work and turns a status into an exception. Methods, arguments and
meaning are those of `fastnn.reference.Engine`.

The parts below are included, not imported: the C core is linked into one module.
"""

import numpy as np

from fastnn._base.errors import TrainingDiverged

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release
from cpython.exc cimport PyErr_CheckSignals
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastnn._core.native.fastnn cimport *

# This glue is made small, a third less; predict_one takes 5 % longer for it.
cdef extern from *:
    """
    #if !defined(__clang__)
    #pragma GCC optimize("Os")
    #endif
    """

include "specs.pxi"
include "process.pxi"
include "buffers.pxi"
include "sparse.pxi"
include "samples.pxi"
include "access.pxi"
include "state.pxi"

cdef const fnn_stateless *stateless() noexcept:
    return fnn_stateless_functions()


# A call that predicts checks for Ctrl-C this often.
cdef double SLICE_SECONDS = 0.05


cdef class Engine(_State):
    """The native engine of one network; see `fastnn.reference.Engine`."""

    cdef int _check(self, fnn_status status, object X, str name="X") except -1:
        if status == FNN_INTERRUPTED:
            return -1  # what a handler of a signal has raised
        if status == FNN_NO_MEMORY:
            raise MemoryError("no memory for the workspace; nothing was changed")
        if status == FNN_BAD_INPUT:
            from fastnn._plan import inputs

            X = inputs.check_X(X, self.format.n_inputs, name)
            raise inputs.bad_values(X, self.plan, name)
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
        limit=float("inf"),
    ):
        """Train on mini-batches from ``order[start:]`` and return the next start."""
        cdef _Samples samples
        cdef size_t first = start, group
        cdef double *sums = <double *> address(totals, PyBUF_WRITABLE)
        cdef fnn_steps steps
        cdef fnn_status status
        self.require_owner()
        self.require_steps()
        self.prepared = False
        steps.batch_size = batch_size
        steps.accumulate = accumulate
        steps.max_seconds = max_seconds
        steps.limit = limit
        steps.fused = bool(fused)
        # Here and not after the work: a warning may be an error, and must not hide how
        # far the weights have come.
        warn_refused_threads()
        if len(totals) != 3 or steps.batch_size < 1 or steps.accumulate < 1:
            raise ValueError(
                "expected 3 totals, a batch_size and an accumulate of 1 at least"
            )
        samples = open_rows(&self.format, self.plan, X, y, sample_weight, checked)
        if order is not None:
            open_order(samples, order, checked)
        if first > samples.data.rows:
            raise ValueError(f"start is {first}; expected 0..{samples.data.rows}")
        self.schedules.leave(&steps)
        if self.schedules.any and first < samples.data.rows:
            # The rows of an update, then the number of updates that are left.
            group = samples.data.rows - first
            if group / steps.batch_size >= steps.accumulate:
                group = steps.batch_size * steps.accumulate
            group = (samples.data.rows - first - 1) // group + 1
            self.schedules.take(&steps, self.step, group)
        with nogil:
            status = fnn_train(self.network, &samples.data, &steps, &first, sums)
        # Memory that ran out after some steps is for the next call to report.
        if status != FNN_OK and not (status == FNN_NO_MEMORY and first > start):
            self._check(status, X)
        return first

    def train_step(self, X, y, sample_weight=None):
        """Update once on all rows and return the loss before the update."""
        cdef _Samples samples
        cdef size_t first = 0
        cdef double[3] sums
        cdef fnn_steps steps
        cdef bint taken
        cdef fnn_status status
        sums[0] = sums[1] = sums[2] = 0.0
        self.require_steps()
        warn_refused_threads()  # before the work, as in train
        taken = self.write_begin()
        self.prepared = False
        try:
            samples = open_rows(&self.format, self.plan, X, y, sample_weight)
            steps.batch_size = samples.data.rows
            steps.accumulate = 1
            steps.max_seconds = 1e300
            steps.limit = 1e300
            steps.fused = 1
            self.schedules.take(&steps, self.step, 1)
            with nogil:
                status = fnn_train(self.network, &samples.data, &steps, &first, sums)
            self._check(status, X)
        finally:
            self.write_end(taken)
        return sums[0] / sums[1]

    cdef object _gradients(self):
        """Arrays for the gradients of all parameters."""
        return [
            tuple(np.empty(shape, self._dtype) for shape in pair)
            for pair in self.shapes
        ]

    cdef void **_pointers(self, object pairs) except NULL:
        """To the arrays of each layer, then to the second ones; to be freed."""
        cdef Py_ssize_t count = len(self.plan.layers), i
        cdef void **pointers = <void **> calloc(2 * count, sizeof(void *))
        if pointers == NULL:
            raise MemoryError("no memory for the gradients")
        for i, (first, second) in zip(self.parametric, pairs):
            pointers[i] = address(first)
            pointers[count + i] = address(second)
        return pointers

    def loss_and_gradients(self, X, y, sample_weight=None):
        """Return the loss of all rows and its gradients [(dW, db), ...]; no update."""
        cdef _Samples samples
        cdef double[3] sums
        cdef bint taken
        gradients = self._gradients()
        # The workspace is the network's own, so this excludes other callers.
        taken = self.write_begin()
        try:
            samples = open_rows(&self.format, self.plan, X, y, sample_weight)
            # Training sees an infinity in its sums of magnitudes; ReLU may hide it.
            if not self.all_finite(X):
                self._check(FNN_BAD_INPUT, X)
            self._find_gradients(samples, X, gradients, sums)
        finally:
            self.write_end(taken)
        return sums[0] / sums[1], gradients

    def partial_gradients(
        self, X, y, sample_weight, order, first_row, weight_sum, gradients
    ):
        """Write the gradients of some of an update's rows; return two of their sums."""
        cdef _Samples samples
        cdef double[3] sums
        cdef bint taken = self.write_begin()
        try:
            samples = open_rows(&self.format, self.plan, X, y, sample_weight, True)
            open_order(samples, order, True)
            samples.data.first_row = first_row
            samples.data.weight_sum = weight_sum
            self._find_gradients(samples, X, gradients, sums)
        finally:
            self.write_end(taken)
        return sums[0], sums[2]

    cdef int _find_gradients(
        self, _Samples samples, object X, object gradients, double *sums
    ) except -1:
        cdef fnn_status status
        cdef Py_ssize_t count = len(self.plan.layers)
        cdef void **pointers = NULL
        cdef fnn_steps steps
        sums[0] = sums[1] = sums[2] = 0.0
        try:
            pointers = self._pointers(gradients)
            self.schedules.take(&steps, self.step, 1)
            with nogil:
                status = fnn_gradients(
                    self.network, &samples.data, steps.dropout_rates, sums, pointers,
                    pointers + count,
                )
            self._check(status, X)
            warn_refused_threads()
        finally:
            free(pointers)
        return 0

    def training_outputs(self, X, first_row=0):
        """Return the raw outputs of the next update's forward pass; no update."""
        cdef _Samples samples
        cdef bint taken
        cdef fnn_status status
        cdef fnn_steps steps
        cdef void *at
        taken = self.write_begin()
        try:
            samples = open_x(&self.format, X)
            samples.data.first_row = first_row
            if not self.all_finite(X):
                self._check(FNN_BAD_INPUT, X)
            out = np.empty((samples.data.rows, self.format.n_outputs), self._dtype)
            at = address(out)
            self.schedules.take(&steps, self.step, 1)
            with nogil:
                status = fnn_training_outputs(
                    self.network, &samples.data, steps.dropout_rates, at
                )
            self._check(status, X)
            warn_refused_threads()
        finally:
            self.write_end(taken)
        return out

    def backward(self, X, d_outputs, first_row=0):
        """Return the gradients of sum(training_outputs(X) * d_outputs); no update."""
        cdef _Samples samples
        cdef bint taken
        cdef fnn_status status
        cdef Py_ssize_t count = len(self.plan.layers)
        cdef void **pointers = NULL
        cdef fnn_steps steps
        cdef void *at
        gradients = self._gradients()
        taken = self.write_begin()
        try:
            samples = open_x(&self.format, X)
            samples.data.first_row = first_row
            if not self.all_finite(X):
                self._check(FNN_BAD_INPUT, X)
            if len(d_outputs) != <Py_ssize_t> samples.data.rows or not open_matrix(
                d_outputs, self.format.n_outputs, &samples.y, &samples.data.targets
            ):
                raise ValueError("d_outputs must have a row for each of X")
            d_inputs = np.empty((samples.data.rows, self.format.n_inputs), self._dtype)
            at = address(d_inputs)
            pointers = self._pointers(gradients)
            self.schedules.take(&steps, self.step, 1)
            with nogil:
                status = fnn_backward(
                    self.network, &samples.data, steps.dropout_rates, pointers,
                    pointers + count, at,
                )
            self._check(status, X)
            warn_refused_threads()
        finally:
            free(pointers)
            self.write_end(taken)
        return gradients, d_inputs

    def apply_gradients(self, gradients, statistics=None):
        """Update once by gradients as `loss_and_gradients` returns them."""
        cdef Py_ssize_t count = len(self.plan.layers)
        cdef void **pointers = NULL
        cdef double rate, decay
        cdef fnn_status status
        cdef bint taken
        self.require_steps()
        rate = rates(self.plan.optimizer.learning_rate, self.step, 1)[0]
        decay = rates(self.plan.optimizer.weight_decay, self.step, 1)[0]
        taken = self.write_begin()
        self.prepared = False
        try:
            pointers = self._pointers(gradients)
            with nogil:
                status = fnn_apply_gradients(
                    self.network, rate, decay, <const void **> pointers,
                    <const void **> (pointers + count),
                )
            self._check(status, None)
            if statistics is not None:
                self.set_statistics(statistics)
        finally:
            free(pointers)
            self.write_end(taken)

    # Prediction -----------------------------------------------------------------------

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

    def forward(self, X, output="values"):
        """Return the network's outputs for all rows of X."""
        cdef _Samples samples
        cdef size_t start = 0
        cdef fnn_status status = FNN_OK
        cdef fnn_output kind
        cdef Py_ssize_t n_outputs = self.format.n_outputs
        cdef void *at
        if output not in OUTPUTS:
            raise ValueError(f"output must be one of {[*OUTPUTS]}, got {output!r}")
        kind = OUTPUTS[output]
        if kind == FNN_LABELS and not self.plan.loss.is_classifier:
            raise ValueError(f"the loss {self.plan.loss.name!r} has no labels")
        self.predict_begin()
        try:
            samples = open_x(&self.format, X)
            if kind == FNN_LABELS:
                out = np.empty(samples.data.x.rows, np.int64)
                if self.format.n_classes == 0:  # multi-label
                    out = np.empty((samples.data.x.rows, n_outputs), np.int64)
            else:
                out = np.empty((samples.data.x.rows, n_outputs), self._dtype)
            at = address(out)
            while status == FNN_OK and start < samples.data.x.rows:
                with nogil:
                    status = fnn_predict(
                        self.network, &samples.data.x, kind, at, &start, SLICE_SECONDS
                    )
                self._check(status, X)
                PyErr_CheckSignals()
            warn_refused_threads()
        finally:
            self.readers -= 1
        return out

    def predict_one(self, x, out=None):
        """Return the "values" (n_outputs,) of one row x (n_inputs,), in out if given"""
        cdef Py_buffer x_view, out_view
        cdef Py_ssize_t n_inputs = self.format.n_inputs
        cdef fnn_type type_ = self.format.own_type
        cdef fnn_status status
        cdef object given = None  # what x was, if it is converted
        memset(&x_view, 0, sizeof(x_view))
        memset(&out_view, 0, sizeof(out_view))
        self.predict_begin()
        try:
            if not open_vector(x, n_inputs, type_, 0, &x_view):
                given = np.asanyarray(x)  # a masked array stays one, to be refused
                x = self._one_row(given)
                open_vector(x, n_inputs, type_, 0, &x_view)
            if out is None:
                out = np.empty(self.format.n_outputs, self._dtype)
            if not open_vector(
                out if type(out) is ndarray or not isinstance(out, ndarray)
                else out.view(ndarray),
                self.format.n_outputs, type_, PyBUF_WRITABLE, &out_view
            ):
                raise self._bad_out(out)
            if overlap(&x_view, &out_view) or (
                given is not None and np.may_share_memory(given, out)
            ):
                raise ValueError("out must not share memory with x")
            if self.long_row:
                with nogil:
                    status = fnn_predict_one(self.network, x_view.buf, out_view.buf)
            else:
                status = fnn_predict_one(self.network, x_view.buf, out_view.buf)
            if status != FNN_OK:
                self._check(status, np.asarray(x)[np.newaxis], "x")
        finally:
            PyBuffer_Release(&x_view)
            PyBuffer_Release(&out_view)
            self.readers -= 1
        return out

    cdef object _one_row(self, object x):
        from fastnn._plan import inputs

        cdef Py_ssize_t n_inputs = self.format.n_inputs
        if x.shape != (n_inputs,):
            raise ValueError(f"x must have shape ({n_inputs},), got {x.shape}")
        row = inputs.check_X(x[np.newaxis], n_inputs, "x")
        if not self.all_finite(row):
            raise inputs.bad_values(row, self.plan, "x")
        return np.array(row[0], self._dtype, order="C")

    cdef object _bad_out(self, object out):
        expected = f"a {self._dtype} array of shape ({self.format.n_outputs},)"
        if not isinstance(out, np.ndarray):
            return TypeError(f"out must be {expected}, got {type(out).__name__}")
        if out.dtype != self._dtype:
            return TypeError(f"out must be {expected}, got {out.dtype}")
        if out.shape != (self.format.n_outputs,):
            return ValueError(f"out must be {expected}, got shape {out.shape}")
        return ValueError("out must be C-contiguous, aligned and writable")

    def evaluate(self, X, y, sample_weight=None):
        """Return the sums over all rows of w * loss, w and w * correct."""
        cdef _Samples samples
        cdef size_t start = 0
        cdef double[3] sums
        cdef fnn_status status = FNN_OK
        sums[0] = sums[1] = sums[2] = 0.0
        self.predict_begin()
        try:
            samples = open_rows(&self.format, self.plan, X, y, sample_weight)
            while status == FNN_OK and start < samples.data.x.rows:
                with nogil:
                    status = fnn_evaluate(
                        self.network, &samples.data, &start, sums, SLICE_SECONDS
                    )
                self._check(status, X)
                PyErr_CheckSignals()
            warn_refused_threads()
        finally:
            self.readers -= 1
        return sums[0], sums[1], sums[2]

    def all_finite(self, X):
        """Return whether X is finite in the network's dtype, also after the scaling.

        And whether the codes of categories, if there are any, are such.
        """
        cdef _Samples samples
        cdef int finite = 0
        cdef fnn_status status
        samples = open_x(&self.format, X)
        with nogil:
            status = fnn_all_finite(self.network, &samples.data.x, &finite)
        self._check(status, X)
        warn_refused_threads()
        if finite and self.plan.categories:
            from fastnn._plan import inputs

            return inputs.wrong_code(X, self.plan) is None
        return bool(finite)
