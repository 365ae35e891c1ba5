"""The site: made without a warning, and its search finds what people look for."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="the site needs mkdocs")
pytest.importorskip("mkdocstrings")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [
            sys.executable,
            *["-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir"],
            folder,
        ],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("categorical", "reference/all-names.html"),
        ("gradient clipping", "reference/all-names.html"),
        ("gradient clipping", "faq.html"),
        ("early stopping", "gallery/early_stopping.html"),
        ("keras", "how-to/keras.html"),
        ("microcontroller", "gallery/microcontroller.html"),
        ("plot_decision_boundary", "reference/plotting.html"),
        ("EarlyStopping", "reference/all-names.html"),
    ],
)
def test_the_search_finds(site, text, page):
    docs = json.loads((site / "search/search_index.json").read_text())["docs"]
    found = {
        doc["location"].partition("#")[0]
        for doc in docs
        if text.lower() in f"{doc['title']} {doc['text']}".lower()
    }
    assert page in found


def test_pages_are_made_of_other_files(site):
    landing = (site / "index.html").read_text()
    assert landing.count('class="bench-row"') > 20
    assert 'src="boundary.webp"' in landing
    assert landing.count("<hr") >= 4  # the cards of the four users
    gallery = (site / "gallery/index.html").read_text()
    assert gallery.count('src="spirals.png"') == 1
    for path in site.rglob("*.html"):  # no mark is left
        assert not re.search(r"<!-- (gallery|bench|names):", path.read_text()), path


def test_both_palettes_are_offered(site):
    landing = (site / "index.html").read_text()
    for scheme in ("default", "slate"):
        assert f'data-md-color-scheme="{scheme}"' in landing
