"""The architecture: no circles of imports, arrows that go down, folders of a size."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "fastnn"

# From the bottom up: a file may import from its own layer and those before it.
LAYERS = [
    ["_base"],
    ["activations", "layers", "losses", "optimizers", "schedules", "initializers"],
    ["_plan"],
    ["reference", "_core/native", "kernels"],
    ["metrics"],
    ["_core/model"],
    ["callbacks"],
    ["_core/training", "_core/exchange"],
    ["network"],
    ["onnx", "torch", "sklearn", "plotting", "datasets", "bench"],
    ["_search", "_commands"],
    ["cli", "demo"],
    ["__init__", "__main__"],
]
C_LAYERS = [
    ["fastnn.h", "kinds.h"],
    ["base"],
    ["threads"],
    ["kernels"],
    ["simd"],
    ["engine"],
    ["run"],
    ["stateless"],
]
MOST_ENTRIES = {"fastnn": 27, "csrc": 10, "tests": 19}
MOST_LINES = 410  # of code, docstrings and comments apart: about 400


def modules() -> dict[str, Path]:
    """Dotted name below fastnn: file; a package is its __init__."""
    files = [*PACKAGE.glob("**/*.py"), *PACKAGE.glob("**/*.pyx")]
    names = {}
    for file in files:
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return names


def imported(file: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules that a file imports, those for type checkers and late ones too."""
    text = file.read_text()
    if file.suffix == ".pyx":  # not Python: its lines of import are
        text = "\n".join(
            line.strip() if not line.rstrip().endswith("(") else line.strip() + "_)"
            for line in text.splitlines()
            if re.match(r"\s*(from|import) [\w.]+ ?(import|$)", line)
        )
    package = file.relative_to(PACKAGE).parent.parts
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            module = f"fastnn.{module}".rstrip(".") if node.level else module
            targets = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            if target.partition(".")[0] != "fastnn":
                continue
            name = target.partition(".")[2]
            while name not in known:  # a name of a module, not a module
                name = name.rpartition(".")[0]
            yield name


def python_arrows() -> dict[str, set[str]]:
    known = modules()
    arrows = {}
    for name, file in known.items():
        arrows[name] = {*imported(file, known)} - {name}
    return arrows


def c_arrows() -> dict[str, set[str]]:
    files = [*ROOT.glob("csrc/**/*.[ch]")]
    known = {file.relative_to(ROOT / "csrc").as_posix() for file in files}
    arrows = {}
    for name in known:
        text = (ROOT / "csrc" / name).read_text()
        included = {*re.findall(r'^#\s*include "(.+)"', text, re.M)}
        assert included <= known, f"{name}: {included - known}"
        arrows[name] = included
    return arrows


def circle_in(arrows: dict[str, set[str]]) -> list[str]:
    """A path that comes back to where it began; empty if there is none."""
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for target in sorted(arrows.get(node, ())):
            if found := visit(target, [*path, node]):
                return found
        done.add(node)
        return []

    for node in sorted(arrows):
        if found := visit(node, []):
            return found
    return []


def by_folder(arrows: dict[str, set[str]], folder_of) -> dict[str, set[str]]:
    merged: dict[str, set[str]] = {}
    for name, targets in arrows.items():
        folder = folder_of(name)
        merged.setdefault(folder, set()).update(map(folder_of, targets))
        merged[folder].discard(folder)
    return merged


def layer_of(path: str, layers: list[list[str]]) -> int:
    """The number of the layer whose entry the path is, or lies in."""
    for number, entries in enumerate(layers):
        if any(path == entry or path.startswith(f"{entry}/") for entry in entries):
            return number
    raise AssertionError(f"{path} is in no layer of tests/package/test_structure.py")


def python_folder(name: str) -> str:
    """The folder of a module; a file at the top is a folder of its own.

    So is the __init__ of a package: the door, which shows what lies within.
    """
    file = modules()[name].relative_to(PACKAGE)
    at_top = file.parent == Path()
    return file.as_posix() if at_top or file.stem == "__init__" else str(file.parent)


ARROWS = {"Python": python_arrows, "C": c_arrows}


@pytest.mark.parametrize("language", ARROWS)
def test_no_circle_of_files(language):
    arrows = ARROWS[language]()
    assert len(arrows) > 30
    assert circle_in(arrows) == []


def test_no_circle_of_folders():
    assert circle_in(by_folder(python_arrows(), python_folder)) == []
    c_folders = by_folder(c_arrows(), lambda name: name.rpartition("/")[0] or name)
    assert circle_in(c_folders) == []


def test_a_circle_would_be_found():
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle_in({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}}) == []


def up(arrows: dict[str, set[str]], layers, path_of) -> list[str]:
    return [
        f"{name} -> {target}"
        for name, targets in arrows.items()
        for target in targets
        if layer_of(path_of(target), layers) > layer_of(path_of(name), layers)
    ]


def test_arrows_of_python_go_down():
    def path_of(name: str) -> str:
        return modules()[name].relative_to(PACKAGE).with_suffix("").as_posix()

    # The top package and fastnn/_core have no code of their own to be imported.
    arrows = {
        name: targets - {"", "_core"} for name, targets in python_arrows().items()
    }
    arrows.pop("_core")
    assert up(arrows, LAYERS, path_of) == []


def test_arrows_of_c_go_down():
    assert up(c_arrows(), C_LAYERS, lambda name: name) == []


def folders() -> Iterator[Path]:
    for top in MOST_ENTRIES:
        yield ROOT / top
        for path in sorted((ROOT / top).glob("**/")):
            if path != ROOT / top and not {"__pycache__", "build"} & {*path.parts}:
                yield path


def entries(folder: Path) -> list[str]:
    made = r"__pycache__|build|.*\.(so|pyc|o|html|log)|(engine|functions)\.c|\..*"
    return [
        path.name
        for path in folder.iterdir()
        if path.name == "page.html" or not re.fullmatch(made, path.name)
    ]


def test_no_folder_is_crowded():
    crowded = {
        folder.relative_to(ROOT).as_posix(): len(entries(folder))
        for folder in folders()
        if len(entries(folder)) > MOST_ENTRIES.get(folder.name, 16)
    }
    assert crowded == {}


def code_lines(file: Path) -> int:
    """Lines without docstrings, comments and blank lines."""
    text = file.read_text()
    if file.suffix in (".c", ".h"):
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    else:
        text = re.sub(r'""".*?"""', "", text, flags=re.S)
        text = re.sub(r"^\s*#.*", "", text, flags=re.M)
    return len([line for line in text.splitlines() if line.strip()])


def test_no_file_is_long():
    files = [*modules().values(), *ROOT.glob("csrc/**/*.[ch]")]
    long = {str(file.relative_to(ROOT)): code_lines(file) for file in files}
    assert {file: n for file, n in long.items() if n > MOST_LINES} == {}


def test_no_module_is_named_by_a_prefix():
    top = [name for name in entries(PACKAGE) if name.endswith((".py", ".pyx"))]
    assert [name for name in top if "_" in name.strip("_").replace("__", "")] == []
    hidden = [
        file.relative_to(PACKAGE).as_posix()
        for file in modules().values()
        if any(part.startswith("_") for part in file.relative_to(PACKAGE).parent.parts)
        and re.match(r"_(?!_)", file.name)
    ]
    assert hidden == []


def test_every_folder_says_what_lives_in_it():
    silent = []
    for init in PACKAGE.glob("**/__init__.py"):
        text = ast.get_docstring(ast.parse(init.read_text())) or ""
        if text.count(".") < 2:
            silent.append(init.parent.relative_to(ROOT).as_posix())
    assert silent == []


def test_the_five_hops_are_where_the_docs_say():
    table = re.findall(
        r"^\| ?\d? \| `(.+?)` \| `(.+?)` \|$",
        (ROOT / "docs/engine.md").read_text(),
        re.M,
    )
    assert len(table) == 6
    sources = [*ROOT.glob("csrc/**/*.[ch]"), *modules().values()]
    lane = [
        file
        for file in sources
        if PACKAGE / "reference" not in file.parents and file.name != "own_loss.py"
    ]
    for name, path in table:
        definition = rf"^ *(def |[\w ]+[ *]){re.escape(name)}\([^;]*?[{{:]$"
        found = [
            file.relative_to(ROOT).as_posix()
            for file in lane
            for _ in re.findall(definition, file.read_text(), re.M)
        ]
        assert found == [path], name
