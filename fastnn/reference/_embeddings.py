"""Embeddings in NumPy: inputs that become several values each.

Nothing is checked here, and callers silence NumPy's warnings. Letters in shapes are m
rows, k inputs, of which the first C are embedded, in S values each, and F frequencies.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastnn._base.types import Array, Pair


class Periodic(NamedTuple):
    """What `PeriodicEmbedding` makes of its inputs, and what its gradients need."""

    x: Array  # (m, k)
    first: Array  # (F, S, C): w and W
    second: Array  # (F + S - 1, C): c and b
    angles: Array  # (m, F, C)

    @classmethod
    def of(cls, x: Array, parameters: Pair) -> Periodic:
        """Take the inputs to the angles, 2 pi w x + c."""
        first, second = parameters
        n_terms, _, n_columns = first.shape
        turns = x[:, np.newaxis, :n_columns] * first[:, 0]
        angles = turns * x.dtype.type(2 * np.pi) + second[:n_terms]
        return cls(x, first, second, angles)

    def values(self) -> Array:
        """Return [cos(angles) @ W + b, x] of each embedded input, then the others."""
        m, n_terms, n_columns = self.angles.shape
        mixed = np.einsum("mfc,fsc->mcs", np.cos(self.angles), self.first[:, 1:])
        mixed += self.second[n_terms:].T
        inputs = self.x[:, :n_columns, np.newaxis]
        embedded = np.concatenate([mixed, inputs], axis=2).reshape(m, -1)
        return np.concatenate([embedded, self.x[:, n_columns:]], axis=1)

    def input_gradient(self, dz: Array) -> Array:
        """Return dx (m, k)."""
        dangles, dvalues = self._angle_gradient(dz)
        factor = self.first[:, 0] * dz.dtype.type(2 * np.pi)
        dx = dvalues[:, :, -1] + (dangles * factor).sum(axis=1)
        return np.concatenate([dx, dz[:, dvalues[0].size :]], axis=1)

    def parameter_gradients(self, dz: Array) -> Pair:
        """Return the gradients of the pair."""
        dangles, dvalues = self._angle_gradient(dz)
        n_columns = dvalues.shape[1]
        turned = self.x[:, np.newaxis, :n_columns] * dz.dtype.type(2 * np.pi)
        dw = (dangles * turned).sum(axis=0)
        dW = np.einsum("mfc,mcs->fsc", np.cos(self.angles), dvalues[:, :, :-1])
        dfirst = np.concatenate([dw[:, np.newaxis], dW], axis=1)
        db = dvalues[:, :, :-1].sum(axis=0).T
        return dfirst, np.concatenate([dangles.sum(axis=0), db])

    def _angle_gradient(self, dz: Array) -> Pair:
        """Return the gradient wrt the angles, and dz of the embedded (m, C, S)."""
        _, size, n_columns = self.first.shape
        dvalues = dz[:, : n_columns * size].reshape(-1, n_columns, size)
        dwaves = np.einsum("mcs,fsc->mfc", dvalues[:, :, :-1], self.first[:, 1:])
        return -np.sin(self.angles) * dwaves, dvalues
