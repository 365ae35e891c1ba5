"""One model of several that were trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._plan.inputs import check_weights
from fastnn.layers import Dense, Dropout, PeriodicEmbedding

from .model import Model

if TYPE_CHECKING:
    from fastnn._base.types import Array, Pair
    from fastnn._plan.plan import Plan

__all__ = ["merge"]


def merge(models: Sequence[Model], shares: Sequence[float]) -> Model:
    """Return one model whose raw outputs are those of several, times shares, summed.

    All have the scaling and the inputs of the first. Their layers lie side by side, and
    weights between two of them are 0. They are `Dense` layers, of the same activations
    in all, after a `PeriodicEmbedding` or none; `Dropout` is left out.
    """
    plan = models[0].plan
    weights = [model.engine.get_weights() for model in models]
    layers: list[Any] = [plan.n_inputs]
    merged: list[Pair] = []
    n_inputs, places = plan.n_inputs, [np.arange(plan.n_inputs)] * len(models)
    if any(_embedding(model.plan) for model in models):
        layer, pair, places = _merge_embeddings(models, weights)
        layers.append(layer)
        merged.append(pair)
        n_inputs = layer.n_outputs(plan.n_inputs)
    weights = [own[len(own) - len(_dense(plan)) :] for own in weights]
    last = len(weights[0]) - 1
    for number, dense in enumerate(_dense(plan)):
        pairs = [own[number] for own in weights]
        if number == last:
            columns = [np.arange(dense.units)] * len(models)
            pairs = [(w * s, b * s) for (w, b), s in zip(pairs, shares, strict=True)]
        else:
            ends = np.cumsum([0, *(len(b) for _, b in pairs)])
            columns = [np.arange(*ends[i : i + 2]) for i in range(len(models))]
        n_outputs = int(columns[-1][-1]) + 1
        W, B = np.zeros((n_inputs, n_outputs)), np.zeros(n_outputs)
        for rows, own, (w, b) in zip(places, columns, pairs, strict=True):
            W[np.ix_(rows, own)] += w
            B[own] += b
        layers.append(replace(dense, units=n_outputs))
        merged.append((W, B))
        n_inputs, places = n_outputs, columns
    return _model_of(models[0], layers, merged)


def _model_of(first: Model, layers: list[Any], weights: list[Pair]) -> Model:
    plan = replace(first.plan, layers=tuple(layers[1:]))
    model = Model(plan, first.seed, first.backend, first.num_threads)
    model.set_scaling(first.scaling)
    model.set_schema(first.schema)
    model.progress = first.progress
    model.engine.set_weights(check_weights(weights, plan))
    return model


def _dense(plan: Plan) -> list[Dense]:
    return [layer for layer in plan.layers if isinstance(layer, Dense)]


def _embedding(plan: Plan) -> PeriodicEmbedding | None:
    first, *others = plan.layers
    if any(not isinstance(layer, Dense | Dropout) for layer in others):
        raise TypeError(f"layers are {plan.layers!r}; expected dense ones")
    return first if isinstance(first, PeriodicEmbedding) else None


def _merge_embeddings(
    models: Sequence[Model], weights: Sequence[Sequence[Pair]]
) -> tuple[PeriodicEmbedding, Pair, list[Array]]:
    """The values of each column, of all models, and then the column itself, once."""
    found = [_embedding(model.plan) for model in models]
    own = [each for each in found if each is not None]
    frequencies = sum(each.frequencies for each in own)
    size = sum(each.size - 1 for each in own) + 1
    layer = replace(own[0], frequencies=frequencies, size=size)
    n_inputs = models[0].plan.n_inputs
    n_columns = layer.n_columns(n_inputs)
    first = np.zeros((frequencies, size, n_columns))
    second = np.zeros((frequencies + size - 1, n_columns))
    start = np.arange(n_columns)[:, np.newaxis] * size  # of the values of a column
    others = n_columns * size + np.arange(n_inputs - n_columns)
    places, f, s = [], 0, 0
    for each, pairs in zip(found, weights, strict=True):
        values = [size - 1]
        if each is not None:
            w, c = pairs[0]
            k, n = each.frequencies, each.size - 1
            first[f : f + k, 0] = w[:, 0]
            first[f : f + k, 1 + s : 1 + s + n] = w[:, 1:]
            second[f : f + k] = c[:k]
            second[frequencies + s : frequencies + s + n] = c[k:]
            values = [*range(s, s + n), size - 1]
            f, s = f + k, s + n
        places.append(np.concatenate([(start + values).ravel(), others]))
    return layer, (first, second), places
