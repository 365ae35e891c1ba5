"""Networks to PyTorch and back (needs the package torch).

`Network.state_dict` and `Network.load_state_dict` exchange weights without PyTorch;
here is what exchanges whole networks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._core.exchange.torch import InputScaling
from .network import Network

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from .losses import Loss
    from .optimizers import Optimizer

__all__ = ["InputScaling", "from_torch", "to_torch"]


def to_torch(network: Network) -> Any:
    """Return the network as an ``nn.Sequential`` with the same names and weights.

    Its output is that of `Network.decision_function`: raw outputs (logits), as
    PyTorch's losses expect them. It is in evaluation mode; layers that fastnn does not
    train have ``requires_grad`` False. The module's ``state_dict()`` has the names and
    values of `Network.state_dict`, and fits `Network.load_state_dict`; an input scaling
    is a module before the others, named "input", without a state. Of a network of dtype
    "bfloat16" it has the float32 weights, and does not round the operands of products.

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


def from_torch(
    module: Any,
    *,
    loss: str | Loss | None = None,
    optimizer: str | Optimizer = "adam",
    dtype: DTypeLike | None = None,
    seed: int | None = None,
    backend: str = "native",
    num_threads: int | None = None,
) -> Network:
    """Return the network that an ``nn.Sequential`` is.

    Understood are ``Linear``, ``Dropout``, ``BatchNorm1d``, ``LayerNorm``, the modules
    of the 13 activations, ``Flatten`` and ``Identity``, `InputScaling`, and
    ``nn.Sequential`` within. Parameters that need no gradient make a layer that is not
    trainable. A module in several places becomes a layer in each. Nothing is shared:
    neither with the module nor between such layers, which training may make different.

    Parameters
    ----------
    module : torch.nn.Sequential
    loss : str or Loss, optional
        By default what the last module tells: ``Softmax`` and ``LogSoftmax`` are those
        of "softmax_cross_entropy", ``Sigmoid`` is that of "binary_cross_entropy",
        anything else is "mse". A classifier that returns raw outputs (logits) looks
        like a regression: name its loss.
    optimizer, seed, backend, num_threads
        As for `Network`.
    dtype : {"float32", "float64"}, optional
        By default that of the module's weights.

    Raises
    ------
    TypeError
        The module is no ``nn.Sequential``, or has a module that fastnn does not have,
        hooks, or a ``forward`` of its own.
    ValueError
        A module has an option that fastnn does not have, only some of its parameters
        need gradients, or an argument is wrong: `loss`, where ``LogSoftmax`` says
        another.

    Examples
    --------
    >>> import torch, fastnn.torch
    >>> module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Softmax(dim=1))
    >>> fastnn.torch.from_torch(module).plan.loss.name
    'softmax_cross_entropy'
    """
    return Network.from_torch(
        module,
        loss=loss,
        optimizer=optimizer,
        dtype=dtype,
        seed=seed,
        backend=backend,
        num_threads=num_threads,
    )
