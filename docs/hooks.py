"""Makes parts of the site from other files, while mkdocs builds it.

- A page of each script of docs/gallery, and their cards where a page says
  ``<!-- gallery: names -->``.
- The bars of the measurements in performance.md: ``<!-- bench: bars -->``.
- The index of all public names, by module: ``<!-- names: all -->``.

Nothing here is written to a file of the repository, so nothing can become stale.
"""

from __future__ import annotations

import ast
import html
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
GALLERY = DOCS / "gallery"
MARK = re.compile(r"^<!-- (gallery|bench|names): (.*?) -->$", re.MULTILINE)


# mkdocs calls these ------------------------------------------------------------------


def on_config(config: MkDocsConfig) -> None:
    for entry in config.nav or []:
        if isinstance(entry, dict) and "Gallery" in entry:
            entry["Gallery"] += [f"gallery/{name}.md" for name in gallery_names()]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    from mkdocs.structure.files import File

    for name in gallery_names():
        uri, text = f"gallery/{name}.md", gallery_page(read_script(name))
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    # A script is what a reader of the repository finds, a page one of the site.
    markdown = re.sub(r"(\]\((?:\.\./)?gallery/\w+)\.py\)", r"\1.md)", markdown)
    return MARK.sub(lambda found: made(found[1], found[2]), markdown)


def made(kind: str, what: str) -> str:
    if kind == "gallery":
        return cards([read_script(name) for name in what.split()])
    return bars(read_bench()) if kind == "bench" else names_tables()


# The gallery -------------------------------------------------------------------------


class Script(NamedTuple):
    name: str
    title: str
    sentence: str
    code: str  # without the docstring


def gallery_names() -> list[str]:
    """The scripts, in the order of the cards of the gallery's first page."""
    found = MARK.search((GALLERY / "index.md").read_text())
    assert found is not None
    return found[2].split()


def read_script(name: str) -> Script:
    text = (GALLERY / f"{name}.py").read_text()
    module = ast.parse(text)
    title, _, sentence = (ast.get_docstring(module) or "").partition("\n\n")
    code = "\n".join(text.split("\n")[module.body[0].end_lineno :])
    return Script(name, title, " ".join(sentence.split()), code.strip() + "\n")


def gallery_page(script: Script) -> str:
    return (
        f"# {script.title}\n\n{script.sentence}\n\n"
        f"![{script.title}]({script.name}.png)\n\n"
        f'```python title="{script.name}.py"\n{script.code}```\n\n'
        f"In the repository it is `docs/gallery/{script.name}.py`. The picture is of "
        "one run; another machine may have other times, and other last digits.\n"
    )


def cards(scripts: list[Script]) -> str:
    made = [
        f"-   [![{each.title}]({each.name}.png)]({each.name}.md)\n\n"
        f"    [**{each.title}**]({each.name}.md)\n\n"
        f"    {each.sentence}\n"
        for each in scripts
    ]
    return '<div class="grid cards" markdown>\n\n' + "\n".join(made) + "\n</div>"


# The bench ---------------------------------------------------------------------------


class Line(NamedTuple):
    task: str
    peer: str  # the fastest one
    ratio: float  # its time or memory / fastnn's


def read_bench() -> list[Line]:
    """The last table of the part "peers" of performance.md."""
    page = (DOCS / "performance.md").read_text()
    part = page.partition("<!-- peers: measured -->")[2].partition("<!-- peers: end")[0]
    table = part.partition("| share of the FMA peak |")[2]
    rows = [line.strip("| ").split(" | ") for line in table.split("\n")[2:]]
    found = [row for row in rows if len(row) >= 4]
    return [Line(row[0], row[-3], float(row[-2].split()[0])) for row in found]


PEERS = {
    "numpy": "NumPy",
    "torch": "PyTorch",
    "jax": "JAX",
    "sklearn": "scikit-learn",
    "onnxrt": "ONNX Runtime",
    "reference": "NumPy reference",
}


def bars(lines: list[Line]) -> str:
    """Bars on a logarithmic scale, to the right of 1 where fastnn is ahead."""
    logs = [math.log2(line.ratio) for line in lines]
    low, high = min(-1.0, *logs), max(1.0, *logs)
    one = 100 * -low / (high - low)  # where the line of 1 is, in percent
    rows = []
    for line, log in zip(lines, logs, strict=True):
        share = 100 * log / (high - low)
        side = "ahead" if line.ratio >= 1 else "behind"
        rows.append(
            f'<div class="bench-row"><span>{html.escape(line.task)}</span>'
            f'<span class="bench-track"><span class="bench-bar {side}" style="'
            f"left:{min(one, one + share):.1f}%;width:{max(abs(share), 0.3):.1f}%"
            f'"></span></span><span><b>{line.ratio:.3g}&times;</b> '
            f"{PEERS.get(line.peer, html.escape(line.peer))}</span></div>"
        )
    label = "Time or memory of the fastest peer of each task, divided by that of fastnn"
    return (
        f'<div class="bench" style="--one:{one:.1f}%" role="img" aria-label="{label}">'
        + "\n".join(["", *rows, "</div>"])
    )


# All names ---------------------------------------------------------------------------


def names_tables() -> str:
    """A table of names with their first sentence for each module of the reference."""
    import griffe

    package = griffe.load("fastnn", search_paths=[ROOT], docstring_parser="numpy")
    pages = "".join(path.read_text() for path in sorted(DOCS.glob("reference/*.md")))
    modules: dict[str, dict[str, str]] = {}
    for path in re.findall(r"^::: ([\w.]+)$", pages, re.MULTILINE):
        if "._" in path:  # parts of fastnn.reference, which has all of them
            continue
        thing = package[path.removeprefix("fastnn.")]
        if not thing.is_module:
            parent = path.rpartition(".")[0]
            modules.setdefault(parent, {})[path] = first_sentence(thing)
            if thing.is_class:
                modules[path] = members(path, thing)
        else:
            modules.setdefault(path, {}).update(members(path, thing))
    parts = []
    first = ["fastnn.Network", "fastnn"]  # then by the alphabet
    for module in sorted(modules, key=lambda each: (each not in first, each)):
        names = modules[module]
        rows = [
            f"| [`{name.rpartition('.')[2]}`][{name}] | {text} |"
            for name, text in sorted(names.items(), key=lambda item: item[0].lower())
        ]
        if rows:
            parts.append(f"### {module}\n\n| name | |\n| --- | --- |\n")
            parts[-1] += "\n".join(rows)
    return "\n\n".join(parts)


def members(path: str, thing: Any) -> dict[str, str]:
    wanted = thing.exports if thing.is_module and thing.exports else thing.members
    found = {}
    for each in map(str, wanted):
        if not each.startswith("_") and each in thing.members:
            member = thing.members[each]
            text = first_sentence(member)
            if text:
                found[f"{path}.{each}"] = text
    return found


def first_sentence(thing: Any) -> str:
    docstring = thing.final_target.docstring if thing.is_alias else thing.docstring
    text = docstring.value.partition("\n\n")[0] if docstring else ""
    text = " ".join(text.split()).replace("|", "\\|")
    return re.sub(r"(?<=[a-z)`\"])\. .*", ".", text)
