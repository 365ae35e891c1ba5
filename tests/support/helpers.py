"""Comparison of networks to the bit."""

import numpy as np


def same_bits(a, b) -> bool:
    """Whether two lists of (W, b), or of dicts of them, agree in every bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_bits(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same_bits, a, b))
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def training_state(net):
    """All that training changes, to be compared by `same_bits`."""
    return [
        net.get_weights(),
        net._model.engine.get_optimizer_state(),
        np.array([net.step, net.epoch, net.cursor]),
        net._model.progress.totals,
    ]
