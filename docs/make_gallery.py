"""Makes the pictures of the gallery, and the moving one of the landing page.

    python docs/make_gallery.py                   # all
    python docs/make_gallery.py spirals boundary  # some of them

Needs fastnn with its extras `plot`, `image` and `onnx`, and onnxruntime. FASTNN_DATA
names the folder that has MNIST and Fashion-MNIST; without it, theirs are of digits.
"""

from __future__ import annotations

import argparse
import io
import runpy
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot
from PIL import Image

from fastnn import Adam, Network, datasets, plotting

DOCS = Path(__file__).resolve().parent
GALLERY = DOCS / "gallery"
STYLE = {
    "figure.figsize": (6.4, 4.0),
    "figure.dpi": 110,
    "font.size": 10.0,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "large",
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
}


def draw(name: str) -> bytes:
    """Run a script of the gallery; returns its picture, a PNG of 128 colours."""
    with mpl.rc_context(STYLE):
        try:
            runpy.run_path(str(GALLERY / f"{name}.py"), run_name="__main__")
            return png(pyplot.gcf())
        finally:
            pyplot.close("all")


def png(figure: object) -> bytes:
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn)  # type: ignore[attr-defined]
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(128).save(small, "PNG", optimize=True)
    return small.getvalue()


def boundary() -> list[Image.Image]:
    """A decision boundary while it is learnt, one picture for every few epochs."""
    X, y = datasets.spirals(120, n_classes=3, noise=0.12, seed=1)
    net = Network([2, 64, 64, 3], optimizer=Adam(0.008), seed=2)
    figure, ax = pyplot.subplots(figsize=(5.6, 3.5), dpi=100)
    figure.subplots_adjust(0, 0, 1, 1)
    frames = []
    for more in [0] + [1] * 10 + [2] * 16 + [4] * 12 + [10] * 3:
        if more:
            net.fit(X, y, epochs=more, batch_size=32, verbose=0)
        ax.clear()
        plotting.plot_decision_boundary(net, X, y, ax=ax)
        ax.set_title("")
        ax.axis("off")
        ax.get_legend().remove()
        for circles in ax.collections[1:]:
            circles.remove()
        text = f"epoch {net.epoch}    {100 * net.score(X, y):.0f} %"
        ax.text(
            0.02, 0.03, text, transform=ax.transAxes, fontsize=11, weight="bold",
            bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none"},
        )  # fmt: skip
        figure.canvas.draw()
        frames.append(
            Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
        )
    pyplot.close(figure)
    return frames


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="by default all")
    wanted = parser.parse_args().names
    pyplot.switch_backend("agg")
    for path in sorted(GALLERY.glob("*.py")):
        if not wanted or path.stem in wanted:
            print(f"make_gallery: {path.stem}", file=sys.stderr, flush=True)
            path.with_suffix(".png").write_bytes(draw(path.stem))
    if not wanted or "boundary" in wanted:
        first, *rest = boundary()
        rest[-1].quantize(64).save(DOCS / "boundary.png", optimize=True)
        times = [80] * len(rest) + [2500]
        first.save(
            DOCS / "boundary.webp", save_all=True, append_images=rest, duration=times,
            loop=0, quality=50, method=4,
        )  # fmt: skip


if __name__ == "__main__":
    main()
