# cython: language_level=3, binding=True
"""Stateless native kernels on NumPy arrays: the names, arguments, defaults and results
of `fastnn.reference`, whose docstrings they share.

For networks use `fastnn.Network`: its engine keeps weights packed, these functions pack
them in every call. They hold the GIL, so arrays cannot change under them.
"""

import numpy as np

from fastnn._base.fields import BELOW_1, NOT_NEGATIVE, check_integer, check_number
from fastnn._plan.functions import (
    check_float32,
    check_floats,
    check_loss,
    check_norm,
    check_same_shape,
    check_shape,
)
from fastnn.losses import (
    MAE,
    MSE,
    BinaryCrossEntropy,
    Focal,
    GaussianNLL,
    Hinge,
    Huber,
    Poisson,
    Quantile,
    SoftmaxCrossEntropy,
)
from fastnn.reference import functions as reference
from fastnn.reference.functions import __all__

from libc.stdint cimport int64_t, uint64_t

from fastnn._core.native.engine cimport (
    address,
    describe_activation,
    describe_loss,
    describe_optimizer,
    stateless,
)
from fastnn._core.native.fastnn cimport *


cdef object plain(object array, object dtype=None):
    """The array itself or a copy that is C-contiguous and aligned; None for None."""
    return None if array is None else np.require(array, dtype, ["C", "A"])


cdef fnn_dtype dtype_of(object array):
    return FNN_F64 if array.dtype.itemsize == 8 else FNN_F32


cdef int raise_status(fnn_status status) except -1:
    if status != FNN_OK:
        raise MemoryError("no memory for the operands")
    return 0


def dense_forward(x, w, b, activation="identity"):
    """y := act(x @ w + b)"""
    cdef fnn_activation act = describe_activation(activation)
    check_floats(x=x, w=w, b=b)
    check_shape("x", x, ("m", "k"))
    check_shape("w", w, (x.shape[1], "n"))
    check_shape("b", b, (w.shape[1],))
    if act.kind == FNN_SOFTMAX:
        return softmax(dense_forward(x, w, b))
    x, w, b = plain(x), plain(w), plain(b)
    y = np.empty((x.shape[0], w.shape[1]), x.dtype)
    raise_status(
        stateless().dense_forward(
            dtype_of(x), address(x), address(w), address(b), x.shape[0], x.shape[1],
            w.shape[1], act, address(y),
        )
    )
    return y


def dense_backward(dy, x, w, y=None, activation="identity"):
    """dz := dy * act';  dx := dz @ w.T;  dw := x.T @ dz;  db := sum_i dz_i"""
    cdef fnn_activation act = describe_activation(activation)
    check_floats(dy=dy, x=x, w=w)
    check_shape("dy", dy, ("m", "n"))
    check_shape("x", x, (dy.shape[0], "k"))
    check_shape("w", w, (x.shape[1], dy.shape[1]))
    if y is not None:
        check_floats(dy=dy, y=y)
        check_shape("y", y, dy.shape)
    elif act.kind != FNN_IDENTITY:
        raise ValueError(
            f"y must be the layer's output for activation {activation!r}, got None"
        )
    if act.kind == FNN_SOFTMAX:
        return dense_backward(softmax_backward(dy, y), x, w)
    dy, x, w = plain(dy), plain(x), plain(w)
    y = dy if y is None else plain(y)
    dx, dw, db = np.empty_like(x), np.empty_like(w), np.empty(w.shape[1], w.dtype)
    raise_status(
        stateless().dense_backward(
            dtype_of(x), address(dy), address(x), address(w), address(y), x.shape[0],
            x.shape[1], w.shape[1], act, address(dx), address(dw), address(db),
        )
    )
    return dx, dw, db


cdef object elementwise(fnn_activation act, object dy, object x):
    dy, x = plain(dy), plain(x)
    out = np.empty_like(x)
    if x.size:
        stateless().activation(
            dtype_of(x), act, address(dy), address(x), address(out), x.size
        )
    return out


def activation_forward(x, activation):
    """y := act(x)"""
    cdef fnn_activation act = describe_activation(activation)
    check_floats(x=x)
    if act.kind == FNN_SOFTMAX:
        check_shape("x", x, ("m", "n"))
        return softmax(x)
    return elementwise(act, None, x)


def activation_backward(dy, saved, activation):
    """dx := dy * act'"""
    return backward(activation, dy, saved, "saved")


cdef object backward(object activation, object dy, object saved, str name):
    """The gradient, from an array that errors call `name`."""
    cdef fnn_activation act = describe_activation(activation)
    arrays = {"dy": dy, name: saved}
    check_floats(**arrays)
    check_same_shape(**arrays)
    if act.kind == FNN_SOFTMAX:
        check_shape("dy", dy, ("m", "n"))
        return softmax_backward(dy, saved)
    return elementwise(act, dy, saved)


def relu_forward(x):
    """y := max(x, 0)"""
    return activation_forward(x, "relu")


def relu_backward(dy, y):
    """dx := dy if y > 0 else 0"""
    return backward("relu", dy, y, "y")


cdef object of_rows(object dp, object x):
    dp, x = plain(dp), plain(x)
    out = np.empty_like(x)
    raise_status(
        stateless().softmax(
            dtype_of(x), address(dp), address(x), x.shape[0], x.shape[1], address(out)
        )
    )
    return out


def softmax(z):
    """p_ij := exp(z_ij) / sum_j exp(z_ij)"""
    check_floats(z=z)
    check_shape("z", z, ("m", "n"))
    return of_rows(None, z)


def softmax_backward(dp, p):
    """dz_i := p_i * (dp_i - sum_j dp_ij p_ij)"""
    check_floats(dp=dp, p=p)
    check_shape("dp", dp, ("m", "n"))
    check_shape("p", p, dp.shape)
    return of_rows(dp, p)


cdef tuple weighted_loss(object spec, object z, object targets, object sample_weight):
    cdef double mean
    levels = np.array(getattr(spec, "levels", (0.0,)))
    check_loss(spec, z, targets, sample_weight)
    hard = plain(targets, np.int64) if targets.ndim == 1 else None
    soft = plain(targets) if targets.ndim == 2 else None
    weights = plain(sample_weight, np.float64)
    z = plain(z)
    dz = np.empty_like(z)
    raise_status(
        stateless().loss(
            dtype_of(z), describe_loss(spec), <double *> address(levels), address(z),
            <int64_t *> address(hard), address(soft), <double *> address(weights),
            z.shape[0], z.shape[1], &mean, address(dz),
        )
    )
    return mean, dz


def softmax_cross_entropy(z, labels, sample_weight=None, label_smoothing=0.0):
    """l_i := -sum_j t_ij log softmax(z_i)_j"""
    return weighted_loss(
        SoftmaxCrossEntropy(label_smoothing), z, labels, sample_weight
    )


def binary_cross_entropy(z, targets, sample_weight=None):
    """l_i := sum_j max(z_ij, 0) - t_ij z_ij + log(1 + exp(-|z_ij|))"""
    return weighted_loss(BinaryCrossEntropy(), z, targets, sample_weight)


def mse(z, targets, sample_weight=None):
    """l_i := 1 / n sum_j (z_ij - t_ij)^2"""
    return weighted_loss(MSE(), z, targets, sample_weight)


def mae(z, targets, sample_weight=None):
    """l_i := 1 / n sum_j |z_ij - t_ij|"""
    return weighted_loss(MAE(), z, targets, sample_weight)


def huber(z, targets, sample_weight=None, delta=1.0):
    """l_i := 1 / n sum_j h(z_ij - t_ij)"""
    return weighted_loss(Huber(delta), z, targets, sample_weight)


def poisson(z, targets, sample_weight=None):
    """l_i := 1 / n sum_j exp(z_ij) - t_ij z_ij"""
    return weighted_loss(Poisson(), z, targets, sample_weight)


def quantile(z, targets, sample_weight=None, levels=(0.1, 0.5, 0.9)):
    """l_i := 1 / n sum_jk max(q_k d_ijk, (q_k - 1) d_ijk)"""
    return weighted_loss(Quantile(levels), z, targets, sample_weight)


def gaussian_nll(z, targets, sample_weight=None, epsilon=1e-6):
    """l_i := 1 / n sum_j log v_ij + d_ij^2 / v_ij"""
    return weighted_loss(GaussianNLL(epsilon), z, targets, sample_weight)


def focal(z, labels, sample_weight=None, gamma=2.0):
    """l_i := (1 - exp(-c_i))^gamma c_i"""
    return weighted_loss(Focal(gamma), z, labels, sample_weight)


def hinge(z, labels, sample_weight=None):
    """l_i := 1 / n sum_{j != y} max(0, 1 - z_iy + z_ij)"""
    return weighted_loss(Hinge(), z, labels, sample_weight)


def dropout(x, rate, key, step):
    """y := x * mask / (1 - rate)"""
    check_floats(x=x)
    check_shape("x", x, ("m", "n"))
    rate = check_number("rate", rate, *BELOW_1)
    key = check_integer("key", key, 0, 2**64 - 1)
    step = check_integer("step", step, 0, 2**64 - 1)
    x = plain(x)
    y = np.empty_like(x)
    stateless().dropout(
        dtype_of(x), address(x), rate, key, step, x.shape[0], x.shape[1], address(y)
    )
    return y


cdef tuple norm(
    fnn_layer_kind kind, object dy, object x, object scale, object shift, double epsilon
):
    dy, x, scale, shift = plain(dy), plain(x), plain(scale), plain(shift)
    out, first, second = np.empty_like(x), np.empty_like(scale), np.empty_like(scale)
    raise_status(
        stateless().norm(
            dtype_of(x), kind, address(dy), address(x), address(scale), address(shift),
            epsilon, x.shape[0], x.shape[1], address(out), address(first),
            address(second),
        )
    )
    return out, first, second


def batch_norm_forward(x, scale, shift, epsilon=1e-5):
    """y := scale (x - mean) / sqrt(variance + epsilon) + shift, of columns"""
    epsilon = check_norm(epsilon, x=x, scale=scale, shift=shift)
    return norm(FNN_BATCH_NORM, None, x, scale, shift, epsilon)


def batch_norm_backward(dy, x, scale, epsilon=1e-5):
    """The gradients of batch_norm_forward with respect to x, scale and shift"""
    epsilon = check_norm(epsilon, dy=dy, x=x, scale=scale)
    return norm(FNN_BATCH_NORM, dy, x, scale, None, epsilon)


def layer_norm_forward(x, scale, shift, epsilon=1e-5):
    """y := scale (x - mean) / sqrt(variance + epsilon) + shift, of rows"""
    epsilon = check_norm(epsilon, x=x, scale=scale, shift=shift)
    return norm(FNN_LAYER_NORM, None, x, scale, shift, epsilon)[0]


def layer_norm_backward(dy, x, scale, epsilon=1e-5):
    """The gradients of layer_norm_forward with respect to x, scale and shift"""
    epsilon = check_norm(epsilon, dy=dy, x=x, scale=scale)
    return norm(FNN_LAYER_NORM, dy, x, scale, None, epsilon)


include "updates.pxi"


def round_to_bfloat16(x):
    """y := the nearest value of bfloat16"""
    check_float32("x", x)
    x = plain(x)
    y = np.empty_like(x)
    if x.size:
        stateless().round_to_bfloat16(
            <const float *> address(x), <float *> address(y), x.size
        )
    return y


for _name in __all__:
    _doc = getattr(reference, _name).__doc__
    if _doc is not None:  # python -OO has none
        globals()[_name].__doc__ = _doc.replace("fastnn.reference", "fastnn.kernels")
del _name, _doc
