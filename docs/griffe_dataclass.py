"""Shows griffe, which makes the reference, that our dataclasses are dataclasses.

`fastnn._dataclass.dataclass` is the original to type checkers, who look at its
TYPE_CHECKING branch; griffe looks at the name alone.
"""

from typing import Any

from griffe import Alias, Extension


class Dataclass(Extension):
    def on_alias_instance(self, *, alias: Alias, **_: Any) -> None:
        if alias.target_path == "fastnn._dataclass.dataclass":
            alias.target_path = "dataclasses.dataclass"
