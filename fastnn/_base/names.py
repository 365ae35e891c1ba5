"""Names that people bring from elsewhere, and the nearest one where none is meant.

The one list of what is taken for what; `docs/reference/names.md` shows it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

__all__ = ["ALIASES", "ARGUMENTS", "ELSEWHERE", "close_to", "forgiving", "known_name"]

_F = TypeVar("_F", bound=Callable[..., Any])

# Of losses, activations, optimizers and metrics. Besides, case, "-" and "_" do not
# matter: "ReLU", "Adam", "LeakyReLU".
ALIASES = {
    "cross_entropy": "softmax_cross_entropy",
    "categorical_crossentropy": "softmax_cross_entropy",
    "sparse_categorical_crossentropy": "softmax_cross_entropy",
    "cross_entropy_loss": "softmax_cross_entropy",
    "nll": "softmax_cross_entropy",
    "bce": "binary_cross_entropy",
    "bce_with_logits": "binary_cross_entropy",
    "mean_squared_error": "mse",
    "squared_error": "mse",
    "mean_absolute_error": "mae",
    "absolute_error": "mae",
    "smooth_l1": "huber",
    "swish": "silu",
    "linear": "identity",
    "none": "identity",
    "logistic": "sigmoid",
    "acc": "accuracy",
    "auc": "roc_auc",
    "r2_score": "r2",
    "f1_score": "f1",
    "accuracy_score": "accuracy",
    "roc_auc_score": "roc_auc",
}
# Of arguments.
ARGUMENTS = {
    "lr": "learning_rate",
    "eta": "learning_rate",
    "learning_rate_init": "learning_rate",
    "wd": "weight_decay",
    "eps": "epsilon",
    "beta1": "beta_1",
    "beta2": "beta_2",
    "p": "rate",
    "n_units": "units",
    "out_features": "units",
    "act": "activation",
    "bias": "use_bias",
    "n_epochs": "epochs",
    "num_epochs": "epochs",
    "max_iter": "epochs",
    "batchsize": "batch_size",
    "callback": "callbacks",
    "weights": "sample_weight",
    "weight": "sample_weight",
    "metric": "metrics",
    "random_state": "seed",
    "solver": "optimizer",
    "loss_function": "loss",
    "n_threads": "num_threads",
    "min_lr": "min_rate",
}
_HINTS = {
    "learning_rate": "the rate is the optimizer's: optimizer=Adam(0.01)",
    "weight_decay": "the decay is the optimizer's: optimizer=AdamW(weight_decay=0.01)",
    "activation": "each layer has its own: Dense(64, 'tanh')",
    "metrics": "they are an argument of fit",
    "max_lr": "the highest rate of a schedule is its first argument, rate",
    "T_max": "a schedule takes epochs, or steps, which are updates",
    "device": "it runs on CPUs only",
    "in_features": "a layer takes the number of its outputs; the inputs are known",
}
# Attributes that a network has elsewhere.
ELSEWHERE = {
    "forward": "net(X)",
    "parameters": "net.get_weights() or net.state_dict()",
    "weights": "net.get_weights()",
    "train": "net.fit(X, y)",
    "eval": "net.predict(X), which never drops units",
    "compile": "Network(layers, loss=..., optimizer=...)",
    "history": "what net.fit returns",
    "export": "net.to_onnx(path) or net.to_c(path)",
    "accuracy": "net.score(X, y)",
}


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")


def known_name(value: Any, known: Collection[str]) -> Any:
    """Return the one of `known` that `value` means, or `value` as it is."""
    if not isinstance(value, str) or value in known:
        return value
    plain = _plain(value)
    spoken = {_plain(alias): name for alias, name in ALIASES.items() if name in known}
    # Of metrics it is the long name of "mse" that is known.
    spoken |= {_plain(name): alias for alias, name in ALIASES.items() if alias in known}
    spoken |= {_plain(name): name for name in known}
    return spoken.get(plain, value)


def close_to(value: Any, known: Collection[str]) -> str:
    """Return "; did you mean 'accuracy'?", or "" if nothing is near."""
    from difflib import get_close_matches

    if not isinstance(value, str):
        return ""
    by_plain = {_plain(k): v for k, v in ALIASES.items() if v in known}
    by_plain |= {_plain(name): name for name in known}
    near = get_close_matches(_plain(value), by_plain, 1)
    return f"; did you mean {by_plain[near[0]]!r}?" if near else ""


def forgiving(function: _F, others: Mapping[str, tuple[str, ...]] = {}) -> _F:
    """Return the function, which takes keywords by the names of ARGUMENTS, too.

    Of `others` a keyword is a tuple of the values of several. Any other keyword raises
    a TypeError with the nearest one and all there are.
    """

    @functools.wraps(function)
    def called(*args: Any, **given: Any) -> Any:
        if given:
            known = _keywords(function)
            if known is not None and not given.keys() <= known.keys():
                given = _renamed(function.__qualname__, given, [*known], others)
        return function(*args, **given)

    return called  # type: ignore[return-value]


@functools.cache
def _keywords(function: Callable[..., Any]) -> dict[str, None] | None:
    """The parameters of a function, or None if it takes any keyword."""
    from inspect import signature

    parameters = signature(function).parameters
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return None
    return dict.fromkeys(name for name in parameters if name != "self")


def _renamed(
    caller: str,
    given: dict[str, Any],
    known: list[str],
    others: Mapping[str, tuple[str, ...]],
) -> dict[str, Any]:
    caller = caller.removesuffix(".__init__")
    named: dict[str, Any] = {}
    for name, value in given.items():
        meant = ARGUMENTS.get(name, name)
        found = {meant: value}
        if name in others:
            if not isinstance(value, tuple | list) or not (
                2 <= len(value) <= len(others[name])
            ):
                expected = ", ".join(others[name])
                raise TypeError(f"{name} must be a tuple ({expected}), got {value!r}")
            found = dict(zip(others[name], value, strict=False))
        elif meant not in known:
            hint = close_to(name, known)
            hint = f"; {_HINTS[meant]}" if meant in _HINTS and not hint else hint
            raise TypeError(
                f"{caller} has no argument {name!r}{hint}; "
                + (
                    f"its arguments are {', '.join(known)}"
                    if known
                    else "it takes none"
                )
            )
        for each, its_value in found.items():
            if each in named or (each in given and each != name):
                raise TypeError(f"{caller}: {name!r} and {each!r} are the same")
            named[each] = its_value
    return named
