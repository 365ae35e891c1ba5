"""Draws the pictures of docs/from-csv.md, by running the blocks of the page.

python docs/make_from_csv.py
"""

import os
import sys
import tempfile
from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "tests" / "package"))

from test_docs import blocks_of, run_page  # noqa: E402

PICTURES = {"customers": "training", "answers": "answers", "prices": "prices"}

if __name__ == "__main__":
    text = (FOLDER / "from-csv.md").read_text()
    os.environ["MPLBACKEND"] = "agg"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        missing = run_page(blocks_of(text), "from-csv.md", {**os.environ})
        if missing:
            sys.exit(f"needs {', '.join(sorted(missing))}")
        for name, of in PICTURES.items():
            with Image.open(f"{name}.png") as image:
                small = image.convert("RGB").quantize(128)
            small.save(FOLDER / f"from_csv_{of}.png", optimize=True)
        os.chdir(FOLDER)
