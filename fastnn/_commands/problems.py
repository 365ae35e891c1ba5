"""The generated problems of `fastnn train`, and networks that solve them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastnn import datasets

from .data_set import Data

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PROBLEMS"]

_TRAINING, _FRESH = 0, 1  # seeds
_CENTERS = ((-6, -4), (5, -5), (0, 6), (-7, 5), (7, 4))


def _classes(
    name: str, n_classes: int, generate: Callable[[int], Any], **settings: Any
) -> Data:
    names = tuple(map(str, range(n_classes)))
    train, test = generate(_TRAINING), generate(_FRESH)
    return Data(name, train, test, names, generated=True, **settings)


def _spiral() -> Data:
    def generate(seed: int) -> Any:
        return datasets.spirals(300, 3, seed=seed)

    return _classes(
        "spiral", 3, generate, hidden=(64, 64), epochs=200, learning_rate=0.005
    )


def _xor() -> Data:
    def generate(seed: int) -> Any:  # there are no other points
        return datasets.xor()

    return _classes(
        "xor", 2, generate, hidden=(8,), epochs=500, batch_size=4, learning_rate=0.05
    )


def _moons() -> Data:
    def generate(seed: int) -> Any:
        return datasets.moons(500, noise=0.15, seed=seed)

    return _classes("moons", 2, generate, hidden=(32,), epochs=100, learning_rate=0.01)


def _circles() -> Data:
    def generate(seed: int) -> Any:
        return datasets.circles(500, noise=0.1, seed=seed)

    return _classes(
        "circles", 2, generate, hidden=(32,), epochs=100, learning_rate=0.01
    )


def _blobs() -> Data:
    def generate(seed: int) -> Any:
        return datasets.blobs(500, _CENTERS, std=1.5, seed=seed)

    return _classes(
        "blobs", len(_CENTERS), generate, hidden=(32,), epochs=60, learning_rate=0.01
    )


def _line() -> Data:
    def generate(seed: int) -> Any:
        return datasets.line(20, slope=3.0, intercept=5.0, noise=1.0, seed=seed)

    # Inputs 1 to 20, brought to -1 to 1, so that one rate suits both weights.
    return Data(
        "line", generate(_TRAINING), generate(_FRESH), (), generated=True,
        scale=2 / 19, shift=-21 / 19, hidden=(), epochs=300, batch_size=20,
        learning_rate=0.05,
    )  # fmt: skip


PROBLEMS: dict[str, Callable[[], Data]] = {
    "spiral": _spiral,
    "xor": _xor,
    "line": _line,
    "moons": _moons,
    "circles": _circles,
    "blobs": _blobs,
}
