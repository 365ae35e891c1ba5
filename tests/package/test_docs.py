"""The documentation: its code blocks run, and no public name is missing.

The blocks of a page run in order, in one namespace and one empty folder:

- `python` is executed; a `text` block after it is what it printed,
- `console` has commands after "$ ", run by a shell, and what they print on stdout,
- `c title="name.c"` is written to that file,
- a line ``--8<-- "FILE"`` in any of them stands for that file, as on the site.

In expected output "..." stands for anything. A comment before a block,
``<!-- needs: onnx, mnist -->``, names packages, or data, without which it cannot run.
Blocks of `sh`, `diff` and `c` without a title are shown only; those that set up fastnn,
and README's training on MNIST, are run by `.ci/run`.
"""

import contextlib
import doctest
import importlib
import importlib.util
import io
import os
import pkgutil
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import fastnn

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
SHOWN = {"sh", "diff", "c", "text"}
# Packages whose modules have another name.
MODULES = {"scikit-learn": "sklearn", "pillow": "PIL"}


class Block(NamedTuple):
    line: int
    language: str
    title: str | None
    text: str
    needs: tuple[str, ...] = ()


BLOCK = re.compile(
    r"(?:^<!-- needs: (?P<needs>.*?) -->\n\n?)?"
    r"^```(?P<language>\w*)(?: title=\"(?P<title>[\w.]+)\")?\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
SNIPPET = re.compile(r'^--8<-- "(.*)"\n', re.MULTILINE)


def expanded(text: str) -> str:
    return SNIPPET.sub(lambda match: (ROOT / match[1]).read_text(), text)


def blocks_of(text: str) -> list[Block]:
    return [
        Block(
            text.count("\n", 0, match.start("text")) + 1,
            match["language"],
            match["title"],
            expanded(match["text"]),
            tuple((match["needs"] or "").replace(",", " ").split()),
        )
        for match in BLOCK.finditer(text)
    ]


def absent(need: str) -> bool:
    if need == "mnist":
        return not os.path.isdir(os.path.join(os.environ.get("FASTNN_DATA", ""), need))
    return importlib.util.find_spec(MODULES.get(need, need)) is None


def same_output(expected: str, found: str) -> bool:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(expected, found, flags)


def commands_of(text: str):
    """(command, what it prints or "") of a console block."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        while command.endswith("\\"):
            more, _, output = output.partition("\n")
            command = f"{command}\n{more}"
        yield command, output


def run_page(blocks, where: str, environment) -> set[str]:
    """Run the blocks whose needs are met; returns the needs that are not."""
    namespace = {"__name__": "__main__"}
    printed = None  # by the block before, if it was run and is Python
    missing = set()
    for block in blocks:
        place = f"{where}:{block.line}"
        needs = {need for need in block.needs if absent(need)}
        missing |= needs
        if block.language == "text" and printed is not None:
            assert same_output(block.text, printed), f"{place}: printed {printed}"
        printed = None
        if needs:
            continue
        if block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as stdout:
                # The line numbers of a traceback are those of the page.
                code = "\n" * (block.line - 1) + block.text
                exec(compile(code, where, "exec"), namespace)
            printed = stdout.getvalue()
        elif block.language == "console":
            for command, output in commands_of(block.text):
                done = subprocess.run(
                    ["sh", "-ec", command],
                    capture_output=True,
                    text=True,
                    env=environment,
                )
                assert done.returncode == 0, f"{place}: {command}\n{done.stderr}"
                assert not output or same_output(output, done.stdout), (
                    f"{place}: {command} printed\n{done.stdout}"
                )
        elif block.language == "c" and block.title:
            Path(block.title).write_text(block.text)
    return missing


@pytest.fixture
def environment(tmp_path):
    """The environment of commands, where `fastnn` is the one under test."""
    command = tmp_path / "bin" / "fastnn"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fastnn "$@"\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    package = str(Path(fastnn.__file__).parents[1])
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(command.parent), os.environ["PATH"]]),
        "PYTHONPATH": package,
        "FASTNN_DATA": os.path.abspath(os.environ.get("FASTNN_DATA", "absent")),
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run(page, tmp_path, monkeypatch, environment):
    monkeypatch.setenv("FASTNN_DATA", environment["FASTNN_DATA"])
    (tmp_path / "page").mkdir()
    monkeypatch.chdir(tmp_path / "page")
    monkeypatch.setenv("MPLBACKEND", "agg")
    blocks = blocks_of(page.read_text())
    missing = run_page(blocks, str(page.relative_to(ROOT)), environment)
    if missing:
        pytest.skip(f"blocks that need {', '.join(sorted(missing))} were not run")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_is_of_a_known_kind(page):
    text = page.read_text()
    blocks = blocks_of(text)
    # Also none that the pattern does not see, such as indented ones.
    assert len(re.findall(r"^\s*```", text, re.MULTILINE)) == 2 * len(blocks)
    known = SHOWN | {"python", "console"}
    assert [block for block in blocks if block.language not in known] == []
    unknown = {need for block in blocks for need in block.needs} - {
        *("mnist", "matplotlib", "scipy", "onnx", "onnxruntime", "torch"),
        *("scikit-learn", "pillow", "optuna", "mpi4py", "mapie"),
        *("tensorboard", "mlflow", "wandb", "skl2onnx", "skops"),
    }
    assert unknown == set()


def test_a_wrong_block_is_noticed(tmp_path, monkeypatch, environment):
    monkeypatch.chdir(tmp_path)

    def run(text):
        return run_page(blocks_of(text), "page.md", environment)

    with pytest.raises(ZeroDivisionError):
        run("```python\n1 / 0\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md:5: printed 1"):
        run("```python\nprint(1)\n```\n```text\n2\n```\n")
    with pytest.raises(AssertionError, match="false"):
        run("```console\n$ false\n```\n")
    with pytest.raises(AssertionError, match=r"printed\s+a b"):
        run("```console\n$ echo a b\na c\n```\n")
    assert run("<!-- needs: nowhere -->\n```python\n1 / 0\n```\n") == {"nowhere"}
    shown = '```c title="a.c"\nint a;\n```\n```console\n$ cat a.c\nint a;\n```\n'
    assert run(shown) == set()


@pytest.mark.parametrize(
    "page",
    [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_files_that_are_named_exist(page):
    text = page.read_text()
    folders = r"(?:fastnn|csrc|tests|docs|\.ci)"
    files = re.findall(rf"(?<![\w/]){folders}/[\w.-]+(?:/[\w.-]+)*\.\w+", text)
    missing = [name for name in files if not (ROOT / name).exists()]
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    missing += [link for link in links if not (page.parent / link).exists()]
    assert missing == []


# The reference ------------------------------------------------------------------------

# Public to Python, but not meant for users: engine.md says what they are.
INTERNAL = {
    *("__main__", "bench", "cli", "demo"),
}
ELSEWHERE = {
    "network": "fastnn.Network",
    "kernels": "fastnn.reference",  # has the same functions
}


def documented() -> set[str]:
    """The names after `:::` in the reference."""
    pages = "".join(page.read_text() for page in ROOT.glob("docs/reference/*.md"))
    return {*re.findall(r"^::: ([\w.]+)$", pages, re.MULTILINE)}


def test_every_public_module_is_in_the_reference():
    modules = {info.name for info in pkgutil.iter_modules(fastnn.__path__)} - INTERNAL
    public = {name for name in modules if not name.startswith("_")}
    missing = {ELSEWHERE.get(name, f"fastnn.{name}") for name in public} - documented()
    assert missing == set()


def test_every_public_name_is_in_the_reference():
    there = {"__version__", "kernels"}
    for name in documented():
        there.add(name.rpartition(".")[2])
        path = ROOT / "fastnn" / name.removeprefix("fastnn.").replace(".", "/")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if path.exists():  # a module: with all its public names
            listed = re.search(r"^__all__ = \[(.*?)\]", path.read_text(), re.M | re.S)
            there |= {*re.findall(r'"(\w+)"', listed[1])}
    assert {*fastnn.__all__} - there == set()


def test_the_options_of_the_command_line_are_all_there():
    path = ROOT / "docs" / "make_command_line.py"
    spec = importlib.util.spec_from_file_location("make_command_line", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (written,) = module.PLACE.findall(module.PAGE.read_text())
    if written != module.options_text():
        pytest.fail("run: python docs/make_command_line.py")
