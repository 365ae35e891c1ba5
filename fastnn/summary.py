"""Networks as text."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["summarize"]

_COLUMNS = ("layer", "type", "inputs", "outputs", "activation", "parameters")
_LEFT = ("layer", "type", "activation")  # names to the left, numbers to the right


def summarize(plan: Plan) -> str:
    """Return a table of the layers, and one line about the whole network."""
    rows = [_COLUMNS]
    for i, ((n_in, n_out), layer) in enumerate(
        zip(pairwise(plan.sizes), plan.layers, strict=True)
    ):
        parameters = f"{(n_in + 1) * n_out:,}"
        rows.append(
            (str(i), layer.name, str(n_in), str(n_out), layer.activation, parameters)
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if name in _LEFT else cell.rjust(width)
            for name, cell, width in zip(_COLUMNS, row, widths, strict=True)
        )
        for row in rows
    ]
    n_bytes = plan.n_parameters * (4 if plan.dtype == "float32" else 8)
    lines.append(
        f"{plan.n_parameters:,} parameters ({plan.dtype}, {n_bytes / 1e6:.2f} MB), "
        f"{plan.loss.name}, {plan.optimizer.name}"
    )
    return "\n".join(lines)
