"""Networks to ONNX and back (needs the package onnx).

An ONNX model runs where Python does not: ONNX Runtime, browsers, phones, databases.

>>> import fastnn, fastnn.onnx
>>> net = fastnn.Network([4, 8, 3], seed=0)
>>> model = fastnn.onnx.to_onnx(net)
>>> [output.name for output in model.graph.output]
['label', 'probabilities']
>>> fastnn.onnx.from_onnx(model).plan.sizes
(4, 8, 3)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ._core.exchange.onnx.model import make_onnx, require_onnx
from .network import Network, model_of

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from .losses import Loss
    from .optimizers import Optimizer

__all__ = ["from_onnx", "require_onnx", "to_onnx"]


def to_onnx(network: Network) -> Any:
    """Return the network as an ``onnx.ModelProto``.

    The input "X" is (rows, n_inputs), in the network's dtype and as `Network.predict`
    takes it: the input scaling is part of the model. Its outputs are those of a
    prediction. Of classes, "label", int64, is what `Network.predict` returns, and
    "probabilities" (rows, n_outputs) what `Network.predict_proba` returns; of
    quantities there is only "values" (rows, n_outputs). Of a network of dtype
    "bfloat16" it is float32, and the operands of products are not rounded.

    Notes
    -----
    Opset 13, IR version 7, with the operators that ONNX Runtime has for the dtype. The
    number of rows is free. `Dropout` is left out; `BatchNorm` and the input scaling are
    folded into the weights next to them, unless that would cost accuracy: a shift of
    several standard deviations is added before the first layer instead.

    Raises
    ------
    ImportError
        The package onnx is absent.
    ValueError
        The weights are more than the 2 GB that an ONNX file holds.

    Examples
    --------
    >>> import fastnn, fastnn.onnx
    >>> model = fastnn.onnx.to_onnx(fastnn.Network([4, 8, 3], seed=0))
    >>> [node.op_type for node in model.graph.node]
    ['Gemm', 'Relu', 'Gemm', 'Softmax', 'ArgMax']
    """
    return make_onnx(model_of(network).state(include_optimizer=False))


def from_onnx(
    model: str | os.PathLike[str] | bytes | Any,
    *,
    output: str | None = None,
    loss: str | Loss | None = None,
    optimizer: str | Optimizer = "adam",
    dtype: DTypeLike | None = None,
    seed: int | None = None,
    backend: str = "native",
    num_threads: int | None = None,
) -> Network:
    """Return the network that an ONNX model is, if it is a multilayer perceptron.

    `Network.predict_proba` then returns what the model's output is, but of a model that
    ends with ``LogSoftmax`` the probabilities, not their logarithms. Understood are
    ``Gemm``, ``MatMul``, sums and products with constants, ``BatchNormalization``,
    ``LayerNormalization`` and the 13 activations, as operators or composed of others
    as PyTorch, skl2onnx and `to_onnx` write them. ``Dropout``, ``Identity``, ``Cast``,
    ``Flatten`` and branches that end in labels are left out. Before ``Flatten`` or
    ``Reshape``, rows of several dimensions may only pass through what takes each value
    on its own.

    Parameters
    ----------
    model : str, path-like, bytes or onnx.ModelProto
        A file, its content, or what onnx has read. No code in it is run, and no other
        file is opened: all tensors must be in it.
    output : str, optional
        The name of the output to predict, if more than one has floating-point numbers.
    loss : str or Loss, optional
        By default what the graph ends with tells: softmax is that of
        "softmax_cross_entropy", sigmoid of "binary_cross_entropy", exp of "poisson",
        anything else is "mse". ``LogSoftmax`` is that of
        "softmax_cross_entropy" too. For a model that returns raw outputs (logits), as
        PyTorch's classifiers do, name the loss: `Network.decision_function` is then
        what the model's output is.
    optimizer, seed, backend, num_threads
        As for `Network`.
    dtype : {"float32", "float64"}, optional
        By default that of the model's weights.

    Raises
    ------
    ImportError
        The package onnx is absent.
    ModelFormatError
        The file is no ONNX model, is damaged, or has something else than described,
        which is named.
    OSError
        The file cannot be read.
    TypeError, ValueError
        Another argument is not as described.

    Examples
    --------
    >>> import fastnn, fastnn.onnx
    >>> net = fastnn.Network([4, fastnn.Dense(8, "gelu"), 3], seed=0)
    >>> same = fastnn.onnx.from_onnx(fastnn.onnx.to_onnx(net))
    >>> X = [[0.5, -1, 2, 0]]
    >>> bool((same.predict_proba(X) == net.predict_proba(X)).all())
    True
    """
    return Network.from_onnx(
        model,
        output=output,
        loss=loss,
        optimizer=optimizer,
        dtype=dtype,
        seed=seed,
        backend=backend,
        num_threads=num_threads,
    )
