"""The gallery: each script runs, is short, and has its picture.

They run with fewer rows of MNIST, and those that need a package that is not there, such
as onnxruntime, or a C compiler, are skipped.
"""

import ast
import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest

from fastnn import datasets

DOCS = Path(__file__).resolve().parents[2] / "docs"
SCRIPTS = sorted((DOCS / "gallery").glob("*.py"))


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.partition(".")[0]


def fewer(load):
    def loaded():
        X, y, X_test, y_test = load()
        return X[:3000], y[:3000], X_test[:500], y_test[:500]

    return loaded


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_draws_one_picture(path, monkeypatch, tmp_path):
    for name in imported(path):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{path.name} needs {name}")
    if '"cc"' in path.read_text() and not shutil.which("cc"):
        pytest.skip(f"{path.name} needs a C compiler")
    if "to_onnx" in path.read_text():
        pytest.importorskip("onnx")
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    pyplot.close("all")  # those that other tests have left
    monkeypatch.chdir(tmp_path)
    for name in ("mnist", "fashion_mnist"):
        if not os.path.isdir(os.path.join(os.environ.get("FASTNN_DATA", ""), name)):
            monkeypatch.delenv("FASTNN_DATA", raising=False)
        monkeypatch.setattr(datasets, name, fewer(getattr(datasets, name)))
    shown = []
    monkeypatch.setattr(pyplot, "show", lambda: shown.append(pyplot.get_fignums()))
    code = compile(path.read_text(), str(path), "exec")
    try:
        exec(code, {"__name__": "__main__"})
        assert [len(figures) for figures in shown] == [1]
        assert any(ax.has_data() for ax in pyplot.gcf().axes)
        pyplot.gcf().canvas.draw()
    finally:
        pyplot.close("all")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_short_and_has_a_picture_and_a_page(path, hooks):
    assert len(path.read_text().splitlines()) < 60
    assert path.with_suffix(".png").stat().st_size < 60_000
    script = hooks.read_script(path.stem)
    assert 3 < len(script.title) < 60
    assert script.sentence.endswith((".", "?"))
    page = hooks.gallery_page(script)
    assert script.code in page
    assert f"]({path.stem}.png)" in page


def test_all_scripts_have_a_card(hooks):
    assert len(SCRIPTS) >= 12
    assert sorted(hooks.gallery_names()) == [path.stem for path in SCRIPTS]
    assert not {path.stem for path in DOCS.glob("gallery/*.png")} - {
        path.stem for path in SCRIPTS
    }


def test_the_bars_are_those_of_the_measurements(hooks):
    lines = hooks.read_bench()
    assert len(lines) > 20
    page = (DOCS / "performance.md").read_text()
    for line in lines:
        assert f"| {line.task} |" in page
        assert line.ratio > 0
    drawn = hooks.bars([hooks.Line("a", "numpy", 4.0), hooks.Line("b", "jax", 0.5)])
    assert "--one:33.3%" in drawn  # from half to four times
    assert "left:33.3%;width:66.7%" in drawn
    assert "left:0.0%;width:33.3%" in drawn
    assert drawn.count("ahead") == drawn.count("behind") == 1


def test_the_boundary_moves_and_is_small():
    path = DOCS / "boundary.webp"
    assert path.stat().st_size < 300_000
    Image = pytest.importorskip("PIL.Image")
    with Image.open(path) as image:
        assert image.n_frames > 20
