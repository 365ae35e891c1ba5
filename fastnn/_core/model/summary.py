"""Networks as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.activations import as_activation

if TYPE_CHECKING:
    from fastnn._plan.plan import Plan

__all__ = ["summarize"]

_COLUMNS = ("layer", "type", "inputs", "outputs", "activation", "parameters")
_LEFT = ("layer", "type", "activation")  # names to the left, numbers to the right


def summarize(plan: Plan) -> str:
    """Return a table of the layers, and one line about the whole network."""
    rows = [_COLUMNS]
    for i, (layer, parameters) in enumerate(
        zip(plan.layers, plan.parameter_counts, strict=True)
    ):
        activation = as_activation(layer.activation).name
        name = layer.name if layer.trainable else f"{layer.name} (frozen)"
        n_in, n_out = plan.widths[i : i + 2]
        rows.append(
            (str(i), name, str(n_in), str(n_out), activation, f"{parameters:,}")
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if name in _LEFT else cell.rjust(width)
            for name, cell, width in zip(_COLUMNS, row, widths, strict=True)
        )
        for row in rows
    ]
    n_bytes = plan.n_parameters * (8 if plan.dtype == "float64" else 4)
    lines.append(
        f"{plan.n_parameters:,} parameters ({plan.dtype}, {n_bytes / 1e6:.2f} MB), "
        f"{plan.loss.name}, {plan.optimizer.name}"
    )
    return "\n".join(lines)
