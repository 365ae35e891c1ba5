"""Networks as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.activations import as_activation

if TYPE_CHECKING:
    from fastnn._plan.plan import Plan

__all__ = ["summarize", "summary_html"]

_COLUMNS = ("layer", "type", "inputs", "outputs", "activation", "parameters")
_LEFT = ("layer", "type", "activation")  # names to the left, numbers to the right


def summarize(plan: Plan) -> str:
    """Return a table of the layers, and one line about the whole network."""
    rows = [_COLUMNS, *([_text(cell) for cell in row] for row in _rows(plan))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if name in _LEFT else cell.rjust(width)
            for name, cell, width in zip(_COLUMNS, row, widths, strict=True)
        )
        for row in rows
    ]
    return "\n".join([*lines, _foot(plan)])


def summary_html(plan: Plan) -> str:
    """Return the same for notebooks."""
    from fastnn._base.html import table

    return table("Network", _COLUMNS, _rows(plan), _foot(plan))


def _rows(plan: Plan) -> list[tuple[str | int, ...]]:
    rows: list[tuple[str | int, ...]] = []
    for i, layer in enumerate(plan.layers):
        activation = as_activation(layer.activation).name
        name = layer.name if layer.trainable else f"{layer.name} (frozen)"
        n_in, n_out = plan.widths[i : i + 2]
        rows.append((str(i), name, n_in, n_out, activation, plan.parameter_counts[i]))
    return rows


def _text(cell: str | int) -> str:
    return cell if isinstance(cell, str) else f"{cell:,}"


def _foot(plan: Plan) -> str:
    n_bytes = plan.n_parameters * (8 if plan.dtype == "float64" else 4)
    return (
        f"{plan.n_parameters:,} parameters ({plan.dtype}, {n_bytes / 1e6:.2f} MB), "
        f"{plan.loss.name}, {plan.optimizer.name}"
    )
