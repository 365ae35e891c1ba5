# cython: language_level=3, binding=True
"""Stateless native kernels on NumPy arrays: the names, arguments, defaults and results
of `fastnn.reference`, whose docstrings they share.

For networks use `fastnn.Network`: its engine keeps weights packed, these functions pack
them in every call. They hold the GIL, so arrays cannot change under them.
"""

import numpy as np

from . import reference
from ._arguments import (
    check_floats,
    check_labels,
    check_same_shape,
    check_sample_weight,
    check_shape,
    check_update,
)
from ._fields import check_integer, check_name
from .losses import SoftmaxCrossEntropy
from .optimizers import SGD, Adam, AdamW

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint64_t

from fastnn._engine cimport describe_optimizer, stateless
from fastnn._fastnn cimport *

__all__ = [
    "adam_update",
    "adamw_update",
    "dense_backward",
    "dense_forward",
    "momentum_update",
    "nesterov_update",
    "relu_backward",
    "relu_forward",
    "sgd_update",
    "softmax",
    "softmax_cross_entropy",
]

cdef dict ACTIVATIONS = {"identity": FNN_IDENTITY, "relu": FNN_RELU}


cdef object plain(object array, object dtype=None):
    """The array itself or a copy that is C-contiguous and aligned."""
    return np.require(array, dtype, ["C", "A"])


cdef void *address(object array) except NULL:
    """Where a C-contiguous array of at least one element lies; it must stay alive."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_SIMPLE)
    PyBuffer_Release(&view)
    return view.buf


cdef fnn_dtype dtype_of(object array):
    return FNN_F64 if array.dtype.itemsize == 8 else FNN_F32


cdef int raise_status(fnn_status status) except -1:
    if status != FNN_OK:
        raise MemoryError("no memory for the packed operands")
    return 0


def dense_forward(x, w, b, activation="identity"):
    """y := act(x @ w + b)"""
    check_name("activation", activation, ACTIVATIONS)
    check_floats(x=x, w=w, b=b)
    check_shape("x", x, ("m", "k"))
    check_shape("w", w, (x.shape[1], "n"))
    check_shape("b", b, (w.shape[1],))
    x, w, b = plain(x), plain(w), plain(b)
    y = np.empty((x.shape[0], w.shape[1]), x.dtype)
    raise_status(
        stateless().dense_forward(
            dtype_of(x), address(x), address(w), address(b), x.shape[0], x.shape[1],
            w.shape[1], ACTIVATIONS[activation], address(y),
        )
    )
    return y


def dense_backward(dy, x, w, y=None, activation="identity"):
    """dz := dy * act';  dx := dz @ w.T;  dw := x.T @ dz;  db := sum_i dz_i"""
    check_name("activation", activation, ACTIVATIONS)
    check_floats(dy=dy, x=x, w=w)
    check_shape("dy", dy, ("m", "n"))
    check_shape("x", x, (dy.shape[0], "k"))
    check_shape("w", w, (x.shape[1], dy.shape[1]))
    if y is not None:
        check_floats(dy=dy, y=y)
        check_shape("y", y, dy.shape)
    elif activation != "identity":
        raise ValueError(
            f"y must be the layer's output for activation {activation!r}, got None"
        )
    dy, x, w = plain(dy), plain(x), plain(w)
    y = dy if y is None else plain(y)
    dx, dw, db = np.empty_like(x), np.empty_like(w), np.empty(w.shape[1], w.dtype)
    raise_status(
        stateless().dense_backward(
            dtype_of(x), address(dy), address(x), address(w), address(y), x.shape[0],
            x.shape[1], w.shape[1], ACTIVATIONS[activation], address(dx), address(dw),
            address(db),
        )
    )
    return dx, dw, db


def relu_forward(x):
    """y := max(x, 0)"""
    check_floats(x=x)
    x = plain(x)
    y = np.empty_like(x)
    if x.size:
        stateless().activation_forward(
            dtype_of(x), FNN_RELU, address(x), address(y), x.size
        )
    return y


def relu_backward(dy, y):
    """dx := dy if y > 0 else 0"""
    check_floats(dy=dy, y=y)
    check_same_shape(dy=dy, y=y)
    dy, y = plain(dy), plain(y)
    dx = np.empty_like(dy)
    if dy.size:
        stateless().activation_backward(
            dtype_of(dy), FNN_RELU, address(dy), address(y), address(dx), dy.size
        )
    return dx


def softmax(z):
    """p_ij := exp(z_ij) / sum_j exp(z_ij)"""
    check_floats(z=z)
    check_shape("z", z, ("m", "n"))
    z = plain(z)
    p = np.empty_like(z)
    raise_status(
        stateless().softmax(dtype_of(z), address(z), z.shape[0], z.shape[1], address(p))
    )
    return p


def softmax_cross_entropy(z, labels, sample_weight=None, label_smoothing=0.0):
    """loss := sum_i w_i l_i / sum_i w_i, and its gradient with respect to z"""
    check_floats(z=z)
    check_shape("z", z, ("m", "n"))
    check_labels(labels, z)
    cdef const int64_t *hard = NULL
    cdef const void *soft = NULL
    cdef const double *weights = NULL
    cdef double loss
    if sample_weight is not None:
        check_sample_weight(sample_weight, z)
        sample_weight = plain(sample_weight, np.float64)
        weights = <const double *> address(sample_weight)
    smoothing = SoftmaxCrossEntropy(label_smoothing).label_smoothing
    if labels.ndim == 1:
        labels = plain(labels, np.int64)
        hard = <const int64_t *> address(labels)
    else:
        labels = plain(labels)
        soft = address(labels)
    z = plain(z)
    dz = np.empty_like(z)
    raise_status(
        stateless().softmax_cross_entropy(
            dtype_of(z), address(z), hard, soft, weights, smoothing, z.shape[0],
            z.shape[1], &loss, address(dz),
        )
    )
    return loss, dz


cdef int update(
    fnn_optimizer *optimizer, uint64_t step, object w, object dw, list state
) except -1:
    if w.size == 0:
        return 0
    for array in (w, *state):
        if not array.flags.aligned:
            raise ValueError("w and its state must be aligned: they change in place")
    dw = plain(dw)
    stateless().optimizer_update(
        dtype_of(w), optimizer, step, address(w), address(dw),
        address(state[0]) if state else NULL,
        address(state[1]) if len(state) > 1 else NULL,
        w.size,
    )
    return 0


def sgd_update(w, dw, learning_rate=0.01):
    """w := w - lr dw"""
    check_update(w, dw)
    cdef fnn_optimizer optimizer = describe_optimizer(SGD(learning_rate))
    update(&optimizer, 1, w, dw, [])


def momentum_update(w, dw, velocity, learning_rate=0.01, momentum=0.9):
    """v := mu v + dw;  w := w - lr v"""
    check_update(w, dw, velocity=velocity)
    cdef fnn_optimizer optimizer = describe_optimizer(SGD(learning_rate, momentum))
    optimizer.kind = FNN_MOMENTUM  # also for momentum 0, which SGD takes as plain
    update(&optimizer, 1, w, dw, [velocity])


def nesterov_update(w, dw, velocity, learning_rate=0.01, momentum=0.9):
    """v := mu v + dw;  w := w - lr (dw + mu v)"""
    check_update(w, dw, velocity=velocity)
    cdef fnn_optimizer optimizer = describe_optimizer(SGD(learning_rate, momentum))
    optimizer.kind = FNN_NESTEROV
    update(&optimizer, 1, w, dw, [velocity])


def adam_update(
    w,
    dw,
    first_moment,
    second_moment,
    step,
    learning_rate=1e-3,
    beta_1=0.9,
    beta_2=0.999,
    epsilon=1e-8,
):
    """w := w - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + epsilon)"""
    check_update(w, dw, first_moment=first_moment, second_moment=second_moment)
    step = check_integer("step", step, 1)
    spec = Adam(learning_rate, beta_1, beta_2, epsilon)
    cdef fnn_optimizer optimizer = describe_optimizer(spec)
    update(&optimizer, step, w, dw, [first_moment, second_moment])


def adamw_update(
    w,
    dw,
    first_moment,
    second_moment,
    step,
    learning_rate=1e-3,
    beta_1=0.9,
    beta_2=0.999,
    epsilon=1e-8,
    weight_decay=0.01,
):
    """w := (1 - lr * weight_decay) w, then Adam"""
    check_update(w, dw, first_moment=first_moment, second_moment=second_moment)
    step = check_integer("step", step, 1)
    spec = AdamW(learning_rate, beta_1, beta_2, epsilon, weight_decay)
    cdef fnn_optimizer optimizer = describe_optimizer(spec)
    update(&optimizer, step, w, dw, [first_moment, second_moment])


for _name in __all__:
    globals()[_name].__doc__ = getattr(reference, _name).__doc__.replace(
        "fastnn.reference", "fastnn.kernels"
    )
del _name
