"""docs/performance.md: the parts that a command writes are there, and small."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
PARTS = ["peers", "roofline", "scaling"]


@pytest.fixture(scope="module")
def script():
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location(
        "make_performance", DOCS / "make_performance.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # the script's annotations are text
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_every_part_has_a_table_and_a_picture():
    page = (DOCS / "performance.md").read_text()
    for part in PARTS:
        begin, end = f"<!-- {part}: measured -->", f"<!-- {part}: end -->"
        table = page.partition(begin)[2].partition(end)[0]
        assert "| --- |" in table, part
        assert f"(performance_{part}.png)" in page.partition(end)[2], part
    assert "avx2, " in page.partition("<!-- avx2: measured -->")[2].split("|")[0]
    pictures = {path.name for path in DOCS.glob("performance_*.png")}
    assert pictures == {f"performance_{part}.png" for part in PARTS}
    assert {*re.findall(r"\((performance_\w+\.png)\)", page)} == pictures
    for path in DOCS.glob("*.png"):
        assert path.stat().st_size <= 100_000, path.name


def test_a_part_is_replaced_between_its_marks(script, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x: measured -->\nold\n<!-- x: end -->\nb\n")
    for _ in range(2):
        script.write_part(page, "x", ["new", "lines"])
        expected = "a\n<!-- x: measured -->\n\nnew\nlines\n\n<!-- x: end -->\nb\n"
        assert page.read_text() == expected
    with pytest.raises(ValueError, match="no marks of y"):
        script.write_part(page, "y", [])
    assert page.read_text() == expected


def test_sweeps_measure_and_draw(script, monkeypatch, tmp_path):
    tiny = {2: script.step((2, 3), 1), 4: script.step((4, 3), 1)}
    monkeypatch.setattr(
        script,
        "SWEEPS",
        {"width": ("n of n-3", tiny)}
        | {name: (name, tiny) for name in ("depth", "batch")},
    )
    monkeypatch.setattr(script, "SHAPES", [tiny[2]])
    lines, figure = script.scaling(0.0)
    assert lines[0] == "**Width**: n of n-3"
    assert [line.split(" | ")[0] for line in lines[2:6]] == [
        "| width",
        "| ---",
        "| 2",
        "| 4",
    ]
    assert lines[-1].startswith("| step 2-3, batch 1 | 1.00 |")
    picture = tmp_path / "a.png"
    figure.savefig(picture)
    before = picture.stat().st_size
    script.shrink(str(picture))
    assert picture.stat().st_size < before
