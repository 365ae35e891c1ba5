"""Networks to PyTorch and back (needs the package torch).

`from_torch` is `Network.from_torch`. `Network.state_dict` and `Network.load_state_dict`
exchange weights without PyTorch.

Examples
--------
>>> import torch, fastnn.torch
>>> module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Softmax(dim=1))
>>> fastnn.torch.from_torch(module).plan.loss.name
'softmax_cross_entropy'
"""

from __future__ import annotations

from typing import Any

from ._core.exchange.torch import InputScaling, Scale
from .network import Network

__all__ = ["InputScaling", "Scale", "from_torch", "to_torch"]


def to_torch(network: Network) -> Any:
    """Return what `Network.to_torch` returns.

    Examples
    --------
    >>> import fastnn, fastnn.torch
    >>> net = fastnn.Network([4, 8, 3], seed=0)
    >>> module = fastnn.torch.to_torch(net)
    >>> module
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): ReLU()
      (2): Linear(in_features=8, out_features=3, bias=True)
    )
    >>> net.load_state_dict(module.state_dict())
    """
    return network.to_torch()


from_torch = Network.from_torch
