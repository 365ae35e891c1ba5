"""The playground of `fastnn demo`: a network for two inputs, trained as a form says."""

from __future__ import annotations

import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import datasets
from fastnn._base.errors import TrainingDiverged
from fastnn._base.fields import check_name
from fastnn.layers import Dense
from fastnn.network import Network
from fastnn.optimizers import Adam

if TYPE_CHECKING:
    from fastnn._base.types import Array
    from fastnn.layers import Layer

__all__ = ["course"]

_EPOCHS, _MOST_SECONDS = 300, 60
_MOST_ROWS, _MOST_CLASSES, _MOST_LAYERS, _MOST_UNITS = 2000, 8, 4, 128
_SIDE = 64  # places of the picture
_PAUSE = 0.05  # seconds between two pictures, or there would be nothing to see
_GENERATED: dict[str, tuple[Any, ...]] = {
    "spirals": (100, 3),
    "moons": (300, 0.15),
    "circles": (300, 0.1),
    "blobs": (300, [(-6, -4), (5, -5), (0, 6), (-7, 5), (7, 4)], 1.5),
}
_OWN = """\
table = datasets.load_csv("points.csv", label=-1)
X, X_test, y, y_test = datasets.train_test_split(table.X, table.y)"""
_PROGRAM = """\
from fastnn import Adam, Dense, Network, datasets

{}
scale = 1 / X.std(axis=0)
net = Network(
    {},
    optimizer=Adam({}),
    input_scale=scale,
    input_shift=-X.mean(axis=0) * scale,
    seed=0,
)
net.fit(X, y, epochs={})
print(net.evaluate(X_test, y_test))
"""


def course(form: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Train, and yield what the page shows; TypeError, ValueError: a wrong form."""
    name = check_name("data", form.get("data"), (*_GENERATED, "csv"))
    widths = form.get("layers", "")
    try:
        sizes = [int(width) for width in widths.split(",") if width.strip()]
        rate = float(form.get("rate", ""))
    except ValueError as error:
        raise ValueError(
            f"layers must be widths such as 32,32 and rate a number: {error}"
        ) from None
    if len(sizes) > _MOST_LAYERS or max([0, *sizes]) > _MOST_UNITS:
        raise ValueError(
            f"layers must be at most {_MOST_LAYERS} widths of 1 to {_MOST_UNITS}, got "
            f"{widths[:60]!r}"
        )
    names = None
    if name == "csv":
        code, (X, X_test, y, y_test, names) = _OWN, _own(form.get("csv", ""))
    else:
        make, given = getattr(datasets, name), _GENERATED[name]
        (X, y), (X_test, y_test) = (make(*given, seed=seed) for seed in (0, 1))
        call = f"datasets.{name}({', '.join(map(repr, given))}, seed="
        code = f"X, y = {call}0)\nX_test, y_test = {call}1)"
    names = names or tuple(map(str, range(max(*y, *y_test) + 1)))
    activation = form.get("activation", "")
    hidden = (Dense(size, activation) for size in sizes)
    layers: list[int | Layer] = [2, *hidden, len(names)]
    scale = 1 / X.std(axis=0)
    network = Network(
        layers,
        optimizer=Adam(rate),
        input_scale=scale,
        input_shift=-X.mean(axis=0) * scale,
        seed=0,
        num_threads=1,
    )
    middle, half = (X.max(axis=0) + X.min(axis=0)) / 2, np.ptp(X, axis=0) / 2
    if half.max() < 3 * half.min():  # else one side is far longer
        half = np.full(2, half.max())
    low, high = middle - 1.08 * half, middle + 1.08 * half
    lines = np.meshgrid(*np.linspace(low, high, _SIDE).T)
    grid = np.stack(lines, axis=-1).reshape(-1, 2)
    shown: dict[str, Any] = {
        "points": np.column_stack([((X - low) / (high - low)).round(4), y]).tolist(),
        "classes": [name[:30] for name in names],
        "epochs": _EPOCHS,
        "program": _PROGRAM.format(code, layers, rate, _EPOCHS),
    }
    end = time.monotonic() + _MOST_SECONDS
    try:
        for epoch in range(_EPOCHS + 1):
            if epoch:
                history = network.fit(X, y, epochs=1, verbose=0).history
                shown = {name: values[-1] for name, values in history.items()}
            if epoch > 20 and epoch % 4:  # all at first, when most changes
                continue
            p = network.predict_proba(grid)
            if not np.isfinite(p).all():
                yield {"problem": "the outputs are not finite: try a smaller rate"}
                return
            sure = (p.max(axis=1) * len(names) - 1) / (len(names) - 1)
            cells = 32 * p.argmax(axis=1) + np.rint(31 * sure.clip(0, 1))
            shown["epoch"] = epoch
            shown["fresh"] = float((network.predict(X_test) == y_test).mean())
            shown["cells"] = b64encode(cells.astype(np.uint8)).decode()
            yield shown
            time.sleep(_PAUSE)
            if time.monotonic() > end:
                break
    except TrainingDiverged as error:
        yield {"problem": str(error)}
    yield {"over": True}


def _own(text: str) -> tuple[Array, Array, Array, Array, tuple[str, ...] | None]:
    """Points of a CSV file, and the names of classes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "points.csv")
        path.write_text(text, encoding="utf-8")
        try:
            X, y, names = datasets.load_csv(path, label=-1)
            split = datasets.train_test_split(X, y)
        except (OverflowError, ValueError) as error:
            raise ValueError(str(error).replace(str(path), "the file")) from None
    if (
        X.shape[1] != 2
        or not 10 <= len(X) <= _MOST_ROWS
        or not (np.abs(X) < 1e15).all()  # NaN neither
        or not (np.ptp(split[0], axis=0) > 1e-9).all()
        or y.dtype.kind != "i"
        or not 0 <= y.min() < y.max() < _MOST_CLASSES
    ):
        raise ValueError(
            f"expected 10 to {_MOST_ROWS} points, each two finite numbers and a label "
            f"(a name, or 0 to {_MOST_CLASSES - 1}), not all the same; got {len(X)} of "
            f"{X.shape[1]} numbers and labels from {y.min()} to {y.max()}"
        )
    return *split, names
