"""Tells griffe, which makes the reference, what our code does not say in its way."""

from typing import Any

from griffe import Alias, Class, Extension, Module

# Names below fastnn that its modules share with each other, not with users.
HELPERS = [
    "activations.Activation.parameter",
    "losses.Loss.parameter",
    "callbacks._recording.History.__getstate__",
]


class Dataclass(Extension):
    """Shows that our dataclasses are dataclasses.

    Type checkers take `fastnn._base.frozen.dataclass` for the original, because they
    follow its TYPE_CHECKING branch; griffe looks at the name alone.
    """

    def on_alias_instance(self, *, alias: Alias, **_: Any) -> None:
        if alias.target_path == "fastnn._base.frozen.dataclass":
            alias.target_path = "dataclasses.dataclass"

    def on_class(self, *, cls: Class, **_: Any) -> None:
        """Leave out fields without a parameter that a parent has with one."""
        if "dataclass" not in cls.labels or "__init__" not in cls.members:
            return
        parameters = cls["__init__"].parameters
        for name, member in cls.members.items():
            if member.is_attribute and "init=False" in str(member.value):
                del parameters[name]


class Helpers(Extension):
    """Keeps helpers out of the reference."""

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        for name in HELPERS:
            folder, _, member = name.rpartition(".")
            pkg[folder].members.pop(member)  # fails if there is none
