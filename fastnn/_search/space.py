"""The settings that a search tries: those of `Variant`, from lists or distributions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from fastnn._base.fields import check_integer
from fastnn._base.names import close_to
from fastnn._plan.recipes import RECIPES, Recipe, Size, Variant

__all__ = ["Settings", "draw_settings", "recipe_of"]

Settings = dict[str, Any]

_SPACE: Settings = {
    "learning_rate": [1e-3, 2e-3, 4e-3, 8e-3],
    "weight_decay": [0.1, 0.3, 1.0, 2.0],
    "dropout": [0.0, 0.1, 0.2, 0.3],
    "width": [64, 128, 256],
    "depth": [1, 2, 3],
    "activation": ["mish", "relu", "selu"],
    "batch_size": [64, 128, 256],
}
_OF_NUMBERS: Settings = {"frequencies": [0, 16], "sigma": [0.03, 0.1, 0.3, 1.0]}
_KNOWN = ("activation", *(f.name for f in fields(Variant) if f.name != "activations"))
_COUNTS = {
    "width": 1, "depth": 0, "frequencies": 0, "batch_size": 1, "epochs": 1,
    "row_epochs": 1,
}  # fmt: skip
_DRAWS = 100  # for each setting, until it is a new one


def draw_settings(given: Any, n: int, size: Size, seed: int) -> list[Settings]:
    """Return n different settings, or fewer if there are no more."""
    space = {**_SPACE}
    if size.n_numeric:
        space |= _OF_NUMBERS
    settings: list[Settings] = []
    if given is None:  # those of the recipe come first
        of = 0 if size.n_classes else 1
        for variant in RECIPES["default"]:
            own = {**vars(variant), "activation": variant.activations[of]}
            settings.append({name: own[name] for name in space})
    else:
        space |= _check_space(given)
        idle = [] if size.n_numeric else ["frequencies", "sigma"]
        idle += [] if size.n_classes else ["label_smoothing"]
        if unused := [name for name in idle if name in given]:
            raise ValueError(
                f"space has {unused[0]!r}, which is for "
                + ("classes" if unused[0] == "label_smoothing" else "numeric columns")
            )
    rng = np.random.default_rng(seed)
    for _ in range(_DRAWS * n):
        if len(settings) >= n:
            break
        drawn = {name: _draw(values, rng) for name, values in space.items()}
        if not drawn.get("frequencies", 1):
            drawn["sigma"] = 0.0  # of no meaning then
        if drawn not in settings:
            settings.append(drawn)
    return settings[:n]


def recipe_of(settings: Settings, size: Size, length: float = 1.0) -> Recipe:
    """Return the network and the training, as long as a share of the whole."""
    own = {**vars(RECIPES["default"][-1]), **settings}
    activation = own.pop("activation", None)
    if activation is not None:
        own["activations"] = (activation, activation)
    for name, least in _COUNTS.items():
        own[name] = check_integer(name, own[name], least)
    return Variant(**own).of(size, length)


def _check_space(given: Any) -> Settings:
    if not isinstance(given, Mapping):
        raise TypeError(f"space must be a dict of settings, got {given!r:.80}")
    space = {}
    for name, values in given.items():
        if name not in _KNOWN:
            raise ValueError(
                f"space has {name!r}; expected settings among {', '.join(_KNOWN)}"
                f"{close_to(name, _KNOWN)}"
            )
        if isinstance(values, list | tuple | range | np.ndarray):
            values = [*values]
        elif not hasattr(values, "rvs"):
            values = [values]
        if values == []:
            raise ValueError(f"space[{name!r}] is empty; expected values to draw from")
        space[name] = values
    return space


def _draw(values: Any, rng: np.random.Generator) -> Any:
    if isinstance(values, list):
        value = values[int(rng.integers(len(values)))]
    else:
        value = values.rvs(random_state=rng)
    return value.item() if isinstance(value, np.generic | np.ndarray) else value
