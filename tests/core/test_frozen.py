"""`fastnn._base.frozen`: what a description shows is what `dataclasses` makes of it."""

import dataclasses
import inspect
import pickle
from dataclasses import FrozenInstanceError, field, fields, is_dataclass, replace
from typing import Any, ClassVar

import pytest

from fastnn import activations, initializers, layers, losses, optimizers, schedules
from fastnn._base.frozen import dataclass
from fastnn._core.model.state import ModelState
from fastnn._core.training.fit import Course, Fit, Settings
from fastnn._plan.plan import Plan

DESCRIPTIONS = [
    *activations.ACTIVATIONS.values(),
    *initializers.KINDS.values(),
    *layers.LAYERS.values(),
    *losses.LOSSES.values(),
    *optimizers.OPTIMIZERS.values(),
    *schedules.SCHEDULES.values(),
    Plan,
    ModelState,
    Course,
    Settings,
    Fit,
]


def point(make):
    """The same class by either decorator."""

    @make(frozen=True)
    class Point:
        """A point."""

        name: ClassVar[str] = "point"

        x: float
        y: list[float] = field(default_factory=list)
        tag: str = field(default="none", kw_only=True)

        def __post_init__(self) -> None:
            object.__setattr__(self, "x", float(self.x))

    return Point


def heir(make, parent):
    @make(frozen=True, repr=False)
    class Heir(parent):
        """A point with a number."""

        z: int = 3

        def __hash__(self):
            return 7

    return Heir


OURS, THEIRS = point(dataclass), point(dataclasses.dataclass)
PAIRS = [
    pytest.param(OURS, THEIRS, id="point"),
    pytest.param(
        heir(dataclass, OURS), heir(dataclasses.dataclass, THEIRS), id="ours of ours"
    ),
    pytest.param(
        heir(dataclasses.dataclass, OURS),
        heir(dataclasses.dataclass, THEIRS),
        id="theirs of ours",
    ),
    pytest.param(
        type("Plain", (OURS,), {}), type("Plain", (THEIRS,), {}), id="not decorated"
    ),
]


def outcome(call, *arguments, **keywords):
    """What a call returns or raises, in words."""
    try:
        return repr(call(*arguments, **keywords))
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_behaves_as_a_dataclass(ours, theirs):
    assert is_dataclass(ours)
    assert ours.__match_args__ == theirs.__match_args__
    assert inspect.signature(ours) == inspect.signature(theirs)
    assert ours.__init__.__annotations__ == theirs.__init__.__annotations__
    assert repr(ours.__dataclass_params__) == repr(theirs.__dataclass_params__)
    for name in ("__doc__", "__name__", "__qualname__", "__module__"):
        assert getattr(ours, name) == getattr(theirs, name)
    for mine, other in zip(fields(ours), fields(theirs), strict=True):
        assert (mine.name, mine.type, mine.kw_only) == (
            other.name,
            other.type,
            other.kw_only,
        )

    for arguments, keywords in [
        ((1,), {}),
        ((1, [2.0]), {"tag": "a"}),
        ((), {"x": 1, "y": [3.0]}),
        ((), {}),
        ((1, [], 4, 5, 6), {}),
        ((1,), {"x": 2}),
        (("one",), {}),
    ]:
        assert outcome(ours, *arguments, **keywords) == outcome(
            theirs, *arguments, **keywords
        )
    with pytest.raises(TypeError, match="argument 'colour'"):
        ours(1, colour=2)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_compares_and_stays_as_a_dataclass(ours, theirs):
    for cls in (ours, theirs):
        a, b = cls(1, y=(2.0,)), cls(1.0, y=(2.0,))
        assert a == b
        assert hash(a) == hash(b)
        assert a != replace(a, x=5)
        assert replace(a, x=5).x == 5.0
        assert a != (1.0, (2.0,), "none")
        assert cls(0).y is not cls(0).y
        with pytest.raises(TypeError):
            _ = a < b
    a, b = ours(1, y=(2.0,)), theirs(1, y=(2.0,))
    assert a != b
    assert a.__eq__(b) is NotImplemented
    assert hash(a) == hash(b)
    assert outcome(hash, ours(1)) == outcome(hash, theirs(1))  # of a list
    for name in ("x", "y", "tag", "name", "other"):
        assert outcome(setattr, a, name, 1) == outcome(setattr, b, name, 1)
        assert outcome(delattr, a, name) == outcome(delattr, b, name)
    assert a.x == 1.0


def test_a_class_without_a_docstring_gets_one():
    @dataclass(frozen=True)
    class Nameless(OURS):
        z: int = 3

    assert Nameless.__doc__.startswith("Nameless(x: float, ")
    assert repr(Nameless(1)).endswith("Nameless(x=1.0, y=[], tag='none', z=3)")


def test_a_frozen_class_has_no_heirs_that_are_not():
    with pytest.raises(TypeError, match="cannot inherit non-frozen"):

        @dataclasses.dataclass
        class Loose(OURS):
            z: int = 3


def test_methods_of_the_class_stay():
    @dataclass(frozen=True)
    class Own:
        x: int = 0

        def __init__(self, twice: int) -> None:
            object.__setattr__(self, "x", 2 * twice)

        def __repr__(self) -> str:
            return f"<{self.x}>"

        def __eq__(self, other: Any) -> bool:
            return True

    assert repr(Own(4)) == "<8>"
    assert Own(4) == 5
    assert hash(Own(4)) == hash((8,))  # as dataclasses: of a frozen class with fields


def test_heirs_find_the_init_of_their_parent():
    class Ten(point(dataclass)):
        def __init__(self) -> None:
            super().__init__(10, tag="ten")

    assert Ten().x == 10.0
    assert repr(Ten()).endswith("Ten(x=10.0, y=[], tag='ten')")


@pytest.mark.parametrize("cls", DESCRIPTIONS, ids=lambda cls: cls.__name__)
def test_descriptions_are_frozen_dataclasses(cls):
    assert is_dataclass(cls)
    required = [
        each.name
        for each in fields(cls)
        if each.default is dataclasses.MISSING
        and each.default_factory is dataclasses.MISSING
    ]
    parameters = inspect.signature(cls).parameters
    assert list(parameters) == [
        *(each.name for each in fields(cls) if each.init and not each.kw_only),
        *(each.name for each in fields(cls) if each.init and each.kw_only),
    ]
    if required:
        return
    one, other = cls(), cls()
    assert one == other
    assert hash(one) == hash(other)
    assert pickle.loads(pickle.dumps(one)) == one
    assert replace(one) == one
    assert eval(repr(one), {cls.__name__: cls}) == one
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'extra'"):
        one.extra = 1
    with pytest.raises(TypeError, match="has no argument 'extra'"):
        cls(extra=1)
