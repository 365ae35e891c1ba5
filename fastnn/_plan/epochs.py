"""Schedules of a plan that count epochs, and what a fit makes of them."""

from __future__ import annotations

from dataclasses import fields, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from fastnn.schedules import Schedule

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["counts_epochs", "in_steps"]


def counts_epochs(plan: Plan) -> bool:
    """Whether a schedule has no rates before `in_steps`."""
    specs = (plan.optimizer, *plan.layers)
    # A list: Ctrl-C in a generator that ends early would be lost.
    found = [each for spec in specs for each in _schedules(spec).values()]
    return any(map(attrgetter("counts_epochs"), found))


def in_steps(plan: Plan, updates: int) -> Plan:
    """Return the plan whose schedules have updates for epochs of that many."""

    def counted(spec: Any) -> Any:
        found = _schedules(spec).items()
        changes = {name: each.in_steps(updates) for name, each in found}
        return replace(spec, **changes) if changes else spec

    layers = tuple(map(counted, plan.layers))
    return replace(plan, layers=layers, optimizer=counted(plan.optimizer))


def _schedules(spec: Any) -> dict[str, Schedule]:
    values = {each.name: getattr(spec, each.name) for each in fields(spec)}
    return {k: v for k, v in values.items() if isinstance(v, Schedule)}
