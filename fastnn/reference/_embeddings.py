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


class PiecewiseLinear(NamedTuple):
    """What `PiecewiseLinearEmbedding` makes of its inputs; T bins a column."""

    x: Array  # (m, k)
    first: Array  # (all bins, S)
    second: Array  # (C, S)
    shares: list[Array]  # of each column's bins (m, T)
    own: list[Array]  # likewise 1 / width for the bin of x, else 0

    @classmethod
    def of(
        cls, x: Array, bins: tuple[tuple[float, ...], ...], parameters: Pair
    ) -> PiecewiseLinear:
        """Find the bins of all inputs."""
        shares, own = [], []
        for column, each in zip(x.T, bins, strict=False):
            edges = np.array(each, x.dtype)
            number = (column[:, np.newaxis] >= edges[1:-1]).sum(axis=1)
            width = np.diff(edges)[number]
            places = np.arange(len(edges) - 1)
            at = places == number[:, np.newaxis]
            share = ((column - edges[number]) / width)[:, np.newaxis]
            full = (places < number[:, np.newaxis]).astype(x.dtype)
            shares.append(np.where(at, share, full))
            own.append(at / width[:, np.newaxis])
        return cls(x, *parameters, shares, own)

    def values(self) -> Array:
        """Return shares @ W + b of each embedded input, then the others."""
        parts = [
            share @ W + b
            for share, W, b in zip(
                self.shares, self._weights(), self.second, strict=True
            )
        ]
        return np.concatenate([*parts, self.x[:, len(parts) :]], axis=1)

    def input_gradient(self, dz: Array) -> Array:
        """Return dx (m, k)."""
        dx = [
            ((d @ W.T) * own).sum(axis=1, keepdims=True)
            for d, W, own in zip(
                self._split(dz), self._weights(), self.own, strict=True
            )
        ]
        return np.concatenate([*dx, dz[:, self.second.size :]], axis=1)

    def parameter_gradients(self, dz: Array) -> Pair:
        """Return the gradients of the pair."""
        parts = self._split(dz)
        dW = [share.T @ d for share, d in zip(self.shares, parts, strict=True)]
        return np.concatenate(dW), np.stack([d.sum(axis=0) for d in parts])

    def _weights(self) -> list[Array]:
        """W of each column."""
        ends = np.cumsum([share.shape[1] for share in self.shares])
        return np.split(self.first, ends[:-1])

    def _split(self, dz: Array) -> list[Array]:
        """dz of the values of each column."""
        return np.split(dz[:, : self.second.size], len(self.second), axis=1)


class Table(NamedTuple):
    """What `Embedding` makes of its inputs."""

    x: Array  # (m, k)
    first: Array  # (all categories, S)
    rows: Array  # (m, C) of it, for the codes
    known: Array  # (m, C) whether there is such a row

    @classmethod
    def of(cls, x: Array, counts: tuple[int, ...], first: Array) -> Table:
        """Find the rows of all codes."""
        codes = x[:, x.shape[1] - len(counts) :]
        known = (codes >= 0) & (codes < np.array(counts))
        starts = np.cumsum([0, *counts[:-1]])
        rows = starts + np.where(known, codes, 0).astype(np.int64)
        return cls(x, first, rows, known)

    def values(self) -> Array:
        """Return the other inputs, then the rows."""
        m, n_columns = self.rows.shape
        vectors = np.where(self.known[:, :, np.newaxis], self.first[self.rows], 0)
        front = self.x[:, : self.x.shape[1] - n_columns]
        return np.concatenate([front, vectors.reshape(m, -1)], axis=1)

    def input_gradient(self, dz: Array) -> Array:
        """Return dx (m, k); codes have none."""
        dx = np.zeros_like(self.x)
        n_front = self.x.shape[1] - self.rows.shape[1]
        dx[:, :n_front] = dz[:, :n_front]
        return dx

    def parameter_gradients(self, dz: Array) -> Pair:
        """Return the gradients of the pair."""
        n_front = self.x.shape[1] - self.rows.shape[1]
        dvectors = dz[:, n_front:].reshape(*self.rows.shape, -1)
        dfirst = np.zeros_like(self.first)
        np.add.at(dfirst, self.rows[self.known], dvectors[self.known])
        return dfirst, np.zeros_like(dfirst, shape=dfirst.shape[1])
