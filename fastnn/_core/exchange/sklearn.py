"""Networks to scikit-learn's MLPClassifier and MLPRegressor, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .stack import LayerStack, Options
from .stages import EMBEDDINGS, Activate, Affine, Clamp, Parametric, Stage, stages_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

    from fastnn._base.types import Array
    from fastnn._core.model.state import ModelState
    from fastnn._plan.plan import Plan
    from fastnn.activations import Activation
    from fastnn.optimizers import Optimizer


__all__ = ["read_estimator", "write_estimator"]

_ACTIVATIONS = {
    "identity": "identity",
    "logistic": "sigmoid",
    "tanh": "tanh",
    "relu": "relu",
}
# By scikit-learn's out_activation_.
_LOSSES = {
    "softmax": "softmax_cross_entropy",
    "logistic": "binary_cross_entropy",
    "identity": "mse",
    "exp": "poisson",
}


def read_estimator(
    estimator: Any,
    optimizer: str | Optimizer,
    dtype: DTypeLike | None,
    seed: int | None,
) -> ModelState:
    """Return the network that an estimator is, or a pipeline that ends with one."""
    options = Options(optimizer, dtype, seed)
    stack = LayerStack()
    if isinstance(steps := getattr(estimator, "steps", None), list) and steps:
        for name, step in steps[:-1]:
            _scale(stack, name, step)
        estimator = steps[-1][1]
    names = "coefs_", "intercepts_", "activation", "out_activation_"
    if not all(hasattr(estimator, name) for name in names):
        raise TypeError(
            "estimator must be a fitted MLPClassifier or MLPRegressor of scikit-learn, "
            f"or a pipeline that ends with one, got {type(estimator).__name__}"
        )
    coefs, intercepts, activation, last = (getattr(estimator, name) for name in names)
    # Estimators of fastnn have more, and say which they were trained with.
    own = getattr(getattr(estimator, "_optimizer", None), "activations", None)
    hidden: Sequence[str | Activation] | None
    if own is not None:
        hidden = own
    elif isinstance(activation, str) and activation in _ACTIVATIONS:
        hidden = [_ACTIVATIONS[activation]] * (len(coefs) - 1)
    else:
        hidden = None
    if hidden is None or last not in _LOSSES:
        raise ValueError(
            f"estimator has the activations {activation!r} and {last!r}; expected one "
            f"of {list(_ACTIVATIONS)} and one of {list(_LOSSES)}"
        )
    for i, (weights, biases) in enumerate(zip(coefs, intercepts, strict=True)):
        stack.dense(np.asarray(weights), np.asarray(biases))
        if i < len(coefs) - 1:
            stack.activate(hidden[i])
    return stack.state(_LOSSES[last], options)


# Scalers of scikit-learn: x to (x - center) * scale + shift, None for what they lack.
_SCALERS: dict[str, Callable[[Any], tuple[Any, Any, Any]]] = {
    "MaxAbsScaler": lambda step: (None, 1 / step.scale_, None),
    "MinMaxScaler": lambda step: (None, step.scale_, step.min_),
    "RobustScaler": lambda step: (step.center_, _inverse(step.scale_), None),
    "StandardScaler": lambda step: (
        step.mean_ if step.with_mean else None, _inverse(step.scale_), None
    ),
}  # fmt: skip


def _inverse(scale: Array | None) -> Array | None:
    return None if scale is None else 1 / scale


def _scale(stack: LayerStack, name: str, step: Any) -> None:
    """Add a step of a pipeline before its estimator."""
    kind = type(step)
    if step is None or step == "passthrough":
        return
    if kind.__name__ not in _SCALERS or not kind.__module__.startswith("sklearn."):
        raise TypeError(
            f"the step {name!r} of the pipeline is {kind.__name__}; expected one of "
            f"{', '.join(_SCALERS)}"
        )
    if getattr(step, "clip", False):
        raise ValueError(f"the step {name!r} of the pipeline clips, which is not read")
    try:
        center, scale, shift = _SCALERS[kind.__name__](step)
    except AttributeError:
        raise TypeError(f"the step {name!r} of the pipeline is not fitted") from None
    one, zero = np.ones(1), np.zeros(1)
    if center is not None:
        stack.scale(one, -center)
    if scale is not None:
        stack.scale(scale, zero)
    if shift is not None:
        stack.scale(one, shift)


def write_estimator(state: ModelState, classes: ArrayLike | None) -> Any:
    """Return an estimator with the weights of a network."""
    try:
        from sklearn.neural_network import MLPClassifier, MLPRegressor
    except ImportError:
        raise ImportError(
            "to_sklearn needs the package scikit-learn: pip install scikit-learn"
        ) from None
    plan = state.plan
    weights, activation = _layers_of(state)
    sizes = tuple(W.shape[1] for W, _ in weights[:-1])
    seed = state.seed % 2**32
    # One call of partial_fit makes all that a fitted estimator has. Its weights are
    # then replaced, and what its optimizer has seen is forgotten.
    if plan.loss.is_classifier:
        if plan.output_activation == "identity":
            raise ValueError(
                f"the loss {plan.loss.name!r} gives no probabilities, as those of "
                "scikit-learn's MLPClassifier do"
            )
        y, labels = _labels_of(plan, classes)
        estimator = MLPClassifier(sizes, activation=activation, random_state=seed)
        X = np.zeros((len(y), plan.n_inputs), plan.array_dtype)
        estimator.partial_fit(X, y, classes=labels)
        weights[-1] = _reordered(*weights[-1], labels if y.ndim == 1 else None)
    else:
        if classes is not None:
            raise ValueError(f"classes is given, but {plan.loss.name!r} has no classes")
        options = {"loss": "poisson"} if plan.loss.name == "poisson" else {}
        if options and "loss" not in MLPRegressor().get_params():
            raise ImportError(
                "the loss 'poisson' needs scikit-learn 1.7 or later: "
                "pip install --upgrade scikit-learn"
            )
        estimator = MLPRegressor(
            hidden_layer_sizes=sizes,
            activation=activation,
            random_state=seed,
            **options,
        )
        X, y = (
            np.zeros((2, plan.n_inputs), plan.array_dtype),
            np.ones((2, plan.n_outputs)),
        )
        estimator.partial_fit(X, y[:, 0] if y.shape[1] == 1 else y)
    estimator.coefs_ = [W for W, _ in weights]
    estimator.intercepts_ = [b for _, b in weights]
    del estimator._optimizer, estimator.loss_
    estimator.n_iter_ = estimator.t_ = 0
    estimator.loss_curve_, estimator.best_loss_ = [], np.inf
    estimator._no_improvement_count = 0
    return estimator


def _layers_of(state: ModelState) -> tuple[list[tuple[Array, Array]], str]:
    """Return weights and biases, and the one activation between them."""
    names = {name: theirs for theirs, name in _ACTIVATIONS.items()}
    stages = stages_of(state)
    weights: list[tuple[Array, Array]] = []
    activations: list[str] = []
    is_open = False  # a dense layer waits for its activation
    for stage in stages:
        if isinstance(stage, Affine):
            if is_open:
                activations.append("identity")
            biases = stage.biases
            if biases is None:
                biases = np.zeros(stage.weights.shape[1], stage.weights.dtype)
            weights.append((stage.weights.copy(), biases.copy()))
            is_open = True
        elif isinstance(stage, Activate) and is_open:
            activations.append(stage.activation.name)
            is_open = False
        else:
            raise ValueError(_describe(stage))
    found = sorted(set(activations))
    if not is_open or len(found) > 1 or not {*found} <= {*names}:
        raise ValueError(
            f"the network has the activations {activations}; scikit-learn has one of "
            f"{list(names)} in all hidden layers and none on the last one"
        )
    return weights, names[found[0]] if found else "relu"


def _describe(stage: Stage) -> str:
    if isinstance(stage, Activate):
        return (
            f"the activation {stage.activation.name!r} is not that of a dense layer, "
            "as all of scikit-learn's are"
        )
    if isinstance(stage, Parametric):
        return "the network has a ParametricActivation; scikit-learn has none"
    if isinstance(stage, Clamp):
        return "the network has a target_range; scikit-learn has none"
    if isinstance(stage, EMBEDDINGS):
        return "the network has an embedding; scikit-learn has dense layers only"
    return (
        "the network has a LayerNorm, or a BatchNorm, a Scale or an input scaling that "
        "cannot be folded into a dense layer; scikit-learn has dense layers only"
    )


def _labels_of(plan: Plan, classes: ArrayLike | None) -> tuple[Array, Array]:
    """Return targets with every class, and the classes in the network's order."""
    n = plan.n_classes or plan.n_outputs
    if classes is not None and not plan.n_classes:
        raise ValueError(
            f"classes is given, but the network's {n} outputs are labels of their own, "
            "each 0 or 1"
        )
    labels = np.arange(n) if classes is None else np.asarray(classes)
    if labels.shape != (n,) or len(np.unique(labels)) != n:
        raise ValueError(f"classes is {classes!r}; expected {n} different labels")
    return labels if plan.n_classes else np.eye(n, dtype=int), labels


def _reordered(W: Array, b: Array, labels: Array | None) -> tuple[Array, Array]:
    """Columns in the order of sorted labels; one for two classes, as a difference."""
    if labels is None:
        return W, b
    order = np.argsort(labels)
    if W.shape[1] == 1:
        sign = 1 if order[0] == 0 else -1
        return sign * W, sign * b
    W, b = W[:, order], b[order]
    if len(labels) == 2:  # softmax of two is the sigmoid of their difference
        W, b = W[:, 1:] - W[:, :1], b[1:] - b[:1]
    return np.ascontiguousarray(W), b
