"""The tests that compare the lanes must notice each way in which they can differ."""

import types

import pytest
import test_kernels as mirror

from fastnn import kernels, reference
from fastnn.reference import Engine


def functions_differ():
    """Whether the tests of the stateless functions notice something."""
    try:
        mirror.test_both_lanes_have_the_same_functions()
        for name in kernels.__all__:
            mirror.test_functions_have_the_same_arguments(name)
            mirror.test_functions_share_their_documentation(name)
    except (AssertionError, AttributeError):
        return True
    return False


def engines_differ():
    try:
        mirror.test_both_engines_have_the_same_methods()
    except (AssertionError, AttributeError, TypeError):
        return True
    return False


def names_differ():
    for backend in mirror.LANES:
        try:
            mirror.test_every_name_of_a_plan_is_known_to_both_lanes(backend)
        except (AssertionError, KeyError, ValueError):
            return True
    return False


def test_they_pass_as_they_are():
    assert not functions_differ()
    assert not engines_differ()
    assert not names_differ()


def like(function, source):
    """A function of another signature with the documentation of this one."""
    space = {}
    exec(source, {"__name__": function.__module__}, space)
    (other,) = space.values()
    other.__doc__, other.__module__ = function.__doc__, function.__module__
    return other


# Instead of huber(z, targets, sample_weight=None, delta=1.0):
OTHER_HUBERS = {
    "another name": "def huber(z, t, sample_weight=None, delta=1.0): ...",
    "another default": "def huber(z, targets, sample_weight=None, delta=1.5): ...",
    "no default": "def huber(z, targets, sample_weight, delta=1.0): ...",
    "another order": "def huber(z, targets, delta=1.0, sample_weight=None): ...",
    "one more": "def huber(z, targets, sample_weight=None, delta=1.0, x=0): ...",
    "one less": "def huber(z, targets, sample_weight=None): ...",
    "by keyword": "def huber(z, targets, sample_weight=None, *, delta=1.0): ...",
}


@pytest.mark.parametrize("lane", [kernels, reference], ids=["native", "numpy"])
@pytest.mark.parametrize("other", OTHER_HUBERS)
def test_an_argument_that_differs(lane, other, monkeypatch):
    monkeypatch.setattr(lane, "huber", like(lane.huber, OTHER_HUBERS[other]))
    assert functions_differ()


def test_only_the_argument_made_the_difference(monkeypatch):
    # The control of the test above.
    same = "def huber(z, targets, sample_weight=None, delta=1.0): ..."
    for lane in (kernels, reference):
        monkeypatch.setattr(lane, "huber", like(lane.huber, same))
    assert not functions_differ()


@pytest.mark.parametrize("lane", [kernels, reference], ids=["native", "numpy"])
@pytest.mark.parametrize("name", kernels.__all__)
def test_a_function_that_is_missing(lane, name, monkeypatch):
    monkeypatch.delattr(lane, name)
    assert functions_differ()


@pytest.mark.parametrize("lane", [kernels, reference], ids=["native", "numpy"])
def test_a_function_of_one_lane(lane, monkeypatch):
    extra = like(lane.huber, "def swish_forward(x): ...")
    monkeypatch.setattr(lane, "swish_forward", extra, raising=False)
    assert functions_differ()
    monkeypatch.setattr(lane, "__all__", [*lane.__all__, "swish_forward"])
    assert functions_differ()


@pytest.mark.parametrize("lane", [kernels, reference], ids=["native", "numpy"])
def test_documentation_that_differs(lane, monkeypatch):
    copy = types.FunctionType(
        (lambda z, targets, sample_weight=None, delta=1.0: None).__code__,
        {},
        "huber",
        (None, 1.0),
    )
    copy.__doc__ = lane.huber.__doc__ + "\n    And more."
    copy.__module__ = lane.huber.__module__
    monkeypatch.setattr(lane, "huber", copy)
    assert functions_differ()


# The native engine is a C type, which cannot be changed: the other one is.


def test_a_method_of_one_lane(monkeypatch):
    monkeypatch.setattr(Engine, "explain", lambda self: None, raising=False)
    assert engines_differ()


@pytest.mark.parametrize(
    "name", sorted(name for name in vars(Engine) if not name.startswith("_"))
)
def test_a_method_that_is_missing(name, monkeypatch):
    monkeypatch.delattr(Engine, name)
    assert engines_differ()


OTHER_METHODS = {
    "another name": "def predict_one(self, row, out=None): ...",
    "another default": "def forward(self, X, output='logits'): ...",
    "one more": "def evaluate(self, X, y, sample_weight=None, batch_size=64): ...",
    "a property": "forward = property(lambda self: None)",
    "no property": "def step(self): ...",
}


@pytest.mark.parametrize("other", OTHER_METHODS)
def test_a_method_that_differs(other, monkeypatch):
    space = {}
    exec(OTHER_METHODS[other], space)
    del space["__builtins__"]
    ((name, method),) = space.items()
    monkeypatch.setattr(Engine, name, method)
    assert engines_differ()


# Names of the vocabulary that one lane does not know.


TABLES = [
    (module, table, name)
    for module, table, names in (
        ("activations", "ACTIVATIONS", ["gelu", "softmax"]),
        ("losses", "LOSSES", ["poisson"]),
        ("updates", "UPDATES", ["lion", "lookahead"]),
        ("passes", "LAYERS", ["layer_norm"]),
    )
    for name in names
]


@pytest.mark.parametrize(("module", "table", "name"), TABLES)
def test_a_name_that_the_reference_does_not_know(module, table, name, monkeypatch):
    import importlib

    entries = getattr(importlib.import_module(f"fastnn.reference_{module}"), table)
    monkeypatch.delitem(entries, name)
    assert names_differ()


def test_a_name_that_the_native_lane_does_not_know(monkeypatch):
    from dataclasses import dataclass
    from typing import ClassVar

    import fastnn
    from fastnn.optimizers import OPTIMIZERS

    @dataclass(frozen=True, repr=False)
    class Yogi(fastnn.Adam):
        name: ClassVar[str] = "yogi"

    monkeypatch.setitem(OPTIMIZERS, "yogi", Yogi)
    assert names_differ()
