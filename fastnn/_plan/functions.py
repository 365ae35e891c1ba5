"""Argument checks of the stateless functions: each raises with the argument's name.

``TypeError`` for what is not a float32 or float64 array, ``ValueError`` for shapes and
values. Whether values are finite is not checked: what comes out shows what went in.
"""

from itertools import combinations

import numpy as np

from fastnn._base.types import Array
from fastnn.layers import LayerNorm
from fastnn.losses import Loss

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def check_floats(**arrays: Array) -> None:
    """All are arrays of native float32, or all of native float64."""
    first, *_ = arrays
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{name} must be a NumPy array, got {type(array).__name__}")
        if array.dtype not in _FLOATS:
            raise TypeError(f"{name} must be float32 or float64, got {array.dtype}")
        if array.dtype != arrays[first].dtype:
            raise TypeError(
                f"{name} must be {arrays[first].dtype} like {first}, got {array.dtype}"
            )


def check_float32(name: str, array: Array) -> None:
    """It is an array of native float32."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(array).__name__}")
    if array.dtype != np.float32:
        raise TypeError(f"{name} must be float32, got {array.dtype}")


def check_shape(name: str, array: Array, expected: tuple[int | str, ...]) -> None:
    """The shape is the expected one, where a letter stands for any size but 0."""
    fits = array.ndim == len(expected) and all(
        size > 0 and (isinstance(want, str) or size == want)
        for size, want in zip(array.shape, expected, strict=True)
    )
    if not fits:
        sizes = ", ".join(map(str, expected)) + ("," if len(expected) == 1 else "")
        positive = " of sizes >= 1" if 0 in array.shape else ""
        raise ValueError(
            f"{name} must have shape ({sizes}){positive}, got {array.shape}"
        )


def check_loss(
    loss: Loss, z: Array, targets: Array, sample_weight: Array | None
) -> None:
    """z (m, n), the targets that this loss takes, and weights of rows."""
    check_floats(z=z)
    check_shape("z", z, ("m", "n"))
    if loss.is_exclusive and (loss.name == "softmax_cross_entropy" or z.shape[1] > 1):
        _check_labels(targets, z)
    elif loss.is_classifier:
        name = "labels" if loss.is_exclusive else "targets"
        _check_binary_targets(name, targets, z)
    else:
        of_each = loss.outputs_per_target
        if z.shape[1] % of_each:
            raise ValueError(
                f"z must have a multiple of {of_each} columns, got {z.shape}"
            )
        _check_target_matrix("targets", targets, z, z.shape[1] // of_each)
    if sample_weight is not None:
        _check_row_weights(sample_weight, z)


def check_norm(epsilon: float, **arrays: Array) -> float:
    """dy and x are (m, n), scale and shift (n,); returns epsilon."""
    check_floats(**arrays)
    first, *rest = arrays
    check_shape(first, arrays[first], ("m", "n"))
    for name in rest:
        m, n = arrays[first].shape
        check_shape(name, arrays[name], (m, n) if name == "x" else (n,))
    return LayerNorm(epsilon=epsilon).epsilon


def _check_labels(labels: Array, z: Array) -> None:
    """One class 0..n-1 per row of z (m, n), or one row of soft targets."""
    if _is_matrix("labels", labels):
        check_floats(z=z, labels=labels)
        check_shape("labels", labels, z.shape)
    else:
        _check_classes("labels", labels, z, z.shape[1], "soft targets")


def _check_binary_targets(name: str, targets: Array, z: Array) -> None:
    """A matrix like z (m, n), or if n is 1 one class 0 or 1 per row."""
    if _is_matrix(name, targets) or z.shape[1] != 1:
        _check_target_matrix(name, targets, z, z.shape[1])
    else:
        _check_classes(name, targets, z, 2, "a matrix")


def _check_target_matrix(name: str, targets: Array, z: Array, n: int) -> None:
    """A matrix (m, n) for the m rows of z."""
    check_floats(**{"z": z, name: targets})
    check_shape(name, targets, (len(z), n))


def _is_matrix(name: str, array: Array) -> bool:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(array).__name__}")
    return array.ndim == 2


def _check_classes(
    name: str, labels: Array, z: Array, n_classes: int, instead: str
) -> None:
    m, n = z.shape
    check_shape(name, labels, (m,))
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"{name} must be integers or {instead} ({m}, {n}), got {labels.dtype} "
            f"of shape {labels.shape}"
        )
    wrong = (labels < 0) | (labels >= n_classes)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{name} must be from 0 to {n_classes - 1}, "
            f"got {name}[{row}] = {labels[row]}"
        )


def _check_row_weights(sample_weight: Array, z: Array) -> None:
    """One finite weight >= 0 per row of z, not all of them 0."""
    check_floats(z=z, sample_weight=sample_weight)
    check_shape("sample_weight", sample_weight, (z.shape[0],))
    wrong = ~(np.isfinite(sample_weight) & (sample_weight >= 0))
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            "sample_weight must be finite and >= 0, got "
            f"sample_weight[{row}] = {sample_weight[row]}"
        )
    # The kernels count what is smaller as 0.
    if not sample_weight.sum() >= np.finfo(sample_weight.dtype).tiny:
        raise ValueError(
            f"sample_weight must have a positive sum, got {sample_weight.sum()}"
        )


def check_same_shape(**arrays: Array) -> None:
    """All have the shape of the first, whatever it is."""
    first, *_ = arrays
    expected = arrays[first].shape
    for name, array in arrays.items():
        if array.shape != expected:
            raise ValueError(
                f"{name} must have shape {expected} like {first}, got {array.shape}"
            )


def check_update(w: Array, dw: Array, **state: Array) -> None:
    """w and its state can be changed in place, and no two arrays share memory."""
    arrays = {"w": w, "dw": dw, **state}
    check_floats(**arrays)
    check_same_shape(**arrays)
    for name, array in {"w": w, **state}.items():
        if not array.flags.carray:
            raise ValueError(
                f"{name} must be C-contiguous, aligned and writable, because it is "
                f"changed in place, got strides {array.strides}, "
                f"aligned={array.flags.aligned}, writeable={array.flags.writeable}"
            )
    for (name, array), (other, second) in combinations(arrays.items(), 2):
        if np.may_share_memory(array, second):
            raise ValueError(f"{other} must not share memory with {name}")
