"""The page of promises: all 34 rows, and every test and part that it names is there."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/trust.md").read_text()
ROW = re.compile(r"^\| (\d+) \| (.*?) \| (.*?) \| (.*?)\|$", re.MULTILINE)
LONG_RUN = re.compile(r"^\| (\w+) +\| +(\d+) \| +(\d+) \| +(\d+) \|$", re.MULTILINE)


@cache
def functions_in(path):
    tree = ast.parse((ROOT / "tests" / path).read_text())
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


@cache
def parts():
    return {
        name
        for path in (ROOT / "tests/campaign").glob("*.py")
        for name, function in functions_in(path).items()
        if any(
            ast.unparse(each).startswith("part(") for each in function.decorator_list
        )
    }


def references(text):
    """What stands between backquotes: tests, parts and commands."""
    return re.findall(r"`([^`]+)`", text)


def is_there(name):
    if "::" in name:
        path, function = name.split("::")
        return (ROOT / "tests" / path).exists() and function in functions_in(path)
    if name.startswith(".ci/run "):
        return f"stage_{name.split()[1]}()" in (ROOT / ".ci/run").read_text()
    if name.startswith("make -C "):
        _, _, folder, *targets = name.split()
        text = (ROOT / folder / "Makefile").read_text()
        return all(re.search(rf"^{target}:", text, re.MULTILINE) for target in targets)
    return name in parts()


def test_all_promises_are_there():
    rows = ROW.findall(PAGE)
    assert [int(row[0]) for row in rows] == [*range(1, 35)]
    for number, promise, held_by, _ in rows:
        assert promise.endswith("."), number
        assert references(held_by), number


def test_what_holds_them_is_there():
    missing = [
        name
        for _, _, held_by, _ in ROW.findall(PAGE)
        for name in references(held_by)
        if not is_there(name)
    ]
    assert missing == []
    tests = re.findall(r"`(\w+/test_\w+\.py::\w+)`", PAGE)
    assert [name for name in tests if not is_there(name)] == []
    assert not is_there("reliability/test_fork.py::test_of_nothing")
    assert not is_there("a_part_of_nothing")


def test_every_part_of_the_campaign_holds_a_promise_and_was_run():
    named = {name for row in ROW.findall(PAGE) for name in references(row[2])}
    assert parts() <= named
    run = {name: int(tries) for name, tries, _, _ in LONG_RUN.findall(PAGE)}
    assert run.keys() - {"total"} == parts()
    assert all(tries > 0 for tries in run.values())
