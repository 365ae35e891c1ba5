"""``dataclass(frozen=True)`` without its cost at import.

`dataclasses` writes the source of six methods for each class and compiles it: 0.5 ms,
which for our fifty descriptions was most of ``import fastnn``. Five of the six can be
the same for all classes, and ``__init__`` is written when it is first wanted. What can
be seen of a class, from its signature to its errors, is as `dataclasses` has it.

Type checkers, which know `dataclasses` by name, are shown the original.
"""

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from .names import forgiving

__all__ = ["dataclass"]


def frozen_dataclass(*, frozen: Literal[True], repr: bool = True) -> Any:  # noqa: A002
    """Return the decorator that makes a frozen dataclass of a class.

    A method that the class has of its own stays.
    """

    def make(cls: type) -> type:
        if cls.__doc__ is None:  # written too, from the signature
            return dataclasses.dataclass(frozen=True, repr=repr)(cls)
        own = {**vars(cls)}  # what follows adds to them
        # With frozen=True two methods would be written; without it no parent may be.
        parents = [vars(each).get("__dataclass_params__") for each in cls.__mro__[1:]]
        frozen_parents = [each for each in parents if each and each.frozen]
        for each in frozen_parents:
            each.frozen = False
        dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
        for each in frozen_parents:
            each.frozen = True
        methods = {"__init__": _Init(cls), **_methods(cls)}
        if not repr:
            del methods["__repr__"]
        for name, method in methods.items():
            if own.get(name) is None:  # a class with __eq__ has None for __hash__
                setattr(cls, name, method)
        # What `dataclasses` asks when someone makes a dataclass of a subclass.
        given = cls.__dataclass_params__  # type: ignore[attr-defined]
        given.init, given.repr, given.eq, given.frozen = True, repr, True, True
        return cls

    return make


class _Init:
    """The ``__init__`` of a class, which takes this one's place when looked up."""

    def __init__(self, cls: type) -> None:
        self._cls = cls

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        cls = self._cls
        init = _written_init(cls)
        if vars(cls).get("__init__") is self:
            cls.__init__ = init  # type: ignore[misc]
        return init.__get__(instance, owner)


def _written_init(cls: type) -> Any:
    """Return the ``__init__`` that `dataclasses` writes for the fields of ``cls``."""
    fields = dataclasses.fields(cls)
    namespace: dict[str, Any] = {field.name: field for field in fields}
    namespace["__annotations__"] = {field.name: field.type for field in fields}
    for name in ("__module__", "__qualname__", "__doc__", "__post_init__"):
        if hasattr(cls, name):
            namespace[name] = getattr(cls, name)
    twin = type(cls.__name__, (), namespace)
    written: Any = dataclasses.dataclass(frozen=True, repr=False, eq=False)(twin)
    return forgiving(written.__init__)


def _methods(cls: Any) -> dict[str, Any]:
    """What `dataclasses` would write for ``cls``, but for ``__init__``."""
    fields = dataclasses.fields(cls)
    names = {field.name for field in fields}

    def values(spec: Any) -> tuple[Any, ...]:
        return tuple(getattr(spec, field.name) for field in fields)

    def equal(self: Any, other: Any) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return values(self) == values(other)

    def hash_of(self: Any) -> int:
        return hash(values(self))

    def text(self: Any) -> str:
        given = [f"{field.name}={getattr(self, field.name)!r}" for field in fields]
        return f"{type(self).__qualname__}({', '.join(given)})"

    # Heirs may have attributes of other names.
    def set_attribute(self: Any, name: str, value: Any) -> None:
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def delete_attribute(self: Any, name: str) -> None:
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    return {
        "__eq__": equal,
        "__hash__": hash_of,
        "__repr__": text,
        "__setattr__": set_attribute,
        "__delattr__": delete_attribute,
    }


if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    dataclass = frozen_dataclass
