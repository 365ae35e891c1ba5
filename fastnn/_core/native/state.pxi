"""A network in memory: how it is made, and what is read from it and put back."""

import numpy as np

from fastnn._base.fields import check_integer
from fastnn.schedules import Schedule

from libc.math cimport INFINITY
from libc.stdlib cimport calloc, free


cdef class _Schedules:
    """What changes from update to update, and its values for those of a call."""

    cdef bint any
    cdef object rate, decay  # of the optimizer; None if constant
    cdef object plan  # None if all rates of dropout are constant
    cdef object rates, decays, dropout_rates  # arrays of float64

    def __init__(self, plan):
        rate, decay = plan.optimizer.learning_rate, plan.optimizer.weight_decay
        self.rate = rate if isinstance(rate, Schedule) else None
        self.decay = decay if isinstance(decay, Schedule) else None
        self.plan = plan if plan.dropout_schedules else None
        found = self.rate, self.decay, self.plan
        self.any = found != (None, None, None)

    cdef int leave(self, fnn_steps *steps) except -1:
        steps.rates = steps.decays = steps.dropout_rates = NULL
        return 0

    cdef int take(self, fnn_steps *steps, object first, object count) except -1:
        """Point to the values of `count` updates, which this object keeps."""
        self.leave(steps)
        if self.rate is not None:
            self.rates = rates(self.rate, first, count)
            steps.rates = <const double *> address(self.rates)
        if self.decay is not None:
            self.decays = rates(self.decay, first, count)
            steps.decays = <const double *> address(self.decays)
        if self.plan is not None:
            self.dropout_rates = self.plan.dropout_rates(first, count)
            steps.dropout_rates = <const double *> address(self.dropout_rates)
        return 0


cdef class _State(_Access):
    """One C network (csrc/fastnn.h), and what Python must know of it."""

    cdef fnn_network *network
    cdef readonly object plan
    cdef readonly object _dtype
    cdef Format format
    cdef int _num_threads  # 0: the maximum
    cdef bint long_row  # one row takes much longer than giving the GIL away
    cdef bint steps  # the optimizer makes steps on mini-batches
    cdef _Schedules schedules
    cdef bint normalises  # has batch norms: parameters besides the weights
    cdef tuple parametric  # the layers that have parameters
    cdef tuple shapes  # of their pairs
    cdef object levels  # of the loss, which the network reads
    cdef object __weakref__

    def __cinit__(self):
        self.network = NULL

    def __init__(self, plan, num_threads=None, *, dropout_keys=()):
        if self.network != NULL:
            raise RuntimeError("an engine cannot be initialised twice")
        if plan.dtype == "bfloat16":
            _warn_of_bfloat16()
        cdef Py_ssize_t count = len(plan.layers), i
        cdef fnn_layer *layers = <fnn_layer *> calloc(count, sizeof(fnn_layer))
        if layers == NULL:
            raise MemoryError("no memory for the network")
        cdef fnn_plan description
        keys = (*dropout_keys, *[0] * (count - len(dropout_keys)))
        widths = plan.widths
        kept = []
        try:
            for i in range(count):
                layers[i] = describe_layer(plan.layers[i], widths[i], keys[i], kept)
            description.dtype = DTYPES[plan.dtype]
            description.n_inputs = plan.n_inputs
            description.n_layers = <size_t> count
            description.layers = layers
            description.loss = describe_loss(plan.loss)
            self.levels = levels_of(plan.loss)
            description.levels = <const double *> address(self.levels)
            self.network = fnn_network_new(&description)
            kept.clear()
        finally:
            free(layers)
        if self.network == NULL:
            raise MemoryError(f"no memory for a network of widths {widths}")
        self.plan = plan
        self._dtype = np.dtype(plan.array_dtype)
        self.format.own_type = FNN_FLOAT64 if plan.dtype == "float64" else FNN_FLOAT32
        self.format.n_inputs = plan.n_inputs
        self.format.n_outputs = plan.n_outputs
        self.format.n_targets = plan.n_targets
        self.format.n_classes = plan.n_classes or 0
        # A row takes about 10 us then, or a team of threads, whose barriers may wait.
        self.long_row = fnn_network_bytes(self.network) > 512 * 1024
        self.format.takes_sparse = fnn_takes_sparse(self.network)
        self.format.any_value = plan.loss.target_range == (-INFINITY, INFINITY)
        self.parametric = plan.parametric_layers
        self.shapes = plan.shapes
        self.normalises = any(layer.name == "batch_norm" for layer in plan.layers)
        cdef fnn_factors factors[2]
        for i in self.parametric:
            for j, each in enumerate(plan.layers[i].factors):
                factors[j].rate = each.rate
                factors[j].epsilon = each.epsilon
                factors[j].decay = each.decay
            fnn_network_set_factors(self.network, i, &factors[0], &factors[1])
        self._set_optimizer(plan)
        if num_threads is not None:
            self.num_threads = num_threads

    def __dealloc__(self):
        fnn_network_free(self.network)

    @property
    def step(self):
        """Number of updates done."""
        return fnn_network_get_step(self.network)

    @step.setter
    def step(self, value):
        cdef unsigned long long step = check_integer("step", value, 0)
        cdef bint taken = self.write_begin()
        fnn_network_set_step(self.network, step)
        self.write_end(taken)

    @property
    def num_threads(self):
        """The most threads a call may use; None resets it to the process's."""
        return self._num_threads or fnn_get_num_threads()

    @num_threads.setter
    def num_threads(self, value):
        self._num_threads = (
            0 if value is None else check_integer("num_threads", value, 1, 256)
        )
        fnn_network_set_threads(self.network, self._num_threads)

    cdef inline int require_steps(self) except -1:
        if not self.steps:
            raise ValueError("the optimizer LBFGS takes all data at once: use fit")
        return 0

    cdef tuple _get(self, Py_ssize_t index, int part):
        first, second = (np.empty(shape, self._dtype) for shape in self.shapes[index])
        cdef size_t layer = self.parametric[index]
        fnn_network_get(self.network, layer, part, address(first), address(second))
        return first, second

    cdef int _set(self, Py_ssize_t index, int part, object pair) except -1:
        first, second = (np.ascontiguousarray(each, self._dtype) for each in pair)
        if (first.shape, second.shape) != self.shapes[index]:
            raise ValueError(
                f"pair {index} must have the shapes {self.shapes[index]}, got "
                f"{(first.shape, second.shape)}"
            )
        cdef size_t layer = self.parametric[index]
        fnn_network_set(self.network, layer, part, address(first), address(second))
        return 0

    def get_weights(self):
        """Return copies of the pair of arrays of each layer that has parameters."""
        self.read_begin()
        try:
            return [self._get(i, 0) for i in range(len(self.shapes))]
        finally:
            self.readers -= 1

    def weight_squares(self):
        """Return the sum of the squares of all weights of dense layers, no biases."""
        self.read_begin()
        try:
            return fnn_network_squares(self.network)
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
            self.write_end(taken)

    def get_statistics(self, pending=False):
        """Return copies of (mean, variance) of each batch norm; None for other layers.

        Of those that the last gradients found if `pending`.
        """
        found = []
        self.read_begin()
        try:
            for i, layer in enumerate(self.plan.layers):
                if layer.name != "batch_norm":
                    found.append(None)
                    continue
                width = self.plan.widths[i + 1]
                pair = np.empty(width, self._dtype), np.empty(width, self._dtype)
                (fnn_network_pending_statistics if pending
                 else fnn_network_get_statistics)(
                    self.network, i, address(pair[0]), address(pair[1])
                )
                found.append(pair)
        finally:
            self.readers -= 1
        return found

    def set_statistics(self, statistics):
        """Replace the statistics of batch norms by copies of those given."""
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
                fnn_network_set_statistics(
                    self.network, i, address(mean), address(variance)
                )
        finally:
            self.write_end(taken)

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
            self.write_end(taken)

    def set_optimizer(self, optimizer, layers=None):
        """Change the optimizer; its state starts again unless it has the same names.

        And layers, if given, which differ in the schedules of their rates alone.
        """
        from dataclasses import replace

        cdef bint taken = self.write_begin()
        try:
            layers = tuple(layers or self.plan.layers)
            plan = replace(self.plan, optimizer=optimizer, layers=layers)
            self._set_optimizer(plan)
            self.plan = plan
        finally:
            self.write_end(taken)

    def set_trainable(self, trainable):
        """Train the layers for which `trainable`, of one bool each, is True, alone."""
        cdef bint taken = self.write_begin()
        cdef size_t i
        self.prepared = False
        try:
            plan = self.plan.with_trainable(trainable)
            for i in self.parametric:
                if plan.layers[i].trainable != self.plan.layers[i].trainable:
                    fnn_network_set_trainable(
                        self.network, i, plan.layers[i].trainable
                    )
            self.plan = plan
        finally:
            self.write_end(taken)

    cdef int _set_optimizer(self, plan) except -1:
        cdef fnn_optimizer description = describe_optimizer(plan.optimizer)
        if fnn_network_set_optimizer(self.network, &description) != FNN_OK:
            raise MemoryError("no memory for the optimizer's state")
        self.schedules = _Schedules(plan)
        self.steps = plan.optimizer.name != "lbfgs"
        return 0

    def set_input_scaling(self, scale, shift):
        """Use ``x * scale + shift``, each (n_inputs,), as inputs; None for x itself."""
        cdef bint taken = self.write_begin()
        cdef fnn_status status
        try:
            if scale is None or shift is None:
                status = fnn_network_set_scaling(self.network, NULL, NULL)
            else:
                factors = np.ascontiguousarray(scale, np.float64)
                offsets = np.ascontiguousarray(shift, np.float64)
                if not len(factors) == len(offsets) == self.format.n_inputs:
                    raise ValueError(
                        f"scale and shift must have shape ({self.format.n_inputs},), "
                        f"got ({len(factors)},) and ({len(offsets)},)"
                    )
                status = fnn_network_set_scaling(
                    self.network, <const double *> address(factors),
                    <const double *> address(offsets),
                )
        finally:
            self.write_end(taken)
        if status != FNN_OK:
            raise MemoryError("no memory for the input scaling")
        self.format.takes_sparse = fnn_takes_sparse(self.network)
