"""The network of `fastnn demo`: found or trained, and asked about drawings."""

from __future__ import annotations

import os
import textwrap
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._commands.data import load_data, unscaled
from fastnn._commands.images import center_digit
from fastnn._commands.report import network_sizes
from fastnn._core.native.engine import build_info
from fastnn.layers import Dense
from fastnn.network import Network, model_of
from fastnn.plotting._axes import square_side
from fastnn.reference._passes import forward_pass

if TYPE_CHECKING:
    from fastnn._base.types import Array


__all__ = ["Recognizer", "find_or_train"]

_N_CLASSES = 10


class Recognizer:
    """A network that knows digits, asked about drawings.

    Raises
    ------
    ValueError
        If the network is not one of square images and ten classes.
    """

    def __init__(self, network: Network) -> None:
        side = square_side(network.plan.n_inputs)
        if side is None or side < 4 or network.plan.n_classes != _N_CLASSES:
            raise ValueError(
                f"the network {network_sizes(network)} is not one for digits; expected "
                f"a square image as its inputs, and {_N_CLASSES} classes"
            )
        self.network, self.side = network, side
        unscaled(np.zeros((1, side * side)), network)  # raises unless it is for images

    def describe(self) -> dict[str, Any]:
        """Return what the page shows about the network."""
        return {
            "network": network_sizes(self.network),
            "parameters": self.network.n_parameters,
            "engine": build_info()["isa_active"],
            "side": self.side,
            "hidden": [
                len(layer) for layer in self.hidden(np.zeros((self.side, self.side)))
            ],
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
        return {
            "image": np.rint(255 * image).astype(int).ravel().tolist(),
            "probabilities": p.astype(float).round(5).tolist(),
            "hidden": [
                layer.astype(float).round(3).tolist() for layer in self.hidden(image)
            ],
            "microseconds": round(1e6 * seconds, 1),
        }

    def hidden(self, image: Array) -> list[Array]:
        """Return the activations of the hidden layers, by the reference's formulas."""
        network = self.network
        engine = model_of(network).engine
        # As the inputs are after scaling, which undoes `unscaled`.
        x = image.reshape(1, -1).astype(network.dtype)
        _, caches = forward_pass(
            network.plan, engine.get_weights(), engine.get_statistics(), x
        )
        inputs = [
            each.inputs for each in caches if isinstance(each.inputs.layer, Dense)
        ]
        return [each.x[0] for each in inputs[1:]]


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
