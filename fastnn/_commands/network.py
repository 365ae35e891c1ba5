"""The network that the options of `fastnn train` describe: layers and optimizer."""

from __future__ import annotations

import argparse
import math
from functools import partial
from typing import Any

from fastnn._base.fields import BELOW_1, check_number
from fastnn.layers import Dense, Dropout, Layer
from fastnn.losses import LOSSES
from fastnn.optimizers import (
    LBFGS,
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    Lion,
    NAdam,
    Optimizer,
    RMSprop,
)

from .data_set import Data

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "class_weight_of",
    "layers_of",
    "n_outputs_of",
    "optimizer_of",
]

# name: (optimizer of a learning rate, default rate or None for the data set's)
OPTIMIZERS: dict[str, tuple[Any, float | None]] = {
    "sgd": (SGD, 0.1),
    "momentum": (partial(SGD, momentum=0.9), 0.02),
    "nesterov": (partial(SGD, momentum=0.9, nesterov=True), 0.02),
    "adam": (Adam, None),
    "adamw": (AdamW, None),
    "nadam": (NAdam, None),
    "rmsprop": (RMSprop, None),
    "adagrad": (AdaGrad, 0.01),
    "lion": (Lion, 1e-4),
    "lbfgs": (LBFGS, None),  # which has none
}
SCHEDULES = (
    "constant", "cosine", "exponential", "inverse_time", "one_cycle", "polynomial",
    "step", "warmup",
)  # fmt: skip


def layers_of(
    options: argparse.Namespace, data: Data, n_outputs: int
) -> list[int | Layer]:
    """Return layers from the inputs to the outputs; both ends may be left out."""
    text: str | None = options.layers
    try:
        sizes = [*data.hidden] if text is None else [int(n) for n in text.split(",")]
    except ValueError:
        raise ValueError(
            f"--layers must be widths such as 784,128,10, got {text!r}"
        ) from None
    # A single one is hidden, whatever its width.
    if text is not None and len(sizes) > 1:
        sizes = sizes[1:] if sizes[0] == data.n_inputs else sizes
        sizes = sizes[:-1] if sizes[-1] == n_outputs else sizes
    layers: list[int | Layer] = [data.n_inputs]
    for n in sizes:
        layers.append(n if options.activation is None else Dense(n, options.activation))
        if options.dropout is not None:
            layers.append(Dropout(check_number("--dropout", options.dropout, *BELOW_1)))
    return [*layers, n_outputs]


def class_weight_of(text: str | None, data: Data) -> dict[int, float] | str | None:
    """Return the weights by label that a text such as "balanced" or "yes=5" gives."""
    if text is None:
        return None
    names = data.class_names
    if not names:
        raise ValueError(f"--class-weight is for classes, but {data.name} has none")
    if text.lower() == "balanced":
        return "balanced"
    try:
        pairs = [each.rpartition("=") for each in text.split(",")]
        found = {names.index(name): float(weight) for name, _, weight in pairs}
        if len(found) < len(pairs):
            raise ValueError
        return found
    except ValueError:
        raise ValueError(
            "--class-weight must be balanced or CLASS=WEIGHT,..., once each, of the "
            f"classes {', '.join(names[:20])}, got {text!r}"
        ) from None


def n_outputs_of(loss: str, data: Data) -> int:
    if not data.class_names:
        return data.n_targets * LOSSES[loss]().outputs_per_target
    if loss != "binary_cross_entropy":
        return len(data.class_names)
    if len(data.class_names) > 2:
        raise ValueError(
            f"{data.name} has {len(data.class_names)} classes; expected 2 for --loss "
            "binary_cross_entropy"
        )
    return 1


def optimizer_of(options: argparse.Namespace, data: Data, updates: int) -> Optimizer:
    make, rate = OPTIMIZERS[options.optimizer or "adam"]
    make = partial(make, l2=options.l2 or 0.0)
    if make.func is LBFGS:
        if options.lr is not None or options.lr_schedule is not None:
            raise ValueError("--optimizer lbfgs takes neither --lr nor --lr-schedule")
        lbfgs: Optimizer = make()
        return lbfgs
    rate = data.learning_rate if rate is None else rate
    rate = rate if options.lr is None else options.lr
    optimizer: Optimizer = make(rate)  # checks the rate
    if options.lr_schedule in (None, "constant"):
        return optimizer
    scheduled: Optimizer = make(_schedule(options.lr_schedule, rate, updates))
    return scheduled


def _schedule(name: str, rate: float, updates: int) -> Any:
    """Return a schedule that makes one descent over all updates of the training."""
    from fastnn import schedules

    if name == "cosine":
        return schedules.Cosine(rate, steps=updates)
    if name == "exponential":
        return schedules.Exponential(rate, interval=updates, factor=0.01)
    if name == "inverse_time":
        return schedules.InverseTime(rate, decay=9 / updates)
    if name == "one_cycle":
        return schedules.OneCycle(rate, steps=updates)
    if name == "polynomial":
        return schedules.Polynomial(rate, steps=updates)
    if name == "step":
        return schedules.Step(rate, interval=math.ceil(updates / 3))
    start = math.ceil(updates / 20)
    descent = schedules.Cosine(rate, steps=max(1, updates - start))
    return schedules.Warmup(descent, steps=start)
