"""The network that the options of `fastnn train` describe: layers and optimizer."""

from __future__ import annotations

import argparse
import math
from typing import Any

from fastnn.layers import Dense
from fastnn.losses import LOSSES
from fastnn.optimizers import SGD, Adam, AdamW, Optimizer

from .data_set import Data

__all__ = ["OPTIMIZERS", "SCHEDULES", "layers_of", "n_outputs_of", "optimizer_of"]

# name: (optimizer of a learning rate, default rate or None for the data set's)
OPTIMIZERS: dict[str, tuple[Any, float | None]] = {
    "sgd": (SGD, 0.1),
    "momentum": (lambda lr: SGD(lr, momentum=0.9), 0.02),
    "nesterov": (lambda lr: SGD(lr, momentum=0.9, nesterov=True), 0.02),
    "adam": (Adam, None),
    "adamw": (AdamW, None),
}
SCHEDULES = (
    "constant", "cosine", "exponential", "inverse_time", "one_cycle", "polynomial",
    "step", "warmup",
)  # fmt: skip


def layers_of(
    text: str | None, activation: str | None, data: Data, n_outputs: int
) -> list[int | Dense]:
    """Return layers from the inputs to the outputs; both ends may be left out."""
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
    if activation is None:
        return [data.n_inputs, *sizes, n_outputs]
    return [data.n_inputs, *(Dense(n, activation) for n in sizes), n_outputs]


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
