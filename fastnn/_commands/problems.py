"""The generated problems of `fastnn train`, and networks that solve them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from fastnn import datasets

from .data_set import Data

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PROBLEMS"]

_TRAINING, _FRESH = 0, 1  # seeds
_CENTERS = ((-6, -4), (5, -5), (0, 6), (-7, 5), (7, 4))  # of five blobs


def _problem(
    name: str, n_classes: int, generate: Callable[..., Any], **settings: Any
) -> Data:
    names = tuple(map(str, range(n_classes)))
    train, test = (generate(seed=seed) for seed in (_TRAINING, _FRESH))
    return Data(name, train, test, names, generated=True, **settings)


PROBLEMS: dict[str, Callable[[], Data]] = {
    "spiral": partial(
        _problem, "spiral", 3, partial(datasets.spirals, 300, 3),
        hidden=(64, 64), epochs=200, learning_rate=0.005,
    ),
    "xor": partial(
        _problem, "xor", 2, datasets.xor,  # there are no other points
        hidden=(8,), epochs=500, batch_size=4, learning_rate=0.05,
    ),
    # Inputs 1 to 20, brought to -1 to 1, so that one rate suits both weights.
    "line": partial(
        _problem, "line", 0, partial(datasets.line, 20, noise=1.0), hidden=(),
        scale=2 / 19, shift=-21 / 19, epochs=300, batch_size=20, learning_rate=0.05,
    ),
    "moons": partial(
        _problem, "moons", 2, partial(datasets.moons, 500, noise=0.15),
        hidden=(32,), epochs=100, learning_rate=0.01,
    ),
    "circles": partial(
        _problem, "circles", 2, partial(datasets.circles, 500, noise=0.1),
        hidden=(32,), epochs=100, learning_rate=0.01,
    ),
    "blobs": partial(
        _problem, "blobs", 5, partial(datasets.blobs, 500, _CENTERS, std=1.5),
        hidden=(32,), epochs=60, learning_rate=0.01,
    ),
}  # fmt: skip
