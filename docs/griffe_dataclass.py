"""Shows griffe, which makes the reference, that our dataclasses are dataclasses.

`fastnn._base.frozen.dataclass` is the original to type checkers, who look at its
TYPE_CHECKING branch; griffe looks at the name alone.
"""

from typing import Any

from griffe import Alias, Class, Extension


class Dataclass(Extension):
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
