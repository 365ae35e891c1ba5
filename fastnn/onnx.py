"""Networks to ONNX and back (needs the package onnx).

An ONNX model runs where Python does not: ONNX Runtime, browsers, phones, databases.
`from_onnx` is `Network.from_onnx`.

Examples
--------
>>> import fastnn, fastnn.onnx
>>> net = fastnn.Network([4, fastnn.Dense(8, "gelu"), 3], seed=0)
>>> model = fastnn.onnx.to_onnx(net)
>>> [output.name for output in model.graph.output]
['label', 'probabilities']
>>> same = fastnn.onnx.from_onnx(model)
>>> X = [[0.5, -1, 2, 0]]
>>> bool((same.predict_proba(X) == net.predict_proba(X)).all())
True
"""

from __future__ import annotations

from typing import Any

from ._core.exchange.onnx.model import make_onnx
from .network import Network, model_of

__all__ = ["from_onnx", "register_skl2onnx", "to_onnx"]


def to_onnx(network: Network, *, columns: bool = False) -> Any:
    """Return the ``onnx.ModelProto`` that `Network.to_onnx` writes.

    Examples
    --------
    >>> import fastnn, fastnn.onnx
    >>> model = fastnn.onnx.to_onnx(fastnn.Network([4, 8, 3], seed=0))
    >>> [node.op_type for node in model.graph.node]
    ['Gemm', 'Relu', 'Gemm', 'Softmax', 'ArgMax']
    """
    return make_onnx(model_of(network).state(include_optimizer=False), columns)


def register_skl2onnx() -> None:
    """Let skl2onnx convert `MLPClassifier` and `MLPRegressor` of `fastnn.sklearn`.

    Of all activations and losses, alone or in a pipeline; ``zipmap`` is an option of
    the classifier, as of skl2onnx's own. They compute in the dtype of the estimator.
    Needs the packages onnx and skl2onnx (ImportError), and opset 13.

    Examples
    --------
    >>> import fastnn.onnx
    >>> fastnn.onnx.register_skl2onnx()  # doctest: +SKIP
    >>> model = skl2onnx.to_onnx(pipeline, X[:1])  # doctest: +SKIP
    """
    from ._core.exchange.onnx.model import require_onnx

    require_onnx()
    from ._core.exchange.onnx.convert import register
    from .sklearn import MLPClassifier, MLPRegressor

    register(MLPClassifier, MLPRegressor)


from_onnx = Network.from_onnx
