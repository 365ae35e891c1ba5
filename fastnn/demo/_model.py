"""The network of `fastnn demo`: found or trained, and asked about drawings."""

from __future__ import annotations

import os
import textwrap
import time
from base64 import b64encode
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import datasets
from fastnn._commands.data import load_data, unscaled
from fastnn._commands.images import center_digit
from fastnn._commands.report import network_sizes
from fastnn._core.native.engine import build_info
from fastnn.datasets._mnist import _cache_folder
from fastnn.layers import Dense
from fastnn.network import Network
from fastnn.plotting._axes import square_side

if TYPE_CHECKING:
    from fastnn._base.types import Array


__all__ = ["Recognizer", "find_or_train"]

_N_CLASSES = 10
_SHOWN = 6  # units that spoke most


class Recognizer:
    """A network that knows digits, asked about drawings.

    Raises
    ------
    ValueError
        If the network is not one of square images and ten classes.
    """

    def __init__(self, network: Network, folder: str | None = None) -> None:
        self._folder = folder  # of MNIST
        side = square_side(network.plan.n_inputs)
        if side is None or side < 4 or network.plan.n_classes != _N_CLASSES:
            raise ValueError(
                f"the network {network_sizes(network)} is not one for digits; expected "
                f"a square image as its inputs, and {_N_CLASSES} classes"
            )
        self.network, self.side = network, side
        unscaled(np.zeros((1, side * side)), network)  # raises unless it is for images
        layers = enumerate(network.layers)
        self._dense = [i for i, each in layers if isinstance(each, Dense)]
        self._tail = network[self._dense[1] :] if len(self._dense) > 1 else None
        # Of pixels, as long as nothing makes several inputs of one.
        first = zip(network.plan.parametric_layers, network.get_weights(), strict=True)
        self._weights = next((w for i, (w, _) in first if i == self._dense[0]), None)

    def describe(self) -> dict[str, Any]:
        """Return what the page shows about the network."""
        return {
            "network": network_sizes(self.network),
            "parameters": self.network.n_parameters,
            "engine": build_info()["isa_active"],
            "side": self.side,
            "hidden": self.network.plan.sizes[1:-1],
        }

    def look(self, ink: Array) -> dict[str, Any]:
        """Return what the network makes of light strokes on a dark ground, 0 to 1.

        The picture as the network gets it, the probabilities from the native engine and
        the time they took, and the activations of each hidden layer.
        """
        image = center_digit(ink, self.side)
        x = unscaled(image.reshape(1, -1), self.network).astype(self.network.dtype)[0]
        start = time.perf_counter()
        p = self.network.predict_one(x)
        seconds = time.perf_counter() - start
        hidden = self.hidden(x[np.newaxis])
        return {
            "image": np.rint(255 * image).astype(int).ravel().tolist(),
            "probabilities": p.astype(float).round(5).tolist(),
            "hidden": [layer.astype(float).round(3).tolist() for layer in hidden],
            "units": self.units(hidden[0], int(p.argmax())) if hidden else [],
            "microseconds": round(1e6 * seconds, 1),
        }

    def units(self, first: Array, answer: int) -> list[tuple[int, float, str]]:
        """Return the units of the first hidden layer that spoke most for an answer.

        With what the answer's output, less the mean of all, would lose without each,
        and its weights from -127 to 127.
        """
        assert self._tail is not None
        if self._weights is None or len(self._weights) != self.side**2:
            return []
        among = np.argsort(-np.abs(first), kind="stable")[:64]
        without = np.tile(first, (1 + len(among), 1))
        without[1 + np.arange(len(among)), among] = 0
        outputs = self._tail(without)
        for_it = outputs[:, answer] - outputs.mean(axis=1)
        lost = dict(zip(among.tolist(), (for_it[0] - for_it[1:]).tolist(), strict=True))
        found = []
        for unit in sorted(among.tolist(), key=lambda each: -lost[each])[:_SHOWN]:
            w = self._weights[:, unit]
            w = np.rint(127 * w / max(np.abs(w).max(), 1e-30)).astype(np.int8)
            found.append((unit, round(lost[unit], 2), b64encode(w).decode()))
        return [each for each in found if each[1] > 0]

    @cached_property
    def examples(self) -> dict[str, Any]:
        """A typical image of each digit: of MNIST if that is here, and fits."""
        # The cache is named as a folder, so that nothing is downloaded.
        folder = self._folder or os.environ.get("FASTNN_DATA")
        try:
            if self.side != 28:
                raise FileNotFoundError
            data = datasets.mnist(folder or _cache_folder("mnist"))
            name, top = "MNIST", 255
        except (OSError, ValueError):
            name, data, top = "the digits that come with fastnn", datasets.digits(), 16
        X, y = data[2][:2000] * (255.0 / top), data[3][:2000]
        typical = []
        for digit in range(_N_CLASSES):
            of_it = X[y == digit]
            far = ((of_it - of_it.mean(axis=0)) ** 2).sum(axis=1)
            image = np.rint(of_it[far.argmin()]).astype(np.uint8)
            typical.append(b64encode(image).decode())
        return {"name": name, "images": typical}

    def hidden(self, x: Array) -> list[Array]:
        """Return the activations of the hidden layers, by the reference's formulas."""
        outputs = self.network.activations(x)
        return [outputs[i - 1][0] for i in self._dense[1:]]


def find_or_train(path: str | None, folder: str | None = None) -> tuple[str, Network]:
    """Load a model file, or train a network, save it there and say so.

    Without a path, the file is the one that ``fastnn train mnist`` saves; where MNIST
    cannot be had, the one of ``fastnn train digits``.
    """
    if path is not None and os.path.exists(path):
        return path, Network.load(path)
    for name in ("mnist", "digits"):
        file = path or f"fastnn-{name}.safetensors"
        if path is None and os.path.exists(file):
            return file, Network.load(file)
        try:
            data = load_data(name, folder if name == "mnist" else None)
        except (ImportError, OSError, ValueError) as error:
            if name == "digits" or folder is not None:
                raise
            why = textwrap.shorten(str(error), 240, placeholder=" ...")
            print(textwrap.fill(f"MNIST is not at hand: {why}", 79))
            print(
                "The digits that come with fastnn are used instead. They have 8 x 8 "
                "pixels:\ndrawings are recognised less well.\n"
            )
            continue
        break
    print(f"There is no model yet: training one on {data.name} ...", flush=True)
    network = Network(
        [data.n_inputs, *data.hidden, _N_CLASSES], seed=0, input_scale=data.scale
    )
    network.fit(*data.train, epochs=data.epochs, batch_size=data.batch_size)
    accuracy = network.score(*data.test)
    network.save(file)
    print(f"test accuracy {accuracy:.4f}, model saved to {file}")
    return file, network
