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

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    from numpy.typing import DTypeLike

    from .losses import Loss
    from .network import Network
    from .optimizers import Optimizer

__all__ = ["from_onnx", "require_onnx", "to_onnx"]


def require_onnx() -> None:
    """Raise ImportError with the name of the package if onnx is absent."""
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise ImportError("ONNX needs the package onnx: pip install onnx") from None


def to_onnx(network: Network) -> Any:
    """Return the network as an ``onnx.ModelProto``.

    The input "X" is (rows, n_inputs), in the network's dtype and as `Network.predict`
    takes it: the input scaling is part of the model. Its outputs are those of a
    prediction. Of classes, "label", int64, is what `Network.predict` returns, and
    "probabilities" (rows, n_outputs) what `Network.predict_proba` returns; of
    quantities there is only "values" (rows, n_outputs).

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
    require_onnx()
    from ._onnx_export import make_model

    return make_model(network)
