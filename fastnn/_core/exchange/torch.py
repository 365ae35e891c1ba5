"""Networks to PyTorch's modules, and back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn._base.warn import warn_user
from fastnn.activations import ELU, Activation, LeakyReLU, storable
from fastnn.layers import BatchNorm, LayerNorm
from fastnn.schedules import first_rate

from .stack import LayerStack, Options, loss_of_ending, loss_problem
from .state_dict import require_modules, to_state_dict

try:
    import torch
    from torch import nn
except ImportError:
    raise ImportError(
        "PyTorch networks need the package torch: pip install torch"
    ) from None

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastnn._base.types import Array
    from fastnn._core.model.state import ModelState
    from fastnn.losses import Loss

__all__ = ["InputScaling", "Scale", "make_module", "read_module"]


class InputScaling(nn.Module):  # type: ignore[misc]
    """``x * scale + shift``, kept from low to high; not part of a network's state.

    The scaling of inputs, and what brings raw outputs into the units of the targets.

    Parameters
    ----------
    scale, shift : array_like (n_inputs,)
    dtype : torch.dtype
    low, high : array_like, optional
    """

    def __init__(
        self,
        scale: ArrayLike,
        shift: ArrayLike,
        dtype: Any,
        low: ArrayLike = -np.inf,
        high: ArrayLike = np.inf,
    ) -> None:
        super().__init__()
        arrays = {"scale": scale, "shift": shift, "low": low, "high": high}
        for name, value in arrays.items():
            tensor = torch.tensor(np.asarray(value), dtype=dtype)
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, x: Any) -> Any:
        """Return the scaled rows."""
        return torch.clamp(x * self.scale + self.shift, self.low, self.high)


class Scale(nn.Module):  # type: ignore[misc]
    """``x * weight``: a factor for each column, as `fastnn.Scale` has.

    Parameters
    ----------
    n_columns : int
    """

    def __init__(self, n_columns: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_columns))

    def forward(self, x: Any) -> Any:
        """Return the rows with their columns multiplied."""
        return x * self.weight


# Where users import them from, and where saved modules find them.
InputScaling.__module__ = Scale.__module__ = "fastnn.torch"


def make_module(state: ModelState) -> Any:
    """Return the ``nn.Sequential`` of a network; see `Network.to_torch`."""
    plan = state.plan
    require_modules(plan)
    dtype = getattr(torch, plan.array_dtype)
    modules: OrderedDict[str, Any] = OrderedDict()
    scale, shift = state.scaling
    if scale is not None and shift is not None:
        modules["input"] = InputScaling(scale, shift, dtype)
    place = 0
    for layer, n_in, n_out in zip(
        plan.layers, plan.widths, plan.widths[1:], strict=False
    ):
        module = _module_of(layer, n_in, n_out)
        modules[str(place)] = module.requires_grad_(layer.trainable)
        place += 1
        activation = storable(layer.activation)
        if activation.name != "identity":
            modules[str(place)] = _ACTIVATIONS[activation.name].make(activation)
            place += 1
    if state.targets is not None:
        factor, shift, low, high = state.targets.of_outputs
        modules["target"] = InputScaling(factor, shift, dtype, low, high)
    sequential = nn.Sequential(modules).to(dtype).eval()
    arrays = to_state_dict(plan, state.weights, state.statistics)
    tensors = {name: torch.tensor(array) for name, array in arrays.items()}
    # PyTorch counts batches where fastnn has no need to.
    missing, unexpected = sequential.load_state_dict(tensors, strict=False)
    assert not unexpected
    assert all(name.endswith(".num_batches_tracked") for name in missing)
    return sequential


def read_module(module: Any, loss: str | Loss | None, options: Options) -> ModelState:
    """Return the network of a module; see `Network.from_torch`."""
    if not isinstance(module, nn.Sequential):
        raise TypeError(
            f"module must be a torch.nn.Sequential, got {type(module).__name__}"
        )
    stack = LayerStack()
    ending = ""
    for name, each in _flat(module, ""):
        _check_call(name, each)
        try:
            if ending:
                if type(each) not in (nn.Identity, nn.Dropout):
                    raise TypeError("it follows LogSoftmax")
            elif type(each) is nn.LogSoftmax and each.dim in (1, -1):
                ending = "softmax"
            elif stack.limits is not None and type(each) is not nn.Identity:
                raise ValueError("it follows a range")
            else:
                _put(stack, each)
                if _is_frozen(each):
                    stack.freeze()
        except (TypeError, ValueError) as error:
            kind = type(each).__name__
            raise type(error)(f"module {name} ({kind}): {error}") from None
    if loss is None:
        ending = ending or stack.last_activation
        loss = loss_of_ending(ending)
        if ending == "identity" and stack.width and stack.width > 1:
            warn_user(
                f"module returns {stack.width} raw outputs and no loss is given, so "
                "that 'mse' is taken, of a regression; expected loss='mse', or of a "
                "classifier loss='softmax_cross_entropy'"
            )
    elif problem := loss_problem(loss, ending):
        raise ValueError(f"module ends with LogSoftmax, {problem}")
    return stack.state(loss, options)


def _flat(module: Any, prefix: str) -> Any:
    """Yield names and modules in the order of the computation.

    One that is in several places is yielded for each, which `named_children` would not.
    """
    if type(module).forward is not nn.Sequential.forward:
        raise TypeError(
            f"module {prefix[:-1]}".rstrip()
            + f" ({type(module).__name__}) has a forward of its own; "
            "expected that of nn.Sequential"
        )
    _check_call(prefix[:-1], module)
    for name, each in module._modules.items():
        if each is None:
            continue
        if type(each) is nn.Sequential:
            yield from _flat(each, f"{prefix}{name}.")
        else:
            yield prefix + name, each


def _check_call(name: str, module: Any) -> None:
    """Raise TypeError if calling the module is more than its class says."""
    found = "forward" in vars(module) and "a forward of its own"
    if module._forward_hooks or module._forward_pre_hooks:
        found = "forward hooks, as torch.nn.utils.weight_norm and prune leave them"
    if found:
        kind = type(module).__name__
        raise TypeError(
            f"module {name}".rstrip() + f" ({kind}) has {found}; remove them, such as "
            "with remove_weight_norm, so that its weights say what it computes"
        )


# Layers and activations as modules.


def _module_of(layer: Any, n_in: int, n_out: int) -> Any:
    if layer.name == "dense":
        return nn.Linear(n_in, n_out, bias=layer.use_bias)
    if layer.name == "dropout":
        return nn.Dropout(first_rate(layer.rate))  # of a schedule, the first
    if layer.name == "scale":
        return Scale(n_out)
    if layer.name == "layer_norm":
        return nn.LayerNorm(n_out, eps=layer.epsilon)
    return nn.BatchNorm1d(n_out, eps=layer.epsilon, momentum=layer.momentum)


# Modules as layers.


def _array(tensor: Any) -> Array | None:
    if tensor is None:
        return None
    if tensor.is_meta:
        raise ValueError("its weights are on the device meta, without values")
    dtype = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    return np.array(tensor.detach().to("cpu", dtype).numpy())


def _is_frozen(module: Any) -> bool:
    flags = {name: p.requires_grad for name, p in module.named_parameters()}
    if len({*flags.values()}) > 1:
        raise ValueError(
            f"requires_grad is {flags}; expected one for all: layers are trained as a "
            "whole, or not"
        )
    return bool(flags) and not any(flags.values())


def _put(stack: LayerStack, module: Any) -> None:
    kind = type(module)
    if kind is nn.Linear:
        weights = _array(module.weight)
        assert weights is not None
        stack.dense(np.ascontiguousarray(weights.T), _array(module.bias))
    elif kind is nn.Dropout:
        stack.drop(module.p)
    elif kind is nn.BatchNorm1d:
        if module.running_mean is None or module.momentum is None:
            raise ValueError("expected track_running_stats=True and a momentum")
        stack.normalize(
            BatchNorm(epsilon=module.eps, momentum=module.momentum),
            *map(_array, (module.weight, module.bias)),
            *map(_array, (module.running_mean, module.running_var)),
        )
    elif kind is nn.LayerNorm:
        if len(module.normalized_shape) != 1:
            raise ValueError(f"normalized_shape is {module.normalized_shape}")
        stack.expect(module.normalized_shape[0])
        arrays = map(_array, (module.weight, module.bias))
        stack.normalize(LayerNorm(epsilon=module.eps), *arrays)
    elif kind is Scale:
        factors = _array(module.weight)
        assert factors is not None
        stack.multiply(factors)
    elif kind is InputScaling:
        scale, shift = _array(module.scale), _array(module.shift)
        assert scale is not None
        assert shift is not None
        low, high = _array(module.low), _array(module.high)
        assert low is not None
        assert high is not None
        if stack.last_activation == "identity" and stack.width:
            stack.scale(scale, shift)
        else:
            stack.scale_inputs(scale, shift)
        if np.isfinite(low).any() or np.isfinite(high).any():
            stack.limit(low, high)
    elif kind is nn.Flatten:
        if (module.start_dim, module.end_dim) != (1, -1):
            raise ValueError("expected start_dim=1, end_dim=-1")
    elif kind is not nn.Identity:
        stack.activate(_activation_of(module))


def _activation_of(module: Any) -> str | Activation:
    for row in _ACTIVATIONS.values():
        if type(module) is row.kind and (found := row.read(module)):
            return found
    kinds = dict.fromkeys([*_LAYERS, *(row.kind for row in _ACTIVATIONS.values())])
    known = ", ".join(each.__name__ for each in kinds)
    raise TypeError(f"expected one of {known}, LogSoftmax at the end")


_LAYERS = (
    *(nn.Linear, nn.Dropout, nn.BatchNorm1d, nn.LayerNorm, Scale),
    *(nn.Flatten, nn.Identity),
)


# Activations both ways.

# Of softplus, above which it is taken for the identity: that is then off by 3e-7.
_LEAST_THRESHOLD = 15


def _read_softplus(module: Any) -> str:
    if module.beta != 1:
        raise ValueError(f"beta is {module.beta}; expected 1")
    if module.threshold < _LEAST_THRESHOLD:
        raise ValueError(
            f"threshold is {module.threshold}; expected {_LEAST_THRESHOLD} or more: "
            "above it PyTorch leaves softplus out"
        )
    return "softplus"


def _read_softmax(module: Any) -> str:
    if module.dim not in (1, -1):
        raise ValueError(f"dim is {module.dim}; expected 1 or -1")
    return "softmax"


class _Row(NamedTuple):
    """An activation as a module: its type, made of one, and read from one."""

    kind: Any
    make: Callable[[Any], Any]
    read: Callable[[Any], str | Activation | None]  # None: another of the same type


def _plain(name: str, kind: Any) -> _Row:
    return _Row(kind, lambda a: kind(), lambda m: name)


_ACTIVATIONS: dict[str, _Row] = {
    "leaky_relu": _Row(
        nn.LeakyReLU,
        lambda a: nn.LeakyReLU(a.slope),
        lambda m: LeakyReLU(m.negative_slope),
    ),
    "elu": _Row(nn.ELU, lambda a: nn.ELU(a.alpha), lambda m: ELU(m.alpha)),
    "gelu_tanh": _Row(
        nn.GELU,
        lambda a: nn.GELU(approximate="tanh"),
        lambda m: "gelu_tanh" if m.approximate == "tanh" else None,
    ),
    "gelu": _plain("gelu", nn.GELU),
    "relu": _plain("relu", nn.ReLU),
    "sigmoid": _plain("sigmoid", nn.Sigmoid),
    "tanh": _plain("tanh", nn.Tanh),
    "selu": _plain("selu", nn.SELU),
    "silu": _plain("silu", nn.SiLU),
    "mish": _plain("mish", nn.Mish),
    # Above the threshold it is the identity: with the default of 20, off by 2e-9.
    "softplus": _Row(nn.Softplus, lambda a: nn.Softplus(threshold=40), _read_softplus),
    "softmax": _Row(nn.Softmax, lambda a: nn.Softmax(dim=1), _read_softmax),
}
